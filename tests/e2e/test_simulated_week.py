"""Simulated life through the real connectors, killed, cut off and set wrong at random.

Nothing that was published may be missing unless a gap says so, nothing may be there twice, and
the index holds what the record holds.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path

import msgspec
import pytest

from gnomon.clock import SystemClock
from gnomon.index.base import Query
from gnomon.record.base import Op
from gnomon.record.store import SqliteRecord
from gnomon.settings import Ingest, Models, Net, Settings
from gnomon.testing import crash
from gnomon.testing.pace import Pace, PacedClock
from gnomon.testing.world import DemoTown
from gnomon.testing.world.bluesky import BlueskyTown
from gnomon.testing.world.crowd import Crowd, Post
from gnomon.testing.world.model import OUTLETS, Item
from gnomon.testing.world.networks import Pump
from gnomon.types import Document, Gap, SourceConfig

HOUR_A_SECOND = 3_600.0
QUARTER_A_SECOND = 900.0
JUMP_S = 3_600.0
FAULTS = ("drop", "truncated", "broken_xml", "500", "503", "html")
CHUNK = 5_000


class Ears:
    """The Bluesky stand-in, and what was said there."""

    def __init__(self, town: BlueskyTown) -> None:
        self.town = town
        self.source_name, self.most_per_s = town.source_name, town.most_per_s
        self.said: dict[str, list[str]] = {}
        self.deleted: set[str] = set()

    @property
    def address(self) -> str:
        return self.town.address

    async def start(self) -> None:
        await self.town.start()

    async def stop(self) -> None:
        await self.town.stop()

    def source(self) -> SourceConfig:
        return self.town.source()

    def publish(self, post: Post) -> None:
        self.town.publish(post)
        self.said[self.town.key_of(post)] = [post.text]

    def edit(self, post: Post) -> None:
        self.town.edit(post)
        self.said[self.town.key_of(post)].append(post.edited)

    def delete(self, post: Post) -> None:
        self.town.delete(post)
        self.deleted.add(self.town.key_of(post))


class Life:
    """A town that lives fast, and an ingest process that has a hard time with it."""

    def __init__(self, home: Path, seed: int, *, speed: float) -> None:
        self.poll_s = speed / 3
        self.home = home
        self.rng = random.Random(seed)
        start = datetime.fromisoformat("2026-11-22T15:00:00+00:00")
        self.pace = Pace(start=start, began=SystemClock().now(), speed=speed)
        self.clock = PacedClock(self.pace)
        self.town = DemoTown(
            seed=seed, start=start, clock=self.clock, interval_s=self.poll_s, posts_per_s=0
        )
        self.bluesky = Ears(BlueskyTown(self.clock))
        self.pump = Pump(self.bluesky, Crowd(self.town.world, per_s=36 / speed), self.clock)
        self.kills = self.cuts = self.jumps = 0

    async def live(
        self,
        span: timedelta,
        *,
        kills: int,
        lives_s: tuple[float, float],
        away_s: tuple[float, ...] = (0.0,),
    ) -> None:
        """Let `span` pass, and `kills` kills, with disconnects and clock jumps; then a calm end."""
        await self.town.start()
        await self.bluesky.start()
        process = self._start(calm=True)
        await self._until_followed()
        self.began = self.clock.now()
        while self.clock.now() < self.began + span or self.kills < kills:
            await self._pass(self.rng.uniform(*lives_s), faults=True)
            await asyncio.to_thread(crash.kill, process)
            self.kills += 1
            await self._pass(self.rng.choice(away_s), faults=False)
            process = self._start(calm=False)
        await asyncio.to_thread(crash.kill, process)
        process = self._start(calm=True)
        self.ended = self.clock.now()
        await self._until_caught_up()
        await asyncio.to_thread(crash.kill, process)
        await self.bluesky.stop()
        await self.town.stop()

    def _start(self, *, calm: bool) -> BaseProcess:
        pace = self.pace
        if not calm and self.rng.random() < 0.5:
            now_s = (SystemClock().now() - pace.began).total_seconds()
            at_s, by_s = now_s + self.rng.uniform(0, 2), self.rng.uniform(-JUMP_S, JUMP_S)
            pace = msgspec.structs.replace(pace, jumps=((at_s, by_s),))
            self.jumps += 1
        allow = (*self.town.allow, self.bluesky.address)
        settings = Settings(
            home=self.home,
            net=Net(allow=allow, per_host_delay_s=0),
            ingest=Ingest(retry_first_s=60, retry_max_s=600),
            models=Models(dir=self.home, generator="off"),
        )
        sources = (*self.town.sources(), self.bluesky.source())
        return crash.start(self.home, *sources, settings=settings, pace=pace)

    async def _pass(self, seconds: float, *, faults: bool) -> None:
        deadline = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.05)
            self.pump.tick()
            if faults and self.rng.random() < 0.1:
                self.cuts += 1
                if self.rng.random() < 0.3:
                    self.bluesky.town.server.kick()
                else:
                    outlet = self.rng.choice(list(OUTLETS.values()))
                    self.town.misbehave(outlet, self.rng.choice(FAULTS))

    async def _until_followed(self) -> None:
        """Until every source stands somewhere: what is published from here on must arrive."""
        names = [c.name for c in (*self.town.sources(), self.bluesky.source())]
        await self._until(lambda record: all(record.cursor(name) for name in names))

    async def _until_caught_up(self) -> None:
        """Until the last word of every outlet and of Bluesky is here."""
        items = self.town.world.items(self.began, self.ended)
        newest = {item.outlet: item.key for item in items if item.ends_at is None}
        last = [*newest.values(), next(reversed(self.bluesky.said))]
        await self._until(lambda record: all(record.get(key).since for key in last))
        await asyncio.sleep(1.0)  # for what was edited or deleted after it was published

    async def _until(self, met: Callable[[SqliteRecord], bool]) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + 30
        record = crash.open_record(self.home)
        try:
            while not met(record) and loop.time() < deadline:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.05)
            assert met(record)
        finally:
            record.close()


class Kept:
    """What the record holds in the end."""

    def __init__(self, record: SqliteRecord, *, wrong: timedelta) -> None:
        record.check()
        self._wrong = wrong
        self.versions: dict[str, list[Document]] = defaultdict(list)
        self.ended: set[str] = set()
        after = 0
        while entries := record.entries(after, CHUNK):
            for entry in entries:
                assert entry.seq > after
                after = entry.seq
                if entry.op is Op.PUT and entry.document is not None:
                    self.versions[entry.key].append(entry.document)
                    self.ended.discard(entry.key)
                elif entry.op is Op.END:
                    self.ended.add(entry.key)
        self.gaps: dict[str, list[Gap]] = defaultdict(list)
        for source, _, gap in record.gaps():
            self.gaps[source].append(gap)

    def excused(self, item: Item) -> bool:
        """Whether a gap says that the item may be missing, as far as clocks were right."""
        return any(
            gap.start is not None
            and gap.end is not None
            and gap.start - self._wrong <= item.published_at <= gap.end + self._wrong
            for gap in self.gaps[OUTLETS[item.outlet].source]
        )


def check(life: Life) -> None:
    record = crash.open_record(life.home)
    try:
        kept = Kept(record, wrong=timedelta(seconds=JUMP_S + 2 * life.poll_s))
    finally:
        record.close()
    # Feeds: all that was published is there, or a gap says that it may not be.
    items = [
        item
        for item in life.town.world.items(life.began, life.ended)
        if item.ends_at is None  # what is taken back between two polls was never to be seen
    ]
    missing = [item for item in items if not kept.versions.get(item.key)]
    lost = [item.key for item in missing if not kept.excused(item)]
    assert not lost, f"{len(lost)} of {len(items)} lost without a word: {lost[:5]}"
    assert len(missing) < 0.3 * len(items)
    for item in items:
        texts = [d.text for d in kept.versions.get(item.key, ())]
        published = [" ".join(v.text.split()) for v in item.versions]
        seen = [" ".join(text.split()) for text in texts]
        assert is_part(seen, published), f"{item.key}: {seen} of {published}"
    # Bluesky can be replayed: everything is there, in order, once, and ended where it was deleted.
    said = life.bluesky.said
    bluesky = {k: v for k, v in kept.versions.items() if k.startswith("bluesky:")}
    assert not set(said) - set(bluesky), f"{len(set(said) - set(bluesky))} posts lost"
    assert not set(bluesky) - set(said)
    for key, versions in said.items():
        assert [d.text for d in bluesky[key]] == versions, key
    assert {k for k in kept.ended if k.startswith("bluesky:")} == life.bluesky.deleted
    assert not kept.gaps["demo:bluesky"]
    # No version repeats the one before it.
    for key, documents in kept.versions.items():
        contents = [(d.title, d.text, d.author, d.updated_at) for d in documents]
        assert len(set(contents)) == len(contents), key
    words = ("ferry", "Mill Bridge", "crowns", "storm", "votes", "Fähre", "puente", "market")
    queries = [Query(text=word, mode="lexical", limit=10_000, fold=False) for word in words]
    assert crash.differences(life.home, queries) == []


def is_part(seen: Sequence[str], published: Sequence[str]) -> bool:
    """Whether `seen` are some of `published`, in their order and none twice."""
    rest = iter(published)
    return all(text in rest for text in seen)


async def test_hours_of_life_with_kills_lose_nothing(tmp_path: Path) -> None:
    life = Life(tmp_path, seed=3, speed=QUARTER_A_SECOND)
    await life.live(timedelta(minutes=15), kills=2, lives_s=(0.3, 0.6))
    check(life)


@pytest.mark.slow
async def test_a_week_of_life_with_kills_loses_nothing(tmp_path: Path) -> None:
    life = Life(tmp_path, seed=4, speed=HOUR_A_SECOND)
    await life.live(timedelta(days=7), kills=20, lives_s=(1.0, 5.0), away_s=(0.0, 0.0, 0.2, 3.5))
    assert life.cuts >= 50 and life.jumps >= 5
    check(life)
