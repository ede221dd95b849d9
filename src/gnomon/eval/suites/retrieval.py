"""Cranfield, CISI and NPL: does the ranking beat BM25, on the same documents in the same run?

Two BM25s are asked: the index by words alone, and a plain one with the constants that published
figures use (k1 1.5, b 0.75, English stop words left out, no stemming).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from gnomon.answer.base import Question
from gnomon.eval.base import Bench, Figure, History, Suite
from gnomon.eval.bm25 import PlainBM25
from gnomon.eval.figures import Figures
from gnomon.eval.rows import rows
from gnomon.types import Document, Upsert

_SETS = "cranfield,cisi,npl"
_SEEN = datetime(2024, 1, 1, tzinfo=UTC)
_DEPTH = 50
_TOP = 10


def ndcg(ranking: Sequence[str], relevant: set[str], depth: int = _TOP) -> float:
    """nDCG at `depth` with judgements of yes or no."""
    gained = sum(1 / math.log2(i + 2) for i, k in enumerate(ranking[:depth]) if k in relevant)
    ideal = sum(1 / math.log2(i + 2) for i in range(min(depth, len(relevant))))
    return gained / ideal if ideal else 0.0


async def run(bench: Bench) -> list[Figure]:
    """nDCG@10 and recall@10 of each set, beside both BM25s."""
    folder = bench.folder("retrieval")
    out: list[Figure] = []
    for name in bench.listed("sets", _SETS):
        out += await _measured(bench, folder / name)
    return out


async def _measured(bench: Bench, folder: Path) -> list[Figure]:
    texts = {
        r["id"]: f"{r.get('title') or ''}\n{r['text']}" for r in rows(folder / "docs.jsonl.gz")
    }
    relevant = _judged(folder / "qrels.trec")
    house = await bench.house(folder.name, _history(folder))
    plain = PlainBM25(texts)
    asked = bench.picked(r for r in rows(folder / "queries.jsonl.gz") if r["id"] in relevant)
    ours: list[float] = []
    words: list[float] = []
    textbook: list[float] = []
    recalled: list[float] = []
    took: list[float] = []
    for i, row in enumerate(asked):
        question, gold = Question(text=row["text"]), relevant[row["id"]]
        got = await house.rank(question, _DEPTH)
        ranking = [key.removeprefix("eval:") for key in got.keys]
        ours.append(ndcg(ranking, gold))
        recalled.append(len(gold.intersection(ranking[:_TOP])) / min(_TOP, len(gold)))
        took.append(got.took_ms)
        if lexical := await house.words(question, _DEPTH):
            words.append(ndcg([key.removeprefix("eval:") for key in lexical.keys], gold))
        textbook.append(ndcg(plain.rank(row["text"], _DEPTH), gold))
        if i % 50 == 49:
            bench.tell(f"{folder.name}: {i + 1} of {len(asked)} queries")
    figures = Figures(folder.name, bench.rng)
    figures.mean("nDCG@10", ours)
    figures.mean("nDCG@10 of BM25", textbook)
    figures.mean("nDCG@10 of the index by words alone", words)
    figures.gain("above BM25", ours, textbook)
    figures.gain("above the index by words alone", ours, words)
    figures.mean("recall@10", recalled)
    figures.percentile("time to rank, median", took, 50)
    figures.percentile("time to rank, 95th", took, 95)
    return figures.list


def _history(folder: Path) -> History:
    for row in rows(folder / "docs.jsonl.gz"):
        yield (
            folder.name,
            Upsert(
                Document(
                    key=f"eval:{row['id']}",
                    source=folder.name,
                    kind="paper",
                    title=row.get("title") or "",
                    text=row["text"],
                    lang="en",
                    published_at=_SEEN,
                    observed_at=_SEEN,
                )
            ),
        )


def _judged(path: Path) -> dict[str, set[str]]:
    relevant: dict[str, set[str]] = defaultdict(set)
    for line in path.read_text("utf-8").splitlines():
        query, _, document, label = line.split()[:4]
        if int(label) > 0:
            relevant[query].add(document)
    return dict(relevant)


def _documents(bench: Bench) -> Iterator[tuple[str, Upsert]]:
    for name in bench.listed("sets", _SETS):
        for source, change in _history(bench.folder("retrieval") / name):
            if isinstance(change, Upsert):
                yield source, change


SUITE = Suite(
    name="retrieval",
    title="Ranking on Cranfield, CISI and NPL, beside BM25",
    run=run,
    data="retrieval",
    documents=_documents,
)
