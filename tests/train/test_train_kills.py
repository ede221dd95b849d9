"""kill -9, many times and anywhere; and other numbers of workers in the middle of a run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("torch", reason="needs gnomon[train]")

from gnomon.train.checkpoint import newest, read_state
from gnomon.train.metrics import read_steps

Describe = Callable[..., dict[str, Any]]

PATIENCE_S = 400
"""For what takes seconds, and minutes where much else runs."""
KILLS = """
import os, random, signal, sys, time
from pathlib import Path
import msgspec
import torch._dynamo  # which sharding asks for: once, and not in every child
from gnomon.clock import SystemClock
from gnomon.train.config import RunConfig
from gnomon.train import loop

config = RunConfig(**msgspec.json.decode(sys.argv[1]))
folder, kills = Path(sys.argv[2]), int(sys.argv[3])
rng = random.Random(7)

def start(where):
    child = os.fork()
    if child == 0:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        loop.train(config, where, SystemClock())
        os._exit(0)
    return child

began = time.monotonic()
_, status = os.waitpid(start(folder / "whole"), 0)
assert status == 0, status
span_s = time.monotonic() - began
truth = (folder / "whole" / "outcome.json").read_bytes()
done = runs = aside = 0
while done < kills:
    where, runs = folder / f"run{runs}", runs + 1
    while not (where / "outcome.json").exists():
        child = start(where)
        if done < kills:
            time.sleep(rng.uniform(0.02, span_s))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        done += os.WIFSIGNALED(status)
        assert os.WIFSIGNALED(status) or status == 0, status
        aside += len(list((where / "checkpoints").glob(".step*")))
    assert (where / "outcome.json").read_bytes() == truth, where
print(f"{done} kills over {runs} runs, {aside} in the middle of a checkpoint: equal bits")
"""


def _environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1"}


@pytest.mark.slow
def test_100_random_kills_change_nothing(described: Describe, tmp_path: Path) -> None:
    run = described(schedule={"steps": 40}, checkpoint={"every": 2})
    done = subprocess.run(
        [sys.executable, "-c", KILLS, msgspec.json.encode(run).decode(), str(tmp_path), "100"],
        capture_output=True,
        text=True,
        timeout=3_600,
        env=_environment(),
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stderr
    assert "100 kills" in done.stdout


class Started:
    """A run under torchrun, that may be killed."""

    def __init__(self, run: dict[str, Any], folder: Path, workers: int) -> None:
        self.folder = folder
        config = folder.with_suffix(".toml")
        config.write_text(toml(run))
        code = (
            "from pathlib import Path; from gnomon.train.launch import launch;"
            f"launch(Path({str(config)!r}), Path({str(folder)!r}), {workers})"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=_environment(),
            start_new_session=True,
        )

    def until_checkpoint(self, step: int) -> None:
        until = time.monotonic() + PATIENCE_S
        name = f"step-{step:09d}"
        while (newest(self.folder / "checkpoints") or "") < name:
            assert self.process.poll() is None, self.told()
            assert time.monotonic() < until
            time.sleep(0.01)

    def workers(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text().split()]

    def kill(self) -> None:
        workers = self.workers()
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()
        until = time.monotonic() + 20
        while any(Path(f"/proc/{pid}").exists() for pid in workers):
            assert time.monotonic() < until, "a worker outlived its launcher"
            time.sleep(0.01)

    def told(self) -> str:
        return self.process.communicate(timeout=PATIENCE_S)[1].decode()

    def end(self) -> None:
        told = self.told()
        assert self.process.returncode == 0, told


def toml(run: dict[str, Any]) -> str:
    lines = []
    for name, section in run.items():
        lines.append(f"[{name}]")
        for key, value in section.items():
            lines.append(f"{key} = {msgspec.json.encode(value).decode()}")
    return "\n".join(lines)


def _outcome(folder: Path) -> bytes:
    return (folder / "outcome.json").read_bytes()


@pytest.mark.slow
def test_two_workers_killed_with_their_launcher_or_alone_end_with_the_same_bits(
    described: Describe, tmp_path: Path
) -> None:
    run = described(schedule={"steps": 60}, checkpoint={"every": 5})
    whole = Started(run, tmp_path / "whole", 2)
    whole.end()
    Started.until_checkpoint(first := Started(run, tmp_path / "parts", 2), 10)
    first.kill()
    second = Started(run, tmp_path / "parts", 2)
    second.until_checkpoint(25)
    os.kill(second.workers()[-1], signal.SIGKILL)
    second.told()
    assert second.process.returncode != 0
    Started(run, tmp_path / "parts", 2).end()
    assert _outcome(tmp_path / "parts") == _outcome(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_the_number_of_workers_may_change_2_1_4_2(
    kind: str, described: Describe, tmp_path: Path
) -> None:
    run = described(
        "grok",
        schedule={"steps": 48},
        checkpoint={"every": 4},
        data={"batch": 8, "micro": 1},
        optimizer={"kind": kind},
    )
    Started(run, tmp_path / "whole", 1).end()
    folder = tmp_path / "parts"
    for workers, step in ((2, 12), (1, 24), (4, 36)):
        started = Started(run, folder, workers)
        started.until_checkpoint(step)
        started.kill()
    Started(run, folder, 2).end()
    one = {step.step: step.loss for step in read_steps(tmp_path / "whole")}
    many = {step.step: step.loss for step in read_steps(folder)}
    assert list(one) == list(many) == list(range(1, 49))
    apart = max(abs(one[step] - many[step]) for step in one)
    print(f"{kind}: losses differ by at most {apart:.1e}")
    assert apart <= 1e-5
    last = read_state(folder / "checkpoints" / "step-000000048")
    assert last.progress.shift == 0, "every batch was read once, in order"
