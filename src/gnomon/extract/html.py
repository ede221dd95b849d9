"""Web pages to articles: the readable text, and what the page says about itself.

Deep nesting, giant attributes and endless markup are refused or cut before anything slow sees
them. Where the extractor finds almost nothing, the whole visible text is taken instead: better
some decoration than silence.
"""

from __future__ import annotations

import logging
from collections import Counter
from datetime import datetime, timedelta

from lxml import etree

from gnomon.errors import ContentError
from gnomon.extract.base import FUTURE_TOLERANCE, Page
from gnomon.extract.dates import Dates
from gnomon.extract.encoding import decode
from gnomon.extract.metadata import (
    Claims,
    alternate_feeds,
    base_url,
    local_day,
    printed_earlier,
    read_claims,
    search_date,
)
from gnomon.extract.text import clean_text, detect_lang, overmarked, parse_html, visible
from gnomon.extract.urls import absolute, canonical_url

MAX_PAGE_BYTES = 5_000_000
MAX_ELEMENTS = 100_000
ARTICLE_ELEMENTS = 15_000
ARTICLE_CHARS = 500_000
"""Pages with more are taken whole: looking for article and date would take too long."""
_ATTRIBUTE_CHARS = 4_096
_MAX_LINKS = 2_000
_LEAST_CHARS = 200
_LEAST_SHARE = 0.05
_TEXT_TYPES = ("text/plain", "text/markdown")
_HTML_TYPES = ("", "text/html", "application/xhtml+xml", "text/xml", "application/xml")
_AS_HTML = {
    "head": "h2",
    "quote": "blockquote",
    "list": "ul",
    "item": "li",
    "row": "tr",
    "cell": "td",
    "lb": "br",
    "ab": "p",
    "del": "span",
}
"""trafilatura's elements, in the words of HTML."""

# It reports through its logger what we report through errors and notes.
logging.getLogger("trafilatura").setLevel(logging.CRITICAL)


