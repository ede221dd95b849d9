"""The time that a question names: the moment that it is asked as of, and the span it asks about.

"As of noon, …", "at 9 am yesterday" set the moment; "last night", "between 9 and 11", "over the
weekend", "on the 20th" a span. The commonest forms are read here; `times.py` reads the others with
dateparser. Times without a zone are in that of `now`, which is the asker's.
"""

# ruff: noqa: E501, SIM905 - a pattern reads best in one line, a list of words as one text

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from gnomon.answer import times
from gnomon.answer.words import fold

REPORTED = timedelta(days=2)
"""How long what happened on a day is told, from its beginning."""
_DAY = timedelta(days=1)
_WEEKDAYS = "monday tuesday wednesday thursday friday saturday sunday".split()
_OFFSETS_H = {
    "utc": 0, "gmt": 0, "z": 0, "wet": 0, "bst": 1, "west": 1, "cet": 1, "cest": 2, "eet": 2,
    "eest": 3, "msk": 3, "ist": 5.5, "jst": 9, "kst": 9, "aest": 10, "aedt": 11, "brt": -3,
    "est": -5, "edt": -4, "cst": -6, "cdt": -5, "mst": -7, "mdt": -6, "pst": -8, "pdt": -7,
}  # fmt: skip
_PARTS_H = {
    "morning": (5, 12), "afternoon": (12, 18), "evening": (17, 24), "night": (18, 30),
    "fruh": (5, 12), "morgen": (5, 12), "vormittag": (8, 12), "mittag": (11, 14),
    "nachmittag": (12, 18), "abend": (17, 24), "nacht": (18, 30),
    "matin": (5, 12), "apres-midi": (12, 18), "soir": (17, 24), "nuit": (18, 30),
    "manana": (5, 12), "tarde": (12, 20), "noche": (18, 30),
}  # fmt: skip
"""From which hour of its day to which a part of it lasts."""

_ZONE = rf"(?:\s?(?P<zone>(?:utc|gmt)[+-]\d{{1,2}}(?::?\d\d)?|(?:{'|'.join(_OFFSETS_H)})\b))?"
_CLOCK = r"(?P<hour>\d{1,2})(?::(?P<minute>\d{2}))?\s?(?P<half>[ap]\.?m\b\.?)?" + _ZONE
_SURE_CLOCK = (
    rf"(?P<hour>\d{{1,2}})(?::(?P<minute>\d{{2}})\s?(?P<half>[ap]\.?m\b\.?)?"
    rf"|\s?(?P<half2>[ap]\.?m\b\.?)){_ZONE}"
)
_NOON = r"(?P<noon>noon|midday|midnight)"
_DAY_WORD = (
    rf"(?P<day>today|(?:the )?day before yesterday|yesterday|(?:last |on )?(?:{'|'.join(_WEEKDAYS)})"
    r"|\d{4}-\d{2}-\d{2})"
)
_ISO = r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2})?(?:Z|[+-]\d{2}:?\d{2})?)?"


def _patterns(*texts: str) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(text, re.IGNORECASE) for text in texts)


