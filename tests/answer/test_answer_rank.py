"""Documents come in the order of words and meaning together, within the time that is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gnomon.answer.base import Question
from gnomon.answer.plan import plan
from gnomon.answer.rank import ranked
from gnomon.answer.reread import Reader
from gnomon.clock import ManualClock
from gnomon.types import Document

Town = Any


class Slow:
    """An embedder that takes a tenth of a second a text and likes ferries."""

    name, dim = "slow", 2

    def __init__(self, clock: ManualClock) -> None:
        self.clock, self.read = clock, 0

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.read += len(texts)
        self.clock.advance(0.1 * len(texts))
        return np.array([[1, 0] if "ferry" in t else [0, 1] for t in texts], np.float32)


def _documents(town: Town) -> list[Document]:
    return [town.put(n, f"Harbour news, part {n}: {what}.") for n, what in enumerate(_WHAT, 1)]


_WHAT = ("gulls", "nets", "the ferry", "rain", "ropes", "a ferry boat")


def test_what_was_read_is_remembered_and_time_is_kept(empty_town: Town) -> None:
    documents = _documents(empty_town)
    clock = empty_town.clock
    slow, reader = Slow(clock), Reader(clock, kept=4)
    began = clock.monotonic()
    first = reader.likeness(slow, "the ferry", documents, 0.55)
    assert clock.monotonic() - began <= 0.55
    assert list(first) == [d.seq for d in documents[:4]]
    assert first[documents[2].seq] == 1.0 and first[documents[0].seq] == 0.0
    # The question takes a tenth; what was read is known, so the rest comes into reach.
    second = reader.likeness(slow, "the ferry", documents, 0.55)
    assert second[documents[5].seq] == 1.0 and len(second) == 6
    assert slow.read == 1 + 4 + 1 + 2
    assert reader.likeness(slow, "the ferry", documents, 0.0) == {}


def test_meaning_reorders_what_words_found(empty_town: Town) -> None:
    _documents(empty_town)
    slow = Slow(empty_town.clock)
    reader = Reader(empty_town.clock)
    question = Question(text="Which news of the harbour is of the ferry boat?")
    asked = plan(question, empty_town.clock.now())

    def order(budget_s: float) -> list[str]:
        ranking = ranked(
            question,
            asked,
            record=empty_town.record,
            index=empty_town.index,
            likeness=lambda text, found: reader.likeness(slow, text, found, budget_s),
        )
        return [f.document.text for f in ranking.documents]

    assert all("ferry" in text for text in order(9)[:2])


@pytest.mark.parametrize("text", ["tram tram ferry", "tram ferry tram"])
def test_what_is_said_twice_counts_twice(empty_town: Town, text: str) -> None:
    empty_town.put(1, "Fog holds up the ferry in the outer harbour this morning.")
    empty_town.put(1, "A broken rail stops every tram between both market squares.")
    asked = plan(Question(text=text), empty_town.clock.now())
    ranking = ranked(Question(text=text), asked, record=empty_town.record, index=empty_town.index)
    assert "tram" in ranking.documents[0].document.text
