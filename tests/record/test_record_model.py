"""The record against a model that keeps every entry in a list and scans it for each answer."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from gnomon.record.base import Life, Op
from gnomon.record.store import SqliteRecord
from gnomon.record.transfer import export_file, import_file
from gnomon.types import Batch, Change, Delete, Document, Purge, Upsert

T0 = datetime(2026, 1, 1, tzinfo=UTC)
US = timedelta(microseconds=1)
KEYS = "abc"
SOURCES = ("s", "t")


class Line:
    """One entry of the naive timeline."""

    def __init__(self, seq: int, key: str, source: str, at: datetime, document: Document | None):
        self.seq, self.key, self.source, self.at = seq, key, source, at
        self.document = document
        self.version = document.version if document else 0
        self.author = document.author if document else ""
        self.gone: Life | None = None


class Model:
    """What the contract says, said again as slowly and plainly as possible."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.purged_at: dict[str, datetime] = {}
        self.log: list[Any] = []

    def timeline(self, key: str) -> list[Line]:
        return sorted((x for x in self.lines if x.key == key), key=lambda x: (x.at, x.seq))

    def state(self, key: str, at: datetime | None) -> tuple[Life, str | None, int]:
        past = [x for x in self.timeline(key) if at is None or x.at <= at]
        if not past:
            return Life.UNKNOWN, None, 0
        versions = [x for x in past if x.version]
        if not versions:
            return Life.DELETED, None, 0
        last = versions[-1]
        if last.gone:
            return last.gone, None, 0
        life = Life.ALIVE if past[-1] is last else Life.DELETED
        assert last.document is not None
        return life, last.document.text, last.version

    def alive(self, at: datetime | None) -> dict[str, int]:
        counts: dict[str, int] = {}
        for key in KEYS:
            past = [x for x in self.timeline(key) if at is None or x.at <= at]
            if past and past[-1].version and not past[-1].gone:
                counts[past[-1].source] = counts.get(past[-1].source, 0) + 1
        return counts


