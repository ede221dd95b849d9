"""Near-duplicates by MinHash: texts that share most of their runs of five words.

Broder, "On the resemblance and containment of documents", 1997; bands as in Lee et al.,
"Deduplicating Training Data Makes Language Models Better", 2022, arXiv:2107.06499. With 14 bands
of 8 values, as FineWeb takes them, texts of similarity 0.7 meet with 56 %, 0.8 with 92 %.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gnomon.train.corpus.words import Hashes, grams, mix

BANDS = 14
ROWS = 8
SHINGLE_WORDS = 5
_BLOCK = 512

_rng = np.random.default_rng(0x6E6F6D6F6E)
_FACTORS: Hashes = _rng.integers(0, 1 << 63, BANDS * ROWS, dtype=np.uint64) * np.uint64(
    2
) + np.uint64(1)
_ADDED: Hashes = _rng.integers(0, 1 << 63, BANDS * ROWS, dtype=np.uint64)


def bands(words: Hashes) -> Hashes | None:
    """One number for each band, from hashes of the words; None for a text of fewer than five."""
    shingles = np.unique(grams(words, SHINGLE_WORDS))
    if not len(shingles):
        return None
    least = np.full(BANDS * ROWS, np.iinfo(np.uint64).max, np.uint64)
    for start in range(0, len(shingles), _BLOCK):  # a block of products stays in the cache
        products = np.multiply.outer(_FACTORS, shingles[start : start + _BLOCK])
        products += _ADDED[:, None]
        np.minimum(least, products.min(axis=1), out=least)
    out = np.zeros(BANDS, np.uint64)
    for row in least.reshape(BANDS, ROWS).T:
        out = mix(out * np.uint64(0x100000001B3) + row)
    return out


def clusters(pairs: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """For each of `count` texts, the first that `pairs` tie it to, in any number of steps."""
    first = np.arange(count, dtype=np.int64)
    if not len(pairs):
        return first
    left, right = pairs[:, 0], pairs[:, 1]
    while True:
        least = np.minimum(first[left], first[right])
        before = first.copy()
        np.minimum.at(first, first[left], least)
        np.minimum.at(first, first[right], least)
        np.minimum.at(first, left, least)
        np.minimum.at(first, right, least)
        first = first[first]
        if np.array_equal(first, before):
            return first


def equal_pairs(values: Hashes, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """(first, other) for all `numbers` whose values are equal."""
    order = np.lexsort((numbers, values))
    values, numbers = values[order], numbers[order]
    same = np.flatnonzero(values[1:] == values[:-1])
    return np.stack([numbers[same], numbers[same + 1]], axis=1)
