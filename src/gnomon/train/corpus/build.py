"""`gnomon corpus build`: from inputs to deduplicated shards, in three stages.

1. Judge, in parallel: each unit is read, extracted, identified, judged, compared with the
   evaluation sets and scrubbed; what stays is written with its signature.
2. Deduplicate: equal and nearly equal texts over all units; the first of each stays. Signatures
   are compared band by band, so memory holds one band of all texts, and the pairs that agree.
3. Write, in parallel: one shard for each unit that has something left, and last the manifest.

Every step ends with a rename, so a build killed at any moment goes on where it was. What comes out
does not depend on the number of workers or on interruptions.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from gnomon.errors import ConfigError
from gnomon.extract.text import detect_lang
from gnomon.record.base import Record
from gnomon.record.files import open_rows, writer
from gnomon.train.corpus.inputs import Text, Unit, find_units, read_unit, save_record
from gnomon.train.corpus.manifest import (
    MANIFEST,
    InputFile,
    Manifest,
    ShardEntry,
    file_sha256,
    forget,
    purged,
    read_manifest,
    write_manifest,
)
from gnomon.train.corpus.minhash import BANDS, bands, clusters, equal_pairs
from gnomon.train.corpus.rules import Rules
from gnomon.train.corpus.scrub import scrub
from gnomon.train.corpus.words import grams, plain_hashes
from gnomon.train.launch import die_with_parent
from gnomon.train.shards import write_durably

WORK = "work"
_HELD_OUT_WORDS = 13
_SIGNATURE = BANDS + 1
"""Columns of a signature: the bands, then the hash of the whole text."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What decides which texts stay."""

    langs: tuple[str, ...] = ("en",)
    """Languages to keep; empty keeps all."""
    quality: bool = True
    line_ends: bool = False
    near: bool = True
    scrub: bool = True


class _Plan(msgspec.Struct, frozen=True):
    options: Options
    inputs: tuple[str, ...]
    units: tuple[Unit, ...]
    held_out: tuple[tuple[str, str], ...]


class _Unit(msgspec.Struct, frozen=True):
    """What stage 1 found in a unit."""

    texts: int
    kept: int
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
    progress: Callable[[str], None] = lambda _: None,
) -> Manifest:
    """Build a corpus in `out`, or go on with one; does nothing where it is complete.

    `record` adds the documents that may be trained on. `held_out` are row files of evaluation
    sets: a text that shares 13 words in a row with one of them is dropped. Raises ConfigError for
    inputs that cannot be used, and where `out` holds another build.
    """
    out = out.absolute()
    work = out / WORK
    work.mkdir(parents=True, exist_ok=True)
    plan = _planned(out, inputs, record, held_out, options)
    if (out / MANIFEST).exists():
        shutil.rmtree(work)
        return read_manifest(out)
    steps: list[tuple[str, Callable[[int], None]]] = [
        ("judged", partial(_judge, work, plan)),
        ("written", partial(_write, out, plan)),
    ]
    for name, step in steps:
        if name == "written":
            _deduplicate(work, len(plan.units))
            (out / "shards").mkdir(exist_ok=True)
        for done, _ in enumerate(_spread(step, len(plan.units), workers), 1):
            progress(f"{name} {done} of {len(plan.units)}")
    manifest = _collected(out, plan)
    write_manifest(out, manifest)
    if record is not None:  # what was purged while the build ran or stood still
        forget(out, purged(out, record))
    shutil.rmtree(work)
    return read_manifest(out)


def _planned(
    out: Path,
    inputs: Sequence[str | Path],
    record: Record | None,
    held_out: Sequence[Path],
    options: Options,
) -> _Plan:
    work, kept = out / WORK, out / "plan.json"
    asked = tuple(str(i) for i in inputs) + (("record",) if record else ())
    evaluations = tuple((str(p), file_sha256(p)) for p in held_out)
    if kept.exists():
        plan = msgspec.json.decode(kept.read_bytes(), type=_Plan)
        same = (plan.options, plan.inputs, plan.held_out) == (options, asked, evaluations)
        files = [Path(f[0]) for u in plan.units for f in u.files]
        fresh = [u for u in plan.units if _changed(u, work)] if same else []
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
    plan = _Plan(options, asked, tuple(units), evaluations)
    _gather_held_out(work, held_out)
    write_durably(kept, msgspec.json.encode(plan))
    return plan


def _changed(unit: Unit, work: Path) -> bool:
    for name, size, changed_ns in unit.files:
        path = Path(name)
        if not path.exists():
            return True
        stat = path.stat()
        if (stat.st_size, stat.st_mtime_ns) != (size, changed_ns):
            return True
    return False


def _gather_held_out(work: Path, paths: Sequence[Path]) -> None:
    found = [np.empty(0, np.uint64)]
    for path in paths:
        with open_rows(path) as rows:
            for _, row in rows:
                if isinstance(row, dict):
                    texts = [value for value in row.values() if isinstance(value, str)]
                    found += [grams(plain_hashes(text), _HELD_OUT_WORDS) for text in texts]
    np.save(work / "held_out.npy", np.unique(np.concatenate(found)))


