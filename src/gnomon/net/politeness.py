"""One request at a time to a host, and a pause after each that grows with the host's trouble.

A host that takes long is given at least as long to rest. One that answers 429 or 5xx, or not at
all, is asked half as often each time, and returns to normal by as many good answers. While a
`Retry-After` lasts, nobody else is let through to that host either.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gnomon.clock import Clock
from gnomon.errors import UpstreamTransient

MAX_PENALTY_S = 60.0
MAX_REST_S = 30.0
"""Longest pause because of slowness alone."""
MAX_CLOSED_S = 3_600.0
"""Longest that one address' Retry-After keeps the whole host closed."""
_PATIENCE_S = 30.0
"""Whoever would have to wait longer for a closed host is told to come back instead."""
_REMEMBERED = 10_000


class _Host:
    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.waiting = 0
        self.free_at = -math.inf
        self.closed_until = -math.inf
        self.penalty_s = 0.0
        self.latency_s = 0.0

    def pause_s(self, usual_s: float) -> float:
        """Seconds between two requests; a `usual_s` of 0 switches politeness off."""
        if usual_s <= 0:
            return 0.0
        return max(usual_s, min(self.latency_s, MAX_REST_S)) + self.penalty_s

    def did_well(self, took_s: float, usual_s: float) -> None:
        self.latency_s = (self.latency_s + took_s) / 2
        self.penalty_s = self.penalty_s / 2 if self.penalty_s > usual_s else 0.0

    def did_badly(self, error: UpstreamTransient, usual_s: float, now_s: float) -> None:
        if error.code not in ("net.status", "net.timeout"):
            return
        self.penalty_s = min(max(2 * self.penalty_s, usual_s), MAX_PENALTY_S)
        if error.fields.get("status") in (429, 503) and error.retry_after_s is not None:
            self.closed_until = now_s + min(error.retry_after_s, MAX_CLOSED_S)


class Turns:
    """Hands out turns, per host, in order of asking."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._hosts: dict[str, _Host] = {}

    @asynccontextmanager
    async def turn(self, host: str, pause_s: float) -> AsyncIterator[None]:
        """Wait for this host to be free, and for `pause_s` or more since its last exchange ended.

        Raises UpstreamTransient `net.host_busy` while the host asked for more patience than that.
        """
        state = self._hosts.setdefault(host, _Host())
        state.waiting += 1
        try:
            async with state.lock:
                await self._wait(host, state, pause_s)
                began_s = self._clock.monotonic()
                try:
                    yield
                except UpstreamTransient as error:
                    state.did_badly(error, pause_s, self._clock.monotonic())
                    raise
                else:
                    state.did_well(self._clock.monotonic() - began_s, pause_s)
                finally:
                    state.free_at = self._clock.monotonic()
        finally:
            state.waiting -= 1
            if len(self._hosts) > _REMEMBERED:
                self._forget()

    async def _wait(self, host: str, state: _Host, pause_s: float) -> None:
        now_s = self._clock.monotonic()
        free_s = state.free_at + state.pause_s(pause_s) - now_s
        closed_s = state.closed_until - now_s if pause_s > 0 else 0.0
        if closed_s > _PATIENCE_S:
            raise UpstreamTransient(
                f"{host} asked us to wait for another {closed_s:.0f} s.",
                code="net.host_busy",
                retry_after_s=closed_s,
                hint="It is asked again then.",
                host=host,
            )
        if (wait_s := max(free_s, closed_s)) > 0:
            await self._clock.sleep(wait_s)

    def _forget(self) -> None:
        """Drop the hosts that were quiet the longest."""
        idle = [(s.free_at, host) for host, s in self._hosts.items() if not s.waiting]
        for _, host in sorted(idle)[: len(idle) // 2]:
            del self._hosts[host]
