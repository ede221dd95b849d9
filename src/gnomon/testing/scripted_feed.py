"""A feed and a page whose content a test or the demo world decides, with real validators.

`ScriptedFeed` renders itself as RSS 2.0, Atom 1.0 (with RFC 6721 tombstones) or JSON Feed 1.1.
Nothing here speaks HTTP; `gnomon.testing.feed_server` serves it.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from html import escape
from typing import Any, Literal

import msgspec

FeedFormat = Literal["rss", "atom", "json"]
Validators = Literal["both", "etag", "last-modified", "none"]

MEDIA_TYPES: Mapping[str, str] = {
    "rss": "application/rss+xml; charset=utf-8",
    "atom": "application/atom+xml; charset=utf-8",
    "json": "application/feed+json",
}
_UNDATED = datetime(2026, 1, 1, tzinfo=UTC)


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One entry as its publisher writes it."""

    id: str
    title: str = ""
    text: str = ""
    """Plain text; blank lines part paragraphs."""
    html: str = ""
    """Markup to publish instead of `text`."""
    url: str = ""
    author: str = ""
    lang: str = ""
    published_at: datetime | None = None
    updated_at: datetime | None = None

    @property
    def markup(self) -> str:
        """`html`, else `text` as paragraphs."""
        return self.html or paragraphs(self.text)


def paragraphs(text: str) -> str:
    """Plain text as HTML paragraphs."""
    parts = [part.strip() for part in text.split("\n\n")]
    return "".join(f"<p>{escape(part)}</p>" for part in parts if part)


class ScriptedFeed:
    """Entries, newest first, of which the latest `window` are served."""

    def __init__(
        self,
        *,
        title: str = "A scripted feed",
        url: str = "",
        site: str = "",
        format: FeedFormat = "rss",
        window: int = 50,
        lang: str = "en",
        ttl_min: int | None = None,
        max_age_s: int | None = None,
        validators: Validators = "both",
    ) -> None:
        self.title = title
        self.url = url
        self.site = site
        self.format = format
        self.window = window
        self.lang = lang
        self.ttl_min = ttl_min
        self.max_age_s = max_age_s
        self.validators = validators
        self.changed_at = _UNDATED
        self._items: dict[str, Item] = {}
        self._tombstones: dict[str, datetime] = {}

    # -- what the publisher does ----------------------------------------------
    def post(self, item: Item) -> None:
        """Publish an entry as the newest one."""
        self._items.pop(item.id, None)
        self._tombstones.pop(item.id, None)
        self._items[item.id] = item
        self._touch(item.updated_at or item.published_at)

    def edit(self, id: str, **changes: Any) -> None:
        """Change fields of an entry where it stands."""
        self._items[id] = msgspec.structs.replace(self._items[id], **changes)
        self._touch(changes.get("updated_at"))

    def remove(self, id: str, *, at: datetime | None = None) -> None:
        """Take an entry back. An Atom feed says so with a tombstone."""
        del self._items[id]
        self._touch(at)
        self._tombstones[id] = self.changed_at

    @property
    def items(self) -> list[Item]:
        """The served window, newest first."""
        return list(self._items.values())[: -self.window - 1 : -1]

    def _touch(self, at: datetime | None) -> None:
        # Last-Modified has whole seconds; it must move with every change all the same.
        self.changed_at = max(self.changed_at + timedelta(seconds=1), at or _UNDATED)

    # -- what the reader gets -------------------------------------------------
    def render(
        self, *, twice: bool = False, shuffled: bool = False, shift: timedelta = timedelta(0)
    ) -> tuple[bytes, dict[str, str]]:
        """Body and headers. The flags are the misbehaviours that `FeedServer` knows by name."""
        items = self.items * (2 if twice else 1)
        if shuffled:
            random.Random(len(items)).shuffle(items)
        if shift:
            items = [_shifted(item, shift) for item in items]
        body = {"rss": self._rss, "atom": self._atom, "json": self._json}[self.format](items)
        headers = {"content-type": MEDIA_TYPES[self.format]}
        if self.validators in ("both", "etag"):
            headers["etag"] = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        if self.validators in ("both", "last-modified"):
            headers["last-modified"] = format_datetime(self.changed_at, usegmt=True)
        if self.max_age_s is not None:
            headers["cache-control"] = f"max-age={self.max_age_s}"
        return body, headers

    def _rss(self, items: list[Item]) -> bytes:
        ttl = f"<ttl>{self.ttl_min}</ttl>" if self.ttl_min is not None else ""
        rows = []
        for item in items:
            row = [f'<guid isPermaLink="false">{escape(item.id)}</guid>']
            row.append(f"<title>{escape(item.title)}</title>" if item.title else "")
            row.append(f"<link>{escape(item.url)}</link>" if item.url else "")
            row.append(f"<description>{escape(item.markup)}</description>")
            if item.author:
                row.append(f"<dc:creator>{escape(item.author)}</dc:creator>")
            if item.published_at:
                row.append(f"<pubDate>{format_datetime(item.published_at)}</pubDate>")
            rows.append(f"<item>{''.join(row)}</item>")
        return (
            '<?xml version="1.0" encoding="utf-8"?>\n'
            '<rss version="2.0" xmlns:dc="http://purl.org/dc/elements/1.1/"><channel>'
            f"<title>{escape(self.title)}</title><link>{escape(self.site)}</link>"
            f"<description></description><language>{escape(self.lang)}</language>{ttl}"
            f"{''.join(rows)}</channel></rss>\n"
        ).encode()

    def _atom(self, items: list[Item]) -> bytes:
        rows = []
        for item in items:
            updated = item.updated_at or item.published_at or _UNDATED
            row = [f"<id>{escape(item.id)}</id><title>{escape(item.title)}</title>"]
            row.append(f"<updated>{updated.isoformat()}</updated>")
            if item.published_at:
                row.append(f"<published>{item.published_at.isoformat()}</published>")
            if item.url:
                row.append(f'<link rel="alternate" href="{escape(item.url)}"/>')
            if item.author:
                row.append(f"<author><name>{escape(item.author)}</name></author>")
            row.append(f'<content type="html">{escape(item.markup)}</content>')
            lang = f' xml:lang="{escape(item.lang)}"' if item.lang else ""
            rows.append(f"<entry{lang}>{''.join(row)}</entry>")
        rows += [
            f'<at:deleted-entry ref="{escape(id)}" when="{at.isoformat()}"/>'
            for id, at in self._tombstones.items()
        ]
        return (
            '<?xml version="1.0" encoding="utf-8"?>\n'
            '<feed xmlns="http://www.w3.org/2005/Atom" '
            'xmlns:at="http://purl.org/atompub/tombstones/1.0" '
            f'xml:lang="{escape(self.lang)}"><id>{escape(self.url or self.title)}</id>'
            f"<title>{escape(self.title)}</title>"
            f"<updated>{self.changed_at.isoformat()}</updated>"
            f'<link rel="self" href="{escape(self.url)}"/>{"".join(rows)}</feed>\n'
        ).encode()

    def _json(self, items: list[Item]) -> bytes:
        rows = []
        for item in items:
            row: dict[str, Any] = {"id": item.id, "content_html": item.markup}
            if item.title:
                row["title"] = item.title
            if item.url:
                row["url"] = item.url
            if item.author:
                row["authors"] = [{"name": item.author}]
            if item.lang:
                row["language"] = item.lang
            if item.published_at:
                row["date_published"] = item.published_at.isoformat()
            if item.updated_at:
                row["date_modified"] = item.updated_at.isoformat()
            rows.append(row)
        feed = {
            "version": "https://jsonfeed.org/version/1.1",
            "title": self.title,
            "home_page_url": self.site,
            "feed_url": self.url,
            "language": self.lang,
            "items": rows,
        }
        return json.dumps(feed, ensure_ascii=False).encode()


