"""The workers of a run, and how they find each other.

Needs PyTorch. Under torchrun the workers' number and places come from its environment; without
it there is one worker, which takes the same way through sharding and checkpoints.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from gnomon.errors import ConfigError
from gnomon.train.config import Machine
from gnomon.train.float8 import must_compute_in_float8
from gnomon.train.launch import die_with_parent

_TIMEOUT = timedelta(minutes=10)


T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """This worker's place among the workers."""

    rank: int
    size: int
    device: torch.device
    mesh: DeviceMesh
    groups: DeviceMesh | None
    """The same workers in rows that share out experts; None where every worker has all experts."""
    writers: Any
    """A group of all workers for the threads that write checkpoints: it never meets training."""

    @property
    def first(self) -> bool:
        """Whether this worker speaks for all."""
        return self.rank == 0

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over all workers, in place."""
        dist.all_reduce(values)
        return values

    def hosts(self) -> list[str]:
        """The name of every worker's machine, by rank; all must ask for it."""
        names: list[Any] = [None] * self.size
        dist.all_gather_object(names, platform.node(), group=self.writers)
        return names

    def from_first(self, value: T) -> T:
        """What the first worker has."""
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]


@contextmanager
def joined(machine: Machine) -> Iterator[World]:
    """Join the other workers for as long as the context lasts."""
    launched = "RANK" in os.environ
    if launched:
        die_with_parent()
    size = int(os.environ.get("WORLD_SIZE", "1"))
    device = _device(machine, int(os.environ.get("LOCAL_RANK", "0")))
    if machine.precision == "float8":
        must_compute_in_float8(device)
    if device.type == "cpu":
        here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        torch.set_num_threads(machine.threads or max(1, len(os.sched_getaffinity(0)) // here))
    backend = "gloo" if device.type == "cpu" else "cpu:gloo,cuda:nccl"
    if launched:
        dist.init_process_group(backend, timeout=_TIMEOUT)
    else:
        dist.init_process_group(backend, store=_alone(), rank=0, world_size=1)
    try:
        writers = dist.new_group(backend="gloo", timeout=timedelta(hours=1))
        mesh = init_device_mesh(device.type, (size,))
        yield World(dist.get_rank(), size, device, mesh, _groups(machine, device, size), writers)
    finally:
        dist.destroy_process_group()


def _groups(machine: Machine, device: torch.device, size: int) -> DeviceMesh | None:
    if machine.ep == 1:
        return None
    if size % machine.ep:
        raise ConfigError(
            f"machine.ep is {machine.ep}, but {size} workers cannot be grouped so.",
            code="train.ep",
            hint=f"Start a multiple of {machine.ep} workers, or change machine.ep: the run goes on "
            "from its checkpoint either way.",
        )
    # Neighbours share a row: rows of tokens then stay inside a machine where they can.
    return init_device_mesh(
        device.type, (size // machine.ep, machine.ep), mesh_dim_names=("column", "row")
    )


def free_bytes(world: World) -> int:
    """Memory that this worker can still take on its device."""
    if world.device.type == "cuda":
        return int(torch.cuda.mem_get_info(world.device)[0])
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024 // here
    return sys.maxsize


def _alone() -> Any:
    return dist.HashStore()  # type: ignore[attr-defined]


def _device(machine: Machine, local: int) -> torch.device:
    wanted = machine.device
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ConfigError(
            "machine.device is cuda, but PyTorch sees no GPU.",
            code="train.no_gpu",
            hint='Set machine.device = "cpu", or install the CUDA build of PyTorch.',
        )
    torch.cuda.set_device(local)
    return torch.device("cuda", local)
