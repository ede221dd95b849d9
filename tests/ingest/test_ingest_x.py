"""X through the real runner into the real record: what is gone there is gone here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from gnomon.record.base import Life
from gnomon.testing.x_server import XServer
from gnomon.types import SourceConfig


async def until(reached: Callable[[], object]) -> None:
    deadline = asyncio.get_running_loop().time() + 15
    while not reached():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.02)


async def test_what_is_gone_on_x_is_purged_from_the_record(house: Any) -> None:
    async with (
        XServer(keep_alive_s=0.05) as server,
        house(allow=(server.address,)) as opened,
    ):
        settings = {
            "bearer_token": server.token,
            "api_url": server.url,
            "rules": ["bridge"],
            "compliance_every_s": 1,
        }
        await opened.runner.add(SourceConfig(name="x:t", type="x", settings=settings))
        await until(lambda: server.listening)
        ids = [server.publish(f"The bridge, part {n}.") for n in range(3)]
        await until(lambda: opened.record.stats().documents == 3)
        assert opened.state("x:t").state == "live" and "of $5.00 spent" in opened.state("x:t").text
        server.delete(ids[0])
        # The first job after the deletion finds it; each is polled once a minute, or when poked.
        for _ in range(200):
            opened.runner.poll_now("x:t")
            await asyncio.sleep(0.05)
            if opened.record.get(f"x:{ids[0]}").life is Life.PURGED:
                break
        assert opened.record.get(f"x:{ids[0]}").life is Life.PURGED
        assert opened.record.get(f"x:{ids[1]}").life is Life.ALIVE


async def test_without_a_key_the_source_says_so(house: Any) -> None:
    async with house() as opened:
        settings = {"rules": ["bridge"]}
        await opened.runner.add(SourceConfig(name="x:t", type="x", settings=settings))
        await until(lambda: opened.state("x:t").state == "failed")
        assert "needs a key" in opened.state("x:t").text
