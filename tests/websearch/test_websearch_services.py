from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.clock import ManualClock, SystemClock
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
from gnomon.testing.search_server import SearchServer
from gnomon.websearch.base import Budget, Found, Hit, Pace, WebSearch, together
from gnomon.websearch.client import open_search
from gnomon.websearch.services import SERVICES, Query

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DATED = set(SERVICES) - {"wikipedia"}


@asynccontextmanager
async def opened() -> AsyncIterator[tuple[SearchServer, Door]]:
    async with SearchServer() as server:
        net = Net(allow=(server.address,), per_host_delay_s=0, timeout_s=1)
        door = Door(net, SystemClock())
        try:
            yield server, door
        finally:
            await door.aclose()


class HastyClock(ManualClock):
    """Its sleeps are over at once."""

    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)


def search_at(server: SearchServer, door: Door, name: str, **options: object) -> WebSearch:
    options = {"key": server.key, "url": server.url, **options}
    return open_search(name, fetcher=door, clock=HastyClock(NOW), **options)  # type: ignore[arg-type]


def fill(server: SearchServer) -> None:
    for n in range(4):
        server.put(
            f"https://paper.example/{n}?utm_source=x",
            f"Bridge {n} &amp; tunnel",
            f"The bridge was <closed> for the {n}th time.",
            at=NOW - timedelta(days=10 * (3 - n), hours=2),
        )
    server.put("https://paper.example/other", "Elections", "Votes are counted.", at=NOW)


@pytest.mark.parametrize("name", SERVICES)
async def test_every_service(name: str) -> None:
    async with opened() as (server, door):
        fill(server)
        hits = await search_at(server, door, name).search("bridge", n=3)
        assert len(hits) == 3
        first = hits[0]
        assert first.provider == name and first.title == "Bridge 3 & tunnel"
        assert first.url.startswith("http")
        moment = first.published_at if name in DATED else first.updated_at
        assert moment == NOW - timedelta(hours=2)
        if name != "gdelt":
            assert "3th time" in first.snippet and "<" not in first.snippet.replace("<closed>", "")
        assert not await search_at(server, door, name).search("zeppelin")


@pytest.mark.parametrize("name", SERVICES)
async def test_nothing_from_before(name: str) -> None:
    async with opened() as (server, door):
        fill(server)
        hits = await search_at(server, door, name).search("bridge", since=NOW - timedelta(days=15))
        assert len(hits) == 2, [h.title for h in hits]


@pytest.mark.parametrize("name", [n for n, s in SERVICES.items() if s.needs_key])
async def test_a_wrong_key_and_none(name: str) -> None:
    async with opened() as (server, door):
        with pytest.raises(UpstreamTerminal, match="401") as caught:
            await search_at(server, door, name, key="wrong").search("bridge")
        assert caught.value.code == "search.key" and "plan" in caught.value.hint
        assert "wrong" not in str(caught.value)
        with pytest.raises(ConfigError, match="needs a key"):
            search_at(server, door, name, key="")


async def test_what_cannot_be_opened() -> None:
    async with opened() as (server, door):
        with pytest.raises(ConfigError, match="needs an address"):
            search_at(server, door, "searxng", url="")
        with pytest.raises(ConfigError, match="Known: searxng, brave"):
            search_at(server, door, "altavista")


ODD = {
    "html": (ContentError, "search.unreadable"),
    "plain": (UpstreamTerminal, "search.refused"),
    "402": (UpstreamTerminal, "search.credit"),
    "422": (UpstreamTerminal, "search.refused"),
    "403": (UpstreamTerminal, "search.key"),
    "429 30": (UpstreamTransient, "net.status"),
    "503": (UpstreamTransient, "net.status"),
    "refuse": (UpstreamTransient, "net."),
}


@pytest.mark.parametrize("fault", ODD)
async def test_refusals_are_told_alike(fault: str) -> None:
    kind, code = ODD[fault]
    async with opened() as (server, door):
        for name in ("searxng", "brave", "gdelt"):
            server.misbehave(fault)
            with pytest.raises(kind) as caught:
                await search_at(server, door, name).search("bridge")
            assert caught.value.code.startswith(code)
            if (name, fault) == ("brave", "plain"):
                assert caught.value.hint == "Check the query."
            if fault == "429 30":
                assert caught.value.retry_after_s == 30


