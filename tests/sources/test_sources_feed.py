from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gnomon.clock import SystemClock
from gnomon.errors import ContentError
from gnomon.net.door import Door
from gnomon.settings import Net
from gnomon.sources import feed, page
from gnomon.sources.base import SourceSpec
from gnomon.testing.check_source import START, HurriedClock, Stage, _Context
from gnomon.testing.feed_server import FeedServer, Item, ScriptedFeed
from gnomon.types import Batch, Delete, Document, Gap, SourceConfig, Upsert

NOW = datetime(2026, 3, 1, 13, tzinfo=UTC)
CONFIG = SourceConfig(name="feed:x", type="feed", settings={"url": "http://x.test/feed"})


def read(scripted: ScriptedFeed, config: SourceConfig = CONFIG) -> tuple[Document, ...]:
    body, headers = scripted.render()
    content_type = headers["content-type"]
    return feed.read_feed(
        body, config=config, url="http://x.test/feed", content_type=content_type, now=NOW
    )[1]


def item(n: int, **fields: Any) -> Item:
    usual = {"id": f"urn:{n}", "title": f"Title {n}", "text": f"Text of {n}."}
    return Item(**{**usual, "url": f"http://x.test/{n}", **fields})


@pytest.mark.parametrize("format", ["rss", "atom", "json"])
def test_an_entry_becomes_a_document(format: Any) -> None:
    scripted = ScriptedFeed(format=format, lang="de")
    scripted.post(item(1, author="Ann", published_at=NOW - timedelta(hours=1)))
    (document,) = read(scripted)
    assert document.key == "feed:x#urn:1"
    assert (document.source, document.kind) == ("feed:x", "article")
    assert (document.title, document.text) == ("Title 1", "Text of 1.")
    assert (document.url, document.author) == ("http://x.test/1", "Ann")
    assert document.lang == "de"
    assert document.published_at == NOW - timedelta(hours=1)
    assert document.date_source == "feed"
    assert document.observed_at is None and document.policy == feed.SOURCE.policy


def test_oldest_first_by_date_else_as_they_stand() -> None:
    dated = ScriptedFeed()
    for n in (3, 1, 2):
        dated.post(item(n, published_at=NOW - timedelta(hours=10 - n)))
    assert [d.key[-1] for d in read(dated)] == ["1", "2", "3"]
    undated = ScriptedFeed()
    for n in (3, 1, 2):
        undated.post(item(n))
    assert [d.key[-1] for d in read(undated)] == ["3", "1", "2"]
    assert all(d.published_at is None and d.date_source == "" for d in read(undated))


def test_an_entry_with_a_title_only_can_be_cited() -> None:
    scripted = ScriptedFeed()
    scripted.post(item(1, text=""))
    assert read(scripted)[0].text == "Title 1"


def test_a_date_in_the_future_is_not_believed() -> None:
    scripted = ScriptedFeed()
    scripted.post(item(1, published_at=NOW + timedelta(days=700)))
    assert read(scripted)[0].published_at is None


def test_what_is_no_feed_is_a_content_error() -> None:
    with pytest.raises(ContentError):
        feed.read_feed(b"<html><p>Sign in</p>", config=CONFIG, url="http://x.test/", now=NOW)


# -- polling --------------------------------------------------------------------


@pytest.fixture
async def server() -> AsyncIterator[FeedServer]:
    async with FeedServer() as server:
        yield server


@pytest.fixture
async def door(server: FeedServer) -> AsyncIterator[Door]:
    settings = Net(allow=(server.host_port,), per_host_delay_s=0, timeout_s=2)
    async with aclosing(Door(settings, SystemClock())) as door:
        yield door


def config(server: FeedServer, path: str = "/feed", **settings: Any) -> SourceConfig:
    return SourceConfig(name="feed:x", type="feed", settings={"url": server.url(path), **settings})


class Play:
    """Follows a source in hurried time, one script step per rest."""

    def __init__(
        self, spec: SourceSpec, config: SourceConfig, door: Door, *script: Any, rests: int = 1
    ) -> None:
        self.clock = HurriedClock(script, rests)
        self.rested: list[float] = []
        stage = Stage(config=config, fetcher=door, expected=dict)
        self.ctx = _Context(spec, stage, self.clock, 1)
        self.spec = spec
        sleep = self.clock.sleep

        async def noted(seconds: float) -> None:
            self.rested.append(seconds)
            await sleep(seconds)

        self.clock.sleep = noted  # type: ignore[method-assign]

    async def batches(self, cursor: str | None = None) -> list[Batch]:
        got: list[Batch] = []
        async with aclosing(self.spec.follow(self.ctx, cursor)) as stream:  # type: ignore[type-var]
            while True:
                coming = asyncio.ensure_future(anext(stream))
                quiet = asyncio.ensure_future(self.clock.quiet.wait())
                await asyncio.wait({coming, quiet}, return_when=asyncio.FIRST_COMPLETED)
                if not coming.done():
                    coming.cancel()
                    await asyncio.gather(coming, return_exceptions=True)
                    return got
                quiet.cancel()
                got.append(coming.result())


