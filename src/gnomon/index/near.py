"""Near copies: MinHash signatures of word pairs, and folding of what was found.

A signature is 32 values of 16 bits (b-bit minwise hashing, Li and König 2010) over the pairs of
neighbouring words, without addresses, handles and the marks of repetition ("RT @x:"). Folding
compares the candidates of one search with each other, so that it is exact as of any moment: an
origin is always something that the search itself could see.
"""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

PERMUTATIONS = 32
SAME = 0.6
"""Share of equal signature values from which two texts are copies."""

_RNG = np.random.default_rng(0x6E6F6D6F6E)
_MULTIPLY = _RNG.integers(1, 2**63, PERMUTATIONS, dtype=np.uint64) | np.uint64(1)
_ADD = _RNG.integers(0, 2**63, PERMUTATIONS, dtype=np.uint64)
_PAIR = np.uint64(0x9E3779B97F4A7C15)
_LEAST_WORDS = 4


def shown_words(words: Sequence[str]) -> list[int]:
    """Hashes of the words that make up a text, without what repeats and forwards add to it."""
    return [
        crc32(word.encode())
        for word in words
        if word[0] != "@" and word not in _MARKS and not word.startswith(("http", "t.co", "www."))
    ]


_MARKS = frozenset({"rt", "via", "ap", "reuters", "afp", "dpa", "update", "breaking"})


def signatures(texts: Sequence[Sequence[int]]) -> NDArray[np.uint16]:
    """One row of PERMUTATIONS values per text; a row of zeros where a text is too short."""
    result = np.zeros((len(texts), PERMUTATIONS), np.uint16)
    long = [i for i, text in enumerate(texts) if len(text) >= _LEAST_WORDS]
    if not long:
        return result
    lengths = np.array([len(texts[i]) for i in long])
    flat = np.fromiter((word for i in long for word in texts[i]), np.int64, int(lengths.sum()))
    hashes = flat.view(np.uint64)
    ends = np.cumsum(lengths)
    pairs = hashes[:-1] * _PAIR + hashes[1:]
    # A pair that spans two texts belongs to neither.
    inside = np.ones(len(pairs), bool)
    inside[ends[:-1] - 1] = False
    pairs = pairs[inside]
    starts = np.concatenate(([0], np.cumsum(lengths - 1)[:-1]))
    for k in range(PERMUTATIONS):
        mixed = (pairs * _MULTIPLY[k] + _ADD[k]) >> np.uint64(32)
        result[long, k] = np.minimum.reduceat(mixed, starts).astype(np.uint16)
    return result


def copies(signature: NDArray[np.uint16]) -> NDArray[np.bool_]:
    """Which rows are near copies of which, shape (n, n); a text without signature has none."""
    valid: NDArray[np.bool_] = np.any(signature, axis=1)
    equal = np.mean(signature[:, None, :] == signature[None, :, :], axis=2)
    both: NDArray[np.bool_] = np.logical_and(equal >= SAME, np.outer(valid, valid))
    return both
