"""Growing memory-mapped arrays, one row per version, beside the lexical index."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FIRST_ROWS = 4096


class Column:
    """An array in a file. Rows are appended by one writer; readers may hold an older view.

    Views stay valid when the file grows, because both map the same pages.
    """

    def __init__(self, path: Path, dtype: Any, width: int = 1) -> None:
        self._path = path
        self._dtype = np.dtype(dtype)
        self._width = width
        self._row_bytes = self._dtype.itemsize * width
        self._map(max(_FIRST_ROWS, path.stat().st_size // self._row_bytes if path.exists() else 0))

    def _map(self, rows: int) -> None:
        shape = (rows, self._width) if self._width > 1 else (rows,)
        with self._path.open("ab") as file:
            file.truncate(rows * self._row_bytes)
        self.rows: NDArray[Any] = np.memmap(self._path, self._dtype, "r+", shape=shape)

    def reserve(self, rows: int) -> None:
        """Make room for `rows` rows in all."""
        if rows > len(self.rows):
            size = len(self.rows)
            while size < rows:
                size *= 2
            self._map(size)

    def close(self, rows: int) -> None:
        """Write everything out and give unused room back."""
        self.rows.flush()  # type: ignore[attr-defined]
        del self.rows
        with self._path.open("r+b") as file:
            file.truncate(max(rows, 1) * self._row_bytes)

    @property
    def body_bytes(self) -> int:
        """Room that the file takes on disk."""
        return self._path.stat().st_blocks * 512
