"""Pages: article, metadata, encodings, and markup that means harm."""

from __future__ import annotations

import gzip
import json
import random
import re
import socket
import tarfile
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.errors import ContentError
from gnomon.extract.base import Page
from gnomon.extract.html import extract_page

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
URL = "https://www.news.example.com/a/1"
ARTICLE = "".join(
    f"<p>Paragraph {i} says that the council met on Monday and voted for the new bridge.</p>"
    for i in range(6)
)


def page(body: str, head: str = "", **options: Any) -> Page:
    html = f"<!doctype html><html><head>{head}</head><body>{body}</body></html>"
    return extract_page(html.encode(), url=URL, now=NOW, **options)


LD = {
    "@context": "https://schema.org",
    "@graph": [
        {"@type": "WebSite", "name": "Site", "datePublished": "2001-01-01"},
        {
            "@type": ["NewsArticle"],
            "headline": "Bridge &amp; river",
            "datePublished": "2026-11-19T23:30:00-05:00",
            "dateModified": "2026-11-20T08:00:00Z",
            "author": [{"@type": "Person", "name": "Ann Lee"}, {"name": "https://x.example/"}],
            "publisher": {"name": "The Example"},
        },
    ],
}


def test_an_article_and_what_it_says_about_itself() -> None:
    result = page(
        f"<nav><a href=/>Home</a> <a href='/b?x#y'>B</a></nav><article><h1>Bridge</h1>{ARTICLE}"
        "<ul><li>one</li><li>two</li></ul>"
        "<table><tr><th>For</th><th>Against</th></tr><tr><td>9</td><td>4</td></tr></table>"
        f"{ARTICLE}</article><footer>Imprint and cookies</footer>",
        f"<script type='application/ld+json'>{json.dumps(LD)}</script><title>Other</title>"
        "<link rel=canonical href='https://news.example.com/a/1?utm_source=x'>"
        "<link rel=alternate type='application/rss+xml' href=/feed.xml>"
        "<meta property=og:site_name content='Example Site'>",
    )
    assert result.title == "Bridge & river"
    assert result.author == "Ann Lee" and result.site == "The Example"
    assert result.published_at == datetime(2026, 11, 20, 4, 30, tzinfo=UTC)
    assert result.updated_at == datetime(2026, 11, 20, 8, tzinfo=UTC)
    assert result.date_source == "json-ld" and result.lang == "en"
    assert result.canonical_url == "https://news.example.com/a/1"
    assert result.feeds == ("https://www.news.example.com/feed.xml",)
    assert result.links == (
        "https://www.news.example.com/",
        "https://www.news.example.com/b?x",
    )
    assert "Paragraph 5 says" in result.text and "\n\n" in result.text
    assert "- one\n- two" in result.text and "For | Against\n9 | 4" in result.text
    assert "cookies" not in result.text and "<" not in result.text


@pytest.mark.parametrize(
    ("head", "day", "source"),
    [
        ("<meta property=article:published_time content=2026-11-18T10:00Z>", 18, "meta"),
        ("<meta name=DC.date.issued content=2026-11-17>", 17, "meta"),
        ("<script type='application/ld+json'>{broken</script>", 16, "byline"),
        ("<meta property=article:published_time content=2031-01-01T00:00Z>", 16, "byline"),
    ],
)
def test_dates_by_trust(head: str, day: int, source: str) -> None:
    result = page(f"<article><time datetime=2026-11-16>16 Nov</time>{ARTICLE}</article>", head)
    assert result.published_at == datetime(2026, 11, day, result.published_at.hour, tzinfo=UTC)  # type: ignore[union-attr]
    assert result.date_source == source


def test_a_page_without_date_has_none() -> None:
    result = page(f"<article>{ARTICLE}</article>")
    assert result.published_at is None and result.date_source == ""


@pytest.mark.parametrize(
    "href",
    ["https://evil.example/a", "javascript:alert(1)", "https://other.co.uk/", "http://[bad", ""],
)
def test_canonical_is_believed_at_home_only(href: str) -> None:
    assert page(ARTICLE, f"<link rel=canonical href='{href}'>").canonical_url == URL


@pytest.mark.parametrize(
    "text",
    [
        "東京で火曜日に大きな地震がありました。津波の心配はないと気象庁は発表しました。",
        "اندلع حريق كبير في وسط المدينة صباح اليوم ولم تقع إصابات بحسب الدفاع المدني",
        "В центре города произошёл пожар, пострадавших нет, сообщили в мэрии.",
    ],
)
def test_short_pages_in_other_scripts_keep_their_text(text: str) -> None:
    result = page(f"<div><div class=x>{text}</div></div>")
    assert text in result.text


def test_a_page_that_is_no_article_is_taken_whole() -> None:
    result = page("<div>" + "".join(f"<span>Row {i}</span> " for i in range(300)) + "</div>")
    assert "Row 0" in result.text and "Row 299" in result.text


