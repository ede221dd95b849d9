"""Wikimedia's EventStreams: pages of its wikis as they are started, edited, moved and deleted.

One stream of server-sent events brings the page changes of all wikis, and with it which revisions
were hidden; what is wanted is chosen here. It is resumed by its last id, a little earlier, and by
time where the id is refused; what comes again is told by the ids of events. What the service holds
no more is a gap. Deleted pages end; pages with a hidden revision are erased from all history.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from gnomon.clock import from_us, to_us
from gnomon.errors import ContentError, UpstreamError, UpstreamTerminal, UpstreamTransient
from gnomon.extract.dates import Dates
from gnomon.net.base import ServerEvent
from gnomon.sources.base import Context, SourceSettings, SourceSpec, require_contact
from gnomon.sources.merge import merged
from gnomon.sources.polling import short_hash, web_address
from gnomon.sources.refusals import refused
from gnomon.sources.wikimedia_events import (
    PAGE_CHANGE,
    POLICY,
    VISIBILITY,
    Wanted,
    change_of,
    decode,
    moment_of,
    wiki_of,
)
from gnomon.sources.wikimedia_position import Position
from gnomon.types import Batch, Change, Cursor, Gap, SourceConfig

_EVENTS = 500
_FLUSH_S = 0.1
_KEEP_S = 5.0
"""So often the position is kept while nothing comes that is wanted."""
_JUMP_MS = 600_000
"""All wikis together are never silent for so long: what was in between is lost."""
_CUT_S = 60.0
"""A stream that lasted so long was not broken: the service ends each after a quarter of an hour."""
_MAX_EVENT_BYTES = 8_000_000
_PROJECTS = (
    "wikipedia.org", "wiktionary.org", "wikinews.org", "wikivoyage.org", "wikiquote.org",
    "wikisource.org", "wikibooks.org", "wikiversity.org", "wikidata.org", "wikifunctions.org",
)  # fmt: skip


class WikimediaSettings(SourceSettings):
    """Settings of one stream of page changes."""

    wikis: tuple[str, ...] = Field(
        ("*.wikipedia.org",),
        min_length=1,
        description="Wikis by address or name: `de.wikipedia.org`, `enwiki`, `*.wikinews.org`.",
    )
    namespaces: tuple[int, ...] = Field(
        (0,), description="Namespaces by number, 0 being articles; none means all."
    )
    changes: tuple[Literal["create", "edit", "move"], ...] = Field(
        ("create", "edit", "move"),
        min_length=1,
        description="What becomes a document. Deletions are followed in any case.",
    )
    bots: bool = Field(False, description="Whether pages started or edited by bots count.")
    redirects: bool = Field(False, description="Whether pages that only lead to another count.")
    min_change_bytes: int = Field(
        0, ge=0, description="Smallest change of a page's size; for a new page, its size."
    )
    backfill_s: float = Field(
        60.0, ge=0, le=7 * 86_400, description="How far back the very first start begins."
    )
    idle_s: float = Field(60.0, gt=0, description="Longest silence before it connects anew.")
    url: str = Field("https://stream.wikimedia.org", description="Address of the service.")

    @field_validator("wikis")
    @classmethod
    def _lower(cls, wikis: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(wiki.strip().lower() for wiki in wikis))


async def follow(ctx: Context, cursor: Cursor | None) -> AsyncIterator[Batch]:
    """Listen for ever; see the module's promise."""
    settings: WikimediaSettings = ctx.settings
    if (urlsplit(settings.url).hostname or "").endswith(".wikimedia.org"):
        require_contact(ctx, "Wikimedia")
    streams = f"{PAGE_CHANGE},{VISIBILITY}"
    address = f"{settings.url.rstrip('/')}/v2/stream/{streams}"
    position = Position.restore(cursor, streams)
    if not position.began_ms:
        # Kept at once, so that from here on nothing is missed silently.
        position.began_ms = to_us(ctx.clock.now()) // 1_000 - int(settings.backfill_s * 1_000)
        yield Batch((), position.cursor())
    reader = _Reader(ctx, position)
    while True:
        began_s = ctx.clock.monotonic()
        reader.connecting()
        try:
            async with aclosing(_listen(ctx, address, reader)) as batches:
                async for batch in batches:
                    yield batch
        except UpstreamTransient as error:
            cut = error.code in ("wikimedia.ended", "net.connection")
            if not cut or ctx.clock.monotonic() - began_s < _CUT_S:
                raise


