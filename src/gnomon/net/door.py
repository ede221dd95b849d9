"""The one guarded door to the outside.

Every byte that leaves or enters the process on somebody's behalf passes here. Addresses are read
once (`target`), checked where the connection is made (`guard`), bodies are counted while they
come (`body`), hosts are asked one request at a time (`politeness`). There are no cookies, no
proxies, no credentials from the environment, and nothing is retried: callers decide that.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager

import httpcore2

from gnomon.clock import Clock
from gnomon.errors import (
    ConfigError,
    ContentError,
    GnomonError,
    UpstreamError,
    UpstreamTerminal,
    UpstreamTransient,
)
from gnomon.metrics import FETCHES
from gnomon.net import headers as heads
from gnomon.net.address import parse_allow
from gnomon.net.base import Purpose, Response
from gnomon.net.body import read_body
from gnomon.net.guard import Guard, GuardedBackend, Resolver, Unresolvable, system_resolver
from gnomon.net.politeness import Turns
from gnomon.net.robots import MAX_ROBOTS_BYTES, Robots
from gnomon.net.target import Target, join, parse_target
from gnomon.settings import Net

MAX_REDIRECTS = 5
IDLE_S = 10.0
"""Longest silence within one exchange."""
STREAM_IDLE_S = 120.0
"""Longest silence of a model endpoint: it may read a long prompt before the first token."""
STREAM_DEADLINE_S = 1_800.0
MAX_STREAM_BYTES = 100_000_000
_ERROR_BODY_BYTES = 65_536
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
        # Two pools, so that a kept connection to a model is never lent to a crawl.
        self._pools = {
            guard: httpcore2.AsyncConnectionPool(
                ssl_context=context,
                max_connections=100,
                max_keepalive_connections=20,
                keepalive_expiry=15.0,
                network_backend=GuardedBackend(guard, network),
            )
            for guard in (self._public, self._models)
        }
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
    ) -> Response:
        """Fetch `url`; see `Fetcher.fetch`.

        Also raises UpstreamTerminal `net.url` and `net.scheme` for addresses that are none,
        `net.downgrade` for a redirect from https to http, UpstreamTransient
        `net.robots_unavailable`, and ContentError `net.encoding` for damaged bodies. Of the body
        of an error answer at most 64 KiB are kept. The deadline covers all hops; robots.txt and
        waiting for a host's turn are not counted.
        """
        try:
            response = await self._follow(
                _Ask(
                    purpose,
                    method,
                    headers,
                    content,
                    accept,
                    max_body_bytes or self._settings.max_body_bytes,
                    timeout_s or self._settings.timeout_s,
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
        ask = _Ask("model", method, headers, content, (), MAX_STREAM_BYTES, timeout_s)
        target = parse_target(url)
        outcome = "2xx"
        try:
            async with asyncio.timeout(timeout_s) as deadline, AsyncExitStack() as stack:
                try:
                    with _plain_errors(target):
                        raw = await stack.enter_async_context(self._exchange(target, ask, idle_s))
                        await self._must_succeed(target, raw)
                except GnomonError as error:
                    outcome = error.code
                    raise
                yield await stack.enter_async_context(aclosing(_chunks(target, raw)))
        except TimeoutError:
            if not deadline.expired():
                raise
            outcome = "net.timeout"
            raise _timeout(target, timeout_s) from None
        finally:
            FETCHES.labels("model", outcome).inc()

    async def aclose(self) -> None:
        """Close connections. Idempotent."""
        for pool in self._pools.values():
            await pool.aclose()

    # -- one chain of hops -----------------------------------------------------
    async def _follow(self, ask: _Ask, url: str) -> Response:
        first = target = parse_target(url)
        permanent, moved = True, ""
        for _ in range(MAX_REDIRECTS + 1):
            status, headers, body = await self._hop(target, ask)
            location = headers.get("location")
            if status not in _REDIRECTS or location is None:
                return Response(
                    url=target.url, status=status, headers=headers, body=body, permanent_url=moved
                )
            onward = parse_target(join(target, location))
            ask.redirected(status, target, onward)
            permanent = permanent and status in _PERMANENT
            moved = onward.url if permanent else moved
            target = onward
        raise UpstreamTerminal(
            f"{first.url} redirects more than {MAX_REDIRECTS} times.",
            code="net.redirects",
            hint="Open the address in a browser; it may need an account, or be misconfigured.",
            url=first.url,
        )

    async def _hop(self, target: Target, ask: _Ask) -> tuple[int, dict[str, str], bytes]:
        """One request and its answer, in this host's turn."""
        pause_s = self._settings.per_host_delay_s
        if ask.purpose == "crawl" and self._settings.robots:
            pause_s = max(pause_s, await self._robots.check(target))
        if ask.purpose in ("user", "model") or self._public.allowed(*target.address):
            # A person waits, or it is the operator's own service.
            return await self._read(target, ask)
        async with self._turns.turn(target.host, pause_s):
            return await self._read(target, ask)

    async def _read(
        self, target: Target, ask: _Ask, *, truncate: bool = False
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body, within what is left of the deadline."""
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(ask.left_s):
                with _plain_errors(target):
                    async with self._exchange(target, ask, min(IDLE_S, ask.left_s)) as raw:
                        return await self._answer(target, ask, raw, truncate)
        except TimeoutError:
            raise _timeout(target, ask.timeout_s) from None
        finally:
            ask.left_s -= asyncio.get_running_loop().time() - began

    async def _answer(
        self, target: Target, ask: _Ask, raw: httpcore2.Response, truncate: bool
    ) -> tuple[int, dict[str, str], bytes]:
        received = heads.incoming(raw.headers)
        status = raw.status
        self._must_be_available(target, status, received)
        if status in _REDIRECTS and "location" in received:
            return status, received, b""
        if 200 <= status < 300:
            _check_type(target, ask, received)
        bodiless = ask.method == "HEAD" or status in (204, 304)
        body = await read_body(
            raw.aiter_stream(),
            coding=received.get("content-encoding", ""),
            cap=ask.cap if status < 400 else _ERROR_BODY_BYTES,
            announced=None if bodiless else heads.content_length(received),
            truncate=truncate or status >= 400,
        )
        return status, received, body

    @asynccontextmanager
    async def _exchange(
        self, target: Target, ask: _Ask, idle_s: float
    ) -> AsyncIterator[httpcore2.Response]:
        headers = {
            "host": target.host_header,
            "user-agent": heads.user_agent(ask.purpose, self._settings.contact),
            "accept": ", ".join(ask.accept) or "*/*",
            **ask.headers,
            "accept-encoding": "identity" if ask.purpose == "model" else "gzip, deflate",
        }
        if ask.content is not None:
            headers["content-length"] = str(len(ask.content))
        pool = self._pools[self._models if ask.purpose == "model" else self._public]
        waits = dict.fromkeys(("connect", "read", "write", "pool"), idle_s)
        async with pool.stream(
            ask.method,
            httpcore2.URL(
                scheme=target.scheme.encode(),
                host=target.host.encode(),
                port=target.port,
                target=target.path.encode(),
            ),
            headers=[(k.encode(), v.encode("latin-1")) for k, v in headers.items()],
            content=ask.content,
            extensions={"timeout": waits},
        ) as raw:
            yield raw

    # -- what an answer means --------------------------------------------------
    def _must_be_available(self, target: Target, status: int, received: Mapping[str, str]) -> None:
        if status < 200:
            raise _broken(target, "net.protocol", f"it answers {status}, which was not asked for")
        if status == 429 or status >= 500:
            raise UpstreamTransient(
                f"{target.url} answers {status}.",
                code="net.status",
                retry_after_s=heads.retry_after_s(received.get("retry-after"), self._clock.now()),
                hint="It is asked again later.",
                url=target.url,
                status=status,
            )

    async def _must_succeed(self, target: Target, raw: httpcore2.Response) -> None:
        received = heads.incoming(raw.headers)
        self._must_be_available(target, raw.status, received)
        coding = received.get("content-encoding", "identity")
        if raw.status < 300 and coding == "identity":
            return
        body = await read_body(
            raw.aiter_stream(), coding=coding, cap=_ERROR_BODY_BYTES, announced=None, truncate=True
        )
        raise UpstreamTerminal(
            f"{target.url} answers {raw.status} (content coding: {coding}).",
            code="net.status",
            hint="Check models.url, models.model and the key.",
            url=target.url,
            status=raw.status,
            body=body.decode("utf-8", "replace"),
        )

    # -- robots.txt ------------------------------------------------------------
    async def _fetch_robots(self, target: Target) -> tuple[int, bytes]:
        """Status and body of an origin's robots.txt; redirects are followed, also elsewhere."""
        ask = _Ask("crawl", "GET", {}, None, (), MAX_ROBOTS_BYTES, self._settings.timeout_s)
        at = parse_target(f"{target.origin}/robots.txt")
        for _ in range(MAX_REDIRECTS + 1):
            if self._public.allowed(*at.address):
                status, headers, body = await self._read(at, ask, truncate=True)
            else:
                async with self._turns.turn(at.host, self._settings.per_host_delay_s):
                    status, headers, body = await self._read(at, ask, truncate=True)
            if status not in _REDIRECTS or "location" not in headers:
                return status, body
            at = parse_target(join(at, headers["location"]))
        return 404, b""


class _Ask:
    """What a caller wants, as redirects change it."""

    def __init__(
        self,
        purpose: Purpose,
        method: str,
        headers: Mapping[str, str] | None,
        content: bytes | None,
        accept: tuple[str, ...],
        cap: int,
        timeout_s: float,
    ) -> None:
        if not (method.isalpha() and method.isascii()):
            raise ConfigError(f"{method!r} is no HTTP method.", code="net.method", method=method)
        self.purpose = purpose
        self.method = method.upper()
        self.headers = heads.outgoing(headers or {})
        self.content = content
        self.accept = accept
        self.cap = cap
        self.timeout_s = self.left_s = timeout_s

    def redirected(self, status: int, here: Target, onward: Target) -> None:
        """Go on to `onward`. Raises UpstreamTerminal where that would weaken or leak something."""
        if here.scheme == "https" and onward.scheme == "http":
            raise UpstreamTerminal(
                f"{here.url} redirects from https to {onward.url}, which is refused.",
                code="net.downgrade",
                hint="Use the http address itself if the site has no other.",
                url=onward.url,
            )
        if (status == 303 and self.method != "HEAD") or (
            status in (301, 302) and self.method == "POST"
        ):
            self.method, self.content = "GET", None
            self.headers.pop("content-type", None)
        if here.origin == onward.origin:
            return
        self.headers = heads.harmless(self.headers)
        if self.content is not None:
            raise UpstreamTerminal(
                f"{here.url} redirects a {self.method} to {onward.origin}, which is refused.",
                code="net.redirect",
                hint="Configure the address to which it redirects.",
                url=onward.url,
            )


def _check_type(target: Target, ask: _Ask, received: Mapping[str, str]) -> None:
    given = heads.media_type(received)
    # No type at all is legal; whoever reads the body then has to look at it.
    if ask.accept and given and not heads.accepts(ask.accept, given):
        raise ContentError(
            f"{target.url} is {given!r}, and {', '.join(ask.accept)} was wanted.",
            code="net.media_type",
            hint="Check the address.",
            url=target.url,
            media_type=given,
        )


async def _chunks(target: Target, raw: httpcore2.Response) -> AsyncGenerator[bytes, None]:
    total = 0
    with _plain_errors(target):
        async for chunk in raw.aiter_stream():
            total += len(chunk)
            if total > MAX_STREAM_BYTES:
                raise ContentError(
                    f"{target.url} streams more than {MAX_STREAM_BYTES:,} bytes.",
                    code="net.too_large",
                    url=target.url,
                )
            yield chunk


def _timeout(target: Target, timeout_s: float) -> UpstreamTransient:
    return UpstreamTransient(
        f"{target.url} did not finish within {timeout_s:g} s.",
        code="net.timeout",
        hint="It is tried again later; net.timeout_s is the deadline.",
        url=target.url,
    )


@contextmanager
def _plain_errors(target: Target) -> Iterator[None]:
    """The client's exceptions as ours."""
    try:
        yield
    except Unresolvable as error:
        raise _broken(target, "net.unresolvable", str(error)) from None
    except httpcore2.TimeoutException:
        raise _broken(target, "net.timeout", "it was silent for too long") from None
    except (httpcore2.NetworkError, httpcore2.ProtocolError, ssl.SSLError, OSError) as error:
        if isinstance(error, TimeoutError):
            raise  # the deadline
        code = "net.protocol" if isinstance(error, httpcore2.ProtocolError) else "net.connection"
        raise _broken(target, code, _say(error)) from None


def _say(error: BaseException) -> str:
    text = str(error).rstrip(".") or type(error).__name__
    return text if len(text) <= 200 else text[:200] + "…"


def _broken(target: Target, code: str, reason: str) -> UpstreamError:
    return UpstreamTransient(
        f"{target.url} could not be fetched: {reason}.",
        code=code,
        hint="It is tried again later.",
        url=target.url,
    )