def test_plain_text_is_a_page() -> None:
    result = extract_page(
        "Zeile eins\r\n\r\nZeile zwei über den Brückenbau in der Stadt".encode("latin-1"),
        url=URL,
        content_type="text/plain; charset=iso-8859-1",
        now=NOW,
    )
    assert result.text == "Zeile eins\n\nZeile zwei über den Brückenbau in der Stadt"
    assert result.lang == "de"


@pytest.mark.parametrize(
    ("encoding", "head", "content_type", "honest"),
    [
        ("utf-8", "", "", True),
        ("utf-16", "", "", True),
        ("utf-16-le", "", "", True),
        ("windows-1252", "<meta charset=iso-8859-1>", "", True),
        ("shift_jis", "", "text/html; charset=Shift_JIS", True),
        ("windows-1251", "<meta charset=utf-8>", "", False),
        ("koi8-r", "", "", False),
        ("utf-8", "<meta charset=punycode>", "text/html; charset=idna", False),
        ("utf-8", "", "text/html; charset=no-such-thing", True),
    ],
)
def test_encodings(encoding: str, head: str, content_type: str, honest: bool) -> None:
    russian = "Пожар в центре города потушен, пострадавших нет, сообщили в мэрии. " * 5
    text = {
        "shift_jis": "東京で大きな地震がありました。津波の心配はありません。" * 5,
        "windows-1251": russian,
        "koi8-r": russian,
    }.get(encoding, "Bürger größer als Käse und süße Öfen in der schönen Straße. " * 5)
    html = f"<html><head>{head}</head><body><p>{text}</p></body></html>"
    result = extract_page(html.encode(encoding), url=URL, content_type=content_type, now=NOW)
    assert text.strip() in result.text
    assert ("encoding.wrong" not in result.notes) is honest


@pytest.mark.parametrize(
    ("body", "content_type", "code"),
    [
        (b"%PDF-1.7 ...", "application/pdf", "page.unreadable"),
        (b"\x89PNG\r\n", "image/png", "page.unreadable"),
        (bytes(5_000), "", "page.unreadable"),
        (b"x" * 5_000_001, "text/html", "page.too_large"),
        (b"<div>" * 1_000 + b"x", "text/html", "page.hostile"),
        (b"<p>" * 120_000, "text/html", "page.hostile"),
        (b"<p " + b" ".join(b"a%d" % i for i in range(5_000)) + b">x", "", "page.hostile"),
    ],
)
def test_what_is_refused(body: bytes, content_type: str, code: str) -> None:
    with pytest.raises(ContentError) as caught:
        extract_page(body, url=URL, content_type=content_type, now=NOW)
    assert caught.value.code == code
    assert URL in str(caught.value)


@pytest.mark.parametrize("body", [b"", b"   ", b"<!-- -->", b"<html></html>", b"\xef\xbb\xbf"])
def test_nothing_is_an_empty_page(body: bytes) -> None:
    assert extract_page(body, url=URL, now=NOW).text == ""


def test_a_body_that_is_an_address_is_not_fetched() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        assert extract_page(address.encode(), url=URL, now=NOW).text == address
        with pytest.raises(TimeoutError):
            listener.accept()


