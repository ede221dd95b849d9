"""Stage 2: which texts repeat an earlier one, over any number of units, in bounded memory.

Stage 1 leaves with each unit its signatures, band by band in the order of their values. `match`
takes one range of one band's values over all units, and writes which texts agree there; ranges are
so narrow that each fits in memory, and they can be matched side by side. `settle` joins all pairs
to groups; it holds 9 bytes for each text, in files that are mapped into memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gnomon.train.corpus.minhash import BANDS, clusters, equal_pairs
from gnomon.train.shards import durable_file, write_durably

EXACT = BANDS
"""The number of the column that holds the hash of the whole text."""

RANGE_TEXTS = 2_000_000
"""Texts whose values of one band are compared at a time, about; 40 bytes of memory for each."""

KEPT, EQUAL, NEAR = 0, 1, 2
_PAIRS_AT_ONCE = 250_000

Hashes = NDArray[np.uint64]
Numbers = NDArray[np.int64]


def write_signatures(path: Path, exact: Hashes, bands: Hashes, whose: NDArray[np.uint32]) -> None:
    """Keep a unit's signatures: the hash of each text, and the bands of those texts in `whose`."""
    with durable_file(path) as file:
        for values, texts in chain(
            ((column, whose) for column in bands.T),
            [(exact, np.arange(len(exact), dtype=np.uint32))],
        ):
            order = np.argsort(values, kind="stable")
            file.write(values[order].data)
            file.write(texts[order].data)


class Signed:
    """The signatures of one unit: how many texts it has, and how many of them have bands."""

    def __init__(self, path: Path, first: int, texts: int, banded: int) -> None:
        self._path, self.first, self.texts, self.banded = path, first, texts, banded

    def read(self, column: int, low: int, high: int) -> tuple[Hashes, Numbers]:
        """Values of a column from `low` to below `high`, in order, and the texts' numbers."""
        count = self.texts if column == EXACT else self.banded
        none = np.empty(0, np.uint64), np.empty(0, np.int64)
        if not count:
            return none
        start = column * self.banded * 12
        with self._path.open("rb") as file:
            at, end = 0, count
            if low > 0 or high < 1 << 64:
                values = np.memmap(file, np.uint64, "r", start, (count,))
                at = int(np.searchsorted(values, np.uint64(low)))
                end = int(np.searchsorted(values, np.uint64(high))) if high < 1 << 64 else count
            if at == end:
                return none
            file.seek(start + 8 * at)
            found = np.fromfile(file, np.uint64, end - at)
            file.seek(start + 8 * count + 4 * at)
            numbers = np.fromfile(file, np.uint32, end - at).astype(np.int64)
        return found, numbers + self.first


class Duplicates:
    """Stage 2 over the units of a build, in its work folder."""

    def __init__(self, work: Path, units: Sequence[Signed], *, near: bool = True) -> None:
        self._work, self._units = work, units
        self._texts = sum(unit.texts for unit in units)
        self._ranges = max(1, -(-self._texts // RANGE_TEXTS))
        self._columns = [*range(BANDS), EXACT] if near else [EXACT]

    @property
    def tasks(self) -> int:
        """How many calls of `match` there are, in any order."""
        return len(self._columns) * self._ranges

    def match(self, task: int) -> None:
        """Write the pairs of texts that agree in one range of one band."""
        target = self._pairs(task)
        if target.exists():
            return
        column, part = self._columns[task // self._ranges], task % self._ranges
        low, high = ((part + more << 64) // self._ranges for more in (0, 1))
        found = [unit.read(column, low, high) for unit in self._units]
        values = np.concatenate([values for values, _ in found])
        numbers = np.concatenate([numbers for _, numbers in found])
        del found
        target.parent.mkdir(exist_ok=True)
        write_durably(target, equal_pairs(values, numbers).tobytes())

    def settle(self) -> None:
        """Write for every text, in order, whether it stays: `verdicts(unit)` reads it."""
        target = self._work / "verdicts"
        if target.exists():
            return
        forest_path, part = self._work / "forest", self._work / "verdicts.part"
        forest = _mapped(forest_path, np.int64, self._texts)
        verdicts = _mapped(part, np.uint8, self._texts)
        for at in range(0, self._texts, _PAIRS_AT_ONCE):
            end = min(at + _PAIRS_AT_ONCE, self._texts)
            forest[at:end] = np.arange(at, end)
        for task in range(self.tasks):
            exact = self._columns[task // self._ranges] == EXACT
            for pairs in _pieces(self._pairs(task)):
                _join(forest, pairs)
                if exact:
                    verdicts[pairs[:, 1]] = EQUAL
        for at in range(0, self._texts, _PAIRS_AT_ONCE):
            end = min(at + _PAIRS_AT_ONCE, self._texts)
            later = forest[at:end] != np.arange(at, end)
            verdicts[at:end][later & (verdicts[at:end] == KEPT)] = NEAR
        if isinstance(verdicts, np.memmap):
            verdicts.flush()
        del forest, verdicts
        part.replace(target)
        forest_path.unlink()

    def verdicts(self, unit: int) -> NDArray[np.uint8]:
        """KEPT, EQUAL or NEAR for each text of a unit."""
        signed = self._units[unit]
        return np.fromfile(
            self._work / "verdicts", np.uint8, count=signed.texts, offset=signed.first
        )

    def _pairs(self, task: int) -> Path:
        return self._work / "pairs" / f"{task:06d}"


def _mapped(path: Path, dtype: type[np.generic], count: int) -> NDArray[np.generic]:
    """Zeros in a file of their own, which the system can write out when memory is short."""
    if not count:
        path.write_bytes(b"")
        return np.empty(0, dtype)
    return np.memmap(path, dtype, "w+", shape=(count,))


def _pieces(path: Path) -> Iterator[Numbers]:
    with path.open("rb") as file:
        while len(found := np.fromfile(file, np.int64, 2 * _PAIRS_AT_ONCE)):
            yield found.reshape(-1, 2)


def _join(forest: NDArray[np.generic], pairs: Numbers) -> None:
    """Tie the trees of each pair together; a root is the first text of its tree."""
    roots = _roots(forest, pairs.ravel())
    known, local = np.unique(roots, return_inverse=True)
    first = clusters(local.reshape(-1, 2), len(known))
    forest[known] = known[first]
    forest[pairs.ravel()] = _roots(forest, roots)


def _roots(forest: NDArray[np.generic], texts: Numbers) -> Numbers:
    while True:
        above: Numbers = np.asarray(forest[texts], np.int64)
        if np.array_equal(above, texts):
            return texts
        texts = above
