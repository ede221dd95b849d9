"""The writer that quotes: the sentences of the sources that answer, word for word.

It is the default because, among writers that run anywhere, it was right most often, and what it
says stands in the source by construction. Its own skill is to keep silent: every sentence has a
likelihood of holding the answer, and below a calibrated threshold there is none.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

import msgspec
import numpy as np

from gnomon.answer import facts
from gnomon.answer.absent import came_out, done, matter, of_another, told, wanted
from gnomon.answer.base import Draft, Plan, Question
from gnomon.answer.candidates import Candidate, hearsay, introduced, quotable
from gnomon.answer.check import Embed
from gnomon.answer.context import heading
from gnomon.answer.judgement import likelihood
from gnomon.answer.quotation import LEANS, drafted
from gnomon.answer.reliability import left
from gnomon.answer.standing import before_it_turned, newest_first, settled
from gnomon.answer.words import plain, stems
from gnomon.clock import Clock
from gnomon.errors import ModelError
from gnomon.log import get_logger
from gnomon.models.base import Scorer
from gnomon.types import Passage, Usage

_log = get_logger()

ANSWER_FROM = 0.4
"""Likelihood from which a sentence may open an answer: see docs/internals/answer.md."""
_ALSO_FROM = 0.4
"""A further sentence needs at least this share of the first one's likelihood …"""
_ALSO_VALUE_FROM = 0.6
"""… and this where one value answers."""
_ALSO_LEAST = 0.35
_ALIKE = 0.6
"""Likeness of meaning from which a sentence without a word of the question may stand."""
_BESIDE = 0.3
_FREE = ("reason", "text", "list", "definition")
_UNTOLD = 0.6
"""What is left where a sentence names somebody, but not for what is asked."""
_UNDONE = 0.4
"""What is left where it does not tell the deed whose doer is asked for."""
_TOLD_OF = 24
_NO_OUTCOME = 0.4
_COUNTS = 0.4
"""Below it a number counts something else, or nobody says what."""
_READ_BY_MODEL = 12
_MODEL_BATCH = 4
_REPEATS = 0.6
_OPENING_CHARS = 200
_HEARSAY = 0.6
"""What hearsay weighs beside a plain statement."""


