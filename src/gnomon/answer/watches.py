"""Watches: standing questions that speak up when their answer changes, not by the clock.

A watch is looked at when something new was recorded that shares its words, a few seconds later so
that news which comes in several pieces is told once. What changed is decided as everywhere: the
answer then and the answer now are compared, and only what the record saw in between counts.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from msgspec import structs

from gnomon.answer import purged
from gnomon.answer.base import Question
from gnomon.answer.diff import ClaimChange, Differ
from gnomon.answer.threads import Pins
from gnomon.answer.words import content, stems
from gnomon.clock import Clock, Ids
from gnomon.database import Database
from gnomon.errors import ContentError, GnomonError, StoreError
from gnomon.log import get_logger
from gnomon.record.base import Entry

MAX_WATCHES = 200
"""For each owner."""
MAX_EVENTS = 500
"""Kept of each watch; the oldest make way."""
SETTLE_S = 8.0
"""How long after the first piece of news a question is asked again."""
_READ_CHARS = 4_000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS watch (
  id TEXT PRIMARY KEY, owner TEXT NOT NULL, number INTEGER NOT NULL UNIQUE, content BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS event (
  watch TEXT NOT NULL, n INTEGER NOT NULL, content BLOB NOT NULL, PRIMARY KEY (watch, n)
) WITHOUT ROWID;
"""
_log = get_logger()


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """A standing question, with the filters that it was asked with."""

    id: str
    owner: str
    question: str
    created_at: datetime
    checked_at: datetime
    """The moment up to which its answer is known."""
    sources: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    langs: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    events: int = 0
    read: int = 0
    """Number of the last event that its owner has seen."""
    memories: tuple[str, ...] = ()
    """Ids of what is remembered for its owner and stands in its question."""
    trouble: str = ""
    """Why it could not be looked at last time; empty if it could."""


class WatchEvent(msgspec.Struct, frozen=True, kw_only=True):
    """The answer changed."""

    n: int
    at: datetime
    since: datetime
    summary: str
    changes: tuple[ClaimChange, ...]


class WatchStore:
    """Watches and their events in one SQLite file. Safe to call from any thread."""

    def __init__(
        self,
        path: Path,
        pins: Pins | None = None,
        *,
        is_purged: purged.IsPurged = lambda key, version: False,
    ) -> None:
        """Open or create it. Raises StoreError.

        What `is_purged` names is not shown: its words leave the events that are read, for good.
        """
        self._path = path
        self._pins = pins
        self._is_purged = is_purged
        self._db = Database(path, _SCHEMA)

    def save(self, watch: Watch, *events: WatchEvent) -> None:
        """Store it as it stands, with what changed, in one transaction."""
        cited = {
            claim.citation.seq
            for event in events
            for change in event.changes
            for claim in (change.before, change.after)
            if claim is not None and claim.citation.seq
        }
        if self._pins is not None and cited:
            self._pins.pin(f"{watch.id}/{events[-1].n}", sorted(cited))
        kept = (
            "INSERT INTO watch(id, owner, number, content) VALUES "
            "(?1, ?2, (SELECT coalesce(max(number), 0) + 1 FROM watch), ?3) "
            "ON CONFLICT(id) DO UPDATE SET content = ?3",
            (watch.id, watch.owner, msgspec.msgpack.encode(watch)),
        )
        told = (
            ("INSERT INTO event VALUES (?, ?, ?)", (watch.id, e.n, msgspec.msgpack.encode(e)))
            for e in events
        )
        oldest = watch.events - MAX_EVENTS
        gone = self._db.read("SELECT n FROM event WHERE watch = ? AND n <= ?", (watch.id, oldest))
        forget = ("DELETE FROM event WHERE watch = ? AND n <= ?", (watch.id, oldest))
        self._db.write(kept, *told, forget)
        if self._pins is not None:
            for (n,) in gone:
                self._pins.unpin(f"{watch.id}/{n}")

    def get(self, id: str, owner: str | None = None) -> Watch | None:
        """The watch; None if there is none, or it is not the owner's."""
        rows = self._db.read("SELECT content FROM watch WHERE id = ?", (id,))
        watch = self._decoded(rows[0][0], Watch) if rows else None
        return watch if watch is not None and owner in (None, watch.owner) else None

    def list(self, owner: str | None = None) -> list[Watch]:
        """An owner's watches, or everybody's; the newest first."""
        rows = self._db.read(
            "SELECT content FROM watch WHERE ?1 IS NULL OR owner = ?1 ORDER BY number DESC",
            (owner,),
        )
        return [self._decoded(row[0], Watch) for row in rows]

    def events(
        self, id: str, *, before: int | None = None, limit: int = 50
    ) -> Sequence[WatchEvent]:
        """What changed, the newest first."""
        rows = self._db.read(
            "SELECT content FROM event WHERE watch = ?1 AND (?2 IS NULL OR n < ?2) "
            "ORDER BY n DESC LIMIT ?3",
            (id, before, limit),
        )
        return [self._current(id, self._decoded(row[0], WatchEvent)) for row in rows]

    def sweep(self) -> None:
        """Remove what was purged from every event."""
        for (id,) in self._db.read("SELECT id FROM watch", ()):
            self.events(id, limit=MAX_EVENTS)

    def delete(self, id: str) -> None:
        """Forget it, and release what its events cite."""
        numbers = self._db.read("SELECT n FROM event WHERE watch = ?", (id,))
        self._db.write(
            ("DELETE FROM event WHERE watch = ?", (id,)),
            ("DELETE FROM watch WHERE id = ?", (id,)),
        )
        if self._pins is not None:
            for (n,) in numbers:
                self._pins.unpin(f"{id}/{n}")

    def close(self) -> None:
        """Release the file. Idempotent."""
        self._db.close()

    def _current(self, id: str, event: WatchEvent) -> WatchEvent:
        """The event without what was purged, here and on the disk."""
        gone = purged.words(event, self._is_purged)
        if gone:
            event = purged.without(event, gone)
            packed = msgspec.msgpack.encode(event)
            self._db.write(
                ("UPDATE event SET content = ? WHERE watch = ? AND n = ?", (packed, id, event.n))
            )
        return event

    def _decoded(self, packed: bytes, form: Any) -> Any:
        try:
            return msgspec.msgpack.decode(packed, type=form)
        except msgspec.DecodeError as error:
            raise StoreError(
                f"The watches in {self._path} cannot be used: {error}.",
                code="watches.damaged",
                hint="Move that file away; only watches are lost.",
            ) from error


