"""Alerts of the US National Weather Service, read from their GeoJSON form.

Each message is new: an Update or Cancel names by `references` those that it replaces.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from gnomon.clock import to_us
from gnomon.errors import ContentError
from gnomon.extract.dates import Dates, parse_date
from gnomon.sources.polling import short_hash, web_address
from gnomon.types import Document, Policy

POLICY = Policy()
_PREFIX = "urn:oid:2.49.0.1.840.0."
_PARAGRAPH = re.compile(r"\n\s*\n")
_UNRATED = ("", "Unknown")
_LONG = ("description", "instruction", "headline", "@type")


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One message."""

    id: str
    """Without the part that all ids share."""
    type: str
    """`Alert`, `Update`, `Cancel`, …"""
    sent_us: int
    over_us: int
    """When it expires."""
    replaces: tuple[str, ...]
    """Ids of the messages before it, oldest first."""
    feature: Mapping[str, Any]
    actual: bool = True
    """Whether it is meant: neither a test nor an exercise."""

    @property
    def root(self) -> str:
        """Id of the first message that it goes back to."""
        return self.replaces[0] if self.replaces else self.id


def alert_of(feature: Any) -> Alert:
    """Read a feature. Raises ContentError `nws.alert_unreadable`."""
    try:
        said = feature["properties"]
        references = [r for r in said.get("references") or [] if r.get("identifier")]
        references.sort(key=lambda r: _us(r.get("sent")) or 0)
        sent_us = _us(said["sent"])
        if sent_us is None or not said["id"]:
            raise ValueError("it is not dated")
        return Alert(
            id=_short(said["id"]),
            type=str(said.get("messageType") or "Alert"),
            sent_us=sent_us,
            over_us=_us(said.get("expires")) or _us(said.get("ends")) or sent_us,
            replaces=tuple(dict.fromkeys(_short(r["identifier"]) for r in references)),
            feature=feature,
            actual=said.get("status") in ("Actual", None),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ContentError(
            f"An alert is not what it should be: {error!r}", code="nws.alert_unreadable"
        ) from None


def document_of(alert: Alert, key: str, source: str, dates: Dates) -> Document:
    """What an alert says, for readers. Raises ContentError `nws.alert_unreadable`."""
    said = alert.feature["properties"]
    event, place = _line(said.get("event")) or "Alert", _line(said.get("areaDesc"))
    title = _line(said.get("headline")) or f"{event}: {place}".removesuffix(": ")
    lines = [f"{event} for {place}." if place else f"{event}."]
    begin, end = (
        _moment(said.get("onset")),
        _moment(said.get("ends")) or _moment(said.get("expires")),
    )
    if begin and end:
        lines[0] += f" In effect from {begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC."
    elif end:
        lines[0] += f" In effect until {end:%Y-%m-%d %H:%M} UTC."
    words = {name: _line(said.get(name)) for name in ("severity", "certainty", "urgency")}
    rated = [f"{name} {word.lower()}" for name, word in words.items() if word not in _UNRATED]
    if rated:
        lines[0] += f" {', '.join(rated).capitalize()}."
    lines += _paragraphs(said.get("description")) + _paragraphs(said.get("instruction"))
    sent = _moment(said.get("sent"))
    published = dates.possible(sent)
    lang = _line(said.get("language")).partition("-")[0].lower()
    return Document(
        key=key,
        source=source,
        kind="alert",
        title=title,
        text="\n\n".join(lines),
        url=web_address(str(alert.feature.get("id") or "")),
        author=_line(said.get("senderName")) or "National Weather Service",
        lang=lang if len(lang) in (2, 3) and lang.isalpha() else "en",
        published_at=published,
        updated_at=published if alert.replaces else None,
        date_source="api" if published else "",
        policy=POLICY,
        extra={
            "geometry": alert.feature.get("geometry"),
            **{name: value for name, value in said.items() if name not in _LONG},
        },
    )


def content_of(document: Document) -> str:
    """A hash that tells versions of an alert apart."""
    return short_hash(document.title, document.text)


def _short(id: Any) -> str:
    if not isinstance(id, str):
        raise TypeError("an id is no text")
    return id.removeprefix(_PREFIX)


def _us(value: Any) -> int | None:
    moment = _moment(value)
    return to_us(moment) if moment is not None else None


def _moment(value: Any) -> datetime | None:
    return parse_date(value) if isinstance(value, str) and value else None


def _line(value: Any) -> str:
    return " ".join(value.split()) if isinstance(value, str) else ""


def _paragraphs(value: Any) -> list[str]:
    """A text that was broken into short lines, as paragraphs."""
    if not isinstance(value, str):
        return []
    return [line for part in _PARAGRAPH.split(value) if (line := _line(part))]
