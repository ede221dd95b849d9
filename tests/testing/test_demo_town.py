"""The demo town as a service: real feeds, and a past that live polls continue without a seam."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import feedparser
import httpx2
import msgspec
import pytest

from gnomon.clock import ManualClock
from gnomon.sources.feed import read_feed
from gnomon.testing.world import BANNER, DemoTown
from gnomon.testing.world import feeds as town_feeds
from gnomon.testing.world.model import OUTLETS
from gnomon.testing.world.world import POLL_S
from gnomon.types import Delete, Document, Upsert

START = datetime(2026, 11, 22, 15, 0, tzinfo=UTC)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
async def town(clock: ManualClock) -> AsyncIterator[DemoTown]:
    town = DemoTown(seed=1, start=START, clock=clock)
    await town.start()
    yield town
    await town.stop()


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(trust_env=False) as client:
        yield client


def said(document: Document) -> Document:
    """What the record compares to tell a new version."""
    return msgspec.structs.replace(document, observed_at=None, extra={})


def live(town: DemoTown, at: datetime) -> dict[str, Document]:
    """What a poll of every feed at `at` delivers."""
    documents: dict[str, Document] = {}
    for config in town.sources():
        outlet = OUTLETS[config.name.removeprefix("demo:")]
        body, headers = town_feeds.feed(town.world, outlet, at).render()
        feed, found = read_feed(
            body, config=config, url=config.settings["url"], now=at,
            content_type=headers["content-type"],
        )  # fmt: skip
        assert feed.skipped == 0
        documents |= {d.key: d for d in found}
    return documents


async def test_feeds_are_served_with_validators_and_change_with_time(
    town: DemoTown, clock: ManualClock, http: httpx2.AsyncClient
) -> None:
    for config in town.sources():
        first = await http.get(config.settings["url"])
        assert first.status_code == 200
        assert first.headers["etag"] and first.headers["last-modified"]
        again = await http.get(
            config.settings["url"], headers={"if-none-match": first.headers["etag"]}
        )
        assert again.status_code == 304 and not again.content
    clock.advance(3_600)
    url = next(c.settings["url"] for c in town.sources() if c.name == "demo:noticeboard")
    later = await http.get(url, headers={"if-none-match": first.headers["etag"]})
    assert later.status_code == 200


async def test_an_article_has_a_page_that_is_gone_once_it_was_withdrawn(
    town: DemoTown, clock: ManualClock, http: httpx2.AsyncClient
) -> None:
    clock.set(START - timedelta(hours=20))
    base = f"http://{town.allow[0]}"
    await http.get(f"{base}/herald/feed.xml")
    page = await http.get(f"{base}/herald/library-1")
    assert page.status_code == 200
    assert "Chess champion" in page.text
    clock.set(START)
    assert (await http.get(f"{base}/herald/library-1")).status_code == 410


async def test_every_feed_parses_cleanly_in_an_independent_reader(
    town: DemoTown, http: httpx2.AsyncClient
) -> None:
    for config in town.sources():
        outlet = OUTLETS[config.name.removeprefix("demo:")]
        body = (await http.get(config.settings["url"])).content
        if outlet.format == "json":
            feed = msgspec.json.decode(body)
            assert feed["version"] == "https://jsonfeed.org/version/1.1"
            assert all(item["id"] and item["content_html"] for item in feed["items"])
            continue
        parsed = feedparser.parse(body)
        assert not parsed.bozo
        assert len(parsed.entries) >= 10
        assert all(entry.id and entry.link and entry.published_parsed for entry in parsed.entries)


async def test_names_survive_a_restart_although_the_port_changes(clock: ManualClock) -> None:
    towns = [DemoTown(seed=1, start=START, clock=clock) for _ in range(2)]
    for town in towns:
        await town.start()
    one, other = towns
    assert one.allow != other.allow
    assert [c.name for c in one.sources()] == [c.name for c in other.sources()]
    # Nor may the port leak into what is said: every restart would make new versions.
    assert list(one.history(START)) == list(other.history(START))
    for town in towns:
        await town.stop()


async def test_history_is_what_polls_would_have_brought(town: DemoTown) -> None:
    changes = list(town.history(START))
    moments = []
    for source, change in changes:
        assert source.startswith("demo:")
        if isinstance(change, Delete):
            moments.append(change.observed_at)
            continue
        document = change.document
        assert document.source == source
        assert document.key.startswith(f"{source}#")
        assert document.observed_at is not None and document.published_at is not None
        moments.append(document.observed_at)
        lag = document.observed_at - (document.updated_at or document.published_at)
        assert timedelta(0) < lag <= timedelta(seconds=POLL_S)
        assert document.kind == OUTLETS[source.removeprefix("demo:")].kind
    assert moments == sorted(m for m in moments if m is not None)
    assert moments[-1] <= START
    assert sum(isinstance(change, Delete) for _, change in changes) == 1
    langs = {c.document.lang for s, c in changes if isinstance(c, Upsert) and s == "demo:bote"}
    assert langs == {"de"}


async def test_history_comes_in_parts_as_well_as_whole(town: DemoTown) -> None:
    middle = START - timedelta(hours=9)
    whole = list(town.history(START))
    assert [*town.history(middle), *town.history(START, since=middle)] == whole
    after = START + timedelta(hours=8)
    assert len(list(town.history(after, since=START))) > 150


async def test_live_polls_after_history_bring_no_second_versions(town: DemoTown) -> None:
    """At any moment the feeds deliver exactly what the history up to then holds, and no more."""
    for hours in (-11, -4, 0, 7.3):
        at = START + timedelta(hours=hours)
        latest: dict[str, Document | None] = {}
        for _, change in town.history(at):
            if isinstance(change, Upsert):
                latest[change.document.key] = said(change.document)
            else:
                latest[change.key] = None
        found = live(town, at)
        # What was published since the last imagined poll is new, everything else is known.
        fresh = town.history(at + timedelta(seconds=POLL_S), since=at)
        new = {c.document.key for _, c in fresh if isinstance(c, Upsert)}
        for key, document in found.items():
            if key in new:
                continue
            assert latest[key] == said(document)
        assert len(found) > 100


async def test_a_withdrawn_article_leaves_a_tombstone(town: DemoTown) -> None:
    outlet = OUTLETS["herald"]
    config = next(c for c in town.sources() if c.name == outlet.source)
    body, _ = town_feeds.feed(town.world, outlet, START).render()
    feed, documents = read_feed(body, config=config, url=config.settings["url"], now=START)
    withdrawn = "tag:herald.quillhaven.example,2026:library-1"
    assert list(feed.removed) == [withdrawn]
    assert f"{config.name}#{withdrawn}" not in {d.key for d in documents}
    assert Delete in {type(c) for _, c in town.history(START)}


async def test_the_hostile_post_arrives_as_plain_text(town: DemoTown) -> None:
    post = next(
        c.document
        for _, c in town.history(START)
        if isinstance(c, Upsert) and "ignore all previous" in c.document.text
    )
    assert post.source == "demo:noticeboard"
    assert "<script" not in post.text and "onerror" not in post.text


async def test_examples_are_three_answerable_questions(town: DemoTown, clock: ManualClock) -> None:
    assert town.banner == BANNER
    assert "nothing here is news" in town.banner
    assert town.questions[0] == "Is the Mill Bridge open?"
    for days in (0, 1, 9, 40):
        clock.set(START + timedelta(days=days))
        known = {q.text for q in town.truth.questions(clock.now()) if q.answerable}
        assert len(set(town.questions)) == 3
        assert set(town.questions) <= known
