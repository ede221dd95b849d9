"""The town's citizens on Hacker News: what they write stands there as stories."""

from __future__ import annotations

from collections import OrderedDict

from gnomon.clock import Clock, to_us
from gnomon.testing.hackernews_server import ROOT, HackerNewsServer
from gnomon.testing.world.crowd import Post
from gnomon.types import SourceConfig

_TITLE = 80
_KEPT = 2_000
"""Stories that can still be read, edited and deleted."""


class HackerNewsTown:
    """Submits citizens' posts as stories, whose ids are made of their milliseconds."""

    source_name = "demo:hackernews"
    most_per_s = 1.0

    def __init__(self, clock: Clock, *, interval_s: float = 10.0) -> None:
        self.server = HackerNewsServer(clock=clock)
        self._interval_s = interval_s
        self._ids: OrderedDict[str, int] = OrderedDict()

    @property
    def address(self) -> str:
        """`host:port`."""
        return self.server.host_port

    async def start(self) -> None:
        """Listen on loopback."""
        await self.server.start()

    async def stop(self) -> None:
        """Close connections and stop listening."""
        await self.server.stop()

    def source(self) -> SourceConfig:
        """The source that follows it."""
        return SourceConfig(
            name=self.source_name,
            type="hackernews",
            title="Quillhaven on Hacker News",
            settings={
                "url": self.server.url(ROOT),
                "mode": "stories",
                "interval_s": self._interval_s,
            },
        )

    def publish(self, post: Post) -> None:
        """The story appears; the oldest ones make room."""
        self.server.continue_at(to_us(post.at) // 1_000)
        self._ids[post.id] = self.server.story(
            _title(post.text), text=post.text, by=post.author, time=to_us(post.at) // 1_000_000
        )
        if len(self._ids) > _KEPT:
            _, oldest = self._ids.popitem(last=False)
            self.server.forget(oldest)

    def edit(self, post: Post) -> None:
        """Its author changes it."""
        if (id := self._ids.get(post.id)) is not None:
            self.server.edit(id, title=_title(post.edited), text=post.edited)

    def delete(self, post: Post) -> None:
        """Its author deletes it."""
        if (id := self._ids.get(post.id)) is not None:
            self.server.delete(id)


def _title(text: str) -> str:
    if len(text) <= _TITLE:
        return text
    return f"{text[:_TITLE].rpartition(' ')[0]} …"
