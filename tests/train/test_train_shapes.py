"""The named shapes: counted by formula and by building them without storage."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from gnomon.train.models.shape import Shape, presets

PUBLISHED_BILLIONS = {
    "llama3-8b": 8.03,
    "mixtral-8x7b": 46.7,
    "llama3-70b": 70.6,
    "grok-1": 314,
    "llama3-405b": 405,
}


@pytest.mark.parametrize("name", list(presets()))
def test_the_formula_counts_what_the_modules_hold(name: str) -> None:
    pytest.importorskip("torch", reason="needs gnomon[train]")
    from gnomon.train.models.transformer import on_meta

    shape = presets()[name]
    model = on_meta(shape)
    assert all(weight.is_meta for weight in model.parameters())
    assert sum(weight.numel() for weight in model.parameters()) == shape.parameters()


@pytest.mark.parametrize(("name", "billions"), PUBLISHED_BILLIONS.items())
def test_published_sizes_are_met(name: str, billions: float) -> None:
    assert presets()[name].parameters() / 1e9 == pytest.approx(billions, rel=0.006)


def test_the_numbers_of_grok_1_are_those_of_its_release() -> None:
    grok = presets()["grok-1"]
    assert grok.embedding_scale == 78.38367176906169
    assert grok.logit_scale == 0.5773502691896257
    assert grok.attention_cap == 30
    assert grok.ffn == int(8 * grok.width) * 2 // 3


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"kv_heads": 3}, "no multiple"),
        ({"experts_used": 9}, "not from 1 to experts"),
        ({"layout": "llama"}, "no experts"),
        ({"head_dim": 32}, "width = heads"),
        ({"width_": 3}, "Extra inputs"),
    ],
)
def test_shapes_that_cannot_be_are_refused(change: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Shape.model_validate(presets()["grok-10m"].model_dump() | change)
