"""What a page says about itself: JSON-LD, OpenGraph, meta tags, else what stands on the page.

Order of trust for dates: JSON-LD, meta tags, the day written on the page, then what htmldate finds.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

import msgspec
from lxml import etree

from gnomon.extract.bylines import Rank, day_of_sentence, days_on
from gnomon.extract.dates import Dates, parse_date, read_date
from gnomon.extract.scripts import day_in_scripts
from gnomon.extract.text import detect_lang, html_to_text, one_line
from gnomon.extract.urls import absolute, same_site
from gnomon.extract.written import day_in_path, day_order, days_in, month_in_path, plain_digits

_MAX_SCRIPTS = 20
_MAX_JSON_CHARS = 500_000
_MAX_NODES = 5_000
_FIELD_CHARS = 500
_MAX_PARAGRAPHS = 20
_ARTICLE_TYPES = re.compile(r"(article|posting|report|review|recipe|announcement)$", re.IGNORECASE)
_PAGE_TYPES = re.compile(r"(page|website|creativework|videoobject|podcastepisode|event)$", re.I)
_PUBLISHED = (
    *("article:published_time", "og:article:published_time", "og:published_time"),
    *("datepublished", "date_published", "publishdate", "publish_date", "publish-date"),
    *("published_time", "publication_date", "pubdate", "sailthru.date", "parsely-pub-date"),
    *("dc.date.issued", "dcterms.issued", "dcterms.created", "dc.date.created", "dc.date"),
    *("dcterms.date", "citation_publication_date", "citation_date", "originalpublicationdate"),
    *("article:published", "rnews:datepublished", "cxenseparse:recs:publishtime", "pub_date"),
    *("citation_online_date", "published_date", "published-date", "publication-date", "published"),
    *("date-published", "publishtime", "publish_time", "published_at", "displaydate", "pdate"),
    *("article_date_original", "article.published", "article:publish_date", "bt:pubdate"),
    *("mediator_published_time", "vr:published_time", "og:article:publish_date", "og:pubdate"),
    *("dcterms.available", "dc.date.available", "dcterms.datesubmitted", "release_date"),
    *("video:release_date", "og:video:release_date", "og:release_date", "originally-published"),
    *("article.created", "article:created", "created", "creation_date", "date.issued", "date"),
)
_UPDATED = (
    *("article:modified_time", "og:updated_time", "og:article:modified_time", "datemodified"),
    *("dcterms.modified", "dc.date.modified", "last-modified", "modified_time", "revised"),
)
_TITLES = ("og:title", "twitter:title", "dc.title", "citation_title", "title")
_SITES = ("og:site_name", "application-name", "citation_journal_title")
_AUTHORS = (
    *("author", "article:author", "og:article:author", "dc.creator", "dcterms.creator"),
    *("citation_author", "parsely-author", "sailthru.author", "byl", "twitter:creator"),
)
_FEED_TYPES = re.compile(r"application/((rss|atom|rdf)\+xml|feed\+json)", re.IGNORECASE)
_BYLINES = etree.XPath(
    "(//*[@itemprop='author']//*[@itemprop='name'] | //*[@itemprop='author'] | //*[@rel='author']"
    " | //address[contains(@class,'author')])[position() <= 5]"
)
_TITLE_PARTS = re.compile(r" [|»«·–—-] ")
_BY = re.compile(r"^\s*(by|von|par|por|di|от)\b[:\s]+", re.IGNORECASE)

_DAY = timedelta(days=1)
_LEAD = timedelta(days=2)
_WEST, _EAST = timedelta(hours=12), timedelta(hours=14)
"""How far the clocks of the earth go behind and ahead of UTC."""

logging.getLogger("htmldate").setLevel(logging.ERROR)


class Claims(msgspec.Struct, kw_only=True):
    """What the page claims, cleaned, but otherwise as it is."""

    title: str = ""
    author: str = ""
    site: str = ""
    lang: str = ""
    canonical: str = ""
    published_at: datetime | None = None
    published_day: date | None = None
    updated_at: datetime | None = None
    date_source: str = ""


def read_claims(tree: etree._Element, *, url: str, dates: Dates) -> Claims:
    """Read what is marked as title, author, date and so on."""
    metas = _metas(tree)
    linked = _linked_data(tree)
    claims = Claims(
        title=_title(tree, metas, linked),
        author=_author(tree, metas, linked),
        site=_first(_name(linked.get("publisher")), *(metas.get(k, "") for k in _SITES)),
        lang=_first(
            tree.get("lang", ""), _text(linked.get("inLanguage")), metas.get("og:locale", "")
        ),
        canonical=_canonical(tree, metas, url),
    )
    _date(claims, metas, linked, dates)
    return claims


def alternate_feeds(tree: etree._Element, base: str) -> tuple[str, ...]:
    """Feeds that the page announces."""
    found = [
        absolute(base, element.get("href", ""))
        for element in tree.iter("link")
        if "alternate" in element.get("rel", "").lower().split()
        and _FEED_TYPES.match(element.get("type", "").strip())
    ]
    return tuple(dict.fromkeys(filter(None, found)))[:20]


def base_url(tree: etree._Element, url: str) -> str:
    """What relative links of the page are relative to."""
    element = next(tree.iter("base"), None)
    return (absolute(url, element.get("href", "")) if element is not None else "") or url


# -- dates ---------------------------------------------------------------------
def _date(claims: Claims, metas: dict[str, str], linked: dict[str, Any], dates: Dates) -> None:
    sources = (
        ("json-ld", [_text(linked.get("datePublished")), _text(linked.get("dateCreated"))]),
        ("meta", [metas.get(key, "") for key in _PUBLISHED]),
    )
    for source, texts in sources:
        for text in filter(None, texts):
            moment = dates.of_text(text)
            if moment is None and (day := _day_in_words(text, claims.lang)):
                moment = dates.possible(_aware(datetime.combine(day, time.min)))
            if moment is not None:
                claims.published_at, claims.date_source = moment, source
                claims.published_day = _day_as_written(text, claims.lang)
                break
        if claims.date_source:
            break
    updates = [_text(linked.get("dateModified")), *(metas.get(key, "") for key in _UPDATED)]
    claims.updated_at = next(filter(None, map(dates.of_text, filter(None, updates))), None)


def _day_as_written(text: str, lang: str) -> date | None:
    """The publisher's day, unless the text is a moment in UTC, which does not tell it."""
    written = read_date(text.strip()[:100])
    if written is None:
        return _day_in_words(text, lang)
    return None if _in_utc(written) else written.date()


