"""What a chat over a search engine makes of a question: the baseline beside Gnomon's answers.

The ten best documents by BM25, of each the stretch that a result page would show, and of these the
sentences that the same sentence model holds nearest to the question. It knows no plan, no newness,
no origins and no check, and keeps silent only where nothing comes near.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from gnomon.answer.base import Question
from gnomon.answer.retrieve import citation
from gnomon.answer.text import Span, sentences
from gnomon.answer.words import share, stems
from gnomon.eval.base import Asked, House
from gnomon.models.base import Scorer
from gnomon.record.base import Record
from gnomon.types import Answer, Passage, Sentence, Verdict, VerdictKind

RESULTS = 10
SNIPPET_CHARS = 200
SENTENCES = 2
NEAR = 0.5
"""Score from which a sentence is on the question's matter: see `models/scorer.py`."""
_UNCHECKED = Verdict(kind=VerdictKind.NOT_SUPPORTED, score=0.0, reasons=("nobody checked it",))


class Snippets:
    """Answers from the snippets of a search by words."""

    def __init__(self, house: House, record: Record, scorer: Scorer | None) -> None:
        """Search `house`, whose documents `record` holds. Without a scorer shared words decide."""
        self._house = house
        self._record = record
        self._scorer = scorer

    async def ask(self, question: Question) -> Asked:
        """An answer whose every sentence cites the document that it was cut from."""
        began_s = time.perf_counter()
        found = await self._house.words(question, RESULTS)
        keys = found.keys if found is not None else ()
        answer = await asyncio.to_thread(self._answer, question, keys)
        took_ms = (time.perf_counter() - began_s) * 1_000
        return Asked(answer=answer, read=answer.citations, took_ms=took_ms, evidence_ms=took_ms)

    def _answer(self, question: Question, keys: Sequence[str]) -> Answer:
        said: list[tuple[Passage, Span]] = []
        for key in keys:
            document = self._record.get(key, question.as_of).document
            if document is not None:
                here = shown(document.text, question.text)
                text = document.text[here.start : here.end]
                passage = Passage(
                    document=document, start=here.start, end=here.end, text=text, score=0.0,
                    origin=key,
                )  # fmt: skip
                said += [(passage, span) for span in sentences(text)]
        texts = [passage.text[span.start : span.end] for passage, span in said]
        scores = self._scores(question.text, texts)
        best = [int(i) for i in np.argsort(-scores, kind="stable")[:SENTENCES] if scores[i] >= NEAR]
        return Answer(
            id="baseline",
            question=question.text,
            created_at=question.as_of or datetime.now(UTC),
            as_of=question.as_of,
            sentences=tuple(
                Sentence(text=texts[i], citations=(n,), verdict=_UNCHECKED)
                for n, i in enumerate(best, 1)
            ),
            citations=tuple(
                citation(passage, n, passage.start + span.start, passage.start + span.end)
                for n, (passage, span) in enumerate((said[i] for i in best), 1)
            ),
            abstained=not best,
            writer="snippets",
        )

    def _scores(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        if self._scorer is not None and texts:
            return self._scorer.score(question, texts)
        asked = stems(question)
        return np.array([share(asked, stems(text)) for text in texts], np.float32)


def shown(text: str, question: str) -> Span:
    """The stretch of a document with most words of the question, as result pages cut it."""
    asked, cut = stems(question), sentences(text)
    best, most = Span(0, min(len(text), SNIPPET_CHARS)), -1
    for i, first in enumerate(cut):
        end = first.start + SNIPPET_CHARS
        last = max((s.end for s in cut[i:] if s.end <= end), default=min(first.end, end))
        shared = len(asked & stems(text[first.start : last]))
        if shared > most:
            best, most = Span(first.start, last), shared
    return best
