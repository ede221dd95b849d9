"""Server-sent events, as model endpoints send them: bytes in any cut become `data` payloads."""

from __future__ import annotations

from gnomon.errors import ModelError

MAX_EVENT_BYTES = 4_000_000


class EventParser:
    """Feed it bytes as they come; it hands out each event's data once the event is whole."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._data: list[bytes] = []
        self._bare = bytearray()
        self._after_cr = False

    def feed(self, block: bytes) -> list[bytes]:
        """Data of the events that `block` completes."""
        events = []
        for byte_line in self._lines(block):
            if event := self._take(byte_line):
                events.append(event)
        if len(self._line) + len(self._bare) + sum(map(len, self._data)) > MAX_EVENT_BYTES:
            raise ModelError(
                f"The endpoint sends an event of more than {MAX_EVENT_BYTES:,} bytes.",
                code="model.broken_stream",
            )
        return events

    def end(self) -> list[bytes]:
        """What was left when the connection closed: a last event without its empty line, or a
        body that never was a stream (some endpoints answer errors so)."""
        events = []
        if self._line and (event := self._take(bytes(self._line))):
            events.append(event)
        self._line.clear()
        if event := self._take(b""):
            events.append(event)
        if self._bare and not events:
            events.append(bytes(self._bare))
        return events

    def _lines(self, block: bytes) -> list[bytes]:
        # A line ends in LF, CR LF or CR; a CR LF may be cut in two.
        if self._after_cr and block.startswith(b"\n"):
            block = block[1:]
            self._after_cr = False
        if not block:
            return []
        self._after_cr = block.endswith(b"\r")
        self._line += block
        parts = self._line.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._line = bytearray(parts.pop())
        return [bytes(p) for p in parts]

    def _take(self, line: bytes) -> bytes:
        if not line:
            data = b"\n".join(self._data)
            self._data.clear()
            return data
        field, _, value = line.partition(b":")
        if field == b"data":
            self._data.append(value.removeprefix(b" "))
        elif field not in (b"", b"event", b"id", b"retry"):
            self._bare += line
        return b""
