"""Growing memory-mapped arrays, one row per version, beside the lexical index."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.errors import StoreError
from gnomon.index.marks import parents

_FIRST_ROWS = 4096
_STEP_ROWS = 262_144


class Column:
    """An array in a file. Rows are appended by one writer; readers may hold an older view.

    Views stay valid when the file grows, because both map the same pages. Room is reserved on the
    disk before it is mapped: a full disk is an error here, never a crash at some later write.
    """

    def __init__(self, path: Path, dtype: Any, width: int = 1) -> None:
        self._path = path
        self._dtype = np.dtype(dtype)
        self._width = width
        self._row_bytes = self._dtype.itemsize * width
        self.stored = path.stat().st_size // self._row_bytes if path.exists() else 0
        """Rows that the file held when it was opened, used or not."""
        self._map(max(_FIRST_ROWS, self.stored))

    def _map(self, rows: int) -> None:
        shape = (rows, self._width) if self._width > 1 else (rows,)
        with self._path.open("ab") as file:
            os.posix_fallocate(file.fileno(), 0, rows * self._row_bytes)
        self._file: NDArray[Any] = np.memmap(self._path, self._dtype, "r+", shape=shape)
        # A view of it as a plain array: each look into a `memmap` passes through Python.
        self.rows: NDArray[Any] = self._file.view(np.ndarray)

    def at(self, rows: slice | NDArray[np.int64]) -> NDArray[Any]:
        """The values of some rows. `take` is several times as fast as an array as an index."""
        return self.rows[rows] if isinstance(rows, slice) else self.rows.take(rows, axis=0)

    def reserve(self, rows: int) -> None:
        """Make room for `rows` rows in all."""
        size = len(self.rows)
        while size < rows:
            size += min(size, _STEP_ROWS)
        if size > len(self.rows):
            self._map(size)

    def close(self, rows: int) -> None:
        """Write everything out and give unused room back."""
        self._file.flush()  # type: ignore[attr-defined]
        del self.rows, self._file
        with self._path.open("r+b") as file:
            file.truncate(max(rows, 1) * self._row_bytes)

    @property
    def body_bytes(self) -> int:
        """Room that the file takes on disk."""
        return self._path.stat().st_blocks * 512


class Names:
    """Numbers for the values of an attribute, in a file that only grows. 0 is no value.

    With `nested`, values are host names, and each also stands for the hosts below it.
    """

    def __init__(self, path: Path, nested: bool) -> None:
        whole = path.read_bytes() if path.exists() else b""
        whole = whole[: whole.rfind(b"\n") + 1]  # a crash may have cut the last line
        self._nested = nested
        self._numbers: dict[str, int] = {}
        self._matching: dict[str, list[int]] = {}
        for value in ["", *whole.decode("utf-8").split("\n")[:-1]]:
            self._add(value)
        if len(self) != whole.count(b"\n") + 1:
            raise StoreError(f"{path} names a value twice.")
        self._path, self._unwritten = path, bytearray()
        path.touch()
        os.truncate(path, len(whole))

    def __len__(self) -> int:
        return len(self._numbers)

    def _add(self, value: str) -> int:
        number = self._numbers[value] = len(self._numbers)
        for name in parents(value) if self._nested else (value,):
            self._matching.setdefault(name, []).append(number)
        return number

    def number(self, value: str) -> int:
        """The number of a value, given when it is first met."""
        found = self._numbers.get(value)
        if found is None:
            self._unwritten += value.encode() + b"\n"
            found = self._add(value)
        return found

    def matching(self, value: str) -> list[int]:
        """Numbers of the value, and of hosts below it where values are nested."""
        return list(self._matching.get(value, ()))

    def sync(self) -> None:
        """Hand new values to the system, so that a killed process loses none."""
        if self._unwritten:
            with self._path.open("ab") as file:
                file.write(self._unwritten)
            self._unwritten.clear()
