"""What the index knows of each word, looked up once: its term, its hash and its vector.

Everything that is computed per word of every document comes from one dictionary look-up, which is
what lets one core take in thousands of posts a second. The dictionary is bounded; when it is full
it starts anew.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from gnomon.index import analyze
from gnomon.index.base import WordVectors

_MAX_WORDS = 50_000
_VECTOR_WORDS = 256
"""Words of a text that count for its vector; what a long one is about stands in its beginning."""
_TEXTS_AT_ONCE = 64
"""Texts whose word vectors are gathered together: few enough to stay in the processor's cache."""

# Words that say nothing about what a text is about; their vectors would only cost time.
_FUNCTION_WORDS = frozenset(
    """
    a about after all also an and any are as at be been but by can could did do does for from
    had has have he her him his how i if in into is it its just me more my no not of on or our
    out she so some than that the their them then there they this to up us was we were what when
    which who will with would you your
    """.split()  # noqa: SIM905  (a list of words reads best as text)
)
_REPETITION = frozenset({"rt", "via", "ap", "reuters", "afp", "dpa", "update", "breaking"})


class _Word(NamedTuple):
    terms: str
    """Its index terms, separated by spaces."""
    mark: int
    """Hash for near copies; 0 where it only repeats, forwards or points."""
    row: int
    """Row of its vector; -1 if it has none."""


class Analysed(NamedTuple):
    """A batch of texts, ready for the index."""

    terms: list[str]
    marks: list[list[int]]
    vectors: NDArray[np.float32] | None


class Lexicon:
    """Words once met. Safe to use from several threads."""

    def __init__(self, source: WordVectors | None) -> None:
        self.source = source
        self._lock = threading.Lock()
        self._words: dict[str, _Word] = {}
        self._table = np.zeros((1024, source.dim if source else 1), np.float32)
        self._used = 0

    def analyse(self, texts: Sequence[Sequence[str]]) -> Analysed:
        """Terms, copy marks and unit vectors of texts that are given as words."""
        with self._lock:
            self._learn(texts)
            known = self._words
            found = [[known[word] for word in text] for text in texts]
            return Analysed(
                [" ".join([word.terms for word in text]) for text in found],
                [[word.mark for word in text if word.mark] for text in found],
                self._vectors(found) if self.source else None,
            )

    def vectors(self, texts: Sequence[Sequence[str]]) -> NDArray[np.float32] | None:
        """Unit vectors, shape (len(texts), dim), zero where no word has a meaning."""
        return self.analyse(texts).vectors

    def _vectors(self, texts: Sequence[Sequence[_Word]]) -> NDArray[np.float32]:
        rows = [[word.row for word in text if word.row >= 0][:_VECTOR_WORDS] for text in texts]
        result = np.zeros((len(rows), self._table.shape[1]), np.float32)
        full = [i for i, text in enumerate(rows) if text]
        for begin in range(0, len(full), _TEXTS_AT_ONCE):
            part = full[begin : begin + _TEXTS_AT_ONCE]
            lengths = [len(rows[i]) for i in part]
            flat = [row for i in part for row in rows[i]]
            starts = np.concatenate(([0], np.cumsum(lengths)[:-1]))
            result[part] = np.add.reduceat(self._table[flat], starts)
        norms = np.sqrt(np.einsum("ij,ij->i", result, result))[:, None]
        np.divide(result, norms, out=result, where=norms > 0)
        return result

    def _learn(self, texts: Sequence[Sequence[str]]) -> None:
        met = {word for text in texts for word in text}
        new = [word for word in met if word not in self._words]
        if not new:
            return
        if len(self._words) + len(new) > _MAX_WORDS:
            self._words.clear()
            self._used = 0
            new = list(met)
        meant = [word for word in new if _has_meaning(word)] if self.source else []
        rows = dict(zip(meant, range(self._used, self._used + len(meant)), strict=True))
        if self.source and meant:
            self._grow(self._used + len(meant))
            bare = [word.lstrip("#") for word in meant]
            self._table[self._used : self._used + len(meant)] = self.source.vectors(bare)
            self._used += len(meant)
        for word in new:
            self._words[word] = _Word(
                " ".join(analyze.terms(word)), _mark(word), rows.get(word, -1)
            )

    def _grow(self, rows: int) -> None:
        if rows > len(self._table):
            grown = np.zeros((max(rows, 2 * len(self._table)), self._table.shape[1]), np.float32)
            grown[: self._used] = self._table[: self._used]
            self._table = grown


def _has_meaning(word: str) -> bool:
    bare = word.lstrip("#")
    return bool(bare) and word not in _FUNCTION_WORDS and bare[0] not in "@0123456789"


def _mark(word: str) -> int:
    if word[0] == "@" or word in _REPETITION or word.startswith(("http", "t.co", "www.")):
        return 0
    return crc32(word.encode("utf-8", "surrogatepass")) or 1
