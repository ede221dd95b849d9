from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from gnomon.clock import ManualClock
from gnomon.errors import ConfigError, ContentError, UpstreamTerminal, UpstreamTransient
from gnomon.ingest.health import Health, span
from gnomon.settings import Ingest


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 3, 1, 14, 2, tzinfo=UTC))


def health(clock: ManualClock, well: str = "polling", **limits: float) -> Health:
    return Health(well, clock=clock, limits=Ingest(**limits), rng=random.Random(1))  # type: ignore[arg-type]


def test_polling(clock: ManualClock) -> None:
    h = health(clock)
    assert h.sentence() == "Starting."
    h.heard(next_in_s=900)
    clock.advance(120)
    assert h.sentence() == "Polling; last answer 2 min ago, next in 13 min."
    assert h.next_at == datetime(2026, 3, 1, 14, 17, tzinfo=UTC)


def test_unreachable(clock: ManualClock) -> None:
    h = health(clock, "live")
    h.heard()
    for _ in range(12):
        wait_s = h.troubled(UpstreamTransient("the name news.example could not be resolved."))
        assert wait_s is not None
    assert h.state == "retrying" and h.errors == 12
    assert 22 <= wait_s <= 38
    clock.advance(wait_s - 5)
    assert h.sentence() == (
        "Failing since 14:02 UTC: the name news.example could not be resolved; next try in 5 s."
    )


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            UpstreamTerminal("X needs a key.", code="source.needs_key", hint="Give it one."),
            "X needs a key. Give it one.",
        ),
        (
            ConfigError("It needs a contact.", code="source.needs_contact", hint="Set it."),
            "It needs a contact. Set it.",
        ),
    ],
)
def test_what_the_operator_has_to_give_is_all_that_is_said(
    clock: ManualClock, error: Exception, said: str
) -> None:
    h = health(clock)
    assert h.troubled(error) is not None
    assert (h.state, h.sentence()) == ("failed", said)
    h.heard()
    h.troubled(UpstreamTerminal("No.", code="source.other"))
    assert h.sentence().startswith("Failed: No; tried again in")


def test_what_a_service_refuses_comes_with_what_to_correct(clock: ManualClock) -> None:
    h = health(clock)
    error = UpstreamTransient(
        "https://a.example answers 400.", code="source.refused", hint="Check the setting areas.",
        retry_after_s=3_600,
    )  # fmt: skip
    h.troubled(error)
    assert h.sentence() == (
        "Failing since 14:02 UTC: https://a.example answers 400. Check the setting areas; "
        "next try in 60 min."
    )


def test_waits_double_up_to_the_bound(clock: ManualClock) -> None:
    h = health(clock, "live")
    waits = [h.troubled(UpstreamTransient("x")) or 0.0 for _ in range(10)]
    for n, wait_s in enumerate(waits):
        usual = min(0.25 * 2**n, 30.0)
        assert 0.75 * usual <= wait_s <= 1.25 * usual


def test_a_polled_source_backs_off_further(clock: ManualClock) -> None:
    h = health(clock)
    assert max(h.troubled(UpstreamTransient("x")) or 0.0 for _ in range(30)) > 600


def test_retry_after_wins(clock: ManualClock) -> None:
    h = health(clock, "live")
    wait_s = h.troubled(UpstreamTransient("429", retry_after_s=120))
    assert wait_s is not None and 120 <= wait_s < 121
    wait_s = h.troubled(UpstreamTransient("429", retry_after_s=1e12))
    assert wait_s is not None and wait_s < 90_000


def test_a_good_run_forgets_old_trouble(clock: ManualClock) -> None:
    h = health(clock, "live")
    for _ in range(10):
        h.troubled(UpstreamTransient("x"))
    h.began()
    h.heard()
    clock.advance(31)
    assert (h.troubled(UpstreamTransient("x")) or 9.0) < 0.4


def test_a_source_that_breaks_at_once_is_not_hammered(clock: ManualClock) -> None:
    h = health(clock, "live")
    for _ in range(10):
        h.began()
        h.heard()
        wait_s = h.troubled(UpstreamTransient("x"))
    assert wait_s is not None and wait_s > 20


@pytest.mark.parametrize(
    ("error", "state", "tried_again"),
    [
        (UpstreamTerminal("410", code="source.gone"), "gone", False),
        (UpstreamTerminal("403", code="source.forbidden"), "blocked", True),
        (UpstreamTerminal("private", code="net.blocked"), "blocked", True),
        (UpstreamTerminal("odd", code="net.redirects"), "failed", True),
        (ConfigError("no such file"), "failed", True),
        (ContentError("?"), "retrying", True),
        (ZeroDivisionError("plugin"), "retrying", True),
    ],
)
def test_states_by_class(
    clock: ManualClock, error: Exception, state: str, tried_again: bool
) -> None:
    h = health(clock)
    wait_s = h.troubled(error)
    assert h.state == state
    assert (wait_s is not None) == tried_again
    assert wait_s is None or wait_s >= 20
    assert str(error) in h.sentence() and h.sentence()[0].isupper()


def test_a_clock_that_is_set_back_shifts_nothing(clock: ManualClock) -> None:
    h = health(clock)
    h.heard(next_in_s=900)
    clock.advance(60)
    clock.set(clock.now() - timedelta(days=3))
    assert h.sentence() == "Polling; last answer 60 s ago, next in 14 min."


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-1, "0 s"), (0.2, "0 s"), (89, "89 s"), (780, "13 min"), (7_200, "2 h"), (2e5, "2 days")],
)
def test_span(seconds: float, said: str) -> None:
    assert span(seconds) == said
