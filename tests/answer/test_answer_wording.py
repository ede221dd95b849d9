"""What only leads up to a question is not searched for; wishes for length are kept."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.answer.base import Question
from gnomon.answer.wording import plainly


@pytest.mark.parametrize(
    ("asked", "plain"),
    [
        ("Can you tell me who won the match?", "who won the match?"),
        (
            "Hello Gnomon, could you please tell me if you know who won, thanks!",
            "who won",
        ),
        ("Do you know whether the bridge is open?", "is the bridge open?"),
        ("can you tell me if the ferry sails today?", "does the ferry sails today?"),
        ("Please summarise what happened at the harbour.", "what happened at the harbour."),
        ("Give me a short summary of the storm", "the storm"),
        ("I'd like to know how many voted, please.", "how many voted"),
        ("What do you know about the Mill Bridge?", "the Mill Bridge?"),
        ("Any updates on the bridge?", "What is the latest on the bridge?"),
        ("What’s the weather like today?", "What's the weather today?"),
        ("Kannst du mir sagen, wer gewonnen hat?", "wer gewonnen hat?"),
        ("Fasse die Lage an der Brücke zusammen", "die Lage an der Brücke"),
        ("Pourriez-vous me dire qui a gagné, s'il vous plaît ?", "qui a gagné?"),
        ("¿Sabes quién ganó el partido?", "quién ganó el partido?"),
    ],
)
def test_what_leads_up_to_a_question_is_left_out(asked: str, plain: str) -> None:
    assert plainly(Question(text=asked)).text == plain


@pytest.mark.parametrize(
    "asked",
    [
        "Who will explain the tax?",
        "Can you swim in the harbour?",
        "What is a search engine for?",
        "Tell me more",
        "Tell me about it",
        "Explain",
        "Hello!",
        "Thanks",
        "Who said please?" * 400,
    ],
)
def test_words_that_ask_something_stand(asked: str) -> None:
    question = Question(text=asked)

    assert plainly(question) is question


@pytest.mark.parametrize(
    ("asked", "plain", "sentences"),
    [
        ("In one sentence, what happened to the bridge?", "what happened to the bridge?", 1),
        ("Who won the match, in two short sentences?", "Who won the match?", 2),
        ("Briefly: who won?", "who won?", 2),
        ("Who won, in 9 sentences?", "Who won?", 4),
    ],
)
def test_wishes_for_length_are_kept(asked: str, plain: str, sentences: int) -> None:
    found = plainly(Question(text=asked))

    assert (found.text, found.max_sentences) == (plain, sentences)


@given(st.text(max_size=200))
def test_something_is_left_to_ask(text: str) -> None:
    found = plainly(Question(text=text)).text

    assert found.strip() or not text.strip()


async def test_a_polite_question_gets_the_answer_of_a_plain_one(town: Any) -> None:
    plain = await town.ask("How many lanterns will be lit?")
    polite = await town.ask("Hi, could you please tell me how many lanterns will be lit?")

    assert [s.text for s in polite.sentences] == [s.text for s in plain.sentences]
    assert polite.question.startswith("Hi, could")
    one = await town.ask("In one sentence, what is said about the lanterns?")
    assert len(one.sentences) == 1
