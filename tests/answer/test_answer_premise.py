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