def _shifted(item: Item, by: timedelta) -> Item:
    moved = {
        name: value + by
        for name in ("published_at", "updated_at")
        if (value := getattr(item, name)) is not None
    }
    return msgspec.structs.replace(item, **moved)


class ScriptedPage:
    """A web page that can change, vanish and return."""

    def __init__(
        self,
        *,
        title: str = "A scripted page",
        text: str = "",
        html: str = "",
        lang: str = "en",
        feeds: tuple[str, ...] = (),
        published_at: datetime | None = None,
        updated_at: datetime | None = None,
        author: str = "",
        validators: Validators = "both",
    ) -> None:
        self.title = title
        self.text = text
        self.html = html
        self.lang = lang
        self.feeds = feeds
        self.published_at = published_at
        self.updated_at = updated_at
        self.author = author
        self.validators = validators
        self.gone = 0
        """Status with which it answers while it is away (404 or 410); 0: it is there."""
        self._changed_at = _UNDATED
        self._served = b""

    def edit(self, *, title: str | None = None, text: str | None = None, html: str = "") -> None:
        """Change what it says; also brings it back if it was gone."""
        self.title = self.title if title is None else title
        self.text = self.text if text is None else text
        self.html = html
        self.gone = 0

    def vanish(self, status: int = 404) -> None:
        """Answer with `status` until the next `edit`."""
        self.gone = status

    def render(self) -> tuple[bytes, dict[str, str]]:
        """Body and headers."""
        body = self._markup().encode()
        if body != self._served:
            self._served, self._changed_at = body, self._changed_at + timedelta(seconds=1)
        headers = {"content-type": "text/html; charset=utf-8"}
        if self.validators in ("both", "etag"):
            headers["etag"] = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        if self.validators in ("both", "last-modified"):
            headers["last-modified"] = format_datetime(self._changed_at, usegmt=True)
        return body, headers

    def _markup(self) -> str:
        head = [f"<title>{escape(self.title)}</title>"]
        head += [
            f'<link rel="alternate" type="application/rss+xml" href="{escape(url)}">'
            for url in self.feeds
        ]
        for name, value in (
            ("article:published_time", self.published_at),
            ("article:modified_time", self.updated_at),
        ):
            if value:
                head.append(f'<meta property="{name}" content="{value.isoformat()}">')
        if self.author:
            head.append(f'<meta name="author" content="{escape(self.author)}">')
        body = self.html or f"<h1>{escape(self.title)}</h1>{paragraphs(self.text)}"
        return (
            f'<!doctype html><html lang="{escape(self.lang)}"><head><meta charset="utf-8">'
            f"{''.join(head)}</head><body><main><article>{body}</article></main></body></html>"
        )
