"""X: posts read, stream and recovery, money, duties; killed anywhere against the stand-in."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gnomon.clock import ManualClock, SystemClock
from gnomon.errors import ContentError, UpstreamTerminal, UpstreamTransient
from gnomon.net.door import Door
from gnomon.settings import Ingest, Net
from gnomon.sources import x, x_posts
from gnomon.sources.x_api import patient, wait_s
from gnomon.sources.x_memory import Memory, Step
from gnomon.sources.x_money import Purse
from gnomon.sources.x_stream import searches
from gnomon.testing.check_source import START, Stage, check_source
from gnomon.testing.x_server import XServer
from gnomon.types import Batch, Gap, Notice, Purge, SourceConfig, Upsert


class Ticking(ManualClock):
    """A manual clock that moves a little with every look, so that ids differ."""

    def now(self) -> datetime:
        self.set(super().now() + timedelta(milliseconds=1))
        return super().now()

    def reach(self, moment: datetime) -> None:
        self.set(max(moment, super().now()))


def settings_of(server: XServer, **more: Any) -> dict[str, Any]:
    return {
        "bearer_token": server.token,
        "rules": ["bridge OR ferry"],
        "api_url": server.url,
        "idle_s": 1.5,
        "budget_usd_day": 100.0,
        "first_search_s": 3_600,
        **more,
    }


@asynccontextmanager
async def door_to(server: XServer) -> AsyncIterator[Door]:
    net = Net(allow=(server.address,), per_host_delay_s=0, timeout_s=2)
    async with aclosing(Door(net, SystemClock())) as door:
        yield door


# -- contract -------------------------------------------------------------------


@asynccontextmanager
async def stage(*faults: str, edits: bool = True, **more: Any) -> AsyncIterator[Stage]:
    clock = Ticking(START)
    async with XServer(clock=clock, keep_alive_s=0.1, page_posts=10) as server:
        expected: dict[str, list[str | None]] = {}

        def post(n: int) -> str:
            text = f"The bridge report number {n}."
            id = server.publish(text, username=f"user{n % 3}")
            expected[f"x:{id}"] = [text]
            return id

        def edit() -> None:
            first = next(iter(expected))
            server.edit(first[2:], "The bridge report, corrected.")
            expected[first].append("The bridge report, corrected.")

        async with door_to(server) as door:
            # Before anybody listens, nothing is heard; afterwards nothing is lost.
            script: list[Callable[[], object]] = [lambda: None]
            for n in range(6):
                script.append(lambda n=n: [post(3 * n + i) for i in range(3)])
                if n < len(faults):
                    script.append(lambda fault=faults[n]: server.misbehave(fault))
            if edits:
                script.append(edit)
            script.append(server.disconnect)
            script.append(lambda: post(99))
            yield Stage(
                config=SourceConfig(name="x:t", type="x", settings=settings_of(server, **more)),
                fetcher=door,
                expected=lambda: expected,
                script=script,
                ordered=False,
                patience_s=0.15,
                set_time=clock.reach,
                rests=5,
                limits=Ingest(),
            )


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param(
            ("duplicate", "reorder", "garbage", "unknown", "skew"), marks=pytest.mark.slow
        ),
        ("drop", "truncated", "operational-disconnect"),
        pytest.param(
            ("TooManyConnections", "drop", "503", "drop", "refuse"), marks=pytest.mark.slow
        ),
    ],
)
async def test_x_loses_nothing_whatever_the_stream_does(faults: tuple[str, ...]) -> None:
    (ledger,) = await check_source(x.SOURCE, lambda: stage(*faults), rounds=1)
    assert not ledger.gaps, ledger.gaps


@pytest.mark.slow
async def test_x_stalled_stream_is_left() -> None:
    (ledger,) = await check_source(x.SOURCE, lambda: stage("stall"), rounds=1)
    assert not ledger.gaps and ledger.errors["net.timeout"] >= 1


@pytest.mark.slow
async def test_x_killed_anywhere() -> None:
    ledgers = await check_source(
        x.SOURCE,
        lambda: stage("drop", "duplicate", "truncated", edits=False),
        rounds=4,
        timeout_s=60,
    )
    assert sum(ledger.kills for ledger in ledgers) > 3
    assert not any(ledger.gaps for ledger in ledgers)


# -- one run, looked at closely ---------------------------------------------------


class Run:
    """Follows the source in the background and keeps what it hands over."""

    def __init__(self, server: XServer, door: Door, clock: Ticking, **more: Any) -> None:
        self.config = SourceConfig(name="x:t", type="x", settings=settings_of(server, **more))
        self.settings = x.XSettings.model_validate(self.config.settings)
        self.fetcher = door
        self.clock = clock
        self.rng = random.Random(1)
        self.limits = Ingest()
        self.server = server
        self.batches: list[Batch] = []
        self.told: list[tuple[str, str]] = []
        self.skipped: dict[str, int] = {}
        self.error: Exception | None = None
        self.shown: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    def heard(self, *, state: str = "", text: str = "", next_in_s: float | None = None) -> None:
        self.told.append((state, text))

    def count(self, reason: str, n: int = 1) -> None:
        self.skipped[reason] = self.skipped.get(reason, 0) + n

    async def held(self, since: Any = None, limit: int = 10_000) -> list[tuple[str, datetime]]:
        keys = [d.key for d in self.documents()]
        return [(key, START) for key in keys] if since is None or since <= START else []

    async def cited(self) -> list[tuple[str, str]]:
        return [await self.shown.get()]

    def show(self, *documents: Any) -> None:
        for document in documents:
            self.shown.put_nowait((document.key, document.url))

    def start(self, cursor: str | None = None) -> None:
        async def follow() -> None:
            try:
                async with aclosing(x.follow(self, cursor)) as batches:  # type: ignore[type-var]
                    async for batch in batches:
                        self.batches.append(batch)
            except (UpstreamTerminal, UpstreamTransient) as error:
                self.error = error

        self._task = asyncio.create_task(follow())

    async def stop(self) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def until(self, reached: Callable[[], object], tick_s: float = 0.0) -> None:
        async with asyncio.timeout(15):
            while not reached():
                await asyncio.sleep(0.01)
                if tick_s:
                    self.clock.advance(tick_s)

    def changes(self, kind: type) -> list[Any]:
        return [c for b in self.batches for c in b.changes if isinstance(c, kind)]

    def documents(self) -> list[Any]:
        return [c.document for c in self.changes(Upsert)]


@asynccontextmanager
async def running(
    start: bool = True, server_options: Any = None, **more: Any
) -> AsyncIterator[tuple[XServer, Run]]:
    clock = Ticking(START)
    server = XServer(clock=clock, keep_alive_s=0.05, **(server_options or {}))
    async with server, door_to(server) as door:
        run = Run(server, door, clock, **{"first_search_s": 0, **more})
        run.start()
        try:
            if start:
                await run.until(lambda: server.listening or run.error)
            yield server, run
        finally:
            await run.stop()


async def test_a_post_as_a_document_and_its_edits() -> None:
    async with running() as (server, run):
        first = server.publish(
            "Look at the bridge https://t.co/a &amp; wait",
            urls={"https://t.co/a": "https://e.org/b"},
        )
        await run.until(run.documents)
        (document,) = run.documents()
        assert document.key == f"x:{first}" and document.author == "@ann"
        assert document.text == "Look at the bridge https://e.org/b & wait"
        assert document.url == f"https://x.com/ann/status/{first}"
        assert document.policy.train is False and document.kind == "post"
        assert abs(document.published_at - run.clock.now()) < timedelta(minutes=1)
        server.misbehave("reorder")
        server.edit(first, "The bridge is open.")
        server.edit(first, "The bridge is closed.")
        reply = server.publish("The bridge? Why?", username="bob", reply_to=first)
        await run.until(lambda: run.documents()[-1].key == f"x:{reply}")
        # The second edit overtook the first, which is therefore no news any more.
        assert [d.text for d in run.documents() if d.key == document.key] == [
            document.text,
            "The bridge is closed.",
        ]
        assert run.documents()[-1].reply_to == document.key
        edited = [d for d in run.documents() if d.key == document.key][-1]
        assert edited.updated_at > edited.published_at == document.published_at


def edits_of_rules(server: XServer) -> list[Any]:
    return [r for r in server.asked("/2/tweets/search/stream/rules") if r.method == "POST"]


async def test_rules_are_kept_in_step_and_those_of_others_left_alone() -> None:
    async with running(rules=["bridge", "ferry"], handles=["@ann"]) as (server, run):
        values = {rule["value"] for rule in server.rules.values()}
        assert values == {"bridge", "ferry", "(from:ann) -is:retweet"}
        server.rules["7"] = {"id": "7", "value": "cats", "tag": "somebody"}
        before = dict(server.rules)
        changed = len(
            [r for r in server.asked("/2/tweets/search/stream/rules") if r.method == "POST"]
        )
        server.disconnect()
        await run.until(lambda: run.error)
        again = Run(server, run.fetcher, run.clock, rules=["bridge", "boats"])
        again.start(run.batches[-1].cursor)
        await again.until(lambda: server.listening)
        await again.stop()
        assert {r["value"] for r in server.rules.values()} == {"bridge", "boats", "cats"}
        assert len(edits_of_rules(server)) == changed + 2 and before.keys() & server.rules.keys()


async def test_reposts_protected_and_withheld_posts_are_not_kept() -> None:
    async with running() as (server, run):
        id = server.publish("The bridge is blue.")
        held = server.publish("A ferry that some may not see.", username="bob")
        await run.until(lambda: len(run.documents()) == 2)
        server.publish("RT @ann: The bridge is blue.", username="carl", reposts=id)
        server.withhold(held, "DE")
        server.edit(held, "A ferry that some still may not see.")
        server.protect("dora")
        server.publish("My ferry.", username="dora")
        await run.until(lambda: len(run.changes(Purge)) == 2)
        assert {p.reason for p in run.changes(Purge)} == {"withheld", "protected"}
        assert run.changes(Purge)[0].key == f"x:{held}"
        assert len(run.documents()) == 2 and run.skipped["post.repost"] == 1


@pytest.mark.parametrize("batch_jobs", [True, False])
async def test_what_is_gone_on_x_is_purged_within_a_day(batch_jobs: bool) -> None:
    async with running(server_options={"compliance": batch_jobs}) as (server, run):
        ids = [server.publish(f"The bridge, part {n}.", username=f"u{n}") for n in range(5)]
        await run.until(lambda: len(run.documents()) == 5)
        server.misbehave("job_failed") if batch_jobs else None
        server.delete(ids[0])
        server.protect("u1")
        server.suspend("u2")
        await run.until(lambda: len(run.changes(Purge)) == 3, tick_s=300)
        assert {p.key for p in run.changes(Purge)} == {f"x:{id}" for id in ids[:3]}
        assert run.clock.now() - START < timedelta(hours=26)


async def test_listening_stops_before_the_budget_and_goes_on_the_next_day() -> None:
    settings = {"budget_usd_day": 1.0, "reserve_usd_day": 0.25}
    async with running(**settings) as (server, run):
        for n in range(200):
            server.publish(f"The bridge again, {n}.", username=f"user{n}")
            if run.changes(Notice):
                break
            await run.until(lambda n=n: len(run.documents()) > n or run.changes(Notice))
        assert [n.code for n in run.changes(Notice)] == ["x.budget"]
        assert 0.6 <= server.billed_micros / 1e6 <= 0.75
        await run.until(lambda: run.told[-1][0] == "blocked" and not server.listening)
        assert "budget" in run.told[-1][1] and "00:00 UTC" in run.told[-1][1]
        heard = len(run.documents())
        server.publish("A bridge that nobody can afford.")
        again = Run(server, run.fetcher, run.clock, **settings)
        again.start(run.batches[-1].cursor)  # a restart does not forget what was spent
        await again.until(lambda: again.told and again.told[-1][0] == "blocked")
        await again.stop()
        assert not again.documents() and len(run.documents()) == heard
        await run.until(lambda: server.listening, tick_s=600)
        (gap,) = run.changes(Gap)
        assert gap.start < gap.end and "budget" in gap.reason


async def test_a_break_too_long_for_search_is_a_gap() -> None:
    async with running() as (server, run):
        server.publish("The bridge, before.")
        await run.until(run.documents)
        server.disconnect()
        await run.until(lambda: run.error)
        run.clock.advance(30 * 86_400)
        lately = server.publish("The bridge, after.", at=run.clock.now() - timedelta(days=1))
        again = Run(server, run.fetcher, run.clock, first_search_s=0)
        again.start(run.batches[-1].cursor)
        await again.until(again.documents)
        await again.stop()
        assert [d.key for d in again.documents()] == [f"x:{lately}"]
        (gap,) = again.changes(Gap)
        assert timedelta(days=22) < gap.end - gap.start < timedelta(days=24)


async def test_search_instead_of_a_stream() -> None:
    async with running(start=False, mode="search", interval_s=60) as (server, run):
        await run.until(lambda: server.asked("/2/tweets/search/recent"))
        server.publish("The bridge, asked for.")
        await run.until(run.documents, tick_s=5)
        assert not server.asked("/2/tweets/search/stream") and run.told[-1][0] == "polling"


async def test_without_a_key_it_says_so_and_asks_nobody() -> None:
    async with running(start=False, bearer_token=None) as (server, run):
        await run.until(lambda: run.error)
        assert isinstance(run.error, UpstreamTerminal) and "needs a key" in str(run.error)
        assert not server.requests


async def test_a_wrong_key_is_refused_in_words() -> None:
    async with running(start=False, bearer_token="wrong") as (_, run):
        await run.until(lambda: run.error)
        assert run.error.code == "source.forbidden" and "bearer_token" in str(run.error)


async def test_a_second_stream_of_one_app_is_refused_in_words() -> None:
    async with running(start=False) as (server, run):
        server.misbehave("TooManyConnections")
        await run.until(lambda: run.error)
        said = str(run.error)
        assert isinstance(run.error, UpstreamTransient) and run.error.retry_after_s
        assert said.startswith("X answers /2/tweets/search/stream with 429 and says: This stream")
        assert "put all rules into one source" in said and "tweet.fields" not in said


async def test_a_limit_that_was_hit_is_waited_for() -> None:
    async with running(start=False) as (server, run):
        server._asked_at["GET", "/2/tweets/search/stream"] = [START] * 50
        await run.until(lambda: run.error)
        assert isinstance(run.error, UpstreamTransient)
        assert 880 < run.error.retry_after_s <= 900


# -- what answers show ------------------------------------------------------------
def looks(server: XServer) -> list[list[str]]:
    asked = [r for r in server.asked("/2/tweets") if r.path == "/2/tweets"]
    return [request.query["ids"].split(",") for request in asked]


async def test_what_an_answer_shows_is_looked_up_again() -> None:
    async with running() as (server, run):
        ids = [server.publish(f"The bridge {n}.", username=f"u{n}") for n in range(6)]
        await run.until(lambda: len(run.documents()) == 6)
        server.rules.clear()  # from now on nothing comes by the stream
        server.delete(ids[1])
        server.protect("u2")
        server.suspend("u3")
        server.edit(ids[4], "The bridge is open.")
        newest = server.edit(ids[4], "The bridge is open again.")
        run.show(*run.documents()[:5], *run.documents()[:5])
        open_again = "The bridge is open again."
        await run.until(lambda: run.documents()[-1].text == open_again)
        assert {p.key: p.reason for p in run.changes(Purge)} == {
            f"x:{ids[1]}": "deleted",
            f"x:{ids[2]}": "protected",
            f"x:{ids[3]}": "withheld",
        }
        latest = {d.key: d for d in run.documents()}
        assert latest[f"x:{ids[4]}"].text == "The bridge is open again."
        assert latest[f"x:{ids[4]}"].url.endswith(newest)
        # What stands there as it did is the same document, and makes no version.
        before, after = (d for d in run.documents() if d.key == f"x:{ids[0]}")
        assert before == msgspec.structs.replace(after, extra=before.extra)
        asked = [id for ids in looks(server) for id in ids]
        assert sorted(asked) == sorted([*ids[:5], newest]), "each once, the edited one twice"
        assert ids[5] not in asked


async def test_a_shown_post_rests_before_it_is_looked_up_again() -> None:
    async with running(relook_s=3_600) as (server, run):
        server.publish("The bridge is blue.")
        await run.until(run.documents)
        (document,) = run.documents()
        run.show(document)
        await run.until(lambda: looks(server))
        await run.until(lambda: len(run.documents()) == 2)
        run.show(document)
        server.publish("The bridge is green.")
        await run.until(lambda: len(run.documents()) == 3)
        assert len(looks(server)) == 1
        again = Run(server, run.fetcher, run.clock, first_search_s=0)
        await run.stop()
        again.start(run.batches[-1].cursor)  # nor does a restart ask for it
        again.show(document)
        await again.until(lambda: server.listening and again.shown.empty())
        assert len(looks(server)) == 1
        run.clock.advance(3_700)
        again.show(document)
        await again.until(lambda: len(looks(server)) == 2)
        await again.stop()


async def test_what_waits_to_be_looked_up_outlives_a_break() -> None:
    async with running() as (server, run):
        server.publish("The bridge is blue.")
        await run.until(run.documents)
        server.misbehave("503", path="/2/tweets")
        run.show(*run.documents())
        await run.until(lambda: run.skipped.get("relook.net.status"))
        server.disconnect()
        await run.until(lambda: run.error)
        assert not looks(server) or not run.changes(Purge)
        server.delete(run.documents()[0].key[2:])
        again = Run(server, run.fetcher, run.clock, first_search_s=0)
        again.start(run.batches[-1].cursor)
        await again.until(lambda: again.changes(Purge))
        await again.stop()
        assert [p.key for p in again.changes(Purge)] == [run.documents()[0].key]


async def test_looks_are_paid_for_from_the_budget_and_its_reserve() -> None:
    settings = {"budget_usd_day": 1.0, "reserve_usd_day": 0.5, "relook_s": 0}
    async with running(**settings) as (server, run):
        ids = [server.publish(f"The bridge {n}.", username=f"u{n}") for n in range(20)]
        await run.until(lambda: len(run.documents()) == 20)
        documents = run.documents()
        for _ in range(20):
            run.show(*documents)
            await run.until(run.shown.empty)
            if run.changes(Notice):
                break
        assert [n.code for n in run.changes(Notice) if n.code == "x.relook"] == ["x.relook"]
        # Authors cost once a day.
        posts = 20 + sum(map(len, looks(server)))
        assert 0.5 < posts * 0.005 + 20 * 0.010 <= 1.0
        assert {id for asked in looks(server) for id in asked} == set(ids)


# -- rules of waiting, money, memory ----------------------------------------------


def test_back_off_as_x_prescribes() -> None:
    assert [wait_s("tcp", n) for n in (0, 1, 2, 1000)] == [0, 0.25, 0.5, 16]
    assert [wait_s("http", n) for n in (0, 1, 6, 7, 99)] == [5, 10, 320, 320, 320]
    assert [wait_s("limit", n) for n in (0, 1, 2)] == [60, 120, 240]
    refused = UpstreamTransient("no", status=503, retry_after_s=7)
    assert patient(refused, 0, START).retry_after_s == 7
    reset = {"x-rate-limit-reset": str(int(START.timestamp()) + 500)}
    limited = UpstreamTransient("no", status=429, headers=reset)
    assert patient(limited, 0, START).retry_after_s == 500


@given(st.lists(st.tuples(st.integers(0, 50_000), st.integers(0, 50_000)), max_size=40))
def test_the_purse_never_forgets(spent: list[tuple[int, int]]) -> None:
    clock = ManualClock(START)
    purse = Purse(clock, budget_usd=1, reserve_usd=0.2)
    total = 0
    for booked, real in spent:
        purse.book(booked)
        assert purse.spent_micros == total + booked
        purse.settle(booked, real)
        total += real
        assert purse.spent_micros == total
        assert purse.affordable(10_000, 1_000) * 10_000 + total <= max(800_000, total)
    again = Purse(
        clock, budget_usd=1, reserve_usd=0.2, day=purse.day, spent_micros=purse.spent_micros
    )
    assert again.spent_micros == total
    clock.advance(86_400)
    assert again.spent_micros == 0
    clock.advance(-86_400)
    assert again.day == (START + timedelta(days=1)).date().isoformat()


@given(st.datetimes(datetime(2011, 1, 1), datetime(2070, 1, 1), timezones=st.just(UTC)))
def test_ids_and_moments(moment: datetime) -> None:
    found = x_posts.moment_of(str(x_posts.id_at(moment)))
    assert found is not None and timedelta(0) <= moment - found < timedelta(milliseconds=1)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["id", "text", "author_id", "edit_history_tweet_ids", "created_at", "entities", "users"]
)


@given(st.dictionaries(NAMES, JSON), st.dictionaries(NAMES, JSON))
def test_no_post_breaks_the_reader(post: dict[str, Any], includes: dict[str, Any]) -> None:
    try:
        document = x_posts.document(
            {"id": "12", "text": "a", **post}, includes, source="x:t", now=START
        )
    except ContentError:
        return
    assert document.key.startswith("x:") and document.text


@given(st.text(max_size=30))
def test_a_foreign_cursor_is_a_fresh_start(cursor: str) -> None:
    assert isinstance(Memory.read(cursor), Memory | None)


@given(st.permutations([1, 2, 3, 4]))
def test_of_a_chain_only_newer_versions_are_news(order: list[int]) -> None:
    memory, kept = Memory(), []
    for n in order:
        ids = tuple(str(i) for i in range(1, n + 1))
        step = Step(posts=[(ids, Notice(code=str(n), text=""))])  # type: ignore[list-item]
        kept += [int(change.code) for change in step.accept(memory, START)]
    assert kept == sorted(kept) and kept[-1] == 4


def test_queries_are_packed() -> None:
    assert searches(["a", "b OR c"]) == ["(a) OR (b OR c)"]
    assert searches(["a" * 500, "b" * 500, "sample:1", "c" * 600]) == [
        f"({'a' * 500})",
        f"({'b' * 500})",
    ]


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("x:@NASA", {"handles": ["@NASA"]}),
        ("https://x.com/NASA/status/12", {"handles": ["@NASA"]}),
        ("twitter.com/NASA", {"handles": ["@NASA"]}),
        ("https://x.com/hashtag/flood", {"rules": ["#flood"]}),
        ("https://x.com/search?q=flood%20lang%3Ade&f=live", {"rules": ["flood lang:de"]}),
        ("x:flood (warning OR alert)", {"rules": ["flood (warning OR alert)"]}),
    ],
)
def test_identify(text: str, settings: dict[str, Any]) -> None:
    config = x.identify(text)
    assert config is not None and dict(config.settings) == settings
    x.XSettings.model_validate(config.settings)


@pytest.mark.parametrize(
    "text", ["@nasa", "nasa", "https://example.org/nasa", "https://x.com/home"]
)
def test_not_ours(text: str) -> None:
    assert x.identify(text) is None


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"rules": [" "]},
        {"rules": ["a" * 1025]},
        {"handles": ["@no such"]},
        {"rules": ["a"], "budget_usd_day": 1, "reserve_usd_day": 1},
        {"rules": [str(n) for n in range(1001)]},
    ],
)
def test_settings_that_cannot_work(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        x.XSettings.model_validate(bad)
