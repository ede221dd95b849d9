"""The town's citizens on Bluesky, through the Jetstream stand-in."""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache

from gnomon.clock import Clock, to_us
from gnomon.testing.atproto_data import did_plc, tid
from gnomon.testing.jetstream_server import JetstreamServer
from gnomon.testing.world.crowd import Post
from gnomon.types import SourceConfig

_COLLECTION = "app.bsky.feed.post"
_KEPT = 50_000
"""Posts that can still be replayed, edited and deleted."""

_did = lru_cache(maxsize=50_000)(did_plc)


class BlueskyTown:
    """Publishes citizens' posts as records of a Jetstream server."""

    def __init__(self, clock: Clock) -> None:
        # Numbers grow with the time, also over restarts, as those of the real service do.
        self.server = JetstreamServer(clock, first_seq=max(to_us(clock.now()) // 1_000, 1))
        self._uris: OrderedDict[str, str] = OrderedDict()

    source_name = "demo:bluesky"
    most_per_s = 10_000.0

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
            type="bluesky",
            title="Quillhaven on Bluesky",
            settings={"endpoints": [self.server.url], "protocol": "v2"},
        )

    def key_of(self, post: Post) -> str:
        """Key of the document that the Bluesky source makes of the post."""
        return f"bluesky:at://{_did(post.author)}/{_COLLECTION}/{tid(to_us(post.at))}"

    def publish(self, post: Post) -> None:
        """The post appears."""
        record = {
            "$type": _COLLECTION,
            "text": post.text,
            "createdAt": post.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "langs": [post.lang],
        }
        uri = self.server.create(_did(post.author), _COLLECTION, record, tid(to_us(post.at)))
        self._uris[post.id] = uri
        if len(self._uris) > _KEPT:
            _, oldest = self._uris.popitem(last=False)
            self.server.records.pop(oldest, None)
            self.server.forget(self.server.last_seq - 2 * _KEPT)

    def edit(self, post: Post) -> None:
        """Its author changes it."""
        uri = self._uris.get(post.id)
        if uri is not None:
            self.server.edit(uri, post.edited)

    def delete(self, post: Post) -> None:
        """Its author deletes it."""
        uri = self._uris.pop(post.id, None)
        if uri is not None:
            self.server.delete(uri)
