"""Real frames and lines of the network, and the stand-in against an independent client."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import os
import random
import struct
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from gnomon.clock import ManualClock
from gnomon.net.door import Door
from gnomon.settings import Ingest, Net
from gnomon.sources.bluesky import SOURCE, identify
from gnomon.sources.bluesky_posts import document_of, read_post
from gnomon.sources.bluesky_wire import (
    MAX_FRAME_BYTES,
    Decompressor,
    FrameError,
    ServerSaid,
    decode_v1,
    decode_v2,
    endpoints,
)
from gnomon.testing.atproto_data import cid_of, dag_cbor, did_plc, tid
from gnomon.testing.atproto_frames import blocks_of, decode_cbor, json_form, lines_of
from gnomon.testing.check_source import HurriedClock, Stage
from gnomon.testing.check_source import _Context as Lent
from gnomon.testing.jetstream_server import JetstreamServer
from gnomon.types import Delete, Purge, SourceConfig, Upsert

DATA = Path(os.environ.get("GNOMON_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
FOLDER = DATA / "bluesky" / "jetstream"
needs_data = pytest.mark.skipif(not FOLDER.exists(), reason="the recorded frames are not here")
NOW = datetime(2026, 7, 4, 15, tzinfo=UTC)
ADA = did_plc("ada")


def expected() -> list[dict[str, Any]]:
    with gzip.open(FOLDER / "expected_v1.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def timeless(line: dict[str, Any]) -> str:
    return json.dumps({k: v for k, v in line.items() if k != "time_us"}, sort_keys=True)


@needs_data
def test_every_recorded_frame_becomes_the_lines_that_jetstream_sent() -> None:
    data = gzip.decompress((FOLDER / "frames.bin.gz").read_bytes())
    lines, at, frames = [], 0, 0
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at)
        lines += lines_of(data[at + 4 : at + 4 + size])
        at, frames = at + 4 + size, frames + 1
    assert frames == 150
    assert Counter(map(timeless, lines)) == Counter(map(timeless, expected()))
    records = [x["commit"] for x in lines if "record" in x.get("commit", {})]
    assert len(records) == 146
    assert all(cid_of(commit["record"]) == commit["cid"] for commit in records)


@needs_data
def test_a_whole_repository_is_read() -> None:
    blocks = {
        c.text: b for c, b in blocks_of(gzip.decompress((FOLDER / "repo.car.gz").read_bytes()))
    }
    rows = (FOLDER / "car_expected_records.tsv").read_text("utf-8").splitlines()
    assert rows
    for row in rows:
        path, cid = row.split("\t")
        record, _ = decode_cbor(blocks[cid])
        assert record["$type"] == path.partition("/")[0]
        assert dag_cbor(json_form(record)) == blocks[cid]


@needs_data
@pytest.mark.parametrize("protocol", ["v1", "v2"])
async def test_the_recorded_lines_through_the_connector(protocol: str) -> None:
    async with JetstreamServer(ManualClock(NOW)) as server:
        for line in expected():
            server.replay_line(line)
        settings = {"endpoints": (server.url,), "protocol": protocol, "collections": ("*",)}
        # An account that left is told by the same kind of event as the one that came back here.
        server.account(ADA, active=False, status="deleted")
        door = Door(Net(allow=(server.address,), per_host_delay_s=0.0), ManualClock(NOW))
        config = SourceConfig(name="bluesky", type="bluesky", settings=settings)
        stage = Stage(config=config, fetcher=door, expected=dict, limits=Ingest())
        clock = HurriedClock()
        clock.now = lambda: NOW  # type: ignore[method-assign]
        context = Lent(SOURCE, stage, clock, 0)
        changes: list[Any] = []
        stream = SOURCE.follow(context, None)
        async for batch in stream:
            changes += batch.changes
            if any(isinstance(c, Purge) for c in changes):
                break
        await stream.aclose()  # type: ignore[attr-defined]
        await door.aclose()
        created = [c.document for c in changes if isinstance(c, Upsert)]
        posts = [d for d in created if d.kind == "post"]
        assert len(posts) == 17
        deleted = [c.key for c in changes if isinstance(c, Delete) and "feed.post/" in c.key]
        assert [key.partition("plc:")[2] for key in deleted] == [
            "4smmjsqf6l5jkzczvw6vsrqc/app.bsky.feed.post/3mpt73z3ejc2p"
        ]
        assert not {"record.unreadable", "frame.unreadable"} & set(context.skipped)


async def test_an_independent_client_reads_the_stand_in() -> None:
    """atproto's own client: filters, replay, breaks, compression, the dictionary's rotation."""
    from atproto import AsyncJetstreamClient, models

    async with JetstreamServer() as server:
        client = AsyncJetstreamClient(
            params={"collections": ["app.bsky.feed.post"], "cursor": 1},
            base_uri=f"{server.url}/xrpc",
            recv_timeout=5.0,
        )
        first = server.post(ADA, "number 0", langs=["en"])
        for n in range(1, 40):
            server.post(ADA, f"number {n}", reply_to=first, link=("https://x.example/", "T", "D"))
            server.like(ADA, first)
        server.edit(first, "edited")
        server.delete(first)
        server.account(ADA, active=False, status="deleted")
        server.identity(ADA, "ada.example.com")
        server.sync(ADA)
        got: list[Any] = []

        async def take(message: Any) -> None:
            got.append(message)
            if len(got) in (10, 25):
                if len(got) == 25:
                    server.misbehave("rotate")
                server.kick()
            if message.py_type.endswith("#sync"):
                await client.stop()

        async with asyncio.timeout(30):
            await client.start(take)
        seqs = [m.seq for m in got]
        # Likes are filtered; the rest came once, in order, in spite of two breaks.
        wanted = [e["seq"] for e in server.published if e["collection"] != "app.bsky.feed.like"]
        assert seqs == wanted and len(seqs) == 45
        assert client.compressed
        posts = [m for m in got if m.py_type.endswith("#commit") and m.operation == "create"]
        for message in posts:
            record = models.get_or_create(dict(message.record), models.AppBskyFeedPost.Record)
            assert isinstance(record, models.AppBskyFeedPost.Record), message.record
        assert [m.py_type.partition("#")[2] for m in got[-3:]] == ["account", "identity", "sync"]


async def test_an_independent_client_is_told_of_a_lost_window() -> None:
    from atproto import AsyncJetstreamClient
    from atproto_jetstream.exceptions import JetstreamCursorTooOldError

    async with JetstreamServer() as server:
        for n in range(5):
            server.post(ADA, str(n))
        server.forget(4)
        client = AsyncJetstreamClient(params={"cursor": 2}, base_uri=f"{server.url}/xrpc")

        async def take(message: Any) -> None:
            raise AssertionError(message)

        with pytest.raises(JetstreamCursorTooOldError, match="floor 4"):
            async with asyncio.timeout(10):
                await client.start(take)


def test_a_frame_may_not_unpack_beyond_the_cap() -> None:
    dictionary = zstandard.train_dictionary(
        4_096, [random.Random(n).randbytes(40) * 5 for n in range(2_000)], dict_id=7
    )
    unpack = Decompressor(dictionary.as_bytes())
    assert unpack.id == 7
    packed = zstandard.ZstdCompressor(dict_data=dictionary).compress(b"hello")
    assert unpack(packed) == b"hello"
    bomb = zstandard.ZstdCompressor().compress(bytes(MAX_FRAME_BYTES + 1))
    endless = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(1 << 26))
    for data in (bomb, endless, b"", b"noise", packed[:-3]):
        with pytest.raises(FrameError):
            unpack(data)
    for blob in (
        b"",
        b"x" * 100,
        dictionary.as_bytes()[:40],
        bytes(reversed(dictionary.as_bytes())),
    ):
        with pytest.raises(FrameError):
            Decompressor(blob)


OPTIONAL = ("createdAt", "langs", "reply", "embed", "facets", "tags", "labels")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=6)
    ),
    max_leaves=12,
)


@given(st.binary(max_size=200) | JSON.map(lambda v: json.dumps(v).encode()))
def test_any_bytes_are_an_event_or_a_frame_error(data: bytes) -> None:
    for decode in (decode_v1, decode_v2):
        try:
            event = decode(data)
        except (FrameError, ServerSaid):
            continue
        assert isinstance(event.at_us(), int)


@given(
    st.fixed_dictionaries(
        {"text": JSON},
        optional=dict.fromkeys(
            ("createdAt", "langs", "reply", "embed", "facets", "tags", "labels"), JSON
        ),
    )
)
def test_any_record_is_a_document_or_none_or_a_value_error(record: dict[str, Any]) -> None:
    create = {"operation": "create", "collection": "app.bsky.feed.post", "rkey": "3k"}
    line = {
        "did": ADA,
        "time_us": 1_783_175_888_000_000,
        "kind": "commit",
        "commit": {**create, "record": record},
    }
    event = decode_v1(json.dumps(line))
    try:
        post = read_post(event.record)
    except ValueError:
        assert not isinstance(record["text"], str) or "createdAt" in record or "langs" in record
        return
    document = document_of(event, post, "bluesky", now=NOW, tolerance=timedelta(minutes=5))
    if document is not None:
        assert document.text.strip() and document.published_at is not None
        assert document.published_at <= NOW + timedelta(minutes=5)


@given(JSON)
def test_the_data_model_survives_its_encoding(value: Any) -> None:
    if "$link" in json.dumps(value) or "$bytes" in json.dumps(value):
        return
    decoded, end = decode_cbor(dag_cbor(value))
    assert json_form(decoded) == value and end == len(dag_cbor(value))


@given(st.binary(max_size=80))
def test_damaged_cbor_is_a_value_error(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        decode_cbor(data)


def test_record_keys_grow_with_time() -> None:
    assert tid(1_783_175_888_085_434) < tid(1_783_175_888_085_435)
    assert len(tid(1_783_175_888_085_434)) == 13


@pytest.mark.parametrize(
    ("text", "name", "settings"),
    [
        ("bluesky", "bluesky", {}),
        ("@Alice.bsky.social", "bluesky:alice.bsky.social", {"handles": ["alice.bsky.social"]}),
        ("alice.bsky.social", "bluesky:alice.bsky.social", {"handles": ["alice.bsky.social"]}),
        ("@news.example.com", "bluesky:news.example.com", {"handles": ["news.example.com"]}),
        (
            "https://bsky.app/profile/alice.bsky.social/post/3k",
            "bluesky:alice.bsky.social",
            {"handles": ["alice.bsky.social"]},
        ),
        ("bluesky:news.example.com", "bluesky:news.example.com", {"handles": ["news.example.com"]}),
        (ADA, f"bluesky:{ADA}", {"dids": [ADA]}),
        (f"https://bsky.app/profile/{ADA}", f"bluesky:{ADA}", {"dids": [ADA]}),
    ],
)
def test_accounts_are_identified(text: str, name: str, settings: dict[str, Any]) -> None:
    config = identify(text)
    assert config is not None
    assert (config.name, dict(config.settings)) == (name, settings)
    SOURCE.settings.model_validate(dict(config.settings))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@alice",
        "@alice@mastodon.example",
        "https://example.com/feed",
        "example.com",
        "bsky.app",
        "https://bsky.app/",
        "https://bsky.app/profile",
        "did:key:z6Mk",
        "storm",
    ],
)
def test_other_things_are_not(text: str) -> None:
    assert identify(text) is None


def test_settings_that_would_lose_duties_are_refused() -> None:
    for settings in (
        {"kinds": ["commit"]},
        {"dids": ["ada"]},
        {"handles": ["ada"]},
        {"endpoints": ["https://x.example"]},
        {"endpoints": []},
    ):
        with pytest.raises(ValueError, match="validation error"):
            SOURCE.settings.model_validate(settings)


def test_the_address_tells_the_version() -> None:
    def wires(address: str) -> list[str]:
        return [endpoint.wire for endpoint in endpoints((address,), "auto")]

    assert wires("wss://jetstream.us-east.bsky.network") == ["v2"]
    assert wires("wss://jetstream2.us-west.bsky.network/subscribe") == ["v1"]
    assert wires("wss://jetstream1.us-east.bsky.network") == ["v1"]
    assert wires("wss://own.example") == ["v2", "v1"]