_AS_OF = _patterns(
    r"[,(]?\s*\bas of (?P<count>\d+|an?|one) (?P<unit>minute|hour|day|week)s? ago[)]?",
    rf"[,(]?\s*\bas of (?P<iso>{_ISO})[)]?",
    rf"[,(]?\s*\b(?:as of|as known)\s+(?:at )?{_NOON}(?:,?\s+{_DAY_WORD})?[)]?",
    rf"[,(]?\s*\b(?:as of|as known)\s+(?:at )?(?:{_CLOCK})(?!\d|\.?\s?(?:of )?(?:{times.MONTHS}))(?:\s+{_DAY_WORD})?[)]?",
    rf"[,(]?\s*\bas of {_DAY_WORD},?\s+(?:at\s+)?{_NOON}[)]?",
    rf"[,(]?\s*\bas of {_DAY_WORD},?\s+(?:at\s+)?{_SURE_CLOCK}[)]?",
    rf"[,(]?\s*\bas of {_DAY_WORD}(?! (?:morning|afternoon|evening|night))[)]?",
    rf"[,(]?\s*\bat {_SURE_CLOCK}\s+{_DAY_WORD}[)]?",
    rf"[,(]?\s*\b{_DAY_WORD},?\s+at\s+{_NOON}[)]?",
    rf"[,(]?\s*\b{_DAY_WORD},?\s+at\s+{_SURE_CLOCK}[)]?",
    rf"^\W*at (?:{_SURE_CLOCK}),?\s+(?=(?:was|were|did|had)\b)",
    rf"^\W*at {_NOON},?\s+(?=(?:was|were|did|had)\b)",
    rf"(?P<said>^\W*(?:was|were)\b.*?)\s+at {_SURE_CLOCK}(?=\s*\?$)",
    rf"(?P<said>^\W*(?:was|were)\b.*?)\s+at {_NOON}(?=\s*\?$)",
)
_AS_OF_ANY = re.compile(
    r"[,(]?\s*\b(?:as of|as known|stand:?|à la date d[eu]|a fecha de)\s+(?P<tail>(?:[^,;:?!()]|(?<=\d):(?=\d)){2,40})[)]?",
    re.IGNORECASE,
)
_LAST = re.compile(
    r"\b(?:in |within |over |during )?(?:the )?(?:last|past) (?:(?P<count>\d+) )?"
    r"(?P<unit>minute|hour|day|week|month)s?\b",
    re.IGNORECASE,
)
_SINCE = re.compile(
    rf"\bsince (?P<day>yesterday|{'|'.join(_WEEKDAYS)}|{_ISO})\b(?! (?:at )?\d)"
    r"(?! (?:morning|afternoon|evening|night))",
    re.IGNORECASE,
)
_NAMED_DAY = re.compile(
    r"\b(?:earlier )?(?P<day>today|yesterday|heute|gestern|aujourd'hui|hier|hoy|ayer)\b"
    r"|\bon (?P<iso>\d{4}-\d{2}-\d{2})\b"
    rf"|\b(?:on|last) (?P<weekday>{'|'.join(_WEEKDAYS)})\b",
    re.IGNORECASE,
)
_DAY_ALONE = re.compile(
    r"(?<!seit )(?<!vor )(?<!bis )(?<!depuis )(?<!avant )(?<!desde )(?<!hasta )(?<!antes de )"
    r"\b(?:heute|gestern|aujourd'hui|hier|hoy|ayer)\b(?! (?:um|à|vers|a las?|gegen|ab) )(?! \d)",
    re.IGNORECASE,
)
_YEAR = re.compile(r"\b(?:in|during) (?P<year>(?:19|20)\d\d)\b")
_SENSE = r"(?:(?P<sense>since|after|before|until|till|seit|vor|bis|depuis|avant|desde|antes de|hasta) )?(?:in the |in der )?"
_PART_OF_DAY = _patterns(
    rf"\b{_SENSE}(?P<day>this|today|yesterday|last|(?:on )?(?:{'|'.join(_WEEKDAYS)}))(?:'s)? (?P<part>morning|afternoon|evening|night)\b",
    rf"\b{_SENSE}(?P<night>tonight|overnight|letzte nacht|anoche)\b",
    rf"\b{_SENSE}(?P<day>heute|gestern|vorgestern) (?P<part>früh|morgen|vormittag|mittag|nachmittag|abend|nacht)\b",
    rf"\b{_SENSE}(?P<day>ce|cet|cette|hier|avant-hier) (?P<part>matin|après-midi|soir|nuit)\b",
    rf"\b{_SENSE}(?P<day>esta|ayer|anteayer)(?: por la)? (?P<part>mañana|tarde|noche)\b",
)
_DAYS_AGO = {
    "this": 0, "today": 0, "heute": 0, "ce": 0, "cet": 0, "cette": 0, "esta": 0,
    "yesterday": 1, "last": 1, "gestern": 1, "hier": 1, "ayer": 1,
    "vorgestern": 2, "avant-hier": 2, "anteayer": 2,
}  # fmt: skip
_WEEKEND = re.compile(
    rf"\b{_SENSE}(?:(?:over|at|on|during|am|an|ce|le|este|el) )?(?:(?P<which>the|this|last|past|letztes|dieses|dem) )?"
    r"(?P<weekend>weekend|wochenende|week-end|fin de semana)(?: (?:dernier|pasado))?\b",
    re.IGNORECASE,
)
_THIS = re.compile(
    rf"\b{_SENSE}(?:this|diese[rsn]?|cette|ce|esta|este) (?P<span>week|month|year|woche|monat|jahr|semaine|mois|année|semana|mes|año)\b",
    re.IGNORECASE,
)
_SPANS = {
    "week": "week", "woche": "week", "semaine": "week", "semana": "week",
    "month": "month", "monat": "month", "mois": "month", "mes": "month",
    "year": "year", "jahr": "year", "annee": "year", "ano": "year",
}  # fmt: skip
_BEFORE_YESTERDAY = re.compile(r"\b(?:on )?(?:the )?day before yesterday\b", re.IGNORECASE)
_NTH = re.compile(r"\bon the (?P<nth>\d{1,2})(?:st|nd|rd|th)\b(?! (?:of )?[A-Z])(?! [a-z])")
_CLOCKS = re.compile(
    r"\b(?:between|from) (?P<from>\d{1,2})(?::(?P<from_minute>\d\d))?\s?(?P<from_half>[ap]\.?m\b\.?)?"
    r"(?: and | to | until |\s?[-–]\s?)(?P<to>\d{1,2})(?::(?P<to_minute>\d\d))?\s?(?P<to_half>[ap]\.?m\b\.?)?"
    rf"{_ZONE}(?: (?:o'clock|h\b))?(?:,? {_DAY_WORD})?(?![\w:.])(?! (?!today|yesterday|on)\w)",
    re.IGNORECASE,
)
_HAPPENED_AT = re.compile(
    rf"\bhappen(?:ed|ing|s)\b.{{0,60}}?\b(?:at|around|about) (?P<clock>{_SURE_CLOCK}(?: (?:today|heute|aujourd'hui|hoy))?)(?=\s*(?:[?.!]|$))",
    re.IGNORECASE,
)
_BEFORE_TOLD, _TOLD_AFTER = timedelta(minutes=15), timedelta(hours=3)
"""What happens at a moment is told of from a little before it to some hours after."""


