"""Seeing a run: a line a step on disk, TensorBoard files, one line on the terminal. Needs PyTorch.

Only the first worker watches. What is written here decides nothing: a run resumes from
checkpoints alone, and steps that were done again are written again.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import msgspec
import torch

from gnomon.clock import Clock
from gnomon.log import get_logger
from gnomon.train.board import Appended, Board
from gnomon.train.config import RunConfig
from gnomon.train.metrics import METRICS, Slow, Step
from gnomon.train.pace import Stragglers

if TYPE_CHECKING:
    from gnomon.train.loop import Met

_log = get_logger()

_PEAKS = {"H200": 989e12, "H100": 989e12, "GH200": 989e12, "B200": 2_250e12, "A100": 312e12}
"""Dense bf16 operations a second, from the vendors' data sheets."""
_SMOOTH = 0.9
_SHOWN = ("loss", "rate", "gradient_norm", "tokens_per_s", "mfu")


class Watch:
    """Writes steps into the folder of a run and tells of them."""

    def __init__(
        self,
        config: RunConfig,
        folder: Path,
        *,
        start: int,
        peak: float,
        hosts: Sequence[str],
        clock: Clock,
    ) -> None:
        self._config, self._clock, self._peak, self._start = config, clock, peak, start
        self._file = Appended(folder / METRICS)
        self._board = Board(folder / "tensorboard", clock.now().timestamp())
        self._lost = 0
        self._last = clock.monotonic()
        self._speed = 0.0
        faults = config.faults
        self._stragglers = Stragglers(
            hosts, factor=faults.straggler, window=faults.straggler_window
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self._file.close()
        self._board.close()

    def step(
        self, number: int, met: Met, rate: float, verdict: str, tell: Callable[[str], None]
    ) -> None:
        """Keep one step and tell of it."""
        slow, judged = self._stragglers.add(met.times_s)
        for found in slow if judged else ():
            _log.warning("train.straggler", step=number, **msgspec.structs.asdict(found))
        norm = met.gradient_norm.item()
        now = self._clock.monotonic()
        took_s, self._last = max(now - self._last, 1e-9), now
        data = self._config.data
        speed = data.batch * data.sequence / took_s
        self._speed = _SMOOTH * self._speed + (1 - _SMOOTH) * speed if self._speed else speed
        mfu = speed * self._config.model.flops_per_token(data.sequence) / self._peak
        step = Step(
            number,
            _finite(met.loss),
            rate,
            _finite(norm),
            speed,
            mfu,
            self._clock.now().timestamp(),
            verdict=verdict,
            load=met.load,
            start=self._start,
            slow=slow,
        )
        self._keep(step)
        tell(self._line(step, met.loss, norm))

    def _keep(self, step: Step) -> None:
        """Write the step down. Where that fails the run goes on, for nothing depends on it."""
        shown = {name: getattr(step, name) for name in _SHOWN} | {"slow_workers": len(step.slow)}
        try:
            self._file.add(msgspec.json.encode(step) + b"\n")
            self._board.add(step.step, step.at, shown)
        except OSError as error:
            if not self._lost:
                _log.error("train.metrics_lost", step=step.step, reason=str(error))
            self._lost += 1
        else:
            if self._lost:
                _log.warning("train.metrics_kept_again", step=step.step, lost=self._lost)
            self._lost = 0

    def _line(self, step: Step, loss: float, gradient_norm: float) -> str:
        steps = self._config.schedule.steps
        left_s = (steps - step.step) * self._config.data.batch * self._config.data.sequence
        left = int(left_s / self._speed)
        hours, minutes, seconds = left // 3600, left // 60 % 60, left % 60
        bad = "" if step.verdict == "good" else f"  {step.verdict}"
        return (
            f"{step.step}/{steps}  loss {loss:.4f}  norm {gradient_norm:.2f}  "
            f"{step.tokens_per_s:,.0f} tokens/s  MFU {step.mfu:.1%}  "
            f"ETA {hours}:{minutes:02d}:{seconds:02d}{bad}{_slowest(step.slow)}"
        )


def _slowest(slow: Sequence[Slow]) -> str:
    if not slow:
        return ""
    worst = max(slow, key=lambda found: found.times)
    more = f", {len(slow) - 1} more" if len(slow) > 1 else ""
    return f"  slow: worker {worst.rank} on {worst.host}, {worst.times:.1f} times the median{more}"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def progress_line(text: str) -> None:
    """Show `text` on standard error: over the line before on a terminal, else each on its own."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[2K{text}")
    else:
        sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def peak_flops(device: torch.device, clock: Clock) -> float:
    """Operations a second that the device could do at best.

    For known GPUs the vendor's figure for dense bf16; else what a large multiplication reaches.
    """
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        for part, peak in _PEAKS.items():
            if part in name:
                return peak
    size, best_s = 1_024, float("inf")
    matrix = torch.ones(size, size, device=device)
    for _ in range(4):
        began = clock.monotonic()
        (matrix @ matrix).sum().item()
        best_s = min(best_s, clock.monotonic() - began)
    return 2 * size**3 / max(best_s, 1e-9)
