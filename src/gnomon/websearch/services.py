"""How each service is asked, and how its answers are read. Pure functions; `client` does the rest.

State of November 2026: the request and response forms are those that the services document.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from gnomon.extract.dates import Dates
from gnomon.extract.text import html_to_text, lang_code, one_line
from gnomon.extract.urls import absolute
from gnomon.websearch.base import Hit, days_back

_SNIPPET_CHARS = 4_000


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """One question to a service."""

    q: str
    since: datetime | None
    n: int
    now: datetime
    base: str
    key: str
    lang: str


class Wire(msgspec.Struct, frozen=True, kw_only=True):
    """The request that carries it."""

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = {}
    content: bytes | None = None


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """What is particular about one service."""

    name: str
    title: str
    base: str
    """Its address; empty: the operator's own."""
    request: Callable[[Query], Wire]
    read: Callable[[Any, Query, Dates], Iterator[Hit]]
    needs_key: bool = False
    most: int = 100
    """Results that it gives at most."""
    gap_s: float = 1.0
    usd: float = 0.0
    """What one request costs, as far as known."""
    by_date: bool = False
    """Whether its results are all that match, newest first."""
    hint: str = ""
    """What to do when it refuses."""


def _get(base: str, path: str, query: Mapping[str, Any], **headers: str) -> Wire:
    given = {name: value for name, value in query.items() if value not in (None, "")}
    return Wire(
        url=f"{base}{path}?{urlencode(given)}", headers={"accept": "application/json", **headers}
    )


def _post(base: str, path: str, body: Mapping[str, Any], **headers: str) -> Wire:
    given = {name: value for name, value in body.items() if value is not None}
    return Wire(
        url=f"{base}{path}",
        method="POST",
        headers={"accept": "application/json", "content-type": "application/json", **headers},
        content=json.dumps(given).encode(),
    )


def _rows(data: Any, *path: str) -> Iterator[Mapping[str, Any]]:
    """The objects of the list at `path`; nothing where there is none."""
    for name in path:
        data = data.get(name) if isinstance(data, Mapping) else None
    for row in data if isinstance(data, list) else ():
        if isinstance(row, Mapping):
            yield row


def _text(row: Mapping[str, Any], *names: str) -> str:
    """The first of these fields that is a text, without markup."""
    for name in names:
        value = row.get(name)
        if isinstance(value, str) and value.strip():
            return one_line(html_to_text(value))[:_SNIPPET_CHARS]
    return ""


def _date(row: Mapping[str, Any], name: str, dates: Dates) -> datetime | None:
    value = row.get(name)
    return dates.of_text(value) if isinstance(value, str) else None