class When(NamedTuple):
    """What a question says of time."""

    text: str
    """The question without the moment that it is asked as of."""
    as_of: datetime | None = None
    since: datetime | None = None
    until: datetime | None = None
    words: range = range(0)
    """Where in `text` the words stand that name the span."""
    notes: tuple[str, ...] = ()


def when(text: str, now: datetime) -> When:
    """The time that the words of `text` name, counted from `now`, in UTC."""
    try:
        return _in_utc(_read(text, now))
    except OverflowError:  # at an end of time
        return When(text)


def _read(text: str, now: datetime) -> When:
    asked, moment = _as_of(text, now)
    if moment is None or moment >= now:
        return _span(text, now)
    moment = moment.astimezone(now.tzinfo)
    found = _span(asked, moment)
    said = f"Answered as of {shown(moment)}, as the question asks."
    return found._replace(as_of=moment, notes=(said, *found.notes))


def shown(moment: datetime) -> str:
    """A moment as notes tell it, with its zone."""
    zone = moment.strftime("%Z")
    zone = f"UTC{zone}" if zone[:1] in "+-" else zone
    return f"{moment:%Y-%m-%d %H:%M} {zone}"


def _in_utc(found: When) -> When:
    moments = (found.as_of, found.since, found.until)
    as_of, since, until = (m and m.astimezone(UTC) for m in moments)
    return found._replace(as_of=as_of, since=since, until=until)


def _as_of(text: str, now: datetime) -> tuple[str, datetime | None]:
    """The question without "as of …", and the moment that it names."""
    for pattern in _AS_OF:
        match = pattern.search(text)
        moment = _moment(match, now) if match is not None else None
        if match is not None and moment is not None:
            kept = match.groupdict().get("said") or ""
            rest = _without(text, match.start(), match.end(), kept)
            if any(c.isalnum() for c in rest):
                return rest, moment
    if (match := _AS_OF_ANY.search(text)) is not None:
        tail = match["tail"]
        if (part := _part_of_day(tail, now)) is not None and part.words.start == 0:
            moment, end = part.until or part.since, part.words.stop
        else:
            moment, end = times.ends(tail, now)
        if moment is not None:
            rest = _without(text, match.start(), match.start("tail") + end)
            if any(c.isalnum() for c in rest):
                return rest, min(moment, now)
    return text, None


def _without(text: str, start: int, stop: int, kept: str = "") -> str:
    rest = f"{text[:start].rstrip()} {kept} {text[stop:].lstrip(' ,)')}"
    return " ".join(rest.split()).replace(" ?", "?")


def _moment(match: re.Match[str], now: datetime) -> datetime | None:
    got = match.groupdict()
    if got.get("iso"):
        return _iso(got["iso"], now, end=True)
    if got.get("unit"):
        count = int(got["count"]) if got["count"].isdigit() else 1
        return _back(now, count * times.UNITS[got["unit"].lower()])
    day = _day(got["day"], now) if got.get("day") else _midnight(now)
    if day is None:
        return None
    if got.get("noon"):
        return day if got["noon"].lower() == "midnight" else day + timedelta(hours=12)
    if not got.get("hour"):
        return min(now, day + _DAY)
    since_midnight = _clock(got["hour"], got.get("minute"), got.get("half") or got.get("half2"))
    if since_midnight is None:
        return None
    return _at(day, since_midnight, got.get("zone") or "")


