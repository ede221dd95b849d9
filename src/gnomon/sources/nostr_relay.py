"""One relay: a connection to it, its past in order, and what comes; troubles and their waits."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any

import msgspec

from gnomon.clock import from_us, to_us
from gnomon.errors import UpstreamError, UpstreamTerminal, UpstreamTransient
from gnomon.net.base import Socket
from gnomon.sources.base import Context
from gnomon.sources.nostr_events import (
    ARTICLE,
    DELETION,
    NOTE,
    VANISH,
    NostrEvent,
    Verify,
    read_event,
)
from gnomon.sources.nostr_memory import Memory
from gnomon.sources.nostr_settings import NostrSettings
from gnomon.types import Gap

_LIVE, _PAST = "live", "past"
_PAGES = 20
_EVENTS = 200
_FLUSH_S = 0.25
_QUIET_S = 15.0
_ANSWER_S = 30.0
_RETRY_MAX_S = 300.0
_REFUSED_S = 3_600.0


class News(msgspec.Struct, frozen=True, kw_only=True):
    """What a relay sent."""

    relay: str
    events: Sequence[NostrEvent] = ()
    """Oldest first, as far as they came together."""
    since_s: int = 0
    """Up to this moment everything it has is handed over with this; 0: as before."""
    gap: Gap | None = None


class Relay:
    """One relay of a source, over all its connections. Reads the memory and never writes it."""

    def __init__(self, ctx: Context, url: str, memory: Memory, verify: Verify) -> None:
        self.url = url
        self.trouble: UpstreamError | None = None
        """Why it is not listened to; None while it is, and before it was first tried."""
        self.sound = False
        """Whether the connection brought the whole past."""
        self._attempt = 0
        self._ctx = ctx
        self._settings: NostrSettings = ctx.settings
        self._memory = memory
        self._verify = verify
        self._fetched: set[str] = set()

    def fail(self, trouble: UpstreamError) -> None:
        """The connection broke, or could not be had."""
        self._ctx.count(f"relay.{trouble.code}")
        self._attempt = 0 if self.sound else self._attempt + 1
        self.trouble, self.sound = trouble, False

    def wait_s(self, rng: random.Random) -> float:
        """How long to leave it alone."""
        if not isinstance(self.trouble, UpstreamTransient):
            return _REFUSED_S
        wait_s = min(2.0**self._attempt, _RETRY_MAX_S) * rng.uniform(1.0, 1.5)
        return max(wait_s, self.trouble.retry_after_s or 0.0)

    async def listen(self, socket: Socket) -> AsyncGenerator[News, None]:
        """First the past, whole and in order, then what comes. Raises when the connection ends."""
        self._fetched = set()
        arriving = aiter(socket)
        began_s = self._now_s()
        since_s = int(self._memory.since[self.url] - self._settings.overlap_s)
        # Opened before the past is asked for, so that nothing falls between the two.
        await self._ask(socket, _LIVE, {"since": began_s - int(self._settings.overlap_s)})
        events, reached_s = await self._past(socket, arriving, since_s)
        await socket.send(json.dumps(["CLOSE", _PAST]))
        if reached_s is not None:
            gap = Gap(
                reason=f"{self.url} had more events than could be fetched.",
                start=from_us(max(since_s, 0) * 1_000_000),
                end=from_us(reached_s * 1_000_000),
            )
            yield News(relay=self.url, gap=gap)
        # Equal times: a deletion comes after what it deletes.
        events.sort(key=lambda e: (e.created_at, e.kind in (DELETION, VANISH)))
        for at in range(0, len(events), _EVENTS):
            yield News(relay=self.url, events=events[at : at + _EVENTS])
        self.trouble, self.sound = None, True
        yield News(relay=self.url, since_s=began_s)
        broken: UpstreamError | None = None
        while broken is None:
            moment_s = self._now_s()
            coming, broken = await self._gather(arriving)
            yield News(relay=self.url, events=coming, since_s=0 if broken else moment_s)
        raise broken

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
                f"{self.url} did not send its stored events within {_ANSWER_S:g} s.",
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
            raise _closed(self.url, words[2] if len(words) > 2 else "")
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

    def _now_s(self) -> int:
        return to_us(self._ctx.clock.now()) // 1_000_000


def _closed(url: str, reason: str) -> UpstreamError:
    """The error that a relay's refusal of a subscription means (NIP-01's prefixes)."""
    prefix = reason.partition(":")[0]
    message = f"{url} refuses the subscription: {reason or 'no reason given'}."
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
