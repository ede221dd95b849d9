"""JSON Feed, versions 1 and 1.1. Every field may be missing, or of the wrong type."""

from __future__ import annotations

import json
from typing import Any

from gnomon.extract.base import Enclosure, Feed, FeedEntry
from gnomon.extract.dates import Dates
from gnomon.extract.feedvalues import as_text, content_id, unreadable
from gnomon.extract.text import clean_text, detect_lang, html_to_text, lang_code, one_line
from gnomon.extract.urls import absolute

_MAX_ITEMS = 20_000
_MAX_LIST = 64


def looks_like_json(body: bytes) -> bool:
    """Whether the first sign of the body is that of a JSON object or array."""
    start = body[:200].replace(b"\0", b"").removeprefix(b"\xef\xbb\xbf")
    for mark in (b"\xff\xfe", b"\xfe\xff"):
        start = start.removeprefix(mark)
    return start.lstrip()[:1] in (b"{", b"[")


def parse_json_feed(body: bytes, *, url: str, dates: Dates) -> Feed:
    """Read a JSON Feed. Raises ContentError `feed.unreadable`."""
    try:
        data = json.loads(body.decode(json.detect_encoding(body), "replace").removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:
        raise unreadable(url, f"its JSON is broken ({type(error).__name__})") from None
    if not isinstance(data, dict) or not isinstance(data.get("items"), list):
        raise unreadable(url, "it is JSON without a list of items")
    lang = lang_code(as_text(data.get("language")))
    authors = _authors(data)
    entries, skipped = [], max(len(data["items"]) - _MAX_ITEMS, 0)
    for item in data["items"][:_MAX_ITEMS]:
        entry = _entry(item, url, lang, authors, dates) if isinstance(item, dict) else None
        if entry is None:
            skipped += 1
        else:
            entries.append(entry)
    hubs = (hub for hub in _list(data.get("hubs")) if as_text(hub.get("type")).lower() == "websub")
    return Feed(
        title=one_line(as_text(data.get("title"))),
        url=absolute(url, as_text(data.get("home_page_url"))),
        lang=lang or "und",
        hub=next(filter(None, (absolute(url, as_text(hub.get("url"))) for hub in hubs)), ""),
        self_url=absolute(url, as_text(data.get("feed_url"))),
        entries=tuple(entries),
        skipped=skipped,
        notes=dict(dates.notes),
    )


def _entry(
    item: dict[str, Any], base: str, lang: str, authors: str, dates: Dates
) -> FeedEntry | None:
    title = one_line(as_text(item.get("title")))
    html = as_text(item.get("content_html"))
    bodies = [html_to_text(html), clean_text(as_text(item.get("content_text")))]
    summary = clean_text(as_text(item.get("summary")))
    text = max([*bodies, summary], key=len)
    link = absolute(base, as_text(item.get("url")) or as_text(item.get("external_url")))
    id = _id(item.get("id")) or link
    enclosures = tuple(
        Enclosure(
            url=place,
            media_type=as_text(one.get("mime_type")).lower()[:100],
            body_bytes=_size(one.get("size_in_bytes")),
        )
        for one in _list(item.get("attachments"))
        if (place := absolute(base, as_text(one.get("url"))))
    )
    if not (id or title or text or enclosures):
        return None
    updated = dates.of_text(as_text(item.get("date_modified")))
    tags = item.get("tags")
    tags = tags if isinstance(tags, list) else []
    extra = {
        "tags": [tag for t in tags[:_MAX_LIST] if (tag := one_line(as_text(t))[:100])],
        "summary": summary if summary != text else "",
        "external_url": absolute(base, as_text(item.get("external_url"))),
    }
    return FeedEntry(
        id=id or content_id(title, text),
        url=link,
        title=title,
        text=text,
        author=_authors(item) or authors,
        lang=detect_lang(f"{title}\n{text}", as_text(item.get("language")) or lang),
        published_at=dates.of_text(as_text(item.get("date_published"))) or updated,
        updated_at=updated,
        enclosures=enclosures,
        html=html,
        extra={key: value for key, value in extra.items() if value},
    )


def _id(value: Any) -> str:
    """Version 1 asked readers to take numbers too."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return ""
    return clean_text(str(value))[:2_048]


def _size(value: Any) -> int:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and 0 <= value < 10**15 else 0


def _list(value: Any) -> list[dict[str, Any]]:
    """The objects in what should be a list of objects."""
    found = value if isinstance(value, list) else []
    return [one for one in found[:_MAX_LIST] if isinstance(one, dict)]


def _authors(holder: dict[str, Any]) -> str:
    people = _list(holder.get("authors")) or _list([holder.get("author")])
    names = (one_line(as_text(person.get("name"))) for person in people)
    return ", ".join(dict.fromkeys(filter(None, names)))