def _kept(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {
        name: row[name]
        for name in names
        if isinstance(row.get(name), str | int | float | list) and row[name] != ""
    }


# -- services of an operator's own, or with a key ------------------------------------------
def _searxng(query: Query) -> Wire:
    days = days_back(query.since, query.now)
    spans = ((1, "day"), (7, "week"), (31, "month"), (366, "year"))
    span = next((name for most, name in spans if days is not None and days <= most), None)
    asked = {"q": query.q, "format": "json", "language": query.lang, "time_range": span}
    return _get(query.base, "/search", asked)


def _read_searxng(data: Any, query: Query, dates: Dates) -> Iterator[Hit]:
    for row in _rows(data, "results"):
        yield Hit(
            url=absolute("", _plain(row, "url")),
            title=_text(row, "title"),
            snippet=_text(row, "content"),
            published_at=_date(row, "publishedDate", dates),
            extra=_kept(row, "engines", "score", "category"),
        )


def _brave(query: Query) -> Wire:
    span = None
    if query.since is not None:
        span = f"{query.since:%Y-%m-%d}to{query.now:%Y-%m-%d}"
    asked = {
        "q": query.q,
        "count": query.n,
        "freshness": span,
        "search_lang": query.lang,
        "text_decorations": "false",
    }
    return _get(query.base, "/res/v1/web/search", asked, **{"x-subscription-token": query.key})


def _read_brave(data: Any, query: Query, dates: Dates) -> Iterator[Hit]:
    for part in ("web", "news"):
        for row in _rows(data, part, "results"):
            yield Hit(
                url=absolute("", _plain(row, "url")),
                title=_text(row, "title"),
                snippet=_text(row, "description"),
                published_at=_date(row, "page_age", dates),
                lang=lang_code(_plain(row, "language")),
                extra=_kept(row, "age", "extra_snippets"),
            )


def _tavily(query: Query) -> Wire:
    body = {
        "query": query.q,
        "max_results": query.n,
        "search_depth": "basic",
        "topic": "news" if query.since is not None else "general",
        "start_date": f"{query.since:%Y-%m-%d}" if query.since is not None else None,
    }
    return _post(query.base, "/search", body, authorization=f"Bearer {query.key}")


def _read_tavily(data: Any, query: Query, dates: Dates) -> Iterator[Hit]:
    for row in _rows(data, "results"):
        yield Hit(
            url=absolute("", _plain(row, "url")),
            title=_text(row, "title"),
            snippet=_text(row, "content"),
            published_at=_date(row, "published_date", dates),
            extra=_kept(row, "score"),
        )


def _exa(query: Query) -> Wire:
    body = {
        "query": query.q,
        "numResults": query.n,
        "type": "auto",
        "startPublishedDate": f"{query.since:%Y-%m-%dT%H:%M:%S.000Z}" if query.since else None,
        "contents": {"highlights": True},
    }
    return _post(query.base, "/search", body, **{"x-api-key": query.key})


def _read_exa(data: Any, query: Query, dates: Dates) -> Iterator[Hit]:
    for row in _rows(data, "results"):
        parts = row.get("highlights")
        joined = " … ".join(map(str, parts)) if isinstance(parts, list) else ""
        yield Hit(
            url=absolute("", _plain(row, "url")),
            title=_text(row, "title"),
            snippet=_text({"joined": joined, "text": row.get("text")}, "joined", "text"),
            published_at=_date(row, "publishedDate", dates),
            extra=_kept(row, "author", "score"),
        )


def _kagi(query: Query) -> Wire:
    asked = {"q": query.q, "limit": query.n}
    return _get(query.base, "/api/v0/search", asked, authorization=f"Bot {query.key}")


def _read_kagi(data: Any, query: Query, dates: Dates) -> Iterator[Hit]:
    for row in _rows(data, "data"):
        if row.get("t") == 0:  # 1 is a list of related searches
            yield Hit(
                url=absolute("", _plain(row, "url")),
                title=_text(row, "title"),
                snippet=_text(row, "snippet"),
                published_at=_date(row, "published", dates),
            )


# -- open services ---------------------------------------------------------------------
def _wikipedia(query: Query) -> Wire:
    asked = {
        "action": "query",
        "list": "search",
        "srsearch": query.q,
        "srlimit": query.n,
        "srprop": "snippet|timestamp|wordcount",
        "srsort": "last_edit_desc" if query.since is not None else None,
        "format": "json",
        "formatversion": 2,
    }
    return _get(_wiki(query), "/w/api.php", asked)


def _wiki(query: Query) -> str:
    return query.base.replace("{lang}", query.lang or "en")


def _read_wikipedia(data: Any, query: Query, dates: Dates) -> Iterator[Hit]:
    for row in _rows(data, "query", "search"):
        title = _plain(row, "title")
        path = quote(title.replace(" ", "_"), safe="/:(),'!")
        yield Hit(
            url=f"{_wiki(query)}/wiki/{path}" if title else "",
            title=_text(row, "title"),
            snippet=_text(row, "snippet"),
            updated_at=_date(row, "timestamp", dates),
            lang=query.lang or "en",
            extra=_kept(row, "wordcount"),
        )


def _hn(query: Query) -> Wire:
    since = f"created_at_i>={int(query.since.timestamp())}" if query.since else None
    asked = {"query": query.q, "tags": "story", "hitsPerPage": query.n, "numericFilters": since}
    return _get(query.base, "/api/v1/search_by_date", asked)


def _read_hn(data: Any, query: Query, dates: Dates) -> Iterator[Hit]:
    for row in _rows(data, "hits"):
        number = _plain(row, "objectID")
        own = f"https://news.ycombinator.com/item?id={number}" if number.isdecimal() else ""
        yield Hit(
            url=absolute("", _plain(row, "url")) or own,
            title=_text(row, "title", "story_title"),
            snippet=_text(row, "story_text", "comment_text"),
            published_at=_date(row, "created_at", dates),
            lang="en",
            extra=_kept(row, "author", "points", "num_comments") | {"discussion": own},
        )


def _gdelt(query: Query) -> Wire:
    asked = {
        "query": query.q,
        "mode": "artlist",
        "format": "json",
        "maxrecords": query.n,
        "sort": "datedesc",
        "startdatetime": f"{query.since:%Y%m%d%H%M%S}" if query.since else None,
        "enddatetime": f"{query.now:%Y%m%d%H%M%S}" if query.since else None,
    }
    return _get(query.base, "/api/v2/doc/doc", asked)


def _read_gdelt(data: Any, query: Query, dates: Dates) -> Iterator[Hit]:
    for row in _rows(data, "articles"):
        yield Hit(
            url=absolute("", _plain(row, "url")),
            title=_text(row, "title"),
            # When GDELT saw it, which is within a quarter of an hour of its publication.
            published_at=_date(row, "seendate", dates),
            extra=_kept(row, "domain", "language", "sourcecountry"),
        )


def _plain(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    return value if isinstance(value, str) else ""


_KEY = "Check its key, and what your plan there allows."

SERVICES: Mapping[str, Service] = {
    service.name: service
    for service in (
        Service(
            name="searxng",
            title="SearXNG (your own)",
            base="",
            request=_searxng,
            read=_read_searxng,
            gap_s=0.0,
            hint="Its settings.yml must list json under search.formats.",
        ),
        Service(
            name="brave",
            title="Brave Search",
            base="https://api.search.brave.com",
            request=_brave,
            read=_read_brave,
            needs_key=True,
            most=20,
            gap_s=1.0,
            usd=0.005,
            hint=_KEY,
        ),
        Service(
            name="tavily",
            title="Tavily",
            base="https://api.tavily.com",
            request=_tavily,
            read=_read_tavily,
            needs_key=True,
            most=20,
            usd=0.008,
            hint=_KEY,
        ),
        Service(
            name="exa",
            title="Exa",
            base="https://api.exa.ai",
            request=_exa,
            read=_read_exa,
            needs_key=True,
            usd=0.005,
            hint=_KEY,
        ),
        Service(
            name="kagi",
            title="Kagi",
            base="https://kagi.com",
            request=_kagi,
            read=_read_kagi,
            needs_key=True,
            usd=0.025,
            hint=_KEY,
        ),
        Service(
            name="wikipedia",
            title="Wikipedia",
            base="https://{lang}.wikipedia.org",
            request=_wikipedia,
            read=_read_wikipedia,
            most=50,
            hint="Wikimedia asks for net.contact to be set.",
        ),
        Service(
            name="hn",
            title="Hacker News, by Algolia",
            base="https://hn.algolia.com",
            request=_hn,
            read=_read_hn,
            by_date=True,
        ),
        Service(
            name="gdelt",
            title="GDELT's news of the last three months",
            base="https://api.gdeltproject.org",
            request=_gdelt,
            read=_read_gdelt,
            most=250,
            gap_s=5.0,
            by_date=True,
            hint="Its queries need words of three letters at least.",
        ),
    )
}
