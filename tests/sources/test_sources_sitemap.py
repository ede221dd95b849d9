from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.errors import ContentError
from gnomon.sources import sitemap
from gnomon.sources.sitemap_xml import looks_like_sitemap, read_sitemap
from gnomon.testing.check_source import START, Ledger, Stage, check_source
from gnomon.testing.doors import door_to
from gnomon.testing.sitemap_server import SitemapServer
from gnomon.types import SourceConfig

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
AT = "https://news.example/sitemap.xml"
NEWS = b"""<?xml version="1.0"?>
<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"
 xmlns:n="http://www.google.com/schemas/sitemap-news/0.9"
 xmlns:image="http://www.google.com/schemas/sitemap-image/1.1"
 xmlns:video="http://www.google.com/schemas/sitemap-video/1.1">
<url><loc> https://news.example/a?x=1&amp;y=2 </loc><lastmod>2026-02-28T10:00:00+02:00</lastmod>
 <changefreq>daily</changefreq>
 <image:image><image:loc>https://news.example/a.png</image:loc></image:image>
 <n:news><n:publication><n:name>Tidings</n:name><n:language>en</n:language></n:publication>
 <n:publication_date>2026-02-28T07:30:00Z</n:publication_date>
 <n:title>Bridge closed</n:title></n:news>
</url>
<url><loc>https://news.example/b</loc><lastmod>2026-02-27</lastmod>
 <video:video><video:title>no</video:title></video:video></url>
<url><loc>https://news.example/c</loc><lastmod>2031-01-01</lastmod></url>
<url><loc>mailto:x@y</loc></url>
</urlset>"""


def read(body: bytes):  # type: ignore[no-untyped-def]
    return read_sitemap(body, url=AT, now=NOW)


@pytest.mark.parametrize("body", [NEWS, gzip.compress(NEWS, mtime=0)])
def test_a_news_sitemap(body: bytes) -> None:
    assert looks_like_sitemap(body)
    found = read(body)
    first, second, third = found.entries
    assert first.url == "https://news.example/a?x=1&y=2"
    assert first.title == "Bridge closed" and first.site == "Tidings" and first.lang == "en"
    assert first.moment == datetime(2026, 2, 28, 8, tzinfo=UTC)
    assert first.published_at == datetime(2026, 2, 28, 7, 30, tzinfo=UTC)
    assert second.title == "" and second.moment == datetime(2026, 2, 27, tzinfo=UTC)
    assert third.moment is None
    assert found.notes == {"date.future": 1, "sitemap.no_address": 1}


def test_what_breaks_off_is_used_as_far_as_it_goes() -> None:
    found = read(NEWS[: NEWS.index(b"<url><loc>mailto")] + b"<url><loc>https://news.example/<")
    assert len(found.entries) == 3 and found.notes["sitemap.broken"] == 1


BOMB = b"""<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;">]>
<urlset><url><loc>https://x.example/&b;</loc></url></urlset>"""


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "sitemap.unreadable"),
        (b"<html><body/></html>", "sitemap.unreadable"),
        (BOMB, "sitemap.hostile"),
        (b"<urlset>" + b"<a>" * 100, "sitemap.hostile"),
        (gzip.compress(b"<urlset>" + b" " * 60_000_000, mtime=0), "sitemap.too_large"),
        (gzip.compress(NEWS, mtime=0)[:40] + b"\xff" * 50, "sitemap.unreadable"),
    ],
)
def test_what_is_refused(body: bytes, code: str) -> None:
    with pytest.raises(ContentError) as caught:
        read(body)
    assert caught.value.code == code


def test_no_more_than_the_protocol_allows() -> None:
    row = b"<url><loc>https://x.example/p</loc></url>"
    found = read(b"<urlset>" + row * 50_003 + b"</urlset>")
    assert len(found.entries) == 50_000 and found.notes["sitemap.too_many"] >= 1


