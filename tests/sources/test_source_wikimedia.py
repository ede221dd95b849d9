"""Wikimedia: page changes heard, resumed, and erased; killed anywhere."""

from __future__ import annotations

import asyncio
import copy
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from gnomon.clock import ManualClock, SystemClock, to_us
from gnomon.errors import (
    ConfigError,
    ContentError,
    GnomonError,
    UpstreamTerminal,
    UpstreamTransient,
)
from gnomon.extract.dates import Dates
from gnomon.net.door import Door
from gnomon.settings import Net
from gnomon.sources import wikimedia, wikimedia_events
from gnomon.sources.wikimedia_position import OVERLAP_MS, Position
from gnomon.testing.check_source import START, Ledger, Stage, check_source
from gnomon.testing.check_source import _Context as Lent
from gnomon.testing.wikimedia_server import PAGE_CHANGE, VISIBILITY, WikimediaServer
from gnomon.types import Change, Delete, Purge, SourceConfig, Upsert


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wikimedia, "_FLUSH_S", 0.005)


class Ticking(ManualClock):
    """A manual clock that only goes forward, two events in each of its milliseconds."""

    ticks = 0

    def now(self) -> datetime:
        self.ticks += 1
        if self.ticks % 8 == 0:
            self.set(super().now() + timedelta(milliseconds=1))
        return super().now()

    def reach(self, moment: datetime) -> None:
        self.set(max(moment, super().now()))


@asynccontextmanager
async def door_to(server: WikimediaServer, contact: str = "") -> AsyncIterator[Door]:
    net = Net(allow=(server.address,), per_host_delay_s=0, timeout_s=2, contact=contact)
    async with aclosing(Door(net, SystemClock())) as door:
        yield door


Said = dict[str, list[str | None]]


class Town:
    """A few pages, and what a record must say of them."""

    def __init__(self, server: WikimediaServer) -> None:
        self.server = server
        self.expected: Said = {}

    def _say(self, page: int, text: str | None, wiki: str = "enwiki") -> None:
        self.expected.setdefault(f"wikimedia:{wiki}/{page}", []).append(text)

    def create(self, title: str, **how: Any) -> int:
        page = self.server.create(title, user="Ann", size=1_200, **how)
        self._say(page, f"Ann started the page “{title}” on en.wikipedia.org, 1,200 bytes long.")
        return page

    def edit(self, page: int, title: str, size: int, by: int) -> int:
        revision = self.server.edit(page, size=size, user="Bo", comment="/* Past */ [[Rome|city]]")
        self._say(
            page,
            f"Bo edited the page “{title}” on en.wikipedia.org, which is now {size:,} bytes long "
            f"({by:+,}). Summary: Past: city",
        )
        return revision

    def delete(self, page: int) -> None:
        self.server.delete(page, reason="spam")
        self._say(page, None)

    def hide(self, page: int, **how: Any) -> None:
        self.server.hide(page, **how)
        del self.expected[f"wikimedia:enwiki/{page}"]

    def suppress(self, page: int) -> None:
        self.server.delete(page, suppress=True)
        del self.expected[f"wikimedia:enwiki/{page}"]

    def move(self, page: int, old: str, new: str) -> None:
        self.server.move(page, new, reason="clearer", user="Ann")
        text = f"Ann moved the page “{old}” on en.wikipedia.org to “{new}”. Summary: clearer"
        self._say(page, text)

    def undelete(self, page: int, title: str) -> None:
        self.server.undelete(page, reason="kept after all", user="Ann")
        self._say(
            page,
            f"Ann restored the page “{title}” on en.wikipedia.org, 1,200 bytes long. "
            "Summary: kept after all",
        )


def noise(server: WikimediaServer, n: int) -> None:
    """What is not wanted: other wikis, bots, talk pages, redirects, test messages."""
    server.create(f"Artikel {n}", wiki="dewiki", domain="de.wikipedia.org")
    server.create(f"Robotic {n}", user="Cleaner", bot=True)
    server.create(f"Talk:Bridge {n}", namespace=1)
    server.create(f"Lead {n}", redirect=True)
    server.canary("codfw")


