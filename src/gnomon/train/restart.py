"""Workers on this machine that are started again when one of them is killed. Needs PyTorch.

PyTorch is read once, by the process that watches; each start forks it. So a start takes what
joining, building the model and reading the checkpoint take, and no seconds of imports before that.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path
from typing import NoReturn

import torch
import torch._dynamo  # sharding asks for it: once, here, and not in every worker

from gnomon.clock import SystemClock
from gnomon.errors import GnomonError, ModelError
from gnomon.log import get_logger
from gnomon.train.checkpoint import newest
from gnomon.train.config import RunConfig
from gnomon.train.launch import die_with_parent
from gnomon.train.loop import train
from gnomon.train.watch import progress_line

_log = get_logger()
_PATIENCE = 10
"""Starts in a row that reach no new checkpoint, after which the run is given up."""


def train_on(config: RunConfig, folder: Path, workers: int) -> None:
    """Train to the end, whoever is killed on the way. Must be called where no thread runs.

    Only a death by signal is worth another start: what a worker says itself stays so. Raises
    ModelError then, and after too many starts that came no further.
    """
    torch.set_num_threads(1)  # a pool of threads would not come through the fork
    reached, fruitless = newest(folder / "checkpoints"), 0
    while True:
        statuses = _started(config, folder, workers)
        ended = {rank: status for rank, status in statuses.items() if status}
        if not ended:
            return
        killed = {rank: -status for rank, status in ended.items() if status < 0}
        if not killed:
            rank, status = next(iter(ended.items()))
            raise ModelError(
                f"Worker {rank} ended with status {status}; the others were stopped.",
                code="train.worker",
                hint="Its reason stands above. Start the run again: it goes on from its "
                "checkpoint.",
            )
        now = newest(folder / "checkpoints")
        fruitless = fruitless + 1 if now == reached else 0
        reached = now
        rank, number = next(iter(killed.items()))
        if fruitless >= _PATIENCE:
            raise ModelError(
                f"Worker {rank} was killed by {signal.Signals(number).name}, as in the "
                f"{_PATIENCE} starts before, and none reached a new checkpoint.",
                code="train.worker",
                hint="Look for what kills it: out of memory, often. A lower checkpoint.every helps "
                "where kills are merely frequent.",
            )
        name = signal.Signals(number).name
        _log.warning("train.restarted", rank=rank, signal=name, checkpoint=reached)


def _started(config: RunConfig, folder: Path, workers: int) -> dict[int, int]:
    """How each worker of one start ended, as far as it did so by itself.

    Its status, or the negative number of the signal that killed it.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks: dict[int, int] = {}
    for rank in range(workers):
        pid = os.fork()
        if not pid:
            _work(config, folder, rank, workers, port)
        ranks[pid] = rank
    statuses: dict[int, int] = {}
    while ranks:
        pid, status = os.waitpid(-1, os.WNOHANG if any(statuses.values()) else 0)
        if pid in ranks:
            statuses[ranks.pop(pid)] = os.waitstatus_to_exitcode(status)
        elif not pid:  # one failed, and nobody else has ended yet: they would wait for it in vain
            for left in ranks:
                os.kill(left, signal.SIGKILL)
                os.waitpid(left, 0)
            break
    return statuses


def _work(config: RunConfig, folder: Path, rank: int, workers: int, port: int) -> NoReturn:
    """Be a worker; returns to nobody."""
    status = 1
    try:
        die_with_parent()
        if workers > 1:
            os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
            os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            os.environ |= {"WORLD_SIZE": str(workers), "LOCAL_WORLD_SIZE": str(workers)}
        train(config, folder, SystemClock(), progress_line)
        status = 0
    except GnomonError as error:
        sys.stderr.write(f"{error}\n")
        status = error.exit_status
    except KeyboardInterrupt:
        status = 130
    except BaseException:  # what would end any other process with a traceback
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
