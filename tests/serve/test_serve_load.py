"""More callers than can be served, callers that vanish or say nonsense, and an orderly end."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2
import pytest
import uvicorn

from gnomon.serve import guard
from gnomon.serve.app import create_app

STREAM = {"input": "Is the bridge open?", "stream": True}


async def test_too_many_requests_are_told_when_to_come_again(
    house: Any, served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "MAX_OPEN_REQUESTS", 3)
    house.answerer.hold = asyncio.Event()
    async with served(house) as url, httpx2.AsyncClient(base_url=url, timeout=10) as http:
        waiting = [
            asyncio.create_task(http.post("/v1/responses", json=STREAM, timeout=10))
            for _ in range(3)
        ]
        async with asyncio.timeout(5):
            while len(house.answerer.asked) < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        openai = await http.post("/v1/responses", json=STREAM)
        own = await http.get("/v1/status")
        health = await http.get("/health")
        house.answerer.hold.set()
        done = await asyncio.gather(*waiting)
        after = await http.get("/v1/status")
    assert (openai.status_code, own.status_code, health.status_code) == (429, 429, 200)
    assert openai.headers["retry-after"] == own.headers["retry-after"] == "5"
    assert openai.json()["error"]["code"] == own.json()["code"] == "server.busy"
    assert all("response.completed" in answer.text for answer in done)
    assert after.status_code == 200


async def test_a_stop_waits_for_streams_to_end(house: Any) -> None:
    house.answerer.hold = asyncio.Event()
    config = uvicorn.Config(
        create_app(house.services),
        port=0,
        log_level="warning",
        lifespan="off",
        timeout_graceful_shutdown=10,
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    async with asyncio.timeout(20):
        while not server.started:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        async with httpx2.AsyncClient(base_url=url, timeout=10) as http:
            asked = asyncio.create_task(http.post("/v1/responses", json=STREAM))
            await house.answerer.waiting.wait()
            server.should_exit = True
            while any(one.is_serving() for one in server.servers):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            with pytest.raises(httpx2.ConnectError):
                async with httpx2.AsyncClient(base_url=url) as late:
                    await late.get("/health")
            assert not asked.done()
            house.answerer.hold.set()
            answer = await asked
        await task
    assert "response.completed" in answer.text


async def spoken(url: str, raw: bytes, *, close: bool = False) -> bytes:
    """Everything that the server says to these bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    try:
        writer.write(raw)
        if close:
            writer.write_eof()
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()


def request(body: bytes, *headers: bytes, length: int | None = None) -> bytes:
    lines = [
        b"POST /v1/responses HTTP/1.1",
        b"Host: 127.0.0.1",
        b"Connection: close",
        b"Content-Type: application/json",
        b"Content-Length: %d" % (len(body) if length is None else length),
        *headers,
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    "raw",
    [
        request(b'{"input": "\xff\xfe"}'),
        request(b'{"input": "x", "model": "gpt-9\\r\\nSet-Cookie: a=b"}'),
        request(b"{}", b"X-Request-Id: a\x0bSet-Cookie: a=b"),
        request(b'{"input": "x"', length=13),
        request(b"[" * 100_000 + b"]" * 100_000),
        b"GET /v1/documents/%0d%0aSet-Cookie:a=b HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        b"Connection: close\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
)
async def test_nonsense_gets_a_clear_refusal(house: Any, served: Any, raw: bytes) -> None:
    async with served(house) as url:
        said = await spoken(url, raw)
        async with httpx2.AsyncClient(base_url=url) as http:
            assert (await http.get("/health")).status_code == 200
    head, _, body = said.partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 400", b"HTTP/1.1 404", b"HTTP/1.1 431")), head
    assert b"\r\nset-cookie:" not in head.lower()
    assert b"Traceback" not in body and not house.answerer.asked


async def test_endless_headers_are_cut_off(house: Any, served: Any) -> None:
    async with served(house) as url:
        _, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: ")
        sent = 0
        with pytest.raises(ConnectionError):
            while sent < 100_000_000:
                writer.write(b"x" * 100_000)
                async with asyncio.timeout(10):
                    await writer.drain()
                sent += 100_000
        writer.close()
    assert sent < 20_000_000


async def test_a_half_closed_socket_ends_its_request(house: Any, served: Any) -> None:
    house.answerer.hold = asyncio.Event()
    body = json.dumps(STREAM).encode()
    async with served(house) as url:
        assert b"response.completed" not in await spoken(url, request(body), close=True)
        cut = await spoken(url, request(body[:5], length=len(body)), close=True)
        async with httpx2.AsyncClient(base_url=url) as http:
            assert (await http.get("/health")).status_code == 200
    assert b" 200 " not in cut.partition(b"\r\n")[0]
    assert house.threads.list() == []
