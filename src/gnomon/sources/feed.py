"""RSS, Atom and JSON feeds: polled gently, read completely, edits and tombstones included.

An entry's key is `<source name>#<id, else link, else hash>`. An edit is a change of its title,
text, author, link or language; dates alone are not, because many publishers renew them at will.
An entry that leaves the served window is not deleted: only a tombstone (RFC 6721) deletes. When
the window moved on entirely between two polls, the loss is recorded as a gap.

The cursor holds the address, the validators and the hashes of the window. It advances with the
entries it covers; the validators only with the last of them.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import msgspec
from pydantic import Field

from gnomon.clock import from_us, to_us
from gnomon.errors import ContentError, UpstreamError, UpstreamTerminal, UpstreamTransient
from gnomon.extract.base import FUTURE_TOLERANCE, Feed, FeedEntry
from gnomon.extract.feeds import parse_feed
from gnomon.extract.html import extract_page
from gnomon.net.base import Response
from gnomon.sources.base import Context, SourceSettings, SourceSpec
from gnomon.sources.polling import (
    REFUSED_RETRY_S,
    Answer,
    Validators,
    WebAddress,
    name_for,
    poll,
    short_hash,
    web_address,
)
from gnomon.sources.reading import claims_of
from gnomon.sources.remembered import Remembered
from gnomon.sources.schedule import adapt, estimate_s, next_poll_s, rhythm_s
from gnomon.sources.websub import POLL_S, discover
from gnomon.types import (
    Batch,
    Change,
    Cursor,
    Delete,
    Document,
    Gap,
    Notice,
    Policy,
    SourceConfig,
    Upsert,
)

_ACCEPT = (
    "application/atom+xml, application/rss+xml, application/feed+json, "
    "application/xml;q=0.9, text/xml;q=0.9, application/json;q=0.8, */*;q=0.5"
)
_BATCH_ENTRIES = 200
_BATCH_PAGES = 8
"""With full texts each entry costs a fetch; a small batch loses little when interrupted."""
_REMEMBERED = 200
"""Entries remembered beyond the window, for those that flap at its edge."""
_DELETED = "-"
_KEEP_S = 3_600.0
_FEED_LIKE = re.compile(r"\.(rss|atom|rdf|xml)$|/(feed|feeds|rss|atom)(/|$|\.)|feed\.json$")


class FeedSettings(SourceSettings):
    """Settings of one feed."""

    url: WebAddress = Field(description="Address of the feed.")
    interval_s: float | None = Field(
        None, ge=0.05, description="Fixed time between polls; none adapts to the publisher."
    )
    full_text: bool = Field(
        False, description="Fetch each new entry's page and keep its text instead of the summary."
    )
    kind: str = Field("article", description="Kind of the documents.")
    lang: str = Field("", description="Language of the entries, where the feed claims none.")


def read_feed(
    body: bytes,
    *,
    config: SourceConfig,
    url: str,
    content_type: str = "",
    now: datetime,
    future_tolerance: timedelta = FUTURE_TOLERANCE,
) -> tuple[Feed, tuple[Document, ...]]:
    """What a poll of this body delivers: the feed, and its entries as documents, oldest first.

    Of a feed that was cut off, the last entry is left out: half of it would be a false version.
    Raises ContentError if the body is no feed.
    """
    settings = FeedSettings.model_validate(dict(config.settings))
    feed = parse_feed(
        body, url=url, content_type=content_type, now=now, future_tolerance=future_tolerance
    )
    documents: dict[str, Document] = {}
    whole = feed.entries[:-1] if "xml.cut" in feed.notes else feed.entries
    for entry in whole:
        document = _document(entry, feed, config, settings)
        # The first of several entries with one id is the newest by custom.
        if document.text and document.key not in documents:
            documents[document.key] = document
    ordered = list(reversed(documents.values()))
    if all(d.published_at for d in ordered):
        ordered.sort(key=lambda d: d.published_at or now)
    return feed, tuple(ordered)


def _document(
    entry: FeedEntry, feed: Feed, config: SourceConfig, settings: FeedSettings
) -> Document:
    extra = dict(entry.extra)
    if entry.enclosures:
        extra["enclosures"] = msgspec.to_builtins(entry.enclosures)
    lang = entry.lang if entry.lang not in ("", "und") else settings.lang or feed.lang
    return Document(
        key=f"{config.name}#{entry.id}",
        source=config.name,
        kind=settings.kind,
        title=entry.title,
        text=entry.text or entry.title,
        url=entry.url,
        author=entry.author,
        lang=lang or "und",
        published_at=entry.published_at,
        updated_at=entry.updated_at,
        date_source="feed" if entry.published_at else "",
        policy=SOURCE.policy,
        extra=extra,
    )


class _Memory(Remembered, msgspec.Struct, omit_defaults=True):
    """The cursor, opened. Its JSON form is a few kilobytes for a window of 100 entries."""

    configured: str
    """Address in the settings when this was written; another one there starts afresh."""
    url: str
    validators: Validators = Validators()
    seen: dict[str, str] = {}
    """Short hash of key to short hash of content; the last window stands at the end."""
    window: int = 0
    """How many of the last in `seen` were in the window of the last poll."""
    partly: dict[str, str] = {}
    """The same for what cut answers brought since: handed over, but no proof against a loss."""
    newest_us: int | None = None
    rhythm: float | None = None
    adaptive_s: float = 3_600.0
    planned_s: float = 0.0
    polled_us: int | None = None
    hub: str = ""
    """WebSub hub that the feed names, and the topic under which it knows the feed."""
    topic: str = ""

    @classmethod
    def restore(cls, cursor: Cursor | None, url: str) -> _Memory:
        memory = cls.read(cursor)
        if memory is None:
            return cls(configured=url, url=url)
        if memory.configured != url:
            memory.configured = url
            memory.move(url)
        return memory

    def move(self, url: str) -> None:
        """Ask there from now on. Validators belong to an address, so they go."""
        self.url, self.validators = url, Validators()
        self.hub = self.topic = ""

    def changes(
        self, feed: Feed, documents: Sequence[Document], config: SourceConfig
    ) -> list[Change]:
        """What this window holds that was not handed over yet."""
        present = {d.key for d in documents}
        removed = [key for id in feed.removed if (key := f"{config.name}#{id}") not in present]
        known = self.seen | self.partly
        return [
            *(Upsert(d) for d in documents if known.get(short_hash(d.key)) != _content(d)),
            *(Delete(key=key) for key in removed if self.seen.get(short_hash(key)) != _DELETED),
        ]

    def note(self, change: Change) -> None:
        """This change is about to be handed over."""
        if isinstance(change, Upsert):
            self._remember(change.document.key, _content(change.document))
        elif isinstance(change, Delete):
            self._remember(change.key, _DELETED)

    def note_part(self, change: Change) -> None:
        """This change, of an answer that was cut off, is about to be handed over."""
        if isinstance(change, Upsert):
            self.partly[short_hash(change.document.key)] = _content(change.document)

    def settle(self, validators: Validators, documents: Sequence[Document]) -> None:
        """All of this answer is handed over: do not ask for it again."""
        for document in documents:
            self._remember(document.key, _content(document))
        self.window = len(documents)
        for hashed in list(self.seen)[: -self.window - _REMEMBERED]:
            del self.seen[hashed]
        self.validators = validators
        self.partly.clear()
        dates = _dates(documents)
        self.rhythm = rhythm_s(dates)
        self.newest_us = max(map(to_us, dates), default=self.newest_us)

    def lost(self, documents: Sequence[Document], now: datetime, *, behind: bool) -> Gap | None:
        """A gap, if the window moved on entirely, and too fast for how often we looked.

        A publisher that replaces all entries at once (a daily list) loses nothing by that:
        so either we were away for longer than planned, or the dates of the new entries span
        less time than passed since the last poll. Where our clock is `behind` the publisher's,
        how long we were away is not known.
        """
        before = list(self.seen)[-self.window :] if self.window else []
        present = {short_hash(d.key) for d in documents}
        if not before or not present or self.polled_us is None or present.intersection(before):
            return None
        polled = from_us(self.polled_us)
        away_s = (now - polled).total_seconds()
        dates = sorted(set(_dates(documents)))
        outrun = len(dates) >= 3 and away_s > (dates[-1] - dates[0]).total_seconds()
        if not outrun and 0 <= away_s <= 2 * self.planned_s and not behind:
            return None
        return Gap(
            reason="The feed moved on by its whole window between two polls; "
            "entries in between may be missing.",
            start=min(polled, now),
            end=dates[0] if dates and polled < dates[0] < now else max(polled, now),
        )

    def _remember(self, key: str, content: str) -> None:
        hashed = short_hash(key)
        self.seen.pop(hashed, None)
        self.seen[hashed] = content


def _content(document: Document) -> str:
    d = document
    return short_hash(d.title, d.text, d.url, d.author, d.lang)


def _dates(documents: Sequence[Document]) -> list[datetime]:
    return [d.published_at for d in documents if d.published_at is not None]


async def follow(ctx: Context, cursor: Cursor | None) -> AsyncIterator[Batch]:
    """Poll the feed for ever; see the module's promise."""
    settings: FeedSettings = ctx.settings
    memory = _Memory.restore(cursor, settings.url)
    kept_at: datetime | None = None
    while True:
        hints: list[float | None] = []
        trouble = ""
        changed = False
        try:
            answer = await _poll(ctx, memory)
            hints.append(answer.fresh_s)
            if answer.changed:
                feed, documents = await _read(ctx, answer.response)
                hints.append(feed.ttl_s)
                changed = True
                headers, url = answer.response.headers, answer.response.url
                memory.hub, memory.topic = discover(headers, feed.hub, feed.self_url, url)
        except ContentError as error:
            ctx.count(error.code)
            trouble = f"the answer could not be read: {error.message}"
        now = ctx.clock.now()
        if changed and "xml.cut" in feed.notes:
            # Not where the feed stands: what the rest would have held must not count as seen.
            trouble = "the answer was cut off; the entries that came are kept"
            part = memory.changes(feed, documents, ctx.config)
            for change in part:
                memory.note_part(change)
            if settings.full_text:
                part = [await _with_full_text(ctx, change) for change in part]
            yield Batch(tuple(part), memory.cursor())
        elif changed:
            pending = _pending(ctx, memory, answer.response, feed, documents, now)
            size = _BATCH_PAGES if settings.full_text else _BATCH_ENTRIES
            # At least one batch, so that the validators are kept even if nothing is new.
            for start in range(0, max(len(pending), 1), size):
                part = pending[start : start + size]
                for change in part:
                    memory.note(change)
                if start + size >= len(pending):
                    memory.settle(answer.validators, documents)
                    memory.polled_us = to_us(now)
                if settings.full_text:
                    part = [await _with_full_text(ctx, change) for change in part]
                yield Batch(tuple(part), memory.cursor())
            kept_at = now
        memory.adaptive_s = adapt(memory.adaptive_s, changed=changed, limits=ctx.limits)
        if not trouble:  # an answer that told nothing leaves us as blind as none
            memory.polled_us = to_us(now)
        told = bool(memory.hub) and ctx.subscribed(memory.hub, memory.topic)
        memory.planned_s = _wait_s(ctx, memory, [*hints, POLL_S if told else None], now)
        if not trouble and (kept_at is None or abs((now - kept_at).total_seconds()) > _KEEP_S):
            # Tells a later start how long it was away, at little cost.
            yield Batch((), memory.cursor())
            kept_at = now
        text = trouble or ("its hub tells of news" if told else "")
        ctx.heard(state="retrying" if trouble else "", text=text, next_in_s=memory.planned_s)
        await ctx.clock.sleep(memory.planned_s)


