"""WebSockets through the door: real servers, and ones that write any bytes they like."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from gnomon.clock import SystemClock
from gnomon.errors import UpstreamError, UpstreamTerminal, UpstreamTransient
from gnomon.net import socket as net_socket
from gnomon.net.door import Door
from gnomon.settings import Net

URL = "ws://news.example/stream"
_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@asynccontextmanager
async def server(
    talk: Callable[[ServerConnection], Awaitable[None]], **options: Any
) -> AsyncIterator[tuple[Door, str]]:
    """An independent server on loopback, and a door that may reach it."""
    async with serve(talk, "127.0.0.1", 0, **options) as running:
        port = running.sockets[0].getsockname()[1]
        door = Door(Net(allow=(f"127.0.0.1:{port}",)), SystemClock())
        try:
            yield door, f"ws://127.0.0.1:{port}/a?b=c"
        finally:
            await door.aclose()


def upgrade(head: bytes, *extra: bytes) -> bytes:
    line = next(x for x in head.split(b"\r\n") if x.lower().startswith(b"sec-websocket-key"))
    key = line.partition(b":")[2].strip()
    accept = base64.b64encode(hashlib.sha1(key + _MAGIC, usedforsecurity=False).digest())
    lines = [
        *(b"HTTP/1.1 101 Switching Protocols", b"upgrade: websocket", b"connection: Upgrade"),
        *(b"sec-websocket-accept: " + accept, *extra, b"", b""),
    ]
    return b"\r\n".join(lines)


def frame(data: bytes, opcode: int = 1, fin: bool = True) -> bytes:
    head = bytes([opcode | (0x80 if fin else 0)])
    if len(data) < 126:
        return head + bytes([len(data)]) + data
    return head + b"\x7e" + len(data).to_bytes(2, "big") + data


def answers(world: Any, *parts: bytes, close: bool = False) -> None:
    """The raw server agrees to a WebSocket, writes these bytes, and hangs up or waits."""

    async def handler(head: bytes, reader: Any, writer: Any) -> None:
        writer.write(upgrade(head) + (parts[0] if parts else b""))
        await writer.drain()
        for part in parts[1:]:
            await asyncio.sleep(0)
            writer.write(part)
            await writer.drain()
        if not close:
            await reader.read(1 << 20)
            await reader.read(1 << 20)
        writer.close()

    world.server.handler = handler


async def end_of(socket: Any) -> tuple[list[str | bytes], UpstreamError]:
    got: list[str | bytes] = []
    with pytest.raises(UpstreamError) as caught:
        async for message in socket:
            got.append(message)
    return got, caught.value


async def test_talks_both_ways(world: Any) -> None:
    seen: dict[str, Any] = {}

    async def talk(peer: ServerConnection) -> None:
        assert peer.request is not None
        seen["path"], seen["headers"] = peer.request.path, peer.request.headers
        async for message in peer:
            await peer.send(message)
            if message == b"bye":
                await peer.close(4001, "enough")

    async with server(talk, subprotocols=["v2", "v1"]) as (door, url):
        headers = {"Authorization": "Bearer k", "Host": "evil", "Sec-WebSocket-Version": "7"}
        opened = door.socket(url, headers=headers, subprotocols=("v1", "v0"))
        async with asyncio.timeout(10), opened as socket:
            assert socket.subprotocol == "v1"
            for message in ("grüß", "", b"\x00\xff", "x" * 100_000, b"bye"):
                await socket.send(message)
            got, error = await end_of(socket)
            assert got == ["grüß", "", b"\x00\xff", "x" * 100_000, b"bye"]
            assert error.code == "net.closed" and isinstance(error, UpstreamTransient)
            assert (error.fields["status"], error.fields["reason"]) == (4001, "enough")
            with pytest.raises(UpstreamTransient) as caught:
                await socket.send("anyone?")
            assert caught.value.code == "net.closed"
            with pytest.raises(UpstreamTransient):
                await anext(aiter(socket))
    assert seen["path"] == "/a?b=c"
    assert seen["headers"]["authorization"] == "Bearer k"
    assert seen["headers"]["host"] == url[5:].partition("/")[0]
    assert seen["headers"]["user-agent"].startswith("GnomonBot/")
    assert seen["headers"].get("sec-websocket-extensions") is None


async def test_leaving_says_goodbye() -> None:
    codes: asyncio.Queue[int | None] = asyncio.Queue()

    async def talk(peer: ServerConnection) -> None:
        await peer.send("hello")
        await peer.wait_closed()
        codes.put_nowait(peer.close_code)

    async with server(talk) as (door, url):
        async with asyncio.timeout(10):
            async with door.socket(url) as socket:
                assert await anext(aiter(socket)) == "hello"
            assert await codes.get() == 1000


async def test_many_fragments_and_pings_between_them(world: Any) -> None:
    wire = (
        frame(b"\xc3", 1, fin=False)
        + frame(b"are you there", 9)
        + frame(b"\xbc", 0, fin=False)
        + frame(b"", 0, fin=False) * 1_000
        + frame(b"ber", 0)
        + frame(b"\x01", 2)
        + frame(b"\x03\xe9", 8)
    )
    answers(world, *(wire[i : i + 7] for i in range(0, len(wire), 7)))
    async with asyncio.timeout(10), world.door().socket(URL) as socket:
        got, error = await end_of(socket)
    assert got == ["über", b"\x01"]
    assert error.fields["status"] == 1001


async def test_pings_are_answered() -> None:
    async def talk(peer: ServerConnection) -> None:
        answer = await peer.ping(b"p")
        await answer
        await peer.send("answered")
        await peer.wait_closed()

    async with (
        asyncio.timeout(10),
        server(talk, ping_interval=None) as (door, url),
        door.socket(url) as socket,
    ):
        assert await anext(aiter(socket)) == "answered"


async def test_a_quiet_server_that_answers_pings_is_heard(monkeypatch: Any) -> None:
    monkeypatch.setattr(net_socket, "PING_S", 0.25)
    release = asyncio.Event()

    async def talk(peer: ServerConnection) -> None:
        await release.wait()
        await peer.send("at last")
        await peer.wait_closed()

    async with (
        asyncio.timeout(10),
        server(talk, ping_interval=None) as (door, url),
        door.socket(url, idle_s=5) as socket,
    ):
        asyncio.get_running_loop().call_later(0.9, release.set)
        assert await anext(aiter(socket)) == "at last"


async def test_answers_to_pings_are_not_messages(monkeypatch: Any) -> None:
    monkeypatch.setattr(net_socket, "PING_S", 0.25)

    async def talk(peer: ServerConnection) -> None:
        await peer.wait_closed()

    async with (
        asyncio.timeout(10),
        server(talk, ping_interval=0.05) as (door, url),
        door.socket(url, idle_s=0.6) as socket,
    ):
        _, error = await end_of(socket)
    assert error.code == "net.timeout" and "no message" in error.message


async def test_nobody_there_is_found_out(world: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(net_socket, "PING_S", 0.05)
    answers(world, frame(b"one"))
    async with asyncio.timeout(10), world.door().socket(URL, idle_s=60) as socket:
        got, error = await end_of(socket)
    assert got == ["one"] and error.code == "net.timeout" and "ping" in error.message


@pytest.mark.parametrize(
    ("wire", "status"),
    [
        (b"\x81\x7e", 1006),
        (frame(b"abcdef")[:-3], 1006),
        (b"", 1006),
        (frame(b"\xff\xfe"), 1007),
        (frame(b"x" * 1_001), 1009),
        (frame(b"x" * 600, fin=False) + frame(b"x" * 600, 0), 1009),
        (b"\x81\xff" + b"\xff" * 8, 1002),
        (b"\xf1\x01a", 1002),
        (frame(b"x", 0), 1002),
        (frame(b"", 8), 1005),
        (frame(b"\x0f\xa0so", 8), 4000),
        (frame(b"\x00\x01", 8), 1002),
    ],
    ids=[
        *("cut head", "cut frame", "nothing", "not UTF-8", "long", "long in parts", "masked"),
        *("reserved bits", "part of nothing", "no code", "code", "bad code"),
    ],
)
async def test_every_end_is_told(world: Any, wire: bytes, status: int) -> None:
    answers(world, frame(b"first") + wire, close=True)
    opened = world.door().socket(URL, max_message_bytes=1_000)
    async with asyncio.timeout(10), opened as socket:
        got, error = await end_of(socket)
    assert got == ["first"]
    assert (error.code, error.fields["status"]) == ("net.closed", status)


@pytest.mark.parametrize(
    ("wire", "kind", "code", "retry_after_s"),
    [
        (b"401 No\r\ncontent-length: 4\r\n\r\nkey?", UpstreamTerminal, "net.status", None),
        (b"403 No\r\ncontent-length: 4\r\n\r\nkey?", UpstreamTerminal, "net.status", None),
        (
            b"429 No\r\nretry-after: 9\r\ncontent-length: 0\r\n\r\n",
            UpstreamTransient,
            "net.status",
            9,
        ),
        (b"503 No\r\ncontent-length: 0\r\n\r\n", UpstreamTransient, "net.status", None),
        (
            b"302 No\r\nlocation: ws://127.0.0.1/\r\ncontent-length: 4\r\n\r\nkey?",
            UpstreamTerminal,
            "net.status",
            None,
        ),
        (b"200 OK\r\ncontent-length: 4\r\n\r\nkey?", UpstreamTerminal, "net.status", None),
        (
            b"101 OK\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
            UpstreamTransient,
            "net.protocol",
            None,
        ),
        (b"101 OK\r\n\r\n", UpstreamTransient, "net.protocol", None),
        (b"", UpstreamTransient, "net.protocol", None),
        (b"200 OK\r\n" + b"a: b\r\n" * 1_000, UpstreamTransient, "net.protocol", None),
    ],
)  # fmt: skip
async def test_refused_handshakes(
    world: Any, wire: bytes, kind: type, code: str, retry_after_s: float | None
) -> None:
    world.server.says(b"HTTP/1.1 " + wire if wire else b"", close=True)
    with pytest.raises(kind) as caught:
        async with asyncio.timeout(10), world.door().socket(URL):
            pass
    assert caught.value.code == code
    if kind is UpstreamTransient:
        assert caught.value.retry_after_s == retry_after_s
    else:
        assert caught.value.fields["body"] == "key?"
        assert caught.value.fields["headers"]["content-length"] == "4"
    assert len(world.server.heads) == 1


@pytest.mark.parametrize(
    "extra", [b"sec-websocket-extensions: permessage-deflate", b"sec-websocket-protocol: v9"]
)
async def test_what_was_not_offered_is_refused(world: Any, extra: bytes) -> None:
    async def handler(head: bytes, reader: Any, writer: Any) -> None:
        writer.write(upgrade(head, extra))
        await reader.read(1)

    world.server.handler = handler
    with pytest.raises(UpstreamTransient) as caught:
        async with world.door().socket(URL):
            pass
    assert caught.value.code == "net.protocol"


async def test_a_stalled_handshake_meets_the_deadline(world: Any) -> None:
    async def handler(head: bytes, reader: Any, writer: Any) -> None:
        writer.write(b"HTTP/1.1 101")
        await reader.read(1)

    world.server.handler = handler
    with pytest.raises(UpstreamTransient) as caught:
        async with world.door(Net(timeout_s=0.1)).socket(URL):
            pass
    assert caught.value.code == "net.timeout"


async def test_tls_names_the_host(world: Any) -> None:
    answers(world, frame(b"one"))
    async with world.door().socket("wss://News.example./x") as socket:
        assert await anext(aiter(socket)) == "one"
    assert world.internet.dialled == [("93.184.216.34", 443)]
    assert world.internet.tls_names == ["news.example"]


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("ws://127.0.0.1/", "net.blocked"),
        ("wss://169.254.169.254/", "net.blocked"),
        ("ws://inside.example/", "net.blocked"),
        ("ws://[::ffff:127.0.0.1]/", "net.blocked"),
        ("ws://news.example:6379/", "net.blocked"),
        ("ws://0x7f.1/", "net.url"),
        ("ws://user:pass@news.example/", "net.url"),
        ("http://news.example/", "net.scheme"),
        ("news.example", "net.scheme"),
    ],
)
async def test_refused_addresses(world: Any, url: str, code: str) -> None:
    with pytest.raises(UpstreamTerminal) as caught:
        async with world.door().socket(url):
            pass
    assert caught.value.code == code
    assert world.internet.dialled == []


async def test_a_slow_reader_makes_the_server_wait() -> None:
    sent = 0

    async def talk(peer: ServerConnection) -> None:
        nonlocal sent
        for sent in range(1, 5_001):  # noqa: B007 - counted from outside
            await peer.send(b"x" * 10_000)
        await peer.close()

    async with (
        asyncio.timeout(30),
        server(talk) as (door, url),
        door.socket(url, idle_s=20) as socket,
    ):
        reader = aiter(socket)
        await anext(reader)
        before = -1
        while before != sent:  # until the server stands still
            before = sent
            await asyncio.sleep(0.05)
        assert sent < 4_000
        assert isinstance(socket, net_socket.WebSocket)
        assert len(socket._messages) < 40
        got, error = await end_of(reader)
    assert len(got) == 4_999 and error.fields["status"] == 1000


async def test_the_users_own_errors_pass_unchanged(world: Any) -> None:
    answers(world)
    for error in (TimeoutError("mine"), OSError("mine"), ValueError("mine")):
        with pytest.raises(type(error), match="mine"):
            async with world.door().socket(URL):
                raise error
