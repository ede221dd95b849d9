"""AdamW for vectors and ends, Muon for the matrices inside layers. Needs PyTorch.

Both work on whole or sharded parameters. Muon needs each matrix whole: it gathers those that are
cut, and leaves whole experts where they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from gnomon.train.config import Optimizer
from gnomon.train.spread import by_matrix

_STEPS = 5
_A, _B, _C = 3.4445, -4.7750, 2.0315
"""Coefficients of the quintic Newton–Schulz iteration (Jordan et al., Muon, 2024)."""


def orthogonalise(matrices: Tensor, precision: torch.dtype = torch.float32) -> Tensor:
    """The nearest (semi-)orthogonal matrices to the last two dimensions, roughly: UVᵀ of UΣVᵀ."""
    x = matrices.reshape(-1, *matrices.shape[-2:])
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    x = (x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)).to(precision)
    for _ in range(_STEPS):
        square = x @ x.mT
        factor = torch.baddbmm(square, square, square, beta=_B, alpha=_C)
        x = torch.baddbmm(x, factor, x, beta=_A)
    x = x.mT if tall else x
    return x.reshape(matrices.shape).to(matrices.dtype)


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised (Jordan et al. 2024), scaled to the size of AdamW's steps.

    The scale 0.2·√max(rows, columns) is that of Liu et al. 2025 (arXiv 2502.16982), so that one
    learning rate serves both optimizers.
    """

    def __init__(
        self,
        params: Iterable[Any],
        *,
        lr: float,
        momentum: float,
        weight_decay: float,
        precision: torch.dtype = torch.float32,
    ) -> None:
        """`precision` is that of finding the direction; bf16 is enough for it."""
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self._precision = precision

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take one step."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                past = self.state[weight]["momentum"]
                past.lerp_(weight.grad, 1 - group["momentum"])
                ahead = weight.grad.lerp(past, group["momentum"])
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(self._update(ahead), alpha=-group["lr"])

    def _update(self, ahead: Tensor) -> Tensor:
        scale = 0.2 * max(ahead.shape[-2:]) ** 0.5
        return by_matrix(lambda found: orthogonalise(found, self._precision) * scale, ahead)


def optimizers(
    model: nn.Module, config: Optimizer, precision: torch.dtype = torch.float32
) -> list[torch.optim.Optimizer]:
    """One or two optimizers over all parameters of `model`; `precision` is Muon's."""
    matrices, ends, vectors = [], [], []
    for name, weight in model.named_parameters():
        if weight.dim() < 2:
            vectors.append(weight)
        elif name.startswith(("embedding", "head")) or "router" in name:
            ends.append(weight)
        else:
            matrices.append(weight)
    decayed = ends if config.kind == "muon" else [*ends, *matrices]
    found: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": config.weight_decay},
                {"params": vectors, "weight_decay": 0.0},
            ],
            lr=config.rate,
            betas=(config.beta1, config.beta2),
        )
    ]
    if config.kind == "muon":
        found.append(
            Muon(
                matrices,
                lr=config.rate,
                momentum=config.momentum,
                weight_decay=config.weight_decay,
                precision=precision,
            )
        )
    for optimizer in found:
        _begin(optimizer)
    return found


def _begin(optimizer: torch.optim.Optimizer) -> None:
    """Make the state that the first step would make, so that a checkpoint has where to load."""
    for group in optimizer.param_groups:
        for weight in group["params"]:
            if isinstance(optimizer, Muon):
                optimizer.state[weight] = {"momentum": torch.zeros_like(weight)}
            else:
                optimizer.state[weight] = {
                    "step": torch.tensor(0.0),
                    "exp_avg": torch.zeros_like(weight),
                    "exp_avg_sq": torch.zeros_like(weight),
                }
