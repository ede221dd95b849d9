"""AttributionBench: does the checker say that a claim follows from its references where it does?

Nothing is fitted on these pairs; the threshold of support was looked at on either half of them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from gnomon.answer.check import Evidence, judge
from gnomon.answer.support import Remembering
from gnomon.eval.base import Bench, Figure, Suite
from gnomon.eval.figures import Figures
from gnomon.eval.rows import rows
from gnomon.models.base import Reading
from gnomon.types import VerdictKind

_FOLDER = "attributionbench-dev"
_Pair = tuple[bool, bool]
"""(attributable, taken for supported)."""


async def run(bench: Bench) -> list[Figure]:
    """Macro-F1, wrongly passed claims, and time for one verdict."""
    return await asyncio.to_thread(_run, bench)


def _run(bench: Bench) -> list[Figure]:
    path = bench.folder(_FOLDER) / "attributionbench_dev.jsonl.gz"
    read = bench.embedder.read if isinstance(bench.embedder, Reading) else None
    pairs: list[_Pair] = []
    found: dict[str, list[_Pair]] = {}
    took: list[float] = []
    for row in list(rows(path))[: bench.limit]:
        evidence = [Evidence(text, text) for text in row["references"]]
        began = time.perf_counter()
        verdict = judge(row["claim"], evidence, Remembering(read) if read else None)
        took.append((time.perf_counter() - began) * 1_000)
        pair = (bool(row["label"]), verdict.kind is VerdictKind.SUPPORTED)
        pairs.append(pair)
        found.setdefault(row["subset"], []).append(pair)
    figures = Figures("all", bench.rng)
    figures.statistic("macro-F1", pairs, macro_f1)
    figures.share("said supported, and so it is", [true for true, said in pairs if said])
    figures.share("unsupported passed", [said for true, said in pairs if not true])
    figures.share("supported passed", [said for true, said in pairs if true])
    figures.percentile("one verdict, median", took, 50)
    figures.percentile("one verdict, 95th", took, 95)
    out = figures.list
    for subset, own in sorted(found.items()):
        part = Figures(subset, bench.rng)
        part.statistic("macro-F1", own, macro_f1)
        out += part.list
    return out


def macro_f1(pairs: Sequence[_Pair]) -> float:
    """The mean of both labels' F1."""
    scores = []
    for label in (False, True):
        hit = sum(true == said == label for true, said in pairs)
        total = sum(true == label for true, _ in pairs) + sum(said == label for _, said in pairs)
        scores.append(2 * hit / total if total else 0.0)
    return sum(scores) / 2


SUITE = Suite(
    name="attributionbench",
    title="Verdicts on real citations",
    run=run,
    data=_FOLDER,
    inside_only=True,
)
