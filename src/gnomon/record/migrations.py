"""The schema, and the way to it from every earlier one: forward only, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import apsw

from gnomon.errors import StoreError

SCHEMA = """
CREATE TABLE meta(name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE source(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, cursor TEXT, config BLOB);
CREATE TABLE key(id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, versions INTEGER NOT NULL);
CREATE TABLE entry(
  seq INTEGER PRIMARY KEY, key_id INTEGER NOT NULL, source_id INTEGER NOT NULL, version INTEGER,
  start_us INTEGER NOT NULL, until_us INTEGER, prev_seq INTEGER, published_us INTEGER,
  author TEXT, hash BLOB, body BLOB, extra BLOB);
CREATE INDEX entry_timeline ON entry(key_id, start_us, seq);
CREATE INDEX entry_source ON entry(source_id, start_us);
CREATE INDEX entry_author ON entry(source_id, author) WHERE author IS NOT NULL;
CREATE TABLE event(
  seq INTEGER PRIMARY KEY, source_id INTEGER NOT NULL, op TEXT NOT NULL, at_us INTEGER NOT NULL,
  body BLOB NOT NULL);
CREATE INDEX event_op ON event(op, seq);
CREATE TABLE gone(
  key_id INTEGER NOT NULL, version INTEGER NOT NULL, life TEXT NOT NULL, at_us INTEGER NOT NULL,
  reason TEXT NOT NULL, PRIMARY KEY(key_id, version)) WITHOUT ROWID;
CREATE TABLE pin(holder TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY(holder, seq))
  WITHOUT ROWID;
CREATE INDEX pin_seq ON pin(seq);
CREATE TABLE blob(hash TEXT PRIMARY KEY, media_type TEXT NOT NULL, body BLOB NOT NULL)
  WITHOUT ROWID;
CREATE TABLE attached(hash TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY(hash, seq))
  WITHOUT ROWID;
"""

MIGRATIONS: Sequence[str] = (SCHEMA,)
"""Entry i leads from schema version i to i + 1. Released entries are never edited."""


def migrate(db: apsw.Connection, path: Path, migrations: Sequence[str] = MIGRATIONS) -> None:
    """Bring `db` to the newest schema. Raises StoreError if it is newer than this program."""
    version = db.pragma("user_version")
    if version > len(migrations):
        raise StoreError(
            f"{path} has schema version {version}; this Gnomon knows {len(migrations)}.",
            code="record.newer",
            hint="Use the newer Gnomon that wrote it.",
            path=str(path),
        )
    if version < len(migrations):
        with db:
            for script in migrations[version:]:
                db.execute(script)
            db.pragma("user_version", len(migrations))