async def _listen(ctx: Context, address: str, reader: _Reader) -> AsyncGenerator[Batch, None]:
    """The batches of one connection, until it ends, which is an error."""
    kept_s = ctx.clock.monotonic()
    stream = merged(_connection(ctx, address, reader.position), at_once=_EVENTS)
    async with aclosing(stream) as coming:
        async for events in coming:
            changes = reader.take(events)
            ctx.heard()
            now_s = ctx.clock.monotonic()
            if changes or now_s - kept_s >= _KEEP_S:
                kept_s = now_s
                yield Batch(tuple(changes), reader.position.cursor())
            if len(events) < _EVENTS:
                await asyncio.sleep(_FLUSH_S)


async def _connection(
    ctx: Context, address: str, position: Position
) -> AsyncGenerator[ServerEvent | Gap, None]:
    """What comes from where it stands: by the id, else by time, else from now on with a gap."""
    settings: WikimediaSettings = ctx.settings
    since_ms = position.since_ms()
    id = position.last_event_id()
    ways = [(address, id)] if id else []
    ways += [(f"{address}?since={since_ms}", ""), (address, "")]
    refusal: UpstreamError | None = None
    for way, last_event_id in ways:
        opened = False
        try:
            async with ctx.fetcher.events(
                way,
                last_event_id=last_event_id,
                idle_s=settings.idle_s,
                max_event_bytes=_MAX_EVENT_BYTES,
            ) as events:
                opened = True
                ctx.heard()
                if not last_event_id and way == address:
                    reason = "The service refused to go on where the stream had stopped."
                    yield Gap(reason=reason, start=_moment(since_ms), end=ctx.clock.now())
                async for event in events:
                    if event.event == "error":
                        raise UpstreamTransient(
                            f"Wikimedia ended the stream: {event.data[:200]}",
                            code="wikimedia.error",
                        )
                    yield event
            raise UpstreamTransient("Wikimedia ended the stream.", code="wikimedia.ended")
        except UpstreamError as error:
            if opened or error.fields.get("status") not in (400, 404):
                raise _refusal(error) from None
            ctx.count("cursor.refused")
            refusal = error
    assert refusal is not None  # noqa: S101 - every way has ended in one
    raise _refusal(refusal)


def _refusal(error: UpstreamError) -> UpstreamError:
    status = error.fields.get("status")
    said = " ".join(str(error.fields.get("body", "")).split())[:300]
    if error.code == "net.status" and status == 403:
        return UpstreamTransient(
            f"Wikimedia refuses to answer (403): {said}",
            code="source.refused",
            retry_after_s=900.0,
            hint="It turns away whom it cannot write to: check net.contact.",
            status=status,
        )
    if error.code == "net.status" and status == 400:
        return UpstreamTerminal(
            f"The service does not know these streams (400): {said}",
            code="source.not_found",
            hint="Check the setting url.",
            status=status,
        )
    return refused(error)


