"""Models: speed, memory at rest, and quality on collections that nothing was trained on.

    GNOMON_MODELS__DIR=... python bench/models_bench.py [--quality]

The quality part reranks BM25's first 50 of three classic collections and ranks the pairs of
AttributionBench; it takes several minutes and needs the test data.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import math
import os
import re
import statistics
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness import DATA, peak_memory_mib, save

WEIGHTS = Path(os.environ["GNOMON_MODELS__DIR"])
PASSAGE = (
    "The harbour master of Halden said on Tuesday that the eastern quay would stay closed until "
    "divers have looked at the damage which Sunday's storm did to its foundations; ferries to the "
    "islands leave from the western quay, twenty minutes later than the timetable says."
)
WORD = re.compile(r"\w\w+")
STOP_TEXT = (
    "a an and are as at be but by for if in into is it no not of on or such that the their then "
    "there these they this to was will with"
)
STOP = frozenset(STOP_TEXT.split())


def rss_mib() -> float:
    status = Path("/proc/self/status").read_text()
    return round(int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024, 1)


class _NoDoor:
    def stream(self, url: str, **_: Any) -> AsyncIterator[bytes]:
        raise RuntimeError(url)


async def hub_at_rest() -> dict[str, Any]:
    """Time until everything is ready, and what it weighs then."""
    before = rss_mib()
    from gnomon.clock import SystemClock
    from gnomon.models.hub import Hub
    from gnomon.settings import Models, Settings

    imported = rss_mib()
    figures: dict[str, Any] = {"python_rss_mib": before, "imported_rss_mib": imported}
    for kind in ("off", "embedded"):
        settings = Settings(models=Models(dir=WEIGHTS, generator=kind))
        hub = Hub(settings, clock=SystemClock(), fetcher=_NoDoor())
        began = time.perf_counter()
        hub.start()
        started = time.perf_counter() - began
        await asyncio.to_thread(hub._thread.join)
        figures[f"generator_{kind}"] = {
            "start_returns_ms": round(started * 1e3, 2),
            "all_ready_s": round(time.perf_counter() - began, 2),
            "idle_rss_mib": rss_mib(),
            "states": {s.role: s.state for s in hub.states()},
        }
        await hub.aclose()
    return figures


async def generation() -> dict[str, Any]:
    from gnomon.models.base import GenerateRequest, Message
    from gnomon.models.embedded import EmbeddedGenerator
    from gnomon.models.fetch import SMOLLM2_FILE

    began = time.perf_counter()
    generator = EmbeddedGenerator(WEIGHTS / SMOLLM2_FILE)
    loaded_s = time.perf_counter() - began

    async def run(context: str, question: str) -> tuple[float, float, int, int]:
        request = GenerateRequest(
            messages=(
                Message(role="system", content=context),
                Message(role="user", content=question),
            ),
            max_tokens=64,
        )
        began = time.perf_counter()
        first = None
        async for chunk in generator.stream(request):
            if first is None and chunk.text:
                first = time.perf_counter()
        end = time.perf_counter()
        assert first is not None
        return first - began, end - first, chunk.input_tokens, chunk.output_tokens

    cold, warm, speed = [], [], []
    tokens = 0
    for i in range(5):
        context = f"Notes of day {i}.\n" + "\n".join(f"{n}. {PASSAGE}" for n in range(16))
        first_s, rest_s, tokens, written = await run(context, "When do the ferries leave?")
        cold.append(first_s)
        speed.append((written - 1) / rest_s)
        warm.append((await run(context, "Why is the quay closed?"))[0])
    await generator.aclose()
    return {
        "load_s": round(loaded_s, 2),
        "prompt_tokens": tokens,
        "first_token_cold_ms": round(statistics.median(cold) * 1e3),
        "first_token_cached_prefix_ms": round(statistics.median(warm) * 1e3),
        "prompt_tokens_per_s": round(tokens / statistics.median(cold)),
        "generated_tokens_per_s": round(statistics.median(speed)),
    }


def embedding() -> dict[str, Any]:
    from gnomon.models.minilm import MiniLM
    from gnomon.models.scorer import MiniLMScorer
    from gnomon.models.static import StaticVectors

    minilm = MiniLM(WEIGHTS / "minilm")
    scorer = MiniLMScorer(minilm)
    sentences = [f"{' '.join(PASSAGE.split()[i % 20 : i % 20 + 15])} {i}." for i in range(400)]
    passages = [f"{i}: {PASSAGE}" for i in range(50)]
    scorer.score("warm up", passages[:4])
    began, cpu = time.perf_counter(), time.process_time()
    minilm.embed(sentences)
    embed_s, embed_cpu_s = time.perf_counter() - began, time.process_time() - cpu
    times: dict[int, list[float]] = {12: [], 50: []}
    for n, found in times.items():
        for i in range(5):
            began = time.perf_counter()
            scorer.score(f"When do the ferries leave? {i}", passages[:n])
            found.append((time.perf_counter() - began) * 1e3)
    vectors = StaticVectors(WEIGHTS / "static")
    tokenizer_words = sorted({w for s in (*sentences, PASSAGE) for w in s.lower().split()})
    words = (tokenizer_words * 200)[:20_000]
    began = time.perf_counter()
    vectors.vectors(words)
    return {
        "tokens_per_sentence": minilm.count_tokens(sentences[0]),
        "tokens_per_passage": minilm.count_tokens(PASSAGE),
        "sentences_per_s": round(len(sentences) / embed_s),
        "sentences_per_cpu_s": round(len(sentences) / embed_cpu_s),
        "score_12_passages_ms": round(statistics.median(times[12]), 1),
        "score_50_passages_ms": round(statistics.median(times[50]), 1),
        "static_us_per_word": round((time.perf_counter() - began) / len(words) * 1e6, 2),
        "static_table": vectors.name,
        "static_agreement": vectors.card.agreement,
    }


# -- quality ---------------------------------------------------------------------
def rows(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


class BM25:
    """k1 1.5, b 0.75, words of two letters and more, no stemming."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.postings: dict[str, list[tuple[int, int]]] = defaultdict(list)
        lengths = []
        for i, text in enumerate(texts):
            counts = Counter(w for w in WORD.findall(text.lower()) if w not in STOP)
            lengths.append(sum(counts.values()))
            for word, n in counts.items():
                self.postings[word].append((i, n))
        self.lengths = np.array(lengths) / np.mean(lengths)

    def score(self, query: str) -> np.ndarray:
        scores = np.zeros(len(self.lengths))
        for word in (w for w in WORD.findall(query.lower()) if w not in STOP):
            postings = self.postings.get(word, [])
            if postings:
                idf = math.log(1 + (len(scores) - len(postings) + 0.5) / (len(postings) + 0.5))
                at, n = np.array(postings).T
                scores[at] += idf * n * 2.5 / (n + 1.5 * (0.25 + 0.75 * self.lengths[at]))
        return scores


