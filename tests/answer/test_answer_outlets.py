"""Sources that a question calls by name answer it, and no others."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.answer.base import Question
from gnomon.answer.outlets import asked_of
from gnomon.types import SourceState

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
FOLLOWED = {
    "herald": ("feed", "The Oldgate Herald"),
    "bbc": ("feed", "BBC News"),
    "bbc-world": ("feed", "BBC News: World"),
    "nature": ("feed", "Nature"),
    "monde": ("feed", "Le Monde"),
    "bote": ("feed", "Nord-Bote"),
    "faro": ("feed", "El Faro de Averel"),
    "f24": ("feed", "France 24 (English)"),
    "toots": ("mastodon", "Oldgate’s own server"),
    "x-town": ("x", "X: oldgate"),
}
STATES = tuple(SourceState(name=n, type=t, title=title) for n, (t, title) in FOLLOWED.items())


@pytest.mark.parametrize(
    ("text", "sources", "left"),
    [
        ("What does the BBC say about the strike?", ("bbc", "bbc-world"), "What about the strike?"),
        ("According to the Herald, who won?", ("herald",), "who won?"),
        ("Any news from the Oldgate Herald?", ("herald",), "Any news?"),
        ("What are the herald’s latest headlines?", ("herald",), "What are the latest news?"),
        ("What is new on mastodon?", ("toots",), "What is new?"),
        ("What do people say on X about the ferry?", ("x-town",),
         "What do people say about the ferry?"),
        ("What did Nature publish about bees?", ("nature",), "What about bees?"),
        ("Was schreibt der Bote über die Wahl?", ("bote",), "über die Wahl?"),
        ("Que dit Le Monde de la grève ?", ("monde",), "de la grève?"),
        ("¿Qué dice El Faro?", ("faro",), "What is the latest news?"),
    ],
)  # fmt: skip
def test_who_tells_becomes_a_filter(text: str, sources: tuple[str, ...], left: str) -> None:
    found = asked_of(Question(text=text), STATES)

    assert (found.sources, found.text) == (sources, left)


@pytest.mark.parametrize(
    "text",
    [
        "Who owns the Herald?",
        "Is the BBC in trouble?",
        "Is plastic found in nature?",
        "Why did the Herald report on the bridge?",
        "What is x in 3 x = 9, and what happens on x?",
        "What happened in France 24 years ago?",
        "Dans le monde, quoi de neuf ?",
        "What does CNN say?",
    ],
)
def test_a_question_about_a_source_is_asked_of_all(text: str) -> None:
    question = Question(text=text)

    assert asked_of(question, STATES) is question


def test_chosen_sources_stand() -> None:
    question = Question(text="Any news from the Herald?", sources=("bbc",))

    assert asked_of(question, STATES) is question


@given(st.text(max_size=60), st.text(max_size=30))
def test_any_title_and_any_words_do(text: str, title: str) -> None:
    state = SourceState(name="one", type="feed", title=title)
    found = asked_of(Question(text=f"What does {title} say about {text}?"), (state,))

    assert found.sources in ((), ("one",)) and any(c.isalnum() for c in found.text)


async def test_only_the_paper_that_is_called_is_quoted(empty_town: Any) -> None:
    empty_town.put(1, "The ferry sails again at noon.", "Ferry", key="a", source="herald")
    empty_town.put(2, "The ferry stays in port all day.", "Ferry", key="b", source="radio")
    empty_town.states = (
        SourceState(name="herald", type="feed", title="The Oldgate Herald", state="live"),
        SourceState(name="radio", type="feed", title="Radio Oldgate", state="live"),
    )

    answer = await empty_town.ask("What does the Herald say about the ferry?")
    assert {c.source for c in answer.citations} == {"herald"}
    assert any("herald" in note for note in answer.notes)

    answer = await empty_town.ask("What does Radio Oldgate report?")
    assert {c.source for c in answer.citations} == {"radio"}