@given(st.binary(max_size=400), st.integers(0, len(NEWS)))
def test_any_bytes_end_well(noise: bytes, at: int) -> None:
    for body in (noise, NEWS[:at] + noise + NEWS[at:], b"\x1f\x8b" + noise):
        try:
            read(body)
        except ContentError as error:
            assert error.code.startswith("sitemap.")


# -- the source ------------------------------------------------------------------------
def text(n: int | str) -> str:
    return f"What happened at number {n} was told by two people who had seen it themselves."


@asynccontextmanager
async def stage(
    *,
    index: bool = True,
    zipped: bool = False,
    news: bool = True,
    faults: tuple[tuple[str, str], ...] = (),
    spoil: str = "",
    **settings: object,
) -> AsyncIterator[Stage]:
    async with (
        SitemapServer(index=index, zipped=zipped, news=news) as server,
        door_to(server.host_port, stalls="stall" in dict(faults).values()) as door,
    ):
        config = SourceConfig(
            name="s", type="sitemap",
            settings={"url": server.url(server.root), "interval_s": 60, **settings},
        )  # fmt: skip
        expected: dict[str, list[str | None]] = {}

        def key(n: int) -> str:
            return f"s#{server.url(f'/p/{n}')}"

        def page_text(n: int, words: str) -> str:
            return f"Number {n}\n\n{words}"

        def publish(n: int) -> None:
            at = START - timedelta(minutes=100 - n)
            server.publish(f"/p/{n}", title=f"Number {n}", text=text(n), at=at)
            expected[key(n)] = [page_text(n, text(n))]

        def edit(n: int) -> None:
            server.edit(f"/p/{n}", text=text(f"{n}, corrected,"), at=START - timedelta(minutes=9))
            expected[key(n)].append(page_text(n, text(f"{n}, corrected,")))

        def retract(n: int) -> None:
            server.retract(f"/p/{n}", at=START - timedelta(minutes=8))
            expected[key(n)].append(None)

        server.publish("/p/old", title="Old", text=text("old"), at=START - timedelta(days=30))
        for n in range(3):
            publish(n)
        script = [
            lambda: publish(3),
            lambda: edit(1),
            lambda: None,
            lambda: [publish(n) for n in range(4, 16)],
            lambda: server.unlist("/p/0"),
            lambda: retract(2),
        ]
        for i, (path, fault) in enumerate(faults):
            at = {"root": server.root, "file": server.file}.get(path, path)
            where = 0 if path == at else 2 * i + 1
            script.insert(where, lambda at=at, fault=fault: server.misbehave(at, fault))
        if spoil:
            script.insert(2, lambda: server.spoil(spoil))
        yield Stage(
            config=config, fetcher=door, expected=lambda: expected, script=script, ordered=False,
            rests=6,
        )  # fmt: skip


@pytest.mark.parametrize("shape", [{}, {"index": False}, {"zipped": True, "news": False}])
async def test_killed_anywhere(shape: dict[str, bool]) -> None:
    ledgers = await check_source(sitemap.SOURCE, lambda: stage(**shape), rounds=5)  # type: ignore[arg-type]
    assert sum(ledger.kills for ledger in ledgers) > 3
    assert not any(ledger.gaps for ledger in ledgers)


FAULTS = [
    ("root", "drop", "net."),
    ("root", "stall", "net."),
    ("root", "503 0", "net."),
    ("root", "404", "source.not_found"),
    ("file", "truncated", "net."),
]


@pytest.mark.parametrize(("path", "fault", "code"), FAULTS)
async def test_raises_and_recovers(path: str, fault: str, code: str) -> None:
    def faulty():  # type: ignore[no-untyped-def]
        return stage(index=path == "root", faults=((path, fault),))

    (ledger,) = await check_source(sitemap.SOURCE, faulty, rounds=1)
    assert any(name.startswith(code) for name in ledger.errors), ledger.errors


@pytest.mark.parametrize("fault", ["drop", "503 0", "truncated", "stall"])
async def test_a_page_that_fails_is_tried_again(fault: str) -> None:
    ledgers: list[Ledger] = await check_source(
        sitemap.SOURCE, lambda: stage(faults=(("/p/3", fault),)), rounds=2
    )
    assert not ledgers[0].errors and any(c.startswith("net.") for c in ledgers[0].skipped)


