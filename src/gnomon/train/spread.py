"""Whole tensors and their parts on the workers. Needs PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, Replicate, Shard


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


def here(part: Tensor) -> Tensor:
    """What this worker holds of a tensor."""
    if not isinstance(part, DTensor):
        return part
    own: Tensor = part.to_local()
    return own


def by_matrix(change: Callable[[Tensor], Tensor], stack: Tensor) -> Tensor:
    """Change each matrix of a stack on a worker that has it whole, gathering what is cut.

    `change` takes [..., rows, columns], also no matrix at all. All workers must call this.
    """
    if not isinstance(stack, DTensor):
        return change(stack)
    uncut = [
        placement
        if isinstance(placement, Shard) and placement.dim < stack.ndim - 2
        else Replicate()
        for placement in stack.placements
    ]
    whole: Any = stack.redistribute(placements=uncut)
    changed: Any = DTensor.from_local(
        change(whole.to_local()),
        stack.device_mesh,
        uncut,
        run_check=False,
        shape=stack.shape,
        stride=stack.stride(),
    )
    parts: Tensor = changed.redistribute(placements=stack.placements)
    return parts


def total_norm(gradients: Iterable[Tensor]) -> Tensor:
    """The norm of all gradients as one vector, however each is spread. All workers must ask."""
    groups: dict[Any, list[Tensor]] = {}
    for gradient in gradients:
        mesh = gradient.device_mesh if isinstance(gradient, DTensor) else None
        groups.setdefault(mesh, []).append(gradient)
    norms = [gathered(torch.nn.utils.get_total_norm(group)) for group in groups.values()]
    return norms[0] if len(norms) == 1 else torch.linalg.vector_norm(torch.stack(norms))
