"""One exchange on the wire: what is asked, over whose connections, and what its failures mean."""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping, Set
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime

import httpcore2

from gnomon.errors import (
    ConfigError,
    ContentError,
    UpstreamTerminal,
    UpstreamTransient,
)
from gnomon.net import headers as heads
from gnomon.net.base import Purpose
from gnomon.net.body import read_body
from gnomon.net.guard import Guard, GuardedBackend, Unresolvable
from gnomon.net.target import Target

ERROR_BODY_BYTES = 65_536
_CONNECT_S = 10.0


class Ask:
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
        *,
        plain: bool = False,
        pace_s: float | None = None,
    ) -> None:
        if not (method.isalpha() and method.isascii()):
            raise ConfigError(f"{method!r} is no HTTP method.", code="net.method", method=method)
        self.purpose = purpose
        self.method = method.upper()
        self.headers = heads.outgoing(headers or {})
        self.content = content
        self.accept = accept
        self.coding = "identity" if plain else "gzip, deflate"
        self.cap = cap
        self.pace_s = pace_s
        self.timeout_s = self.left_s = timeout_s

    def redirected(self, status: int, here: Target, onward: Target, *, downgrade: Set[str]) -> None:
        """Go on to `onward`. Raises UpstreamTerminal where that would weaken or leak something.

        Without encryption on from https only to the hosts `downgrade`.
        """
        weaker = here.scheme == "https" and onward.scheme == "http"
        if weaker and onward.host not in downgrade:
            raise UpstreamTerminal(
                f"{here.url} redirects from https to {onward.url}, which is refused.",
                code="net.downgrade",
                hint=f"If plain http will do, add {onward.host} to net.allow_downgrade.",
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


def check_type(target: Target, ask: Ask, received: Mapping[str, str]) -> None:
    """Raise ContentError `net.media_type` for what was not wanted."""
    given = heads.media_type(received)
    # No type at all is legal; whoever reads the body then has to look at it.
    if ask.accept and given and not heads.accepts(ask.accept, given):
        raise ContentError(
            f"{target.shown} is {given!r}, and {', '.join(ask.accept)} was wanted.",
            code="net.media_type",
            hint="Check the address.",
            url=target.url,
            media_type=given,
        )


class Wire:
    """Connections through one guard. `endless` ones are never kept for somebody else."""

    def __init__(
        self,
        guard: Guard,
        network: httpcore2.AsyncNetworkBackend | None,
        ssl_context: ssl.SSLContext,
        *,
        max_connections: int,
        endless: bool = False,
    ) -> None:
        self._ssl_context = ssl_context
        self._backend = GuardedBackend(guard, network)
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=ssl_context,
            max_connections=max_connections,
            max_keepalive_connections=0 if endless else 20,
            keepalive_expiry=15.0,
            network_backend=self._backend,
        )

    @asynccontextmanager
    async def exchange(
        self, target: Target, ask: Ask, *, contact: str, idle_s: float
    ) -> AsyncIterator[httpcore2.Response]:
        """Send the request; the answer's body is still to be read."""
        headers = {
            "host": target.host_header,
            "user-agent": heads.user_agent(ask.purpose, contact),
            "accept": ", ".join(ask.accept) or "*/*",
            **ask.headers,
            "accept-encoding": ask.coding,
        }
        if ask.content is not None:
            headers["content-length"] = str(len(ask.content))
        quick = dict.fromkeys(("connect", "write", "pool"), min(idle_s, _CONNECT_S))
        async with self._pool.stream(
            ask.method,
            httpcore2.URL(
                scheme=target.scheme.encode(),
                host=target.host.encode(),
                port=target.port,
                target=target.path.encode(),
            ),
            headers=[(k.encode(), v.encode("latin-1")) for k, v in headers.items()],
            content=ask.content,
            extensions={"timeout": {**quick, "read": idle_s}},
        ) as raw:
            yield raw

    async def dial(self, target: Target) -> httpcore2.AsyncNetworkStream:
        """A bare connection to the target, with TLS where its scheme says so."""
        stream = await self._backend.connect_tcp(target.host, target.port, timeout=_CONNECT_S)
        if not target.secure:
            return stream
        try:
            return await stream.start_tls(self._ssl_context, target.host, timeout=_CONNECT_S)
        except BaseException:
            await stream.aclose()
            raise

    async def aclose(self) -> None:
        """Close what is kept."""
        await self._pool.aclose()


