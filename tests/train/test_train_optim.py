"""Muon's direction: what the published iteration gives, for stacks and in narrow numbers too."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs gnomon[train]")

from gnomon.train.optim import orthogonalise  # noqa: E402

A, B, C = 3.4445, -4.7750, 2.0315


def published(matrix: torch.Tensor) -> torch.Tensor:
    """The iteration as in the text: X ← aX + b(XXᵀ)X + c(XXᵀ)²X, five times, in doubles."""
    wide = matrix.shape[0] <= matrix.shape[1]
    x = (matrix if wide else matrix.T).double()
    x = x / x.norm()
    for _ in range(5):
        gram = x @ x.T
        x = A * x + B * (gram @ x) + C * (gram @ (gram @ x))
    return x if wide else x.T


@pytest.mark.parametrize("shape", [(8, 24), (24, 8), (16, 16)])
def test_every_matrix_of_a_stack_goes_its_published_way(shape: tuple[int, int]) -> None:
    stack = torch.randn(3, *shape, generator=torch.Generator().manual_seed(1))
    found = orthogonalise(stack)
    assert found.shape == stack.shape
    assert found.dtype == stack.dtype
    for matrix, one in zip(stack, found, strict=True):
        torch.testing.assert_close(one.double(), published(matrix), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(orthogonalise(matrix), one, atol=1e-5, rtol=1e-5)
        assert torch.linalg.svdvals(one).min() > 0.6
        assert torch.linalg.svdvals(one).max() < 1.3


def test_bf16_is_near_enough() -> None:
    matrix = torch.randn(2, 32, 48, generator=torch.Generator().manual_seed(2))
    exact, narrow = orthogonalise(matrix), orthogonalise(matrix, torch.bfloat16)
    assert narrow.dtype == torch.float32
    apart = (exact - narrow).norm() / exact.norm()
    assert 0 < apart < 0.03


def test_no_matrix_at_all_stays_none() -> None:
    assert orthogonalise(torch.zeros(0, 8, 8)).shape == (0, 8, 8)
