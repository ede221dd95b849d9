"""Budgets per day, and hosts that get slower, close, and come back."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from gnomon.clock import ManualClock
from gnomon.errors import UpstreamTransient
from gnomon.net.budget import Budget, Metered
from gnomon.net.politeness import MAX_PENALTY_S, Turns
from gnomon.settings import Net

URL = "http://news.example/a"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfour"
LINES = b"HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\ndata: a\n\ndata: "
EVENING = datetime(2026, 5, 1, 20, tzinfo=UTC)


def metered(world: Any, clock: ManualClock, *, requests: int = 99, size: int = 9_999) -> Any:
    budget = Budget("x", clock)
    budget.max_requests, budget.max_bytes = requests, size
    return Metered(world.door(), budget), budget


async def test_requests_of_a_day(world: Any) -> None:
    world.server.says(OK)
    clock = ManualClock(EVENING)
    fetcher, budget = metered(world, clock, requests=2)
    for _ in range(2):
        assert (await fetcher.fetch(URL)).body == b"four"
    assert budget.spent == (2, 8)
    for opened in (fetcher.lines(URL), fetcher.events(URL), fetcher.socket("ws://news.example/")):
        with pytest.raises(UpstreamTransient):
            async with opened:
                pass
    with pytest.raises(UpstreamTransient) as caught:
        await fetcher.fetch(URL)
    assert (caught.value.code, caught.value.retry_after_s) == ("net.budget", 4 * 3_600)
    assert "max_requests_per_day" in caught.value.hint
    assert len(world.server.heads) == 2
    clock.advance(4 * 3_600)
    assert (await fetcher.fetch(URL)).status == 200
    assert budget.spent == (1, 4)


async def test_bytes_of_a_day(world: Any) -> None:
    world.server.says(OK)
    fetcher, _ = metered(world, ManualClock(EVENING), size=7)
    for _ in range(2):
        await fetcher.fetch(URL)
    with pytest.raises(UpstreamTransient) as caught:
        await fetcher.fetch(URL)
    assert caught.value.code == "net.budget" and "max_mib_per_day" in caught.value.hint


async def test_an_endless_stream_ends_with_its_budget(world: Any) -> None:
    world.server.says(LINES)
    fetcher, budget = metered(world, ManualClock(EVENING), size=8)
    got = []
    with pytest.raises(UpstreamTransient) as caught:
        async with fetcher.lines(URL) as lines:
            async for line in lines:
                got.append(line)
    assert got == [b"data: a"] and caught.value.code == "net.budget"
    assert budget.spent == (1, 8)


async def test_events_are_counted(world: Any) -> None:
    world.server.says(LINES)
    fetcher, budget = metered(world, ManualClock(EVENING))
    async with fetcher.events(URL) as events:
        assert [event.data async for event in events] == ["a"]
    assert budget.spent == (1, 1)


# -- hosts -------------------------------------------------------------------------
async def pause_of(turns: Turns, clock: ManualClock, usual_s: float = 2.0) -> float:
    """How long the next one waits."""
    began = clock.monotonic()

    async def wait() -> None:
        async with turns.turn("h", usual_s):
            pass

    task = asyncio.create_task(wait())
    for _ in range(2_000):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if task.done():
            break
        clock.advance(0.5)
    await task
    return clock.monotonic() - began


def trouble(status: int, retry_after_s: float | None = None) -> UpstreamTransient:
    return UpstreamTransient("no", code="net.status", retry_after_s=retry_after_s, status=status)


async def fails(turns: Turns, error: Exception, usual_s: float = 2.0) -> None:
    with pytest.raises(type(error)):
        async with turns.turn("h", usual_s):
            raise error


async def test_a_slow_host_rests_as_long_as_it_took() -> None:
    clock = ManualClock()
    turns = Turns(clock)
    for _ in range(5):
        async with turns.turn("h", 0.001):
            clock.advance(10)
        clock.advance(60)
    async with turns.turn("h", 2):
        clock.advance(10)
    assert 9 <= await pause_of(turns, clock) <= 11
    pauses = [await pause_of(turns, clock) for _ in range(6)]
    assert pauses[-1] == 2 and pauses == sorted(pauses, reverse=True)


async def test_trouble_doubles_the_pause_and_good_answers_halve_it() -> None:
    clock = ManualClock()
    turns = Turns(clock)
    for _ in range(3):
        await fails(turns, trouble(503))
        clock.advance(200)
    await fails(turns, trouble(503))
    assert await pause_of(turns, clock) == 2 + 16
    pauses = [await pause_of(turns, clock) for _ in range(8)]
    assert pauses[0] == 2 + 8 and pauses[-1] == 2
    for _ in range(9):
        clock.advance(200)
        await fails(turns, trouble(503))
    assert await pause_of(turns, clock) == 2 + MAX_PENALTY_S


async def test_other_trouble_is_not_the_hosts() -> None:
    clock = ManualClock()
    turns = Turns(clock)
    await fails(turns, UpstreamTransient("no", code="net.unresolvable"))
    await fails_after(turns, clock, ValueError("mine"))
    assert await pause_of(turns, clock) == 2


async def fails_after(turns: Turns, clock: ManualClock, error: Exception) -> None:
    clock.advance(10)
    await fails(turns, error)


async def test_retry_after_closes_the_host_for_all() -> None:
    clock = ManualClock()
    turns = Turns(clock)
    await fails(turns, trouble(429, 600))
    with pytest.raises(UpstreamTransient) as caught:
        async with turns.turn("h", 2):
            pass
    assert caught.value.code == "net.host_busy" and caught.value.retry_after_s == 600
    clock.advance(580)
    assert await pause_of(turns, clock) == 20
    async with turns.turn("other", 2):
        pass


async def test_without_a_pause_there_is_no_politeness() -> None:
    turns = Turns(ManualClock())
    await fails(turns, trouble(429, 600), usual_s=0)
    async with asyncio.timeout(5), turns.turn("h", 0):
        pass


async def test_a_busy_host_is_left_alone_by_the_door(world: Any) -> None:
    clock = ManualClock()
    door = world.door(Net(per_host_delay_s=1, robots=False), clock)
    world.server.says(b"HTTP/1.1 429 x\r\nretry-after: 300\r\ncontent-length: 0\r\n\r\n")
    for _ in range(3):
        with pytest.raises(UpstreamTransient) as caught:
            await door.fetch(URL, purpose="feed")
    assert caught.value.retry_after_s == 300 and len(world.server.heads) == 1
    world.server.says(OK)
    assert (await door.fetch(URL, purpose="user")).status == 200
    clock.advance(300)
    assert (await door.fetch(URL, purpose="feed")).status == 200


class Sleepless(ManualClock):
    """Sleeping is over at once; time passes by it alone."""

    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)


async def test_a_feed_may_have_a_shorter_pace_of_its_own_and_a_crawl_may_not(world: Any) -> None:
    world.server.says(OK)
    clock = Sleepless(EVENING)
    door = world.door(Net(per_host_delay_s=5, robots=False), clock)

    async def rest_s(purpose: str, pace_s: float | None) -> float:
        began_s = clock.monotonic()
        assert (await door.fetch(URL, purpose=purpose, pace_s=pace_s)).body == b"four"
        return round(clock.monotonic() - began_s, 3)

    assert await rest_s("feed", 0.1) == 0, "nobody was there before"
    assert [await rest_s("feed", 0.1) for _ in range(3)] == [0.1, 0.1, 0.1]
    assert await rest_s("feed", None) == 5
    assert await rest_s("crawl", 0.1) == 5
    assert await rest_s("feed", 60.0) == 5, "it can only be shorter"
