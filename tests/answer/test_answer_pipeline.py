"""The whole way from a question to a checked answer, over a real record and index."""

from __future__ import annotations

from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gnomon.answer.base import Finished, Planned, Question, Retrieved, Written
from gnomon.answer.plan import plan
from gnomon.answer.remarks import needed
from gnomon.errors import ContentError, ModelError
from gnomon.models.base import ModelState
from gnomon.models.scripted import ScriptedGenerator
from gnomon.types import (
    Delete,
    Document,
    Freshness,
    Gap,
    Passage,
    Policy,
    Purge,
    SourceState,
    Upsert,
    VerdictKind,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Town = Any
BRIDGE = "Is the harbour bridge open?"
MOMENT = datetime(2026, 5, 4, 18, tzinfo=UTC)


def hours(town: Town, n: float) -> Any:
    from datetime import UTC, datetime, timedelta

    return datetime(2026, 5, 4, 8, tzinfo=UTC) + timedelta(hours=n)


async def test_events_come_in_order_and_carry_the_answer(town: Town) -> None:
    events = await town.events(BRIDGE)
    kinds = [type(e) for e in events]
    assert kinds[0] is Planned
    assert kinds[1] is Retrieved
    assert kinds[-1] is Finished
    assert set(kinds[2:-1]) == {Written}
    written = [e for e in events if isinstance(e, Written)]
    answer = events[-1].answer
    assert answer.sentences == tuple(w.sentence for w in written)
    assert answer.citations == tuple(c for w in written for c in w.citations)
    assert {"plan", "retrieve", "first_sentence", "write", "whole"} <= set(answer.timings_ms)


@pytest.mark.parametrize(
    ("asked_at", "words"),
    [(1, "open to all traffic"), (4, "closed at 11:00"), (9.5, "open again")],
)
async def test_the_same_question_at_another_moment_has_another_answer(
    town: Town, asked_at: float, words: str
) -> None:
    moment = hours(town, asked_at)
    answer = await town.ask(Question(text=BRIDGE, as_of=moment))
    assert words in answer.sentences[0].text
    assert answer.as_of == moment
    assert all(c.observed_at <= moment for c in answer.citations)
    assert answer.freshness.newest_at <= moment
    assert set(town.asked_as_of) == {moment}


async def test_a_moment_in_the_question_counts_like_a_set_one(town: Town) -> None:
    answer = await town.ask("Is the harbour bridge open, as of 12:30?")
    assert "closed at 11:00" in answer.text
    assert answer.as_of == hours(town, 4.5)


async def test_ages_are_counted_from_the_moment_asked_about(town: Town) -> None:
    answer = await town.ask(Question(text=BRIDGE, as_of=hours(town, 4)))
    assert answer.freshness.newest_age_s == 3_600
    assert answer.freshness.searched == 2


async def test_every_citation_is_the_text_at_its_place(town: Town) -> None:
    answer = await town.ask("How many lanterns will be lit?")
    assert "1,200 lanterns" in answer.text
    for c in answer.citations:
        found = town.record.version(c.key, c.version).document
        assert found.text[c.start : c.end] == c.quote
        assert found.seq == c.seq
    for sentence in answer.sentences:
        assert sentence.verdict.kind is VerdictKind.SUPPORTED
        assert set(sentence.citations) <= {c.number for c in answer.citations}
        assert sentence.citations


@pytest.mark.parametrize(
    "question",
    [
        "When does the library close?",
        "Who won the chess tournament in Oslo?",
        "How many people attended the regatta?",
        "Why did the headmaster resign?",
    ],
)
async def test_no_evidence_no_answer(town: Town, question: str) -> None:
    answer = await town.ask(question)
    assert answer.abstained
    assert not answer.sentences
    assert not answer.citations
    if answer.closest is not None:
        found = town.record.version(answer.closest.key, answer.closest.version).document
        assert found.text[answer.closest.start : answer.closest.end] == answer.closest.quote


async def test_an_empty_record_abstains(empty_town: Town) -> None:
    answer = await empty_town.ask(BRIDGE)
    assert answer.abstained
    assert answer.closest is None
    assert answer.freshness.newest_at is None


async def test_an_edit_answers_with_the_version_of_its_time(empty_town: Town) -> None:
    empty_town.put(1, "The ferry to Dunmarrow leaves at 9:30 daily.", key="feed:ferry")
    empty_town.put(5, "The ferry to Dunmarrow leaves at 10:45 daily.", key="feed:ferry")
    now = await empty_town.ask("When does the ferry to Dunmarrow leave?")
    then = await empty_town.ask(
        Question(text="When does the ferry to Dunmarrow leave?", as_of=hours(empty_town, 2))
    )
    assert "10:45" in now.text
    assert "9:30" not in now.text
    assert "9:30" in then.text
    assert [c.version for c in then.citations] == [1]


async def test_deleted_and_purged_words_are_not_quoted(empty_town: Town) -> None:
    empty_town.put(1, "The ferry to Dunmarrow leaves at 9:30 daily.", key="feed:ferry")
    empty_town.change(3, Delete(key="feed:ferry"))
    question = "When does the ferry to Dunmarrow leave?"
    assert (await empty_town.ask(question)).abstained
    before = Question(text=question, as_of=hours(empty_town, 2))
    assert not (await empty_town.ask(before)).abstained
    empty_town.change(4, Purge(key="feed:ferry", reason="erased"))
    assert (await empty_town.ask(before)).abstained


async def test_what_may_not_be_quoted_is_not(empty_town: Town) -> None:
    empty_town.put(1, "The ferry to Dunmarrow leaves at 9:30 daily.", policy=Policy(snippet=False))
    answer = await empty_town.ask("When does the ferry to Dunmarrow leave?")
    assert answer.abstained
    assert any("may not be quoted" in note for note in answer.notes)


async def test_a_lone_post_does_not_overrule_a_report(empty_town: Town) -> None:
    empty_town.put(1, "The harbour bridge is closed, police said on Monday.")
    empty_town.put(2, "I heard the harbour bridge is open.", kind="post", source="board")
    assert "closed" in (await empty_town.ask(BRIDGE)).sentences[0].text
    empty_town.put(3, "The harbour bridge is open, police said on Monday.")
    assert "is open, police" in (await empty_town.ask(BRIDGE)).sentences[0].text


async def test_a_denial_goes_before_the_rumour(empty_town: Town) -> None:
    empty_town.put(1, "Half the town believed that the hospital's emergency ward was to be shut.")
    empty_town.put(2, "The hospital's emergency ward stays open, says its director.")
    answer = await empty_town.ask("Will the hospital's emergency ward be shut?")
    assert "stays open" in answer.sentences[0].text


async def test_what_a_report_was_written_to_deny_is_hearsay(empty_town: Town) -> None:
    empty_town.put(
        1,
        "It was all over the noticeboard: Saint Ellory Hospital would close. "
        "The hospital is not closing, says its director.",
        title="Hospital denies closure rumour",
    )
    answer = await empty_town.ask("Is Saint Ellory Hospital going to close?")
    assert "not closing" in answer.sentences[0].text


async def test_what_only_stands_beside_the_answer_is_left_out(empty_town: Town) -> None:
    empty_town.put(
        1,
        "The Gull Island ferry is interrupted owing to a sick skipper. "
        "Delphine Drayfield, who lives nearby, spoke of the talk of the week.",
        title="Island ferry not running",
    )
    answer = await empty_town.ask("When does the ferry run today?")
    assert not any("Drayfield" in sentence.text for sentence in answer.sentences)


async def test_a_corrected_number_replaces_the_first(empty_town: Town) -> None:
    empty_town.put(1, "The fire in Tallow Street forced 45 people from their homes.")
    empty_town.put(
        4, "Correction: the fire in Tallow Street forced 31 people from their homes, not 45."
    )
    answer = await empty_town.ask("How many people did the fire in Tallow Street force out?")
    assert "31 people" in answer.sentences[0].text
    assert not any(s.text.endswith("forced 45 people from their homes.") for s in answer.sentences)


async def test_a_sentence_that_leans_on_another_brings_it_along(empty_town: Town) -> None:
    empty_town.put(
        1, "Ada Ferrow is the mayor of Quillhaven. She resigned on Friday over the tram."
    )
    answer = await empty_town.ask("Why did the mayor of Quillhaven resign?")
    assert answer.sentences[0].text.startswith("Ada Ferrow is the mayor")
    assert "over the tram" in answer.text


async def test_one_wire_copy_is_one_voice(empty_town: Town) -> None:
    text = "The ferry to Dunmarrow leaves at 9:30 daily, the harbour office said in its notice."
    for i, source in enumerate(("herald", "radio", "townhall")):
        empty_town.put(1 + i, text, key=f"{source}:1", source=source)
    answer = await empty_town.ask("When does the ferry to Dunmarrow leave?")
    assert len(answer.sentences) == 1
    assert answer.citations[0].copies == 3
    assert set(answer.citations[0].copy_sources) == {"herald", "radio", "townhall"}


async def test_a_question_about_nothing_in_particular_gets_the_newest(town: Town) -> None:
    answer = await town.ask("What happened today?")
    assert not answer.abstained
    assert answer.sentences[0].text == "The harbour bridge is open again."
    assert len({c.key for c in answer.citations}) == len(answer.citations)


async def test_a_follow_up_is_read_with_the_question_before(town: Town) -> None:
    first = await town.ask("Was the harbour bridge closed?")
    from gnomon.answer.base import Turn

    follow = Question(text="Why?", history=(Turn(question=first.question, answer=first.text),))
    answer = await town.ask(follow)
    assert "lorry overturned" in answer.text


async def test_filters_are_applied_and_told(town: Town) -> None:
    town.put(9.5, "The harbour bridge is open for cyclists only.", source="radio")
    answer = await town.ask(Question(text=BRIDGE, sources=("radio",)))
    assert {c.source for c in answer.citations} == {"radio"}
    assert any("Only this was searched: sources radio" in note for note in answer.notes)


async def test_nothing_from_today_is_said(town: Town) -> None:
    town.clock.set(hours(town, 58))
    answer = await town.ask("Is the harbour bridge open now?")
    assert any("Nothing from 2026-05-06" in note for note in answer.notes)
    assert any("2026-05-04" in note for note in answer.notes)


async def test_losses_in_the_time_asked_about_are_said(town: Town) -> None:
    town.change(8, Gap(reason="the relay forgot them", start=hours(town, 6), end=hours(town, 7)))
    answer = await town.ask(BRIDGE)
    assert any("the relay forgot them" in note for note in answer.notes)
    early = await town.ask(Question(text=BRIDGE, as_of=hours(town, 4)))
    assert not any("the relay forgot them" in note for note in early.notes)


async def test_silent_sources_are_named(town: Town) -> None:
    town.states = [
        SourceState(name="radio", type="feed", state="blocked", text="It refuses us."),
        SourceState(name="herald", type="feed", state="polling"),
        SourceState(name="relay", type="bluesky", state="live", last_seen_at=hours(town, 2)),
    ]
    answer = await town.ask(BRIDGE)
    assert [s.name for s in answer.freshness.silent] == ["radio", "relay"]


@pytest.mark.parametrize(
    ("state", "words"),
    [("loading", "still loading"), ("failed", "The weights are damaged.")],
)
async def test_a_model_that_is_late_or_broken_is_told(town: Town, state: Any, words: str) -> None:
    told = {"failed": "The weights are damaged."}
    states = [ModelState(name="m", role="generator", state=state, text=told.get(state, ""))]
    answer = await town.ask(BRIDGE, town.models(states=states))
    assert answer.writer == "extractive"
    assert any(n.startswith("Written by quoting") and words in n for n in answer.notes)


@pytest.mark.parametrize("state", ["off", "missing"])
async def test_quoting_by_choice_is_no_news(town: Town, state: Any) -> None:
    states = [ModelState(name="m", role="generator", state=state, text="It is not there.")]
    answer = await town.ask(BRIDGE, town.models(states=states))
    assert answer.writer == "extractive"
    assert not any("quoting" in n for n in answer.notes)


async def test_a_small_model_is_not_asked(town: Town) -> None:
    small = ScriptedGenerator(["The bridge is made of gold. [1]"], capable=False)
    answer = await town.ask(BRIDGE, town.models(generator=small))
    assert not small.requests
    assert not any("too small" in note for note in answer.notes)


async def test_extract_mode_never_asks_a_model(town: Town) -> None:
    model = ScriptedGenerator(["The bridge is made of gold. [1]"])
    answer = await town.ask(Question(text=BRIDGE, mode="extract"), town.models(generator=model))
    assert not model.requests
    assert answer.writer == "extractive"


async def test_silence_says_what_would_be_needed(town: Town) -> None:
    town.states = [SourceState(name="radio", type="feed", state="blocked", text="It refuses us.")]
    answer = await town.ask("Who won the chess tournament in Oslo?")
    assert answer.abstained
    assert any("follow a source" in n or "is needed" in n for n in answer.notes)
    assert any(n == "Silent sources might have told it: radio." for n in answer.notes)


def test_silence_names_the_words_that_nothing_speaks_of() -> None:
    asked = plan(Question(text="Who won the chess tournament in Oslo?"), MOMENT)
    text = "The tournament in Oslo begins on Friday."
    document = Document(key="k", source="s", kind="article", text=text, version=1, seq=1)
    passages = [Passage(document=document, start=0, end=len(text), text=text)]
    (note,) = needed(asked, passages, Freshness(searched=1))
    assert "“chess”" in note
    assert "“Oslo”" not in note


async def test_an_undated_page_is_neither_dropped_nor_new(empty_town: Town) -> None:
    empty_town.put(
        1, "The ferry to Dunmarrow leaves at 9:30 daily.", published_at=None, kind="page"
    )
    answer = await empty_town.ask("When does the ferry to Dunmarrow leave?")
    assert "9:30" in answer.text
    assert answer.freshness.newest_at is None
    assert any("[1] bears no date, first seen 2026-05-04 09:00 UTC" in n for n in answer.notes)


async def test_sources_that_a_filter_left_out_are_named(town: Town) -> None:
    town.put(9.5, "The harbour bridge is open for cyclists only.", source="radio")
    answer = await town.ask(Question(text=BRIDGE, sources=("radio",)))
    assert "Left out by that: herald." in answer.notes


class BrokenScorer:
    name = "broken"

    def score(self, query: str, passages: Sequence[str]) -> NDArray[np.float32]:
        raise ModelError("It broke.")


async def test_a_broken_scorer_does_not_break_the_answer(town: Town) -> None:
    answer = await town.ask(BRIDGE, town.models(scorer=BrokenScorer()))
    assert "open again" in answer.text


async def test_a_scorer_that_is_too_slow_is_left(town: Town) -> None:
    class Slow:
        name = "slow"
        calls = 0

        def score(self, query: str, passages: Sequence[str]) -> NDArray[np.float32]:
            self.calls += 1
            town.clock.advance(60)
            return np.full(len(passages), 0.5, np.float32)

    slow = Slow()
    answer = await town.ask(BRIDGE, town.models(scorer=slow))
    assert slow.calls == 1
    assert not answer.abstained


async def test_a_reader_who_goes_away_stops_the_work(town: Town) -> None:
    model = ScriptedGenerator(["The harbour bridge is open again. [1] More. [1] More. [1]"])
    answerer = town.answerer(town.models(generator=model))
    async with aclosing(answerer.answer(Question(text=BRIDGE))) as events:
        async for event in events:
            if isinstance(event, Written):
                break
    assert model.closed_early == 1


@pytest.mark.parametrize(
    ("text", "code"), [("", "question.empty"), ("a" * 9_999, "question.too_long")]
)
async def test_what_is_no_question_is_refused_before_anything_is_read(
    town: Town, text: str, code: str
) -> None:
    with pytest.raises(ContentError) as caught:
        await town.ask(text)
    assert caught.value.code == code
    assert not town.asked_as_of


async def test_documents_without_words_do_no_harm(empty_town: Town) -> None:
    for i, text in enumerate(("", "   ", "\x00", "🙂", "…")):
        document = Document(
            key=f"k{i}", source="herald", kind="post", text=text, title="bridge open"
        )
        empty_town.change(i, Upsert(document))
    answer = await empty_town.ask(BRIDGE)
    assert answer.abstained
