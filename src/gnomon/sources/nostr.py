"""Nostr: notes and long articles from a relay, by authors or hashtags. Opt-in.

Every signature is verified; what does not verify is dropped and counted. A deletion works only on
its own author's events, a newer article replaces the one of the same name, and what expires
(NIP-40) is ended when its time comes. A request to vanish (NIP-62) purges its author.

A relay replays by time, newest first and in pages. So the past is fetched whole before it is
handed over in order, always with an overlap, and the cursor's time moves only after that. What
came already is known by its id.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from datetime import timedelta
from typing import Any

import msgspec

from gnomon.clock import from_us, to_us
from gnomon.errors import UpstreamError, UpstreamTerminal, UpstreamTransient
from gnomon.net.base import Socket
from gnomon.sources.base import Context, SourceSpec
from gnomon.sources.nostr_events import (
    ARTICLE,
    DELETION,
    NOTE,
    POLICY,
    VANISH,
    NostrEvent,
    Verify,
    deleted_by,
    document_of,
    read_event,
    verifier,
)
from gnomon.sources.nostr_settings import NostrSettings, hex_key
from gnomon.sources.refusals import refused
from gnomon.types import (
    Batch,
    Change,
    Cursor,
    Delete,
    Gap,
    Purge,
    SourceConfig,
    Upsert,
)

_LIVE, _PAST = "live", "past"
_PAGES = 20
_EVENTS = 200
_FLUSH_S = 0.25
_QUIET_S = 15.0
_IDLE_S = 7 * 86_400.0
_ANSWER_S = 30.0
_SEEN = 2_000
_REMEMBERED = 500
_EXPIRING = 1_000
_MAX_MESSAGE_BYTES = 1_000_000


class _Memory(msgspec.Struct, omit_defaults=True):
    """The cursor, opened."""

    since_s: int = 0
    """Up to this moment, by our clock, everything was handed over."""
    seen: dict[str, int] = {}
    """Short ids of events handed over lately, with their times."""
    newest: dict[str, int] = {}
    """When what was last replaced or deleted was so, by key."""
    named: dict[str, str] = {}
    """The key of an article by the short id of its newest event."""
    expiring: dict[str, int] = {}

    @classmethod
    def restore(cls, cursor: Cursor | None) -> _Memory:
        try:
            return msgspec.json.decode(cursor or "{}", type=cls)
        except msgspec.DecodeError:
            return cls()

    def cursor(self, overlap_s: float) -> Cursor:
        """To be stored. What a relay would not send again needs no memory."""
        oldest_s = self.since_s - overlap_s - 60
        self.seen = {id: at for id, at in self.seen.items() if at >= oldest_s}
        kept: dict[str, Any]
        for kept, most in (
            (self.seen, _SEEN),
            (self.newest, _REMEMBERED),
            (self.named, _REMEMBERED),
        ):
            for key in list(kept)[: max(len(kept) - most, 0)]:
                del kept[key]
        return msgspec.json.encode(self).decode()


async def follow(ctx: Context, cursor: Cursor | None) -> AsyncIterator[Batch]:
    """Follow the first relay that answers until it breaks; see the module's promise."""
    settings: NostrSettings = ctx.settings
    verify = verifier()
    memory = _Memory.restore(cursor)
    if not memory.since_s:
        memory.since_s = int(ctx.clock.now().timestamp() - settings.backfill_s)
        yield Batch((), memory.cursor(settings.overlap_s))
    trouble: UpstreamError | None = None
    for relay in settings.relays:
        listener = _Listener(ctx, memory, verify)
        try:
            async with ctx.fetcher.socket(
                relay, idle_s=_IDLE_S, max_message_bytes=_MAX_MESSAGE_BYTES
            ) as socket:
                batches = listener.listen(socket)
                async with aclosing(batches):
                    async for batch in batches:
                        yield batch
        except UpstreamError as error:
            if listener.delivered:
                raise
            ctx.count(f"relay.{error.code}")
            if trouble is None or isinstance(error, UpstreamTransient):
                trouble = refused(error)
    if trouble is not None:
        raise trouble


