"""The stand-ins for GDELT, EDGAR and sitemaps, checked by clients and schemas that are not ours."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
import requests
from lxml import etree
from trafilatura import sitemaps as independent

from gnomon.testing.edgar_server import CURRENT, EdgarServer, Filing
from gnomon.testing.gdelt_server import GdeltServer, Row
from gnomon.testing.sitemap_server import SitemapServer

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
SCHEMAS = Path(__file__).with_name("schemas")


async def got(url: str, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(headers=headers) as client:
        return (await client.get(url)).raise_for_status()


# -- GDELT ------------------------------------------------------------------------
_HOST = "http://data.gdeltproject.org"
ROWS = [
    Row(
        url="https://news.example/flood?a=1&b=2",
        domain="news.example",
        title="Flood & fire",
        themes=("NATURAL_DISASTER_FLOOD", "ENV_CLIMATE"),
        tone=-3.25,
    ),
    Row(url="https://other.example/match", domain="other.example"),
    Row(url="A broadcast", domain="bbc", collection=2),
]


class ToGdelt(httpx.AsyncHTTPTransport):
    """Takes what is meant for GDELT to the stand-in."""

    def __init__(self, server: GdeltServer) -> None:
        super().__init__()
        self._port = int(server.host_port.rpartition(":")[2])

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.url = request.url.copy_with(host="127.0.0.1", port=self._port)
        return await super().handle_async_request(request)


async def test_gdelt_py_reads_the_files(tmp_path: Path) -> None:
    library = pytest.importorskip("py_gdelt", reason="gdelt-py is not installed")
    from py_gdelt.models.gkg import GKGRecord
    from py_gdelt.parsers import GKGParser
    from py_gdelt.sources import FileSource

    async with GdeltServer(start=AT) as server:
        server.release(ROWS)
        server.release([], missing=True)
        server.release(ROWS[:1], damaged=9)
        settings = library.GDELTSettings(cache_dir=tmp_path)
        async with (
            httpx.AsyncClient(transport=ToGdelt(server)) as client,
            FileSource(settings=settings, client=client) as source,
        ):
            wanted = await source.get_files_for_date_range(AT, AT + timedelta(minutes=30), "gkg")
            assert [url.rpartition("/")[2] for url in wanted] == [
                f"202603011{quarter}00.gkg.csv.zip" for quarter in ("200", "215", "230")
            ]
            found = {url: data async for url, data in source.stream_files(wanted)}
            listed = await source.get_master_file_list()
    assert list(found) == wanted[:1], "one is missing, one is damaged"
    assert [line.split()[2] for line in listed if ".gkg." in line] == wanted
    records = [GKGRecord.from_raw(raw) for raw in GKGParser().parse(found[wanted[0]])]
    assert [
        (r.source_url, r.source_name, r.source_collection, [t.name for t in r.themes])
        for r in records
    ] == [(r.url, r.domain, r.collection, list(r.themes)) for r in ROWS]
    assert {r.date for r in records} == {AT}
    assert records[0].record_id == "20260301120000-0"
    assert records[0].tone is not None and records[0].tone.tone == -3.25


async def test_gdelts_lists_are_as_its_documentation_says() -> None:
    """Size, MD5 and address a line; three files each quarter; the newest are the list's last."""
    async with GdeltServer(start=AT) as server:
        server.release(ROWS)
        server.release(ROWS[:2])
        newest = (await got(f"{server.base}/lastupdate.txt")).text
        whole = (await got(f"{server.base}/masterfilelist.txt")).text
        assert whole.endswith(newest) and len(whole.splitlines()) == 6
        kinds = ("export.CSV", "mentions.CSV", "gkg.csv")
        for stamp, lines in zip(("1200", "1215"), _by(3, whole.splitlines()), strict=True):
            for kind, line in zip(kinds, lines, strict=True):
                size, digest, url = line.split(" ")
                assert size.isdigit() and re.fullmatch("[0-9a-f]{32}", digest)
                assert url == f"{_HOST}/gdeltv2/20260301{stamp}00.{kind}.zip"
        size, digest, url = newest.splitlines()[2].split(" ")
        body = (await got(url.replace(_HOST, server.url("")))).content
        assert len(body) == int(size)
        assert hashlib.md5(body, usedforsecurity=False).hexdigest() == digest
        tail = await got(f"{server.base}/masterfilelist.txt", range="bytes=-50")
        assert tail.status_code == 206 and whole.endswith(tail.text) and len(tail.text) == 50


def _by(n: int, lines: Sequence[str]) -> list[Sequence[str]]:
    return [lines[i : i + n] for i in range(0, len(lines), n)]


# -- EDGAR ------------------------------------------------------------------------
def filing(n: int, **changes: Any) -> Filing:
    fields = {
        "accession": f"0000320193-26-{n:06}",
        "form": "8-K",
        "company": "Müller & Sons Inc.",
        "cik": 320193,
        "accepted_at": AT - timedelta(minutes=5_000 - n),
        "items": "2.02,9.01",
        **changes,
    }
    return Filing(**fields)