class Comparison(RuleBasedStateMachine):
    @initialize()
    def open(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.record = SqliteRecord(self.folder / "record.db")
        self.model = Model()
        self.now = T0
        self.pinned: set[int] = set()

    def teardown(self) -> None:
        self.record.close()
        shutil.rmtree(self.folder)

    keys = st.sampled_from(KEYS)
    sources = st.sampled_from(SOURCES)
    texts = st.sampled_from(["one", "two", "three" * 300])
    authors = st.sampled_from(["", "Ann", "Bob"])
    past = st.integers(0, 40)

    live = st.one_of(
        st.builds(
            lambda key, text, author: Upsert(
                Document(key=key, source="-", kind="post", text=text, author=author)
            ),
            keys,
            texts,
            authors,
        ),
        st.builds(lambda key: Delete(key=key), keys),
        st.builds(lambda key: Purge(key=key, reason="r"), keys),
        st.builds(lambda author: Purge(author=author), st.sampled_from(["Ann", "Bob"])),
    )
    old = st.one_of(
        st.builds(
            lambda key, text, author, s: Upsert(
                Document(
                    key=key,
                    source="-",
                    kind="post",
                    text=text,
                    author=author,
                    observed_at=T0 + timedelta(seconds=s),
                )
            ),
            keys,
            texts,
            authors,
            past,
        ),
        st.builds(
            lambda key, s: Delete(key=key, observed_at=T0 + timedelta(seconds=s)), keys, past
        ),
    )

    def follow(self, entries: Any) -> None:
        """Take the stored entries into the model; what must not be stored is checked by rules."""
        for entry in entries:
            at = T0 + timedelta(microseconds=entry.start_us - int(T0.timestamp()) * 10**6)
            if entry.op in (Op.PUT, Op.END):
                line = Line(entry.seq, entry.key, entry.source, at, entry.document)
                before = [x for x in self.model.timeline(entry.key) if x.at <= at]
                after = [x for x in self.model.timeline(entry.key) if x.at > at]
                alive = before and before[-1].version and not before[-1].gone
                assert entry.prev_seq == (before[-1].seq if alive else None)
                if entry.op is Op.PUT:
                    assert entry.document.observed_at == at
                    until = after[0].at if after else None
                    known = entry.until_us
                    assert (known is None) == (until is None)
                    assert until is None or known == int(until.timestamp() * 10**6 + 0.5)
                    known_versions = [x.version for x in self.model.lines if x.key == entry.key]
                    assert entry.document.version == max(known_versions, default=0) + 1
                self.model.lines.append(line)
            self.model.log.append(entry)

    @rule(source=sources, changes=st.lists(live, max_size=4), step=st.integers(-3, 5))
    def append(self, source: str, changes: list[Change], step: int) -> None:
        self.now += timedelta(seconds=step)
        done = self.record.append(source, Batch(tuple(changes), str(self.now)), now=self.now)
        self.check_live(source, changes, done)
        assert self.record.cursor(source) == str(self.now)

    def check_live(self, source: str, changes: list[Change], done: Any) -> None:
        entries = iter(done.entries)
        unchanged = 0
        for change in changes:
            if isinstance(change, Purge):
                gone = [
                    x
                    for x in self.model.lines
                    if x.version
                    and not x.gone
                    and (
                        x.key == change.key
                        if change.key
                        else x.author == change.author and x.source == source
                    )
                ]
                if change.key and any(x.key == change.key for x in self.model.lines):
                    self.model.purged_at[change.key] = max(
                        self.now, self.model.purged_at.get(change.key, T0)
                    )
                if not gone:
                    unchanged += 1
                    continue
                entry = next(entries)
                assert entry.op is Op.DROP
                assert entry.dropped == tuple(sorted(x.seq for x in gone))
                for line in gone:
                    line.gone = Life.PURGED
                    self.pinned.discard(line.seq)
                self.model.log.append(entry)
                continue
            key = change.document.key if isinstance(change, Upsert) else change.key
            timeline = self.model.timeline(key)
            last = timeline[-1] if timeline else None
            alive = last is not None and last.version and not last.gone
            if isinstance(change, Upsert):
                same = (
                    alive
                    and last.document.text == change.document.text
                    and last.document.author == change.document.author
                )
                if same:
                    unchanged += 1
                    continue
                entry = next(entries)
                assert (entry.op, entry.key, entry.document.text) == (
                    Op.PUT,
                    key,
                    change.document.text,
                )
            else:
                if not alive:
                    unchanged += 1
                    continue
                entry = next(entries)
                assert (entry.op, entry.key) == (Op.END, key)
            self.follow([entry])
        assert next(entries, None) is None
        assert done.unchanged == unchanged

    @rule(source=sources, changes=st.lists(old, max_size=4))
    def load(self, source: str, changes: list[Any]) -> None:
        # So late that a clock set back by one step is not before what is loaded.
        self.now = max(self.now, T0 + timedelta(seconds=44))
        done = self.record.load([(source, c) for c in changes], now=self.now)
        assert len(done.entries) + done.unchanged == len(changes)
        self.follow(done.entries)
        again = self.record.load([(source, c) for c in changes], now=self.now)
        assert again.entries == ()

    @rule(source=sources, limit=st.integers(1, 3), keep=st.integers(0, 30))
    def retain(self, source: str, limit: int, keep: int) -> None:
        done = self.record.retain(source, timedelta(seconds=keep), now=self.now, limit=limit)
        old = [
            x
            for x in sorted(self.model.lines, key=lambda x: (x.at, x.seq))
            if x.version
            and not x.gone
            and x.source == source
            and x.at < self.now - timedelta(seconds=keep)
            and x.seq not in self.pinned
        ][:limit]
        assert [e.dropped for e in done.entries] == ([tuple(x.seq for x in old)] if old else [])
        for line in old:
            line.gone = Life.EXPIRED
        self.model.log += done.entries

    @precondition(lambda self: self.model.lines)
    @rule(data=st.data())
    def pin(self, data: st.DataObject) -> None:
        line = data.draw(st.sampled_from(self.model.lines), label="line")
        if line.version and not line.gone:
            self.record.pin("holder", [line.seq])
            self.pinned.add(line.seq)

    @rule()
    def unpin(self) -> None:
        self.record.unpin("holder")
        self.pinned.clear()

    @rule()
    def reopen(self) -> None:
        self.record.close()
        self.record = SqliteRecord(self.folder / "record.db", check="full")

    @rule(ending=st.sampled_from([".jsonl", ".jsonl.zst"]))
    def copy(self, ending: str) -> None:
        path = self.folder / f"export{ending}"
        export_file(self.record, path)
        copy = SqliteRecord(self.folder / "copy.db")
        report = import_file(copy, path, now=self.now + timedelta(days=1))
        assert report.loaded == report.rows
        for key, at in itertools.product(KEYS, self.moments()):
            life, text, _ = self.model.state(key, at)
            found = copy.get(key, at)
            if life is Life.ALIVE:
                assert found.document is not None and found.life is Life.ALIVE
                assert found.document.text == text
            else:
                assert found.life is not Life.ALIVE
        copy.check()
        copy.close()
        path.unlink()
        for suffix in ("", "-wal", "-shm"):
            (self.folder / f"copy.db{suffix}").unlink(missing_ok=True)

    def moments(self) -> list[datetime | None]:
        edges = sorted({x.at for x in self.model.lines})
        return [None, T0 - US, *itertools.chain.from_iterable((e - US, e) for e in edges)]

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "record"):
            return
        record, model = self.record, self.model
        moments = self.moments()
        for key in KEYS:
            for at in moments:
                found = record.get(key, at)
                shown = found.document
                assert (
                    found.life,
                    shown.text if shown else None,
                    shown.version if shown else 0,
                ) == model.state(key, at)
            timeline = model.timeline(key)
            assert [d.seq for d in record.versions(key)] == [
                x.seq for x in timeline if x.version and not x.gone
            ]
            for line in timeline:
                if line.version:
                    found = record.version(key, line.version)
                    assert found.life is (line.gone or Life.ALIVE)
        for at in moments[:: max(1, len(moments) // 6)]:
            counts = {n: s.documents for n, s in record.source_stats(at).items() if s.documents}
            assert counts == model.alive(at)
        log = record.entries(0)
        assert (
            [e.seq for e in log] == list(range(1, len(model.log) + 1)) == [e.seq for e in model.log]
        )
        gone = {x.seq for x in model.lines if x.gone}
        for mine, theirs in zip(log, model.log, strict=True):
            if mine.seq in gone:
                assert mine.document is None
            else:
                assert mine == theirs
        stats = record.stats()
        assert stats.versions == sum(1 for x in model.lines if x.version and not x.gone)
        assert stats.documents == sum(model.alive(None).values())


COMMON = {"deadline": None, "suppress_health_check": list(HealthCheck)}


class TestModel(Comparison.TestCase):
    settings = settings(max_examples=15, stateful_step_count=12, **COMMON)


@pytest.mark.slow
class TestModelAtLength(Comparison.TestCase):
    settings = settings(max_examples=200, stateful_step_count=30, **COMMON)