def _at(day: datetime, since_midnight: timedelta, zone: str) -> datetime:
    """That time of the day, in the zone if one is named."""
    if not zone:
        return day + since_midnight
    return day.replace(tzinfo=UTC) + since_midnight - _offset(zone)


def _clock(hour: str, minute: str | None, half: str | None) -> timedelta | None:
    """How long after midnight a clock shows this; None for what no clock shows."""
    hours, minutes = int(hour), int(minute or 0)
    if half:
        hours = hours % 12 + (12 if half.lower().startswith("p") else 0)
    return timedelta(hours=hours, minutes=minutes) if hours < 24 and minutes < 60 else None


def _offset(zone: str) -> timedelta:
    """How far a zone is ahead of UTC."""
    zone = zone.lower()
    if zone in _OFFSETS_H:
        return timedelta(hours=_OFFSETS_H[zone])
    match = re.fullmatch(r"(?:utc|gmt)([+-])(\d{1,2}):?(\d\d)?", zone)
    if match is None:
        return timedelta()
    ahead = timedelta(hours=int(match[2]), minutes=int(match[3] or 0))
    return ahead if match[1] == "+" else -ahead


def _span(text: str, now: datetime) -> When:
    """The span of time that the words name, and how they were understood."""
    plain = text.replace("’", "'")
    for read in (_between_clocks, _part_of_day, _weekend, _this, _one_day, _spell):
        if (found := read(plain, now)) is not None:
            said = plain[found.words.start : found.words.stop]
            return found._replace(text=text, notes=(_note(found, said),))
    if _DAY_ALONE.search(plain):
        return _day_or_year(text, now)
    if (named := times.named(text, now)) is not None:
        start = text.find(named.words)
        spoken = range(start, start + len(named.words)) if start >= 0 else range(0)
        found = When(text, None, named.since, named.until, spoken)
        return found._replace(notes=(_note(found, named.words),))
    return _day_or_year(text, now)


def _note(found: When, said: str) -> str:
    parts = [f"since {shown(found.since)}"] if found.since else []
    parts += [f"before {shown(found.until)}"] if found.until else []
    return f"“{said}” was read as {' and '.join(parts)}."


def _bounded(
    match: re.Match[str], text: str, now: datetime, start: datetime, stop: datetime
) -> When | None:
    """From `start` to `stop`, or since or until `start`, as the word before says."""
    sense = (match.groupdict().get("sense") or "").lower()
    place = range(match.start(), match.end())
    if start > now:
        return None
    if sense in ("before", "until", "till", "vor", "bis", "avant", "antes de", "hasta"):
        return When(text, None, None, start, place)
    return When(text, None, start, None if sense or stop >= now else stop, place)


def _between_clocks(text: str, now: datetime) -> When | None:
    match = _CLOCKS.search(text)
    if match is not None:
        halves = match["from_half"] or match["to_half"]
        first = _clock(match["from"], match["from_minute"], halves)
        last = _clock(match["to"], match["to_minute"], match["to_half"])
        day = _day(match["day"], now) if match["day"] else _midnight(now)
        # "between 100 and 200", "from 3 to 4 per cent" are no times.
        told = any(match[g] for g in ("from_minute", "to_minute", "from_half", "to_half", "day"))
        if first is not None and last is not None and day and told and first < last:
            zone = match["zone"] or ""
            start, stop = _at(day, first, zone), _at(day, last, zone)
            return _bounded(match, text, now, start, stop)
    match = _HAPPENED_AT.search(text)
    if match is not None:
        since_midnight = _clock(match["hour"], match["minute"], match["half"] or match["half2"])
        if since_midnight is not None:
            moment = _at(_midnight(now), since_midnight, match["zone"] or "")
            if moment <= now:
                stop = moment + _TOLD_AFTER
                place = range(match.start("clock"), match.end("clock"))
                since = moment - _BEFORE_TOLD
                return When(text, None, since, stop if stop < now else None, place)
    return None


