"""Feeds to entries: RSS, Atom, RDF and JSON Feed, well-formed or not."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from lxml import etree

from gnomon.errors import ContentError
from gnomon.extract.base import FUTURE_TOLERANCE, Enclosure, Feed, FeedEntry
from gnomon.extract.dates import Dates
from gnomon.extract.feedvalues import as_text, content_id, unreadable
from gnomon.extract.feedxml import HostileFeed, Parsed, parse_xml
from gnomon.extract.jsonfeed import looks_like_json, parse_json_feed
from gnomon.extract.text import clean_text, detect_lang, html_to_text, lang_code, one_line
from gnomon.extract.urls import absolute

MAX_FEED_BYTES = 10_000_000
_MAX_ENCLOSURES = 20
_WEB_PAGE = re.compile(rb"\s*(<!doctype html|<html)[\s>]", re.IGNORECASE)
_SYNDICATION_S = {
    "hourly": 3_600,
    "daily": 86_400,
    "weekly": 604_800,
    "monthly": 2_592_000,
    "yearly": 31_536_000,
}
_TOMBSTONE = "{http://purl.org/atompub/tombstones/1.0}deleted-entry"


def parse_feed(
    body: bytes,
    *,
    url: str,
    content_type: str = "",
    now: datetime,
    future_tolerance: timedelta = FUTURE_TOLERANCE,
) -> Feed:
    """Read a feed.

    Raises ContentError: `feed.unreadable` when nothing can be made of it, `feed.too_large`,
    `feed.hostile` when it goes beyond what an honest feed needs.
    """
    if len(body) > MAX_FEED_BYTES:
        raise ContentError(
            f"The feed {url} has {len(body):,} bytes; at most {MAX_FEED_BYTES:,} are read.",
            code="feed.too_large",
            hint="Ask the publisher for a shorter feed.",
            url=url,
        )
    dates = Dates(now, future_tolerance)
    if looks_like_json(body):
        return parse_json_feed(body, url=url, dates=dates)
    if _WEB_PAGE.match(body[:200].removeprefix(b"\xef\xbb\xbf")):
        raise unreadable(url, "it is a web page")
    try:
        parsed = parse_xml(body, url=url, content_type=content_type)
    except HostileFeed as error:
        raise ContentError(
            f"The feed {url} is not read: {error}.",
            code="feed.hostile",
            hint="No reader can use such a feed; tell its publisher.",
            url=url,
        ) from None
    except Exception as error:
        # feedparser promises nothing about what it raises on bytes that nobody foresaw.
        raise unreadable(url, f"{type(error).__name__} while reading it") from error
    if not parsed.version and not parsed.entries:
        raise unreadable(url, "nothing in it is a feed")
    return _feed(parsed, body, url, dates)


def _feed(parsed: Parsed, body: bytes, url: str, dates: Dates) -> Feed:
    info = parsed.feed
    site = absolute(url, as_text(info.get("link")))
    lang = lang_code(as_text(info.get("language")))
    author = _author(info) if parsed.version.startswith("atom") else ""
    notes = Counter(parsed.notes)
    entries, skipped = [], 0
    for raw in parsed.entries:
        entry = _entry(raw, url, lang, author, dates)
        if entry is None:
            skipped += 1
        else:
            entries.append(entry)
    links = [link for link in info.get("links", ()) if isinstance(link, dict)]
    return Feed(
        title=one_line(html_to_text(as_text(info.get("title")))),
        url=site,
        lang=lang or "und",
        ttl_s=_ttl_s(info),
        hub=_link(links, "hub", url),
        self_url=_link(links, "self", url),
        entries=tuple(entries),
        removed=_tombstones(body),
        skipped=skipped,
        notes=dict(notes + dates.notes),
    )


def _entry(raw: Any, base: str, lang: str, author: str, dates: Dates) -> FeedEntry | None:
    title = _value(raw, "title", one_line=True)
    bodies = [
        (_markup(part), _plain(part)) for part in raw.get("content", ())[:3] if part.get("value")
    ]
    summary = _value(raw, "summary")
    if summary:
        bodies.append((_markup(raw.get("summary_detail") or {"value": raw["summary"]}), summary))
    html, text = max(bodies, key=lambda pair: len(pair[1]), default=("", ""))
    link = absolute(base, as_text(raw.get("feedburner_origlink")) or as_text(raw.get("link")))
    id = clean_text(as_text(raw.get("id"))) or link
    enclosures = tuple(_enclosures(raw, base))
    if not (id or title or text or enclosures):
        return None
    updated = dates.of_tuple(raw, "updated")
    published = dates.of_tuple(raw, "published") or dates.of_tuple(raw, "created") or updated
    hint = as_text((raw.get("title_detail") or {}).get("language")) or lang
    return FeedEntry(
        id=id or content_id(title, text),
        url=link,
        title=title,
        text=text,
        author=_author(raw) or author,
        lang=detect_lang(f"{title}\n{text}", hint),
        published_at=published,
        updated_at=updated,
        enclosures=enclosures,
        html=html,
        extra=_extra(raw, base, summary if summary != text else ""),
    )


def _markup(part: Any) -> str:
    return "" if part.get("type") == "text/plain" else as_text(part.get("value"))


def _plain(part: Any) -> str:
    """The value of one of feedparser's text constructs, as text. What is not plain is markup."""
    value = as_text(part.get("value"))
    return clean_text(value) if part.get("type") == "text/plain" else html_to_text(value)


