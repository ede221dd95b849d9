"""robots.txt: whom it binds, and what its absence, failure and size mean."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.clock import ManualClock
from gnomon.errors import UpstreamTerminal, UpstreamTransient
from gnomon.net.robots import MAX_CRAWL_DELAY_S, Rules
from gnomon.settings import Net

URL = "http://news.example/private/x"
POLITE = Net(per_host_delay_s=0)
FORBID = b"User-agent: *\nDisallow: /private/\n"


def serve(world: Any, robots: bytes, status: str = "200 OK", headers: str = "") -> None:
    async def handler(head: bytes, reader: Any, writer: Any) -> None:
        if head.split(b" ")[1] == b"/robots.txt":
            writer.write(
                f"HTTP/1.1 {status}\r\ncontent-length: {len(robots)}\r\n{headers}\r\n".encode()
                + robots
            )
        else:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")

    world.server.handler = handler


async def test_binds_crawls_only(world: Any) -> None:
    serve(world, FORBID)
    door = world.door(POLITE)
    with pytest.raises(UpstreamTerminal) as caught:
        await door.fetch(URL, purpose="crawl")
    assert caught.value.code == "net.robots"
    assert (await door.fetch("http://news.example/public")).status == 200
    for purpose in ("feed", "user"):
        assert (await door.fetch(URL, purpose=purpose)).status == 200
    assert world.server.paths.count("/robots.txt") == 1
    off = world.door(Net(per_host_delay_s=0, robots=False))
    assert (await off.fetch(URL)).status == 200


async def test_is_kept_for_a_day(world: Any) -> None:
    clock = ManualClock()
    serve(world, FORBID)
    door = world.door(POLITE, clock)
    await door.fetch("http://news.example/a")
    serve(world, b"")
    clock.advance(86_000)
    with pytest.raises(UpstreamTerminal):
        await door.fetch(URL)
    clock.advance(500)
    assert (await door.fetch(URL)).status == 200


@pytest.mark.parametrize("status", ["404 Not Found", "403 Forbidden", "410 Gone"])
async def test_no_file_allows_everything(world: Any, status: str) -> None:
    serve(world, FORBID, status)
    assert (await world.door(POLITE).fetch(URL)).status == 200


@pytest.mark.parametrize("status", ["500 Oops", "503 Busy", "429 Slow down"])
async def test_a_failing_server_forbids_for_a_while(world: Any, status: str) -> None:
    clock = ManualClock()
    serve(world, b"", status, "retry-after: 60\r\n")
    door = world.door(POLITE, clock)
    for _ in range(2):
        with pytest.raises(UpstreamTransient) as caught:
            await door.fetch(URL)
        assert caught.value.code == "net.robots_unavailable"
    assert world.server.paths == ["/robots.txt"]
    serve(world, b"")
    clock.advance(601)
    assert (await door.fetch(URL)).status == 200


async def test_an_unreachable_server_is_reported_as_such(world: Any) -> None:
    world.internet.dead.add("93.184.216.34")
    with pytest.raises(UpstreamTransient) as caught:
        await world.door(POLITE).fetch(URL)
    assert caught.value.code == "net.connection"


async def test_only_its_beginning_is_read(world: Any) -> None:
    serve(world, b"# " + b"x" * 600_000 + b"\nUser-agent: *\nDisallow: /\n")
    assert (await world.door(POLITE).fetch(URL)).status == 200


async def test_redirects_are_checked_at_their_own_host(world: Any) -> None:
    async def handler(head: bytes, reader: Any, writer: Any) -> None:
        other, robots = b"other.example" in head, b"/robots.txt" in head
        body = FORBID if other and robots else b""
        status = b"200 OK" if robots else b"302 F\r\nlocation: http://other.example/private/y"
        writer.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: %d\r\n\r\n" % len(body) + body)

    world.server.handler = handler
    with pytest.raises(UpstreamTerminal) as caught:
        await world.door(POLITE).fetch("http://news.example/open")
    assert caught.value.code == "net.robots" and "other.example" in str(caught.value)


async def test_a_robots_file_that_leads_inside_is_refused(world: Any) -> None:
    serve(world, b"", "302 Found", "location: http://10.0.0.1/robots.txt\r\n")
    with pytest.raises(UpstreamTerminal) as caught:
        await world.door(POLITE).fetch(URL)
    assert caught.value.code == "net.blocked"
    assert {host for host, _ in world.internet.dialled} == {"93.184.216.34"}


@pytest.mark.parametrize(
    ("text", "path", "allowed"),
    [
        ("User-agent: *\nDisallow: /", "/a", False),
        ("User-agent: gnomonbot\nDisallow: /a\n\nUser-agent: *\nDisallow: /", "/b", True),
        ("User-agent: GnomonBot/2.0\nDisallow: /", "/b", False),
        ("User-agent: OtherBot\nDisallow: /", "/b", True),
        ("User-agent: NotGnomonBot\nDisallow: /", "/b", True),
        ("User-agent: A\nUser-agent: GnomonBot\nDisallow: /", "/b", False),
        ("User-agent: *\nDisallow: /a\nAllow: /a/b", "/a/b/c", True),
        ("User-agent: *\nAllow: /a\nDisallow: /a", "/a", True),
        ("User-agent: *\nDisallow: /*.pdf$", "/x.pdf", False),
        ("User-agent: *\nDisallow: /*.pdf$", "/x.pdf?y", True),
        ("User-agent: *\nDisallow: /ä", "/%C3%A4", False),
        ("<html>not a robots file</html>", "/", True),
    ],
)
def test_rules(text: str, path: str, allowed: bool) -> None:
    assert Rules(text).allows(f"http://news.example{path}") is allowed


def test_crawl_delay_is_bounded() -> None:
    assert Rules("User-agent: *\nCrawl-delay: 3").crawl_delay_s == 3
    assert Rules("User-agent: *\nCrawl-delay: 1e9").crawl_delay_s == MAX_CRAWL_DELAY_S
    assert Rules("User-agent: *\nCrawl-delay: nan").crawl_delay_s == 0


async def test_crawl_delay_is_kept(world: Any) -> None:
    import asyncio

    clock = ManualClock()
    serve(world, b"User-agent: *\nCrawl-delay: 5")
    door = world.door(POLITE, clock)
    tasks = [asyncio.create_task(door.fetch("http://news.example/a")) for _ in range(2)]
    for _ in range(100):
        await asyncio.sleep(0.002)
    clock.advance(5.1)
    for _ in range(100):
        await asyncio.sleep(0.002)
    assert world.server.paths.count("/a") == 1
    clock.advance(5.1)
    await asyncio.gather(*tasks)


def test_many_robots_times_many_rules_stay_small() -> None:
    agents = "".join(f"User-agent: bot{i}\n" for i in range(12_000))
    rules = "".join(f"Disallow: /*{i}*x$\n" for i in range(12_000))
    began = time.process_time()
    parsed = Rules(agents + rules + "User-agent: *\nDisallow: /z")
    assert not parsed.allows("http://news.example/z" + "y" * 4_000)
    assert time.process_time() - began < 5


@given(st.text())
def test_any_text_is_a_robots_file(text: str) -> None:
    Rules(text).allows("http://news.example/a")
