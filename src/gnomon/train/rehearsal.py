"""Two steps and a checkpoint, there and back, before hours are spent. Needs PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from gnomon.clock import Clock
from gnomon.errors import StoreError
from gnomon.train.config import RunConfig
from gnomon.train.data import Windows
from gnomon.train.loop import train
from gnomon.train.metrics import read_steps
from gnomon.train.shards import TokenShards

_STEPS = 2


@dataclass(frozen=True)
class Rehearsed:
    """What two steps showed."""

    parameters: int
    tokens: int
    epochs: float
    """How often the whole run reads the data."""
    tokens_per_s: float
    run_s: float
    """How long the whole run would take at this speed."""
    loss: float
    first_loss: float


def rehearse(config: RunConfig, clock: Clock) -> Rehearsed:
    """Train two steps of `config`, load what they saved and compare. Raises what a run would."""
    shards = TokenShards(config.data.tokens)
    shards.verify()
    data = config.data
    windows = Windows(shards, length=data.sequence, batch=data.batch, seed=config.seed)
    short = config.model_copy(
        update={"schedule": config.schedule.model_copy(update={"steps": _STEPS})}
    )
    with TemporaryDirectory(prefix="gnomon-check-") as folder:
        trained = train(short, Path(folder), clock)
        steps = read_steps(Path(folder))
        loaded = train(short, Path(folder), clock)
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
        loss=trained.loss,
        first_loss=steps[0].loss or float("nan"),
    )
