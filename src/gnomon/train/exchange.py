"""Experts on several workers: each row travels to the worker that holds its expert, and back.

No row is ever dropped and none waits for a place: a worker takes whatever comes, be it all rows of
all workers. Only how many rows there are is told ahead, in one small exchange. Needs PyTorch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.distributed import _functional_collectives as functional
from torch.distributed.device_mesh import DeviceMesh

if TYPE_CHECKING:
    from gnomon.train.pace import Pace


@dataclass(frozen=True)
class Back:
    """How rows that came from everywhere find home again."""

    places: Tensor
    """Where each row, as it came in, stands among the rows by expert."""
    sent: list[int]
    came: list[int]


class Exchange:
    """The way between the workers that share a set of experts. All of them must take each step."""

    def __init__(self, mesh: DeviceMesh, pace: Pace) -> None:
        """`mesh` has one dimension; its workers hold equal parts of the experts, in their order."""
        self._mesh, self._pace = mesh, pace

    def to_experts(self, rows: Tensor, counts: Tensor) -> tuple[Tensor, Tensor, Back]:
        """Give rows, sorted by expert, for rows of this worker's experts, sorted by expert.

        `counts` is the number of rows for each of all experts; returned is that for each of ours.
        """
        workers = self._mesh.size()
        with self._pace.waiting():
            told = self._swap(counts)
            came = told.view(workers, -1)  # by sender, then by expert of ours
            sent_rows = counts.view(workers, -1).sum(1).tolist()
            came_rows = came.sum(1).tolist()
            rows = self._swap(rows, came_rows, sent_rows)
        experts = torch.arange(came.shape[1], device=rows.device).repeat(workers)
        order = experts.repeat_interleave(came.flatten()).argsort(stable=True)
        return rows[order], came.sum(0), Back(order.argsort(), sent_rows, came_rows)

    def from_experts(self, rows: Tensor, back: Back) -> Tensor:
        """Give back what became of the rows that came, for what became of those that were sent."""
        rows = rows[back.places]
        with self._pace.waiting():
            return self._swap(rows, back.sent, back.came)

    def _swap(
        self, rows: Tensor, came: list[int] | None = None, sent: list[int] | None = None
    ) -> Tensor:
        swapped: Tensor = functional.all_to_all_single_autograd(rows, came, sent, self._mesh)
        waited: Tensor = functional.wait_tensor(swapped)  # type: ignore[no-untyped-call]
        return waited
