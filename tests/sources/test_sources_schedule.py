from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from gnomon.settings import Ingest
from gnomon.sources.schedule import adapt, estimate_s, next_poll_s, rhythm_s

NOW = datetime(2026, 5, 1, tzinfo=UTC)
LIMITS = Ingest()


def test_rhythm_is_the_median_gap_of_the_newest() -> None:
    hourly = [NOW - timedelta(hours=n) for n in range(20)]
    ancient = [NOW - timedelta(days=400 + 30 * n) for n in range(50)]
    assert rhythm_s([*ancient, *hourly]) == 3_600


def test_equal_and_few_dates_tell_no_rhythm() -> None:
    assert rhythm_s([NOW] * 30) is None
    assert rhythm_s([NOW, NOW - timedelta(days=1)]) is None


def test_a_silent_feed_is_asked_less_and_less() -> None:
    assert estimate_s(3_600, 0, 1) == 900
    assert estimate_s(3_600, 8 * 86_400, 1) == 86_400
    assert estimate_s(None, 8 * 86_400, 1_234) == 1_234


def test_a_publisher_without_hints_is_spared() -> None:
    rng = random.Random(1)
    assert next_poll_s(1.0, limits=LIMITS, rng=rng) >= 4 * LIMITS.min_interval_s
    assert next_poll_s(1.0, hints=[60.0], limits=LIMITS, rng=rng) < 1.2 * LIMITS.min_interval_s


@given(
    estimate=st.floats(0, 1e9),
    hints=st.lists(st.one_of(st.none(), st.floats(0, 1e12))),
    seed=st.integers(),
)
def test_within_bounds_whatever_is_claimed(
    estimate: float, hints: list[float | None], seed: int
) -> None:
    wait = next_poll_s(estimate, hints=hints, limits=LIMITS, rng=random.Random(seed))
    assert LIMITS.min_interval_s <= wait <= LIMITS.max_interval_s * 1.1


def test_a_fixed_interval_overrules() -> None:
    wait = next_poll_s(9e9, hints=[9e9], fixed=2.0, limits=LIMITS, rng=random.Random(1))
    assert 2.0 <= wait <= 2.2


def test_adapting_goes_both_ways_and_ends_at_the_bounds() -> None:
    every = 3_600.0
    for _ in range(50):
        every = adapt(every, changed=False, limits=LIMITS)
    assert every == LIMITS.max_interval_s
    for _ in range(50):
        every = adapt(every, changed=True, limits=LIMITS)
    assert every == LIMITS.min_interval_s