class ExtractiveWriter:
    """Quotes the sentences that answer, best first; nothing where nothing answers."""

    name = "extractive"

    def __init__(
        self,
        *,
        clock: Clock,
        embed: Embed | None = None,
        scorer: Scorer | None = None,
        budget_s: float = 0.12,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        """`embed` and `scorer` help where they are ready; the scorer stops after `budget_s`."""
        self._clock = clock
        self._embed = embed
        self._scorer = scorer
        self._budget_s = budget_s
        self._weights = weights

    async def write(
        self, question: Question, plan: Plan, passages: Sequence[Passage]
    ) -> AsyncIterator[Draft | Usage]:
        """Yield the chosen sentences, each with the one before it where it leans on that."""
        drafts = await asyncio.to_thread(self.choose, question, plan, passages)
        for draft in drafts:
            yield draft

    def choose(self, question: Question, plan: Plan, passages: Sequence[Passage]) -> list[Draft]:
        """The drafts, in reading order. Synchronous."""
        ranked = self.rank(plan, passages)
        if not ranked or ranked[0].likelihood < ANSWER_FROM:
            return []
        chosen = _select(ranked, plan, question.max_sentences)
        return [drafted(c, chosen, passages) for c in chosen]

    def rank(self, plan: Plan, passages: Sequence[Passage]) -> list[Candidate]:
        """Every quotable sentence with its likelihood, superseded ones last, best first."""
        if plan.overview is not None or not plan.terms:
            return _newest(plan, passages)
        weights = self._weights if self._weights is not None else dict.fromkeys(plan.terms, 1.0)
        candidates = quotable(plan, passages, weights)
        model = self._add_meaning(plan, candidates)
        # A reason may share no word with what it explains; a time, a number or a yes rarely does.
        spoken_of = plan.expects not in _FREE and any(c.signals.covered for c in candidates)
        for c in candidates:
            c.likelihood = c.bears * likelihood(c.signals, model=model)
            if spoken_of and _beside(c):
                c.likelihood *= _BESIDE
            if hearsay(c.text, passages[c.passage].document.title):
                c.likelihood *= _HEARSAY
            c.likelihood *= left(passages[c.passage])
        candidates.sort(key=lambda c: -c.likelihood)
        self._lessen(candidates, plan, passages)
        candidates.sort(key=lambda c: -c.likelihood)
        return newest_first(settled(candidates, plan, passages), plan)

    def _lessen(
        self, candidates: Sequence[Candidate], plan: Plan, passages: Sequence[Passage]
    ) -> None:
        """Of the best, count those for less that do not tell what an answer must."""
        needed, about, deeds = wanted(plan), matter(plan), done(plan)
        reasoned = plan.expects == "reason" and any(
            c.signals.typed == 1.0 and c.likelihood >= ANSWER_FROM * _UNTOLD for c in candidates
        )
        counted = plan.expects == "number" and any(
            c.signals.typed == 1.0 and c.likelihood >= ANSWER_FROM for c in candidates
        )
        around: dict[int, tuple[set[str], bool]] = {}
        for c in candidates[:_TOLD_OF]:
            passage = passages[c.passage]
            if c.passage not in around:
                read = f"{heading(passage)}\n{passage.text}"
                around[c.passage] = stems(read), of_another(plan, read)
            beside, another = around[c.passage]
            held = c.stems | beside | introduced(passage, c.span)
            untold = [w for w in needed if not told(w, c.text, held, self._embed, plan.terms)]
            if untold:
                c.likelihood *= _UNDONE if deeds.intersection(untold) else _UNTOLD
            if another:
                c.likelihood *= _UNDONE
            if reasoned and c.signals.typed < 1.0:
                c.likelihood *= _UNTOLD
            if counted and c.signals.typed < _COUNTS:
                c.likelihood *= _UNTOLD
            if about and len(about & held) * 2 <= len(about):
                c.likelihood *= _NO_OUTCOME
            if not came_out(plan, c.text):
                c.likelihood *= _NO_OUTCOME

    def _add_meaning(self, plan: Plan, candidates: list[Candidate]) -> bool:
        """Likeness of meaning, by the sentence model for the best, by word vectors for the rest.

        False if there is no model to ask.
        """
        if self._scorer is None or not candidates:
            return False
        for c, similar in zip(candidates, self._by_words(plan, candidates), strict=True):
            c.signals = msgspec.structs.replace(c.signals, similar=similar)
        candidates.sort(key=lambda c: -likelihood(c.signals, model=False))
        began = self._clock.monotonic()
        for first in range(0, min(_READ_BY_MODEL, len(candidates)), _MODEL_BATCH):
            if self._clock.monotonic() - began > self._budget_s:
                break
            batch = candidates[first : first + _MODEL_BATCH]
            try:
                scores = self._scorer.score(plan.search_text, [c.text for c in batch])
            except ModelError as error:
                _log.warning("answer.unscored", code=error.code)
                return False
            for c, score in zip(batch, scores, strict=True):
                c.signals = msgspec.structs.replace(c.signals, similar=float(score))
        return True

    def _by_words(self, plan: Plan, candidates: Sequence[Candidate]) -> list[float]:
        vectors = None
        if self._embed is not None:
            vectors = self._embed([plan.search_text, *(c.text for c in candidates)])
        if vectors is None:
            return [0.3 + 0.65 * c.signals.covered for c in candidates]
        # On the scale of the sentence model's scores.
        return [float(np.clip(0.2 + 0.8 * s, 0, 1)) for s in vectors[1:] @ vectors[0]]


def _beside(c: Candidate) -> bool:
    """Whether it only stands beside what speaks of the matter: it shares no word with the question,
    nothing in it points back, and it means something else."""
    return not (c.signals.covered or c.signals.similar >= _ALIKE or LEANS.match(c.text))


def _newest(plan: Plan, passages: Sequence[Passage]) -> list[Candidate]:
    """The opening of each document, for a question about nothing in particular: newest first, or
    the liveliest story first."""
    opened: dict[str, Candidate] = {}
    for c in sorted(quotable(plan, passages, {}), key=lambda c: (c.passage, c.span.start)):
        passage = passages[c.passage]
        key = passage.document.key
        begins = 0 if plan.overview is not None else passage.start + c.span.start
        if key not in opened and begins < _OPENING_CHARS:
            c.likelihood = 1.0
            opened[key] = c
    if plan.overview is not None:
        return list(opened.values())
    return sorted(opened.values(), key=lambda c: c.time, reverse=True)


def _select(ranked: Sequence[Candidate], plan: Plan, limit: int) -> list[Candidate]:
    """The best sentence and those that add to it, in reading order."""
    several = plan.overview is not None or plan.expects in ("list", "text", "reason", "definition")
    wanted = min(limit, 4 if several else 2)
    chosen: list[Candidate] = []
    best = ranked[0].likelihood
    floor = max(min(_ALSO_LEAST, best), best * (_ALSO_FROM if several else _ALSO_VALUE_FROM))
    for c in ranked:
        if len(chosen) >= wanted or c.likelihood < floor:
            break
        if chosen and plan.expects != "reason" and _beside(c):
            continue
        if chosen and plan.state and before_it_turned(c, chosen[0], plan):
            continue
        if not any(_repeats(c, other) for other in chosen):
            chosen.append(c)
    first = chosen[0]
    rest = sorted(chosen[1:], key=lambda c: (c.passage != first.passage, c.passage, c.span.start))
    before = [c for c in rest if c.passage == first.passage and c.span.end <= first.span.start]
    if before and LEANS.match(first.text):
        rest.remove(before[-1])
        return [before[-1], first, *rest]
    return [first, *rest]


def _repeats(c: Candidate, other: Candidate) -> bool:
    if plain(c.text) == plain(other.text):
        return True
    smaller = min(len(c.stems), len(other.stems)) or 1
    if len(c.stems & other.stems) / smaller < _REPEATS:
        return False
    # The same words around another number say something else.
    mine = {n.value for n in facts.numbers(c.text)}
    theirs = {n.value for n in facts.numbers(other.text)}
    return not mine or not theirs or bool(mine & theirs)