MEG = 1_000_000
HOSTILE: dict[str, Callable[[], str]] = {
    "unclosed": lambda: "<p><b>" * (MEG // 6),
    "quotes": lambda: ARTICLE + "<p " + " ".join(f"a{i}='>'" for i in range(MEG // 10)) + ">x",
    "attribute": lambda: ARTICLE + "<p style='" + "a:b;" * (MEG // 4) + "'>x",
    "classes": lambda: ("<p class='" + "comment " * 500 + "'>x</p>") * (MEG // 4_020),
    "lists": lambda: "<ul>" + "<li>a" * (MEG // 5),
    "rows": lambda: "<table>" + "<tr><td>a<td>b" * (MEG // 14),
    "one word": lambda: "<p>" + "a" * MEG,
    "digits": lambda: "<p>" + "1" * MEG,
    "dates": lambda: "<p>" + "2019-01-01 " * (MEG // 11),
    "years": lambda: "<p>" + "© 2019 " * (MEG // 8),
    "dated": lambda: "Nov 5, 2019 " * 30_000 + "<time datetime=2019-01-01> </time>" * 14_000,
    "bylines": lambda: "<p class=date>5. Mai 2019" * 7_000,
    "times": lambda: "<time class=entry-date>foo</time>" * (MEG // 34),
    "blank": lambda: "<p>" + " " * MEG + "x",
    "nbsp": lambda: "<p>a" + "\u00a0" * (MEG // 2) + "x",
    "gt": lambda: "<p>" + ">" * (MEG // 2),
    "ampersand": lambda: "<p>" + "&" * (MEG // 2),
    "comments": lambda: ARTICLE + "<!--" * (MEG // 4),
    "script": lambda: ARTICLE + "<script>" + "var a=1;" * (MEG // 8),
    "json": lambda: ARTICLE + "<script type='application/ld+json'>" + "[" * MEG + "</script>",
    "json quotes": lambda: "<script type=application/ld+json>" + '"\\' * (MEG // 2) + "</script>",
    "marks": lambda: "<p>a" + "\u0301\u0320" * (MEG // 4),
    "marks apart": lambda: "<p>a" + ("\u0301\u0320" * 32 + "<b></b>") * (MEG // 140),
    "mark references": lambda: "<p>a" + "&#769;&#800;" * (MEG // 12),
    "nested tables": lambda: ("<table><tr><td>" * 80 + "x" + "</table>" * 80) * (MEG // 2_000),
    "quotes in quotes": lambda: ("<blockquote>" * 200 + ARTICLE + "</blockquote>" * 200) * 150,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pages_are_cheap(name: str) -> None:
    page(ARTICLE + "<p>2026-11-01", "<title>loads what is loaded once</title>")
    body = HOSTILE[name]()
    began = time.process_time()
    try:
        page(body, "<title>" + "a - " * 10_000 + "</title>")
    except ContentError as error:
        assert error.code == "page.hostile"
    assert time.process_time() - began < 2


PIECES = (
    *("<p>", "</p>", "<a href='", "'>", "<table><td>", "x y", "&#0;", "<script>", "</script>"),
    *("<!--", "-->", "\x00", "<svg>", "<meta name=date content='", "2020", "<time>"),
    *("<base href='", "<title>", "\ud800", "<h1>", "é"),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
def test_any_markup_is_a_page(markup: str) -> None:
    body = markup.encode("utf-8", "surrogatepass")
    try:
        result = extract_page(body, url=URL, now=NOW)
    except ContentError:
        return
    result.text.encode()
    result.title.encode()


def test_random_bytes_are_survived() -> None:
    rng = random.Random(7)
    for size in range(0, 3_000, 60):
        try:
            extract_page(rng.randbytes(size), url=URL, now=NOW)
        except ContentError as error:
            assert error.code in ("page.unreadable", "page.hostile")


# -- against people's judgement ---------------------------------------------------------
def grams(text: str) -> Counter[tuple[str, ...]]:
    words = re.findall(r"\w+", text)
    return (
        Counter(tuple(words[i : i + 4]) for i in range(max(len(words) - 3, 1)))
        if words
        else Counter()
    )


def f1(folder: Path, step: int) -> float:
    truth = json.loads(gzip.decompress((folder / "ground-truth.json.gz").read_bytes()))
    precisions, recalls = [], []
    for name in sorted(truth)[::step]:
        body = gzip.decompress((folder / "html" / f"{name}.html.gz").read_bytes())
        found = grams(extract_page(body, url=truth[name]["url"], now=NOW).text)
        wanted = grams(truth[name]["articleBody"])
        common = sum((found & wanted).values())
        if found:
            precisions.append(common / sum(found.values()))
        recalls.append(common / sum(wanted.values()))
    precision, recall = sum(precisions) / len(precisions), sum(recalls) / len(recalls)
    return 2 * precision * recall / (precision + recall)


def test_articles_are_found(data: Callable[[str], Path]) -> None:
    assert f1(data("extraction"), 12) >= 0.95


@pytest.mark.slow
def test_articles_are_found_everywhere(data: Callable[[str], Path]) -> None:
    assert f1(data("extraction"), 1) >= 0.96


def day_scores(data: Callable[[str], Path], step: int) -> tuple[float, float]:
    """Share of right days, and of days that are wrong by more than a time zone."""
    with gzip.open(data("htmldate/gold.jsonl.gz"), "rt", encoding="utf-8") as lines:
        gold = [json.loads(line) for line in lines][::step]
    right = wrong = 0
    with tarfile.open(data("htmldate/pages.tar.gz")) as archive:
        for row in gold:
            file = archive.extractfile(f"pages/{row['id']}")
            assert file is not None
            found = extract_page(file.read(), url="http://x.example/", now=NOW).published_day
            day = datetime.fromisoformat(row["date"]).date()
            if found is None:
                continue
            right += found == day
            wrong += abs((found - day).days) > 1
    return right / len(gold), wrong / len(gold)


def test_days_are_found(data: Callable[[str], Path]) -> None:
    right, wrong = day_scores(data, 12)
    assert right >= 0.85 and wrong <= 0.1


@pytest.mark.slow
def test_days_are_found_everywhere(data: Callable[[str], Path]) -> None:
    right, wrong = day_scores(data, 1)
    assert right >= 0.92 and wrong <= 0.05
