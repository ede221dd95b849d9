"""What stands further down an item, what only stands beside, and who wrote last."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from gnomon.answer.base import Plan, Question
from gnomon.answer.bearing import comes, deed, stood_for
from gnomon.answer.extractive import ExtractiveWriter
from gnomon.answer.judgement import type_present
from gnomon.answer.plan import plan
from gnomon.answer.words import words
from gnomon.clock import ManualClock
from gnomon.types import Document, Passage

NOW = datetime(2026, 5, 4, 18, tzinfo=UTC)


def asked(text: str) -> Plan:
    return plan(Question(text=text), NOW)


def item(text: str, *, hours_ago: float = 1, source: str = "herald") -> Passage:
    """A whole article of a known paper."""
    moment = NOW - timedelta(hours=hours_ago)
    document = Document(
        key=f"{source}:{hours_ago}", source=source, kind="article", text=text,
        published_at=moment, observed_at=moment,
    )  # fmt: skip
    return Passage(
        document=document, start=0, end=len(text), text=text, score=1.0, origin=document.key
    )


@pytest.fixture
def writer() -> ExtractiveWriter:
    return ExtractiveWriter(clock=ManualClock(NOW))


def test_the_first_sentence_of_a_short_item_speaks_for_the_last(writer: ExtractiveWriter) -> None:
    facts = "The roof will be renewed. It leaked for two winters. Pupils are taught in the hall."
    named = item(f"Scaffolding goes up at Northgate School. {facts}")
    other = item(f"Scaffolding goes up at Weir School. {facts}", source="gazette")

    ranked = writer.rank(asked("Where are pupils of Northgate School taught?"), [other, named])

    assert (ranked[0].passage, ranked[0].text) == (1, "Pupils are taught in the hall.")


def test_what_only_stands_beside_an_answer_is_left_out(
    writer: ExtractiveWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gnomon.answer.extractive.likelihood", lambda signals, model: 0.8)
    passage = item("The storm warning is red now. Ada shook her head. It was raised at nine.")
    question = "Which storm warning level applies?"

    drafts = writer.choose(Question(text=question), asked(question), [passage])

    assert [draft.text for draft in drafts] == [
        "The storm warning is red now.",
        "Ada shook her head. It was raised at nine.",
    ]


@pytest.mark.parametrize(("earlier_h", "first"), [(9, "Hillside"), (1.5, "museum")])
def test_of_equally_likely_reports_the_latest_leads_unless_both_are_of_one_hour(
    writer: ExtractiveWriter,
    monkeypatch: pytest.MonkeyPatch,
    earlier_h: float,
    first: str,
) -> None:
    likely: Callable[..., float] = lambda signals, model: 0.8  # noqa: E731
    monkeypatch.setattr("gnomon.answer.extractive.likelihood", likely)
    museum = item("The bronze heron is in the museum.", hours_ago=earlier_h)
    garden = item("The bronze heron is in a Hillside garden.", hours_ago=1, source="gazette")

    ranked = writer.rank(asked("Where did the bronze heron turn up?"), [museum, garden])

    assert first in ranked[0].text


@pytest.mark.parametrize(
    ("sentence", "place"),
    [
        ("The pupils are taught in the old customs house.", 0.8),
        ("The pupils are taught by their parents.", 0.0),
        ("The pupils of the school are taught in the school.", 0.0),
    ],
)
def test_a_place_needs_no_name_of_its_own(sentence: str, place: float) -> None:
    question = "Where are the pupils of the school taught?"
    assert type_present("place", question, sentence) == place


@pytest.mark.parametrize(
    ("sentence", "person"),
    [
        ("The referee was Ada Ferrow.", 1.0),
        ("Jean-Luc blew the whistle.", 1.0),
        ("Half-time: the Women against Lower Tarn reads 1-0.", 0.0),
        ("Das Spiel der Women gegen Lower Tarn endete 3:2.", 0.0),
        ("Das Spiel gegen Lower Tarn leitete Ada Ferrow.", 1.0),
    ],
)
def test_a_capital_alone_makes_no_person(sentence: str, person: float) -> None:
    question = "Who refereed the match of the Women against Lower Tarn?"
    assert type_present("person", question, sentence) == person


@pytest.mark.parametrize(
    ("sentence", "announces"),
    [
        ("The council takes its vote on the cobbles this week.", True),
        ("The council voted on the cobbles this week.", False),
    ],
)
def test_what_is_to_be_this_week_is_no_result(sentence: str, announces: bool) -> None:
    assert comes(sentence) is announces


@pytest.mark.parametrize(
    ("term", "sentence", "told"),
    [
        ("finish", "The railing is due on 3 December.", True),
        ("finish", "The road is clear again.", False),
        ("open", "The road is clear again.", True),
        ("open", "Die Brücke ist gesperrt.", True),
        ("lead", "Meanwhile Ada Ferrow is in charge.", True),
        ("lead", "Ada Ferrow opened the fair.", False),
    ],
)
def test_a_state_is_told_in_several_words(term: str, sentence: str, told: bool) -> None:
    held = frozenset(w.stem for w in words(sentence))
    assert (term in stood_for([term], sentence, held)) is told


@pytest.mark.parametrize(
    ("text", "kind", "left_out"),
    [
        ("In which year will the tram start running?", "time", "year"),
        ("What sum has the appeal reached?", "number", "sum"),
        ("An welchem Tag öffnet die Brücke?", "text", "tag"),
    ],
)
def test_the_word_for_the_kind_of_answer_is_not_looked_for(
    text: str, kind: str, left_out: str
) -> None:
    assert asked(text).expects == kind
    assert left_out not in asked(text).terms
    assert asked(text).terms


def test_a_question_of_nothing_but_a_kind_keeps_it() -> None:
    assert asked("What year?").terms == ("year",)


@pytest.mark.parametrize(
    ("question", "verb"),
    [
        ("Who refereed the match?", "refereed"),
        ("Which builder was hired for the roundabout?", "hired"),
        ("Who is the mayor now?", ""),
        ("What happened at the harbour?", ""),
    ],
)
def test_what_somebody_is_asked_to_have_done(question: str, verb: str) -> None:
    assert deed(asked(question)) == verb


def test_who_only_stands_near_is_no_answer_to_who_did_it(writer: ExtractiveWriter) -> None:
    question = asked("Which builder was hired for the Ropewalk Road roundabout?")
    near = "Abel Edgewater on Ropewalk Road welcomed the roundabout."
    told = "The builder Ivo Kelp was hired for the roundabout."
    without, with_it = (
        next(c.likelihood for c in writer.rank(question, [item(text)]) if "Abel" in c.text)
        for text in (near, f"{near} {told}")
    )
    assert without < with_it
