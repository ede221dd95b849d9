"""Sitemaps and sitemap indexes, news extensions included, read as a stream.

Entities are never expanded (a sitemap that declares some is refused), and bytes, addresses and
depth are capped, also behind gzip. What breaks off in the middle is used as far as it goes.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Literal
from xml.parsers import expat

import msgspec

from gnomon.errors import ContentError
from gnomon.extract.base import FUTURE_TOLERANCE
from gnomon.extract.dates import Dates
from gnomon.extract.text import lang_code, one_line
from gnomon.extract.urls import absolute

MAX_SITEMAP_BYTES = 52_428_800
"""What the protocol allows (50 MB), decompressed."""
MAX_SITEMAP_URLS = 50_000
_MAX_DEPTH = 32
_FIELD_CHARS = 4_096
_CHUNK_BYTES = 65_536
_FIELDS = {
    ("url", "loc"): "loc",
    ("sitemap", "loc"): "loc",
    ("url", "lastmod"): "lastmod",
    ("sitemap", "lastmod"): "lastmod",
    ("news", "title"): "title",
    ("news", "publication_date"): "published",
    ("publication", "name"): "site",
    ("publication", "language"): "lang",
}
"""By parent and name: `title` and `loc` of images and videos mean something else."""


class SitemapEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One address of a sitemap, or one sitemap of an index."""

    url: str
    lastmod: datetime | None = None
    title: str = ""
    """The news title, as the publisher gives it."""
    published_at: datetime | None = None
    lang: str = ""
    site: str = ""

    @property
    def moment(self) -> datetime | None:
        """The latest that it claims of itself."""
        known = [m for m in (self.lastmod, self.published_at) if m is not None]
        return max(known, default=None)


class Sitemap(msgspec.Struct, frozen=True, kw_only=True):
    """What one file holds."""

    kind: Literal["index", "urls"]
    entries: tuple[SitemapEntry, ...]
    notes: Mapping[str, int] = {}
    """What was wrong, by short reason, and how often."""


def looks_like_sitemap(body: bytes) -> bool:
    """Whether this is meant as a sitemap or an index of sitemaps, zipped or not."""
    try:
        head = b"".join(_plain(body[:_CHUNK_BYTES], "", 4_096))[:4_096].lower()
    except ContentError:
        return False
    return b"<urlset" in head or b"<sitemapindex" in head


def read_sitemap(
    body: bytes, *, url: str, now: datetime, future_tolerance: timedelta = FUTURE_TOLERANCE
) -> Sitemap:
    """Read one file. Raises ContentError `sitemap.unreadable`, `.too_large`, `.hostile`."""
    reader = _Reader(url, Dates(now, future_tolerance))
    try:
        for chunk in _plain(body, url, MAX_SITEMAP_BYTES):
            reader.feed(chunk)
            if reader.full:
                break
        else:
            reader.feed(b"", last=True)
    except expat.ExpatError as error:
        if not reader.entries:
            raise _refused(url, "sitemap.unreadable", f"it is no XML ({error})") from None
        reader.notes["sitemap.broken"] += 1
    if not reader.kind:
        raise _refused(url, "sitemap.unreadable", "it has no <urlset> and no <sitemapindex>")
    return Sitemap(
        kind="index" if reader.kind == "sitemapindex" else "urls",
        entries=tuple(reader.entries),
        notes=dict(reader.notes + reader.dates.notes),
    )


class _Reader:
    """Builds entries from what the parser meets."""

    def __init__(self, url: str, dates: Dates) -> None:
        self.kind = ""
        self.entries: list[SitemapEntry] = []
        self.notes: Counter[str] = Counter()
        self.dates = dates
        self.full = False
        self._url = url
        self._path: list[str] = []
        self._fields: dict[str, str] = {}
        self._text: list[str] | None = None
        self._chars = 0
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._data
        self._parser.EntityDeclHandler = self._entity

    def feed(self, data: bytes, *, last: bool = False) -> None:
        self._parser.Parse(data, last)

    def _start(self, name: str, attributes: object) -> None:
        local = name.rpartition(" ")[2].lower()
        if len(self._path) >= _MAX_DEPTH:
            raise _refused(self._url, "sitemap.hostile", "its elements are nested too deep")
        if not self._path:
            self.kind = local if local in ("urlset", "sitemapindex") else ""
            if not self.kind:
                raise _refused(self._url, "sitemap.unreadable", f"it begins with <{local[:40]}>")
        if local in ("url", "sitemap"):
            self._fields = {}
        parent = self._path[-1] if self._path else ""
        self._path.append(local)
        self._text, self._chars = ([] if (parent, local) in _FIELDS else None), 0

    def _data(self, text: str) -> None:
        if self._text is not None and self._chars < _FIELD_CHARS:
            self._text.append(text[: _FIELD_CHARS - self._chars])
            self._chars += len(text)

    def _end(self, name: str) -> None:
        local = self._path.pop()
        if self._text is not None:
            parent = self._path[-1] if self._path else ""
            self._fields.setdefault(_FIELDS[parent, local], "".join(self._text).strip())
            self._text = None
        if local in ("url", "sitemap") and len(self._path) == 1:
            self._keep()

    def _keep(self) -> None:
        fields = self._fields
        link = absolute(self._url, fields.get("loc", ""))
        if not link:
            self.notes["sitemap.no_address"] += 1
            return
        if len(self.entries) >= MAX_SITEMAP_URLS:
            self.notes["sitemap.too_many"] += 1
            self.full = True
            return
        self.entries.append(
            SitemapEntry(
                url=link,
                lastmod=self.dates.of_text(fields.get("lastmod", "")),
                title=one_line(fields.get("title", "")),
                published_at=self.dates.of_text(fields.get("published", "")),
                lang=lang_code(fields.get("lang", "")),
                site=one_line(fields.get("site", "")),
            )
        )

    def _entity(self, *declared: object) -> None:
        raise _refused(self._url, "sitemap.hostile", "it declares entities")


def _plain(body: bytes, url: str, cap: int) -> Iterator[bytes]:
    """The plain bytes, piece by piece; a gzip file inside the body is undone."""
    if not body.startswith(b"\x1f\x8b"):
        if len(body) > cap and cap == MAX_SITEMAP_BYTES:
            raise _refused(url, "sitemap.too_large", f"it has {len(body):,} bytes")
        for start in range(0, len(body), _CHUNK_BYTES):
            yield body[start : start + _CHUNK_BYTES]
        return
    inflate = zlib.decompressobj(31)
    made, data = 0, body
    try:
        while data and not inflate.eof:
            piece = inflate.decompress(data, _CHUNK_BYTES)
            data = inflate.unconsumed_tail
            made += len(piece)
            if made > MAX_SITEMAP_BYTES:
                raise _refused(url, "sitemap.too_large", "it holds more than 50 MB unpacked")
            if piece:
                yield piece
            if made >= cap and cap < MAX_SITEMAP_BYTES:
                return
    except zlib.error as error:
        raise _refused(url, "sitemap.unreadable", f"its gzip data is damaged ({error})") from None


def _refused(url: str, code: str, reason: str) -> ContentError:
    return ContentError(
        f"The sitemap {url} is not read: {reason}.",
        code=code,
        hint="Look for another sitemap in the site's robots.txt, or follow its feed.",
        url=url,
    )
