"""Conditional GET of 1,000 feeds through the door, beside bare httpx2, in one run.

    python bench/door_bench.py

A server in its own process answers 304 to the ETag that it gave. Both clients ask 100 at a time,
by turns. The server's address is on the allow list, so no pauses are counted. Writes
`results/door.json`.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx2

sys.path.insert(0, str(Path(__file__).parent))
import harness
from gnomon.clock import SystemClock
from gnomon.net.door import Door
from gnomon.settings import Net

FEEDS = 1_000
AT_ONCE = 100
ROUNDS = 5
ETAG = '"v1"'
ANSWER = f"HTTP/1.1 304 Not Modified\r\netag: {ETAG}\r\n\r\n".encode()


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(ANSWER)
            await writer.drain()
    except (asyncio.IncompleteReadError, OSError):
        writer.close()


def server(ports: multiprocessing.Queue[int]) -> None:
    """Answer until ended."""

    async def run() -> None:
        listening = await asyncio.start_server(_serve, "127.0.0.1", 0)
        ports.put(listening.sockets[0].getsockname()[1])
        await listening.serve_forever()

    asyncio.run(run())


async def measure(ask: Callable[[str], Awaitable[int]], base: str) -> tuple[float, list[float]]:
    """Seconds for all feeds, and the milliseconds of each."""
    gate = asyncio.Semaphore(AT_ONCE)
    took: list[float] = []

    async def one(n: int) -> None:
        async with gate:
            began = time.perf_counter()
            status = await ask(f"{base}/feed/{n}")
            took.append(1_000 * (time.perf_counter() - began))
            if status != 304:
                raise RuntimeError(f"the server answered {status}")

    began = time.perf_counter()
    await asyncio.gather(*(one(n) for n in range(FEEDS)))
    return time.perf_counter() - began, took


async def run(port: int) -> dict[str, object]:
    """Both clients by turns."""
    base = f"http://127.0.0.1:{port}"
    door = Door(Net(allow=(f"127.0.0.1:{port}",)), SystemClock())
    bare = httpx2.AsyncClient(limits=httpx2.Limits(max_connections=AT_ONCE), trust_env=False)
    headers = {"if-none-match": ETAG}

    async def guarded(url: str) -> int:
        return (await door.fetch(url, purpose="feed", headers=headers)).status

    async def plain(url: str) -> int:
        return (await bare.get(url, headers=headers)).status_code

    clients = {"door": guarded, "httpx2": plain}
    rounds: dict[str, list[tuple[float, list[float]]]] = {name: [] for name in clients}
    for n in range(ROUNDS + 1):
        for name, ask in clients.items():
            result = await measure(ask, base)
            if n:  # the first round warms up
                rounds[name].append(result)
    await door.aclose()
    await bare.aclose()
    return {
        name: {
            "feeds_per_s": round(FEEDS / sorted(s for s, _ in done)[len(done) // 2]),
            "latency_ms": harness.percentiles([ms for _, took in done for ms in took]),
        }
        for name, done in rounds.items()
    }


def main() -> None:
    """Start the server, measure, save."""
    ports: multiprocessing.Queue[int] = multiprocessing.Queue()
    process = multiprocessing.Process(target=server, args=(ports,), daemon=True)
    process.start()
    try:
        figures = asyncio.run(run(ports.get(timeout=20)))
    finally:
        process.terminate()
        process.join()
    shape = {"feeds": FEEDS, "at_once": AT_ONCE, "rounds": ROUNDS}
    harness.save("door", {**shape, **figures, "peak_memory_mib": harness.peak_memory_mib()})


if __name__ == "__main__":
    main()
