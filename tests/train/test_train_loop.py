"""Runs that are stopped, spoilt, taken over, or out of room."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs gnomon[train]")

from gnomon.clock import SystemClock  # noqa: E402
from gnomon.errors import ConfigError, ModelError, StoreError  # noqa: E402
from gnomon.train.checkpoint import Progress, newest, read_state  # noqa: E402
from gnomon.train.config import Faults, RunConfig  # noqa: E402
from gnomon.train.fence import Fence  # noqa: E402
from gnomon.train.loop import Met, Outcome, judge, train  # noqa: E402
from gnomon.train.metrics import read_steps  # noqa: E402
from gnomon.train.shards import write_shards  # noqa: E402

Describe = Callable[..., dict[str, Any]]
CLOCK = SystemClock()


class Stopped(Exception):
    """The test pulls the plug."""


def at_step(number: int, do: Callable[[], None]) -> Callable[[str], None]:
    def told(line: str) -> None:
        if line.startswith(f"{number}/"):
            do()

    return told


def stop() -> None:
    raise Stopped


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_a_stopped_run_ends_with_the_same_bits(
    kind: str, described: Describe, tmp_path: Path
) -> None:
    config = RunConfig(**described(optimizer={"kind": kind}))
    whole = train(config, tmp_path / "whole", CLOCK)
    for number in (3, 7, 8):
        with pytest.raises(Stopped):
            train(config, tmp_path / "parts", CLOCK, at_step(number, stop))
    assert train(config, tmp_path / "parts", CLOCK) == whole
    again = train(config, tmp_path / "parts", CLOCK)
    assert again == whole, "a finished run only tells its end"
    assert [s.loss for s in read_steps(tmp_path / "parts")] == [
        s.loss for s in read_steps(tmp_path / "whole")
    ]
    kept = sorted(path.name for path in (tmp_path / "parts" / "checkpoints").iterdir())
    assert kept == ["step-000000004", "step-000000008", "step-000000012"]
    stored = msgspec.json.decode((tmp_path / "parts" / "outcome.json").read_bytes(), type=Outcome)
    assert stored == whole


@pytest.mark.parametrize(
    "machine",
    [{"recompute": True}, {"precision": "bf16"}, {"precision": "bf16", "recompute": True}],
)
def test_it_learns_however_it_computes(
    machine: dict[str, object], described: Describe, tmp_path: Path
) -> None:
    plain = train(RunConfig(**described(schedule={"steps": 4})), tmp_path / "plain", CLOCK)
    config = RunConfig(
        **described(schedule={"steps": 4}, machine=machine, data={"documents_apart": False})
    )
    found = train(config, tmp_path / "run", CLOCK)
    assert found.loss == pytest.approx(plain.loss, rel=1e-6 if "precision" not in machine else 0.03)


def test_documents_may_be_kept_apart(described: Describe, tmp_path: Path) -> None:
    run = described("llama", schedule={"steps": 3}, data={"documents_apart": True})
    apart = train(RunConfig(**run), tmp_path / "apart", CLOCK)
    mixed = train(RunConfig(**described("llama", schedule={"steps": 3})), tmp_path / "mixed", CLOCK)
    assert apart.loss == pytest.approx(mixed.loss, rel=0.1)
    assert apart.loss != mixed.loss


def test_another_configuration_is_refused(described: Describe, tmp_path: Path) -> None:
    train(RunConfig(**described(schedule={"steps": 1})), tmp_path / "run", CLOCK)
    for change in ({"seed": 1}, {"optimizer": {"kind": "muon"}}, {"data": {"batch": 8}}):
        with pytest.raises(ConfigError, match="another configuration"):
            train(RunConfig(**described(**change)), tmp_path / "run", CLOCK)


def test_other_data_is_refused(described: Describe, tmp_path: Path) -> None:
    config = RunConfig(**described(schedule={"steps": 1}))
    train(config, tmp_path / "run", CLOCK)
    write_shards(config.data.tokens, [[1] * 500], vocab_size=64, end_id=0)
    with pytest.raises(ConfigError, match="another data"):
        train(config, tmp_path / "run", CLOCK)


def test_a_vocabulary_that_does_not_fit_is_refused(described: Describe, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"vocabulary \(64\) is larger than the model's \(32\)"):
        train(RunConfig(**described(model={"vocab": 32})), tmp_path / "run", CLOCK)


def test_a_damaged_checkpoint_stops_the_run(described: Describe, tmp_path: Path) -> None:
    config = RunConfig(**described(schedule={"steps": 4}))
    train(config, tmp_path / "run", CLOCK)
    folder = tmp_path / "run" / "checkpoints"
    path = folder / str(newest(folder))
    weights = next(path.glob("*.distcp"))
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(StoreError, match="is damaged"):
        train(config, tmp_path / "run", CLOCK)


def test_who_was_taken_over_writes_nothing_more(described: Describe, tmp_path: Path) -> None:
    config, folder = RunConfig(**described()), tmp_path / "run"
    with pytest.raises(StoreError, match="taken over by start 2") as met:
        train(config, folder, CLOCK, at_step(6, lambda: void(Fence.take(folder))))
    assert met.value.code == "train.fenced"
    assert str(newest(folder / "checkpoints")) <= "step-000000004"


def void(_: object) -> None:
    """Drop a result."""


def test_a_full_disk_costs_a_checkpoint_and_no_step(described: Describe, tmp_path: Path) -> None:
    config, folder = RunConfig(**described()), tmp_path / "run"
    whole = train(config, tmp_path / "whole", CLOCK)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def told(line: str) -> None:
        if line.startswith("3/"):
            resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, hard))
        if line.startswith("8/"):
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    try:
        assert train(config, folder, CLOCK, told) == whole
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    kept = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert "step-000000004" not in kept
    assert kept[-1] == "step-000000012"
    assert all(not name.startswith(".") for name in kept)


def test_a_full_disk_may_stop_the_run(described: Describe, tmp_path: Path) -> None:
    config = RunConfig(**described(checkpoint={"disk_full": "stop"}))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(StoreError, match=r"checkpoint of step 4 was not written.*large"):
            train(
                config,
                tmp_path / "run",
                CLOCK,
                at_step(3, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, hard))),
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def met(loss: float, norm: float = 1.0) -> Met:
    return Met(loss, torch.tensor(norm), [])


def test_bad_steps_are_judged_as_configured() -> None:
    nan, inf = float("nan"), float("inf")
    for policy in ("skip", "rollback", "stop"):
        faults = Faults(nan=policy)
        assert judge(met(nan), Progress(), faults) == policy
        assert judge(met(1.0, inf), Progress(), faults) == policy
    progress = Progress(losses=[2.0, 2.1] * 4)
    faults = Faults(spike="skip", spike_window=8, spike_sigmas=4)
    assert judge(met(2.2), progress, faults) == "good"
    assert judge(met(2.3), progress, faults) == "skip"
    assert judge(met(2.3), progress, Faults(spike_window=8)) == "good"
    assert judge(met(2.3), Progress(losses=[2.0] * 7), faults) == "good"


def test_numbers_that_stay_bad_end_the_run(described: Describe, tmp_path: Path) -> None:
    config = RunConfig(
        **described(optimizer={"rate": 1e25}, schedule={"warmup": 0}, faults={"give_up": 2})
    )
    with pytest.raises(ModelError, match=r"is bad: loss .*, gradient norm (nan|inf)"):
        train(config, tmp_path / "run", CLOCK)
    verdicts = [step.verdict for step in read_steps(tmp_path / "run")]
    assert verdicts[-3:] == ["skip", "skip", "stop"]


@pytest.mark.parametrize("policy", ["skip", "rollback"])
def test_a_spike_is_left_out_and_the_end_is_the_same_after_a_stop(
    policy: str, described: Describe, tmp_path: Path
) -> None:
    """One sample of another world among regular text."""
    described_run = described(
        "llama",
        faults={"spike": policy, "spike_window": 8, "spike_sigmas": 8.0},
        schedule={"steps": 24},
        data={"batch": 1, "micro": 1},
    )
    tokens = Path(described_run["data"]["tokens"])
    regular, strange = [1, 2, 3, 4] * 80, np.random.default_rng(1).integers(40, 64, 32)
    write_shards(tokens, [[*regular, *strange.tolist()]], vocab_size=64, end_id=0)
    config = RunConfig(**described_run)
    whole = train(config, tmp_path / "whole", CLOCK)
    steps = read_steps(tmp_path / "whole")
    lines = (tmp_path / "whole" / "metrics.jsonl").read_text()
    assert f'"verdict":"{policy}"' in lines
    with pytest.raises(Stopped):
        train(config, tmp_path / "parts", CLOCK, at_step(20, stop))
    assert train(config, tmp_path / "parts", CLOCK) == whole
    state = read_state(tmp_path / "whole" / "checkpoints" / "step-000000024")
    assert (state.progress.shift > 0) == (policy == "rollback")
    assert steps[-1].step == 24


def test_workers_die_with_their_launcher(tmp_path: Path) -> None:
    import os
    import signal
    import subprocess
    import time

    child = (
        "import sys, time; from gnomon.train.launch import die_with_parent; die_with_parent();"
        f"open({str(tmp_path / 'ready')!r}, 'w').close(); time.sleep(60)"
    )
    parent = (
        "import subprocess, sys, time;"
        f"p = subprocess.Popen([sys.executable, '-c', {child!r}], start_new_session=True);"
        "print(p.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE) as launcher:
        assert launcher.stdout
        worker = int(launcher.stdout.readline())
        until = time.monotonic() + 30
        while not (tmp_path / "ready").exists() and time.monotonic() < until:
            time.sleep(0.01)
        assert Path(f"/proc/{worker}").exists()
        os.kill(launcher.pid, signal.SIGKILL)
    while time.monotonic() < until:
        stat = Path(f"/proc/{worker}/stat")
        if not stat.exists() or stat.read_text().split()[2] == "Z":
            return
        time.sleep(0.01)
    pytest.fail("the worker outlived its launcher")
