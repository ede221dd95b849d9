"""A real server, a real hub, a real feed: what the hub tells of is searchable at once."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from gnomon.testing.feed_server import FeedServer, Item, Reply, conditional
from gnomon.testing.websub_hub import WebSubHub

GNOMON = Path(sys.executable).with_name("gnomon")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def start(tmp_path: Path) -> Iterator[object]:
    running: list[subprocess.Popen[str]] = []

    def run(port: int, *settings: str) -> None:
        kept = "GNOMON_MODELS__DIR"
        env = {k: v for k, v in os.environ.items() if not k.startswith("GNOMON_") or k == kept}
        sets = [part for text in settings for part in ("--set", text)]
        process = subprocess.Popen(
            [GNOMON, "--home", tmp_path / "home", "--set", "log.level=error", *sets,
             "up", "--port", str(port), "--no-demo"],
            env=env | {"GNOMON_SERVER__API_KEY": "k-1"}, cwd=tmp_path,
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Gnomon is at")

    yield run
    for process in running:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)


def call(url: str, body: object = None) -> object:
    data = None if body is None else json.dumps(body).encode()
    headers = {"authorization": "Bearer k-1", "content-type": "application/json"}
    with urlopen(Request(url, data, headers), timeout=10) as response:
        return json.load(response)


@pytest.mark.slow
async def test_a_push_is_searchable_long_before_the_next_poll(
    start: object, tmp_path: Path
) -> None:
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    async with FeedServer() as feeds, WebSubHub(allow=(f"127.0.0.1:{port}",)) as hub:
        feed = feeds.feed("/news", max_age_s=86_400)
        topic = feeds.url("/news")

        def answer(request: object) -> Reply:
            body, headers = feed.render()
            link = f'<{hub.url}/>; rel="hub", <{topic}>; rel="self"'
            return conditional(request, body, {**headers, "link": link})  # type: ignore[arg-type]

        feeds.route("/news", answer)
        feed.post(Item(id="1", title="Quiet", text="Nothing happened at the harbour."))
        await asyncio.to_thread(
            start, port, f"server.public_url={base}",  # type: ignore[arg-type]
            f"net.allow={feeds.host_port},{hub.address}",
        )  # fmt: skip
        await asyncio.to_thread(call, f"{base}/v1/sources", {"url": f"feed:{topic}"})
        async with asyncio.timeout(20):
            while not hub.subscribed:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.02)
        assert hub.verified == [200]

        feed.post(Item(id="2", title="Loud", text="A zeppelin landed at the harbour."))
        assert await hub.publish(topic, feed.render()[0]) == [202]
        async with asyncio.timeout(20):
            while True:
                found = await asyncio.to_thread(call, f"{base}/v1/search?q=zeppelin")
                if found["hits"]:  # type: ignore[index]
                    break
                await asyncio.sleep(0.05)
        with pytest.raises(Exception, match="401"):
            await asyncio.to_thread(urlopen, f"{base}/v1/sources", timeout=10)
        with pytest.raises(Exception, match="404"):
            await asyncio.to_thread(urlopen, f"{base}/websub/guess?hub.mode=subscribe", timeout=10)
