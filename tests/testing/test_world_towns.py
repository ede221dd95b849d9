"""A network of the demo that starts anew says nothing twice, and its connectors go on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import aclosing
from datetime import timedelta

import pytest

from gnomon.clock import Clock, ManualClock, SystemClock, to_us
from gnomon.net.door import Door
from gnomon.settings import Net
from gnomon.sources.registry import Registry
from gnomon.testing.check_source import START, Ledger, Stage, _Context
from gnomon.testing.world import World
from gnomon.testing.world.crowd import Crowd, Post
from gnomon.testing.world.hackernews import HackerNewsTown
from gnomon.testing.world.networks import Network, Pump
from gnomon.testing.world.wikimedia import WikimediaTown


class Brisk(ManualClock):
    """The world's time stands still, and who sleeps tries again soon."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0.01)


def hackernews_key(post: Post) -> str:
    return f"hackernews:{to_us(post.at) // 1_000}"


def wikimedia_key(post: Post) -> str:
    return f"wikimedia:{post.lang}quillhaven/{to_us(post.at) // 1_000}"


async def follow(network: Network, ledger: Ledger, clock: Clock, done: Callable[[], bool]) -> None:
    config = network.source()
    registry = Registry.installed()
    async with aclosing(
        Door(Net(allow=(network.address,), per_host_delay_s=0), SystemClock())
    ) as door:
        stage = Stage(config=config, fetcher=door, expected=dict)
        ctx = _Context(registry.get(config.type), stage, clock, 1)  # type: ignore[arg-type]

        async def take() -> None:
            async with aclosing(registry.get(config.type).follow(ctx, ledger.cursor)) as batches:
                async for batch in batches:
                    ledger.append(batch)

        following = asyncio.create_task(take())
        try:
            async with asyncio.timeout(15):
                while not done():  # noqa: ASYNC110 - a ledger tells nobody
                    await asyncio.sleep(0.01)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


@pytest.mark.parametrize(
    ("town", "key_of"),
    [(HackerNewsTown, hackernews_key), (WikimediaTown, wikimedia_key)],
    ids=["hackernews", "wikimedia"],
)
async def test_a_restart_tells_nothing_twice(
    town: Callable[[Clock], Network], key_of: Callable[[Post], str]
) -> None:
    clock, ledger = Brisk(START), Ledger()
    world = World(3, START - timedelta(hours=2))
    rng = random.Random(3)
    since = START
    for start in range(3):
        network = town(clock)
        crowd = Crowd(world, per_s=0.2, place=network.source_name)
        await network.start()
        pump = Pump(network, crowd, clock)
        pump.tick()
        clock.advance(rng.uniform(60, 240))
        pump.tick()
        now = clock.now()
        since = since if start else now - timedelta(minutes=9)
        standing = {
            key_of(post)
            for post in crowd.posts(since, now)
            if post.deleted_at is None or post.deleted_at > now
        }

        def done(standing: set[str] = standing) -> bool:
            alive = {key for key, versions in ledger.versions.items() if versions[-1] is not None}
            return standing <= alive

        try:
            await follow(network, ledger, clock, done)
        finally:
            await network.stop()
    assert len(standing) > 80 and not ledger.gaps
    for key, versions in ledger.versions.items():
        texts = [text for text in versions if text is not None]
        assert len(texts) == len(set(texts)) <= 2, (key, versions)
