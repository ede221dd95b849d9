"""What happened at large is answered by the liveliest stories, not by words that match."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from gnomon.answer.base import Question
from gnomon.answer.plan import plan

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def fill(town: Any) -> None:
    put = town.put
    put(1, "The harbour bridge was closed after a lorry overturned.", "Bridge closed",
        key="a", source="herald")  # fmt: skip
    put(2, "Divers inspect the pillars of the closed harbour bridge.", "Bridge: divers at work",
        key="b", source="radio")  # fmt: skip
    put(3, "Engineers from Oldgate say the harbour bridge stays closed until Friday.",
        "Bridge closed until Friday", key="c", source="wire")  # fmt: skip
    put(4, "Choir sings tonight in the old mill.", "Concert", key="d", source="herald")
    put(5, "What a lovely town this is today, nothing new though!", "", key="e", kind="post",
        source="mastodon")  # fmt: skip


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("What happened in town today?", ()),
        ("latest news", ()),
        ("What’s new?", ()),
        ("Give me the top headlines", ()),
        ("What have I missed?", ()),
        ("Was ist heute passiert?", ()),
        ("Quoi de neuf ?", ()),
        ("¿Qué ha pasado hoy?", ()),
        ("What is going on in Oldgate?", ("Oldgate",)),
        ("What happened in New Harbour yesterday?", ("New Harbour",)),
        ("What happened to the bridge?", None),
        ("What is new about the bridge?", None),
        ("Who is the mayor?", None),
        ("Is the new bridge open?", None),
    ],
)
def test_which_questions_ask_what_happened(text: str, where: tuple[str, ...] | None) -> None:
    assert plan(Question(text=text), NOON).overview == where


async def test_the_story_that_most_tell_comes_first(empty_town: Any) -> None:
    fill(empty_town)
    answer = await empty_town.ask("What happened in town today?")
    first = answer.sentences[0]
    assert "harbour bridge" in first.text and first.verdict.kind == "supported"
    assert len([s for s in answer.sentences if "bridge" in s.text]) == 1
    assert any("told most" in note for note in answer.notes)


async def test_a_place_narrows_the_news(empty_town: Any) -> None:
    fill(empty_town)
    answer = await empty_town.ask("What happened in Oldgate today?")
    assert [s.text for s in answer.sentences] == [
        "Engineers from Oldgate say the harbour bridge stays closed until Friday."
    ]


async def test_where_nothing_is_told_of_a_place_no_other_news_is(empty_town: Any) -> None:
    fill(empty_town)
    answer = await empty_town.ask("What happened in Ukraine today?")
    assert answer.abstained


async def test_the_news_of_a_day_ends_with_it(empty_town: Any) -> None:
    fill(empty_town)
    answer = await empty_town.ask("What happened yesterday?")
    assert answer.abstained
