"""Endless lines and server-sent events, however the bytes arrive."""

from __future__ import annotations

import asyncio
import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.errors import ContentError, UpstreamTerminal, UpstreamTransient
from gnomon.net.base import ServerEvent
from gnomon.net.streams import EventParser, LineSplitter
from gnomon.settings import Net

URL = "http://news.example/stream"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
UNTIL_CLOSE = HEAD + b"connection: close\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({c % (len(data) + 1) for c in cuts} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(places)]


@given(
    st.lists(st.sampled_from([b"a", b"bc", b"\r", b"\n", b"\r\n", b"\xff"])),
    st.lists(st.integers(0)),
)
def test_lines_do_not_depend_on_chunks(parts: list[bytes], cuts: list[int]) -> None:
    data = b"".join(parts)
    *expected, rest = re.split(rb"\r\n|\r|\n", data)
    splitter = LineSplitter(1_000)
    got = [line for piece in cut(data, cuts) for line in splitter.feed(piece)]
    assert (got, splitter.rest) == (expected, rest)


def read_events(data: bytes, pieces: list[bytes]) -> list[ServerEvent]:
    splitter, parser = LineSplitter(1_000), EventParser("", 1_000)
    lines = [line for piece in pieces for line in splitter.feed(piece)]
    return [event for line in lines if (event := parser.feed(line)) is not None]


_FIELDS = st.tuples(
    st.sampled_from(["data", "event", "id", "retry", "", "dat", "\ufeffdata"]),
    st.sampled_from([":", ": ", ":  ", ""]),
    st.text(st.characters(blacklist_characters="\r\n", blacklist_categories=["Cs"]), max_size=5),
)


@given(
    st.lists(st.one_of(_FIELDS.map("".join), st.just(""))),
    st.lists(st.sampled_from(["\n", "\r", "\r\n"]), min_size=1),
    st.lists(st.integers(0)),
)
def test_events_do_not_depend_on_chunks(lines: list[str], ends: list[str], cuts: list[int]) -> None:
    """One kind of line end and one chunk say the same as any mixture."""
    plain = "".join(line + "\n" for line in lines).encode()
    mixed = "".join(line + ends[i % len(ends)] for i, line in enumerate(lines)).encode()
    if "\r" in ends and "\n" in ends:
        return  # a CR and an LF that end two lines would be read as one
    assert read_events(mixed, cut(mixed, cuts)) == read_events(plain, [plain])


@pytest.mark.parametrize(
    ("body", "events"),
    [
        (b"data: a\n\n", [("message", "a", "")]),
        (b"\xef\xbb\xbfdata: a\n\n", [("message", "a", "")]),
        (b"data: a\n\xef\xbb\xbfdata: b\n\n", [("message", "a", "")]),
        (b": hello\n\ndata:a\ndata:  b\ndata\n\n", [("message", "a\n b\n", "")]),
        (b"event: add\ndata: 1\n\ndata: 2\n\n", [("add", "1", ""), ("message", "2", "")]),
        (b"event: add\n\ndata: 2\n\n", [("message", "2", "")]),
        (b"id: 7\n\ndata: 1\n\ndata: 2\nid\n\n", [("message", "1", "7"), ("message", "2", "")]),
        (b"id: 7\ndata\n\nid: 8\x00\ndata: 2\n\n", [("message", "", "7"), ("message", "2", "7")]),
        (b"data\n\ndata\ndata\n\ndata:", [("message", "", ""), ("message", "\n", "")]),
        (b"data: cut", []),
        (b"data: cut\n", []),
        (b"retry: 100\nfoo: bar\ndata: \xff\n\n", [("message", "\ufffd", "")]),
    ],
)  # fmt: skip
async def test_published_cases(world: Any, body: bytes, events: list[Any]) -> None:
    world.server.says(
        CHUNKED, *(chunk(body[i : i + 3]) for i in range(0, len(body), 3)), b"0\r\n\r\n"
    )
    async with asyncio.timeout(10), world.door().events(URL) as heard:
        got = [(e.event, e.data, e.id) async for e in heard]
    assert got == events
    assert world.server.header("accept") == "text/event-stream"
    assert world.server.header("user-agent").startswith("GnomonBot/")
    assert world.server.header("last-event-id") is None


