"""Mastodon: timelines heard live with a token, polled without; trends; deletes and edits.

A stream has no replay, so after each connection what was missed is paged by `min_id`; what the
server cannot give any more is a gap. Deletes arrive on streams only: what is held from the last
days is asked for again now and then, and what is missing was deleted. Only public posts are kept.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from gnomon.clock import to_us
from gnomon.errors import ContentError, UpstreamTerminal, UpstreamTransient
from gnomon.sources.base import Context, SourceSpec, reveal
from gnomon.sources.mastodon_api import Api
from gnomon.sources.mastodon_memory import Memory, Step
from gnomon.sources.mastodon_posts import (
    document,
    edited_us,
    id_before,
    key_of,
    link_document,
    moment_of,
    order_of,
    tag_document,
)
from gnomon.sources.mastodon_timelines import (
    MastodonSettings,
    Timeline,
    identify,
    is_open,
    timelines,
)
from gnomon.sources.merge import merged
from gnomon.types import (
    Batch,
    Change,
    Cursor,
    Document,
    Gap,
    Notice,
    Policy,
    Upsert,
)

_PAGE = 40
_MAX_PAGES = 25
"""Pages that one catching-up may take; a busy timeline would never let it end."""
_OVERLAP = timedelta(minutes=10)
"""Posts of other servers may arrive so late, and sort where they were written."""
_SETTLED_S = 5.0
_SOCKET_IDLE_S = 3_600.0
"""A quiet timeline sends nothing for long; that the connection lives, pings of the door tell."""
_HOME_POSTS = 400
"""What a server promises to keep of a home or list timeline."""
_TREND_PATHS = {"links": "links", "statuses": "statuses", "tags": "tags"}


async def follow(ctx: Context, cursor: Cursor | None) -> AsyncIterator[Batch]:
    """Listen and poll for ever; see the module's promise."""
    settings: MastodonSettings = ctx.settings
    token = reveal(settings.token) if settings.token is not None else ""
    follower = _Follower(ctx, Api(ctx, settings.server, token), Memory.read(cursor) or Memory())
    try:
        parts = await follower.parts()
        async with aclosing(merged(*parts)) as coming:
            async for steps in coming:
                now = ctx.clock.now()
                changes: list[Change] = []
                for step in steps:
                    changes += follower.memory.accept(step, follower.host, now)
                yield Batch(tuple(changes), follower.memory.cursor())
    except UpstreamTerminal as error:
        if error.code != "net.status":
            raise
        raise UpstreamTerminal(
            f"{follower.host} refuses the stream: {error.message}",
            code="source.forbidden",
            hint="Check the token and its scopes (read).",
        ) from None


