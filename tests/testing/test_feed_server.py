"""The stand-in checked with independent clients: httpx2 for HTTP, feedparser for feeds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import feedparser
import httpx2
import pytest

from gnomon.testing.feed_server import FAULTS, FeedServer, Item, Reply

AT = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)


@pytest.fixture
async def server() -> AsyncIterator[FeedServer]:
    async with FeedServer() as server:
        yield server


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(timeout=0.5, trust_env=False) as client:
        yield client


def item(n: int) -> Item:
    return Item(
        id=f"urn:{n}",
        title=f"Salt & <pepper> {n}",
        text="First paragraph, 5 < 6.\n\nSecond “quoted”.",
        url=f"https://example.org/{n}?a=1&b=2",
        author="Ann O'Nym",
        published_at=AT,
    )


@pytest.mark.parametrize("format", ["rss", "atom"])
async def test_feeds_as_feedparser_reads_them(
    server: FeedServer, client: httpx2.AsyncClient, format: str
) -> None:
    feed = server.feed("/f", title="T & t", format=format, window=3, ttl_min=7)  # type: ignore[arg-type]
    for n in range(5):
        feed.post(item(n))
    parsed = feedparser.parse((await client.get(server.url("/f"))).content)
    assert not parsed.bozo
    assert parsed.feed.title == "T & t"
    assert [e.id for e in parsed.entries] == ["urn:4", "urn:3", "urn:2"]
    newest = parsed.entries[0]
    assert newest.title == "Salt & <pepper> 4"
    assert newest.link == "https://example.org/4?a=1&b=2"
    assert newest.author == "Ann O'Nym"
    assert tuple(newest.published_parsed[:6]) == (2026, 2, 3, 4, 5, 6)
    if format == "rss":
        assert parsed.feed.ttl == "7"


async def test_json_feed(server: FeedServer, client: httpx2.AsyncClient) -> None:
    server.feed("/f", format="json").post(item(1))
    got = json.loads((await client.get(server.url("/f"))).content)
    assert got["version"].endswith("1.1") and got["items"][0]["id"] == "urn:1"


async def test_validators(server: FeedServer, client: httpx2.AsyncClient) -> None:
    feed = server.feed("/f")
    feed.post(item(1))
    first = await client.get(server.url("/f"))
    by_tag = {"if-none-match": first.headers["etag"]}
    by_date = {"if-modified-since": first.headers["last-modified"]}
    for headers in (by_tag, by_date):
        assert (await client.get(server.url("/f"), headers=headers)).status_code == 304
    feed.edit("urn:1", title="new")
    for headers in (by_tag, by_date, {"if-modified-since": "soon"}):
        assert (await client.get(server.url("/f"), headers=headers)).status_code == 200


async def test_tombstone_and_page(server: FeedServer, client: httpx2.AsyncClient) -> None:
    feed = server.feed("/f", format="atom")
    feed.post(item(1))
    feed.remove("urn:1")
    assert b'deleted-entry ref="urn:1"' in (await client.get(server.url("/f"))).content
    page = server.page("/p", title="A & B", text="x < y")
    assert b"x &lt; y" in (await client.get(server.url("/p"))).content
    page.vanish(410)
    assert (await client.get(server.url("/p"))).status_code == 410
    page.edit(text="back")
    assert (await client.get(server.url("/p"))).status_code == 200


async def test_one_connection_and_head(server: FeedServer, client: httpx2.AsyncClient) -> None:
    server.route("/hello", lambda request: Reply(body=request.query["name"].encode()))
    got = await client.get(server.url("/hello?name=Ann"))
    assert got.text == "Ann" and got.http_version == "HTTP/1.1"
    assert (await client.head(server.url("/hello?name=Ann"))).content == b""
    assert (await client.get(server.url("/none"))).status_code == 404
    assert [r.path for r in server.requests] == ["/hello", "/hello", "/none"]


BREAKS = {
    "drop": httpx2.RemoteProtocolError,
    "stall": httpx2.ReadTimeout,
    "truncated": httpx2.RemoteProtocolError,
}


@pytest.mark.parametrize("fault", BREAKS)
async def test_broken_connections(
    server: FeedServer, client: httpx2.AsyncClient, fault: str
) -> None:
    server.feed("/f").post(item(1))
    server.misbehave("/f", fault)
    with pytest.raises(BREAKS[fault]):
        await client.get(server.url("/f"))
    assert (await client.get(server.url("/f"))).status_code == 200


@pytest.mark.parametrize("fault", ["huge", "slow"])
async def test_endless_bodies(server: FeedServer, client: httpx2.AsyncClient, fault: str) -> None:
    server.feed("/f").post(item(1))
    server.misbehave("/f", fault)
    got = 0
    async with client.stream("GET", server.url("/f")) as response:
        async for chunk in response.aiter_bytes():
            got += len(chunk)
            if got > (5_000_000 if fault == "huge" else 3):
                break
    assert got


@pytest.mark.parametrize(
    ("fault", "status", "header"),
    [
        ("429 30", 429, ("retry-after", "30")),
        ("503", 503, None),
        ("301 /g", 301, ("location", "/g")),
        ("304", 304, None),
        ("html", 200, ("content-type", "text/html")),
    ],
)
async def test_answers_by_name(
    server: FeedServer,
    client: httpx2.AsyncClient,
    fault: str,
    status: int,
    header: tuple[str, str] | None,
) -> None:
    server.feed("/f").post(item(1))
    server.misbehave("/f", fault)
    got = await client.get(server.url("/f"), follow_redirects=False)
    assert got.status_code == status
    if header:
        assert got.headers[header[0]] == header[1]


async def test_content_faults(server: FeedServer, client: httpx2.AsyncClient) -> None:
    feed = server.feed("/f")
    for n in range(8):
        feed.post(item(n))

    async def ids(fault: str) -> tuple[list[str], bool, int]:
        server.misbehave("/f", fault)
        response = await client.get(server.url("/f"))
        assert "etag" not in response.headers
        parsed = feedparser.parse(response.content)
        years = {e.published_parsed.tm_year for e in parsed.entries if "published" in e}
        return [e.id for e in parsed.entries], bool(parsed.bozo), max(years, default=0)

    usual = [f"urn:{n}" for n in range(7, -1, -1)]
    assert (await ids("duplicate"))[0] == usual * 2
    shuffled = (await ids("reorder"))[0]
    assert shuffled != usual and sorted(shuffled) == sorted(usual)
    assert (await ids("broken_xml"))[1]
    assert (await ids("clock_jump"))[2] == 2028


def test_unknown_faults_are_refused() -> None:
    with pytest.raises(ValueError, match="explode"):
        FeedServer().misbehave("/f", "explode")
    assert all(FAULTS.values())


async def test_stop_ends_stalled_connections_at_once(client: httpx2.AsyncClient) -> None:
    server = FeedServer()
    await server.start()
    server.misbehave("/f", "stall")
    asking = asyncio.ensure_future(client.get(server.url("/f"), timeout=30))
    async with asyncio.timeout(5):
        for _ in range(400):
            if server.requests:
                break
            await asyncio.sleep(0.01)
        await server.stop()
        with pytest.raises(httpx2.HTTPError):
            await asking
