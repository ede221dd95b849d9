"""`gnomon corpus build`: from inputs to deduplicated shards, in stages.

1. `judge_unit`, each unit by itself: its texts are read, extracted, identified, judged, compared
   with the evaluation sets and scrubbed; what stays is written with its signatures.
2. `match_part`, each range of signatures by itself, and `settle`, once: which texts repeat an
   earlier one. The first of each stays.
3. `write_unit`, each unit by itself: one shard for each unit, and last, once, the manifest.

A stage is a function of the folder and a number, and leaves files: any engine can run it anywhere
where the folder is seen. Every step ends with a rename, so a build killed at any moment goes on
where it was. What comes out does not depend on the number of workers or on interruptions.
"""

from __future__ import annotations

import multiprocessing
import shutil
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import lru_cache, partial
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import numpy as np

from gnomon.errors import ConfigError
from gnomon.record.base import Record
from gnomon.record.files import open_rows, writer
from gnomon.train.corpus.dedup import EQUAL, KEPT, NEAR, Duplicates, Signed, write_signatures
from gnomon.train.corpus.inputs import Unit, find_units, read_unit, save_record
from gnomon.train.corpus.judge import Judge, Options, held_out_runs
from gnomon.train.corpus.manifest import (
    MANIFEST,
    InputFile,
    Manifest,
    ShardEntry,
    file_sha256,
    forget,
    purged,
    read_manifest,
    source_of,
    write_manifest,
)
from gnomon.train.corpus.minhash import BANDS
from gnomon.train.launch import die_with_parent
from gnomon.train.need import need
from gnomon.train.shards import durable_file, sweep, write_durably

__all__ = ["Options", "build", "collect", "judge_unit", "match_part", "settle", "write_unit"]

WORK = "work"
PLAN = "plan.json"

Step: TypeAlias = Callable[[int], None]
Spread: TypeAlias = Callable[[Step, int], Iterable[None]]
"""Runs a step for every number below a count, anywhere, yielding as each ends."""


class Plan(msgspec.Struct, frozen=True):
    """What a build reads and how; kept in the corpus folder."""

    options: Options
    inputs: tuple[str, ...]
    units: tuple[Unit, ...]
    held_out: tuple[tuple[str, str], ...]


class _Unit(msgspec.Struct, frozen=True):
    """What stage 1 found in a unit."""

    texts: int
    kept: int
    banded: int
    dropped: dict[str, int]
    scrubbed: dict[str, int]
    files: tuple[InputFile, ...]


