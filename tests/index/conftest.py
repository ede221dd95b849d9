"""Entries made by hand, an index to put them in, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gnomon.index.base import Query
from gnomon.index.live import LiveIndex
from gnomon.record.base import Entry, Op
from gnomon.types import Document

START_US = 1_770_000_000_000_000


def put(seq: int, text: str, **fields: Any) -> Entry:
    """The log entry of a version that begins `seq` seconds after the start."""
    life = {name: fields.pop(name) for name in ("prev_seq", "until_us") if name in fields}
    given = {"key": f"k:{seq}", "source": "s", "kind": "post"} | fields
    document = Document(text=text, **given)
    start_us = START_US + seq * 1_000_000
    return Entry(
        seq=seq,
        op=Op.PUT,
        source="s",
        key=document.key,
        start_us=start_us,
        document=document,
        **life,
    )


class Bench:
    """An index that takes texts and tells what it finds."""

    def __init__(self, path: Path) -> None:
        self.index = LiveIndex(path)
        self.next = self.index.applied_seq + 1

    def add(self, *texts: str, **fields: Any) -> list[int]:
        entries = [put(self.next + i, text, **fields) for i, text in enumerate(texts)]
        self.next += len(texts)
        self.index.apply(entries)
        self.index.commit()
        return [entry.seq for entry in entries]

    def drop(self, *seqs: int) -> None:
        entry = Entry(seq=self.next, op=Op.DROP, source="s", key="k", dropped=seqs)
        self.next += 1
        self.index.apply([entry])
        self.index.commit()

    def find(self, text: str, **fields: Any) -> list[int]:
        options = {"mode": "lexical", "fold": False, "limit": 100} | fields
        return [hit.seq for hit in self.index.search(Query(text=text, **options)).hits]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path / "index")
    yield bench
    bench.index.close()


@pytest.fixture
def entry() -> Callable[..., Entry]:
    return put


@pytest.fixture
def reopened() -> Iterator[Callable[[Path], Bench]]:
    opened: list[Bench] = []

    def open_again(path: Path) -> Bench:
        opened.append(Bench(path))
        return opened[-1]

    yield open_again
    for bench in opened:
        bench.index.close()
