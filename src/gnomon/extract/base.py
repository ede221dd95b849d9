"""What extraction hands over: the entries of a feed, the article of a page.

Everything in `text` and `title` is plain text: no markup, NFC, no control characters but `\\n`
and `\\t`, paragraphs parted by blank lines. All times are aware UTC. A date further ahead than
our clock allows is dropped, never kept as a claim.

    parse_feed(body, *, url, content_type="", now) -> Feed        gnomon.extract.feeds
    extract_page(body, *, url, content_type="", now) -> Page      gnomon.extract.html

Both work synchronously on the CPU (call them from a thread), in bounded time and memory, and
raise ContentError and nothing else, whatever the bytes are.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

import msgspec

FUTURE_TOLERANCE = timedelta(seconds=300)
"""How far ahead of `now` a claimed date may lie, unless the caller says otherwise."""


class Enclosure(msgspec.Struct, frozen=True, kw_only=True):
    """A file that an entry points to. `body_bytes` is the publisher's claim, 0 if none."""

    url: str
    media_type: str = ""
    body_bytes: int = 0


class FeedEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry as its publisher means it."""

    id: str
    """The publisher's id, else the link, else a hash of the content. Never empty."""
    url: str = ""
    """Absolute address of the entry, as published."""
    title: str = ""
    text: str = ""
    """The fullest of content and summary, as plain text."""
    author: str = ""
    lang: str = "und"
    published_at: datetime | None = None
    """The publication date; the update date where the feed gives only that."""
    updated_at: datetime | None = None
    enclosures: tuple[Enclosure, ...] = ()
    html: str = ""
    """The publisher's markup behind `text`, exactly as it came. Hostile until sanitised."""
    extra: Mapping[str, Any] = {}
    """`tags`, `summary`, `comments`, `source`, `geo` and the like, where given. JSON values."""


class Feed(msgspec.Struct, frozen=True, kw_only=True):
    """A feed at one moment, entries in the order in which they stand."""

    title: str = ""
    url: str = ""
    """Address of the site that the feed belongs to."""
    lang: str = "und"
    ttl_s: float | None = None
    """How long the publisher says that the feed need not be asked again."""
    hub: str = ""
    """WebSub hub."""
    self_url: str = ""
    entries: tuple[FeedEntry, ...] = ()
    removed: tuple[str, ...] = ()
    """Ids of entries that the publisher took back (RFC 6721)."""
    skipped: int = 0
    """Entries that could not be used."""
    notes: Mapping[str, int] = {}
    """What was wrong, by short reason (`date.future`, `xml.malformed`), and how often."""


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """The article of a web page, without navigation and decoration."""

    url: str
    """Where it was fetched from."""
    canonical_url: str = ""
    """Its one address: the page's own claim within one registrable domain, else `url`, tidied."""
    title: str = ""
    text: str = ""
    author: str = ""
    lang: str = "und"
    site: str = ""
    """Name of the site."""
    published_at: datetime | None = None
    published_day: date | None = None
    """The day of `published_at` in the publisher's own zone, as far as the page tells it.

    From the claim's own offset; for a moment in UTC from the address or the by-line, if somewhere
    on earth it was that day at that moment; else the day in UTC. None if undated.
    """
    updated_at: datetime | None = None
    date_source: str = ""
    """Where `published_at` comes from: `json-ld`, `meta`, `byline` (a day marked, labelled or
    alone on the page), `address`, `script`, `updated` (only a last change is told), `htmldate`;
    empty if undated."""
    links: tuple[str, ...] = ()
    """Absolute http(s) links of the page, without repeats, in order."""
    feeds: tuple[str, ...] = ()
    """Feeds that the page announces."""
    notes: Mapping[str, int] = {}
    """What was wrong, by short reason."""
