"""The demo world as a running service: feeds and networks on loopback, its past, and what it is.

Everything goes through the real connectors; nothing in the demo knows the record or the index.
The start is the caller's to keep, so that the same town is there after a restart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from gnomon.clock import Clock
from gnomon.testing.feed_server import FeedServer, Reply, Request, conditional
from gnomon.testing.scripted_feed import ScriptedPage
from gnomon.testing.world import feeds
from gnomon.testing.world.bluesky import BlueskyTown
from gnomon.testing.world.crowd import Crowd
from gnomon.testing.world.hackernews import HackerNewsTown
from gnomon.testing.world.mastodon import MastodonTown
from gnomon.testing.world.model import OUTLETS, Item, Outlet
from gnomon.testing.world.networks import Network, Pump
from gnomon.testing.world.truth import Truth
from gnomon.testing.world.wikimedia import WikimediaTown
from gnomon.testing.world.world import World
from gnomon.testing.world.x import XTown
from gnomon.types import Delete, SourceConfig, Upsert

NETWORKS: Mapping[str, Callable[[Clock], Network]] = {
    "bluesky": BlueskyTown,
    "mastodon": MastodonTown,
    "hackernews": HackerNewsTown,
    "wikimedia": WikimediaTown,
    "x": XTown,
}
BANNER = "Demo world: nothing here is news. Quillhaven, its people and its papers are invented."
_PAGES = 2_000
_CHANGEABLE = ("bridge.state", "ferry.state", "storm.warning")
_FRESH = timedelta(hours=1)
_STEADY = (
    "How many council members voted for the tram line to Saltmarsh Quay?",
    "Is Saint Ellory Hospital going to close?",
)


class DemoTown:
    """Quillhaven, served on a free port of loopback, as it is at the clock's moment."""

    def __init__(
        self,
        *,
        seed: int,
        start: datetime,
        clock: Clock,
        interval_s: float = 20.0,
        posts_per_s: float = 0.0,
        networks: Sequence[str] = tuple(NETWORKS),
    ) -> None:
        """`posts_per_s` is how much citizens write on each of `networks`, as far as it takes it.

        With 0 there are feeds only.
        """
        self.world = World(seed, start)
        self.truth = Truth(self.world)
        self._clock = clock
        self._interval_s = interval_s
        self._server = FeedServer(clock=clock, kept_requests=100)
        self._pages: dict[str, None] = {}
        self._networks = [NETWORKS[name](clock) for name in networks if posts_per_s]
        self._pumps = [self._pump(network, posts_per_s) for network in self._networks]
        self._pumping: list[asyncio.Task[None]] = []
        for outlet in OUTLETS.values():
            self._server.route(outlet.path, self._feed_of(outlet))

    def _pump(self, network: Network, posts_per_s: float) -> Pump:
        """Each network has its own people: nobody says the same on two."""
        per_s = min(posts_per_s, network.most_per_s)
        crowd = Crowd(self.world, per_s=per_s, place=network.source_name)
        if isinstance(network, XTown):
            network.crowd = crowd
        return Pump(network, crowd, self._clock)

    async def start(self) -> None:
        """Serve. Only then do `sources` and `allow` know the port."""
        await self._server.start()
        for network in self._networks:
            await network.start()
        for pump in self._pumps:
            pump.tick()
            self._pumping.append(asyncio.create_task(pump.run(), name="demo posts"))

    async def stop(self) -> None:
        """Close connections and stop serving."""
        pumping, self._pumping = self._pumping, []
        for task in pumping:
            task.cancel()
        for ended in await asyncio.gather(*pumping, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended
        for network in self._networks:
            await network.stop()
        await self._server.stop()

    @property
    def banner(self) -> str:
        """What everybody must read who sees the demo world."""
        return BANNER

    @property
    def allow(self) -> tuple[str, ...]:
        """What the guard must let through, as `net.allow` wants it."""
        return (self._server.host_port, *(network.address for network in self._networks))

    def sources(self) -> list[SourceConfig]:
        """One source for each outlet and network; names survive restarts, addresses do not."""
        return [*self._configs().values(), *(network.source() for network in self._networks)]

    def history(
        self, until: datetime, since: datetime | None = None
    ) -> Iterator[tuple[str, Upsert | Delete]]:
        """(source, change) that polls in (`since`, `until`] would have brought, oldest first.

        Without `since`, everything. For `Record.load`: each change carries `observed_at`.
        """
        begin = self.world.begin - timedelta(seconds=1)
        yield from feeds.history(self.world, self._configs(), since or begin, until)

    def misbehave(self, outlet: Outlet, *faults: str) -> None:
        """Let the next polls of the outlet's feed meet these faults (`feed_server.FAULTS`)."""
        self._server.misbehave(outlet.path, *faults)

    @property
    def questions(self) -> tuple[str, str, str]:
        """Three questions worth asking now; the first one's answer changed lately."""
        now = self._clock.now()
        changed: dict[str, tuple[datetime, str]] = {}
        for question in self.truth.questions(now):
            if question.topic in _CHANGEABLE and question.since is not None:
                changed.setdefault(question.topic, (question.since, question.text))
        fresh = [t for t in _CHANGEABLE if t in changed and now - changed[t][0] <= _FRESH]
        newest = max(changed.values(), default=(now, "Is the Mill Bridge open?"))
        return (changed[fresh[0]] if fresh else newest)[1], *_STEADY

    def _configs(self) -> dict[str, SourceConfig]:
        return {
            outlet.name: SourceConfig(
                name=outlet.source,
                type="feed",
                title=outlet.title,
                settings={
                    "url": self._server.url(outlet.path),
                    "interval_s": self._interval_s,
                    "kind": outlet.kind,
                },
            )
            for outlet in OUTLETS.values()
        }

    def _feed_of(self, outlet: Outlet) -> Callable[[Request], Reply]:
        def answer(request: Request) -> Reply:
            now = self._clock.now()
            for item in feeds.window(self.world, outlet, now):
                self._offer_page(item)
            return conditional(request, *feeds.feed(self.world, outlet, now).render())

        return answer

    def _offer_page(self, item: Item) -> None:
        """Serve the item's own page from now on; the oldest pages make room."""
        path = f"/{item.outlet}/{item.id}"
        if path in self._pages:
            return
        self._pages[path] = None
        while len(self._pages) > _PAGES:
            oldest = next(iter(self._pages))
            del self._pages[oldest]
            self._server.unroute(oldest)

        def answer(request: Request) -> Reply:
            version = item.version_at(self._clock.now())
            if version is None:
                return Reply(status=410 if item.ending == "tombstone" else 404)
            page = ScriptedPage(
                title=version.title or version.text[:60],
                text=version.text,
                html=version.html,
                lang=OUTLETS[item.outlet].lang,
                published_at=item.published_at,
                updated_at=version.at,
                author=item.author,
            )
            return conditional(request, *page.render())

        self._server.route(path, answer)
