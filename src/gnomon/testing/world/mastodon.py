"""The town's citizens on a Mastodon server of their own."""

from __future__ import annotations

import re
from contextlib import suppress

from gnomon.clock import Clock
from gnomon.testing.mastodon_server import MastodonServer
from gnomon.testing.world.crowd import Post
from gnomon.types import SourceConfig

_PORT = 47_300
"""Where it listens if nothing else does: a server's name is part of its posts' keys."""
_TAG = re.compile(r"#(\w+)")


class MastodonTown:
    """Publishes citizens' posts as statuses, which are polled without a token."""

    def __init__(self, clock: Clock, *, interval_s: float = 10.0, port: int = _PORT) -> None:
        self.server = MastodonServer(clock=clock, port=port)
        self._interval_s = interval_s
        self._ids: dict[str, str] = {}

    source_name = "demo:mastodon"
    most_per_s = 3.0

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"{self.server.host}:{self.server.port}"

    async def start(self) -> None:
        """Listen on loopback, where it did before if it can."""
        with suppress(OSError):
            await self.server.start()
            return
        self.server.port = 0
        await self.server.start()

    async def stop(self) -> None:
        """Break connections and stop listening."""
        await self.server.stop()

    def source(self) -> SourceConfig:
        """The source that follows it."""
        return SourceConfig(
            name=self.source_name,
            type="mastodon",
            title="Quillhaven on Mastodon",
            settings={
                "server": f"http://{self.address}",
                "local": True,
                "interval_s": self._interval_s,
            },
        )

    def publish(self, post: Post) -> None:
        """The status appears; its id is made of its millisecond."""
        self._ids[post.id] = self.server.publish(
            post.text,
            acct=post.author,
            lang=post.lang,
            tags=_TAG.findall(post.text),
            at=post.at,
        )

    def edit(self, post: Post) -> None:
        """Its author changes it."""
        self.server.edit(self._ids[post.id], post.edited)

    def delete(self, post: Post) -> None:
        """Its author deletes it."""
        self.server.delete(self._ids.pop(post.id))
