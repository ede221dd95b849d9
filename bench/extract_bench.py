"""How well and how fast pages and feeds are read, beside other extractors in the same run.

    python bench/extract_bench.py

Needs the article, date and feed collections (GNOMON_TEST_DATA). Other extractors (resiliparse,
readability-lxml, fastfeedparser) take part if they can be imported.
"""

from __future__ import annotations

import gzip
import hashlib
import html
import importlib
import io
import json
import re
import tarfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import feedparser
import htmldate
import trafilatura

from gnomon.extract.feeds import parse_feed
from gnomon.extract.html import extract_page
from gnomon.extract.text import detect_lang, html_to_text
from gnomon.extract.written import days_in, plain_digits
from harness import DATA, peak_memory_mib, percentiles, save

NOW = datetime(2026, 11, 20, tzinfo=UTC)


def optional(name: str) -> Any:
    """The module, or None where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


# -- articles ----------------------------------------------------------------------
def grams(text: str) -> Counter[tuple[str, ...]]:
    words = re.findall(r"\w+", text)
    pieces = (tuple(words[i : i + 4]) for i in range(max(len(words) - 3, 1)))
    return Counter(pieces) if words else Counter()


def articles() -> list[tuple[bytes, str, str]]:
    folder = DATA / "extraction"
    truth = json.loads(gzip.decompress((folder / "ground-truth.json.gz").read_bytes()))
    return [
        (
            gzip.decompress((folder / "html" / f"{name}.html.gz").read_bytes()),
            t["url"],
            t["articleBody"],
        )
        for name, t in truth.items()
    ]


def score_articles(
    pages: list[tuple[bytes, str, str]], extract: Callable[[bytes, str], str]
) -> dict[str, Any]:
    precisions, recalls, times, poor = [], [], [], 0
    for body, url, _ in pages[:60]:
        extract(body, url)  # what is loaded once is not the page's cost
    for body, url, wanted in pages:
        began = time.process_time()
        text = extract(body, url)
        times.append((time.process_time() - began) * 1_000)
        found, truth = grams(text), grams(wanted)
        common = sum((found & truth).values())
        precision = common / sum(found.values()) if found else None
        recall = common / sum(truth.values())
        if precision is not None:
            precisions.append(precision)
        recalls.append(recall)
        total = (precision or 0) + recall
        poor += not total or 2 * (precision or 0) * recall / total < 0.1
    precision = sum(precisions) / len(precisions)
    recall = sum(recalls) / len(recalls)
    return {
        "f1": round(2 * precision * recall / (precision + recall), 4),
        "precision": round(precision, 4),
        "recall": round(recall, 4),
        "pages_below_0.1": poor,
        "cpu_ms_per_page": round(sum(times) / len(times), 1),
        "cpu_ms": percentiles(times),
    }


def extractors() -> dict[str, Callable[[bytes, str], str]]:
    found: dict[str, Callable[[bytes, str], str]] = {
        "gnomon (text, title, author, date, language, links)": lambda body, url: (
            extract_page(body, url=url, now=NOW).text
        ),
        "trafilatura fast (text only)": lambda body, url: (
            trafilatura.extract(body.decode(), fast=True, include_comments=False) or ""
        ),
        "trafilatura stock (text only)": lambda body, url: (
            trafilatura.extract(body.decode(), include_comments=False) or ""
        ),
        "trafilatura fast with metadata": lambda body, url: str(
            getattr(
                trafilatura.bare_extraction(
                    body.decode(), fast=True, include_comments=False, with_metadata=True, url=url
                ),
                "text",
                "",
            )
        ),
    }
    if plain := optional("resiliparse.extract.html2text"):
        tree = importlib.import_module("resiliparse.parse.html").HTMLTree
        found["resiliparse (text only)"] = lambda body, url: plain.extract_plain_text(
            tree.parse(body.decode()), main_content=True
        )
    if readability := optional("readability"):
        found["readability-lxml (text only)"] = lambda body, url: html_to_text(
            readability.Document(body.decode()).summary()
        )
    return found


# -- dates ---------------------------------------------------------------------------
def seen(name: str) -> bool:
    """Whether the page is of the half whose misses our rules were written from."""
    return hashlib.sha256(name.encode()).digest()[0] % 2 == 0


def is_told(body: bytes, day: date) -> bool:
    """Whether the file names the day anywhere, in a form that we can read or as a count of seconds.

    In markup, scripts and comments, too: where it does not, nobody can find it without the address.
    """
    page = plain_digits(html.unescape(html.unescape(body.decode("utf-8", "replace"))))
    year, month, number = day.year, day.month, day.day
    patterns = (
        rf"(?<!\d){year}\D{{0,2}}0?{month}\D{{0,2}}0?{number}(?!\d)",
        rf"(?<!\d)0?{number}\s?[./-]\s?0?{month}\s?[./-]\s?(?:{year}|{year % 100:02})(?!\d)",
        rf"(?<!\d)0?{month}\s?[./-]\s?0?{number}\s?[./-]\s?(?:{year}|{year % 100:02})(?!\d)",
    )
    if any(re.search(pattern, page) for pattern in patterns):
        return True
    for text in (page, re.sub(r"\s+", " ", re.sub(r"<[^>]{0,2000}>", " ", page))):
        if any(written.day == day for lang in ("de", "fa") for written in days_in(text, lang)):
            return True
    seconds = re.findall(r"(?<!\d)(1[0-6]\d{8})(?:\d{3})?(?!\d)", page)
    return any(abs((datetime.fromtimestamp(int(s), UTC).date() - day).days) <= 1 for s in seconds)


def score_dates() -> dict[str, Any]:
    with gzip.open(DATA / "htmldate" / "gold.jsonl.gz", "rt", encoding="utf-8") as lines:
        gold = [json.loads(line) for line in lines]
    with tarfile.open(DATA / "htmldate" / "pages.tar.gz") as archive:
        pages = [archive.extractfile(f"pages/{row['id']}").read() for row in gold]  # type: ignore[union-attr]

    told = [
        is_told(body, date.fromisoformat(row["date"]))
        for row, body in zip(gold, pages, strict=True)
    ]

    def ours(body: bytes) -> str:
        day = extract_page(body, url="http://x.example/", now=NOW).published_day
        return day.isoformat() if day else ""

    def ours_in_utc(body: bytes) -> str:
        moment = extract_page(body, url="http://x.example/", now=NOW).published_at
        return moment.date().isoformat() if moment else ""

    def theirs(extensive: bool) -> Callable[[bytes], str]:
        return lambda body: (
            htmldate.find_date(
                body.decode("utf-8", "replace"),
                original_date=True,
                extensive_search=extensive,
            )
            or ""
        )

    results: dict[str, Any] = {
        "pages": len(gold),
        "pages_whose_file_tells_the_day": sum(told),
        "files_that_do_not": [
            row["id"] for row, there in zip(gold, told, strict=True) if not there
        ],
    }
    for name, find in {
        "gnomon (the publisher's day)": ours,
        "gnomon (the day in UTC)": ours_in_utc,
        "htmldate extensive": theirs(True),
        "htmldate": theirs(False),
    }.items():
        right = wrong = near = right_told = 0
        halves: dict[bool, list[bool]] = {True: [], False: []}
        began = time.process_time()
        for row, body, is_there in zip(gold, pages, told, strict=True):
            found = find(body)
            off = (
                abs((datetime.fromisoformat(found) - datetime.fromisoformat(row["date"])).days)
                if found
                else None
            )
            right += off == 0
            right_told += off == 0 and is_there
            wrong += off is not None and off > 0
            near += off is not None and off <= 1
            halves[seen(row["id"])].append(off == 0)
        missed = len(gold) - right - wrong
        precision, recall = right / (right + wrong), right / (right + missed)
        results[name] = {
            "f1": round(2 * precision * recall / (precision + recall), 4),
            "precision": round(precision, 4),
            "recall": round(recall, 4),
            "accuracy": round(right / len(gold), 4),
            "accuracy_where_the_file_tells_the_day": round(right_told / sum(told), 4),
            "accuracy_within_a_day": round(near / len(gold), 4),
            "accuracy_on_pages_seen": round(sum(halves[True]) / len(halves[True]), 4),
            "accuracy_on_pages_unseen": round(sum(halves[False]) / len(halves[False]), 4),
            "cpu_ms_per_page": round((time.process_time() - began) * 1_000 / len(gold), 1),
        }
    return results


# -- feeds ---------------------------------------------------------------------------
def feed_of(entries: int) -> bytes:
    items = "".join(
        f"<item><title>Story {i} &amp; more</title><link>https://n.example/{i}</link>"
        f"<guid>https://n.example/{i}</guid>"
        f"<pubDate>Thu, 19 Nov 2026 {i % 24:02}:00:00 GMT</pubDate>"
        "<category>Town</category><description>"
        + "&lt;p&gt;The council met and &lt;b&gt;voted&lt;/b&gt; for the bridge.&lt;/p&gt;" * 6
        + "</description></item>"
        for i in range(entries)
    )
    head = '<?xml version="1.0"?><rss version="2.0"><channel><title>T</title>'
    return f"{head}{items}</channel></rss>".encode()


def time_feeds(repeats: int = 15) -> dict[str, Any]:
    body = feed_of(100)
    detect_lang("This loads the detector once, before anything is measured.")
    readers: dict[str, Callable[[], Any]] = {
        "gnomon (entries as text, with language)": lambda: parse_feed(
            body, url="https://n.example/feed", now=NOW
        ),
        "feedparser": lambda: feedparser.parse(io.BytesIO(body)),
    }
    if fast := optional("fastfeedparser"):
        readers["fastfeedparser"] = lambda: fast.parse(body.decode())
    results: dict[str, Any] = {"feed_bytes": len(body), "entries": 100}
    for name, read in readers.items():
        times = []
        for _ in range(repeats):
            began = time.process_time()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                read()
            times.append((time.process_time() - began) * 1_000)
        results[name] = {"cpu_ms": percentiles(times)}
    return results


def main() -> None:
    pages = articles()
    save(
        "extract",
        {
            "articles": {name: score_articles(pages, fn) for name, fn in extractors().items()},
            "dates": score_dates(),
            "feeds": time_feeds(),
            "peak_memory_mib": peak_memory_mib(),
            "versions": {"trafilatura": trafilatura.__version__, "htmldate": htmldate.__version__},
        },
    )


if __name__ == "__main__":
    main()
