"""From the command to the page and to the first answer, and what an idle server weighs.

    python bench/start_bench.py [--runs 5]

Each run starts `gnomon up` as a process of its own, three times over: with the language model, with
the sentence models alone, and with no model at all. The home was made by a start before, as on any
day but the first. The ceiling beside it is Python importing and serving an empty FastAPI
application in the same way.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from harness import save

GNOMON = Path(sys.executable).with_name("gnomon")
DEADLINE_S = 60.0
SETTLE_S = 12.0
"""Weights load behind the page; memory is read after that."""
QUESTION = "Is the Mill Bridge open?"
EMPTY = """
import sys, uvicorn
from fastapi import FastAPI
app = FastAPI()
app.get("/health")(lambda: {"ok": True})
uvicorn.run(app, port=int(sys.argv[1]), log_config=None)
"""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def ask(port: int, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, bytes]:
    """Status and body of one request."""
    door = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        content = json.dumps(body).encode() if body is not None else None
        door.request(method, path, content, {"content-type": "application/json"})
        answer = door.getresponse()
        return answer.status, answer.read()
    finally:
        door.close()


def wait_for(port: int, path: str, began: float) -> float:
    """Seconds from `began` until the path is served."""
    while time.perf_counter() - began < DEADLINE_S:
        try:
            if ask(port, "GET", path)[0] == 200:
                return time.perf_counter() - began
        except OSError:
            time.sleep(0.005)
    raise SystemExit(f"{path} was not served within {DEADLINE_S:g} s.")


@contextmanager
def running(command: list[str], env: dict[str, str]) -> Iterator[psutil.Process]:
    """The process of a command, ended as Ctrl-C does."""
    with subprocess.Popen(
        command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield psutil.Process(process.pid)
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def started(home: Path, env: dict[str, str], rest: bool) -> dict[str, float]:
    """One start of Gnomon: seconds to the page and the first answer, and memory at rest."""
    port, began = free_port(), time.perf_counter()
    command = [str(GNOMON), "up", "--home", str(home), "--port", str(port)]
    with running(command, env) as process:
        figures = {"page_s": wait_for(port, "/", began)}
        body = {"question": QUESTION, "mode": "extract", "stream": False}
        status, answer = ask(port, "POST", "/v1/ask", body)
        if status != 200:
            raise SystemExit(f"/v1/ask answered {status}: {answer[:300]!r}")
        figures["first_answer_s"] = time.perf_counter() - began
        if rest:
            time.sleep(SETTLE_S)
            figures["idle_rss_mib"] = process.memory_info().rss / 2**20
    return figures


def empty() -> dict[str, float]:
    """The ceiling: an application that does nothing."""
    port, began = free_port(), time.perf_counter()
    with running([sys.executable, "-c", EMPTY, str(port)], dict(os.environ)) as process:
        return {
            "page_s": wait_for(port, "/health", began),
            "idle_rss_mib": process.memory_info().rss / 2**20,
        }


def medians(runs: list[dict[str, float]]) -> dict[str, float]:
    """The median of each figure."""
    names = {name for run in runs for name in run}
    return {
        name: round(statistics.median(run[name] for run in runs if name in run), 2)
        for name in sorted(names)
    }


def main() -> None:
    """Run and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    models = Path(os.environ.get("GNOMON_MODELS__DIR", Path.home() / ".gnomon" / "models"))
    figures: dict[str, Any] = {"empty_fastapi": medians([empty() for _ in range(options.runs)])}
    with tempfile.TemporaryDirectory() as name:
        for way, kept in (
            ("all_models", ("static", "minilm", "smollm2")),
            ("sentence_models", ("static", "minilm")),
            ("no_model", ()),
        ):
            home, weights = Path(name) / way, Path(name) / f"{way}-models"
            weights.mkdir()
            for part in kept:
                if not (models / part).exists():
                    raise SystemExit(f"{models / part} is missing: run `gnomon models fetch`.")
                (weights / part).symlink_to(models / part)
            env = {**os.environ, "GNOMON_MODELS__DIR": str(weights)}
            started(home, env, rest=False)
            figures[way] = medians(
                [started(home, env, rest=run == 0) for run in range(options.runs)]
            )
            shutil.rmtree(home)
    figures["load_average"] = round(os.getloadavg()[0], 1)
    save("start", figures)


if __name__ == "__main__":
    main()
