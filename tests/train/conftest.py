"""Small runs: a few thousand tokens that a tiny model can learn something from."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gnomon.train.shards import write_shards

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny matrices: more threads only wait


WORKERS = """
import os, socket, sys
import torch
import torch._dynamo  # which sharding asks for; once, before the fork
from pathlib import Path
import msgspec
from gnomon.clock import SystemClock
from gnomon.train import loop
from gnomon.train.config import RunConfig

torch.set_num_threads(1)  # before the fork, which other threads would not survive

{code}

def together(workers, work, *arguments):
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    os.environ |= {{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}}
    os.environ |= {{"WORLD_SIZE": str(workers), "LOCAL_WORLD_SIZE": str(workers)}}
    children = []
    for rank in range(workers):
        children.append(os.fork())
        if not children[-1]:
            os.environ |= {{"RANK": str(rank), "LOCAL_RANK": str(rank)}}
            status = 1
            try:
                work(*arguments)
                status = 0
            finally:
                sys.stdout.flush()
                if status:
                    sys.excepthook(*sys.exc_info())
                os._exit(status)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * workers

main(*sys.argv[1:])
"""


@pytest.fixture
def in_workers() -> Callable[..., str]:
    """Run code whose `main` calls `together(workers, work, ...)`; what it printed."""

    def run(code: str, *arguments: object, timeout_s: float = 300) -> str:
        done = subprocess.run(
            [sys.executable, "-c", WORKERS.format(code=code), *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


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
