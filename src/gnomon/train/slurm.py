"""A run as a Slurm job: the batch script, and handing it in. No PyTorch here.

Before its time limit, and when it is preempted, the job asks its workers to save and end, then puts
itself into the queue again; the next start goes on from the checkpoint. The request is a file in
the run folder, whose name holds job and restart: every node sees it, and none obeys an old one.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from gnomon.errors import ConfigError, UpstreamError
from gnomon.train.launch import STOP_FILE
from gnomon.train.shards import write_durably

SCRIPT = "slurm.sh"
_TEMPLATE = """\
#!/bin/bash
#SBATCH --job-name={job}
#SBATCH --nodes={nodes}
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node={gpus}
#SBATCH --time={time}
{partition}#SBATCH --output={output}
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@{grace_s}

# The port lies below those that the kernel gives to outgoing connections: none can hold it.
run={run}
export {stop_variable}="$run/stop.$SLURM_JOB_ID.${{SLURM_RESTART_COUNT:-0}}"
asked=0
trap 'asked=1; touch "${stop_variable}"' USR1 TERM

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun --kill-on-bad-exit=1 {python} -m torch.distributed.run \\
  --nnodes="$SLURM_NNODES" --nproc-per-node={gpus} \\
  --rdzv-backend=c10d --rdzv-id="$SLURM_JOB_ID.${{SLURM_RESTART_COUNT:-0}}" \\
  --rdzv-endpoint="$head:$((12000 + SLURM_JOB_ID % 20000))" \\
  --module gnomon.train.launch {config} "$run" &
step=$!
while :; do  # a signal ends `wait`, not the step
  asked=0
  wait "$step"
  status=$?
  [ "$asked" = 1 ] || break
done

if [ "$status" = 0 ] && [ -e "${stop_variable}" ] &&
  ! [ "$run/outcome.json" -nt "${stop_variable}" ]; then
  rm "${stop_variable}"
  exec scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
"""


@dataclass(frozen=True)
class Job:
    """What a run asks of Slurm."""

    nodes: int = 1
    gpus_per_node: int = 8
    time: str = "24:00:00"
    partition: str = ""
    grace_s: int = 300
    """How long before the limit the job is told to save."""


def write_script(job: Job, config: Path, run: Path) -> Path:
    """Write the batch script into the run's folder, which all nodes must share."""
    for value in (job.time, job.partition):
        if any(sign.isspace() for sign in value):
            raise ConfigError(f"{value!r} holds a blank, which Slurm's options cannot.")
    run = run.resolve()
    if any(sign.isspace() for sign in str(run)):
        raise ConfigError(
            f"The run folder {run} holds a blank, which Slurm's options cannot.",
            hint="Choose another --name, or another home.",
        )
    run.mkdir(parents=True, exist_ok=True)
    body = _TEMPLATE.format(
        job=run.name,
        nodes=job.nodes,
        gpus=job.gpus_per_node,
        time=job.time,
        partition=f"#SBATCH --partition={job.partition}\n" if job.partition else "",
        output=run / "slurm-%j.log",
        grace_s=job.grace_s,
        run=shlex.quote(str(run)),
        python=shlex.quote(sys.executable),
        config=shlex.quote(str(config.resolve())),
        stop_variable=STOP_FILE,
    )
    write_durably(run / SCRIPT, body.encode())
    return run / SCRIPT


def submit(script: Path) -> str:
    """Hand the script to sbatch; returns the job's number."""
    sbatch = shutil.which("sbatch")
    if sbatch is None:
        raise ConfigError(
            "There is no sbatch on this machine.",
            code="train.slurm",
            hint=f"On the cluster's login node, run: sbatch {script}",
        )
    done = subprocess.run(  # noqa: S603 - a program found by name, and a file of ours
        [sbatch, "--parsable", str(script)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise UpstreamError(f"sbatch refused {script}: {done.stderr.strip()}.", code="train.slurm")
    return done.stdout.strip().split(";")[0]