@asynccontextmanager
async def stage(
    *faults: str, changing: bool = True, rounds: int = 3, **more: Any
) -> AsyncIterator[Stage]:
    clock = Ticking(START)
    async with WikimediaServer(clock=clock) as server, door_to(server) as door:
        town = Town(server)
        bridge, ferry, club = (town.create(name) for name in ("Mill Bridge", "Ferry", "Club"))
        script: list[Callable[[], object]] = [lambda: noise(server, 0)]
        for n in range(rounds):
            script.append(lambda n=n: town.edit(bridge, "Mill Bridge", 1_300 + n, 1 if n else 100))
            script.append(lambda n=n: [town.create(f"House {n}-{i}") for i in range(6)])
            if 2 * n < len(faults):
                script.append(lambda faults=faults[2 * n : 2 * n + 2]: server.misbehave(*faults))
            script.append(lambda n=n: noise(server, n + 1))
        if changing:
            script += [
                lambda: town.delete(ferry),
                lambda: town.undelete(ferry, "Ferry"),
                lambda: town.suppress(club),
                lambda: town.move(bridge, "Mill Bridge", "Old Mill Bridge"),
                lambda: town.hide(ferry),
            ]
        script += [server.disconnect, lambda: town.create("Last House")]
        yield Stage(
            config=SourceConfig(
                name="w",
                type="wikimedia",
                settings={"url": server.url, "wikis": ["en.wikipedia.org"], "idle_s": 1.5, **more},
            ),
            fetcher=door,
            expected=lambda: town.expected,
            script=script,
            patience_s=0.02,
            set_time=clock.reach,
            rests=10,
            ordered=False,
        )


async def test_wikimedia_brings_what_happens_and_nothing_else() -> None:
    (ledger,) = await check_source(wikimedia.SOURCE, stage, rounds=1)
    assert not ledger.gaps
    assert {"filter.wiki", "filter.bot", "filter.namespace", "filter.redirect"} <= set(
        ledger.skipped
    )
    moved = ledger.documents["wikimedia:enwiki/1000"]
    assert (moved.title, moved.author, moved.lang) == ("Old Mill Bridge", "Ann", "en")
    assert moved.url == "https://en.wikipedia.org/wiki/Old_Mill_Bridge"
    assert moved.extra["was"] == "Mill Bridge"
    assert moved.published_at is not None and moved.published_at >= START


@pytest.mark.parametrize(
    "faults",
    [("duplicate", "garbage", "unknown", "skew"), ("drop", "truncated", "error", "refuse")],
    ids=["odd", "broken"],
)
async def test_wikimedia_loses_nothing_whatever_the_stream_does(faults: tuple[str, ...]) -> None:
    (ledger,) = await check_source(
        wikimedia.SOURCE, lambda: stage(*faults, changing=False), rounds=1
    )
    assert not ledger.gaps
    if "drop" in faults:
        assert ledger.errors.total() >= 3
    else:
        assert ledger.skipped["wikimedia.event_unreadable"] == 1


async def test_wikimedia_killed_anywhere() -> None:
    ledgers = await check_source(wikimedia.SOURCE, lambda: stage("drop", "end", rounds=2), rounds=3)
    assert sum(ledger.kills for ledger in ledgers) > 3
    assert not any(ledger.gaps for ledger in ledgers)


# -- one run after the other ----------------------------------------------------------


class Runs:
    """Each run begins with the cursor that the one before left."""

    def __init__(self, server: WikimediaServer, door: Door, clock: Ticking, **more: Any) -> None:
        self.server = server
        self.clock = clock
        chosen = {"url": server.url, "wikis": ["enwiki"], **more}
        config = SourceConfig(name="w", type="wikimedia", settings=chosen)
        stage = Stage(config=config, fetcher=door, expected=dict)
        self.ctx = Lent(wikimedia.SOURCE, stage, clock, 1)  # type: ignore[arg-type]
        self.ledger = Ledger()
        self.changes: list[Change] = []

    async def until(self, *keys: int, wiki: str = "enwiki") -> None:
        """Listen until these pages are there, as many changes as pages, then be killed."""
        wanted = {f"wikimedia:{wiki}/{page}" for page in keys}
        async with asyncio.timeout(5):
            async with aclosing(wikimedia.follow(self.ctx, self.ledger.cursor)) as batches:
                async for batch in batches:
                    self.ledger.append(batch)
                    self.changes += batch.changes
                    if batch.changes and wanted <= self.ledger.versions.keys():
                        return

    @property
    def ways(self) -> list[str]:
        """How the stream was asked for, so far."""
        return [
            "id" if "last-event-id" in asked.headers else "since" if asked.query else "now"
            for asked in self.server.requests
        ]


async def reached(state: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not state():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.005)


