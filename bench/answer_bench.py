"""Answers on real news questions, and verdicts on real citations.

    python bench/answer_bench.py [--years 2022 2023] [--seeds 21 22] [--limit N] [--no-models]

RealTimeQA: the articles are loaded with the minute in which they were first seen, and every
question is asked as of its own. The same questions are asked a week earlier, when the news was
not there yet: there an answer is wrong and silence is right. The demo world: answers scored by the
town's own truth. AttributionBench: is the claim supported by its references?
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import hashlib
import json
import os
import re
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from gnomon.answer.base import Finished, Question, Retrieved
from gnomon.answer.check import Evidence, judge
from gnomon.answer.pipeline import Answerer
from gnomon.clock import ManualClock, RandomIds, SystemClock
from gnomon.index.live import LiveIndex
from gnomon.models.base import Embedder, Reading, Scorer
from gnomon.record.store import SqliteRecord
from gnomon.settings import Settings
from gnomon.testing.world import DemoTown, score
from gnomon.testing.world import judge as judge_answer
from gnomon.types import Answer, Document, Upsert, VerdictKind
from harness import DATA, percentiles, save

REALTIME = DATA / "realtimeqa-2022-2023"
ATTRIBUTION = DATA / "attributionbench-dev" / "attributionbench_dev.jsonl.gz"
_EARLIER = timedelta(days=6.9)
"""Just after the week's articles before came in, so that what was read then was news too."""
MODELS = Path(os.environ.get("GNOMON_MODELS__DIR", "models"))


class Local:
    """The sentence model and the word vectors of a folder, or nothing."""

    def __init__(self, folder: Path | None) -> None:
        self.minilm: Embedder | None = None
        self._scorer: Scorer | None = None
        self.static: Any = None
        if folder is not None and (folder / "minilm").is_dir():
            from gnomon.models.minilm import MiniLM
            from gnomon.models.scorer import MiniLMScorer
            from gnomon.models.static import StaticVectors

            minilm = MiniLM(folder / "minilm")
            self.minilm, self._scorer = minilm, MiniLMScorer(minilm)
            if (folder / "static").is_dir():
                self.static = StaticVectors(folder / "static")

    def generator(self) -> None:
        """No language model: what is measured is quoting."""

    def embedder(self) -> Embedder | None:
        return self.minilm

    def scorer(self) -> Scorer | None:
        return self._scorer

    def states(self) -> list[Any]:
        return []


