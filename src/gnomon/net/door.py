"""The one guarded door to the outside.

Every byte that leaves or enters the process on somebody's behalf passes here. Addresses are read
once (`target`), checked where the connection is made (`guard`), bodies are counted while they
come (`body`), hosts are asked one request at a time (`politeness`). There are no cookies, no
proxies, no credentials from the environment, and nothing is retried: callers decide that.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    aclosing,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)

import httpcore2

from gnomon.clock import Clock
from gnomon.errors import GnomonError, UpstreamTerminal
from gnomon.metrics import FETCHES
from gnomon.net import headers as heads
from gnomon.net.address import parse_allow, parse_downgrade
from gnomon.net.base import Purpose, Response, ServerEvent, Socket
from gnomon.net.body import read_body
from gnomon.net.exchange import (
    ERROR_BODY_BYTES,
    Ask,
    Wire,
    check_type,
    must_be_available,
    must_succeed,
    plain_errors,
    timed_out,
)
from gnomon.net.guard import Guard, Resolver, system_resolver
from gnomon.net.politeness import Turns
from gnomon.net.robots import MAX_ROBOTS_BYTES, Robots
from gnomon.net.socket import open_socket
from gnomon.net.streams import chunks_of, events_of, lines_of
from gnomon.net.target import SOCKETS, Target, join, parse_target
from gnomon.net.usage import NOTHING_SAID, Usage
from gnomon.settings import Net

MAX_REDIRECTS = 5
IDLE_S = 10.0
"""Longest silence within one exchange."""
STREAM_IDLE_S = 120.0
"""Longest silence of a model endpoint: it may read a long prompt before the first token."""
STREAM_DEADLINE_S = 1_800.0
MAX_STREAM_BYTES = 100_000_000
_MAX_ENDLESS = 1_000
_CHECK_MODEL = "Check models.url, models.model and the key."
_CHECK_STREAM = "Check the address and the key of this stream."
_EVENT_STREAM = "text/event-stream"
_PERMANENT = (301, 308)
_REDIRECTS = (301, 302, 303, 307, 308)


class Door:
    """Implements `gnomon.net.base.Fetcher`.

    `endpoints` are the `host:port` pairs of the operator's models: purpose `model` reaches
    exactly them, wherever they are, and nothing else. `resolver`, `network` and `ssl_context`
    replace the system's DNS, sockets and trusted certificates.
    """

    def __init__(
        self,
        settings: Net,
        clock: Clock,
        *,
        endpoints: Iterable[str] = (),
        resolver: Resolver | None = None,
        network: httpcore2.AsyncNetworkBackend | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        resolver = resolver or system_resolver
        context = ssl_context or httpcore2.default_ssl_context()
        self._public = Guard(parse_allow(settings.allow), resolver)
        self._models = Guard(parse_allow(endpoints), resolver, only=True)
        # Wires of their own, so that a kept connection to a model is never lent to a crawl, and
        # endless bodies do not use up the connections of everybody else.
        self._wire = Wire(self._public, network, context, max_connections=100)
        self._endless = Wire(
            self._public, network, context, max_connections=_MAX_ENDLESS, endless=True
        )
        self._model_wire = Wire(self._models, network, context, max_connections=100)
        self._downgrade = parse_downgrade(settings.allow_downgrade)
        self._turns = Turns(clock)
        self._robots = Robots(clock, self._fetch_robots)

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
        """Fetch `url`; see `Fetcher.fetch`.

        Also raises UpstreamTerminal `net.url` and `net.scheme` for addresses that are none,
        `net.downgrade` for a redirect from https to http elsewhere than to the hosts of
        `net.allow_downgrade`, UpstreamTransient
        `net.robots_unavailable`, and ContentError `net.encoding` for damaged bodies. Of the body
        of an error answer at most 64 KiB are kept. The deadline covers all hops; robots.txt and
        waiting for a host's turn are not counted.
        """
        try:
            response = await self._follow(
                Ask(
                    purpose,
                    method,
                    headers,
                    content,
                    accept,
                    max_body_bytes or self._settings.max_body_bytes,
                    timeout_s or self._settings.timeout_s,
                    plain=purpose == "model",
                    pace_s=pace_s if purpose == "feed" else None,
                ),
                url,
            )
        except GnomonError as error:
            FETCHES.labels(purpose, error.code).inc()
            raise
        FETCHES.labels(purpose, f"{response.status // 100}xx").inc()
        return response

    @asynccontextmanager
    async def stream(
        self,
        url: str,
        *,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        timeout_s: float = STREAM_DEADLINE_S,
        idle_s: float = STREAM_IDLE_S,
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The body of a model endpoint's answer as it comes: `async with door.stream(...) as it`.

        For the configured endpoints only, as purpose `model`; no redirects. Leaving the context
        closes the connection, which tells the endpoint to stop. Raises UpstreamTransient for
        429, 5xx, time-outs and broken connections, UpstreamTerminal `net.status` for other
        statuses than 2xx (fields `status`, `body`: at most 64 KiB of text), ContentError
        `net.too_large` past 100 MB.
        """
        ask = Ask("model", method, headers, content, (), MAX_STREAM_BYTES, timeout_s, plain=True)
        target = parse_target(url)
        outcome = "2xx"
        try:
            async with asyncio.timeout(timeout_s) as deadline, AsyncExitStack() as stack:
                try:
                    with plain_errors(target):
                        raw = await stack.enter_async_context(self._exchange(target, ask, idle_s))
                        await must_succeed(target, raw, self._clock.now(), _CHECK_MODEL)
                except GnomonError as error:
                    outcome = error.code
                    raise
                chunks = chunks_of(target, raw, MAX_STREAM_BYTES)
                yield await stack.enter_async_context(aclosing(chunks))
        except TimeoutError:
            if not deadline.expired():
                raise
            outcome = "net.timeout"
            raise timed_out(target, timeout_s) from None
        finally:
            FETCHES.labels("model", outcome).inc()

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
        """The lines of an endless body; see `Fetcher.lines`.

        LF, CR and CRLF end a line. A last line without an end is handed over if the body was
        framed; where only the closing of the connection ended it, it is `net.connection`.
        """
        ask = Ask("feed", method, headers, None, (), 0, self._settings.timeout_s, plain=True)
        async with AsyncExitStack() as stack:
            yield await self._lines(stack, ask, url, idle_s, max_line_bytes)

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
        """Server-sent events; see `Fetcher.events`.

        Another media type than `text/event-stream` is a ContentError `net.media_type`.
        """
        sent = dict(headers or {})
        if last_event_id:
            sent["last-event-id"] = last_event_id.encode().decode("latin-1")
        timeout_s = self._settings.timeout_s
        ask = Ask("feed", "GET", sent, None, (_EVENT_STREAM,), 0, timeout_s, plain=True)
        async with AsyncExitStack() as stack:
            lines = await self._lines(stack, ask, url, idle_s, max_event_bytes)
            events = events_of(lines, last_event_id, max_event_bytes)
            yield await stack.enter_async_context(aclosing(events))

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
        """A WebSocket; see `Fetcher.socket`. Also raises `net.url` and `net.scheme`."""
        async with AsyncExitStack() as stack:
            with _counted():
                target = parse_target(url, SOCKETS)
                ask = Ask("feed", "GET", headers, None, (), max_message_bytes, 0.0, plain=True)
                async with self._turn(target, self._settings.per_host_delay_s):
                    opened = open_socket(
                        self._endless,
                        target,
                        {
                            "user-agent": heads.user_agent("feed", self._settings.contact),
                            **ask.headers,
                        },
                        subprotocols=subprotocols,
                        open_s=self._settings.timeout_s,
                        idle_s=idle_s,
                        max_message_bytes=max_message_bytes,
                        now=self._clock.now,
                    )
                    socket = await stack.enter_async_context(opened)
            yield socket

    async def aclose(self) -> None:
        """Close connections. Idempotent."""
        for wire in (self._wire, self._endless, self._model_wire):
            await wire.aclose()

    # -- one chain of hops -----------------------------------------------------
    async def _follow(self, ask: Ask, url: str) -> Response:
        first = target = parse_target(url)
        permanent, moved = True, ""
        for _ in range(MAX_REDIRECTS + 1):
            status, headers, body, usage = await self._hop(target, ask)
            location = headers.get("location")
            if status not in _REDIRECTS or location is None:
                return Response(
                    url=target.url,
                    status=status,
                    headers=headers,
                    body=body,
                    permanent_url=moved,
                    usage=usage | heads.usage(headers),
                )
            onward = parse_target(join(target, location))
            ask.redirected(status, target, onward, downgrade=self._downgrade)
            permanent = permanent and status in _PERMANENT
            moved = onward.url if permanent else moved
            target = onward
        raise _too_many_redirects(first)

    async def _hop(self, target: Target, ask: Ask) -> tuple[int, dict[str, str], bytes, Usage]:
        """One request and its answer, in this host's turn; and what robots.txt wishes."""
        pause_s, usage = self._settings.per_host_delay_s, NOTHING_SAID
        if ask.pace_s is not None:
            pause_s = min(pause_s, ask.pace_s)
        if ask.purpose == "crawl" and self._settings.robots:
            permit = await self._robots.check(target)
            pause_s, usage = max(pause_s, permit.crawl_delay_s), permit.usage
        # A person does not wait, and a model is the operator's own service.
        waits = ask.purpose not in ("user", "model")
        async with self._turn(target, pause_s) if waits else nullcontext():
            return *await self._read(target, ask), usage

    def _turn(self, target: Target, pause_s: float) -> AbstractAsyncContextManager[None]:
        """This host's turn; the operator's own services have none."""
        if self._public.allowed(*target.address):
            return nullcontext()
        return self._turns.turn(target.host, pause_s)

    async def _read(
        self, target: Target, ask: Ask, *, truncate: bool = False
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body, within what is left of the deadline."""
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(ask.left_s):
                with plain_errors(target):
                    async with self._exchange(target, ask, min(IDLE_S, ask.left_s)) as raw:
                        return await self._answer(target, ask, raw, truncate)
        except TimeoutError:
            raise timed_out(target, ask.timeout_s) from None
        finally:
            ask.left_s -= asyncio.get_running_loop().time() - began

    async def _answer(
        self, target: Target, ask: Ask, raw: httpcore2.Response, truncate: bool
    ) -> tuple[int, dict[str, str], bytes]:
        received = heads.incoming(raw.headers)
        status = raw.status
        must_be_available(target, status, received, self._clock.now())
        if status in _REDIRECTS and "location" in received:
            return status, received, b""
        if 200 <= status < 300:
            check_type(target, ask, received)
        bodiless = ask.method == "HEAD" or status in (204, 304)
        body = await read_body(
            raw.aiter_stream(),
            coding=received.get("content-encoding", ""),
            cap=ask.cap if status < 400 else ERROR_BODY_BYTES,
            announced=None if bodiless else heads.content_length(received),
            truncate=truncate or status >= 400,
        )
        return status, received, body

    def _exchange(
        self, target: Target, ask: Ask, idle_s: float, *, endless: bool = False
    ) -> AbstractAsyncContextManager[httpcore2.Response]:
        usual = self._endless if endless else self._wire
        wire = self._model_wire if ask.purpose == "model" else usual
        return wire.exchange(target, ask, contact=self._settings.contact, idle_s=idle_s)

    # -- endless bodies --------------------------------------------------------
    async def _lines(
        self, stack: AsyncExitStack, ask: Ask, url: str, idle_s: float, max_line_bytes: int
    ) -> AsyncIterator[bytes]:
        """Open the body at `url`, redirects followed; `stack` closes it."""
        with _counted():
            target, raw = await self._enter(stack, ask, url, idle_s)
        return await stack.enter_async_context(aclosing(lines_of(target, raw, max_line_bytes)))

    async def _enter(
        self, stack: AsyncExitStack, ask: Ask, url: str, idle_s: float
    ) -> tuple[Target, httpcore2.Response]:
        first = target = parse_target(url)
        for _ in range(MAX_REDIRECTS + 1):
            async with AsyncExitStack() as hop, self._turn(target, self._settings.per_host_delay_s):
                try:
                    async with asyncio.timeout(ask.timeout_s):
                        with plain_errors(target):
                            exchange = self._exchange(target, ask, idle_s, endless=True)
                            raw = await hop.enter_async_context(exchange)
                            received = heads.incoming(raw.headers)
                            location = received.get("location")
                            if raw.status not in _REDIRECTS or location is None:
                                await must_succeed(target, raw, self._clock.now(), _CHECK_STREAM)
                                check_type(target, ask, received)
                                await stack.enter_async_context(hop.pop_all())
                                return target, raw
                except TimeoutError:
                    raise timed_out(target, ask.timeout_s) from None
            onward = parse_target(join(target, location))
            ask.redirected(raw.status, target, onward, downgrade=self._downgrade)
            target = onward
        raise _too_many_redirects(first)

    # -- robots.txt ------------------------------------------------------------
    async def _fetch_robots(self, target: Target) -> tuple[int, bytes]:
        """Status and body of an origin's robots.txt; redirects are followed, also elsewhere.

        To plain http as well: all that it could do is to forbid.
        """
        ask = Ask("crawl", "GET", {}, None, (), MAX_ROBOTS_BYTES, self._settings.timeout_s)
        at = parse_target(f"{target.origin}/robots.txt")
        for _ in range(MAX_REDIRECTS + 1):
            async with self._turn(at, self._settings.per_host_delay_s):
                status, headers, body = await self._read(at, ask, truncate=True)
            if status not in _REDIRECTS or "location" not in headers:
                return status, body
            at = parse_target(join(at, headers["location"]))
        return 404, b""


def _too_many_redirects(first: Target) -> UpstreamTerminal:
    return UpstreamTerminal(
        f"{first.url} redirects more than {MAX_REDIRECTS} times.",
        code="net.redirects",
        hint="Open the address in a browser; it may need an account, or be misconfigured.",
        url=first.url,
    )


@contextmanager
def _counted() -> Iterator[None]:
    """Count the opening of something endless."""
    try:
        yield
    except GnomonError as error:
        FETCHES.labels("feed", error.code).inc()
        raise
    FETCHES.labels("feed", "2xx").inc()
