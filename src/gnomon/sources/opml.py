"""Lists of feeds as OPML: read from any reader's export, written for any reader's import.

Files from the wild are half broken; what can be read is read, and what is no feed is told.
Entities are not expanded: a list that declares some is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from email.utils import format_datetime
from xml.sax.saxutils import quoteattr

import msgspec
from lxml import etree

from gnomon.errors import ContentError
from gnomon.extract.text import one_line
from gnomon.extract.urls import absolute
from gnomon.sources import feed
from gnomon.types import SourceConfig

MAX_OPML_BYTES = 20_000_000
MAX_OPML_FEEDS = 50_000
_TITLE_CHARS = 200
_ENTRY_CHARS = 300
_HEAD_BYTES = 4_096


class Skipped(msgspec.Struct, frozen=True):
    """An entry of a list that cannot be followed."""

    entry: str
    """Its title and address, as far as it has them."""
    reason: str


class FeedList(msgspec.Struct, frozen=True, kw_only=True):
    """What an OPML file lists, or what another address leads to."""

    title: str = ""
    configs: tuple[SourceConfig, ...] = ()
    """One feed each, in the file's order, repetitions left out."""
    skipped: tuple[Skipped, ...] = ()
    """Entries that are meant as feeds and cannot be followed."""


def looks_like_opml(body: bytes) -> bool:
    """Whether this is meant as OPML."""
    head = body[:_HEAD_BYTES]
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        head = head.decode("utf-16", "replace").encode()
    return b"<opml" in head.lower()


def read_opml(body: bytes, *, url: str = "") -> FeedList:
    """The feeds of an OPML file. Raises ContentError `opml.unreadable` or `opml.too_large`."""
    where = url or "the file"
    if len(body) > MAX_OPML_BYTES:
        raise ContentError(
            f"The OPML list {where} has {len(body):,} bytes; at most {MAX_OPML_BYTES:,} are read.",
            code="opml.too_large",
            hint="Split it.",
        )
    if b"<!ENTITY" in body.upper():
        raise _unreadable(where, "it declares entities, which no list of feeds needs")
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, recover=True, huge_tree=False
    )
    try:
        root = etree.fromstring(body, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise _unreadable(where, str(error)) from None
    if root is None or etree.QName(root).localname.lower() != "opml":
        raise _unreadable(where, "it has no <opml> element")
    found: dict[str, SourceConfig] = {}
    skipped: list[Skipped] = []
    for outline in root.iter("outline"):
        title = one_line(_attribute(outline, "title") or _attribute(outline, "text"))
        link, reason = _feed_of(outline, url)
        if link and len(found) >= MAX_OPML_FEEDS:
            reason = f"at most {MAX_OPML_FEEDS:,} feeds are read"
        if reason:
            address = _attribute(outline, "xmlurl") or _attribute(outline, "htmlurl")
            entry = " ".join(part for part in (title, address and f"({one_line(address)})") if part)
            skipped.append(Skipped(entry[:_ENTRY_CHARS] or "an entry without a title", reason))
        elif link:
            config = feed.config_for(link, title[:_TITLE_CHARS])
            found.setdefault(config.name, config)
    title = root.findtext("head/title") or ""
    return FeedList(
        title=one_line(title)[:_TITLE_CHARS], configs=tuple(found.values()), skipped=tuple(skipped)
    )


def _feed_of(outline: etree._Element, base: str) -> tuple[str, str]:
    """The feed's address, or why there is none. A folder has neither."""
    address = _attribute(outline, "xmlurl")
    if not address:
        meant = _attribute(outline, "type").lower() == "rss" or _attribute(outline, "htmlurl")
        return "", "it names no feed (xmlUrl)" if meant and not len(outline) else ""
    address = address.replace("feed://", "https://", 1)
    link = absolute(base, address) if "/" in address else ""
    return link, "" if link else "its xmlUrl is no web address"


def write_opml(configs: Iterable[SourceConfig], *, title: str, now: datetime) -> bytes:
    """An OPML 2.0 list of those sources that are feeds."""
    rows = [
        f'<outline type="rss" text={quoteattr(_xml(c.title or c.name))} '
        f"xmlUrl={quoteattr(_xml(str(c.settings['url'])))}/>"
        for c in feeds_of(configs)
    ]
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<opml version="2.0">\n'
        f"<head><title>{quoteattr(_xml(title))[1:-1]}</title>"
        f"<dateCreated>{format_datetime(now)}</dateCreated></head>\n<body>\n"
        + "".join(f"  {row}\n" for row in rows)
        + "</body>\n</opml>\n"
    ).encode()


def feeds_of(configs: Iterable[SourceConfig]) -> Sequence[SourceConfig]:
    """Those of the sources that an OPML list can hold."""
    return [c for c in configs if c.type == "feed" and c.settings.get("url")]


def _attribute(outline: etree._Element, name: str) -> str:
    """By its lower-case name: programs write `xmlUrl`, `xmlurl` and `XMLURL`."""
    for key, value in outline.attrib.items():
        if str(key).lower() == name:
            return str(value).strip()
    return ""


def _xml(text: str) -> str:
    """Without the characters that XML cannot hold."""
    return "".join(c for c in text if c >= " " and not 0xD800 <= ord(c) < 0xE000)


def _unreadable(where: str, reason: str) -> ContentError:
    return ContentError(
        f"The OPML list {where} cannot be read: {reason}.",
        code="opml.unreadable",
        hint="Export it again from the program that made it.",
    )
