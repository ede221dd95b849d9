"""What goes wrong in the middle of a run, numbers or room on the disk: seen, said and survived."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

torch = pytest.importorskip("torch", reason="needs gnomon[train]")

from gnomon.clock import SystemClock  # noqa: E402
from gnomon.train.board import Appended, Board  # noqa: E402
from gnomon.train.checkpoint import read_state  # noqa: E402
from gnomon.train.config import RunConfig  # noqa: E402
from gnomon.train.loop import Run, train  # noqa: E402
from gnomon.train.metrics import read_steps  # noqa: E402
from gnomon.train.models.transformer import Attention  # noqa: E402

Describe = Callable[..., dict[str, Any]]
InWorkers = Callable[..., str]
CLOCK = SystemClock()


class Pulled(Exception):
    """The test pulls the plug."""


class Spoiling:
    """Hardware that spoils what is computed from one batch."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int, factor: float) -> None:
        right, read = Attention.forward, Run.batch
        self.now = -1

        def batch(run: Run, progress: Any) -> Any:
            self.now = progress.step + progress.shift
            return read(run, progress)

        def forward(*given: Any) -> Any:
            return right(*given) * (factor if self.now == number else 1.0)

        monkeypatch.setattr(Run, "batch", batch)
        monkeypatch.setattr(Attention, "forward", forward)


