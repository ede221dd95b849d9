"""A network of the demo that starts anew says nothing twice, and its connectors go on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import aclosing
from datetime import timedelta
from typing import Any

import httpx
import pytest

from gnomon.clock import Clock, ManualClock, SystemClock, to_us
from gnomon.net.door import Door
from gnomon.settings import Net
from gnomon.sources.registry import Registry
from gnomon.sources.x_posts import id_at
from gnomon.testing.check_source import START, Ledger, Stage, _Context
from gnomon.testing.world import World
from gnomon.testing.world.crowd import Crowd, Post
from gnomon.testing.world.hackernews import HackerNewsTown
from gnomon.testing.world.networks import Network, Pump
from gnomon.testing.world.wikimedia import WikimediaTown
from gnomon.testing.world.x import XTown


class Brisk(ManualClock):
    """The world's time stands still, and who sleeps tries again soon."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0.01)


def hackernews_key(post: Post) -> str:
    return f"hackernews:{to_us(post.at) // 1_000}"


def wikimedia_key(post: Post) -> str:
    return f"wikimedia:{post.lang}quillhaven/{to_us(post.at) // 1_000}"


def x_key(post: Post) -> str:
    return f"x:{id_at(post.at)}"


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
    [(HackerNewsTown, hackernews_key), (WikimediaTown, wikimedia_key), (XTown, x_key)],
    ids=["hackernews", "wikimedia", "x"],
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


async def test_x_knows_the_posts_of_the_time_before_when_asked() -> None:
    clock = ManualClock(START)
    crowd = Crowd(World(3, START - timedelta(hours=2)), per_s=0.5, place="demo:x")
    past = list(crowd.posts(START - timedelta(hours=1), START - timedelta(minutes=20)))
    edited = next(post for post in past if post.edited_at and not post.deleted_at)
    deleted = next(post for post in past if post.deleted_at and post.deleted_at < START)
    plain = next(post for post in past if not post.edited_at and not post.deleted_at)
    town = XTown(clock)
    town.crowd = crowd
    await town.start()
    try:
        asked = [str(id_at(post.at)) for post in (plain, edited, deleted)]
        foreign = str(id_at(START - timedelta(minutes=25)) + 7)
        async with httpx.AsyncClient() as client:

            async def look_up(*ids: str) -> Any:
                params = {"ids": ",".join(ids)}
                headers = {"authorization": f"Bearer {town.server.token}"}
                url = f"{town.server.url}/2/tweets"
                return (await client.get(url, params=params, headers=headers)).json()

            found = await look_up(*asked, foreign)
            newest = found["data"][1]["edit_history_tweet_ids"][-1]
            again = XTown(clock)
            again.crowd, old = crowd, town
            await again.start()
            town = again
            late = await look_up(newest)
            await old.stop()
    finally:
        await town.stop()
    assert [post["id"] for post in found["data"]] == asked[:2]
    assert plain.text in found["data"][0]["text"]
    assert [error["resource_id"] for error in found["errors"]] == [asked[2], foreign]
    assert late["data"][0]["text"].startswith(edited.edited)
