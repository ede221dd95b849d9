"""Mastodon: timelines heard live with a token, polled without; trends; deletes and edits.

A stream has no replay, so after each connection what was missed is paged by `min_id`; what the
server cannot give any more is a gap. Deletes arrive on streams only: what is held from the last
days is asked for again now and then, and what is missing was deleted. Only public posts are kept.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from contextlib import aclosing
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal
from urllib.parse import quote, urlencode, urlsplit

import msgspec
from pydantic import Field, SecretStr, field_validator, model_validator

from gnomon.clock import to_us
from gnomon.errors import ContentError, UpstreamTerminal, UpstreamTransient
from gnomon.sources.base import Context, SourceSettings, SourceSpec, reveal
from gnomon.sources.mastodon_api import Api
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
from gnomon.sources.merge import merged
from gnomon.sources.polling import web_address
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

_PAGE = 40
_MAX_PAGES = 25
"""Pages that one catching-up may take; a busy timeline would never let it end."""
_OVERLAP = timedelta(minutes=10)
"""Posts of other servers may arrive so late, and sort where they were written."""
_SETTLED_S = 5.0
_SOCKET_IDLE_S = 3_600.0
"""A quiet timeline sends nothing for long; that the connection lives, pings of the door tell."""
_REMEMBERED = 2_000
_HOME_POSTS = 400
"""What a server promises to keep of a home or list timeline."""
_ACCOUNT = re.compile(r"@?([A-Za-z0-9_][A-Za-z0-9_.-]*)@([A-Za-z0-9.-]+\.[A-Za-z0-9-]+(?::\d+)?)")
_TREND_PATHS = {"links": "links", "statuses": "statuses", "tags": "tags"}


class MastodonSettings(SourceSettings):
    """Settings of one Mastodon server."""

    server: str = Field(description="The server: `mastodon.example` or `https://…`.")
    token: SecretStr | None = Field(
        None, description="A user's access token, best as `env:NAME` or `file:PATH`."
    )
    public: bool = Field(False, description="Follow everything the server sees.")
    local: bool = Field(False, description="Follow what the server's own users write.")
    home: bool = Field(False, description="Follow the home timeline of the token's user.")
    tags: tuple[str, ...] = Field((), description="Hashtags to follow.")
    lists: tuple[str, ...] = Field((), description="Ids of lists of the token's user.")
    accounts: tuple[str, ...] = Field((), description="Accounts to follow, `@user@host`.")
    trends: tuple[Literal["links", "statuses", "tags"], ...] = Field(
        (), description="What is trending there."
    )
    transport: Literal["auto", "sse", "websocket"] = Field(
        "auto", description="`auto` takes one WebSocket where more than one timeline is heard."
    )
    interval_s: float = Field(120.0, ge=0.05, description="Time between two polls of a timeline.")
    trends_interval_s: float = Field(900.0, ge=0.05, description="Time between looks at trends.")
    recheck_every_s: float = Field(
        3_600.0, gt=0, description="Time between two searches for what was deleted."
    )
    recheck_days: float = Field(2.0, ge=0, description="How old posts are that are checked so.")
    recheck_posts: int = Field(200, ge=0, description="How many of them at most, newest first.")
    idle_s: float = Field(
        90.0, gt=0, description="Longest silence of an SSE stream; heartbeats come each 30 seconds."
    )

    @field_validator("server")
    @classmethod
    def _is_an_address(cls, server: str) -> str:
        url = web_address(server.strip().rstrip("/"))
        if not url or urlsplit(url).path.strip("/"):
            raise ValueError(f"{server!r} is no server")
        return url

    @field_validator("tags")
    @classmethod
    def _without_marks(cls, tags: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(tag.strip().lstrip("#").lower() for tag in tags if tag.strip()))

    @model_validator(mode="after")
    def _is_enough(self) -> MastodonSettings:
        if not (timelines(self) or self.accounts or self.trends):
            raise ValueError(
                "choose at least one of public, local, home, tags, lists, accounts, trends"
            )
        if (self.home or self.lists) and self.token is None:
            raise ValueError("home and lists need a token")
        return self


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """One timeline: how it is paged, and how it is heard."""

    name: str
    path: str
    params: Mapping[str, str] = {}
    stream: str = ""
    """Its name in the WebSocket; empty if it cannot be heard."""
    sse: str = ""


def timelines(settings: MastodonSettings) -> list[Timeline]:
    """The configured timelines, but accounts, whose ids the server has to tell."""
    found = []
    at = "/api/v1/timelines"
    if settings.public:
        found.append(Timeline(name="public", path=f"{at}/public", stream="public", sse="public"))
    if settings.local:
        found.append(
            Timeline(
                name="local",
                path=f"{at}/public",
                params={"local": "true"},
                stream="public:local",
                sse="public/local",
            )
        )
    if settings.home:
        found.append(Timeline(name="home", path=f"{at}/home", stream="user", sse="user"))
    for tag in settings.tags:
        found.append(
            Timeline(
                name=f"tag:{tag}", path=f"{at}/tag/{quote(tag)}", stream="hashtag", sse="hashtag"
            )
        )
    for number in settings.lists:
        found.append(
            Timeline(
                name=f"list:{number}", path=f"{at}/list/{quote(number)}", stream="list", sse="list"
            )
        )
    return found


class _Memory(msgspec.Struct, omit_defaults=True):
    """The cursor, opened."""

    newest: dict[str, str] = {}
    """By timeline, the largest id that was handed over."""
    accounts: dict[str, str] = {}
    edited: dict[str, int] = {}
    """By id, when the version was made that was handed over, of posts that were edited."""
    gone: dict[str, int] = {}
    """Deleted lately: a late repetition must not bring them back."""
    checked_us: int = 0

    @classmethod
    def restore(cls, cursor: Cursor | None) -> _Memory:
        if cursor is None:
            return cls()
        try:
            return msgspec.json.decode(cursor, type=cls)
        except msgspec.DecodeError:
            return cls()

    def cursor(self) -> Cursor:
        for known in (self.edited, self.gone):
            for id in list(known)[:-_REMEMBERED]:
                del known[id]
        return msgspec.json.encode(self).decode()

    def accept(self, step: _Step, host: str, now: datetime) -> list[Change]:
        """Bring the memory up to date; returns what is to be handed over."""
        changes: list[Change] = []
        for id, made_us, found in step.posts:
            if id in self.gone or self.edited.get(id, 0) > made_us:
                continue
            if made_us:
                self.edited.pop(id, None)
                self.edited[id] = made_us
            changes.append(Upsert(found))
        for id in step.deleted:
            self.gone[id] = to_us(now)
            changes.append(Delete(key=key_of(host, id)))
        changes += step.changes
        if step.newest and order_of(step.newest[1]) > order_of(self.newest.get(step.newest[0], "")):
            self.newest[step.newest[0]] = step.newest[1]
        if step.note is not None:
            step.note(self)
        return changes


class _Step:
    """What one part of the source found, and what is true of the memory after it."""

    def __init__(
        self,
        *,
        posts: Iterable[tuple[str, int, Document]] = (),
        deleted: Iterable[str] = (),
        changes: Iterable[Change] = (),
        newest: tuple[str, str] | None = None,
        note: Callable[[_Memory], object] | None = None,
    ) -> None:
        self.posts = list(posts)
        """(id, when this version was made, document)"""
        self.deleted = list(deleted)
        self.changes = list(changes)
        self.newest = newest
        self.note = note


async def follow(ctx: Context, cursor: Cursor | None) -> AsyncIterator[Batch]:
    """Listen and poll for ever; see the module's promise."""
    settings: MastodonSettings = ctx.settings
    token = reveal(settings.token) if settings.token is not None else ""
    follower = _Follower(ctx, Api(ctx, settings.server, token), _Memory.restore(cursor))
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

    def __init__(self, ctx: Context, api: Api, memory: _Memory) -> None:
        self.ctx = ctx
        self.api = api
        self.memory = memory
        self.settings: MastodonSettings = ctx.settings
        self.host = urlsplit(self.settings.server).netloc.lower()
        self._single = False
        self._connected = asyncio.Event()

    async def parts(self) -> list[AsyncGenerator[_Step, None]]:
        """What has to be done at the same time."""
        instance = await self.api.instance()
        wanted = timelines(self.settings)
        heard: list[Timeline] = wanted if self.api.token else []
        parts: list[AsyncGenerator[_Step, None]] = []
        if heard:
            url = self.api.streaming_url(instance)
            several = self.settings.transport == "auto" and len(heard) > 1
            if several or self.settings.transport == "websocket":
                parts.append(self._socket(url, heard))
            else:
                parts += [self._events(url, timeline) for timeline in heard]
            parts.append(self._settle(heard))
        refused = [t for t in wanted if t not in heard and not _open(instance, t)]
        polled = [t for t in wanted if t not in heard and t not in refused]
        if refused and not (polled or heard or self.settings.accounts or self.settings.trends):
            raise UpstreamTerminal(
                f"{self.host} shows {', '.join(t.name for t in refused)} to its users only, "
                "so it needs a key.",
                code="source.needs_key",
                hint="Set token of this source to env:NAME or file:PATH.",
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

    async def _refused(self, refused: list[Timeline]) -> AsyncGenerator[_Step, None]:
        names = ", ".join(timeline.name for timeline in refused)
        text = f"{self.host} shows {names} to its users only: set a token, or leave it out."
        yield _Step(changes=[Notice(code="mastodon.needs_key", text=text, level="warning")])

    # -- listening --------------------------------------------------------------
    async def _events(self, base: str, timeline: Timeline) -> AsyncGenerator[_Step, None]:
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

    async def _socket(self, base: str, heard: list[Timeline]) -> AsyncGenerator[_Step, None]:
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

    async def _settle(self, heard: list[Timeline]) -> AsyncGenerator[_Step, None]:
        """Page once more: a server does not say from which moment on a stream is really heard."""
        await self._connected.wait()
        await self.ctx.clock.sleep(_SETTLED_S)
        for timeline in heard:
            async for step in self.catch_up(timeline, timedelta(seconds=6 * _SETTLED_S)):
                yield step

    def _event(self, timeline: str, event: str, data: str) -> _Step | None:
        if event == "delete":
            return _Step(deleted=[data.strip()]) if data.strip().isalnum() else None
        if event not in ("update", "status.update"):
            return None
        status = _object(data)
        post = self._post(status)
        # An edit comes when it is made; where the timeline stands, only new posts tell.
        newest = (timeline, status["id"]) if event == "update" and _has_id(status) else None
        return _Step(posts=post, newest=newest) if post or newest else None

    # -- paging -------------------------------------------------------------------
    async def catch_up(
        self, timeline: Timeline, overlap: timedelta = _OVERLAP
    ) -> AsyncGenerator[_Step, None]:
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
            yield _Step(changes=[_gap(known, [], reason, timeline=timeline.name)])

    async def _ask(self, timeline: Timeline, **more: str) -> list[Any]:
        params = {"limit": str(_PAGE), **timeline.params, **more}
        return await self.api.page(timeline.path, params)

    def _page(self, timeline: Timeline, statuses: list[Any], changes: Any = ()) -> _Step:
        posts = [post for status in reversed(statuses) for post in self._post(status)]
        newest = _newest(statuses)
        return _Step(
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

    async def _poll(self, polled: list[Timeline]) -> AsyncGenerator[_Step, None]:
        """Timelines that cannot be heard, one after the other, again and again."""
        for handle in self.settings.accounts:
            id = self.memory.accounts.get(handle) or await self.api.account_id(handle, self.host)
            yield _Step(note=partial(_know, handle=handle, id=id))
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

    async def _trends(self) -> AsyncGenerator[_Step, None]:
        while True:
            for what in self.settings.trends:
                found = await self.api.page(f"/api/v1/trends/{_TREND_PATHS[what]}", {"limit": "20"})
                yield self._trending(what, found)
            if not timelines(self.settings) and not self.settings.accounts:
                self.ctx.heard(state="polling", next_in_s=self.settings.trends_interval_s)
            await self.ctx.clock.sleep(self.settings.trends_interval_s)

    def _trending(self, what: str, found: list[Any]) -> _Step:
        if what == "statuses":
            return _Step(posts=[post for status in found for post in self._post(status)])
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
        return _Step(changes=changes)

    # -- what was deleted -----------------------------------------------------------
    async def _recheck(self) -> AsyncGenerator[_Step, None]:
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
            yield _Step(note=partial(_checked, at_us=to_us(clock.now())))
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

    async def _look_again(self, ids: list[str]) -> _Step:
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
        return _Step(posts=posts, deleted=deleted)


def _know(memory: _Memory, *, handle: str, id: str) -> None:
    memory.accounts[handle] = id


def _checked(memory: _Memory, *, at_us: int) -> None:
    memory.checked_us = at_us


def _open(instance: Mapping[str, Any], timeline: Timeline) -> bool:
    """Whether the server shows this timeline to everybody; what it does not say is tried."""
    configuration = instance.get("configuration")
    access = configuration.get("timelines_access") if isinstance(configuration, dict) else None
    feeds = "hashtag_feeds" if timeline.name.startswith("tag:") else "live_feeds"
    rules = access.get(feeds) if isinstance(access, dict) else None
    if not isinstance(rules, dict):
        return True
    parts = ("local",) if timeline.name == "local" else ("local", "remote")
    return any(rules.get(part) in ("public", None) for part in parts)


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


def identify(text: str) -> SourceConfig | None:
    """`@user@host`, a profile's address, a tag's address, or a server behind `mastodon:`."""
    text = text.strip()
    named = text.startswith("mastodon:")
    text = text.removeprefix("mastodon:").strip()
    account = _ACCOUNT.fullmatch(text)
    if account is not None and text.startswith("@"):
        user, host = account.groups()
        return _config(f"https://{host}", host, f"@{user}", accounts=[f"@{user}@{host}"])
    url = web_address(text)
    parts = urlsplit(url)
    server, path = f"{parts.scheme}://{parts.netloc}", parts.path.strip("/").split("/")
    if url and len(path) == 1 and re.fullmatch(r"@[A-Za-z0-9_.-]+(@[A-Za-z0-9.-]+)?", path[0]):
        handle = path[0] if "@" in path[0][1:] else f"{path[0]}@{parts.netloc}"
        return _config(server, parts.netloc, path[0], accounts=[handle])
    if url and len(path) == 2 and path[0] == "tags" and named:
        return _config(server, parts.netloc, f"#{path[1]}", tags=[path[1]])
    if url and named and path == [""]:
        return _config(server, parts.netloc, "", trends=["links", "statuses"])
    return None


def _config(server: str, host: str, what: str, **settings: Any) -> SourceConfig:
    name = f"mastodon:{host.lower()}{'/' if what else ''}{what}"
    return SourceConfig(name=name, type="mastodon", settings={"server": server, **settings})


SOURCE = SourceSpec(
    name="mastodon",
    title="Mastodon",
    docs_url="reference/sources/mastodon",
    follow=follow,
    settings=MastodonSettings,
    policy=Policy(),
    state="live",
    identify=identify,
)
