"""A Jetstream server in its own process, the connector, the record, and the index.

    python bench/jetstream_bench.py --posts 60000 [--rate 6000] [--vectors FOLDER] [--profile]

The server sends compressed version 2 frames over loopback. A post has arrived when the server
dates it, and is searchable when the commit that holds it returns. Without `--rate` the server
sends as fast as it is read. `--stages` measures the steps of one post alone, on one core.
"""

# ruff: noqa: ASYNC110 - it measures what others do, and may not hook into them
from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import os
import pstats
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from gnomon.app import TURN_S
from gnomon.clock import SystemClock, to_us
from gnomon.index.live import LiveIndex
from gnomon.ingest.runner import Runner
from gnomon.models.static import StaticVectors
from gnomon.net.door import Door
from gnomon.record.base import Entry
from gnomon.record.store import SqliteRecord
from gnomon.settings import Net, Settings
from gnomon.sources.bluesky import SOURCE
from gnomon.sources.bluesky_posts import document_of, read_post
from gnomon.sources.bluesky_wire import Decompressor, decode_v2
from gnomon.sources.registry import Registry
from gnomon.testing.atproto_data import blob_cid, did_plc, tid
from gnomon.testing.jetstream_frames import NSID, POST, Event, dictionary, iso, message
from gnomon.testing.jetstream_server import JetstreamServer
from gnomon.types import SourceConfig
from harness import peak_memory_mib, percentiles, save
from posts import RandomWords, posts

TICK_S = 0.02
PLACE = "2026-01-01T00:00:00.000000Z"
"""Where a frame that was made beforehand gets the time of its sending."""
AUTHORS = 5_000


def frames(count: int) -> list[tuple[str, bytes]]:
    """(DID, frame) of each post; the frames carry `PLACE` for every time."""
    made = []
    for n, post in enumerate(posts(count), start=1):
        did, rkey = did_plc(str(n % AUTHORS)), tid(1_780_000_000_000_000 + n)
        record = {"$type": POST, "text": post["text"], "langs": [post["lang"]], "createdAt": PLACE}
        head = {"$type": f"{NSID}#commit", "seq": n, "did": did, "time": PLACE}
        commit = {"rev": rkey, "operation": "create", "collection": POST, "rkey": rkey}
        cid = blob_cid(rkey.encode())
        made.append(
            (did, message({**head, "witnessedAt": PLACE, **commit, "record": record, "cid": cid}))
        )
    return made


