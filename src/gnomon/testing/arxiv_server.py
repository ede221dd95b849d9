"""arXiv as it serves papers: a daily feed (RSS) per category, and the query API (Atom).

It is a `FeedServer`, so its faults apply by path (`feed_path("cs.CL")`, `API`). Besides,
`short_pages` lets the API leave papers out of its next pages, as it does when it is busy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from email.utils import format_datetime
from functools import partial
from xml.sax.saxutils import escape

import msgspec

from gnomon.clock import Clock, SystemClock
from gnomon.testing.feed_server import FeedServer, Reply, Request, conditional

API = "/api/query"
_RSS = """<?xml version='1.0' encoding='UTF-8'?>
<rss xmlns:arxiv="http://arxiv.org/schemas/atom" xmlns:dc="http://purl.org/dc/elements/1.1/" \
xmlns:atom="http://www.w3.org/2005/Atom" xmlns:content="http://purl.org/rss/1.0/modules/content/" \
version="2.0">
  <channel>
    <title>{category} updates on arXiv.org</title>
    <link>http://rss.arxiv.org/rss/{category}</link>
    <description>{category} updates on the arXiv.org e-print archive.</description>
    <atom:link href="http://rss.arxiv.org/rss/{category}" rel="self" type="application/rss+xml"/>
    <language>en-us</language>
    <lastBuildDate>{date}</lastBuildDate>
    <pubDate>{date}</pubDate>
    <skipDays><day>Sunday</day><day>Saturday</day></skipDays>
{items}  </channel>
</rss>
"""
_ITEM = """    <item>
      <title>{title}</title>
      <link>https://arxiv.org/abs/{id}</link>
      <description>arXiv:{id}v{version} Announce Type: {kind} \nAbstract: {abstract}</description>
      <guid isPermaLink="false">oai:arXiv.org:{id}v{version}</guid>
{categories}      <pubDate>{date}</pubDate>
      <arxiv:announce_type>{kind}</arxiv:announce_type>
      <dc:rights>http://creativecommons.org/licenses/by/4.0/</dc:rights>
      <dc:creator>{authors}</dc:creator>
    </item>
"""
_ATOM = """<?xml version="1.0" encoding="UTF-8"?>
<feed xmlns="http://www.w3.org/2005/Atom">
  <title type="html">ArXiv Query: search_query={query}</title>
  <id>http://arxiv.org/api/cHxbiOdZaP56ODnBPIenZhzg5f8</id>
  <updated>{now}</updated>
  <opensearch:totalResults xmlns:opensearch="http://a9.com/-/spec/opensearch/1.1/">{total}\
</opensearch:totalResults>
  <opensearch:startIndex xmlns:opensearch="http://a9.com/-/spec/opensearch/1.1/">{start}\
</opensearch:startIndex>
{entries}</feed>
"""
_ENTRY = """  <entry>
    <id>http://arxiv.org/abs/{id}v{version}</id>
    <updated>{updated}</updated>
    <published>{published}</published>
    <title>{title}</title>
    <summary>  {abstract}
</summary>
{authors}{comment}    <link href="http://arxiv.org/abs/{id}v{version}" rel="alternate" \
type="text/html"/>
    <link title="pdf" href="http://arxiv.org/pdf/{id}v{version}" rel="related" \
type="application/pdf"/>
    <arxiv:primary_category xmlns:arxiv="http://arxiv.org/schemas/atom" term="{primary}"/>
{categories}  </entry>
"""


def feed_path(category: str) -> str:
    """Where a category's daily feed stands."""
    return f"/rss/{category}"