@pytest.mark.parametrize("policy", ["skip", "rollback"])
@pytest.mark.parametrize("factor", [float("nan"), float("inf")])
def test_a_spoilt_step_never_reaches_the_weights(
    policy: str,
    factor: float,
    described: Describe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    Spoiling(monkeypatch, 6, factor)
    config = RunConfig(**described("llama", faults={"nan": policy}))
    lines: list[str] = []
    whole = train(config, tmp_path / "whole", CLOCK, lines.append)
    assert whole.steps == 12
    assert whole.loss == whole.loss
    assert next(line for line in lines if policy in line).startswith("7/12  loss nan")
    verdicts = [
        (step["step"], step["loss"], step["verdict"])
        for step in map(json.loads, (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines())
        if step["verdict"] != "good"
    ]
    assert verdicts == [(7, None, policy)]
    told = [step.step for step in read_steps(tmp_path / "whole")]
    assert told == list(range(1, 13))
    state = read_state(tmp_path / "whole" / "checkpoints" / "step-000000012")
    assert state.progress.shift == (3 if policy == "rollback" else 0)

    def plug(line: str) -> None:
        if line.startswith("9/"):
            raise Pulled

    with pytest.raises(Pulled):
        train(config, tmp_path / "parts", CLOCK, plug)
    assert train(config, tmp_path / "parts", CLOCK) == whole


SPOILT = """
from gnomon.train.models.transformer import Attention

def train(described, folder):
    right, read, now = Attention.forward, loop.Run.batch, [-1]
    def batch(run, progress):
        now[0] = progress.step + progress.shift
        return read(run, progress)
    def forward(*given):
        spoilt = now[0] == 6 and os.environ["RANK"] == "1"
        return right(*given) * (float("nan") if spoilt else 1.0)
    loop.Run.batch, Attention.forward = batch, forward
    outcome = loop.train(RunConfig(**described), folder, SystemClock())
    print(outcome.sha256, flush=True)

def main(described, folder):
    together(2, train, msgspec.json.decode(described), Path(folder))
"""


def test_what_one_worker_spoils_all_leave_out(
    described: Describe, in_workers: InWorkers, tmp_path: Path
) -> None:
    run = described(faults={"nan": "rollback"})
    told = in_workers(SPOILT, msgspec.json.encode(run).decode(), tmp_path / "run")
    hashes = re.findall("[0-9a-f]{64}", told)  # two processes may share a line
    assert len(hashes) == 2
    assert len(set(hashes)) == 1
    steps = read_steps(tmp_path / "run")
    assert [step.step for step in steps] == list(range(1, 13))
    assert all(step.loss is not None for step in steps)
    assert read_state(tmp_path / "run" / "checkpoints" / "step-000000012").progress.shift == 3


def test_a_piece_is_appended_whole_or_not_at_all(tmp_path: Path) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    file = Appended(tmp_path / "lines")
    file.add(b"one\n")
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (6, hard))
        with pytest.raises(OSError, match=r"No space|too large"):
            file.add(b"second\n")
        file.add(b"3\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    file.add(b"fourth\n")
    file.close()
    assert (tmp_path / "lines").read_bytes() == b"one\n3\nfourth\n"


def test_tensorboard_reads_what_is_written(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = Board(tmp_path / "board", at=1_000.0)
    board.add(1, 1_001.0, {"loss": 2.5, "rate": 0.1})
    board.add(2, 1_002.0, {"loss": None, "rate": 0.2})
    board.close()
    found = EventAccumulator(str(tmp_path / "board"))
    found.Reload()
    assert [(e.step, e.wall_time, e.value) for e in found.Scalars("loss")] == [(1, 1_001.0, 2.5)]
    assert [e.step for e in found.Scalars("rate")] == [1, 2]


ON_A_SMALL_DISK = """
import os, sys
from pathlib import Path
import msgspec
from gnomon.clock import SystemClock
from gnomon.train import loop
from gnomon.train.config import RunConfig

described, disk, policy = sys.argv[1:]
config, disk = RunConfig(**msgspec.json.decode(described)), Path(disk)
filler = disk / "filler"

def tell(line):
    step = int(line.split("/")[0])
    if 5 <= step < 26:  # from after the checkpoint of 4 began
        with filler.open("ab", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError:
                pass
    if step == 26:
        filler.unlink()

try:
    outcome = loop.train(config, disk / "run", SystemClock(), tell)
    print("ended", outcome.sha256)
except Exception as error:
    print(type(error).__name__, error)
os.sync()
for path in sorted((disk / "run" / "checkpoints").iterdir()):
    print("kept", path.name)
print("steps", [msgspec.json.decode(line)["step"]
                for line in (disk / "run" / "metrics.jsonl").read_bytes().splitlines()])
if policy == "stop":
    filler.unlink()
    print("ended", loop.train(config, disk / "run", SystemClock()).sha256)
"""


@pytest.mark.parametrize("policy", ["continue", "stop"])
def test_a_disk_that_fills_up_and_has_room_again(
    policy: str, described: Describe, tmp_path: Path
) -> None:
    """A real one of 6 MB, so that everything that a run writes meets it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f"mount -t tmpfs -o size=6m none {disk}"
    if subprocess.run(["unshare", "-rm", "sh", "-c", mount], check=False).returncode:
        pytest.skip("this user may mount nothing")
    run = described(schedule={"steps": 32}, checkpoint={"every": 4, "disk_full": policy, "keep": 1})
    whole = train(RunConfig(**run), tmp_path / "whole", CLOCK)
    script = tmp_path / "run.py"
    script.write_text(ON_A_SMALL_DISK)
    described_run = msgspec.json.encode(run).decode()
    inside = ["unshare", "-rm", "sh", "-c", f'{mount} && exec "$@"', "-"]
    done = subprocess.run(
        [*inside, sys.executable, str(script), described_run, str(disk), policy],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )
    told = done.stdout
    assert done.returncode == 0, told + done.stderr
    assert f"ended {whole.sha256}" in told
    assert "No space left on device" in told
    assert "kept ." not in told, "nothing half-written stays"
    (steps,) = [json.loads(line[6:]) for line in told.splitlines() if line.startswith("steps")]
    assert steps == sorted(set(steps))
    if policy == "continue":
        assert "checkpoint.lost" in told
        assert "train.metrics_lost" in told
        assert "train.metrics_kept_again" in told
        assert steps[:5] == [1, 2, 3, 4, 5]
        assert steps[-6:] == [27, 28, 29, 30, 31, 32]
        assert len(steps) < 32
        assert "kept step-000000032" in told
    else:
        lost = re.search(r"CheckpointLost The checkpoint of step (\d) was not written", told)
        assert lost
        assert f"kept step-00000000{int(lost[1]) - 4}" in told
