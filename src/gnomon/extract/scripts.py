"""The day of publication in what a page hands to its scripts: JSON states, data layers, `data-*`.

Believed only if all of a name's values tell one day: else the values are of a list of stories.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from datetime import datetime

from lxml import etree

from gnomon.extract.dates import read_date
from gnomon.extract.written import days_in

_MAX_CHARS = 1_000_000
_MAX_VALUES = 200
_NAMED = re.compile(
    r"\b((?:article|post|content|page|story|original|first|display|initial|asset)?[_.:-]?"
    r"(?:date[_-]?(?:first[_-]?)?publi(?:shed|cation|que)|publi(?:sh|shed|cation)[_-]?"
    r"(?:date|time|at|on|ts)(?:[_-]?(?:time|formatted|utc|iso|gmt))?|pub[_-]?date|erscheinungsdatum"
    r"|fecha[_-]?publicaci[oó]n|date[_-]?publi(?:é|e)|first[_-]?published))"
    r"[\"']?\s*[:=,]\s*(?:[\"']?content[\"']?\s*:\s*)?[\"']([^\"'<>]{8,40})[\"']",
    re.IGNORECASE,
)
_QUOTES = re.compile(r"&q(?:uot)?;|\\+\"|\\u0022")


def day_in_scripts(tree: etree._Element) -> datetime | None:
    """The moment (or day) that scripts are told, if they are told of one day alone."""
    told: dict[str, dict[str, datetime]] = defaultdict(dict)
    values = 0
    for text in _texts(tree):
        for match in _NAMED.finditer(_QUOTES.sub('"', text)):
            moment = _moment(match[2])
            values += 1
            if moment is not None:
                told[match[1].lower()].setdefault(moment.date().isoformat(), moment)
            if values >= _MAX_VALUES:
                break
    sole = [next(iter(days.values())) for days in told.values() if len(days) == 1]
    sole = [moment for moment in sole if moment.timetuple()[1:6] != (1, 1, 0, 0, 0)]
    return min(sole, key=lambda moment: moment.date()) if sole else None


def _texts(tree: etree._Element) -> list[str]:
    texts, chars = [], 0
    for script in tree.iter("script"):
        text = script.text or ""
        if text and chars + len(text) <= _MAX_CHARS and not _is_linked_data(script):
            texts.append(text)
            chars += len(text)
    for element in tree.iter(etree.Element):
        for name, value in element.attrib.items():
            if name.startswith("data-") and "pub" in name and len(value) <= 40:
                texts.append(f'"{name.removeprefix("data-")}":"{value}"')
    return texts


def _is_linked_data(script: etree._Element) -> bool:
    """Whether it is JSON-LD that can be read, and so was."""
    if "ld+json" not in script.get("type", "").lower():
        return False
    try:
        json.loads(script.text or "", strict=False)
    except (ValueError, RecursionError):
        return False
    return True


def _moment(text: str) -> datetime | None:
    text = text.strip()
    moment = read_date(text) or read_date(text.replace("/", "-").replace(".", "-", 2))
    if moment is not None:
        return moment
    written = next(iter(days_in(text)), None)
    return datetime.combine(written.day, datetime.min.time()) if written else None
