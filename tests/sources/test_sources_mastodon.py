"""Mastodon: posts read, both transports, paging, polling, deletes; killed anywhere."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gnomon.clock import ManualClock, SystemClock
from gnomon.errors import ContentError, GnomonError, UpstreamTerminal, UpstreamTransient
from gnomon.net.door import Door
from gnomon.settings import Ingest, Net
from gnomon.sources import mastodon, mastodon_posts
from gnomon.testing.check_source import START, Stage, check_source
from gnomon.testing.mastodon_server import MastodonServer
from gnomon.types import Batch, Delete, Document, Gap, Notice, SourceConfig, Upsert


class Ticking(ManualClock):
    """A manual clock that moves a little with every look, so that ids differ."""

    def now(self) -> datetime:
        self.set(super().now() + timedelta(milliseconds=1))
        return super().now()

    def reach(self, moment: datetime) -> None:
        self.set(max(moment, super().now()))


@asynccontextmanager
async def door_to(server: MastodonServer) -> AsyncIterator[Door]:
    net = Net(allow=(server.address,), per_host_delay_s=0, timeout_s=2)
    async with aclosing(Door(net, SystemClock())) as door:
        yield door


def settings_of(server: MastodonServer, **more: Any) -> dict[str, Any]:
    return {"server": server.url, "idle_s": 1.5, "recheck_posts": 0, **more}


# -- contract ---------------------------------------------------------------------


@asynccontextmanager
async def stage(
    *faults: str, listening: bool = True, changing: bool = True, **more: Any
) -> AsyncIterator[Stage]:
    clock = Ticking(START)
    async with MastodonServer(clock=clock, keep_alive_s=0.1, page=5) as server:
        expected: dict[str, list[str | None]] = {}

        def post(n: int, **how: Any) -> str:
            text = f"What was said at {n}."
            id = server.publish(text, tags=["town"], **how)
            expected[f"mastodon:{server.address}/{id}"] = [text]
            return id

        first = [post(n) for n in range(3)]

        def edit() -> None:
            server.edit(first[0], "What was said, corrected.")
            expected[f"mastodon:{server.address}/{first[0]}"].append("What was said, corrected.")

        def delete() -> None:
            server.delete(first[1])
            expected[f"mastodon:{server.address}/{first[1]}"].append(None)

        script: list[Callable[[], object]] = [lambda: None]
        for n in range(6):
            script.append(lambda n=n: [post(100 + 7 * n + i) for i in range(7)])
            script.append(lambda: server.publish("For friends.", visibility="private"))
            if n < len(faults):
                script.append(lambda fault=faults[n]: server.misbehave(fault))
        if changing:
            script += [edit, delete]
        script += [server.disconnect, lambda: post(999)]
        token = {"token": server.token} if listening else {}
        async with door_to(server) as door:
            yield Stage(
                config=SourceConfig(
                    name="mastodon:t",
                    type="mastodon",
                    settings=settings_of(server, **token, **more),
                ),
                fetcher=door,
                expected=lambda: expected,
                script=script,
                ordered=False,
                patience_s=0.15 if listening else 0.0,
                set_time=clock.reach,
                rests=4,
            )


@pytest.mark.parametrize(
    "how", [{"public": True}, {"local": True, "tags": ["town"]}], ids=["sse", "websocket"]
)
@pytest.mark.parametrize(
    "faults",
    [
        pytest.param(("duplicate", "reorder", "garbage", "unknown"), marks=pytest.mark.slow),
        ("drop", "truncated", "refuse", "503"),
    ],
    ids=["odd", "broken"],
)
async def test_mastodon_loses_nothing_whatever_the_stream_does(
    faults: tuple[str, ...], how: dict[str, Any]
) -> None:
    (ledger,) = await check_source(mastodon.SOURCE, lambda: stage(*faults, **how), rounds=1)
    assert not ledger.gaps


@pytest.mark.slow
async def test_mastodon_killed_anywhere() -> None:
    ledgers = await check_source(
        mastodon.SOURCE,
        lambda: stage("drop", "duplicate", "truncated", public=True, changing=False),
        rounds=3,
    )
    assert sum(ledger.kills for ledger in ledgers) > 3
    assert not any(ledger.gaps for ledger in ledgers)


async def test_mastodon_polled_and_killed_anywhere() -> None:
    ledgers = await check_source(
        mastodon.SOURCE,
        lambda: stage("503", "refuse", listening=False, local=True, changing=False),
        rounds=4,
    )
    assert sum(ledger.kills for ledger in ledgers) > 3
    assert not any(ledger.gaps for ledger in ledgers)


# -- one run, looked at closely -----------------------------------------------------


class Run:
    """Follows the source in the background and keeps what it hands over."""

    def __init__(self, server: MastodonServer, door: Door, clock: Ticking, **more: Any) -> None:
        self.config = SourceConfig(
            name="mastodon:t", type="mastodon", settings=settings_of(server, **more)
        )
        self.settings = mastodon.MastodonSettings.model_validate(self.config.settings)
        self.fetcher = door
        self.clock = clock
        self.rng = random.Random(1)
        self.limits = Ingest()
        self.batches: list[Batch] = []
        self.told: list[str] = []
        self.skipped: dict[str, int] = {}
        self.error: GnomonError | None = None
        self._task: asyncio.Task[None] | None = None

    def heard(self, *, state: str = "", text: str = "", next_in_s: float | None = None) -> None:
        self.told.append(state)

    def count(self, reason: str, n: int = 1) -> None:
        self.skipped[reason] = self.skipped.get(reason, 0) + n

    async def held(self, since: Any = None, limit: int = 10_000) -> list[tuple[str, datetime]]:
        keys = [d.key for d in self.documents()]
        return [(key, START) for key in keys] if since is None or since <= START else []

    def start(self, cursor: str | None = None) -> None:
        async def follow() -> None:
            try:
                async with aclosing(mastodon.follow(self, cursor)) as batches:  # type: ignore[type-var]
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

    def documents(self) -> list[Document]:
        """In order of arrival, without the repetitions that a record would not store."""
        found: dict[str, Document] = {}
        kept: list[Document] = []
        for change in self.changes(Upsert):
            if found.get(change.document.key) != change.document:
                found[change.document.key] = change.document
                kept.append(change.document)
        return kept


@asynccontextmanager
async def running(
    prepare: Callable[[MastodonServer], object] = lambda server: None,
    server_options: Any = None,
    **more: Any,
) -> AsyncIterator[tuple[MastodonServer, Run]]:
    clock = Ticking(START)
    server = MastodonServer(clock=clock, keep_alive_s=0.05, **(server_options or {}))
    async with server, door_to(server) as door:
        prepare(server)
        run = Run(server, door, clock, **more)
        run.start()
        try:
            yield server, run
        finally:
            await run.stop()


TOKEN = {"token": "user-token"}


async def test_a_post_as_a_document() -> None:
    async with running(public=True, **TOKEN) as (server, run):
        await run.until(lambda: server.listening)
        first = server.publish(
            "The bridge is closed & guarded.\n\nUntil noon.",
            acct="bob@elsewhere.example",
            warning="Traffic",
            tags=["town"],
            pictures=["A red gate."],
            poll=["Stay", "Go"],
        )
        second = server.publish("Die Brücke ist zu, sagt man.", lang="de", reply_to=first)
        third = server.publish("Look at that.", quotes=first)
        await run.until(lambda: len(run.documents()) == 3)
        one, two, three = run.documents()
        assert one.key == f"mastodon:{server.address}/{first}" and one.title == "Traffic"
        assert one.text == (
            "The bridge is closed & guarded.\n\nUntil noon.\n\n• Stay\n• Go\n\n[image: A red gate.]"
        )
        assert one.author == "@bob@elsewhere.example" and one.extra["tags"] == ["town"]
        assert one.published_at is not None and not one.policy.train and one.policy.index
        assert two.author == f"@ann@{server.address}" and two.lang == "de"
        assert two.reply_to == one.key and three.quotes == one.key
        assert three.key.endswith(third) and two.key.endswith(second)


async def test_what_is_not_for_us_stays_out() -> None:
    async with running(public=True, home=True, **TOKEN) as (server, run):
        await run.until(lambda: server.listening)
        server.follows.update({"ann", "bob"})
        for visibility in ("unlisted", "private", "direct"):
            server.publish("Not for everybody.", visibility=visibility)
        server.account("shy", indexable=False, discoverable=False)
        quiet = server.publish("Do not find me.", acct="shy")
        server.account("hidden", noindex=True)
        server.publish("Nor me.", acct="hidden")
        server.boost(quiet)
        last = server.publish("For everybody.")
        await run.until(lambda: run.documents() and run.documents()[-1].key.endswith(last))
        policies = {d.text: d.policy for d in run.documents()}
        assert set(policies) == {"Do not find me.", "Nor me.", "For everybody."}
        assert not policies["Do not find me."].index and not policies["Do not find me."].snippet
        assert not policies["Nor me."].index and policies["For everybody."].index
        assert run.skipped["status.not_public"] == 3 and run.skipped["status.boost"] >= 1


@pytest.mark.parametrize("transport", ["sse", "websocket"])
async def test_edits_and_deletes_are_heard(transport: str) -> None:
    async with running(tags=["town"], transport=transport, **TOKEN) as (server, run):
        await run.until(lambda: server.listening)
        id = server.publish("One.", tags=["Town"])
        server.publish("Of another town.", tags=["city"])
        server.edit(id, "Two.")
        server.misbehave("duplicate")
        server.delete(id)
        await run.until(lambda: run.changes(Delete))
        assert [d.text for d in run.documents()] == ["One.", "Two."]
        assert run.documents()[-1].updated_at is not None
        key = f"mastodon:{server.address}/{id}"
        assert {d.key for d in run.changes(Delete)} == {key}


async def test_a_late_repetition_brings_nothing_back() -> None:
    async with running(public=True, **TOKEN) as (server, run):
        await run.until(lambda: server.listening)
        server.misbehave("reorder")
        id = server.publish("One.")
        server.edit(id, "Two.")
        await run.until(run.documents)
        server.misbehave("reorder")
        server.publish("Forget this.")
        server.delete(list(server._statuses)[-1])
        last = server.publish("Last.")
        await run.until(lambda: run.documents()[-1].key.endswith(last))
        assert [d.text for d in run.documents()] == ["Two.", "Last."]


async def test_posts_that_arrive_late_are_found_after_a_break() -> None:
    async with running(public=True, **TOKEN) as (server, run):
        await run.until(lambda: server.listening)
        server.publish("On time.")
        await run.until(run.documents)
        server.disconnect()
        await run.until(lambda: run.error)
        at = run.clock.now() - timedelta(minutes=5)
        server.publish("From far away.", acct="bob@elsewhere.example", at=at)
        again = Run(server, run.fetcher, run.clock, public=True, **TOKEN)
        again.start(run.batches[-1].cursor)
        await again.until(lambda: any(d.text == "From far away." for d in again.documents()))
        await again.stop()


async def test_what_cannot_be_paged_any_more_is_a_gap() -> None:
    def flood(server: MastodonServer) -> None:
        for n in range(3):
            server.publish(f"Before {n}.")

    async with running(flood, {"page": 4}, local=True, interval_s=60) as (server, run):
        await run.until(lambda: len(run.documents()) == 3)
        run.clock.advance(3_600)
        for n in range(150):
            server.publish(f"Flood {n}.")
        await run.until(lambda: run.changes(Gap), tick_s=1)
        (gap,) = run.changes(Gap)
        assert gap.start and gap.end and gap.start < gap.end
        assert run.documents()[-1].text == "Flood 149."


async def test_without_a_token_what_is_deleted_is_found_out() -> None:
    ids: list[str] = []

    def before(server: MastodonServer) -> None:
        ids.extend(server.publish(f"Number {n}.") for n in range(3))

    for many in (True, False):
        ids.clear()
        async with running(
            before, {"many_at_once": many}, local=True, recheck_posts=10, recheck_every_s=600
        ) as (server, run):
            await run.until(lambda: len(run.documents()) == 3)
            server.delete(ids[1])
            server.edit(ids[2], "Number two.")
            await run.until(lambda run=run: run.changes(Delete), tick_s=20)
            assert [d.key[-18:] for d in run.changes(Delete)] == [ids[1][-18:]]
            await run.until(lambda run=run: run.documents()[-1].text == "Number two.", tick_s=20)
            assert "polling" in run.told


async def test_accounts_are_followed_by_polling() -> None:
    def before(server: MastodonServer) -> None:
        server.publish("Mine.", acct="ann")
        server.publish("Not mine.", acct="bob")

    clock = Ticking(START)
    async with MastodonServer(clock=clock) as server, door_to(server) as door:
        before(server)
        run = Run(server, door, clock, accounts=["@ann"])
        run.start()
        await run.until(run.documents)
        server.boost(server.publish("Still not mine.", acct="bob"), acct="ann")
        server.publish("Mine again.", acct="ann")
        await run.until(lambda: len(run.documents()) == 2, tick_s=10)
        await run.stop()
        assert [d.text for d in run.documents()] == ["Mine.", "Mine again."]
        unknown = Run(server, door, clock, accounts=["@nobody"])
        unknown.start()
        await unknown.until(lambda: unknown.error)
        assert unknown.error is not None and unknown.error.code == "source.not_found"


async def test_trends() -> None:
    def before(server: MastodonServer) -> None:
        server.trending.append(server.publish("Everybody reads this."))
        server.trend_link(
            "https://news.example/bridge",
            "Bridge closed",
            "The old bridge is closed until further notice.",
            published_at="2026-03-01T08:00:00.000Z",
        )
        server.trend_tag("bridge")

    async with running(before, trends=["links", "statuses", "tags"]) as (_, run):
        await run.until(lambda: len(run.documents()) == 3)
        link, status, tag = run.documents()
        assert (link.kind, link.url, link.title) == (
            "article",
            "https://news.example/bridge",
            "Bridge closed",
        )
        assert link.published_at is not None and link.extra["today"]["uses"] == "15"
        assert status.kind == "post" and tag.title == "#bridge"


async def test_a_closed_server_says_that_it_needs_a_key() -> None:
    async with running(server_options={"access": "authenticated"}, local=True) as (_, run):
        await run.until(lambda: run.error)
        assert isinstance(run.error, UpstreamTerminal) and "needs a key" in str(run.error)
    options = {"access": "authenticated"}
    async with running(server_options=options, local=True, trends=["tags"]) as (_, run):
        await run.until(lambda: run.changes(Notice))
        assert run.error is None


@pytest.mark.parametrize("transport", ["sse", "websocket"])
async def test_a_wrong_token_is_refused_in_words(transport: str) -> None:
    async with running(public=True, token="wrong", transport=transport) as (_, run):
        await run.until(lambda: run.error)
        assert run.error is not None and run.error.code == "source.forbidden"
        assert "token" in str(run.error)


async def test_a_silent_stream_is_left() -> None:
    async with running(public=True, **TOKEN) as (server, run):
        await run.until(lambda: server.listening)
        server.misbehave("stall")
        server.publish("Unheard.")
        await run.until(lambda: run.error)
        assert run.error is not None and run.error.code == "net.timeout"


async def test_the_limit_is_kept() -> None:
    async with running(local=True, interval_s=0.1) as (server, run):
        await run.until(lambda: run.skipped.get("limit.waited"), tick_s=0.2)
        assert run.error is None and len(server.requests) <= 300


async def test_a_limit_that_was_hit_is_waited_for() -> None:
    def before(server: MastodonServer) -> None:
        server._asked_at = [START] * 300

    async with running(before, local=True) as (_, run):
        await run.until(lambda: run.error)
        assert isinstance(run.error, UpstreamTransient)
        assert run.error.retry_after_s is not None and 290 < run.error.retry_after_s <= 300


# -- small things -------------------------------------------------------------------


@given(st.datetimes(datetime(2017, 1, 1), datetime(2060, 1, 1)), st.integers(0, 3_600))
def test_ids_go_back_in_time(moment: datetime, seconds: int) -> None:
    moment = moment.replace(tzinfo=UTC, microsecond=0)
    id = str(int(moment.timestamp() * 1000) << 16)
    assert mastodon_posts.moment_of(id) == moment
    before = mastodon_posts.id_before(id, timedelta(seconds=seconds))
    assert mastodon_posts.moment_of(before) == moment - timedelta(seconds=seconds)
    assert mastodon_posts.id_before("abc", timedelta(1)) == "abc"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["id", "content", "account", "created_at", "poll", "media_attachments", "tags", "quote"]
)


@given(st.dictionaries(NAMES, JSON))
def test_no_status_breaks_the_reader(status: dict[str, Any]) -> None:
    whole = {"id": "1", "content": "<p>a</p>", "visibility": "public", **status}
    try:
        found = mastodon_posts.document(whole, host="h", source="s", now=START)
    except ContentError:
        return
    assert found.key.startswith("mastodon:h/") and found.text


@given(st.text(max_size=30))
def test_a_foreign_cursor_is_a_fresh_start(cursor: str) -> None:
    assert mastodon.Memory.read(cursor) is None or cursor.startswith("{")


@pytest.mark.parametrize(
    ("text", "name", "settings"),
    [
        ("@ann@h.example", "mastodon:h.example/@ann", {"accounts": ["@ann@h.example"]}),
        ("https://h.example/@ann", "mastodon:h.example/@ann", {"accounts": ["@ann@h.example"]}),
        (
            "https://h.example/@ann@other.example",
            "mastodon:h.example/@ann@other.example",
            {"accounts": ["@ann@other.example"]},
        ),
        ("mastodon:https://h.example/tags/town", "mastodon:h.example/#town", {"tags": ["town"]}),
        ("mastodon:h.example", "mastodon:h.example", {"trends": ["links", "statuses"]}),
    ],
)
def test_identify(text: str, name: str, settings: dict[str, Any]) -> None:
    config = mastodon.identify(text)
    assert config is not None and config.name == name
    assert dict(config.settings) == {"server": "https://h.example", **settings}
    mastodon.MastodonSettings.model_validate(config.settings)


@pytest.mark.parametrize(
    "text", ["@ann", "ann@h.example", "https://h.example/", "https://h.example/tags/town"]
)
def test_not_ours(text: str) -> None:
    assert mastodon.identify(text) is None


@pytest.mark.parametrize(
    "bad",
    [
        {"server": "h.example"},
        {"server": "not a server", "public": True},
        {"server": "h.example", "home": True},
        {"server": "https://h.example/path", "public": True},
    ],
)
def test_settings_that_cannot_work(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        mastodon.MastodonSettings.model_validate(bad)
