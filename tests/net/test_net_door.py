"""The door: what never gets a connection, and what happens to those who misbehave."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from gnomon import metrics
from gnomon.clock import ManualClock
from gnomon.errors import ConfigError, ContentError, UpstreamTerminal, UpstreamTransient
from gnomon.net.base import Fetcher
from gnomon.net.body import Decoder
from gnomon.net.headers import retry_after_s
from gnomon.settings import Net

OK = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\nhi"
URL = "http://news.example/a"


def reply(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode("utf-8") + b"\r\n\r\n" + body


def redirect(status: int, location: str) -> bytes:
    return reply(b"", f"{status} Moved", location=location)


def test_is_a_fetcher(world: Any) -> None:
    fetcher: Fetcher = world.door()
    assert fetcher is not None


# -- what never gets a connection -----------------------------------------------
async def test_no_forbidden_line_leads_to_a_connection(
    world: Any, ssrf_lines: Mapping[str, list[str]]
) -> None:
    assert sum(map(len, ssrf_lines.values())) == 178
    world.names.table |= {"google.com": ["142.250.1.100"], "www.google.com": ["142.250.1.100"]}
    door = world.door()
    world.server.says(OK)
    for name, lines in ssrf_lines.items():
        for line in lines:
            url = line if "://" in line or ":" in line.partition("/")[0] else f"http://{line}/"
            try:
                await door.fetch(url, purpose="user")
            except UpstreamTerminal as error:
                assert error.code in ("net.blocked", "net.url", "net.scheme"), (name, line)
                assert error.fields["rule"] and error.hint, (name, line)
            else:
                assert name == "parser_confusion" and "google.com" in line, (name, line)
    # A line that names a public site before all others may reach that, and nothing else.
    assert {host for host, _ in world.internet.dialled} <= {"142.250.1.100"}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_nor_through_a_redirect(
    world: Any, ssrf_lines: Mapping[str, list[str]], status: int
) -> None:
    door = world.door()
    where = ""

    async def handler(head: bytes, reader: Any, writer: Any) -> None:
        writer.write(redirect(status, where))

    world.server.handler = handler
    for name, lines in ssrf_lines.items():
        for where in lines:
            if "://" not in where and not where.startswith("http:"):
                where = f"http://{where}/"
            before = len(world.server.heads)
            with pytest.raises((UpstreamTerminal, UpstreamTransient)) as caught:
                await door.fetch(URL, purpose="user")
            assert caught.value.code.startswith("net."), (name, where)
            if name not in ("parser_confusion", "other_schemes"):
                assert len(world.server.heads) == before + 1, (name, where)
    assert {host for host, _ in world.internet.dialled} == {"93.184.216.34"}


async def test_a_second_dns_answer_changes_nothing(world: Any) -> None:
    world.names.table["rebind.example"] = [["93.184.216.34"], ["127.0.0.1"]]
    door = world.door()
    world.server.says(OK)
    response = await door.fetch("http://rebind.example/", purpose="user")
    assert response.body == b"hi"
    assert world.internet.dialled == [("93.184.216.34", 80)]
    await door.aclose()
    with pytest.raises(UpstreamTerminal, match="loopback"):
        await world.door().fetch("http://rebind.example/", purpose="user")


async def test_one_bad_address_among_good_ones_is_enough(world: Any) -> None:
    world.names.table["mixed.example"] = ["93.184.216.34", "10.0.0.7"]
    with pytest.raises(UpstreamTerminal) as caught:
        await world.door().fetch("http://mixed.example/")
    assert caught.value.fields["address"] == "10.0.0.7"
    assert "private, 10.0.0.0/8" in str(caught.value)
    assert world.internet.dialled == []


@pytest.mark.parametrize("port", [1, 22, 25, 6379, 8080])
async def test_only_web_ports_are_open(world: Any, port: int) -> None:
    with pytest.raises(UpstreamTerminal, match=f"port {port}"):
        await world.door().fetch(f"http://news.example:{port}/")
    assert world.internet.dialled == []


async def test_the_allow_list_opens_exactly_what_it_names(world: Any) -> None:
    world.server.says(OK)
    door = world.door(
        Net(allow=("127.0.0.1:8000", "intra.example:80"), robots=False, per_host_delay_s=0)
    )
    world.names.table["intra.example"] = ["192.168.7.7"]
    assert (await door.fetch("http://127.0.0.1:8000/")).status == 200
    assert (await door.fetch("http://intra.example/")).status == 200
    for url in (
        "http://127.0.0.1:8001/",
        "http://127.0.0.2:8000/",
        "http://localhost:8000/",
        "http://127.0.0.1/",
        "https://intra.example/",
    ):
        with pytest.raises(UpstreamTerminal) as caught:
            await door.fetch(url)
        assert caught.value.code == "net.blocked", url


async def test_an_allowed_name_still_never_reaches_metadata(world: Any) -> None:
    door = world.door(Net(allow=("intra.example:80",), robots=False))
    for address in ("169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254"):
        world.names.table["intra.example"] = [address]
        with pytest.raises(UpstreamTerminal, match="metadata"):
            await door.fetch("http://intra.example/")
    assert world.internet.dialled == []


async def test_a_dead_address_gives_way_to_the_next(world: Any) -> None:
    world.names.table["news.example"] = ["93.184.216.99", "93.184.216.34"]
    world.internet.dead.add("93.184.216.99")
    world.server.says(OK)
    assert (await world.door().fetch(URL)).status == 200
    world.internet.dead.add("93.184.216.34")
    with pytest.raises(UpstreamTransient) as caught:
        await world.door().fetch(URL)
    assert caught.value.code == "net.connection"


async def test_names_without_address_are_transient(world: Any) -> None:
    world.names.table["gone.example"] = []
    with pytest.raises(UpstreamTransient) as caught:
        await world.door().fetch("http://gone.example/")
    assert caught.value.code == "net.unresolvable"


async def test_environment_and_proxies_are_ignored(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    world.server.says(OK)
    assert (await world.door().fetch(URL)).body == b"hi"
    assert world.server.paths == ["/a"]


# -- what is sent ----------------------------------------------------------------
async def test_host_sni_and_agent_are_those_of_the_site(world: Any) -> None:
    world.server.says(OK)
    door = world.door(Net(contact="ops@example.org", robots=False, per_host_delay_s=0))
    await door.fetch("https://news.example/", purpose="feed")
    assert world.internet.dialled == [("93.184.216.34", 443)]
    assert world.internet.tls_names == ["news.example"]
    assert world.server.header("host") == "news.example"
    assert world.server.header("user-agent", -1) == "GnomonBot/0.1.0 (ops@example.org)"
    await door.fetch("https://news.example/", purpose="user")
    assert (world.server.header("user-agent") or "").startswith("Gnomon-User/")


async def test_no_cookie_is_kept_and_no_header_is_forged(world: Any) -> None:
    world.server.says(reply(b"hi", set_cookie="id=1", etag='W/"x"'))
    door = world.door()
    first = await door.fetch(
        URL,
        headers={
            "Host": "evil.example",
            "Cookie": "a=b",
            "User-Agent": "Chrome",
            "Transfer-Encoding": "chunked",
            "If-None-Match": 'W/"x"',
        },
    )
    assert "set-cookie" not in first.headers and first.headers["etag"] == 'W/"x"'
    await door.fetch(URL)
    assert world.server.header("cookie", 0) is None and world.server.header("cookie", 1) is None
    assert world.server.header("host", 0) == "news.example"
    assert "Chrome" not in (world.server.header("user-agent", 0) or "")
    assert world.server.header("transfer-encoding", 0) is None
    assert world.server.header("if-none-match", 0) == 'W/"x"'
    for name, value in (("x", "a\r\nb: c"), ("bad name", "x"), ("x", "\x00"), ("x", "€")):
        with pytest.raises(ConfigError):
            await door.fetch(URL, headers={name: value})


# -- redirects ---------------------------------------------------------------------
async def test_keys_do_not_follow_to_another_origin(world: Any) -> None:
    async def handler(head: bytes, reader: Any, writer: Any) -> None:
        there = b"other.example" in head
        writer.write(OK if there else redirect(302, "http://other.example/b"))

    world.server.handler = handler
    secret = {"Authorization": "Bearer k", "X-Api-Key": "k", "Accept-Language": "de"}
    await world.door().fetch(URL, headers=secret)
    assert world.server.header("authorization", 0) == "Bearer k"
    for name in ("authorization", "x-api-key"):
        assert world.server.header(name, 1) is None
    assert world.server.header("accept-language", 1) == "de"


async def test_a_body_does_not_follow_to_another_origin(world: Any) -> None:
    world.server.says(redirect(307, "http://other.example/"))
    with pytest.raises(UpstreamTerminal) as caught:
        await world.door().fetch(URL, method="POST", content=b"secret")
    assert caught.value.code == "net.redirect"


async def test_https_never_becomes_http(world: Any) -> None:
    world.server.says(redirect(301, "http://news.example/"))
    with pytest.raises(UpstreamTerminal) as caught:
        await world.door().fetch("https://news.example/")
    assert caught.value.code == "net.downgrade"
    assert "news.example" in caught.value.hint and "net.allow_downgrade" in caught.value.hint


async def test_https_becomes_http_only_where_the_operator_allows_it(world: Any) -> None:
    door = world.door(Net(per_host_delay_s=0, robots=False, allow_downgrade=("Other.example.",)))

    async def follow(to: str, method: str = "GET") -> str:
        async def handler(head: bytes, reader: Any, writer: Any) -> None:
            writer.write(redirect(301, to) if b"news.example" in head else OK)

        world.server.handler = handler
        secret = {"Authorization": "Bearer k"}
        return (await door.fetch("https://news.example/", method=method, headers=secret)).url

    assert await follow("http://other.example/a") == "http://other.example/a"
    assert world.server.header("authorization", -1) is None  # keys stay behind
    for elsewhere in ("http://news.example/", "http://www.other.example/"):
        with pytest.raises(UpstreamTerminal) as caught:
            await follow(elsewhere)
        assert caught.value.code == "net.downgrade"


async def test_redirect_loops_end(world: Any) -> None:
    world.server.says(redirect(302, "/a"))
    with pytest.raises(UpstreamTerminal) as caught:
        await world.door().fetch(URL)
    assert caught.value.code == "net.redirects"
    assert len(world.server.heads) == 6


@pytest.mark.parametrize(
    ("chain", "permanent"),
    [
        ([301, 308], "http://news.example/2"),
        ([301, 302, 301], "http://news.example/1"),
        ([302, 301], ""),
        ([], ""),
    ],
)
async def test_permanent_redirects_are_told(world: Any, chain: list[int], permanent: str) -> None:
    async def handler(head: bytes, reader: Any, writer: Any) -> None:
        at = int(head.split(b" ")[1][1:] or b"0")
        writer.write(redirect(chain[at], f"/{at + 1}") if at < len(chain) else OK)

    world.server.handler = handler
    response = await world.door().fetch("http://news.example/0")
    assert response.permanent_url == permanent
    assert response.url == f"http://news.example/{len(chain)}"


# -- bodies ------------------------------------------------------------------------
@pytest.mark.parametrize("coding", ["gzip", "deflate", "raw-deflate", "identity", "gzip-twice"])
async def test_codings(world: Any, coding: str) -> None:
    text = b"words and words " * 500
    raw = zlib.compressobj(wbits=-15)
    body = {
        "gzip": gzip.compress(text),
        "gzip-twice": gzip.compress(text[:10]) + gzip.compress(text[10:]) + b"\0\0",
        "deflate": zlib.compress(text),
        "raw-deflate": raw.compress(text) + raw.flush(),
        "identity": text,
    }[coding]
    name = {"raw-deflate": "deflate", "gzip-twice": "gzip"}.get(coding, coding)
    world.server.says(reply(body, content_encoding=name))
    assert (await world.door().fetch(URL)).body == text
    assert world.server.header("accept-encoding") == "gzip, deflate"


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        (reply(b"x" * 2_000), "net.too_large"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n", "net.too_large"),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"400\r\n" + b"x" * 1024
            + b"\r\n400\r\n" + b"x" * 1024 + b"\r\n0\r\n\r\n",
            "net.too_large",
        ),
        (reply(gzip.compress(bytes(50_000_000)), content_encoding="gzip"), "net.too_large"),
        (reply(b"not gzip at all", content_encoding="gzip"), "net.encoding"),
        (reply(gzip.compress(b"a" * 900)[:-9], content_encoding="gzip"), "net.encoding"),
        (reply(b"x", content_encoding="br"), "net.encoding"),
        (reply(b"x", content_encoding="gzip, gzip"), "net.encoding"),
        (reply(b"%PDF", content_type="application/pdf"), "net.media_type"),
    ],
    ids=["long", "announced", "chunked", "bomb", "no gzip", "cut gzip", "br", "double", "pdf"],
)  # fmt: skip
async def test_bodies_that_are_refused(world: Any, wire: bytes, code: str) -> None:
    world.server.says(wire)
    with pytest.raises(ContentError) as caught:
        await world.door().fetch(URL, max_body_bytes=1_500, accept=("text/html",))
    assert caught.value.code == code


def test_a_bomb_never_exists_in_memory() -> None:
    bomb = gzip.compress(bytes(100_000_000))
    decoder = Decoder("gzip", 1_000)
    made = [len(decoder.feed(bomb[i : i + 4_096])) for i in range(0, len(bomb), 4_096)]
    assert sum(made) == 1_001


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", "net.protocol"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nff\r\nabc", "net.protocol"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nabc", "net.protocol"),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 40_000, "net.protocol"),
        (b"HTTP/1.1 200 OK\r\na: " + b"b" * 300_000, "net.protocol"),
        (b"HTTP/1.1 200 OK\rcontent-length: 2\r\rhi\r\n\r\n", "net.protocol"),
        (b"HTTP/1.1 200 OK\r\nx: a\x00b\r\n\r\n", "net.protocol"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nhi", "net.protocol"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "net.protocol"),
        (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n", "net.protocol"),
        (b"", "net.protocol"),
    ],
    ids=[
        *("cut body", "cut chunk", "bad chunk", "endless headers", "endless header", "lone CR"),
        *("NUL", "two lengths", "not HTTP", "upgrade", "nothing"),
    ],
)
async def test_broken_answers_are_transient(world: Any, wire: bytes, code: str) -> None:
    world.server.says(wire, close=True)
    with pytest.raises(UpstreamTransient) as caught:
        await world.door().fetch(URL)
    assert caught.value.code == code


@pytest.mark.parametrize("part", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n\r\nbeginning"])
async def test_stalls_meet_the_deadline(world: Any, part: bytes) -> None:
    async def handler(head: bytes, reader: Any, writer: Any) -> None:
        writer.write(part)
        await reader.read(1)

    world.server.handler = handler
    began = asyncio.get_running_loop().time()
    with pytest.raises(UpstreamTransient) as caught:
        await world.door().fetch(URL, timeout_s=0.2)
    assert caught.value.code == "net.timeout"
    assert asyncio.get_running_loop().time() - began < 2


async def test_a_slow_drip_meets_the_deadline_across_hops(world: Any) -> None:
    async def handler(head: bytes, reader: Any, writer: Any) -> None:
        hop = int(head.split(b" ")[1][1:] or b"0")
        await asyncio.sleep(0.15)
        writer.write(redirect(302, f"/{hop + 1}"))

    world.server.handler = handler
    with pytest.raises(UpstreamTransient) as caught:
        await world.door().fetch("http://news.example/0", timeout_s=0.25)
    assert caught.value.code == "net.timeout"


async def test_a_drip_without_end_meets_the_deadline(world: Any) -> None:
    async def handler(head: bytes, reader: Any, writer: Any) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
        for _ in range(500):
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    world.server.handler = handler
    with pytest.raises(UpstreamTransient) as caught:
        await world.door().fetch(URL, timeout_s=0.2)
    assert caught.value.code == "net.timeout"


# -- statuses ----------------------------------------------------------------------
@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451])
async def test_client_errors_come_back_whole_enough(world: Any, status: int) -> None:
    world.server.says(reply(b"x" * 100_000, f"{status} No", content_type="text/html"))
    response = await world.door().fetch(URL, accept=("application/rss+xml",), max_body_bytes=1_000)
    assert response.status == status and len(response.body) == 65_536


@pytest.mark.parametrize("status", [204, 304])
async def test_answers_without_body(world: Any, status: int) -> None:
    head = f'HTTP/1.1 {status} x\r\netag: "v"\r\ncontent-type: image/png\r\n'
    world.server.says(head.encode() + b"content-encoding: gzip\r\n\r\n")
    accept = () if status == 204 else ("text/html",)
    response = await world.door().fetch(URL, accept=accept)
    assert (response.status, response.body) == (status, b"")


async def test_head_has_no_body_however_long(world: Any) -> None:
    world.server.says(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n")
    response = await world.door().fetch(URL, method="HEAD")
    assert response.body == b"" and response.headers["content-length"] == "99999999999"


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_overload_is_transient_and_says_when(world: Any, status: int) -> None:
    world.server.says(reply(b"", f"{status} Busy", retry_after="17"))
    with pytest.raises(UpstreamTransient) as caught:
        await world.door().fetch(URL)
    assert caught.value.retry_after_s == 17.0
    assert caught.value.fields["status"] == status


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        ("0", 0.0),
        ("1.5", 1.5),
        ("Thu, 01 Jan 2026 00:02:00 GMT", 120.0),
        ("Wed, 31 Dec 2025 00:00:00 GMT", 0.0),
        ("9999999999", 604_800.0),
        ("Fri, 31 Dec 9999 23:59:59 -1200", None),
        ("soon", None),
        ("-5", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    got = retry_after_s(value, datetime(2026, 1, 1, tzinfo=UTC))
    assert got == seconds or (seconds is None and got == 604_800.0)


async def test_exchanges_are_counted(world: Any) -> None:
    def count(outcome: str) -> float:
        return metrics.FETCHES.labels("user", outcome)._value.get()

    before = count("2xx"), count("net.blocked")
    world.server.says(OK)
    door = world.door()
    await door.fetch(URL, purpose="user")
    with pytest.raises(UpstreamTerminal):
        await door.fetch("http://10.0.0.1/", purpose="user")
    assert (count("2xx"), count("net.blocked")) == (before[0] + 1, before[1] + 1)


# -- politeness --------------------------------------------------------------------
async def settle() -> None:
    for _ in range(50):
        await asyncio.sleep(0.002)


async def test_one_at_a_time_and_a_pause_between(world: Any) -> None:
    clock = ManualClock()
    door = world.door(Net(per_host_delay_s=2, robots=False), clock)
    world.server.says(OK)
    tasks = [asyncio.create_task(door.fetch(URL, purpose="feed")) for _ in range(3)]
    tasks.append(asyncio.create_task(door.fetch("http://other.example/", purpose="feed")))
    await settle()
    assert sorted(world.server.paths) == ["/", "/a"]
    for done in (2, 3):
        clock.advance(1.9)
        await settle()
        assert world.server.paths.count("/a") == done - 1
        clock.advance(0.2)
        await settle()
        assert world.server.paths.count("/a") == done
    await asyncio.gather(*tasks)


async def test_people_and_own_services_do_not_wait(world: Any) -> None:
    door = world.door(
        Net(per_host_delay_s=1_000, robots=False, allow=("own.example:80",)), ManualClock()
    )
    world.server.says(OK)
    async with asyncio.timeout(5):
        for _ in range(3):
            await door.fetch(URL, purpose="user")
            await door.fetch("http://own.example/", purpose="crawl")
    assert len(world.server.heads) == 6


async def test_a_cancelled_turn_frees_the_host(world: Any) -> None:
    async def stall(head: bytes, reader: Any, writer: Any) -> None:
        await reader.read(1)

    world.server.handler = stall
    door = world.door()
    task = asyncio.create_task(door.fetch(URL, purpose="feed"))
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    world.server.says(OK)
    async with asyncio.timeout(5):
        assert (await door.fetch(URL, purpose="feed")).status == 200
