"""A standing query: asked of a web search service now and then; what it finds for the first time
is fetched and read, under robots rules.

Keys are `<source name>#<address>`. A service that lists everything by date leaves no hole unseen:
if its whole list is new, that is a gap. Others rank, and promise no completeness; neither does
this.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Literal

import msgspec
from pydantic import Field, SecretStr, model_validator

from gnomon.clock import from_us, to_us
from gnomon.errors import ContentError
from gnomon.extract.urls import canonical_url
from gnomon.sources.base import Context, SourceSettings, SourceSpec, reveal
from gnomon.sources.polling import short_hash
from gnomon.sources.reading import Allowance, Tip, read_pages
from gnomon.sources.remembered import Remembered
from gnomon.types import Batch, Change, Cursor, Gap, Policy, SourceConfig, Upsert
from gnomon.websearch.base import Budget, Hit
from gnomon.websearch.client import MAX_QUERY_CHARS, open_search
from gnomon.websearch.services import SERVICES

_BATCH_PAGES = 8
_REMEMBERED = 2_000
_OVERLAP = timedelta(days=1)
"""Services learn of pages late."""
_MOST_WORDS = 12


class SearchSettings(SourceSettings):
    """Settings of one standing query."""

    query: str = Field(min_length=1, max_length=MAX_QUERY_CHARS, description="What to look for.")
    provider: Literal["gdelt", "wikipedia", "hn", "searxng", "brave", "tavily", "exa", "kagi"] = (
        Field("gdelt", description="Which service is asked.")
    )
    key: SecretStr | None = Field(
        None, description="The service's key, best as `env:NAME` or `file:PATH`."
    )
    url: str = Field("", description="Address of your own SearXNG, or of a proxy of the service.")
    lang: str = Field("", description="Language of the results, where the service can tell.")
    interval_s: float = Field(3_600.0, ge=60, description="Time between two questions.")
    results: int = Field(20, ge=1, le=250, description="Results that are asked for.")
    backfill_days: float = Field(2.0, ge=0, le=365, description="How far back the first look goes.")
    read: bool = Field(True, description="Fetch the pages; else keep what the service says.")
    pages_per_hour: int = Field(60, ge=1, le=3_600, description="Pages that are fetched at most.")
    requests_per_day: int = Field(0, ge=0, description="Questions a day; 0: no bound of its own.")
    usd_per_day: float = Field(0.5, gt=0, description="Dollars a day, where a service costs.")

    @model_validator(mode="after")
    def _complete(self) -> SearchSettings:
        service = SERVICES[self.provider]
        if service.needs_key and self.key is None:
            raise ValueError(f"{service.title} needs a key: set key to env:NAME or file:PATH")
        if not service.base and not self.url:
            raise ValueError(f"{service.title} needs an address: set url to it")
        return self


class _Memory(Remembered, msgspec.Struct, omit_defaults=True):
    """The cursor, opened."""

    configured: str
    seen: dict[str, int] = {}
    """Short hash of an address to the minute at which it last changed; 0 if that is unknown."""
    asked_us: int = 0
    budget: Budget = msgspec.field(default_factory=Budget)
    allowance: Allowance = msgspec.field(default_factory=Allowance)

    @classmethod
    def restore(cls, cursor: Cursor | None, settings: SearchSettings) -> _Memory:
        configured = f"{settings.provider} {settings.query}"
        memory = cls.read(cursor)
        if memory is None or memory.configured != configured:
            memory = cls(configured=configured)
        memory.budget.requests_per_day = settings.requests_per_day
        memory.budget.usd_per_day = settings.usd_per_day
        return memory

    def wants(self, hit: Hit) -> bool:
        return self.seen.get(short_hash(canonical_url(hit.url))) != _changed(hit)

    def note(self, hits: Sequence[Hit]) -> None:
        for hit in hits:
            hashed = short_hash(canonical_url(hit.url))
            self.seen.pop(hashed, None)
            self.seen[hashed] = _changed(hit)
        for hashed in list(self.seen)[:-_REMEMBERED]:
            del self.seen[hashed]


def _changed(hit: Hit) -> int:
    return to_us(hit.updated_at) // 60_000_000 if hit.updated_at is not None else 0


async def follow(ctx: Context, cursor: Cursor | None) -> AsyncIterator[Batch]:
    """Ask again and again; see the module's promise."""
    settings: SearchSettings = ctx.settings
    memory = _Memory.restore(cursor, settings)
    search = open_search(
        settings.provider,
        fetcher=ctx.fetcher,
        clock=ctx.clock,
        key=reveal(settings.key) if settings.key is not None else "",
        url=settings.url,
        lang=settings.lang,
        budget=memory.budget,
    )
    while True:
        wait_s = settings.interval_s * ctx.rng.uniform(1.0, 1.1)
        trouble = ""
        asked_at = ctx.clock.now()
        hits: Sequence[Hit] = ()
        try:
            hits = await search.search(
                settings.query, _since(memory, settings, asked_at), settings.results
            )
        except ContentError as error:
            ctx.count(error.code)
            trouble = error.message
        fresh = list({canonical_url(h.url): h for h in hits if memory.wants(h)}.values())
        gap = _outrun(memory, settings, hits, fresh, asked_at)
        fresh.sort(key=lambda h: to_us(h.published_at) if h.published_at else 0)
        late_s = 0.0
        while fresh and not late_s:
            part: list[Hit] = []
            while fresh and len(part) < _BATCH_PAGES and not late_s:
                if settings.read:
                    late_s = memory.allowance.take(ctx.clock.now(), settings.pages_per_hour)
                if not late_s:
                    part.append(fresh.pop(0))
            changes: list[Change] = [gap] if gap is not None else []
            gap = None
            changes += await _documents(ctx, part)
            memory.note(part)
            if not fresh:
                memory.asked_us = to_us(asked_at)
            yield Batch(tuple(changes), memory.cursor())
        if not fresh and not trouble and memory.asked_us != to_us(asked_at):
            memory.asked_us = to_us(asked_at)
            yield Batch((), memory.cursor())
        if late_s:
            wait_s = max(min(wait_s, late_s), 1.0)
        ctx.heard(state="retrying" if trouble else "", text=trouble, next_in_s=wait_s)
        await ctx.clock.sleep(wait_s)


