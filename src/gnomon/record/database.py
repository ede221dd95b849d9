"""Connections to the record's database file, and its failures in our own words.

One connection writes, under a lock; readers take theirs from a pool and never wait for the writer,
because the write-ahead log keeps the pages that they began with. Every error of SQLite leaves here
as a StoreError whose code says what an operator can do; the transient ones (disk full, database
locked) leave the database usable.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import apsw

from gnomon.errors import StoreError, Transient
from gnomon.log import get_logger
from gnomon.record.codec import Unreadable
from gnomon.record.migrations import behind, migrate

Check = Literal["quick", "full", "off"]

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_BUSY_MS = 5_000
_QUICK_CHECK_S = 1.0
_SCRUB_WAIT_MS = 100
_RETRY_AFTER_S = 5.0
_SETTINGS = (
    # A commit is on the disk before append returns: a cursor that was lost would only be asked for
    # again, but a sequence number that the index has already stored must never be given out twice.
    "PRAGMA synchronous = FULL",
    # What a purge removes is overwritten, in pages that were split as well as in whole ones.
    "PRAGMA secure_delete = ON",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA wal_autocheckpoint = 8192",
    "PRAGMA journal_size_limit = 67108864",
    "PRAGMA cache_size = -65536",
)


class StoreTransient(Transient, StoreError):
    """The store cannot be written for the moment; nothing was stored, and it may pass."""

    retry_after_s = _RETRY_AFTER_S


class Database:
    """The file at `path`, opened, checked and brought up to date. Raises StoreError."""

    def __init__(self, path: Path, *, check: Check) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._idle: list[Any] = []
        self._closed = False
        self._remnants = False
        with self.guarded():
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise _cannot_open(path, str(error)) from error
            self._writer = _connected(path)
            try:
                self._prepare(check)
            except BaseException:
                self._writer.close()
                raise

    def _prepare(self, check: Check) -> None:
        db = self._writer
        behind(db, self.path)  # before anything is changed in a file that may not be ours
        db.pragma("journal_mode", "wal")
        for setting in _SETTINGS:
            db.execute(setting)
        if check == "full":
            self.check(db)
        elif check == "quick":
            self._quick_check()
        migrate(db, self.path)

    # -- connections ----------------------------------------------------------
    @contextmanager
    def reading(self) -> Generator[Any, None, None]:
        """A connection for one query. Several see one moment together only in `snapshot`."""
        with self.guarded(), self._lent() as db:
            yield db

    @contextmanager
    def snapshot(self) -> Generator[Any, None, None]:
        """A connection that sees one moment of the database for as long as it is lent."""
        with self.reading() as db:
            db.execute("BEGIN")
            try:
                yield db
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")

    @contextmanager
    def _lent(self) -> Generator[Any, None, None]:
        self._require_open()
        try:
            db = self._idle.pop()
        except IndexError:
            db = self._connect()
        try:
            yield db
        finally:
            if self._closed:
                db.close()
            else:
                self._idle.append(db)

    def _connect(self) -> Any:
        db = _connected(self.path)
        db.execute("PRAGMA query_only = 1; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16384")
        return db

    @contextmanager
    def writing(self) -> Generator[Any, None, None]:
        """The writing connection in a transaction: committed at the end, undone by any error."""
        with self._lock, self.guarded():
            self._require_open()
            db = self._writer
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
            if self._remnants:
                self._scrub()

    def leave_no_remnants(self) -> None:
        """Once the transaction is committed, rid the write-ahead log of what it held before."""
        self._remnants = True

    def _scrub(self) -> None:
        """Empty the write-ahead log. What keeps it from that only delays it to a later write:

        the transaction itself is durable by now and must not seem to have failed.
        """
        self._writer.set_busy_timeout(_SCRUB_WAIT_MS)
        try:
            busy, _, _ = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0]
            self._remnants = bool(busy)
        except apsw.Error as error:
            get_logger().warning("record.remnants", reason=str(error))
        finally:
            self._writer.set_busy_timeout(_BUSY_MS)

    def _require_open(self) -> None:
        if self._closed:
            raise StoreError(f"The record {self.path} is closed.", code="record.closed")

    def close(self) -> None:
        """Release the file. Idempotent."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            while self._idle:
                self._idle.pop().close()
            if self._remnants:
                self._scrub()
            self._writer.close()

    # -- upkeep ---------------------------------------------------------------
    def body_bytes(self) -> int:
        """Size on disk, the write-ahead log included."""
        total = 0
        for name in (self.path, _beside(self.path, "-wal")):
            with suppress(FileNotFoundError):
                total += name.stat().st_size
        return total

    def backup(self, path: Path) -> None:
        """A consistent copy at `path`; writing goes on meanwhile. Raises StoreError."""
        if path.exists():
            raise StoreError(
                f"{path} exists already, and a backup never replaces a file.",
                code="record.backup_exists",
                hint="Choose another name, or remove that file first.",
                path=str(path),
            )
        part = _beside(path, ".part")
        try:
            part.unlink(missing_ok=True)
            with self._lent() as source, closing(apsw.Connection(str(part))) as copy:
                with copy.backup("main", source, "main") as transfer:
                    # All pages in one step: a writer would make several begin anew.
                    transfer.step(-1)
                copy.pragma("journal_mode", "delete")
            part.rename(path)
            _sync_folder(path.parent)
        except (OSError, apsw.FullError, apsw.IOError, apsw.CantOpenError) as error:
            raise StoreError(
                f"The backup {path} cannot be written: {error}.",
                code="record.backup",
                hint="Choose a folder that exists and has room.",
                path=str(path),
            ) from error
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)

    def check(self, db: Any) -> None:
        """Raise StoreError if a page, an index or a constraint is damaged."""
        found = [row[0] for row in db.execute("PRAGMA integrity_check(5)")]
        if found != ["ok"]:
            raise damaged(self.path, "; ".join(found))

    def _quick_check(self) -> None:
        """The same without indexes, as far as one second goes, so that a start stays quick."""
        ends = time.monotonic() + _QUICK_CHECK_S
        self._writer.set_progress_handler(lambda: time.monotonic() > ends, 20_000)
        try:
            found = [row[0] for row in self._writer.execute("PRAGMA quick_check(5)")]
        except apsw.InterruptError:
            return
        finally:
            self._writer.set_progress_handler(None)
        if found != ["ok"]:
            raise damaged(self.path, "; ".join(found))

    # -- failures -------------------------------------------------------------
    @contextmanager
    def guarded(self) -> Generator[None, None, None]:
        """Errors of SQLite, and bytes that it gave back changed, leave as StoreErrors."""
        try:
            yield
        except apsw.Error as error:
            raise self._explained(error) from error
        except Unreadable as error:
            raise damaged(self.path, f"stored content cannot be read ({error})") from error

    def _explained(self, error: apsw.Error) -> StoreError:
        path = self.path
        if isinstance(error, apsw.CorruptError | apsw.NotADBError | apsw.FormatError):
            return damaged(path, str(error))
        if isinstance(error, apsw.FullError) or (
            isinstance(error, apsw.IOError) and self._errno() in _NO_ROOM
        ):
            return StoreTransient(
                f"There is no room left to write {path}; nothing of this was stored.",
                code="record.full",
                hint="Free space on that disk; the record goes on by itself.",
                path=str(path),
            )
        if isinstance(error, apsw.BusyError | apsw.LockedError):
            return StoreTransient(
                f"Another process has kept {path} locked for {_BUSY_MS // 1000} seconds.",
                code="record.locked",
                hint="Stop the other process that writes this record.",
                path=str(path),
            )
        if isinstance(error, apsw.CantOpenError | apsw.ReadOnlyError | apsw.PermissionsError):
            return _cannot_open(path, str(error))
        if isinstance(error, apsw.IOError):
            number = self._errno()
            cause = f" ({os.strerror(number)})" if number else ""
            return StoreError(
                f"The disk failed while {path} was in use: {error}{cause}.",
                code="record.io",
                hint="Check the disk and its mount, then start again: the record is as it was.",
                path=str(path),
            )
        return StoreError(f"{path}: {error}.", code="record.failed", path=str(path))

    def _errno(self) -> int:
        try:
            return int(self._writer.system_errno)
        except (AttributeError, apsw.Error):
            return 0


def _connected(path: Path) -> Any:
    db = apsw.Connection(str(path))
    db.set_busy_timeout(_BUSY_MS)
    # Without this guarantee, every new bound on a time makes SQLite plan the query anew, which
    # costs three times what running it does.
    db.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    return db


def damaged(path: Path, detail: str) -> StoreError:
    """The error that says that the stored data cannot be trusted."""
    return StoreError(
        f"The record {path} is damaged: {detail}.",
        code="record.damaged",
        hint="Put a backup in its place; or set record.check_on_start to off and run "
        "`gnomon record export` to save what can still be read.",
        path=str(path),
    )


def _cannot_open(path: Path, detail: str) -> StoreError:
    return StoreError(
        f"The record {path} cannot be opened for writing: {detail}.",
        code="record.open",
        hint="Check that its folder exists and that this user may write there.",
        path=str(path),
    )


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
