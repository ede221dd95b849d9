"""Near copies: one-permutation MinHash signatures of word pairs.

Each pair of neighbouring words falls by its hash into one of 32 bins; a bin keeps its least value
(Li, Owen and Zhang, "One Permutation Hashing", 2012). The share of equal bins, among those that at
least one of two texts fills, estimates how many pairs they have in common. What forwarding adds
("RT @x:", addresses) is left out before.

Folding compares the candidates of one search with each other, so that it is exact as of any
moment: an origin is always something that the search itself could see.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BINS = 32
SAME = 0.6
"""Share of equal bins from which two texts are copies."""
_LEAST_WORDS = 4
_MIX = np.uint64(0x9E3779B97F4A7C15)
_MORE = np.uint64(0xD6E8FEB86659FD93)


def signatures(words: NDArray[np.uint64], lengths: NDArray[np.int64]) -> NDArray[np.uint16]:
    """One row of BINS values per text; 0 marks an empty bin.

    `words` are the word hashes of all texts behind each other, `lengths` how many each text has.
    A text of fewer than 4 words has no signature: too little to call anything its copy.
    """
    result = np.zeros((len(lengths), BINS), np.uint16)
    long = lengths >= _LEAST_WORDS
    if not long.any():
        return result
    flat = words[np.repeat(long, lengths)]
    owner = np.repeat(np.flatnonzero(long).astype(np.uint64), lengths[long])
    inside = owner[:-1] == owner[1:]  # a pair that spans two texts belongs to neither
    mixed = (flat[:-1] * _MIX ^ flat[1:]) * _MORE
    mixed = (mixed ^ (mixed >> np.uint64(29)))[inside] * _MIX
    slot = (owner[:-1][inside] << np.uint64(5)) | (mixed >> np.uint64(59))
    value = (mixed >> np.uint64(40)) & np.uint64(0xFFFF)
    ordered = np.sort((slot << np.uint64(16)) | value)
    slots = ordered >> np.uint64(16)
    first = np.ones(len(slots), bool)
    first[1:] = slots[1:] != slots[:-1]
    least = (ordered[first] & np.uint64(0xFFFF)).astype(np.uint16)
    result.reshape(-1)[slots[first].astype(np.int64)] = np.maximum(least, 1)
    return result


def copies(some: NDArray[np.uint16], others: NDArray[np.uint16]) -> NDArray[np.bool_]:
    """Which of `others` (columns) are near copies of which of `some` (rows)."""
    one, two = some[:, None, :], others[None, :, :]
    either = one | two
    filled = (either != 0).sum(axis=2, dtype=np.uint8)
    equal = ((one == two) & (either != 0)).sum(axis=2, dtype=np.uint8)
    same: NDArray[np.bool_] = (equal >= np.float32(SAME) * filled) & (filled > 0)
    return same
