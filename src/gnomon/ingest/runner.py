"""Sources to record to index, supervised.

Each source has a task that follows it and tries again by the class of the error. What a source
brings goes through `Flow`. A cursor travels only inside a batch, and a source is followed again
only from a cursor that is durable: a batch that was cut off is asked for once more, never skipped.
"""

from __future__ import annotations

import asyncio
import difflib
import random
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from functools import partial
from typing import cast

import msgspec

from gnomon.clock import Clock
from gnomon.errors import ConfigError, StoreError
from gnomon.index.base import Index
from gnomon.ingest.context import PokedClock, SourceContext
from gnomon.ingest.flow import Flow
from gnomon.ingest.health import TROUBLE, Health, error_code
from gnomon.ingest.states import PREFIX, last_noted, noted_state, state_as_of, state_now
from gnomon.log import get_logger
from gnomon.metrics import SOURCE_CHANGES, SOURCE_ERRORS, SOURCE_LAG
from gnomon.net.base import Fetcher
from gnomon.net.budget import Budget, Metered
from gnomon.record.base import Entry, Record
from gnomon.settings import Settings
from gnomon.sources.base import SourceSettings, SourceSpec
from gnomon.sources.registry import Registry
from gnomon.sources.websub import Subscriptions
from gnomon.types import (
    Answer,
    Batch,
    Change,
    Document,
    Notice,
    SourceConfig,
    SourceState,
    Upsert,
)

_SWEEP_S = 3_600.0
_SWEEP_VERSIONS = 2_000
_NOTE_S = 60.0
_NOTICES = 1_000


class _Followed:
    """One configured source: who follows it, and how it stands."""

    def __init__(self, config: SourceConfig, clock: PokedClock, health: Health) -> None:
        self.config = config
        self.clock = clock
        self.health = health
        self.task: asyncio.Task[None] | None = None
        self.ctx: SourceContext | None = None
        self.noted = "well"