class _Version(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    version: int
    title: str
    abstract: str
    authors: tuple[str, ...]
    categories: tuple[str, ...]
    comment: str
    published: datetime
    updated: datetime


class ArxivServer(FeedServer):
    """`async with ArxivServer(clock=clock) as server: server.submit(...); server.announce()`."""

    def __init__(
        self, *, port: int = 0, clock: Clock | None = None, categories: Sequence[str] = ("cs.CL",)
    ) -> None:
        super().__init__(port=port, clock=clock)
        self._now = clock or SystemClock()
        self._papers: dict[str, _Version] = {}
        """The newest announced version of each."""
        self._waiting: list[tuple[str, _Version]] = []
        """How it will be announced, and what."""
        self._today: list[tuple[str, _Version]] = []
        self._announced_at = self._now.now()
        self._short_pages = 0
        self.route(API, self._query)
        for category in categories:
            self.route(feed_path(category), partial(self._feed, category))

    # -- what happens ---------------------------------------------------------
    def submit(
        self,
        id: str,
        *,
        title: str,
        abstract: str,
        authors: Sequence[str] = ("Ada Lovelace", "Alan M. Turing"),
        categories: Sequence[str] = ("cs.CL",),
        at: datetime | None = None,
    ) -> None:
        """A paper comes in; it is announced with the next `announce`."""
        at = at or self._now.now()
        paper = _Version(
            id=id, version=1, title=title, abstract=abstract, authors=tuple(authors),
            categories=tuple(categories), comment="", published=at, updated=at,
        )  # fmt: skip
        self._waiting.append(("new", paper))

    def replace(self, id: str, *, abstract: str = "", title: str = "", comment: str = "") -> None:
        """A new version of an announced paper comes in."""
        old = next((p for _, p in reversed(self._waiting) if p.id == id), None) or self._papers[id]
        paper = msgspec.structs.replace(
            old, version=old.version + 1, title=title or old.title, comment=comment or old.comment,
            abstract=abstract or old.abstract, updated=self._now.now(),
        )  # fmt: skip
        self._waiting.append(("replace", paper))

    def withdraw(self, id: str, *, in_comment: bool = False) -> None:
        """The authors withdraw a paper: a new version that says so."""
        said = "This paper has been withdrawn by the authors"
        if in_comment:
            self.replace(id, comment=f"{said} due to an error in Lemma 2")
        else:
            self.replace(id, abstract=f"{said}.")

    def announce(self) -> None:
        """The evening's announcement: feeds and API show what came in since the last one."""
        self._announced_at = self._now.now()
        self._today, self._waiting = self._waiting, []
        self._papers |= {paper.id: paper for _, paper in self._today}

    # -- misbehaviour ---------------------------------------------------------
    def short_pages(self, n: int = 1) -> None:
        """The next `n` pages of the API are empty, although it counts what was found."""
        self._short_pages = n

    # -- answers --------------------------------------------------------------
    def _feed(self, category: str, request: Request) -> Reply:
        date = format_datetime(self._announced_at)
        items = []
        for kind, paper in self._today:
            if category not in paper.categories:
                continue
            cross = category != paper.categories[0]
            shown = {"new": "cross", "replace": "replace-cross"}[kind] if cross else kind
            names = "".join(f"      <category>{c}</category>\n" for c in paper.categories)
            items.append(
                _ITEM.format(
                    title=escape(paper.title), id=paper.id, version=paper.version, kind=shown,
                    abstract=escape(paper.abstract), categories=names, date=date,
                    authors=escape(", ".join(paper.authors)),
                )
            )  # fmt: skip
        body = _RSS.format(category=category, date=date, items="".join(items)).encode()
        etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        return conditional(request, body, {"content-type": "text/xml", "etag": etag})

    def _query(self, request: Request) -> Reply:
        query = request.query
        start, size = int(query.get("start", "0")), int(query.get("max_results", "10"))
        if ids := query.get("id_list"):
            found = [self._papers[id] for id in ids.split(",") if id in self._papers]
        else:
            category = query["search_query"].removeprefix("cat:")
            found = [p for p in self._papers.values() if category in p.categories]
            by = "updated" if query.get("sortBy") == "lastUpdatedDate" else "published"
            newest_first = query.get("sortOrder") == "descending"
            found.sort(key=lambda p: (getattr(p, by), p.id), reverse=newest_first)
        page = found[start : start + size]
        if self._short_pages and page:
            self._short_pages -= 1
            page = []
        body = _ATOM.format(
            query=escape(query.get("search_query", "")),
            now=_iso(self._now.now()),
            total=len(found),
            start=start,
            entries="".join(map(_entry, page)),
        )
        headers = {"content-type": "application/atom+xml; charset=utf-8"}
        return Reply(body=body.encode(), headers=headers)


def _entry(paper: _Version) -> str:
    authors = "".join(
        f"    <author>\n      <name>{escape(name)}</name>\n    </author>\n"
        for name in paper.authors
    )
    comment = (
        '    <arxiv:comment xmlns:arxiv="http://arxiv.org/schemas/atom">'
        f"{escape(paper.comment)}</arxiv:comment>\n"
    )
    categories = "".join(
        f'    <category term="{c}" scheme="http://arxiv.org/schemas/atom"/>\n'
        for c in paper.categories
    )
    return _ENTRY.format(
        id=paper.id, version=paper.version, updated=_iso(paper.updated),
        published=_iso(paper.published), title=escape(paper.title), authors=authors,
        abstract=escape(paper.abstract), comment=comment if paper.comment else "",
        primary=paper.categories[0], categories=categories,
    )  # fmt: skip


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