class _Follower:
    """One run of the source: what its parts share."""

    def __init__(self, ctx: Context, api: Api, memory: Memory) -> None:
        self.ctx = ctx
        self.api = api
        self.memory = memory
        self.settings: MastodonSettings = ctx.settings
        self.host = urlsplit(self.settings.server).netloc.lower()
        self._single = False
        self._connected = asyncio.Event()

    async def parts(self) -> list[AsyncGenerator[Step, None]]:
        """What has to be done at the same time."""
        instance = await self.api.instance()
        wanted = timelines(self.settings)
        heard: list[Timeline] = wanted if self.api.token else []
        parts: list[AsyncGenerator[Step, None]] = []
        if heard:
            url = self.api.streaming_url(instance)
            several = self.settings.transport == "auto" and len(heard) > 1
            if several or self.settings.transport == "websocket":
                parts.append(self._socket(url, heard))
            else:
                parts += [self._events(url, timeline) for timeline in heard]
            parts.append(self._settle(heard))
        refused = [t for t in wanted if t not in heard and not is_open(instance, t)]
        polled = [t for t in wanted if t not in heard and t not in refused]
        if refused and not (polled or heard or self.settings.accounts or self.settings.trends):
            raise UpstreamTerminal(
                f"{self.host} shows {', '.join(t.name for t in refused)} to its users only, "
                "so it needs a key.",
                code="source.needs_key",
                hint=(
                    "Give it a user's token: gnomon sources set "
                    f"'{self.ctx.config.name}' token=env:NAME (or file:PATH)."
                ),
            )
        if refused:
            parts.append(self._refused(refused))
        if polled or self.settings.accounts:
            parts.append(self._poll(polled))
        if self.settings.trends:
            parts.append(self._trends())
        if self.settings.recheck_posts and (wanted or self.settings.accounts):
            parts.append(self._recheck())
        return parts

    async def _refused(self, refused: list[Timeline]) -> AsyncGenerator[Step, None]:
        names = ", ".join(timeline.name for timeline in refused)
        text = f"{self.host} shows {names} to its users only: set a token, or leave it out."
        yield Step(changes=[Notice(code="mastodon.needs_key", text=text, level="warning")])

    # -- listening --------------------------------------------------------------
    async def _events(self, base: str, timeline: Timeline) -> AsyncGenerator[Step, None]:
        """One timeline by server-sent events."""
        kind, _, value = timeline.name.partition(":")
        query = f"?{urlencode({kind: value})}" if value else ""
        url = f"{base.replace('ws', 'http', 1)}/api/v1/streaming/{timeline.sse}{query}"
        async with self.ctx.fetcher.events(
            url, headers=self.api.headers, idle_s=self.settings.idle_s
        ) as events:
            self.ctx.heard()
            async for step in self.catch_up(timeline):
                yield step
            self._connected.set()
            async for event in events:
                self.ctx.heard()
                found = self._event(timeline.name, event.event, event.data)
                if found is not None:
                    yield found
        raise UpstreamTransient(f"{self.host} ended the stream.", code="mastodon.ended")

    async def _socket(self, base: str, heard: list[Timeline]) -> AsyncGenerator[Step, None]:
        """Several timelines by one WebSocket."""
        async with self.ctx.fetcher.socket(
            f"{base}/api/v1/streaming", headers=self.api.headers, idle_s=_SOCKET_IDLE_S
        ) as socket:
            for timeline in heard:
                kind, _, value = timeline.name.partition(":")
                more = {kind: value} if value else {}
                message = {"type": "subscribe", "stream": timeline.stream, **more}
                await socket.send(json.dumps(message))
            self.ctx.heard()
            for timeline in heard:
                async for step in self.catch_up(timeline):
                    yield step
            self._connected.set()
            async for text in socket:
                self.ctx.heard()
                message = _object(text)
                event = message.get("event")
                if isinstance(event, str):
                    name = _stream_name(message.get("stream"))
                    found = self._event(name, event, str(message.get("payload", "")))
                    if found is not None:
                        yield found
                elif "error" in message:
                    raise UpstreamTerminal(
                        f"{self.host} refuses a stream: {message['error']}.",
                        code="source.forbidden",
                        hint="Check the token and its scopes (read).",
                    )
                else:
                    self.ctx.count("event.unreadable")

    async def _settle(self, heard: list[Timeline]) -> AsyncGenerator[Step, None]:
        """Page once more: a server does not say from which moment on a stream is really heard."""
        await self._connected.wait()
        await self.ctx.clock.sleep(_SETTLED_S)
        for timeline in heard:
            async for step in self.catch_up(timeline, timedelta(seconds=6 * _SETTLED_S)):
                yield step

    def _event(self, timeline: str, event: str, data: str) -> Step | None:
        if event == "delete":
            return Step(deleted=[data.strip()]) if data.strip().isalnum() else None
        if event not in ("update", "status.update"):
            return None
        status = _object(data)
        post = self._post(status)
        # An edit comes when it is made; where the timeline stands, only new posts tell.
        newest = (timeline, status["id"]) if event == "update" and _has_id(status) else None
        return Step(posts=post, newest=newest) if post or newest else None

    # -- paging -------------------------------------------------------------------
    async def catch_up(
        self, timeline: Timeline, overlap: timedelta = _OVERLAP
    ) -> AsyncGenerator[Step, None]:
        """What came since the timeline was last seen, oldest first; the first time one page."""
        known = self.memory.newest.get(timeline.name)
        if known is None:
            first = self._page(timeline, await self._ask(timeline))
            first.newest = first.newest or (timeline.name, "0")
            yield first
            return
        at, got = id_before(known, overlap), 0
        for _ in range(_MAX_PAGES):
            statuses = await self._ask(timeline, min_id=at)
            newest = _newest(statuses)
            if newest is None or order_of(newest) <= order_of(at):
                break
            yield self._page(timeline, statuses)
            at, got = newest, got + len(statuses)
        else:
            latest = await self._ask(timeline)
            yield self._page(timeline, latest, [_gap(at, latest, "It moves on too fast to page")])
            return
        if got >= _HOME_POSTS and timeline.name.startswith(("home", "list:")):
            reason = f"The server keeps about {_HOME_POSTS} posts of it"
            yield Step(changes=[_gap(known, [], reason, timeline=timeline.name)])

    async def _ask(self, timeline: Timeline, **more: str) -> list[Any]:
        params = {"limit": str(_PAGE), **timeline.params, **more}
        return await self.api.page(timeline.path, params)

    def _page(self, timeline: Timeline, statuses: list[Any], changes: Any = ()) -> Step:
        posts = [post for status in reversed(statuses) for post in self._post(status)]
        newest = _newest(statuses)
        return Step(
            posts=posts, changes=changes, newest=(timeline.name, newest) if newest else None
        )

    def _post(self, status: Any) -> list[tuple[str, int, Document]]:
        """The status as a document, in a list; an empty one if it is not for us."""
        try:
            found = document(
                status, host=self.host, source=self.ctx.config.name, now=self.ctx.clock.now()
            )
        except ContentError as error:
            self.ctx.count(error.code)
            return []
        return [(status["id"], edited_us(status), found)]

    async def _poll(self, polled: list[Timeline]) -> AsyncGenerator[Step, None]:
        """Timelines that cannot be heard, one after the other, again and again."""
        for handle in self.settings.accounts:
            id = self.memory.accounts.get(handle) or await self.api.account_id(handle, self.host)
            yield Step(note=partial(_know, handle=handle, id=id))
            polled.append(
                Timeline(
                    name=f"account:{handle}",
                    path=f"/api/v1/accounts/{quote(id)}/statuses",
                    params={"exclude_reblogs": "true"},
                )
            )
        overlap = _OVERLAP
        while True:
            for timeline in polled:
                async for step in self.catch_up(timeline, overlap):
                    yield step
            overlap = timedelta(seconds=min(self.settings.interval_s, _OVERLAP.total_seconds()))
            self.ctx.heard(
                state="" if self.api.token else "polling", next_in_s=self.settings.interval_s
            )
            await self.ctx.clock.sleep(self.settings.interval_s)

    async def _trends(self) -> AsyncGenerator[Step, None]:
        while True:
            for what in self.settings.trends:
                found = await self.api.page(f"/api/v1/trends/{_TREND_PATHS[what]}", {"limit": "20"})
                yield self._trending(what, found)
            if not timelines(self.settings) and not self.settings.accounts:
                self.ctx.heard(state="polling", next_in_s=self.settings.trends_interval_s)
            await self.ctx.clock.sleep(self.settings.trends_interval_s)

    def _trending(self, what: str, found: list[Any]) -> Step:
        if what == "statuses":
            return Step(posts=[post for status in found for post in self._post(status)])
        source, now = self.ctx.config.name, self.ctx.clock.now()
        changes: list[Change] = []
        for thing in found:
            try:
                if what == "links":
                    made = link_document(thing, host=self.host, source=source, now=now)
                else:
                    made = tag_document(thing, host=self.host, source=source)
                changes.append(Upsert(made))
            except ContentError as error:
                self.ctx.count(error.code)
        return Step(changes=changes)

    # -- what was deleted -----------------------------------------------------------
    async def _recheck(self) -> AsyncGenerator[Step, None]:
        """Ask again for what is held of late; what the server has no more was deleted."""
        clock, settings = self.ctx.clock, self.settings
        while True:
            now = clock.now()
            due_s = settings.recheck_every_s - (to_us(now) - self.memory.checked_us) / 1e6
            if self.memory.checked_us and due_s > 0:
                await clock.sleep(due_s)
            since = clock.now() - timedelta(days=settings.recheck_days)
            ids = await self._held(since)
            for start in range(0, len(ids), 20):
                yield await self._look_again(ids[start : start + 20])
            yield Step(note=partial(_checked, at_us=to_us(clock.now())))
            await clock.sleep(settings.recheck_every_s)

    async def _held(self, since: datetime) -> list[str]:
        """Ids of posts first seen since then, newest first, as many as may be checked."""
        prefix = key_of(self.host, "")
        ids: dict[str, None] = {}
        while True:
            held = await self.ctx.held(since)
            if not held:
                break
            for key, _ in held:
                id = key.removeprefix(prefix)
                if key.startswith(prefix) and "/" not in id and id not in self.memory.gone:
                    ids.pop(id, None)
                    ids[id] = None
            since = held[-1][1] + timedelta(microseconds=1)
        return list(ids)[: -self.settings.recheck_posts - 1 : -1]

    async def _look_again(self, ids: list[str]) -> Step:
        posts: list[tuple[str, int, Document]] = []
        deleted: list[str] = []
        found = None if self._single else await self.api.statuses(ids)
        if found is None:
            self._single = True
        for id in ids:
            if found is not None and id in found:
                status: Any = found[id]
            else:
                # Absence from a list is no proof: the server is asked for this one.
                status = await self.api.status(id)
            if status is None or _hidden_now(status):
                deleted.append(id)
            else:
                posts += self._post(status)
        return Step(posts=posts, deleted=deleted)


