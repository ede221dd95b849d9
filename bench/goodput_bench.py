"""Goodput of a run that is killed every minute and started again at once.

    python bench/goodput_bench.py --minutes 10 --every 60

Each start is a new process, as after a kill -9 of everything. Counted is the part of the wall time,
from the first step to the last, that went into steps that the run kept.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np

from gnomon.train.config import RunConfig
from gnomon.train.metrics import read_steps
from gnomon.train.models.shape import presets
from gnomon.train.runs import goodput
from gnomon.train.shards import write_shards


def measure(wanted: argparse.Namespace, folder: Path) -> str:
    shape = presets()[wanted.shape]
    rng = np.random.default_rng(0)
    words = rng.integers(1, shape.vocab, 400_000)
    write_shards(folder / "tokens", [words], vocab_size=shape.vocab, end_id=0)
    config = RunConfig(
        model=shape,
        data={"tokens": folder / "tokens", "sequence": 128, "batch": 4, "micro": 4},
        schedule={"steps": 1_000_000},
        checkpoint={"every": wanted.checkpoint_every},
        machine={"device": "cpu", "threads": wanted.threads},
    )
    described, run = folder / "goodput.json", folder / "run"
    described.write_text(config.model_dump_json())
    command = [sys.executable, "-m", "gnomon.train.launch", str(described), str(run)]
    kills, end = 0, time.monotonic() + 60 * wanted.minutes
    while time.monotonic() < end:
        with subprocess.Popen(
            command, stderr=subprocess.DEVNULL, env=os.environ | {"OMP_WAIT_POLICY": "passive"}
        ) as process:
            time.sleep(min(wanted.every, max(0.0, end - time.monotonic())))
            if (ended := process.poll()) is not None:
                raise SystemExit(f"The run ended by itself, with status {ended}.")
            process.kill()
        kills += 1
    steps = read_steps(run)
    gaps_s = [b.at - a.at for a, b in pairwise(steps) if a.start != b.start]
    return (
        f"{kills - 1} kills in {steps[-1].at - steps[0].at:.0f} s, {len(steps)} steps kept: "
        f"goodput {goodput(steps):.1%}. From one kept step to the next over a kill: "
        f"{statistics.median(gaps_s):.1f} s median, {max(gaps_s):.1f} s at most. "
        f"Load {os.getloadavg()[1]:.1f} on {os.cpu_count()} cores."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", default="grok-5m", choices=list(presets()))
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--every", type=float, default=60, help="seconds between kills")
    parser.add_argument("--checkpoint-every", type=int, default=5, help="steps")
    parser.add_argument("--threads", type=int, default=1)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(measure(wanted, Path(folder)))


if __name__ == "__main__":
    main()
