"""Small runs: a few thousand tokens that a tiny model can learn something from."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gnomon.train.shards import write_shards

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny matrices: more threads only wait


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    folder = tmp_path / "tokens"
    rng = np.random.default_rng(0)
    walks = [np.cumsum(rng.integers(0, 4, 120)) % 63 + 1 for _ in range(40)]
    write_shards(folder, walks, vocab_size=64, end_id=0, shard_tokens=1_000)
    return folder


@pytest.fixture
def described(tokens: Path) -> Callable[..., dict[str, Any]]:
    """A run's configuration; keywords replace or add sections' values."""

    def make(layout: str = "grok", **sections: Any) -> dict[str, Any]:
        model = {
            "layout": layout,
            "vocab": 64,
            "width": 32,
            "layers": 2,
            "heads": 2,
            "kv_heads": 1,
            "head_dim": 16,
            "ffn": 48,
            "context": 32,
        }
        if layout != "llama":
            model |= {"experts": 4, "experts_used": 2}
        if layout == "grok":
            model |= {"attention_cap": 30.0, "embedding_scale": 32**0.5, "logit_scale": 3**-0.5}
        whole: dict[str, Any] = {
            "model": model,
            "data": {"tokens": str(tokens), "sequence": 16, "batch": 4, "micro": 2},
            "optimizer": {"rate": 3e-3},
            "schedule": {"steps": 12, "warmup": 3},
            "checkpoint": {"every": 4},
            "machine": {"device": "cpu", "threads": 1},
        }
        for name, values in sections.items():
            whole[name] = whole.get(name, {}) | values if isinstance(values, dict) else values
        return whole

    return make
