"""AttributionBench: does the checker say that a claim follows from its references where it does?

No weight is fitted on these pairs; the threshold of support was looked at on either half of them.
`--with part=fitted` or `part=unseen` measures one half by a hash of the question, for trials that
fit on the first and test on the second.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Sequence
from typing import Any

from gnomon.answer.check import PARTLY_FROM, Evidence, judge
from gnomon.answer.support import Remembering
from gnomon.eval.base import Bench, Figure, Suite
from gnomon.eval.figures import Figures
from gnomon.eval.rows import rows
from gnomon.models.base import Reading
from gnomon.types import VerdictKind

_FOLDER = "attributionbench-dev"
_Pair = tuple[bool, bool]
"""(attributable, taken for it)."""


async def run(bench: Bench) -> list[Figure]:
    """Macro-F1, wrongly passed claims, and time for one verdict."""
    return await asyncio.to_thread(_run, bench)


def _run(bench: Bench) -> list[Figure]:
    path = bench.folder(_FOLDER) / "attributionbench_dev.jsonl.gz"
    read = bench.embedder.read if isinstance(bench.embedder, Reading) else None
    which = bench.args.get("part", "all")
    pairs: list[_Pair] = []
    carried: list[_Pair] = []
    found: dict[str, list[_Pair]] = {}
    took: list[float] = []
    for row in bench.picked(r for r in rows(path) if which in ("all", part(r))):
        evidence = [Evidence(text, text) for text in row["references"]]
        began = time.perf_counter()
        verdict = judge(row["claim"], evidence, Remembering(read) if read else None)
        took.append((time.perf_counter() - began) * 1_000)
        label = bool(row["label"])
        pairs.append((label, verdict.kind is VerdictKind.SUPPORTED))
        carried.append((label, verdict.score >= PARTLY_FROM))
        found.setdefault(row["subset"], []).append(carried[-1])
    figures = Figures(which, bench.rng)
    figures.statistic("macro-F1, supported or partly", carried, macro_f1)
    figures.statistic("macro-F1, supported", pairs, macro_f1)
    figures.share("said supported, and so it is", [true for true, said in pairs if said])
    figures.share("unsupported passed", [said for true, said in pairs if not true])
    figures.share("supported passed", [said for true, said in pairs if true])
    figures.percentile("one verdict, median", took, 50)
    figures.percentile("one verdict, 95th", took, 95)
    out = figures.list
    for subset, own in sorted(found.items()):
        of_subset = Figures(subset, bench.rng)
        of_subset.statistic("macro-F1, supported or partly", own, macro_f1)
        out += of_subset.list
    return out


def part(row: dict[str, Any]) -> str:
    """`fitted` or `unseen`: all claims of one question are in the same half."""
    digest = hashlib.sha256(row["question"].encode()).digest()
    return "fitted" if digest[0] % 2 else "unseen"


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
