"""Nostr: notes and long articles from relays, by authors or hashtags. Opt-in.

Every signature is verified; what does not verify is dropped and counted. A deletion works only on
its own author's events, a newer article replaces the one of the same name, and what expires
(NIP-40) is ended when its time comes. A request to vanish (NIP-62) purges its author.

All relays are listened to at once. An event that several of them have is one event, and a relay
that is away silences nobody: each has its own position and is made up for when it is back. A relay
replays by time, newest first and in pages. So its past is fetched whole before it is handed over
in order, always with an overlap, and its position moves only after that.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from datetime import timedelta

from gnomon.clock import to_us
from gnomon.errors import UpstreamError, UpstreamTransient
from gnomon.sources.base import Context, SourceSpec
from gnomon.sources.merge import merged
from gnomon.sources.nostr_events import (
    ARTICLE,
    DELETION,
    NOTE,
    POLICY,
    VANISH,
    NostrEvent,
    deleted_by,
    document_of,
    verifier,
)
from gnomon.sources.nostr_memory import Memory
from gnomon.sources.nostr_relay import News, Relay
from gnomon.sources.nostr_settings import NostrSettings, hex_key
from gnomon.sources.refusals import refused
from gnomon.types import Batch, Change, Cursor, Delete, Purge, SourceConfig, Upsert

_IDLE_S = 7 * 86_400.0
_EXPIRING = 1_000
_MAX_MESSAGE_BYTES = 1_000_000


async def follow(ctx: Context, cursor: Cursor | None) -> AsyncIterator[Batch]:
    """Follow all relays until none can be listened to; see the module's promise."""
    settings: NostrSettings = ctx.settings
    verify = verifier()
    memory = Memory.read(cursor) or Memory()
    urls = tuple(dict.fromkeys(settings.relays))
    memory.follow(urls, int(ctx.clock.now().timestamp() - settings.backfill_s))
    if cursor is None:
        yield Batch((), memory.tidy(settings.overlap_s).cursor())
    relays = [Relay(ctx, url, memory, verify) for url in urls]
    book = _Book(ctx, memory)
    async with aclosing(merged(*(_keep_listening(ctx, r, relays) for r in relays))) as coming:
        async for several in coming:
            for news in several:
                yield book.batch(news)


async def _keep_listening(
    ctx: Context, relay: Relay, relays: Sequence[Relay]
) -> AsyncGenerator[News, None]:
    """What one relay sends, for ever. Raises when no relay can be listened to."""
    while True:
        try:
            opened = ctx.fetcher.socket(
                relay.url, idle_s=_IDLE_S, max_message_bytes=_MAX_MESSAGE_BYTES
            )
            async with opened as socket, aclosing(relay.listen(socket)) as coming:
                async for news in coming:
                    _tell(ctx, relays)
                    yield news
        except UpstreamError as error:
            relay.fail(error if relay.sound else refused(error))
        troubles = [each.trouble for each in relays if each.trouble is not None]
        if len(troubles) == len(relays):
            raise min(troubles, key=_lasts_s)
        await ctx.clock.sleep(relay.wait_s(ctx.rng))


def _lasts_s(trouble: UpstreamError) -> float:
    """How long a trouble is likely to last, to be compared."""
    return trouble.retry_after_s or 0.0 if isinstance(trouble, UpstreamTransient) else math.inf


def _tell(ctx: Context, relays: Sequence[Relay]) -> None:
    """That something was heard, and who is missing."""
    away = [relay for relay in relays if relay.trouble is not None]
    text = ""
    if away:
        text = f"{len(relays) - len(away)} of {len(relays)} relays; {away[0].trouble}"
    ctx.heard(text=text)


