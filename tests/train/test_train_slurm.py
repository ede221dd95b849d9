"""A Slurm job on stand-ins for Slurm's commands: asked to stop, queued again, the same end."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs gnomon[train]")

import msgspec

from gnomon.errors import ConfigError
from gnomon.train.metrics import read_steps
from gnomon.train.slurm import Job, submit, write_script

Describe = Callable[..., dict[str, Any]]
PATIENCE_S = 400
"""Two workers and their launcher import PyTorch: seconds, or minutes where much else runs."""
STUBS = {
    "srun": 'shift\nexec "$@"\n',
    "scontrol": """case $1 in
show) echo localhost ;;
requeue) echo "$2" >> "$SLURM_STUB/requeued" ;;
esac
""",
    "sbatch": 'echo "4242;cluster"\n',
}


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "slurm"
    folder.mkdir()
    for name, body in STUBS.items():
        (folder / name).write_text(f"#!/bin/bash\n{body}")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def _toml(path: Path, described: dict[str, Any]) -> Path:
    lines = [
        f"{section}.{key} = {msgspec.json.encode(value).decode()}"
        for section, values in described.items()
        for key, value in values.items()
    ]
    path.write_text("\n".join(lines))
    return path


def _start(script: Path, stubs: Path, restarts: int) -> subprocess.Popen[bytes]:
    job = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_NNODES": "1", "SLURM_JOB_NODELIST": "localhost"}
    job |= {"SLURM_RESTART_COUNT": str(restarts), "SLURM_STUB": str(stubs)}
    return subprocess.Popen(["bash", str(script)], env=os.environ | job)


def test_script_is_submitted(tmp_path: Path, slurm: Path) -> None:
    job = Job(nodes=4, gpus_per_node=8, time="02:00:00", partition="big")
    script = write_script(job, tmp_path / "a.toml", tmp_path / "run")
    text = script.read_text()
    for line in ("--nodes=4", "--gpus-per-node=8", "--time=02:00:00", "--partition=big"):
        assert f"#SBATCH {line}\n" in text
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
    assert submit(script) == "4242"


def test_without_sbatch_the_next_step_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="no sbatch") as caught:
        submit(tmp_path / "slurm.sh")
    assert f"sbatch {tmp_path}" in caught.value.hint


@pytest.mark.slow
def test_stopped_and_queued_again_ends_the_same(
    tmp_path: Path, described: Describe, slurm: Path
) -> None:
    config = described("llama", schedule={"steps": 160}, checkpoint={"every": 150})
    toml = _toml(tmp_path / "a.toml", config)
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert _start(write_script(Job(gpus_per_node=2), toml, whole), slurm, 0).wait(PATIENCE_S) == 0

    job = _start(write_script(Job(gpus_per_node=2), toml, run), slurm, 0)
    deadline = time.monotonic() + PATIENCE_S
    while not (run / "metrics.jsonl").exists() or not read_steps(run):
        assert time.monotonic() < deadline and job.poll() is None
        time.sleep(0.02)
    os.kill(job.pid, signal.SIGUSR1)
    assert job.wait(PATIENCE_S) == 0
    assert (slurm / "requeued").read_text() == f"{os.getpid()}\n"
    assert not (run / "outcome.json").exists()
    stopped = max(step.step for step in read_steps(run))
    assert (run / "checkpoints" / f"step-{stopped:09d}").exists()

    assert _start(run / "slurm.sh", slurm, 1).wait(PATIENCE_S) == 0
    assert (run / "outcome.json").read_bytes() == (whole / "outcome.json").read_bytes()
    assert {step.start for step in read_steps(run)} == {1, 2}
