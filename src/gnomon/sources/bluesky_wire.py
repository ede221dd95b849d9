"""What Jetstream sends, decoded: version 2 (`subscribeEvents`) and version 1 (`/subscribe`).

Both become the same `Event`. Fields that are not named here are skipped while decoding, so a
newer server does no harm. A frame that cannot be read raises FrameError and nothing else.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal
from urllib.parse import urlencode, urlsplit

import msgspec
import zstandard

from gnomon.clock import to_us
from gnomon.extract.dates import parse_date

NSID = "network.bsky.jetstream.subscribeEvents"
DICTIONARY_NSID = "network.bsky.jetstream.getZstdDictionary"
SUBPROTOCOL = "xrpc.v1.json"
TIMESTAMP_FROM = 1_000_000_000_000_000
"""A version 2 cursor from here on is a time in microseconds, not a sequence number."""
MAX_FRAME_BYTES = 4_000_000
_DICTIONARY_MAGIC = 0xEC30A437

Wire = Literal["v2", "v1"]


class FrameError(ValueError):
    """A frame that cannot be read; what was in it is unknown."""


class Event(msgspec.Struct, rename="camel"):
    """One event, as version 2 puts it; `kind` is empty for types that are not known."""

    type: str = msgspec.field(default="", name="$type")
    seq: int = 0
    """The position to resume from: a sequence number, or µs of the server's clock in version 1."""
    did: str = ""
    time: str = ""
    witnessed_at: str = ""
    rev: str = ""
    operation: str = ""
    collection: str = ""
    rkey: str = ""
    cid: str = ""
    record: msgspec.Raw = msgspec.Raw(b"")
    account: Account | None = None
    identity: Identity | None = None
    name: str = ""
    message: str = ""
    us: int = 0
    """Time in µs, where the wire gives it as a number."""

    @property
    def kind(self) -> str:
        """`commit`, `account`, `identity`, `sync` or `info`; empty if unknown."""
        return _KINDS.get(self.type, "")

    @property
    def uri(self) -> str:
        """Address of the record."""
        return f"at://{self.did}/{self.collection}/{self.rkey}"

    def at_us(self) -> int:
        """When the server saw it, in µs of its clock; 0 if it does not say."""
        if not self.us:
            moment = instant(self.witnessed_at or self.time)
            self.us = to_us(moment) if moment is not None else 0
        return self.us


class Account(msgspec.Struct, rename="camel"):
    """The state of an account."""

    active: bool = True
    status: str = ""


class Identity(msgspec.Struct, rename="camel"):
    """The name of an account."""

    handle: str = ""


class _Frame(msgspec.Struct):
    type: str = msgspec.field(default="", name="$type")
    payload: Event | None = None
    error: str = ""
    message: str | None = None


class _Commit(msgspec.Struct):
    rev: str = ""
    operation: str = ""
    collection: str = ""
    rkey: str = ""
    cid: str = ""
    record: msgspec.Raw = msgspec.Raw(b"")


class _Line(msgspec.Struct):
    did: str = ""
    time_us: int = 0
    kind: str = ""
    commit: _Commit | None = None
    account: Account | None = None
    identity: Identity | None = None


class ServerSaid(Exception):
    """The server ended the stream with an error frame."""

    def __init__(self, error: str, message: str) -> None:
        super().__init__(f"{error}: {message}" if message else error)
        self.error = error


_KINDS = {f"{NSID}#{kind}": kind for kind in ("commit", "account", "identity", "sync", "info")}
TYPES = {kind: name for name, kind in _KINDS.items()}
_frame = msgspec.json.Decoder(_Frame).decode
_line = msgspec.json.Decoder(_Line).decode
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def decode_v2(data: str | bytes) -> Event:
    """The event in a text frame of version 2. Raises FrameError, and ServerSaid."""
    try:
        frame = _frame(data)
    except _UNREADABLE as error:
        raise FrameError(str(error)) from None
    if frame.payload is not None:
        return frame.payload
    if frame.type == "error":
        raise ServerSaid(frame.error or "Unknown", frame.message or "")
    raise FrameError(f"a frame of type {frame.type!r} without payload")


def decode_v1(data: str | bytes) -> Event:
    """The event in a line of version 1. Raises FrameError."""
    try:
        line = _line(data)
    except _UNREADABLE as error:
        raise FrameError(str(error)) from None
    if not line.time_us or not line.kind:
        raise FrameError("a line without time or kind")
    event = Event(
        type=TYPES.get(line.kind, line.kind),
        seq=line.time_us,
        us=line.time_us,
        did=line.did,
        account=line.account,
        identity=line.identity,
    )
    if (commit := line.commit) is not None:
        event.rev, event.operation, event.cid = commit.rev, commit.operation, commit.cid
        event.collection, event.rkey, event.record = commit.collection, commit.rkey, commit.record
    return event


