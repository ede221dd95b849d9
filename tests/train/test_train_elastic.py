"""Runs on Ray: what a start leaves for the next, and real workers and machines that are killed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

pytest.importorskip("torch", reason="needs gnomon[train]")
pytest.importorskip("ray", reason="needs gnomon[cluster]")

from gnomon.errors import ConfigError, ModelError, StoreError
from gnomon.train.checkpoint import newest
from gnomon.train.cluster import Refusal
from gnomon.train.config import RunConfig
from gnomon.train.elastic import Group, Notes, fitting, launch
from gnomon.train.fence import Fence
from gnomon.train.launch import Stopped
from gnomon.train.metrics import read_steps
from gnomon.train.need import need

Describe = Callable[..., dict[str, Any]]

DRIVER = """
import sys
from pathlib import Path
from gnomon.errors import GnomonError
from gnomon.train.elastic import Group, launch
from gnomon.train.config import RunConfig
import msgspec

if __name__ == "__main__":
    config = RunConfig.model_validate_json(sys.argv[1])
    try:
        launch(config, Path(sys.argv[2]), msgspec.json.decode(sys.argv[3], type=Group))
    except GnomonError as error:
        print(f"{type(error).__name__} {error.code}: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
"""
TORCHRUN = (
    "import sys; from pathlib import Path; from gnomon.train.launch import launch;"
    "launch(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))"
)
MACHINES = """
import sys
from ray.cluster_utils import Cluster

if __name__ == "__main__":
    of = {"object_store_memory": 80_000_000, "node_ip_address": "127.0.0.1"}
    head = of | {"num_cpus": 0, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=head)
    nodes = [made.add_node(num_cpus=1, **of) for _ in range(2)]
    print(made.address, flush=True)
    for line in sys.stdin:
        if line == "lose\\n":
            made.remove_node(nodes.pop(), allow_graceful=False)
        else:
            nodes.append(made.add_node(num_cpus=1, **of))
        print("done", flush=True)
"""


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    # The last keeps Ray from replacing loopback by the machine's own address.
    return kept | {"OMP_NUM_THREADS": "1", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


class Started:
    """A run on Ray, with what it says in a file."""

    def __init__(self, run: dict[str, Any], folder: Path, group: Group) -> None:
        self.folder, self._told = folder, folder.with_suffix(".log")
        config = RunConfig.model_validate(run).model_dump_json()
        wanted = msgspec.json.encode(group).decode()
        with self._told.open("wb") as told:
            self.process = subprocess.Popen(
                [sys.executable, "-c", DRIVER, config, str(folder), wanted],
                stdout=told,
                stderr=told,
                env=_environment(),
            )

    def told(self) -> str:
        return self._told.read_text()

    def until(self, what: Callable[[], bool], within_s: float = 600) -> None:
        until = time.monotonic() + within_s
        while not what():
            assert self.process.poll() is None, self.told()
            assert time.monotonic() < until, self.told()
            time.sleep(0.02)

    def until_checkpoint(self, step: int) -> None:
        name = f"step-{step:09d}"
        self.until(lambda: (newest(self.folder / "checkpoints") or "") >= name)

    def end(self, within_s: float = 600) -> int:
        return self.process.wait(within_s)


def workers(started: Started) -> list[psutil.Process]:
    """Ray's training workers on this machine, below the launcher."""
    below = psutil.Process(started.process.pid).children(recursive=True)
    return [found for found in below if found.name().startswith("ray::RayTrain")]


Start = Callable[[dict[str, Any], Path, Group], Started]


@pytest.fixture(autouse=True)
def ray_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where Ray keeps what it leaves when it is killed; sockets too, so its name is short."""
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)


@pytest.fixture
def start() -> Iterator[Start]:
    begun: list[Started] = []

    def begin(run: dict[str, Any], folder: Path, group: Group) -> Started:
        begun.append(Started(run, folder, group))
        return begun[-1]

    yield begin
    for started in begun:
        started.process.kill()
        started.process.wait()


@pytest.mark.parametrize(
    ("batch", "micro", "most", "size"),
    [(32, 8, 4, 4), (32, 8, 7, 4), (32, 8, 40, 32), (6, 3, 5, 3), (6, 3, 4, 3), (5, 5, 4, 1)],
)
def test_no_more_workers_train_than_the_batch_is_dealt_to(
    batch: int, micro: int, most: int, size: int, described: Describe
) -> None:
    config = RunConfig.model_validate(described(data={"batch": batch, "micro": micro}))
    assert fitting(config, most) == size


def test_workers_that_share_out_experts_come_in_whole_groups(
    described: Describe, tmp_path: Path
) -> None:
    config = RunConfig.model_validate(described(data={"batch": 8, "micro": 1}, machine={"ep": 2}))
    assert [fitting(config, most) for most in (1, 2, 3, 5)] == [0, 2, 2, 4]
    with pytest.raises(ConfigError, match="too few") as caught:
        launch(config, tmp_path, Group(workers=4))
    assert "--min-workers 2" in caught.value.hint


def test_a_refusal_is_the_same_error_again() -> None:
    for error in (
        ConfigError("No.", code="train.memory", hint="Take less."),
        StoreError("No.", code="train.checkpoint_lost", hint="Make room."),
        Stopped("Asked to stop."),
    ):
        again = Refusal.of(error).error()
        assert type(again) is type(error)
        assert (again.message, again.code, again.hint) == (error.message, error.code, error.hint)


def test_what_starting_again_cannot_mend_is_not_started_again(tmp_path: Path) -> None:
    notes, run = Notes(tmp_path / "ray", "a"), tmp_path
    notes.folder.mkdir()
    assert notes.begin(run, patience=3) is None
    notes.refuse(Refusal.of(ModelError("Step 3 is bad.", code="train.bad_step")))
    refused = notes.begin(run, patience=3)
    assert refused is not None and refused.code == "train.bad_step"
    assert Notes(tmp_path / "ray", "b").begin(run, patience=3) is None, "another launch may try"


def test_starts_that_get_nowhere_come_to_an_end(tmp_path: Path) -> None:
    notes, run = Notes(tmp_path / "ray", "a"), tmp_path
    notes.folder.mkdir()
    for step in (None, None, 4, 4, 8):
        if step is not None:
            (run / "checkpoints" / f"step-{step:09d}").mkdir(parents=True, exist_ok=True)
        assert notes.begin(run, patience=2) is None
        Fence.take(run)
    assert notes.begin(run, patience=2) is None
    refused = notes.begin(run, patience=2)
    assert refused is not None and refused.code == "train.no_progress"
    assert "step-000000008" in refused.message


def test_a_launch_whose_run_was_taken_over_ends(tmp_path: Path) -> None:
    notes, run = Notes(tmp_path / "ray", "a"), tmp_path
    notes.folder.mkdir()
    assert notes.begin(run, patience=9) is None  # dies before it takes the fence
    assert notes.begin(run, patience=9) is None
    Fence.take(run)
    assert notes.begin(run, patience=9) is None
    Fence.take(run)
    Fence.take(run)
    refused = notes.begin(run, patience=9)
    assert refused is not None and refused.code == "train.fenced"


def test_fewer_workers_than_the_least_are_refused(described: Describe, tmp_path: Path) -> None:
    config = RunConfig.model_validate(described())
    with pytest.raises(ConfigError, match="At least 3"):
        launch(config, tmp_path, Group(workers=2, min_workers=3))


def test_without_ray_the_extra_is_named() -> None:
    with pytest.raises(ConfigError, match="no_such_ray") as caught:
        need("no_such_ray", extra="cluster")
    assert "'gnomon[cluster]'" in caught.value.hint


def _torchrun(run: dict[str, Any], folder: Path, workers: int) -> None:
    config = folder.with_suffix(".toml")
    lines = [
        f"{section}.{key} = {msgspec.json.encode(value).decode()}"
        for section, values in run.items()
        for key, value in values.items()
    ]
    config.write_text("\n".join(lines))
    done = subprocess.run(
        [sys.executable, "-c", TORCHRUN, str(config), str(folder), str(workers)],
        capture_output=True,
        timeout=300,
        env=_environment(),
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.slow
def test_a_killed_worker_costs_at_most_the_steps_since_the_checkpoint(
    described: Describe, tmp_path: Path, start: Start
) -> None:
    run = described(schedule={"steps": 300}, checkpoint={"every": 10})
    _torchrun(run, tmp_path / "whole", 2)
    started = start(run, tmp_path / "ray", Group(workers=2, min_workers=2))
    started.until_checkpoint(30)
    workers(started)[-1].kill()
    assert started.end() == 0, started.told()
    assert (tmp_path / "ray" / "outcome.json").read_bytes() == (
        tmp_path / "whole" / "outcome.json"
    ).read_bytes()
    steps = read_steps(tmp_path / "ray")
    assert [step.step for step in steps] == list(range(1, 301))
    assert {step.start for step in steps} == {1, 2}
    assert not list((tmp_path / "ray" / "ray").iterdir())


@pytest.mark.slow
def test_a_killed_launcher_takes_its_workers_along(
    described: Describe, tmp_path: Path, start: Start
) -> None:
    run = described(schedule={"steps": 100_000}, checkpoint={"every": 10})
    started = start(run, tmp_path / "ray", Group(workers=2, min_workers=2))
    started.until_checkpoint(10)
    alone = workers(started)
    assert len(alone) == 2
    started.process.kill()
    started.process.wait()
    _, left = psutil.wait_procs(alone, timeout=30)
    assert not left, "a worker outlived its launcher"


@pytest.mark.slow
def test_asked_to_end_it_saves_and_a_wrong_model_ends_it_at_once(
    described: Describe, tmp_path: Path, start: Start
) -> None:
    run = described(schedule={"steps": 100_000}, checkpoint={"every": 1_000})
    started = start(run, tmp_path / "ray", Group(workers=2))
    started.until(lambda: bool(read_steps(tmp_path / "ray")))
    started.process.terminate()
    assert started.end() == 0, started.told()
    last = read_steps(tmp_path / "ray")[-1].step
    assert newest(tmp_path / "ray" / "checkpoints") == f"step-{last:09d}"
    assert f"saved at step {last}" in started.told()

    other = start(run | {"seed": 5}, tmp_path / "ray", Group())
    assert other.end() == 2
    assert "ConfigError train.other_run" in other.told()


@pytest.mark.slow
def test_the_group_shrinks_and_grows_with_the_cluster(
    described: Describe, tmp_path: Path, ray_folder: Path, start: Start
) -> None:
    run = described(
        schedule={"steps": 100_000, "kind": "constant"},
        checkpoint={"every": 5},
        data={"batch": 64, "micro": 1},
    )
    machines = subprocess.Popen(
        [sys.executable, "-c", MACHINES],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=_environment() | {"RAY_TMPDIR": str(ray_folder)},
        text=True,
    )
    assert machines.stdin and machines.stdout
    address = machines.stdout.readline().strip()
    assert address
    started = start(run, tmp_path / "ray", Group(workers=2, address=address, grow_s=2))

    def sizes() -> list[int]:
        return [int(found) for found in re.findall(r"train\.start.* workers=(\d)", started.told())]

    try:
        for size, order in ((2, "lose"), (1, "add"), (2, "")):
            started.until(lambda size=size: sizes()[-1:] == [size])
            reached = newest(tmp_path / "ray" / "checkpoints") or "step-000000000"
            started.until_checkpoint(int(reached.removeprefix("step-")) + 5)
            if order:
                machines.stdin.write(f"{order}\n")
                machines.stdin.flush()
                assert machines.stdout.readline() == "done\n"
        started.process.terminate()
        assert started.end() == 0, started.told()
    finally:
        machines.communicate(timeout=60)
    steps = read_steps(tmp_path / "ray")
    assert [step.step for step in steps] == list(range(1, len(steps) + 1))

    run["schedule"]["steps"] = len(steps)
    _torchrun(run, tmp_path / "whole", 1)
    one = [step.loss for step in read_steps(tmp_path / "whole")]
    apart = max(abs((step.loss or 0) - (loss or 0)) for step, loss in zip(steps, one, strict=True))
    print(f"{len(steps)} steps over {sizes()} workers: losses differ by at most {apart:.1e}")
    assert apart <= 1e-5
