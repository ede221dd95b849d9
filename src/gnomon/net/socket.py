"""A WebSocket over a connection that the guard dialled.

The frames are `websockets`' business, the connection ours: there is no proxy, no compression and
no second reading of the address. A task reads ahead by one piece of at most 64 KiB while earlier
messages wait; beyond that the server has to wait.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime

import httpcore2
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake, InvalidState, InvalidStatus
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import OPEN, Event
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from gnomon.errors import UpstreamTransient
from gnomon.net import headers as heads
from gnomon.net.exchange import (
    Wire,
    broken,
    must_be_available,
    plain_errors,
    refused_status,
    timed_out,
)
from gnomon.net.target import Target

PING_S = 20.0
"""After this much silence we ask whether anybody is there, and wait as long for an answer."""
_WRITE_S = 10.0
_GOODBYE_S = 1.0
_READ_BYTES = 65_536
_WAITING = 16
_QUIET = logging.Logger("gnomon.net.socket", logging.CRITICAL + 1)
"""The library would write headers, keys included, and contents to its log."""
_DATA = (Opcode.TEXT, Opcode.BINARY, Opcode.CONT)
_BROKEN = (httpcore2.NetworkError, httpcore2.TimeoutException, ssl.SSLError, OSError)


@asynccontextmanager
async def open_socket(
    wire: Wire,
    target: Target,
    headers: Mapping[str, str],
    *,
    subprotocols: tuple[str, ...],
    open_s: float,
    idle_s: float,
    max_message_bytes: int,
    now: Callable[[], datetime],
) -> AsyncIterator[WebSocket]:
    """Dial, shake hands, and close in the end. Raises as `Fetcher.socket` says."""
    protocol = ClientProtocol(
        # Only for the request line and the Host header, which are set below.
        WebSocketURI(target.secure, target.host, target.port, "/", ""),
        subprotocols=[Subprotocol(name) for name in subprotocols] or None,
        max_size=max_message_bytes,
        logger=_QUIET,
    )
    stream: httpcore2.AsyncNetworkStream | None = None
    socket: WebSocket | None = None
    try:
        try:
            async with asyncio.timeout(open_s):
                with plain_errors(target):
                    stream = await wire.dial(target)
                    early = await _shake_hands(stream, protocol, target, headers, now)
        except TimeoutError:
            raise timed_out(target, open_s) from None
        socket = WebSocket(target, stream, protocol, early, idle_s)
        yield socket
    finally:
        if socket is not None:
            await socket.aclose()
        elif stream is not None:
            await stream.aclose()


async def _shake_hands(
    stream: httpcore2.AsyncNetworkStream,
    protocol: ClientProtocol,
    target: Target,
    headers: Mapping[str, str],
    now: Callable[[], datetime],
) -> list[Frame]:
    """Ask for the WebSocket. Returns the frames that came along with the answer."""
    request = protocol.connect()
    request.path = target.path
    del request.headers["Host"]
    request.headers["Host"] = target.host_header
    for name, value in headers.items():
        if not name.startswith("sec-websocket-"):
            request.headers[name] = value
    protocol.send_request(request)
    for data in protocol.data_to_send():
        await stream.write(data)
    events: list[object] = []
    while not events and protocol.handshake_exc is None:
        data = await stream.read(_READ_BYTES)
        if data:
            protocol.receive_data(data)
        else:
            protocol.receive_eof()
        events = list(protocol.events_received())
    refusal = protocol.handshake_exc
    if isinstance(refusal, InvalidStatus):
        answer = refusal.response
        received = heads.incoming(
            (k.encode("latin-1"), v.encode("latin-1")) for k, v in answer.headers.raw_items()
        )
        must_be_available(target, answer.status_code, received, now())
        hint = "Check the address and the key of this stream."
        raise refused_status(target, answer.status_code, received, bytes(answer.body), hint)
    if refusal is not None:
        reason = str(refusal) if isinstance(refusal, InvalidHandshake) else "it hung up"
        raise broken(target, "net.protocol", reason) from None
    return [event for event in events if isinstance(event, Frame)]


class WebSocket:
    """Implements `gnomon.net.base.Socket`. One reader at a time, any number of senders."""

    def __init__(
        self,
        target: Target,
        stream: httpcore2.AsyncNetworkStream,
        protocol: ClientProtocol,
        early: list[Frame],
        idle_s: float,
    ) -> None:
        self._target = target
        self._stream = stream
        self._protocol = protocol
        self._idle_s = idle_s
        self._messages: deque[str | bytes] = deque()
        self._parts: list[bytes] = []
        self._text = False
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._writing = asyncio.Lock()
        self._closing = False
        self._listener = asyncio.create_task(self._listen(early))
        self._listener.add_done_callback(lambda _: self._arrived.set())

    @property
    def subprotocol(self) -> str:
        """What the server chose; empty if nothing."""
        return self._protocol.subprotocol or ""

    def __aiter__(self) -> AsyncIterator[str | bytes]:
        """Messages in order; see `Socket`."""
        return self

    async def __anext__(self) -> str | bytes:
        """The next message."""
        while not self._messages:
            if self._listener.done() or self._closing:
                raise self._end()
            self._arrived.clear()
            await self._arrived.wait()
        message = self._messages.popleft()
        if len(self._messages) < _WAITING:
            self._room.set()
        return message

    async def send(self, message: str | bytes) -> None:
        """Send one message; see `Socket`."""
        if self._listener.done() or self._closing:
            raise self._end()
        try:
            if isinstance(message, str):
                self._protocol.send_text(message.encode())
            else:
                self._protocol.send_binary(message)
            await self._write()
        except (InvalidState, *_BROKEN):
            raise self._closed() from None

    async def aclose(self) -> None:
        """Say goodbye without waiting for an answer, and hang up."""
        self._closing = True
        self._listener.cancel()
        await asyncio.gather(self._listener, return_exceptions=True)
        self._arrived.set()
        try:
            with suppress(TimeoutError, InvalidState, *_BROKEN):
                async with asyncio.timeout(_GOODBYE_S):
                    if self._protocol.state is OPEN:
                        self._protocol.send_close(CloseCode.NORMAL_CLOSURE)
                    await self._write()
        finally:
            await self._stream.aclose()

    # -- the listening task ----------------------------------------------------
    async def _listen(self, early: list[Frame]) -> None:
        """Read until the connection ends, and raise how it did."""
        try:
            self._take(early)
            while self._protocol.state is OPEN:
                await self._write()
                while len(self._messages) >= _WAITING:
                    self._room.clear()
                    await self._room.wait()
                await self._hear()
            await self._write()
        except UnicodeDecodeError:
            self._protocol.fail(CloseCode.INVALID_DATA, "text that is not UTF-8")
            with suppress(*_BROKEN):
                await self._write()
        except _BROKEN:
            pass  # said below
        raise self._closed()

    async def _hear(self) -> None:
        """Read until a message or the end comes. Silence is asked about, and has its limits."""
        loop = asyncio.get_running_loop()
        began = heard = loop.time()
        asked = False
        while True:
            now = loop.time()
            if now - began >= self._idle_s:
                raise self._silent(f"it sent no message for {self._idle_s:g} s")
            if now - heard >= 2 * PING_S:
                raise self._silent(f"it answered no ping for {PING_S:g} s")
            if now - heard >= PING_S and not asked:
                self._protocol.send_ping(b"")
                await self._write()
                asked = True
            patience_s = min(began + self._idle_s - now, heard + PING_S * (2 if asked else 1) - now)
            try:
                data = await self._stream.read(_READ_BYTES, max(patience_s, 0.001))
            except httpcore2.ReadTimeout:
                continue
            heard, asked = loop.time(), False
            if data:
                self._protocol.receive_data(data)
            else:
                self._protocol.receive_eof()
            came = self._take(self._protocol.events_received())
            if came or self._protocol.state is not OPEN:
                return
            await self._write()

    def _take(self, events: Sequence[Event]) -> bool:
        """Make messages of frames. Whether there was one."""
        came = False
        for frame in events:
            if not isinstance(frame, Frame) or frame.opcode not in _DATA:
                continue
            if frame.opcode is not Opcode.CONT:
                self._text = frame.opcode is Opcode.TEXT
            if frame.data:  # endless empty parts must not add up
                self._parts.append(bytes(frame.data))
            if frame.fin:
                whole, self._parts = b"".join(self._parts), []
                self._messages.append(whole.decode() if self._text else whole)
                self._arrived.set()
                came = True
        return came

    async def _write(self) -> None:
        """Send what the protocol has to say, in its order."""
        async with self._writing:
            for data in self._protocol.data_to_send():
                if data:  # an empty one asks to hang up, which we do in the end
                    await self._stream.write(data, _WRITE_S)

    # -- how it ended ----------------------------------------------------------
    def _end(self) -> BaseException:
        if self._listener.done() and not self._listener.cancelled():
            error = self._listener.exception()
            if error is not None:
                return error.with_traceback(None)
        return self._closed()

    def _closed(self) -> UpstreamTransient:
        theirs, ours = self._protocol.close_rcvd, self._protocol.close_sent
        said = theirs or ours
        status = int(said.code) if said is not None else int(CloseCode.ABNORMAL_CLOSURE)
        reason = said.reason if said is not None else ""
        who = "the server" if theirs is not None or ours is None else "we"
        return UpstreamTransient(
            f"{self._target.url} is closed: {who} ended it with {status}"
            f"{f' ({reason[:200]})' if reason else ''}.",
            code="net.closed",
            hint="It is opened again later.",
            url=self._target.url,
            status=status,
            reason=reason,
        )

    def _silent(self, reason: str) -> UpstreamTransient:
        return UpstreamTransient(
            f"{self._target.url} fell silent: {reason}.",
            code="net.timeout",
            hint="It is opened again later.",
            url=self._target.url,
        )
