"""Runs in progress and finished ones: stored after each step, watched live, cancelled, resumed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from gnomon.answer import purged
from gnomon.answer.deep.base import Budget, Event, Run
from gnomon.answer.deep.engine import Engine
from gnomon.answer.plan import clean
from gnomon.answer.threads import Pins
from gnomon.clock import Clock, Ids
from gnomon.database import Database
from gnomon.errors import ContentError, GnomonError, StoreError
from gnomon.log import get_logger

MAX_RUNNING = 4
MAX_LISTED = 200
_SCHEMA = """
CREATE TABLE IF NOT EXISTS run (
  id TEXT PRIMARY KEY, owner TEXT NOT NULL, number INTEGER NOT NULL UNIQUE,
  status TEXT NOT NULL, content BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS event (
  run TEXT NOT NULL, n INTEGER NOT NULL, content BLOB NOT NULL, PRIMARY KEY (run, n)
) WITHOUT ROWID;
"""
_CODE = "store.runs"
_HINT = "Free space on the disk, or move the file away: it holds runs, no sources."
_log = get_logger()


class RunStore:
    """Runs and their events in one SQLite file. Safe to call from any thread."""

    def __init__(
        self,
        path: Path,
        pins: Pins | None = None,
        *,
        is_purged: purged.IsPurged = lambda key, version: False,
    ) -> None:
        """Open or create it. Raises StoreError.

        What `is_purged` names is not shown: its words leave the runs that are read, for good.
        """
        self._path = path
        self._pins = pins
        self._is_purged = is_purged
        self._db = Database(path, _SCHEMA, holds="runs of deep mode", code=_CODE, hint=_HINT)

    def save(self, run: Run) -> None:
        """Store the run as it stands, and keep what its notebook cites."""
        seqs = sorted({c.seq for f in run.notebook for c in f.citations if c.seq})
        if self._pins is not None and seqs:
            self._pins.pin(run.id, seqs)
        self._db.write(
            (
                "INSERT INTO run(id, owner, number, status, content) VALUES "
                "(?1, ?2, (SELECT coalesce(max(number), 0) + 1 FROM run), ?3, ?4) "
                "ON CONFLICT(id) DO UPDATE SET status = ?3, content = ?4",
                (run.id, run.owner, run.status, _packed(run)),
            )
        )

    def add(self, id: str, event: Event) -> None:
        """Store an event."""
        self._db.write(("INSERT INTO event VALUES (?, ?, ?)", (id, event.n, _packed(event))))

    def get(self, id: str) -> Run | None:
        """The run as it was last stored."""
        rows = self._db.read("SELECT content FROM run WHERE id = ?", (id,))
        return self._current(self._decoded(rows[0][0], Run)) if rows else None

    def events(self, id: str, after: int = 0) -> list[Event]:
        """Its events behind number `after`."""
        rows = self._db.read(
            "SELECT content FROM event WHERE run = ? AND n > ? ORDER BY n", (id, after)
        )
        return [self._decoded(row[0], Event) for row in rows]

    def list(self, owner: str, limit: int = 50) -> list[Run]:
        """An owner's runs, the newest first."""
        rows = self._db.read(
            "SELECT content FROM run WHERE owner = ? ORDER BY number DESC LIMIT ?",
            (owner, min(limit, MAX_LISTED)),
        )
        return [self._current(self._decoded(row[0], Run)) for row in rows]

    def sweep(self) -> None:
        """Remove what was purged from every run that is not at work."""
        for (id,) in self._db.read("SELECT id FROM run WHERE status <> 'running'"):
            self.get(id)

    def unfinished(self) -> list[Run]:  # type: ignore[valid-type]
        """What a stop of the process interrupted."""
        rows = self._db.read("SELECT content FROM run WHERE status = 'running' ORDER BY number")
        return [self._decoded(row[0], Run) for row in rows]

    def delete(self, id: str) -> None:
        """Forget it and release what it cites."""
        self._db.write(
            ("DELETE FROM event WHERE run = ?", (id,)),
            ("DELETE FROM run WHERE id = ?", (id,)),
        )
        if self._pins is not None:
            self._pins.unpin(id)

    def close(self) -> None:
        """Release the file. Idempotent."""
        self._db.close()

    def _current(self, run: Run) -> Run:
        """The run without what was purged, here and, once it has ended, on the disk."""
        gone = purged.words(run, self._is_purged)
        if not gone:
            return run
        run = purged.without(run, gone)
        if run.status != "running":
            events = [purged.without(event, gone) for event in self.events(run.id)]
            change = "UPDATE event SET content = ? WHERE run = ? AND n = ?"
            self._db.write(
                ("UPDATE run SET content = ? WHERE id = ?", (_packed(run), run.id)),
                *((change, (_packed(event), run.id, event.n)) for event in events),
            )
        return run

    def _decoded(self, content: bytes, kind: type[Any]) -> Any:
        try:
            return msgspec.msgpack.decode(content, type=kind)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise StoreError(
                f"The runs of deep mode in {self._path} cannot be read: {error}.",
                code=_CODE,
                hint=_HINT,
                path=str(self._path),
            ) from error


_packed = msgspec.msgpack.encode


class Runs:
    """Starts, watches and ends runs. All methods belong to the event loop."""

    def __init__(self, store: RunStore, engine: Engine, clock: Clock, ids: Ids) -> None:
        self._store = store
        self._engine = engine
        self._clock = clock
        self._ids = ids
        self._live: dict[str, _Live] = {}
        self.count: Callable[[str, int], None] | None = None
        """Is told whom a run is billed to, and how many tokens it has spent since the last time."""

    async def resume(self) -> int:
        """Go on with what a stop interrupted, from the last stored step; how many those are."""
        found = await asyncio.to_thread(self._store.unfinished)
        for run in found:
            events = await asyncio.to_thread(self._store.events, run.id)
            live = self._begin(run, len(events))
            live.tell("resumed", f"Resumed after {run.spent.steps} steps.")
        return len(found)

    async def start(
        self,
        question: str,
        *,
        owner: str,
        budget: Budget,
        as_of: datetime | None = None,
        billed: str = "",
        memories: tuple[str, ...] = (),
    ) -> Run:
        """Begin a run. Raises ContentError for an empty question or too many runs at once."""
        text = clean(question)
        if len(self._live) >= MAX_RUNNING:
            raise ContentError(
                f"{len(self._live)} runs are in progress, as many as possible.",
                code="deep.busy",
                hint="Wait for one to end, or cancel one.",
            )
        run = Run(
            id=self._ids.new("run"),
            owner=owner,
            question=text,
            created_at=self._clock.now(),
            as_of=as_of,
            budget=budget,
            billed=billed,
            memories=memories,
        )
        await asyncio.to_thread(self._store.save, run)
        self._begin(run, 0).tell("begun", text)
        return run

    async def get(self, id: str, owner: str) -> Run | None:
        """The run, None if the owner has none such."""
        live = self._live.get(id)
        run = live.run if live else await asyncio.to_thread(self._store.get, id)
        return run if run is not None and run.owner == owner else None

    async def list(self, owner: str, limit: int = 50) -> list[Run]:
        """An owner's runs, the newest first."""
        found = await asyncio.to_thread(self._store.list, owner, limit)
        return [self._live[r.id].run if r.id in self._live else r for r in found]

    async def watch(self, id: str, after: int = 0) -> AsyncIterator[Event]:
        """Its events behind number `after`, and those to come until it ends."""
        while True:
            live = self._live.get(id)
            more = live.more if live else None
            for event in await asyncio.to_thread(self._store.events, id, after):
                after = event.n
                yield event
            if more is None:
                return
            await more.wait()

    async def cancel(self, id: str) -> None:
        """Stop it; the report is written from what the notebook holds."""
        live = self._live.get(id)
        if live is None:
            return
        live.cancelling = True
        live.task.cancel()
        await asyncio.gather(live.task, return_exceptions=True)

    async def delete(self, id: str) -> None:
        """Cancel and forget it."""
        await self.cancel(id)
        await asyncio.to_thread(self._store.delete, id)

    async def aclose(self) -> None:
        """Stop all work; what is unfinished goes on at the next `resume`."""
        tasks = [live.task for live in self._live.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _count(self, run: Run) -> None:
        spent = run.spent.input_tokens + run.spent.output_tokens
        if self.count is not None and spent > run.counted_tokens:
            self.count(run.billed, spent - run.counted_tokens)
            run.counted_tokens = spent

    def _begin(self, run: Run, told: int) -> _Live:
        live = _Live(run, self._store, self._clock, told)
        self._live[run.id] = live
        live.task = asyncio.create_task(self._work(live), name=f"run {run.id}")
        return live

    async def _work(self, live: _Live) -> None:
        run = live.run
        try:
            async with aclosing(self._engine.steps(run, live.tell)) as steps:  # type: ignore[type-var]
                async for _ in steps:
                    await live.flush()
                    self._count(run)
                    await asyncio.to_thread(self._store.save, run)
        except asyncio.CancelledError:
            if not live.cancelling:
                raise  # the process stops: it goes on after the restart
            run.status, run.ended = "cancelled", "It was cancelled."
            await self._engine.report(run, live.tell, quoting=True)
        except StoreError:
            raise
        except GnomonError as error:
            _log.warning("run.failed", run=run.id, code=error.code)
            run.status, run.ended = "failed", str(error)
        finally:
            self._count(run)
            if run.status != "running":
                live.tell("ended", run.ended)
                await live.flush()
                await asyncio.to_thread(self._store.save, run)
            del self._live[run.id]
            live.stir()


class _Live:
    """A run on its way."""

    task: asyncio.Task[None]

    def __init__(self, run: Run, store: RunStore, clock: Clock, told: int) -> None:
        self.run = run
        self.more = asyncio.Event()
        self.cancelling = False
        self._store = store
        self._clock = clock
        self._told = told
        self._waiting: list[Event] = []
        self._flushing = asyncio.Lock()

    def tell(self, name: str, text: str) -> None:
        """Note an event; it is stored with the next `flush`."""
        self._told += 1
        event = Event(n=self._told, at=self._clock.now(), name=name, text=text[:500])  # type: ignore[arg-type]
        self._waiting.append(event)

    async def flush(self) -> None:
        """Store what was told, and wake who watches."""
        async with self._flushing:
            waiting, self._waiting = self._waiting, []
            for event in waiting:
                await asyncio.to_thread(self._store.add, self.run.id, event)
        self.stir()

    def stir(self) -> None:
        """Wake who watches."""
        self.more.set()
        self.more = asyncio.Event()