def to_edgar(server: EdgarServer) -> type[requests.adapters.HTTPAdapter]:
    """Takes what is meant for the SEC to the stand-in."""

    class Elsewhere(requests.adapters.HTTPAdapter):
        def send(self, request: requests.PreparedRequest, *args: Any, **more: Any) -> Any:
            assert request.url
            request.url = re.sub("https://(www|data).sec.gov", server.url(""), request.url)
            return super().send(request, *args, **more)

    return Elsewhere


async def test_sec_edgar_downloader_finds_and_fetches_filings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = pytest.importorskip(
        "sec_edgar_downloader", reason="sec-edgar-downloader is not installed"
    )
    async with EdgarServer(asks_contact=True) as server:
        monkeypatch.setattr(requests.sessions, "HTTPAdapter", to_edgar(server))
        for n in range(1_003):  # three more than a company's submissions hold
            server.file(filing(n, form="8-K" if n % 500 else "10-Q"))
        server.file(filing(2_000, form="10-Q/A"))
        server.file(filing(2_001, cik=7, company="Other Corp."))

        def download(form: str, who: str, **more: Any) -> list[str]:
            asked = library.Downloader("Paper", "desk@paper.example", tmp_path / form / who)
            asked.get(form, who, **more)
            return sorted(p.name for p in (tmp_path / form / who).glob(f"*/*/{form}/*"))

        reports = await asyncio.to_thread(download, "10-Q", "T320193", download_details=True)
        assert reports == [filing(n).accession for n in (0, 500, 1_000)], "one by an older file"
        own = tmp_path / "10-Q/T320193/sec-edgar-filings/T320193/10-Q" / reports[0]
        assert "Müller & Sons Inc.\n10-Q" in (own / "full-submission.txt").read_text("utf-8")
        assert (own / "primary-document.html").read_bytes()
        late = {"include_amends": True, "after": "2026-03-01"}
        assert await asyncio.to_thread(download, "8-K", "7", **late) == []
        assert await asyncio.to_thread(download, "8-K", "7") == [filing(2_001).accession]
        with pytest.raises(requests.HTTPError, match="403"):
            await asyncio.to_thread(library.Downloader, "Nobody", "", tmp_path)


async def test_edgars_list_of_filings_is_atom() -> None:
    grammar = etree.RelaxNG(etree.parse(SCHEMAS / "atom.rng"))
    async with EdgarServer() as server:
        for n in range(45):
            server.file(filing(n, items="" if n % 2 else "1.01"))
        for query in ("", "?action=getcurrent&start=40&count=40&output=atom", "?type=10-Q"):
            body = (await got(server.url(f"{CURRENT}{query}"))).content
            feed = etree.fromstring(body)
            assert grammar.validate(feed), grammar.error_log
            entries = feed.findall("{*}entry")
            assert len(entries) == {"": 40, "?type=10-Q": 0}.get(query, 5)
        without = body.replace(b"<updated>", b"<changed>").replace(b"</updated>", b"</changed>")
        assert not grammar.validate(etree.fromstring(without)), "the grammar can say no"


# -- sitemaps ---------------------------------------------------------------------
async def a_site(server: SitemapServer) -> list[str]:
    for n in range(5):
        server.publish(
            f"/{n}?a=1&b={n}",
            title=f"Report {n} & more <1>",
            text=f"Report {n} says that the water fell.",
            at=AT - timedelta(hours=n) if n else None,
        )
    return [server.url(f"/{n}?a=1&b={n}") for n in range(5)]


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("news", [False, True])
async def test_sitemaps_are_as_the_protocol_says(zipped: bool, news: bool) -> None:
    schema = etree.XMLSchema(etree.parse(SCHEMAS / "sitemap.xsd"))
    async with SitemapServer(zipped=zipped, news=news) as server:
        await a_site(server)
        for path in (server.root, server.file):
            body = (await got(server.url(path))).content
            body = gzip.decompress(body) if path.endswith(".gz") else body
            tree = etree.fromstring(body)
            assert schema.validate(tree), schema.error_log
        assert len(tree.findall(".//{*}news")) == (4 if news else 0)
        for bad in (
            body.replace(b"<loc>http", b"<loc>ftp"),
            body.replace(b"T12:00:00+00:00", b"T12:00:00"),
            body.replace(b"<lastmod>", b"<changed>").replace(b"</lastmod>", b"</changed>"),
        ):
            if bad != body:
                assert not schema.validate(etree.fromstring(bad)), "the schema can say no"


async def test_trafilatura_finds_every_page() -> None:
    """Its own reading of robots.txt, of the index, and of the files behind it."""
    site = "https://paper.example"  # it knows no addresses that are numbers
    async with SitemapServer() as server:

        async def read(url: str) -> str:
            answer = await got(url.replace(site, server.url("")))
            return answer.text.replace(server.url(""), site)

        pages = [url.replace(server.url(""), site) for url in await a_site(server)]
        waiting = independent.extract_robots_sitemaps(await read(f"{site}/robots.txt"), site)
        assert waiting == [f"{site}{server.root}"]
        reader = independent.SitemapObject(site, "paper.example", waiting)
        while reader.sitemap_urls:
            reader.current_url = reader.sitemap_urls.pop()
            if "archive-2001" not in reader.current_url:  # listed, old, and not there
                reader.content = await read(reader.current_url)
                reader.process()
        assert sorted(map(unquote, reader.urls)) == sorted(pages)
