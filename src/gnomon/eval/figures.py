"""Means, shares and percentiles with their 95 % intervals, by resampling (bootstrap).

The interval tells what other questions of the same kind would have given. It knows nothing of
other kinds of question.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from gnomon.eval.base import Figure, Unit

_DRAWS = 1_000
_ROWS_AT_ONCE = 100
_T = TypeVar("_T")


class Figures:
    """Collects the figures of one case; the same generator gives the same intervals."""

    def __init__(self, case: str, rng: np.random.Generator) -> None:
        self.case = case
        self.list: list[Figure] = []
        self._rng = rng

    def share(self, name: str, hits: Sequence[bool]) -> None:
        """The percentage of `hits` that are true; nothing if there are none to count."""
        self.mean(name, [100.0 * bool(h) for h in hits], unit="%")

    def mean(self, name: str, values: Sequence[float], unit: Unit = "") -> None:
        """The mean of `values`; nothing if there are none."""
        if not values:
            return
        array = np.asarray(values, np.float64)
        low, high = self._interval(array, lambda rows: rows.mean(axis=1))
        self._add(name, float(array.mean()), low, high, len(array), unit)

    def percentile(self, name: str, values: Sequence[float], q: float, unit: Unit = "ms") -> None:
        """The `q`-th percentile of `values`; nothing if there are none."""
        if not values:
            return
        array = np.asarray(values, np.float64)
        low, high = self._interval(array, lambda rows: np.percentile(rows, q, axis=1))
        self._add(name, float(np.percentile(array, q)), low, high, len(array), unit)

    def gain(self, name: str, ours: Sequence[float], theirs: Sequence[float]) -> None:
        """By how many percent the mean of `ours` exceeds that of `theirs`, question by question."""
        if not ours or not any(theirs):
            return
        pairs = np.column_stack((ours, theirs)).astype(np.float64)

        def relative(rows: NDArray[np.float64]) -> NDArray[np.float64]:
            means = rows.mean(axis=1)
            # A draw in which theirs has nothing has no gain: nothing can be compared with nothing.
            theirs = np.where(means[:, 1] > 0.0, means[:, 1], np.nan)
            gains: NDArray[np.float64] = 100.0 * (means[:, 0] / theirs - 1.0)
            return gains

        low, high = self._interval(pairs, relative)
        self._add(name, float(relative(pairs[None])[0]), low, high, len(pairs), "%")

    def statistic(
        self, name: str, items: Sequence[_T], of: Callable[[Sequence[_T]], float], unit: Unit = ""
    ) -> None:
        """Any statistic of the items; nothing if there are none."""
        if not items:
            return
        draws = [
            of([items[i] for i in self._rng.integers(0, len(items), len(items))])
            for _ in range(_DRAWS // 5)
        ]
        low, high = (float(v) for v in np.percentile(draws, (2.5, 97.5)))
        self._add(name, of(items), low, high, len(items), unit)

    def count(self, name: str, value: int, n: int) -> None:
        """A plain count among `n`, such as of errors that must not be."""
        self.list.append(Figure(case=self.case, name=name, value=float(value), n=n, unit="count"))

    def _add(self, name: str, value: float, low: float, high: float, n: int, unit: Unit) -> None:
        digits = 4 if unit == "" else 2
        self.list.append(
            Figure(
                case=self.case,
                name=name,
                value=round(value, digits),
                low=round(low, digits),
                high=round(high, digits),
                n=n,
                unit=unit,
            )
        )

    def _interval(
        self,
        array: NDArray[np.float64],
        of: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    ) -> tuple[float, float]:
        drawn = []
        for _ in range(0, _DRAWS, _ROWS_AT_ONCE):
            rows = self._rng.integers(0, len(array), (_ROWS_AT_ONCE, len(array)))
            drawn.append(of(array[rows]))
        low, high = np.nanpercentile(np.concatenate(drawn), (2.5, 97.5))
        return float(low), float(high)