class _Reader:
    """Makes changes of events, and keeps the position after them."""

    def __init__(self, ctx: Context, position: Position) -> None:
        settings: WikimediaSettings = ctx.settings
        self.position = position
        self._ctx = ctx
        self._wanted = Wanted(
            wikis=settings.wikis,
            namespaces=settings.namespaces,
            changes=settings.changes,
            bots=settings.bots,
            redirects=settings.redirects,
            min_change_bytes=settings.min_change_bytes,
        )
        self._followed: dict[tuple[str, str], bool] = {}
        self._before_ms = 0
        self._skipped: Counter[str] = Counter()

    def connecting(self) -> None:
        """The stream is opened anew: what comes first shows whether something is missing."""
        self._before_ms = self.position.newest_ms

    def take(self, events: Sequence[ServerEvent | Gap]) -> list[Change]:
        """The changes that these events mean, in their order."""
        now, limits = self._ctx.clock.now(), self._ctx.limits
        dates = Dates(now, timedelta(seconds=limits.future_tolerance_s))
        latest_ms = to_us(now) // 1_000 + int(limits.future_tolerance_s * 1_000)
        changes: list[Change] = []
        for event in events:
            if isinstance(event, Gap):
                changes.append(event)
                self._before_ms = 0
            elif event.event == "message":
                changes += self._message(event, dates, latest_ms)
            else:
                self._skipped["wikimedia.unknown_event"] += 1
        self.position.tidy()
        for reason, n in (self._skipped + dates.notes).items():
            self._ctx.count(reason, n)
        self._skipped.clear()
        return changes

    def _message(self, said: ServerEvent, dates: Dates, latest_ms: int) -> list[Change]:
        position = self.position
        changes: list[Change] = []
        try:
            event = decode(said.data)
            if event.meta.domain == "canary":
                return []
            moment = moment_of(event)
            ms = to_us(moment) // 1_000 if moment is not None else 0
            if event.meta.stream == PAGE_CHANGE and 0 < ms <= latest_ms:
                if self._before_ms and ms - self._before_ms > _JUMP_MS:
                    reason = "The service no longer held what came after the last event."
                    start, end = _moment(self._before_ms), _moment(ms)
                    changes.append(Gap(reason=reason, start=start, end=end))
                self._before_ms = 0
                position.moved(ms)
            if not self._follows(wiki_of(event), event.meta.domain):
                self._skipped["filter.wiki"] += 1
                return changes
            hashed = short_hash(event.meta.id or said.data)
            if position.knows(hashed):
                self._skipped["wikimedia.repeated"] += 1
                return changes
            found = change_of(event, self._wanted, self._ctx.config.name, dates)
            if isinstance(found, str):
                self._skipped[found] += 1
            else:
                position.handed_over(hashed, min(ms, latest_ms))
                changes.append(found)
        except ContentError as error:
            self._skipped[error.code] += 1
        finally:
            if said.id and not position.passed(said.id, latest_ms):
                self._skipped["wikimedia.id_unreadable"] += 1
        return changes

    def _follows(self, wiki: str, domain: str) -> bool:
        known = self._followed.get((wiki, domain))
        if known is None:
            names = (wiki.lower(), domain.lower())
            known = any(fnmatchcase(name, p) for name in names if name for p in self._wanted.wikis)
            if len(self._followed) < 5_000:  # there are about a thousand wikis
                self._followed[wiki, domain] = known
        return known


def _moment(ms: int) -> datetime:
    return from_us(ms * 1_000)


def identify(text: str) -> SourceConfig | None:
    """`wikimedia`, `wikipedia`, or the home page of one of the wikis (`https://de.wikipedia.org`)."""
    text = text.strip()
    if text.lower() in ("wikimedia", "wikipedia"):
        return SourceConfig(name="wikimedia", type="wikimedia", title=SOURCE.title)
    parts = urlsplit(web_address(text))
    host = (parts.hostname or "").removeprefix("www.")
    if parts.path.strip("/") or parts.query or parts.fragment:
        return None
    if host == "stream.wikimedia.org" or host == "wikipedia.org":
        return SourceConfig(name="wikimedia", type="wikimedia", title=SOURCE.title)
    if not host.endswith(tuple(f".{project}" for project in _PROJECTS)) and host not in (
        "wikidata.org", "wikifunctions.org", "commons.wikimedia.org", "meta.wikimedia.org",
    ):  # fmt: skip
        return None
    wiki = f"www.{host}" if host.startswith(("wikidata.", "wikifunctions.")) else host
    return SourceConfig(
        name=f"wikimedia:{host}",
        type="wikimedia",
        title=f"Changes of {host}",
        settings={"wikis": [wiki]},
    )


SOURCE = SourceSpec(
    name="wikimedia",
    title="Wikipedia: new and changed pages",
    docs_url="reference/sources/wikimedia",
    follow=follow,
    settings=WikimediaSettings,
    needs=("contact",),
    policy=POLICY,
    state="live",
    identify=identify,
    examples=("wikimedia", "https://de.wikipedia.org"),
)
