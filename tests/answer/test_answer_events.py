"""Time counted from an event, as the record dates it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from gnomon.answer.base import Planned
from gnomon.answer.events import named

Town = Any


@pytest.mark.parametrize(
    ("text", "sense", "words"),
    [
        ("What did the council say before the vote?", "until", "the vote"),
        ("Has the mill reopened since the fire?", "since", "the fire"),
        ("After the storm, is the ferry running?", "since", "the storm"),
        ("What was known before the mill fire and who said it?", "until", "the mill fire"),
        ("Was ist seit dem Brand geschehen?", "since", "dem Brand"),
        ("Que sait-on depuis l'incendie ?", "since", "l'incendie"),
    ],
)
def test_events_are_named(text: str, sense: str, words: str) -> None:
    event = named(text)
    assert event is not None
    assert (event.sense, event.words) == (sense, words)


@pytest.mark.parametrize("text", ["Is the bridge open?", "What happened since Tuesday?", "", "?"])
def test_no_event_is_named(text: str) -> None:
    assert named(text) is None


def burnt(town: Town) -> None:
    town.put(0, "The mill ran two shifts and hired four people.", "Mill hires", key="feed:a")
    town.put(2, "A fire destroyed the roof of the mill.", "Fire at the mill", key="feed:b")
    town.put(2.5, "The fire at the mill was put out.", "Mill fire out", key="feed:c")
    town.put(8, "The mill runs one shift and dismissed two people.", "Mill dismisses", key="feed:d")


async def test_an_event_becomes_a_moment_that_the_plan_shows(empty_town: Town) -> None:
    burnt(empty_town)
    events = await empty_town.events("How many shifts has the mill run since the fire?")
    planned = next(e for e in events if isinstance(e, Planned))
    assert planned.plan.since == datetime(2026, 5, 4, 10, tzinfo=UTC)
    assert any(
        "“since the fire” was read as since 2026-05-04 10:00 UTC" in n for n in planned.plan.notes
    )
    answer = events[-1].answer
    assert "one shift" in answer.text
    assert "two shifts" not in answer.text


async def test_before_an_event(empty_town: Town) -> None:
    burnt(empty_town)
    answer = await empty_town.ask("How many shifts did the mill run before the fire?")
    assert "two shifts" in answer.text
    assert "one shift" not in answer.text


async def test_what_is_only_announced_has_no_moment(empty_town: Town) -> None:
    burnt(empty_town)
    empty_town.put(9, "The council will vote on the cable car next week.", "Cable car vote")
    events = await empty_town.events("How many shifts did the mill run before the vote?")
    assert events[0].plan.until is None
    assert any("When “the vote” was" in n for n in events[0].plan.notes)


async def test_several_events_set_no_time(empty_town: Town) -> None:
    empty_town.put(-400, "A fire destroyed the old mill.", "Fire at the old mill", key="feed:old")
    burnt(empty_town)
    events = await empty_town.events("How many shifts has the mill run since the fire?")
    assert events[0].plan.since is None
    assert any("may be one of several (2026-04-17, 2026-05-04)" in n for n in events[0].plan.notes)
