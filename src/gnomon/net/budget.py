"""A budget of requests and bytes for one source, per UTC day.

Counts are kept while the process runs: a restart begins the day anew. Redirects belong to their
request; bytes are those of decoded bodies, lines, events and messages.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from datetime import date, timedelta

from gnomon.clock import Clock
from gnomon.errors import UpstreamTransient
from gnomon.net.base import Fetcher, Purpose, Response, ServerEvent, Socket


class Budget:
    """What one source may still ask for today."""

    def __init__(self, source: str, clock: Clock, *, section: str = "") -> None:
        """`section` of the settings bounds it, if it is no configured source."""
        self._source = source
        self._section = section
        self._clock = clock
        self.max_requests = sys.maxsize
        self.max_bytes = sys.maxsize
        self._day: date | None = None
        self._requests = 0
        self._bytes = 0

    def request(self) -> None:
        """Count a request. Raises UpstreamTransient `net.budget` if the day's are spent."""
        self._turn_day()
        if self._requests >= self.max_requests:
            raise self._spent(f"{self.max_requests:,} requests", "max_requests_per_day")
        self.check()
        self._requests += 1

    def received(self, n: int) -> None:
        """Count bytes that came."""
        self._turn_day()
        self._bytes += n

    def check(self) -> None:
        """Raise UpstreamTransient `net.budget` if the day's bytes are spent."""
        self._turn_day()
        if self._bytes >= self.max_bytes:
            raise self._spent(f"{self.max_bytes / 1_048_576:,.0f} MiB", "max_mib_per_day")

    @property
    def spent(self) -> tuple[int, int]:
        """Requests and bytes of today."""
        self._turn_day()
        return self._requests, self._bytes

    def _turn_day(self) -> None:
        today = self._clock.now().date()
        if today != self._day:
            self._day, self._requests, self._bytes = today, 0, 0

    def _spent(self, what: str, setting: str) -> UpstreamTransient:
        now = self._clock.now()
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        return UpstreamTransient(
            f"{self._source} spent its {what} of this day (UTC).",
            code="net.budget",
            retry_after_s=(midnight - now).total_seconds(),
            hint=f"Raise {self._section}.{setting}."
            if self._section
            else f"Raise ingest.{setting}, or {setting} in the source's settings.",
            source=self._source,
            setting=setting,
        )


class Metered:
    """A Fetcher whose use is counted against a budget."""

    def __init__(self, fetcher: Fetcher, budget: Budget) -> None:
        self._fetcher = fetcher
        self._budget = budget

    async def fetch(
        self,
        url: str,
        *,
        purpose: Purpose = "crawl",
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        accept: tuple[str, ...] = (),
        max_body_bytes: int | None = None,
        timeout_s: float | None = None,
        pace_s: float | None = None,
    ) -> Response:
        """See `Fetcher.fetch`."""
        self._budget.request()
        response = await self._fetcher.fetch(
            url,
            purpose=purpose,
            method=method,
            headers=headers,
            content=content,
            accept=accept,
            max_body_bytes=max_body_bytes,
            timeout_s=timeout_s,
            pace_s=pace_s,
        )
        self._budget.received(len(response.body))
        return response

    @asynccontextmanager
    async def lines(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        idle_s: float = 60.0,
        max_line_bytes: int = 1_000_000,
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """See `Fetcher.lines`."""
        self._budget.request()
        opened = self._fetcher.lines(
            url, method=method, headers=headers, idle_s=idle_s, max_line_bytes=max_line_bytes
        )
        async with opened as lines, aclosing(self._lines(lines)) as counted:
            yield counted

    @asynccontextmanager
    async def events(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        last_event_id: str = "",
        idle_s: float = 60.0,
        max_event_bytes: int = 1_000_000,
    ) -> AsyncIterator[AsyncIterator[ServerEvent]]:
        """See `Fetcher.events`."""
        self._budget.request()
        opened = self._fetcher.events(
            url,
            headers=headers,
            last_event_id=last_event_id,
            idle_s=idle_s,
            max_event_bytes=max_event_bytes,
        )
        async with opened as events, aclosing(self._events(events)) as counted:
            yield counted

    @asynccontextmanager
    async def socket(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        subprotocols: tuple[str, ...] = (),
        idle_s: float = 60.0,
        max_message_bytes: int = 2_000_000,
    ) -> AsyncIterator[Socket]:
        """See `Fetcher.socket`."""
        self._budget.request()
        opened = self._fetcher.socket(
            url,
            headers=headers,
            subprotocols=subprotocols,
            idle_s=idle_s,
            max_message_bytes=max_message_bytes,
        )
        async with opened as socket:
            yield _MeteredSocket(socket, self._budget)

    async def aclose(self) -> None:
        """Nothing: the fetcher belongs to whoever made it."""

    async def _lines(self, lines: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        async for line in lines:
            self._budget.received(len(line) + 1)
            yield line
            self._budget.check()

    async def _events(
        self, events: AsyncIterator[ServerEvent]
    ) -> AsyncGenerator[ServerEvent, None]:
        async for event in events:
            self._budget.received(len(event.data))
            yield event
            self._budget.check()


class _MeteredSocket:
    def __init__(self, socket: Socket, budget: Budget) -> None:
        self._socket = socket
        self._budget = budget
        self._messages = aiter(socket)

    @property
    def subprotocol(self) -> str:
        return self._socket.subprotocol

    def __aiter__(self) -> AsyncIterator[str | bytes]:
        return self

    async def __anext__(self) -> str | bytes:
        self._budget.check()
        message = await anext(self._messages)
        self._budget.received(len(message))
        return message

    async def send(self, message: str | bytes) -> None:
        await self._socket.send(message)
