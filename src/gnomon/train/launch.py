"""Starting the workers of a run, and ending them with whoever started them. No PyTorch at import.

One worker runs inside the calling process. More are started by torchrun on this machine; on a
cluster, start `python -m gnomon.train.launch CONFIG RUN` by torchrun, Slurm or Ray on each node.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

from gnomon.errors import GnomonError, ModelError

_PR_SET_PDEATHSIG = 1
LAUNCHER_PID = "TRAIN_LAUNCHER_PID"
"""The environment variable in which the launcher leaves its process id."""

STOP_FILE = "TRAIN_STOP_FILE"
"""The environment variable that names a file: once it exists, workers save and end."""


class Stopped(GnomonError):
    """The run was asked to end early; its checkpoint is saved."""

    exit_status = 0
    default_code = "train.stopped"


def die_with_parent() -> None:
    """Have the kernel kill this process when its launcher ends.

    A launcher that was killed cannot end its workers; left alone they would train on, beside
    whoever took over the run.
    """
    parent = int(os.environ.get(LAUNCHER_PID, "0")) or os.getppid()
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the call
        os.kill(os.getpid(), signal.SIGKILL)


def launch(config: Path, folder: Path, workers: int) -> None:
    """Train with `workers` processes under torchrun; raises when one of them failed."""
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main as torchrun

    os.environ[LAUNCHER_PID] = str(os.getpid())
    arguments = ["--standalone", f"--nproc-per-node={workers}", "--module", "gnomon.train.launch"]
    try:
        torchrun([*arguments, str(config.resolve()), str(folder.resolve())])
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        raise ModelError(
            f"Worker {rank} ended with status {failure.exitcode}; the others were stopped.",
            code="train.worker",
            hint="Its reason stands above. Start the run again: it goes on from its checkpoint.",
        ) from error


def main() -> None:
    """What each worker runs."""
    die_with_parent()
    from gnomon import log, settings
    from gnomon.clock import SystemClock
    from gnomon.train.config import read_config
    from gnomon.train.loop import train
    from gnomon.train.watch import progress_line

    log.configure(settings.load({}).settings.log)
    config, folder = sys.argv[1:]
    try:
        train(read_config(Path(config)), Path(folder), SystemClock(), progress_line)
    except GnomonError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_status)


if __name__ == "__main__":
    main()
