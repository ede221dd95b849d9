"""A stand-in for a Mastodon server: timelines, trends, look-ups, streams by SSE and WebSocket.

It shows what a test or the demo world publishes to whoever asks, as Mastodon's documentation says:
paged by `min_id`, limited to 300 requests in five minutes, streamed to users with a token only.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from html import escape
from typing import Any, ClassVar

from gnomon.clock import Clock
from gnomon.testing.api_server import ApiReply, ApiRequest, ApiServer, Hangup, Talk, as_json

_STREAM = "/api/v1/streaming"
_STREAM_FAULTS = ("drop", "stall", "duplicate", "reorder", "truncated", "garbage", "unknown")
_PICTURE = "https://files.example.org/missing.png"
_MAX_PAGE = 40


class _Listener:
    def __init__(self, names: Sequence[tuple[str, str]]) -> None:
        self.names = list(names)
        self.events: asyncio.Queue[tuple[str, str, list[str]]] = asyncio.Queue()


class MastodonServer(ApiServer):
    """One server with its users; `async with MastodonServer() as server: ...`."""

    FAULTS: ClassVar[Mapping[str, str]] = {
        "refuse": "closes the connection without an answer",
        "drop": "breaks the stream off instead of sending the next event",
        "stall": "falls silent for good instead, without heartbeats",
        "duplicate": "sends the next event twice",
        "reorder": "sends the next event after the one that follows it",
        "truncated": "sends half of the next event and breaks off",
        "garbage": "sends an event that is no JSON before the next one",
        "unknown": "sends an event of an unknown kind before the next one",
        "skew": "dates the next post two years ahead",
        "unpaged": "ignores `min_id` once, and serves the newest page",
    }

    def __init__(
        self,
        *,
        token: str = "user-token",  # noqa: S107 - known to whoever tests
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Clock | None = None,
        keep_alive_s: float = 30.0,
        access: str = "public",
        page: int = _MAX_PAGE,
        many_at_once: bool = True,
    ) -> None:
        super().__init__(host=host, port=port, clock=clock)
        self.token = token
        self.keep_alive_s = keep_alive_s
        self.access = access
        """Who may read the public timelines: `public`, `authenticated` or `disabled`."""
        self.page = page
        self.many_at_once = many_at_once
        """Whether several statuses can be asked for in one request (Mastodon 4.3)."""
        self.lists: dict[str, set[str]] = {}
        self.follows: set[str] = set()
        """Whom the token's user follows; its own posts are at home, too."""
        self.trending: list[str] = []
        """Ids of the trending statuses."""
        self._statuses: dict[str, dict[str, Any]] = {}
        self._accounts: dict[str, dict[str, Any]] = {}
        self._links: list[dict[str, Any]] = []
        self._tags: list[dict[str, Any]] = []
        self._listeners: list[_Listener] = []
        self._last_id = 0
        self._asked_at: list[datetime] = []

    # -- what happens there ---------------------------------------------------
    def account(self, acct: str, **traits: Any) -> dict[str, Any]:
        """An account (`ann`, `bob@elsewhere.example`), made when first named; traits change it."""
        if acct not in self._accounts:
            username, _, host = acct.partition("@")
            url = f"https://{host}/@{username}" if host else f"{self.url}/@{username}"
            self._accounts[acct] = {
                "id": str(1_000 + len(self._accounts)),
                "username": username,
                "acct": acct,
                "display_name": username.title(),
                "locked": False,
                "bot": False,
                "discoverable": True,
                "indexable": True,
                "noindex": False,
                "group": False,
                "created_at": "2024-05-01T00:00:00.000Z",
                "note": "",
                "url": url,
                "uri": url,
                **dict.fromkeys(("avatar", "avatar_static", "header", "header_static"), _PICTURE),
                **dict.fromkeys(("followers_count", "following_count", "statuses_count"), 0),
                "last_status_at": None,
                "emojis": [],
                "fields": [],
            }
        self._accounts[acct].update(traits)
        return self._accounts[acct]

    def publish(
        self,
        text: str,
        *,
        acct: str = "ann",
        visibility: str = "public",
        lang: str | None = "en",
        warning: str = "",
        tags: Sequence[str] = (),
        reply_to: str = "",
        quotes: str = "",
        poll: Sequence[str] = (),
        pictures: Sequence[str] = (),
        boosts: str = "",
        at: datetime | None = None,
    ) -> str:
        """Write a post; returns its id. `at` lets it arrive late. HTML is made of `text`."""
        now = self.clock.now()
        at = at or now
        if self.fault("", "skew"):
            at = now + timedelta(days=730)
        self._last_id = max(self._last_id + 1, int(at.timestamp() * 1000) << 16)
        id = str(self._last_id)
        if at < now:
            id, self._last_id = str(int(at.timestamp() * 1000) << 16), self._last_id - 1
        account = self.account(acct)
        status = {
            "id": id,
            "created_at": _iso(at),
            "in_reply_to_id": reply_to or None,
            "in_reply_to_account_id": None,
            "sensitive": bool(warning),
            "spoiler_text": warning,
            "visibility": visibility,
            "language": lang,
            "uri": f"{account['uri']}/statuses/{id}",
            "url": f"{account['url']}/{id}",
            **dict.fromkeys(("replies_count", "reblogs_count", "favourites_count"), 0),
            "edited_at": None,
            "content": _markup(text),
            "reblog": self._statuses[boosts] if boosts else None,
            "account": account,
            "media_attachments": [_picture(n, words) for n, words in enumerate(pictures)],
            "mentions": [],
            "tags": [{"name": tag, "url": f"{self.url}/tags/{tag}"} for tag in tags],
            "emojis": [],
            "card": None,
            "poll": _poll(id, poll) if poll else None,
        }
        if quotes:
            quoted = {**self._statuses[quotes], "quote": None}
            status["quote"] = {"state": "accepted", "quoted_status": quoted}
        self._statuses[id] = status
        self._tell("update", json.dumps(status), status)
        return id

    def boost(self, id: str, *, acct: str = "bob") -> str:
        """Boost a post; returns the id of the boost."""
        return self.publish("", acct=acct, boosts=id)

    def edit(self, id: str, text: str) -> None:
        """Change what a post says."""
        status = self._statuses[id]
        status |= {"content": _markup(text), "edited_at": _iso(self.clock.now())}
        self._tell("status.update", json.dumps(status), status)

    def delete(self, id: str) -> None:
        """Delete a post."""
        status = self._statuses.pop(id)
        self._tell("delete", id, status)

    def trend_link(self, url: str, title: str, description: str = "", **card: Any) -> None:
        """Let an article trend."""
        self._links.append(
            {
                "url": url,
                "title": title,
                "description": description,
                "type": "link",
                **dict.fromkeys(("author_name", "author_url", "provider_url"), ""),
                "provider_name": "Example",
                **dict.fromkeys(("html", "embed_url"), ""),
                "authors": [],
                "width": 0,
                "height": 0,
                "image": None,
                "blurhash": None,
                "published_at": None,
                "history": _history(),
                **card,
            }
        )

    def trend_tag(self, name: str) -> None:
        """Let a hashtag trend."""
        id = str(len(self._tags) + 1)
        url = f"{self.url}/tags/{name}"
        self._tags.append({"id": id, "name": name, "url": url, "history": _history()})

    @property
    def listening(self) -> int:
        """Open streams."""
        return len(self._listeners)

    def disconnect(self) -> None:
        """Break every open stream off."""
        for listener in self._listeners:
            listener.events.put_nowait(("drop", "", []))

    def _tell(self, event: str, payload: str, status: Mapping[str, Any]) -> None:
        for listener in self._listeners:
            for name in listener.names:
                if self._belongs(status, *name):
                    stream = [part for part in name if part]
                    listener.events.put_nowait((event, payload, stream))

    def _belongs(self, status: Mapping[str, Any], stream: str, value: str) -> bool:
        acct = status["account"]["acct"]
        if stream == "user":
            return acct in self.follows
        if stream == "list":
            return acct in self.lists.get(value, set())
        if status["visibility"] != "public" or status["reblog"] or status["content"] == "":
            return False
        if stream == "hashtag":
            return value.lower() in (tag["name"].lower() for tag in status["tags"])
        return stream == "public" or ("@" not in acct and stream == "public:local")

    # -- HTTP -----------------------------------------------------------------
    async def answer(self, request: ApiRequest) -> ApiReply:
        """The API's answer."""
        limits = self._limit()
        if isinstance(limits, ApiReply):
            return limits
        if request.path.startswith(_STREAM):
            return self._stream_reply(request)
        reply = self._route(request)
        return ApiReply(status=reply.status, body=reply.body, headers={**reply.headers, **limits})

    def _route(self, request: ApiRequest) -> ApiReply:
        path = request.path.rstrip("/")
        if path == "/api/v2/instance":
            return as_json(self._instance())
        if path == "/api/v1/instance":
            return as_json(self._older_instance())
        if path.startswith("/api/v1/timelines/"):
            return self._timeline(request, path.removeprefix("/api/v1/timelines/"))
        if path.startswith("/api/v1/trends/"):
            return self._trends(path.removeprefix("/api/v1/trends/"), request)
        if path == "/api/v1/accounts/lookup":
            account = self._accounts.get(request.query.get("acct", ""))
            return as_json(account) if account else _error(404, "Record not found")
        if path.startswith("/api/v1/accounts/") and path.endswith("/statuses"):
            id = path.split("/")[4]
            boosts = request.query.get("exclude_reblogs", "").lower() not in ("true", "1")
            return self._page_of(
                request,
                lambda s: (
                    s["account"]["id"] == id
                    and s["visibility"] in ("public", "unlisted")
                    and (boosts or not s["reblog"])
                ),
            )
        if path == "/api/v1/statuses" and self.many_at_once:
            wanted = [value for name, value in request.params if name in ("id[]", "id")]
            return as_json([self._statuses[id] for id in wanted if self._visible(id)])
        if path.startswith("/api/v1/statuses/"):
            id = path.rpartition("/")[2]
            return as_json(self._statuses[id]) if self._visible(id) else _error(404, _MISSING)
        return _error(404, _MISSING)

    def _visible(self, id: str) -> bool:
        status = self._statuses.get(id)
        return status is not None and status["visibility"] in ("public", "unlisted")

    def _user(self, request: ApiRequest) -> bool:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        given = given or request.headers.get("sec-websocket-protocol", "")
        return (given or request.query.get("access_token", "")) == self.token

    def _limit(self) -> ApiReply | dict[str, str]:
        now = self.clock.now()
        window = timedelta(minutes=5)
        self._asked_at = [at for at in self._asked_at if now - window < at <= now]
        reset = (self._asked_at[0] if self._asked_at else now) + window
        headers = {
            "x-ratelimit-limit": "300",
            "x-ratelimit-remaining": str(max(299 - len(self._asked_at), 0)),
            "x-ratelimit-reset": _iso(reset),
        }
        if len(self._asked_at) >= 300:
            return as_json({"error": "Too many requests"}, 429, headers)
        self._asked_at.append(now)
        return headers

    def _timeline(self, request: ApiRequest, which: str) -> ApiReply:
        kind, _, value = which.partition("/")
        names = {"tag": "hashtag", "home": "user"}
        local = request.query.get("local", "").lower() in ("true", "1")
        stream = "public:local" if local and kind == "public" else names.get(kind, kind)
        private = kind in ("home", "list") or self.access != "public"
        if private and not self._user(request):
            return _error(401, "This method requires an authenticated user")
        if self.access == "disabled" and kind == "public":
            return _error(401, "This timeline is disabled")
        return self._page_of(request, lambda status: self._belongs(status, stream, value))

    def _page_of(self, request: ApiRequest, wanted: Callable[[dict[str, Any]], bool]) -> ApiReply:
        query = request.query
        limit = min(int(query.get("limit", "20")), self.page)
        found = sorted(
            (s for s in self._statuses.values() if wanted(s)), key=lambda s: int(s["id"])
        )
        least = int(query.get("min_id", query.get("since_id", "0")) or 0)
        most = int(query.get("max_id", str(1 << 70)))
        if "min_id" in query and self.fault(request.path, "unpaged"):
            least, query = 0, {}
        found = [s for s in found if least < int(s["id"]) < most]
        # `min_id` begins right behind it, everything else at the newest.
        some = (found[:limit] if "min_id" in query else found[-limit:])[::-1]
        headers = {}
        if some:
            base = f"{self.url}{request.path}"
            headers["link"] = (
                f'<{base}?max_id={some[-1]["id"]}>; rel="next", '
                f'<{base}?min_id={some[0]["id"]}>; rel="prev"'
            )
        return as_json(some, headers=headers)

    def _trends(self, what: str, request: ApiRequest) -> ApiReply:
        limit = int(request.query.get("limit", "10"))
        if what == "statuses":
            return as_json(
                [self._statuses[id] for id in self.trending if self._visible(id)][:limit]
            )
        return as_json((self._links if what == "links" else self._tags)[:limit])

    def _older_instance(self) -> dict[str, Any]:
        """What clients of the first version of the API ask for."""
        newer = self._instance()
        same = ("title", "version", "description", "languages", "rules", "configuration")
        return {
            **{name: newer[name] for name in same},
            "uri": newer["domain"],
            "short_description": newer["description"],
            "email": newer["contact"]["email"],
            "urls": {"streaming_api": newer["configuration"]["urls"]["streaming"]},
            "stats": {"user_count": len(self._accounts), "status_count": 0, "domain_count": 1},
            "thumbnail": _PICTURE,
            "registrations": False,
            "approval_required": False,
            "invites_enabled": False,
            "contact_account": None,
        }

    def _instance(self) -> dict[str, Any]:
        access = {"local": self.access, "remote": self.access}
        tags = {k: "authenticated" if v == "disabled" else v for k, v in access.items()}
        return {
            "domain": self.address,
            "title": "A stand-in",
            "version": "4.7.0",
            "source_url": "https://github.com/mastodon/mastodon",
            "description": "Nothing here is real.",
            "usage": {"users": {"active_month": len(self._accounts)}},
            "thumbnail": {"url": _PICTURE},
            "icon": [],
            "languages": ["en"],
            "configuration": {
                "urls": {"streaming": f"ws://{self.address}"},
                "accounts": {"max_featured_tags": 10, "max_pinned_statuses": 5},
                "statuses": {
                    "max_characters": 500,
                    "max_media_attachments": 4,
                    "characters_reserved_per_url": 23,
                },
                "media_attachments": {
                    "supported_mime_types": ["image/png"],
                    **dict.fromkeys(
                        (
                            "image_size_limit",
                            "image_matrix_limit",
                            "video_size_limit",
                            "video_frame_rate_limit",
                            "video_matrix_limit",
                        ),
                        1_000_000,
                    ),
                },
                "polls": {
                    "max_options": 4,
                    "max_characters_per_option": 50,
                    "min_expiration": 300,
                    "max_expiration": 2_629_746,
                },
                "translation": {"enabled": False},
                "timelines_access": {"live_feeds": access, "hashtag_feeds": tags},
            },
            "registrations": {"enabled": False, "approval_required": False, "message": None},
            "api_versions": {"mastodon": 7},
            "contact": {"email": "nobody@example.org", "account": None},
            "rules": [],
        }

    # -- streams --------------------------------------------------------------
    def _stream_reply(self, request: ApiRequest) -> ApiReply:
        if request.path.endswith("/health"):
            return ApiReply(body=b"OK", headers={"content-type": "text/plain"})
        if not self._user(request):
            return _error(401, "Access token does not cover required scopes")
        if request.headers.get("upgrade", "").lower() == "websocket":
            stream = request.query.get("stream")
            value = request.query.get("tag") or request.query.get("list") or ""
            return ApiReply(talk=lambda talk: self._talk(talk, stream, value))
        which = request.path.removeprefix(f"{_STREAM}/")
        names = {"public/local": "public:local"}
        value = request.query.get("tag") or request.query.get("list") or ""
        name = (names.get(which, which), value)
        return ApiReply(
            headers={"content-type": "text/event-stream", "cache-control": "no-store"},
            stream=lambda: self._events(name),
        )

    async def _events(self, name: tuple[str, str]) -> AsyncGenerator[bytes, None]:
        listener = _Listener([name])
        self._listeners.append(listener)
        try:
            yield b":)\n"
            async for event in self._said(listener):
                if event is None:
                    yield b":thump\n"
                    continue
                kind, payload, _, half = event
                block = f"event: {kind}\ndata: {payload}\n\n".encode()
                yield block[: len(block) // 2] if half else block
                if half:
                    raise Hangup
        finally:
            self._listeners.remove(listener)

    async def _talk(self, talk: Talk, stream: str | None, value: str) -> None:
        listener = _Listener([(stream, value)] if stream else [])
        self._listeners.append(listener)

        async def obey() -> None:
            while (text := await talk.receive()) is not None:
                message = json.loads(text)
                named = message.get("stream", ""), message.get("tag") or message.get("list") or ""
                if message.get("type") == "subscribe":
                    listener.names.append(named)
                elif message.get("type") == "unsubscribe" and named in listener.names:
                    listener.names.remove(named)

        obeying = asyncio.create_task(obey())
        saying = asyncio.create_task(self._say(talk, listener))
        try:
            await asyncio.wait({obeying, saying}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (obeying, saying):
                task.cancel()
            await asyncio.gather(obeying, saying, return_exceptions=True)
            self._listeners.remove(listener)

    async def _say(self, talk: Talk, listener: _Listener) -> None:
        async for event in self._said(listener):
            if event is None:
                await talk.ping()
                continue
            kind, payload, stream, half = event
            text = json.dumps({"stream": stream, "event": kind, "payload": payload})
            await talk.send(text[: len(text) // 2] if half else text)
            if half:
                return

    async def _said(
        self, listener: _Listener
    ) -> AsyncGenerator[tuple[str, str, list[str], bool] | None, None]:
        """Events as they are to be sent, None for a heartbeat; the bool: only half of it."""
        late: list[tuple[str, str, list[str], bool]] = []
        while True:
            try:
                event, payload, stream = await asyncio.wait_for(
                    listener.events.get(), self.keep_alive_s
                )
            except TimeoutError:
                yield None
                for held in late:
                    yield held
                late.clear()
                continue
            fault = "drop" if event == "drop" else self.fault(_STREAM, *_STREAM_FAULTS)
            if fault == "drop":
                raise Hangup
            if fault == "stall":
                await asyncio.Event().wait()
            if fault == "reorder":
                late.append((event, payload, stream, False))
                continue
            if fault == "garbage":
                yield "update", "{[ no json", stream, False
            if fault == "unknown":
                yield "weather", '{"rain":1}', stream, False
            yield event, payload, stream, fault == "truncated"
            if fault == "duplicate":
                yield event, payload, stream, False
            for held in late:
                yield held
            late.clear()


_MISSING = "Record not found"


def _error(status: int, text: str) -> ApiReply:
    return as_json({"error": text}, status)


def _iso(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"


def _markup(text: str) -> str:
    paragraphs = (part for part in text.split("\n\n") if part)
    return "".join(f"<p>{escape(part)}</p>" for part in paragraphs)


def _picture(n: int, words: str) -> dict[str, Any]:
    urls = {"url": _PICTURE, "preview_url": _PICTURE, "remote_url": None}
    return {"id": str(n + 1), "type": "image", **urls, "description": words, "blurhash": None}


def _poll(id: str, options: Sequence[str]) -> dict[str, Any]:
    return {
        "id": id,
        "expires_at": None,
        "expired": False,
        "multiple": False,
        "votes_count": 0,
        "voters_count": 0,
        "options": [{"title": option, "votes_count": 0} for option in options],
        "emojis": [],
    }


def _history() -> list[dict[str, str]]:
    return [{"day": "1772323200", "accounts": "12", "uses": "15"}]
