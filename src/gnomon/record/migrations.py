"""The schema of the record's database, and the way forward from every earlier one.

A database carries the number of the last migration that it has seen in `PRAGMA user_version`.
Opening one runs those that are missing, in one transaction: all of them or none. A released
migration is never edited; a change of the schema is a new one at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from gnomon.errors import StoreError

APPLICATION_ID = 0x676E6F6D
"""Marks a database file as a record of Gnomon ("gnom")."""

Migration: TypeAlias = str | Callable[[Any], None]
"""SQL statements, or a function that is given the connection."""

# docs/internals/record.md explains the tables.
_FIRST = """
CREATE TABLE state (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  stamp_us INTEGER NOT NULL,
  versions INTEGER NOT NULL,
  purged INTEGER NOT NULL,
  gaps INTEGER NOT NULL
) STRICT;
INSERT INTO state VALUES (1, 0, 0, 0, 0);

CREATE TABLE sources (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  cursor BLOB,
  config BLOB
) STRICT;

CREATE TABLE keys (
  id INTEGER PRIMARY KEY,
  key TEXT NOT NULL UNIQUE,
  versions INTEGER NOT NULL,
  purged_us INTEGER
) STRICT;

CREATE TABLE log (
  seq INTEGER PRIMARY KEY,
  op INTEGER NOT NULL,
  source INTEGER NOT NULL,
  key INTEGER,
  version INTEGER,
  start_us INTEGER NOT NULL,
  until_us INTEGER,
  prev_seq INTEGER,
  author INTEGER,
  gone INTEGER
) STRICT;
CREATE INDEX log_timeline ON log (key, start_us) WHERE op < 3;
CREATE INDEX log_source ON log (source, start_us) WHERE op = 1 AND gone IS NULL;
CREATE INDEX log_author ON log (seq >> 16, author) WHERE author IS NOT NULL;
CREATE INDEX log_events ON log (op, source, start_us) WHERE op > 3;

CREATE TABLE bodies (
  seq INTEGER PRIMARY KEY,
  content BLOB NOT NULL,
  extra BLOB
) STRICT;

CREATE TABLE tally (
  level INTEGER NOT NULL,
  slot INTEGER NOT NULL,
  source INTEGER NOT NULL,
  delta INTEGER NOT NULL,
  PRIMARY KEY (level, slot, source)
) STRICT, WITHOUT ROWID;

CREATE TABLE blobs (
  id INTEGER PRIMARY KEY,
  hash TEXT NOT NULL UNIQUE,
  media_type TEXT NOT NULL,
  packed INTEGER NOT NULL,
  body BLOB NOT NULL
) STRICT;
CREATE TABLE attached (
  seq INTEGER NOT NULL,
  hash TEXT NOT NULL,
  PRIMARY KEY (seq, hash)
) STRICT, WITHOUT ROWID;
CREATE INDEX attached_hash ON attached (hash);

CREATE TABLE pins (
  holder TEXT NOT NULL,
  seq INTEGER NOT NULL,
  PRIMARY KEY (holder, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX pins_seq ON pins (seq);
"""

MIGRATIONS: tuple[Migration, ...] = (_FIRST,)


def migrate(db: Any, path: Path, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Bring the database up to date, in one transaction.

    Raises StoreError, with nothing changed, if it is no record or newer than this program.
    """
    if behind(db, path, migrations) == 0:
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have done the work while this one waited.
        missing = behind(db, path, migrations)
        for migration in migrations[len(migrations) - missing :]:
            if isinstance(migration, str):
                db.execute(migration)
            else:
                migration(db)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {len(migrations)}")
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def behind(db: Any, path: Path, migrations: Sequence[Migration] = MIGRATIONS) -> int:
    """How many migrations the database lacks. Raises StoreError if it is none of ours."""
    version = db.pragma("user_version")
    if db.pragma("application_id") != APPLICATION_ID and not _empty(db):
        raise StoreError(
            f"{path} is an SQLite database, but not a record of Gnomon.",
            code="record.foreign",
            hint="Choose another home, or move that file away.",
            path=str(path),
        )
    if version > len(migrations):
        raise StoreError(
            f"{path} has schema version {version}; this Gnomon knows versions up to "
            f"{len(migrations)}.",
            code="record.newer",
            hint="Start the newer Gnomon that wrote it, or restore a backup made before.",
            path=str(path),
            found=version,
            known=len(migrations),
        )
    return len(migrations) - int(version)


def _empty(db: Any) -> bool:
    return not db.execute("SELECT count(*) FROM sqlite_schema").fetchall()[0][0]