class Watching:
    """Looks at watches as news comes in. Its methods belong to the event loop."""

    def __init__(
        self,
        store: WatchStore,
        differ: Differ,
        clock: Clock,
        ids: Ids,
        *,
        follow: Callable[[], AsyncGenerator[Entry, None]],
        wait_indexed: Callable[[int], Any],
    ) -> None:
        """`follow` gives what is recorded from now on; `wait_indexed(seq)` until it is found."""
        self._store = store
        self._differ = differ
        self._clock = clock
        self._ids = ids
        self._follow = follow
        self._wait_indexed = wait_indexed
        self._words: dict[str, set[str]] = {}
        self._any: re.Pattern[str] | None = None
        self._due: dict[str, int] = {}
        self._more = asyncio.Event()
        self._told = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin. What was recorded while nobody looked is looked at first."""
        for watch in await asyncio.to_thread(self._store.list):
            self._learn(watch)
            self._due[watch.id] = 0
        self._more.set()
        self._tasks = [
            asyncio.create_task(self._listen(), name="watches listen"),
            asyncio.create_task(self._look(), name="watches look"),
        ]

    async def aclose(self) -> None:
        """Stop."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def add(self, question: Question, owner: str, memories: tuple[str, ...] = ()) -> Watch:
        """Watch from now on.

        Raises ContentError `watch.many`, and `diff.moment` if the question names a moment itself.
        """
        if len(await asyncio.to_thread(self._store.list, owner)) >= MAX_WATCHES:
            raise ContentError(
                f"{MAX_WATCHES} questions are watched already.",
                code="watch.many",
                hint="Remove one that is no longer of use.",
            )
        now = self._clock.now()
        self._differ.check(question, now)
        watch = Watch(
            id=self._ids.new("watch"),
            owner=owner,
            question=question.text,
            created_at=now,
            checked_at=now,
            sources=question.sources,
            kinds=question.kinds,
            langs=question.langs,
            domains=question.domains,
            memories=memories,
        )
        await asyncio.to_thread(self._store.save, watch)
        self._learn(watch)
        return watch

    async def list(self, owner: str) -> list[Watch]:
        """An owner's watches, the newest first."""
        return await asyncio.to_thread(self._store.list, owner)

    async def get(self, id: str, owner: str) -> Watch | None:
        """The watch; None if the owner has none such."""
        return await asyncio.to_thread(self._store.get, id, owner)

    async def events(
        self, id: str, *, before: int | None = None, limit: int = 50
    ) -> Sequence[WatchEvent]:
        """What changed, the newest first."""
        return await asyncio.to_thread(lambda: self._store.events(id, before=before, limit=limit))

    async def mark_read(self, id: str) -> None:
        """Its owner has seen all that changed."""
        watch = await asyncio.to_thread(self._store.get, id)
        if watch is not None:
            await asyncio.to_thread(self._store.save, structs.replace(watch, read=watch.events))

    async def remove(self, id: str) -> None:
        """Watch it no longer, and forget what changed."""
        await asyncio.to_thread(self._store.delete, id)
        self._words.pop(id, None)
        self._due.pop(id, None)
        self._compile()
        self._tell()

    @property
    def news(self) -> asyncio.Event:
        """Set when the next watch has something to tell, or is removed; take it before looking."""
        return self._told

    def _tell(self) -> None:
        self._told.set()
        self._told = asyncio.Event()

    def _learn(self, watch: Watch) -> None:
        self._words[watch.id] = stems(watch.question) or {watch.question.casefold()}
        self._compile()

    def _compile(self) -> None:
        # One expression for all, so that a document that no watch is about costs one search.
        starts = {word[:5] for words in self._words.values() for word in words}
        self._any = re.compile("|".join(map(re.escape, sorted(starts)))) if starts else None

    async def _listen(self) -> None:
        async with aclosing(self._follow()) as entries:
            async for entry in entries:
                document = entry.document
                if self._any is None or (document is None and not entry.prev_seq):
                    continue
                if document is None:  # Something was taken back; which, only the answers tell.
                    self._mark(entry.seq, list(self._words))
                    continue
                text = f"{document.title} {document.text[:_READ_CHARS]}"
                if not self._any.search(text.casefold()):
                    continue
                said = {word.stem for word in content(text)}
                about = [
                    id for id, words in self._words.items() if len(words & said) * 2 >= len(words)
                ]
                self._mark(entry.seq, about)

    def _mark(self, seq: int, ids: Sequence[str]) -> None:
        for id in ids:
            self._due[id] = max(seq, self._due.get(id, 0))
        if ids:
            self._more.set()

    async def _look(self) -> None:
        while True:
            await self._more.wait()
            await self._clock.sleep(SETTLE_S)
            self._more.clear()
            due, self._due = self._due, {}
            for id, seq in due.items():
                try:
                    await self.look(id, seq)
                except StoreError:
                    raise
                except GnomonError as error:
                    _log.warning("watch.failed", watch=id, error=str(error), code=error.code)
                    await self._note(id, str(error))

    async def look(self, id: str, seq: int = 0) -> WatchEvent | None:
        """Ask again, now; what changed, if anything did."""
        watch = await asyncio.to_thread(self._store.get, id)
        if watch is None:
            return None
        if seq:
            await self._wait_indexed(seq)
        now = self._clock.now()
        if now <= watch.checked_at:
            return None
        question = Question(
            text=watch.question,
            sources=watch.sources,
            kinds=watch.kinds,
            langs=watch.langs,
            domains=watch.domains,
        )
        found = await self._differ.compare(question, watch.checked_at, now)
        # It may have been marked as read meanwhile, or removed.
        watch = await asyncio.to_thread(self._store.get, id)
        if watch is None:
            return None
        seen = structs.replace(watch, checked_at=now, trouble="")
        if not found.changed:
            await asyncio.to_thread(self._store.save, seen)
            return None
        event = WatchEvent(
            n=watch.events + 1,
            at=now,
            since=watch.checked_at,
            summary=found.summary,
            changes=tuple(c for c in found.changes if c.status != "unchanged"),
        )
        await asyncio.to_thread(self._store.save, structs.replace(seen, events=event.n), event)
        self._tell()
        return event

    async def _note(self, id: str, trouble: str) -> None:
        watch = await asyncio.to_thread(self._store.get, id)
        if watch is not None:
            await asyncio.to_thread(self._store.save, structs.replace(watch, trouble=trouble))