def rows(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def open_year(folder: Path, year: str, models: Local) -> tuple[SqliteRecord, LiveIndex]:
    """Record and index with the articles and revisions of `year`."""
    record, index = SqliteRecord(folder / f"{year}.db"), LiveIndex(folder / f"index-{year}")
    if models.static is not None:
        index.set_vectors(models.static)

    def history() -> Iterator[tuple[str, Upsert]]:
        for kind in ("docs", "revisions"):
            for row in rows(REALTIME / f"realtimeqa_{year}_{kind}.jsonl.gz"):
                host = row["url"].split("/")[2]
                yield (
                    host,
                    Upsert(
                        Document(
                            key=f"replay:{row['url']}",
                            source=host,
                            kind="article",
                            title=row["title"] or "",
                            text=row["text"] or "",
                            url=row["url"],
                            lang="en",
                            published_at=day(row["published"]),
                            observed_at=utc(row["first_seen"]),
                        )
                    ),
                )

    record.load(history(), now=datetime.now(UTC))
    fill(record, index)
    return record, index


def fill(record: SqliteRecord, index: LiveIndex) -> None:
    """Apply the record's whole log."""
    after = 0
    while entries := record.entries(after, limit=500):
        index.apply(entries)
        after = entries[-1].seq
    index.commit()


def day(text: str | None) -> datetime | None:
    try:
        return utc(text) if text else None
    except ValueError:
        return None


def bare(text: str) -> str:
    """SQuAD's normalisation."""
    text = re.sub(r"[^\w\s]", " ", text.lower())
    return " ".join(re.sub(r"\b(?:a|an|the)\b", " ", text).split())


def holds(answer: str, text: str) -> bool:
    return bool(bare(answer)) and f" {bare(answer)} " in f" {bare(text)} "


def named_most(choices: Sequence[str], texts: Sequence[str]) -> int | None:
    """The choice that the texts, best first, name most; None if they name none."""
    votes: Counter[int] = Counter()
    for rank, text in enumerate(texts):
        for i, choice in enumerate(choices):
            if holds(choice, text):
                votes[i] += 1 / (1 + rank)
    return votes.most_common(1)[0][0] if votes else None


async def ask(answerer: Answerer, question: Question) -> tuple[Answer, list[str], float]:
    began, read = time.perf_counter(), []
    async for event in answerer.answer(question):
        if isinstance(event, Retrieved):
            read = [c.quote for c in event.citations]
        if isinstance(event, Finished):
            return event.answer, read, (time.perf_counter() - began) * 1_000
    raise AssertionError("no Finished event")


async def realtime(year: str, folder: Path, models: Local, limit: int | None) -> dict[str, Any]:
    record, index = open_year(folder, year, models)
    answerer = Answerer(
        record, index, models, SystemClock(), RandomIds(), Settings(), lambda moment: []
    )
    counts: Counter[str] = Counter()
    took: list[float] = []
    for row in list(rows(REALTIME / f"realtimeqa_{year}_questions.jsonl.gz"))[:limit]:
        gold = [a for a in row["answer"] if a]
        moment = utc(row["search_time"])
        answer, read, took_ms = await ask(answerer, Question(text=row["question"], as_of=moment))
        took.append(took_ms)
        cited = [c.quote for c in answer.citations]
        counts["asked"] += 1
        counts["from the future"] += sum(
            c.observed_at is None or c.observed_at > moment for c in answer.citations
        )
        in_read = any(holds(g, text) for g in gold for text in read)
        counts["answer in the passages read"] += in_read
        right = any(holds(g, text) for g in gold for text in cited)
        counts["answered"] += not answer.abstained
        counts["answer in what is cited"] += right
        counts["answer in the first sentence"] += any(holds(g, t) for g in gold for t in cited[:1])
        picked = named_most(row["choices"], [*cited, *read])
        counts["choice right"] += picked is not None and picked in row["answer_index"]
        picked = named_most(row["nota"]["choices"], [*cited, *read])
        counts["nota right"] += picked is not None and picked in row["nota"]["answer_index"]
        counts["unsupported shown"] += sum(
            s.verdict.kind is not VerdictKind.SUPPORTED for s in answer.sentences
        )
        # A week before: silence is right, unless what was read happens to hold the answer.
        early, read, _ = await ask(
            answerer, Question(text=row["question"], as_of=moment - _EARLIER)
        )
        if not any(holds(g, text) for g in gold for text in read):
            counts["too early"] += 1
            counts["too early, silent"] += early.abstained
    asked, answered = counts["asked"], counts["answered"] or 1
    index.close()
    record.close()
    return {
        "questions": asked,
        "cited from the future": counts["from the future"],
        "answer in the passages read %": share(counts["answer in the passages read"], asked),
        "answered %": share(counts["answered"], asked),
        "answer in what is cited, of all %": share(counts["answer in what is cited"], asked),
        "answer in what is cited, of answered %": share(
            counts["answer in what is cited"], answered
        ),
        "answer in the first sentence, of all %": share(
            counts["answer in the first sentence"], asked
        ),
        "choice right %": share(counts["choice right"], asked),
        "none-of-the-above choice right %": share(counts["nota right"], asked),
        "sentences not supported": counts["unsupported shown"],
        "asked a week too early": counts["too early"],
        "silent when too early %": share(counts["too early, silent"], counts["too early"]),
        "latency_ms": percentiles(took),
    }


async def demo_world(seed: int, folder: Path, models: Local, limit: int | None) -> dict[str, Any]:
    """Every question that the town's truth knows, at three moments, scored by that truth."""
    start = datetime(2026, 11, 20, 12, tzinfo=UTC)
    clock = ManualClock(start)
    town = DemoTown(seed=seed, start=start, clock=clock)
    await town.start()
    record, index = SqliteRecord(folder / f"{seed}.db"), LiveIndex(folder / f"index-{seed}")
    if models.static is not None:
        index.set_vectors(models.static)
    record.load(town.history(start), now=start)
    await town.stop()
    fill(record, index)
    answerer = Answerer(record, index, models, clock, RandomIds(), Settings(), lambda moment: [])
    judged, took = [], []
    for hours in (36, 6, 0):
        moment = start - timedelta(hours=hours)
        for asked in town.truth.questions(moment)[:limit]:
            answer, _, took_ms = await ask(answerer, Question(text=asked.text, as_of=moment))
            judged.append(judge_answer(asked, answer))
            took.append(took_ms)
    index.close()
    record.close()
    return msgspec.to_builtins(score(judged)) | {"latency_ms": percentiles(took)}


def attribution(models: Local, limit: int | None) -> dict[str, Any]:
    """Macro-F1 and wrongly passed claims, on the half that the weights were not fitted on."""
    read = models.minilm.read if isinstance(models.minilm, Reading) else None
    pairs, took = [], []
    for row in list(rows(ATTRIBUTION))[:limit]:
        if hashlib.sha256(row["id"].encode()).digest()[0] % 2 == 0:
            continue
        evidence = [Evidence(text, text) for text in row["references"]]
        began = time.perf_counter()
        verdict = judge(row["claim"], evidence, read)
        took.append((time.perf_counter() - began) * 1_000)
        pairs.append((row["subset"], row["label"], int(verdict.kind is VerdictKind.SUPPORTED)))
    subsets = sorted({s for s, *_ in pairs})
    return {
        "pairs": len(pairs),
        "macro F1": macro_f1(pairs),
        "unsupported passed %": share(
            sum(p for _, y, p in pairs if not y), sum(not y for _, y, _ in pairs)
        ),
        "supported passed %": share(sum(p for _, y, p in pairs if y), sum(y for _, y, _ in pairs)),
        "macro F1 by subset": {s: macro_f1([p for p in pairs if p[0] == s]) for s in subsets},
        "latency_ms": percentiles(took),
    }


def macro_f1(pairs: Sequence[tuple[str, int, int]]) -> float:
    scores = []
    for label in (0, 1):
        hit = sum(y == p == label for _, y, p in pairs)
        total = sum(y == label for _, y, _ in pairs) + sum(p == label for *_, p in pairs)
        scores.append(2 * hit / total if total else 0.0)
    return round(sum(scores) / 2, 3)


def share(part: int, whole: int) -> float:
    return round(100 * part / whole, 1) if whole else 0.0


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--years", nargs="*", default=["2022", "2023"])
    parser.add_argument("--seeds", nargs="*", type=int, default=[21, 22])
    parser.add_argument("--limit", type=int, help="questions and pairs at most")
    parser.add_argument("--no-models", action="store_true", help="words alone")
    asked = parser.parse_args()
    models = Local(None if asked.no_models else MODELS)
    figures: dict[str, Any] = {"models": "MiniLM, word vectors" if models.minilm else "none"}
    with tempfile.TemporaryDirectory() as folder:
        for year in asked.years:
            figures[f"RealTimeQA {year}"] = await realtime(year, Path(folder), models, asked.limit)
        for seed in asked.seeds:
            figures[f"demo world, seed {seed}"] = await demo_world(
                seed, Path(folder), models, asked.limit
            )
    figures["AttributionBench, unseen half"] = attribution(models, asked.limit)
    save("answers" if models.minilm else "answers-without-models", figures)


if __name__ == "__main__":
    asyncio.run(main())
