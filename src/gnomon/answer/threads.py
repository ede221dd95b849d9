"""Finished answers, and the conversations that they form, in one SQLite file.

What an answer cites is pinned in the record for as long as the answer is kept, so that retention
cannot take a citation's words away.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import apsw
import msgspec

from gnomon.answer.base import Turn
from gnomon.errors import StoreError
from gnomon.types import Answer

MAX_TURNS = 20
"""Turns of a conversation that a follow-up is read with; older ones are kept, not read."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answer (
  id TEXT PRIMARY KEY,
  number INTEGER NOT NULL UNIQUE,
  previous_id TEXT,
  answer BLOB NOT NULL,
  response BLOB NOT NULL
) WITHOUT ROWID;
"""
_VERSION = 1
_Rows: TypeAlias = "list[tuple[Any, ...]]"
_Ids: TypeAlias = "list[str]"


class Pins(Protocol):
    """The part of the record that keeps cited versions."""

    def pin(self, holder: str, seqs: Sequence[int]) -> None:
        """Keep these versions."""
        ...

    def unpin(self, holder: str) -> None:
        """Release them."""
        ...


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """An answer as it was kept."""

    id: str
    answer: Answer
    response: Mapping[str, Any]
    """The Response object as it was sent; empty for answers to the native API."""
    previous_id: str | None = None


class Threads:
    """Keeps the newest `limit` answers. Safe to call from any thread."""

    def __init__(self, path: Path, pins: Pins | None = None, *, limit: int = 100_000) -> None:
        """Open or create the store at `path`. Raises StoreError."""
        self._path = path
        self._pins = pins
        self._limit = limit
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = apsw.Connection(str(path))
            self._db.set_busy_timeout(5_000)
            self._db.pragma("journal_mode", "wal")
            self._db.pragma("synchronous", "normal")
            found = self._db.pragma("user_version")
            if found > _VERSION:
                raise StoreError(
                    f"{path} was written by a newer Gnomon (schema {found}, known: {_VERSION}).",
                    code="store.newer",
                    hint="Upgrade, or move the file away to begin anew.",
                    path=str(path),
                )
            with self._db:
                self._db.execute(_SCHEMA)
                self._db.pragma("user_version", _VERSION)
        except (apsw.Error, OSError) as error:
            raise self._damaged(error) from error

    def save(
        self, id: str, *, answer: Answer, response: Mapping[str, Any], previous_id: str | None
    ) -> None:
        """Keep an answer under `id`, following on `previous_id`; the oldest beyond the limit go."""
        rivals = [d.citation for d in answer.disagreements]
        older = [s.citation for s in answer.superseded]
        cited = (*answer.citations, *rivals, *older, *filter(None, [answer.closest]))
        seqs = {c.seq for c in cited if c.seq}
        if self._pins is not None and seqs:
            self._pins.pin(id, sorted(seqs))
        row = (id, previous_id, msgspec.msgpack.encode(answer), msgspec.msgpack.encode(response))
        dropped = self._write(
            "INSERT INTO answer(id, number, previous_id, answer, response) VALUES "
            "(?1, (SELECT coalesce(max(number), 0) + 1 FROM answer), ?2, ?3, ?4) "
            "ON CONFLICT(id) DO UPDATE SET previous_id = ?2, answer = ?3, response = ?4",
            row,
            trim=True,
        )
        self._release(dropped)

    def get(self, id: str) -> Stored | None:
        """The stored answer, None if unknown."""
        rows = self._read(
            "SELECT id, answer, response, previous_id FROM answer WHERE id = ?", (id,)
        )
        return self._stored(rows[0]) if rows else None

    def delete(self, id: str) -> bool:
        """Forget it and release what it cites; False if unknown. Answers after it stay."""
        known = self._write("DELETE FROM answer WHERE id = ? RETURNING id", (id,))
        self._release(known)
        return bool(known)

    def list(self, limit: int = 50, before_id: str | None = None) -> list[Stored]:
        """The newest answers first, from before `before_id` if that is given."""
        rows = self._read(
            "SELECT id, answer, response, previous_id FROM answer WHERE number < "
            "coalesce((SELECT number FROM answer WHERE id = ?1), 9223372036854775807) "
            "ORDER BY number DESC LIMIT ?2",
            (before_id, max(0, min(limit, 1_000))),
        )
        return [self._stored(row) for row in rows]

    def history(self, id: str) -> tuple[Turn, ...]:
        """The turns that end with `id`, oldest first, at most 20; empty if unknown."""
        turns: list[Turn] = []
        seen: set[str] = set()
        at: str | None = id
        while at is not None and at not in seen and len(turns) < MAX_TURNS:
            seen.add(at)
            stored = self.get(at)
            if stored is None:
                break
            turns.append(Turn(question=stored.answer.question, answer=stored.answer.text))
            at = stored.previous_id
        return tuple(reversed(turns))

    def close(self) -> None:
        """Release the file. Idempotent."""
        with self._lock:
            self._db.close()

    def _write(self, sql: str, bound: tuple[Any, ...], *, trim: bool = False) -> _Ids:
        """Run one change; the ids that went away."""
        gone: _Ids = []
        try:
            with self._lock, self._db:
                gone += (str(row[0]) for row in self._db.execute(sql, bound))
                if trim:
                    oldest = "DELETE FROM answer WHERE number <= "
                    oldest += "(SELECT max(number) FROM answer) - ? RETURNING id"
                    gone += (str(row[0]) for row in self._db.execute(oldest, (self._limit,)))
        except apsw.Error as error:
            raise self._damaged(error) from error
        return gone

    def _read(self, sql: str, bound: tuple[Any, ...]) -> _Rows:
        try:
            with self._lock:
                return list(self._db.execute(sql, bound))
        except apsw.Error as error:
            raise self._damaged(error) from error

    def _stored(self, row: tuple[Any, ...]) -> Stored:
        try:
            return Stored(
                id=row[0],
                answer=msgspec.msgpack.decode(row[1], type=Answer),
                response=msgspec.msgpack.decode(row[2], type=dict[str, Any]),
                previous_id=row[3],
            )
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise self._damaged(error) from error

    def _release(self, ids: Sequence[str]) -> None:
        if self._pins is not None:
            for id in ids:
                self._pins.unpin(id)

    def _damaged(self, error: Exception) -> StoreError:
        return StoreError(
            f"The store of answers {self._path} cannot be used: {error}.",
            code="store.answers",
            hint="Free space on the disk, or move the file away: it holds answers, no sources.",
            path=str(self._path),
        )
