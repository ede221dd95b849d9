"""Endless bodies: model output in chunks, lines, and server-sent events (WHATWG HTML, 9.2).

Nothing waits here but the part of a line that has not ended yet, and it has a cap. Whoever reads
slowly makes the server wait: the next bytes are read when the next line is asked for.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator

import httpcore2

from gnomon.errors import ContentError
from gnomon.net import headers as heads
from gnomon.net.base import ServerEvent
from gnomon.net.exchange import broken, plain_errors
from gnomon.net.target import Target

_BOM = "\ufeff"


class LineSplitter:
    """Cuts bytes into lines that end in LF, CR or CRLF, wherever the chunks were cut."""

    def __init__(self, max_line_bytes: int) -> None:
        self._cap = max_line_bytes
        self._parts: list[bytes] = []
        self._size = 0
        self._after_cr = False

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The lines that end in this chunk, to be taken before the next is fed.

        Raises ContentError `net.too_large` after those that came before the line over the cap.
        """
        if self._after_cr and chunk.startswith(b"\n"):
            chunk = chunk[1:]
            self._after_cr = False
        if not chunk:
            return
        self._after_cr = chunk.endswith(b"\r")
        lines = chunk.splitlines()
        rest = b"" if chunk.endswith((b"\n", b"\r")) else lines.pop()
        for line in lines:
            self._hold(line)
            yield b"".join(self._parts)
            self._parts, self._size = [], 0
        if rest:
            self._hold(rest)

    @property
    def rest(self) -> bytes:
        """The line that has not ended."""
        return b"".join(self._parts)

    def _hold(self, part: bytes) -> None:
        self._parts.append(part)
        self._size += len(part)
        if self._size > self._cap:
            raise ContentError(
                f"One line is longer than {self._cap:,} bytes.",
                code="net.too_large",
                hint="Check that the address is the stream that was meant.",
                cap=self._cap,
            )


class EventParser:
    """Lines in, events out."""

    def __init__(self, last_event_id: str, max_event_bytes: int) -> None:
        self._cap = max_event_bytes
        self._id = last_event_id
        self._first = True
        self._reset()

    def _reset(self) -> None:
        self._event = ""
        self._data: list[str] = []
        self._size = 0

    def feed(self, line: bytes) -> ServerEvent | None:
        """The event that this line completes. Raises ContentError `net.too_large`."""
        text = line.decode("utf-8", "replace")
        if self._first:
            self._first, text = False, text.removeprefix(_BOM)
        if not text:
            event = None
            if self._data:
                event = ServerEvent(
                    event=self._event or "message", data="\n".join(self._data), id=self._id
                )
            self._reset()
            return event
        name, _, value = text.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._size += len(line)
            if self._size > self._cap:
                raise ContentError(
                    f"One event is longer than {self._cap:,} bytes.",
                    code="net.too_large",
                    hint="Check that the address is the stream that was meant.",
                    cap=self._cap,
                )
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id" and heads.sendable(value.encode().decode("latin-1")):
            # One with control characters could not be sent back after a reconnect.
            self._id = value
        return None


async def lines_of(
    target: Target, raw: httpcore2.Response, max_line_bytes: int
) -> AsyncGenerator[bytes, None]:
    """The lines of a body. See `Fetcher.lines`."""
    splitter = LineSplitter(max_line_bytes)
    with plain_errors(target):
        async for chunk in raw.aiter_stream():
            for line in splitter.feed(chunk):
                yield line
    if not splitter.rest:
        return
    framing = heads.incoming(raw.headers)
    if "content-length" not in framing and "transfer-encoding" not in framing:
        # Nothing tells the end of such a body from a broken connection.
        raise broken(target, "net.connection", "the connection ended in the middle of a line")
    yield splitter.rest


async def events_of(
    lines: AsyncIterator[bytes], last_event_id: str, max_event_bytes: int
) -> AsyncGenerator[ServerEvent, None]:
    """The events that these lines tell; one without its closing empty line is none."""
    parser = EventParser(last_event_id, max_event_bytes)
    async for line in lines:
        event = parser.feed(line)
        if event is not None:
            yield event


async def chunks_of(
    target: Target, raw: httpcore2.Response, max_bytes: int
) -> AsyncGenerator[bytes, None]:
    """A body as it comes, up to a cap in all."""
    total = 0
    with plain_errors(target):
        async for chunk in raw.aiter_stream():
            total += len(chunk)
            if total > max_bytes:
                raise ContentError(
                    f"{target.shown} streams more than {max_bytes:,} bytes.",
                    code="net.too_large",
                    url=target.url,
                )
            yield chunk
