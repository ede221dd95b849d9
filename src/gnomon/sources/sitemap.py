"""Sites without a feed, followed by their sitemaps: what is new there is fetched and read.

`lastmod` in an index decides which of its files are opened. In a file, an address is news when its
date (the later of `lastmod` and the news date) differs from the one remembered. A changed date
fetches the page again; a page that is gone then is deleted. An address that leaves the file is
not: old is not deleted. Newest come first, and so many an hour as is allowed.

The cursor remembers the addresses of the last days and, for each file, what it was recognised by
once everything in it was handed over.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import msgspec
from pydantic import Field, field_validator

from gnomon.clock import from_us, to_us
from gnomon.errors import ContentError, UpstreamTransient
from gnomon.sources.base import Context, SourceSettings, SourceSpec
from gnomon.sources.polling import (
    REFUSED_RETRY_S,
    Validators,
    WebAddress,
    ask,
    name_for,
    poll,
    short_hash,
    web_address,
)
from gnomon.sources.reading import Allowance, Read, Tip, read_page
from gnomon.sources.remembered import Remembered
from gnomon.sources.schedule import adapt, next_poll_s
from gnomon.sources.sitemap_xml import MAX_SITEMAP_BYTES, Sitemap, SitemapEntry, read_sitemap
from gnomon.types import Batch, Change, Cursor, Delete, Gap, Policy, SourceConfig, Upsert

_BATCH_PAGES = 8
_MAX_FILES = 50
"""Files of one index that are opened in one poll."""
_MAX_INDEX_DEPTH = 3
_WINDOW = timedelta(days=3)
"""How long addresses are remembered; older ones are not looked at."""
_REMEMBERED = 4_000
_TRIES = 3
_SITEMAP_LIKE = re.compile(
    r"/[^/]*sitemap[^/]*\.(xml|xml\.gz|gz)$|/sitemap(_index|-index|-news)?/?$"
)
_ROBOTS_LINE = re.compile(rb"^\s*sitemap\s*:\s*(\S+)", re.IGNORECASE | re.MULTILINE)


class SitemapSettings(SourceSettings):
    """Settings of one site that is followed by its sitemaps."""

    url: WebAddress = Field(description="Address of a sitemap, an index, or the site's robots.txt.")
    interval_s: float | None = Field(
        None, ge=0.05, description="Fixed time between looks; none adapts to how often it changes."
    )
    backfill_days: float = Field(2.0, ge=0, le=365, description="How far back the first look goes.")
    pages_per_hour: int = Field(60, ge=1, le=3_600, description="Pages that are fetched at most.")
    include: str = Field("", description="Regular expression that addresses must match, if any.")
    kind: str = Field("article", description="Kind of the documents.")

    @field_validator("include")
    @classmethod
    def _compiles(cls, text: str) -> str:
        try:
            re.compile(text)
        except re.error as error:
            raise ValueError(f"is no regular expression: {error}") from None
        return text


class _File(msgspec.Struct, omit_defaults=True):
    """What is known of one file that was read to its end."""

    validators: Validators = Validators()
    claimed_us: int = 0
    """The index's `lastmod` for it."""
    newest_us: int = 0


