"""What a question in a conversation takes over from the ones before."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.answer.base import Plan, Question, Turn
from gnomon.answer.plan import plan

NOW = datetime(2026, 5, 4, 18, tzinfo=UTC)
BRIDGE = ("Is the Mill Bridge open?", "The Mill Bridge is closed to all traffic. [1]")
CLOSED = ("Why was it closed?", "A bearing of the Mill Bridge had cracked. [1]")
MAYOR = ("Who is the mayor?", "Then Rosalind Penhallick, mayor since noon, shook hands. [1]")
MATCH = ("Who won the match?", "The Rovers beat Dunmarrow Athletic 2-1. [1]")
SCORE = ("What was the score?", "The Rovers beat Dunmarrow Athletic 2-1. [1]")
NOTHING = ("Who scored?", "")


def after(text: str, *before: tuple[str, str]) -> Plan:
    history = tuple(Turn(question=q, answer=a) for q, a in before)
    return plan(Question(text=text, history=history), NOW)


@pytest.mark.parametrize(
    ("text", "before", "terms"),
    [
        ("Since when?", [BRIDGE, CLOSED], {"close", "mill", "bridg"}),
        ("Tell me more", [BRIDGE, CLOSED], {"close", "mill", "bridg"}),
        ("And yesterday?", [BRIDGE], {"mill", "bridg", "open"}),
        ("Can I drive over it?", [BRIDGE], {"driv", "mill", "bridg", "open"}),
        ("What about the ferry?", [BRIDGE], {"ferry"}),
        ("How old is she?", [MAYOR], {"rosalind", "penhallick"}),
        ("Where was he born?", [MAYOR, ("And why?", "Verity Ormesby said so. [1]")],
         {"born", "rosalind", "penhallick"}),
        ("Tell me more about it", [MATCH, ("How many watched?", "2,972 are at the match. [1]")],
         {"watch", "win", "match"}),
        ("What does she say about the bridge?", [MAYOR], {"bridg", "rosalind", "penhallick"}),
        ("How many people watched?", [MATCH, SCORE, NOTHING],
         {"person", "watch", "scor", "win", "match"}),
        ("Is that true?", [MATCH], {"rover", "beat", "dunmarrow", "athletic", "2"}),
        # A new matter ends the old one, thanks are none.
        ("Since when?", [BRIDGE, MAYOR], {"mayor"}),
        ("Since when?", [BRIDGE, ("Thanks!", "You are welcome.")], {"mill", "bridg", "open"}),
        ("Why was the harbour station on Fernhill closed?", [BRIDGE],
         {"harbour", "station", "fernhill", "close"}),
        ("What happened in town today?", [BRIDGE], set()),
        ("Thanks!", [BRIDGE], {"thank"}),
    ],
)  # fmt: skip
def test_what_is_taken_over(text: str, before: list[tuple[str, str]], terms: set[str]) -> None:
    taken = set(after(text, *before).terms)

    assert taken - {"1"} == terms


def test_the_form_is_taken_over_with_and() -> None:
    assert after("What about the ferry?", BRIDGE).state
    assert after("And yesterday?", MAYOR).expects == "person"
    assert after("And why?", BRIDGE).expects == "reason"


def test_only_what_may_stand_alone_is_tried_alone() -> None:
    assert after("Who is the mayor?", BRIDGE).leans
    assert not after("Since when?", BRIDGE).leans
    assert not after("Who is the mayor?").leans


@given(st.lists(st.tuples(st.text(max_size=40), st.text(max_size=40)), max_size=8), st.text())
def test_any_conversation_is_read(before: list[tuple[str, str]], text: str) -> None:
    asked = after(f"And {text[:60]} a?", *before)

    assert len(asked.terms) <= 80


async def test_a_new_matter_in_a_conversation_is_answered_by_itself(town: Any) -> None:
    first = await town.ask("Is the harbour bridge open?")
    history = (Turn(question=first.question, answer=first.text),)
    found = await town.ask(Question(text="How many lanterns?", history=history))

    assert "1,200 lanterns" in found.sentences[0].text
    assert not any("follow-up" in note for note in found.notes)
    why = await town.ask(Question(text="Why was it closed?", history=history))
    assert "lorry" in why.text and any("follow-up" in note for note in why.notes)


async def test_words_to_gnomon_itself_lean_on_nothing(town: Any) -> None:
    history = (Turn(question="Is the harbour bridge open?", answer="It is open again. [1]"),)
    found = await town.ask(Question(text="Thanks!", history=history))

    assert found.citations[0].source == "gnomon" and found.notes == ()
