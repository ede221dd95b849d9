"""The weights of a verdict, fitted on claims that we make ourselves, tested on AttributionBench.

    python bench/fit_check.py [--pairs N] [--seeds 31 32 33]

Claims are sentences of the demo town's documents and of our own documentation, shortened, reordered
and reworded with neighbouring words. They are carried by the document that they come from; they are
not once that sentence is taken out of it, nor when half of the claim comes from elsewhere. The
weights printed belong into `answer/support.py`. AttributionBench is looked at only to report.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.answer.check import PARTLY_FROM, Evidence, judge
from gnomon.answer.support import Read, Signals, nearest, signals
from gnomon.answer.text import sentences
from gnomon.answer.words import content
from gnomon.clock import ManualClock
from gnomon.eval.rows import rows
from gnomon.models.minilm import MiniLM
from gnomon.models.static import StaticVectors
from gnomon.testing.world import DemoTown
from gnomon.types import Upsert, VerdictKind
from harness import DATA, percentiles, save

ATTRIBUTION = DATA / "attributionbench-dev" / "attributionbench_dev.jsonl.gz"
MODELS = Path(os.environ.get("GNOMON_MODELS__DIR", "models"))
DOCS = Path(__file__).parent.parent / "docs"
_CLAUSE = re.compile(r", | – | because | while | which ")
_ALIKE = 0.55
_RIDGE = 0.1

Floats = NDArray[np.float64]


class Maker:
    """Makes claims and evidence, with what is true of them."""

    def __init__(
        self, documents: Sequence[str], vectors: StaticVectors, rng: random.Random
    ) -> None:
        self._rng = rng
        self._documents = documents
        self._cut = [
            [s for s in cut(d) if 30 <= len(s) <= 300 and s[0].isupper()] for d in documents
        ]
        self._pool = [i for i, c in enumerate(self._cut) if len(c) >= 2]
        plain = {w.text for d in documents for w in content(d)}
        self._words = sorted(w for w in plain if w.isalpha() and w.islower() and len(w) > 3)
        self._at = {w: i for i, w in enumerate(self._words)}
        table = vectors.vectors(self._words)
        self._table = table / (np.linalg.norm(table, axis=1, keepdims=True) + 1e-9)
        self._near: dict[str, list[str]] = {}

    def pair(self) -> tuple[str, list[str], int]:
        """A claim, what it cites, and whether that carries it."""
        rng = self._rng
        while True:
            i = rng.choice(self._pool)
            sentence = rng.choice(self._cut[i])
            share = rng.choice([0.0, 0.15, 0.3, 0.5])
            claim = self._reworded(self._shortened(sentence), share)
            kind = rng.random()
            beside = max(0, min(len(self._cut) - 1, i + rng.choice([-2, -1, 1, 2])))
            if kind < 0.5:
                if rng.random() < 0.3:
                    other = rng.choice(self._cut[i])
                    claim = self._joined(claim, self._reworded(self._shortened(other), share))
                return claim, self._evidence(i), 1
            if kind < 0.75:
                return claim, self._evidence(i, sentence), 0
            if kind < 0.9 and self._cut[beside]:
                other = rng.choice(self._cut[beside])
                if other != sentence:
                    half = self._reworded(self._shortened(other), share)
                    return self._joined(claim, half), self._evidence(i, other), 0
            elif beside != i and sentence not in self._documents[beside]:
                return claim, self._evidence(beside, sentence), 0

    def _joined(self, one: str, other: str) -> str:
        return f"{one.rstrip('.')}, and {other}"

    def _evidence(self, i: int, without: str = "") -> list[str]:
        rng = self._rng
        chosen = [i]
        for _ in range(rng.choice([0, 0, 1, 2, 4])):
            near = max(0, min(len(self._documents) - 1, i + rng.choice([-3, -2, -1, 1, 2, 3])))
            chosen.append(near if rng.random() < 0.5 else rng.choice(self._pool))
        kept = [" ".join(s for s in cut(self._documents[j]) if s != without) for j in set(chosen)]
        rng.shuffle(kept)
        return [k for k in kept if k] or ["…"]

    def _shortened(self, sentence: str) -> str:
        rng = self._rng
        parts = _CLAUSE.split(sentence)
        if len(parts) > 1 and rng.random() < 0.6:
            parts.pop(rng.randrange(len(parts)))
            sentence = ", ".join(parts)
        tokens = sentence.split()
        if len(tokens) > 8 and rng.random() < 0.4:
            k = rng.randrange(len(tokens) - 3)
            del tokens[k : k + rng.randint(1, 2)]
        if rng.random() < 0.3:
            half = len(tokens) // 2
            tokens = tokens[half:] + tokens[:half]
        return " ".join(tokens)

    def _reworded(self, sentence: str, share: float) -> str:
        def other(match: re.Match[str]) -> str:
            word = match[0]
            if word not in self._at or self._rng.random() >= share:
                return word
            near = self._neighbours(word)
            return self._rng.choice(near) if near else word

        return re.sub(r"[a-z]{4,}", other, sentence)

    def _neighbours(self, word: str) -> list[str]:
        if word not in self._near:
            alike = self._table @ self._table[self._at[word]]
            best = [int(j) for j in np.argsort(-alike)[:4] if alike[j] > _ALIKE]
            self._near[word] = [self._words[j] for j in best if self._words[j] != word][:3]
        return self._near[word]


def cut(document: str) -> list[str]:
    return [document[s.start : s.end].replace("\n", " ") for s in sentences(document)]


def documents(seeds: Sequence[int]) -> list[str]:
    """Texts of the demo town under `seeds`, and our own documentation."""
    found = [text for seed in seeds for text in asyncio.run(town(seed))]
    for path in sorted(DOCS.rglob("*.md")):
        text = re.sub(r"```.*?```", "", path.read_text("utf-8"), flags=re.DOTALL)
        text = re.sub(r"[`*_|#]", "", text)
        found += re.split(r"\n\n+(?=[A-Z])", text)
    return [d for d in dict.fromkeys(found) if len(d) > 60]


async def town(seed: int) -> list[str]:
    start = datetime(2026, 5, 20, 12, tzinfo=UTC)
    world = DemoTown(seed=seed, start=start, clock=ManualClock(start))
    await world.start()
    texts = [c.document.text for _, c in world.history(start) if isinstance(c, Upsert)]
    await world.stop()
    return texts[-1_500:]


def vector(claim: str, evidence: Sequence[str], read: Read | None) -> list[float]:
    quotes = "\n\n".join(evidence)[:20_000]
    found = signals(claim, quotes, nearest(claim, quotes), read)
    return [getattr(found, name) for name in Signals.__struct_fields__]


def fit(x: Floats, y: Floats) -> Floats:
    """Weights and, last, the bias of a ridge logistic regression, by Newton's method."""
    mean, spread = x.mean(0), x.std(0) + 1e-9
    z = np.c_[(x - mean) / spread, np.ones(len(x))]
    ridge = _RIDGE * np.r_[np.ones(x.shape[1]), 1e-6]
    b = np.zeros(z.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-z @ b))
        slope = z.T @ (p - y) / len(y) + ridge * b
        b -= np.linalg.solve((z * (p * (1 - p))[:, None]).T @ z / len(y) + np.diag(ridge), slope)
    return np.r_[b[:-1] / spread, b[-1] - (b[:-1] * mean / spread).sum()]


