"""The town's citizens on X: what they write there carries the town's hashtag."""

from __future__ import annotations

from collections import OrderedDict
from datetime import timedelta
from zlib import crc32

from gnomon.clock import Clock
from gnomon.sources.x_posts import id_at, moment_of
from gnomon.testing.world.crowd import Crowd, Post
from gnomon.testing.world.networks import BEFORE
from gnomon.testing.x_server import XServer
from gnomon.types import SourceConfig

_TAG = "#Quillhaven"
_KEPT = 10_000
"""Posts that can still be found, edited and deleted."""
_COMPLIANCE_S = 600.0
"""X's stream tells of no deletion. The town's readers shall not wait a day for one."""
_MILLISECOND = timedelta(milliseconds=1)
_EDITABLE = timedelta(minutes=30)


class XTown:
    """Publishes citizens' posts, whose ids are made of their milliseconds, as X's are."""

    source_name = "demo:x"
    most_per_s = 50.0

    def __init__(self, clock: Clock) -> None:
        self.server = XServer(clock=clock, recall=self._recall)
        self.crowd: Crowd | None = None
        """Who wrote what was published before the server started, if it shall be known."""
        self._clock = clock
        self._ids: OrderedDict[str, str] = OrderedDict()

    @property
    def address(self) -> str:
        """`host:port`."""
        return self.server.address

    async def start(self) -> None:
        """Listen on loopback."""
        await self.server.start()

    async def stop(self) -> None:
        """Break connections and stop listening."""
        await self.server.stop()

    def source(self) -> SourceConfig:
        """The source that follows it. In the town X is free of charge."""
        return SourceConfig(
            name=self.source_name,
            type="x",
            title="Quillhaven on X",
            settings={
                "api_url": self.server.url,
                "bearer_token": self.server.token,
                "rules": [_TAG],
                "post_usd": 0.0,
                "user_usd": 0.0,
                "first_search_s": BEFORE.total_seconds(),
                "compliance_every_s": _COMPLIANCE_S,
            },
        )

    def publish(self, post: Post) -> None:
        """The post appears; the oldest ones make room."""
        text = f"{post.text} {_TAG}"
        self._ids[post.id] = self.server.publish(
            text, username=post.author, lang=post.lang, at=post.at, id=_id(post)
        )
        if len(self._ids) > _KEPT:
            _, oldest = self._ids.popitem(last=False)
            self.server.forget(oldest)

    def edit(self, post: Post) -> None:
        """Its author changes it."""
        if (id := self._ids.get(post.id)) is not None:
            text = f"{post.edited} {_TAG}"
            self.server.edit(id, text, at=post.edited_at, new=_edited_id(post))

    def delete(self, post: Post) -> None:
        """Its author deletes it."""
        if (id := self._ids.get(post.id)) is not None:
            self.server.delete(id)

    def _recall(self, id: str) -> None:
        """Somebody asks for a post of the time before: publish it as it stands now."""
        at = moment_of(id)
        if self.crowd is None or at is None:
            return
        now = self._clock.now()
        first = int(id) == id_at(at)
        for post in self.crowd.posts(at if first else at - _EDITABLE, at + _MILLISECOND):
            if post.id in self._ids or post.at > now or id not in (_id(post), _edited_id(post)):
                continue
            self.publish(post)
            if post.edited_at is not None and post.edited_at <= now:
                self.edit(post)
            if post.deleted_at is not None and post.deleted_at <= now:
                self.delete(post)


def _id(post: Post) -> str:
    return str(id_at(post.at))


def _edited_id(post: Post) -> str:
    """Beside all ids that posts have; empty if it is never edited."""
    if post.edited_at is None:
        return ""
    return str(id_at(post.edited_at) + 1 + crc32(post.id.encode()) % 4_000_000)