def _since(memory: _Memory, settings: SearchSettings, now: datetime) -> datetime:
    if not memory.asked_us:
        return now - timedelta(days=settings.backfill_days)
    return from_us(memory.asked_us) - _OVERLAP


def _outrun(
    memory: _Memory,
    settings: SearchSettings,
    hits: Sequence[Hit],
    fresh: Sequence[Hit],
    now: datetime,
) -> Gap | None:
    """A gap if a list by date is full and holds nothing that was seen before."""
    service = SERVICES[settings.provider]
    full = len(hits) >= min(settings.results, service.most)
    if not (service.by_date and memory.asked_us and memory.seen and full):
        return None
    dates = [h.published_at for h in hits if h.published_at is not None]
    asked = from_us(memory.asked_us)
    if len(fresh) < len(hits) or not dates or min(dates) <= asked:
        return None
    return Gap(
        reason="More was found between two questions than the service lists at once.",
        start=asked,
        end=min(min(dates), now),
    )


async def _documents(ctx: Context, hits: Sequence[Hit]) -> list[Change]:
    settings: SearchSettings = ctx.settings
    tips = [_tip(ctx, hit) for hit in hits]
    if not settings.read:
        found = [tip.document(ctx.config.name, SOURCE.policy) for tip in tips]
        return [Upsert(document) for document in found if document is not None]
    reads = await read_pages(ctx, tips, policy=SOURCE.policy)
    return [Upsert(read.document) for read in reads if read.document is not None]


def _tip(ctx: Context, hit: Hit) -> Tip:
    return Tip(
        key=f"{ctx.config.name}#{canonical_url(hit.url)}",
        url=hit.url,
        title=hit.title,
        text=hit.snippet,
        lang=hit.lang,
        published_at=hit.published_at,
        date_source="search" if hit.published_at else "",
        extra={"found_by": hit.provider, **({"hit": dict(hit.extra)} if hit.extra else {})},
    )


def identify(text: str) -> SourceConfig | None:
    """A phrase of a few words; a single word only with `search:` in front of it."""
    words = text.split()
    phrase = " ".join(words)
    if not 2 <= len(words) <= _MOST_WORDS or len(phrase) > MAX_QUERY_CHARS:
        return None
    if not phrase.isprintable() or "://" in phrase or phrase[0] in "/.~@#":
        return None
    return config_for(phrase)


def config_for(query: str) -> SourceConfig:
    """The configuration that looks for `query` in the news of the world, without a key."""
    return SourceConfig(
        name=f"search:{query.lower()}"[:200],
        type="search",
        title=f"News about: {query}"[:200],
        settings={"query": query},
    )


SOURCE = SourceSpec(
    name="search",
    title="Standing queries to web search services",
    docs_url="reference/sources/search",
    follow=follow,
    settings=SearchSettings,
    policy=Policy(),
    identify=identify,
    examples=("search:bridge repairs",),
)
