"""Batches of requests, and what each of their lines came to. One SQLite file.

A line counts as done from the moment its outcome is kept here; it is never asked again.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec

from gnomon.accounts.base import Identity
from gnomon.database import Database

Status = Literal[
    "validating",
    "in_progress",
    "finalizing",
    "completed",
    "failed",
    "expired",
    "cancelling",
    "cancelled",
]
OPEN: tuple[Status, ...] = ("validating", "in_progress", "finalizing", "cancelling")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS batch (
  number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, owner TEXT NOT NULL,
  status TEXT NOT NULL, body BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS line (
  batch TEXT NOT NULL REFERENCES batch(id) ON DELETE CASCADE, number INTEGER NOT NULL,
  ok INTEGER NOT NULL, outcome BLOB NOT NULL, PRIMARY KEY (batch, number)
) WITHOUT ROWID;
"""


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Why a file of requests cannot be worked through."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """A file of requests, and how far it has come."""

    id: str
    identity: Identity
    """Who asked for it; its lines are asked, and counted, in their name."""
    base_url: str
    """The address that its answers' links begin with."""
    endpoint: str
    input_file_id: str
    window: str
    metadata: Mapping[str, str]
    created_at: datetime
    expires_at: datetime
    status: Status = "validating"
    ends_as: Status = "completed"
    """What it becomes once its output is written."""
    times: Mapping[str, datetime] = {}
    """When it took on each status that it went through."""
    total: int = 0
    answered: int = 0
    failed: int = 0
    output_file_id: str | None = None
    error_file_id: str | None = None
    faults: tuple[Fault, ...] = ()

    @property
    def owner(self) -> str:
        """Whose it is."""
        return self.identity.user_id

    def turned(self, status: Status, at: datetime, **changes: Any) -> Batch:
        """The same batch in another status."""
        times = {**self.times, status: at}
        return msgspec.structs.replace(self, status=status, times=times, **changes)


class BatchStore:
    """The store. Safe to use from any thread."""

    def __init__(self, path: Path) -> None:
        """Open or create the file at `path`. Raises StoreError."""
        self._db = Database(path, _SCHEMA)

    def close(self) -> None:
        """Release the file. Idempotent."""
        self._db.close()

    def add(self, batch: Batch) -> None:
        """Keep a new batch."""
        row = (batch.id, batch.owner, batch.status, _bytes(batch))
        self._db.write(("INSERT INTO batch (id, owner, status, body) VALUES (?, ?, ?, ?)", row))

    def move(self, batch: Batch, was: Status) -> bool:
        """Keep how a batch stands now; False if it did not stand at `was` any more."""
        row = (batch.status, _bytes(batch), batch.id, was)
        sql = "UPDATE batch SET status = ?, body = ? WHERE id = ? AND status = ?"
        return bool(self._db.write((sql, row)))

    def end(self, batch: Batch) -> None:
        """Keep how a batch ended, and forget its lines: they stand in its files."""
        row = (batch.status, _bytes(batch), batch.id)
        self._db.write(
            ("UPDATE batch SET status = ?, body = ? WHERE id = ?", row),
            ("DELETE FROM line WHERE batch = ?", (batch.id,)),
        )

    def get(self, id: str, owner: str) -> Batch | None:
        """The owner's batch of this id."""
        rows = self._db.read("SELECT body FROM batch WHERE id = ? AND owner = ?", (id, owner))
        return _batch(rows[0][0]) if rows else None

    def of(self, owner: str, *, after: str | None = None, limit: int = 20) -> _Batches:
        """An owner's batches, the newest first, from behind `after` if that is given."""
        rows = self._db.read(
            "SELECT body FROM batch WHERE owner = ?1 AND (?2 IS NULL OR number < "
            "(SELECT number FROM batch WHERE id = ?2)) ORDER BY number DESC LIMIT ?3",
            (owner, after, limit),
        )
        return [_batch(row[0]) for row in rows]

    def open(self) -> _Batches:
        """Batches that something is still to be done for, the oldest first."""
        rows = self._db.read(
            "SELECT body FROM batch WHERE status IN "
            "('validating', 'in_progress', 'finalizing', 'cancelling') ORDER BY number"
        )
        return [_batch(row[0]) for row in rows]

    # -- lines -----------------------------------------------------------------
    def done(self, id: str, number: int, *, ok: bool, outcome: bytes) -> None:
        """Keep what a line came to."""
        row = (id, number, ok, outcome)
        self._db.write(("INSERT OR IGNORE INTO line VALUES (?, ?, ?, ?)", row))

    def counts(self, id: str) -> tuple[int, int]:
        """How many lines were answered, and how many failed."""
        rows = self._db.read(
            "SELECT coalesce(sum(ok), 0), coalesce(sum(NOT ok), 0) FROM line WHERE batch = ?", (id,)
        )
        return int(rows[0][0]), int(rows[0][1])

    def finished(self, id: str) -> set[int]:
        """Numbers of the lines that are done."""
        return {row[0] for row in self._db.read("SELECT number FROM line WHERE batch = ?", (id,))}

    def outcomes(self, id: str, *, ok: bool) -> list[bytes]:
        """What the lines came to, in the order of the file."""
        rows = self._db.read(
            "SELECT outcome FROM line WHERE batch = ? AND ok = ? ORDER BY number", (id, ok)
        )
        return [bytes(row[0]) for row in rows]


_Batches: TypeAlias = "list[Batch]"


def _bytes(batch: Batch) -> bytes:
    return msgspec.json.encode(batch)


def _batch(body: bytes) -> Batch:
    return msgspec.json.decode(body, type=Batch)
