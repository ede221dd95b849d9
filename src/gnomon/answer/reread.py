"""How alike in meaning a question and the documents found for it are, by the sentence model.

The model takes milliseconds a document, so it reads within a time budget, best documents first,
and what it has read is remembered: news is asked about again and again.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gnomon.clock import Clock
from gnomon.models.base import Embedder
from gnomon.types import Document

READ_CHARS = 700
"""How much of a document's beginning the model reads, besides its title."""
_BATCH = 2
_KEPT = 20_000


class Reader:
    """Reads with the sentence model and remembers. Safe to use from several threads."""

    def __init__(self, clock: Clock, *, kept: int = _KEPT) -> None:
        """Remember the vectors of `kept` versions at most, 768 bytes each."""
        self._clock = clock
        self._kept = kept
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, int], NDArray[np.float16]] = OrderedDict()

    def likeness(
        self, embedder: Embedder, text: str, documents: Sequence[Document], budget_s: float
    ) -> dict[int, float]:
        """Cosine by `seq`, of what was known and of what could be read in time, in that order.

        Raises ModelError.
        """
        if not documents or budget_s <= 0:
            return {}
        began_s = self._clock.monotonic()
        asked = embedder.embed([text])[0]
        known = self._recall(embedder.name, documents)
        unread = [d for d in documents if d.seq not in known]
        last_s = spent_s = self._clock.monotonic() - began_s
        for first in range(0, len(unread), _BATCH):
            if spent_s + last_s > budget_s:
                break
            batch = unread[first : first + _BATCH]
            vectors = embedder.embed([f"{d.title}\n{d.text[:READ_CHARS]}" for d in batch])
            read = {d.seq: v.astype(np.float16) for d, v in zip(batch, vectors, strict=True)}
            self._remember(embedder.name, read)
            known |= read
            now_s = self._clock.monotonic() - began_s
            last_s, spent_s = now_s - spent_s, now_s
        return {seq: float(vector.astype(np.float32) @ asked) for seq, vector in known.items()}

    def _recall(self, name: str, documents: Sequence[Document]) -> dict[int, NDArray[np.float16]]:
        found = {}
        with self._lock:
            for document in documents:
                vector = self._known.get((name, document.seq))
                if vector is not None:
                    self._known.move_to_end((name, document.seq))
                    found[document.seq] = vector
        return found

    def _remember(self, name: str, read: dict[int, NDArray[np.float16]]) -> None:
        with self._lock:
            for seq, vector in read.items():
                self._known[name, seq] = vector
            while len(self._known) > self._kept:
                self._known.popitem(last=False)