class _Book:
    """Turns what relays send into changes. The only one to write the memory."""

    def __init__(self, ctx: Context, memory: Memory) -> None:
        self._ctx = ctx
        self._settings: NostrSettings = ctx.settings
        self._memory = memory
        self._tolerance = timedelta(seconds=ctx.limits.future_tolerance_s)

    def batch(self, news: News) -> Batch:
        """The changes, and the cursor after them."""
        memory = self._memory
        changes: list[Change] = [news.gap] if news.gap is not None else []
        for event in news.events:
            if event.id[:16] not in memory.seen:
                memory.seen[event.id[:16]] = event.created_at
                changes += self._changes(event)
        now_s = self._now_s()
        for key, due_s in list(memory.expiring.items()):
            if due_s <= now_s:
                del memory.expiring[key]
                changes.append(Delete(key=key))
        memory.since[news.relay] = max(memory.since[news.relay], news.since_s)
        return Batch(tuple(changes), memory.tidy(self._settings.overlap_s).cursor())

    def _changes(self, event: NostrEvent) -> list[Change]:
        memory = self._memory
        if event.kind == DELETION:
            named = [
                memory.named.get(key.rpartition(":")[2][:16], key) for key in deleted_by(event)
            ]
            keys = [
                key
                for key in named
                if key.startswith(f"nostr:{event.pubkey}:")
                and memory.newest.get(key, -1) <= event.created_at
            ]
            for key in keys:
                memory.newest[key] = event.created_at
                memory.expiring.pop(key, None)
            return [Delete(key=key) for key in keys]
        if event.kind == VANISH:
            everywhere = any(t[:2] == ["relay", "ALL_RELAYS"] for t in event.tags)
            if not everywhere:
                self._ctx.count("vanish.elsewhere")
                return []
            memory.vanished[event.pubkey] = event.created_at
            return [Purge(author=event.pubkey, reason="The author asked to vanish.")]
        if event.created_at <= memory.vanished.get(event.pubkey, -1):
            self._ctx.count("event.vanished")
            return []
        if event.kind not in (NOTE, ARTICLE) or not self._asked_for(event):
            self._ctx.count("event.unasked")
            return []
        key = event.key
        if memory.newest.get(key, -1) >= event.created_at:
            self._ctx.count("event.outdated")
            return []
        if event.kind == ARTICLE:
            memory.newest.pop(key, None)
            memory.newest[key] = event.created_at
            memory.named = {id: k for id, k in memory.named.items() if k != key}
            memory.named[event.id[:16]] = key
        expires_s = event.expires_s
        memory.expiring.pop(key, None)
        if expires_s is not None:
            if expires_s <= self._now_s():
                self._ctx.count("event.expired")
                return []
            if len(memory.expiring) >= _EXPIRING:
                self._ctx.count("event.expiring")  # what could not be ended in time is not begun
                return []
            memory.expiring[key] = expires_s
        document = document_of(
            event, self._ctx.config.name, now=self._ctx.clock.now(), tolerance=self._tolerance
        )
        if document is None:
            self._ctx.count("event.empty")
            return []
        return [Upsert(document)]

    def _asked_for(self, event: NostrEvent) -> bool:
        """A relay may send anything; only what was asked for is taken."""
        settings = self._settings
        if settings.authors and event.pubkey not in settings.authors:
            return False
        tags = {t[1].lower() for t in event.tags if len(t) > 1 and t[0] == "t"}
        return not settings.hashtags or not tags.isdisjoint(settings.hashtags)

    def _now_s(self) -> int:
        return to_us(self._ctx.clock.now()) // 1_000_000


def identify(text: str) -> SourceConfig | None:
    """An author: `npub1…`, also as `nostr:npub1…` or its page on njump.me."""
    text = text.strip()
    bare = text.removeprefix("nostr:").removeprefix("https://njump.me/")
    if not bare.startswith("npub1"):
        return None
    try:
        hex_key(bare)
    except ValueError:
        return None
    return SourceConfig(
        name=f"nostr:{bare}",
        type="nostr",
        title=f"{bare[:12]}… on Nostr",
        settings={"authors": [bare]},
    )


SOURCE = SourceSpec(
    name="nostr",
    title="Nostr",
    docs_url="reference/sources/nostr",
    follow=follow,
    settings=NostrSettings,
    needs=("gnomon[nostr]",),
    policy=POLICY,
    state="live",
    identify=identify,
    examples=("npub1…",),
)