async def _poll(ctx: Context, memory: _Memory) -> Answer:
    """One poll. A moved feed that is missing at its new address is sought at the old one."""
    while True:
        answer = await poll(
            ctx,
            memory.url,
            purpose="feed",
            known=memory.validators,
            headers={"accept": _ACCEPT, "a-im": "feed"},
        )
        status = answer.response.status
        if status not in (404, 410):
            return answer
        if memory.url == memory.configured:
            raise _missing(memory.url, status)
        memory.move(memory.configured)


def _missing(url: str, status: int) -> UpstreamTerminal | UpstreamTransient:
    if status == 410:
        return UpstreamTerminal(
            f"{url} answers 410: the publisher ended this feed.",
            code="source.gone",
            hint="Remove the source; what it brought stays.",
            url=url,
            status=status,
        )
    return UpstreamTransient(
        f"{url} answers 404: there is no feed.",
        code="source.not_found",
        retry_after_s=REFUSED_RETRY_S,
        hint="Check the address.",
        url=url,
        status=status,
    )


async def _read(ctx: Context, response: Response) -> tuple[Feed, tuple[Document, ...]]:
    feed, documents = await asyncio.to_thread(
        read_feed,
        response.body,
        config=ctx.config,
        url=response.url,
        content_type=response.headers.get("content-type", ""),
        now=ctx.clock.now(),
        future_tolerance=timedelta(seconds=ctx.limits.future_tolerance_s),
    )
    ctx.count("entry.unparsable", feed.skipped)
    for note, n in feed.notes.items():
        ctx.count(note, n)
    return feed, documents


