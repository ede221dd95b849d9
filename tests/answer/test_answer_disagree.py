"""Who else says it, who says otherwise, and what stood until when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gnomon.answer.base import Question
from gnomon.models.scripted import ScriptedGenerator

Town = Any
FIRE = "How many people did the fire in Tallow Street force out?"


def at(hours: float) -> datetime:
    return datetime(2026, 5, 4, 8, tzinfo=UTC) + timedelta(hours=hours)


def told(answer: Any, words: str) -> bool:
    return any(words in note for note in answer.notes)


async def test_two_reports_that_exclude_each_other_are_both_shown(empty_town: Town) -> None:
    empty_town.put(
        1, "The fire in Tallow Street forced 45 people from their homes, the radio reports.",
        source="radio",
    )  # fmt: skip
    empty_town.put(2, "The fire in Tallow Street forced 31 people from their homes.")
    answer = await empty_town.ask(FIRE)
    assert "31 people" in answer.text
    assert "45 people" in answer.text
    (found,) = answer.disagreements
    assert answer.sentences[found.sentence].disputed
    assert {found.citation.source} | {
        c.source for c in answer.citations if c.number in answer.sentences[0].citations
    } == {"radio", "herald"}
    assert told(answer, "Sources disagree")
    assert told(answer, "2026-05-04 09:00 UTC")


async def test_a_correction_is_no_disagreement(empty_town: Town) -> None:
    empty_town.put(1, "The fire in Tallow Street forced 45 people from their homes.")
    empty_town.put(
        4, "Correction: the fire in Tallow Street forced 31 people from their homes.",
        source="radio",
    )  # fmt: skip
    answer = await empty_town.ask(FIRE)
    assert not answer.disagreements
    assert "45 people" not in answer.text
    (old,) = answer.superseded
    assert "45 people" in old.text
    assert old.until == at(4)
    assert told(answer, "Until 2026-05-04 12:00 UTC it was")


async def test_hearsay_and_lone_posts_dispute_nothing(empty_town: Town) -> None:
    empty_town.put(1, "The fire in Tallow Street forced 31 people from their homes.")
    empty_town.put(
        1.1, "The fire in Tallow Street forced 90 people from their homes.",
        kind="post", source="board",
    )  # fmt: skip
    empty_town.put(
        1.2, "The fire in Tallow Street reportedly forced 70 people from their homes.",
        source="radio",
    )  # fmt: skip
    answer = await empty_town.ask(FIRE)
    assert not answer.disagreements
    assert not any(s.disputed for s in answer.sentences)


async def test_a_state_that_changed_is_marked_until_when_it_stood(town: Town) -> None:
    answer = await town.ask("Is the harbour bridge open?")
    assert not answer.disagreements
    assert any("closed" in s.text for s in answer.superseded)
    assert {s.until for s in answer.superseded} == {at(9)}


async def test_an_answer_that_is_out_of_date_says_so_and_shows_the_newer(town: Town) -> None:
    said = "The harbour bridge was closed at 11:00 after a lorry overturned, police said. [2]"
    model = ScriptedGenerator([lambda request: said.replace("[2]", number(request))])

    def number(request: Any) -> str:
        told = request.messages[1].content
        at = told.index("closed at 11:00")
        return f"[{told[:at].rpartition('[')[2].partition(']')[0]}]"

    answer = await town.ask("Is the harbour bridge open?", town.models(generator=model))
    stale = next(s for s in answer.sentences if "closed at 11:00" in s.text)
    assert stale.until == at(9)
    assert "open again" in answer.text
    assert told(answer, "stood until 2026-05-04 17:00 UTC")


async def test_independent_origins_are_counted_and_copies_are_one(empty_town: Town) -> None:
    text = "The ferry to Dunmarrow leaves at 9:30 daily, the harbour office said in its notice."
    for i, source in enumerate(("herald", "radio")):
        empty_town.put(1 + i, text, key=f"{source}:1", source=source)
    alone = await empty_town.ask("When does the ferry to Dunmarrow leave?")
    assert alone.sentences[0].origins == 1
    empty_town.put(
        3,
        "Travellers to Dunmarrow note: from this week the ferry leaves at 9:30 daily. "
        "Tickets are sold on board, and dogs travel free of charge on the upper deck.",
        source="gazette",
    )
    answer = await empty_town.ask("When does the ferry to Dunmarrow leave?")
    assert answer.sentences[0].origins == 2
    assert len(answer.sentences[0].also) == 1


@pytest.mark.parametrize("limit", [1, 2])
async def test_no_more_sentences_than_asked_for_but_the_note_stays(
    empty_town: Town, limit: int
) -> None:
    empty_town.put(1, "The fire in Tallow Street forced 45 people out.", source="radio")
    empty_town.put(2, "The fire in Tallow Street forced 31 people from their homes.")
    answer = await empty_town.ask(Question(text=FIRE, max_sentences=limit))
    assert len(answer.sentences) == limit
    assert len(answer.disagreements) == 1
    assert told(answer, "Sources disagree")


async def test_two_winners_are_a_disagreement(empty_town: Town) -> None:
    empty_town.put(1, "Mira Holt won the election for mayor of Quillhaven.", source="radio")
    empty_town.put(1.5, "Ada Ferrow won the election for mayor of Quillhaven.")
    answer = await empty_town.ask("Who won the election for mayor of Quillhaven?")
    assert len(answer.disagreements) == 1
    assert "Ferrow" in answer.text
    assert "Holt" in answer.text


async def test_who_says_less_is_no_further_origin(empty_town: Town) -> None:
    empty_town.put(1, "The Mill Bridge is closed in both directions.", source="radio")
    empty_town.put(2, "The Mill Bridge is closed until spring.", source="board", kind="post")
    answer = await empty_town.ask("Until when is the Mill Bridge closed?")
    (told_by,) = [s for s in answer.sentences if "spring" in s.text]
    assert told_by.origins == 1
    assert not told_by.also


async def test_what_an_edit_corrected_stood_until_the_edit_was_seen(empty_town: Town) -> None:
    said = "Orrin Turbines reported a profit of {} million crowns for the quarter."
    empty_town.put(1, said.format(31), key="herald:1", published_at=at(1))
    empty_town.put(2, said.format(31), key="digest:1", source="digest", published_at=at(2))
    empty_town.put(4, said.format("3.1"), key="herald:1", published_at=at(1), updated_at=at(3.9))
    answer = await empty_town.ask("What profit did Orrin Turbines report for the quarter?")
    assert "3.1 million" in answer.sentences[0].text
    assert all(s.until >= s.citation.published_at for s in answer.superseded)
    assert [s.until for s in answer.superseded] == [at(4)]
