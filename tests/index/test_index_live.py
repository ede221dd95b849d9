"""What holds while things go wrong: kills between two steps, damage, a full disk, many threads."""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from gnomon.clock import from_us
from gnomon.errors import StoreError
from gnomon.index.base import Query
from gnomon.index.live import LiveIndex
from gnomon.index.shelf import OPEN
from gnomon.record.base import Entry, Op
from gnomon.types import Policy

Reopened = Callable[[Path], Any]


def test_ends_survive_a_kill_between_the_words_and_the_number(
    bench: Any, tmp_path: Path, reopened: Reopened, entry: Any
):
    bench.add("storm one")
    account = (tmp_path / "index" / "meta.json").read_bytes()
    entries = [entry(2, "storm two", key="k:1", prev_seq=1), entry(3, "storm three")]
    bench.index.apply(entries)
    bench.index.commit()
    bench.index.close()
    # As if the kill had come right after tantivy's commit.
    (tmp_path / "index" / "meta.json").write_bytes(account)
    np.memmap(tmp_path / "index" / "columns" / "until.i64", np.int64, "r+")[0] = OPEN
    again = reopened(tmp_path / "index")
    assert again.index.applied_seq == 1
    assert again.find("storm") == [1]
    again.index.apply(entries[:1])
    again.index.commit()
    assert again.find("storm") == [2]
    again.index.apply(entries)
    again.index.commit()
    assert set(again.find("storm")) == {2, 3}
    assert again.index.stats().versions == 3


def test_rows_behind_the_last_commit_are_forgotten(
    bench: Any, tmp_path: Path, reopened: Reopened, entry: Any
):
    bench.add("storm one")
    bench.index.apply([entry(2, "storm two", url="https://new.example.org/")])
    # What a kill would leave.
    shutil.copytree(tmp_path / "index", tmp_path / "copy", ignore=shutil.ignore_patterns(".tmp*"))
    again = reopened(tmp_path / "copy")
    assert again.index.applied_seq == 1
    again.index.apply([entry(2, "storm two"), entry(3, "storm three")])
    again.index.commit()
    assert set(again.find("storm")) == {1, 2, 3}


def test_a_power_cut_makes_it_begin_anew(bench: Any, tmp_path: Path, reopened: Reopened):
    bench.add("storm")
    shutil.copytree(tmp_path / "index", tmp_path / "copy")
    path = tmp_path / "copy" / "meta.json"
    meta = json.loads(path.read_bytes())
    assert not meta["clean"]
    path.write_text(json.dumps(meta | {"boot": "another run of the machine"}))
    assert reopened(tmp_path / "copy").index.applied_seq == 0


def damaged_files(folder: Path) -> list[Path]:
    names = sorted(folder.glob("words/*.*"))
    columns = sorted(folder.glob("columns/*"))
    files = [f for f in (*names, *columns, folder / "meta.json") if f.stat().st_size > 4]
    return [f for f in files if "lock" not in f.name and f.name != ".managed.json"]


