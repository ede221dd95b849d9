"""A run on a Ray cluster: with as many workers as it has, from its newest checkpoint after a loss.

Needs Ray and PyTorch. Ray Train places the workers and watches them; each runs the same loop as
under torchrun. When a worker or a machine dies, the group starts again at the size that is left,
and grows again when the cluster does. What a start cannot mend is not repeated: the workers leave
it in the run's folder, and the launcher raises it.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import uuid
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
import ray
import ray.train
from ray.train.backend import Backend
from ray.train.collective import broadcast_from_rank_zero
from ray.train.torch import TorchConfig, TorchTrainer, get_device

from gnomon import log, settings
from gnomon.clock import SystemClock
from gnomon.errors import ConfigError, GnomonError, ModelError, StoreError, Transient
from gnomon.train.checkpoint import newest
from gnomon.train.cluster import LOOPBACK, Refusal, cluster
from gnomon.train.config import RunConfig
from gnomon.train.fence import Fence
from gnomon.train.launch import STOP_FILE, Stopped
from gnomon.train.loop import train
from gnomon.train.shards import write_durably
from gnomon.train.watch import progress_line

_log = log.get_logger()


@dataclass(frozen=True)
class Group:
    """What a run asks of Ray."""

    workers: int = 1
    """At most; so many where the cluster has room for them."""
    min_workers: int = 1
    """Below it the run waits."""
    address: str = ""
    """Of the cluster, or auto. Empty: what RAY_ADDRESS says, else one of its own."""
    patience: int = 10
    """Starts in a row that reach no new checkpoint before the run is given up."""
    grow_s: float = 60.0
    """Between two looks at whether the cluster has room for more workers."""


class Starts(msgspec.Struct):
    """How the starts of one launch went."""

    newest: str
    """The checkpoint that the last start found."""
    fence: int
    """The number of the fence before it was taken."""
    in_vain: int = 0
    """Starts in a row that found the same checkpoint as the start before."""


class _Meeting(msgspec.Struct, frozen=True):
    """What the first worker tells the others."""

    size: int = 0
    host: str = ""
    port: int = 0


def launch(config: RunConfig, folder: Path, group: Group) -> None:
    """Train `config` in `folder`, which all machines share. Raises what ended the run for good."""
    if group.min_workers > group.workers:
        raise ConfigError(
            f"At least {group.min_workers} workers are wanted, but at most {group.workers}.",
            hint="Make --workers the larger of the two.",
        )
    if not fitting(config, group.min_workers):
        raise ConfigError(
            f"{group.min_workers} workers are too few for machine.ep = {config.machine.ep}.",
            hint=f"Start with --min-workers {config.machine.ep}.",
        )
    folder = folder.resolve()
    notes = Notes(folder / "ray", uuid.uuid4().hex[:12])
    notes.folder.mkdir(parents=True, exist_ok=True)
    with cluster(group.address, cpus=group.workers):
        before = signal.signal(signal.SIGTERM, lambda *_: notes.stop.touch())
        try:
            told = _fit(config, folder, group, notes)
        finally:
            signal.signal(signal.SIGTERM, before)
            notes.remove()
    if told is not None:
        raise msgspec.convert(told, Refusal).error()


@dataclass(frozen=True)
class Notes:
    """What the starts of a launch leave for each other and for the launcher."""

    folder: Path
    launch: str

    @property
    def stop(self) -> Path:
        """The file that asks the workers to save and end."""
        return self.folder / f"{self.launch}.stop"

    @property
    def _refusal(self) -> Path:
        return self.folder / f"{self.launch}.refusal.json"

    @property
    def _starts(self) -> Path:
        return self.folder / f"{self.launch}.starts.json"

    def refuse(self, refusal: Refusal) -> None:
        """Keep the next start from training."""
        write_durably(self._refusal, msgspec.json.encode(refusal))

    def begin(self, run: Path, patience: int) -> Refusal | None:
        """Count a start of the run in `run`; the reason if there should be none."""
        if self._refusal.exists():
            return msgspec.json.decode(self._refusal.read_bytes(), type=Refusal)
        starts = Starts(newest(run / "checkpoints") or "", Fence.number_of(run))
        if self._starts.exists():
            before = msgspec.json.decode(self._starts.read_bytes(), type=Starts)
            if starts.fence > before.fence + 1:
                return Refusal.of(
                    StoreError(
                        f"{run} was taken over by another launch.",
                        code="train.fenced",
                        hint="See what else trains this run; this launch has ended.",
                    )
                )
            starts.in_vain = before.in_vain + 1 if starts.newest == before.newest else 0
        if starts.in_vain >= patience:
            return Refusal.of(
                ModelError(
                    f"{patience} starts in a row ended before another checkpoint than "
                    f"{starts.newest or 'none'}.",
                    code="train.no_progress",
                    hint="The workers' reasons stand above. A smaller checkpoint.every asks less "
                    "of one start.",
                )
            )
        write_durably(self._starts, msgspec.json.encode(starts))
        return None

    def remove(self) -> None:
        """Forget the launch."""
        for path in self.folder.glob(f"{self.launch}*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _fit(config: RunConfig, folder: Path, group: Group, notes: Notes) -> dict[str, str] | None:
    gpus = config.machine.device != "cpu" and ray.cluster_resources().get("GPU", 0) > 0
    fixed = group.min_workers == group.workers
    trainer = TorchTrainer(
        partial(
            _work,
            config=config.model_dump_json(),
            folder=folder,
            notes=notes,
            patience=group.patience,
        ),
        torch_config=_Unjoined(),
        scaling_config=ray.train.ScalingConfig(
            num_workers=group.workers if fixed else (group.min_workers, group.workers),
            use_gpu=gpus,
            elastic_resize_monitor_interval_s=group.grow_s,
        ),
        run_config=ray.train.RunConfig(
            name=notes.launch,
            storage_path=str(notes.folder),
            failure_config=ray.train.FailureConfig(max_failures=-1),
        ),
    )
    try:
        told: dict[str, str] | None = trainer.fit().return_value
    except ray.train.TrainingFailedError as error:
        raise ModelError(
            f"Ray ended the run: {error}.",
            code="train.worker",
            hint="Start it again: it goes on from its checkpoint.",
        ) from error
    return told


class _Placed(Backend):  # type: ignore[misc]
    """Shows each worker all GPUs of its machine's workers, and joins nobody: the loop does."""

    share_cuda_visible_devices = True


