"""Time, identifiers and randomness: injected everywhere, so that a test or a replay rules them.

Nothing else in Gnomon calls `datetime.now`, `time.time`, `uuid4` or the global `random`.
"""

from __future__ import annotations

import asyncio
import random
import time
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Protocol
from zoneinfo import ZoneInfo

from gnomon.errors import ContentError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_us(moment: datetime) -> int:
    """Microseconds since the epoch; exact for every aware datetime."""
    return (moment - EPOCH) // _MICROSECOND


def from_us(us: int) -> datetime:
    """The aware UTC datetime of `us` microseconds since the epoch; inverse of `to_us`."""
    return EPOCH + timedelta(microseconds=us)


def is_day(moment: datetime) -> bool:
    """Whether a claimed moment is only a day: the very first instant of one in UTC.

    That is how sources that tell no time of day are stored. A real claim of just that instant
    then shows as its day, too, which is less exact, but true.
    """
    return to_us(moment) % 86_400_000_000 == 0


def in_words(claimed: datetime) -> str:
    """A claimed moment as texts tell it: its day alone where no more is known of it."""
    return f"{claimed.astimezone(UTC):%Y-%m-%d}" if is_day(claimed) else in_utc(claimed)


def in_utc(moment: datetime) -> str:
    """A moment that we saw or were asked for as texts tell it, to the minute."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def zone_of(name: str) -> tzinfo:
    """The time zone of that IANA name, or ContentError `time.zone`."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ValueError, KeyError, OSError):
        raise ContentError(
            f"There is no time zone {name[:60]!r}.",
            code="time.zone",
            hint="Name one as the IANA database does: Europe/Berlin, America/New_York, UTC.",
        ) from None


def in_zone(moment: datetime, name: str) -> datetime:
    """The same moment as clocks of that IANA zone show it; ContentError `time.zone` for no zone."""
    zone = zone_of(name)
    try:
        return moment.astimezone(zone)
    except OverflowError:  # at an end of time
        return moment.astimezone(UTC)


class Clock(Protocol):
    """Wall time, monotonic time and sleeping."""

    def now(self) -> datetime:
        """The current moment, aware, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that only grow; for measuring spans."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait that long in this clock's time."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The current moment, aware, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that only grow."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait `seconds`."""
        await asyncio.sleep(seconds)


class ManualClock:
    """A clock that stands still until somebody moves it. For tests and replays."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = start
        self._monotonic = 0.0
        self._sleepers: list[tuple[float, asyncio.Event]] = []

    def now(self) -> datetime:
        """The moment it was set to."""
        return self._now

    def monotonic(self) -> float:
        """Seconds advanced so far."""
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        """Wait until `advance` has moved the clock by `seconds`."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.Event()
        self._sleepers.append((self._monotonic + seconds, woken))
        await woken.wait()

    def advance(self, seconds: float) -> None:
        """Move both clocks forward and wake whoever slept long enough."""
        self._monotonic += seconds
        self.set(self._now + timedelta(seconds=seconds))
        due = [s for s in self._sleepers if s[0] <= self._monotonic]
        self._sleepers = [s for s in self._sleepers if s[0] > self._monotonic]
        for _, woken in due:
            woken.set()

    def set(self, moment: datetime) -> None:
        """Set the wall time only, also backwards, as an operator or NTP may."""
        self._now = moment


class Ids(Protocol):
    """Makes identifiers."""

    def new(self, prefix: str) -> str:
        """A fresh identifier `<prefix>_<letters and digits>`, unique in this store."""
        ...


class RandomIds:
    """Identifiers of 128 random bits, sortable by nothing."""

    def __init__(self, rng: random.Random | None = None) -> None:
        self._rng = rng or random.SystemRandom()

    def new(self, prefix: str) -> str:
        """A fresh identifier."""
        return f"{prefix}_{self._rng.getrandbits(128):032x}"
