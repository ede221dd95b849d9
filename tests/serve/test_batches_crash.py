"""A killed server goes on with its batches behind the last line that was done."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from openai import OpenAI

LINES = 200
GNOMON = str(Path(sys.executable).with_name("gnomon"))


@contextmanager
def running(home: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`gnomon up` on a free port, and its address."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("GNOMON_")}
    env["GNOMON_MODELS__DIR"] = str(home / "none")
    command = [GNOMON, "--home", str(home), "--set", "log.level=error", "up", "--demo"]
    process = subprocess.Popen(
        [*command, "--port", "0"], env=env, stdout=subprocess.PIPE, cwd=home.parent, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("Gnomon is at ")
        yield process, line.split()[3].rstrip("./,")
    finally:
        process.kill()
        process.communicate(timeout=20)


@pytest.mark.slow
def test_a_killed_server_asks_no_line_twice(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    lines = [
        {
            "custom_id": f"line-{i}",
            "method": "POST",
            "url": "/v1/responses",
            "body": {"model": "gnomon", "input": f"What does crane {i} cost?"},
        }
        for i in range(LINES)
    ]
    body = "\n".join(json.dumps(line) for line in lines).encode()
    with running(home) as (process, url), OpenAI(base_url=f"{url}/v1", api_key="k") as client:
        file = client.files.create(file=("in.jsonl", body), purpose="batch")
        made = client.batches.create(
            input_file_id=file.id, endpoint="/v1/responses", completion_window="24h"
        )
        deadline = time.monotonic() + 60
        while True:
            counts = client.batches.retrieve(made.id).request_counts
            if counts and counts.completed >= 10:
                break
            assert time.monotonic() < deadline
        process.send_signal(signal.SIGKILL)
        process.wait(20)
    with sqlite3.connect(home / "batches.db") as db:
        before = dict(db.execute("SELECT number, outcome FROM line"))
    db.close()
    assert 10 <= len(before) < LINES
    with running(home) as (process, url), OpenAI(base_url=f"{url}/v1", api_key="k") as client:
        deadline = time.monotonic() + 120
        while (done := client.batches.retrieve(made.id)).status != "completed":
            assert done.status in ("in_progress", "finalizing") and time.monotonic() < deadline
            time.sleep(0.1)
        assert done.output_file_id
        rows = [json.loads(row) for row in client.files.content(done.output_file_id).iter_lines()]
    assert [row["custom_id"] for row in rows] == [line["custom_id"] for line in lines]
    # What was done before the kill stands there as it was: the ids of the answers are the same.
    for number, outcome in before.items():
        assert rows[number - 1] == json.loads(outcome)
