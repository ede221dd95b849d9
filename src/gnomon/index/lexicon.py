"""What the index knows of each word, looked up once: its term, its hash and its vector.

Everything that is computed per word of every document comes from one dictionary look-up, which is
what lets one core take in thousands of posts a second. The dictionary is bounded; when it is full
it starts anew.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from gnomon.index import analyze
from gnomon.index.base import WordVectors

_MAX_WORDS = 100_000
_FIRST_WORDS = 1024
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
_DIGIT = re.compile(r"\d").search
_REPETITION = frozenset({"rt", "via", "ap", "reuters", "afp", "dpa", "update", "breaking"})


class Analysed(NamedTuple):
    """A batch of texts, ready for the index."""

    terms: list[str]
    tags: list[list[str]]
    marks: NDArray[np.uint64]
    """The hashes that near copies are told by, of all texts behind each other."""
    lengths: NDArray[np.int64]
    """How many marks each text has."""
    vectors: NDArray[np.float32] | None


class _Numbers(dict[str, int]):
    """Counts words up as they are first looked for."""

    def __init__(self) -> None:
        self.met: list[str] = []
        """The words that came since somebody emptied this list, in order."""

    def __missing__(self, word: str) -> int:
        number = self[word] = len(self)
        self.met.append(word)
        return number


class Lexicon:
    """Words once met, each with a number. Safe to use from several threads."""

    def __init__(self, source: WordVectors | None) -> None:
        self.source = source
        self._lock = threading.Lock()
        self._dim = source.dim if source else 1
        self._forget()

    def _forget(self) -> None:
        self._numbers = _Numbers()
        self._terms: list[str] = []
        """By number, index terms separated by spaces."""
        self._tags: dict[int, str] = {}
        """Of `#tags` and `@handles`, by number, the term that keeps the sign."""
        self._tagged = np.zeros(_FIRST_WORDS, np.bool_)
        self._marks = np.zeros(_FIRST_WORDS, np.uint64)
        """By number, the hash for near copies; 0 where a word only repeats, forwards or points."""
        self._rows = np.zeros(_FIRST_WORDS, np.int32)
        """By number, the row of the word's vector; 0 if it has none."""
        self._table = np.zeros((_FIRST_WORDS, self._dim), np.float32)
        self._used = 1

    def analyse(self, texts: Sequence[Sequence[str]]) -> Analysed:
        """Terms, tags, copy marks and unit vectors of texts that are given as words."""
        with self._lock:
            if len(self._numbers) > _MAX_WORDS:
                self._forget()
            # One look-up for each word; everything else is done for the whole batch at once.
            number = self._numbers.__getitem__
            numbers = [list(map(number, text)) for text in texts]
            self._learn()
            term = self._terms.__getitem__
            flat = np.array(list(chain.from_iterable(numbers)), np.int64)
            owner = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
            tags: list[list[str]] = [[] for _ in texts]
            for at in np.flatnonzero(self._tagged[flat]):
                tags[owner[at]].append(self._tags[int(flat[at])])
            marks = self._marks[flat]
            marked = marks != 0
            return Analysed(
                [" ".join(map(term, text)) for text in numbers],
                tags,
                marks[marked],
                np.bincount(owner[marked], minlength=len(texts)),
                self._vectors(flat, owner, len(texts)) if self.source else None,
            )

    def vectors(self, texts: Sequence[Sequence[str]]) -> NDArray[np.float32] | None:
        """Unit vectors, shape (len(texts), dim), zero where no word has a meaning."""
        return self.analyse(texts).vectors

    def _vectors(
        self, words: NDArray[np.int64], owner: NDArray[np.int64], count: int
    ) -> NDArray[np.float32]:
        """The mean directions of texts; `owner` tells the text of each word."""
        result = np.zeros((count, self._dim), np.float32)
        rows = self._rows[words]
        rows, owner = rows[rows > 0], owner[rows > 0]
        ends = np.cumsum(np.bincount(owner, minlength=count))
        place = np.arange(len(rows)) - np.concatenate(([0], ends))[owner]
        rows, owner = rows[place < _VECTOR_WORDS], owner[place < _VECTOR_WORDS]
        full, starts = np.unique(owner, return_index=True)
        for begin in range(0, len(full), _TEXTS_AT_ONCE):
            part = starts[begin : begin + _TEXTS_AT_ONCE + 1]
            end = part[-1] if len(part) > _TEXTS_AT_ONCE else len(rows)
            gathered = self._table[rows[part[0] : end]]
            result[full[begin : begin + _TEXTS_AT_ONCE]] = np.add.reduceat(
                gathered, part[:_TEXTS_AT_ONCE] - part[0]
            )
        norms = np.sqrt(np.einsum("ij,ij->i", result, result))[:, None]
        np.divide(result, norms, out=result, where=norms > 0)
        return result

    def _learn(self) -> None:
        """What there is to know of the words that were met since."""
        words = self._numbers.met
        if not words:
            return
        self._numbers.met = []
        first = len(self._terms)
        self._terms += [" ".join(analyze.terms(word)) for word in words]
        here = slice(first, len(self._terms))
        self._marks = _grown(self._marks, len(self._terms))
        self._marks[here] = [_mark(word) for word in words]
        self._tagged = _grown(self._tagged, len(self._terms))
        for number, word in enumerate(words, first):
            if analyze.is_tag(word):
                self._tags[number], self._tagged[number] = analyze.tag(word), True
        self._rows = _grown(self._rows, len(self._terms))
        if self.source:
            has = np.array([_has_meaning(word) for word in words])
            meant = [word.lstrip("#") for word, meaning in zip(words, has, strict=True) if meaning]
            end = self._used + len(meant)
            self._table = _grown(self._table, end)
            self._table[self._used : end] = self.source.vectors(meant)
            self._rows[here][has] = np.arange(self._used, end)
            self._used = end


def _grown(column: NDArray[Any], rows: int) -> NDArray[Any]:
    """The column with room for at least so many rows."""
    if rows <= len(column):
        return column
    more = np.zeros((max(rows, 2 * len(column)), *column.shape[1:]), column.dtype)
    more[: len(column)] = column
    return more


def _has_meaning(word: str) -> bool:
    # With a digit inside it is a number, a short address or a name: its pieces mean nothing.
    bare = word.lstrip("#")
    return bool(bare) and word[0] != "@" and word not in _FUNCTION_WORDS and not _DIGIT(bare)


def _mark(word: str) -> int:
    if word[0] == "@" or word in _REPETITION or word.startswith(("http", "t.co", "www.")):
        return 0
    return crc32(word.encode("utf-8", "surrogatepass")) or 1
