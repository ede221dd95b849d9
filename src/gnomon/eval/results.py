"""Results on disk, one file a run and suite, and the table that shows them beside the last ones."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from gnomon.eval.base import Figure
from gnomon.log import get_logger


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One run of one suite."""

    suite: str
    at: datetime
    version: str
    where: str
    """`in process`, or the address that was asked."""
    setup: Mapping[str, Any]
    """What a fair comparison must have in common: models, limit, arguments."""
    machine: Mapping[str, Any]
    took_s: float
    figures: tuple[Figure, ...]


def machine() -> dict[str, Any]:
    """Processor, cores, memory, system and Python of this machine."""
    model = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].partition(": ")[2] if lines else model
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "memory_gib": round(pages / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def save(folder: Path, result: Result) -> Path:
    """Write `<suite>-<moment>.json` and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result.suite}-{result.at:%Y%m%dT%H%M%SZ}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")
    return path


def load(folder: Path, suite: str = "") -> list[Result]:
    """The stored results, oldest first; of one suite if it is named. Unreadable files are told."""
    found = []
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        try:
            result = msgspec.json.decode(path.read_bytes(), type=Result)
        except msgspec.DecodeError as error:
            get_logger().warning("eval.unreadable", file=str(path), reason=str(error))
            continue
        if suite in ("", result.suite):
            found.append(result)
    return sorted(found, key=lambda r: r.at)


def before(results: Sequence[Result], result: Result) -> Result | None:
    """The last earlier run of the same suite with the same set-up."""
    same = [
        r
        for r in results
        if r.suite == result.suite and r.at < result.at and dict(r.setup) == dict(result.setup)
    ]
    return same[-1] if same else None


def table(result: Result, earlier: Result | None = None) -> str:
    """The figures in columns, with the change since the earlier run where there is one."""
    known = {(f.case, f.name): f for f in earlier.figures} if earlier else {}
    rows = [("case", "measure", "value", "95 %", "n", "before")]
    last = ""
    for figure in result.figures:
        old = known.get((figure.case, figure.name))
        rows.append(
            (
                figure.case if figure.case != last else "",
                figure.name,
                _shown(figure.value, figure.unit),
                _between(figure),
                f"{figure.n:,}" if figure.n else "",
                _shown(old.value, old.unit) if old else "",
            )
        )
        last = figure.case
    if not known:
        rows = [row[:5] for row in rows]  # type: ignore[misc]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def _between(figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return ""
    return f"{_number(figure.low, figure.unit)} to {_number(figure.high, figure.unit)}"


def _shown(value: float, unit: str) -> str:
    number = _number(value, unit)
    return f"{number} {unit}" if unit in ("%", "ms") else number


def _number(value: float, unit: str) -> str:
    return f"{value:.0f}" if unit == "count" else f"{value:.1f}" if unit else f"{value:.3f}"
