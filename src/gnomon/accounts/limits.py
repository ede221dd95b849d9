"""How much each key or person may ask for: buckets that fill again by the second."""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from gnomon.clock import Clock

_REMEMBERED = 10_000


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """What is left after a request, as response headers tell it."""

    limit: int
    remaining: int
    reset_s: float
    """Seconds until the bucket is full again."""
    retry_after_s: float = 0.0
    """Seconds until there is enough again; 0 if there was."""


class Buckets:
    """One bucket per name, each holding a minute's worth. The longest unused are forgotten."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """By name, what the bucket held and when."""

    def take(self, name: str, per_minute: int, amount: float = 1.0) -> Allowance:
        """Take `amount` if there is as much; `retry_after_s` tells that there was not."""
        level = self._level(name, per_minute)
        if level < amount:
            wait_s = (min(amount, per_minute) - level) * 60 / per_minute
            return self._told(per_minute, level, max(wait_s, 0.001))
        self._keep(name, level - amount)
        return self._told(per_minute, level - amount, 0.0)

    def charge(self, name: str, per_minute: int, amount: float) -> None:
        """Take what was used already, even below nothing: the next one waits for it."""
        self._keep(name, self._level(name, per_minute) - amount)

    def look(self, name: str, per_minute: int) -> Allowance:
        """How the bucket stands; nothing is taken, and an empty one says how long to wait."""
        level = self._level(name, per_minute)
        wait_s = 0.0 if level > 0 else (1 - level) * 60 / per_minute
        return self._told(per_minute, level, wait_s)

    def _level(self, name: str, per_minute: int) -> float:
        level, at_s = self._levels.get(name, (float(per_minute), self._clock.monotonic()))
        return min(per_minute, level + (self._clock.monotonic() - at_s) * per_minute / 60)

    def _keep(self, name: str, level: float) -> None:
        self._levels[name] = (level, self._clock.monotonic())
        self._levels.move_to_end(name)
        while len(self._levels) > _REMEMBERED:
            self._levels.popitem(last=False)

    def _told(self, per_minute: int, level: float, wait_s: float) -> Allowance:
        return Allowance(
            limit=per_minute,
            remaining=max(0, int(level)),
            reset_s=(per_minute - level) * 60 / per_minute,
            retry_after_s=wait_s,
        )
