"""What the Jetstream stand-in sends and is asked: events, wishes, dictionaries, plain answers."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from functools import cache
from http import HTTPStatus
from typing import Any

import msgspec
import zstandard
from websockets.datastructures import Headers
from websockets.http11 import Response

from gnomon.clock import to_us
from gnomon.testing.atproto_data import cid_of, did_plc, tid

NSID = "network.bsky.jetstream.subscribeEvents"
POST = "app.bsky.feed.post"
KINDS = ("commit", "identity", "account", "sync")
_EXAMPLE_AT = datetime(2026, 1, 1, tzinfo=UTC)
_EXAMPLE_TEXT = (
    "the bridge harbour council vote storm ferry is was closed open again and of a to in for on "
    "today tonight water road train people market who said that it not you this have so"
)


class Event(msgspec.Struct):
    """Something that happened, in both versions' forms."""

    seq: int
    us: int
    kind: str
    did: str
    collection: str
    payload: dict[str, Any]
    line: dict[str, Any] | None
    """Version 1's form; None where it has none."""
    frame: bytes = b""
    packed: dict[int, bytes] = {}
    """The compressed frame by dictionary."""


class Wish(msgspec.Struct):
    """What a connection asked for."""

    wire: str
    cursor: int | None
    kinds: frozenset[str]
    dids: frozenset[str]
    collections: frozenset[str]
    prefixes: tuple[str, ...]
    dictionary: int
    most_bytes: int

    def wants(self, event: Event) -> bool:
        """Whether its filters let this through."""
        if self.wire == "v1" and event.line is None:
            return False
        if self.kinds and event.kind not in self.kinds:
            return False
        if self.dids and event.did not in self.dids:
            return False
        if event.kind != "commit" or not (self.collections or self.prefixes):
            return True
        return event.collection in self.collections or event.collection.startswith(self.prefixes)


@cache
def dictionary(number: int) -> tuple[bytes, zstandard.ZstdCompressor]:
    """A dictionary trained on frames as they are sent, and its compressor."""
    rng, words = random.Random(number), _EXAMPLE_TEXT.split()
    samples: list[bytes | bytearray | memoryview[int]] = []
    for n in range(1_000):
        did, rkey = did_plc(str(n % 50)), tid(to_us(_EXAMPLE_AT) + n)
        text = " ".join(rng.choice(words) for _ in range(rng.randint(3, 40)))
        time = iso(_EXAMPLE_AT + timedelta(seconds=n), "microseconds")
        record = {"$type": POST, "createdAt": time, "langs": ["en"], "text": text}
        commit = {"rev": rkey, "operation": "create", "collection": POST, "rkey": rkey}
        head = {"$type": f"{NSID}#commit", "seq": n, "did": did, "time": time, "witnessedAt": time}
        samples.append(message({**head, **commit, "record": record, "cid": cid_of(record)}))
    trained = zstandard.train_dictionary(16_384, samples, dict_id=number)
    return trained.as_bytes(), zstandard.ZstdCompressor(level=1, dict_data=trained)


def wish_of(wire: str, query: dict[str, list[str]]) -> Wish:
    """What a query asks for."""
    dids, collections = ("dids", "collections")
    if wire == "v1":
        dids, collections = ("wantedDids", "wantedCollections")
    wanted = query.get(collections, [])
    exact = [c for c in wanted if not c.endswith("*")]
    # Version 1 sends accounts and identities to everybody, too.
    return Wish(
        wire=wire,
        cursor=int(query["cursor"][0]) if "cursor" in query else None,
        kinds=frozenset(query.get("kinds", [])),
        dids=frozenset(query.get(dids, [])),
        collections=frozenset(exact),
        prefixes=tuple(c[:-1] for c in wanted if c.endswith("*")),
        dictionary=int(query.get("zstdDictionary", ["0"])[0]) if wire == "v2" else 0,
        most_bytes=int(query.get("maxMessageSizeBytes", ["0"])[0]),
    )


def message(payload: dict[str, Any]) -> bytes:
    """The text frame of a payload."""
    return msgspec.json.encode({"$type": "message", "payload": payload})


def iso(moment: datetime, precision: str) -> str:
    """A moment as the network writes it."""
    return moment.astimezone(UTC).isoformat(timespec=precision).replace("+00:00", "Z")


def error(status: int, name: str, message: str) -> Response:
    """A refusal in the form of XRPC."""
    body = msgspec.json.encode({"error": name, "message": message})
    return answer(status, body, "application/json")


def answer(status: int, body: bytes, media_type: str) -> Response:
    """A plain answer."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Unknown"
    headers = Headers({"content-type": media_type, "content-length": str(len(body))})
    headers["connection"] = "close"
    return Response(status, phrase, headers, body)