def ndcg10(ranked: Sequence[int], relevant: set[int]) -> float:
    gain = sum(1 / math.log2(k + 2) for k, d in enumerate(ranked[:10]) if d in relevant)
    return gain / sum(1 / math.log2(k + 2) for k in range(min(10, len(relevant))))


def retrieval(queries: int = 60) -> dict[str, Any]:
    from gnomon.models.minilm import MiniLM
    from gnomon.models.scorer import MiniLMScorer
    from gnomon.models.static import StaticVectors

    minilm, vectors = MiniLM(WEIGHTS / "minilm"), StaticVectors(WEIGHTS / "static")
    scorer = MiniLMScorer(minilm)

    def static_embed(texts: Sequence[str]) -> np.ndarray:
        words = [WORD.findall(t.lower()) or ["the"] for t in texts]
        table = {w: i for i, w in enumerate(sorted({w for ws in words for w in ws}))}
        rows = vectors.vectors(list(table))
        sums = np.stack([rows[[table[w] for w in ws]].sum(axis=0) for ws in words])
        return sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9)

    figures: dict[str, Any] = {}
    for name in ("cranfield", "cisi", "npl"):
        folder = DATA / "retrieval" / name
        documents = rows(folder / "docs.jsonl.gz")
        texts = [f"{d.get('title', '')} {d['text']}".strip() for d in documents]
        number = {d["id"]: i for i, d in enumerate(documents)}
        relevant: dict[str, set[int]] = defaultdict(set)
        for line in (folder / "qrels.trec").read_text().splitlines():
            query, _, document, grade = line.split()
            if int(grade) > 0:
                relevant[query].add(number[document])
        asked = [q for q in rows(folder / "queries.jsonl.gz") if q["id"] in relevant][:queries]
        lexical, semantic = BM25(texts), static_embed(texts)
        of_query = static_embed([q["text"] for q in asked])
        found: dict[str, list[float]] = defaultdict(list)
        for query, vector in zip(asked, of_query, strict=True):
            goal = relevant[query["id"]]
            by_words, by_vector = lexical.score(query["text"]), semantic @ vector
            fused = by_words / max(by_words.max(), 1e-9) + 0.8 * by_vector
            top = np.argsort(-by_words, kind="stable")[:50]
            by_scorer = scorer.score(query["text"], [texts[i] for i in top])
            reranked = top[np.argsort(-by_scorer, kind="stable")]
            found["bm25"].append(ndcg10(top.tolist(), goal))
            found["static"].append(ndcg10(np.argsort(-by_vector, kind="stable").tolist(), goal))
            found["bm25+static"].append(ndcg10(np.argsort(-fused, kind="stable").tolist(), goal))
            found["bm25 top 50, scorer"].append(ndcg10(reranked.tolist(), goal))
        figures[name] = {k: round(statistics.mean(v), 3) for k, v in found.items()}
        figures[name]["queries"] = len(asked)
    return figures


def attribution(pairs: int = 400) -> dict[str, Any]:
    """How well the best sentence's score tells supported claims from others."""
    from gnomon.models.minilm import MiniLM
    from gnomon.models.scorer import MiniLMScorer

    scorer = MiniLMScorer(MiniLM(WEIGHTS / "minilm"))
    data = rows(DATA / "attributionbench-dev" / "attributionbench_dev.jsonl.gz")[:pairs]
    scores = []
    for row in data:
        text = "\n".join(row["references"])
        sentences = [s for s in re.split(r"(?<=[.!?])\s+|\n+", text) if s.strip()][:40]
        scores.append(float(scorer.score(row["claim"], sentences).max()) if sentences else 0.0)
    labels = np.array([row["label"] for row in data])
    ranks = np.argsort(np.argsort(scores))
    positive = int(labels.sum())
    area = (ranks[labels == 1].sum() - positive * (positive - 1) / 2) / (
        positive * (len(labels) - positive)
    )
    return {"pairs": len(data), "auroc": round(float(area), 3)}


def main() -> None:
    figures: dict[str, Any] = {"at_rest": asyncio.run(hub_at_rest())}
    figures["embedding"] = embedding()
    figures["generation"] = asyncio.run(generation())
    if "--quality" in sys.argv:
        figures["retrieval_ndcg10"] = retrieval()
        figures["attributionbench_dev"] = attribution()
    figures["peak_rss_mib"] = peak_memory_mib()
    save("models", figures)


if __name__ == "__main__":
    main()
