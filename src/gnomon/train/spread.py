"""Whole tensors and their parts on the workers. Needs PyTorch."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.distributed.tensor import DTensor, Replicate


def spread_like(whole: Tensor, pattern: Tensor) -> Tensor:
    """This worker's part of a tensor that every worker holds whole, laid out as `pattern` is."""
    if not isinstance(pattern, DTensor):
        return whole
    mesh = pattern.device_mesh
    copied: Any = DTensor.from_local(whole, mesh, [Replicate()] * mesh.ndim, run_check=False)
    part: Tensor = copied.redistribute(placements=pattern.placements)
    return part


def gathered(part: Tensor) -> Tensor:
    """The whole of a tensor; all workers must ask for it."""
    if not isinstance(part, DTensor):
        return part
    whole: Tensor = part.full_tensor()
    return whole
