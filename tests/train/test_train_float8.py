"""float8: refused where it cannot be, and wired so that the model still computes what it did."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs gnomon[train]")

from gnomon.clock import SystemClock  # noqa: E402
from gnomon.errors import ConfigError  # noqa: E402
from gnomon.train.config import RunConfig  # noqa: E402
from gnomon.train.float8 import in_float8  # noqa: E402
from gnomon.train.loop import train  # noqa: E402
from gnomon.train.models.transformer import Transformer  # noqa: E402

Describe = Callable[..., dict[str, Any]]


def test_a_device_without_it_is_named_before_anything_is_done(
    described: Describe, tmp_path: Path
) -> None:
    config = RunConfig(**described(machine={"precision": "float8"}))
    with pytest.raises(ConfigError, match="float8, in which the CPU cannot multiply") as refused:
        train(config, tmp_path / "run", SystemClock())
    assert refused.value.code == "train.float8"
    assert 'precision = "bf16"' in refused.value.hint
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("layout", ["llama", "grok"])
def test_converted_models_keep_weights_and_nearly_the_loss(
    layout: str, described: Describe
) -> None:
    pytest.importorskip("torchao", reason="needs torchao")
    from torch.distributed.fsdp import fully_shard
    from torchao.float8.float8_linear import Float8Linear

    from gnomon.train.world import joined

    config = RunConfig(**described(layout))
    tokens = torch.randint(0, 64, (2, 17), generator=torch.Generator().manual_seed(0))
    found = {}
    with joined(config.machine) as world:
        for emulated in (False, True):
            with torch.device("meta"):
                model = Transformer(config.model)
            if emulated:
                in_float8(model, emulate=True)
            for block in model.blocks:
                fully_shard(block, mesh=world.mesh)
            fully_shard(model, mesh=world.mesh)
            model.to_empty(device="cpu")
            model.initialise(3)
            logits, _, _ = model(tokens[:, :-1])
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
            loss.backward()
            norms = {n: w.grad.full_tensor().norm().item() for n, w in model.named_parameters()}
            found[emulated] = (loss.item(), norms)
            kinds = {name for name, part in model.named_modules() if isinstance(part, Float8Linear)}
    dense = {f"mlp.{part}" for part in ("gate", "up", "down")} if layout == "llama" else set()
    inside = {f"attention.{part}" for part in "qkvo"} | dense
    assert kinds == {f"blocks.{layer}.{part}" for layer in (0, 1) for part in inside}
    (loss, norms), (rounded_loss, rounded_norms) = found[False], found[True]
    assert list(rounded_norms) == list(norms), "a checkpoint fits either way"
    assert rounded_loss != loss
    assert rounded_loss == pytest.approx(loss, rel=0.02)
    for name, norm in norms.items():
        assert rounded_norms[name] == pytest.approx(norm, rel=0.3)


def test_a_model_that_cannot_take_it_is_refused(described: Describe) -> None:
    pytest.importorskip("torchao", reason="needs torchao")
    odd = {"width": 40, "heads": 5, "kv_heads": 5, "head_dim": 8, "ffn": 24}
    model = Transformer(RunConfig(**described("llama", model=odd)).model)
    with pytest.raises(ConfigError, match="multiples of 16"):
        in_float8(model, emulate=True)
