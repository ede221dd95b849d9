"""The town's citizens in wikis of their own: each post is a page that somebody starts."""

from __future__ import annotations

from collections import OrderedDict

from gnomon.clock import Clock, to_us
from gnomon.testing.wikimedia_server import WikimediaServer
from gnomon.testing.world.crowd import Post
from gnomon.testing.world.networks import BEFORE
from gnomon.types import SourceConfig

_WORDS = 6
_KEPT = 2_000
"""Pages that can still be edited and deleted."""
_IDLE_S = 86_400.0
"""Other than all wikis of the world together, a town may be silent for hours."""


class WikimediaTown:
    """Publishes citizens' posts as summaries of new pages, one wiki for each language."""

    source_name = "demo:wikimedia"
    most_per_s = 50.0

    def __init__(self, clock: Clock) -> None:
        self.server = WikimediaServer(clock=clock)
        self._pages: OrderedDict[str, int] = OrderedDict()

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
        """The source that follows it."""
        return SourceConfig(
            name=self.source_name,
            type="wikimedia",
            title="Quillhaven's wikis",
            settings={
                "url": self.server.url,
                "wikis": ["*.quillhaven.example"],
                "backfill_s": BEFORE.total_seconds(),
                "idle_s": _IDLE_S,
            },
        )

    def publish(self, post: Post) -> None:
        """Its author starts a page, whose id is made of the post's millisecond."""
        self._pages[post.id] = self.server.create(
            " ".join(post.text.split()[:_WORDS]),
            id=to_us(post.at) // 1_000,
            wiki=f"{post.lang}quillhaven",
            domain=f"{post.lang}.quillhaven.example",
            size=len(post.text.encode()),
            comment=post.text,
            user=post.author,
            at=post.at,
        )
        if len(self._pages) > _KEPT:
            _, oldest = self._pages.popitem(last=False)
            self.server.forget(oldest)

    def edit(self, post: Post) -> None:
        """Its author changes it."""
        if (page := self._pages.get(post.id)) is not None:
            size = len(post.edited.encode())
            self.server.edit(
                page, size=size, comment=post.edited, user=post.author, at=post.edited_at
            )

    def delete(self, post: Post) -> None:
        """Its author has it deleted."""
        if (page := self._pages.pop(post.id, None)) is not None:
            self.server.delete(page, reason="at its author's wish", at=post.deleted_at)
            self.server.forget(page)