@pytest.mark.parametrize("harm", ["cut", "flipped", "gone"])
def test_damage_is_found_or_harmless(
    bench: Any, tmp_path: Path, reopened: Reopened, entry: Any, harm: str
):
    """Whatever is damaged, what is found after replaying is what is there, or opening fails."""
    entries = [entry(n, f"storm number{n} in the harbour", author=f"a{n}") for n in range(1, 60)]
    bench.index.apply(entries)
    bench.index.close()
    fine = tmp_path / "index"
    for number, file in enumerate(damaged_files(fine)):
        folder = tmp_path / f"{harm}{number}"
        shutil.copytree(fine, folder)
        target = folder / file.relative_to(fine)
        whole = bytearray(target.read_bytes())
        if harm == "cut":
            target.write_bytes(whole[: len(whole) // 2])
        elif harm == "flipped":
            whole[len(whole) // 3] ^= 0x10
            target.write_bytes(whole)
        else:
            target.unlink()
        for _ in range(2):
            again = reopened(folder)
            again.index.apply(entries)
            again.index.commit()
            assert again.index.applied_seq == 59
            try:
                found = set(again.find("harbour"))
                break
            except StoreError as error:
                assert error.code == "index.damaged"
            finally:
                again.index.close()
        # A flipped bit in a column of numbers cannot be told from a number.
        if harm != "flipped" or "words" in target.parts:
            assert found == set(range(1, 60)), file.name


def test_what_was_put_aside_goes_with_the_next_start(
    bench: Any, tmp_path: Path, reopened: Reopened
):
    bench.add("storm")
    bench.index.close()
    (tmp_path / "index" / "meta.json").write_text("{")
    first = reopened(tmp_path / "index")
    assert first.index.applied_seq == 0
    assert (tmp_path / "index.damaged").is_dir()
    first.index.close()
    reopened(tmp_path / "index")
    assert not (tmp_path / "index.damaged").exists()


def test_a_folder_in_use_is_refused_and_left_alone(bench: Any, tmp_path: Path):
    bench.add("storm")
    with pytest.raises(StoreError) as caught:
        LiveIndex(tmp_path / "index")
    assert caught.value.code == "index.in_use"
    assert bench.find("storm") == [1]


def test_a_full_disk_is_an_error_and_loses_nothing_that_was_committed(
    bench: Any, tmp_path: Path, reopened: Reopened, entry: Any, monkeypatch: pytest.MonkeyPatch
):
    bench.add("storm")

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    entries = [entry(n, f"storm {n}") for n in range(2, 5000)]
    with pytest.raises(StoreError) as caught:
        bench.index.apply(entries)
    assert caught.value.code == "index.io"
    with pytest.raises(StoreError):
        bench.index.commit()
    monkeypatch.undo()
    assert bench.find("storm") == [1]
    bench.index.close()
    again = reopened(tmp_path / "index")
    assert again.index.applied_seq == 1
    again.index.apply(entries)
    again.index.commit()
    assert again.index.stats().documents == 4999


def test_what_may_not_be_indexed_is_not_but_ends_what_it_follows(bench: Any):
    bench.add("storm", policy=Policy(index=False))
    bench.add("storm two")
    bench.add("storm three", key="k:2", prev_seq=2, policy=Policy(index=False))
    assert bench.find("storm") == []
    assert bench.index.applied_seq == 3
    assert bench.find("storm", as_of=from_us(1_770_000_002_000_000)) == [2]


def test_other_entries_only_move_the_number(bench: Any):
    for seq, op in enumerate((Op.NOTICE, Op.GAP, Op.END), 1):
        bench.index.apply([Entry(seq=seq, op=op, source="s")])
    bench.index.commit()
    assert bench.index.applied_seq == 3
    assert bench.find("") == []


def test_values_of_any_kind_are_stored_and_filtered(bench: Any):
    odd = "a\nb\x00=\ud800 ü"
    bench.add(
        "storm", source=odd, kind=odd, lang=odd, author=odd, key="\ud800\n", url="http://[::1"
    )
    bench.add("storm", source="other", url="https://WWW.Exämple.org:8080/x?y")
    assert bench.find("storm", sources=(odd,)) == []  # as stored, it is another name
    assert bench.find("storm", authors=(odd,)) == [1]
    assert bench.find("storm", domains=("www.exämple.org",)) == [2]
    assert bench.find("storm", not_domains=("ORG",)) == [1]
    [first] = bench.index.search(Query(text="storm", authors=(odd,))).hits
    assert first.key == "\ud800\n"


def test_a_dropped_key_is_on_no_page_of_the_columns(bench: Any, tmp_path: Path):
    bench.add("storm", key="bird:secret", author="mortimer")
    bench.add("storm")
    bench.drop(1)
    stored = b"".join(f.read_bytes() for f in (tmp_path / "index" / "columns").iterdir())
    assert b"secret" not in stored
    assert b"mortimer" not in stored


def test_no_search_sees_half_of_an_edit(bench: Any, entry: Any):
    """Each key is edited again and again; whoever searches meanwhile finds each exactly once."""
    keys = 20
    bench.index.apply([entry(n, "storm", key=f"k:{n}") for n in range(1, keys + 1)])
    bench.index.commit()
    stop = threading.Event()
    wrong: list[Any] = []

    def look() -> None:
        while not stop.is_set():
            hits = bench.index.search(Query(text="storm", limit=100, fold=False)).hits
            if sorted(hit.key for hit in hits) != sorted(f"k:{n}" for n in range(1, keys + 1)):
                wrong.append(hits)

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    last = keys
    for _ in range(25):
        edits = [
            entry(last + n, "storm", key=f"k:{n}", prev_seq=last - keys + n)
            for n in range(1, keys + 1)
        ]
        last += keys
        bench.index.apply(edits)
        bench.index.commit()
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_version_that_ended_before_it_came_is_only_found_then(bench: Any, entry: Any):
    until = 1_770_000_003_000_000
    bench.index.apply([msgspec.structs.replace(entry(1, "storm"), until_us=until)])
    bench.index.commit()
    assert bench.find("storm") == []
    assert bench.find("storm", as_of=from_us(until - 1)) == [1]
    assert bench.find("storm", as_of=from_us(until)) == []


def test_a_day_without_a_time_sorts_by_its_noon_and_never_after_it_was_seen(bench: Any):
    midnight = from_us(1_769_990_400_000_000)  # 2026-02-02 00:00 UTC; seen 02:40 there
    day = timedelta(days=1)
    bench.add("storm", published_at=midnight)
    bench.add("storm", published_at=midnight + timedelta(hours=1))
    bench.add("storm", published_at=midnight - day)
    bench.add("storm", published_at=midnight - timedelta(hours=13))
    assert bench.find("storm", newest_first=True) == [1, 2, 3, 4]


def test_moments_before_1970_and_far_ahead(bench: Any):
    long_ago, ahead = from_us(-(10**15)), from_us(10**17)
    bench.add("storm", published_at=long_ago)
    bench.add("storm", published_at=ahead)
    assert bench.find("storm", newest_first=True) == [2, 1]
    assert bench.find("storm", until=from_us(0)) == [1]
    assert bench.find("storm", since=ahead) == []
    assert bench.find("storm", since=from_us(1_770_000_002_000_000)) == [2]
