"""Latency of queries over many posts while more come in, beside SQLite FTS5.

    python bench/query.py --posts 1000000 --rate 1000 [--vectors FOLDER]

The index is filled first. Then one thread applies `--rate` posts a second and commits every quarter
of a second, while another asks 20 queries a second, each in every way. FTS5 is asked alone, with
the same queries, over the same posts.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
import tempfile
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

from gnomon.app import TURN_S
from gnomon.clock import from_us
from gnomon.index.base import Query
from gnomon.index.live import LiveIndex
from gnomon.models.static import StaticVectors
from gnomon.record.base import Entry, Op
from gnomon.types import Document
from harness import peak_memory_mib, percentiles, save
from posts import START_US, RandomWords, queries, write

COMMIT_S = 0.25
STEP_US = 1000
PAUSE_S = 0.05


def entries(path: Path, first: int, count: int) -> list[Entry]:
    """Posts as log entries; one in twenty edits the post before it."""
    decode = msgspec.json.Decoder(Document).decode
    found = []
    with path.open("rb") as lines:
        lines.seek(first)
        for _, line in zip(range(count), lines, strict=False):
            document = decode(line)
            seq = int(document.key.partition(":")[2]) + 1
            edits = seq % 20 == 0
            found.append(
                Entry(
                    seq=seq,
                    op=Op.PUT,
                    source=document.source,
                    key=document.key,
                    start_us=START_US + seq * STEP_US,
                    prev_seq=seq - 1 if edits else None,
                    document=document,
                )
            )
    return found


def fill(index: LiveIndex, path: Path, posts: int) -> int:
    """Take in the first `posts` posts; the offset behind them."""
    offset = 0
    with path.open("rb") as lines:
        for done in range(0, posts, 2000):
            index.apply(entries(path, offset, 2000))
            offset += sum(len(line) for _, line in zip(range(2000), lines, strict=False))
            if done % 20_000 == 0:
                index.commit()
    index.commit()
    return offset


def ways(text: str, posts: int) -> dict[str, Query]:
    """One text, asked in every way."""
    middle = from_us(START_US + posts // 2 * STEP_US)
    hour = timedelta(seconds=posts * STEP_US / 1e6 / 2)
    filters: dict[str, Any] = {
        "langs": ("en",),
        "sources": ("stream0", "stream1", "stream2"),
        "since": middle - hour / 2,
    }
    return {
        "hybrid": Query(text=text),
        "hybrid_filters": Query(text=text, **filters),
        "hybrid_as_of": Query(text=text, as_of=middle),
        "hybrid_filters_as_of": Query(text=text, as_of=middle, **filters),
        "lexical_or": Query(text=text, mode="lexical", recency=0, fold=False),
        "lexical_or_as_of": Query(text=text, mode="lexical", recency=0, fold=False, as_of=middle),
        "lexical_recent": Query(text=text, mode="lexical"),
        "newest_first": Query(text=text, newest_first=True),
        "newest_first_as_of": Query(text=text, newest_first=True, as_of=middle),
        "newest_of_all": Query(sources=("stream3",)),
    }


def measured(index: LiveIndex, texts: list[str], posts: int, pause_s: float) -> dict[str, Any]:
    """Percentiles of each way, in milliseconds."""
    took: dict[str, list[float]] = {}
    for number, text in enumerate(texts):
        for name, query in ways(text, posts).items():
            began = time.perf_counter()
            index.search(query)
            if number >= 5:  # what comes first warms pages up
                took.setdefault(name, []).append((time.perf_counter() - began) * 1000)
            time.sleep(pause_s)
    return {name: percentiles(values) for name, values in took.items()}


def fts5(path: Path, posts: int, home: Path, texts: list[str]) -> dict[str, Any]:
    """The same posts in SQLite FTS5: best by BM25 of any of the words, and newest of them."""
    base = sqlite3.connect(home / "fts5.db")
    base.execute("PRAGMA journal_mode=WAL")
    base.execute("CREATE VIRTUAL TABLE text USING fts5(body, content='')")
    with path.open("rb") as lines, base:
        for at, line in zip(range(posts), lines, strict=False):
            row = msgspec.json.decode(line)
            base.execute("INSERT INTO text(rowid, body) VALUES(?,?)", (at, row["text"]))
    base.execute("INSERT INTO text(text) VALUES('optimize')")
    took: dict[str, list[float]] = {"lexical_or": [], "newest_first": []}
    orders = {"lexical_or": "rank", "newest_first": "rowid DESC"}
    for number, text in enumerate(texts):
        words = " OR ".join(f'"{word}"' for word in text.split())
        for name, order in orders.items():
            began = time.perf_counter()
            sql = f"SELECT rowid FROM text WHERE text MATCH ? ORDER BY {order} LIMIT 10"
            base.execute(sql, (words,)).fetchall()
            if number >= 5:
                took[name].append((time.perf_counter() - began) * 1000)
    base.close()
    return {name: percentiles(values) for name, values in took.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--posts", type=int, default=200_000)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--queries", type=int, default=105)
    parser.add_argument("--vectors", type=Path, help="folder of a static table; else random")
    parser.add_argument("--no-fts5", action="store_true")
    parser.add_argument("--name", default="")
    options = parser.parse_args()
    sys.setswitchinterval(TURN_S)
    texts = queries(options.queries)
    vectors = StaticVectors(options.vectors) if options.vectors else RandomWords()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        path = home / "posts.jsonl"
        write(path, options.posts + 300_000)
        index = LiveIndex(home / "index")
        index.set_vectors(vectors)
        began = time.perf_counter()
        offset = fill(index, path, options.posts)
        filled_s = time.perf_counter() - began
        more = entries(path, offset, 300_000)
        stop = threading.Event()

        def ingest() -> None:
            done, started = 0, time.perf_counter()
            while not stop.wait(COMMIT_S) and done < len(more):
                due = int((time.perf_counter() - started) * options.rate)
                index.apply(more[done:due])
                index.commit()
                done = due

        figures: dict[str, Any] = {
            "posts": options.posts,
            "word_vectors": vectors.name,
            "filled_s": round(filled_s, 1),
            "at_rest_ms": measured(index, texts[: len(texts) // 3], options.posts, 0),
        }
        thread = threading.Thread(target=ingest)
        thread.start()
        figures["while_ingesting"] = {
            "posts_per_s": options.rate,
            "ms": measured(index, texts, options.posts, PAUSE_S),
        }
        stop.set()
        thread.join()
        figures["stats"] = msgspec.structs.asdict(index.stats())
        figures["peak_memory_mib"] = peak_memory_mib()
        index.close()
        if not options.no_fts5:
            figures["sqlite_fts5_ms"] = fts5(path, options.posts, home, texts)
    save(options.name or f"query-{options.posts}", figures)


if __name__ == "__main__":
    main()
