"""An ingest process that exists to be killed, and what must be true of what it leaves behind.

The process is forked from a server that has everything imported already, so that hundreds of
kills fit into a test.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import signal
from collections.abc import Sequence
from contextlib import aclosing
from multiprocessing.process import BaseProcess
from pathlib import Path

import msgspec

from gnomon.clock import SystemClock
from gnomon.index.base import Query
from gnomon.index.live import LiveIndex
from gnomon.ingest.runner import Runner
from gnomon.net.door import Door
from gnomon.record.store import SqliteRecord
from gnomon.settings import Settings
from gnomon.sources.registry import Registry
from gnomon.testing.pace import Pace, PacedClock
from gnomon.types import SourceConfig

_CHUNK_ENTRIES = 2_000


def start(
    home: Path,
    *configs: SourceConfig,
    settings: Settings | None = None,
    pace: Pace | None = None,
) -> BaseProcess:
    """Start a process that follows `configs` with record and index under `home`, for ever.

    Its clock is the machine's, or that of `pace`.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    settings = settings or Settings(home=home)
    orders = _Orders(
        home=str(home), configs=configs, settings=settings.model_dump_json(), pace=pace
    )
    process = context.Process(target=_run, args=(msgspec.json.encode(orders),))
    process.start()
    return process


def kill(process: BaseProcess) -> None:
    """kill -9, and wait until the process is gone."""
    if process.pid is not None and process.is_alive():
        os.kill(process.pid, signal.SIGKILL)
    process.join(30)
    process.close()


def open_record(home: Path) -> SqliteRecord:
    """The record that such a process writes."""
    return SqliteRecord(home / "record.sqlite")


def open_index(home: Path) -> LiveIndex:
    """The index that such a process writes."""
    return LiveIndex(home / "index")


def differences(home: Path, queries: Sequence[Query]) -> list[str]:
    """What `queries` find in the index as it was left, but not in one built anew, or reversed.

    The index left behind first gets the entries that it misses, as at every start. Order is not
    compared: equal scores may stand in any.
    """
    record, index = open_record(home), open_index(home)
    fresh = LiveIndex(home / "rebuilt")
    try:
        for target in (index, fresh):
            after = target.applied_seq
            while entries := record.entries(after, _CHUNK_ENTRIES):
                target.apply(entries)
                after = entries[-1].seq
            target.commit()
        found = []
        if index.stats().documents != fresh.stats().documents:
            found.append(f"{index.stats().documents} != {fresh.stats().documents} documents")
        for query in queries:
            left, right = ({h.seq: h.key for h in i.search(query).hits} for i in (index, fresh))
            odd = left.items() ^ right.items()
            if odd:
                found.append(f"{query.text!r}: {len(odd)} differ: {sorted(odd)[:5]}")
        return found
    finally:
        fresh.close()
        index.close()
        record.close()


class _Orders(msgspec.Struct, frozen=True, kw_only=True):
    home: str
    configs: tuple[SourceConfig, ...]
    settings: str
    pace: Pace | None = None


def _run(orders: bytes) -> None:
    asyncio.run(_follow(msgspec.json.decode(orders, type=_Orders)))


async def _follow(orders: _Orders) -> None:
    home, settings = Path(orders.home), Settings.model_validate_json(orders.settings)
    clock = PacedClock(orders.pace) if orders.pace else SystemClock()
    async with aclosing(Door(settings.net, clock)) as door:
        runner = Runner(
            open_record(home),
            open_index(home),
            door,
            clock,
            random.Random(),
            settings,
            Registry.installed(),
        )
        await runner.start()
        for config in orders.configs:
            await runner.add(config)
        await runner.wait()