class _Unjoined(TorchConfig):  # type: ignore[misc]
    @property
    def backend_cls(self) -> type[Backend]:
        return _Placed


def _work(config: str, folder: Path, notes: Notes, patience: int) -> dict[str, str] | None:
    """What each worker runs. The first one's answer is a refusal, if there was one."""
    log.configure(settings.load({}).settings.log)
    read = RunConfig.model_validate_json(config)
    place = ray.train.get_context()
    rank, met, refusal = place.get_world_rank(), _Meeting(), None
    if rank == 0:
        refusal = notes.begin(folder, patience)
        if refusal is None:
            size = fitting(read, place.get_world_size())
            met = _Meeting(size, ray.util.get_node_ip_address(), _free_port())
            _log.info("train.start", workers=size, idle=place.get_world_size() - size)
    met = msgspec.convert(broadcast_from_rank_zero(msgspec.to_builtins(met)), _Meeting)
    if refusal is not None:
        return dict(msgspec.to_builtins(refusal))
    if rank >= met.size:  # the batch cannot be dealt to so many
        return None
    os.environ |= {
        "RANK": str(rank),
        "WORLD_SIZE": str(met.size),
        "LOCAL_RANK": str(get_device().index or 0),
        "LOCAL_WORLD_SIZE": str(min(place.get_local_world_size(), met.size)),
        "MASTER_ADDR": met.host,
        "MASTER_PORT": str(met.port),
        STOP_FILE: str(notes.stop),
    }
    if met.host == LOOPBACK:
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    try:
        train(read, folder, SystemClock(), progress_line)
    except Stopped as stopped:
        return dict(msgspec.to_builtins(Refusal.of(stopped)))
    except GnomonError as error:
        # Who is fenced out may be a worker that was thought dead: the next start will know.
        if error.code != "train.fenced" and not isinstance(error, Transient):
            notes.refuse(Refusal.of(error))
        raise  # others may wait for this worker: Ray must end them
    return None


def fitting(config: RunConfig, most: int) -> int:
    """The largest number of workers, up to `most`, that batch and experts can be dealt to; or 0."""
    data, model, ep = config.data, config.model, config.machine.ep
    for size in range(most - most % ep, 0, -ep):
        share, rest = divmod(data.batch, size)
        copies = size // ep
        cut = ep == 1 or not (model.width % copies or model.ffn % copies)
        if cut and share and not rest and not share % min(data.micro, share):
            return size
    return 0


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("", 0))
        return int(found.getsockname()[1])
