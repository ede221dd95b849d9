"""When the demo world is shown: while nothing real was ever seen, and not a moment longer.

Mixed into real evidence, invented news would be taken for news. So the demo comes in only while
the record holds no real document, and leaves, documents included, as soon as a real source has
answered. `demo.mode` `on` and `off` overrule that.
"""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta

from gnomon.clock import Clock
from gnomon.ingest.runner import Runner
from gnomon.log import get_logger
from gnomon.record.base import Record
from gnomon.settings import Settings
from gnomon.testing.world import DemoTown
from gnomon.types import SourceConfig

PREFIX = "demo:"
UNREACHED_S = 20.0
"""How long configured sources may take to answer before the demo stands in for them."""
_LOOK_S = 0.5
_EVERYTHING = timedelta(days=-1)
"""As an age to keep: also what is stamped a little ahead, after the clock was set back."""


def town_of(settings: Settings, clock: Clock) -> DemoTown:
    """The demo world of this home; it begins when it is first asked for and goes on from there."""
    path = settings.home / "demo.json"
    seed = settings.demo.seed
    try:
        kept = json.loads(path.read_text("utf-8"))
        start = datetime.fromisoformat(kept["start"]) if kept["seed"] == seed else clock.now()
    except (OSError, ValueError, KeyError, TypeError):
        start = clock.now()
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_text(json.dumps({"seed": seed, "start": start.isoformat()}), "utf-8")
    posts_per_s = settings.demo.posts_per_s
    return DemoTown(seed=seed, start=start, clock=clock, posts_per_s=posts_per_s)


class Showing:
    """The demo world of one running house. True while it is shown."""

    def __init__(self, settings: Settings, record: Record, clock: Clock) -> None:
        self._record = record
        self._clock = clock
        self._auto = settings.demo.mode == "auto"
        self._town: DemoTown | None = None
        self._shown = False
        if settings.demo.mode == "on" or (self._auto and not self._holds_real()):
            self._town = town_of(settings, clock)

    # -- what it says ----------------------------------------------------------
    def __bool__(self) -> bool:
        return self._shown

    @property
    def banner(self) -> str:
        """What everybody must read who sees it."""
        return self._town.banner if self._town and self._shown else ""

    @property
    def questions(self) -> tuple[str, ...]:
        """Questions that it can answer now."""
        return self._town.questions if self._town and self._shown else ()

    @property
    def allow(self) -> tuple[str, ...]:
        """What the door must let through, in case it is shown; nothing if it never will be."""
        return self._town.allow if self._town else ()

    # -- its life --------------------------------------------------------------
    async def start(self) -> None:
        """Listen, if it may be shown; only then `allow` is known."""
        if self._town is not None:
            await self._town.start()

    async def stop(self) -> None:
        """Stop serving. What it brought stays, and is there at the next start."""
        if self._town is not None:
            await self._town.stop()

    async def prepare(self) -> None:
        """Before sources are followed: bring the town's past, or remove what is left of it."""
        if self._town is not None and (not self._auto or self._first()):
            await asyncio.to_thread(self._remember)
        else:
            await asyncio.to_thread(self._forget)

    async def watch(self, runner: Runner) -> None:
        """Come in if no real source answers, leave when one does; ends when it has left."""
        if self._town is None or not self._auto:
            return
        began = self._clock.monotonic()
        while not _reached(runner):
            unreached = self._clock.monotonic() - began > UNREACHED_S
            if not self._shown and (unreached or not _real(self._record.sources())):
                await self._come(runner)
            await self._clock.sleep(_LOOK_S)
        await self._leave(runner)

    async def _come(self, runner: Runner) -> None:
        assert self._town is not None  # noqa: S101 - `watch` ends at once without a town
        await asyncio.to_thread(self._remember)
        for config in self._town.sources():
            await runner.add(config)
        runner.changed()
        get_logger().info("demo.shown", reason="no source has answered")

    async def _leave(self, runner: Runner) -> None:
        self._shown = False
        for config in await asyncio.to_thread(self._record.sources):
            if config.name.startswith(PREFIX):
                await runner.remove(config.name)
        await asyncio.to_thread(self._forget)
        runner.changed()
        await self.stop()
        get_logger().info("demo.left", reason="a source has answered")

    # -- what the record holds -------------------------------------------------
    def _first(self) -> bool:
        """Whether nothing else is followed, or it was shown before and nobody answered since."""
        sources = self._record.sources()
        return not _real(sources) or any(s.name.startswith(PREFIX) for s in sources)

    def _holds_real(self) -> bool:
        stats = self._record.source_stats()
        return any(
            stands.last_document_at is not None
            for name, stands in stats.items()
            if not name.startswith(PREFIX)
        )

    def _remember(self) -> None:
        """Configure the demo's sources, and load the past that they would have brought by now."""
        assert self._town is not None  # noqa: S101 - both callers have looked
        now = self._clock.now()
        configs = self._town.sources()
        known = self._record.source_stats()
        seen = [known[c.name].last_document_at for c in configs if c.name in known]
        last = max((moment for moment in seen if moment is not None), default=None)
        for config in configs:
            self._record.put_source(config)
        self._record.load(self._town.history(now, since=last), now=now)
        self._shown = True

    def _forget(self) -> None:
        """Remove sources and documents of the demo: nobody may take them for news."""
        now = self._clock.now()
        names = {c.name for c in self._record.sources()} | set(self._record.source_stats())
        for name in sorted(n for n in names if n.startswith(PREFIX)):
            while self._record.retain(name, _EVERYTHING, now=now).entries:
                pass
            self._record.drop_source(name)


def _real(sources: list[SourceConfig]) -> list[SourceConfig]:
    return [s for s in sources if not s.name.startswith(PREFIX)]


def _reached(runner: Runner) -> bool:
    """Whether a real source has answered since the start, or brought something ever."""
    return any(
        s.last_document_at or (s.last_seen_at and s.state in ("live", "polling", "done"))
        for s in runner.states()
        if not s.name.startswith(PREFIX)
    )
