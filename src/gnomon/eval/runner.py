"""Finds suites, runs them one after another, keeps and compares what they measured."""

from __future__ import annotations

import hashlib
import pkgutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

import msgspec
import numpy as np

from gnomon import __version__
from gnomon.client import Client
from gnomon.errors import ConfigError
from gnomon.eval import suites as built_in
from gnomon.eval.base import Bench, History, House, Suite
from gnomon.eval.houses import Inside, Local, Outside
from gnomon.eval.results import Result, machine
from gnomon.record.store import SqliteRecord
from gnomon.record.transfer import export_file
from gnomon.settings import AnswerSettings


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """How to run."""

    data: Path | None = None
    limit: int | None = None
    models: Path | None = None
    """The folder of the weights; None measures words alone."""
    settings: AnswerSettings = AnswerSettings()
    """As `[answer]` of the settings has it."""
    args: dict[str, str] = {}
    seed: int = 7


def suites() -> dict[str, Suite]:
    """Every suite by its name: the built-in ones, and those of other packages."""
    found: dict[str, Suite] = {}
    for module in pkgutil.iter_modules(built_in.__path__, f"{built_in.__name__}."):
        suite = getattr(import_module(module.name), "SUITE", None)
        if isinstance(suite, Suite):
            found[suite.name] = suite
    for entry in entry_points(group="gnomon.suites"):
        suite = entry.load()
        if not isinstance(suite, Suite):
            raise ConfigError(
                f"The entry point {entry.name} of gnomon.suites is no Suite.",
                code="eval.suite",
                hint=f"Mend {entry.value}.",
            )
        found[suite.name] = suite
    return dict(sorted(found.items()))


def named(names: Sequence[str]) -> list[Suite]:
    """The suites of these names, all if none is named. Raises ConfigError for an unknown one."""
    known = suites()
    for name in names:
        if name not in known:
            raise ConfigError(
                f"There is no suite {name}.",
                code="eval.unknown",
                hint=f"Known: {', '.join(known)}.",
            )
    return [known[name] for name in names] if names else list(known.values())


async def run(
    suite: Suite,
    wanted: Wanted,
    *,
    client: Client | None = None,
    where: str = "in process",
    tell: Callable[[str], None] = lambda text: None,
) -> Result:
    """Run one suite, in this process or against `client`.

    Raises ConfigError where its data are missing or it cannot be asked of a running server.
    """
    if client is not None and suite.inside_only:
        raise ConfigError(
            f"{suite.name} is measured in process only.",
            code="eval.inside_only",
            hint="Run it without --url.",
        )
    models = Local(wanted.models)
    began = time.perf_counter()
    at = datetime.now(UTC).replace(microsecond=0)
    with tempfile.TemporaryDirectory(prefix="gnomon-eval-") as scratch:
        opened: list[House] = []

        async def house(name: str, history: History) -> House:
            if client is not None:
                return Outside(client)
            made = Inside(Path(scratch) / _folder(name), history, models, wanted.settings)
            opened.append(made)
            return made

        bench = _bench(wanted, house, models, inside=client is None, tell=tell)
        try:
            figures = await suite.run(bench)
        finally:
            for each in opened:
                await each.aclose()
    return Result(
        suite=suite.name,
        at=at,
        version=__version__,
        where=where,
        setup={
            "where": "in process" if client is None else "served",
            "models": models.names if client is None else [],
            "limit": wanted.limit,
            "args": wanted.args,
            "answer": wanted.settings.model_dump() if client is None else {},
        },
        machine=machine(),
        took_s=round(time.perf_counter() - began, 1),
        figures=tuple(figures),
    )


def _bench(
    wanted: Wanted,
    house: Callable[[str, History], Awaitable[House]],
    models: Local,
    *,
    inside: bool = True,
    tell: Callable[[str], None] = lambda text: None,
) -> Bench:
    return Bench(
        house=house,
        data=wanted.data,
        limit=wanted.limit,
        embedder=models.embedder(),
        scorer=models.scorer(),
        now=lambda: datetime.now(UTC),
        rng=np.random.default_rng(wanted.seed),
        inside=inside,
        args=wanted.args,
        tell=tell,
    )


async def _no_house(name: str, history: History) -> House:
    raise ConfigError(f"Only the documents of {name} were asked for.", code="eval.documents")


def _folder(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def write_documents(chosen: Sequence[Suite], wanted: Wanted, path: Path) -> int:
    """Write what a Gnomon must hold to be asked by these suites; returns the rows written."""
    bench = _bench(wanted, _no_house, Local(None))
    with tempfile.TemporaryDirectory(prefix="gnomon-eval-") as scratch:
        record = SqliteRecord(Path(scratch) / "record.db")
        try:
            for suite in chosen:
                if suite.documents is not None:
                    record.load(suite.documents(bench), now=datetime.now(UTC))
            return export_file(record, path)
        finally:
            record.close()
