"""A small internet on loopback: names, public addresses, servers that misbehave byte by byte."""
# ruff: noqa: ASYNC109 - the protocol of httpcore2

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpcore2
import pytest

from gnomon.clock import Clock, SystemClock
from gnomon.net.door import Door
from gnomon.settings import Net

PUBLIC = "93.184.216.34"
Handler = Callable[[bytes, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class RawServer:
    """Hands each request head to a handler, which may write any bytes it likes."""

    def __init__(self) -> None:
        self.handler: Handler | None = None
        self.heads: list[bytes] = []
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def says(self, *parts: bytes, close: bool = False) -> None:
        """Answer every request with these bytes."""

        async def handler(
            head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            for part in parts:
                writer.write(part)
                await writer.drain()
            if close:
                writer.close()

        self.handler = handler

    @property
    def paths(self) -> list[str]:
        return [head.split(b" ")[1].decode() for head in self.heads]

    def header(self, name: str, which: int = -1) -> str | None:
        for line in self.heads[which].decode("latin-1").split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.lower() == name:
                return value.strip()
        return None

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while True:
                    head = await reader.readuntil(b"\r\n\r\n")
                    self.heads.append(head)
                    assert self.handler is not None
                    await self.handler(head, reader, writer)
                    if writer.is_closing():
                        break
        finally:
            self._tasks.discard(task)
            writer.close()

    async def stop(self, server: asyncio.Server) -> None:
        server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await server.wait_closed()


class _NoTls(httpcore2.AsyncNetworkStream):
    """A connection on which TLS is only noted, so that https can be tried without certificates."""

    def __init__(self, inner: httpcore2.AsyncNetworkStream, names: list[str | None]) -> None:
        self._inner = inner
        self._names = names

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await self._inner.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.AsyncNetworkStream:
        self._names.append(server_hostname)
        return self

    def get_extra_info(self, info: str) -> Any:
        return None if info == "ssl_object" else self._inner.get_extra_info(info)


class Internet(httpcore2.AsyncNetworkBackend):
    """Dials public addresses at the loopback server, and keeps what was dialled."""

    def __init__(self, port: int) -> None:
        self.dialled: list[tuple[str, int]] = []
        self.tls_names: list[str | None] = []
        self.dead: set[str] = set()
        self._port = port
        self._real = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore2.AsyncNetworkStream:
        self.dialled.append((host, port))
        if host in self.dead:
            raise httpcore2.ConnectError("nobody there")
        stream = await self._real.connect_tcp("127.0.0.1", self._port, timeout)
        return _NoTls(stream, self.tls_names)


class Names:
    """A resolver: what is not listed resolves to where it would hurt most."""

    def __init__(self, table: Mapping[str, Sequence[str] | list[Sequence[str]]]) -> None:
        self.table = dict(table)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        found = self.table.get(host, ["127.0.0.1"])
        if found and isinstance(found[0], list):  # one answer after another
            answers: Any = found
            return answers.pop(0) if len(answers) > 1 else answers[0]
        if not found:
            raise OSError("no such name")
        return found  # type: ignore[return-value]


class World:
    """Server, internet and names, and doors into them."""

    def __init__(self, server: RawServer) -> None:
        self.server = server
        self.internet = Internet(server.port)
        self.names = Names({"news.example": [PUBLIC], "other.example": ["93.184.216.35"]})
        self.doors: list[Door] = []

    def door(
        self,
        settings: Net | None = None,
        clock: Clock | None = None,
        *,
        endpoints: Sequence[str] = (),
    ) -> Door:
        door = Door(
            settings or Net(per_host_delay_s=0, robots=False),
            clock or SystemClock(),
            endpoints=endpoints,
            resolver=self.names,
            network=self.internet,
        )
        self.doors.append(door)
        return door


@pytest.fixture
async def world() -> AsyncIterator[World]:
    raw = RawServer()
    server = await asyncio.start_server(raw.talk, "127.0.0.1", 0)
    raw.port = server.sockets[0].getsockname()[1]
    made = World(raw)
    try:
        yield made
    finally:
        for door in made.doors:
            await door.aclose()
        await raw.stop(server)


@pytest.fixture(scope="session")
def ssrf_lines() -> Mapping[str, list[str]]:
    root = Path(os.environ.get("GNOMON_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
    folder = root / "security" / "ssrf"
    if not folder.is_dir():
        pytest.skip("needs the collection of forbidden addresses in GNOMON_TEST_DATA/security/ssrf")
    return {
        path.stem: [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
        for path in sorted(folder.glob("*.txt"))
    }