def upserts(batches: list[Batch]) -> list[Document]:
    return [c.document for b in batches for c in b.changes if isinstance(c, Upsert)]


async def test_unchanged_feeds_are_asked_conditionally(server: FeedServer, door: Door) -> None:
    server.feed("/feed").post(item(1))
    play = Play(feed.SOURCE, config(server), door, rests=3)
    batches = await play.batches()
    first, *later = server.asked("/feed")
    assert "if-none-match" not in first.headers and first.headers["a-im"] == "feed"
    assert len(later) == 3
    assert all(r.headers["if-none-match"] and r.headers["if-modified-since"] for r in later)
    assert len(upserts(batches)) == 1
    again = Play(feed.SOURCE, config(server), door, rests=0)
    await again.batches(batches[-1].cursor)
    assert "if-none-match" in server.asked("/feed")[-1].headers


async def test_another_address_in_the_settings_starts_afresh(
    server: FeedServer, door: Door
) -> None:
    server.feed("/feed").post(item(1))
    other = server.feed("/other")
    other.post(item(1))
    other.post(item(2))
    first = await Play(feed.SOURCE, config(server), door, rests=0).batches()
    second = await Play(feed.SOURCE, config(server, "/other"), door, rests=0).batches(
        first[-1].cursor
    )
    assert "if-none-match" not in server.asked("/other")[0].headers
    assert [d.key for d in upserts(second)] == ["feed:x#urn:2"]  # urn:1 is known by its content


async def test_the_publishers_patience_wins(server: FeedServer, door: Door) -> None:
    scripted = server.feed("/feed", ttl_min=120)
    scripted.post(item(1))
    play = Play(feed.SOURCE, config(server), door)
    await play.batches()
    assert 7_200 <= play.rested[0] <= 7_920


async def test_the_rhythm_sets_the_pace(server: FeedServer, door: Door) -> None:
    scripted = server.feed("/feed", max_age_s=1)
    for n in range(10):
        scripted.post(item(n, published_at=START - timedelta(hours=4 * (10 - n))))
    play = Play(feed.SOURCE, config(server), door)
    await play.batches()
    assert 3_600 <= play.rested[0] <= 3_960  # a quarter of four hours


async def test_a_cursor_stays_small(server: FeedServer, door: Door) -> None:
    scripted = server.feed("/feed", window=100)
    n = 0

    def flood() -> None:
        nonlocal n
        for _ in range(60):
            n += 1
            scripted.post(item(n))

    flood()
    batches = await Play(feed.SOURCE, config(server), door, *[flood] * 20).batches()
    assert len(upserts(batches)) == 60 * 21
    assert max(len(b.cursor or "") for b in batches) < 12_000


async def test_many_new_entries_come_in_parts_that_can_be_resumed(
    server: FeedServer, door: Door
) -> None:
    scripted = server.feed("/feed", window=1_000)
    for n in range(450):
        scripted.post(item(n))
    first = await Play(feed.SOURCE, config(server), door).batches()
    assert [len(b.changes) for b in first if b.changes] == [200, 200, 50]
    rest = await Play(feed.SOURCE, config(server), door).batches(first[0].cursor)
    assert len(upserts(rest)) == 250
    assert "if-none-match" not in server.asked("/feed")[-2].headers


LONG = "The council met in the evening and decided, after a long debate, to keep the ferry. " * 4


async def test_full_text(server: FeedServer, door: Door) -> None:
    scripted = server.feed("/feed")
    scripted.post(item(1, url=server.url("/1"), text="Summary."))
    scripted.post(item(2, url=server.url("/2"), text="Summary."))
    scripted.post(item(3, url=server.url("/3"), text="Summary."))
    server.page("/1", title="Title 1", text=LONG)
    server.misbehave("/2", "500", "500")
    play = Play(feed.SOURCE, config(server, full_text=True), door, rests=2)
    batches = await play.batches()
    texts = {d.key[-1]: d.text for d in upserts(batches)}
    assert "decided, after a long debate" in texts["1"]
    assert texts["2"] == texts["3"] == "Summary."
    assert play.ctx.skipped["full_text.404"] == 1
    assert sum(n for reason, n in play.ctx.skipped.items() if reason.startswith("full_text")) == 2
    assert len(server.asked("/1")) == 1  # once per version, not once per poll


async def test_a_tombstone_is_handed_over_once(server: FeedServer, door: Door) -> None:
    scripted = server.feed("/feed", format="atom")
    scripted.post(item(1))

    def post() -> None:
        scripted.post(item(2))

    play = Play(feed.SOURCE, config(server), door, lambda: scripted.remove("urn:1"), post)
    deletes = [c for b in await play.batches() for c in b.changes if isinstance(c, Delete)]
    assert deletes == [Delete(key="feed:x#urn:1")]


