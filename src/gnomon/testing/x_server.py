"""A stand-in for X's API v2: stream and rules, search, look-up, compliance jobs, limits, bills.

It speaks what the OpenAPI document describes, under the older field names where a client asks for
`tweet.fields` and the newer where it asks for `post.fields`. What a test or the demo world
publishes reaches whoever listens with a matching rule, and is found by search for seven days.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar

from gnomon.clock import Clock
from gnomon.extract.dates import parse_date
from gnomon.sources.x_posts import id_at, moment_of
from gnomon.testing.api_server import ApiReply, ApiRequest, ApiServer, Hangup, as_json
from gnomon.testing.x_query import QueryError, parse_query

_PROBLEM = "https://api.x.com/2/problems"
_STREAM = "/2/tweets/search/stream"
_RULES = f"{_STREAM}/rules"
_LIMITS = {
    ("GET", _STREAM): 50,
    ("POST", _RULES): 100,
    ("GET", _RULES): 450,
    ("GET", "/2/tweets/search/recent"): 450,
    ("GET", "/2/tweets"): 3_500,
    ("POST", "/2/compliance/jobs"): 150,
}
_WINDOW_S = 900
_FIELD_PARAMS = {"expansions"} | {
    f"{what}.fields" for what in ("tweet", "post", "user", "media", "poll", "place")
}
_PARAMS = {
    _STREAM: {"backfill_minutes", "start_time", "end_time"} | _FIELD_PARAMS,
    "/2/tweets": {"ids"} | _FIELD_PARAMS,
    "/2/tweets/search/recent": {
        "query", "max_results", "next_token", "pagination_token", "start_time", "end_time",
        "since_id", "until_id", "sort_order",
    }
    | _FIELD_PARAMS,
}  # fmt: skip
_STREAM_FAULTS = (
    "drop",
    "stall",
    "duplicate",
    "reorder",
    "truncated",
    "garbage",
    "unknown",
    "operational-disconnect",
    "skew",
)
_EDITS = 5
_EDITABLE = timedelta(minutes=30)


class XServer(ApiServer):
    """One app's view of X; `async with XServer() as server: ...`."""

    FAULTS: ClassVar[Mapping[str, str]] = {
        "refuse": "closes the connection without an answer",
        "drop": "breaks the stream off instead of sending the next post",
        "stall": "falls silent for good instead, without signs of life",
        "duplicate": "sends the next post twice",
        "reorder": "sends the next post after the one that follows it",
        "truncated": "sends half of the next post and breaks off",
        "garbage": "sends a line that is no JSON before the next post",
        "unknown": "sends a message of an unknown kind before the next post",
        "skew": "dates the next post two years ahead",
        "operational-disconnect": "says that the stream ends for operational reasons, and ends it",
        "TooManyConnections": "refuses the next stream, as if an old one were still open",
        "job_failed": "lets the next compliance job fail",
    }

    def __init__(
        self,
        *,
        token: str = "app-token",  # noqa: S107 - known to whoever tests
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Clock | None = None,
        keep_alive_s: float = 20.0,
        enterprise: bool = False,
        compliance: bool = True,
        page_posts: int = 100,
        recall: Callable[[str], object] = lambda id: None,
    ) -> None:
        """`recall` is told of a post that is looked up and not known, and may publish it then."""
        super().__init__(host=host, port=port, clock=clock)
        self.recall = recall
        self.token = token
        self.keep_alive_s = keep_alive_s
        self.enterprise = enterprise
        self.compliance = compliance
        self.page_posts = page_posts
        self.rules: dict[str, dict[str, str]] = {}
        self.billed_micros = 0
        """What X would bill: posts $0.005, users $0.010, repetitions within a day included."""
        self.jobs: dict[str, dict[str, Any]] = {}
        self._posts: dict[str, dict[str, Any]] = {}
        self._chains: dict[str, list[str]] = {}
        self._gone: dict[str, str] = {}
        self._users: dict[str, dict[str, Any]] = {}
        self._user_ids: dict[str, str] = {}
        self._streams: list[asyncio.Queue[tuple[str, dict[str, Any]]]] = []
        self._last_id = 0
        self._asked_at: dict[tuple[str, str], list[datetime]] = defaultdict(list)

    # -- what happens on X ----------------------------------------------------
    def user(self, username: str, name: str = "") -> str:
        """The id of an account, made when first named."""
        if username in self._user_ids:
            return self._user_ids[username]
        id = self._user_ids[username] = str(2_000 + len(self._users))
        self._users[id] = {"id": id, "username": username, "name": name or username.title()}
        return id

    def publish(
        self,
        text: str,
        *,
        username: str = "ann",
        lang: str = "en",
        reply_to: str = "",
        quotes: str = "",
        reposts: str = "",
        urls: Mapping[str, str] | None = None,
        note: str = "",
        at: datetime | None = None,
        id: str = "",
    ) -> str:
        """Post something; returns its id, which is made of the moment unless it is given.

        `urls` maps shortened addresses to the real ones.
        """
        references = [
            {"type": kind, "id": id}
            for kind, id in (("replied_to", reply_to), ("quoted", quotes), ("retweeted", reposts))
            if id
        ]
        id = id or self._new_id(at)
        self._chains[id] = [id]
        return self._put(
            id,
            {
                "text": text,
                "author_id": self.user(username),
                "lang": lang,
                "references": references,
                "conversation_id": self._posts[reply_to]["conversation_id"] if reply_to else id,
                "urls": dict(urls or {}),
                "note": note,
                "chain": id,
                "at": at or self.clock.now(),
            },
        )

    def edit(self, id: str, text: str, *, at: datetime | None = None, new: str = "") -> str:
        """Edit a post; returns the id of the new version, which may be given."""
        first = self._posts[id]["chain"]
        if len(self._chains[first]) > _EDITS:
            raise ValueError(f"A post can be edited {_EDITS} times.")
        old = self._posts[self._chains[first][-1]]
        new = new or self._new_id(at)
        self._chains[first].append(new)
        return self._put(new, {**old, "text": text, "at": at or self.clock.now()})

    def delete(self, id: str, reason: str = "deleted") -> None:
        """Delete a post with all its versions."""
        for version in self._chains[self._posts[id]["chain"]]:
            self._gone[version] = reason

    def forget(self, id: str) -> None:
        """Know nothing more of a post, as if it had never been."""
        for version in self._chains.pop(self._posts[id]["chain"]):
            self._posts.pop(version, None)
            self._gone.pop(version, None)

    def protect(self, username: str) -> None:
        """Make an account's posts private."""
        self._users[self.user(username)]["protected"] = True
        self._leave(username, "protected")

    def suspend(self, username: str) -> None:
        """Suspend an account."""
        self._leave(username, "suspended")

    def withhold(self, id: str, *countries: str) -> None:
        """Withhold a post in some countries."""
        self._posts[id]["withheld"] = {"copyright": False, "country_codes": list(countries)}

    @property
    def listening(self) -> int:
        """Open streams."""
        return len(self._streams)

    def disconnect(self) -> None:
        """Break every open stream off."""
        for queue in self._streams:
            queue.put_nowait(("drop", {}))

    def _leave(self, username: str, reason: str) -> None:
        author = self.user(username)
        for id, post in self._posts.items():
            if post["author_id"] == author:
                self._gone.setdefault(id, reason)

    def _new_id(self, at: datetime | None) -> str:
        self._last_id = max(self._last_id + 1, id_at(at or self.clock.now()))
        return str(self._last_id)

    def _put(self, id: str, post: dict[str, Any]) -> str:
        post = {**post, "id": id}
        self._last_id = max(self._last_id, int(id))
        self._posts[id] = post
        if self._matching(post):
            for queue in self._streams:
                queue.put_nowait(("post", post))
        return id

    def _matching(self, post: Mapping[str, Any]) -> list[dict[str, str]]:
        author = self._users[post["author_id"]]
        return [
            {"id": rule["id"], "tag": rule.get("tag", "")}
            for rule in self.rules.values()
            if parse_query(rule["value"])(post, author)
        ]

    # -- HTTP -----------------------------------------------------------------
    async def answer(self, request: ApiRequest) -> ApiReply:
        """The API's answer."""
        method, path = request.method, request.path.rstrip("/")
        if path.startswith(("/upload/", "/download/")):
            return self._store(request)
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return _problem(401, "about:blank", "Unauthorized", "Unauthorized")
        limited = self._limit(method, path)
        if isinstance(limited, ApiReply):
            return limited
        unknown = {name for name, _ in request.params} - _PARAMS.get(path, set(request.query))
        if unknown:
            return _invalid(f"The query parameter [{min(unknown)}] is not one of those known.")
        reply = self._route(method, path, request)
        return ApiReply(
            status=reply.status,
            body=reply.body,
            headers={**reply.headers, **limited},
            stream=reply.stream,
        )

    def _route(self, method: str, path: str, request: ApiRequest) -> ApiReply:
        match method, path:
            case "GET", "/2/tweets/search/stream":
                return self._open(request)
            case "GET", "/2/tweets/search/stream/rules":
                return self._list_rules(request)
            case "POST", "/2/tweets/search/stream/rules":
                return self._change_rules(request)
            case "GET", "/2/tweets/search/recent":
                return self._search(request)
            case "GET", "/2/tweets":
                return self._look_up(request)
            case "GET", "/2/usage/tweets":
                used = str(self.billed_micros // 5_000)
                return as_json({"data": {"project_cap": "3000000", "project_usage": used}})
            case _, p if p.startswith("/2/compliance/jobs"):
                return self._compliance(method, p, request)
        return _problem(404, "about:blank", "Not Found", f"{path} is not known.")

    def _limit(self, method: str, path: str) -> ApiReply | dict[str, str]:
        """Rate-limit headers, or the refusal once the limit is passed."""
        limit = _LIMITS.get((method, path))
        if limit is None:
            return {}
        now = self.clock.now()
        window = timedelta(seconds=_WINDOW_S)
        asked = [at for at in self._asked_at[method, path] if now - window < at <= now]
        self._asked_at[method, path] = asked
        reset = int((asked[0] if asked else now).timestamp()) + _WINDOW_S
        headers = {
            "x-rate-limit-limit": str(limit),
            "x-rate-limit-remaining": str(max(limit - len(asked) - 1, 0)),
            "x-rate-limit-reset": str(reset),
        }
        if len(asked) >= limit:
            return _problem(429, "about:blank", "Too Many Requests", "Too Many Requests", headers)
        asked.append(now)
        return headers

    # -- posts as JSON --------------------------------------------------------
    def _shape(self, post: Mapping[str, Any], query: Mapping[str, str]) -> dict[str, Any]:
        """A post as it was asked for."""
        newer = "post.fields" in query
        what = "post" if newer else "tweet"
        wanted = set(query.get(f"{what}.fields", "").split(","))
        expanded = set(query.get("expansions", "").split(","))
        chain = self._chains[post["chain"]]
        shaped: dict[str, Any] = {
            "id": post["id"],
            "text": post["text"],
            f"edit_history_{what}_ids": list(chain),
        }
        available = {
            "author_id": post["author_id"],
            "conversation_id": post["conversation_id"],
            "created_at": f"{post['at']:%Y-%m-%dT%H:%M:%S}.{post['at'].microsecond // 1000:03}Z",
            "lang": post["lang"],
            "possibly_sensitive": False,
            "public_metrics": {
                "repost_count": 0,
                **({} if newer else {"retweet_count": 0}),
                **dict.fromkeys(("reply_count", "like_count", "quote_count"), 0),
                **dict.fromkeys(("bookmark_count", "impression_count"), 0),
            },
        }
        if post["urls"]:
            available["entities"] = {"urls": _url_entities(post["text"], post["urls"])}
        if post["note"]:
            available[f"note_{what}"] = {"text": post["note"]}
        if post["references"]:
            available[f"referenced_{what}s"] = post["references"]
        if "withheld" in post:
            available["withheld"] = post["withheld"]
        if newer:
            wanted |= expanded
        shaped.update({name: value for name, value in available.items() if name in wanted})
        if "author_id" in expanded:
            shaped["author_id"] = post["author_id"]
        return shaped

    def _includes(self, posts: list[dict[str, Any]], query: Mapping[str, str]) -> dict[str, Any]:
        """`includes`, and the bill for all of it."""
        expanded = set(query.get("expansions", "").split(","))
        wanted = {"id", "name", "username", *query.get("user.fields", "").split(",")}
        users = {}
        if "author_id" in expanded:
            for post in posts:
                user = self._users[post["author_id"]]
                shown = {"protected": False, **user}
                users[user["id"]] = {k: v for k, v in shown.items() if k in wanted}
        self.billed_micros += 5_000 * len(posts) + 10_000 * len(users)
        return {"includes": {"users": list(users.values())}} if users else {}

    # -- the stream -----------------------------------------------------------
    def _open(self, request: ApiRequest) -> ApiReply:
        minutes = request.query.get("backfill_minutes", "0")
        if minutes != "0" and not self.enterprise:
            return _problem(
                403,
                f"{_PROBLEM}/client-forbidden",
                "Client Forbidden",
                "backfill_minutes needs Enterprise access.",
            )
        if self._streams or self.fault(_STREAM, "TooManyConnections"):
            return as_json(
                {
                    "title": "ConnectionException",
                    "detail": "This stream is currently at the maximum allowed connection limit.",
                    "connection_issue": "TooManyConnections",
                    "type": f"{_PROBLEM}/streaming-connection",
                },
                429,
            )
        since = self.clock.now() - timedelta(minutes=int(minutes))
        again = [p for p in self._posts.values() if minutes != "0" and p["at"] >= since]
        return ApiReply(
            headers={"content-type": "application/json"},
            stream=lambda: self._speak(request.query, again),
        )

    async def _speak(
        self, query: Mapping[str, str], again: list[dict[str, Any]]
    ) -> AsyncGenerator[bytes, None]:
        queue: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue()
        for post in again:
            queue.put_nowait(("post", post))
        self._streams.append(queue)
        held: list[bytes] = []
        try:
            yield b"\r\n"
            while True:
                try:
                    kind, post = await asyncio.wait_for(queue.get(), self.keep_alive_s)
                except TimeoutError:
                    yield b"".join(held) + b"\r\n"
                    held = []
                    continue
                if kind == "drop":
                    raise Hangup
                fault = self.fault(_STREAM, *_STREAM_FAULTS)
                line = self._line(post, query, skewed=fault == "skew")
                if fault == "drop":
                    raise Hangup
                if fault == "operational-disconnect":
                    yield _disconnect()
                    return
                if fault == "truncated":
                    yield line[: len(line) // 2]
                    raise Hangup
                if fault == "stall":
                    await asyncio.Event().wait()
                if fault == "reorder":
                    held.append(line)
                    continue
                odd = {"garbage": b"{[ no json\r\n", "unknown": b'{"weather":{"rain":1}}\r\n'}
                yield odd.get(fault, b"") + line + (line if fault == "duplicate" else b"")
                if held:
                    yield b"".join(held)
                    held = []
        finally:
            self._streams.remove(queue)

    def _line(self, post: dict[str, Any], query: Mapping[str, str], *, skewed: bool) -> bytes:
        shaped = self._shape(post, query)
        if skewed and "created_at" in shaped:
            ahead = post["at"] + timedelta(days=730)
            shaped["created_at"] = f"{ahead:%Y-%m-%dT%H:%M:%S}.000Z"
        message = {"data": shaped, **self._includes([post], query)}
        message["matching_rules"] = self._matching(post)
        return json.dumps(message, ensure_ascii=False).encode() + b"\r\n"

    # -- rules ----------------------------------------------------------------
    def _list_rules(self, request: ApiRequest) -> ApiReply:
        size = int(request.query.get("max_results", "1000"))
        start = int(request.query.get("pagination_token", "0") or 0)
        rules = list(self.rules.values())
        some = rules[start : start + size]
        meta: dict[str, Any] = {"sent": self._now(), "result_count": len(some)}
        if start + size < len(rules):
            meta["next_token"] = str(start + size)
        return as_json({**({"data": some} if some else {}), "meta": meta})

    def _change_rules(self, request: ApiRequest) -> ApiReply:
        body = request.json()
        if not isinstance(body, dict) or not {"add", "delete"} & body.keys():
            return _invalid("add or delete is needed.")
        dry = request.query.get("dry_run") == "true"
        if "delete" in body:
            return self._delete_rules(body["delete"], dry)
        added, errors = [], []
        for rule in body["add"]:
            value = rule.get("value", "")
            same = next((r for r in self.rules.values() if r["value"] == value), None)
            if same is not None:
                errors.append(_rule_problem("DuplicateRule", value, "The rule exists.", same["id"]))
                continue
            try:
                parse_query(value)
                if len(value) > 1_024:
                    raise QueryError("The rule is too long.")
            except QueryError as error:
                errors.append(_rule_problem("UnprocessableEntity", value, str(error)))
                continue
            made = {"id": self._new_id(None), "value": value}
            if rule.get("tag"):
                made["tag"] = rule["tag"]
            added.append(made)
            if not dry:
                self.rules[made["id"]] = made
        summary = {
            "created": len(added),
            "not_created": len(errors),
            "valid": len(added),
            "invalid": len(errors),
        }
        answer: dict[str, Any] = {"meta": {"sent": self._now(), "summary": summary}}
        if added:
            answer["data"] = added
        if errors:
            answer["errors"] = errors
        return as_json(answer, 201 if added else 200)

    def _delete_rules(self, which: Mapping[str, Any], dry: bool) -> ApiReply:
        values = which.get("values") or ()
        ids = [
            *(which.get("ids") or ()),
            *(i for i, r in self.rules.items() if r["value"] in values),
        ]
        known = [id for id in ids if id in self.rules]
        for id in () if dry else known:
            del self.rules[id]
        summary = {"deleted": len(known), "not_deleted": len(ids) - len(known)}
        return as_json({"meta": {"sent": self._now(), "summary": summary}})

    # -- asking ---------------------------------------------------------------
    def _search(self, request: ApiRequest) -> ApiReply:
        q = request.query
        query = q.get("query", "")
        size = int(q.get("max_results", "10"))
        if not 10 <= size <= 100 or not 0 < len(query) <= 512:
            return _invalid("max_results is 10 to 100, query 1 to 512 characters.")
        try:
            match = parse_query(query, search=True)
        except QueryError as error:
            return _invalid(str(error))
        now = self.clock.now()
        oldest = now - timedelta(days=7)
        start = parse_date(q["start_time"]) if "start_time" in q else None
        since = moment_of(q["since_id"]) if "since_id" in q else None
        if (since or start or now) < oldest:
            return _invalid("'since_id' must be a post id of the last seven days.")
        end = parse_date(q["end_time"]) if "end_time" in q else None
        below = min(int(q.get("until_id", 1 << 63)), int(q.get("next_token", 1 << 63)))
        found = [
            post
            for id in sorted(self._posts, key=int, reverse=True)
            if int(q.get("since_id", "0")) < int(id) < below
            and self._found(post := self._posts[id])
            and post["at"] >= max(start or oldest, oldest)
            and (end is None or post["at"] < end)
            and match(post, self._users[post["author_id"]])
        ]
        size = min(size, self.page_posts)
        some = found[:size]
        meta: dict[str, Any] = {"result_count": len(some)}
        answer: dict[str, Any] = {"meta": meta}
        if some:
            meta |= {"newest_id": some[0]["id"], "oldest_id": some[-1]["id"]}
            answer["data"] = [self._shape(post, q) for post in some]
            answer |= self._includes(some, q)
        if len(found) > size:
            meta["next_token"] = some[-1]["id"]
        return as_json(answer)

    def _found(self, post: Mapping[str, Any]) -> bool:
        newest = self._chains[post["chain"]][-1]
        reposted = any(r["type"] == "retweeted" for r in post["references"])
        return post["id"] == newest and post["id"] not in self._gone and not reposted

    def _look_up(self, request: ApiRequest) -> ApiReply:
        ids = request.query.get("ids", "").split(",")
        if not 1 <= len(ids) <= 100 or not all(id.isdigit() for id in ids):
            return _invalid("ids: 1 to 100 post ids.")
        kinds = {
            "deleted": ("resource-not-found", "Not Found Error"),
            "protected": ("not-authorized-for-resource", "Authorization Error"),
            "suspended": ("resource-unavailable", "Resource Unavailable"),
        }
        found, errors = [], []
        for id in ids:
            if id not in self._posts:
                self._recall(id)
            if id in self._posts and id not in self._gone:
                found.append(self._posts[id])
                continue
            kind, title = kinds[self._gone.get(id, "deleted")]
            errors.append(
                {
                    "type": f"{_PROBLEM}/{kind}",
                    "title": title,
                    "detail": f"Could not show the post with ids: [{id}].",
                    "resource_type": "tweet",
                    "resource_id": id,
                    "parameter": "ids",
                    "value": id,
                }
            )
        answer: dict[str, Any] = {}
        if found:
            answer["data"] = [self._shape(post, request.query) for post in found]
            answer |= self._includes(found, request.query)
        if errors:
            answer["errors"] = errors
        return as_json(answer)

    def _recall(self, id: str) -> None:
        """Whoever listens heard of it in its time."""
        streams, self._streams = self._streams, []
        self.recall(id)
        self._streams = streams

    # -- compliance -----------------------------------------------------------
    def _compliance(self, method: str, path: str, request: ApiRequest) -> ApiReply:
        if not self.compliance:
            return _problem(
                403,
                f"{_PROBLEM}/client-forbidden",
                "Client Forbidden",
                "Batch compliance is not part of this plan.",
            )
        if method == "POST":
            return self._new_job(request)
        id = path.removeprefix("/2/compliance/jobs").strip("/")
        if not id:
            jobs = [_shown(job) for job in self.jobs.values()]
            return as_json({"data": jobs} if jobs else {"meta": {"result_count": 0}})
        if id not in self.jobs:
            return _problem(404, f"{_PROBLEM}/resource-not-found", "Not Found", f"No job {id}.")
        job = self.jobs[id]
        if job["status"] == "in_progress":
            job["polls"] += 1
            if job["polls"] > 1:
                job["status"] = "failed" if self.fault(path, "job_failed") else "complete"
        return as_json({"data": _shown(job)})

    def _new_job(self, request: ApiRequest) -> ApiReply:
        body = request.json()
        if not isinstance(body, dict) or body.get("type") not in ("tweets", "users"):
            return _invalid("type: tweets or users.")
        if any(job["status"] == "in_progress" for job in self.jobs.values()):
            return _problem(
                409, f"{_PROBLEM}/invalid-request", "Conflict", "A job of this type is running."
            )
        id = self._new_id(None)
        now = self.clock.now()
        self.jobs[id] = {
            "id": id,
            "type": body["type"],
            "name": str(body.get("name", "")),
            "status": "created",
            "resumable": False,
            "created_at": self._now(),
            "upload_url": f"{self.url}/upload/{id}",
            "upload_expires_at": _iso(now + timedelta(minutes=15)),
            "download_url": f"{self.url}/download/{id}",
            "download_expires_at": _iso(now + timedelta(days=7)),
            "ids": [],
            "polls": 0,
        }
        return as_json({"data": _shown(self.jobs[id])})

    def _store(self, request: ApiRequest) -> ApiReply:
        """The place where job files are put and fetched: addresses are signed, no token."""
        job = self.jobs.get(request.path.rpartition("/")[2])
        if job is None:
            return ApiReply(status=404)
        if request.method == "PUT":
            job["ids"] = request.body.decode().split()
            job["status"] = "in_progress"
            return ApiReply()
        lines = [
            json.dumps(
                {
                    "id": id,
                    "action": "delete",
                    "created_at": self._now(),
                    "redacted_at": self._now(),
                    "reason": self._gone[id],
                }
            )
            for id in job["ids"]
            if id in self._gone
        ]
        return ApiReply(
            body="\n".join(lines).encode(), headers={"content-type": "text/plain; charset=utf-8"}
        )

    def _now(self) -> str:
        return _iso(self.clock.now())


def _iso(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S}.000Z"


def _shown(job: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in job.items() if name not in ("ids", "polls")}


def _url_entities(text: str, urls: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        {
            "start": text.find(short),
            "end": text.find(short) + len(short),
            "url": short,
            "expanded_url": real,
            "display_url": real.partition("://")[2],
        }
        for short, real in urls.items()
        if short in text
    ]


def _disconnect() -> bytes:
    problem = {
        "title": "operational-disconnect",
        "disconnect_type": "UpstreamOperationalDisconnect",
        "detail": "This stream has been disconnected upstream for operational reasons.",
        "type": f"{_PROBLEM}/operational-disconnect",
    }
    return json.dumps({"errors": [problem]}).encode() + b"\r\n"


def _rule_problem(title: str, value: str, detail: str, id: str = "") -> dict[str, Any]:
    problem = {
        "title": title,
        "value": value,
        "detail": detail,
        "type": f"{_PROBLEM}/invalid-request",
    }
    return {**problem, "id": id} if id else problem


def _invalid(detail: str) -> ApiReply:
    errors = [{"message": detail, "parameters": {}}]
    body = {"title": "Invalid Request", "detail": detail, "errors": errors}
    return as_json({**body, "type": f"{_PROBLEM}/invalid-request"}, 400)


def _problem(
    status: int, type: str, title: str, detail: str, headers: Mapping[str, str] | None = None
) -> ApiReply:
    return as_json(
        {"title": title, "detail": detail, "type": type, "status": status}, status, headers
    )
