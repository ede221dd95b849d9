"""A Jetstream server on loopback: version 2 and version 1, replay, filters, compression, faults.

    async with JetstreamServer(clock) as server:
        uri = server.post("did:plc:…", "The bridge is open again.", langs=["en"])
        server.edit(uri, "The bridge is open again, for bicycles.")
        server.misbehave("drop")

It holds what was published since its start, minus what `forget` dropped. It also answers the two
public calls that a connector needs: the compression dictionary and the resolution of handles.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import zstandard
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from gnomon.clock import Clock, SystemClock, from_us, to_us
from gnomon.testing.atproto_data import blob_cid, cid_of, tid
from gnomon.testing.jetstream_frames import (
    KINDS,
    NSID,
    POST,
    Event,
    Wish,
    answer,
    dictionary,
    error,
    iso,
    message,
    wish_of,
)

_TIMESTAMP_FROM = 10**15
_SKEW = timedelta(days=730)

FAULTS: Mapping[str, str] = {
    "drop": "the next event is not sent; the connection breaks instead",
    "stall": "the connection stays open, and nothing more is sent on it",
    "duplicate": "the next event is sent twice",
    "reorder": "the next two events are sent in reverse order",
    "truncated": "half of the next frame is sent",
    "oversized": "the next frame is zeros that unpack to 64 MiB (compressed), or 5 MB of text",
    "too_slow": "the server says ConsumerTooSlow and closes",
    "clock_skew": "the next event is dated two years ahead",
    "unknown": "an event of a type that nobody knows comes before the next",
    "stale_cursor": "the next connection with a cursor is refused with CursorTooOld",
    "bad_dictionary": "the next answer with the dictionary is noise",
    "rotate": "the dictionary is replaced; connections with the old one are refused",
    "429": "the next connection is refused so (`429 30` with Retry-After); any other status too",
}
_AT_HANDSHAKE = ("stale_cursor",)


class JetstreamServer:
    """See the module. `published` can be read at any time; all methods belong to the event loop."""

    def __init__(self, clock: Clock | None = None, *, first_seq: int = 1) -> None:
        self._clock = clock or SystemClock()
        self.records: dict[str, dict[str, Any]] = {}
        """What stands in the repositories, by at-uri."""
        self.handles: dict[str, str] = {}
        """DID by handle, for `resolveHandle`."""
        self.sent = 0
        """Number of the newest event that went out on some connection."""
        self.requests: list[str] = []
        """Paths with queries, in order."""
        self._events: deque[Event] = deque()
        self._next_seq = first_seq
        self._last_us = 0
        self._forgotten_us = 0
        self._news = asyncio.Event()
        self._refusals: deque[str] = deque()
        self._faults: deque[str] = deque()
        self._bad_dictionaries = 0
        self._dictionaries: list[tuple[int, bytes, zstandard.ZstdCompressor]] = []
        self._connections: set[ServerConnection] = set()
        self._server: Server | None = None

    # -- life -----------------------------------------------------------------
    async def __aenter__(self) -> JetstreamServer:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self, port: int = 0) -> None:
        """Listen on loopback."""
        self._rotate()
        self._server = await serve(
            self._talk,
            "127.0.0.1",
            port,
            process_request=self._admit,
            subprotocols=[Subprotocol("xrpc.v1.json")],
            select_subprotocol=lambda _, offered: offered[0] if offered else None,
            compression=None,
            ping_interval=None,
            server_header=None,
        )

    async def stop(self) -> None:
        """Break all connections and stop listening; what was published stays."""
        if self._server is None:
            return
        self._server.close(close_connections=False)
        self.kick()
        await self._server.wait_closed()
        self._server = None

    def kick(self) -> None:
        """Break all connections at once."""
        for connection in self._connections:
            connection.transport.abort()

    @property
    def address(self) -> str:
        """`host:port`, for the door's allow list."""
        assert self._server is not None, "the server is not started"  # noqa: S101
        host, port = next(iter(self._server.sockets)).getsockname()[:2]
        return f"{host}:{port}"

    @property
    def url(self) -> str:
        """The endpoint, `ws://host:port`."""
        return f"ws://{self.address}"

    @property
    def connected(self) -> int:
        """How many streams are open."""
        return len(self._connections)

    @property
    def last_seq(self) -> int:
        """Number of the newest event."""
        return self._next_seq - 1

    @property
    def published(self) -> list[dict[str, Any]]:
        """The payload of every event that can still be replayed, in order."""
        return [{"collection": "", **event.payload} for event in self._events]

    # -- what happens on the network ------------------------------------------
    def post(
        self,
        did: str,
        text: str,
        *,
        langs: Sequence[str] = (),
        reply_to: str = "",
        root: str = "",
        quotes: str = "",
        link: tuple[str, str, str] | None = None,
        created_at: str = "",
        **more: Any,
    ) -> str:
        """A post appears; `link` is (address, title, description) of a card. Returns its uri."""
        record: dict[str, Any] = {
            "$type": POST,
            "text": text,
            "createdAt": created_at or iso(self._clock.now(), "milliseconds"),
        }
        if langs:
            record["langs"] = list(langs)
        if reply_to:
            record["reply"] = {
                "root": self._ref(root or reply_to),
                "parent": self._ref(reply_to),
            }
        if quotes:
            record["embed"] = {"$type": "app.bsky.embed.record", "record": self._ref(quotes)}
        if link:
            names = ("uri", "title", "description")
            card = dict(zip(names, link, strict=True))
            record["embed"] = {"$type": "app.bsky.embed.external", "external": card}
        return self.create(did, POST, {**record, **more})

    def like(self, did: str, uri: str) -> str:
        """Somebody likes a post."""
        return self._about(did, "app.bsky.feed.like", self._ref(uri))

    def follow(self, did: str, subject: str) -> str:
        """Somebody follows an account."""
        return self._about(did, "app.bsky.graph.follow", subject)

    def edit(self, uri: str, text: str) -> None:
        """The author replaces the text of a post."""
        self.update(uri, {**self.records[uri], "text": text})

    def create(self, did: str, collection: str, record: dict[str, Any], rkey: str = "") -> str:
        """A record appears. Returns its uri."""
        rkey = rkey or tid(self._tick())
        uri = f"at://{did}/{collection}/{rkey}"
        self.records[uri] = record
        self._commit("create", uri, record)
        return uri

    def update(self, uri: str, record: dict[str, Any]) -> None:
        """A record is replaced."""
        self.records[uri] = record
        self._commit("update", uri, record)

    def delete(self, uri: str) -> None:
        """A record is deleted."""
        self.records.pop(uri, None)
        self._commit("delete", uri, None)

    def account(self, did: str, *, active: bool, status: str = "") -> None:
        """An account changes state (`deleted`, `takendown`, `suspended`, `deactivated`, …)."""
        if not active:
            self.records = {
                u: r for u, r in self.records.items() if not u.startswith(f"at://{did}/")
            }
        self._upstream("account", did, {"active": active, **({"status": status} if status else {})})

    def identity(self, did: str, handle: str) -> None:
        """An account takes a handle."""
        self.handles[handle] = did
        self._upstream("identity", did, {"handle": handle})

    def sync(self, did: str) -> None:
        """A repository is synchronised anew, its chain of commits broken."""
        rev = tid(self._tick())
        # As text, because that is how atproto's client reads these frames.
        blocks = b64encode(b"car").decode()
        self._upstream("sync", did, {"rev": rev, "blocks": blocks})

    def replay_line(self, line: Mapping[str, Any]) -> None:
        """Publish a line that a version 1 server sent elsewhere, as if it happened now."""
        kind, did = line["kind"], line["did"]
        if kind == "commit":
            commit = dict(line["commit"])
            uri = f"at://{did}/{commit['collection']}/{commit['rkey']}"
            if commit["operation"] == "delete":
                self.records.pop(uri, None)
            else:
                self.records[uri] = commit["record"]
            self._publish("commit", did, commit, commit["collection"])
        else:
            self._publish(kind, did, {kind: line[kind]})

    def forget(self, before_seq: int) -> None:
        """Events before this number leave the window that can be replayed."""
        while self._events and self._events[0].seq < before_seq:
            self._forgotten_us = self._events.popleft().us

    def misbehave(self, *faults: str) -> None:
        """Let what comes next meet these faults (see `FAULTS`), one each, in order."""
        for fault in faults:
            name = fault.split()[0]
            if name.isdigit() or name in _AT_HANDSHAKE:
                self._refusals.append(fault)
            elif name == "rotate":
                self._rotate()
            elif name == "bad_dictionary":
                self._bad_dictionaries += 1
            elif name in FAULTS:
                self._faults.append(fault)
            else:
                raise ValueError(f"No fault is called {name!r}. Known: {', '.join(FAULTS)}.")

    # -- publishing -----------------------------------------------------------
    def _about(self, did: str, collection: str, subject: Any) -> str:
        created_at = iso(self._clock.now(), "milliseconds")
        record = {"$type": collection, "subject": subject, "createdAt": created_at}
        return self.create(did, collection, record)

    def _ref(self, uri: str) -> dict[str, str]:
        record = self.records.get(uri)
        return {"uri": uri, "cid": cid_of(record) if record else blob_cid(uri.encode())}

    def _commit(self, operation: str, uri: str, record: dict[str, Any] | None) -> None:
        did, collection, rkey = uri.removeprefix("at://").split("/")
        commit: dict[str, Any] = {
            "rev": tid(self._tick()),
            "operation": operation,
            "collection": collection,
            "rkey": rkey,
        }
        if record is not None:
            commit |= {"record": record, "cid": cid_of(record)}
        self._publish("commit", did, commit, collection)

    def _upstream(self, kind: str, did: str, fields: dict[str, Any]) -> None:
        time = iso(self._clock.now(), "milliseconds")
        self._publish(
            kind, did, {kind: {"did": did, "seq": self._next_seq, "time": time, **fields}}
        )

    def _tick(self) -> int:
        """The time in µs, never the same twice."""
        self._last_us = max(self._last_us + 1, to_us(self._clock.now()))
        return self._last_us

    def _publish(self, kind: str, did: str, body: dict[str, Any], collection: str = "") -> None:
        us, seq = self._tick(), self._next_seq
        time = iso(from_us(us), "microseconds")
        head = {"$type": f"{NSID}#{kind}", "seq": seq, "did": did, "time": time}
        line = {"did": did, "time_us": us, "kind": kind}
        line |= {"commit": body} if kind == "commit" else body
        event = Event(
            seq=seq,
            us=us,
            kind=kind,
            did=did,
            collection=collection,
            payload={**head, "witnessedAt": time, **body},
            line=None if kind == "sync" else line,
            packed={},
        )
        self.publish([event])

    def publish(self, events: Sequence[Event]) -> None:
        """Send events that were made elsewhere, numbered from `last_seq` + 1 on."""
        self._events.extend(events)
        self._next_seq = events[-1].seq + 1
        self._news.set()
        self._news = asyncio.Event()

    def _rotate(self) -> None:
        number = 1_000 + len(self._dictionaries)
        body, compressor = dictionary(number)
        self._dictionaries.append((number, body, compressor))

    # -- HTTP -----------------------------------------------------------------
    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        self.requests.append(request.path)
        parts = urlsplit(request.path)
        query = parse_qs(parts.query)
        method = parts.path.removeprefix("/xrpc/")
        if method == "network.bsky.jetstream.getZstdDictionary":
            body = self._dictionaries[-1][1]
            if self._bad_dictionaries:
                self._bad_dictionaries -= 1
                body = bytes(reversed(body))
            return answer(200, body, "application/octet-stream")
        if method == "com.atproto.identity.resolveHandle":
            did = self.handles.get(query.get("handle", [""])[0])
            if did is None:
                return error(400, "InvalidRequest", "Unable to resolve handle")
            return answer(200, msgspec.json.encode({"did": did}), "application/json")
        if parts.path not in (f"/xrpc/{NSID}", "/subscribe"):
            return error(404, "NotFound", "no such path")
        if self._refusals and (refusal := self._refused(query)) is not None:
            return refusal
        wire = "v1" if parts.path == "/subscribe" else "v2"
        problem = self._invalid(wire, query)
        if problem is None:
            connection.wish = wish_of(wire, query)  # type: ignore[attr-defined]
        return problem

    def _refused(self, query: dict[str, list[str]]) -> Response | None:
        fault = self._refusals[0]
        if fault == "stale_cursor":
            if "cursor" not in query:
                return None
            self._refusals.popleft()
            return self._too_old()
        self._refusals.popleft()
        status, _, wait = fault.partition(" ")
        refusal = error(int(status), "Refused", "as the test wished")
        if wait:
            refusal.headers["retry-after"] = wait
        return refusal

    def _too_old(self) -> Response:
        floor = self._events[0].seq if self._events else self._next_seq
        return error(400, "CursorTooOld", f"cursor is below the retention floor {floor}")

    def _invalid(self, wire: str, query: dict[str, list[str]]) -> Response | None:
        """The refusal before the upgrade that the real server gives, if any."""
        cursor = query.get("cursor", ["0"])[0]
        if not cursor.isdigit():
            return error(400, "InvalidRequest", "cursor is no number")
        if wire == "v1":
            return None
        if "wantedDids" in query or "wantedCollections" in query:
            return error(400, "InvalidRequest", "v1 parameter names")
        kinds = query.get("kinds", [])
        if set(kinds) - set(KINDS):
            return error(400, "InvalidRequest", "unknown kind")
        if kinds and "commit" not in kinds and "collections" in query:
            return error(400, "InvalidRequest", "collections would never apply")
        if len(query.get("dids", [])) > 10_000 or len(query.get("collections", [])) > 100:
            return error(400, "InvalidRequest", "too many")
        number = int(query.get("zstdDictionary", ["0"])[0])
        current = self._dictionaries[-1][0]
        if number and number != current:
            return error(400, "UnknownZstdDictionary", f"current dictionary is {current}")
        floor = self._events[0].seq if self._events else self._next_seq
        if "cursor" in query and int(cursor) < min(floor, _TIMESTAMP_FROM):
            return self._too_old()
        return None

    # -- streams --------------------------------------------------------------
    async def _talk(self, connection: ServerConnection) -> None:
        wish: Wish = connection.wish  # type: ignore[attr-defined]
        self._connections.add(connection)
        try:
            await self._send_all(connection, wish)
        except ConnectionClosed:
            pass  # the client left, which is its right
        finally:
            self._connections.discard(connection)

    async def _send_all(self, connection: ServerConnection, wish: Wish) -> None:
        at, info = self._begin(wish)
        if info is not None and wish.wire == "v2":
            data, text = self._pack(wish, message({"$type": f"{NSID}#info", **info}))
            await connection.send(data, text=text)
        swapped: Event | None = None
        while True:
            news = self._news
            events = [e for e in self._from(at) if wish.wants(e)]
            at = self._next_seq
            for event in events:
                if swapped is not None:
                    await self._send(connection, wish, event)
                    event, swapped = swapped, None
                elif self._faults:
                    fault = self._faults.popleft()
                    if fault == "reorder":
                        swapped = event
                        continue
                    if not await self._misbehave(connection, wish, event, fault):
                        return
                await self._send(connection, wish, event)
            leaving = asyncio.ensure_future(connection.wait_closed())
            coming = asyncio.ensure_future(news.wait())
            try:
                await asyncio.wait({leaving, coming}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                coming.cancel()
                leaving.cancel()
            if leaving.done() and not leaving.cancelled():
                return

    def _from(self, seq: int) -> list[Event]:
        if not self._events or seq >= self._next_seq:
            return []
        skip = max(seq - self._events[0].seq, 0)
        if skip < len(self._events) // 2:
            return [e for e in self._events if e.seq >= seq]
        tail = [self._events[-n] for n in range(1, self._next_seq - seq + 1)]
        return tail[::-1]

    def _begin(self, wish: Wish) -> tuple[int, dict[str, Any] | None]:
        """The first number to send, and what to say about it."""
        if wish.cursor is None:
            return self._next_seq, None
        floor = self._events[0].seq if self._events else self._next_seq
        if wish.cursor >= _TIMESTAMP_FROM or wish.wire == "v1":
            first = next((e.seq for e in self._events if e.us >= wish.cursor), self._next_seq)
            if first == floor and wish.cursor <= self._forgotten_us:
                text = f"the cursor was below the floor; resumed from {floor}"
                return floor, {"name": "OutdatedCursor", "message": text}
            return first, None
        if wish.cursor > self._next_seq:
            text = f"{wish.cursor} lies ahead of {self._next_seq}; started at the tip"
            return self._next_seq, {"name": "FutureCursor", "message": text}
        return wish.cursor, None

    async def _send(self, connection: ServerConnection, wish: Wish, event: Event) -> None:
        data, text = self._form(wish, event)
        if not wish.most_bytes or len(data) <= wish.most_bytes:
            await connection.send(data, text=text)
        self.sent = max(self.sent, event.seq)

    def _form(self, wish: Wish, event: Event) -> tuple[bytes, bool]:
        """The bytes of an event, and whether they are text."""
        if wish.wire == "v1":
            return msgspec.json.encode(event.line), True
        if not event.frame:
            event.frame = message(event.payload)
        if not wish.dictionary:
            return event.frame, True
        packed = event.packed.get(wish.dictionary)
        if packed is None:
            packed = event.packed[wish.dictionary] = self._pack(wish, event.frame)[0]
        return packed, False

    def _pack(self, wish: Wish, frame: bytes) -> tuple[bytes, bool]:
        if not wish.dictionary:
            return frame, True
        compressor = next(c for number, _, c in self._dictionaries if number == wish.dictionary)
        return compressor.compress(frame), False

    async def _misbehave(
        self, connection: ServerConnection, wish: Wish, event: Event, fault: str
    ) -> bool:
        """Do what the fault says; whether the event is to be sent after that."""
        if fault == "drop":
            connection.transport.abort()
            return False
        if fault == "stall":
            await connection.wait_closed()
            return False
        if fault == "too_slow":
            body = {"$type": "error", "error": "ConsumerTooSlow", "message": "fell behind"}
            data, text = self._pack(wish, msgspec.json.encode(body))
            await connection.send(data, text=text)
            await connection.close(1008, "ConsumerTooSlow")
            return False
        if fault == "duplicate":
            await self._send(connection, wish, event)
        elif fault == "unknown":
            payload = {"$type": f"{NSID}#dream", "did": event.did, "time": event.payload["time"]}
            data, text = self._pack(wish, message(payload))
            await connection.send(data, text=text)
        elif fault == "truncated":
            data, text = self._form(wish, event)
            await connection.send(
                data[: len(data) // 2].decode("utf-8", "ignore") if text else data[: len(data) // 2]
            )
            return False
        elif fault == "oversized":
            if wish.dictionary:
                await connection.send(zstandard.ZstdCompressor().compress(bytes(1 << 26)))
            else:
                await connection.send("0" * 5_000_000)
            return False
        elif fault == "clock_skew":
            ahead = from_us(event.us) + _SKEW
            time = iso(ahead, "microseconds")
            event.payload |= {"time": time, "witnessedAt": time}
            event.frame, event.packed = b"", {}
            if event.line is not None:
                event.line["time_us"] = to_us(ahead)
        return True