def must_be_available(
    target: Target, status: int, received: Mapping[str, str], now: datetime, body: bytes = b""
) -> None:
    """Raise UpstreamTransient for 429, 5xx and what was not asked for."""
    if status < 200:
        raise broken(target, "net.protocol", f"it answers {status}, which was not asked for")
    if status == 429 or status >= 500:
        raise UpstreamTransient(
            f"{target.shown} answers {status}.",
            code="net.status",
            retry_after_s=heads.retry_after_s(received.get("retry-after"), now),
            hint="It is asked again later.",
            url=target.url,
            status=status,
            headers=dict(received),
            body=body.decode("utf-8", "replace"),
        )


async def must_succeed(target: Target, raw: httpcore2.Response, now: datetime, hint: str) -> None:
    """Raise for every status but 2xx, and for a content coding, as nothing here undoes one."""
    received = heads.incoming(raw.headers)
    coding = received.get("content-encoding", "identity")
    body = b""
    if 300 <= raw.status < 500:
        body = await read_body(
            raw.aiter_stream(), coding=coding, cap=ERROR_BODY_BYTES, announced=None, truncate=True
        )
    must_be_available(target, raw.status, received, now, body)
    if raw.status >= 300:
        raise refused_status(target, raw.status, received, body, hint)
    if coding != "identity":
        raise ContentError(
            f"{target.shown} is coded as {coding[:40]!r}, which was not asked for.",
            code="net.encoding",
            hint="The server must answer plainly.",
            url=target.url,
        )


def refused_status(
    target: Target, status: int, received: Mapping[str, str], body: bytes, hint: str
) -> UpstreamTerminal:
    """The error for an answer that says no."""
    return UpstreamTerminal(
        f"{target.shown} answers {status}.",
        code="net.status",
        hint=hint,
        url=target.url,
        status=status,
        headers=dict(received),
        body=body[:ERROR_BODY_BYTES].decode("utf-8", "replace"),
    )


def timed_out(target: Target, timeout_s: float) -> UpstreamTransient:
    """The error for a deadline that passed."""
    return UpstreamTransient(
        f"{target.shown} did not finish within {timeout_s:g} s.",
        code="net.timeout",
        hint="It is tried again later; net.timeout_s is the deadline.",
        url=target.url,
    )


@contextmanager
def plain_errors(target: Target) -> Iterator[None]:
    """The client's exceptions as ours."""
    try:
        yield
    except Unresolvable as error:
        raise broken(target, "net.unresolvable", str(error)) from None
    except httpcore2.TimeoutException:
        raise broken(target, "net.timeout", "it was silent for too long") from None
    except (httpcore2.NetworkError, httpcore2.ProtocolError, ssl.SSLError, OSError) as error:
        if isinstance(error, TimeoutError):
            raise  # the deadline
        code = "net.protocol" if isinstance(error, httpcore2.ProtocolError) else "net.connection"
        raise broken(target, code, _say(error)) from None


_CERTIFICATE = re.compile(r"certificate verify failed: (.+?)(?: \(_ssl|$)")


def _say(error: BaseException) -> str:
    text = str(error).rstrip(".") or type(error).__name__
    if match := _CERTIFICATE.search(text):
        return f"its certificate is not valid ({match[1]})"
    return text if len(text) <= 200 else text[:200] + "…"


def broken(target: Target, code: str, reason: str) -> UpstreamTransient:
    """The error for an exchange that failed on the way."""
    return UpstreamTransient(
        f"{target.shown} could not be fetched: {reason}.",
        code=code,
        hint="It is tried again later.",
        url=target.url,
    )