async def serve(count: int, rate: float | None) -> None:
    """The server's process: say where, wait for a client, send, and wait for the end."""
    made = frames(count)
    loop = asyncio.get_running_loop()
    place = PLACE.encode()
    async with JetstreamServer(SystemClock()) as server:
        number = 1_000
        pack = dictionary(number)[1].compress
        print(server.url, flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        began, done = loop.time(), 0
        while done < count:
            due = count if rate is None else min(int((loop.time() - began) * rate), count)
            # So much ahead of the reader, and no more: a real server would cut it off.
            due = min(due, done + 500)
            now = datetime.now(UTC)
            moment, us = iso(now, "microseconds").encode(), to_us(now)
            events = []
            for n, (did, frame) in enumerate(made[done:due], start=done + 1):
                packed = {number: pack(frame.replace(place, moment))}
                events.append(Event(n, us, "commit", did, POST, {}, None, packed=packed))
            if events:
                server.publish(events)
            done = max(due, done)
            if rate is None:
                while server.sent < done - 500:
                    await asyncio.sleep(0.001)
            await asyncio.sleep(0 if rate is None else TICK_S)
        print(f"{time.process_time():.3f}", flush=True)
        await asyncio.to_thread(sys.stdin.readline)


class TimedIndex(LiveIndex):
    """Notes when a post became searchable after the server dated it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.lags_s: list[float] = []
        self.first_s = self.last_s = 0.0
        self._waiting: list[datetime] = []

    def apply(self, entries: Sequence[Entry]) -> None:
        super().apply(entries)
        self._waiting += [
            e.document.published_at for e in entries if e.document and e.document.published_at
        ]

    def commit(self) -> None:
        super().commit()
        now = datetime.now(UTC)
        self.lags_s += [(now - at).total_seconds() for at in self._waiting]
        if self._waiting:
            self.last_s = time.perf_counter()
            self.first_s = self.first_s or self.last_s
        self._waiting.clear()


async def follow(home: Path, url: str, count: int, vectors: Any, start: Any) -> dict[str, Any]:
    clock = SystemClock()
    settings = Settings(home=home)
    record, index = SqliteRecord(home / "record.db"), TimedIndex(home / "index")
    index.set_vectors(vectors)
    door = Door(Net(allow=(url.partition("//")[2],), per_host_delay_s=0.0), clock)
    runner = Runner(record, index, door, clock, random.Random(1), settings, Registry([SOURCE]))
    await runner.start()
    config = SourceConfig(name="bluesky", type="bluesky", settings={"endpoints": [url]})
    await runner.add(config)
    await asyncio.sleep(1.0)
    began, began_cpu = time.perf_counter(), time.process_time()
    start()
    while len(index.lags_s) < count and time.perf_counter() - began < 240:
        await asyncio.sleep(0.05)
    wall, cpu = index.last_s - began, time.process_time() - began_cpu
    threads = {name: round(s / count * 1e6, 1) for name, s in thread_cpu_s().items()}
    await runner.stop()
    stored = record.stats().documents
    index.close()
    record.close()
    await door.aclose()
    assert stored == len(index.lags_s) == count, (stored, len(index.lags_s), count)
    lag_ms = [s * 1_000 for s in index.lags_s]
    steady = lag_ms[len(lag_ms) // 10 :]
    return {
        "posts": count,
        "wall_s": round(wall, 2),
        "posts_per_s": round(count / wall),
        "cpu_cores": round(cpu / wall, 3),
        "cpu_us_per_post": round(cpu / count * 1e6, 1),
        "thread_us_per_post": threads,
        "sent_to_searchable_ms": percentiles(steady, 0),
        "peak_memory_mib": peak_memory_mib(),
    }


def thread_cpu_s() -> dict[str, float]:
    """CPU seconds by kind of thread, as the kernel counts them (Linux)."""
    spent: dict[str, float] = {}
    for thread in threading.enumerate():
        stat = Path(f"/proc/self/task/{thread.native_id}/stat")
        if stat.exists():
            fields = stat.read_text().rpartition(")")[2].split()
            name = thread.name.rpartition("_")[0] or thread.name
            ticks = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            spent[name] = spent.get(name, 0.0) + ticks
    return spent


def stages(count: int) -> dict[str, float]:
    """What decoding alone costs, in µs a post."""
    made = [
        frame.replace(PLACE.encode(), b"2026-11-01T00:00:00.000000Z") for _, frame in frames(count)
    ]
    body, compressor = dictionary(1_000)
    packed = [compressor.compress(frame) for frame in made]
    now, tolerance = datetime.now(UTC), timedelta(minutes=5)
    costs, began = {}, time.perf_counter()

    def lap(name: str) -> None:
        nonlocal began
        costs[name] = round((time.perf_counter() - began) / count * 1e6, 2)
        began = time.perf_counter()

    unpack = Decompressor(body)
    gc.collect()
    gc.disable()  # all posts are kept here, as they are not in the product
    began = time.perf_counter()
    plain = [unpack(data) for data in packed]
    lap("decompress_us")
    events = [decode_v2(data) for data in plain]
    lap("decode_frame_us")
    read = [read_post(event.record) for event in events]
    lap("decode_record_us")
    for event, post in zip(events, read, strict=True):
        document_of(event, post, "bluesky", now=now, tolerance=tolerance)
    lap("document_us")
    gc.enable()
    costs["frame_bytes"] = round(sum(map(len, made)) / count, 1)
    costs["packed_bytes"] = round(sum(map(len, packed)) / count, 1)
    return costs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--posts", type=int, default=60_000)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--vectors", type=Path, help="folder of a static table; else random")
    parser.add_argument("--profile", action="store_true", help="show what limits; slower")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--name", default="")
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.posts, options.rate))
        return
    command = [sys.executable, __file__, "--serve", "--posts", str(options.posts)]
    command += ["--rate", str(options.rate)] if options.rate else []
    sys.setswitchinterval(TURN_S)
    vectors = StaticVectors(options.vectors) if options.vectors else RandomWords()
    with (
        tempfile.TemporaryDirectory() as name,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as child,
    ):
        assert child.stdin and child.stdout
        url = child.stdout.readline().strip()

        def start() -> None:
            child.stdin.write("go\n")
            child.stdin.flush()

        profile = cProfile.Profile() if options.profile else None
        if profile:
            profile.enable()
        load = round(os.getloadavg()[0], 1)
        ours = asyncio.run(follow(Path(name), url, options.posts, vectors, start))
        if profile:
            profile.disable()
            pstats.Stats(profile).sort_stats("tottime").print_stats(25)
        server_cpu_s = float(child.stdout.readline())
        child.stdin.close()
    figures = {
        "asked_rate": options.rate or "max",
        "word_vectors": vectors.name,
        "gnomon": ours,
        "server_cpu_cores": round(server_cpu_s / ours["wall_s"], 3),
        "stages": stages(5_000),
        "load_average_before": load,
        "load_average_after": round(os.getloadavg()[0], 1),
    }
    if not options.profile:
        rate = f"{options.rate:g}" if options.rate else "max"
        save(options.name or f"jetstream-{rate}", figures)


if __name__ == "__main__":
    main()
