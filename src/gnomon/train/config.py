"""The configuration of a run: one TOML file, read whole and refused whole. No PyTorch here."""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import tomllib
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from gnomon.errors import ConfigError
from gnomon.train.models.shape import Shape, presets


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Data(_Section):
    """What is read, and how much at a step."""

    tokens: Path = Field(description="Folder of token shards.")
    sequence: int = Field(512, ge=8, description="Tokens of one sample.")
    batch: int = Field(32, ge=1, description="Samples of one step, over all workers.")
    micro: int = Field(8, ge=1, description="Samples that one worker computes at once.")
    documents_apart: bool = Field(
        False, description="Attention stays inside each document of a sample."
    )


class Optimizer(_Section):
    """How gradients become steps."""

    kind: Literal["adamw", "muon"] = Field(
        "adamw", description="muon: for the matrices inside layers; the rest stays with AdamW."
    )
    rate: float = Field(3e-4, gt=0, description="Highest learning rate.")
    weight_decay: float = Field(0.1, ge=0)
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.95, ge=0, lt=1)
    momentum: float = Field(0.95, ge=0, lt=1, description="Of Muon.")
    clip: float = Field(1.0, gt=0, description="Largest norm of all gradients together.")
    balance: float = Field(0.01, ge=0, description="Weight of the experts' balance loss.")
    router_z: float = Field(1e-3, ge=0, description="Weight of the router's z-loss.")


class Schedule(_Section):
    """The learning rate over time."""

    kind: Literal["cosine", "wsd", "constant"] = Field(
        "cosine", description="wsd: warm up, stay, fall linearly over the last `decay` steps."
    )
    steps: int = Field(1_000, ge=1)
    warmup: int = Field(50, ge=0)
    decay: int = Field(200, ge=0, description="Steps of the fall, for wsd.")
    floor: float = Field(0.1, ge=0, le=1, description="Part of the rate that is left at the end.")

    def factor(self, step: int) -> float:
        """What the highest rate is multiplied with at `step`, counted from 0."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        if self.kind == "constant":
            return 1.0
        begin = self.steps - self.decay if self.kind == "wsd" else self.warmup
        part = min(1.0, max(0.0, (step + 1 - begin) / max(1, self.steps - begin)))
        fall = part if self.kind == "wsd" else (1 - math.cos(math.pi * part)) / 2
        return 1 - (1 - self.floor) * fall


class Checkpoints(_Section):
    """What a kill may cost."""

    every: int = Field(100, ge=1, description="Steps between two checkpoints.")
    keep: int = Field(3, ge=1, description="Newest checkpoints that are kept.")
    disk_full: Literal["continue", "stop"] = Field(
        "continue", description="What happens when a checkpoint cannot be written."
    )


class Faults(_Section):
    """What happens when numbers go wrong."""

    nan: Literal["skip", "rollback", "stop"] = Field(
        "skip", description="When a loss or gradient is not finite."
    )
    spike: Literal["ignore", "skip", "rollback", "stop"] = Field(
        "ignore", description="When a loss leaps above those before it."
    )
    spike_sigmas: float = Field(6.0, gt=0, description="How far above, in standard deviations.")
    spike_window: int = Field(64, ge=8, le=1_024, description="Losses that it is compared with.")
    give_up: int = Field(10, ge=1, description="Bad steps without a good one that end the run.")
    straggler: float = Field(
        1.5,
        ge=0,
        description="Times the median's own time from which a worker is told of; 0: never.",
    )
    straggler_window: int = Field(20, ge=1, le=1_024, description="Steps that this is judged by.")

    @field_validator("straggler")
    @classmethod
    def _above_one(cls, value: float) -> float:
        if 0 < value <= 1:
            raise ValueError("must be above 1, or 0 to look for none")
        return value


class Machine(_Section):
    """What it runs on."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["fp32", "bf16", "float8"] = Field(
        "fp32", description="Of activations and multiplications; weights are kept in fp32."
    )
    threads: int = Field(0, ge=0, description="Of one worker on CPU; 0: its share of the cores.")
    ep: int = Field(
        1, ge=1, description="Workers that share out a layer's experts: expert parallelism."
    )
    compile: bool = False
    recompute: bool = Field(False, description="Activation checkpointing: less memory, more work.")


class Gate(_Section):
    """What the model must reach before it may serve."""

    text: tuple[Path, ...] = Field(
        (), description="Files and folders of text that it was not trained on."
    )
    max_bits_per_byte: float = Field(
        8.0, gt=0, description="Of that text. A model that knows nothing needs 8."
    )
    min_cloze: float = Field(
        0.0, ge=0, le=100, description="Percent of next words picked out of four; chance is 25."
    )
    worse_bits_per_byte: float = Field(
        0.02, ge=0, description="How far above those of the model that it replaces."
    )
    worse_cloze: float = Field(
        5.0, ge=0, description="Percentage points below the model that it replaces."
    )
    tasks: dict[str, dict[str, float]] = Field(
        {}, description="Tasks of lm-eval, and what their figures must reach: TASK.METRIC = 0.5."
    )
    task_folder: Path | None = Field(
        None, description="Folder with task definitions and data of one's own."
    )
    worse_tasks: float = Field(
        0.1, ge=0, description="Part of the replaced model's figure that a task may lose."
    )


