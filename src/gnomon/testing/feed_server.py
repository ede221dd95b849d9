"""A real HTTP server on loopback that serves scripted feeds and pages, and misbehaves by name.

It speaks HTTP/1.1 itself, because a framework would never send half a body. It keeps what was
asked, so that a test can check validators and pacing. It is a stand-in, not a web server: no
TLS, no request bodies.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
from collections import deque
from collections.abc import Callable, Mapping
from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

from gnomon.clock import Clock, SystemClock
from gnomon.testing.scripted_feed import (
    FeedFormat,
    Item,
    ScriptedFeed,
    ScriptedPage,
    Validators,
)

__all__ = [
    "FAULTS",
    "FeedServer",
    "Item",
    "Reply",
    "Request",
    "ScriptedFeed",
    "ScriptedPage",
    "conditional",
]

FAULTS: Mapping[str, str] = {
    "drop": "closes the connection without an answer",
    "stall": "takes the request and never answers",
    "slow": "sends the body a byte at a time, without end",
    "truncated": "announces the whole body, sends half, closes",
    "huge": "sends a body without end, as fast as it is read",
    "duplicate": "serves every entry twice",
    "reorder": "serves the entries in another order",
    "broken_xml": "serves the feed cut off in the middle of a tag",
    "wrong_encoding": "declares UTF-8 and sends something else",
    "clock_jump": "dates everything two years ahead, the Date header included",
    "html": "serves a sign-in page instead, with status 200",
    "304": "answers 304 although nothing was conditional",
    "301": "redirects for good to the path that follows (`301 /new`); so 302, 307, 308",
    "401": "answers with that status; so any other number, with Retry-After (`429 30`) if given",
}
_MAX_HEAD_BYTES = 65_536
_PATIENCE_S = 60.0
"""How long a fault holds a connection whose client does not give up."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What a client asked for."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Lower-case names."""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What the server answers."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = {}


Handler = Callable[[Request], Reply]


class FeedServer:
    """Serves what was put under a path; `async with FeedServer() as server: ...`."""

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Clock | None = None,
        kept_requests: int = 10_000,
    ) -> None:
        self.host = host
        self.port = port
        self.requests: deque[Request] = deque(maxlen=kept_requests)
        self._clock = clock or SystemClock()
        self._handlers: dict[str, Handler] = {}
        self._feeds: dict[str, ScriptedFeed] = {}
        self._faults: dict[str, deque[str]] = {}
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.Task[None]] = set()

    # -- life -----------------------------------------------------------------
    async def start(self) -> None:
        """Listen. With port 0 the system chooses one, and `port` then says which."""
        self._server = await asyncio.start_server(self._accept, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close every connection and stop listening. A later `start` takes the same port."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.close()
        for talk in self._talks:
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)
        await server.wait_closed()

    async def __aenter__(self) -> FeedServer:
        await self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.stop()

    @property
    def host_port(self) -> str:
        """As `net.allow` wants it."""
        return f"{self.host}:{self.port}"

    def url(self, path: str = "/") -> str:
        """Absolute address of `path`."""
        return f"http://{self.host_port}{path}"

    # -- content --------------------------------------------------------------
    def feed(
        self,
        path: str,
        *,
        title: str = "A scripted feed",
        format: FeedFormat = "rss",
        window: int = 50,
        lang: str = "en",
        ttl_min: int | None = None,
        max_age_s: int | None = None,
        validators: Validators = "both",
    ) -> ScriptedFeed:
        """Serve a new feed under `path`, and return it to be written."""
        feed = ScriptedFeed(
            title=title,
            url=self.url(path),
            site=self.url("/"),
            format=format,
            window=window,
            lang=lang,
            ttl_min=ttl_min,
            max_age_s=max_age_s,
            validators=validators,
        )
        self._feeds[path] = feed
        self.route(path, lambda request: conditional(request, *feed.render()))
        return feed

    def page(self, path: str, **content: Any) -> ScriptedPage:
        """Serve a new page (`ScriptedPage`'s arguments) under `path`, and return it."""
        page = ScriptedPage(**content)

        def answer(request: Request) -> Reply:
            if page.gone:
                return _plain(page.gone)
            return conditional(request, *page.render())

        self.route(path, answer)
        return page

    def route(self, path: str, handler: Handler) -> None:
        """Answer `path` with `handler`, called for every request."""
        self._handlers[path] = handler

    def unroute(self, path: str) -> None:
        """Answer `path` with 404 from now on."""
        self._handlers.pop(path, None)
        self._feeds.pop(path, None)

    def misbehave(self, path: str, *faults: str) -> None:
        """Let the next requests to `path` meet these faults (see `FAULTS`), one each, in order."""
        for fault in faults:
            name = fault.split()[0]
            if name not in FAULTS and not name.isdigit():
                raise ValueError(f"No fault is called {name!r}. Known: {', '.join(FAULTS)}.")
        self._faults.setdefault(path, deque()).extend(faults)

    def asked(self, path: str) -> list[Request]:
        """The requests to `path` so far, oldest first."""
        return [request for request in self.requests if request.path == path]

    # -- HTTP -----------------------------------------------------------------
    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = asyncio.current_task()
        assert talk is not None  # noqa: S101 - a callback of start_server always runs in a task
        self._talks.add(talk)
        try:
            while await self._exchange(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client left, which is its right
        except asyncio.CancelledError:
            pass  # `stop`: asyncio would report a cancelled callback as an error
        finally:
            # What nobody reads any more would keep a closing connection open.
            writer.transport.abort() if self._server is None else writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()
            self._talks.discard(talk)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; whether the connection stays open."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return False
        request = _parse(head[:_MAX_HEAD_BYTES])
        self.requests.append(request)
        faults = self._faults.get(request.path)
        fault = faults.popleft() if faults else ""
        if fault in ("drop", "stall", "slow", "truncated", "huge"):
            await self._break(fault, request, reader, writer)
            return False
        reply = self._misanswer(fault, request) if fault else self._answer(request)
        writer.write(self._wire(request, reply))
        await writer.drain()
        return request.headers.get("connection", "").lower() != "close"

    def _answer(self, request: Request) -> Reply:
        handler = self._handlers.get(request.path)
        return handler(request) if handler else _plain(404)

    def _misanswer(self, fault: str, request: Request) -> Reply:
        name, _, value = fault.partition(" ")
        if name in ("301", "302", "307", "308"):
            return Reply(status=int(name), headers={"location": value or "/"})
        if name.isdigit():
            return _plain(int(name), {"retry-after": value} if value else {})
        if name == "html":
            body = b"<!doctype html><title>Sign in</title><p>Accept the terms to go on.</p>"
            return Reply(body=body, headers={"content-type": "text/html"})
        unconditional = msgspec.structs.replace(request, headers={})
        reply = self._answer(unconditional)
        body, headers = reply.body, dict(reply.headers)
        feed = self._feeds.get(request.path)
        if name == "broken_xml":
            cut = body.rfind(b"<", 0, max(len(body) // 2, 2))
            body = body[: cut + 2] + b" &nosuch; <<"
        elif name == "wrong_encoding":
            body = body.decode().encode("utf-16")
        elif feed is not None:
            body, headers = feed.render(
                twice=name == "duplicate",
                shuffled=name == "reorder",
                shift=timedelta(days=730 if name == "clock_jump" else 0),
            )
        if name == "clock_jump":
            ahead = self._clock.now() + timedelta(days=730)
            headers["date"] = format_datetime(ahead, usegmt=True)
        # What a fault brought must not be confirmed by a later 304.
        for validator in ("etag", "last-modified"):
            headers.pop(validator, None)
        return Reply(status=reply.status, body=body, headers=headers)

    async def _break(
        self,
        fault: str,
        request: Request,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        if fault == "drop":
            return
        if fault == "stall":
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(reader.read(1), _PATIENCE_S)
            return
        reply = self._answer(msgspec.structs.replace(request, headers={}))
        wire = self._wire(Request(method="GET", path="", query={}, headers={}), reply)
        if fault == "truncated":
            writer.write(wire[: len(wire) - max(len(reply.body) // 2, 1)])
            await writer.drain()
            return
        media_type = reply.headers.get("content-type", "text/plain")
        writer.write(f"HTTP/1.1 200 OK\r\ncontent-type: {media_type}\r\n\r\n".encode())
        block, pause_s = (b" ", 0.05) if fault == "slow" else (b" " * 65_536, 0.0)
        for _ in range(int(_PATIENCE_S / 0.05) if fault == "slow" else 16_384):
            writer.write(block)
            await writer.drain()
            await asyncio.sleep(pause_s)

    def _wire(self, request: Request, reply: Reply) -> bytes:
        body = reply.body
        headers = {"date": format_datetime(self._clock.now(), usegmt=True), **reply.headers}
        bodiless = request.method == "HEAD" or reply.status in (204, 304)
        if len(body) > 1_000 and "gzip" in request.headers.get("accept-encoding", ""):
            body = gzip.compress(body, 1, mtime=0)
            headers["content-encoding"] = "gzip"
        if reply.status not in (204, 304):
            headers["content-length"] = str(len(body))
        try:
            phrase = HTTPStatus(reply.status).phrase
        except ValueError:
            phrase = "Unknown"
        lines = [f"HTTP/1.1 {reply.status} {phrase}", *(f"{k}: {v}" for k, v in headers.items())]
        head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
        return head if bodiless else head + body


def _parse(head: bytes) -> Request:
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, *_ = (*first.split(" "), "", "")
    parts = urlsplit(target)
    fields = (line.partition(":") for line in lines if ":" in line)
    return Request(
        method=method,
        path=parts.path or "/",
        query=dict(parse_qsl(parts.query)),
        headers={name.strip().lower(): value.strip() for name, _, value in fields},
    )


def conditional(request: Request, body: bytes, headers: Mapping[str, str]) -> Reply:
    """The reply with this body, or 304 (RFC 9110: If-None-Match decides alone where given)."""
    etag, modified = headers.get("etag"), headers.get("last-modified")
    wanted, since = request.headers.get("if-none-match"), request.headers.get("if-modified-since")
    if wanted is not None:
        fresh = etag is not None and etag in (tag.strip() for tag in wanted.split(","))
    elif since is not None and modified is not None:
        try:
            fresh = parsedate_to_datetime(modified) <= parsedate_to_datetime(since)
        except ValueError:
            fresh = False
    else:
        fresh = False
    return Reply(status=304 if fresh else 200, body=b"" if fresh else body, headers=headers)


def _plain(status: int, headers: Mapping[str, str] | None = None) -> Reply:
    body = f"{status}\n".encode()
    return Reply(
        status=status, body=body, headers={"content-type": "text/plain", **(headers or {})}
    )