# -- stage 1 ------------------------------------------------------------------
def _judge(work: Path, plan: _Plan, number: int) -> None:
    """Judge one unit; leaves its texts, signatures and, last, its state."""
    done = work / f"{number:06d}.json"
    if done.exists():
        return
    judge = Judge(plan.options, np.load(work / "held_out.npy"))
    unit, signatures = plan.units[number], list[Any]()

    def kept() -> Iterator[dict[str, str]]:
        for text in read_unit(unit):
            if (found := judge.look(text)) is not None:
                signatures.append(found[1])
                yield found[0]

    texts = work / f"{number:06d}.jsonl.zst"
    count = _write_rows(texts, kept())
    array = np.array(signatures, np.uint64).reshape(-1, _SIGNATURE)
    write_durably(work / f"{number:06d}.sig", array.tobytes())
    files = tuple(_input(work, Path(name), size) for name, size, _ in unit.files)
    state = _Unit(
        count + judge.dropped.total(), count, dict(judge.dropped), dict(judge.scrubbed), files
    )
    write_durably(done, msgspec.json.encode(state))


def _input(work: Path, path: Path, size: int) -> InputFile:
    name = f"record/{path.name}" if path.is_relative_to(work.absolute()) else str(path)
    return InputFile(name, size, file_sha256(path))


class Judge:
    """The rules that look at one text at a time."""

    def __init__(self, options: Options, held_out: np.ndarray) -> None:
        self.dropped: Counter[str] = Counter()
        self.scrubbed: Counter[str] = Counter()
        self._options, self._held_out = options, held_out
        self._rules = Rules(line_ends=options.line_ends)

    def look(self, raw: Text) -> tuple[dict[str, str], np.ndarray] | None:
        """The row to keep and its signature, or None, with the reason counted."""
        options, text = self._options, raw.text
        reason, lang = raw.fault, ""
        if not reason:
            lang = detect_lang(text, raw.lang)
            if options.langs and lang not in options.langs:
                reason = "lang"
        if not reason and options.quality:
            reason, text = self._rules.judge(text, lang)
        if not reason and not text.strip():
            reason = "empty"
        hashes = plain_hashes(text)
        if not reason and self._held(hashes):
            reason = "held_out"
        if reason:
            self.dropped[reason] += 1
            return None
        whole = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest()
        exact = int.from_bytes(whole)
        signature = np.full(_SIGNATURE, exact, np.uint64)
        if options.near and (found := bands(hashes)) is not None:
            signature[:BANDS] = found
        if options.scrub:
            text, replaced = scrub(text)
            self.scrubbed += replaced
        row = {"key": raw.key, "text": text, "source": raw.source, "url": raw.url, "lang": lang}
        return {name: value for name, value in row.items() if value}, signature

    def _held(self, hashes: np.ndarray) -> bool:
        if not len(self._held_out):
            return False
        found = grams(hashes, _HELD_OUT_WORDS)
        at = np.searchsorted(self._held_out, found)
        return bool(np.any(self._held_out[np.minimum(at, len(self._held_out) - 1)] == found))


# -- stage 2 ------------------------------------------------------------------
def _deduplicate(work: Path, units: int) -> None:
    """Leave, for all texts in order, 0 to keep, 1 for an equal and 2 for a nearly equal one."""
    target = work / "verdicts.npy"
    if target.exists():
        return
    signatures = [
        np.memmap(path, np.uint64, "r").reshape(-1, _SIGNATURE)
        for number in range(units)
        if (path := work / f"{number:06d}.sig").stat().st_size
    ]
    total = sum(map(len, signatures))
    verdicts = np.zeros(total, np.uint8)
    numbers = np.arange(total, dtype=np.int64)
    pairs = []
    for band in range(_SIGNATURE):
        values = [np.asarray(s[:, band]) for s in signatures]
        column = np.concatenate(values) if values else np.empty(0, np.uint64)
        pairs.append(equal_pairs(column, numbers))
    near = clusters(np.concatenate(pairs), total)
    equal = clusters(pairs[-1], total)
    verdicts[near != numbers] = 2
    verdicts[equal != numbers] = 1
    write_durably(target, verdicts.tobytes())


# -- stage 3 ------------------------------------------------------------------
def _write(out: Path, plan: _Plan, number: int) -> None:
    """Write the shard of one unit, the list of its sources, and last its entry."""
    work = out / WORK
    done = work / f"{number:06d}.entry.json"
    if done.exists():
        return
    states = [_state(work, n) for n in range(number + 1)]
    first = sum(state.kept for state in states[:-1])
    state = states[-1]
    verdicts = np.fromfile(work / "verdicts.npy", np.uint8, count=state.kept, offset=first)
    name = f"shards/{number:06d}.jsonl.zst"
    sources = f"shards/{number:06d}.sources.jsonl.zst"
    listed: list[dict[str, str]] = []

    def kept() -> Iterator[dict[str, str]]:
        with open_rows(work / f"{number:06d}.jsonl.zst") as rows:
            for (_, row), verdict in zip(rows, verdicts, strict=True):
                if verdict == 0 and isinstance(row, dict):
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
        inputs=state.files,
    )
    repeats = {
        "duplicate.exact": int(np.count_nonzero(verdicts == 1)),
        "duplicate.near": int(np.count_nonzero(verdicts == 2)),
    }
    write_durably(done, msgspec.json.encode((entry, repeats)))


def source_of(row: dict[str, Any]) -> dict[str, str]:
    """The line that a shard's list of sources has for a row."""
    digest = hashlib.sha256(row["text"].encode("utf-8", "replace")).hexdigest()
    return {n: row[n] for n in ("key", "source", "url") if n in row} | {"sha256": digest}


def _collected(out: Path, plan: _Plan) -> Manifest:
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
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        count = writer(path)(rows, file)
    part.replace(path)
    return count


def _spread(step: Callable[[int], None], count: int, workers: int) -> Iterator[None]:
    """Run `step` for every number below `count`, in this process or in several."""
    if workers <= 1 or count <= 1:
        yield from map(step, range(count))
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, count), context, die_with_parent) as pool:
        yield from pool.map(step, range(count))