@asynccontextmanager
async def running(
    *, contact: str = "", asks: bool = False, clock: Ticking | None = None, **more: Any
) -> AsyncIterator[Runs]:
    clock = clock or Ticking(START)
    server = WikimediaServer(clock=clock, asks_contact=asks)
    async with server, door_to(server, contact) as door:
        yield Runs(server, door, clock, **more)


async def test_it_goes_on_a_little_earlier_and_nothing_comes_twice() -> None:
    async with running() as runs:
        pages = [runs.server.create(f"A {n}") for n in range(5)]
        await runs.until(*pages)
        runs.clock.advance(2)
        later = runs.server.create("B")
        await runs.until(later)
        assert runs.ways == ["since", "id"]
        sent = json.loads(runs.server.requests[-1].headers["last-event-id"])
        assert {one["topic"] for one in sent} == {
            f"{centre}.{stream}"
            for centre in ("eqiad", "codfw")
            for stream in (PAGE_CHANGE, VISIBILITY)
        }
        assert all(one["timestamp"] <= START.timestamp() * 1_000 for one in sent)
        assert runs.ctx.skipped["wikimedia.repeated"] == 5
        assert len(runs.changes) == 6


async def test_what_came_late_into_its_topic_is_not_lost() -> None:
    async with running() as runs:
        first = runs.server.create("On time")
        await runs.until(first)
        # Written after it, dated before it: an exact resume would begin behind it.
        runs.clock.set(runs.clock._now - timedelta(seconds=2))
        late = runs.server.create("Late")
        runs.clock.advance(3)
        await runs.until(late)
        assert runs.ways == ["since", "id"] and not runs.ledger.gaps


async def test_a_quiet_topic_is_asked_from_the_beginning() -> None:
    async with running() as runs:
        page = runs.server.create("Rumour")
        await runs.until(page)
        # The first hidden revision ever falls into the time between two connections.
        runs.server.hide(page, revision=1)
        runs.clock.advance(30)
        await runs.until(runs.server.create("Next"))
        assert Purge(key=f"wikimedia:enwiki/{page}", reason="a revision was hidden") in runs.changes


async def test_a_refused_id_is_replaced_by_a_time() -> None:
    async with running() as runs:
        first = runs.server.create("A")
        await runs.until(first)
        runs.clock.advance(60)
        second = runs.server.create("B")
        runs.server.misbehave("bad_id")
        await runs.until(second)
        assert runs.ways == ["since", "id", "since"] and not runs.ledger.gaps
        assert runs.ctx.skipped["cursor.refused"] == 1


async def test_when_the_time_is_refused_too_the_loss_is_recorded() -> None:
    async with running() as runs:
        await runs.until(runs.server.create("A"))
        runs.clock.advance(60)
        runs.server.misbehave("400", "400")
        listening = asyncio.create_task(runs.until(later := runs.server.create("B") + 1))
        await reached(lambda: runs.ledger.gaps)
        assert runs.server.create("C") == later
        await listening
        (gap,) = runs.ledger.gaps
        assert gap.start is not None and gap.end is not None and gap.start < gap.end
        assert runs.ways == ["since", "id", "since", "now"]


async def test_what_the_service_forgot_is_a_gap() -> None:
    async with running() as runs:
        await runs.until(runs.server.create("A"))
        left = runs.clock.now()
        for _ in range(4):
            runs.clock.advance(900)
            runs.server.create("Lost")
        runs.server.expire(runs.clock.now() - timedelta(minutes=1))
        # The quiet data centre's test message comes hourly and proves nothing.
        runs.server.canary("codfw")
        last = runs.server.create("D")
        await runs.until(last)
        (gap,) = runs.ledger.gaps
        assert gap.start is not None and abs(gap.start - left) < timedelta(seconds=1)
        assert gap.end is not None and gap.end - gap.start >= timedelta(hours=1)
        await runs.until(runs.server.create("E"))
        assert len(runs.ledger.gaps) == 1


async def test_a_silence_of_an_hour_that_is_replayed_is_no_gap() -> None:
    async with running() as runs:
        await runs.until(runs.server.create("A"))
        runs.clock.advance(3_600)
        runs.server.data_centre = "codfw"
        await runs.until(runs.server.create("B"))
        assert not runs.ledger.gaps


async def test_the_stream_is_opened_anew_when_it_ends_of_old_age() -> None:
    async with running() as runs:
        listening = asyncio.create_task(runs.until(runs.server.create("A"), second := 1_001))
        await reached(lambda: runs.changes)
        runs.clock.advance(900)
        runs.server.disconnect()
        await reached(lambda: len(runs.ways) == 2)
        assert runs.server.create("B") == second
        await listening
        assert runs.ways == ["since", "id"]


