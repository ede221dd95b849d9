"""Which tokens a rank sees at a step: a pure function of (seed, step, rank), with no state.

Samples are windows of the shards. Each epoch visits every window once, in an order that a keyed
permutation gives without a table. So there is no loader to save, and a run goes on at another
world size without repeating or skipping a token.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gnomon.errors import ConfigError
from gnomon.train.shards import TokenShards

_ROUNDS = 6
_Ints = NDArray[np.int64]


def permute(positions: _Ints, count: int, key: int) -> _Ints:
    """Where a keyed permutation of range(count) sends `positions`.

    A Feistel network over the next power of four; what falls outside is sent on until inside.
    """
    half = max(1, ((count - 1).bit_length() + 1) // 2)
    mask = np.uint64((1 << half) - 1)
    keys = np.random.default_rng(key).integers(0, 1 << 62, _ROUNDS, dtype=np.uint64)
    out = positions.astype(np.uint64)
    todo = np.ones(len(out), bool)
    while todo.any():
        left, right = out[todo] >> np.uint64(half), out[todo] & mask
        for round_key in keys:
            left, right = right, left ^ (_mix(right ^ round_key) & mask)
        out[todo] = (left << np.uint64(half)) | right
        todo &= out >= count
    return out.astype(np.int64)


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


class Windows:
    """The samples of a run: windows of `length` tokens and the one that follows."""

    def __init__(self, shards: TokenShards, *, length: int, batch: int, seed: int) -> None:
        self.count = (shards.tokens - 1) // length
        if self.count < 1:
            raise ConfigError(
                f"{shards.folder} holds {shards.tokens} tokens, fewer than one sample of {length}.",
                code="train.no_data",
                hint="Encode more text, or make data.sequence shorter.",
            )
        self._shards, self._length, self._batch, self._seed = shards, length, batch, seed

    def numbers(self, step: int, rank: int = 0, world: int = 1) -> _Ints:
        """Which windows `rank` of `world` reads at `step`: its part of the global batch."""
        part = self._batch // world
        first = step * self._batch + rank * part
        order = np.arange(first, first + part, dtype=np.int64)
        out = np.empty_like(order)
        epochs = order // self.count
        for epoch in np.unique(epochs):
            chosen = epochs == epoch
            key = self._seed * 1_000_003 + int(epoch)
            out[chosen] = permute(order[chosen] % self.count, self.count, key)
        return out

    def batch(self, step: int, rank: int = 0, world: int = 1) -> _Ints:
        """Tokens [part, length + 1]: inputs without the last column, targets without the first."""
        numbers = self.numbers(step, rank, world)
        length = self._length
        return np.stack([self._shards.read(int(n) * length, length + 1) for n in numbers])