def _value(raw: Any, name: str, *, one_line: bool = False) -> str:
    detail = raw.get(f"{name}_detail")
    text = _plain(detail) if detail else html_to_text(as_text(raw.get(name)))
    return " ".join(text.split()) if one_line else text


def _author(raw: Any) -> str:
    """Names of the authors; an address only where there is no name."""
    names = []
    for person in (raw.get("authors") or [])[:10]:
        name = one_line(html_to_text(as_text(person.get("name")) or as_text(person.get("email"))))
        if name and name not in names:
            names.append(name)
    if names:
        return ", ".join(names)
    detail = raw.get("author_detail") or {}
    return one_line(html_to_text(as_text(detail.get("name")) or as_text(raw.get("author"))))


def _enclosures(raw: Any, base: str) -> Iterator[Enclosure]:
    seen: set[str] = set()
    found = [*(raw.get("enclosures") or ()), *(raw.get("media_content") or ())]
    for item in found[: 5 * _MAX_ENCLOSURES]:
        link = absolute(base, as_text(item.get("href")) or as_text(item.get("url")))
        if not link or link in seen or len(seen) >= _MAX_ENCLOSURES:
            continue
        seen.add(link)
        size = as_text(item.get("length")) or as_text(item.get("filesize"))
        yield Enclosure(
            url=link,
            media_type=as_text(item.get("type")).lower()[:100],
            body_bytes=int(size) if re.fullmatch(r"[0-9]{1,15}", size) else 0,
        )


def _extra(raw: Any, base: str, summary: str) -> dict[str, Any]:
    tags = [one_line(as_text(tag.get("term")))[:100] for tag in raw.get("tags") or ()]
    source = raw.get("source") or {}
    extra = {
        "tags": [tag for tag in dict.fromkeys(tags) if tag],
        "summary": summary,
        "comments": absolute(base, as_text(raw.get("comments"))),
        "source": one_line(html_to_text(as_text(source.get("title"))))[:300],
    }
    where = raw.get("where")
    if isinstance(where, dict) and where.get("type") == "Point":
        point: Any = where.get("coordinates") or ()
        if len(point) >= 2 and all(map(_finite, point[:2])):
            extra["geo"] = [point[1], point[0]]
    return {key: value for key, value in extra.items() if value}


def _finite(number: Any) -> bool:
    return isinstance(number, float) and math.isfinite(number)


def _link(links: list[Any], rel: str, base: str) -> str:
    hits = (absolute(base, as_text(link.get("href"))) for link in links if link.get("rel") == rel)
    return next(filter(None, hits), "")


def _ttl_s(info: Any) -> float | None:
    """`ttl` in minutes, or the syndication module's period divided by its frequency."""
    ttl = as_text(info.get("ttl")).strip()
    if re.fullmatch(r"[0-9]{1,7}", ttl):
        return int(ttl) * 60.0 or None
    period = _SYNDICATION_S.get(as_text(info.get("sy_updateperiod")).strip().lower())
    times = as_text(info.get("sy_updatefrequency")).strip()
    if period is None:
        return None
    return period / max(int(times), 1) if re.fullmatch(r"[0-9]{1,4}", times) else float(period)


def _tombstones(body: bytes) -> tuple[str, ...]:
    """Ids in `at:deleted-entry` (RFC 6721), which feedparser does not know."""
    if b"deleted-entry" not in body.replace(b"\0", b""):
        return ()
    parser = etree.XMLParser(
        recover=True, resolve_entities=False, load_dtd=False, no_network=True, huge_tree=False
    )
    try:
        root = etree.fromstring(body, parser)
    except (etree.XMLSyntaxError, ValueError):
        return ()
    if root is None:
        return ()
    refs = (clean_text(element.get("ref", "")) for element in root.iter(_TOMBSTONE))
    return tuple(dict.fromkeys(filter(None, refs)))
