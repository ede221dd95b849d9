"""All the web search services at one address: each at its own path, in its own words.

It knows what was `put`, finds by words, and wants the key that the real service wants where it
wants one (`key`). Use it as the `url` of any service.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, ClassVar

import msgspec

from gnomon.clock import Clock
from gnomon.testing.api_server import ApiReply, ApiRequest, ApiServer, as_json

_PATIENCE_S = 60.0
"""How long a stalled request holds a client that does not give up."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """Something that can be found."""

    url: str
    title: str
    text: str = ""
    at: datetime | None = None


class SearchServer(ApiServer):
    """`async with SearchServer() as server: server.put(...)`."""

    FAULTS: ClassVar[Mapping[str, str]] = {
        "stall": "takes the request and never answers",
        "refuse": "closes the connection without an answer",
        "html": "answers with a web page and status 200",
        "odd": "answers with JSON of another shape",
        "plain": "answers with a sentence in plain text and status 200",
        "repeat": "gives every result twice",
        "429": "answers with that status; so any other number, with Retry-After (`429 30`)",
    }

    def __init__(self, *, key: str = "k-1", clock: Clock | None = None) -> None:
        super().__init__(clock=clock)
        self.key = key
        self._results: list[Result] = []
        self._shapes: Mapping[str, Callable[[ApiRequest], ApiReply]] = {
            "/search": self._search,
            "/res/v1/web/search": self._brave,
            "/api/v0/search": self._kagi,
            "/w/api.php": self._wikipedia,
            "/api/v1/search_by_date": self._hn,
            "/api/v2/doc/doc": self._gdelt,
        }

    def put(self, url: str, title: str, text: str = "", *, at: datetime | None = None) -> None:
        """Let something be found from now on."""
        self._results.append(Result(url=url, title=title, text=text, at=at))

    async def answer(self, request: ApiRequest) -> ApiReply:
        """In the words of the service that lives at this path."""
        shape = self._shapes.get(request.path)
        if shape is None:
            return as_json({"error": "not found"}, 404)
        if self.fault(request.path, "stall"):
            await asyncio.sleep(_PATIENCE_S)
            return as_json({}, 504)
        fault = self.fault(request.path, "html", "odd", "plain").split()
        if fault == ["html"]:
            return ApiReply(
                body=b"<!doctype html><title>Are you human?</title>",
                headers={"content-type": "text/html"},
            )
        if fault == ["plain"]:
            return ApiReply(
                body=b"The specified phrase is too short.\n", headers={"content-type": "text/html"}
            )
        if fault == ["odd"]:
            return as_json([{"surprise": 1}, None])
        return shape(request)

    # -- what is found --------------------------------------------------------
    def _found(self, q: str, n: int, since: datetime | None = None) -> Sequence[Result]:
        words = q.lower().split()
        found = [
            r
            for r in reversed(self._results)
            if all(word in f"{r.title} {r.text}".lower() for word in words)
            and (since is None or r.at is None or r.at >= since)
        ][:n]
        return [r for r in found for _ in range(2)] if self.fault("/", "repeat") else found

    def _search(self, request: ApiRequest) -> ApiReply:
        """SearXNG by GET; Tavily and Exa by POST, told apart by their keys' headers."""
        if request.method == "GET":
            return self._searxng(request)
        return self._exa(request) if "x-api-key" in request.headers else self._tavily(request)

    def _searxng(self, request: ApiRequest) -> ApiReply:
        if request.query.get("format") != "json":
            return ApiReply(status=403, body=b"forbidden")
        rows = [
            {
                "url": r.url,
                "title": r.title,
                "content": r.text,
                "publishedDate": r.at.replace(tzinfo=None).isoformat() if r.at else None,
                "engine": "mojeek",
                "engines": ["mojeek", "brave"],
                "score": 2.0,
                "category": "general",
            }
            for r in self._found(request.query["q"], 30)
        ]
        return as_json({"query": request.query["q"], "results": rows, "unresponsive_engines": []})

    def _brave(self, request: ApiRequest) -> ApiReply:
        if request.headers.get("x-subscription-token") != self.key:
            detail = "The provided subscription token is invalid."
            return as_json({"type": "ErrorResponse", "error": {"detail": detail}}, 401)
        span = request.query.get("freshness", "").partition("to")[0]
        since = datetime.fromisoformat(span).replace(tzinfo=UTC) if span else None
        rows = [
            {
                "type": "search_result",
                "url": r.url,
                "title": r.title,
                "description": f"<strong>{r.text}</strong>",
                "page_age": r.at.replace(tzinfo=None).isoformat() if r.at else None,
                "age": "2 hours ago",
                "language": "en",
            }
            for r in self._found(request.query["q"], int(request.query["count"]), since)
        ]
        return as_json({"type": "search", "web": {"type": "search", "results": rows}})

    def _tavily(self, request: ApiRequest) -> ApiReply:
        if request.headers.get("authorization") != f"Bearer {self.key}":
            return as_json({"detail": {"error": "Unauthorized: missing or invalid API key."}}, 401)
        body = request.json()
        since = body.get("start_date")
        moment = datetime.fromisoformat(since).replace(tzinfo=UTC) if since else None
        rows = [
            {
                "url": r.url,
                "title": r.title,
                "content": r.text,
                "score": 0.9,
                "published_date": format_datetime(r.at) if r.at else None,
            }
            for r in self._found(body["query"], body["max_results"], moment)
        ]
        return as_json({"query": body["query"], "results": rows, "response_time": 0.4})

    def _exa(self, request: ApiRequest) -> ApiReply:
        if request.headers.get("x-api-key") != self.key:
            return as_json({"requestId": "r", "error": "Invalid API key"}, 401)
        body = request.json()
        since = body.get("startPublishedDate")
        rows = [
            {
                "id": r.url,
                "url": r.url,
                "title": r.title,
                "author": "A. Writer",
                "publishedDate": r.at.isoformat() if r.at else None,
                "highlights": [r.text],
                "score": 0.4,
            }
            for r in self._found(
                body["query"], body["numResults"], datetime.fromisoformat(since) if since else None
            )
        ]
        return as_json({"requestId": "r", "results": rows, "costDollars": {"total": 0.005}})

    def _kagi(self, request: ApiRequest) -> ApiReply:
        if request.headers.get("authorization") != f"Bot {self.key}":
            return as_json({"error": [{"code": 1, "msg": "Unauthorized"}]}, 401)
        rows: list[dict[str, Any]] = [
            {
                "t": 0,
                "rank": rank,
                "url": r.url,
                "title": r.title,
                "snippet": r.text,
                "published": r.at.isoformat() if r.at else None,
            }
            for rank, r in enumerate(
                self._found(request.query["q"], int(request.query["limit"])), start=1
            )
        ]
        return as_json({"meta": {"id": "m"}, "data": [*rows, {"t": 1, "list": ["other words"]}]})

    def _wikipedia(self, request: ApiRequest) -> ApiReply:
        rows = [
            {
                "ns": 0,
                "title": r.title,
                "pageid": number,
                "wordcount": 300,
                "snippet": f'<span class="searchmatch">{r.text}</span> &amp; more',
                "timestamp": r.at.strftime("%Y-%m-%dT%H:%M:%SZ") if r.at else "",
            }
            for number, r in enumerate(
                self._found(request.query["srsearch"], int(request.query["srlimit"]))
            )
        ]
        return as_json({"batchcomplete": True, "query": {"search": rows}})

    def _hn(self, request: ApiRequest) -> ApiReply:
        bound = request.query.get("numericFilters", "").removeprefix("created_at_i>=")
        since = datetime.fromtimestamp(int(bound), UTC) if bound else None
        found = self._found(request.query["query"], int(request.query["hitsPerPage"]), since)
        rows = [
            {
                "objectID": str(4_000 + number),
                "title": r.title,
                "url": r.url if "ycombinator" not in r.url else None,
                "author": "someone",
                "points": 3,
                "num_comments": 1,
                "story_text": r.text,
                "created_at": r.at.strftime("%Y-%m-%dT%H:%M:%SZ") if r.at else None,
            }
            for number, r in enumerate(found)
        ]
        return as_json({"hits": rows, "nbHits": len(rows), "page": 0})

    def _gdelt(self, request: ApiRequest) -> ApiReply:
        bound = request.query.get("startdatetime")
        since = datetime.strptime(bound, "%Y%m%d%H%M%S").replace(tzinfo=UTC) if bound else None
        rows = [
            {
                "url": r.url,
                "url_mobile": "",
                "title": r.title,
                "seendate": r.at.strftime("%Y%m%dT%H%M%SZ") if r.at else "",
                "socialimage": "",
                "domain": r.url.split("/")[2],
                "language": "English",
                "sourcecountry": "United States",
            }
            for r in self._found(request.query["query"], int(request.query["maxrecords"]), since)
        ]
        return as_json({"articles": rows} if rows else {})
