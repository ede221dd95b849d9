"""Words to Gnomon itself are answered by what it says of itself, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest

from gnomon.answer.base import Question
from gnomon.types import SourceState


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("hi", "Hello"),
        ("Hello there!", "Hello"),
        ("Thanks!", "welcome"),
        ("Who are you?", "self-hosted AI"),
        ("What’s Gnomon?", "self-hosted AI"),
        ("What can you do?", "Ask me"),
        ("What time is it?", "It is 18:00 UTC, 2026-05-04."),
        (
            "Which sources do you follow?",
            "I follow 2 sources: The Herald, radio; silent now: radio.",
        ),
        ("Guten Morgen", "Hallo"),
        ("Qui es-tu ?", "Je suis Gnomon"),
        ("¿Quién eres?", "Soy Gnomon"),
    ],
)
async def test_words_to_gnomon_itself(town: Any, text: str, says: str) -> None:
    town.states = [
        SourceState(name="herald", type="feed", title="The Herald", state="polling"),
        SourceState(name="radio", type="feed", state="failed"),
    ]
    answer = await town.ask(text)
    (sentence,) = answer.sentences
    assert says in sentence.text
    assert sentence.verdict.kind == "supported" and sentence.citations == (1,)
    assert answer.citations[0].source == "gnomon"


@pytest.mark.parametrize(
    "text",
    [
        "Who are you going to vote for in Tallin?",
        "What time is the vote?",
        "Say thanks to the harbour master",
        "What sources does the report cite?",
    ],
)
async def test_questions_about_the_world_are_not_taken_for_those(town: Any, text: str) -> None:
    answer = await town.ask(text)
    assert all(c.source != "gnomon" for c in answer.citations)


async def test_two_questions_to_it_are_answered_both(town: Any) -> None:
    answer = await town.ask("Hello! Who are you and what can you do?")
    assert [s.text.split()[0] for s in answer.sentences] == ["Hello", "I", "Ask"]
    assert answer.sentences[0].verdict.kind == "supported"


async def test_it_speaks_as_of_a_moment(town: Any) -> None:
    answer = await town.ask(
        Question(text="What time is it?", as_of=town.clock.now().replace(hour=9))
    )
    assert answer.sentences[0].text == "It is 09:00 UTC, 2026-05-04."
