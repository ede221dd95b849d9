"""How fast each worker does its own part of a step, and which of them hold the others up.

Workers meet in every layer, so all of them take as long as the slowest. What tells them apart is
the time between the meetings: reading samples, and the forward pass of the layers. Needs PyTorch.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from gnomon.clock import Clock
from gnomon.train.metrics import Slow


class Pace:
    """This worker's own time. Layers that meet others inside say so with `waiting`."""

    def __init__(self, device: torch.device, clock: Clock) -> None:
        self._device, self._clock = device, clock
        self._began: Any = None
        self._spans: list[tuple[Any, Any]] = []
        self._spans_before: list[tuple[Any, Any]] = []
        self._read_s = 0.0

    def watch(self, layers: Iterable[nn.Module]) -> None:
        """Count the forward passes of `layers`. Call it once their weights are spread.

        The weights then are gathered before the time begins and let go after it ends.
        """

        @torch.compiler.disable
        def begin(*_: Any) -> None:
            self._began = self._now()

        @torch.compiler.disable
        def end(*_: Any) -> None:
            self._end()

        for layer in layers:
            layer.register_forward_pre_hook(begin)
            layer.register_forward_hook(end, prepend=True)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Samples are read inside."""
        began_s = self._clock.monotonic()
        yield
        self._read_s += self._clock.monotonic() - began_s

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Others are met inside a layer."""
        inside = self._began is not None  # a layer that runs again in the backward pass is not
        self._end()
        yield
        if inside:
            self._began = self._now()

    def taken_s(self) -> float:
        """The seconds since this was last asked; of a GPU's work, those of the time before.

        By then they are over, so that nothing has to wait for them.
        """
        if self._device.type == "cuda":
            spans, self._spans_before = self._spans_before, self._spans
            worked_s = sum(begin.elapsed_time(end) for begin, end in spans) / 1e3
        else:
            worked_s = sum(end - begin for begin, end in self._spans)
        read_s, self._read_s, self._spans = self._read_s, 0.0, []
        return float(worked_s + read_s)

    def _end(self) -> None:
        if self._began is not None:
            self._spans.append((self._began, self._now()))
            self._began = None

    def _now(self) -> Any:
        if self._device.type == "cuda":
            event: Any = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            event.record()
            return event
        return self._clock.monotonic()


class Stragglers:
    """Who is slower than the others, by the own times of all workers over some steps."""

    def __init__(self, hosts: Sequence[str], *, factor: float, window: int) -> None:
        """`factor` times the median is too slow; 0 looks for nobody."""
        self._hosts, self._factor, self._window = hosts, factor, window
        self._times: list[Sequence[float]] = []
        self._slow: list[Slow] = []

    def add(self, times_s: Sequence[float]) -> tuple[list[Slow], bool]:
        """Who is slow by the last whole window, and whether this step completed one.

        A worker's time over a window is its median, so one slow step says nothing.
        """
        if not self._factor or len(self._hosts) < 2:
            return [], False
        self._times.append(times_s)
        if len(self._times) < self._window:
            return self._slow, False
        usual_s = np.median(np.asarray(self._times), axis=0).tolist()
        self._times = []
        # The lower one of two, or the slower of two workers would raise its own measure.
        median_s = statistics.median_low(usual_s)
        self._slow = [
            Slow(rank, self._hosts[rank], round(own_s / median_s, 2))
            for rank, own_s in enumerate(usual_s)
            if own_s > self._factor * median_s > 0
        ]
        return self._slow, True
