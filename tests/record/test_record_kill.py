"""A process that appends is killed at random moments; what it acknowledged must be there, once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gnomon.record.base import Life, Op
from gnomon.record.store import SqliteRecord

# Batch n of the stream holds five new posts, an edit, a delete and a purge; its cursor is n.
WRITER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from gnomon.record.store import SqliteRecord
from gnomon.types import Batch, Delete, Document, Purge, Upsert

def put(key, text):
    return Upsert(Document(key=key, source="s", kind="post", text=text))

record = SqliteRecord(Path(sys.argv[1]), check="full")
n = int(record.cursor("s") or 0)
while True:
    n += 1
    changes = [put(f"{n}:{i}", "first") for i in range(5)]
    changes += [put(f"{n}:0", "edited"), Delete(key=f"{n}:1")]
    if n > 1:
        changes.append(Purge(key=f"{n - 1}:2"))
    record.append("s", Batch(tuple(changes), str(n)), now=datetime.now(UTC))
    print(n, flush=True)
"""


def kill_while_writing(path: Path, rng: random.Random) -> int:
    """Runs the writer, kills it at a random moment; returns the last cursor it acknowledged."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    acknowledged = int(process.stdout.readline())
    time.sleep(rng.random() * 0.05)  # the moment of the kill, not a wait for something
    os.kill(process.pid, signal.SIGKILL)
    rest = process.stdout.read().split("\n")[:-1]  # a line cut off acknowledges nothing
    process.wait()
    process.stdout.close()
    return int(rest[-1]) if rest else acknowledged


def verify(path: Path, acknowledged: int) -> None:
    record = SqliteRecord(path, check="full")
    cursor = int(record.cursor("s") or 0)
    # The kill may fall between the commit and its acknowledgement, never before.
    assert acknowledged <= cursor <= acknowledged + 1
    entries = record.entries(0, limit=10**6)
    assert [e.seq for e in entries] == list(range(1, 8 * cursor)), "whole batches, no hole"
    puts = [(e.key, e.start_us) for e in entries if e.op is Op.PUT]
    assert len(puts) == len(set(puts)) == 6 * cursor, "nothing doubled"
    for n in (1, cursor // 2, cursor - 1, cursor):
        if n < 1:
            continue
        lives = [record.get(f"{n}:{i}").life for i in range(5)]
        third = Life.ALIVE if n == cursor else Life.PURGED
        assert lives == [Life.ALIVE, Life.DELETED, third, Life.ALIVE, Life.ALIVE]
        edited = record.get(f"{n}:0").document
        assert edited is not None
        assert (edited.text, edited.version) == ("edited", 2)
    assert record.get(f"{cursor + 1}:0").life is Life.UNKNOWN
    record.check()
    record.close()


def hammer(path: Path, kills: int) -> None:
    rng = random.Random(20260301)
    for _ in range(kills):
        verify(path, kill_while_writing(path, rng))


def test_a_killed_writer_loses_nothing_and_doubles_nothing(tmp_path: Path):
    hammer(tmp_path / "record.db", 4)


@pytest.mark.slow
def test_two_hundred_kills(tmp_path: Path):
    hammer(tmp_path / "record.db", 200)


def test_the_first_opening_can_be_killed(tmp_path: Path):
    """A file is either not yet a record or a whole one."""
    rng = random.Random(7)
    for n in range(3):
        path = tmp_path / f"{n}.db"
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 20
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(rng.random() * 0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        record = SqliteRecord(path, check="full")
        record.check()
        assert record.append is not None
        assert record.cursor("s") is None or record.last_seq() > 0
        record.close()


def test_the_stamp_survives(tmp_path: Path):
    path = tmp_path / "record.db"
    kill_while_writing(path, random.Random(1))
    from gnomon.types import Batch, Document, Upsert

    record = SqliteRecord(path)
    newest = record.entries(record.last_seq() - 1)[0].start_us
    document = Document(key="late", source="s", kind="post", text="x")
    (entry,) = record.append(
        "s", Batch((Upsert(document),)), now=datetime(2000, 1, 1, tzinfo=UTC)
    ).entries
    assert entry.start_us >= newest
    record.close()
