"""The ground of stand-ins that speak an API: HTTP/1.1 with bodies, endless answers, WebSockets.

A stand-in derives from `ApiServer` and implements `answer`. It keeps what was asked, and
misbehaves by name: a fault waits for the next request whose path begins as given, or, for open
streams, for the next thing that is said on one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from http import HTTPStatus
from typing import Any, ClassVar
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.http11 import Request as Handshake
from websockets.server import ServerProtocol

from gnomon.clock import Clock, SystemClock

_PATIENCE_S = 60.0


class ApiRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a client asked for."""

    method: str
    path: str
    query: Mapping[str, str]
    params: tuple[tuple[str, str], ...] = ()
    """The query with its repetitions."""
    headers: Mapping[str, str]
    """Lower-case names."""
    body: bytes = b""

    def json(self) -> Any:
        """The body as JSON; None if it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


class Talk:
    """The server's end of a WebSocket."""

    def __init__(
        self,
        protocol: ServerProtocol,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._protocol = protocol
        self._reader = reader
        self._writer = writer
        self._unread: deque[str] = deque()

    async def send(self, text: str) -> None:
        """Send a text message."""
        self._protocol.send_text(text.encode())
        await self.flush()

    async def ping(self) -> None:
        """Send a heartbeat."""
        self._protocol.send_ping(b"")
        await self.flush()

    async def flush(self) -> None:
        """Write what the protocol wants written."""
        for data in self._protocol.data_to_send():
            self._writer.write(data) if data else None
        await self._writer.drain()

    async def receive(self) -> str | None:
        """The next text message of the client; None when it left."""
        while True:
            for event in self._protocol.events_received():
                if isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                    self._unread.append(bytes(event.data).decode())
            if self._unread:
                return self._unread.popleft()
            data = await self._reader.read(65_536)
            if not data:
                return None
            self._protocol.receive_data(data)
            await self.flush()


class ApiReply(msgspec.Struct, frozen=True, kw_only=True):
    """What the server answers: a body, an endless body, or a conversation."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = {}
    stream: Callable[[], AsyncGenerator[bytes, None]] | None = None
    talk: Callable[[Talk], Awaitable[None]] | None = None


def as_json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> ApiReply:
    """A JSON answer."""
    return ApiReply(
        status=status,
        body=json.dumps(value, ensure_ascii=False).encode(),
        headers={"content-type": "application/json; charset=utf-8", **(headers or {})},
    )


class Hangup(Exception):
    """Raised in a stream or talk: the connection breaks off, without a proper end."""


class ApiServer:
    """Listens on loopback; `async with Server() as server: ...`."""

    FAULTS: ClassVar[Mapping[str, str]] = {}
    """Names of the faults, and what each does. Numbers are statuses, with Retry-After behind."""

    def __init__(
        self, *, host: str = "127.0.0.1", port: int = 0, clock: Clock | None = None
    ) -> None:
        self.host = host
        self.port = port
        self.clock = clock or SystemClock()
        self.requests: deque[ApiRequest] = deque(maxlen=10_000)
        self.replies: deque[tuple[ApiRequest, ApiReply]] = deque(maxlen=1_000)
        """What was answered, for checks against a service's description."""
        self._faults: list[tuple[str, str]] = []
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.Task[None]] = set()

    async def answer(self, request: ApiRequest) -> ApiReply:
        """What a request gets. For stand-ins to implement."""
        raise NotImplementedError

    # -- life -----------------------------------------------------------------
    async def __aenter__(self) -> Any:
        await self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen. With port 0 the system chooses one, and `port` then says which."""
        self._server = await asyncio.start_server(self._accept, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Break every connection off and stop listening. A later `start` takes the same port."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.close()
        for talk in self._talks:
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)
        await server.wait_closed()

    @property
    def address(self) -> str:
        """As `net.allow` wants it."""
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """Base address, without a slash at the end."""
        return f"http://{self.address}"

    def asked(self, path: str) -> list[ApiRequest]:
        """The requests to paths that begin like this, oldest first."""
        return [request for request in self.requests if request.path.startswith(path)]

    # -- faults ---------------------------------------------------------------
    def misbehave(self, *faults: str, path: str = "") -> None:
        """Let these faults happen, one each, in order, on paths that begin with `path`."""
        for fault in faults:
            name = fault.split()[0]
            if name not in self.FAULTS and not name.isdigit():
                raise ValueError(f"No fault is called {name!r}. Known: {', '.join(self.FAULTS)}.")
        self._faults += [(fault, path) for fault in faults]

    def fault(self, path: str, *names: str) -> str:
        """Take the next fault if it is one of these and meant for `path`; else empty."""
        for i, (fault, prefix) in enumerate(self._faults):
            known = fault.split()[0] in names or ("status" in names and fault[0].isdigit())
            if known and path.startswith(prefix):
                del self._faults[i]
                return fault
        return ""

    # -- HTTP -----------------------------------------------------------------
    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a callback of start_server always runs in a task
        self._talks.add(task)
        try:
            while await self._exchange(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionClosed):
            pass  # the client left, which is its right
        except Hangup:
            pass
        except asyncio.CancelledError:
            pass  # `stop`: asyncio would report a cancelled callback as an error
        finally:
            writer.transport.abort()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()
            self._talks.discard(task)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; whether the connection stays open."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return False
        request = await _request(head, reader)
        self.requests.append(request)
        if self.fault(request.path, "refuse"):
            return False
        if fault := self.fault(request.path, "status"):
            status, _, after = fault.partition(" ")
            reply = as_json(
                {"title": HTTPStatus(int(status)).phrase, "detail": "As the test wants it."},
                int(status),
                {"retry-after": after} if after else {},
            )
        else:
            reply = await self.answer(request)
        self.replies.append((request, reply))
        if reply.talk is not None:
            await self._converse(head, reply.talk, reader, writer)
            return False
        if reply.stream is not None:
            await self._stream(reply, reader, writer)
            return False
        writer.write(_head(reply, {"content-length": str(len(reply.body))}) + reply.body)
        await writer.drain()
        return request.headers.get("connection", "").lower() != "close"

    async def _stream(
        self, reply: ApiReply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        assert reply.stream is not None  # noqa: S101 - asked by the caller
        writer.write(_head(reply, {"transfer-encoding": "chunked"}))
        await writer.drain()
        gone = asyncio.ensure_future(reader.read(1))
        try:
            async with aclosing(reply.stream()) as chunks:
                while True:
                    coming = asyncio.ensure_future(anext(chunks, None))
                    try:
                        await asyncio.wait({coming, gone}, return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        if not coming.done():
                            coming.cancel()
                            await asyncio.gather(coming, return_exceptions=True)
                    if coming.cancelled():
                        return
                    if gone.done():
                        coming.exception()  # a fault that nobody is there to see
                        return
                    chunk = coming.result()
                    if chunk is None:
                        break
                    writer.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
                    await writer.drain()
            writer.write(b"0\r\n\r\n")
            await writer.drain()
            # The answer is read to its end before the connection breaks.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(gone), 1.0)
        finally:
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)

    async def _converse(
        self,
        head: bytes,
        converse: Callable[[Talk], Awaitable[None]],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        protocol = ServerProtocol()
        protocol.receive_data(head)
        handshake = next(e for e in protocol.events_received() if isinstance(e, Handshake))
        response = protocol.accept(handshake)
        protocol.send_response(response)
        talk = Talk(protocol, reader, writer)
        await talk.flush()
        if response.status_code == 101:
            await converse(talk)


async def _request(head: bytes, reader: asyncio.StreamReader) -> ApiRequest:
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, *_ = (*first.split(" "), "", "")
    parts = urlsplit(target)
    fields = (line.partition(":") for line in lines if ":" in line)
    headers = {name.strip().lower(): value.strip() for name, _, value in fields}
    params = tuple(parse_qsl(parts.query, keep_blank_values=True))
    length = headers.get("content-length", "0")
    body = await reader.readexactly(int(length)) if length.isdigit() else b""
    return ApiRequest(
        method=method,
        path=unquote(parts.path) or "/",
        query=dict(params),
        params=params,
        headers=headers,
        body=body,
    )


def _head(reply: ApiReply, more: Mapping[str, str]) -> bytes:
    try:
        phrase = HTTPStatus(reply.status).phrase
    except ValueError:
        phrase = "Unknown"
    headers = {**reply.headers, **more}
    lines = [f"HTTP/1.1 {reply.status} {phrase}", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
