"""Feed, page and replay, each against its stand-in, killed at random points."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import Field

from gnomon.clock import SystemClock
from gnomon.errors import UpstreamTransient
from gnomon.net.door import Door
from gnomon.settings import Net
from gnomon.sources import feed, page, replay
from gnomon.sources.base import Context, SourceSettings, SourceSpec
from gnomon.testing.check_source import START, SourceCheckFailed, Stage, check_source
from gnomon.testing.feed_server import FeedServer, Item
from gnomon.types import Batch, Document, Gap, SourceConfig, Upsert


@asynccontextmanager
async def door_to(server: FeedServer) -> AsyncIterator[Door]:
    settings = Net(
        allow=(server.host_port,), per_host_delay_s=0, timeout_s=0.4, max_body_bytes=200_000
    )
    door = Door(settings, SystemClock())
    try:
        yield door
    finally:
        await door.aclose()


def item(n: int, **changes: object) -> Item:
    fields = {
        "id": f"urn:e{n}",
        "url": f"https://example.org/{n}",
        "title": f"Entry {n}",
        "text": f"What happened at number {n}.",
        "published_at": START + timedelta(minutes=n - 60),
        **changes,
    }
    return Item(**fields)  # type: ignore[arg-type]


@asynccontextmanager
async def feed_stage(
    format: str, faults: tuple[str, ...] = (), validators: str = "both"
) -> AsyncIterator[Stage]:
    """Posts, an edit, a tombstone, an entry that leaves the window; faults in between."""
    async with FeedServer() as server, door_to(server) as door:
        path = "/news"
        scripted = server.feed(path, format=format, window=6, validators=validators)
        for n in range(4):
            scripted.post(item(n))
        config = SourceConfig(
            name="feed:stage", type="feed", settings={"url": server.url(path), "interval_s": 60}
        )
        key = "feed:stage#urn:e{}".format
        expected: dict[str, list[str | None]] = {key(n): [item(n).text] for n in range(4)}

        def post(n: int) -> None:
            scripted.post(item(n))
            expected[key(n)] = [item(n).text]

        def edit(n: int, text: str) -> None:
            scripted.edit(f"urn:e{n}", text=text)
            expected[key(n)].append(text)

        def remove(n: int) -> None:
            scripted.remove(f"urn:e{n}")
            if format == "atom":
                expected[key(n)].append(None)

        script = [
            lambda: post(4),
            lambda: edit(3, "What happened at number 3, corrected."),
            lambda: None,
            lambda: remove(4),
            *(lambda n=n: post(n) for n in range(5, 9)),  # the first ones leave the window
            lambda: edit(7, "What happened at number 7, corrected."),
        ]
        for i, fault in enumerate(faults):
            script.insert(2 * i + 1, lambda fault=fault: server.misbehave(path, fault))
        yield Stage(config=config, fetcher=door, expected=lambda: expected, script=script)


@pytest.mark.parametrize("format", ["rss", "atom", "json"])
async def test_feed_killed_anywhere(format: str) -> None:
    ledgers = await check_source(feed.SOURCE, lambda: feed_stage(format), rounds=8)
    assert sum(ledger.kills for ledger in ledgers) > 5
    assert not any(ledger.gaps for ledger in ledgers)


@pytest.mark.parametrize("validators", ["none", "etag", "last-modified"])
async def test_feed_with_other_validators(validators: str) -> None:
    await check_source(feed.SOURCE, lambda: feed_stage("atom", (), validators), rounds=3)


FAULTS = {
    "drop": "net.",
    "stall": "net.",
    "truncated": "net.",
    "404": "source.not_found",
    "429 0": "net.",
    "500": "net.",
    "503 0": "net.",
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_feed_raises_and_recovers(fault: str) -> None:
    ledgers = await check_source(feed.SOURCE, lambda: feed_stage("rss", (fault,)), rounds=2, seed=3)
    assert any(code.startswith(FAULTS[fault]) for code in ledgers[0].errors), ledgers[0].errors


ODD = ["broken_xml", "html", "huge", "304", "duplicate", "reorder", "clock_jump", "wrong_encoding"]


@pytest.mark.parametrize("fault", ODD)
async def test_feed_survives_odd_answers(fault: str) -> None:
    ledgers = await check_source(
        feed.SOURCE, lambda: feed_stage("rss", (fault, fault)), rounds=3, seed=4
    )
    assert not any(ledger.errors for ledger in ledgers)


@asynccontextmanager
async def refusing_stage(fault: str, code: str) -> AsyncIterator[Stage]:
    async with FeedServer() as server, door_to(server) as door:
        server.feed("/news").post(item(1))
        yield Stage(
            config=SourceConfig(
                name="feed:stage", type="feed", settings={"url": server.url("/news")}
            ),
            fetcher=door,
            expected=lambda: {"feed:stage#urn:e1": [item(1).text]},
            script=[lambda: server.misbehave("/news", *[fault] * 9)],
            ends_with=code,
        )


@pytest.mark.parametrize(("fault", "code"), [("401", "source.forbidden"), ("410", "source.gone")])
async def test_feed_ends(fault: str, code: str) -> None:
    await check_source(feed.SOURCE, lambda: refusing_stage(fault, code), rounds=2)


@asynccontextmanager
async def moving_stage() -> AsyncIterator[Stage]:
    async with FeedServer() as server, door_to(server) as door:
        old = server.feed("/old")
        old.post(item(1))
        new = server.feed("/new")

        def move() -> None:
            new.post(item(1))
            new.post(item(2))
            server.misbehave("/old", "301 /new")

        def end_old() -> None:
            server.unroute("/old")
            new.post(item(3))

        yield Stage(
            config=SourceConfig(
                name="feed:stage",
                type="feed",
                settings={"url": server.url("/old"), "interval_s": 60},
            ),
            fetcher=door,
            expected=lambda: {f"feed:stage#urn:e{n}": [item(n).text] for n in (1, 2, 3)},
            script=[move, end_old],
        )


async def test_feed_moves_for_good() -> None:
    ledgers = await check_source(feed.SOURCE, moving_stage, rounds=1)
    assert [notice.code for notice in ledgers[0].notices] == ["source.moved"]


@asynccontextmanager
async def outrun_stage() -> AsyncIterator[Stage]:
    """More entries between two polls than the window holds."""
    async with FeedServer() as server, door_to(server) as door:
        scripted = server.feed("/news", window=5)
        for n in range(5):
            scripted.post(item(n))

        def flood() -> None:
            for n in range(5, 25):
                scripted.post(item(n))

        yield Stage(
            config=SourceConfig(
                name="feed:stage",
                type="feed",
                settings={"url": server.url("/news"), "interval_s": 600},
            ),
            fetcher=door,
            expected=lambda: {f"feed:stage#urn:e{n}": [item(n).text] for n in range(25)},
            script=[flood],
        )


async def test_what_a_feed_lost_is_a_gap() -> None:
    ledgers = await check_source(feed.SOURCE, outrun_stage, rounds=4)
    for ledger in ledgers:
        assert len(ledger.versions) == 10
        (gap,) = ledger.gaps
        assert gap.start is not None and gap.end is not None and gap.start < gap.end


@asynccontextmanager
async def page_stage(faults: tuple[str, ...] = ()) -> AsyncIterator[Stage]:
    """A page that changes, is missing once, vanishes and returns."""
    async with FeedServer() as server, door_to(server) as door:
        first, second, third = (
            f"The harbour is {state} today, says the office in its notice of the morning."
            for state in ("open", "closed", "open again")
        )
        scripted = server.page("/harbour", title="Harbour", text=first)
        config = SourceConfig(
            name="page:stage",
            type="page",
            settings={"url": server.url("/harbour"), "interval_s": 60},
        )
        texts = [text and f"Harbour\n\n{text}" for text in (first, second, None, third)]
        expected = {"page:stage": texts}
        script = [
            lambda: server.misbehave("/harbour", "404"),
            lambda: scripted.edit(text=second),
            lambda: None,
            lambda: scripted.vanish(404),
            *[lambda: None] * 3,
            lambda: scripted.edit(text=third),
        ]
        for i, fault in enumerate(faults):
            script.insert(2 + i, lambda fault=fault: server.misbehave("/harbour", fault))
        yield Stage(config=config, fetcher=door, expected=lambda: expected, script=script)


async def test_page_killed_anywhere() -> None:
    ledgers = await check_source(page.SOURCE, page_stage, rounds=8)
    assert sum(ledger.kills for ledger in ledgers) > 5


@pytest.mark.parametrize("fault", ["drop", "stall", "truncated", "503 0", "huge", "304"])
async def test_page_with_faults(fault: str) -> None:
    await check_source(page.SOURCE, lambda: page_stage((fault,)), rounds=3, seed=5)


def replay_stage(path: Path, rows: int, **settings: object):  # type: ignore[no-untyped-def]
    @asynccontextmanager
    async def stage() -> AsyncIterator[Stage]:
        async with FeedServer() as server, door_to(server) as door:
            yield Stage(
                config=SourceConfig(
                    name="replay:stage",
                    type="replay",
                    settings={"path": str(path), "batch_rows": 7, **settings},
                ),
                fetcher=door,
                expected=lambda: {f"k{n}": [f"Post {n}."] for n in range(rows)},
                rests=1_000,
            )

    return stage


@pytest.mark.parametrize("speed", [0, 3])
async def test_replay_killed_anywhere(tmp_path: Path, speed: float) -> None:
    path = tmp_path / "posts.jsonl"
    rows = [
        {"key": f"k{n}", "text": f"Post {n}.", "created_at": f"2026-01-01T00:00:{n // 4:02}Z"}
        for n in range(100)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    ledgers = await check_source(replay.SOURCE, replay_stage(path, 100, speed=speed), rounds=8)
    assert sum(ledger.kills for ledger in ledgers) > 5


# -- the check itself must be able to fail ----------------------------------------------


class _Numbers(SourceSettings):
    n: int = Field(30)


def _spec(kind: str) -> SourceSpec:
    async def follow(ctx: Context, cursor: str | None) -> AsyncIterator[Batch]:
        rng = random.Random(1)
        at = int(cursor or 0)
        while at < ctx.settings.n:
            document = Document(key=f"n{at}", source="x", kind="post", text=f"Number {at}.")
            if kind == "made up":
                document = Document(key=f"{rng.random()}", source="x", kind="post", text="?")
            if kind == "wrong source":
                document = Document(key=f"n{at}", source="y", kind="post", text=f"Number {at}.")
            # The classic: the cursor moves past what was read but not yet handed over.
            ahead = 2 if kind == "ahead" else 1
            if kind == "lazy gap" and at == 5:
                yield Batch((Gap(reason="dropped"),), "6")
            else:
                yield Batch((Upsert(document),), str(at + ahead))
            at += 1
            if kind == "shaky" and rng.random() < 0.2:
                raise UpstreamTransient("shaky")

    return SourceSpec(name=kind, title=kind, docs_url="", follow=follow, settings=_Numbers)


@asynccontextmanager
async def number_stage() -> AsyncIterator[Stage]:
    async with FeedServer() as server, door_to(server) as door:
        yield Stage(
            config=SourceConfig(name="x", type="x"),
            fetcher=door,
            expected=lambda: {f"n{n}": [f"Number {n}."] for n in range(30)},
        )


@pytest.mark.parametrize("kind", ["right", "shaky", "lazy gap"])
async def test_check_passes_honest_sources(kind: str) -> None:
    await check_source(_spec(kind), number_stage, rounds=5)


@pytest.mark.parametrize(
    ("kind", "said"),
    [("ahead", "was lost"), ("made up", "made up"), ("wrong source", "its source is")],
)
async def test_check_fails_broken_sources(kind: str, said: str) -> None:
    with pytest.raises(SourceCheckFailed, match=said):
        await check_source(_spec(kind), number_stage, rounds=5)


async def test_check_sees_tasks_left_behind() -> None:
    running = []

    async def follow(ctx: Context, cursor: str | None) -> AsyncIterator[Batch]:
        running.append(asyncio.ensure_future(asyncio.sleep(60)))
        yield Batch()

    spec = SourceSpec(name="x", title="", docs_url="", follow=follow, settings=_Numbers)
    with pytest.raises(SourceCheckFailed, match="left tasks behind"):
        await check_source(spec, number_stage, rounds=1)
    for task in running:
        task.cancel()
