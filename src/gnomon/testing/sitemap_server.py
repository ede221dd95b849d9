"""A site that announces its pages in sitemaps: an index, news and archive files, plain or zipped.

It is a `FeedServer` whose sitemap is rendered from what was published, so all its faults apply
to every file and page by path; `bad_gzip` and `bombs` are faults of zipped files.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from html import escape

import msgspec

from gnomon.clock import Clock
from gnomon.testing.feed_server import FeedServer, Reply, Request, conditional
from gnomon.testing.scripted_feed import ScriptedPage

_NS = (
    'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9" '
    'xmlns:news="http://www.google.com/schemas/sitemap-news/0.9" '
    'xmlns:image="http://www.google.com/schemas/sitemap-image/1.1"'
)


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """One address as a sitemap lists it."""

    path: str
    lastmod: datetime | None = None
    title: str = ""
    published_at: datetime | None = None


class SitemapServer(FeedServer):
    """`async with SitemapServer() as server: server.publish(...)`."""

    def __init__(
        self,
        *,
        port: int = 0,
        clock: Clock | None = None,
        index: bool = True,
        news: bool = True,
        zipped: bool = False,
        news_window: int = 1_000,
    ) -> None:
        super().__init__(port=port, clock=clock)
        self.news = news
        self.zipped = zipped
        self.news_window = news_window
        self.root = "/sitemap_index.xml" if index else "/sitemap.xml"
        self._pages: dict[str, ScriptedPage] = {}
        self._listed: dict[str, Listed] = {}
        self._spoiled: dict[str, str] = {}
        self.route("/robots.txt", self._robots)
        if index:
            self.route(self.root, self._index)
        self.file = ("/sitemap.xml.gz" if zipped else "/sitemap.xml") if index else self.root
        self.route(self.file, self._urls)

    # -- what the publisher does ----------------------------------------------
    def publish(
        self,
        path: str,
        *,
        title: str,
        text: str,
        at: datetime | None,
        updated_at: datetime | None = None,
    ) -> ScriptedPage:
        """Put a page on the site and into the sitemap. Undated if `at` is None."""
        page = self._pages[path] = self.page(path, title=title, text=text, published_at=at)
        dated = at if self.news else None
        self._listed.pop(path, None)
        self._listed[path] = Listed(
            path=path, lastmod=updated_at or at, title=title, published_at=dated
        )
        return page

    def edit(self, path: str, *, text: str, at: datetime) -> None:
        """Change a page, and its `lastmod`."""
        self._pages[path].edit(text=text)
        self._listed[path] = msgspec.structs.replace(self._listed[path], lastmod=at)

    def retract(self, path: str, *, at: datetime, status: int = 410) -> None:
        """The page is gone, and the sitemap still lists it with a new date."""
        self._pages[path].vanish(status)
        self._listed[path] = msgspec.structs.replace(self._listed[path], lastmod=at)

    def unlist(self, path: str) -> None:
        """Leave the page, and take it out of the sitemap."""
        del self._listed[path]

    def spoil(self, fault: str) -> None:
        """Serve the next zipped file damaged: `bad_gzip`, or `bomb` (60 MB of spaces)."""
        self._spoiled[self.file] = fault
        if fault == "bomb":
            _bomb()  # made now: nobody waits for it

    # -- what the reader gets -------------------------------------------------
    def _robots(self, request: Request) -> Reply:
        body = f"User-agent: *\nDisallow: /private/\n\nSitemap: {self.url(self.root)}\n"
        return Reply(body=body.encode(), headers={"content-type": "text/plain"})

    def _index(self, request: Request) -> Reply:
        newest = max((e.lastmod for e in self._listed.values() if e.lastmod), default=None)
        moment = f"<lastmod>{newest.isoformat()}</lastmod>" if newest else ""
        old = self.url("/archive-2001.xml")
        body = (
            f'<?xml version="1.0" encoding="UTF-8"?><sitemapindex {_NS}>'
            f"<sitemap><loc>{old}</loc><lastmod>2001-02-03</lastmod></sitemap>"
            f"<sitemap><loc>{self.url(self.file)}</loc>{moment}</sitemap></sitemapindex>"
        )
        return conditional(request, body.encode(), _headers(body.encode(), "application/xml"))

    def _urls(self, request: Request) -> Reply:
        rows = [self._row(entry) for entry in list(self._listed.values())[-self.news_window :]]
        body = (
            f'<?xml version="1.0" encoding="UTF-8"?><urlset {_NS}>{"".join(rows)}</urlset>'
        ).encode()
        if not self.zipped:
            return conditional(request, body, _headers(body, "application/xml"))
        fault = self._spoiled.pop(self.file, "")
        packed = _bomb() if fault == "bomb" else gzip.compress(body, mtime=0)
        if fault == "bad_gzip":
            packed = packed[:20] + b"\xff" * 20 + packed[40:]
        return conditional(request, packed, _headers(packed, "application/x-gzip"))

    def _row(self, entry: Listed) -> str:
        moment = f"<lastmod>{entry.lastmod.isoformat()}</lastmod>" if entry.lastmod else ""
        news = ""
        if entry.published_at is not None:
            news = (
                "<news:news><news:publication><news:name>The Tidings</news:name>"
                "<news:language>en</news:language></news:publication>"
                f"<news:publication_date>{entry.published_at.isoformat()}</news:publication_date>"
                f"<news:title>{escape(entry.title)}</news:title></news:news>"
            )
        picture = f"<image:image><image:loc>{self.url('/a.png')}</image:loc></image:image>"
        return f"<url><loc>{escape(self.url(entry.path))}</loc>{moment}{news}{picture}</url>"


@cache
def _bomb() -> bytes:
    return gzip.compress(b" " * 60_000_000, mtime=0)


def _headers(body: bytes, media_type: str) -> Mapping[str, str]:
    return {"content-type": media_type, "etag": f'"{hash(body) & 0xFFFFFFFF:08x}"'}
