"""A stream of short posts through record and index, in the shape of the product.

    python bench/replay.py --posts 1000000 --rate 6000 [--vectors FOLDER] [--peers 200000]

One thread reads posts and appends them to the record, one applies them to the index and commits
every quarter of a second, as `ingest/flow.py` does. A post has arrived when its time in the stream
has come, and is searchable when the commit that holds it returns. `--rate max` reads as fast as
posts are taken. Peers take the same posts, as fast as they can.
"""

from __future__ import annotations

import argparse
import os
import queue
import shutil
import sqlite3
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from gnomon.app import TURN_S
from gnomon.clock import SystemClock
from gnomon.index import analyze
from gnomon.index.base import Query
from gnomon.index.lexicon import Lexicon
from gnomon.index.live import LiveIndex
from gnomon.models.static import StaticVectors
from gnomon.record.store import SqliteRecord
from gnomon.types import Batch, Document, Upsert
from harness import peak_memory_mib, percentiles, save
from posts import RandomWords, write

TICK_S = 0.05
COMMIT_S = 0.25
BATCH_AT_MOST = 1000
QUEUE = 8


def replay(path: Path, home: Path, rate: float | None, vectors: Any) -> dict[str, Any]:
    """Take in every post of `path`; figures of the run."""
    clock = SystemClock()
    record = SqliteRecord(home / "record.db")
    index = LiveIndex(home / "index")
    index.set_vectors(vectors)
    handed: queue.Queue[Any] = queue.Queue(QUEUE)
    arrived: list[np.ndarray] = []
    lags: list[np.ndarray] = []
    busy = {"ingest": 0.0, "index": 0.0}
    began, began_cpu = time.perf_counter(), time.process_time()

    def ingest() -> None:
        decode = msgspec.json.Decoder(Document).decode
        done = 0
        with path.open("rb") as lines:
            while True:
                now = time.perf_counter() - began
                due = BATCH_AT_MOST if rate is None else min(int(now * rate) - done, BATCH_AT_MOST)
                if due < (1 if rate is None else rate * TICK_S / 2):
                    time.sleep(TICK_S)
                    continue
                some = [line for _, line in zip(range(due), lines, strict=False)]
                if not some:
                    break
                changes = tuple(Upsert(decode(line)) for line in some)
                batch = Batch(changes, str(done + len(some)))
                entries = record.append("bench", batch, now=clock.now()).entries
                numbers = np.arange(done, done + len(some))
                arrived.append(np.full(len(some), now) if rate is None else numbers / rate)
                done += len(some)
                handed.put(entries)
        handed.put(None)
        busy["ingest"] = time.thread_time()

    def feed() -> None:
        pending, taken, committed = 0, 0, time.perf_counter()
        more = True
        while more or pending:
            wait = max(committed + COMMIT_S - time.perf_counter(), 0) if pending else None
            try:
                entries = handed.get(timeout=wait)
                more = entries is not None
                if more:
                    index.apply(entries)
                    pending += 1
            except queue.Empty:
                pass
            if pending and (not more or time.perf_counter() - committed >= COMMIT_S):
                index.commit()
                committed = time.perf_counter()
                lags.extend(committed - began - a for a in arrived[taken : taken + pending])
                taken, pending = taken + pending, 0
        busy["index"] = time.thread_time()

    threads = [threading.Thread(target=work) for work in (ingest, feed)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall, cpu = time.perf_counter() - began, time.process_time() - began_cpu
    stats, stored = index.stats(), record.stats()
    assert stats.documents == stored.documents, (stats, stored)
    index.close()
    record.close()
    count = stats.versions
    lag_ms = np.concatenate(lags) * 1000
    # Building up from an empty page cache is not what is asked for: the first tenth is left out.
    steady = lag_ms[len(lag_ms) // 10 :]
    return {
        "posts": count,
        "wall_s": round(wall, 1),
        "posts_per_s": round(count / wall),
        "cpu_cores": round(cpu / wall, 3),
        "cpu_us_per_post": round(cpu / count * 1e6, 1),
        "thread_us_per_post": {k: round(v / count * 1e6, 1) for k, v in busy.items()},
        "arrival_to_searchable_ms": None if rate is None else percentiles(steady.tolist(), 0),
        "index_bytes_per_post": round(_bytes(home / "index") / count, 1),
        "of_that_words": round(_bytes(home / "index" / "words") / count, 1),
        "record_bytes_per_post": round(_bytes(home, "record.db*") / count, 1),
        "peak_memory_mib": peak_memory_mib(),
        "load_average": round(os.getloadavg()[0], 1),
    }


def _bytes(folder: Path, pattern: str = "**/*") -> int:
    return sum(f.stat().st_blocks * 512 for f in folder.glob(pattern) if f.is_file())


# -- peers ---------------------------------------------------------------------
def read(path: Path, count: int) -> list[dict[str, Any]]:
    with path.open("rb") as lines:
        return [msgspec.json.decode(line) for _, line in zip(range(count), lines, strict=False)]


def fts5(rows: list[dict[str, Any]], home: Path) -> dict[str, Any]:
    """SQLite FTS5 beside a table of documents, one transaction for each thousand."""
    base = sqlite3.connect(home / "fts5.db")
    base.execute("PRAGMA journal_mode=WAL")
    base.execute("PRAGMA synchronous=NORMAL")
    base.execute("CREATE TABLE doc(id INTEGER PRIMARY KEY, key TEXT, source TEXT, author TEXT)")
    base.execute("CREATE VIRTUAL TABLE text USING fts5(body, content='')")
    began, cpu = time.perf_counter(), time.process_time()
    for at in range(0, len(rows), BATCH_AT_MOST):
        with base:
            part = list(enumerate(rows[at : at + BATCH_AT_MOST], at))
            base.executemany(
                "INSERT INTO doc VALUES(?,?,?,?)",
                [(i, r["key"], r["source"], r["author"]) for i, r in part],
            )
            base.executemany(
                "INSERT INTO text(rowid, body) VALUES(?,?)", [(i, r["text"]) for i, r in part]
            )
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    base.close()
    return {
        "posts": len(rows),
        "posts_per_s": round(len(rows) / wall),
        "cpu_us_per_post": round(cpu / len(rows) * 1e6, 1),
        "bytes_per_post": round(_bytes(home, "fts5.db*") / len(rows), 1),
        "brings": "words only: no vectors, near copies, or moments",
    }


def lance(rows: list[dict[str, Any]], home: Path, vectors: Any) -> dict[str, Any]:
    """LanceDB: the same vectors and texts, indexed for words, then a tail that is not."""
    import lancedb
    import pyarrow as pa

    lexicon = Lexicon(vectors)
    base = lancedb.connect(str(home / "lance"))
    schema = pa.schema(
        [("key", pa.string()), ("text", pa.string()), ("vector", pa.list_(pa.float32(), 256))]
    )
    table = base.create_table("posts", schema=schema)
    tail = len(rows) // 5

    def add(part: list[dict[str, Any]]) -> None:
        for at in range(0, len(part), BATCH_AT_MOST):
            some = part[at : at + BATCH_AT_MOST]
            embedded = lexicon.vectors([analyze.words(r["text"]) for r in some])
            flat = pa.FixedSizeListArray.from_arrays(pa.array(embedded.ravel()), 256)
            texts = [pa.array([r[name] for r in some]) for name in ("key", "text")]
            table.add(pa.table([*texts, flat], schema=schema))

    began, cpu = time.perf_counter(), time.process_time()
    add(rows[:-tail])
    table.create_fts_index("text", use_tantivy=False)
    indexed = time.perf_counter() - began
    add(rows[-tail:])
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    asked = time.perf_counter()
    for _ in range(5):
        table.search("storm flood", query_type="fts").limit(10).to_list()
    fresh_ms = (time.perf_counter() - asked) / 5 * 1000
    asked = time.perf_counter()
    table.optimize()
    optimize_s = time.perf_counter() - asked
    return {
        "posts": len(rows),
        "posts_per_s": round(len(rows) / wall),
        "cpu_us_per_post": round(cpu / len(rows) * 1e6, 1),
        "bytes_per_post": round(_bytes(home / "lance") / len(rows), 1),
        "first_index_s": round(indexed, 1),
        "query_ms_with_unindexed_tail": {"tail": tail, "ms": round(fresh_ms, 1)},
        "optimize_s": round(optimize_s, 2),
    }


def our_tail(rows_home: Path, vectors: Any) -> float:
    """The same query on our index, whose tail is always indexed."""
    index = LiveIndex(rows_home / "index")
    index.set_vectors(vectors)
    took = [index.search(Query(text="storm flood", mode="lexical")).took_ms for _ in range(20)]
    index.close()
    return round(sorted(took)[10], 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--posts", type=int, default=200_000)
    parser.add_argument("--rate", default="max")
    parser.add_argument("--vectors", type=Path, help="folder of a static table; else random")
    parser.add_argument("--peers", type=int, default=0, help="posts for FTS5 and LanceDB")
    parser.add_argument("--keep", type=Path, help="leave record and index here")
    parser.add_argument("--name", default="")
    options = parser.parse_args()
    sys.setswitchinterval(TURN_S)
    rate = None if options.rate == "max" else float(options.rate)
    vectors = StaticVectors(options.vectors) if options.vectors else RandomWords()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        text_bytes = write(home / "posts.jsonl", options.posts)
        kept = options.keep or home / "home"
        kept.mkdir(parents=True, exist_ok=True)
        figures: dict[str, Any] = {
            "asked_rate": options.rate,
            "word_vectors": vectors.name,
            "text_bytes_per_post": round(text_bytes / options.posts, 1),
            "gnomon": replay(home / "posts.jsonl", kept, rate, vectors),
        }
        if options.peers:
            rows = read(home / "posts.jsonl", options.peers)
            figures["sqlite_fts5"] = fts5(rows, home)
            figures["gnomon"]["words_query_ms"] = our_tail(kept, vectors)
            figures["lancedb"] = lance(rows, home, vectors)
            shutil.rmtree(home / "lance")
    save(options.name or f"replay-{options.posts}-{options.rate}", figures)


if __name__ == "__main__":
    main()
