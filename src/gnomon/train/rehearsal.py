"""Two steps and a checkpoint, there and back, before hours are spent. Needs PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from gnomon.clock import Clock
from gnomon.errors import StoreError
from gnomon.train.config import RunConfig
from gnomon.train.data import Windows
from gnomon.train.evaluate import held_out
from gnomon.train.launch import launch
from gnomon.train.loop import Outcome, train
from gnomon.train.metrics import read_steps
from gnomon.train.shards import TokenShards
from gnomon.train.tasks.ask import ready

_STEPS = 2


@dataclass(frozen=True)
class Rehearsed:
    """What two steps showed."""

    parameters: int
    tokens: int
    epochs: float
    """How often the whole run reads the data."""
    tokens_per_s: float
    workers: int
    run_s: float
    """How long the whole run would take at this speed."""
    loss: float
    first_loss: float


def rehearse(config: RunConfig, clock: Clock, workers: int = 0) -> Rehearsed:
    """Train two steps of `config`, load what they saved and compare. Raises what a run would,
    and what its gate would where its text or tasks are not there.

    With 0 workers there are as many as share out the experts, which is one where nobody does.
    """
    workers = workers or config.machine.ep
    if config.gate.text:
        held_out(config.gate.text)
    if config.gate.tasks:
        ready(list(config.gate.tasks), config.gate.task_folder)
    shards = TokenShards(config.data.tokens)
    shards.verify()
    data = config.data
    windows = Windows(shards, length=data.sequence, batch=data.batch, seed=config.seed)
    short = config.model_copy(
        update={"schedule": config.schedule.model_copy(update={"steps": _STEPS})}
    )
    with TemporaryDirectory(prefix="gnomon-check-") as folder:
        trained = _trained(short, Path(folder), clock, workers)
        steps = read_steps(Path(folder))
        loaded = _trained(short, Path(folder), clock, workers)
    if trained != loaded:
        raise StoreError(
            "A checkpoint did not load as it was saved.",
            code="train.damaged",
            hint="Check the disk that holds temporary files.",
        )
    speed = steps[-1].tokens_per_s
    whole = config.schedule.steps * data.batch
    return Rehearsed(
        parameters=config.model.parameters(),
        tokens=shards.tokens,
        epochs=whole / windows.count,
        tokens_per_s=speed,
        run_s=whole * data.sequence / speed,
        workers=workers,
        loss=trained.loss,
        first_loss=steps[0].loss or float("nan"),
    )


def _trained(config: RunConfig, folder: Path, clock: Clock, workers: int) -> Outcome:
    if workers == 1:
        return train(config, folder, clock)
    described = folder / "rehearsed.json"
    described.write_text(config.model_dump_json())
    launch(described, folder, workers)
    return msgspec.json.decode((folder / "outcome.json").read_bytes(), type=Outcome)
