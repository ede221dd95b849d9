"""The small store: one transaction or nothing, files of older and newer versions."""

from __future__ import annotations

import stat
from pathlib import Path

import apsw
import pytest

from gnomon.database import ConflictError, Database
from gnomon.errors import StoreError

SCHEMA = "CREATE TABLE IF NOT EXISTS word (text TEXT PRIMARY KEY);"
ADD = "INSERT INTO word(text) VALUES (?)"


def test_a_transaction_is_kept_whole_or_not_at_all(tmp_path: Path) -> None:
    db = Database(tmp_path / "words.db", SCHEMA)
    assert db.write((ADD, ("one",))) == 1
    with pytest.raises(ConflictError), db.transaction() as inside:
        inside.execute(ADD, ("two",))
        inside.execute(ADD, ("one",))
    with pytest.raises(ZeroDivisionError), db.transaction() as inside:
        inside.execute(ADD, ("three",))
        raise ZeroDivisionError
    assert db.read("SELECT text FROM word") == [("one",)]
    with db.transaction() as inside:
        inside.execute(ADD, ("two",))
    assert db.read("SELECT count(*) FROM word") == [(2,)]
    db.close()


def upgrade(db: apsw.Connection, found: int) -> None:
    db.execute("ALTER TABLE word ADD COLUMN version INTEGER")
    db.execute("UPDATE word SET version = ?", (found,))


def test_a_file_of_an_older_version_is_upgraded_once(tmp_path: Path) -> None:
    path = tmp_path / "words.db"
    old = Database(path, SCHEMA)
    old.write((ADD, ("old",)))
    old.close()
    for _ in range(2):
        db = Database(path, SCHEMA, version=2, upgrade=upgrade)
        assert db.read("SELECT * FROM word") == [("old", 1)]
        db.close()
    with pytest.raises(StoreError) as caught:
        Database(path, SCHEMA)
    assert caught.value.code == "store.newer"


def test_a_failed_upgrade_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "words.db"
    Database(path, SCHEMA).close()

    def broken(db: apsw.Connection, found: int) -> None:
        upgrade(db, found)
        db.execute("UPDATE nothing SET version = 2")

    with pytest.raises(StoreError, match="nothing"):
        Database(path, SCHEMA, version=2, upgrade=broken)
    db = Database(path, SCHEMA)
    assert [row[1] for row in db.read("PRAGMA table_info(word)")] == ["text"]
    db.close()


def test_only_its_owner_can_read_a_file(tmp_path: Path) -> None:
    Database(tmp_path / "in" / "words.db", SCHEMA).close()
    assert stat.S_IMODE((tmp_path / "in" / "words.db").stat().st_mode) == 0o600


def test_a_file_that_is_no_database_is_named_with_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "words.db").write_bytes(b"no database at all, just words" * 100)
    with pytest.raises(StoreError, match=r"The words in .*words\.db cannot be used") as caught:
        Database(tmp_path / "words.db", SCHEMA, holds="words", code="store.words")
    assert caught.value.code == "store.words"
