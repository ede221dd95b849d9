"""Speed of the trainer on one machine: tokens a second and MFU of named shapes.

    python bench/gpu/train_bench.py llama-1b grok-500m --batch 16 --micro 4 --compile

On a GPU it computes in bf16 and reckons MFU against the vendor's dense figure. Without a GPU it
runs the same way on CPU, which shows that the script works and nothing else.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import numpy as np
import torch

from gnomon.clock import SystemClock
from gnomon.train.config import RunConfig
from gnomon.train.loop import train
from gnomon.train.metrics import read_steps
from gnomon.train.models.shape import presets
from gnomon.train.shards import write_shards


def measure(name: str, wanted: argparse.Namespace, folder: Path) -> str:
    shape = presets()[name]
    sequence = min(wanted.sequence, shape.context)
    rng = np.random.default_rng(0)
    tokens = folder / "tokens"
    size = sequence * wanted.batch * 20
    write_shards(tokens, [rng.integers(1, shape.vocab, size)], vocab_size=shape.vocab, end_id=0)
    cuda = torch.cuda.is_available()
    config = RunConfig(
        model=shape,
        data={
            "tokens": tokens,
            "sequence": sequence,
            "batch": wanted.batch,
            "micro": wanted.micro,
        },
        schedule={"steps": wanted.steps, "warmup": 5},
        checkpoint={"every": 1_000_000},
        machine={
            "precision": "bf16" if cuda else "fp32",
            "compile": wanted.compile,
            "recompute": wanted.recompute,
        },
    )
    train(config, folder / "run", SystemClock())
    steps = read_steps(folder / "run")[wanted.steps // 5 :]
    speed = statistics.median(step.tokens_per_s for step in steps)
    mfu = statistics.median(step.mfu for step in steps)
    where = torch.cuda.get_device_name() if cuda else "CPU"
    memory = f", {torch.cuda.max_memory_allocated() / 1e9:.1f} GB" if cuda else ""
    return f"{name}: {speed:,.0f} tokens/s, MFU {mfu:.1%}{memory} ({where})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shapes", nargs="+", choices=list(presets()))
    parser.add_argument("--sequence", type=int, default=2_048)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--micro", type=int, default=4)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--recompute", action="store_true")
    wanted = parser.parse_args()
    for name in wanted.shapes:
        with tempfile.TemporaryDirectory() as folder:
            print(measure(name, wanted, Path(folder)))


if __name__ == "__main__":
    main()
