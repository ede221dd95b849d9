"""Near misses: the right topic without the thing that is asked for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from gnomon.answer.absent import came_out, told, wanted
from gnomon.answer.base import Plan, Question
from gnomon.answer.extractive import ExtractiveWriter
from gnomon.answer.judgement import type_present
from gnomon.answer.plan import plan
from gnomon.answer.words import stems
from gnomon.clock import ManualClock
from gnomon.types import Document, Passage

NOW = datetime(2026, 5, 4, 18, tzinfo=UTC)


def asked(text: str) -> Plan:
    return plan(Question(text=text), NOW)


def answers(question: str, *texts: str) -> list[str]:
    moment = NOW - timedelta(hours=2)
    passages = []
    for i, text in enumerate(texts):
        document = Document(
            key=f"herald:{i}", source="herald", kind="article", text=text,
            published_at=moment, observed_at=moment,
        )  # fmt: skip
        passages.append(
            Passage(
                document=document, start=0, end=len(text), text=text, score=1.0,
                origin=document.key,
            )
        )  # fmt: skip
    writer = ExtractiveWriter(clock=ManualClock(NOW))
    return [d.text for d in writer.choose(Question(text=question), asked(question), passages)]


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("What dividend will Acme pay?", ("dividend",)),
        ("Which builder was hired for the hall?", ("hired",)),
        ("How many trees did the storm bring down?", ("trees",)),
        ("What is the name of the cub's mother?", ("mother",)),
        # A count of people is told by its number, whatever word stands behind it.
        ("How many people watched the match?", ()),
        ("Is the bridge open?", ()),
    ],
)
def test_what_an_answer_must_tell(question: str, words: tuple[str, ...]) -> None:
    assert wanted(asked(question)) == words


@pytest.mark.parametrize(
    ("word", "text", "is_told"),
    [
        ("dividend", "Acme made a profit of 4 million crowns.", False),
        ("dividend", "Acme pays a dividend of 3 crowns.", True),
        ("hired", "The firm Oakes was sacked.", True),  # the opposite answers as well
        ("trees", "The storm brought down 12 masts.", False),
    ],
)
def test_a_word_is_told_by_itself_or_by_what_it_means(word: str, text: str, is_told: bool) -> None:
    assert told(word, text, stems(text), None) is is_told


def test_nothing_is_said_of_a_dividend_by_telling_the_profit() -> None:
    profit = "Acme made a profit of 4 million crowns in the quarter."

    assert answers("What profit did Acme make in the quarter?", profit) == [profit]
    assert answers("What dividend will Acme pay for the quarter?", profit) == []


def test_an_opinion_before_the_vote_is_no_result() -> None:
    question = asked("What was the result of the vote on the dog tax?")

    assert not came_out(question, "The dog tax, about time.")
    assert came_out(question, "The council adopted the dog tax.")
    assert came_out(question, "Der Rat hat die Steuer abgelehnt.")
    assert came_out(asked("What is the dog tax?"), "The dog tax, about time.")


@pytest.mark.parametrize(
    ("question", "sentence", "present"),
    [
        # Who tells it has not done it.
        ("Who started the fire?", "The fire is out, said Ada Ferrow of the brigade.", 0.0),
        ("Who started the fire?", "HARBOUR (cd) – The fire is out.", 0.0),
        ("Who said that the fire is out?", "The fire is out, said Ada Ferrow.", 1.0),
        ("Who started the fire?", "Ada Ferrow started it, said the brigade.", 1.0),
        ("Wer hat das Feuer gelegt?", "Das Feuer ist aus, sagte Ada Ferrow.", 0.0),
        ("Who will open the hall?", "So far nobody has been invited.", 1.0),
    ],
)
def test_a_teller_is_no_doer(question: str, sentence: str, present: float) -> None:
    assert type_present("person", question, sentence) == present


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("What is the completion date of the roundabout?", "time"),
        ("What dividend will Acme pay?", "number"),
        ("What budget does the town have?", "number"),
    ],
)
def test_the_kind_of_answer_is_read_off_the_noun(text: str, kind: str) -> None:
    assert asked(text).expects == kind
