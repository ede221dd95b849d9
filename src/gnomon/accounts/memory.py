"""What people asked to be remembered: short notes, each its owner's. One SQLite file.

Off until its owner switches it on. What is forgotten is gone from the file, too.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import msgspec

from gnomon.clock import Clock, Ids, from_us, to_us
from gnomon.database import Database
from gnomon.errors import ConfigError

MAX_NOTES = 100
MAX_NOTE_CHARS = 500
_SCHEMA = """
CREATE TABLE IF NOT EXISTS switch (owner TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS note (
  number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, owner TEXT NOT NULL,
  text TEXT NOT NULL, created INTEGER NOT NULL, updated INTEGER NOT NULL, said_in TEXT NOT NULL
);
"""


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that somebody asked to be remembered."""

    id: str
    text: str
    created_at: datetime
    updated_at: datetime
    said_in: str = ""
    """The answer to the request that it was said in, if it was said in one."""


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered for somebody."""

    on: bool
    notes: tuple[Note, ...] = ()


class MemoryStore:
    """The store. Safe to use from any thread."""

    def __init__(self, path: Path, clock: Clock, ids: Ids) -> None:
        """Open or create the file at `path`. Raises StoreError."""
        self._db = Database(path, _SCHEMA)
        self._clock = clock
        self._ids = ids

    def close(self) -> None:
        """Release the file. Idempotent."""
        self._db.close()

    def of(self, owner: str) -> Memory:
        """Whether memory is on, and all notes, the oldest first."""
        on = bool(self._db.read("SELECT 1 FROM switch WHERE owner = ?", (owner,)))
        rows = self._db.read(
            "SELECT id, text, created, updated, said_in FROM note WHERE owner = ? ORDER BY number",
            (owner,),
        )
        return Memory(on=on, notes=tuple(_note(row) for row in rows))

    def switch(self, owner: str, on: bool) -> None:
        """Use what is remembered, or let it rest."""
        if on:
            self._db.write(("INSERT OR IGNORE INTO switch VALUES (?)", (owner,)))
        else:
            self._db.write(("DELETE FROM switch WHERE owner = ?", (owner,)))

    def add(self, owner: str, text: str, *, said_in: str = "") -> Note:
        """Remember something. Raises ConfigError where memory is off or full."""
        text, memory = readable(text), self.of(owner)
        if not memory.on:
            raise ConfigError(
                "Memory is off: nothing is remembered.",
                code="memory.off",
                hint="Switch it on: `gnomon memory on`, or PUT /v1/memory/settings.",
            )
        if len(memory.notes) >= MAX_NOTES:
            raise ConfigError(
                f"{MAX_NOTES} notes are remembered, as many as possible.",
                code="memory.full",
                hint="Forget one first.",
            )
        id, now = self._ids.new("mem"), to_us(self._clock.now())
        self._db.write(
            (
                "INSERT INTO note (owner, id, text, created, updated, said_in) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (owner, id, text, now, now, said_in),
            )
        )
        return self.get(owner, id)

    def get(self, owner: str, id: str) -> Note:
        """The owner's note of this id. Raises ConfigError `memory.unknown`."""
        rows = self._db.read(
            "SELECT id, text, created, updated, said_in FROM note WHERE id = ? AND owner = ?",
            (id, owner),
        )
        if not rows:
            raise ConfigError(f"There is no note {id[:100]!r}.", code="memory.unknown", id=id[:100])
        return _note(rows[0])

    def edit(self, owner: str, id: str, text: str) -> Note:
        """Let a note say something else. Raises ConfigError if there is none."""
        self.get(owner, id)
        now = to_us(self._clock.now())
        self._db.write(
            ("UPDATE note SET text = ?, updated = ? WHERE id = ?", (readable(text), now, id))
        )
        self._db.forget()
        return self.get(owner, id)

    def delete(self, owner: str, id: str) -> Note:
        """Forget a note for good. Raises ConfigError if there is none."""
        found = self.get(owner, id)
        self._db.write(("DELETE FROM note WHERE id = ?", (id,)))
        self._db.forget()
        return found

    def clear(self, owner: str) -> tuple[Note, ...]:
        """Forget everything, and switch off."""
        notes = self.of(owner).notes
        self._db.write(
            ("DELETE FROM note WHERE owner = ?", (owner,)),
            ("DELETE FROM switch WHERE owner = ?", (owner,)),
        )
        self._db.forget()
        return notes


def readable(text: str) -> str:
    """A note on one line. Raises ConfigError for an empty or too long one."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if not line:
        raise ConfigError("There is nothing to remember: text is empty.", code="memory.empty")
    if len(line) > MAX_NOTE_CHARS:
        raise ConfigError(
            f"The note has {len(line):,} characters; it may have {MAX_NOTE_CHARS}.",
            code="memory.too_long",
        )
    return line


def _note(row: tuple[str, str, int, int, str]) -> Note:
    id, text, created, updated, said_in = row
    return Note(
        id=id,
        text=text,
        created_at=from_us(created),
        updated_at=from_us(updated),
        said_in=said_in,
    )