class _Listener:
    """One connection to a relay."""

    def __init__(self, ctx: Context, memory: _Memory, verify: Verify) -> None:
        self.delivered = False
        self._ctx = ctx
        self._settings: NostrSettings = ctx.settings
        self._memory = memory
        self._verify = verify
        self._tolerance = timedelta(seconds=ctx.limits.future_tolerance_s)
        self._fetched: set[str] = set()

    async def listen(self, socket: Socket) -> AsyncGenerator[Batch, None]:
        """First the past, whole and in order, then what comes."""
        memory = self._memory
        arriving = aiter(socket)
        began_s = self._now_s()
        since_s = int(memory.since_s - self._settings.overlap_s)
        # Opened before the past is asked for, so that nothing falls between the two.
        await self._ask(socket, _LIVE, {"since": began_s - int(self._settings.overlap_s)})
        events, reached_s = await self._past(socket, arriving, since_s)
        await socket.send(json.dumps(["CLOSE", _PAST]))
        self._ctx.heard()
        # Equal times: a deletion comes after what it deletes.
        events.sort(key=lambda e: (e.created_at, e.kind in (DELETION, VANISH)))
        first: list[Change] = []
        if reached_s is not None:
            first.append(
                Gap(
                    reason="The relay had more events than could be fetched.",
                    start=from_us(max(since_s, 0) * 1_000_000),
                    end=from_us(reached_s * 1_000_000),
                )
            )
        for at in range(0, len(events), _EVENTS):
            yield self._batch(events[at : at + _EVENTS], first)
            first = []
        memory.since_s = max(memory.since_s, began_s)
        yield self._batch([], first)
        self.delivered = True
        trouble: UpstreamError | None = None
        while trouble is None:
            moment_s = self._now_s()
            coming, trouble = await self._gather(arriving)
            if trouble is None:
                memory.since_s = max(memory.since_s, moment_s)
            self._ctx.heard()
            yield self._batch(coming, [])
        raise trouble

    # -- talking --------------------------------------------------------------
    async def _ask(self, socket: Socket, name: str, bounds: dict[str, int]) -> None:
        settings = self._settings
        chosen: dict[str, Any] = {}
        if settings.authors:
            chosen["authors"] = list(settings.authors)
        if settings.hashtags:
            chosen["#t"] = list(settings.hashtags)
        wanted = [{"kinds": [NOTE, ARTICLE], **chosen, **bounds}]
        # Deletions carry no hashtags.
        chosen.pop("#t", None)
        wanted.append({"kinds": [DELETION, VANISH], **chosen, **bounds})
        await socket.send(json.dumps(["REQ", name, *wanted]))

    async def _past(
        self, socket: Socket, arriving: AsyncIterator[str | bytes], since_s: int
    ) -> tuple[list[NostrEvent], int | None]:
        """What is stored since then, and where it had to stop if there was too much."""
        found: list[NostrEvent] = []
        until_s: int | None = None
        for _ in range(_PAGES):
            bounds = {"since": max(since_s, 0), "limit": self._settings.page}
            if until_s is not None:
                bounds["until"] = until_s
            await self._ask(socket, _PAST, bounds)
            page = await self._page(arriving, found)
            if not page:
                return found, None
            oldest_s = min(event.created_at for event in page)
            until_s = oldest_s if until_s is None or oldest_s < until_s else until_s - 1
        return found, until_s

    async def _page(
        self, arriving: AsyncIterator[str | bytes], found: list[NostrEvent]
    ) -> list[NostrEvent]:
        """The events until EOSE that no page had before; live ones join `found` as well."""
        page: list[NostrEvent] = []
        try:
            async with asyncio.timeout(_ANSWER_S):
                while True:
                    name, event = self._read(await anext(arriving))
                    if name == f"EOSE {_PAST}":
                        return page
                    if event is not None and event.id not in self._fetched:
                        self._fetched.add(event.id)
                        found.append(event)
                        if name == f"EVENT {_PAST}":
                            page.append(event)
        except TimeoutError:
            raise UpstreamTransient(
                f"The relay did not send its stored events within {_ANSWER_S:g} s.",
                code="nostr.no_eose",
                hint="It is asked again.",
            ) from None

    async def _gather(
        self, arriving: AsyncIterator[str | bytes]
    ) -> tuple[list[NostrEvent], UpstreamError | None]:
        loop = asyncio.get_running_loop()
        events: list[NostrEvent] = []
        try:
            async with asyncio.timeout(self._patience_s()) as patience:
                while len(events) < _EVENTS:
                    _, event = self._read(await anext(arriving))
                    if event is not None:
                        events.append(event)
                        if len(events) == 1:
                            patience.reschedule(loop.time() + _FLUSH_S)
        except TimeoutError:
            pass
        except UpstreamError as error:
            return events, error
        return events, None

    def _patience_s(self) -> float:
        """How long to wait for news: at most until the next event expires."""
        due_s = min(self._memory.expiring.values(), default=None)
        if due_s is None:
            return _QUIET_S
        return min(_QUIET_S, max(due_s - self._ctx.clock.now().timestamp(), 0.05))

    def _read(self, message: str | bytes) -> tuple[str, NostrEvent | None]:
        """What a message is, `EVENT live` or the like, and its event if it holds a sound one.

        Raises UpstreamError where the relay closes the subscription.
        """
        try:
            parts = msgspec.json.decode(message, type=list[msgspec.Raw])
            words = [msgspec.json.decode(p) if p[:1] == b'"' else "" for p in map(bytes, parts)]
        except (msgspec.DecodeError, UnicodeDecodeError):
            parts, words = [], []
        name = " ".join(words[:2]) if len(words) > 1 else ""
        if words[:1] == ["EVENT"] and len(parts) == 3:
            return name, self._sound(bytes(parts[2]))
        if words[:1] == ["CLOSED"] and len(words) > 1:
            raise _closed(words[2] if len(words) > 2 else "")
        if words[:1] not in (["EOSE"], ["NOTICE"], ["AUTH"], ["OK"]):
            self._ctx.count("message.unknown")
        return name, None

    def _sound(self, raw: bytes) -> NostrEvent | None:
        try:
            event = read_event(raw)
        except (ValueError, RecursionError):
            self._ctx.count("event.unreadable")
            return None
        if event.id[:16] in self._memory.seen:
            return event  # it is only counted; what is handed over was verified once
        if not self._verify(raw):
            self._ctx.count("event.forged")
            return None
        return event

    # -- changes --------------------------------------------------------------
    def _batch(self, events: Sequence[NostrEvent], first: list[Change]) -> Batch:
        changes = list(first)
        for event in events:
            if event.id[:16] not in self._memory.seen:
                self._memory.seen[event.id[:16]] = event.created_at
                changes += self._changes(event)
        now_s = self._now_s()
        for key, due_s in list(self._memory.expiring.items()):
            if due_s <= now_s:
                del self._memory.expiring[key]
                changes.append(Delete(key=key))
        return Batch(tuple(changes), self._memory.cursor(self._settings.overlap_s))

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
            return [Purge(author=event.pubkey, reason="The author asked to vanish.")]
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


def _closed(reason: str) -> UpstreamError:
    """The error that a relay's refusal of a subscription means (NIP-01's prefixes)."""
    prefix = reason.partition(":")[0]
    message = f"The relay refuses the subscription: {reason or 'no reason given'}."
    if prefix in ("auth-required", "restricted", "blocked"):
        return UpstreamTerminal(
            message, code="source.forbidden", hint="Choose another relay.", reason=reason
        )
    return UpstreamTransient(
        message,
        code="nostr.closed",
        retry_after_s=60.0 if prefix == "rate-limited" else None,
        hint="It is asked again later.",
        reason=reason,
    )


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
)
