"""The crowd: any number of different posts, the same for every look, and real on networks."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gnomon.clock import ManualClock, SystemClock
from gnomon.index.live import LiveIndex
from gnomon.ingest.runner import Runner
from gnomon.net.door import Door
from gnomon.record.base import Life
from gnomon.record.store import SqliteRecord
from gnomon.settings import Net, Settings
from gnomon.sources.registry import Registry
from gnomon.testing.world import DemoTown, World
from gnomon.testing.world.crowd import Crowd, Post
from gnomon.testing.world.networks import BEFORE, Pump
from gnomon.types import SourceConfig

START = datetime(2026, 11, 22, 15, 0, tzinfo=UTC)


@pytest.mark.parametrize("per_s", [0.02, 0.7, 3.0, 2_000.0])
def test_the_dial_sets_how_many_posts_there_are(per_s: float) -> None:
    span = timedelta(seconds=2_000 / per_s)
    posts = list(Crowd(World(5, START), per_s=per_s).posts(START, START + span))
    assert 1_900 <= len(posts) <= 2_100
    assert len({post.text for post in posts}) >= len(posts) - 2
    assert len({post.id for post in posts}) == len(posts)
    assert [p.at for p in posts] == sorted(p.at for p in posts)
    langs = Counter(post.lang for post in posts)
    assert all(langs[lang] > 200 for lang in ("en", "de", "es"))
    assert sum("#" in post.text for post in posts) > 400
    assert sum(bool(post.echoes) for post in posts) > 100
    assert sum(post.deleted_at is not None for post in posts) > 20
    assert sum(post.edited_at is not None for post in posts) > 20


def test_any_cut_of_the_time_gives_the_same_posts() -> None:
    whole = list(Crowd(World(5, START), per_s=0.9).posts(START, START + timedelta(hours=1)))
    crowd = Crowd(World(5, START), per_s=0.9)
    cut: list[Post] = []
    for part in range(0, 3_600, 47):
        begin = START + timedelta(seconds=part)
        cut += crowd.posts(begin, min(begin + timedelta(seconds=47), START + timedelta(hours=1)))
    assert cut == whole
    other = Crowd(World(5, START), per_s=0.9, place="elsewhere")
    assert {p.text for p in other.posts(START, START + timedelta(hours=1))}.isdisjoint(
        p.text for p in whole
    )


@pytest.mark.parametrize("per_s", [0, -1, 1e6])
def test_impossible_crowds_are_refused(per_s: float) -> None:
    with pytest.raises(ValueError, match="posts a second"):
        Crowd(World(1, START), per_s=per_s)


class Heard:
    """A network that only listens."""

    source_name = "heard"
    most_per_s = 1.0
    address = "nowhere:0"

    def __init__(self) -> None:
        self.acts: list[tuple[str, str]] = []

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def source(self) -> SourceConfig:
        return SourceConfig(name=self.source_name, type="heard")

    def publish(self, post: Post) -> None:
        self.acts.append(("publish", post.id))

    def edit(self, post: Post) -> None:
        self.acts.append(("edit", post.id))

    def delete(self, post: Post) -> None:
        self.acts.append(("delete", post.id))


def test_the_pump_publishes_each_post_once_whatever_the_clock_does() -> None:
    clock = ManualClock(START)
    crowd = Crowd(World(2, START), per_s=0.5)
    heard = Heard()
    pump = Pump(heard, crowd, clock)
    pump.tick()
    rng = random.Random(4)
    latest = START
    for _ in range(300):
        clock.set(clock.now() + timedelta(seconds=rng.uniform(-40, 60)))
        latest = max(latest, clock.now())
        pump.tick()
    expected = [post.id for post in crowd.posts(START - BEFORE, latest)]
    assert [id for act, id in heard.acts if act == "publish"] == expected
    assert latest - START > timedelta(minutes=20)
    seen: set[str] = set()
    for act, id in heard.acts:
        assert act == "publish" or id in seen, "nothing changes before it was published"
        seen.add(id)
    assert {act for act, _ in heard.acts} == {"publish", "edit", "delete"}


async def until(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not met() and time.monotonic() < deadline:  # noqa: ASYNC110 - threads have no event
        await asyncio.sleep(0.05)


async def test_the_real_connectors_bring_in_what_citizens_write(tmp_path: Path) -> None:
    clock = SystemClock()
    now = clock.now()
    town = DemoTown(seed=3, start=now - timedelta(hours=2), clock=clock, posts_per_s=1.0)
    await town.start()
    settings = Settings(home=tmp_path, net=Net(allow=town.allow, per_host_delay_s=0))
    record = SqliteRecord(tmp_path / "record.db")
    index = LiveIndex(tmp_path / "index")
    door = Door(settings.net, clock)
    configs = {c.name: c for c in town.sources() if c.type != "feed"}
    networks = ("bluesky", "mastodon", "hackernews", "wikimedia", "x")
    assert set(configs) == {f"demo:{network}" for network in networks}
    for config in configs.values():
        record.put_source(config)
    rng = random.Random(1)
    runner = Runner(record, index, door, clock, rng, settings, Registry.installed())
    await runner.start()

    def brought(name: str) -> int:
        stats = record.source_stats().get(name)
        return stats.documents if stats else 0

    await until(lambda: all(brought(name) > 20 for name in configs))
    states = runner.states()
    await runner.stop()
    await door.aclose()
    await town.stop()
    counts = {name: brought(name) for name in configs}
    entries = record.entries(0, 5_000)
    posts = [entry.document for entry in entries if entry.document is not None]
    gaps = record.gaps()
    lives = {record.get(post.key).life for post in posts}
    index.close()
    record.close()
    assert all(n > 20 for n in counts.values()), (counts, states)
    assert {p.lang for p in posts} >= {"en"}
    assert all(p.author and p.published_at for p in posts)
    assert {(p.source, p.kind) for p in posts} == {
        (name, "edit" if name == "demo:wikimedia" else "post") for name in configs
    }
    assert lives <= {Life.ALIVE, Life.DELETED}
    assert gaps == []
