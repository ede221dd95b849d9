"""The town followed by the real runner through the real door: its past goes on without a seam."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from gnomon.clock import SystemClock
from gnomon.index.base import Query
from gnomon.index.live import LiveIndex
from gnomon.ingest.runner import Runner
from gnomon.net.door import Door
from gnomon.record.base import Life
from gnomon.record.store import SqliteRecord
from gnomon.settings import Net, Settings
from gnomon.sources.registry import Registry
from gnomon.testing.world import DemoTown
from gnomon.types import Upsert

KNOWN = timedelta(hours=2)
"""How much of the end of the history is withheld, so that live polls have something to bring."""


async def until(met: Callable[[], bool]) -> None:
    """Wait for `met`, at most 20 s; the assertions that follow say what is missing."""
    deadline = time.monotonic() + 20
    while not met() and time.monotonic() < deadline:  # noqa: ASYNC110 - two threads have no event
        await asyncio.sleep(0.05)


async def test_live_polls_bring_what_history_lacks_and_nothing_twice(tmp_path: Path) -> None:
    clock = SystemClock()
    now = clock.now()
    town = DemoTown(seed=1, start=now, clock=clock, interval_s=0.5)
    await town.start()
    settings = Settings(home=tmp_path, net=Net(allow=town.allow, per_host_delay_s=0))
    record = SqliteRecord(tmp_path / "record.db")
    index = LiveIndex(tmp_path / "index")
    door = Door(settings.net, clock)
    for config in town.sources():
        record.put_source(config)
    record.load(town.history(now - KNOWN), now=now - KNOWN)
    before = record.stats()
    rng = random.Random(1)
    runner = Runner(record, index, door, clock, rng, settings, Registry.installed())
    await runner.start()
    missing = {
        change.document.key
        for _, change in town.history(now, since=now - KNOWN)
        if isinstance(change, Upsert)
    }
    assert len(missing) > 20

    def arrived() -> bool:
        return all(record.get(key).life is Life.ALIVE for key in missing)

    def asked_again() -> bool:
        return all(s.last_seen_at and s.last_seen_at > seen[s.name] for s in runner.states())

    await until(arrived)
    seen = {s.name: s.last_seen_at or now for s in runner.states()}
    await until(asked_again)
    states = runner.states()
    await runner.stop()
    await door.aclose()
    await town.stop()

    hits = index.search(Query(text="Mill Bridge fully open", mode="lexical", limit=5)).hits
    found = record.by_seq([hit.seq for hit in hits])
    lacking = [key for key in missing if record.get(key).life is not Life.ALIVE]
    gaps, grown = record.gaps(), record.stats().versions - before.versions
    index.close()
    record.close()

    assert lacking == []
    assert all(s.errors == 0 and s.state == "polling" for s in states), states
    assert gaps == []
    # A tick of the clock may have brought one or two items that nobody counted.
    assert len(missing) <= grown <= len(missing) + 3
    assert any(document and document.source == "demo:radio" for document in found)
