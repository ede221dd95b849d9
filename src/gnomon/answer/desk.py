"""Where drafts become sentences: each is checked, repaired by its quotation, or left out.

A desk serves one answer. It numbers what is cited in the order of first use, and it is the only
place that decides what a reader gets to see.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Literal

from gnomon.answer.base import Draft, Plan, Question, Writer, Written
from gnomon.answer.check import PARTLY_FROM, Cited, check
from gnomon.answer.disagree import Others, Standing, Statement, outdated, told, was
from gnomon.answer.generative import best_quote
from gnomon.answer.instructions import addresses_machine, asks
from gnomon.answer.retrieve import citation
from gnomon.answer.support import Read, Remembering
from gnomon.answer.text import sentences
from gnomon.answer.words import plain, share, stems
from gnomon.metrics import SENTENCES
from gnomon.types import (
    Citation,
    Disagreement,
    Passage,
    Sentence,
    Superseded,
    Usage,
    Verdict,
    VerdictKind,
)

_REPAIRED_FROM = 0.4
"""Share of a draft's words that a quotation must hold to stand in for it."""


class Desk:
    """Checks the drafts of one answer and keeps what became of them."""

    def __init__(
        self,
        question: Question,
        plan: Plan,
        passages: Sequence[Passage],
        *,
        read: Read | None,
        unsupported: Literal["drop", "mark"],
    ) -> None:
        """Drafts refer to `passages`. `unsupported` is the setting of that name."""
        self.sentences: list[Sentence] = []
        self.citations: list[Citation] = []
        self.usage = Usage()
        self.left_out = 0
        self.repaired = 0
        self.moved = 0
        self.drafts = 0
        self.disagreements: list[Disagreement] = []
        self.superseded: list[Superseded] = []
        self._question = question
        self._plan = plan
        self._passages = passages
        self._read = Remembering(read) if read else None
        self._unsupported = unsupported
        self._numbers: dict[tuple[int, int, int], int] = {}
        self._others = Others(plan, passages)
        self._owed: list[Statement] = []
        self._held = [stems(p.text) for p in passages]

    async def checked(self, writer: Writer) -> AsyncGenerator[Written]:
        """The sentences of `writer`, each as it may be shown. Raises ModelError."""
        drafts = writer.write(self._question, self._plan, self._passages)
        async with aclosing(drafts) as stream:  # type: ignore[type-var]
            async for draft in stream:
                if isinstance(draft, Usage):
                    self.usage = draft
                    continue
                self.drafts += 1
                written = await asyncio.to_thread(self._judge, draft)
                if written is not None:
                    SENTENCES.labels(writer.name, written.sentence.verdict.kind.value).inc()
                    yield written
        # What excludes the answer stands beside it.
        while self._owed and len(self.sentences) < self._question.max_sentences:
            draft = self._others.draft(self._owed.pop(0))
            written = await asyncio.to_thread(self._judge, draft, aside=True)
            if written is not None:
                yield written

    def remarks(self) -> list[str]:
        """What is disputed or out of date, left out or replaced, in plain words."""
        notes = [d.text for d in self.disagreements] + [was(s) for s in self.superseded]
        notes += [outdated(s.text, s.until) for s in self.sentences if s.until is not None]
        if self.moved:
            notes.append(
                f"The citation of {_noun(self.moved, 'sentence')} was corrected: another passage "
                "says it."
            )
        if self.repaired:
            notes.append(
                f"{_count(self.repaired, 'sentence')} replaced by the source's own words: "
                "the citations did not carry what was written."
            )
        if self.left_out:
            notes.append(
                f"{_count(self.left_out, 'sentence')} left out: the citations did not support it."
            )
        return notes

    def _judge(self, draft: Draft, *, aside: bool = False) -> Written | None:
        """The draft as it may be shown; `aside` marks one that was added because it disagrees."""
        verdict = self._verdict(draft)
        if verdict.kind is not VerdictKind.SUPPORTED:
            moved = self._elsewhere(draft)
            if moved is not None:
                self.moved += 1
                draft, verdict = moved, self._verdict(moved)
        if verdict.score < PARTLY_FROM:
            repaired = self._repair(draft)
            if repaired is not None and not self._quoted(repaired):
                self.repaired += 1
                draft, verdict = repaired, self._verdict(repaired)
        if self._said(draft.text):
            return None
        shown = verdict.kind in (VerdictKind.SUPPORTED, VerdictKind.PARTLY)
        if not shown and self._unsupported == "drop":
            self.left_out += 1
            return None
        before = len(self.citations)
        numbers = tuple(dict.fromkeys(self._cite(*span) for span in draft.spans))
        standing = self._others.standing(draft.text, [i for i, *_ in draft.spans])
        newer = standing.replaced_by
        sentence = Sentence(
            text=draft.text,
            citations=numbers,
            verdict=verdict,
            origins=standing.origins,
            also=standing.also,
            until=newer.time if newer else None,
            disputed=standing.rival is not None,
        )
        self.sentences.append(sentence)
        if not aside and numbers:
            self._note(sentence, standing)
        return Written(sentence=sentence, citations=tuple(self.citations[before:]))

    def _note(self, sentence: Sentence, standing: Standing) -> None:
        """Keep what excludes `sentence`, to be shown beside it."""
        index, cited = len(self.sentences) - 1, self.citations[sentence.citations[0] - 1]
        known = {plain(d.other) for d in self.disagreements}
        known |= {plain(s.text) for s in self.superseded} | {plain(s.text) for s in self.sentences}
        rival, old, newer = standing.rival, standing.replaced, standing.replaced_by
        if rival is not None and plain(rival.text) not in known:
            source = self._cited(rival)
            said = told(sentence.text, cited, rival.text, source)
            self.disagreements.append(
                Disagreement(sentence=index, other=rival.text, citation=source, text=said)
            )
            self._owed.append(rival)
        if old is not None and plain(old.text) not in known:
            self.superseded.append(
                Superseded(
                    text=old.text,
                    citation=self._cited(old),
                    until=_until(cited, old),
                    sentence=index,
                )
            )
        if newer is not None and plain(newer.text) not in known:
            self._owed.append(newer)

    def _cited(self, statement: Statement) -> Citation:
        """A citation beside the answer's own, which are numbered from 1."""
        passage, span = self._passages[statement.passage], statement.span
        return citation(passage, 0, passage.start + span.start, passage.start + span.end)

    def _verdict(self, draft: Draft) -> Verdict:
        cited = []
        for index, start, end in draft.spans:
            if not 0 <= index < len(self._passages):
                return Verdict(
                    kind=VerdictKind.NOT_SUPPORTED,
                    score=0.0,
                    reasons=("It cites a passage that does not exist.",),
                )
            passage = self._passages[index]
            cited.append(Cited(passage.document, passage.start + start, passage.start + end))
        return check(draft.text, cited, self._read)

    def _elsewhere(self, draft: Draft) -> Draft | None:
        """The draft with the passage that carries it best, if it cites a wrong one."""
        cited = {i for i, *_ in draft.spans}
        wanted = stems(draft.text)
        ranked = sorted(
            ((share(wanted, s), i) for i, s in enumerate(self._held) if i not in cited),
            reverse=True,
        )
        for held, i in ranked[:1]:
            if held < _REPAIRED_FROM:
                break
            span = best_quote(draft.text, self._passages[i].text)
            moved = Draft(text=draft.text, spans=((i, span.start, span.end),))
            if self._verdict(moved).kind is VerdictKind.SUPPORTED:
                return moved
        return None

    def _repair(self, draft: Draft) -> Draft | None:
        """The quoted sentence that says what the draft wanted to say, if there is one."""
        wanted = stems(draft.text)
        indices = [i for i, *_ in draft.spans] or range(len(self._passages))
        best: tuple[float, Draft] | None = None
        for i in indices:
            if not 0 <= i < len(self._passages):
                continue
            text = self._passages[i].text
            span = best_quote(draft.text, text)
            first = sentences(text[span.start : span.end])[0]
            start, end = span.start + first.start, span.start + first.end
            quote = text[start:end]
            held = share(wanted, stems(quote))
            if held >= _REPAIRED_FROM and not addresses_machine(quote) and not asks(quote):
                said = Draft(text=" ".join(quote.split()), spans=((i, start, end),))
                if best is None or held > best[0]:
                    best = held, said
        return best[1] if best else None

    def _said(self, text: str) -> bool:
        return any(plain(s.text) == plain(text) for s in self.sentences)

    def _quoted(self, draft: Draft) -> bool:
        """Whether a sentence that is shown rests on these very words: once more tells nothing."""
        return any(span in self._numbers for span in draft.spans)

    def _cite(self, index: int, start: int, end: int) -> int:
        """The number of the citation for a span, the same for the same words."""
        place = (index, start, end)
        if place not in self._numbers:
            passage = self._passages[index]
            number = len(self.citations) + 1
            self._numbers[place] = number
            self.citations.append(
                citation(passage, number, passage.start + start, passage.start + end)
            )
        return self._numbers[place]


def _until(newer: Citation, old: Statement) -> datetime:
    """Until when `old` stood. A text that was corrected says so from when the correction was seen,
    whatever day it bears."""
    told = newer.published_at or newer.observed_at or old.time
    return told if told >= old.time else max(newer.observed_at or old.time, old.time)


def _noun(n: int, noun: str) -> str:
    return f"1 {noun}" if n == 1 else f"{n} {noun}s"


def _count(n: int, noun: str) -> str:
    return f"{_noun(n, noun)} {'was' if n == 1 else 'were'}"
