"""What a suite is, what it is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol, TypeAlias, TypeVar

import msgspec
import numpy as np

from gnomon.answer.base import Question
from gnomon.errors import ConfigError
from gnomon.models.base import Embedder, Scorer
from gnomon.types import Answer, Citation, Delete, Upsert

_T = TypeVar("_T")
Unit: TypeAlias = Literal["%", "ms", "", "count"]
History: TypeAlias = Iterable[tuple[str, Upsert | Delete]]
"""(source, change) in order of observation; each change carries `observed_at`."""


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One measured number and the interval in which it lies with 95 % confidence."""

    case: str
    """What was measured on: `cranfield`, `2023`, `seed 21`."""
    name: str
    value: float
    low: float | None = None
    high: float | None = None
    n: int = 0
    """How many single observations it rests on."""
    unit: Unit = ""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """An answer, what was read for it, and how long it took."""

    answer: Answer
    read: tuple[Citation, ...]
    """The passages that the writer had, best first."""
    took_ms: float
    evidence_ms: float
    """Until the evidence was there."""


class Ranked(msgspec.Struct, frozen=True, kw_only=True):
    """Keys of documents, best first."""

    keys: tuple[str, ...]
    took_ms: float


class House(Protocol):
    """A Gnomon that holds a suite's documents: in this process, or behind a URL."""

    async def ask(self, question: Question) -> Asked:
        """Answer."""
        ...

    async def rank(self, question: Question, limit: int) -> Ranked:
        """The documents that speak of a question, best first, at most `limit`."""
        ...

    async def words(self, question: Question, limit: int) -> Ranked | None:
        """The same by BM25 over words alone; None where that cannot be asked for."""
        ...

    async def aclose(self) -> None:
        """Release what was opened."""
        ...


@dataclass(frozen=True)
class Bench:
    """What a suite may use."""

    house: Callable[[str, History], Awaitable[House]]
    """A house by name that holds exactly this history, or one that is said to hold it."""
    data: Path | None
    """The folder of third-party data."""
    limit: int | None
    """At most so many questions of each case."""
    embedder: Embedder | None
    scorer: Scorer | None
    now: Callable[[], datetime]
    rng: np.random.Generator
    inside: bool = True
    """Whether the house is in this process."""
    args: dict[str, str] = field(default_factory=dict)
    """`--with NAME=VALUE` of the command line: seeds, years."""
    tell: Callable[[str], None] = lambda text: None
    """Progress, for people who wait."""

    def folder(self, name: str) -> Path:
        """A folder of the data. Raises ConfigError if it is not there."""
        if self.data is None or not (self.data / name).is_dir():
            raise ConfigError(
                f"The data set {name} is not there" + (f" in {self.data}." if self.data else "."),
                code="eval.no_data",
                hint="Point --data or GNOMON_TEST_DATA at the folder that holds it.",
                data=name,
            )
        return self.data / name

    def picked(self, items: Iterable[_T], most: int | None = None) -> list[_T]:
        """Of `items`, at most the wanted number and at most `most`: by chance, in their order."""
        listed = list(items)
        limit = min(n for n in (self.limit, most, len(listed)) if n is not None)
        if limit == len(listed):
            return listed
        return [listed[i] for i in sorted(self.rng.permutation(len(listed))[:limit])]

    def listed(self, name: str, default: str) -> list[str]:
        """The comma-separated values of an argument."""
        return [v.strip() for v in self.args.get(name, default).split(",") if v.strip()]


@dataclass(frozen=True)
class Suite:
    """A named measurement."""

    name: str
    title: str
    """What it tells, in a line."""
    run: Callable[[Bench], Awaitable[list[Figure]]]
    data: str = ""
    """The folder of data that it needs, if any."""
    inside_only: bool = False
    """Whether it can be measured in this process only."""
    documents: Callable[[Bench], History] | None = None
    """What a Gnomon behind a URL has to hold for it."""