class RunConfig(_Section):
    """One run, entirely."""

    model: Shape
    data: Data
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    checkpoint: Checkpoints = Checkpoints()
    faults: Faults = Faults()
    machine: Machine = Machine()
    gate: Gate = Gate()
    seed: int = Field(0, ge=0)
    chat_template: str = Field(
        "", description="How turns become text, as Jinja; goes into exported GGUF files."
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.data.sequence > self.model.context:
            raise ValueError(
                f"data.sequence ({self.data.sequence}) is longer than the model's context "
                f"({self.model.context})"
            )
        if self.data.batch % self.data.micro:
            raise ValueError(
                f"data.batch ({self.data.batch}) is no multiple of data.micro ({self.data.micro})"
            )
        if self.machine.ep > 1 and (not self.model.experts or self.model.experts % self.machine.ep):
            raise ValueError(
                f"model.experts ({self.model.experts}) cannot be shared out evenly to machine.ep "
                f"({self.machine.ep}) workers"
            )
        return self

    def micro(self, workers: int) -> int:
        """Samples that each of so many workers computes at once. Raises ConfigError."""
        batch = self.data.batch
        micro = min(self.data.micro, batch // workers)
        if batch % workers or batch // workers % micro:
            raise ConfigError(
                f"data.batch ({batch}) cannot be dealt to {workers} workers in parts of "
                f"{self.data.micro}.",
                code="train.batch",
                hint="Make data.batch a multiple of workers × data.micro.",
            )
        return micro

    def identity(self) -> str:
        """A hash of all that a checkpoint depends on: model, data order and optimizer's state."""
        kept = self.model_dump(
            mode="json",
            include={
                "model": True,
                "seed": True,
                "data": {"sequence", "batch", "documents_apart"},
                "optimizer": {"kind"},
            },
        )
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def read_config(path: Path) -> RunConfig:
    """Read the TOML file at `path`. Raises ConfigError that names each wrong key and what is near.

    `model` is a preset's name, or a table: either whole, or `preset = NAME` with what differs.
    Paths are relative to the file. The `config.json` of a run says the same, and is read as well.
    """
    loads = json.loads if path.suffix == ".json" else tomllib.loads
    try:
        described = loads(path.read_text())
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}.",
            code="train.config",
            hint="Name the TOML file of a run.",
        ) from error
    except ValueError as error:  # what both raise, and a text that is no UTF-8
        form = "JSON" if loads is json.loads else "TOML"
        raise ConfigError(f"{path} is not {form}: {error}.", code="train.config") from error
    described["model"] = _model(described.get("model"), path)
    try:
        config = RunConfig.model_validate(described)
    except ValidationError as error:
        told = "; ".join(_told(detail) for detail in error.errors())
        raise ConfigError(
            f"{path}: {told}.", code="train.config", hint="See docs/how-to/train-a-model.md."
        ) from error
    tokens = (path.parent / config.data.tokens).resolve()
    gate = config.gate
    moved: dict[str, Any] = {"text": tuple((path.parent / t).resolve() for t in gate.text)}
    if gate.task_folder:
        moved["task_folder"] = (path.parent / gate.task_folder).resolve()
    return config.model_copy(
        update={
            "data": config.data.model_copy(update={"tokens": tokens}),
            "gate": gate.model_copy(update=moved),
        }
    )


def _model(given: Any, path: Path) -> Any:
    if isinstance(given, str):
        given = {"preset": given}
    if not isinstance(given, dict) or "preset" not in given:
        return given
    name, changes = given["preset"], {k: v for k, v in given.items() if k != "preset"}
    if name not in presets():
        near = difflib.get_close_matches(str(name), presets(), 1)
        raise ConfigError(
            f"{path}: there is no model preset {name!r}.",
            code="train.config",
            hint=f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(presets())}.",
        )
    return presets()[name].model_dump() | changes


def _told(detail: Any) -> str:
    where = ".".join(map(str, detail["loc"]))
    if where.startswith("gate.tasks.") and detail["type"] == "dict_type":
        return f"{where} names no figure, such as {where}.acc = {detail['input']}"
    if detail["type"] == "missing":
        return f"{where} is missing"
    if detail["type"] != "extra_forbidden":
        said = str(detail["msg"]).removeprefix("Value error, ")
        return f"{where}: {said}" if where else said
    *outer, name = map(str, detail["loc"])
    section: Any = RunConfig
    for part in outer:
        section = section.model_fields[part].annotation
    near = difflib.get_close_matches(name, section.model_fields, 1)
    return f"unknown key {where}" + (f" (did you mean {near[0]}?)" if near else "")
