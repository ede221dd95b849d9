"""What the index does after a kill and with damaged files."""

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

from gnomon.index.base import Query
from gnomon.index.live import LiveIndex
from gnomon.record.store import SqliteRecord
from gnomon.types import Batch, Document, Upsert

START = datetime(2026, 3, 1, tzinfo=UTC)

CHILD = """
import sys
from pathlib import Path
from gnomon.index.live import LiveIndex
from gnomon.record.store import SqliteRecord
record, index = SqliteRecord(Path(sys.argv[1])), LiveIndex(Path(sys.argv[2]))
while entries := record.entries(index_seq := index.applied_seq, 40):
    index.apply(entries)
    index.commit()
    print(index_seq, flush=True)
print("done", flush=True)
"""


def filled(path: Path, keys: int, edits: int) -> SqliteRecord:
    record = SqliteRecord(path)
    for edit in range(edits):
        batch = [
            Upsert(Document(key=f"k{i}", source="s", kind="post", text=f"storm {edit} number{i}"))
            for i in range(keys)
        ]
        record.append("s", Batch(tuple(batch)), now=START.replace(hour=edit))
    return record


@pytest.mark.parametrize(
    "rounds", [pytest.param(3, id="few"), pytest.param(100, marks=pytest.mark.slow, id="many")]
)
def test_killed_anywhere_it_ends_equal_to_a_rebuild(tmp_path: Path, rounds: int) -> None:
    record = filled(tmp_path / "r.db", keys=200, edits=8)
    folder, rng = tmp_path / "index", random.Random(7)
    for _ in range(rounds):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, tmp_path / "r.db", folder],
            stdout=subprocess.PIPE, text=True, env=dict(os.environ),
        )  # fmt: skip
        with child:
            assert child.stdout is not None
            child.stdout.readline()
            time.sleep(rng.random() * 0.12)  # where the kill falls; no condition waits for it
            child.send_signal(signal.SIGKILL)
    index, rebuilt = LiveIndex(folder), LiveIndex(tmp_path / "rebuilt")
    for each in (index, rebuilt):
        each.apply(record.entries(each.applied_seq, 10_000))
        each.commit()
    for as_of in (None, *(START.replace(hour=h, minute=30) for h in range(8))):
        query = Query(text="storm", as_of=as_of, limit=300, fold=False)
        hits = index.search(query).hits
        assert len(hits) == 200
        assert hits == rebuilt.search(query).hits
    for each in (index, rebuilt, record):
        each.close()


def test_damaged_files_are_put_aside_and_the_index_begins_anew(tmp_path: Path) -> None:
    record = filled(tmp_path / "r.db", keys=50, edits=2)
    index = LiveIndex(tmp_path / "index")
    index.apply(record.entries(0, 1_000))
    index.close()
    for file in (tmp_path / "index").rglob("meta.json"):
        file.write_bytes(b"garbage")
    index = LiveIndex(tmp_path / "index")
    assert index.applied_seq == 0
    assert (tmp_path / "index.damaged").is_dir()
    index.apply(record.entries(0, 1_000))
    index.commit()
    assert len(index.search(Query(text="storm", limit=100, fold=False)).hits) == 50
    index.close()
    record.close()
