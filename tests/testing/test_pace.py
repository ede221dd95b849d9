"""A clock of any speed: agreed upon by all who hold its pace, and set wrong on purpose."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from gnomon.clock import SystemClock
from gnomon.testing.pace import Pace, PacedClock

START = datetime(2026, 11, 22, 15, 0, tzinfo=UTC)


def test_clocks_of_one_pace_agree_and_run_as_fast_as_it_says() -> None:
    pace = Pace(start=START, began=SystemClock().now(), speed=3_600.0)
    one, other = PacedClock(pace), PacedClock(pace)
    first, began = one.now(), time.monotonic()
    time.sleep(0.05)
    passed = other.now() - first
    took = time.monotonic() - began
    assert timedelta(seconds=0.05 * 3_600) <= passed <= timedelta(seconds=(took + 0.05) * 3_600)
    assert first >= START


def test_a_jump_moves_the_wall_clock_only() -> None:
    began = SystemClock().now() - timedelta(seconds=10)
    pace = Pace(start=START, began=began, speed=1.0)
    back = PacedClock(Pace(start=START, began=began, speed=1.0, jumps=((5.0, -3_600.0),)))
    ahead = PacedClock(Pace(start=START, began=began, speed=1.0, jumps=((60.0, 3_600.0),)))
    right = PacedClock(pace)
    assert timedelta(minutes=59) < right.now() - back.now() < timedelta(minutes=61)
    assert abs(right.now() - ahead.now()) < timedelta(seconds=5)
    assert abs(right.monotonic() - back.monotonic()) < 5


async def test_sleep_is_as_short_as_the_clock_is_fast() -> None:
    clock = PacedClock(Pace(start=START, began=SystemClock().now(), speed=3_600.0))
    began = time.monotonic()
    await clock.sleep(180)
    assert 0.04 <= time.monotonic() - began < 5
