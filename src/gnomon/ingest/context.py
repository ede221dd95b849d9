"""What a running source is lent: its settings, the door, time that can be cut short, health."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from gnomon.clock import Clock
from gnomon.ingest.health import Health
from gnomon.metrics import SOURCE_SKIPPED
from gnomon.net.base import Fetcher
from gnomon.settings import Ingest
from gnomon.sources.base import SourceSettings
from gnomon.types import SourceConfig


async def sleep_until(clock: Clock, seconds: float | None, event: asyncio.Event) -> None:
    """Wait `seconds` in the clock's time (None: for ever), but no longer than until `event`."""
    if seconds is None:
        await event.wait()
        return
    tasks = [
        asyncio.ensure_future(clock.sleep(max(seconds, 0.0))),
        asyncio.ensure_future(event.wait()),
    ]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class PokedClock:
    """A clock whose `sleep` returns early when `poke` is called. Only sleeping is affected."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._poked = asyncio.Event()

    def now(self) -> datetime:
        """The current moment."""
        return self._clock.now()

    def monotonic(self) -> float:
        """Seconds that only grow."""
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait `seconds`, or until poked."""
        await self.wait(seconds)

    async def wait(self, seconds: float | None) -> None:
        """Wait `seconds` (None: for ever), or until poked."""
        await sleep_until(self._clock, seconds, self._poked)
        self._poked.clear()

    def poke(self) -> None:
        """End the sleep that is going on, or the next one."""
        self._poked.set()


_MAX_SHOWN = 10_000
"""Documents that may wait until their source looks at them."""

Held = Callable[[datetime | None, int], Awaitable[Sequence[tuple[str, datetime]]]]
"""Asks the record what is stored of a source, off the event loop."""


class SourceContext:
    """The `Context` of one source."""

    def __init__(
        self,
        config: SourceConfig,
        settings: SourceSettings,
        *,
        fetcher: Fetcher,
        clock: PokedClock,
        rng: random.Random,
        limits: Ingest,
        health: Health,
        held: Held,
        subscribed: Callable[[str, str], bool] = lambda hub, topic: False,
        contact: str = "",
    ) -> None:
        self.config = config
        self.settings = settings
        self.fetcher = fetcher
        self.clock = clock
        self.rng = rng
        self.limits = limits
        self.contact = contact
        self._health = health
        self._held = held
        self._subscribed = subscribed
        self._shown: dict[str, str] | None = None
        self._showing = asyncio.Event()

    def heard(self, *, state: str = "", text: str = "", next_in_s: float | None = None) -> None:
        """The source answered just now."""
        self._health.heard(state, text, next_in_s)

    def count(self, reason: str, n: int = 1) -> None:
        """Count something that was skipped."""
        if n:
            SOURCE_SKIPPED.labels(self.config.name, reason).inc(n)

    def subscribed(self, hub: str, topic: str) -> bool:
        """Ask a hub to tell of news; whether it does so now."""
        return self._subscribed(hub, topic)

    async def held(
        self, since: datetime | None = None, limit: int = 10_000
    ) -> Sequence[tuple[str, datetime]]:
        """What is stored of this source: (key, moment of observation), oldest first."""
        return await self._held(since, limit)

    async def cited(self) -> Sequence[tuple[str, str]]:
        """Wait until documents of this source are shown: (key, address) of each."""
        if self._shown is None:
            self._shown = {}
        await self._showing.wait()
        shown, self._shown = self._shown, {}
        self._showing.clear()
        return list(shown.items())

    def shown(self, key: str, url: str) -> None:
        """This document is shown."""
        if self._shown is not None and (key in self._shown or len(self._shown) < _MAX_SHOWN):
            self._shown[key] = url
            self._showing.set()