def build(
    out: Path,
    inputs: Sequence[str | Path],
    *,
    record: Record | None = None,
    held_out: Sequence[Path] = (),
    options: Options = Options(),
    workers: int = 1,
    spread: Spread | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Manifest:
    """Build a corpus in `out`, or go on with one; does nothing where it is complete.

    `record` adds the documents that may be trained on. `held_out` are files and folders of
    evaluation sets: a text that shares 13 words in a row with one of them is dropped. `spread` runs
    the steps; without it, `workers` processes of this machine do. Raises ConfigError for inputs
    that cannot be used, and where `out` holds another build.
    """
    if options.near or held_out:
        need("xxhash")
    out = out.absolute()
    work = out / WORK
    work.mkdir(parents=True, exist_ok=True)
    plan = _planned(out, inputs, record, held_out, options)
    if (out / MANIFEST).exists():
        _cleared(out)
        return read_manifest(out)
    with nullcontext(spread) if spread else _processes(workers) as run:
        units = len(plan.units)
        for done, _ in enumerate(run(partial(judge_unit, out), units), 1):
            progress(f"judged {done} of {units}")
        parts = count_parts(out)
        for done, _ in enumerate(run(partial(match_part, out), parts), 1):
            progress(f"compared {done} of {parts}")
        settle(out)
        for done, _ in enumerate(run(partial(write_unit, out), units), 1):
            progress(f"written {done} of {units}")
    write_manifest(out, collect(out))
    if record is not None:  # what was purged while the build ran or stood still
        forget(out, purged(out, record))
    _cleared(out)
    return read_manifest(out)


def _cleared(out: Path) -> None:
    """Remove what a finished build needs no more."""
    shutil.rmtree(out / WORK)
    sweep(out)
    sweep(out / "shards")


def _planned(
    out: Path,
    inputs: Sequence[str | Path],
    record: Record | None,
    held_out: Sequence[Path],
    options: Options,
) -> Plan:
    work, kept = out / WORK, out / PLAN
    asked = tuple(str(i) for i in inputs) + (("record",) if record else ())
    aside = [Path(n) for n in dict.fromkeys(f[0] for u in find_units(held_out) for f in u.files)]
    evaluations = tuple((str(p), file_sha256(p)) for p in aside)
    if kept.exists():
        plan = _plan(out)
        same = (plan.options, plan.inputs, plan.held_out) == (options, asked, evaluations)
        files = [Path(f[0]) for u in plan.units for f in u.files]
        fresh = [u for u in plan.units if _changed(u)] if same else []
        if not same or (fresh and not (out / MANIFEST).exists()):
            raise ConfigError(
                f"{out} holds a build of other inputs or options ({len(files)} files).",
                code="corpus.other_build",
                hint="Choose another folder, or remove that one.",
            )
        return plan
    units = find_units(inputs)
    if record is not None:
        units += find_units(save_record(record, work / "record"))
    if not units:
        raise ConfigError(
            "There is nothing to build a corpus from.",
            code="corpus.no_input",
            hint="Name files or folders; of the record, only documents with policy.train count.",
        )
    plan = Plan(options, asked, tuple(units), evaluations)
    np.save(work / "held_out.npy", held_out_runs(aside))
    write_durably(kept, msgspec.json.encode(plan))
    return plan


def _changed(unit: Unit) -> bool:
    for name, size, changed_ns in unit.files:
        path = Path(name)
        if not path.exists():
            return True
        stat = path.stat()
        if (stat.st_size, stat.st_mtime_ns) != (size, changed_ns):
            return True
    return False


def _plan(out: Path) -> Plan:
    return _read_plan(out, (out / PLAN).stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _read_plan(out: Path, _: int) -> Plan:
    return msgspec.json.decode((out / PLAN).read_bytes(), type=Plan)


# -- stage 1 ------------------------------------------------------------------
def judge_unit(out: Path, number: int) -> None:
    """Judge one unit; leaves its texts, signatures and, last, its state."""
    work, plan = out / WORK, _plan(out)
    done = work / f"{number:06d}.json"
    if done.exists():
        return
    judge = _judge(out, (out / PLAN).stat().st_mtime_ns)
    unit = plan.units[number]
    dropped, scrubbed = Counter[str](), Counter[str]()
    exact, bands, whose = array("Q"), array("Q"), array("I")

    def kept() -> Iterator[dict[str, str]]:
        for text in read_unit(unit):
            found = judge.look(text)
            if isinstance(found, str):
                dropped[found] += 1
                continue
            if found.bands is not None:
                bands.frombytes(found.bands.tobytes())
                whose.append(len(exact))
            exact.append(found.exact)
            scrubbed.update(found.scrubbed)
            yield found.row

    count = _write_rows(work / f"{number:06d}.jsonl.zst", kept())
    signatures = np.frombuffer(bands, np.uint64).reshape(-1, BANDS)
    write_signatures(
        work / f"{number:06d}.sig",
        np.frombuffer(exact, np.uint64),
        signatures,
        np.frombuffer(whose, np.uint32),
    )
    files = tuple(_input(work, Path(name), unit.span or (0, size)) for name, size, _ in unit.files)
    state = _Unit(count + dropped.total(), count, len(whose), dict(dropped), dict(scrubbed), files)
    write_durably(done, msgspec.json.encode(state))


def _input(work: Path, path: Path, span: tuple[int, int]) -> InputFile:
    name = f"record/{path.name}" if path.is_relative_to(work.absolute()) else str(path)
    return InputFile(name, span[1] - span[0], file_sha256(path, span), span[0])


@lru_cache(maxsize=1)
def _judge(out: Path, _: int) -> Judge:
    """One for each process and build: its tables take time to fill."""
    return Judge(_plan(out).options, np.load(out / WORK / "held_out.npy"))


# -- stage 2 ------------------------------------------------------------------
def count_parts(out: Path) -> int:
    """How many times `match_part` is to be called, once every unit was judged."""
    return _duplicates(out).tasks


def match_part(out: Path, part: int) -> None:
    """Leave the pairs of texts that agree in one range of one band."""
    _duplicates(out).match(part)


def settle(out: Path) -> None:
    """Leave for all texts whether they stay, once every part was matched."""
    _duplicates(out).settle()


def _duplicates(out: Path) -> Duplicates:
    return _read_duplicates(out, (out / PLAN).stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _read_duplicates(out: Path, _: int) -> Duplicates:
    work, plan = out / WORK, _plan(out)
    states = [_state(work, number) for number in range(len(plan.units))]
    starts = accumulate((state.kept for state in states), initial=0)
    units = [
        Signed(work / f"{number:06d}.sig", first, state.kept, state.banded)
        for number, (first, state) in enumerate(zip(starts, states, strict=False))
    ]
    return Duplicates(work, units, near=plan.options.near)


# -- stage 3 ------------------------------------------------------------------
def write_unit(out: Path, number: int) -> None:
    """Write the shard of one unit, the list of its sources, and last its entry."""
    work = out / WORK
    done = work / f"{number:06d}.entry.json"
    if done.exists():
        return
    (out / "shards").mkdir(exist_ok=True)
    verdicts = _duplicates(out).verdicts(number)
    name = f"shards/{number:06d}.jsonl.zst"
    sources = f"shards/{number:06d}.sources.jsonl.zst"
    listed: list[dict[str, str]] = []

    def kept() -> Iterator[dict[str, str]]:
        with open_rows(work / f"{number:06d}.jsonl.zst") as rows:
            for (_, row), verdict in zip(rows, verdicts, strict=True):
                if verdict == KEPT and isinstance(row, dict):
                    listed.append(source_of(row))
                    yield row

    count = _write_rows(out / name, kept())
    _write_rows(out / sources, listed)
    entry = ShardEntry(
        file=name,
        sources=sources,
        documents=count,
        sha256=file_sha256(out / name),
        sources_sha256=file_sha256(out / sources),
        inputs=_state(work, number).files,
    )
    repeats = {
        "duplicate.exact": int(np.count_nonzero(verdicts == EQUAL)),
        "duplicate.near": int(np.count_nonzero(verdicts == NEAR)),
    }
    write_durably(done, msgspec.json.encode((entry, repeats)))


def collect(out: Path) -> Manifest:
    """The manifest, once every unit was written."""
    plan = _plan(out)
    dropped: Counter[str] = Counter()
    scrubbed: Counter[str] = Counter()
    shards, texts = [], 0
    for number in range(len(plan.units)):
        state = _state(out / WORK, number)
        entry, repeats = msgspec.json.decode(
            (out / WORK / f"{number:06d}.entry.json").read_bytes(),
            type=tuple[ShardEntry, dict[str, int]],
        )
        texts += state.texts
        dropped += Counter(state.dropped) + Counter(repeats)
        scrubbed += Counter(state.scrubbed)
        shards.append(entry)
    return Manifest(
        texts=texts,
        documents=sum(s.documents for s in shards),
        dropped=dict(sorted(dropped.items())),
        scrubbed=dict(sorted(scrubbed.items())),
        options=msgspec.to_builtins(plan.options),
        held_out=plan.held_out,
        shards=tuple(shards),
    )


def _state(work: Path, number: int) -> _Unit:
    return msgspec.json.decode((work / f"{number:06d}.json").read_bytes(), type=_Unit)


def _write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> int:
    with durable_file(path) as file:
        return writer(path)(rows, file)


@contextmanager
def _processes(workers: int) -> Iterator[Spread]:
    """Run steps in this process, or in several."""
    if workers <= 1:
        yield lambda step, count: map(step, range(count))
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, die_with_parent) as pool:
        yield lambda step, count: pool.map(step, range(count))
