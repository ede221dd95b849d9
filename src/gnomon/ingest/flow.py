"""From batches to the record to the index: in order, durable first, visible soon, bounded.

One thread appends, one thread indexes; everything between them is a queue with an end, so a slow
disk slows the index, and a slow index slows the sources. The index is fed by sequence number:
whatever it has not seen (a crash, an import by another hand) is read back from the record, so no
path leads to a hole.

A StoreError stops everything at once, except one that is `Transient` (a full disk): nothing was
stored then, so the same batch is tried again until there is room.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple, TypeVar

from gnomon.clock import Clock
from gnomon.errors import StoreError, Transient
from gnomon.index.base import Index
from gnomon.ingest.context import sleep_until
from gnomon.log import get_logger
from gnomon.metrics import INDEX_LAG, INDEX_SEQ, RECORD_SEQ, SOURCE_SKIPPED
from gnomon.record.base import Appended, Entry, Record
from gnomon.settings import Settings
from gnomon.types import Batch, Notice

T = TypeVar("T")

_MERGED_CHANGES = 1_000
"""Batches of one source that wait together share a transaction up to this size."""
_CHUNK_ENTRIES = 1_000
_INDEX_GROUPS = 2
"""Appends that may wait for the index."""
_STORE_RETRY_S = 5.0


class _Waiting(NamedTuple):
    source: str
    batch: Batch


class Flow:
    """The way of the data behind the sources. All methods belong to the event loop."""

    def __init__(self, record: Record, index: Index, clock: Clock, settings: Settings) -> None:
        self.failed = asyncio.Event()
        """Set when storing or indexing failed for good; `check` raises why."""
        self.trouble = ""
        """Why nothing can be stored for the moment, in a sentence; empty if it can."""
        self._record = record
        self._index = index
        self._clock = clock
        self._interval_s = settings.index.commit_interval_s
        self._batches: asyncio.Queue[_Waiting] = asyncio.Queue(settings.ingest.queue_batches)
        self._groups: asyncio.Queue[Sequence[Entry]] = asyncio.Queue(_INDEX_GROUPS)
        self._unstored: Counter[str] = Counter()
        self._stored = asyncio.Event()
        self._appended = asyncio.Event()
        self._wake_index = asyncio.Event()
        self._unindexed: deque[tuple[int, float]] = deque()
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._repairing = True
        self._stopping = False
        self._failure: BaseException | None = None
        self._writer = ThreadPoolExecutor(1, "gnomon-record")
        self._indexer = ThreadPoolExecutor(1, "gnomon-index")
        self._readers = ThreadPoolExecutor(2, "gnomon-read")
        self._tasks: list[asyncio.Task[None]] = []

    # -- life -----------------------------------------------------------------
    def start(self) -> None:
        """Begin to store, and to index, first what the index missed."""
        for loop in (self._store_batches(), self._feed_index()):
            self._tasks.append(asyncio.create_task(self._guard(loop)))

    async def stop(self) -> None:
        """Store what waits, make it searchable, end the threads. Nothing handed over is lost."""
        await self._until(lambda: not any(self._unstored.values()))
        self._stopping = True
        self._wake_index.set()
        storing, indexing = self._tasks
        storing.cancel()
        await asyncio.gather(storing, indexing, return_exceptions=True)
        for pool in (self._writer, self._indexer, self._readers):
            await asyncio.to_thread(pool.shutdown)
        self._announce()

    def check(self) -> None:
        """Raise what stopped the flow, if something did."""
        if self._failure is not None:
            raise self._failure

    def fail(self, error: Exception) -> None:
        """Stop storing and indexing at once, because going on could hide a loss."""
        if self._failure is not None:
            return
        get_logger().critical("ingest.stopped", reason=str(error), exc_info=error)
        self._failure = error
        self.failed.set()
        for task in self._tasks:
            task.cancel()
        for _, reached in self._waiters:
            if not reached.done():
                reached.set_exception(error)
        self._settle_up()
        self._announce()

    async def _guard(self, loop: Coroutine[Any, Any, None]) -> None:
        try:
            await loop
        except Exception as error:  # whatever it is, it is ours
            self.fail(error)

    async def _until(self, reached: Callable[[], bool]) -> None:
        while self._failure is None and not reached():
            await self._stored.wait()

    def _settle_up(self) -> None:
        self._stored.set()
        self._stored = asyncio.Event()

    async def _run(self, pool: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(pool, work)

    # -- storing --------------------------------------------------------------
    async def put(self, source: str, batch: Batch) -> None:
        """Queue a batch; waits while the queue is full. Raises StoreError once storing failed."""
        self.check()
        self._unstored[source] += 1
        try:
            await self._batches.put(_Waiting(source, batch))
        except asyncio.CancelledError:
            self._unstored[source] -= 1
            self._settle_up()
            raise

    async def settled(self, source: str) -> None:
        """Until everything that `source` put is durable."""
        await self._until(lambda: not self._unstored[source])
        self.check()

    async def store(self, write: Callable[[], T]) -> T:
        """Run another write to the record in its thread; its entries reach the index."""
        self.check()
        try:
            result = await self._run(self._writer, write)
        except StoreError as error:
            if not isinstance(error, Transient):
                self.fail(error)
            raise
        if isinstance(result, Appended):
            await self._hand_over(result.entries)
        return result

    async def _store_batches(self) -> None:
        while True:
            waiting = [await self._batches.get()]
            changes = len(waiting[0].batch.changes)
            while changes < _MERGED_CHANGES and not self._batches.empty():
                waiting.append(self._batches.get_nowait())
                changes += len(waiting[-1].batch.changes)
            for source, batches in _by_source(waiting).items():
                await self._hand_over(await self._append(source, _merged(batches)))
                self._unstored[source] -= len(batches)
                self._settle_up()

    async def _append(self, source: str, batch: Batch) -> Sequence[Entry]:
        while True:
            try:
                appended = await self._run(
                    self._writer,
                    partial(self._record.append, source, batch, now=self._clock.now()),
                )
            except StoreError as error:
                if not isinstance(error, Transient):
                    raise
                self.trouble = str(error)
                get_logger().error("record.waiting", source=source, reason=self.trouble)
                await self._clock.sleep(error.retry_after_s or _STORE_RETRY_S)
            except Exception as error:  # what a connector made up must not stop the others
                if len(batch.changes) > 1:
                    return await self._append_singly(source, batch)
                batch = _rejected(source, batch, error)
            else:
                self.trouble = ""
                return appended.entries

    async def _append_singly(self, source: str, batch: Batch) -> Sequence[Entry]:
        """Find the changes that the record does not take; the cursor comes with the last."""
        entries: list[Entry] = []
        for change in batch.changes:
            cursor = batch.cursor if change is batch.changes[-1] else None
            entries += await self._append(source, Batch((change,), cursor))
        return entries

    async def _hand_over(self, entries: Sequence[Entry]) -> None:
        if not entries:
            return
        RECORD_SEQ.set(entries[-1].seq)
        self._announce()
        self._unindexed.append((entries[-1].seq, self._clock.monotonic()))
        # While the index reads the record to catch up, it comes to these entries by itself.
        if not self._repairing:
            await self._groups.put(entries)
        self._wake_index.set()

    # -- indexing -------------------------------------------------------------
    @property
    def lag_s(self) -> float:
        """Age of the oldest entry that is durable but not yet searchable; 0 if there is none."""
        return self._clock.monotonic() - self._unindexed[0][1] if self._unindexed else 0.0

    @property
    def queued(self) -> int:
        """Batches that wait for the record."""
        return self._batches.qsize()

    def changed(self) -> None:
        """Another hand wrote to the record (an import): take that in, too."""
        self._repairing = True
        self._wake_index.set()
        self._announce()

    async def wait_indexed(self, seq: int, timeout_s: float) -> bool:
        """Until everything up to `seq` is searchable; False if that takes longer."""
        self.check()
        if self._index.applied_seq >= seq:
            return True
        reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiter = (seq, reached)
        self._waiters.append(waiter)
        if not self._unindexed:
            self.changed()  # nothing of ours is on its way, so another hand wrote it
        self._wake_index.set()
        try:
            # Real seconds: a person or a test waits here, whatever the clock says.
            await asyncio.wait_for(reached, timeout_s)
        except TimeoutError:
            return False
        finally:
            self._waiters.remove(waiter)
        return True

    async def _feed_index(self) -> None:
        applied = committed = self._index.applied_seq
        committed_s = float("-inf")
        while not (self._stopping and self._groups.empty()):
            entries = await self._missed(applied) if self._repairing else self._handed(applied)
            if entries:
                await self._run(self._indexer, partial(self._index.apply, entries))
                applied = entries[-1].seq
            now_s = self._clock.monotonic()
            wanted = any(committed < seq <= applied for seq, _ in self._waiters)
            if applied > committed and (wanted or now_s >= committed_s + self._interval_s):
                await self._commit(applied)
                committed, committed_s = applied, self._clock.monotonic()
            elif not entries and not self._repairing:
                rest_s = committed_s + self._interval_s - now_s if applied > committed else None
                await sleep_until(self._clock, rest_s, self._wake_index)
                self._wake_index.clear()
        await self._commit(applied)

    async def _missed(self, applied: int) -> Sequence[Entry]:
        """The next entries of the record; ends the repair when there are none."""
        read = partial(self._record.entries, applied, _CHUNK_ENTRIES)
        entries = await self._run(self._indexer, read)
        # No pause between question and answer: an append after it will be handed over.
        self._repairing = bool(entries) or self._record.last_seq() > applied
        return entries

    def _handed(self, applied: int) -> Sequence[Entry]:
        """The entries that were handed over, without those known; none if some are missing."""
        entries: list[Entry] = []
        while len(entries) < _CHUNK_ENTRIES and not self._groups.empty():
            entries += (e for e in self._groups.get_nowait() if e.seq > applied)
        if entries and entries[-1].seq - applied != len(entries):
            self._repairing = True
            return ()
        return entries

    async def _commit(self, applied: int) -> None:
        await self._run(self._indexer, self._index.commit)
        now_s = self._clock.monotonic()
        while self._unindexed and self._unindexed[0][0] <= applied:
            INDEX_LAG.observe(max(now_s - self._unindexed.popleft()[1], 0.0))
        INDEX_SEQ.set(applied)
        for seq, reached in self._waiters:
            if seq <= applied and not reached.done():
                reached.set_result(None)

    # -- following ------------------------------------------------------------
    def _announce(self) -> None:
        self._appended.set()
        self._appended = asyncio.Event()

    async def read(self, question: Callable[[], T]) -> T:
        """Ask the record something; `stop` waits for the answer before the record may close."""
        return await self._run(self._readers, question)

    async def subscribe(self, after_seq: int) -> AsyncGenerator[Entry, None]:
        """Every log entry after `after_seq`, as soon as it is durable; ends with the flow."""
        while not self._stopping:
            appended = self._appended
            entries = await self.read(partial(self._record.entries, after_seq, _CHUNK_ENTRIES))
            for entry in entries:
                yield entry
                after_seq = entry.seq
            self.check()
            if not entries:
                await appended.wait()


def _by_source(waiting: Sequence[_Waiting]) -> dict[str, list[Batch]]:
    batches: dict[str, list[Batch]] = {}
    for source, batch in waiting:
        batches.setdefault(source, []).append(batch)
    return batches


def _merged(batches: Sequence[Batch]) -> Batch:
    if len(batches) == 1:
        return batches[0]
    changes = tuple(change for batch in batches for change in batch.changes)
    cursors = [batch.cursor for batch in batches if batch.cursor is not None]
    return Batch(changes, cursors[-1] if cursors else None)


def _rejected(source: str, batch: Batch, error: Exception) -> Batch:
    """The batch without the one change that the record does not take. Says so in its place."""
    if not batch.changes or isinstance(batch.changes[0], Notice):
        raise error
    SOURCE_SKIPPED.labels(source, "item.rejected").inc()
    get_logger().warning("item.rejected", source=source, reason=repr(error))
    text = f"An item could not be stored and was left out: {error}"
    notice = Notice(code="item.rejected", text=text, level="warning")
    return Batch((notice,), batch.cursor)
