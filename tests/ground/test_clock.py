"""Clock: exact conversion, and a manual clock that rules every wait."""

import asyncio
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from gnomon.clock import ManualClock, RandomIds, from_us, to_us


@given(st.datetimes(timezones=st.just(UTC)))
def test_microseconds_lose_nothing(moment: datetime) -> None:
    assert from_us(to_us(moment)) == moment


async def test_sleepers_wake_in_the_clocks_own_time() -> None:
    clock = ManualClock()
    order: list[int] = []

    async def sleeper(seconds: int) -> None:
        await clock.sleep(seconds)
        order.append(seconds)

    async with asyncio.TaskGroup() as group:
        for seconds in (3, 1, 2):
            group.create_task(sleeper(seconds))
        await asyncio.sleep(0)
        for _ in range(3):
            clock.advance(1)
            for _ in range(3):
                await asyncio.sleep(0)
    assert order == [1, 2, 3]


def test_setting_the_wall_clock_back_leaves_monotonic_time() -> None:
    clock = ManualClock()
    clock.advance(5)
    clock.set(clock.now() - timedelta(days=1))
    assert clock.monotonic() == 5


def test_ids_do_not_repeat() -> None:
    ids = RandomIds()
    assert len({ids.new("a") for _ in range(1000)}) == 1000
