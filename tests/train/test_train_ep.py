"""Experts on several workers: the same numbers as in one process, however tokens are routed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

torch = pytest.importorskip("torch", reason="needs gnomon[train]")

from pydantic import ValidationError  # noqa: E402

from gnomon.clock import SystemClock  # noqa: E402
from gnomon.errors import ConfigError  # noqa: E402
from gnomon.train.config import RunConfig  # noqa: E402
from gnomon.train.loop import train  # noqa: E402
from gnomon.train.metrics import read_steps  # noqa: E402

Describe = Callable[..., dict[str, Any]]
InWorkers = Callable[..., str]

GRADIENTS = """
from gnomon.train.checkpoint import Progress
from gnomon.train.fence import Fence
from gnomon.train.spread import gathered
from gnomon.train.world import joined

def gradients(described, folder, routed_alike):
    config = RunConfig(**described)
    with joined(config.machine) as world:
        fence = Fence(folder, world.from_first(Fence.take(folder).number if world.first else 0))
        run = loop.Run(config, folder, world, fence, SystemClock())
        if routed_alike:
            with torch.no_grad():
                for block in run.model.blocks:
                    block.mlp.router.weight.zero_()
        met = run.gradients(run.batch(Progress()))
        found = {name: gathered(w.grad).clone() for name, w in run.model.named_parameters()}
        found |= {"loss": met.loss, "norm": met.gradient_norm, "load": torch.tensor(met.load)}
        run.update(met, 1e-3)
        found |= {f"{name} after": gathered(w.detach()) for name, w in run.model.named_parameters()}
        if world.first:
            torch.save(found, folder / "found.pt")
        run.checkpoints.close()

def main(described, folder):
    cases, described = msgspec.json.decode(described)
    folder = Path(folder)
    for name, workers, ep, layout, change, alike in cases:
        (folder / name).mkdir()
        run = described[layout]
        run = run | {"model": run["model"] | change, "machine": run["machine"] | {"ep": ep}}
        together(workers, gradients, run, folder / name, alike)
"""


@pytest.mark.parametrize(
    "spreads", [[(4, 2)], pytest.param([(2, 2), (4, 4)], marks=pytest.mark.slow)]
)
def test_loss_gradients_and_weights_are_those_of_one_process(
    spreads: list[tuple[int, int]], described: Describe, in_workers: InWorkers, tmp_path: Path
) -> None:
    """Workers, and how many of them share out the experts."""
    one = {"experts_used": 1}
    cases = [
        (f"{what}-{workers}-{ep}", workers, ep, layout, change, alike)
        for what, layout, change, alike in (
            ("grok", "grok", {}, False),
            ("mixtral", "mixtral", {}, False),
            ("all-to-one", "grok", one, True),
        )
        for workers, ep in ((1, 1), *spreads)
    ]
    runs = {
        layout: described(
            layout,
            data={"batch": 8, "micro": 1, "documents_apart": True},
            optimizer={"kind": kind},
            machine={"recompute": again},
        )
        for layout, kind, again in (("grok", "muon", False), ("mixtral", "adamw", True))
    }
    in_workers(GRADIENTS, msgspec.json.encode((cases, runs)).decode(), tmp_path)
    for what in ("grok", "mixtral", "all-to-one"):
        one_process = torch.load(tmp_path / f"{what}-1-1" / "found.pt")
        for workers, ep in spreads:
            found = torch.load(tmp_path / f"{what}-{workers}-{ep}" / "found.pt")
            assert list(found) == list(one_process)
            for name, value in found.items():
                torch.testing.assert_close(value, one_process[name], atol=1e-5, rtol=1e-5)
        if what == "all-to-one":
            assert sorted(one_process["load"].tolist()) == [0, 0, 0, 1]
        assert one_process["blocks.0.mlp.experts.gate"].abs().sum() > 0


EXCHANGE = """
from gnomon.train.exchange import Exchange
from gnomon.train.pace import Pace
from gnomon.train.config import Machine
from gnomon.train.world import joined

def travel(seed):
    with joined(Machine(device="cpu", threads=1)) as world:
        generator = torch.Generator().manual_seed(seed * 100 + world.rank)
        most = [0, 1, 5, 40][seed % 4]
        counts = torch.randint(0, most + 1, (8,), generator=generator)
        if seed == 7:
            counts = torch.tensor([0, 0, 0, 0, 0, 100 * world.rank, 0, 0])
        experts = torch.arange(8).repeat_interleave(counts)
        numbers = torch.arange(len(experts)) + 1000 * world.rank
        rows = torch.stack((experts, numbers), 1).double().requires_grad_()
        exchange = Exchange(world.mesh, Pace(world.device, SystemClock()))
        came, own, back = exchange.to_experts(rows, counts)
        first = world.rank * 8 // world.size
        expected = torch.arange(first, first + 8 // world.size).repeat_interleave(own)
        assert torch.equal(came[:, 0].long(), expected)
        told = world.sum(torch.stack((counts.sum(), own.sum())))
        assert told[0] == told[1], "what was sent came in"
        again = exchange.from_experts(came * 3, back)
        assert torch.equal(again, rows * 3)
        again.sum().backward()
        assert torch.equal(rows.grad, torch.full_like(rows, 3))

def main():
    for workers in (2, 4):
        for seed in range(8):
            together(workers, travel, seed)
"""


def test_rows_reach_their_expert_and_come_back_in_place(in_workers: InWorkers) -> None:
    in_workers(EXCHANGE)


RESUME = """
def part(described, folder, until):
    def tell(line):
        if line.startswith(f"{until}/"):
            os._exit(0)
    try:
        loop.train(RunConfig(**described), folder, SystemClock(), tell)
    except BaseException:
        if not until:
            raise

def main(described, folder):
    described = msgspec.json.decode(described)
    for workers, ep, until in ((2, 2, 6), (4, 4, 10), (4, 2, 14), (2, 1, 18), (4, 4, 0)):
        run = described | {"machine": described["machine"] | {"ep": ep}}
        together(workers, part, run, Path(folder), until)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_a_run_goes_on_with_its_experts_dealt_otherwise(
    kind: str, described: Describe, in_workers: InWorkers, tmp_path: Path
) -> None:
    run = described(
        schedule={"steps": 24},
        data={"batch": 8, "micro": 2},
        optimizer={"kind": kind},
    )
    train(RunConfig(**run), tmp_path / "whole", SystemClock())
    in_workers(RESUME, msgspec.json.encode(run).decode(), tmp_path / "parts")
    one = {step.step: step.loss for step in read_steps(tmp_path / "whole")}
    many = {step.step: step.loss for step in read_steps(tmp_path / "parts")}
    assert list(one) == list(many) == list(range(1, 25))
    assert max(abs(one[step] - many[step]) for step in one) <= 1e-5
    assert {step.start for step in read_steps(tmp_path / "parts")} == {1, 2, 3, 4, 5}


def test_a_deal_that_does_not_come_out_even_is_refused(described: Describe, tmp_path: Path) -> None:
    for layout, ep in (("grok", 3), ("llama", 2)):
        with pytest.raises(ValidationError, match="cannot be shared out evenly"):
            RunConfig(**described(layout, machine={"ep": ep}))
    config = RunConfig(**described(machine={"ep": 2}))
    with pytest.raises(ConfigError, match=r"machine\.ep is 2, but 1 workers cannot"):
        train(config, tmp_path / "run", SystemClock())
