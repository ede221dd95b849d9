"""What is measured of a model, and what its gate made of it. No PyTorch here."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from gnomon.errors import StoreError
from gnomon.models.registry import Check
from gnomon.train.shards import write_durably

JUDGEMENT = "gate.json"


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """One figure. Without an interval where a single document gives none."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    n: int = 0
    unit: Literal["", "%"] = ""


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What `gate.json` in a run's folder says of the last time that it was judged."""

    file: str
    file_sha256: str
    text_sha256: str
    serving: str
    """The model that it was compared with; empty if none served."""
    measures: tuple[Measure, ...]
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether every figure reaches its threshold."""
        return all(check.passed for check in self.checks)


def read_judgement(run: Path) -> Judgement | None:
    """The last judgement of a run; None if it was never judged."""
    path = run / JUDGEMENT
    if not path.is_file():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=Judgement)
    except msgspec.DecodeError as error:
        raise StoreError(
            f"{path} cannot be read: {error}.",
            code="gate.judgement",
            hint="Judge the run again with `gnomon forge gate`.",
        ) from error


def write_judgement(run: Path, judgement: Judgement) -> None:
    """Replace the last judgement of a run."""
    write_durably(run / JUDGEMENT, msgspec.json.format(msgspec.json.encode(judgement)))