class _Memory(Remembered, msgspec.Struct, omit_defaults=True):
    """The cursor, opened."""

    configured: str
    start_us: int = 0
    """Nothing older than this was ever wanted."""
    files: dict[str, _File] = {}
    seen: dict[str, int] = {}
    """Short hash of an address to the minute that it claimed; 0 where it claims none."""
    tries: dict[str, int] = {}
    allowance: Allowance = msgspec.field(default_factory=Allowance)
    adaptive_s: float = 3_600.0

    @classmethod
    def restore(cls, cursor: Cursor | None, settings: SitemapSettings, now: datetime) -> _Memory:
        memory = cls.read(cursor)
        if memory is None or memory.configured != settings.url:
            start = now - timedelta(days=settings.backfill_days)
            memory = cls(configured=settings.url, start_us=to_us(start))
        return memory

    def wants(self, entry: SitemapEntry) -> bool:
        moment = entry.moment
        known = self.seen.get(short_hash(entry.url))
        if moment is None:
            return known is None
        return to_us(moment) >= self.start_us and known != _minute(moment)

    def note(self, entry: SitemapEntry) -> None:
        hashed = short_hash(entry.url)
        self.tries.pop(hashed, None)
        self.seen[hashed] = _minute(entry.moment)

    def prune(self) -> int:
        """Forget what is too old; the number of those that there was no room for."""
        newest = max(self.seen.values(), default=0)
        floor = newest - int(_WINDOW.total_seconds() // 60)
        kept = {h: m for h, m in self.seen.items() if not m or m >= floor}
        crowded = max(len(kept) - _REMEMBERED, 0)
        if crowded:
            # Those without a date go first: they are the least worth remembering.
            kept = dict(sorted(kept.items(), key=lambda pair: pair[1])[crowded:])
            floor = max(floor, min(kept.values()))
        self.seen = kept
        self.start_us = max(self.start_us, floor * 60_000_000)
        return crowded


def _minute(moment: datetime | None) -> int:
    return to_us(moment) // 60_000_000 if moment is not None else 0


class _Look:
    """One look at the whole site."""

    def __init__(self, ctx: Context, memory: _Memory) -> None:
        self.ctx = ctx
        self.memory = memory
        self.settings: SitemapSettings = ctx.settings
        self.brought = 0
        self.fresh_s: list[float | None] = []
        self.wait_s = 0.0
        """Until pages may be fetched again, when the hour's allowance ran out."""
        self.trouble = ""
        self._opened = 0
        self._unfinished = 0
        """Files of which something is left for the next look."""

    async def run(self) -> AsyncGenerator[Batch, None]:
        for url in await self._roots():
            async with aclosing(self._file(url, None, 0)) as batches:
                async for batch in batches:
                    yield batch

    async def _roots(self) -> Sequence[str]:
        url = self.settings.url
        if urlsplit(url).path != "/robots.txt":
            return (url,)
        response = await ask(self.ctx, url, purpose="feed")
        if response.status != 200:
            raise _missing(url, response.status)
        found = (line.decode("utf-8", "replace") for line in _ROBOTS_LINE.findall(response.body))
        roots = tuple(dict.fromkeys(link for text in found if (link := web_address(text))))
        if not roots:
            raise UpstreamTransient(
                f"{url} names no sitemap.",
                code="sitemap.none",
                retry_after_s=REFUSED_RETRY_S,
                hint="Give the address of a sitemap, or follow the site's feed.",
                url=url,
            )
        return roots[:_MAX_FILES]

    async def _file(
        self, url: str, claimed: datetime | None, depth: int
    ) -> AsyncGenerator[Batch, None]:
        """Open one file and hand over what is new in it."""
        ctx, memory = self.ctx, self.memory
        name = short_hash(url)
        known = memory.files.get(name, _File())
        try:
            answer = await poll(
                ctx,
                url,
                purpose="feed",
                known=known.validators,
                max_body_bytes=MAX_SITEMAP_BYTES,
            )
            self.fresh_s.append(answer.fresh_s)
            if answer.response.status in (404, 410):
                if not depth:
                    raise _missing(url, answer.response.status)
                ctx.count(f"sitemap.{answer.response.status}")
                self._unfinished += 1
                return
            if not answer.changed:
                if claimed is not None and name in memory.files:
                    memory.files[name].claimed_us = to_us(claimed)
                return
            sitemap = await asyncio.to_thread(
                read_sitemap,
                answer.response.body,
                url=answer.response.url,
                now=ctx.clock.now(),
                future_tolerance=timedelta(seconds=ctx.limits.future_tolerance_s),
            )
        except ContentError as error:
            ctx.count(error.code)
            self.trouble = self.trouble or error.message
            self._unfinished += 1
            return
        for note, n in sitemap.notes.items():
            ctx.count(note, n)
        done = _File(validators=answer.validators, claimed_us=to_us(claimed) if claimed else 0)
        if sitemap.kind == "index":
            before = self._unfinished
            async with aclosing(self._index(sitemap, depth)) as batches:
                async for batch in batches:
                    yield batch
            # Files without a date of their own must be asked each time.
            if self._unfinished == before and all(e.lastmod for e in sitemap.entries):
                memory.files[name] = done
            return
        gap = _rolled_over(sitemap, known)
        if gap is not None and gap.end is not None:
            memory.files[name] = _File(newest_us=to_us(gap.end))
            yield Batch((gap,), memory.cursor())
        async with aclosing(self._pages(sitemap, first=name not in memory.files)) as batches:
            async for batch in batches:
                yield batch
        if self.wait_s or any(short_hash(e.url) in memory.tries for e in sitemap.entries):
            self._unfinished += 1
            return
        done.newest_us = max((to_us(e.moment) for e in sitemap.entries if e.moment), default=0)
        memory.files[name] = done
        yield Batch((), memory.cursor())

    async def _index(self, sitemap: Sitemap, depth: int) -> AsyncGenerator[Batch, None]:
        if depth >= _MAX_INDEX_DEPTH:
            self.ctx.count("sitemap.too_deep")
            return
        newest_first = sorted(
            sitemap.entries, key=lambda e: to_us(e.lastmod) if e.lastmod else 1 << 62, reverse=True
        )
        for entry in newest_first:
            if entry.lastmod is not None:
                known = self.memory.files.get(short_hash(entry.url))
                last_us = known.claimed_us if known is not None else self.memory.start_us - 1
                if to_us(entry.lastmod) <= last_us:
                    continue
            self._opened += 1
            if self._opened > _MAX_FILES:
                self.ctx.count("sitemap.not_opened")
                self._unfinished += 1
                continue
            async with aclosing(self._file(entry.url, entry.lastmod, depth + 1)) as batches:
                async for batch in batches:
                    yield batch
            if self.wait_s:
                return

    async def _pages(self, sitemap: Sitemap, *, first: bool) -> AsyncGenerator[Batch, None]:
        memory, settings = self.memory, self.settings
        include = re.compile(settings.include)
        wanted = [e for e in sitemap.entries if memory.wants(e) and include.search(e.url)]
        if first:
            # Without dates nothing tells what is new; what is there at first is taken as old.
            for entry in wanted:
                if entry.moment is None:
                    memory.note(entry)
            wanted = [e for e in wanted if e.moment is not None]
        wanted.sort(key=lambda e: _minute(e.moment), reverse=True)
        changes: list[Change] = []
        pages = 0
        for entry in wanted:
            self.wait_s = memory.allowance.take(self.ctx.clock.now(), settings.pages_per_hour)
            if self.wait_s:
                break
            change = await self._read(entry)
            if change is not None:
                changes.append(change)
            pages += 1
            if pages >= _BATCH_PAGES:
                yield self._batch(changes)
                changes, pages = [], 0
        if pages:
            yield self._batch(changes)

    def _batch(self, changes: list[Change]) -> Batch:
        self.brought += len(changes)
        if crowded := self.memory.prune():
            self.ctx.count("sitemap.crowded", crowded)
        return Batch(tuple(changes), self.memory.cursor())

    async def _read(self, entry: SitemapEntry) -> Change | None:
        memory, hashed = self.memory, short_hash(entry.url)
        tip = _tip(entry, self.ctx.config)
        read = await read_page(self.ctx, tip, policy=SOURCE.policy, kind=self.settings.kind)
        tries = memory.tries.get(hashed, 0) + 1
        if read.outcome == "failed" and tries < _TRIES:
            memory.tries[hashed] = tries
            return None
        known = hashed in memory.seen
        memory.note(entry)
        return _change(read, tip.key, known=known)


def _change(read: Read, key: str, *, known: bool) -> Change | None:
    if read.outcome == "gone":
        return Delete(key=key) if known else None
    # What could not be read again must not replace what was read before.
    if read.document is None or (known and read.outcome != "read"):
        return None
    return Upsert(read.document)


def _tip(entry: SitemapEntry, config: SourceConfig) -> Tip:
    published = entry.published_at
    return Tip(
        key=f"{config.name}#{entry.url}",
        url=entry.url,
        title=entry.title,
        lang=entry.lang,
        published_at=published,
        date_source="news-sitemap" if published else "",
        extra={"site": entry.site} if entry.site else {},
    )


def _rolled_over(sitemap: Sitemap, known: _File) -> Gap | None:
    """A gap if a news sitemap holds nothing any more that was there at the last look."""
    dated = [to_us(e.published_at) for e in sitemap.entries if e.published_at]
    if not known.newest_us or not dated or len(dated) < len(sitemap.entries):
        return None
    if min(dated) <= known.newest_us:
        return None
    return Gap(
        reason="The news sitemap moved on entirely between two looks.",
        start=from_us(known.newest_us),
        end=from_us(min(dated)),
    )


def _missing(url: str, status: int) -> UpstreamTransient:
    return UpstreamTransient(
        f"{url} answers {status}: there is no sitemap.",
        code="source.not_found",
        retry_after_s=REFUSED_RETRY_S,
        hint="Look for `Sitemap:` lines in the site's robots.txt.",
        url=url,
        status=status,
    )


async def follow(ctx: Context, cursor: Cursor | None) -> AsyncIterator[Batch]:
    """Look at the sitemaps for ever; see the module's promise."""
    settings: SitemapSettings = ctx.settings
    memory = _Memory.restore(cursor, settings, ctx.clock.now())
    while True:
        look = _Look(ctx, memory)
        async with aclosing(look.run()) as batches:
            async for batch in batches:
                yield batch
        memory.adaptive_s = adapt(memory.adaptive_s, changed=bool(look.brought), limits=ctx.limits)
        wait_s = next_poll_s(
            memory.adaptive_s,
            hints=look.fresh_s,
            fixed=settings.interval_s,
            limits=ctx.limits,
            rng=ctx.rng,
        )
        wait_s = max(min(wait_s, look.wait_s), 1.0) if look.wait_s else wait_s
        text = look.trouble
        if not text and look.wait_s:
            text = f"{settings.pages_per_hour} pages were fetched this hour; the rest comes later"
        ctx.heard(state="retrying" if look.trouble else "", text=text, next_in_s=wait_s)
        await ctx.clock.sleep(wait_s)


def identify(text: str) -> SourceConfig | None:
    """A sitemap by its address; a bare site, if the connector's name stood in front of it."""
    url = web_address(text)
    if not url or not _SITEMAP_LIKE.search(urlsplit(url).path.lower()):
        return None
    return config_for(url)


def config_for(url: str, title: str = "") -> SourceConfig:
    """The configuration that follows the sitemap at `url`; for a site, the one it names itself."""
    parts = urlsplit(url)
    if parts.path in ("", "/"):
        url = f"{parts.scheme}://{parts.netloc}/robots.txt"
    name = name_for("sitemap", url).removesuffix("/robots.txt")
    return SourceConfig(name=name, type="sitemap", title=title, settings={"url": url})


SOURCE = SourceSpec(
    name="sitemap",
    title="Sites followed by their sitemaps",
    docs_url="reference/sources/sitemap",
    follow=follow,
    settings=SitemapSettings,
    policy=Policy(),
    identify=identify,
    examples=("sitemap:https://example.org/sitemap.xml",),
)
