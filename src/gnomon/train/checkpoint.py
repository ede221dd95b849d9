"""Checkpoints of a run: written beside training, atomic, readable at any world size.

A checkpoint is a folder `step-N`. It is written aside under a name of its own, synced, and
renamed under the run's fence: a folder of that name is whole, whatever was killed when.
"""

from __future__ import annotations

import hashlib
import shutil
import warnings
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn

from gnomon.errors import ConfigError, StoreError
from gnomon.log import get_logger
from gnomon.train.fence import Fence
from gnomon.train.shards import sync_folder, write_durably
from gnomon.train.spread import gathered
from gnomon.train.world import World

_log = get_logger()
_load: Any = dcp.load  # type: ignore[attr-defined]
_save: Any = dcp.save  # type: ignore[attr-defined]
_STATE = "state.json"


class Progress(msgspec.Struct):
    """All that decides what comes next, beside weights and optimizer."""

    step: int = 0
    """Steps done; also the next step's number."""
    shift: int = 0
    """Batches that rollbacks left out for good."""
    bad: int = 0
    """Bad steps since the last step that went further than any before."""
    furthest: int = 0
    """The most steps ever done."""
    losses: list[float] = []
    """The latest good losses, with which a spike is compared."""


class _Stored(msgspec.Struct):
    identity: str
    data: str
    progress: Progress
    files: dict[str, int]


class Checkpoints:
    """The checkpoints of one run, as one of its workers sees them."""

    def __init__(
        self, folder: Path, world: World, fence: Fence, *, identity: str, data: str, keep: int
    ) -> None:
        self.folder, self._world, self._fence = folder, world, fence
        self._identity, self._data, self._keep = identity, data, keep
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future[None] | None = None
        if world.first:
            folder.mkdir(parents=True, exist_ok=True)
            for left in folder.glob(".step-*"):
                shutil.rmtree(left)
        dist.barrier()

    def restore(self, model: nn.Module, optimizers: list[torch.optim.Optimizer]) -> Progress | None:
        """Load the newest checkpoint into `model` and `optimizers`; None if there is none."""
        name = self._world.from_first(newest(self.folder))
        if name is None:
            return None
        path = self.folder / str(name)
        stored = read_state(path)
        for what, here, there in (
            ("configuration", self._identity, stored.identity),
            ("data", self._data, stored.data),
        ):
            if here != there:
                raise ConfigError(
                    f"{path} was written with another {what}.",
                    code="train.other_run",
                    hint="Give the run another name, or the configuration that it began with.",
                )
        _load(_state(model, optimizers), checkpoint_id=path)
        _log.info("checkpoint.restored", step=stored.progress.step, world=self._world.size)
        return stored.progress

    def save(
        self, model: nn.Module, optimizers: list[torch.optim.Optimizer], progress: Progress
    ) -> None:
        """Copy the state and write the copy while training goes on.

        Waits for the one before, and raises what that met: OSError, StoreError.
        """
        self.wait()
        state = _copied(_state(model, optimizers))
        progress = msgspec.convert(msgspec.to_builtins(progress), Progress)
        self._writing = self._thread.submit(self._write, state, progress)

    def wait(self) -> None:
        """Until nothing is being written any more; raises what the writing met."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=True)

    def _write(self, state: dict[str, Any], progress: Progress) -> None:
        aside = self.folder / f".step-{progress.step:09d}.{self._fence.number}"
        problem: StoreError | None = None
        try:
            _save(state, checkpoint_id=aside, process_group=self._world.writers)
            if self._world.first:
                self._finish(aside, progress)
        except (OSError, dcp.api.CheckpointException) as error:
            problem = CheckpointLost(
                f"The checkpoint of step {progress.step} was not written: {_cause(error)}.",
                code="train.checkpoint_lost",
                hint="Make room on the disk of the run folder.",
            )
        except StoreError as error:
            problem = error
        met: list[Any] = [None] * self._world.size
        dist.all_gather_object(met, _packed(problem), group=self._world.writers)
        for kind, message, code, hint in filter(None, met):
            if self._world.first:
                with suppress(OSError):
                    shutil.rmtree(aside)
            raise kind(message, code=code, hint=hint)

    def _finish(self, aside: Path, progress: Progress) -> None:
        files = {path.name: path.stat().st_size for path in sorted(aside.iterdir())}
        stored = _Stored(self._identity, self._data, progress, files)
        write_durably(aside / _STATE, msgspec.json.encode(stored))
        target = self.folder / f"step-{progress.step:09d}"
        with self._fence.held():
            if target.exists():
                shutil.rmtree(target)
            aside.rename(target)
            sync_folder(self.folder)
            for old in sorted(self.folder.glob("step-*"))[: -self._keep]:
                # Renamed first, so that no half-removed folder has the name of a whole one.
                gone = self.folder / f".{old.name}.gone"
                old.rename(gone)
                shutil.rmtree(gone)
        _log.info("checkpoint.written", step=progress.step, body_bytes=sum(files.values()))


class CheckpointLost(StoreError):
    """One checkpoint could not be written; those before it are whole."""


def newest(folder: Path) -> str | None:
    """The name of the newest checkpoint in `folder`."""
    return max((path.name for path in folder.glob("step-*")), default=None)


def read_state(path: Path) -> _Stored:
    """What the checkpoint says of itself, its files' sizes checked. Raises StoreError."""
    try:
        stored = msgspec.json.decode((path / _STATE).read_bytes(), type=_Stored)
    except (OSError, msgspec.DecodeError) as error:
        raise StoreError(
            f"{path} is damaged: {_STATE} cannot be read ({error}).",
            code="train.damaged",
            hint="Move the folder away: the run goes on from the checkpoint before it.",
        ) from error
    for name, size in stored.files.items():
        file = path / name
        if not file.is_file() or file.stat().st_size != size:
            raise StoreError(
                f"{path} is damaged: {name} is missing or not of {size} bytes.",
                code="train.damaged",
                hint="Move the folder away: the run goes on from the checkpoint before it.",
            )
    return stored