def _day_in_words(text: str, lang: str) -> date | None:
    return next((found.day for found in days_in(plain_digits(text[:100]), lang)), None)


def printed_earlier(claims: Claims, tree: etree._Element, *, url: str) -> None:
    """Where only a day is claimed, and the page shows a moment of a day just before, that holds.

    Newspapers claim the day of the printed issue for what they publish the evening before.
    """
    moment, day = claims.published_at, claims.published_day
    if moment is None or day is None or moment.time() != time.min:
        return
    here = next(days_on(tree, _order(claims, tree, url)).best(), None)
    if here is None or here.rank > Rank.BYLINE or not here.timed:
        return
    if timedelta(0) < day - here.day <= _LEAD:
        claims.published_at = _aware(here.moment or datetime.combine(here.day, time.min))
        claims.published_day, claims.date_source = here.day, "byline"


def local_day(claims: Claims, tree: etree._Element, *, url: str, large: bool) -> None:
    """Find the publisher's own day where the claimed moment is in UTC.

    The address (also the canonical one, of whatever site) and the by-line are asked, and believed
    if somewhere on earth it was that day at that moment.
    """
    moment = claims.published_at
    if moment is None or claims.published_day is not None:
        return
    possible = {(moment + offset).date() for offset in (-_WEST, timedelta(0), _EAST)}
    for link in (url, *_own_links(tree)):
        day = day_in_path(link)
        if day in possible:
            claims.published_day = day
            return
    found = () if large else days_on(tree, _order(claims, tree, url)).best()
    written = (f.day for f in found if f.rank < Rank.UPDATED and not _in_utc(f.moment))
    claims.published_day = next((day for day in written if day in possible), moment.date())


def _in_utc(moment: datetime | None) -> bool:
    """Whether it is a moment in UTC, and no day in the disguise of its first second."""
    return moment is not None and moment.utcoffset() == timedelta(0) and moment.time() != time.min


