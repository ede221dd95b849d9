"""Which texts repeat an earlier one: the same in any number of ranges, and in bounded memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.train.corpus import dedup
from gnomon.train.corpus.dedup import EQUAL, KEPT, NEAR, Duplicates, Signed, write_signatures
from gnomon.train.corpus.minhash import BANDS

Unit = list[tuple[int, list[int] | None]]
"""For each text the hash of the whole and, unless it is short, its bands."""

values = st.integers(0, 12).map(lambda n: n * 0x1555555555555555)
texts = st.tuples(values, st.none() | st.lists(values, min_size=BANDS, max_size=BANDS))


def left(work: Path, units: list[Unit], *, near: bool) -> Duplicates:
    work.mkdir(parents=True)
    signed, first = [], 0
    for number, unit in enumerate(units):
        banded = [(n, bands) for n, (_, bands) in enumerate(unit) if bands is not None]
        write_signatures(
            work / f"{number}.sig",
            np.array([exact for exact, _ in unit], np.uint64),
            np.array([bands for _, bands in banded], np.uint64).reshape(-1, BANDS),
            np.array([n for n, _ in banded], np.uint32),
        )
        signed.append(Signed(work / f"{number}.sig", first, len(unit), len(banded)))
        first += len(unit)
    return Duplicates(work, signed, near=near)


def by_hand(units: list[Unit], *, near: bool) -> list[list[int]]:
    met: dict[tuple[int, int], int] = {}
    group: list[int] = []
    equal = []
    for exact, bands in (text for unit in units for text in unit):
        keys = [(BANDS, exact), *(enumerate(bands) if near and bands else ())]
        equal.append((BANDS, exact) in met)
        own = len(group)
        group.append(own)
        for key in keys:
            other = group[met.setdefault(key, own)]
            if other != group[own]:
                low, high = sorted((other, group[own]))
                group = [low if g == high else g for g in group]
    flat = [EQUAL if same else NEAR if group[n] != n else KEPT for n, same in enumerate(equal)]
    out = []
    for unit in units:
        out.append(flat[: len(unit)])
        flat = flat[len(unit) :]
    return out


@given(st.lists(st.lists(texts, max_size=8), min_size=1, max_size=5), st.booleans())
@settings(max_examples=40, deadline=None)
def test_ranges_find_what_a_plain_search_finds(
    tmp_path_factory: pytest.TempPathFactory, units: list[Unit], near: bool
) -> None:
    found = []
    for range_texts in (1_000, 3, 1):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(dedup, "RANGE_TEXTS", range_texts)
            patch.setattr(dedup, "_PAIRS_AT_ONCE", max(2, range_texts))
            stage = left(tmp_path_factory.mktemp("d") / "work", units, near=near)
            for task in reversed(range(stage.tasks)):
                stage.match(task)
            stage.settle()
            found.append([stage.verdicts(n).tolist() for n in range(len(units))])
    assert found == [by_hand(units, near=near)] * 3


_MEASURED = """
import sys
from pathlib import Path
import numpy as np
from gnomon.train.corpus import dedup
from gnomon.train.corpus.minhash import BANDS
dedup.RANGE_TEXTS = 50_000
dedup._PAIRS_AT_ONCE = 50_000
work, units, texts = Path(sys.argv[1]), int(sys.argv[2]), 25_000
rng = np.random.default_rng(1)
signed = []
for unit in range(units):
    bands = rng.integers(0, 1 << 64, (texts, BANDS), np.uint64)
    bands[::4] = np.random.default_rng(2).integers(0, 1 << 64, bands[::4].shape, np.uint64)
    path = work / f"{unit}.sig"
    exact = rng.integers(0, 1 << 64, texts, np.uint64)
    dedup.write_signatures(path, exact, bands, np.arange(texts, dtype=np.uint32))
    signed.append(dedup.Signed(path, unit * texts, texts, texts))
stage = dedup.Duplicates(work, signed)
for task in range(stage.tasks):
    stage.match(task)
stage.settle()
kept = sum(int((stage.verdicts(unit) == dedup.KEPT).sum()) for unit in range(units))
assert kept == texts + (units - 1) * texts * 3 // 4, kept
status = Path("/proc/self/status").read_text()  # the peak by rusage is inherited from the parent
print(int(status.partition("VmHWM:")[2].split()[0]) * 1024)
"""


@pytest.mark.slow
def test_memory_grows_by_nine_bytes_for_each_text(tmp_path: Path) -> None:
    peaks = {}
    for units in (4, 40):
        (tmp_path / str(units)).mkdir()
        run = subprocess.run(
            [sys.executable, "-c", _MEASURED, str(tmp_path / str(units)), str(units)],
            capture_output=True,
            text=True,
            timeout=200,
            check=True,
        )
        peaks[units] = int(run.stdout)
    texts = 36 * 25_000
    assert peaks[40] - peaks[4] < 9 * texts + 8_000_000, peaks