def load_weights(path: Path, model: nn.Module) -> None:
    """Load only the weights of the checkpoint at `path`, in a process that trains nothing."""
    read_state(path)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")  # it is meant to be
        _load(_state(model, []), checkpoint_id=path, no_dist=True)


def fingerprint(model: nn.Module) -> str:
    """A hash of all weights, whole: the same at every world size. Every worker must call it."""
    digest = hashlib.sha256()
    for name, weight in sorted(model.named_parameters()):
        digest.update(name.encode())
        digest.update(gathered(weight.detach()).cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _state(model: nn.Module, optimizers: list[torch.optim.Optimizer]) -> dict[str, Any]:
    """The very tensors of model and optimizers, by name: saved from and loaded into."""
    names: dict[Tensor, str] = {weight: name for name, weight in model.named_parameters()}
    return {
        "model": {name: weight.detach() for weight, name in names.items()},
        "optimizer": {
            names[weight]: state
            for optimizer in optimizers
            for weight, state in optimizer.state.items()
        },
    }


def _copied(state: Any) -> Any:
    if isinstance(state, dict):
        return {key: _copied(value) for key, value in state.items()}
    if isinstance(state, list):
        return [_copied(value) for value in state]
    if not isinstance(state, Tensor):
        return state
    return state.detach().clone() if state.device.type == "cpu" else state.detach().to("cpu")


def _packed(error: StoreError | None) -> tuple[type[StoreError], str, str, str] | None:
    if error is None:
        return None
    return type(error), error.message, error.code, error.hint


def _cause(error: BaseException) -> str:
    """The operating system's words, which the engine wraps."""
    if isinstance(error, dcp.api.CheckpointException):
        for failure in error.failures.values():
            return str(failure[0])
    return str(error)
