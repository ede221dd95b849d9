"""The demo stands in while no real source answered; it leaves without a trace when one does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gnomon import demo
from gnomon.app import House, opened
from gnomon.index.base import Query
from gnomon.settings import Demo, Ingest, Models, Net, Settings
from gnomon.testing.feed_server import FeedServer, Item
from gnomon.types import SourceConfig


async def until(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not met() and time.monotonic() < deadline:  # noqa: ASYNC110 - threads have no event
        await asyncio.sleep(0.05)


def settings(home: Path, allow: str) -> Settings:
    return Settings(
        home=home,
        demo=Demo(mode="auto"),
        net=Net(allow=(allow,), per_host_delay_s=0),
        ingest=Ingest(min_interval_s=1, retry_max_s=1),
        models=Models(dir=home, generator="off"),
    )


def news(server: FeedServer) -> SourceConfig:
    feed = server.feed("/news.xml", title="News")
    now = datetime(2026, 11, 22, tzinfo=UTC)
    feed.post(Item(id="1", title="Real", text="A real report about a harbour.", published_at=now))
    url = server.url("/news.xml")
    return SourceConfig(name="feed:news", type="feed", settings={"url": url, "interval_s": 1})


def traces(house: House) -> list[str]:
    """What of the demo can still be seen anywhere."""
    found = [c.name for c in house.record.sources() if c.name.startswith(demo.PREFIX)]
    found += [s.name for s in house.runner.states() if s.name.startswith(demo.PREFIX)]
    stats = house.record.source_stats()
    found += [n for n, s in stats.items() if n.startswith(demo.PREFIX) and s.documents]
    for mode in ("lexical", "auto"):
        hits = house.index.search(Query(text="Mill Bridge", mode=mode, limit=20)).hits
        found += [hit.key for hit in hits if hit.key.startswith(demo.PREFIX)]
    return found


async def test_it_leaves_at_once_when_the_first_source_answers(tmp_path: Path) -> None:
    async with FeedServer() as server:
        config = news(server)
        async with opened(settings(tmp_path, server.host_port), follow=True) as house:
            house.begin()
            assert house.demo and house.demo.questions
            assert len(house.record.source_stats()) > 5
            await house.runner.add(config)
            await until(lambda: not house.demo and not traces(house))
            assert not house.demo
            assert traces(house) == []
            assert house.demo.questions == () and house.demo.banner == ""
            await until(lambda: bool(house.index.search(Query(text="harbour report")).hits))
            assert house.index.search(Query(text="harbour report")).hits
        # Nor does it come back, also where nobody answers any more.
        await server.stop()
        async with opened(settings(tmp_path, server.host_port), follow=True) as house:
            house.begin()
            assert not house.demo
            assert traces(house) == []


async def test_it_comes_in_when_nobody_answers_and_leaves_when_somebody_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "UNREACHED_S", 0.3)
    server = FeedServer()
    await server.start()
    config = news(server)
    await server.stop()
    configured = settings(tmp_path, server.host_port)
    async with opened(configured, follow=False) as house:
        house.record.put_source(config)
    async with opened(configured, follow=True) as house:
        house.begin()
        await until(lambda: bool(house.demo))
        assert house.demo and house.demo.banner
        assert "demo:herald" in {s.name for s in house.runner.states()}
        await server.start()
        await until(lambda: not house.demo and not traces(house))
        assert not house.demo
        assert traces(house) == []
        assert house.record.source_stats()["feed:news"].documents == 1
    await server.stop()


async def test_on_request_it_stays_beside_real_sources(tmp_path: Path) -> None:
    async with FeedServer() as server:
        config = news(server)
        wanted = settings(tmp_path, server.host_port).model_copy(update={"demo": Demo(mode="on")})
        async with opened(wanted, follow=True) as house:
            house.begin()
            await house.runner.add(config)
            await until(lambda: "feed:news" in house.record.source_stats())
            assert "feed:news" in house.record.source_stats()
            assert house.demo and traces(house)
