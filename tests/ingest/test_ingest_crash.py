"""kill -9 of a whole ingest process under load: nothing lost, nothing doubled, index repaired."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import msgspec
import pytest

from gnomon.index.base import Query
from gnomon.testing import crash
from gnomon.types import SourceConfig

ROWS = 5_000
WORDS = 1_000


def write(path: Path) -> None:
    rng = random.Random(3)
    with path.open("w") as file:
        for n in range(ROWS):
            text = " ".join(f"word{w}" for w in rng.sample(range(WORDS), 12))
            # Every tenth row is an edit of the one before.
            key = f"k{n - 1}" if n % 10 == 9 else f"k{n}"
            file.write(json.dumps({"key": key, "text": text, "author": f"u{n % 7}"}) + "\n")


def check(home: Path) -> int:
    """What is durable is a whole prefix of what was replayed. Returns its length."""
    record = crash.open_record(home)
    try:
        record.check()
        cursor = record.cursor("replay:load")
        if cursor is None:
            assert record.stats().versions == 0
            return 0
        place = msgspec.json.decode(cursor)
        turn, row = place.get("turn", 1), place.get("row", 0)
        stored = (turn - 1) * ROWS + row
        stats = record.stats()
        assert stats.versions == stored
        edits = (turn - 1) * (ROWS // 10) + row // 10
        assert stats.documents == stored - edits
        assert stats.last_seq == stored
        return int(stored)
    finally:
        record.close()


def rounds(home: Path, n: int) -> int:
    path = home / "load.jsonl"
    write(path)
    config = SourceConfig(
        name="replay:load",
        type="replay",
        settings={"path": str(path), "times": 0, "batch_rows": 100},
    )
    rng = random.Random(11)
    stored = 0
    for _ in range(n):
        process = crash.start(home, config)
        record = crash.open_record(home)
        try:
            deadline = time.monotonic() + 60  # a busy machine may take long to start it
            while record.last_seq() <= stored and time.monotonic() < deadline:
                assert process.is_alive(), f"the process ended by itself: {process.exitcode}"
                time.sleep(0.002)
            assert record.last_seq() > stored, "the process did not go on where it was"
        finally:
            record.close()
        time.sleep(rng.uniform(0, 0.15))
        crash.kill(process)
        before, stored = stored, check(home)
        assert stored > before
    queries = [
        Query(text=f"+word{w}", limit=1_000, mode="lexical", fold=False)
        for w in rng.sample(range(WORDS), 25)
    ]
    assert crash.differences(home, queries) == []
    return stored


def test_killed_a_few_times(tmp_path: Path) -> None:
    assert rounds(tmp_path, 3) > 0


@pytest.mark.slow
def test_killed_200_times(tmp_path: Path) -> None:
    assert rounds(tmp_path, 200) > 10_000
