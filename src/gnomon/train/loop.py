"""The training loop: a function of configuration, data and seed. Needs PyTorch.

Killed at any moment and started again, it ends with the same weights, to the bit at the same
number of workers. A bad step never reaches the weights: it is judged before the update.
"""

from __future__ import annotations

import hashlib
import math
import os
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

import msgspec
import torch
import torch.nn.functional as F

from gnomon.clock import Clock
from gnomon.errors import ConfigError, GnomonError, ModelError, StoreError
from gnomon.log import get_logger
from gnomon.train.checkpoint import CheckpointLost, Checkpoints, Progress, fingerprint
from gnomon.train.config import Faults, RunConfig
from gnomon.train.data import Windows
from gnomon.train.fence import Fence
from gnomon.train.launch import STOP_FILE, Stopped
from gnomon.train.optim import optimizers
from gnomon.train.pace import Pace
from gnomon.train.parallel import average_over_groups, sharded
from gnomon.train.shards import INDEX, TokenShards, write_durably
from gnomon.train.spread import total_norm
from gnomon.train.watch import Watch, peak_flops
from gnomon.train.world import World, free_bytes, joined

_log = get_logger()
_STATE_BYTES = 16
"""Of one parameter: weight, gradient and two moments in fp32."""
Verdict = Literal["good", "skip", "rollback", "stop"]


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    steps: int
    loss: float
    """Of the last good step."""
    sha256: str
    """Of all weights."""


def train(
    config: RunConfig, folder: Path, clock: Clock, tell: Callable[[str], None] = lambda _: None
) -> Outcome:
    """Train to the last step, from the newest checkpoint in `folder` if there is one."""
    with joined(config.machine) as world, _opened(config, folder, world, clock, tell) as run:
        progress = run.restore() or run.begin()
        while progress.step < config.schedule.steps:
            met = run.gradients(run.batch(progress))
            verdict = judge(met, progress, config.faults)
            rate = config.optimizer.rate * config.schedule.factor(progress.step)
            if verdict == "good":
                run.update(met, rate)
                progress.losses = [*progress.losses, met.loss][-config.faults.spike_window :]
            run.drop_gradients()
            run.tell(progress.step + 1, met, rate, verdict)
            if verdict == "rollback":
                progress = run.roll_back(progress)
                continue
            if verdict == "stop":
                raise _spoilt(progress.step + 1, met)
            progress.step += 1
            if progress.step > progress.furthest:
                progress.furthest = progress.step
                progress.bad = 0 if verdict == "good" else progress.bad
            if progress.step % config.checkpoint.every == 0 or run.is_last(progress):
                run.save(progress)
            if met.asked_to_stop and not run.is_last(progress):
                run.stop(progress)
        return run.finish(progress)


@dataclass(frozen=True)
class Met:
    """What one step met, summed over all workers."""

    loss: float
    gradient_norm: torch.Tensor
    load: list[float]
    asked_to_stop: bool = False
    times_s: Sequence[float] = ()
    """Each worker's own time."""

    @property
    def finite(self) -> bool:
        """Whether both numbers are numbers."""
        return math.isfinite(self.loss) and math.isfinite(self.gradient_norm.item())


def judge(met: Met, progress: Progress, faults: Faults) -> Verdict:
    """What to do with a step, before it touches the weights. Counts bad steps in `progress`."""
    verdict: str = "good"
    if not met.finite:
        verdict = faults.nan
    elif len(progress.losses) == faults.spike_window and faults.spike != "ignore":
        usual, spread = statistics.fmean(progress.losses), statistics.pstdev(progress.losses)
        if met.loss > usual + faults.spike_sigmas * spread:
            verdict = faults.spike
    if verdict == "good":
        return "good"
    progress.bad += 1
    _log.warning(
        "train.bad_step", step=progress.step, loss=met.loss, verdict=verdict, bad=progress.bad
    )
    if progress.bad > faults.give_up:
        return "stop"
    return "skip" if verdict == "skip" else "rollback" if verdict == "rollback" else "stop"


