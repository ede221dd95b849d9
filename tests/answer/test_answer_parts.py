"""Several questions in one: told apart, answered in order, each silent by itself."""

from __future__ import annotations

from typing import Any

import pytest

from gnomon.answer.base import Finished, Planned, Question, Retrieved, Written
from gnomon.answer.parts import apart, told_apart

Town = Any


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Is the bridge open? Who is the mayor?", ["Is the bridge open?", "Who is the mayor?"]),
        ("When does the bridge reopen, and who pays for it?",
         ["When does the bridge reopen?", "Who pays for it?"]),
        ("Is the harbour bridge open and is the ferry running?",
         ["Is the harbour bridge open?", "Is the ferry running?"]),
        ("When and where does the race start?",
         ["When does the race start?", "Where does the race start?"]),
        ("A lorry hit the bridge. How long is it closed? Who pays?",
         ["A lorry hit the bridge. How long is it closed?", "Who pays?"]),
        ("Wann öffnet die alte Brücke und wer bezahlt die Arbeiten?",
         ["Wann öffnet die alte Brücke?", "Wer bezahlt die Arbeiten?"]),
    ],
)  # fmt: skip
def test_questions_are_told_apart(text: str, parts: list[str]) -> None:
    assert told_apart(text) == parts


@pytest.mark.parametrize(
    "text",
    [
        "Who lost and won?",
        "What happened to Bonnie and Clyde?",
        "Police arrested 31 men who planned a riot. Where was the event?",
        "What does the report say about who pays and who benefits from it?",
        "Who said what and when?",
        "How do the council and the mayor vote?",
        "Is it open? I have to cross it today.",
        "What?",
        "",
        "Where is the bridge that was closed and is now open?",
    ],
)
def test_one_question_stays_one(text: str) -> None:
    assert told_apart(text) == [text]


def test_each_part_has_its_own_filters_and_what_was_asked_before() -> None:
    one, two = apart(Question(text="What did @ada say about the vote, and who won the race?"))
    assert (one.authors, two.authors) == (("ada",), ())
    assert [t.question for t in two.history] == ["What did @ada say about the vote?"]


async def test_each_question_is_answered_in_order(town: Town) -> None:
    asked = "How many lanterns will be lit on Friday, and is the harbour bridge open?"
    events = await town.events(asked)
    kinds = [type(e) for e in events]
    assert kinds[0] is Planned
    assert kinds.count(Planned) == kinds.count(Finished) == 1
    assert kinds.count(Retrieved) == 2
    answer = events[-1].answer
    assert answer.question == asked
    assert answer.text.index("1,200") < answer.text.index("open again")
    assert [c.number for c in answer.citations] == [*range(1, len(answer.citations) + 1)]
    by_number = {c.number: c for c in answer.citations}
    for sentence in answer.sentences:
        assert all(by_number[n].quote in sentence.text for n in sentence.citations)
    written = [e for e in events if isinstance(e, Written)]
    assert answer.sentences == tuple(w.sentence for w in written)
    assert answer.citations == tuple(c for w in written for c in w.citations)
    assert any("Read as 2 questions" in n for n in answer.notes)


async def test_one_question_can_stay_without_an_answer(town: Town) -> None:
    answer = await town.ask("Is the harbour bridge open? Who founded the chess club?")
    assert not answer.abstained
    assert "open again" in answer.text
    assert "No answer to “Who founded the chess club?”:" in answer.notes


async def test_silence_on_all_of_them_is_silence(town: Town) -> None:
    answer = await town.ask("Who founded the chess club? Where do the penguins sleep?")
    assert answer.abstained
    assert sum("No answer to" in n for n in answer.notes) == 2


async def test_a_moment_named_once_holds_for_all(town: Town) -> None:
    answer = await town.ask(
        "As of 12:00 today, is the harbour bridge open, and who is lighting lanterns on Friday?"
    )
    assert answer.as_of is not None
    assert answer.as_of.hour == 12
    assert "1,200" not in answer.text  # told an hour later


async def test_a_handle_in_the_question_is_a_filter(town: Town) -> None:
    for author, said in (
        ("ada", "The ferry to the island is late."),
        ("bob", "The ferry is fine."),
    ):
        town.put(9.5, said, key=f"posts:{author}", kind="post", source="square", author=author)
    answer = await town.ask("What did @ada say about the ferry?")
    assert {c.author for c in answer.citations} == {"ada"}
    assert any("authors ada" in n for n in answer.notes)
    nobody = await town.ask("What did @carol say about the ferry?")
    assert nobody.abstained
