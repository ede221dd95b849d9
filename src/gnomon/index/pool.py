"""Texts to vectors by summing word vectors, a whole batch at a time."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gnomon.index.base import WordVectors

_CACHED_WORDS = 100_000
_MAX_WORDS = 256
"""Words of a text that count; what a longer one is about stands in its beginning."""


class Pool:
    """Unit vectors of texts. Vectors of words once seen are kept, up to a bound."""

    def __init__(self, source: WordVectors) -> None:
        self.source = source
        self.dim = source.dim
        self._lock = threading.Lock()
        self._rows: dict[str, int] = {}
        self._table = np.zeros((1024, self.dim), np.float16)

    def vectors(self, texts: Sequence[Sequence[str]]) -> NDArray[np.float32]:
        """Shape (len(texts), dim); a row of zeros where no word has a meaning."""
        texts = [text[:_MAX_WORDS] for text in texts]
        with self._lock:
            return self._sum(texts)

    def _sum(self, texts: Sequence[Sequence[str]]) -> NDArray[np.float32]:
        self._learn(texts)
        lengths = np.array([len(text) for text in texts], np.int64)
        result = np.zeros((len(texts), self.dim), np.float32)
        full = np.flatnonzero(lengths)
        if not len(full):
            return result
        rows = self._rows
        flat = np.fromiter(
            (rows[word] for text in texts for word in text), np.int64, int(lengths.sum())
        )
        starts = np.concatenate(([0], np.cumsum(lengths[full])[:-1]))
        table = self._table
        step = 512  # keeps the gathered rows inside the cache
        for begin in range(0, len(full), step):
            end = min(begin + step, len(full))
            low = starts[begin]
            high = starts[end] if end < len(full) else len(flat)
            gathered = table[flat[low:high]].astype(np.float32)
            result[full[begin:end]] = np.add.reduceat(gathered, starts[begin:end] - low)
        norms = np.linalg.norm(result, axis=1, keepdims=True)
        np.divide(result, norms, out=result, where=norms > 0)
        return result

    def _learn(self, texts: Sequence[Sequence[str]]) -> None:
        new = list({word for text in texts for word in text if word not in self._rows})
        if not new:
            return
        if len(self._rows) + len(new) > _CACHED_WORDS:
            self._rows.clear()
            new = list({word for text in texts for word in text})
        first = len(self._rows)
        if first + len(new) > len(self._table):
            size = max(2 * len(self._table), first + len(new))
            grown = np.zeros((size, self.dim), np.float16)
            grown[:first] = self._table[:first]
            self._table = grown
        self._table[first : first + len(new)] = self.source.vectors(new)
        self._rows.update(zip(new, range(first, first + len(new)), strict=True))
