"""From a question to a checked answer: plan, retrieve, read, write, check. One screen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Protocol

import msgspec
from msgspec import structs

from gnomon.answer import context, events
from gnomon.answer.base import (
    AnswerEvent,
    Finished,
    Plan,
    Planned,
    Question,
    Retrieved,
    Writer,
)
from gnomon.answer.candidates import Candidate
from gnomon.answer.desk import Desk
from gnomon.answer.extractive import ANSWER_FROM, ExtractiveWriter
from gnomon.answer.followups import follow_ups
from gnomon.answer.generative import GenerativeWriter
from gnomon.answer.myself import of_itself
from gnomon.answer.named import narrowed_by_words
from gnomon.answer.outlets import asked_of
from gnomon.answer.overview import survey
from gnomon.answer.parts import apart, together
from gnomon.answer.plan import clean, plan
from gnomon.answer.premise import Naming, untrue
from gnomon.answer.rank import Likeness, time_of
from gnomon.answer.remarks import aged, freshness, is_silent, needed, remarks, undated, why_quoting
from gnomon.answer.reread import Reader
from gnomon.answer.retrieve import Evidence, citation, given, retrieve
from gnomon.answer.web import Looked, Web
from gnomon.answer.words import stems
from gnomon.clock import Clock, Ids
from gnomon.errors import ModelError
from gnomon.index.base import Index
from gnomon.log import get_logger
from gnomon.metrics import ANSWER_LATENCY
from gnomon.models.base import Embedder, Generator, ModelState, Reading, Scorer
from gnomon.record.base import Record
from gnomon.settings import Settings
from gnomon.types import Answer, Citation, Document, Freshness, SourceState

_BREAKING = 0.6
"""Weight of newness from which a question is about what happens now."""
_FRESH = timedelta(minutes=10)
"""So new is evidence about what happens now that the web need not be asked."""


class Models(Protocol):
    """The models that an answer may use; each may be missing."""

    def generator(self) -> Generator | None:
        """The language model, if one is ready."""
        ...

    def embedder(self) -> Embedder | None:
        """The sentence model, if ready."""
        ...

    def scorer(self) -> Scorer | None:
        """The passage scorer, if ready."""
        ...

    def states(self) -> Sequence[ModelState]:
        """How each model stands."""
        ...


class Answerer:
    """Answers questions from the record, as of any moment, every sentence checked."""

    def __init__(
        self,
        record: Record,
        index: Index,
        models: Models,
        clock: Clock,
        ids: Ids,
        settings: Settings,
        source_states: Callable[[datetime | None], Sequence[SourceState]],
        *,
        web: Web | None = None,
        shown: Callable[[Answer], object] = lambda answer: None,
    ) -> None:
        """`source_states` tells how every source stood at a moment; None is now. Without `web`
        answers rest on the record alone. `shown` is told of every answer that is given."""
        self._record = record
        self._index = index
        self._models = models
        self._clock = clock
        self._ids = ids
        self._settings = settings.answer
        self._source_states = source_states
        self._reader = Reader(clock)
        self._web = web if settings.answer.web_search == "auto" else None
        self._shown = shown
        self._log = get_logger()

    async def answer(self, question: Question) -> AsyncIterator[AnswerEvent]:
        """Planned, Retrieved, Written…, Finished. Closing the iterator cancels the work.

        Retrieved comes once more if pages were opened on the web, or for the next of several
        questions in one.

        Raises ContentError for an empty or overlong question, StoreError for a damaged record.
        A model that fails does not fail the answer: it goes on by quoting, and says so.
        """
        parts = apart(question)
        whole = len(parts) > 1
        if whole:  # What follows on several answers at once is anybody's guess.
            parts = tuple(structs.replace(part, follow_ups=False) for part in parts)
        steps = together(question, parts, self._one) if whole else self._one(parts[0])
        async with aclosing(steps) as events:  # type: ignore[type-var]
            async for event in events:
                if isinstance(event, Finished):
                    event = Finished(answer=structs.replace(event.answer, question=question.text))
                    self._shown(event.answer)
                yield event

    async def _one(self, question: Question) -> AsyncIterator[AnswerEvent]:
        """The same for a single question, its filters told by itself alone."""
        laps = _Laps(self._clock)
        now = self._clock.now()
        clean(question.text)  # what is no question is refused before anything is read
        question, asked = await asyncio.to_thread(self._understood, question, now)
        laps.mark("plan")
        yield Planned(plan=asked)

        evidence, fresh = await asyncio.to_thread(self._read, question, asked, now)
        if asked.leans:
            alone = structs.replace(question, history=())
            own = await asyncio.to_thread(self._plan, alone, now)
            if not await asyncio.to_thread(self._goes_on, asked, own, evidence):
                found, newest = await asyncio.to_thread(self._read, alone, own, now)
                if await asyncio.to_thread(self._likely, own, found):
                    question, asked, evidence, fresh = alone, own, found, newest
        itself = evidence.surveyed and asked.overview is None
        asked = structs.replace(
            asked, overview=(asked.overview or ()) if evidence.surveyed else None
        )
        laps.mark("retrieve")
        yield Retrieved(
            citations=_candidates(evidence), freshness=fresh, took_ms=laps.took_ms["retrieve"]
        )

        looked = Looked()
        if await asyncio.to_thread(self._lacks, question, asked, evidence, now):
            looked = await self._look(question, asked, evidence)
            laps.mark("web")
        if looked.documents:
            evidence, fresh = await asyncio.to_thread(self._read, question, asked, now)
            yield Retrieved(
                citations=_candidates(evidence), freshness=fresh, took_ms=laps.took_ms["web"]
            )

        embedder = self._models.embedder()
        desk = Desk(
            question,
            asked,
            evidence.passages,
            read=embedder.read if isinstance(embedder, Reading) else None,
            unsupported=self._settings.unsupported,
        )
        writers, notes = self._writers(question, evidence)
        premise = await asyncio.to_thread(untrue, asked, evidence.passages, self._index.embed)
        if premise is not None:
            writers, notes = [Naming(premise)], [premise.note]
        notes += looked.notes
        for writer in writers:
            try:
                async with aclosing(desk.checked(writer)) as sentences:
                    async for written in sentences:
                        laps.mark("first_sentence", once=True)
                        yield written
            except ModelError as error:
                self._log.warning("answer.degraded", writer=writer.name, code=error.code)
                notes.append(f"{writer.name} failed; the answer goes on by quoting. {error}")
                continue
            if desk.sentences or not desk.drafts:
                break
        laps.mark("write")

        answer = await asyncio.to_thread(
            self._answer, question, asked, evidence, fresh, desk, writer.name, notes, now, laps
        )
        if itself:  # What was lost or left out of the world's news is no matter here.
            answer = structs.replace(answer, notes=())
        if question.follow_ups:
            answer = await asyncio.to_thread(self._followed, question, answer, evidence, now)
        for stage, took_ms in laps.took_ms.items():
            ANSWER_LATENCY.labels(stage).observe(took_ms / 1_000)
        yield Finished(answer=answer)

    def _understood(self, question: Question, now: datetime) -> tuple[Question, Plan]:
        """The question with the sources that it names as a filter, and its plan."""
        question = asked_of(question, self._source_states(question.as_of))
        return question, self._plan(question, now)

    def _plan(self, question: Question, now: datetime) -> Plan:
        """How the question is understood, its events dated by the record."""
        asked = plan(question, now)
        if (question.sources or question.kinds) and not asked.terms and asked.overview is None:
            asked = structs.replace(asked, overview=())  # "What does the Herald say?"
        if asked.overview is not None and question.within:
            asked = structs.replace(asked, overview=None)
        if events.named(question.text) is None:
            return asked
        return events.dated(question, asked, self._record, self._index)

    def _likely(self, asked: Plan, evidence: Evidence) -> list[Candidate]:
        """The sentences that are likely to answer, best first."""
        return [c for c in self._ranked(asked, evidence) if c.likelihood >= ANSWER_FROM]

    def _ranked(self, asked: Plan, evidence: Evidence) -> list[Candidate]:
        """All that could be quoted, by words and their vectors alone, best first."""
        return ExtractiveWriter(
            clock=self._clock, embed=self._index.embed, weights=evidence.weights
        ).rank(asked, evidence.passages)

    def _goes_on(self, asked: Plan, own: Plan, evidence: Evidence) -> bool:
        """Whether what answers speaks of what was asked before, and not of the question alone."""
        likely = self._likely(asked, evidence)
        before = set(asked.terms) - set(own.terms)
        if not likely or not before:
            return bool(likely)
        passage = evidence.passages[likely[0].passage]
        held = stems(f"{context.heading(passage)}\n{passage.text}")
        return 2 * len(before & (held | likely[0].stems)) >= len(before)

    def likeness(self) -> Likeness | None:
        """How questions and documents are compared by meaning; None without a sentence model."""
        embedder, budget_s = self._models.embedder(), self._settings.rerank_ms / 1_000
        if embedder is None or budget_s <= 0:
            return None

        def alike(text: str, documents: Sequence[Document]) -> Mapping[int, float]:
            try:
                return self._reader.likeness(embedder, text, documents, budget_s)
            except ModelError as error:
                self._log.warning("answer.unranked", code=error.code)
                return {}

        return alike

    def _read(self, question: Question, asked: Plan, now: datetime) -> tuple[Evidence, Freshness]:
        states = self._source_states(asked.as_of)
        moment = asked.as_of or now
        stale_after = timedelta(seconds=self._settings.stale_after_s)
        silent = [s for s in states if is_silent(s, moment, stale_after)]
        evidence = of_itself(question, states, silent, moment)
        if evidence is None and asked.overview is not None:
            evidence = survey(question, asked, self._record, self._index, now)
        if evidence is None:
            evidence = retrieve(
                question,
                asked,
                record=self._record,
                index=self._index,
                limit=self._settings.passages,
                likeness=self.likeness(),
                believed={s.name: s.reliability for s in states if s.reliability is not None},
            )
        evidence = msgspec.structs.replace(
            evidence, passages=(*given(question), *evidence.passages)
        )
        searched = sum(s.documents for s in self._record.source_stats(asked.as_of).values())
        return evidence, freshness(
            (time_of(p.document) for p in evidence.passages),
            states,
            searched=searched,
            now=moment,
            stale_after=stale_after,
        )

    def _lacks(self, question: Question, asked: Plan, evidence: Evidence, now: datetime) -> bool:
        """Whether the web may be asked and should be: nothing here is likely to answer, or what is
        likely to is not new enough for a question about what happens now."""
        if self._web is None or not self._web.may(question, asked):
            return False
        likely = self._likely(asked, evidence)
        if not likely:
            return True
        return asked.recency >= _BREAKING and max(c.time for c in likely) < now - _FRESH

    async def _look(self, question: Question, asked: Plan, evidence: Evidence) -> Looked:
        if self._web is None:
            return Looked()
        return await self._web.look(question, asked, evidence.passages)

    def _writers(self, question: Question, evidence: Evidence) -> tuple[list[Writer], list[str]]:
        """Who writes, in order of preference, and why quoting is first if it is."""
        quoting = ExtractiveWriter(
            clock=self._clock,
            embed=self._index.embed,
            scorer=self._models.scorer(),
            weights=evidence.weights,
        )
        generator = self._models.generator()
        phrasing = generator is not None and (
            generator.capable or self._settings.embedded == "phrase"
        )
        if question.mode == "fast" and generator is not None and phrasing:
            return [GenerativeWriter(generator), quoting], []
        name = generator.name if generator else None
        why = why_quoting(question, self._models.states(), name)
        return [quoting], [why] if why else []

    def _answer(
        self,
        question: Question,
        asked: Plan,
        evidence: Evidence,
        fresh: Freshness,
        desk: Desk,
        writer: str,
        notes: list[str],
        now: datetime,
        laps: _Laps,
    ) -> Answer:
        moment = asked.as_of or now
        cited = {c.seq for c in desk.citations}
        used = [p.document for p in evidence.passages if p.document.seq in cited]
        read = [p.document for p in evidence.passages]
        # A page without a date is no proof of newness, however lately it was seen.
        dated = [d for d in used or read if d.published_at is not None]
        newest = max(map(time_of, dated or ([] if used else read)), default=None)
        fresh = aged(fresh, newest, moment)
        said = remarks(
            question, asked, record=self._record, fresh=fresh, found=evidence.notes, now=moment
        )
        if not desk.sentences:
            said += needed(asked, evidence.passages, fresh)
        said += filter(None, [undated(desk.citations), context.told(desk.citations)])
        laps.mark("whole")
        return Answer(
            id=self._ids.new("ans"),
            question=question.text,
            created_at=now,
            as_of=asked.as_of,
            sentences=tuple(desk.sentences),
            citations=tuple(desk.citations),
            abstained=not desk.sentences,
            closest=None if desk.sentences else self._closest(asked, evidence),
            freshness=fresh,
            writer=writer,
            notes=(*notes, *desk.remarks(), *said),
            disagreements=tuple(desk.disagreements),
            superseded=tuple(desk.superseded),
            timings_ms=laps.took_ms,
            usage=desk.usage,
        )

    def _followed(
        self, question: Question, answer: Answer, evidence: Evidence, now: datetime
    ) -> Answer:
        """The answer with the questions that follow on it."""

        def tells(text: str) -> list[str]:
            """The sentences that the record answers with, best first."""
            other = narrowed_by_words(structs.replace(question, text=text, history=(), given=()))
            other, asked = self._understood(other, now)
            found, _ = self._read(other, asked, now)
            return [c.text for c in self._likely(asked, found)]

        return structs.replace(answer, follow_ups=follow_ups(answer, evidence.passages, tells))

    def _closest(self, asked: Plan, evidence: Evidence) -> Citation | None:
        """The sentence that comes nearest, to be shown where there is no answer."""
        ranked = self._ranked(asked, evidence)
        if not ranked:
            return None
        passage, span = evidence.passages[ranked[0].passage], ranked[0].span
        return citation(passage, 1, passage.start + span.start, passage.start + span.end)


class _Laps:
    """Milliseconds from the question to each stage."""

    def __init__(self, clock: Clock) -> None:
        self.took_ms: dict[str, float] = {}
        self._clock = clock
        self._began = clock.monotonic()

    def mark(self, stage: str, *, once: bool = False) -> None:
        """This stage is reached now; `once` keeps the first time."""
        if once and stage in self.took_ms:
            return
        took_s = self._clock.monotonic() - self._began
        self.took_ms[stage] = round(took_s * 1_000, 2)


def _candidates(evidence: Evidence) -> tuple[Citation, ...]:
    return tuple(citation(p, i, p.start, p.end) for i, p in enumerate(evidence.passages, 1))
