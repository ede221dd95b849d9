"""Words of a text as numbers, so that the rules over them run in numpy.

A text is split at white space, and each piece into words once: the pieces of a language repeat, so
a table remembers them. Tables are emptied when they grow large, so memory is bounded.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from gnomon.train.corpus.pieces import KNOWN, code_points, split_piece

Ids = NDArray[np.int64]
Hashes = NDArray[np.uint64]

_TABLE_SIZE = 250_000
_LONG_PIECE = 60
STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
_STOP_BITS = {word: 1 << at for at, word in enumerate(STOP_WORDS)}

ALPHABETIC, SYMBOLIC, ENDS, MARK = 1, 2, 4, 8
"""Flags of a word: has a letter; has only symbols; ends a sentence; has only punctuation."""

STOPS = code_points(
    "21 2e 3f 589 61d-61f 6d4 700-702 7f9 837 839 83d-83e 964-965 104a-104b 1362 1367-1368 166e "
    "1735-1736 17d4-17d6 17d9-17da 1803 1809 1944-1945 1aa8-1aab 1b5a-1b5b 1b5e-1b5f 1b7d-1b7e "
    "1c3b-1c3c 1c7e-1c7f 203c-203d 2047-2049 2e2e 2e3c 2e53-2e54 3002 a4ff a60e-a60f a6f3 a6f7 "
    "a876-a877 a8ce-a8cf a92f a9c8-a9c9 aa5d-aa5f aaf0-aaf1 abeb fe52 fe56-fe57 ff01 ff0e ff1f "
    "ff61 10a56-10a57 10f55-10f59 10f86-10f89 11047-11048 110be-110c1 11141-11143 111c5-111c6 "
    "111cd 111de-111df 11238-11239 1123b-1123c 112a9 1144b-1144c 115c2-115c3 115c9-115d7 "
    "11641-11642 1173c-1173e 11944 11946 11a42-11a43 11a9b-11a9c 11c41-11c42 11ef7-11ef8 "
    "11f43-11f44 16a6e-16a6f 16af5 16b37-16b38 16b44 16e98 1bc9f 1da88"
)
"""Characters that end a sentence (Unicode's property Sentence_Terminal)."""

_PUNCTUATION = code_points(
    "0-8 b-1f 21-2f 3a-40 5b-60 7b-9f ab b4 bb 2013-2014 2019 201c-201e 2026 2236 2501 25ba "
    "3001-3002 3008-300d 3010-3011 ff01 ff05 ff08-ff09 ff0c ff0e ff11 ff1a-ff1b ff1f ff5e"
)
_SYMBOLS = _PUNCTUATION | STOPS
"""What datatrove, and before it CCNet, takes for punctuation."""


class Vocabulary:
    """Numbers for words, and what the rules ask of each word, as arrays by number."""

    def __init__(self) -> None:
        self._pieces: _Pieces = _Pieces(self)
        self._clear()

    def _clear(self) -> None:
        self._numbers: dict[str, int] = {}
        self._pieces.clear()
        self._rng = np.random.default_rng(0)
        self.lengths: NDArray[np.int64] = np.empty(0, np.int64)
        self.flags: NDArray[np.uint8] = np.empty(0, np.uint8)
        self.stops: NDArray[np.uint8] = np.empty(0, np.uint8)
        self.hashes: Hashes = np.empty(0, np.uint64)
        self._grow()

    def _grow(self) -> None:
        size = max(1 << 16, len(self.lengths))
        self.lengths = np.concatenate([self.lengths, np.zeros(size, np.int64)])
        self.flags = np.concatenate([self.flags, np.full(size, ALPHABETIC, np.uint8)])
        self.stops = np.concatenate([self.stops, np.zeros(size, np.uint8)])
        fresh = self._rng.integers(0, 1 << 64, size, np.uint64)
        self.hashes = np.concatenate([self.hashes, fresh])

    def number(self, word: str) -> int:
        """The number of `word`, given now if it is new."""
        found = self._numbers.get(word)
        if found is not None:
            return found
        at = self._numbers[word] = len(self._numbers)
        if at == len(self.lengths):
            self._grow()
        self.lengths[at] = len(word)
        if word in _STOP_BITS:
            self.stops[at] = _STOP_BITS[word]
        elif not word.isalpha():
            self.flags[at] = _flags(word)
        return at

    def ids(self, text: str) -> Ids:
        """The numbers of the words of `text`; valid until the next call."""
        if len(self._pieces) > _TABLE_SIZE:
            self._clear()
        found = map(self._pieces.__getitem__, text.split())
        return np.fromiter(chain.from_iterable(found), np.int64)

    def sentences(self, text: str) -> int:
        """How many sentences `text` has: each begins after the stops of the one before."""
        ids = self.ids(text)
        if not len(ids):
            return 0
        flags = self.flags.take(ids)
        # A stop counts when a word follows it, whatever quotes and brackets stand between.
        ends = flags[(flags & (ENDS | MARK)) != MARK] & ENDS
        return 1 + int(np.count_nonzero(ends[:-1] & ~ends[1:]))


def _flags(word: str) -> int:
    out = ALPHABETIC if any(map(str.isalpha, word)) else 0
    if _SYMBOLS.issuperset(word):
        out |= SYMBOLIC
    if word in STOPS:
        out |= ENDS
    if not out & ALPHABETIC and all(unicodedata.category(c)[0] == "P" for c in word):
        out |= MARK
    return out


class _Pieces(dict[str, tuple[int, ...]]):
    """Piece of text → the numbers of its words."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        super().__init__()
        self._vocabulary = vocabulary

    def __missing__(self, piece: str) -> tuple[int, ...]:
        number = self._vocabulary.number
        if piece.isalpha() and piece not in KNOWN:
            found: tuple[int, ...] = (number(piece),)
        else:
            found = tuple(map(number, split_piece(piece)))
        if len(piece) < _LONG_PIECE:
            self[piece] = found
        return found


_FIGURES = re.compile(r"\d+(?:[.,،٫⎖⎗⎘]\d+)?")
_TO_SPACE = {ord(c): " " for c in _PUNCTUATION}


class _Plain(dict[str, tuple[bytes, ...]]):
    """Piece of text → its words without case, accents, punctuation and figures."""

    def __missing__(self, piece: str) -> tuple[bytes, ...]:
        plain = piece.lower()
        if plain.isascii() and plain.isalpha():
            words = KNOWN.get(plain, (plain,))
        else:
            plain = _FIGURES.sub("0", plain).translate(_TO_SPACE)
            if not plain.isascii():
                decomposed = unicodedata.normalize("NFD", plain)
                plain = "".join(c for c in decomposed if unicodedata.category(c) != "Mn")
            words = tuple(chain.from_iterable(map(split_piece, plain.split())))
        found = tuple(word.encode("utf-8", "replace") for word in words)
        if len(piece) < _LONG_PIECE:
            self[piece] = found
        return found


class _WordHashes(dict[bytes, int]):
    def __missing__(self, word: bytes) -> int:
        from xxhash import xxh64_intdigest

        found = self[word] = xxh64_intdigest(word)
        return found


_plain = _Plain()
_word_hashes = _WordHashes()


def plain_words(text: str) -> list[bytes]:
    """The words of `text` as UTF-8, equal for spellings that differ in form only."""
    if len(_plain) > _TABLE_SIZE:
        _plain.clear()
    return list(chain.from_iterable(map(_plain.__getitem__, text.split())))


def word_runs(words: list[bytes], n: int) -> Hashes:
    """A hash for each run of `n` words, the same in every process."""
    if len(_word_hashes) > _TABLE_SIZE:
        _word_hashes.clear()
    hashes = np.fromiter(map(_word_hashes.__getitem__, words), np.uint64, len(words))
    return grams(hashes, n)


_FACTOR = np.uint64(0x9E3779B97F4A7C15)


def grams(hashes: Hashes, n: int) -> Hashes:
    """A hash for each run of `n` of random `hashes`; empty if there are fewer."""
    runs = hashes
    for length in range(2, n + 1):
        runs = longer(runs, hashes, length)
    return runs


def longer(runs: Hashes, hashes: Hashes, n: int) -> Hashes:
    """Hashes of runs of `n`, from those of runs shorter by one."""
    return runs[:-1] * _FACTOR + hashes[n - 1 :]
