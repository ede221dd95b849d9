"""One SQLite file of the home, opened so that what is deleted is gone from its pages too."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

from gnomon.errors import StoreError


class ConflictError(StoreError):
    """A constraint of the schema refused a change, such as a name that is taken."""


class Database:
    """A file and its schema. Safe to use from any thread."""

    def __init__(
        self,
        path: Path,
        schema: str,
        *,
        version: int = 1,
        holds: str = "",
        code: str = "store.file",
        hint: str = "Free space on the disk, or restore the file from a backup.",
        upgrade: Callable[[apsw.Connection, int], None] | None = None,
    ) -> None:
        """Open or create the file at `path`, readable by its owner only. Raises StoreError.

        `holds` says in errors, which have the given `code` and `hint`, what is kept: "files".
        `upgrade` brings what an older version wrote to this one, a new file (0) too; it stands
        in one transaction with the schema.
        """
        self._path = path
        self._named = f"The {holds} in {path}" if holds else str(path)
        self._code = code
        self._hint = hint
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600, exist_ok=True)
            self._db = apsw.Connection(str(path))
            self._db.set_busy_timeout(5_000)
            for name, value in (("journal_mode", "wal"), ("foreign_keys", 1), ("secure_delete", 1)):
                self._db.pragma(name, value)
            found = self._db.pragma("user_version")
            if found > version:
                raise StoreError(
                    f"{path} was written by a newer Gnomon (schema {found}, known: {version}).",
                    code="store.newer",
                    hint="Upgrade.",
                    path=str(path),
                )
            with self._db:
                self._db.execute(schema)
                if upgrade is not None and found < version:
                    upgrade(self._db, found)
                self._db.pragma("user_version", version)
        except (apsw.Error, OSError) as error:
            raise self._damaged(error) from error

    def close(self) -> None:
        """Release the file. Idempotent."""
        with self._lock:
            self._db.close()

    def read(self, sql: str, bound: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows."""
        try:
            with self._lock:
                rows = list(self._db.execute(sql, tuple(bound)))
        except apsw.Error as error:
            raise self._damaged(error) from error
        return rows

    def write(self, *statements: tuple[str, Sequence[Any]]) -> int:
        """Run statements in one transaction; how many rows the last one changed.

        Raises StoreError, ConflictError where a constraint of the schema refuses one of them.
        """
        with self.transaction() as db:
            for sql, bound in statements:
                db.execute(sql, tuple(bound))
            return int(db.changes())

    @contextmanager
    def transaction(self) -> Iterator[apsw.Connection]:
        """Where a statement depends on what another found: all of the block, or nothing of it.

        Raises what `write` raises.
        """
        try:
            with self._lock, self._db:
                yield self._db
        except apsw.ConstraintError as error:
            raise self._damaged(error, ConflictError) from error
        except apsw.Error as error:
            raise self._damaged(error) from error

    def forget(self) -> None:
        """Empty the write-ahead log, where pages from before a deletion still stand."""
        try:
            with self._lock:
                self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except apsw.Error as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception, kind: type[StoreError] = StoreError) -> StoreError:
        return kind(
            f"{self._named} cannot be used: {error}.",
            code=self._code,
            hint=self._hint,
            path=str(self._path),
        )
