"""What every benchmark shares: the machine's name, peak memory, medians, and the result file."""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
DATA = Path(os.environ.get("GNOMON_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


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


def peak_memory_mib() -> float:
    """Largest resident set of this process so far."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def percentiles(values: Sequence[float], digits: int = 2) -> dict[str, float]:
    """Median, 95th and 99th percentile."""
    ordered = sorted(values)
    at = lambda q: ordered[min(len(ordered) - 1, int(q * len(ordered)))]  # noqa: E731
    return {
        "p50": round(statistics.median(ordered), digits),
        "p95": round(at(0.95), digits),
        "p99": round(at(0.99), digits),
    }


def save(name: str, figures: Mapping[str, Any]) -> Path:
    """Write figures with machine and date to bench/results/<name>.json and print them."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    body = {"benchmark": name, "at": datetime.now(UTC).isoformat(timespec="seconds")}
    text = json.dumps({**body, "machine": machine(), "figures": figures}, indent=1, default=str)
    path.write_text(text + "\n", "utf-8")
    print(text)
    return path
