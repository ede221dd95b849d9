"""Goodput of a run that is killed with -9 every minute.

    python bench/goodput_bench.py --minutes 10 --every 60
    python bench/goodput_bench.py --minutes 10 --every 60 --all

Killed is the worker, which `gnomon forge train --restart` starts again; with `--all` everything,
and the command is given anew. Counted is the part of the wall time, from the first step to the
last, that went into steps that the run kept.
"""

from __future__ import annotations

import argparse
import os
import signal
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

_START = """
import sys
from pathlib import Path
from gnomon.train.config import read_config
from gnomon.train.restart import train_on
train_on(read_config(Path(sys.argv[1])), Path(sys.argv[2]), 1)
"""


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
    command = [sys.executable, "-c", _START, str(described), str(run)]
    environment = os.environ | {"OMP_WAIT_POLICY": "passive"}
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment)
    kills, end = 0, time.monotonic() + 60 * wanted.minutes
    while time.monotonic() < end - wanted.every / 2:
        time.sleep(wanted.every)
        if (ended := process.poll()) is not None:
            raise SystemExit(f"The run ended by itself, with status {ended}.")
        kills += 1
        if wanted.all:
            process.kill()
            process.wait()
            process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment)
        else:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
            os.kill(int(children.split()[-1]), signal.SIGKILL)
    time.sleep(wanted.every)
    process.kill()
    process.wait()
    steps = read_steps(run)
    gaps_s = [b.at - a.at for a, b in pairwise(steps) if a.start != b.start]
    return (
        f"{kills} kills in {steps[-1].at - steps[0].at:.0f} s, {len(steps)} steps kept: "
        f"goodput {goodput(steps):.1%}. From one kept step to the next over a kill: "
        f"{statistics.median(gaps_s):.1f} s median, {max(gaps_s):.1f} s at most. "
        f"Load {os.getloadavg()[1]:.1f} on {os.cpu_count()} cores."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", default="grok-5m", choices=list(presets()))
    parser.add_argument("--all", action="store_true", help="kill what watches, too")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--every", type=float, default=60, help="seconds between kills")
    parser.add_argument("--checkpoint-every", type=int, default=5, help="steps")
    parser.add_argument("--threads", type=int, default=1)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(measure(wanted, Path(folder)))


if __name__ == "__main__":
    main()
