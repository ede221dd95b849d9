"""Uploaded files with their bytes, and vector stores: named sets of files. One SQLite file."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from gnomon.clock import Clock, Ids, from_us, to_us
from gnomon.database import Database
from gnomon.errors import ConfigError

SOURCE = "files"
"""The source that the texts of files belong to."""
OWN = "file:"
"""What the keys of all their documents begin with."""
PRIVATE_PURPOSES = ("batch", "batch_output")
"""Files that nobody but their owner sees; other files are the whole server's."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS file (
  id TEXT PRIMARY KEY, name TEXT NOT NULL, purpose TEXT NOT NULL, media_type TEXT NOT NULL,
  owner TEXT NOT NULL, created INTEGER NOT NULL, expires INTEGER, parts INTEGER NOT NULL,
  bytes INTEGER NOT NULL, text TEXT NOT NULL, body BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS collection (
  id TEXT PRIMARY KEY, name TEXT NOT NULL, owner TEXT NOT NULL, created INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS member (
  collection TEXT NOT NULL REFERENCES collection(id) ON DELETE CASCADE,
  file TEXT NOT NULL REFERENCES file(id) ON DELETE CASCADE, added INTEGER NOT NULL,
  PRIMARY KEY (collection, file)
) WITHOUT ROWID;
"""
_FILE = "id, name, purpose, media_type, owner, created, expires, parts, bytes"
_VERSION = 1


class StoredFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file, without its bytes."""

    id: str
    name: str
    purpose: str
    media_type: str
    owner: str
    created_at: datetime
    expires_at: datetime | None
    parts: int
    """Documents that its text is kept as: `file:<id>#0`, `file:<id>#1`, …"""
    body_bytes: int

    @property
    def keys(self) -> list[str]:
        """The keys of its documents."""
        return [f"{key_of(self.id)}{i}" for i in range(self.parts)]


class Collection(msgspec.Struct, frozen=True, kw_only=True):
    """A vector store: a named set of files."""

    id: str
    name: str
    owner: str
    created_at: datetime
    files: int
    body_bytes: int


def key_of(file_id: str) -> str:
    """What the keys of a file's documents begin with."""
    return f"{OWN}{file_id}#"


class Files:
    """The store. Safe to use from any thread."""

    def __init__(self, path: Path, clock: Clock, ids: Ids) -> None:
        """Open or create the file at `path`. Raises StoreError."""
        self._clock = clock
        self._ids = ids
        self._db = Database(path, _SCHEMA, version=_VERSION, holds="files", code="store.files")

    def close(self) -> None:
        """Release the file. Idempotent."""
        self._db.close()

    # -- files -----------------------------------------------------------------
    def new_id(self) -> str:
        """An id for a file to come, so that its documents can be named before it is kept."""
        return self._ids.new("file")

    def add(
        self,
        id: str,
        *,
        name: str,
        purpose: str,
        media_type: str,
        owner: str,
        body: bytes,
        text: str,
        parts: int,
        expires_at: datetime | None = None,
    ) -> StoredFile:
        """Keep a file."""
        expires = to_us(expires_at) if expires_at is not None else None
        row = (id, name, purpose, media_type, owner, self._now(), expires, parts, len(body))
        self._db.write(
            ("INSERT INTO file VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (*row, text, body))
        )
        return self.get(id)

    def get(self, id: str) -> StoredFile:
        """The file of this id. Raises ConfigError `file.unknown`."""
        rows = self._db.read(f"SELECT {_FILE} FROM file WHERE id = ?", (id,))
        if not rows:
            raise ConfigError(f"There is no file {id[:100]!r}.", code="file.unknown", id=id)
        return _file(rows[0])

    def list(
        self,
        *,
        purpose: str | None = None,
        after: str | None = None,
        limit: int = 100,
        reader: str | None = None,
    ) -> _StoredFiles:
        """Files that `reader` sees, the newest first, from behind `after` if that is given."""
        rows = self._db.read(
            f"SELECT {_FILE} FROM file WHERE (?1 IS NULL OR purpose = ?1) AND (?2 IS NULL OR "
            "rowid < (SELECT rowid FROM file WHERE id = ?2)) AND (?4 IS NULL OR owner = ?4 OR "
            "purpose NOT IN (?5, ?6)) ORDER BY rowid DESC LIMIT ?3",
            (purpose, after, max(0, min(limit, 10_001)), reader, *PRIVATE_PURPOSES),
        )
        return [_file(row) for row in rows]

    def content(self, id: str) -> tuple[bytes, str]:
        """The bytes of a file and its text. Raises ConfigError `file.unknown`."""
        rows = self._db.read("SELECT body, text FROM file WHERE id = ?", (id,))
        if not rows:
            raise ConfigError(f"There is no file {id[:100]!r}.", code="file.unknown", id=id)
        return bytes(rows[0][0]), str(rows[0][1])

    def delete(self, id: str) -> StoredFile:
        """Forget a file for good. Raises ConfigError `file.unknown`."""
        found = self.get(id)
        self._db.write(("DELETE FROM file WHERE id = ?", (id,)))
        return found

    def expired(self) -> _StoredFiles:
        """Files whose time is over."""
        rows = self._db.read(f"SELECT {_FILE} FROM file WHERE expires <= ?", (self._now(),))
        return [_file(row) for row in rows]

    # -- collections -----------------------------------------------------------
    def add_collection(self, name: str, owner: str, files: Sequence[str] = ()) -> Collection:
        """A new set of files. Raises ConfigError for a file that there is not."""
        for file in files:
            self.get(file)
        id = self._ids.new("vs")
        self._db.write(
            ("INSERT INTO collection VALUES (?, ?, ?, ?)", (id, name, owner, self._now()))
        )
        for file in files:
            self.put_in(id, file)
        return self.collection(id)

    def collection(self, id: str) -> Collection:
        """The set of this id. Raises ConfigError `collection.unknown`."""
        found = [one for one in self.collections() if one.id == id]
        if not found:
            raise ConfigError(
                f"There is no vector store {id[:100]!r}.", code="collection.unknown", id=id
            )
        return found[0]

    def collections(self) -> _Collections:
        """All sets, the newest first."""
        rows = self._db.read(
            "SELECT c.id, c.name, c.owner, c.created, count(f.id), coalesce(sum(f.bytes), 0) "
            "FROM collection c LEFT JOIN member m ON m.collection = c.id "
            "LEFT JOIN file f ON f.id = m.file GROUP BY c.id ORDER BY c.created DESC, c.id",
            (),
        )
        return [
            Collection(
                id=id,
                name=name,
                owner=owner,
                created_at=from_us(created),
                files=files,
                body_bytes=body_bytes,
            )
            for id, name, owner, created, files, body_bytes in rows
        ]

    def rename_collection(self, id: str, name: str) -> Collection:
        """Give a set another name. Raises ConfigError if there is none."""
        self.collection(id)
        self._db.write(("UPDATE collection SET name = ? WHERE id = ?", (name, id)))
        return self.collection(id)

    def delete_collection(self, id: str) -> None:
        """Forget a set; its files stay. Raises ConfigError if there is none."""
        self.collection(id)
        self._db.write(("DELETE FROM collection WHERE id = ?", (id,)))

    def put_in(self, collection: str, file: str) -> None:
        """Put a file into a set. Raises ConfigError if one of them is unknown."""
        self.collection(collection)
        self.get(file)
        self._db.write(
            ("INSERT OR IGNORE INTO member VALUES (?, ?, ?)", (collection, file, self._now()))
        )

    def take_out(self, collection: str, file: str) -> None:
        """Take a file out of a set; it stays a file."""
        self.collection(collection)
        self._db.write(("DELETE FROM member WHERE collection = ? AND file = ?", (collection, file)))

    def files_in(self, collection: str) -> _StoredFiles:
        """The files of a set. Raises ConfigError if there is none."""
        self.collection(collection)
        names = ", ".join(f"f.{name}" for name in _FILE.split(", "))
        rows = self._db.read(
            f"SELECT {names} FROM member m JOIN file f ON f.id = m.file WHERE m.collection = ? "
            "ORDER BY m.added, f.id",
            (collection,),
        )
        return [_file(row) for row in rows]

    # -- the database ----------------------------------------------------------
    def _now(self) -> int:
        return to_us(self._clock.now())


_StoredFiles: TypeAlias = "list[StoredFile]"
_Collections: TypeAlias = "list[Collection]"


def _file(row: Sequence[Any]) -> StoredFile:
    id, name, purpose, media_type, owner, created, expires, parts, body_bytes = row
    return StoredFile(
        id=id,
        name=name,
        purpose=purpose,
        media_type=media_type,
        owner=owner,
        created_at=from_us(created),
        expires_at=None if expires is None else from_us(expires),
        parts=parts,
        body_bytes=body_bytes,
    )
