"""The door as the rest of the house sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol

import msgspec

from gnomon.net.usage import NOTHING_SAID, Usage

Purpose = Literal["crawl", "user", "feed", "model"]
"""Why we fetch: `crawl` and `feed` obey robots rules for bots, `user` is a page that a person
asked for, `model` an endpoint that the operator configured."""


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """A finished exchange. 4xx and 5xx are responses too, except where `fetch` says it raises."""

    url: str
    """Address of the last hop."""
    status: int
    headers: Mapping[str, str]
    """Lower-case names."""
    body: bytes
    permanent_url: str = ""
    """Where permanent redirects (301, 308) led from the start of the chain; empty if none did."""
    usage: Usage = NOTHING_SAID
    """What the publisher wishes it to be used for: by its headers and, for a crawl, robots.txt."""


class ServerEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a `text/event-stream` (WHATWG HTML, 9.2)."""

    event: str = "message"
    data: str = ""
    id: str = ""
    """The last event id that stands after this event."""


class Socket(Protocol):
    """An open WebSocket. Iterating yields text as `str` and binary messages as `bytes`."""

    @property
    def subprotocol(self) -> str:
        """What the server chose; empty if nothing."""
        ...

    def __aiter__(self) -> AsyncIterator[str | bytes]:
        """Messages in order. Raises UpstreamTransient `net.closed` (fields `status`, `reason`)
        when the connection ends in whatever way, and `net.timeout` after `idle_s` without a
        message (pings are no messages), or sooner if nobody answers our own pings."""
        ...

    async def send(self, message: str | bytes) -> None:
        """Send one message. Raises like iterating."""
        ...


class Fetcher(Protocol):
    """The only way out of the process."""

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
        """Fetch `url`, following at most 5 redirects, each checked like the first address.

        Raises UpstreamTransient (time-out, broken connection, unresolvable, 429 and 5xx with
        `retry_after_s`), UpstreamTerminal (address refused by the guard: code
        `net.blocked`; too many redirects; scheme; robots: code `net.robots`) and ContentError
        (body over the cap: `net.too_large`; media type not in `accept`: `net.media_type`).
        304 and other 4xx come back as a Response.

        `pace_s` is the rest between two requests that the service itself allows, where that is
        shorter than `net.per_host_delay_s`. It counts for purpose `feed` only.
        """
        ...

    def lines(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        idle_s: float = 60.0,
        max_line_bytes: int = 1_000_000,
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """The lines of an endless body: `async with fetcher.lines(url) as lines`.

        Lines end in LF, CR or CRLF and come without it; empty ones (heartbeats) come as b"".
        Entering raises like `fetch`, and UpstreamTerminal `net.status` (fields `status`, `body`,
        `headers`) for any status but 2xx, 429 and 5xx. The iterator ends where the body does, and
        raises UpstreamTransient (`net.timeout` after `idle_s` of silence, `net.connection`), and
        ContentError `net.too_large` for a line over the cap. There is no total deadline.
        """
        ...

    def events(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        last_event_id: str = "",
        idle_s: float = 60.0,
        max_event_bytes: int = 1_000_000,
    ) -> AbstractAsyncContextManager[AsyncIterator[ServerEvent]]:
        """Server-sent events, heard like `lines`. Comments count as a heartbeat and are not shown.

        A retry time that the server sets is a matter of the caller's back-off and is dropped.
        """
        ...

    def socket(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        subprotocols: tuple[str, ...] = (),
        idle_s: float = 60.0,
        max_message_bytes: int = 2_000_000,
    ) -> AbstractAsyncContextManager[Socket]:
        """A WebSocket (`ws://`, `wss://`) to a checked address; redirects are refused.

        Entering raises like `lines`, the status being that of the refused handshake. Pings are
        answered and sent; at most a few messages wait unread, then the server has to wait.
        """
        ...

    async def aclose(self) -> None:
        """Close connections."""
        ...