def macro_f1(truth: Sequence[int], told: Sequence[int]) -> float:
    scores = []
    for label in (0, 1):
        hit = sum(t == g == label for t, g in zip(truth, told, strict=True))
        scores.append(2 * hit / max(1, truth.count(label) + list(told).count(label)))
    return round(sum(scores) / 2, 3)


def report(pairs: Sequence[tuple[str, list[str], int]], read: Read | None) -> dict[str, Any]:
    """How verdicts do on pairs that nothing was fitted on."""
    truth, score, kinds, took = [], [], [], []
    for claim, evidence, label in pairs:
        began = time.process_time()  # the machine may be shared
        verdict = judge(claim, [Evidence(e, e) for e in evidence], read)
        took.append((time.process_time() - began) * 1_000)
        truth.append(label)
        score.append(verdict.score)
        kinds.append(verdict.kind)
    passed = [t for t, k in zip(truth, kinds, strict=True) if k is VerdictKind.SUPPORTED]
    carried = [int(s >= PARTLY_FROM) for s in score]
    return {
        "pairs": len(truth),
        "macro F1, supported or partly": macro_f1(truth, carried),
        "macro F1, supported": macro_f1(truth, [int(k is VerdictKind.SUPPORTED) for k in kinds]),
        "supported is right %": round(100 * sum(passed) / max(1, len(passed)), 1),
        "supported of the carried %": round(100 * sum(passed) / max(1, sum(truth)), 1),
        "unsupported taken for supported %": round(
            100 * (len(passed) - sum(passed)) / max(1, truth.count(0)), 1
        ),
        "cpu_ms": percentiles(took),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=1_500)
    parser.add_argument("--seeds", nargs="*", type=int, default=[31, 32])
    parser.add_argument("--report", action="store_true", help="fit nothing")
    asked = parser.parse_args()
    read = MiniLM(MODELS / "minilm", n_threads=1).read
    vectors = StaticVectors(MODELS / "static")
    if not asked.report:
        maker = Maker(documents(asked.seeds), vectors, random.Random(5))
        made = [maker.pair() for _ in range(asked.pairs)]
        x = np.array([vector(c, e, read) for c, e, _ in made])
        y = np.array([float(label) for *_, label in made])
        names = Signals.__struct_fields__
        print("with the model", dict(zip((*names, "bias"), fit(x, y).round(2), strict=True)))
        print("by words", dict(zip((*names[:3], "bias"), fit(x[:, :3], y).round(2), strict=True)))
    held = Maker(documents([41]), vectors, random.Random(6))
    unseen = [held.pair() for _ in range(400)]
    real = [(r["claim"], r["references"], r["label"]) for r in rows(ATTRIBUTION)]
    figures = {
        "made claims, unseen town": report(unseen, read),
        "AttributionBench": report(real, read),
        "AttributionBench, words alone": report(real, None),
    }
    for name, found in figures.items():
        print(name, found)
    save("check", figures)


if __name__ == "__main__":
    main()
