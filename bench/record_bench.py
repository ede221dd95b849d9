"""The record: appends, as-of reads, statistics and bytes per post, beside plain SQLite.

    python bench/record_bench.py --posts 200000 [--json]

`plain` is the ceiling on this machine: the same fields in one `executemany` of the standard
`sqlite3` per batch (WAL, the same durability), one row and one unique key per post, with no
history, no comparison with what is stored, and nothing handed back.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from gnomon.record.store import SqliteRecord
from gnomon.types import Batch, Document, Purge, Upsert

T0 = datetime(2026, 1, 1, tzinfo=UTC)
HEADS = ("ba", "be", "bi", "bo", "bu", "da", "de", "di", "do", "du")
WORDS = [f"{head}{tail}" for head in HEADS for tail in ("lm", "nt", "rk", "st")]


def posts(count: int, batch: int, *, spread: bool) -> Iterator[tuple[datetime, list[Document]]]:
    """Short posts by a long tail of authors; keys grow as snowflakes do, or are random."""
    rng = random.Random(1)
    for first in range(0, count, batch):
        now = T0 + timedelta(milliseconds=first)
        documents = []
        for n in range(first, min(first + batch, count)):
            key = f"at://{rng.getrandbits(96):024x}/{n}" if spread else f"x:{10**18 + n * 4096}"
            author = f"user{int(rng.paretovariate(0.7)) % 500_000}"
            documents.append(
                Document(
                    key=key,
                    source="x",
                    kind="post",
                    text=" ".join(rng.choices(WORDS, k=20)),
                    author=author,
                    lang="en",
                    url=f"https://x.com/{author}/status/{n}",
                    published_at=now,
                )
            )
        yield now, documents


class Timed:
    """Wall and processor seconds, summed over several spans."""

    def __init__(self) -> None:
        self.wall_s = self.cpu_s = 0.0

    def __enter__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def __exit__(self, *_: object) -> None:
        self.wall_s += time.perf_counter() - self._wall
        self.cpu_s += time.process_time() - self._cpu

    def per_post(self, count: int) -> dict[str, float]:
        return {
            "posts_per_s": round(count / self.wall_s),
            "cpu_us_per_post": round(self.cpu_s / count * 1e6, 2),
        }


def folder_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def microseconds(ask: Callable[[Any], Any], questions: list[Any]) -> dict[str, float]:
    took = []
    for question in questions:
        start = time.perf_counter()
        ask(question)
        took.append((time.perf_counter() - start) * 1e6)
    took.sort()
    return {"p50": round(statistics.median(took), 1), "p99": round(took[len(took) * 99 // 100], 1)}


def bench_record(folder: Path, count: int, batch: int, *, spread: bool = False) -> dict[str, Any]:
    record = SqliteRecord(folder / "record.db")
    appending, slowest = Timed(), 0.0
    for now, documents in posts(count, batch, spread=spread):
        changes = tuple([Upsert(document) for document in documents])
        before = appending.wall_s
        with appending:
            record.append("x", Batch(changes, str(now)), now=now)
        slowest = max(slowest, appending.wall_s - before)
    figures: dict[str, Any] = appending.per_post(count)
    figures["slowest_append_ms"] = round(slowest * 1e3, 1)
    rng = random.Random(2)
    seqs = [rng.randrange(count) + 1 for _ in range(2_000)]
    keys = [d.key for d in record.by_seq(seqs) if d is not None]
    end = now
    figures["get_as_of_us"] = microseconds(lambda key: record.get(key, end), keys)
    figures["by_seq_50_us"] = microseconds(
        record.by_seq, [[rng.randrange(count) + 1 for _ in range(50)] for _ in range(200)]
    )
    moments = [T0 + timedelta(milliseconds=rng.randrange(count)) for _ in range(200)]
    figures["source_stats_as_of_us"] = microseconds(record.source_stats, moments)
    figures["stats_us"] = microseconds(lambda _: record.stats(), [None] * 200)
    with (reading := Timed()):
        after = 0
        while entries := record.entries(after, 2_000):
            after = entries[-1].seq
    figures["entries_read_per_s"] = round(after / reading.wall_s)
    again = next(posts(batch, batch, spread=spread))[1]
    with (repeated := Timed()):
        done = record.append("x", Batch(tuple(map(Upsert, again))), now=end)
    assert done.unchanged == len(again)
    figures["unchanged_us_per_post"] = round(repeated.wall_s / len(again) * 1e6, 2)
    with (purging := Timed()):
        purge = record.append("x", Batch((Purge(author="user7"),)), now=end)
    figures["author_purge"] = {
        "versions": len(purge.entries[0].dropped) if purge.entries else 0,
        "ms": round(purging.wall_s * 1e3, 1),
    }
    with (retaining := Timed()):
        gone = record.retain("x", timedelta(0), now=end + timedelta(days=1), limit=10_000)
    figures["retain_us_per_version"] = round(
        retaining.wall_s / len(gone.entries[0].dropped) * 1e6, 2
    )
    with (checking := Timed()):
        record.check()
    figures["check_s"] = round(checking.wall_s, 2)
    record.close()
    figures["bytes_per_post"] = round(folder_bytes(folder) / count, 1)
    with (opening := Timed()):
        SqliteRecord(folder / "record.db").close()
    figures["open_s"] = round(opening.wall_s, 3)
    return figures


def bench_plain(folder: Path, count: int, batch: int) -> dict[str, Any]:
    db = sqlite3.connect(folder / "plain.db", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE posts (id INTEGER PRIMARY KEY, key TEXT UNIQUE, at_us INT, body BLOB)")
    encode = msgspec.msgpack.encode
    appending, n = Timed(), 0
    for now, documents in posts(count, batch, spread=False):
        at_us = int(now.timestamp() * 1e6)
        with appending:
            rows = []
            for d in documents:
                n += 1
                rows.append((n, d.key, at_us, encode((d.kind, d.text, d.author, d.lang, d.url))))
            db.execute("BEGIN")
            db.executemany("INSERT INTO posts VALUES (?, ?, ?, ?)", rows)
            db.execute("COMMIT")
    db.close()
    return {
        **appending.per_post(count),
        "bytes_per_post": round(folder_bytes(folder) / count, 1),
    }


def run(count: int, batches: list[int]) -> dict[str, Any]:
    """All figures, by name of the run."""
    figures: dict[str, Any] = {}

    def measured(name: str, bench: Callable[[Path], dict[str, Any]]) -> None:
        folder = Path(tempfile.mkdtemp(prefix="gnomon-bench-"))
        try:
            figures[name] = bench(folder)
        finally:
            shutil.rmtree(folder)

    for batch in batches:
        measured(f"record, batches of {batch}", lambda f, b=batch: bench_record(f, count, b))
        measured(f"plain, batches of {batch}", lambda f, b=batch: bench_plain(f, count, b))
    measured(
        f"record, random keys, batches of {batches[-1]}",
        lambda f: bench_record(f, count, batches[-1], spread=True),
    )
    figures["peak_memory_mib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return figures


def main() -> None:
    """Print the figures as a table, or as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--posts", type=int, default=200_000)
    parser.add_argument("--batch", type=int, nargs="*", default=[600, 6_000])
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    figures = run(arguments.posts, arguments.batch)
    if arguments.json:
        print(json.dumps({"posts": arguments.posts, **figures}, indent=1))
        return
    print(f"{arguments.posts:,} posts")
    for name, rows in figures.items():
        if not isinstance(rows, dict):
            print(f"{name}: {rows}")
            continue
        print(f"\n{name}")
        for label, value in rows.items():
            print(f"  {label:<24} {value}")


if __name__ == "__main__":
    main()
