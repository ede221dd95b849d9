"""Moments and numbers as the town's writers put them, and offsets as its scripts put them.

A `Moment` formats itself relative to the time of writing, in English, German or Spanish, so that
prose can say "{vote:rel} at {vote:clock}". Nothing here depends on the locale of the machine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, time, timedelta
from typing import Final

_DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
_DAYS_DE = ["Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag", "Samstag", "Sonntag"]
_MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
_MONTHS_DE = [
    "Januar",
    "Februar",
    "März",
    "April",
    "Mai",
    "Juni",
    "Juli",
    "August",
    "September",
    "Oktober",
    "November",
    "Dezember",
]
_DAYS_ES = ["lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo"]
_MONTHS_ES = [
    "enero",
    "febrero",
    "marzo",
    "abril",
    "mayo",
    "junio",
    "julio",
    "agosto",
    "septiembre",
    "octubre",
    "noviembre",
    "diciembre",
]
_MONTHS_IN = (_MONTHS, _MONTHS_DE, _MONTHS_ES)

_OFFSET: Final = re.compile(
    r"(?:day(?P<day>[+-]\d+) (?P<clock>\d\d:\d\d)|(?P<name>[a-z]\w*))?"
    r"(?P<shift>(?:[+-](?:\d+[dhm])+)*)"
)
_UNITS: Final = {"d": "days", "h": "hours", "m": "minutes"}


def moment(text: str, start: datetime, named: Mapping[str, datetime]) -> datetime:
    """The moment that a script means.

    `-2d5h` counts from `start`; `shut+12m` from the moment called `shut`; `day-2 19:30` is a
    time of day, two calendar days before that of `start`. Raises ValueError for anything else.
    """
    found = _OFFSET.fullmatch(text)
    if not found or not text:
        raise ValueError(f"{text!r} is no moment")
    at = start
    if found["name"]:
        at = named[found["name"]]
    elif found["day"]:
        hour, minute = map(int, found["clock"].split(":"))
        day = (start + timedelta(days=int(found["day"]))).date()
        at = datetime.combine(day, time(hour, minute), start.tzinfo)
    for sign, spans in re.findall(r"([+-])((?:\d+[dhm])+)", found["shift"]):
        span = timedelta(**{_UNITS[unit]: int(n) for n, unit in re.findall(r"(\d+)([dhm])", spans)})
        at += span if sign == "+" else -span
    return at


class Moment:
    """A moment as somebody who writes at `written` puts it."""

    def __init__(self, at: datetime, written: datetime) -> None:
        self._at = at
        self._written = written

    def __format__(self, spec: str) -> str:
        at = self._at
        match spec:
            case "clock":
                return f"{at:%H:%M}"
            case "clockde":
                return f"{at:%H.%M} Uhr"
            case "date":
                return f"{at.day} {_MONTHS[at.month - 1]}"
            case "datede":
                return f"{at.day}. {_MONTHS_DE[at.month - 1]}"
            case "datees":
                return f"{at.day} de {_MONTHS_ES[at.month - 1]}"
            case "dayes":
                return _DAYS_ES[at.weekday()]
            case "reles":
                return self._relative(("hoy", "ayer", "mañana"), f"el {self:dayes}")
            case "day":
                return _DAYS[at.weekday()]
            case "dayde":
                return _DAYS_DE[at.weekday()]
            case "month":
                return _MONTHS[at.month - 1]
            case "rel":
                return self._relative(("today", "yesterday", "tomorrow"), f"on {self:day}")
            case "relde":
                return self._relative(("heute", "gestern", "morgen"), f"am {self:dayde}")
            case "part":
                return self._part()
            case "re":
                english, german, spanish = (m[at.month - 1] for m in _MONTHS_IN)
                return (
                    rf"(\b{at.day}(st|nd|rd|th)? (of )?{english}|{english} {at.day}\b"
                    rf"|\b{at.day}\. {german}|\b{at.day} de {spanish})"
                )
        raise ValueError(f"unknown form of a moment: {spec!r}")

    def _relative(self, words: tuple[str, str, str], far: str) -> str:
        days = (self._at.date() - self._written.date()).days
        today, yesterday, tomorrow = words
        return {0: today, -1: yesterday, 1: tomorrow}.get(days, far)

    def _part(self) -> str:
        """`this morning`, `last night`, `yesterday afternoon`, `on Tuesday evening`."""
        hour = self._at.hour
        part = (
            "morning"
            if 5 <= hour < 12
            else "afternoon"
            if 12 <= hour < 18
            else "evening"
            if 18 <= hour < 23
            else "night"
        )
        days = (self._written.date() - self._at.date()).days
        if days == 0:
            return (
                "tonight"
                if part == "night" and hour >= 23
                else f"this {part}".replace("this night", "in the small hours")
            )
        if days == 1:
            return "last night" if part == "night" else f"yesterday {part}"
        return f"on {self:day} {part}"


class Number(int):
    """A whole number; `:en` 3,412, `:de` 3.412, `:re` a pattern that matches either."""

    def __format__(self, spec: str) -> str:
        grouped = f"{int(self):,}"
        match spec:
            case "en":
                return grouped
            case "de":
                return grouped.replace(",", ".")
            case "re":
                return rf"(?<![\d.,]){grouped.replace(',', '[.,  ]?')}(?![\d]|[.,]\d)"
        return int.__format__(self, spec)


class Decimal:
    """A number with a fixed count of decimal places; `:re` a pattern for any of its spellings."""

    def __init__(self, scaled: int, places: int, mark: str = ".") -> None:
        self.scaled = scaled
        self._places = places
        self._mark = mark

    def said_in(self, lang: str) -> Decimal:
        """The same number with that language's decimal mark."""
        return Decimal(self.scaled, self._places, "." if lang == "en" else ",")

    def __str__(self) -> str:
        whole, rest = divmod(self.scaled, 10**self._places)
        return f"{whole}{self._mark}{rest:0{self._places}d}"

    def __format__(self, spec: str) -> str:
        if spec == "re":
            return rf"(?<![\d.,]){str(self).replace(self._mark, '[.,]')}(?!\d)"
        return str(self)
