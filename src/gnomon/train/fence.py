"""The fence of a run folder: who may write to it. No PyTorch here.

Each start takes the next number. A process that was thought dead, and writes again later, finds a
higher number than its own and is refused. The check and what it guards happen under one lock, so
nothing fits between them.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gnomon.errors import StoreError

_FILE = "FENCE"


class Fence:
    """One holder's claim on a run folder."""

    def __init__(self, folder: Path, number: int) -> None:
        """Claim made by `take`, perhaps by another worker of the same start."""
        self._path, self.number = folder / _FILE, number

    @classmethod
    def take(cls, folder: Path) -> Fence:
        """Shut out whoever held the folder before."""
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / _FILE) as handle:
            number = _number(handle) + 1
            os.pwrite(handle, f"{number:012d}\n".encode(), 0)
            os.fsync(handle)
        return cls(folder, number)

    @staticmethod
    def number_of(folder: Path) -> int:
        """The number of the last start; 0 before the first."""
        if not (folder / _FILE).exists():
            return 0
        with _locked(folder / _FILE) as handle:
            return _number(handle)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nobody can take the folder inside. Raises StoreError if somebody did before."""
        with _locked(self._path) as handle:
            found = _number(handle)
            if found != self.number:
                raise StoreError(
                    f"{self._path.parent} was taken over by start {found}; this is {self.number}.",
                    code="train.fenced",
                    hint="Another process trains this run. Nothing was written; end this one.",
                )
            yield


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle
    finally:
        os.close(handle)


def _number(handle: int) -> int:
    return int(os.pread(handle, 32, 0) or b"0")
