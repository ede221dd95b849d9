"""What a question takes for granted is named where the evidence does not bear it out."""

from __future__ import annotations

from typing import Any

import pytest

Town = Any
WHY = "Why did the harbour master resign?"


async def test_what_nothing_says_is_named_and_not_explained(empty_town: Town) -> None:
    empty_town.put(1, "The harbour master closed the east mole because of rotten planks.", "Mole")
    answer = await empty_town.ask(WHY)
    assert answer.abstained
    named = "The question takes for granted “the harbour master resign”"
    assert f"{named}: nothing that was found says so." in answer.notes


@pytest.mark.parametrize(
    "contrary",
    [
        "The harbour master has not resigned, the town hall said.",
        "The harbour master denied a report that he would resign.",
    ],
)
async def test_what_is_denied_is_answered_by_the_denial(empty_town: Town, contrary: str) -> None:
    empty_town.put(1, f"{contrary} The mole is open because the wind has dropped.", "Harbour")
    answer = await empty_town.ask(WHY)
    assert answer.sentences[0].text == contrary
    assert any("says otherwise" in n for n in answer.notes)


async def test_an_opposite_state_contradicts(empty_town: Town) -> None:
    empty_town.put(1, "The Mill Bridge is open to all traffic.", "Mill Bridge")
    answer = await empty_town.ask("Why is the Mill Bridge closed?")
    assert "open to all traffic" in answer.text
    assert any("takes for granted “the Mill Bridge closed”" in n for n in answer.notes)


@pytest.mark.parametrize(
    ("question", "evidence"),
    [
        (WHY, "The harbour master resigned because of the rotten planks."),
        (WHY, "The harbour master has announced his resignation after the row about the planks."),
        ("Why is the Mill Bridge closed?", "The Mill Bridge is shut because of a lorry."),
        ("Why did the council close the Mill Bridge early today?",
         "The council closed the Mill Bridge because of a lorry."),
    ],
)  # fmt: skip
async def test_a_true_premise_is_not_named(empty_town: Town, question: str, evidence: str) -> None:
    empty_town.put(1, evidence, "Town news")
    answer = await empty_town.ask(question)
    assert not any("takes for granted" in n for n in answer.notes)
    assert answer.sentences[0].text == evidence


async def test_about_what_nothing_speaks_of_nothing_is_said(town: Town) -> None:
    answer = await town.ask("Why did the emperor abdicate?")
    assert answer.abstained
    assert not any("takes for granted" in n for n in answer.notes)


async def test_a_place_in_a_row_that_nothing_tells_is_named(empty_town: Town) -> None:
    empty_town.put(1, "The third harbour festival began on Friday with a regatta.", "Festival")
    answer = await empty_town.ask("When did the fifth harbour festival begin?")
    assert answer.abstained
    assert any("takes for granted “fifth harbour”" in n for n in answer.notes)


@pytest.mark.parametrize("told", ["The third", "The 3rd"])
async def test_a_place_in_a_row_that_is_told_is_no_premise(empty_town: Town, told: str) -> None:
    empty_town.put(1, f"{told} harbour festival began on Friday with a regatta.", "Festival")
    answer = await empty_town.ask("When did the third harbour festival begin?")
    assert not any("takes for granted" in n for n in answer.notes)


async def test_what_one_did_to_another_is_named_where_nothing_tells_it(empty_town: Town) -> None:
    empty_town.put(1, "Anna Lund sailed the Petrel to Oslo on Monday.", "Anna Lund")
    answer = await empty_town.ask("When did Anna Lund sell the Petrel to Karl Vik?")
    assert answer.abstained
    assert any("takes for granted “Anna Lund sell the Petrel" in n for n in answer.notes)


async def test_what_one_did_to_another_is_no_premise_where_it_is_told(empty_town: Town) -> None:
    empty_town.put(1, "Anna Lund sold the Petrel to Karl Vik on Monday.", "Anna Lund")
    answer = await empty_town.ask("When did Anna Lund sell the Petrel to Karl Vik?")
    assert not any("takes for granted" in n for n in answer.notes)