@pytest.mark.parametrize(
    ("trouble", "code"),
    [("429 7", "net.status"), ("500", "net.status"), ("403", "source.refused"),
     ("404", "source.refused"), ("error", "wikimedia.error"), ("end", "wikimedia.ended"),
     ("stall", "net.timeout"), ("sign_in", "net.media_type")],
)  # fmt: skip
async def test_trouble_is_named(trouble: str, code: str) -> None:
    async with running(idle_s=0.2) as runs:
        runs.server.misbehave(*[trouble] * (2 if trouble == "404" else 1))
        runs.server.create("A")
        with pytest.raises(GnomonError) as caught:
            await runs.until(0)
        assert caught.value.code == code
        if trouble == "429 7":
            assert caught.value.retry_after_s == 7  # type: ignore[attr-defined]
        if trouble == "403":
            assert "net.contact" in caught.value.hint


async def test_streams_that_the_service_does_not_know() -> None:
    async with running() as runs:
        runs.server.misbehave("400", "400", "400")
        with pytest.raises(UpstreamTerminal, match="Check the setting url"):
            await runs.until(0)


async def test_wikimedia_is_not_asked_without_a_contact() -> None:
    async with running() as runs:
        runs.ctx.settings = wikimedia.WikimediaSettings()
        with pytest.raises(ConfigError, match=r"net\.contact") as caught:
            await runs.until(0)
        assert caught.value.code == "source.needs_contact" and not runs.server.requests
    async with running(asks=True, contact="mail@example.org") as runs:
        await runs.until(runs.server.create("A"))


async def test_a_thousand_changes_of_one_moment_are_bounded_in_the_cursor() -> None:
    async with running() as runs:
        pages = [runs.server.create(f"P {n}") for n in range(1_500)]
        await runs.until(*pages)
        assert runs.ledger.cursor is not None and len(runs.ledger.cursor) < 60_000
        await runs.until(runs.server.create("Last"))
        assert len(runs.changes) == 1_501


async def test_whatever_happens_what_stands_is_what_the_wiki_shows() -> None:
    for seed in range(4):
        rng = random.Random(seed)
        async with running(backfill_s=3_600) as runs:
            server, titles, hidden = runs.server, dict[int, str](), set[int]()
            deleted: set[int] = set()
            for n in range(14):
                for m in range(rng.randrange(12)):
                    title = f"Title {n} {m}"
                    standing = sorted(titles.keys() - deleted)
                    act, page = rng.random(), rng.choice(standing) if standing else 0
                    if act < 0.3 or not page:
                        titles[server.create(title)] = title
                    elif act < 0.6:
                        server.edit(page, comment=title)
                        hidden.discard(page)
                    elif act < 0.7:
                        server.move(page, title)
                        titles[page] = title
                        hidden.discard(page)
                    elif act < 0.8:
                        server.delete(page, suppress=rng.random() < 0.3)
                        deleted.add(page)
                    elif act < 0.9 and deleted:
                        back = rng.choice(sorted(deleted))
                        server.undelete(back)
                        deleted.discard(back)
                        hidden.discard(back)
                    else:
                        server.hide(page, rng.choice([None, 1]))
                        hidden.add(page)
                    runs.clock.advance(rng.choice([0, 0, 0.5, 4, 20]))
                if rng.random() < 0.4:
                    fault = rng.choice(["drop", "truncated", "duplicate", "garbage", "bad_id"])
                    server.misbehave(fault)
                kept = copy.deepcopy(runs.ledger)
                with suppress(UpstreamTransient):
                    last = server.create(f"Last of {n}")
                    titles[last] = f"Last of {n}"
                    await runs.until(last)
                if rng.random() < 0.2:  # killed before any of it was stored
                    runs.ledger = kept
            server._faults.clear()
            last = server.create("Last of all")
            await runs.until(last)
            titles[last] = "Last of all"
            stands = {
                int(key.rpartition("/")[2]): runs.ledger.documents[key].title
                for key, versions in runs.ledger.versions.items()
                if versions[-1] is not None
            }
            shown = titles.keys() - deleted - hidden
            assert stands == {page: titles[page] for page in shown}, seed
            assert not runs.ledger.gaps


# -- what an event says ---------------------------------------------------------------