@pytest.mark.parametrize("fault", ["html", "broken_xml"])
async def test_odd_answers(fault: str) -> None:
    ledgers = await check_source(
        sitemap.SOURCE, lambda: stage(index=False, faults=(("file", fault),)), rounds=2
    )
    assert not ledgers[0].errors


@pytest.mark.parametrize("fault", ["bad_gzip", "bomb"])
async def test_damaged_files(fault: str) -> None:
    (ledger,) = await check_source(
        sitemap.SOURCE, lambda: stage(zipped=True, spoil=fault), rounds=1
    )
    assert any(code.startswith("sitemap.") for code in ledger.skipped)


async def test_an_hour_has_so_many_pages() -> None:
    ledgers = await check_source(
        sitemap.SOURCE, lambda: stage(pages_per_hour=5, interval_s=None), rounds=2
    )
    assert ledgers[0].versions


@asynccontextmanager
async def private_stage() -> AsyncIterator[Stage]:
    """One page is closed to robots: what the sitemap says of it is all there is."""
    async with SitemapServer() as server, door_to(server.host_port) as door:
        for path in ("/p/open", "/private/shut"):
            server.publish(path, title=f"At {path}", text=text(1), at=START - timedelta(hours=1))
        root = server.url("/robots.txt")
        yield Stage(
            config=SourceConfig(name="s", type="sitemap", settings={"url": root}),
            fetcher=door,
            expected=lambda: {
                f"s#{server.url('/p/open')}": [f"At /p/open\n\n{text(1)}"],
                f"s#{server.url('/private/shut')}": ["At /private/shut"],
            },
            ordered=False,
        )


async def test_robots_rules_are_kept() -> None:
    ledgers = await check_source(sitemap.SOURCE, private_stage, rounds=2)
    assert ledgers[0].skipped["net.robots"] == 1
    shut = next(d for k, d in ledgers[0].documents.items() if "shut" in k)
    assert shut.extra["only"] == "reference" and shut.date_source == "news-sitemap"


@asynccontextmanager
async def outrun_stage() -> AsyncIterator[Stage]:
    async with (
        SitemapServer(index=False, news_window=5) as server,
        door_to(server.host_port) as door,
    ):

        def publish(ns: range) -> None:
            for n in ns:
                at = START - timedelta(minutes=60 - n)
                server.publish(f"/p/{n}", title=f"Number {n}", text=text(n), at=at)

        publish(range(5))
        yield Stage(
            config=SourceConfig(
                name="s", type="sitemap", settings={"url": server.url(server.root)}
            ),
            fetcher=door,
            expected=lambda: {
                f"s#{server.url(f'/p/{n}')}": [f"Number {n}\n\n{text(n)}"] for n in range(25)
            },
            script=[lambda: publish(range(5, 25))],
            ordered=False,
        )


async def test_what_rolled_over_is_a_gap() -> None:
    for ledger in await check_source(sitemap.SOURCE, outrun_stage, rounds=3):
        (gap,) = ledger.gaps
        assert gap.start is not None and gap.end is not None and gap.start < gap.end
        assert len(ledger.versions) == 10


@pytest.mark.parametrize(
    ("pasted", "name"),
    [
        ("https://e.example/sitemap.xml", "sitemap:e.example/sitemap.xml"),
        ("e.example/news-sitemap.xml.gz", "sitemap:e.example/news-sitemap.xml.gz"),
        ("https://e.example/sitemap_index.xml", "sitemap:e.example/sitemap_index.xml"),
        ("https://e.example/feed.xml", ""),
        ("https://e.example/", ""),
    ],
)
def test_identify(pasted: str, name: str) -> None:
    config = sitemap.identify(pasted)
    assert (config.name if config else "") == name


def test_a_site_is_followed_by_what_its_robots_txt_names() -> None:
    config = sitemap.config_for("https://e.example")
    assert config.name == "sitemap:e.example"
    assert config.settings == {"url": "https://e.example/robots.txt"}
