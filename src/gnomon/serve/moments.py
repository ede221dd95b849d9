"""Moments as people and programs write them in requests."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo

from gnomon.clock import Clock
from gnomon.serve.errors import ApiError, bad_request, shown

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_LOST_PLUS = re.compile(r" (\d{2}:?\d{2})$")
_AGO = re.compile(r"(\d{1,6})\s*(s|m|h|d|w|seconds?|minutes?|hours?|days?|weeks?)(?:\s+ago)?", re.I)
_DAY = re.compile(r"(today|yesterday)(?:,?\s+(?:at\s+)?(\d{1,2}):(\d{2}))?(?:\s*utc)?", re.I)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SKEW = timedelta(seconds=60)
"""How far another machine's clock may run ahead of ours."""


def moment(
    text: str | None, clock: Clock, *, param: str, bound: bool = False, zone: tzinfo = UTC
) -> datetime | None:
    """The moment that `text` names, None for an empty one or `now`.

    ISO 8601 with a zone, `2 hours ago`, or `yesterday 14:05` in `zone`. As a `bound` of a search
    it may also lie in the future, and be a date, which begins at midnight in `zone`. Raises a 400
    that names the value.
    """
    if text is None or not (text := text.strip()) or text.lower() == "now":
        return None
    now = clock.now()
    found = _midnight(text, zone) if bound and _DATE.fullmatch(text) else None
    found = found or _parse(text, now, param, zone)
    if not bound and found > now + _SKEW:
        raise bad_request(
            f"{param} = {shown(text)} lies in the future; now is {iso(now)}.",
            param=param,
            code="request.future",
        )
    return found


def iso(when: datetime) -> str:
    """ISO 8601 in UTC with a Z."""
    return when.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _midnight(date: str, zone: tzinfo) -> datetime | None:
    try:
        return datetime.fromisoformat(date).replace(tzinfo=zone).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _parse(text: str, now: datetime, param: str, zone: tzinfo) -> datetime:
    if match := _AGO.fullmatch(text):
        try:
            return now - timedelta(**{_UNITS[match[2][0].lower()]: int(match[1])})
        except OverflowError:
            raise _unreadable(text, param) from None
    if match := _DAY.fullmatch(text):
        # "yesterday 14:05 UTC" names its zone.
        day = now if text.lower().endswith("utc") else now.astimezone(zone)
        return _on_day(match, day, text, param).astimezone(UTC)
    if not _DATE.match(text):
        raise _unreadable(text, param)
    try:
        # In a query string an unescaped "+02:00" arrives with a space.
        found = datetime.fromisoformat(_LOST_PLUS.sub(r"+\1", text))
    except ValueError:
        raise _unreadable(text, param) from None
    if found.tzinfo is None:
        whole = shown(text) if "T" in text or " " in text else f"{shown(text)}T00:00:00"
        raise bad_request(
            f"{param} = {shown(text)} has no time zone. Append Z for UTC, or an offset: "
            f"{whole}Z, {whole}+02:00.",
            param=param,
            code="request.naive_time",
        )
    try:
        return found.astimezone(UTC)
    except OverflowError:
        raise _unreadable(text, param) from None


def _on_day(match: re.Match[str], now: datetime, text: str, param: str) -> datetime:
    day = now if match[1].lower() == "today" else now - timedelta(days=1)
    try:
        return day.replace(
            hour=int(match[2] or 0), minute=int(match[3] or 0), second=0, microsecond=0
        )
    except ValueError:
        raise _unreadable(text, param) from None


def _unreadable(text: str, param: str) -> ApiError:
    return bad_request(
        f"{param} = {shown(text)} is not a moment. Write ISO 8601 with a zone, such as "
        "2026-11-22T14:05:00Z, or `2 hours ago`, or `yesterday 14:05`.",
        param=param,
        code="request.time",
    )