def extract_page(
    body: bytes,
    *,
    url: str,
    content_type: str = "",
    now: datetime,
    future_tolerance: timedelta = FUTURE_TOLERANCE,
) -> Page:
    """Read an HTML page or a plain text.

    Raises ContentError: `page.unreadable` for what is neither, `page.too_large`, and
    `page.hostile` for markup that goes beyond what an honest page needs. A page without readable
    text comes back with an empty `text`.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if len(body) > MAX_PAGE_BYTES:
        raise _refused(
            url, "page.too_large", f"it has {len(body):,} bytes; {MAX_PAGE_BYTES:,} are read"
        )
    if kind not in _HTML_TYPES and kind not in _TEXT_TYPES:
        raise _refused(url, "page.unreadable", f"it is {kind}, not a page")
    html, honest = decode(body, content_type)
    notes = Counter({} if honest else {"encoding.wrong": 1})
    if "\x00" in html[:1_000]:
        raise _refused(url, "page.unreadable", "it is binary data")
    if kind in _TEXT_TYPES:
        text = clean_text(html)
        return Page(
            url=url,
            canonical_url=canonical_url(url),
            text=text,
            lang=detect_lang(text),
            notes=dict(notes),
        )
    tree, large = _tree(html, url)
    if tree is None:
        return Page(url=url, canonical_url=canonical_url(url), notes=dict(notes))
    dates = Dates(now, future_tolerance)
    claims = read_claims(tree, url=url, dates=dates)
    base = base_url(tree, url)
    links, feeds = _links(tree, base), alternate_feeds(tree, base)
    if claims.published_at is None and not large:
        search_date(claims, tree, url=url, now=now, dates=dates)  # which also reads scripts
    elif not large:
        printed_earlier(claims, tree, url=url)
    local_day(claims, tree, url=url, large=large)
    _drop_code(tree)
    text = _text(tree, notes, large=large or overmarked("".join(tree.itertext())))
    notes.update(dates.notes)
    return _page(url, claims, text, links, feeds, notes)


def _page(
    url: str,
    claims: Claims,
    text: str,
    links: tuple[str, ...],
    feeds: tuple[str, ...],
    notes: Counter[str],
) -> Page:
    return Page(
        url=url,
        canonical_url=canonical_url(claims.canonical) or canonical_url(url),
        title=claims.title,
        text=text,
        author=claims.author,
        lang=detect_lang(text or claims.title, claims.lang),
        site=claims.site,
        published_at=claims.published_at,
        published_day=claims.published_day,
        updated_at=claims.updated_at,
        date_source=claims.date_source,
        links=links,
        feeds=feeds,
        notes=dict(notes),
    )


def _refused(url: str, code: str, reason: str) -> ContentError:
    return ContentError(
        f"The page {url} is not read: {reason}.",
        code=code,
        hint="Look for a feed or another address of the same content.",
        url=url,
    )


def _tree(html: str, url: str) -> tuple[etree._Element | None, bool]:
    """The tree, made harmless, and whether it is too large to look for an article in it."""
    # Counted first: a tree of millions of elements would take seconds and gigabytes to build.
    if html.count("<") > 4 * MAX_ELEMENTS:
        raise _refused(url, "page.hostile", f"it has more than {MAX_ELEMENTS} elements")
    tree, whole = parse_html(html)
    if not whole:
        raise _refused(url, "page.hostile", "its elements are nested too deep or are too large")
    if tree is None:
        return None, False
    elements = class_chars = text_chars = 0
    for element in tree.iter():
        elements += 1
        if elements > MAX_ELEMENTS:
            raise _refused(url, "page.hostile", f"it has more than {MAX_ELEMENTS} elements")
        text_chars += len(element.tail or "")
        if element.tag not in ("script", "style"):
            text_chars += len(element.text or "")
        for name, value in element.attrib.items():
            if len(value) > _ATTRIBUTE_CHARS:
                del element.attrib[name]  # images inside addresses, scripts inside handlers
            elif name in ("class", "id"):
                class_chars += len(value)
    large = elements > ARTICLE_ELEMENTS or max(text_chars, class_chars) > ARTICLE_CHARS
    return tree, large


def _links(tree: etree._Element, base: str) -> tuple[str, ...]:
    found: dict[str, None] = {}
    hrefs = dict.fromkeys(element.get("href", "").partition("#")[0] for element in tree.iter("a"))
    for href in hrefs:
        link = absolute(base, href) if href else ""
        if link and link != base:
            found[link] = None
            if len(found) >= _MAX_LINKS:
                break
    return tuple(found)


def _text(tree: etree._Element, notes: Counter[str], *, large: bool) -> str:
    """The article; the whole visible text where there is none, or looking would take too long."""
    if large:
        notes["page.taken_whole"] += 1
        return clean_text("".join(visible(tree)))
    from trafilatura import bare_extraction  # here, because it costs the start of the program

    document = bare_extraction(tree, fast=True, include_comments=False)
    article = _article(getattr(document, "body", None))
    if len(article) >= _LEAST_CHARS:
        return article
    whole = clean_text("".join(visible(tree)))
    if len(article) >= _LEAST_SHARE * len(whole):
        return article or whole
    notes["page.no_article"] += 1
    return whole


def _article(body: etree._Element | None) -> str:
    if body is None:
        return ""
    for element in body.iter():
        element.tag = _AS_HTML.get(element.tag, element.tag)
    body.tag = "div"
    return clean_text("".join(visible(body)))


def _drop_code(tree: etree._Element) -> None:
    """Scripts and styles go; what describes the page (JSON-LD) stays."""
    etree.strip_elements(tree, "style", "svg", "template", with_tail=False)
    for script in list(tree.iter("script")):
        if "ld+json" not in script.get("type", "").lower():
            script.drop_tree()