def wanted(**more: Any) -> wikimedia_events.Wanted:
    usual: dict[str, Any] = {
        "wikis": ("enwiki",), "namespaces": (0,), "changes": ("create", "edit", "move"),
        "bots": False, "redirects": False, "min_change_bytes": 0,
    }  # fmt: skip
    return wikimedia_events.Wanted(**{**usual, **more})


def meant(server: WikimediaServer, **more: Any) -> Change | str:
    """What the last message means."""
    event = wikimedia_events.decode(json.dumps(server._log[-1].event))
    dates = Dates(START, timedelta(days=1))
    return wikimedia_events.change_of(event, wanted(**more), "w", dates)


def test_a_change_as_a_document() -> None:
    server = WikimediaServer(clock=ManualClock(START))
    page = server.create("Mühle (Bau)?", wiki="dewiki", domain="de.wikipedia.org", size=500)
    server.edit(
        page, size=480, comment="/* Lage */ siehe [[:Fluss|am Fluss]] und [[Ort]]", user="B"
    )
    found = meant(server)
    assert isinstance(found, Upsert)
    document = found.document
    assert document.text == (
        "B edited the page “Mühle (Bau)?” on de.wikipedia.org, which is now 480 bytes long (-20). "
        "Summary: Lage: siehe am Fluss und Ort"
    )
    assert document.url == "https://de.wikipedia.org/w/index.php?diff=10001&oldid=10000"
    assert document.extra["page_url"] == "https://de.wikipedia.org/wiki/M%C3%BChle_(Bau)%3F"
    assert (document.lang, document.author, document.published_at) == ("de", "B", START)
    assert (document.extra["size_change"], document.extra["bot"]) == (-20, False)
    server.edit(page, size=490, user="Fixer", bot=True)
    found = meant(server, bots=True)
    assert isinstance(found, Upsert) and found.document.text.startswith("The bot Fixer edited")


def test_what_is_left_out_and_why() -> None:
    server = WikimediaServer(clock=ManualClock(START))
    page = server.create("Mill", size=500)
    assert meant(server, changes=("edit",)) == "filter.change"
    assert meant(server, min_change_bytes=501) == "filter.size"
    server.edit(page, size=520)
    assert meant(server, changes=("create",)) == "filter.change"
    assert meant(server, min_change_bytes=21) == "filter.size"
    assert isinstance(meant(server, min_change_bytes=20), Upsert)
    assert meant(server, namespaces=(1,)) == "filter.namespace"
    assert isinstance(meant(server, namespaces=()), Upsert)
    # A page that leaves what is followed ends here, whoever moved it.
    server.move(page, "Draft:Mill", namespace=118, user="Mover", bot=True)
    assert meant(server) == Delete(key=f"wikimedia:enwiki/{page}")
    assert meant(server, namespaces=(2,)) == "filter.namespace"
    server.move(page, "Mill", user="Mover", bot=True)
    assert isinstance(meant(server), Upsert)
    assert meant(server, changes=("create",)) == "filter.change"
    server.hide(page, hidden=False)
    assert meant(server) == "visibility.shown"
    server.hide(page)
    assert isinstance(meant(server), Purge)
    server.delete(page, user="Sweeper", bot=True)
    assert meant(server, changes=("create",)) == Delete(key=f"wikimedia:enwiki/{page}")


def test_a_hidden_user_or_summary_is_not_shown() -> None:
    event = {
        "meta": {"stream": PAGE_CHANGE, "domain": "en.wikipedia.org", "dt": "2026-03-01T12:00:00Z"},
        "page_change_kind": "edit",
        "wiki_id": "enwiki",
        "page": {"page_id": 7, "page_title": "Mill", "namespace_id": 0},
        "performer": {"user_text": "Ann"},
        "revision": {"rev_id": 2, "comment": "secret", "is_editor_visible": False,
                     "is_comment_visible": False},
    }  # fmt: skip
    found = wikimedia_events.change_of(
        wikimedia_events.decode(json.dumps(event)), wanted(), "w", Dates(START, timedelta(days=1))
    )
    assert isinstance(found, Upsert)
    assert found.document.text == "Somebody edited the page “Mill” on en.wikipedia.org."
    assert not found.document.author


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
FIELDS = ("page_change_kind", "wiki_id", "page", "performer", "revision", "prior_state", "dt",
          "visibility", "database", "page_id", "comment")  # fmt: skip


