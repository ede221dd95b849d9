"""Workers that are killed are started again; those that say what is wrong are not."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("torch", reason="needs gnomon[train]")

from gnomon.clock import SystemClock
from gnomon.train.checkpoint import newest
from gnomon.train.config import RunConfig
from gnomon.train.loop import train
from gnomon.train.metrics import read_steps

Describe = Callable[..., dict[str, Any]]
PATIENCE_S = 400
WATCHING = """
import sys
from pathlib import Path
import msgspec
from gnomon.errors import GnomonError
from gnomon.train import restart
from gnomon.train.config import RunConfig

restart._PATIENCE = 2
described, folder, workers = sys.argv[1:]
try:
    restart.train_on(RunConfig(**msgspec.json.decode(described)), Path(folder), int(workers))
except GnomonError as error:
    sys.stderr.write(f"{error.code}: {error}\\n")
    sys.exit(9)
"""


@contextmanager
def watching(run: dict[str, Any], folder: Path, workers: int) -> Iterator[subprocess.Popen[str]]:
    given = [msgspec.json.encode(run).decode(), str(folder), str(workers)]
    with subprocess.Popen(
        [sys.executable, "-c", WATCHING, *given],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def children(process: subprocess.Popen[str]) -> list[int]:
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(pid) for pid in path.read_text().split()]


def until(seen: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_run_whose_worker_is_killed_goes_on_by_itself(
    workers: int, described: Describe, tmp_path: Path
) -> None:
    run = described(schedule={"steps": 60}, checkpoint={"every": 5})
    folder = tmp_path / "run"
    with watching(run, folder, workers) as process:
        for step in (10, 30):
            until(lambda step=step: (newest(folder / "checkpoints") or "") >= f"step-{step:09d}")
            os.kill(children(process)[-1], signal.SIGKILL)
        told = process.communicate(timeout=PATIENCE_S)[0]
    assert process.returncode == 0, told
    assert len(re.findall("train.restarted .*SIGKILL", told)) == 2
    assert {step.start for step in read_steps(folder)} == {1, 2, 3}
    if workers == 1:
        train(RunConfig(**run), tmp_path / "whole", SystemClock())
        whole = (tmp_path / "whole" / "outcome.json").read_bytes()
        assert (folder / "outcome.json").read_bytes() == whole


def test_what_a_worker_says_is_not_tried_again(described: Describe, tmp_path: Path) -> None:
    run = described(model={"vocab": 32})
    with watching(run, tmp_path / "run", 1) as process:
        told = process.communicate(timeout=PATIENCE_S)[0]
    assert process.returncode == 9
    assert "train.worker: Worker 0 ended with status 2" in told
    assert told.count("vocabulary (64) is larger") == 1


def test_kills_that_let_nothing_be_done_are_given_up(described: Describe, tmp_path: Path) -> None:
    """As the kernel kills what takes too much memory, again and again."""
    run, folder = described(), tmp_path / "run"
    with watching(run, folder, 1) as process:
        killed: set[int] = set()

        def kill_the_next() -> bool:
            for pid in set(children(process)) - killed:
                killed.add(pid)
                os.kill(pid, signal.SIGKILL)
            return process.poll() is not None

        until(kill_the_next)
        told = process.communicate(timeout=PATIENCE_S)[0]
    assert process.returncode == 9
    assert "none reached a new checkpoint" in told
    assert len(killed) == 2
