"""Rows are looked at in chunks, and those in which nothing can pass are left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gnomon.clock import from_us
from gnomon.index import shelf as module
from gnomon.index.near import BINS
from gnomon.index.shelf import OPEN, Shelf

ROWS, CHUNK = 1000, 64


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    monkeypatch.setattr(module, "_CHUNK", CHUNK)
    shelf = Shelf(tmp_path / "columns", 64)
    rng = np.random.default_rng(4)
    for first in range(0, ROWS, 50):
        starts = (np.arange(first, first + 50) * 10).tolist()
        # Most were published just before they came, and one batch in four long ago.
        ago = 5000 if first % 200 == 0 else 20
        shelf.append(
            seqs=list(range(first + 1, first + 51)),
            starts=starts,
            untils=[OPEN] * 50,
            times=[start - int(rng.integers(ago)) for start in starts],
            keys=["key"] * 50,
            attributes=[("a", "b", "c", "d", "e")] * 50,
            signatures=np.zeros((50, BINS), np.uint16),
            vectors=rng.standard_normal((50, 64)).astype(np.float32),
        )
    return shelf


def _looked_at(shelf: Shelf, *bounds: int | None) -> set[int]:
    return {
        row for chunk in shelf.chunks(ROWS - 7, *bounds) for row in range(chunk.start, chunk.stop)
    }


def _passing(shelf: Shelf, low: int | None, high: int | None, moment: int | None) -> set[int]:
    rows = slice(0, ROWS - 7)
    mask = shelf.alive(rows, moment)
    times = shelf.time.rows[rows]
    mask &= times >= (-OPEN if low is None else low)
    mask &= times < (OPEN if high is None else high)
    return set(np.flatnonzero(mask).tolist())


BOUNDS = [
    (low, high, moment)
    for low in (None, 1, 2500, 9000, 20_000)
    for high in (None, -4000, 2500, 9000)
    for moment in (None, -1, 0, 4000, 20_000)
]


@pytest.mark.parametrize("erased", [False, True])
def test_no_row_that_passes_is_left_out(shelf: Shelf, erased: bool) -> None:
    if erased:
        shelf.erase(np.arange(100, 400, 3))
    for bounds in BOUNDS:
        assert _passing(shelf, *bounds) <= _looked_at(shelf, *bounds)
    shelf.close()


def test_a_shelf_opened_anew_looks_at_no_more(shelf: Shelf, tmp_path: Path) -> None:
    before = [_looked_at(shelf, *bounds) for bounds in BOUNDS]
    shelf.close()
    again = Shelf(tmp_path / "columns", 64)
    again.open(ROWS)
    assert [_looked_at(again, *bounds) for bounds in BOUNDS] == before
    again.close()


def test_what_is_too_old_too_new_or_not_yet_there_is_not_looked_at(shelf: Shelf) -> None:
    everything = set(range(ROWS - 7))
    assert _looked_at(shelf, None, None, None) == everything
    assert _looked_at(shelf, 9000, None, None) <= set(range(832, ROWS))
    assert _looked_at(shelf, None, None, 1000) == set(range(128))
    assert _looked_at(shelf, None, -5000, None) == set()
    shelf.close()


def test_the_nearest_among_chunks_are_those_of_all_rows(shelf: Shelf) -> None:
    rng = np.random.default_rng(5)
    query = rng.standard_normal(64).astype(np.float32)
    query /= np.linalg.norm(query)
    low, moment = 3000, 7000

    def passing(rows: slice | np.ndarray) -> np.ndarray:
        return shelf.alive(rows, moment) & (shelf.time.at(rows) >= low)

    chunks = shelf.chunks(ROWS, low, None, moment)
    sample = np.flatnonzero(passing(slice(0, ROWS)))
    found, complete = shelf.nearest(query, chunks, passing, sample, 1.0, 10)
    cosines = shelf.similarity(sample, query)
    assert found.tolist() == sample[np.argsort(-cosines)[:10]].tolist()
    assert not complete
    assert sum(chunk.stop - chunk.start for chunk in chunks) < ROWS
    shelf.close()


def test_where_no_chunk_can_hold_anything_nothing_is_found(shelf: Shelf) -> None:
    query = np.ones(64, np.float32) / 8
    chunks = shelf.chunks(ROWS, 50_000, None, None)
    nothing = np.zeros(0, np.int64)
    found, complete = shelf.nearest(
        query, chunks, lambda rows: shelf.alive(rows, None), nothing, 1.0, 10
    )
    assert chunks == []
    assert found.tolist() == []
    assert complete
    shelf.close()


@pytest.mark.parametrize("source", ["even", "third"])
@pytest.mark.parametrize("narrowed", ["as_of", "until", "since"])
def test_narrow_bounds_with_a_wide_or_narrow_filter_lose_nothing(
    bench: Any, entry: Any, source: str, narrowed: str
) -> None:
    """With `even`, a third of what is within the bounds passes: the bounds alone go to tantivy."""
    names = {0: "even", 1: "odd", 2: "odd"}
    entries = [
        entry(
            seq, "storm" + " tide" * (seq % 7), source="third" if seq % 31 == 9 else names[seq % 3]
        )
        for seq in range(1, 601)
    ]
    bench.index.apply(entries)
    bench.index.commit()
    at = from_us(entries[59].start_us)
    bounds = {"since": from_us(entries[-60].start_us)} if narrowed == "since" else {narrowed: at}
    inside = {
        "as_of": range(1, 61),
        "until": range(1, 60),
        "since": range(541, 601),
    }[narrowed]
    wanted = [seq for seq in inside if entries[seq - 1].document.source == source]
    assert wanted
    for text in ("storm", "tide storm", ""):
        found = bench.find(text, sources=(source,), **bounds)
        assert sorted(found) == wanted
    assert bench.find("storm", sources=(source,), newest_first=True, **bounds) == wanted[::-1]
    first = bench.find("storm", sources=(source,), limit=3, recency=0, **bounds)
    assert set(first) <= set(wanted)
    assert len(first) == min(3, len(wanted))