async def test_a_cursor_of_another_connector_is_no_crash(server: FeedServer, door: Door) -> None:
    server.feed("/feed").post(item(1))
    server.page("/page", text=LONG)
    for cursor in ("not json", '{"file": 3}', "[]", '{"url": 7, "configured": "x"}'):
        assert upserts(await Play(feed.SOURCE, config(server), door, rests=0).batches(cursor))
        watched = config(server, "/page")
        assert upserts(await Play(page.SOURCE, watched, door, rests=0).batches(cursor))


# -- pages ----------------------------------------------------------------------


async def test_new_markup_around_the_same_text_is_no_version(
    server: FeedServer, door: Door
) -> None:
    scripted = server.page("/page", title="T", text=LONG)

    def redesign() -> None:
        scripted.author = "Somebody"

    def correct() -> None:
        scripted.edit(text=LONG + "\n\nCorrection: the debate was short, said the chair.")

    play = Play(page.SOURCE, config(server, "/page"), door, redesign, correct)
    first, second = upserts(await play.batches())
    assert first.key == second.key == "feed:x" and first.kind == "page"
    assert "Correction" in second.text and first.url == server.url("/page")


async def test_a_page_without_text_is_counted_not_stored(server: FeedServer, door: Door) -> None:
    server.page("/page", html="<script>draw()</script>")
    play = Play(page.SOURCE, config(server, "/page"), door)
    assert upserts(await play.batches()) == []
    assert any(reason.startswith("page.") for reason in play.ctx.skipped)


async def test_an_answer_that_was_cut_off_does_not_say_where_the_feed_stands(
    server: FeedServer, door: Door
) -> None:
    scripted = server.feed("/feed")
    for n in range(6):
        scripted.post(item(n))
    before = await Play(feed.SOURCE, config(server), door, rests=0).batches()
    for n in range(6, 12):
        scripted.post(item(n))
    server.misbehave("/feed", "broken_xml")
    play = Play(feed.SOURCE, config(server), door, rests=0)
    cut = await play.batches(before[-1].cursor)
    assert 0 < len(upserts(cut)) < 6
    assert all(d.text == f"Text of {d.key.rpartition(':')[2]}." for d in upserts(cut))
    # The next whole answer brings the rest, and nothing again.
    whole = await Play(feed.SOURCE, config(server), door, rests=0).batches(cut[-1].cursor)
    keys = [d.key for d in (*upserts(cut), *upserts(whole))]
    assert len(keys) == len(set(keys)) == 6


async def test_what_came_undated_in_a_cut_answer_is_no_new_version_with_its_date(
    server: FeedServer, door: Door
) -> None:
    scripted = server.feed("/feed")
    scripted.post(item(0))

    def ahead_of_our_clock() -> None:
        for n in range(1, 8):
            scripted.post(item(n, published_at=play.clock.now() + timedelta(minutes=30)))
        server.misbehave("/feed", "broken_xml")

    play = Play(feed.SOURCE, config(server, interval_s=2_400), door, ahead_of_our_clock)
    came = upserts(await play.batches())
    undated = [d for d in came if d.published_at is None]
    assert undated and len(undated) < 7
    assert sorted(d.key[-1] for d in came) == list("01234567")


async def test_a_clock_that_is_behind_hides_no_loss(server: FeedServer, door: Door) -> None:
    scripted = server.feed("/feed", window=3)
    for n in range(3):
        scripted.post(item(n))
    play = Play(feed.SOURCE, config(server, interval_s=60), door, rests=0)
    before = await play.batches()
    # Twenty minutes passed, and our clock was set back by as much: a minute seems to have.
    for n in range(3, 12):
        scripted.post(item(n, published_at=play.clock.now() + timedelta(minutes=n + 5)))
    again = Play(feed.SOURCE, config(server, interval_s=60), door, rests=0)
    changes = [c for batch in await again.batches(before[-1].cursor) for c in batch.changes]
    (gap,) = [change for change in changes if isinstance(change, Gap)]
    assert gap.start is not None and gap.end is not None and gap.start <= gap.end


async def test_answers_that_cannot_be_read_hide_no_loss(server: FeedServer, door: Door) -> None:
    scripted = server.feed("/feed", window=3)
    for n in range(3):
        scripted.post(item(n))

    def sign_in_pages() -> None:
        server.misbehave("/feed", *["html"] * 5)
        for n in range(3, 12):
            scripted.post(item(n))

    play = Play(feed.SOURCE, config(server, interval_s=60), door, sign_in_pages, rests=7)
    changes = [change for batch in await play.batches() for change in batch.changes]
    gaps = [change for change in changes if isinstance(change, Gap)]
    assert len(gaps) == 1
    assert gaps[0].start is not None and gaps[0].end is not None
    assert gaps[0].end - gaps[0].start >= timedelta(minutes=5)