@settings(max_examples=50)
@given(st.dictionaries(st.sampled_from(FIELDS), JSON), st.sampled_from([PAGE_CHANGE, VISIBILITY]))
def test_any_event_is_read_or_refused(said: dict[str, Any], stream: str) -> None:
    try:
        event = wikimedia_events.decode(json.dumps({**said, "meta": {"stream": stream}}))
        wikimedia_events.change_of(event, wanted(), "w", Dates(START, timedelta(days=1)))
    except ContentError as error:
        assert error.code == "wikimedia.event_unreadable"


@given(st.text(max_size=60))
def test_any_summary_becomes_plain(comment: str) -> None:
    assert "\n" not in wikimedia_events.plain(comment)


@given(st.text(max_size=60) | JSON.map(json.dumps))
def test_any_id_is_read_or_refused(id: str) -> None:
    position = Position(topics={"a/0": 7})
    position.passed(id, 1_000)
    assert position.topics["a/0"] >= 7
    assert isinstance(position.last_event_id(), str)


@given(st.lists(st.integers(0, 200_000), min_size=1, max_size=60))
def test_what_may_come_again_is_remembered(times: list[int]) -> None:
    base = to_us(START) // 1_000
    position = Position()
    for n, time in enumerate(times):
        ms = base + time
        position.moved(ms)
        position.handed_over(str(n), ms)
        position.passed(json.dumps([{"topic": "a", "partition": 0, "timestamp": ms + 1}]), ms + 1)
        position.tidy()
        (asked,) = json.loads(position.last_event_id())
        assert asked["timestamp"] <= position.topics["a/0"]
        newest = max(base + t for t in times[: n + 1])
        for m, earlier in enumerate(times[: n + 1]):
            if base + earlier >= max(asked["timestamp"], newest - OVERLAP_MS):
                assert position.knows(str(m))
    assert Position.restore(position.cursor(), "") == position


async def test_an_independent_client_understands_the_stand_in() -> None:
    async with WikimediaServer(clock=ManualClock(START)) as server, httpx2.AsyncClient() as client:
        url = f"{server.url}/v2/stream/{PAGE_CHANGE},{VISIBILITY}"
        page = server.create("Mill Bridge", comment="first line\nsecond")
        server.hide(page)
        heard: list[httpx2.ServerSentEvent] = []
        async with client.stream("GET", f"{url}?since=2026-03-01T00:00:00Z") as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            async for event in httpx2.EventSource(answer):
                heard.append(event)
                if len(heard) == 3:
                    break
        kinds = [json.loads(event.data).get("page_change_kind") for event in heard]
        assert kinds == ["create", "visibility_change", None]
        assert json.loads(heard[2].data)["visibility"] == dict.fromkeys(
            ("text", "user", "comment"), False
        )
        ids = json.loads(heard[0].id)
        assert [one for one in ids if "timestamp" in one] == [
            {"topic": f"eqiad.{PAGE_CHANGE}", "partition": 0,
             "timestamp": int(START.timestamp() * 1_000) + 1}
        ]  # fmt: skip
        assert {one["offset"] for one in ids if "offset" in one} == {-1}
        for headers, path in (({"last-event-id": "nonsense"}, url), ({}, f"{url},nonsense")):
            refused = await client.get(path, headers=headers)
            assert refused.status_code == 400


@pytest.mark.parametrize(
    ("text", "name", "wikis"),
    [
        ("wikipedia", "wikimedia", None),
        ("Wikimedia", "wikimedia", None),
        ("https://de.wikipedia.org/", "wikimedia:de.wikipedia.org", ["de.wikipedia.org"]),
        ("www.wikidata.org", "wikimedia:wikidata.org", ["www.wikidata.org"]),
        ("https://www.wikipedia.org", "wikimedia", None),
        ("https://en.wikipedia.org/wiki/Rome", "", None),
        ("https://example.org", "", None),
        ("https://evilwikipedia.org", "", None),
        ("wiki", "", None),
    ],
)
def test_identify(text: str, name: str, wikis: list[str] | None) -> None:
    found = wikimedia.identify(text)
    assert (found.name if found else "") == name
    if found:
        assert found.settings.get("wikis") == wikis
        wikimedia.WikimediaSettings.model_validate(dict(found.settings))


@pytest.mark.parametrize(
    "wrong", [{"wikis": []}, {"changes": []}, {"changes": ["delete"]}, {"min_change_bytes": -1}]
)
def test_settings_that_mean_nothing(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        wikimedia.WikimediaSettings.model_validate(wrong)
