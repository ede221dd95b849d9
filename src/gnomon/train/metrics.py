"""What a run says of each step, one JSON line each. No PyTorch here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

METRICS = "metrics.jsonl"


class Slow(msgspec.Struct, frozen=True):
    """A worker that holds the others up."""

    rank: int
    host: str
    times: float
    """Its own time beside the median of all workers."""


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
    slow: list[Slow] = []
    """Workers that were far slower than the others lately."""


def read_steps(folder: Path) -> list[Step]:
    """The steps of the run in `folder`, each as told last. A torn line is left out."""
    path = folder / METRICS
    body = path.read_bytes() if path.is_file() else b""
    found = {step.step: step for step in decode_steps(body)}
    return [found[number] for number in sorted(found)]


def decode_steps(body: bytes) -> Iterator[Step]:
    """The steps that lines of such a file tell, in their order. A torn line is left out."""
    decoder = msgspec.json.Decoder(Step)
    for line in body.splitlines():
        try:
            yield decoder.decode(line)
        except msgspec.DecodeError:
            continue