class Runner:
    """Follows all configured sources. All methods belong to one event loop."""

    def __init__(
        self,
        record: Record,
        index: Index,
        fetcher: Fetcher,
        clock: Clock,
        rng: random.Random,
        settings: Settings,
        registry: Registry,
    ) -> None:
        self._record = record
        self._fetcher = fetcher
        self._clock = clock
        self._rng = rng
        self._settings = settings
        self._registry = registry
        self._flow = Flow(record, index, clock, settings)
        self._followed: dict[str, _Followed] = {}
        self._budgets: dict[str, Budget] = {}
        self.websub = Subscriptions(
            fetcher,
            clock,
            rng,
            public_url=settings.server.public_url,
            home=settings.home,
            on_news=self._told,
        )
        self._changing = asyncio.Lock()
        self._upkeep: list[asyncio.Task[None]] = []
        self._stopped = asyncio.Event()
        self._resting = False
        self._released = asyncio.Event()

    # -- the core -------------------------------------------------------------
    async def _follow(self, source: _Followed, spec: SourceSpec, ctx: SourceContext) -> None:
        """Follow one source until cancelled: hand over what it brings, try again after trouble."""
        name = source.config.name
        await self._released.wait()
        while True:
            wait_s: float | None = None
            source.health.began()
            try:
                await self._flow.settled(name)
                cursor = await self._flow.read(partial(self._record.cursor, name))
                stream = cast(AsyncGenerator[Batch, None], spec.follow(ctx, cursor))
                async with aclosing(stream) as batches:
                    async for batch in batches:
                        _measure(name, batch, self._clock.now())
                        await self._flow.put(name, batch)
                await self._flow.settled(name)
                source.health.ended()
            except StoreError as error:
                self._flow.fail(error)  # ours, not the source's: everything stops
                return
            except Exception as error:  # a connector may fail in any way; the others live on
                wait_s = source.health.troubled(error)
                SOURCE_ERRORS.labels(name, error_code(error)).inc()
                get_logger().warning(
                    "source.failed", source=name, code=error_code(error), reason=str(error)
                )
            await source.clock.wait(wait_s)

    # -- life -----------------------------------------------------------------
    async def start(self, *, follow: bool = True, held: bool = False) -> None:
        """Follow what is configured, and index what an earlier run left behind.

        Without `follow` sources rest: they can be listed and changed, and nothing goes out. With
        `held` they begin at `release`: a server answers first, and follows then.
        """
        self._resting = not follow
        if not held:
            self.release()
        await self.websub.open()
        self._flow.start()
        for config in await self._flow.read(self._record.sources):
            await self._begin(config)
        # At rest there is nothing to note, and the record should not say that sources paused.
        upkeep = (self._sweep(), self._note_states(), self.websub.run()) if follow else ()
        for work in (*upkeep, self._watch_flow()):
            self._upkeep.append(asyncio.create_task(work))

    def release(self) -> None:
        """Let sources begin that a `held` start kept waiting."""
        self._released.set()

    async def stop(self) -> None:
        """Stop following; everything handed over becomes durable and searchable first.

        Raises the StoreError that had stopped the runner before, if there was one.
        """
        for task in self._upkeep:
            task.cancel()
        await asyncio.gather(*self._upkeep, return_exceptions=True)
        async with self._changing:
            await self._halt(*self._followed.values())
        await self._flow.stop()
        self._stopped.set()
        self._flow.check()

    async def wait(self) -> None:
        """Until the runner stops. Raises the StoreError that stopped it, if one did."""
        await self._stopped.wait()
        self._flow.check()

    async def _watch_flow(self) -> None:
        await self._flow.failed.wait()
        await self._halt(*self._followed.values())
        self._stopped.set()

    # -- sources --------------------------------------------------------------
    async def add(self, config: SourceConfig) -> None:
        """Follow a source from now on, also after a restart; replaces one of the same name.

        Raises ConfigError if its connector or settings are wrong.
        """
        self._registry.settings(config)
        async with self._changing:
            await self._replace(config)

    async def remove(self, name: str) -> None:
        """Follow a source no more. What it brought, and where it stood, stays."""
        async with self._changing:
            source = self._find(name)
            await self._halt(source)
            await self._flow.settled(name)
            await self._flow.store(partial(self._record.drop_source, name))
            self.websub.forget(name)
            del self._followed[name]

    async def pause(self, name: str) -> None:
        """Rest, also after a restart, until `resume`."""
        async with self._changing:
            await self._replace(msgspec.structs.replace(self._find(name).config, paused=True))

    async def resume(self, name: str) -> None:
        """Go on where the source was paused."""
        async with self._changing:
            await self._replace(msgspec.structs.replace(self._find(name).config, paused=False))

    async def deliver(self, source: str, changes: Sequence[Change]) -> None:
        """Take in what did not come from a connector (an upload); durable on return."""
        await self._flow.put(source, Batch(tuple(changes)))
        await self._flow.settled(source)

    def poll_now(self, name: str) -> None:
        """Do not wait for the next poll or try."""
        self._find(name).clock.poke()

    def shown(self, answer: Answer) -> None:
        """An answer is shown: the sources of what it shows may have duties."""
        for key, source, url in _shown(answer):
            self._show(key, source, url)

    def listed(self, documents: Iterable[Document]) -> None:
        """These documents are shown outside an answer: the same duties are owed to them."""
        for document in documents:
            self._show(document.key, document.source, document.url)

    def _show(self, key: str, source: str, url: str) -> None:
        followed = self._followed.get(source)
        if followed is not None and followed.ctx is not None:
            followed.ctx.shown(key, url)

    def _told(self, name: str) -> None:
        """A hub says that there is news in this source."""
        if name in self._followed:
            self._followed[name].clock.poke()

    def _find(self, name: str) -> _Followed:
        if name not in self._followed:
            near = difflib.get_close_matches(name, self._followed, n=1)
            hint = f"Did you mean {near[0]}?" if near else "`gnomon sources list` shows them all."
            raise ConfigError(
                f"No source is called {name!r}.", code="source.unknown", hint=hint, source=name
            )
        return self._followed[name]

    async def _replace(self, config: SourceConfig) -> None:
        if config.name in self._followed:
            await self._halt(self._followed[config.name])
        await self._flow.store(partial(self._record.put_source, config))
        await self._begin(config)

    async def _begin(self, config: SourceConfig) -> None:
        clock, limits = PokedClock(self._clock), self._settings.ingest
        spec = self._registry.specs.get(config.type)
        well = spec.state if spec is not None else "polling"
        health = Health(well, clock=clock, limits=limits, rng=self._rng)
        source = self._followed[config.name] = _Followed(config, clock, health)
        notices = await self._flow.read(partial(self._record.notices, config.name))
        source.noted = last_noted(notices)
        if config.paused or self._resting:
            health.paused()
            return
        try:
            settings = self._registry.settings(config)
            source.ctx = ctx = SourceContext(
                config,
                settings,
                fetcher=Metered(self._fetcher, self._budget(config.name, settings)),
                clock=clock,
                rng=self._rng,
                limits=limits,
                health=health,
                held=partial(self._held, config.name),
                subscribed=partial(self.websub.subscribed, config.name),
                contact=self._settings.net.contact,
            )
            follow = self._follow(source, self._registry.get(config.type), ctx)
        except ConfigError as error:  # a connector that is gone must not keep others from starting
            health.refused(error)
            get_logger().error("source.refused", source=config.name, reason=str(error))
            return
        source.task = asyncio.create_task(follow, name=f"source {config.name}")

    async def _held(
        self, name: str, since: datetime | None, limit: int
    ) -> Sequence[tuple[str, datetime]]:
        # What was handed over counts as held, or a duty towards it could be missed.
        await self._flow.settled(name)
        return await self._flow.read(partial(self._record.held, name, since, limit))

    def _budget(self, name: str, settings: SourceSettings) -> Budget:
        """What this source may ask for; what it spent today outlives a pause."""
        limits = self._settings.ingest
        budget = self._budgets.get(name)
        if budget is None:
            budget = self._budgets[name] = Budget(name, self._clock)
        budget.max_requests = settings.max_requests_per_day or limits.max_requests_per_day
        budget.max_bytes = (settings.max_mib_per_day or limits.max_mib_per_day) * 1_048_576
        return budget

    async def _halt(self, *sources: _Followed) -> None:
        tasks = [source.task for source in sources if source.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- looking on -----------------------------------------------------------
    def states(self, as_of: datetime | None = None) -> list[SourceState]:
        """How every configured source stands, or stood at `as_of`, by name."""
        if as_of is None and self._resting:
            as_of = self._clock.now()  # what the last run noted is what is known
        stats = self._record.source_stats(as_of)
        # Answers ask from other threads: a copy is taken in one step.
        sources = sorted(self._followed.copy().values(), key=lambda s: s.config.name)
        if as_of is None:
            hold = self._flow.trouble
            return [state_now(s.config, s.health, stats.get(s.config.name), hold) for s in sources]
        return [
            state_as_of(
                s.config,
                s.health.well,
                stats.get(s.config.name),
                self._record.notices(s.config.name, _NOTICES),
                as_of,
            )
            for s in sources
        ]

    def subscribe(self, after_seq: int) -> AsyncGenerator[Entry, None]:
        """Every log entry after `after_seq`, as soon as it is durable; ends with the runner."""
        return self._flow.subscribe(after_seq)

    async def wait_indexed(self, seq: int, timeout_s: float) -> bool:
        """Until everything up to `seq` is searchable; False if that takes longer."""
        return await self._flow.wait_indexed(seq, timeout_s)

    def changed(self) -> None:
        """Another hand wrote to the record (an import): index that, too."""
        self._flow.changed()

    @property
    def index_lag_s(self) -> float:
        """Age of the oldest entry that is durable but not yet searchable."""
        return self._flow.lag_s

    @property
    def queued_batches(self) -> int:
        """Batches that wait for the record."""
        return self._flow.queued

    # -- upkeep ---------------------------------------------------------------
    async def _sweep(self) -> None:
        """Remove what retention no longer keeps, once an hour."""
        days = self._settings.record.keep_days
        usual = timedelta(days=days) if days is not None else None
        while True:
            for source in list(self._followed.values()):
                keep = source.config.keep or usual
                try:
                    while keep is not None and await self._drop_old(source.config.name, keep):
                        pass
                except StoreError as error:  # for good: the flow has stopped; else: try later
                    get_logger().error("retention.failed", reason=str(error))
            await self._clock.sleep(_SWEEP_S)

    async def _drop_old(self, name: str, keep: timedelta) -> bool:
        """Remove a few old versions; whether there were any."""
        retain = partial(
            self._record.retain, name, keep, now=self._clock.now(), limit=_SWEEP_VERSIONS
        )
        return bool((await self._flow.store(retain)).entries)

    async def _note_states(self) -> None:
        """Keep in the record how sources stood, so that answers about the past can say so."""
        while True:
            await self._clock.sleep(_NOTE_S)
            for source in list(self._followed.values()):
                state = noted_state(source.health)
                if state != source.noted and source.health.noteworthy:
                    source.noted = state
                    level = "warning" if state in TROUBLE else "info"
                    text = source.health.sentence()
                    notice = Notice(code=f"{PREFIX}{state}", text=text, level=level)
                    await self._flow.put(source.config.name, Batch((notice,)))


def _shown(answer: Answer) -> Iterator[tuple[str, str, str]]:
    """Key, source and address of every document whose words an answer shows."""
    cited = [*answer.citations, *(d.citation for d in answer.disagreements)]
    cited += (s.citation for s in answer.superseded)
    if answer.closest is not None:
        cited.append(answer.closest)
    for citation in cited:
        yield citation.key, citation.source, citation.url
        for context in citation.context:
            yield context.key, context.source, context.url


def _measure(name: str, batch: Batch, now: datetime) -> None:
    ops = Counter(type(change).__name__.lower() for change in batch.changes)
    for op, n in ops.items():
        SOURCE_CHANGES.labels(name, op).inc(n)
    published = [
        at
        for change in batch.changes
        # A connector's naive date is for the record to refuse, with that one item.
        if isinstance(change, Upsert) and (at := change.document.published_at) and at.tzinfo
    ]
    if published:
        SOURCE_LAG.labels(name).set(max((now - max(published)).total_seconds(), 0.0))
