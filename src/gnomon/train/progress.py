"""How far training runs have come, for whoever watches them from elsewhere. No PyTorch here."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

import msgspec
from pydantic import ValidationError

from gnomon.errors import ConfigError, GnomonError
from gnomon.models.registry import Check
from gnomon.train.config import RunConfig
from gnomon.train.judgement import read_judgement
from gnomon.train.metrics import METRICS, Step, decode_steps
from gnomon.train.runs import goodput, smooth
from gnomon.train.shards import INDEX

Points: TypeAlias = "list[tuple[int, float]]"
Item = TypeVar("Item")

_CURVE_POINTS, _BRIEF_POINTS = 300, 60
_TAIL_STEPS = 50
_SILENT_S = 60.0
"""A run that told nothing for so long, and for ten of its steps, is taken for stopped."""


class Progress(msgspec.Struct, kw_only=True):
    """One run as it stands."""

    name: str
    state: Literal["running", "stopped", "finished", "unreadable"]
    text: str = ""
    """Why it cannot be read; empty if it can."""
    model: str = ""
    step: int = 0
    steps: int = 0
    loss: float | None = None
    tokens: int = 0
    tokens_wanted: int = 0
    tokens_per_s: float = 0.0
    mfu: float = 0.0
    eta_s: float | None = None
    """Seconds left at the pace of the last steps; None if it does not run."""
    updated_at: datetime | None = None
    starts: int = 0
    bad: int = 0
    """Steps that were skipped or rolled back."""
    goodput: float = 1.0
    passed: bool | None = None
    """What its gate said; None if no gate judged it."""
    checks: tuple[Check, ...] = ()
    curves: dict[str, Points] = {}
    """(step, value), thinned."""


def all_runs(home: Path, now: datetime) -> list[Progress]:
    """Every run under `home`, by name, each with a short curve of its loss."""
    folders = [path.parent for path in sorted(home.glob("*/config.json"))]
    return [_progress(folder, now, _brief) for folder in folders]


def one_run(home: Path, name: str, now: datetime) -> Progress | None:
    """The run of that name with all its curves; None if there is none."""
    folder = home / name
    if folder.parent != home or not (folder / "config.json").is_file():
        return None
    return _progress(folder, now, _whole)


def lineage(folder: Path) -> dict[str, str]:
    """The way that led to the model of a run, as far as its folder tells. Raises ConfigError."""
    try:
        config = RunConfig.model_validate_json((folder / "config.json").read_bytes())
    except (OSError, ValidationError) as error:
        raise ConfigError(
            f"{folder} is no training run: {_first_line(error)}.",
            code="train.run",
            hint="`gnomon runs` lists them.",
        ) from error
    known = {"run": folder.name, "configuration": config.identity()}
    for path, keys in (
        (config.data.tokens / INDEX, {"corpus": "corpus", "tokenizer": "tokenizer_sha256"}),
        (folder / "outcome.json", {"steps": "steps", "weights": "sha256"}),
    ):
        with suppress(OSError, msgspec.DecodeError):  # a run may be on its way, or its data gone
            found = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
            known |= {name: str(found[key]) for name, key in keys.items() if found.get(key)}
    return known


def _progress(
    folder: Path, now: datetime, curves: Callable[[Sequence[Step]], dict[str, Points]]
) -> Progress:
    try:
        config = RunConfig.model_validate_json((folder / "config.json").read_bytes())
        steps = _steps(folder)
        judgement = read_judgement(folder)
    except (OSError, ValidationError, GnomonError) as error:
        return Progress(
            name=folder.name, state="unreadable", text=f"It cannot be read: {_first_line(error)}."
        )
    shape, a_step = config.model, config.data.batch * config.data.sequence
    found = Progress(
        name=folder.name,
        state="stopped",
        model=f"{shape.layout} {shape.parameters() / 1e6:,.1f}M",
        steps=config.schedule.steps,
        tokens_wanted=config.schedule.steps * a_step,
        passed=judgement.passed if judgement else None,
        checks=judgement.checks if judgement else (),
    )
    finished = (folder / "outcome.json").is_file()
    if finished:
        found.state = "finished"
    if not steps:
        return found
    last, tail = steps[-1], steps[-_TAIL_STEPS:]
    found.step, found.loss, found.tokens = last.step, last.loss, last.step * a_step
    found.tokens_per_s = sum(s.tokens_per_s for s in tail) / len(tail)
    found.mfu = sum(s.mfu for s in tail) / len(tail)
    found.updated_at = datetime.fromtimestamp(last.at, UTC)
    found.starts = max(s.start for s in steps)
    found.bad = sum(s.verdict != "good" for s in steps)
    found.goodput = goodput(steps)
    found.curves = curves(steps)
    step_s = a_step / found.tokens_per_s if found.tokens_per_s > 0 else 0.0
    if not finished and now.timestamp() - last.at <= max(_SILENT_S, 10 * step_s):
        found.state = "running"
        found.eta_s = max(0, found.steps - last.step) * step_s if step_s else None
    return found


class _Tail:
    """The steps that a metrics file tells, read on from where the last look ended."""

    def __init__(self) -> None:
        self._file = (0, 0)
        self._read_bytes = 0
        self._steps: list[Step] = []
        self._lock = threading.Lock()

    def steps(self, path: Path) -> tuple[Step, ...]:
        with self._lock, path.open("rb") as file:
            stat = os.fstat(file.fileno())
            if self._file != (stat.st_dev, stat.st_ino) or stat.st_size < self._read_bytes:
                self._file, self._read_bytes, self._steps = (stat.st_dev, stat.st_ino), 0, []
            file.seek(self._read_bytes)
            whole, newline, _ = file.read().rpartition(b"\n")
            if newline:
                self._read_bytes += len(whole) + 1
                for step in decode_steps(whole):
                    # A run that went back to a checkpoint has its later steps still before it.
                    while self._steps and self._steps[-1].step >= step.step:
                        self._steps.pop()
                    self._steps.append(step)
            return tuple(self._steps)


@lru_cache(maxsize=32)
def _tail(_folder: Path) -> _Tail:
    return _Tail()


def _steps(folder: Path) -> Sequence[Step]:
    try:
        return _tail(folder).steps(folder / METRICS)
    except FileNotFoundError:
        return ()


def _brief(steps: Sequence[Step]) -> dict[str, Points]:
    shown = _spread(steps, _BRIEF_POINTS)
    return {"loss": _known([(s.step, s.loss) for s in shown])}


def _whole(steps: Sequence[Step]) -> dict[str, Points]:
    shown = _spread(steps, _CURVE_POINTS)
    lines: dict[str, list[tuple[int, float | None]]] = {
        "loss": [(s.step, s.loss) for s in shown],
        "loss_smoothed": _spread(smooth(steps), _CURVE_POINTS),
        "rate": [(s.step, s.rate) for s in shown],
        "gradient_norm": [(s.step, s.gradient_norm) for s in shown],
        "tokens_per_s": [(s.step, s.tokens_per_s) for s in shown],
        "mfu": [(s.step, s.mfu) for s in shown],
    }
    for expert in range(len(steps[-1].load)):
        lines[f"expert_{expert}"] = [
            (s.step, s.load[expert]) for s in shown if len(s.load) > expert
        ]
    return {name: _known(line) for name, line in lines.items()}


def _known(line: Sequence[tuple[int, float | None]]) -> Points:
    return [(step, value) for step, value in line if value is not None]


def _spread(items: Sequence[Item], limit: int) -> list[Item]:
    """At most `limit` items, evenly spread, the first and the last among them."""
    if len(items) <= limit:
        return list(items)
    last = len(items) - 1
    return [items[at * last // (limit - 1)] for at in range(limit)]


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".") or repr(error)
