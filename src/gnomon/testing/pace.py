"""A clock that runs at any speed, and may be set forward or back while it does.

Two processes that hold the same `Pace` agree on the time, so a simulated week can pass in a minute
for a stand-in here and an ingest there.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import msgspec

from gnomon.clock import SystemClock

_SHORTEST_S = 0.001
"""No wait is shorter, however fast the clock: a tight loop would leave no time for work."""


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How simulated time follows from the machine's."""

    start: datetime
    """The simulated moment at `began`."""
    began: datetime
    """The machine's moment at which simulated time began."""
    speed: float = 1.0
    jumps: tuple[tuple[float, float], ...] = ()
    """(machine's seconds after `began`, seconds by which the clock is then set forward or back)."""


class PacedClock:
    """The clock of a pace. `monotonic` and `sleep` know nothing of jumps."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._system = SystemClock()

    def now(self) -> datetime:
        """The simulated moment."""
        pace = self._pace
        passed = self._system.now() - pace.began
        jumped_s = sum(by_s for at_s, by_s in pace.jumps if passed.total_seconds() >= at_s)
        return pace.start + passed * pace.speed + timedelta(seconds=jumped_s)

    def monotonic(self) -> float:
        """Simulated seconds that only grow."""
        return self._system.monotonic() * self._pace.speed

    async def sleep(self, seconds: float) -> None:
        """Wait that long in simulated time."""
        await asyncio.sleep(max(seconds / self._pace.speed, _SHORTEST_S) if seconds > 0 else 0)