class Decompressor:
    """Undoes the dictionary compression of version 2, up to `MAX_FRAME_BYTES` a frame."""

    def __init__(self, dictionary: bytes) -> None:
        """Raises FrameError if these bytes are no dictionary."""
        magic, self.id = struct.unpack("<II", dictionary[:8].ljust(8, b"\0"))
        if magic != _DICTIONARY_MAGIC or not self.id:
            raise FrameError("what the server calls its dictionary is none")
        try:
            data = zstandard.ZstdCompressionDict(dictionary, zstandard.DICT_TYPE_FULLDICT)
            self._inner = zstandard.ZstdDecompressor(dict_data=data)
            # A dictionary with a damaged body is noticed only when it is first used.
            zstandard.ZstdCompressor(dict_data=data).compress(b"")
        except zstandard.ZstdError as error:
            raise FrameError(f"the server's dictionary cannot be used: {error}") from None

    def __call__(self, data: bytes) -> bytes:
        """The text frame in `data`. Raises FrameError."""
        try:
            # A size in the frame's header would override the cap below.
            if zstandard.frame_content_size(data) > MAX_FRAME_BYTES:
                raise FrameError("a compressed frame larger than the cap")
            return self._inner.decompress(data, max_output_size=MAX_FRAME_BYTES)
        except zstandard.ZstdError as error:
            raise FrameError(str(error)) from None


Decode = Callable[[str | bytes], list[Event]]


def decoder(wire: Wire, decompress: Decompressor | None) -> Decode:
    """From a message of the socket to its events."""

    def v2(message: str | bytes) -> list[Event]:
        if isinstance(message, bytes) and decompress is not None:
            message = decompress(message)
        return [decode_v2(message)]

    return v2 if wire == "v2" else lambda message: [decode_v1(message)]


class Endpoint(msgspec.Struct, frozen=True):
    """Where a stream is had, and in which version."""

    base: str
    """`wss://host[:port]`, without a path."""
    wire: Wire

    def url(self, cursor: int | None, params: dict[str, Any]) -> str:
        """The address to open, with filters under their version 2 names."""
        query = dict(params)
        if cursor is not None:
            query["cursor"] = cursor
        if self.wire == "v1":
            names = {"dids": "wantedDids", "collections": "wantedCollections"}
            query = {names.get(k, k): v for k, v in query.items() if k != "kinds"}
            path = "/subscribe"
        else:
            path = f"/xrpc/{NSID}"
        text = urlencode(query, doseq=True, safe=":.*")
        return f"{self.base}{path}{f'?{text}' if text else ''}"

    @property
    def http(self) -> str:
        """The same server over HTTP."""
        return self.base.replace("ws", "http", 1)


def endpoints(addresses: tuple[str, ...], protocol: str) -> list[Endpoint]:
    """The endpoints to try, in order. In `auto` the address decides, else both versions are tried.

    Raises ValueError for what is no WebSocket address.
    """
    found: list[Endpoint] = []
    for address in addresses:
        parts = urlsplit(address)
        if parts.scheme not in ("ws", "wss") or not parts.hostname:
            raise ValueError(f"{address} is no ws:// or wss:// address")
        base = f"{parts.scheme}://{parts.netloc}"
        wires: tuple[Wire, ...]
        if protocol == "v2":
            wires = ("v2",)
        elif protocol == "v1" or parts.path.rstrip("/").endswith("/subscribe"):
            wires = ("v1",)
        elif parts.path.rstrip("/").endswith(NSID):
            wires = ("v2",)
        elif parts.hostname.startswith(("jetstream1.", "jetstream2.")):
            wires = ("v1",)
        elif parts.hostname.endswith(".bsky.network"):
            wires = ("v2",)
        else:
            wires = ("v2", "v1")
        found += (Endpoint(base, wire) for wire in wires)
    return found


def instant(text: str) -> datetime | None:
    """The aware UTC moment that an AT Protocol datetime means, or what comes near one."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return parse_date(text) if text else None
    if moment.tzinfo is _UTC:
        return moment
    return parse_date(text)


_UTC = datetime.fromisoformat("2026-01-01T00:00:00Z").tzinfo
