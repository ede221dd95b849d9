"""What the lexical index cannot hold: lives, attributes, vectors and signatures, row by row.

Row `i` belongs to the version with ordinal `i`; ordinals count versions in order of indexing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gnomon.index.columns import Column
from gnomon.index.near import BINS

OPEN = np.iinfo(np.int64).max
"""End of a life that has not ended."""
DROPPED = np.iinfo(np.int64).max
"""Start of a life that was dropped: at no moment alive."""
ATTRIBUTES = ("source", "kind", "lang", "author", "domain")
CODE_BITS = 64


class Shelf:
    """All columns of one index."""

    def __init__(self, path: Path, dim: int) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.dim = dim
        self.seq = Column(path / "seq.i64", np.int64)
        self.start = Column(path / "start.i64", np.int64)
        self.until = Column(path / "until.i64", np.int64)
        self.time = Column(path / "time.i64", np.int64)
        self.key_end = Column(path / "key_end.i64", np.int64)
        self.attributes = [Column(path / f"{name}.i32", np.int32) for name in ATTRIBUTES]
        self.signature = Column(path / "signature.u16", np.uint16, BINS)
        self.code = Column(path / "code.u64", np.uint64)
        self.vector = Column(path / "vector.i8", np.int8, dim)
        self.scale = Column(path / "scale.f32", np.float32)
        self._names = [Names(path / f"{name}.txt") for name in ATTRIBUTES]
        self._keys = os.open(path / "keys.bin", os.O_RDWR | os.O_CREAT, 0o600)
        self.rows = 0

    @property
    def columns(self) -> list[Column]:
        """Every column."""
        fixed = [self.seq, self.start, self.until, self.time, self.key_end]
        return [*fixed, *self.attributes, self.signature, self.code, self.vector, self.scale]

    def truncate(self, rows: int) -> None:
        """Forget what stands behind the first `rows` rows: a crash left it half done."""
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
        self.rows = end

    def _put_vectors(self, here: slice, vectors: NDArray[np.float32] | None) -> None:
        """Store int8 vectors, in units of each one's largest component, and their sign codes."""
        if vectors is None:
            self.vector.rows[here], self.scale.rows[here], self.code.rows[here] = 0, 0, 0
            return
        largest = np.abs(vectors).max(axis=1)
        self.scale.rows[here] = largest / 127
        largest[largest == 0] = 1
        self.vector.rows[here] = np.rint(vectors * (127 / largest)[:, None])
        self.code.rows[here] = codes(vectors)

    def similarity(
        self, rows: NDArray[np.int64], query: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Cosine of each row's vector with a unit vector."""
        stored = self.vector.rows[rows].astype(np.float32)
        cosine: NDArray[np.float32] = (stored @ query) * self.scale.rows[rows]
        return cosine

    def nearest(
        self, query: NDArray[np.float32], admitted: NDArray[np.bool_], limit: int
    ) -> NDArray[np.int64]:
        """Rows among the admitted that are closest to `query`, best first.

        Sign codes of the first 64 components pick some thousand rows, int8 vectors order them.
        Where few rows are admitted, all of them are compared: the result is then exact.
        """
        rows = np.flatnonzero(admitted)
        few = max(2000, 10 * limit)
        if len(rows) > few:
            far = np.bitwise_count(self.code.rows[: len(admitted)] ^ codes(query[None, :])[0])
            far[~admitted] = CODE_BITS + 1
            counts = np.bincount(far, minlength=CODE_BITS + 2)
            cut = int(np.searchsorted(np.cumsum(counts), few))
            rows = np.flatnonzero(far <= min(cut, CODE_BITS))
            if len(rows) > 2 * few:
                rows = rows[np.argsort(far[rows], kind="stable")[: 2 * few]]
        if not len(rows):
            return rows
        cosine = self.similarity(rows, query)
        best = np.argsort(-cosine, kind="stable")[:limit]
        found: NDArray[np.int64] = rows[best]
        return found

    def alive(self, rows: slice | NDArray[np.int64], moment_us: int | None) -> NDArray[np.bool_]:
        """Which of these rows were alive at a moment, or are alive now."""
        until = self.until.rows[rows]
        if moment_us is None:
            now: NDArray[np.bool_] = (until == OPEN) & (self.start.rows[rows] != DROPPED)
            return now
        then: NDArray[np.bool_] = (self.start.rows[rows] <= moment_us) & (moment_us < until)
        return then

    def key(self, row: int) -> str:
        """The key of a row."""
        begin = int(self.key_end.rows[row - 1]) if row else 0
        raw = os.pread(self._keys, int(self.key_end.rows[row]) - begin, begin)
        return raw.decode("utf-8", "surrogatepass")

    def admits(self, attribute: str, wanted: Sequence[str], rows: int) -> NDArray[np.bool_]:
        """Which of the first `rows` rows carry one of the wanted values."""
        at = ATTRIBUTES.index(attribute)
        names = self._names[at]
        found = [n for value in wanted for n in names.matching(value, attribute == "domain")]
        mask: NDArray[np.bool_] = np.isin(self.attributes[at].rows[:rows], found)
        return mask

    def erase(self, rows: NDArray[np.int64]) -> None:
        """Leave nothing of these rows but that they were."""
        self.start.rows[rows], self.until.rows[rows] = DROPPED, 0
        self.time.rows[rows] = 0
        for column in (self.signature, self.code, self.vector, self.scale, *self.attributes):
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

    @property
    def body_bytes(self) -> int:
        """Room on disk."""
        return sum(c.body_bytes for c in self.columns) + os.fstat(self._keys).st_blocks * 512


class Names:
    """Numbers for the values of an attribute, in a file that only grows. 0 is no value."""

    def __init__(self, path: Path) -> None:
        whole = path.read_bytes() if path.exists() else b""
        whole = whole[: whole.rfind(b"\n") + 1]  # a crash may have cut the last line
        self._numbers = {"": 0}
        for line in whole.decode("utf-8", "surrogatepass").split("\n")[:-1]:
            self._numbers[line] = len(self._numbers)
        self._file = path.open("ab")
        self._file.truncate(len(whole))

    def number(self, value: str) -> int:
        """The number of a value, given when it is first met."""
        value = value.replace("\n", " ").replace("\r", " ")
        found = self._numbers.get(value)
        if found is None:
            found = self._numbers[value] = len(self._numbers)
            self._file.write(value.encode("utf-8", "surrogatepass") + b"\n")
        return found

    def matching(self, value: str, suffixes: bool) -> list[int]:
        """Numbers of the value, and of names below it where it is a domain."""
        if not suffixes:
            return [self._numbers[value]] if value in self._numbers else []
        below = "." + value
        return [n for name, n in self._numbers.items() if name == value or name.endswith(below)]

    def sync(self) -> None:
        """Hand what was written to the system."""
        self._file.flush()


def codes(vectors: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Signs of the first 64 components (which carry the most after PCA) as bits."""
    bits = np.packbits(vectors[:, :CODE_BITS] > 0, axis=1)
    packed: NDArray[np.uint64] = np.ascontiguousarray(bits).view(np.uint64).ravel()
    return packed