class Run:
    """One worker's part of a run."""

    def __init__(
        self, config: RunConfig, folder: Path, world: World, fence: Fence, clock: Clock
    ) -> None:
        self.config, self.world = config, world
        self.pace = Pace(world.device, clock)
        shards = TokenShards(config.data.tokens)
        if shards.index.vocab_size > config.model.vocab:
            raise ConfigError(
                f"The shards' vocabulary ({shards.index.vocab_size}) is larger than the model's "
                f"({config.model.vocab}).",
                code="train.vocabulary",
                hint=f"Set model.vocab = {shards.index.vocab_size}, or encode anew.",
            )
        data = config.data
        self.end_id = shards.index.end_id
        self.micro = config.micro(world.size)
        self.windows = Windows(shards, length=data.sequence, batch=data.batch, seed=config.seed)
        need = _STATE_BYTES * config.model.parameters() // world.size
        if need > (have := free_bytes(world)):
            raise ConfigError(
                f"Weights, gradients and optimizer need {need / 1e9:,.1f} GB on each worker; "
                f"{have / 1e9:,.1f} GB are free.",
                code="train.memory",
                hint="Take a smaller model or more workers; `gnomon forge plan` reckons them.",
            )
        self.model = sharded(config, world, self.pace)
        plain = config.machine.precision == "fp32"
        precision = torch.float32 if plain else torch.bfloat16
        self.optimizers = optimizers(self.model, config.optimizer, precision)
        known = hashlib.sha256((config.data.tokens / INDEX).read_bytes()).hexdigest()
        with _writable(folder):
            self.checkpoints = Checkpoints(
                folder / "checkpoints",
                world,
                fence,
                identity=config.identity(),
                data=known,
                keep=config.checkpoint.keep,
            )
        self.folder = folder
        self.watch: Watch | None = None
        self.say: Callable[[str], None] = lambda _: None

    def restore(self) -> Progress | None:
        """Load the newest checkpoint, if any."""
        return self.checkpoints.restore(self.model, self.optimizers)

    def begin(self) -> Progress:
        """The very start, kept as a checkpoint: a full disk is met now and not in an hour."""
        progress = Progress()
        self.checkpoints.save(self.model, self.optimizers, progress)
        self.checkpoints.wait()
        return progress

    def batch(self, progress: Progress) -> torch.Tensor:
        """This worker's samples of the next step."""
        with self.pace.reading():
            number = progress.step + progress.shift
            return torch.from_numpy(self.windows.batch(number, self.world.rank, self.world.size))

    def gradients(self, tokens: torch.Tensor) -> Met:
        """Forward and backward over this worker's samples, in parts; gradients end up averaged."""
        config, device = self.config, self.world.device
        parts = torch.split(tokens.to(device), self.micro)
        sums = torch.zeros(1 + max(1, config.model.experts), device=device)
        for number, part in enumerate(parts):
            self.model.set_requires_gradient_sync(number == len(parts) - 1)  # type: ignore[operator]
            inputs, targets = part[:, :-1], part[:, 1:]
            documents = None
            if config.data.documents_apart:
                documents = F.pad(inputs[:, :-1] == self.end_id, (1, 0)).cumsum(1)
            logits, extras, load = self.model(inputs, documents)
            loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")
            loss = loss / (config.data.batch * config.data.sequence)
            weights = extras.new_tensor([config.optimizer.balance, config.optimizer.router_z])
            whole = loss + (extras * weights).sum() / config.data.batch
            (whole * self.world.size).backward()  # sharding averages over the workers
            sums += torch.cat((loss.detach().reshape(1), load.detach()))
        told = torch.zeros(1 + self.world.size, device=device)  # a place for each worker
        told[0] = float(self.world.first and _asked_to_stop())
        told[1 + self.world.rank] = self.pace.taken_s()
        heard = self.world.sum(torch.cat((sums, told))).tolist()
        loads, (asked, *times_s) = heard[1 : len(sums)], heard[len(sums) :]
        if self.world.groups is not None:
            average_over_groups(self.model, self.world.groups)
        norm = total_norm(w.grad for w in self.model.parameters() if w.grad is not None)
        load = [part / max(1.0, sum(loads)) for part in loads] if config.model.experts else []
        return Met(heard[0], norm, load, asked > 0, times_s)

    def update(self, met: Met, rate: float) -> None:
        """Clip the gradients and step."""
        part = self.config.optimizer.clip / (met.gradient_norm + 1e-6)
        if part < 1:
            for weight in self.model.parameters():
                if weight.grad is not None:
                    weight.grad.mul_(part)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()

    def drop_gradients(self) -> None:
        """Forget the gradients."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)

    def tell(self, step: int, met: Met, rate: float, verdict: Verdict) -> None:
        """Write the step down and show it."""
        if self.watch is not None:
            self.watch.step(step, met, rate, verdict, self.say)

    def roll_back(self, progress: Progress) -> Progress:
        """Back to the newest checkpoint, leaving out the batches that led from there to here."""
        with self._disk_trouble():
            self.checkpoints.wait()
        back = self.restore()
        if back is None:
            raise ModelError("There is no checkpoint to roll back to.", code="train.no_checkpoint")
        back.shift = progress.shift + progress.step + 1 - back.step
        back.bad, back.furthest = progress.bad, progress.furthest
        _log.warning("train.rolled_back", to=back.step, left_out=back.shift - progress.shift)
        return back

    def is_last(self, progress: Progress) -> bool:
        """Whether nothing comes after."""
        return progress.step == self.config.schedule.steps

    def save(self, progress: Progress) -> None:
        """Begin a checkpoint; waits for the one before."""
        with self._disk_trouble():
            self.checkpoints.save(self.model, self.optimizers, progress)

    def stop(self, progress: Progress) -> NoReturn:
        """Save and end, as asked. Raises CheckpointLost if that failed, whatever is set."""
        saved = progress.step % self.config.checkpoint.every == 0
        try:
            self.checkpoints.wait()
        except CheckpointLost as error:
            _log.error("checkpoint.lost", reason=error.message)
            saved = False
        if not saved:
            self.checkpoints.save(self.model, self.optimizers, progress)
            self.checkpoints.wait()
        raise Stopped(f"Asked to stop: saved at step {progress.step}.")

    @contextmanager
    def _disk_trouble(self) -> Iterator[None]:
        try:
            yield
        except CheckpointLost as error:
            if self.config.checkpoint.disk_full == "stop":
                raise
            _log.error("checkpoint.lost", reason=error.message)

    def finish(self, progress: Progress) -> Outcome:
        """Wait for the last checkpoint. Raises CheckpointLost if it was lost, whatever is set."""
        self.checkpoints.wait()
        loss = progress.losses[-1] if progress.losses else math.nan
        outcome = Outcome(progress.step, loss, fingerprint(self.model))
        if self.world.first:
            with _writable(self.folder):
                write_durably(self.folder / "outcome.json", msgspec.json.encode(outcome))
        return outcome


@contextmanager
def _opened(
    config: RunConfig, folder: Path, world: World, clock: Clock, tell: Callable[[str], None]
) -> Iterator[Run]:
    with _writable(folder):
        taken = Fence.take(folder).number if world.first else 0
    number = world.from_first(taken)
    run = Run(config, folder, world, Fence(folder, number), clock)
    peak, hosts = peak_flops(world.device, clock) * world.size, world.hosts()
    try:
        if world.first:
            with _writable(folder):
                write_durably(folder / "config.json", config.model_dump_json(indent=1).encode())
                run.watch = Watch(config, folder, start=number, peak=peak, hosts=hosts, clock=clock)
            run.say = tell
        with run.watch or nullcontext():
            yield run
    finally:
        run.checkpoints.close()


@contextmanager
def _writable(folder: Path) -> Iterator[None]:
    """What the run cannot do without is written inside. Raises StoreError."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"The run folder {folder} cannot be written: {error.strerror or error}.",
            code="train.unwritable",
            hint="Make room on its disk, or let this user write there; then start the run again: "
            "it goes on from its newest checkpoint.",
        ) from error


def _asked_to_stop() -> bool:
    file = os.environ.get(STOP_FILE)
    return file is not None and Path(file).exists()


def _spoilt(step: int, met: Met) -> GnomonError:
    return ModelError(
        f"Step {step} is bad: loss {met.loss:.4g}, gradient norm {met.gradient_norm.item():.4g}.",
        code="train.bad_step",
        hint="Lower optimizer.rate, or let [faults] skip or roll back.",
    )
