"""One request at a time to a host, and a pause after each."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gnomon.clock import Clock

_REMEMBERED = 10_000


class _Host:
    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.waiting = 0
        self.free_at = -math.inf


class Turns:
    """Hands out turns, per host, in order of asking."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._hosts: dict[str, _Host] = {}

    @asynccontextmanager
    async def turn(self, host: str, pause_s: float) -> AsyncIterator[None]:
        """Wait for this host to be free, and for `pause_s` since its last exchange ended."""
        state = self._hosts.setdefault(host, _Host())
        state.waiting += 1
        try:
            async with state.lock:
                wait_s = state.free_at + pause_s - self._clock.monotonic()
                if wait_s > 0:
                    await self._clock.sleep(wait_s)
                try:
                    yield
                finally:
                    state.free_at = self._clock.monotonic()
        finally:
            state.waiting -= 1
            if len(self._hosts) > _REMEMBERED:
                self._forget()

    def _forget(self) -> None:
        """Drop the hosts that were quiet the longest."""
        idle = [(s.free_at, host) for host, s in self._hosts.items() if not s.waiting]
        for _, host in sorted(idle)[: len(idle) // 2]:
            del self._hosts[host]
