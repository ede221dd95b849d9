"""arXiv's daily feeds and API answers, read into papers. Promises ContentError and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
from lxml import etree

from gnomon.errors import ContentError
from gnomon.extract.base import Feed, FeedEntry
from gnomon.extract.feeds import parse_feed
from gnomon.extract.text import one_line

CATEGORY = re.compile(r"[a-z]+(?:-[a-z]+)*(?:\.[A-Za-z]+(?:-[a-z]+)?)?")
_ID = re.compile(
    r"(?:^|[:/])(?P<id>\d{4}\.\d{4,5}|[a-z-]+(?:\.[A-Z]{2})?/\d{7})(?:v(?P<version>\d{1,4}))?$"
)
_ANNOUNCED = re.compile(
    r"^arXiv:\S+\s+Announce Type:\s*(?P<type>[\w-]+)\s+(?:Abstract:\s*)?", re.IGNORECASE
)
_WITHDRAWN = re.compile(
    r"^\W*(?:(?:this|the|our)\s+)?(?:arxiv\s+)?"
    r"(?:paper|article|submission|manuscript|preprint|work|draft|note|version)s?\b[^.]{0,60}?"
    r"\b(?:has\s+been|have\s+been|is|was|are)\s+(?:temporarily\s+)?withdrawn\b"
    r"|^\W*withdrawn\b",
    re.IGNORECASE,
)
_ATOM = "{http://www.w3.org/2005/Atom}"
_ARXIV = "{http://arxiv.org/schemas/atom}"
_TOTAL = "{http://a9.com/-/spec/opensearch/1.1/}totalResults"


class Paper(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a paper, as arXiv tells it."""

    id: str
    """Without the version; empty where no arXiv id could be read."""
    version: int = 1
    title: str = ""
    abstract: str = ""
    authors: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    published_at: datetime | None = None
    updated_at: datetime | None = None
    announced_at: datetime | None = None
    """The day of the feed; only in feeds."""
    date_source: str = "api"
    whole: bool = True
    """Whether all is told; of a replaced paper a feed tells neither first date nor comment."""
    withdrawn: bool = False
    extra: Mapping[str, Any] = {}


def read_announced(body: bytes, url: str, latest: datetime) -> list[Paper]:
    """The papers of a daily feed, in its order. A feed without papers is one of a free day."""
    return [_announced(entry) for entry in _feed(body, url, latest, "application/rss+xml").entries]


def read_found(body: bytes, url: str, latest: datetime) -> tuple[list[Paper], int]:
    """The papers of an API answer, in its order, and how many there are in all."""
    feed = _feed(body, url, latest, "application/atom+xml")
    root = _root(body, url)
    total = (root.findtext(_TOTAL) or "").strip()
    if not re.fullmatch(r"\d{1,9}", total):
        raise _unreadable(url, "it does not say how much was found")
    more = {one_line(e.findtext(f"{_ATOM}id") or ""): e for e in root.iter(f"{_ATOM}entry")}
    return [_found(entry, more.get(entry.id)) for entry in feed.entries], int(total)


def is_withdrawn(abstract: str, comment: str) -> bool:
    """Whether a paper says of itself that it was withdrawn."""
    return bool(_WITHDRAWN.match(abstract) or any(map(_WITHDRAWN.match, _sentences(comment))))


def _sentences(text: str) -> Iterator[str]:
    return (part.strip() for part in re.split(r"[.;,]\s+", text))


def _feed(body: bytes, url: str, latest: datetime, content_type: str) -> Feed:
    feed = parse_feed(
        body, url=url, content_type=content_type, now=latest, future_tolerance=timedelta()
    )
    if feed.notes.get("xml.malformed"):
        # Of an answer that was cut off nobody knows what is missing.
        raise _unreadable(url, "it is cut off")
    return feed


def _root(body: bytes, url: str) -> etree._Element:
    parser = etree.XMLParser(
        resolve_entities=False, load_dtd=False, no_network=True, huge_tree=False
    )
    try:
        root = etree.fromstring(body, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise _unreadable(url, str(error)) from None
    return root


def _announced(entry: FeedEntry) -> Paper:
    match = _ID.search(entry.id) or _ID.search(entry.url)
    if match is None:
        return Paper(id="")
    text = one_line(entry.text)
    said = _ANNOUNCED.match(text)
    kind = said["type"].lower() if said else ""
    abstract = text[said.end() :] if said else text
    version = int(match["version"] or 1)
    new = kind == "new" or (not kind and version == 1)
    return Paper(
        id=match["id"],
        version=version,
        title=entry.title,
        abstract=abstract,
        authors=_names(entry.author),
        categories=tuple(entry.extra.get("tags", ())),
        published_at=entry.published_at if new else None,
        updated_at=entry.published_at,
        announced_at=entry.published_at,
        date_source="feed",
        whole=new,
        withdrawn=is_withdrawn(abstract, ""),
        extra={"announced_as": kind} if kind else {},
    )


def _found(entry: FeedEntry, raw: etree._Element | None) -> Paper:
    match = _ID.search(entry.id)
    if match is None or raw is None:
        return Paper(id="")
    names = [one_line(name.text or "") for name in raw.iterfind(f"{_ATOM}author/{_ATOM}name")]
    told = {
        name: one_line(raw.findtext(f"{_ARXIV}{name}") or "")
        for name in ("comment", "journal_ref", "doi")
    }
    abstract = one_line(entry.text)
    return Paper(
        id=match["id"],
        version=int(match["version"] or 1),
        title=entry.title,
        abstract=abstract,
        authors=tuple(filter(None, names)),
        categories=tuple(entry.extra.get("tags", ())),
        published_at=entry.published_at,
        updated_at=entry.updated_at or entry.published_at,
        withdrawn=is_withdrawn(abstract, told["comment"]),
        extra={name: value for name, value in told.items() if value},
    )


def _names(text: str) -> tuple[str, ...]:
    """The feed's authors, who stand in one line."""
    return tuple(filter(None, (one_line(name) for name in re.split(r",\s*|\s+and\s+", text))))


def _unreadable(url: str, reason: str) -> ContentError:
    return ContentError(
        f"What arXiv answers under {url} is not understood: {reason}.",
        code="arxiv.unreadable",
        hint="It is asked again later.",
    )
