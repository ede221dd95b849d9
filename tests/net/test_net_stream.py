"""Model endpoints: reached exactly as configured, streamed as they speak."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gnomon.errors import ConfigError, UpstreamTerminal, UpstreamTransient

ENDPOINT = "127.0.0.1:11434"
URL = f"http://{ENDPOINT}/v1/chat/completions"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


async def test_streams_as_it_comes(world: Any) -> None:
    gate = asyncio.Event()

    async def handler(head: bytes, reader: Any, writer: Any) -> None:
        assert await reader.readexactly(2) == b"{}"
        writer.write(HEAD + chunk(b"data: 1\n\n"))
        await gate.wait()
        writer.write(chunk(b"data: 2\n\n") + b"0\r\n\r\n")

    world.server.handler = handler
    door = world.door(endpoints=[ENDPOINT])
    headers = {"authorization": "Bearer k", "accept": "text/event-stream"}
    got = []
    async with asyncio.timeout(10), door.stream(URL, headers=headers, content=b"{}") as blocks:
        async for block in blocks:
            got.append(block)
            gate.set()
    assert b"".join(got) == b"data: 1\n\ndata: 2\n\n" and len(got) == 2
    assert world.server.header("authorization") == "Bearer k"
    assert world.server.header("accept-encoding") == "identity"


async def test_leaving_hangs_up(world: Any) -> None:
    gone = asyncio.Event()

    async def handler(head: bytes, reader: Any, writer: Any) -> None:
        writer.write(HEAD + chunk(b"data: 1\n\n"))
        await writer.drain()
        await reader.read(1)
        gone.set()

    world.server.handler = handler
    door = world.door(endpoints=[ENDPOINT])
    async with door.stream(URL) as blocks:
        async for _ in blocks:
            break
    async with asyncio.timeout(5):
        await gone.wait()


async def test_only_the_configured_endpoint(world: Any) -> None:
    world.server.says(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    door = world.door(endpoints=[ENDPOINT])
    assert (await door.fetch(URL, purpose="model")).status == 200
    for url in (
        "http://127.0.0.1:11435/v1",
        "http://localhost:11434/v1",
        "http://news.example/v1",
        "http://169.254.169.254/",
    ):
        with pytest.raises(UpstreamTerminal) as caught:
            await door.fetch(url, purpose="model")
        assert caught.value.code == "net.blocked"
        with pytest.raises(UpstreamTerminal):
            async with door.stream(url):
                pass
    assert world.internet.dialled == [("127.0.0.1", 11434)]
    with pytest.raises(ConfigError):
        world.door(endpoints=["169.254.169.254:80"])


async def test_a_kept_connection_is_not_lent_to_others(world: Any) -> None:
    """The endpoint's open connection must not let a crawl in."""
    world.server.says(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    door = world.door(endpoints=[ENDPOINT])
    await door.fetch(URL, purpose="model")
    for purpose in ("crawl", "feed", "user"):
        with pytest.raises(UpstreamTerminal):
            await door.fetch(URL, purpose=purpose)
    assert len(world.server.heads) == 1


async def test_refusals_carry_their_body(world: Any) -> None:
    world.server.says(b'HTTP/1.1 401 No\r\ncontent-length: 11\r\n\r\n{"error":1}')
    with pytest.raises(UpstreamTerminal) as caught:
        async with world.door(endpoints=[ENDPOINT]).stream(URL):
            pass
    assert caught.value.fields["status"] == 401
    assert caught.value.fields["body"] == '{"error":1}'


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_overload_is_transient(world: Any, status: int) -> None:
    world.server.says(
        f"HTTP/1.1 {status} x\r\nretry-after: 3\r\ncontent-length: 0\r\n\r\n".encode()
    )
    with pytest.raises(UpstreamTransient) as caught:
        async with world.door(endpoints=[ENDPOINT]).stream(URL):
            pass
    assert caught.value.retry_after_s == 3


async def test_redirects_are_not_followed(world: Any) -> None:
    world.server.says(
        b"HTTP/1.1 307 x\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"
    )
    with pytest.raises(UpstreamTerminal) as caught:
        async with world.door(endpoints=[ENDPOINT]).stream(URL, content=b"secret"):
            pass
    assert caught.value.code == "net.status"


async def test_a_stream_that_breaks_or_stalls_is_transient(world: Any) -> None:
    world.server.says(HEAD + b"ff\r\nabc", close=True)
    door = world.door(endpoints=[ENDPOINT])
    with pytest.raises(UpstreamTransient) as caught:
        async with door.stream(URL) as blocks:
            _ = [block async for block in blocks]
    assert caught.value.code == "net.protocol"

    async def stall(head: bytes, reader: Any, writer: Any) -> None:
        writer.write(HEAD)
        await reader.read(1)

    world.server.handler = stall
    for limits in ({"idle_s": 0.1}, {"timeout_s": 0.1}):
        with pytest.raises(UpstreamTransient) as caught:
            async with door.stream(URL, **limits) as blocks:
                _ = [block async for block in blocks]
        assert caught.value.code == "net.timeout"


async def test_the_consumers_own_errors_pass_unchanged(world: Any) -> None:
    world.server.says(HEAD + chunk(b"x") + b"0\r\n\r\n")
    for error in (TimeoutError("mine"), OSError("mine"), ValueError("mine")):
        with pytest.raises(type(error), match="mine"):
            async with world.door(endpoints=[ENDPOINT]).stream(URL):
                raise error
