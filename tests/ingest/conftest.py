"""A runner over the real record and index, and sources that a test conducts."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gnomon.clock import Clock, SystemClock
from gnomon.index.live import LiveIndex
from gnomon.ingest.runner import Runner
from gnomon.net.door import Door
from gnomon.record.store import SqliteRecord
from gnomon.settings import IndexSettings, Ingest, Net, Settings
from gnomon.sources.base import Context, SourceSettings, SourceSpec
from gnomon.sources.registry import Registry
from gnomon.types import Batch, Document, SourceConfig, Upsert


class House:
    """What one process would hold."""

    def __init__(self, home: Path, record: SqliteRecord, index: LiveIndex, runner: Runner) -> None:
        self.home = home
        self.record = record
        self.index = index
        self.runner = runner

    def state(self, name: str) -> Any:
        """The state of one source."""
        return next(state for state in self.runner.states() if state.name == name)


@asynccontextmanager
async def open_house(
    home: Path,
    *specs: SourceSpec,
    allow: tuple[str, ...] = (),
    clock: Clock | None = None,
    record: type[SqliteRecord] = SqliteRecord,
    ingest: dict[str, Any] | None = None,
    keep_days: float | None = None,
    follow: bool = True,
) -> AsyncIterator[House]:
    """Open record and index under `home`, start a runner, and stop all of it again."""
    clock = clock or SystemClock()
    settings = Settings(
        home=home,
        ingest=Ingest(**{"retry_first_s": 0.01, "retry_max_s": 0.05, **(ingest or {})}),
        index=IndexSettings(commit_interval_s=0.05),
        net=Net(allow=allow, per_host_delay_s=0, timeout_s=1),
    )
    if keep_days is not None:
        settings = settings.model_copy(
            update={"record": settings.record.model_copy(update={"keep_days": keep_days})}
        )
    opened = record(home / "record.sqlite")
    index = LiveIndex(home / "index")
    door = Door(settings.net, SystemClock())
    registry = Registry([*Registry.installed().specs.values(), *specs])
    runner = Runner(opened, index, door, clock, random.Random(1), settings, registry)
    await runner.start(follow=follow)
    try:
        yield House(home, opened, index, runner)
    finally:
        try:
            await runner.stop()
        finally:
            await door.aclose()
            index.close()
            opened.close()


async def until(reached: Callable[[], object], timeout_s: float = 10.0) -> None:
    """Until `reached()` is true; fails after `timeout_s`."""
    async with asyncio.timeout(timeout_s):
        for _ in range(int(timeout_s / 0.02)):
            if reached():
                return
            await asyncio.sleep(0.02)
    raise AssertionError(f"not reached within {timeout_s} s")


class NoSettings(SourceSettings):
    """A conducted source has none."""


class Conducted:
    """A source whose batches a test puts into its hands."""

    def __init__(self, name: str = "conducted", state: str = "live") -> None:
        self.name = name
        self.cursors: list[str | None] = []
        self.coming: asyncio.Queue[Batch | Exception | None] = asyncio.Queue()
        self.handed = 0
        self.closed = 0
        self.spec = SourceSpec(
            name=name,
            title=name,
            docs_url="",
            follow=self._follow,
            settings=NoSettings,
            state=state,
        )
        self.config = SourceConfig(name=name, type=name)

    async def _follow(self, ctx: Context, cursor: str | None) -> AsyncIterator[Batch]:
        self.cursors.append(cursor)
        try:
            while (batch := await self.coming.get()) is not None:
                if isinstance(batch, Exception):
                    raise batch
                ctx.heard()
                yield batch
                self.handed += 1
        finally:
            self.closed += 1

    def bring(self, n: int, text: str = "", **fields: Any) -> None:
        """Hand over document `n` with cursor `n`."""
        document = Document(
            key=f"{self.name}#{n}",
            source=self.name,
            kind="post",
            text=text or f"Number {n} of {self.name}.",
            **fields,
        )
        self.coming.put_nowait(Batch((Upsert(document),), str(n)))


@pytest.fixture
def conduct() -> type[Conducted]:
    """Makes conducted sources."""
    return Conducted


@pytest.fixture
def house(tmp_path: Path) -> Callable[..., Any]:
    """Opens a house under `tmp_path`."""
    return partial(open_house, tmp_path)


@pytest.fixture
def eventually() -> Callable[..., Any]:
    """Waits until something is so."""
    return until