@pytest.mark.parametrize("name", SERVICES)
async def test_another_shape_is_told_and_not_taken_for_nothing(name: str) -> None:
    async with opened() as (server, door):
        fill(server)
        server.misbehave("odd")
        with pytest.raises(ContentError, match="JSON of another shape") as caught:
            await search_at(server, door, name).search("bridge")
        assert caught.value.code == "search.unreadable"


async def test_searxng_without_json_says_what_to_set() -> None:
    async with opened() as (server, door):
        server.misbehave("403")
        with pytest.raises(UpstreamTerminal, match=r"search\.formats"):
            await search_at(server, door, "searxng").search("bridge")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["results", "web", "data", "t", "url", "title", "query", "search", "hits", "articles",
             "highlights", "seendate", "publishedDate", "objectID"]
        ),
        inner, max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@given(json_values, st.sampled_from(list(SERVICES)))
def test_any_answer_is_read(data: object, name: str) -> None:
    dates = Dates(NOW, timedelta(0))
    query = Query(q="x", since=None, n=5, now=NOW, base="https://s.example", key="", lang="")
    for hit in SERVICES[name].read(data, query, dates):
        assert isinstance(hit, Hit)


async def test_a_budget_of_requests_and_of_money() -> None:
    async with opened() as (server, door):
        fill(server)
        few = search_at(server, door, "kagi", budget=Budget(usd_per_day=0.05))
        for _ in range(2):
            await few.search("bridge")
        with pytest.raises(UpstreamTransient, match=r"\$0\.05") as caught:
            await few.search("bridge")
        assert caught.value.code == "search.budget"
        assert caught.value.retry_after_s == pytest.approx(12 * 3_600, abs=5)
        assert len(server.requests) == 2, "what is over the budget is not asked"


def test_a_budget_begins_anew_each_day() -> None:
    budget = Budget(requests_per_day=2)
    budget.spend("x", 0.0, NOW)
    budget.spend("x", 0.0, NOW)
    with pytest.raises(UpstreamTransient, match="2 requests"):
        budget.spend("x", 0.0, NOW)
    budget.spend("x", 0.0, NOW + timedelta(hours=12))


@given(st.lists(st.floats(0.0, 9.0), max_size=20), st.floats(0.0, 0.2))
def test_a_budget_is_never_overspent(steps: list[float], usd: float) -> None:
    budget, at, spent = Budget(usd_per_day=0.5), NOW, 0.0
    for hours in steps:
        before, at = at, at + timedelta(hours=hours)
        spent = 0.0 if at.date() != before.date() else spent
        try:
            budget.spend("x", usd, at)
        except UpstreamTransient:
            continue
        spent += usd
        assert spent <= 0.5 + 1e-6


async def test_the_pace_is_kept() -> None:
    clock = ManualClock(NOW)
    slept: list[float] = []

    class Watched:
        now, monotonic = clock.now, clock.monotonic

        async def sleep(self, seconds: float) -> None:
            slept.append(seconds)
            clock.advance(seconds)

    pace = Pace(Watched(), 5.0)
    await pace.wait()
    clock.advance(2)
    await pace.wait()
    await pace.wait()
    assert slept == [3.0, 5.0]


class Canned:
    def __init__(self, name: str, hits: list[Hit] | GnomonError) -> None:
        self.name = name
        self._hits = hits

    async def search(self, q: str, since: datetime | None = None, n: int = 10) -> list[Hit]:
        if isinstance(self._hits, GnomonError):
            raise self._hits
        return self._hits


async def test_together_folds_one_address_and_names_who_failed() -> None:
    def hit(path: str, by: str, at: datetime | None = None) -> Hit:
        return Hit(url=f"https://e.example/{path}", title=path, provider=by, published_at=at)

    one = Canned("one", [hit("a", "one"), hit("b?utm_source=x", "one"), hit("c", "one")])
    two = Canned("two", [hit("b", "two", NOW), hit("d", "two")])
    bad = Canned("bad", UpstreamTerminal("Kagi answers 401.", hint="Check its key."))
    found = await together([one, two, bad], "x", n=3)
    assert isinstance(found, Found)
    assert [h.title for h in found.hits] == ["a", "b", "d"]
    assert found.hits[1].provider == "two" and found.hits[1].published_at == NOW
    assert found.failed == {"bad": "Kagi answers 401. Check its key."}


async def test_empty_questions_are_not_asked() -> None:
    async with opened() as (server, door):
        search = search_at(server, door, "hn")
        assert await search.search("  ") == [] and await search.search("x", n=0) == []
        await search.search("x " * 500)
        (request,) = server.requests
        assert len(request.query["query"]) <= 400