def _know(memory: Memory, *, handle: str, id: str) -> None:
    memory.accounts[handle] = id


def _checked(memory: Memory, *, at_us: int) -> None:
    memory.checked_us = at_us


def _hidden_now(status: Any) -> bool:
    return isinstance(status, dict) and status.get("visibility") not in ("public", None)


def _has_id(status: Mapping[str, Any]) -> bool:
    return isinstance(status.get("id"), str) and bool(status["id"])


def _newest(statuses: list[Any]) -> str | None:
    ids = [s["id"] for s in statuses if isinstance(s, dict) and _has_id(s)]
    return max(ids, key=order_of, default=None)


def _gap(known: str, latest: list[Any], reason: str, *, timeline: str = "") -> Gap:
    ids = [s["id"] for s in latest if isinstance(s, dict) and _has_id(s)]
    oldest = min(ids, key=order_of, default="")
    where = f" ({timeline})" if timeline else ""
    text = f"{reason}{where}; posts in between may be missing."
    start, end = moment_of(known), moment_of(oldest)
    return Gap(reason=text, start=start, end=end if start and end and start < end else None)


def _stream_name(stream: Any) -> str:
    """The timeline that a WebSocket message belongs to, by our names."""
    parts = [str(part) for part in stream] if isinstance(stream, list) else []
    names = {"public": "public", "public:local": "local", "user": "home"}
    if len(parts) == 2:
        return f"{'tag' if parts[0] == 'hashtag' else parts[0]}:{parts[1]}"
    return names.get(parts[0], parts[0]) if parts else ""


def _object(text: str | bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


SOURCE = SourceSpec(
    name="mastodon",
    title="Mastodon",
    docs_url="reference/sources/mastodon",
    follow=follow,
    settings=MastodonSettings,
    policy=Policy(),
    state="live",
    identify=identify,
    examples=("@name@mastodon.social", "https://mastodon.social/tags/bridge"),
)
