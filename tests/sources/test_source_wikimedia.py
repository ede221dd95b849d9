"""Wikimedia: page changes heard, resumed, and erased; killed anywhere."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest

from gnomon.clock import ManualClock, SystemClock
from gnomon.net.door import Door
from gnomon.settings import Net
from gnomon.sources import wikimedia
from gnomon.testing.check_source import START, Stage, check_source
from gnomon.testing.wikimedia_server import WikimediaServer
from gnomon.types import SourceConfig


class Ticking(ManualClock):
    """A manual clock that only goes forward, two events in each of its milliseconds."""

    ticks = 0

    def now(self) -> datetime:
        self.ticks += 1
        if self.ticks % 8 == 0:
            self.set(super().now() + timedelta(milliseconds=1))
        return super().now()

    def reach(self, moment: datetime) -> None:
        self.set(max(moment, super().now()))


@asynccontextmanager
async def door_to(server: WikimediaServer, contact: str = "") -> AsyncIterator[Door]:
    net = Net(allow=(server.address,), per_host_delay_s=0, timeout_s=2, contact=contact)
    async with aclosing(Door(net, SystemClock())) as door:
        yield door


Said = dict[str, list[str | None]]


class Town:
    """A few pages, and what a record must say of them."""

    def __init__(self, server: WikimediaServer) -> None:
        self.server = server
        self.expected: Said = {}

    def _say(self, page: int, text: str | None, wiki: str = "enwiki") -> None:
        self.expected.setdefault(f"wikimedia:{wiki}/{page}", []).append(text)

    def create(self, title: str, **how: Any) -> int:
        page = self.server.create(title, user="Ann", size=1_200, **how)
        self._say(page, f"Ann started the page “{title}” on en.wikipedia.org, 1,200 bytes long.")
        return page

    def edit(self, page: int, title: str, size: int, by: int) -> int:
        revision = self.server.edit(page, size=size, user="Bo", comment="/* Past */ [[Rome|city]]")
        self._say(
            page,
            f"Bo edited the page “{title}” on en.wikipedia.org, which is now {size:,} bytes long "
            f"({by:+,}). Summary: Past: city",
        )
        return revision

    def delete(self, page: int) -> None:
        self.server.delete(page, reason="spam")
        self._say(page, None)

    def hide(self, page: int, **how: Any) -> None:
        self.server.hide(page, **how)
        del self.expected[f"wikimedia:enwiki/{page}"]

    def suppress(self, page: int) -> None:
        self.server.delete(page, suppress=True)
        del self.expected[f"wikimedia:enwiki/{page}"]

    def move(self, page: int, old: str, new: str) -> None:
        self.server.move(page, new, reason="clearer", user="Ann")
        text = f"Ann moved the page “{old}” on en.wikipedia.org to “{new}”. Summary: clearer"
        self._say(page, text)

    def undelete(self, page: int, title: str) -> None:
        self.server.undelete(page, reason="kept after all", user="Ann")
        self._say(
            page,
            f"Ann restored the page “{title}” on en.wikipedia.org, 1,200 bytes long. "
            "Summary: kept after all",
        )


def noise(server: WikimediaServer, n: int) -> None:
    """What is not wanted: other wikis, bots, talk pages, redirects, test messages."""
    server.create(f"Artikel {n}", wiki="dewiki", domain="de.wikipedia.org")
    server.create(f"Robotic {n}", user="Cleaner", bot=True)
    server.create(f"Talk:Bridge {n}", namespace=1)
    server.create(f"Lead {n}", redirect=True)
    server.canary("codfw")


@asynccontextmanager
async def stage(*faults: str, changing: bool = True, **more: Any) -> AsyncIterator[Stage]:
    clock = Ticking(START)
    async with WikimediaServer(clock=clock) as server, door_to(server) as door:
        town = Town(server)
        bridge, ferry, club = (town.create(name) for name in ("Mill Bridge", "Ferry", "Club"))
        script: list[Callable[[], object]] = [lambda: noise(server, 0)]
        for n in range(4):
            script.append(lambda n=n: town.edit(bridge, "Mill Bridge", 1_300 + n, 1 if n else 100))
            script.append(lambda n=n: [town.create(f"House {n}-{i}") for i in range(6)])
            if n < len(faults):
                script.append(lambda fault=faults[n]: server.misbehave(fault))
            script.append(lambda n=n: noise(server, n + 1))
        if changing:
            script += [
                lambda: town.delete(ferry),
                lambda: town.undelete(ferry, "Ferry"),
                lambda: town.suppress(club),
                lambda: town.move(bridge, "Mill Bridge", "Old Mill Bridge"),
                lambda: town.hide(ferry),
            ]
        script += [server.disconnect, lambda: town.create("Last House")]
        yield Stage(
            config=SourceConfig(
                name="w",
                type="wikimedia",
                settings={"url": server.url, "wikis": ["en.wikipedia.org"], "idle_s": 1.5, **more},
            ),
            fetcher=door,
            expected=lambda: town.expected,
            script=script,
            patience_s=0.03,
            set_time=clock.reach,
            rests=14,
            ordered=False,
        )


async def test_wikimedia_brings_what_happens_and_nothing_else() -> None:
    (ledger,) = await check_source(wikimedia.SOURCE, stage, rounds=1)
    assert not ledger.gaps
    assert {"filter.wiki", "filter.bot", "filter.namespace", "filter.redirect"} <= set(
        ledger.skipped
    )
    moved = ledger.documents["wikimedia:enwiki/1000"]
    assert (moved.title, moved.author, moved.lang) == ("Old Mill Bridge", "Ann", "en")
    assert moved.url == "https://en.wikipedia.org/wiki/Old_Mill_Bridge"
    assert moved.extra["was"] == "Mill Bridge"
    assert moved.published_at is not None and moved.published_at >= START


@pytest.mark.parametrize(
    "faults",
    [("duplicate", "garbage", "unknown", "skew"), ("drop", "truncated", "error", "refuse")],
    ids=["odd", "broken"],
)
async def test_wikimedia_loses_nothing_whatever_the_stream_does(faults: tuple[str, ...]) -> None:
    (ledger,) = await check_source(
        wikimedia.SOURCE, lambda: stage(*faults, changing=False), rounds=1
    )
    assert not ledger.gaps


async def test_wikimedia_killed_anywhere() -> None:
    ledgers = await check_source(wikimedia.SOURCE, lambda: stage("drop", "end"), rounds=4)
    assert sum(ledger.kills for ledger in ledgers) > 4
    assert not any(ledger.gaps for ledger in ledgers)
