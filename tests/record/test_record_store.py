"""What SQLite, the disk and other processes can do to the record, and what it says then."""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import apsw
import pytest

from gnomon.errors import StoreError, Transient
from gnomon.record.base import Life
from gnomon.record.store import SqliteRecord
from gnomon.types import Attachment, Batch, Delete, Document, Notice, Purge, Upsert

T0 = datetime(2026, 3, 1, tzinfo=UTC)
DATA = Path(os.environ.get("GNOMON_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))


def put(key: str, text: str = "text", **fields: Any) -> Upsert:
    return Upsert(Document(**{"key": key, "source": "s", "kind": "post", "text": text} | fields))


def fill(record: SqliteRecord, posts: int, *, first: int = 0, words: int = 20) -> None:
    changes = tuple(
        put(f"x:{n}", f"post {n} " + "word " * words, author=f"a{n % 50}")
        for n in range(first, first + posts)
    )
    record.append("s", Batch(changes, str(first + posts)), now=T0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "record.db"


@pytest.fixture
def record(path: Path) -> Iterator[SqliteRecord]:
    record = SqliteRecord(path)
    yield record
    record.close()


class TestFullDisk:
    def test_nothing_is_stored_and_it_goes_on_once_there_is_room(self, record: SqliteRecord):
        fill(record, 50)
        writer = record._database._writer
        pages = writer.pragma("page_count")
        writer.pragma("max_page_count", pages + 1)
        with pytest.raises(StoreError) as caught:
            fill(record, 5_000, first=50)
        assert caught.value.code == "record.full"
        assert isinstance(caught.value, Transient)
        assert "nothing of this was stored" in str(caught.value)
        assert (record.last_seq(), record.cursor("s")) == (50, "50")
        with pytest.raises(StoreError, match="no room"):
            fill(record, 5_000, first=50)
        writer.pragma("max_page_count", 10**6)
        fill(record, 5_000, first=50)
        assert (record.last_seq(), record.cursor("s")) == (5_050, "5050")
        record.check()

    def test_a_quota_that_ends_the_file_is_the_same(self, tmp_path: Path):
        """A process whose files may not grow further gets an I/O error, not a full disk."""
        script = """
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_record_store import SqliteRecord, StoreError, fill
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
record = SqliteRecord(Path(sys.argv[1]))
fill(record, 10)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
try:
    fill(record, 5_000, first=10)
except StoreError as error:
    print(error.code, record.last_seq(), record.cursor("s"))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
fill(record, 5_000, first=10)
record.check()
print(record.last_seq())
"""
        out = run_python(script, str(tmp_path / "record.db"), str(Path(__file__).parent))
        assert out.split() == ["record.full", "10", "10", "5010"]


class TestDamage:
    @pytest.fixture
    def damaged(self, path: Path, request: pytest.FixtureRequest) -> Path:
        record = SqliteRecord(path)
        fill(record, 2_000)
        record.close()
        body = bytearray(path.read_bytes())
        if request.param == "header":
            body[:16] = b"not a database!!"
        elif request.param == "pages":
            for page in range(4096 * 5, len(body), 4096 * 3):
                body[page : page + 200] = b"\xff" * 200
        elif request.param == "cut":
            body = body[: len(body) // 2 + 100]
        path.write_bytes(body)
        return path

    @pytest.mark.parametrize("damaged", ["header", "pages", "cut"], indirect=True)
    @pytest.mark.parametrize("check", ["quick", "full"])
    def test_it_is_refused_at_open_with_file_and_next_step(self, damaged: Path, check: Any):
        with pytest.raises(StoreError) as caught:
            SqliteRecord(damaged, check=check)
        assert caught.value.code == "record.damaged"
        assert not isinstance(caught.value, Transient)
        assert str(damaged) in str(caught.value)
        assert "backup" in str(caught.value)

    @pytest.mark.parametrize("damaged", ["pages"], indirect=True)
    def test_unchecked_it_says_so_when_the_damage_is_met(self, damaged: Path):
        record = SqliteRecord(damaged, check="off")
        with pytest.raises(StoreError) as caught:
            record.check()
        assert caught.value.code == "record.damaged"
        record.close()

    def test_rows_that_contradict_each_other_are_found(self, path: Path, record: SqliteRecord):
        fill(record, 10)
        record.close()
        with apsw.Connection(str(path)) as db:
            db.execute("DELETE FROM bodies WHERE seq = 3")
        again = SqliteRecord(path, check="full")
        with pytest.raises(StoreError, match="1 entries have lost their content"):
            again.check()
        again.close()

    @pytest.mark.parametrize("body", [b"\x93", b"\x28\xb5\x2f\xfd and then nothing"])
    def test_content_that_cannot_be_read_is_found(self, path: Path, body: bytes):
        record = SqliteRecord(path)
        fill(record, 10)
        record.close()
        with apsw.Connection(str(path)) as db:
            db.execute("UPDATE bodies SET content = ? WHERE seq = 7", (body,))
        again = SqliteRecord(path)
        with pytest.raises(StoreError, match="entry 7 cannot be read"):
            again.check()
        with pytest.raises(StoreError) as caught:
            again.get("x:6")
        assert caught.value.code == "record.damaged"
        again.close()


class TestOpening:
    def test_a_newer_schema_is_left_alone(self, path: Path, record: SqliteRecord):
        record.close()
        with apsw.Connection(str(path)) as db:
            db.execute("PRAGMA user_version = 99")
        with pytest.raises(StoreError, match="version 99; this Gnomon knows versions up to 1"):
            SqliteRecord(path)

    def test_another_programs_database_is_left_alone(self, tmp_path: Path):
        path = tmp_path / "other.db"
        db = sqlite3.connect(path)
        db.execute("CREATE TABLE mine (x)")
        db.close()
        before = path.read_bytes()
        with pytest.raises(StoreError, match="not a record of Gnomon"):
            SqliteRecord(path)
        assert path.read_bytes() == before

    def test_an_empty_file_becomes_a_record(self, tmp_path: Path):
        path = tmp_path / "record.db"
        path.touch()
        record = SqliteRecord(path)
        fill(record, 1)
        assert record.last_seq() == 1
        record.close()

    def test_a_folder_in_its_place_is_named(self, tmp_path: Path):
        with pytest.raises(StoreError, match="cannot be opened") as caught:
            SqliteRecord(tmp_path)
        assert caught.value.code == "record.open"

    def test_a_file_in_the_way_of_its_folder_is_named(self, tmp_path: Path):
        (tmp_path / "home").touch()
        with pytest.raises(StoreError, match="cannot be opened"):
            SqliteRecord(tmp_path / "home" / "record.db")

    def test_a_closed_record_says_so(self, record: SqliteRecord):
        record.close()
        with pytest.raises(StoreError, match="is closed"):
            record.last_seq()
        with pytest.raises(StoreError, match="is closed"):
            fill(record, 1)


class TestOtherProcesses:
    def test_a_lock_that_stays_is_an_error_that_may_pass(
        self, path: Path, record: SqliteRecord, monkeypatch: pytest.MonkeyPatch
    ):
        other = apsw.Connection(str(path))
        other.execute("BEGIN IMMEDIATE")
        record._database._writer.set_busy_timeout(50)
        with pytest.raises(StoreError, match="locked") as caught:
            fill(record, 1)
        assert caught.value.code == "record.locked"
        assert isinstance(caught.value, Transient)
        assert record.get("x:0").life is Life.UNKNOWN, "reading goes on"
        other.execute("ROLLBACK")
        fill(record, 1)
        other.close()

    def test_what_another_process_wrote_is_counted_on(self, path: Path, record: SqliteRecord):
        fill(record, 3)
        other = SqliteRecord(path)
        other.append("t", Batch((put("y:1"), put("x:0", "edited"))), now=T0)
        fill(record, 3, first=2)
        assert [e.seq for e in record.entries(0)] == list(range(1, 8))
        assert len(record.versions("x:0")) == 2
        other.check()
        other.close()

    def test_readers_never_wait_for_a_writer(self, record: SqliteRecord):
        fill(record, 3)
        writing, read = threading.Event(), threading.Event()

        def hold() -> None:
            with record._database.writing() as db:
                db.execute("UPDATE state SET versions = versions")
                writing.set()
                assert read.wait(10)

        holder = threading.Thread(target=hold)
        holder.start()
        assert writing.wait(10)
        assert record.get("x:1").life is Life.ALIVE
        assert record.stats().versions == 3
        read.set()
        holder.join()


class TestErasure:
    SECRET = "jabberwocky"

    def on_disk(self, path: Path) -> bool:
        secret = self.SECRET.encode()
        return any(secret in file.read_bytes() for file in path.parent.iterdir())

    def test_purged_bytes_are_gone_from_every_file(self, path: Path, record: SqliteRecord):
        fill(record, 400, words=3)
        secret = put("k", f"{self.SECRET} text", author="Ann", url=f"https://{self.SECRET}.org")
        record.append("s", Batch((secret,)), now=T0)
        record.append("s", Batch((put("k", f"{self.SECRET} edited", author="Ann"),)), now=T0)
        fill(record, 400, first=400, words=3)
        assert self.on_disk(path)
        record.append("s", Batch((Purge(key="k"),)), now=T0)
        assert not self.on_disk(path)

    def test_a_purged_attachment_is_gone_too(self, path: Path, record: SqliteRecord):
        body = self.SECRET.encode() + os.urandom(50_000)
        hash = record.put_blob(body, "image/png")
        attachment = Attachment(hash=hash, media_type="image/png", body_bytes=len(body))
        record.append("s", Batch((put("k", author="Ann", attachments=(attachment,)),)), now=T0)
        assert self.on_disk(path)
        record.append("s", Batch((Purge(author="Ann"),)), now=T0)
        assert not self.on_disk(path)

    def test_a_reader_in_the_way_only_delays_it(self, path: Path, record: SqliteRecord):
        record.append("s", Batch((put("k", self.SECRET),)), now=T0)
        with record._database.reading() as db:
            db.execute("SELECT count(*) FROM log").fetchall()
            record.append("s", Batch((Purge(key="k"),)), now=T0)
            assert record.get("k").life is Life.PURGED
        record.append("s", Batch((put("other"),)), now=T0)
        assert not self.on_disk(path)


class TestSpeed:
    def test_counts_and_health_stay_cheap_as_history_grows(self, record: SqliteRecord):
        """Bounds the work, not the time: the steps of SQLite's machine for each question."""
        for n in range(40):
            for source in ("s", "t"):
                changes = tuple(put(f"{source}:{i}", f"{n}") for i in range(n * 50, n * 50 + 60))
                record.append(source, Batch(changes), now=T0 + timedelta(minutes=n))

        def steps(question: Any) -> int:
            count = 0

            def tick() -> bool:
                nonlocal count
                count += 1
                return False

            with record._database.reading() as db:
                pass
            db.set_progress_handler(tick, 10)
            question()
            db.set_progress_handler(None)
            return count * 10

        middle = T0 + timedelta(minutes=20)
        assert record.source_stats(middle)["s"].documents == 21 * 50 + 10
        assert steps(lambda: record.source_stats(middle)) < 3_000
        assert steps(lambda: record.stats()) < 1_000
        assert steps(lambda: record.get("s:500", middle)) < 300

    def test_a_long_timeline_is_read_at_any_moment_without_walking_it(self, record: SqliteRecord):
        changes = tuple(put("k", str(n)) for n in range(3_000))
        record.append("s", Batch(changes), now=T0)
        found = record.get("k", T0 + timedelta(microseconds=1_500))
        assert found.document is not None and found.document.text == "1500"

    def test_an_index_serves_every_question(self, record: SqliteRecord):
        from gnomon.record import erase, reading, timeline

        def plan(query: str, *values: Any) -> str:
            with record._database.reading() as db:
                rows = db.execute(f"EXPLAIN QUERY PLAN {query}", values).fetchall()
            return "; ".join(row[3] for row in rows)

        numbers = erase.carray([1])
        names = apsw.carray(("a",))
        for query, values in (
            (timeline._HEADS, (names,)),
            (timeline._BEFORE, (1, 1)),
            (timeline._AFTER, (1, 1)),
            (timeline._AT, (1, 1)),
            (erase._OF_KEY, (1,)),
            (erase._LIVES, (numbers,)),
            (erase._BY_AUTHOR, (numbers, 1, 1)),
            (reading._AS_OF, ("k", 1)),
            (reading._HISTORY, (1, 2, 3)),
        ):
            shown = plan(query, *values)
            assert "SCAN l" not in shown, (query, shown)
            assert "SCAN k" not in shown, (query, shown)
            assert "TEMP B-TREE" not in shown, (query, shown)


class TestBackup:
    def test_it_is_consistent_while_others_write(self, record: SqliteRecord, tmp_path: Path):
        fill(record, 500)
        stop = threading.Event()

        def write() -> None:
            n = 500
            while not stop.is_set():
                fill(record, 20, first=n)
                n += 20

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for n in range(3):
                record.backup(tmp_path / f"copy{n}.db")
        finally:
            stop.set()
            writer.join()
        for n in range(3):
            copy = SqliteRecord(tmp_path / f"copy{n}.db", check="full")
            copy.check()
            assert copy.cursor("s") == str(copy.last_seq())
            copy.close()

    def test_it_never_replaces_a_file(self, record: SqliteRecord, tmp_path: Path):
        target = tmp_path / "precious"
        target.write_text("mine")
        with pytest.raises(StoreError, match="exists already"):
            record.backup(target)
        assert target.read_text() == "mine"

    def test_a_missing_folder_is_named(self, record: SqliteRecord, tmp_path: Path):
        with pytest.raises(StoreError, match="cannot be written") as caught:
            record.backup(tmp_path / "none" / "copy.db")
        assert caught.value.code == "record.backup"


def naughty_strings() -> list[str]:
    path = DATA / "security" / "naughty_strings.json.gz"
    if not path.exists():
        pytest.skip(f"{path} is not there; GNOMON_TEST_DATA names the folder of test data")
    strings: list[str] = json.loads(gzip.decompress(path.read_bytes()))
    return [s for s in strings if s]


class TestNaughtyStrings:
    def test_each_comes_back_from_every_field(self, record: SqliteRecord):
        strings = naughty_strings()
        changes = tuple(
            put(s, s, title=s, author=s, url=s, lang=s, reply_to=s, extra={s: [s]}, kind=s)
            for s in dict.fromkeys(strings)
        )
        record.append("src", Batch(changes, "c"), now=T0)
        for change in changes:
            given = change.document
            kept = record.get(given.key).document
            assert kept is not None
            assert (kept.key, kept.text, kept.title, kept.author, kept.extra) == (
                given.key,
                given.text,
                given.title,
                given.author,
                given.extra,
            )

    def test_each_names_a_source_a_cursor_a_pin_and_a_notice(self, record: SqliteRecord):
        for s in naughty_strings()[::7]:
            record.append(s, Batch((Notice(code=s, text=s), Delete(key=s)), s), now=T0)
            assert record.cursor(s) == s
            assert record.notices(s)[0][2] == Notice(code=s, text=s)
            record.pin(s, [1])
            record.unpin(s)


def run_python(script: str, *arguments: str) -> str:
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
