"""Dates that others claim: read generously, believed only where they are possible."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

_OLDEST = datetime(1970, 1, 2, tzinfo=UTC)
"""Programs without a date write the epoch, or the year 1."""
_SHORT_ZONE = re.compile(r"([+-]\d{2})(\d{2})?$")
_FRACTION = re.compile(r"(\.\d{6})\d+")


class Dates:
    """Reads dates, and counts in `notes` those that it dropped, by reason."""

    def __init__(self, now: datetime, future_tolerance: timedelta) -> None:
        self._latest = now + future_tolerance
        self.notes: Counter[str] = Counter()

    def possible(self, moment: datetime | None) -> datetime | None:
        """`moment` unless it lies ahead of our clock or cannot be meant."""
        if moment is None:
            return None
        if moment > self._latest:
            self.notes["date.future"] += 1
            return None
        if moment < _OLDEST:
            self.notes["date.implausible"] += 1
            return None
        return moment

    def of_text(self, text: str) -> datetime | None:
        """An ISO 8601 or RFC 5322 date. Without a zone it is taken as UTC."""
        text = text.strip()[:100]
        if not text:
            return None
        moment = parse_date(text)
        if moment is None:
            self.notes["date.unreadable"] += 1
        return self.possible(moment)

    def of_tuple(self, raw: Any, name: str) -> datetime | None:
        """feedparser's `<name>_parsed`, a UTC nine-tuple."""
        key = f"{name}_parsed"
        # feedparser answers for `updated` with `published`; only asking first avoids that.
        if key not in raw:
            return None
        parsed = raw[key]
        if parsed is None:
            self.notes["date.unreadable"] += 1
            return None
        try:
            return self.possible(datetime(*parsed[:6]).replace(tzinfo=UTC))
        except (ValueError, TypeError):
            self.notes["date.unreadable"] += 1
            return None


def parse_date(text: str) -> datetime | None:
    """An ISO 8601 or RFC 5322 date as an aware UTC datetime, or None. Without a zone it is UTC."""
    moment = read_date(text)
    try:
        return _utc(moment) if moment is not None else None
    except OverflowError:
        return None


def read_date(text: str) -> datetime | None:
    """An ISO 8601 or RFC 5322 date in the zone in which it is written, or None."""
    iso = _FRACTION.sub(r"\1", text.strip().replace(" UTC", "Z"))
    for candidate in (iso, _SHORT_ZONE.sub(lambda m: f"{m[1]}:{m[2] or '00'}", iso)):
        try:
            return datetime.fromisoformat(candidate)
        except (ValueError, OverflowError):
            continue
    try:
        return parsedate_to_datetime(text)
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC)
