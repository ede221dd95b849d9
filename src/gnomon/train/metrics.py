"""What a run says of each step, one JSON line each. No PyTorch here."""

from __future__ import annotations

from pathlib import Path

import msgspec

METRICS = "metrics.jsonl"


class Step(msgspec.Struct):
    """What is known of one step."""

    step: int
    loss: float | None
    """None where it was not finite, as JSON cannot say so."""
    rate: float
    gradient_norm: float | None
    tokens_per_s: float
    mfu: float
    at: float
    """Seconds since the epoch."""
    verdict: str = "good"
    load: list[float] = []
    """Each expert's share of the tokens."""
    start: int = 0
    """Which start of the run this belongs to."""


def read_steps(folder: Path) -> list[Step]:
    """The steps of the run in `folder`, each as told last. A torn line is left out."""
    found: dict[int, Step] = {}
    path = folder / METRICS
    for line in path.read_bytes().splitlines() if path.is_file() else ():
        try:
            step = msgspec.json.decode(line, type=Step)
        except msgspec.DecodeError:
            continue
        found[step.step] = step
    return [found[number] for number in sorted(found)]
