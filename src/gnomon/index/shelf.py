"""What the lexical index cannot hold: lives, attributes, vectors and signatures, row by row.

Row `i` belongs to the version with ordinal `i`; ordinals count versions in order of indexing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gnomon.errors import StoreError
from gnomon.index.columns import Column, Names
from gnomon.index.near import BINS

OPEN = np.iinfo(np.int64).max
"""End of a life that has not ended."""
DROPPED = np.iinfo(np.int64).max
"""Start of a life that was dropped: at no moment alive."""
ATTRIBUTES = ("source", "kind", "lang", "author", "domain")
_CODES = 4
"""64-bit words of sign code per vector."""
_COARSE = 2
"""Of them, how many are compared with every row."""
_REFINED = 4
"""Times as many rows as are compared exactly, which all words of their codes choose from."""
_RESCORED = 1500
"""Rows that sign codes pick for an exact comparison."""
_CHUNK = 32_768
"""Rows that are compared at a time: what lies between two steps stays in the cache."""
_SAMPLE = 2048
"""Rows that are looked at to tell how much passes, and what is recent."""
_JITTER = np.random.default_rng(0).random(_SAMPLE)
_FEW_VALUES = 16
_FEW = 4
"""Below this share (1 in 4) of admitted rows, their codes are gathered instead of all scanned."""


class Shelf:
    """All columns of one index."""

    def __init__(self, path: Path, dim: int) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.dim = dim
        self.rows = 0
        self.seq = Column(path / "seq.i64", np.int64)
        self.start = Column(path / "start.i64", np.int64)
        self.until = Column(path / "until.i64", np.int64)
        self.time = Column(path / "time.i64", np.int64)
        self.key_end = Column(path / "key_end.i64", np.int64)
        self.attributes = [Column(path / f"{name}.i32", np.int32) for name in ATTRIBUTES]
        self.signature = Column(path / "signature.u16", np.uint16, BINS)
        self.codes = [Column(path / f"code{i}.u64", np.uint64) for i in range(_CODES)]
        self.vector = Column(path / "vector.i8", np.int8, dim)
        self.scale = Column(path / "scale.f32", np.float32)
        self._bounds = np.zeros((0, 3), np.int64)
        """Of each chunk of rows: earliest time, latest time, earliest start; or what is beyond."""
        self._names = [Names(path / f"{name}.txt", name == "domain") for name in ATTRIBUTES]
        self._keys = os.open(path / "keys.bin", os.O_RDWR | os.O_CREAT, 0o600)

    @property
    def columns(self) -> list[Column]:
        """Every column."""
        fixed = [self.seq, self.start, self.until, self.time, self.key_end, self.signature]
        return [*fixed, *self.attributes, *self.codes, self.vector, self.scale]

    def open(self, rows: int) -> None:
        """Take the first `rows` rows as stored; a crash left half done what stands behind them.

        Raises StoreError if they cannot be as they were written.
        """
        seqs, ends = self.seq.rows[:rows], self.key_end.rows[:rows]
        damage = ""
        if rows and min(column.stored for column in self.columns) < rows:
            damage = "a column is too short"
        elif rows and ((np.diff(seqs) <= 0).any() or seqs[0] <= 0):
            damage = "sequence numbers are out of order"
        elif rows and ((np.diff(ends) < 0).any() or os.fstat(self._keys).st_size < ends[-1]):
            damage = "keys are missing"
        elif any(
            rows and not 0 <= column.rows[:rows].min() <= column.rows[:rows].max() < len(names)
            for column, names in zip(self.attributes, self._names, strict=True)
        ):
            damage = "names are missing"
        if damage:
            self.release()
            raise StoreError(f"The columns of the index are damaged: {damage}.")
        self._bound(0, rows)
        self.rows = rows

    def append(
        self,
        *,
        seqs: Sequence[int],
        starts: Sequence[int],
        untils: Sequence[int],
        times: Sequence[int],
        keys: Sequence[str],
        attributes: Sequence[Sequence[str]],
        signatures: NDArray[np.uint16],
        vectors: NDArray[np.float32] | None,
    ) -> None:
        """Add rows; they belong to searches from the next published snapshot on."""
        first, end = self.rows, self.rows + len(seqs)
        for column in self.columns:
            column.reserve(end)
        here = slice(first, end)
        self.seq.rows[here], self.start.rows[here] = seqs, starts
        self.until.rows[here], self.time.rows[here] = untils, times
        for i, (column, names) in enumerate(zip(self.attributes, self._names, strict=True)):
            column.rows[here] = [names.number(row[i]) for row in attributes]
        self.signature.rows[here] = signatures
        self._put_vectors(here, vectors)
        raw = [key.encode("utf-8", "surrogatepass") for key in keys]
        offset = int(self.key_end.rows[first - 1]) if first else 0
        os.pwrite(self._keys, b"".join(raw), offset)
        self.key_end.rows[here] = offset + np.cumsum([len(key) for key in raw])
        self._bound(first, end)
        self.rows = end

    def _bound(self, first: int, end: int) -> None:
        """Widen the bounds of the chunks by the rows from `first` to `end`."""
        missing = -(-end // _CHUNK) - len(self._bounds)
        self._bounds = np.concatenate((self._bounds, np.full((missing, 3), (OPEN, -OPEN, OPEN))))
        for chunk in range(first // _CHUNK, len(self._bounds)):
            here = slice(max(first, chunk * _CHUNK), min(end, (chunk + 1) * _CHUNK))
            times, starts = self.time.rows[here], self.start.rows[here]
            low, high, start = self._bounds[chunk]
            self._bounds[chunk] = (
                min(low, times.min()),
                max(high, times.max()),
                min(start, starts.min()),
            )

    def chunks(
        self, rows: int, low_us: int | None, high_us: int | None, moment_us: int | None
    ) -> list[slice]:
        """Of the first rows, those among which some may lie between two times and be alive then."""
        early, late, start = self._bounds[: -(-rows // _CHUNK)].T
        may = np.ones(len(start), bool)
        if low_us is not None:
            may &= late >= low_us
        if high_us is not None:
            may &= early < high_us
        if moment_us is not None:
            may &= start <= moment_us
        begins = (np.flatnonzero(may) * _CHUNK).tolist()
        return [slice(begin, min(begin + _CHUNK, rows)) for begin in begins]

    def _put_vectors(self, here: slice, vectors: NDArray[np.float32] | None) -> None:
        """Store int8 vectors, in units of each one's largest component, and their sign codes."""
        if vectors is None:
            for column in (self.vector, self.scale, *self.codes):
                column.rows[here] = 0
            return
        largest = np.abs(vectors).max(axis=1)
        self.scale.rows[here] = largest / 127
        largest[largest == 0] = 1
        self.vector.rows[here] = np.rint(vectors * (127 / largest)[:, None])
        for column, code in zip(self.codes, _signs(vectors), strict=True):
            column.rows[here] = code

    def rows_of(self, seqs: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of these sequence numbers, without those that have none."""
        known = self.seq.rows[: self.rows]
        wanted = np.asarray(seqs, np.int64)
        at = np.searchsorted(known, wanted)
        inside = at < len(known)
        at, wanted = at[inside], wanted[inside]
        rows: NDArray[np.int64] = at[known[at] == wanted]
        return rows

    # -- vectors ---------------------------------------------------------------
    def similarity(
        self, rows: NDArray[np.int64], query: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Cosine of each row's vector with a unit vector."""
        # Not `@`: a BLAS that spreads this over threads waits for cores that ingest keeps busy.
        # Nor is it widened to single precision before: large blocks are asked of the system.
        stored = np.einsum("ij,j->i", self.vector.at(rows), query)
        cosine: NDArray[np.float32] = stored * self.scale.at(rows)
        return cosine

    def nearest(
        self,
        query: NDArray[np.float32],
        chunks: Sequence[slice],
        passing: Callable[[slice | NDArray[np.int64]], NDArray[np.bool_]],
        sample: NDArray[np.int64],
        each: float,
        limit: int,
    ) -> tuple[NDArray[np.int64], bool]:
        """Of the rows in `chunks`, those `passing` that are closest to `query`, best first.

        `sample` are some of the rows that pass, and each stands for so many. Half of the sign
        codes pick some thousand rows, whole codes fewer, and int8 vectors order them. Where few
        rows pass, all of them are compared: a narrow filter loses nothing. Also returns whether
        no other row passes.
        """
        few = max(_RESCORED, 4 * limit)
        parts = [code[0] for code in _signs(query[None, :])]
        rows = sum(chunk.stop - chunk.start for chunk in chunks)
        everything = False
        if len(sample) * each * _FEW < rows or rows <= _FEW * few:
            found = _joined([np.flatnonzero(passing(chunk)) + chunk.start for chunk in chunks])
            everything = len(found) <= limit
            far = self._distance(found, parts, range(_COARSE)) if len(found) > few else None
        else:
            cut = _cut(self._distance(sample, parts, range(_COARSE)), _REFINED * few / each)
            found, far = self._within(cut, chunks, parts)
            kept = np.flatnonzero(passing(found))
            found, far = found.take(kept), far.take(kept)
        if far is not None:
            for wanted, words in ((_REFINED * few, range(0)), (few, range(_COARSE, _CODES))):
                if len(found) > wanted:
                    far = far + self._distance(found, parts, words) if words else far
                    near = np.flatnonzero(far <= _cut(far, wanted))
                    found, far = found.take(near), far.take(near)
        cosine = self.similarity(found, query)
        best: NDArray[np.int64] = found[np.lexsort((-found, -cosine))[:limit]]
        return best, everything

    def _within(
        self, cut: int, chunks: Sequence[slice], parts: Sequence[np.uint64]
    ) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Of the rows in `chunks`, those that differ in at most `cut` signs of the coarse words."""
        found: list[NDArray[np.int64]] = []
        distances: list[NDArray[np.uint8]] = []
        mixed = np.empty(_CHUNK, np.uint64)
        both = np.empty((_COARSE, _CHUNK), np.uint8)
        for chunk in chunks:
            size = chunk.stop - chunk.start
            for word in range(_COARSE):
                np.bitwise_xor(self.codes[word].rows[chunk], parts[word], out=mixed[:size])
                np.bitwise_count(mixed[:size], out=both[word, :size])
            far = both[0, :size]
            far += both[1, :size]
            at = np.flatnonzero(far <= cut)
            found.append(at + chunk.start)
            distances.append(far.take(at))
        return _joined(found), np.concatenate(distances)

    def _distance(
        self, rows: NDArray[np.int64], parts: Sequence[np.uint64], words: range
    ) -> NDArray[np.uint8]:
        """In how many signs of these words each row's vector differs; at most 255."""
        far: NDArray[np.uint8] = np.bitwise_count(self.codes[words[0]].at(rows) ^ parts[words[0]])
        for word in words[1:]:
            far += np.bitwise_count(self.codes[word].at(rows) ^ parts[word])
        return far

    # -- lives and attributes --------------------------------------------------
    def alive(self, rows: slice | NDArray[np.int64], moment_us: int | None) -> NDArray[np.bool_]:
        """Which of these rows were alive at a moment, or are alive now."""
        until = self.until.at(rows)
        if moment_us is None:
            now: NDArray[np.bool_] = until == OPEN
            return now
        then: NDArray[np.bool_] = (self.start.at(rows) <= moment_us) & (moment_us < until)
        return then

    def key(self, row: int) -> str:
        """The key of a row."""
        begin = int(self.key_end.rows[row - 1]) if row else 0
        raw = os.pread(self._keys, int(self.key_end.rows[row]) - begin, begin)
        return raw.decode("utf-8", "surrogatepass")

    def admits(
        self, attribute: str, wanted: Sequence[str], rows: slice | NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Which of these rows carry one of the wanted values."""
        at = ATTRIBUTES.index(attribute)
        names = self._names[at]
        found = [n for value in wanted for n in names.matching(value)]
        values = self.attributes[at].at(rows)
        if len(found) > _FEW_VALUES:
            many: NDArray[np.bool_] = np.isin(values, np.array(found, np.int32))
            return many
        mask = np.zeros(len(values), bool)
        for number in found:
            mask |= values == number
        return mask

    def erase(self, rows: NDArray[np.int64]) -> None:
        """Leave nothing of these rows but that they were."""
        self.until.rows[rows], self.start.rows[rows] = 0, DROPPED
        blank = (self.time, self.signature, self.vector, self.scale, *self.codes)
        for column in (*blank, *self.attributes):
            column.rows[rows] = 0
        for row in rows:
            begin = int(self.key_end.rows[row - 1]) if row else 0
            os.pwrite(self._keys, b"\0" * (int(self.key_end.rows[row]) - begin), begin)

    def sync(self) -> None:
        """Hand names to the system, so that a killed process loses none."""
        for names in self._names:
            names.sync()

    def close(self) -> None:
        """Write everything out."""
        self.sync()
        for column in self.columns:
            column.close(self.rows)
        os.close(self._keys)

    def release(self) -> None:
        """Close without writing anything out."""
        os.close(self._keys)

    @property
    def body_bytes(self) -> int:
        """Room on disk."""
        return sum(c.body_bytes for c in self.columns) + os.fstat(self._keys).st_blocks * 512


def spread(rows: int) -> NDArray[np.int64]:
    """Some of the first rows, spread evenly, but not in step with sources that take turns."""
    if rows <= _SAMPLE:
        return np.arange(rows)
    return ((np.arange(_SAMPLE) + _JITTER) * (rows / _SAMPLE)).astype(np.int64)


def _signs(vectors: NDArray[np.float32]) -> list[NDArray[np.uint64]]:
    """Signs of the components as bits, in words of 64; missing components count as negative."""
    bits = np.zeros((len(vectors), _CODES * 8), np.uint8)
    packed = np.packbits(vectors[:, : _CODES * 64] > 0, axis=1)
    bits[:, : packed.shape[1]] = packed
    return list(np.ascontiguousarray(bits.view(np.uint64).T))


def _cut(far: NDArray[np.uint8], wanted: float) -> int:
    """The distance within which at least `wanted` of these lie."""
    return int(np.searchsorted(np.cumsum(np.bincount(far, minlength=256)), wanted))


def _joined(parts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)
