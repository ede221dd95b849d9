"""What rules say of sentences that are like a question and do not answer it; the newest state."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from gnomon.answer.base import Plan, Question
from gnomon.answer.bearing import announces, bears, measured, stood_for
from gnomon.answer.judgement import type_present
from gnomon.answer.plan import plan
from gnomon.answer.words import stem, stems

Town = Any
NOW = datetime(2026, 5, 4, 18, tzinfo=UTC)


def understood(text: str) -> Plan:
    return plan(Question(text=text), NOW)


@pytest.mark.parametrize(
    ("question", "sentence", "only_announces"),
    [
        ("How did the council vote on the tram?", "The council will vote on it soon.", True),
        ("What was the result of the vote?", "The vote is to take place next week.", True),
        ("How did the council vote?", "The council voted 9 to 4 and will meet again.", False),
        ("When will the council vote?", "The council will vote on Friday.", False),
        ("Is the bridge open?", "The bridge will open soon.", False),
    ],
)
def test_an_announcement_is_no_outcome(question: str, sentence: str, only_announces: bool) -> None:
    assert announces(understood(question), sentence) is only_announces


@pytest.mark.parametrize(
    ("question", "sentence", "fits"),
    [
        ("Who is the head of the museum?", "Ann Lee steps down at the museum today.", False),
        ("Who is the head of the museum?", "Ann Lee succeeds Bo Ek, who steps down.", True),
        ("Who is the deputy mayor?", "Ann Lee is the mayor.", False),
        ("Who is the deputy mayor?", "Ann Lee is the deputy mayor.", True),
        ("Can I drive through Mill Lane?", "A choir sang in Mill Lane.", False),
        ("Can I drive through Mill Lane?", "Mill Lane is passable again.", True),
        ("Can I drive through Mill Lane?", "There is no way through Mill Lane.", True),
    ],
)
def test_what_is_asked_of_must_be_spoken_of(question: str, sentence: str, fits: bool) -> None:
    found = stems(sentence)
    assert (bears(understood(question), sentence, found, found) == 1.0) is fits


def test_opposites_and_changes_answer_for_a_state() -> None:
    for said in ("It is closed.", "It can be crossed again."):
        assert stood_for(("open", "bridg"), said, stems(said)) == {"open"}
    assert not stood_for(("open", "bridg"), "It is red.", stems("It is red."))


def test_units_answer_for_quantities() -> None:
    assert measured((stem("temperature"),), "At the mole: 7 degrees.") == {stem("temperature")}
    assert not measured((stem("temperature"),), "At the mole: 7 boats.")


def test_people_are_not_counted_in_money() -> None:
    question = "How many people buy a ticket?"
    assert type_present("number", question, "A ticket costs 14 crowns.") == 0.0
    assert type_present("number", question, "A ticket was bought by 14 people.") == 1.0


def test_base_forms_have_the_stem_of_their_inflections() -> None:
    for base, inflected in (("close", "closed"), ("arrive", "arrival"), ("leave", "left")):
        assert stem(base) == stem(inflected)


async def test_the_newest_state_is_found_among_many_old_ones(empty_town: Town) -> None:
    """Its words are not the question's, and older ones say more of those."""
    for i in range(30):
        empty_town.put(
            i / 10,
            f"Mill Lane is blocked, because of crane {i}.",
            "Mill Lane blocked",
            key=f"feed:{i}",
        )
    empty_town.put(8, "You can use Mill Lane again, the way is free.", "Traffic", key="feed:free")
    for question in ("Is Mill Lane blocked?", "Can I drive through Mill Lane right now?"):
        answer = await empty_town.ask(question)
        assert answer.sentences, question
        assert "the way is free" in answer.sentences[0].text


async def test_another_name_does_not_answer(empty_town: Town) -> None:
    empty_town.put(1, "The Rovers beat Easter Holm 4-1, watched by 895 people.", "Rovers win")
    empty_town.put(2, "Rovers and Brannock Town end 3-2, before 750 people.", "Rovers again")
    answer = await empty_town.ask("How many people watched the Rovers against Brannock Town?")
    assert "750" in answer.text
    assert "895" not in answer.text


async def test_an_announced_vote_has_no_result(empty_town: Town) -> None:
    empty_town.put(1, "The council will vote on the cable car within two days.", "Cable car")
    assert (await empty_town.ask("How did the council vote on the cable car?")).abstained