def search_date(
    claims: Claims, tree: etree._Element, *, url: str, now: datetime, dates: Dates
) -> None:
    """Look for the day of an undated page on the page itself.

    htmldate is asked last. It gets a tree, never text: a text that looks like an address it would
    fetch.
    """
    links = (url, *_own_links(tree))
    path_day = next(filter(None, map(day_in_path, links)), None)
    month = next(filter(None, map(month_in_path, links)), None)
    for source, day, moment in _candidates(claims, tree, url, path_day):
        possible = dates.possible(_aware(moment or datetime.combine(day, time.min)))
        if possible is not None and (source != "byline" or _is_of(day, month)):
            claims.published_at, claims.date_source = possible, source
            claims.published_day = None if _in_utc(moment) else day
            return
    from htmldate import find_date  # here, because it costs the start of the program

    text = find_date(
        tree,
        extensive_search=True,
        original_date=True,
        max_date=now.replace(tzinfo=None),
        url=url if path_day else None,
    )
    moment = dates.possible(parse_date(text) if text else None)
    if moment is not None and _is_of(moment.date(), month) and not _is_rounded(moment.date(), tree):
        claims.published_at, claims.published_day = moment, moment.date()
        claims.date_source = "htmldate"


def _candidates(
    claims: Claims, tree: etree._Element, url: str, path_day: date | None
) -> Iterator[tuple[str, date, datetime | None]]:
    """Source, day and moment of what can be the page's own day, the likeliest first."""
    here = list(days_on(tree, _order(claims, tree, url)).best())
    yield from (("byline", f.day, f.moment) for f in here if f.rank <= Rank.LABELLED)
    if path_day is not None:
        yield "address", path_day, None
    yield from (("byline", f.day, f.moment) for f in here if Rank.LABELLED < f.rank < Rank.UPDATED)
    title = max(_TITLE_PARTS.split(claims.title), key=len)
    if (day := day_of_sentence(tree, title.strip(), claims.lang)) is not None:
        yield "byline", day, None
    if (told := day_in_scripts(tree)) is not None:
        yield "script", told.date(), told
    yield from (("updated", f.day, f.moment) for f in here if f.rank == Rank.UPDATED)


def _order(claims: Claims, tree: etree._Element, url: str) -> str:
    """The language in whose order the numbers of the page's dates are read."""
    short = (text for text in tree.itertext() if "/" in text and len(text) <= _FIELD_CHARS)
    text = "\n".join(short)
    lang = claims.lang or _lang_of_prose(tree)
    return day_order(text, lang, urlsplit(claims.canonical or url).hostname or "")


def _lang_of_prose(tree: etree._Element) -> str:
    """The language of the longest of the first paragraphs."""
    texts = ("".join(p.itertext())[:_FIELD_CHARS] for p in islice(tree.iter("p"), _MAX_PARAGRAPHS))
    return detect_lang(max(texts, key=len, default=""))


def _is_of(day: date, month: tuple[int, int] | None) -> bool:
    """Whether a day fits the month that the page's address tells."""
    return month is None or any(
        (near.year, near.month) == month for near in (day - _DAY, day, day + _DAY)
    )


def _is_rounded(day: date, tree: etree._Element) -> bool:
    """Whether a first of the month is only htmldate's word for a month or a year."""
    if day.day != 1:
        return False
    markup = plain_digits(etree.tostring(tree, encoding="unicode")[:_MAX_JSON_CHARS])
    return all(written.day != day for written in days_in(markup))