async def test_goes_on_after_the_last_id(world: Any) -> None:
    world.server.says(CHUNKED, chunk(b"data: 1\n\n"), b"0\r\n\r\n")
    opened = world.door().events(URL, last_event_id="[é]", headers={"x-key": "k"})
    async with opened as heard:
        assert [e.id async for e in heard] == ["[é]"]
    assert world.server.header("last-event-id") == "[é]".encode().decode("latin-1")
    assert world.server.header("x-key") == "k"


async def test_comes_as_it_is_sent(world: Any) -> None:
    """A line is there at once, heartbeats too; slow ones keep the stream alive."""
    gate = asyncio.Event()

    async def handler(head: bytes, reader: Any, writer: Any) -> None:
        writer.write(CHUNKED + chunk(b"one\r"))
        await gate.wait()
        for _ in range(4):
            await asyncio.sleep(0.15)
            writer.write(chunk(b"\r\n"))
        writer.write(chunk(b"two\n") + b"0\r\n\r\n")

    world.server.handler = handler
    got = []
    async with asyncio.timeout(10), world.door().lines(URL, idle_s=0.5) as lines:
        async for line in lines:
            got.append(line)
            gate.set()
    assert got == [b"one", b"", b"", b"", b"", b"two"]


@pytest.mark.parametrize(
    ("wire", "got", "code"),
    [
        (CHUNKED + chunk(b"a\nhalf") + b"0\r\n\r\n", [b"a", b"half"], None),
        (HEAD + b"content-length: 6\r\n\r\na\nhalf", [b"a", b"half"], None),
        (UNTIL_CLOSE + b"a\nb\n", [b"a", b"b"], None),
        (UNTIL_CLOSE + b"a\nhalf", [b"a"], "net.connection"),
        (CHUNKED + chunk(b"a\nhalf"), [b"a"], "net.protocol"),
        (CHUNKED + b"ff\r\na\nb", [b"a"], "net.protocol"),
        (CHUNKED + b"zz\r\n", [], "net.protocol"),
        (HEAD + b"content-length: 9\r\n\r\na\nhalf", [b"a"], "net.protocol"),
    ],
)
async def test_ends(world: Any, wire: bytes, got: list[bytes], code: str | None) -> None:
    world.server.says(wire, close=True)
    heard: list[bytes] = []
    caught = None
    async with asyncio.timeout(10), world.door().lines(URL) as lines:
        try:
            async for line in lines:
                heard.append(line)
        except UpstreamTransient as error:
            caught = error.code
    assert (heard, caught) == (got, code)


async def test_silence_has_an_end(world: Any) -> None:
    async def stall(head: bytes, reader: Any, writer: Any) -> None:
        writer.write(CHUNKED + chunk(b"a\nhal"))
        await reader.read(1)

    world.server.handler = stall
    got = []
    with pytest.raises(UpstreamTransient) as caught:
        async with asyncio.timeout(10), world.door().lines(URL, idle_s=0.1) as lines:
            async for line in lines:
                got.append(line)
    assert got == [b"a"] and caught.value.code == "net.timeout"


async def test_an_answer_that_never_begins(world: Any) -> None:
    async def stall(head: bytes, reader: Any, writer: Any) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        await reader.read(1)

    world.server.handler = stall
    with pytest.raises(UpstreamTransient) as caught:
        async with asyncio.timeout(10), world.door(Net(timeout_s=0.1)).lines(URL):
            pass
    assert caught.value.code == "net.timeout"


async def test_a_giant_line_is_not_gathered(world: Any) -> None:
    async def handler(head: bytes, reader: Any, writer: Any) -> None:
        writer.write(CHUNKED + chunk(b"small\n"))
        for _ in range(10_000):
            writer.write(chunk(b"x" * 1_000))
            await writer.drain()

    world.server.handler = handler
    got = []
    with pytest.raises(ContentError) as caught:
        async with asyncio.timeout(10), world.door().lines(URL, max_line_bytes=5_000) as lines:
            async for line in lines:
                got.append(line)
    assert got == [b"small"] and caught.value.code == "net.too_large"


