"""Forward migrations: all of them or none."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import apsw
import pytest

from gnomon.errors import StoreError
from gnomon.record.migrations import APPLICATION_ID, MIGRATIONS, migrate
from gnomon.record.store import SqliteRecord

FIRST = "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT); INSERT INTO notes VALUES (1, 'a')"
SECOND = "ALTER TABLE notes ADD COLUMN size INTEGER; UPDATE notes SET size = length(text)"


def third(db: Any) -> None:
    for id, text in db.execute("SELECT id, text FROM notes").fetchall():
        db.execute("UPDATE notes SET text = ? WHERE id = ?", (text.upper(), id))


def broken(db: Any) -> None:
    db.execute("DELETE FROM notes")
    db.execute("CREATE TABLE half (x)")
    raise apsw.SQLError("no such thing")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "record.db"


def dump(db: Any) -> tuple[Any, ...]:
    return (
        db.pragma("user_version"),
        db.execute("SELECT name FROM sqlite_schema ORDER BY name").fetchall(),
        db.execute("SELECT * FROM notes").fetchall(),
    )


def test_a_new_database_runs_them_all(path: Path):
    db = apsw.Connection(str(path))
    migrate(db, path, [FIRST, SECOND, third])
    assert db.pragma("user_version") == 3
    assert db.pragma("application_id") == APPLICATION_ID
    assert db.execute("SELECT * FROM notes").fetchall() == [(1, "A", 1)]


def test_an_old_database_runs_what_it_lacks_and_keeps_its_rows(path: Path):
    db = apsw.Connection(str(path))
    migrate(db, path, [FIRST])
    db.execute("INSERT INTO notes VALUES (2, 'bcd')")
    migrate(db, path, [FIRST, SECOND, third])
    assert db.execute("SELECT * FROM notes").fetchall() == [(1, "A", 1), (2, "BCD", 3)]
    migrate(db, path, [FIRST, SECOND, third])
    assert db.pragma("user_version") == 3


@pytest.mark.parametrize("bad", [broken, "DELETE FROM notes; INSERT INTO nowhere VALUES (1)"])
def test_a_failure_in_the_middle_changes_nothing(path: Path, bad: Any):
    db = apsw.Connection(str(path))
    migrate(db, path, [FIRST])
    before = dump(db)
    with pytest.raises(apsw.SQLError):
        migrate(db, path, [FIRST, SECOND, bad, third])
    assert dump(db) == before
    migrate(db, path, [FIRST, SECOND, third])
    assert db.pragma("user_version") == 3


def test_two_that_open_at_once_migrate_once(path: Path):
    failures: list[BaseException] = []
    start = threading.Barrier(4)

    def open_it() -> None:
        try:
            db = apsw.Connection(str(path))
            db.set_busy_timeout(10_000)
            start.wait(10)
            migrate(db, path, [FIRST, SECOND, third])
            db.close()
        except BaseException as error:  # handed to the main thread
            failures.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    db = apsw.Connection(str(path))
    assert db.execute("SELECT * FROM notes").fetchall() == [(1, "A", 1)]


def test_a_newer_database_names_both_versions(path: Path):
    db = apsw.Connection(str(path))
    migrate(db, path, [FIRST, SECOND, third])
    before = dump(db)
    with pytest.raises(StoreError, match="version 3; this Gnomon knows versions up to 2"):
        migrate(db, path, [FIRST, SECOND])
    assert dump(db) == before


def test_a_new_record_is_at_the_newest_version(path: Path):
    SqliteRecord(path).close()
    assert apsw.Connection(str(path)).pragma("user_version") == len(MIGRATIONS)
