"""Words of a text as numbers, so that the rules over them run in numpy.

A text is split at white space, and each piece into words once: the pieces of a language repeat, so
a table remembers them. The splitting follows English usage: punctuation and contractions are words
of their own. Tables are emptied when they grow large, so memory is bounded.
"""

from __future__ import annotations

import re
import unicodedata
from hashlib import blake2b
from itertools import chain

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Hashes = NDArray[np.uint64]

_TABLE_SIZE = 400_000
STOP_WORDS = frozenset(("the", "be", "to", "of", "and", "that", "have", "with"))

_OPENING = r"[\[\](){}<>\"'“”‘’«»„`…,:;!?¡¿#$£€¥*&_=|§%§~]"
_CLOSING = r"(?:\.\.+|…|'s|'S|’s|’S|[\[\](){}<>\"'“”‘’«»„`,:;!?*&_=|%~—–#]|(?<=[a-z0-9)\]\"'”’%])\.|(?<=[A-Z][A-Z])\.)"  # noqa: E501
_PREFIX = re.compile(rf"(?:\.\.+|—|–|--+|{_OPENING})")
_SUFFIX = re.compile(rf"{_CLOSING}$")
_INFIX = re.compile(
    r"\.\.+|…|(?<=[0-9])[+\-*^](?=[0-9-])|(?<=[a-z\"'”’])\.(?=[A-Z\"'“‘])"
    r"|(?<=[A-Za-z]),(?=[A-Za-z])|(?<=[A-Za-z0-9])(?:-|–|—|--|---|~)(?=[A-Za-z])"
    r"|(?<=[A-Za-z0-9])[:<>=/](?=[A-Za-z])"
)
_CONTRACTION = re.compile(r"(?i)(?<=[a-z])(n['’]t|['’](?:ll|re|ve|d|m|s))$")
_ADDRESS = re.compile(
    r"(?i)^(?:https?://|www\.)|^[\w.+-]+@[\w-]+\.[\w.]+$|^[\w-]+\.(?:com|org|net)\b"
)
_ABBREVIATED = re.compile(
    r"(?:[A-Za-z]\.)+|(?:Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|Inc|Ltd|Co|Corp|vs|etc|e\.g|i\.e|Jan|Feb|Mar|"
    r"Apr|Jun|Jul|Aug|Sep|Sept|Oct|Nov|Dec|Gov|Gen|Rep|Sen|Rev|Mt|Bros|a\.m|p\.m)\."
)


def split_piece(piece: str) -> list[str]:
    """The words of a piece of text without white space."""
    head: list[str] = []
    tail: list[str] = []
    while piece and not _ABBREVIATED.fullmatch(piece) and not _ADDRESS.match(piece):
        if (found := _PREFIX.match(piece)) and found.end() <= len(piece):
            head.append(found[0])
            piece = piece[found.end() :]
        elif found := _CONTRACTION.search(piece) or _SUFFIX.search(piece):
            tail.append(found[0])
            piece = piece[: found.start()]
        else:
            break
    if piece:
        if _ABBREVIATED.fullmatch(piece) or _ADDRESS.match(piece):
            head.append(piece)
        else:
            start = 0
            for found in _INFIX.finditer(piece):
                head.extend(part for part in (piece[start : found.start()], found[0]) if part)
                start = found.end()
            head.append(piece[start:])
    return head + tail[::-1]


def _symbolic(word: str) -> bool:
    """Whether `word` is punctuation and nothing else."""
    return all(unicodedata.category(c)[0] in "PC" or c in "$+<=>^`|~" for c in word)


class Vocabulary:
    """Numbers for words, and what the rules ask of each word, as arrays by number."""

    def __init__(self) -> None:
        self._pieces: _Pieces = _Pieces(self)
        self._clear()

    def _clear(self) -> None:
        self._numbers: dict[str, int] = {}
        self._pieces.clear()
        self.words: list[str] = []
        self.lengths: NDArray[np.int64] = np.zeros(1 << 16, np.int64)
        self.symbolic: NDArray[np.bool_] = np.zeros(1 << 16, bool)
        self.alphabetic: NDArray[np.bool_] = np.zeros(1 << 16, bool)
        self.stop: NDArray[np.bool_] = np.zeros(1 << 16, bool)
        self.ends: NDArray[np.bool_] = np.zeros(1 << 16, bool)

    def number(self, word: str) -> int:
        """The number of `word`, given now if it is new."""
        found = self._numbers.get(word)
        if found is not None:
            return found
        at = self._numbers[word] = len(self.words)
        self.words.append(word)
        if at == len(self.lengths):
            for name in ("lengths", "symbolic", "alphabetic", "stop", "ends"):
                old = getattr(self, name)
                setattr(self, name, np.concatenate([old, np.zeros_like(old)]))
        self.lengths[at] = len(word)
        self.symbolic[at] = _symbolic(word)
        self.alphabetic[at] = any(map(str.isalpha, word))
        self.stop[at] = word in STOP_WORDS
        self.ends[at] = word in (".", "!", "?", "…", "。", "！", "？")
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
        ends = self.ends[ids]
        # A stop counts when a word follows it, whatever quotes and brackets stand between.
        marks = ends[~self.symbolic[ids] | ends]
        return 1 + int(np.count_nonzero(marks[:-1] & ~marks[1:]))


class _Pieces(dict[str, tuple[int, ...]]):
    """Piece of text → the numbers of its words."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        super().__init__()
        self._vocabulary = vocabulary

    def __missing__(self, piece: str) -> tuple[int, ...]:
        found = tuple(map(self._vocabulary.number, split_piece(piece)))
        if len(piece) < 100:
            self[piece] = found
        return found


_DIGITS = re.compile(r"\d+(?:[.,]\d+)?")
_NO_WORD = re.compile(r"[^\w]|_")


class _Plain(dict[str, tuple[int, ...]]):
    """Piece of text → hashes of its words without case, accents, punctuation and figures."""

    def __missing__(self, piece: str) -> tuple[int, ...]:
        plain = _DIGITS.sub("0", piece.lower())
        if not plain.isascii():
            plain = "".join(
                c for c in unicodedata.normalize("NFD", plain) if unicodedata.category(c) != "Mn"
            )
        found = tuple(
            int.from_bytes(blake2b(word.encode("utf-8", "replace"), digest_size=8).digest())
            for word in _NO_WORD.sub(" ", plain).split()
        )
        if len(piece) < 100:
            self[piece] = found
        return found


_plain = _Plain()


def plain_hashes(text: str) -> Hashes:
    """A hash for each word of `text`, equal for spellings that differ in form only."""
    if len(_plain) > _TABLE_SIZE:
        _plain.clear()
    return np.fromiter(chain.from_iterable(map(_plain.__getitem__, text.split())), dtype=np.uint64)


def grams(values: NDArray[np.uint64] | Ids, n: int) -> Hashes:
    """A hash for each run of `n` values; empty if there are fewer."""
    count = len(values) - n + 1
    if count <= 0:
        return np.empty(0, np.uint64)
    values = mix(values.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15))
    out = values[:count].copy()
    for at in range(1, n):
        out *= np.uint64(0x100000001B3)
        out ^= out >> np.uint64(29)
        out += values[at : at + count]
    return mix(out)


def mix(values: Hashes) -> Hashes:
    """The finaliser of splitmix64: every bit of the input moves every bit of the output."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