def _aware(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _own_links(tree: etree._Element) -> list[str]:
    """The addresses that the page gives as its own, canonical and OpenGraph."""
    links = [
        e.get("href", "") for e in tree.iter("link") if e.get("rel", "").lower() == "canonical"
    ]
    metas = [e.get("content", "") for e in tree.iter("meta") if e.get("property") == "og:url"]
    return [*links[:2], *metas[:2]]


# -- meta tags and markup --------------------------------------------------------
def _metas(tree: etree._Element) -> dict[str, str]:
    """The first content of each meta name, property or itemprop, in lower case."""
    metas: dict[str, str] = {}
    for element in tree.iter("meta"):
        name = element.get("property") or element.get("name") or element.get("itemprop") or ""
        content = element.get("content", "").strip()[: 4 * _FIELD_CHARS]
        if name and content:
            metas.setdefault(name.strip().lower(), content)
    return metas


def _title(tree: etree._Element, metas: dict[str, str], linked: dict[str, Any]) -> str:
    headline = _first(_text(linked.get("headline")), *(metas.get(key, "") for key in _TITLES))
    if headline:
        return one_line(html_to_text(headline[: 4 * _FIELD_CHARS]))[:_FIELD_CHARS]
    headings = [_content(h1) for _, h1 in zip(range(3), tree.iter("h1"), strict=False)]
    headings = [heading for heading in headings if heading]
    element = next(tree.iter("title"), None)
    whole = _content(element) if element is not None else ""
    if len(headings) == 1 and (not whole or headings[0].lower() in whole.lower()):
        return headings[0]
    return whole or next(iter(headings), "")


def _author(tree: etree._Element, metas: dict[str, str], linked: dict[str, Any]) -> str:
    if names := _names(linked.get("author")):
        return names
    for key in _AUTHORS:
        name = _person(metas.get(key, ""))
        if name:
            return name
    for element in _BYLINES(tree):
        name = _person(_content(element))
        if name:
            return name
    return ""


def _person(text: str) -> str:
    """A name, or nothing where the field holds an address or a whole sentence."""
    name = _BY.sub("", one_line(html_to_text(text[:_FIELD_CHARS])))
    if "://" in name or name.startswith(("@", "www.")) or len(name) > 120:
        return ""
    return name


def _canonical(tree: etree._Element, metas: dict[str, str], url: str) -> str:
    """The page's own address, believed only within its own registrable domain."""
    base = base_url(tree, url)
    links = [
        element.get("href", "")
        for element in tree.iter("link")
        if "canonical" in element.get("rel", "").lower().split()
    ]
    for link in (*links[:3], metas.get("og:url", "")):
        claimed = absolute(base, link) if link else ""
        if claimed and same_site(claimed, url):
            return claimed
    return ""


def _content(element: etree._Element) -> str:
    return one_line("".join(element.itertext())[: 4 * _FIELD_CHARS])[:_FIELD_CHARS]


def _first(*texts: str) -> str:
    found = next((text for text in texts if text and text.strip()), "")
    return one_line(html_to_text(found[: 4 * _FIELD_CHARS]))[:_FIELD_CHARS]


# -- JSON-LD -----------------------------------------------------------------------
def _linked_data(tree: etree._Element) -> dict[str, Any]:
    """The node that describes the page best: an article, else a page with a date."""
    article: dict[str, Any] = {}
    second: dict[str, Any] = {}
    for node in _nodes(tree):
        kinds = node.get("@type")
        kinds = kinds if isinstance(kinds, list) else [kinds]
        names = [kind for kind in kinds if isinstance(kind, str)]
        is_article = any(_ARTICLE_TYPES.search(name) for name in names)
        if is_article and "datePublished" in node:
            return node
        if is_article and not article:
            article = node
        if not second and "datePublished" in node and any(map(_PAGE_TYPES.search, names)):
            second = node
    dated = {"datePublished": second["datePublished"]} if article and second else second
    return article | dated


def _nodes(tree: etree._Element) -> Iterator[dict[str, Any]]:
    scripts = (s for s in tree.iter("script") if "ld+json" in s.get("type", "").lower())
    budget = _MAX_NODES
    for _, script in zip(range(_MAX_SCRIPTS), scripts, strict=False):
        text = (script.text or "").strip().removeprefix("<!--").removesuffix("-->")
        if len(text) > _MAX_JSON_CHARS:
            continue
        try:
            waiting = [json.loads(text.strip().rstrip(";"), strict=False)]
        except (ValueError, RecursionError):
            continue  # a page's broken JSON-LD is no claim
        while waiting and budget:
            budget -= 1
            value = waiting.pop(0)
            if isinstance(value, dict):
                yield value
                waiting += [v for v in value.values() if isinstance(v, (dict, list))]
            elif isinstance(value, list):
                waiting += value[:_MAX_NODES]


def _text(value: Any) -> str:
    if isinstance(value, list):
        value = value[0] if value else ""
    if isinstance(value, dict):
        value = value.get("@value") or value.get("name")
    return value[: 4 * _FIELD_CHARS] if isinstance(value, str) else ""


def _name(value: Any) -> str:
    return _person(_text(value))


def _names(value: Any) -> str:
    people = value if isinstance(value, list) else [value]
    names = [_name(person) for person in people[:10]]
    return ", ".join(dict.fromkeys(filter(None, names)))
