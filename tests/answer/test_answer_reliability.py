"""How far a source is believed: defaults by kind, set by the operator, and what it decides."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from gnomon.answer import reliability
from gnomon.answer.base import Question
from gnomon.answer.plan import plan
from gnomon.answer.retrieve import retrieve
from gnomon.types import KINDS, RELIABILITY, Document, Passage, SourceState

Town = Any
FIRE = "How many people did the fire in Tallow Street force out?"


def believe(town: Town, **sources: float) -> None:
    town.states = [
        SourceState(name=name, type="feed", state="polling", reliability=value)
        for name, value in sources.items()
    ]


def passage(kind: str, **fields: Any) -> Passage:
    document = Document(key="k", source="herald", kind=kind, text="Words.")
    return Passage(document=document, start=0, end=6, text="Words.", **fields)


def test_every_kind_has_a_default_and_what_anybody_may_write_is_below_the_line() -> None:
    assert set(RELIABILITY) == set(KINDS)
    below = {k for k, v in RELIABILITY.items() if v < reliability.RELIABLE_FROM}
    assert below == {"post", "comment", "edit"}


@pytest.mark.parametrize(
    ("found", "trusted"),
    [
        (passage("article"), True),
        (passage("post"), False),
        (passage("post", copies=2), True),
        (passage("post", reliability=0.8), True),
        (passage("article", reliability=0.2), False),
        (passage("something new"), True),
    ],
)
def test_who_may_replace_or_dispute(found: Passage, trusted: bool) -> None:
    assert reliability.trusted(found) is trusted


def test_only_what_was_set_down_or_tells_of_an_edit_loses_likelihood() -> None:
    assert reliability.left(passage("edit")) < 0.7
    assert reliability.left(passage("post")) == 1.0
    assert reliability.left(passage("article", reliability=1.0)) == 1.0
    assert reliability.left(passage("article", reliability=0.0)) == 0.5
    assert 0.5 < reliability.left(passage("article", reliability=0.3)) < 1.0


async def test_a_source_that_is_not_believed_disputes_nothing(empty_town: Town) -> None:
    empty_town.put(
        1, "The fire in Tallow Street forced 45 people from their homes, the radio reports.",
        source="radio",
    )  # fmt: skip
    empty_town.put(2, "The fire in Tallow Street forced 31 people from their homes.")
    assert (await empty_town.ask(FIRE)).disagreements
    believe(empty_town, radio=0.2)
    answer = await empty_town.ask(FIRE)
    assert not answer.disagreements
    assert "31 people" in answer.sentences[0].text


async def test_posts_of_a_source_that_is_believed_dispute(empty_town: Town) -> None:
    empty_town.put(1, "The fire in Tallow Street forced 31 people from their homes.")
    empty_town.put(
        2, "The fire in Tallow Street forced 45 people from their homes.", source="brigade",
        kind="post",
    )  # fmt: skip
    assert not (await empty_town.ask(FIRE)).disagreements
    believe(empty_town, brigade=0.9)
    assert (await empty_town.ask(FIRE)).disagreements


async def test_the_believed_source_stands_higher(empty_town: Town) -> None:
    empty_town.put(1, "A fire in Tallow Street forced people out of their homes at night.")
    empty_town.put(1, "People forced out: Tallow Street saw a fire, and many left.", source="radio")
    question = Question(text=FIRE)
    asked = plan(question, empty_town.clock.now())

    def order(**chosen: float) -> list[str]:
        found = retrieve(
            question, asked, record=empty_town.record, index=empty_town.index, limit=5,
            believed=chosen,
        )  # fmt: skip
        return [p.document.source for p in found.passages]

    assert order(herald=0.9, radio=0.1)[0] == "herald"
    assert order(herald=0.1, radio=0.9)[0] == "radio"


def test_a_passage_keeps_what_was_set() -> None:
    found = structs.replace(passage("post"), reliability=0.4)
    assert reliability.prior(found) == 0.4
    assert reliability.prior(passage("post")) == RELIABILITY["post"]
