"""What all networks of the demo have in common: citizens' posts published as time goes by.

A `Network` wraps one stand-in. Keys of its posts depend on the post alone, so that what was
published before a restart is not new after it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from gnomon.clock import Clock
from gnomon.log import get_logger
from gnomon.testing.world.crowd import Crowd, Post
from gnomon.types import SourceConfig

TICK_S = 0.5
BEFORE = timedelta(minutes=10)
"""How much of the past a network shows when it starts."""


class Network(Protocol):
    """A stand-in for a social network, on which citizens post."""

    source_name: str
    """Name of the source that follows it; stable across restarts."""
    most_per_s: float
    """How many posts a second it can take."""

    @property
    def address(self) -> str:
        """`host:port`, once it has started."""
        ...

    async def start(self) -> None:
        """Listen on loopback."""
        ...

    async def stop(self) -> None:
        """Break connections and stop listening."""
        ...

    def source(self) -> SourceConfig:
        """The source that follows it."""
        ...

    def publish(self, post: Post) -> None:
        """The post appears."""
        ...

    def edit(self, post: Post) -> None:
        """Its author changes it."""
        ...

    def delete(self, post: Post) -> None:
        """Its author deletes it."""
        ...


class Pump:
    """Publishes what a crowd writes on one network, as the clock goes."""

    def __init__(self, network: Network, crowd: Crowd, clock: Clock) -> None:
        self._network = network
        self._crowd = crowd
        self._clock = clock
        self._since: datetime | None = None
        self._later: list[tuple[datetime, str, Callable[[Post], None], Post]] = []

    async def run(self) -> None:
        """Publish for ever."""
        while True:
            await self._clock.sleep(TICK_S)
            self.tick()

    def tick(self) -> int:
        """Publish what was written since the last time; returns how many posts that were."""
        now = self._clock.now()
        since = now - BEFORE if self._since is None else self._since
        if since - now > BEFORE:  # the clock was set back: what was said stays said
            get_logger().info("demo.clock_back", reason=f"posts go on at {since.isoformat()}")
        published = 0
        for post in self._crowd.posts(since, now) if since < now else ():
            self._act(post.at)
            self._network.publish(post)
            published += 1
            if post.edited_at is not None:
                heapq.heappush(self._later, (post.edited_at, post.id, self._network.edit, post))
            if post.deleted_at is not None:
                heapq.heappush(self._later, (post.deleted_at, post.id, self._network.delete, post))
        self._act(now)
        self._since = max(since, now)
        return published

    def _act(self, until: datetime) -> None:
        while self._later and self._later[0][0] <= until:
            _, _, act, post = heapq.heappop(self._later)
            act(post)
