"""A stand-in for Wikimedia's EventStreams: page changes and hidden revisions, as SSE.

It speaks as KafkaSSE does: two topics a stream (one per data centre), an id that holds the time
after the newest message of each, `Last-Event-ID` and `since`, nothing but `:ok` while it is quiet.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import quote
from uuid import NAMESPACE_URL, uuid5

import msgspec

from gnomon.clock import Clock, to_us
from gnomon.testing.api_server import ApiReply, ApiRequest, ApiServer, Hangup, as_json

PAGE_CHANGE = "mediawiki.page_change.v1"
VISIBILITY = "mediawiki.revision-visibility-change"
_PATH = "/v2/stream/"
_KEPT = 20_000
_CHANGELOG = {"create": "insert", "undelete": "insert", "delete": "delete"}
_HIDDEN = ("is_content_visible", "is_editor_visible", "is_comment_visible")


class _Message(msgspec.Struct):
    topic: str
    number: int
    ms: int
    event: dict[str, Any]


class _Page(msgspec.Struct):
    id: int
    wiki: str
    domain: str
    title: str
    namespace: int
    redirect: bool
    revision: dict[str, Any]


class WikimediaServer(ApiServer):
    """`async with WikimediaServer(clock=clock) as server: page = server.create("Mill Bridge")`."""

    FAULTS: ClassVar[Mapping[str, str]] = {
        "refuse": "closes the connection without an answer",
        "bad_id": "refuses the next Last-Event-ID with 400",
        "sign_in": "answers with an HTML page",
        "drop": "breaks the stream off instead of sending the next message",
        "end": "ends the stream properly instead of sending the next message",
        "stall": "falls silent for good instead of sending the next message",
        "duplicate": "sends the next message twice",
        "truncated": "sends half of the next message and breaks off",
        "garbage": "sends a message that is no JSON before the next one",
        "unknown": "sends a change of an unknown kind before the next one",
        "error": "sends an event `error` instead of the next message, and ends the stream",
        "skew": "dates the next change two years ahead",
    }
    _SENDING = ("drop", "end", "stall", "duplicate", "truncated", "garbage", "unknown", "error")

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Clock | None = None,
        asks_contact: bool = False,
        first_page: int = 1_000,
    ) -> None:
        super().__init__(host=host, port=port, clock=clock)
        self.asks_contact = asks_contact
        """Whether who gives no address in the user agent is turned away."""
        self.data_centre = "eqiad"
        """In whose topics messages appear; the other one is quiet."""
        self._pages: dict[int, _Page] = {}
        self._next_page = first_page
        self._next_revision = 10 * first_page
        self._log: list[_Message] = []
        self._dropped = 0
        self._numbers: dict[str, int] = {}
        self._news = asyncio.Event()
        self._generation = 0

    # -- what happens there ---------------------------------------------------
    def create(
        self,
        title: str,
        *,
        id: int | None = None,
        wiki: str = "enwiki",
        domain: str = "en.wikipedia.org",
        namespace: int = 0,
        redirect: bool = False,
        size: int = 1_000,
        comment: str = "",
        at: datetime | None = None,
        **who: Any,
    ) -> int:
        """Somebody (`user`, `bot`) starts a page; its id.

        What is told to have happened `at` a moment is sent then, too, and has the same id if it
        is told again after a restart.
        """
        if id is None:
            id, self._next_page = self._next_page, self._next_page + 1
        page = _Page(id, wiki, domain, title.replace(" ", "_"), namespace, redirect, {})
        self._pages[id] = page
        page.revision = self._revise(page, size=size, comment=comment, at=at, **who)
        self._change(page, "create", at=at, **who)
        return id

    def edit(
        self, page: int, *, size: int | None = None, comment: str = "", minor: bool = False,
        at: datetime | None = None, **who: Any,
    ) -> int:  # fmt: skip
        """Somebody edits a page; the id of the revision."""
        found = self._pages[page]
        before = found.revision
        size = before["rev_size"] + 10 if size is None else size
        found.revision = self._revise(found, size=size, comment=comment, at=at, **who)
        found.revision["is_minor_edit"] = minor
        self._change(found, "edit", at=at, prior_state={"revision": before}, **who)
        return int(found.revision["rev_id"])

    def move(
        self, page: int, title: str, *, namespace: int = 0, reason: str = "", **who: Any
    ) -> None:
        """Somebody gives a page another title."""
        found = self._pages[page]
        was = {"page_title": found.title, "namespace_id": found.namespace}
        found.title, found.namespace = title.replace(" ", "_"), namespace
        before = found.revision
        comment = f"moved [[{was['page_title']}]] to [[{title}]]: {reason}"
        found.revision = self._revise(found, size=before["rev_size"], comment=comment, **who)
        prior = {"page": was, "revision": before}
        self._change(found, "move", prior_state=prior, comment=reason, **who)

    def delete(self, page: int, *, reason: str = "", suppress: bool = False, **who: Any) -> None:
        """An administrator deletes a page, or (`suppress`) hides it from administrators, too."""
        found = self._pages[page]
        if not suppress:
            self._change(found, "delete", comment=reason, **who)
            return
        kept = ("rev_id", "rev_parent_id", "rev_dt", "is_minor_edit")
        shown = {name: found.revision[name] for name in kept if name in found.revision}
        hidden = {**shown, **dict.fromkeys(_HIDDEN, False)}
        prior = {"revision": dict.fromkeys(_HIDDEN, True)}
        self._change(found, "delete", revision=hidden, performer=None, prior_state=prior)

    def undelete(self, page: int, *, reason: str = "", **who: Any) -> None:
        """A deleted page is restored."""
        self._change(self._pages[page], "undelete", comment=reason, **who)

    def hide(self, page: int, revision: int | None = None, *, hidden: bool = True) -> None:
        """Text, user and summary of a revision (the current one if none is named) are hidden."""
        found = self._pages[page]
        current = found.revision["rev_id"]
        shown = not hidden
        if revision in (None, current):
            changed = found.revision | dict.fromkeys(_HIDDEN, shown)
            if hidden:
                changed = {k: v for k, v in changed.items() if k not in ("comment", "editor")}
            prior = {"revision": dict.fromkeys(_HIDDEN, hidden)}
            self._change(found, "visibility_change", revision=changed, prior_state=prior)
        self._say(
            VISIBILITY,
            "/mediawiki/revision/visibility-change/1.0.0",
            found,
            {
                "database": found.wiki,
                "page_id": found.id,
                "page_title": found.title,
                "page_namespace": found.namespace,
                "rev_id": revision or current,
                "visibility": dict.fromkeys(("text", "user", "comment"), shown),
                "prior_state": {"visibility": dict.fromkeys(("text", "user", "comment"), hidden)},
            },
        )

    def forget(self, page: int) -> None:
        """A page that nobody will change any more makes room; what was said of it stays said."""
        self._pages.pop(page, None)

    def canary(self, data_centre: str = "eqiad") -> None:
        """The operators' hourly test message."""
        page = _Page(1, "canary", "canary", "TestPage10", 0, False, {"rev_id": 1, "rev_size": 1})
        now, self.data_centre = self.data_centre, data_centre
        self._change(page, "create")
        self.data_centre = now

    def disconnect(self) -> None:
        """End every stream properly, as the service does each quarter of an hour."""
        self._generation += 1
        self._wake()

    def expire(self, before: datetime) -> None:
        """Forget what is older, as the service does after a week."""
        ms = to_us(before) // 1_000
        kept = next((i for i, m in enumerate(self._log) if m.ms >= ms), len(self._log))
        self._forget(kept)

    # -- messages -------------------------------------------------------------
    def _revise(
        self, page: _Page, *, size: int, comment: str, at: datetime | None = None,
        user: str = "Ann", bot: bool = False,
    ) -> dict[str, Any]:  # fmt: skip
        id, self._next_revision = self._next_revision, self._next_revision + 1
        if at is not None:
            id = to_us(at) // 1_000
        parent = page.revision.get("rev_id")
        return {
            "rev_id": id,
            **({"rev_parent_id": parent} if parent else {}),
            "rev_dt": _iso(at or self.clock.now()),
            "is_minor_edit": False,
            "rev_size": size,
            "rev_sha1": f"{id:031x}",
            "comment": comment,
            "editor": _user(user, bot),
            **dict.fromkeys(_HIDDEN, True),
            "content_slots": {"main": {"slot_role": "main", "content_model": "wikitext"}},
        }

    def _change(
        self, page: _Page, kind: str, *, at: datetime | None = None, user: str = "Ann",
        bot: bool = False, **more: Any,
    ) -> None:  # fmt: skip
        event: dict[str, Any] = {
            "changelog_kind": _CHANGELOG.get(kind, "update"),
            "page_change_kind": kind,
            "dt": _iso(at or self.clock.now()),
            "wiki_id": page.wiki,
            "page": {
                "page_id": page.id,
                "page_title": page.title,
                "namespace_id": page.namespace,
                "is_redirect": page.redirect,
            },
            "performer": _user(user, bot),
            "revision": page.revision,
            **more,
        }
        event = {name: value for name, value in event.items() if value is not None}
        self._say(PAGE_CHANGE, "/mediawiki/page/change/1.2.0", page, event, at)

    def _say(
        self,
        stream: str,
        schema: str,
        page: _Page,
        event: dict[str, Any],
        at: datetime | None = None,
    ) -> None:
        now = at or self.clock.now()
        if self.fault(_PATH, "skew"):
            now += timedelta(days=730)
            event["dt"] = _iso(now)
        topic = f"{self.data_centre}.{stream}"
        number = self._numbers.get(topic, 0)
        self._numbers[topic] = number + 1
        ms = to_us(now) // 1_000
        count = self._dropped + len(self._log)
        about = f"{page.id} {event.get('page_change_kind')} {ms}" if at else f"{count}"
        meta = {
            "uri": f"https://{page.domain}/wiki/{quote(page.title)}",
            "request_id": str(uuid5(NAMESPACE_URL, f"request {about}")),
            "id": str(uuid5(NAMESPACE_URL, f"{stream} {about}")),
            "domain": page.domain,
            "stream": stream,
            "dt": _iso(now),
            "topic": topic,
            "partition": 0,
            "offset": number,
        }
        said = {"$schema": schema, "meta": meta, **event}
        # What the page becomes later must not change what was said of it.
        self._log.append(_Message(topic, number, ms, json.loads(json.dumps(said))))
        if len(self._log) > _KEPT:
            self._forget(_KEPT // 10)
        self._wake()

    def _forget(self, n: int) -> None:
        del self._log[:n]
        self._dropped += n

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    # -- HTTP -----------------------------------------------------------------
    async def answer(self, request: ApiRequest) -> ApiReply:
        """A stream, or why there is none."""
        agent = request.headers.get("user-agent", "")
        if self.asks_contact and "@" not in agent and "http" not in agent:
            return as_json({"status": 403, "detail": "Please set a user-agent with contact."}, 403)
        if self.fault(request.path, "sign_in"):
            return ApiReply(body=b"<title>Sign in</title>", headers={"content-type": "text/html"})
        streams = request.path.removeprefix(_PATH).split(",")
        unknown = [name for name in streams if name not in (PAGE_CHANGE, VISIBILITY)]
        if not request.path.startswith(_PATH) or unknown:
            return _problem(400, "not_found", f"Invalid streams: {','.join(unknown)}")
        topics = [f"{centre}.{name}" for name in streams for centre in ("eqiad", "codfw")]
        at: dict[str, int] = {}
        if (last := request.headers.get("last-event-id")) is not None:
            try:
                at = self._assigned(json.loads(last), topics)
            except (ValueError, KeyError, TypeError) as error:
                return _problem(400, "InvalidAssignmentError", str(error))
            if self.fault(request.path, "bad_id"):
                return _problem(400, "InvalidAssignmentError", "Assignments are not valid.")
        elif "since" in request.query:
            since = _parse_since(request.query["since"])
            if since is None:
                return _problem(400, "invalid_timestamp", "since was not parseable")
            at = {topic: self._offset_at(topic, since) for topic in topics}
        for topic in topics:
            at.setdefault(topic, self._numbers.get(topic, 0))
        return ApiReply(
            headers={
                "content-type": "text/event-stream; charset=utf-8",
                "cache-control": "private, no-cache, no-store",
            },
            stream=lambda: self._messages(at),
        )

    def _assigned(self, assignments: Any, topics: list[str]) -> dict[str, int]:
        """Where to begin in each topic, as Last-Event-ID says."""
        at = {}
        for one in assignments:
            topic = one["topic"]
            if topic not in topics or one["partition"] != 0:
                raise ValueError(f"topic {topic} is not available")
            if "timestamp" in one:
                at[topic] = self._offset_at(topic, int(one["timestamp"]))
            elif one["offset"] >= 0:
                at[topic] = int(one["offset"])
        return at

    def _offset_at(self, topic: str, ms: int) -> int:
        """Of the first message of that time or later; else the end."""
        found = (m.number for m in self._log if m.topic == topic and m.ms >= ms)
        return next(found, self._numbers.get(topic, 0))

    async def _messages(self, at: dict[str, int]) -> AsyncGenerator[bytes, None]:
        """Messages from there on; until then a topic is known by its offset alone."""
        yield b":ok\n\n"
        ids: dict[str, dict[str, Any]] = {
            topic: {"topic": topic, "partition": 0, "offset": at[topic] if at[topic] else -1}
            for topic in at
        }
        generation, position = self._generation, self._dropped
        while True:
            if self._generation != generation:
                return
            position = max(position, self._dropped)
            if position >= self._dropped + len(self._log):
                await self._news.wait()
                continue
            message = self._log[position - self._dropped]
            position += 1
            if message.number < at.get(message.topic, 1 << 60):
                continue
            fault = self.fault(_PATH, *self._SENDING)
            if fault == "drop":
                raise Hangup
            if fault == "end":
                return
            if fault == "stall":
                await asyncio.Event().wait()
            if fault == "error":
                yield _block(ids, {"message": "Local: Broker transport failure"}, "error")
                return
            if fault == "garbage":
                yield _block(ids, '{"meta": ')
            if fault == "unknown":
                odd = {**message.event, "page_change_kind": "illustrate", "new_field": {"a": [1]}}
                meta = {**odd["meta"], "id": str(uuid5(NAMESPACE_URL, f"odd {position}"))}
                yield _block(ids, {**odd, "meta": meta})
            ids[message.topic] = {
                "topic": message.topic,
                "partition": 0,
                "timestamp": message.ms + 1,
            }
            block = _block(ids, message.event)
            if fault == "truncated":
                yield block[: len(block) // 2]
                raise Hangup
            yield block * 2 if fault == "duplicate" else block


def _block(ids: Mapping[str, Any], data: Any, event: str = "message") -> bytes:
    shown = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    return f"event: {event}\nid: {json.dumps(list(ids.values()))}\ndata: {shown}\n\n".encode()


def _problem(status: int, type: str, detail: str) -> ApiReply:
    return as_json({"status": status, "type": type, "detail": detail}, status)


def _parse_since(text: str) -> int | None:
    if text.isdecimal():
        return int(text)
    try:
        return to_us(datetime.fromisoformat(text)) // 1_000
    except ValueError:
        return None


def _user(name: str, bot: bool) -> dict[str, Any]:
    return {
        "user_text": name,
        "groups": ["bot", "*", "user"] if bot else ["*", "user"],
        "is_bot": bot,
        "is_system": False,
        "is_temp": name.startswith("~"),
        "user_id": 7,
        "edit_count": 1_234,
        "registration_dt": "2020-01-01T00:00:00Z",
    }


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