async def test_a_giant_event_is_not_gathered(world: Any) -> None:
    world.server.says(
        CHUNKED + chunk(b"data: small\n\n") + chunk(b"data: " + b"x" * 90 + b"\n") * 90
    )
    got = []
    with pytest.raises(ContentError) as caught:
        async with asyncio.timeout(10), world.door().events(URL, max_event_bytes=500) as events:
            async for event in events:
                got.append(event.data)
    assert got == ["small"] and caught.value.code == "net.too_large"


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404])
async def test_refusals_say_what_the_server_said(world: Any, status: int) -> None:
    world.server.says(b"HTTP/1.1 %d No\r\nx-why: because\r\ncontent-length: 4\r\n\r\nkey?" % status)
    with pytest.raises(UpstreamTerminal) as caught:
        async with world.door().lines(URL):
            pass
    fields = caught.value.fields
    assert (caught.value.code, fields["status"], fields["body"]) == ("net.status", status, "key?")
    assert fields["headers"]["x-why"] == "because"


@pytest.mark.parametrize("status", [429, 503])
async def test_busy_servers_say_when(world: Any, status: int) -> None:
    world.server.says(b"HTTP/1.1 %d x\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n" % status)
    with pytest.raises(UpstreamTransient) as caught:
        async with world.door().events(URL):
            pass
    assert (caught.value.code, caught.value.retry_after_s) == ("net.status", 7)


@pytest.mark.parametrize(
    ("extra", "code"),
    [
        (b"content-type: text/html\r\n", "net.media_type"),
        (b"content-encoding: gzip\r\n", "net.encoding"),
    ],
)
async def test_other_kinds_are_no_events(world: Any, extra: bytes, code: str) -> None:
    world.server.says(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n" + extra + b"\r\n")
    with pytest.raises(ContentError) as caught:
        async with world.door().events(URL):
            pass
    assert caught.value.code == code


async def test_redirects_are_checked_and_keys_stay(world: Any) -> None:
    async def handler(head: bytes, reader: Any, writer: Any) -> None:
        if head.startswith(b"GET /stream "):
            onward = b"http://other.example/b"
        elif b"GET /b " in head:
            writer.write(CHUNKED + chunk(b"there\n") + b"0\r\n\r\n")
            return
        else:
            onward = b"http://127.0.0.1/"
        writer.write(b"HTTP/1.1 307 x\r\ncontent-length: 0\r\nlocation: " + onward + b"\r\n\r\n")

    world.server.handler = handler
    door = world.door()
    async with door.lines(URL, headers={"authorization": "k"}) as lines:
        assert [line async for line in lines] == [b"there"]
    assert world.server.header("authorization", 0) == "k"
    assert world.server.header("authorization", 1) is None
    dialled = len(world.internet.dialled)
    with pytest.raises(UpstreamTerminal) as caught:
        async with door.lines("http://news.example/inside"):
            pass
    assert caught.value.code == "net.blocked"
    assert len(world.internet.dialled) == dialled + 1


async def test_redirect_loops_end(world: Any) -> None:
    world.server.says(b"HTTP/1.1 302 x\r\ncontent-length: 0\r\nlocation: /again\r\n\r\n")
    with pytest.raises(UpstreamTerminal) as caught:
        async with world.door(Net(per_host_delay_s=0)).lines(URL):
            pass
    assert caught.value.code == "net.redirects" and len(world.server.heads) == 6


async def test_an_open_stream_does_not_hold_its_host(world: Any) -> None:
    gone = asyncio.Event()

    async def handler(head: bytes, reader: Any, writer: Any) -> None:
        if b"GET /stream" in head:
            writer.write(CHUNKED + chunk(b"a\n"))
            await reader.read(1)
            gone.set()
        else:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    world.server.handler = handler
    door = world.door()
    async with asyncio.timeout(10):
        async with door.lines(URL) as lines:
            assert await anext(lines) == b"a"
            assert (await door.fetch("http://news.example/page")).status == 200
        await gone.wait()  # leaving hung up


async def test_the_users_own_errors_pass_unchanged(world: Any) -> None:
    world.server.says(CHUNKED, chunk(b"data: x\n\n"), b"0\r\n\r\n")
    for error in (TimeoutError("mine"), OSError("mine"), ValueError("mine")):
        with pytest.raises(type(error), match="mine"):
            async with world.door().events(URL):
                raise error
