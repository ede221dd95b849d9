"""A worker that holds the others up is found and named; nobody else is."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

torch = pytest.importorskip("torch", reason="needs gnomon[train]")

from gnomon.clock import ManualClock  # noqa: E402
from gnomon.train.metrics import Slow, read_steps  # noqa: E402
from gnomon.train.pace import Pace, Stragglers  # noqa: E402
from gnomon.train.runs import report  # noqa: E402

Describe = Callable[..., dict[str, Any]]
InWorkers = Callable[..., str]

SLOW = """
import time
from gnomon.train.models.transformer import Attention

def train(described, folder):
    rank = int(os.environ["RANK"])
    if rank == 1:
        quick = Attention.forward
        def slow(*given):
            time.sleep(0.02)
            return quick(*given)
        Attention.forward = slow
    lines = []
    loop.train(RunConfig(**described), folder, SystemClock(), lines.append)
    if rank == 0:
        print(msgspec.json.encode(lines).decode())

def main(described, folder):
    together(3, train, msgspec.json.decode(described), Path(folder))
"""


@pytest.mark.parametrize("ep", [1, 3])
def test_a_slow_worker_is_named(
    ep: int, described: Describe, in_workers: InWorkers, tmp_path: Path
) -> None:
    """Everybody waits for it in every layer, and still it alone is called slow."""
    run = described(
        model={"experts": 3, "width": 48, "head_dim": 24},
        data={"batch": 6, "micro": 1},
        schedule={"steps": 8},
        machine={"ep": ep},
        faults={"straggler": 3.0, "straggler_window": 4},
    )
    told = in_workers(SLOW, msgspec.json.encode(run).decode(), tmp_path / "run")
    lines = json.loads(told.splitlines()[-1])
    assert len(lines) == 8
    assert not any("slow" in line for line in lines[:3])
    assert all(f"slow: worker 1 on {platform.node()}, " in line for line in lines[3:])
    assert all("more" not in line for line in lines)
    assert "train.straggler" in told
    for step in read_steps(tmp_path / "run")[3:]:
        (slow,) = step.slow
        assert (slow.rank, slow.host) == (1, platform.node())
        assert slow.times > 3
    page = report(tmp_path / "run")
    assert f"<td>1</td><td>{platform.node()}</td><td>5 of 8</td>" in page


def test_a_worker_is_judged_by_its_usual_step() -> None:
    found = Stragglers(["a", "b", "c", "d"], factor=1.5, window=3)
    assert found.add([1, 1, 9, 1]) == ([], False)
    assert found.add([1, 1, 1, 1]) == ([], False)
    assert found.add([1, 1, 1, 1.4]) == ([], True), "one slow step is nobody's habit"
    for _ in range(2):
        assert found.add([1, 2, 1, 1]) == ([], False)
    slow = [Slow(1, "b", 2.0)]
    assert found.add([1, 2, 1, 1]) == (slow, True)
    assert found.add([1, 1, 1, 1]) == (slow, False), "until the next window is whole"


@pytest.mark.parametrize("factor", [1.5, 4])
def test_of_two_the_slower_one_is_named(factor: float) -> None:
    found = Stragglers(["a", "b"], factor=factor, window=1)
    assert found.add([1, 5]) == ([Slow(1, "b", 5.0)], True)
    assert found.add([5, 1]) == ([Slow(0, "a", 5.0)], True)
    assert found.add([0, 0]) == ([], True)


def test_nobody_is_looked_for_where_it_is_off_or_pointless() -> None:
    assert Stragglers(["a", "b"], factor=0, window=1).add([1, 99]) == ([], False)
    assert Stragglers(["a"], factor=1.5, window=1).add([99]) == ([], False)


def test_time_spent_waiting_is_not_ones_own() -> None:
    clock = ManualClock()
    pace = Pace(torch.device("cpu"), clock)

    class Layer(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            clock.advance(2)
            with pace.waiting():
                clock.advance(50)
            clock.advance(3)
            return x

    layer = Layer()
    pace.watch([layer])
    with pace.reading():
        clock.advance(1)
    clock.advance(100)
    layer(torch.zeros(1))
    assert pace.taken_s() == 6
    layer.forward(torch.zeros(1))  # as the backward pass runs it again
    assert pace.taken_s() == 0