def _part_of_day(text: str, now: datetime) -> When | None:
    today = _midnight(now)
    for pattern in _PART_OF_DAY:
        match = pattern.search(text)
        if match is None:
            continue
        got = match.groupdict()
        if night := (got.get("night") or "").lower():
            begins = today if night == "tonight" else today - _DAY
            return _bounded(
                match, text, now, begins if begins == today else begins + timedelta(hours=18),
                begins + timedelta(hours=30),
            )  # fmt: skip
        word = got["day"].lower().removeprefix("on ")
        begins = _day(word, now) or today if word in _WEEKDAYS else today - _DAYS_AGO[word] * _DAY
        first, last = _PARTS_H[fold(got["part"])]
        found = _bounded(
            match, text, now, begins + timedelta(hours=first), begins + timedelta(hours=last)
        )
        if found is not None:
            return found
    return None


def _weekend(text: str, now: datetime) -> When | None:
    match = _WEEKEND.search(text)
    if match is None:
        return None
    today = _midnight(now)
    since_saturday = (today.weekday() - 5) % 7
    if since_saturday <= 1 and (match["which"] or "").lower() in ("last", "past", "letztes"):
        since_saturday += 7
    saturday = today - since_saturday * _DAY
    return _bounded(match, text, now, saturday, saturday + 3 * _DAY)


def _this(text: str, now: datetime) -> When | None:
    match = _THIS.search(text)
    if match is None:
        return None
    today = _midnight(now)
    span = _SPANS[fold(match["span"])]
    start = {
        "week": today - 7 * _DAY,  # on a Monday, most of what people mean by it was last week
        "month": today.replace(day=1),
        "year": today.replace(month=1, day=1),
    }[span]
    return _bounded(match, text, now, start, now)


def _one_day(text: str, now: datetime) -> When | None:
    today = _midnight(now)
    if match := _BEFORE_YESTERDAY.search(text):
        return _bounded(match, text, now, today - 2 * _DAY, today)
    if match := _NTH.search(text):
        month = today if int(match["nth"]) <= today.day else today.replace(day=1) - _DAY
        try:
            start = month.replace(day=int(match["nth"]))
        except ValueError:
            return None
        return _bounded(match, text, now, start, start + REPORTED)
    return None


def _spell(text: str, now: datetime) -> When | None:
    """`since Tuesday`, `the last 3 days`: the commonest forms, without any library."""
    if match := _SINCE.search(text):
        start = _day(match["day"].lower(), now)
        if start is not None and start <= now:
            return When(text, None, start, None, range(match.start(), match.end()))
    if match := _LAST.search(text):
        start = _back(now, int(match["count"] or 1) * times.UNITS[match["unit"].lower()])
        if start is not None:
            return When(text, None, start, None, range(match.start(), match.end()))
    return None


def _day_or_year(text: str, now: datetime) -> When:
    today = _midnight(now)
    if match := _NAMED_DAY.search(text):
        start = _day((match["day"] or match["iso"] or match["weekday"]).lower(), now)
        if start is not None and start <= now:
            # What happened on a day is reported on that day and the next.
            until = None if start >= today else start + REPORTED
            note = f"“{match[0]}” was read as {start:%Y-%m-%d} ({shown(start)[17:]})."
            return When(text, None, start, until, range(match.start(), match.end()), (note,))
    if (match := _YEAR.search(text)) and 1990 <= int(match["year"]) <= now.year:
        start = today.replace(year=int(match["year"]), month=1, day=1)
        return When(text, None, start, start.replace(year=start.year + 1))
    return When(text)


def _day(word: str, now: datetime) -> datetime | None:
    today = _midnight(now)
    word = fold(word.lower().removeprefix("last ").removeprefix("on ").removeprefix("the "))
    if word in ("today", "heute", "aujourd'hui", "hoy"):
        return today
    if word in ("yesterday", "gestern", "hier", "ayer"):
        return _back(today, _DAY)
    if word == "day before yesterday":
        return _back(today, 2 * _DAY)
    if word in _WEEKDAYS:
        return _back(today, ((today.weekday() - _WEEKDAYS.index(word) - 1) % 7 + 1) * _DAY)
    return _iso(word, now, end=False)


def _iso(text: str, now: datetime, *, end: bool) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text.upper().replace(" ", "T"))
    except ValueError:
        return None
    if end and len(text) == 10 and moment.year < 9999:
        moment += _DAY
    return moment.replace(tzinfo=now.tzinfo) if moment.tzinfo is None else moment


def _back(now: datetime, span: timedelta) -> datetime | None:
    try:
        return now - span
    except OverflowError:
        return None


def _midnight(now: datetime) -> datetime:
    return now.replace(hour=0, minute=0, second=0, microsecond=0)
