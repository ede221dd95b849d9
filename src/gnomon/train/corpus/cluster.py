"""The stages of a corpus over all machines of a Ray cluster. Needs Ray.

Each call of a stage is a row of a Ray dataset, so that Ray Data decides where and how many run at
once, and runs again what died with its process or machine. What a stage reads and leaves are files:
all machines must see inputs and corpus under the same paths.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import msgspec
import ray.data
from ray.exceptions import RayError

from gnomon.errors import GnomonError, UpstreamError
from gnomon.train.cluster import Refusal, cluster
from gnomon.train.corpus.build import Spread, Step


@contextmanager
def spread_over(address: str, *, workers: int) -> Iterator[Spread]:
    """What runs steps on the cluster at `address`, or on one of its own with `workers` places."""
    with cluster(address, cpus=workers):
        ray.data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        yield _spread


def _spread(step: Step, count: int) -> Iterator[None]:
    if not count:
        return
    numbers = ray.data.range(count, override_num_blocks=count)
    try:
        for row in numbers.map(partial(_run, step), num_cpus=1).iter_rows():
            if row["refusal"]:
                raise msgspec.json.decode(row["refusal"], type=Refusal).error()
            yield None
    except RayError as error:
        raise UpstreamError(
            f"Ray gave up: {error}",
            code="corpus.cluster",
            hint="Start the command again: it goes on where it was.",
        ) from error


def _run(step: Step, row: dict[str, Any]) -> dict[str, bytes]:
    """Take a step. What it refuses travels as data: repeating it would not help."""
    try:
        step(int(row["id"]))
    except GnomonError as error:
        return {"refusal": msgspec.json.encode(Refusal.of(error))}
    return {"refusal": b""}
