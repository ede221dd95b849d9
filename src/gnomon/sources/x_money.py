"""What X costs: dollars a day, counted before they are spent, with a reserve for duties.

Whatever will be paid for is booked first and settled afterwards. What is booked counts as spent,
in the cursor too, so neither a crash nor a restart can make the governor believe that there is
more left than there is. Where it errs, it stops too early.
"""

from __future__ import annotations

from gnomon.clock import Clock

MICROS = 1_000_000


class Purse:
    """The money of one UTC day, in millionths of a dollar. Belongs to the event loop."""

    def __init__(
        self,
        clock: Clock,
        *,
        budget_usd: float,
        reserve_usd: float,
        day: str = "",
        spent_micros: int = 0,
    ) -> None:
        self._clock = clock
        self._budget = round(budget_usd * MICROS)
        self._reserve = round(reserve_usd * MICROS)
        self._day = day
        self._settled = spent_micros
        self._booked = 0

    @property
    def day(self) -> str:
        """The UTC day that is being counted, `2026-03-01`."""
        today = self._clock.now().date().isoformat()
        # A clock that is set back must not open the purse again.
        if today > self._day:
            self._day, self._settled = today, 0
        return self._day

    @property
    def spent_micros(self) -> int:
        """What is spent or booked today."""
        _ = self.day
        return self._settled + self._booked

    def affordable(self, micros_each: int, at_most: int, *, duty: bool = False) -> int:
        """How many things of this price may still be booked; `duty` may touch the reserve."""
        left = self._budget - self.spent_micros - (0 if duty else self._reserve)
        if micros_each <= 0:
            return at_most
        return max(min(left // micros_each, at_most), 0)

    def book(self, micros: int) -> None:
        """Count this much as spent until it is settled."""
        _ = self.day
        self._booked += micros

    def settle(self, booked_micros: int, real_micros: int) -> None:
        """What was booked came to cost `real_micros`."""
        _ = self.day
        self._booked -= booked_micros
        self._settled += real_micros

    def sentence(self) -> str:
        """For people."""
        return f"${self.spent_micros / MICROS:.2f} of ${self._budget / MICROS:.2f} spent today"
