"""FreshQA of late 2023 over the Wikipedia pages that its questions name.

Three groups apart: questions with a page, with a false premise, and without any page, where the
right answer is silence. "Yes" and "no" cannot be found by their words and are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from gnomon.answer.base import Question
from gnomon.eval.base import Bench, Figure, Suite
from gnomon.eval.bm25 import PlainBM25, cut
from gnomon.eval.figures import Figures
from gnomon.eval.rows import bare, holds, rows
from gnomon.types import Document, Upsert

_FOLDER = "freshqa-2023"
_SEEN = datetime(2023, 11, 20, tzinfo=UTC)
_TOP = 10
_REJECTS = re.compile(
    r"\b(?:no|not|never|none|neither|false|untrue|incorrect|did not|has not|is not)\b|n't\b",
    re.IGNORECASE,
)


async def run(bench: Bench) -> list[Figure]:
    """Recall beside BM25, answers, premises and silence."""
    folder = bench.folder(_FOLDER)
    pages = {r["id"]: (r["title"] or "", r["text"] or "") for r in rows(folder / "docs.jsonl.gz")}
    house = await bench.house("freshqa", _history(folder))
    passages = cut(pages)
    by_passage, by_page = (
        PlainBM25(passages),
        PlainBM25({k: "\n".join(v) for k, v in pages.items()}),
    )
    kept: dict[str, list[bool]] = {}
    took: list[float] = []

    def keep(name: str, hit: bool) -> None:
        kept.setdefault(name, []).append(hit)

    for row in bench.picked(rows(folder / "questions.jsonl.gz")):
        asked = await house.ask(Question(text=row["question"]))
        answer = asked.answer
        took.append(asked.took_ms)
        named = set(row["doc_ids"])
        if row["false_premise"]:
            rejected = bool(answer.sentences) and bool(_REJECTS.search(answer.text))
            keep("false premise: not answered as if it were true", answer.abstained or rejected)
            keep("false premise: rejected in words", rejected)
            continue
        if not named:
            keep("no page: silent", answer.abstained)
            continue
        read = [f"{c.title}\n{c.quote}" for c in asked.read[:_TOP]]
        keys = list(dict.fromkeys(c.key.removeprefix("eval:") for c in asked.read[:_TOP]))
        ranking = (await house.rank(Question(text=row["question"]), _TOP)).keys
        ranked = [key.removeprefix("eval:") for key in ranking]
        keep("a named page among the first 10", bool(named & set(ranked)))
        keep(
            "a named page among BM25's first 10",
            bool(named & set(by_page.rank(row["question"], _TOP))),
        )
        keep("a named page is read", bool(named & set(keys)))
        keep("answered", not answer.abstained)
        gold = [a for a in row["answers"] if bare(a) and bare(a) not in ("yes", "no")]
        if any(holds(g, "\n".join(pages[d])) for g in gold for d in named if d in pages):
            best = [passages[k] for k in by_passage.rank(row["question"], _TOP)]
            keep("evidence recall@10", any(holds(g, t) for g in gold for t in read))
            keep("evidence recall@10 of BM25", any(holds(g, t) for g in gold for t in best))
            cited = [c.quote for c in answer.citations]
            keep("answer in what is cited", any(holds(g, t) for g in gold for t in cited))
    figures = Figures("2023", bench.rng)
    for name, hits in kept.items():
        figures.share(name, hits)
    ours, theirs = kept.get("evidence recall@10", []), kept.get("evidence recall@10 of BM25", [])
    figures.gain("evidence recall@10 above BM25", [*map(float, ours)], [*map(float, theirs)])
    figures.percentile("answer, median", took, 50)
    figures.percentile("answer, 95th", took, 95)
    return figures.list


def _history(folder: Path) -> Iterator[tuple[str, Upsert]]:
    for row in rows(folder / "docs.jsonl.gz"):
        yield (
            "wikipedia",
            Upsert(
                Document(
                    key=f"eval:{row['id']}",
                    source="wikipedia",
                    kind="page",
                    title=row["title"] or "",
                    text=row["text"] or "",
                    url=row["url"],
                    lang="en",
                    observed_at=_SEEN,
                )
            ),
        )


SUITE = Suite(
    name="freshqa",
    title="Fast and slowly changing facts, false premises, questions without evidence",
    run=run,
    data=_FOLDER,
    documents=lambda bench: _history(bench.folder(_FOLDER)),
)