def _pending(
    ctx: Context,
    memory: _Memory,
    response: Response,
    feed: Feed,
    documents: Sequence[Document],
    now: datetime,
) -> list[Change]:
    """Everything to hand over for this answer: a move, a gap, then news and tombstones."""
    pending: list[Change] = []
    # Only a valid feed may move the address: a sign-in page redirects for good, too.
    if response.permanent_url and response.permanent_url != memory.url:
        pending.append(
            Notice(code="source.moved", text=f"The feed moved to {response.permanent_url}.")
        )
        memory.move(response.permanent_url)
    gap = memory.lost(documents, now, behind=bool(feed.notes.get("date.future")))
    if gap is not None:
        pending.append(gap)
    return pending + memory.changes(feed, documents, ctx.config)


async def _with_full_text(ctx: Context, change: Change) -> Change:
    """The entry with its page's text, or unchanged where the page gives no more."""
    if not isinstance(change, Upsert) or not change.document.url:
        return change
    document = change.document
    try:
        response = await ctx.fetcher.fetch(document.url, purpose="crawl")
        if response.status != 200:
            ctx.count(f"full_text.{response.status}")
            return change
        page = await asyncio.to_thread(
            extract_page,
            response.body,
            url=response.url,
            content_type=response.headers.get("content-type", ""),
            now=ctx.clock.now(),
        )
    except (UpstreamError, ContentError) as error:
        ctx.count(f"full_text.{error.code}")
        return change
    if len(page.text) <= len(document.text):
        return change
    undated = document.published_at is None
    return Upsert(
        msgspec.structs.replace(
            document,
            text=page.text,
            policy=response.usage.limit(document.policy),
            author=document.author or page.author,
            published_at=page.published_at if undated else document.published_at,
            date_source=page.date_source if undated else document.date_source,
            extra={**claims_of(page), **document.extra} if undated else document.extra,
        )
    )


def _wait_s(ctx: Context, memory: _Memory, hints: Sequence[float | None], now: datetime) -> float:
    idle_s = None
    if memory.newest_us is not None:
        idle_s = max((to_us(now) - memory.newest_us) / 1e6, 0.0)
    return next_poll_s(
        estimate_s(memory.rhythm, idle_s, memory.adaptive_s),
        hints=hints,
        fixed=ctx.settings.interval_s,
        limits=ctx.limits,
        rng=ctx.rng,
    )


def identify(text: str) -> SourceConfig | None:
    """A feed, if the address looks like one; what it really is, only a probe can tell."""
    url = web_address(text)
    if not url or not _FEED_LIKE.search(urlsplit(url).path.lower()):
        return None
    return config_for(url)


def config_for(url: str, title: str = "") -> SourceConfig:
    """The configuration that follows the feed at `url`."""
    return SourceConfig(name=name_for("feed", url), type="feed", title=title, settings={"url": url})


SOURCE = SourceSpec(
    name="feed",
    title="RSS, Atom and JSON feeds",
    docs_url="how-to/follow-feeds-and-pages",
    follow=follow,
    settings=FeedSettings,
    policy=Policy(),
    identify=identify,
    examples=("https://example.org/feed.xml",),
)
