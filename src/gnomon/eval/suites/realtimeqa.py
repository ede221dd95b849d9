"""RealTime QA, weeks of 2022 and 2023: real news questions, each asked as of its own minute.

Articles come in at the minute in which they were first seen. Every question is asked again a week
earlier, when an answer is wrong and silence is right. The writer quotes, so short answers are
taken from its quotations: the choice that they name most, and the best F1 of their names and
numbers would be guessing, so that only the words of the whole first sentence are compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from gnomon.answer.base import Question
from gnomon.eval.base import Asked, Bench, Figure, House, Suite
from gnomon.eval.bm25 import PlainBM25, cut
from gnomon.eval.figures import Figures
from gnomon.eval.rows import bare, day, f1, holds, named_most, rows, utc
from gnomon.types import Document, Upsert, VerdictKind

_FOLDER = "realtimeqa-2022-2023"
_YEARS = "2022,2023"
_TOP = 10
_CHOSEN_FROM = 5
"""Whole articles from which a choice is taken, of Gnomon's ranking as of BM25's."""
_EARLIER = timedelta(days=6.9)
"""Just after the week's articles before came in, so that what was read then was news too."""


async def run(bench: Bench) -> list[Figure]:
    """Figures of each year."""
    folder = bench.folder(_FOLDER)
    figures: list[Figure] = []
    for year in bench.listed("years", _YEARS):
        figures += await _year(bench, folder, year)
    return figures


async def _year(bench: Bench, folder: Path, year: str) -> list[Figure]:
    house = await bench.house(f"realtimeqa {year}", _history(folder, year))
    words = _Words(folder, year)
    tally = _Tally(year, bench)
    questions = bench.picked(rows(folder / f"realtimeqa_{year}_questions.jsonl.gz"))
    for i, row in enumerate(questions):
        moment = utc(row["search_time"])
        asked = await house.ask(Question(text=row["question"], as_of=moment))
        ranking = await house.rank(Question(text=row["question"], as_of=moment), _TOP)
        tally.question(row, asked, words, ranking.keys)
        if "early" not in bench.args or bench.args["early"] != "no":
            await tally.early(row, house)
        if i % 50 == 49:
            bench.tell(f"{year}: {i + 1} of {len(questions)} questions")
    return tally.figures()


class _Words:
    """BM25 over what had been seen by a moment: whole articles, and passages cut alike."""

    def __init__(self, folder: Path, year: str) -> None:
        articles = list(rows(folder / f"realtimeqa_{year}_docs.jsonl.gz"))
        self.seen = {r["url"]: r["first_seen"] for r in articles}
        self.texts = {r["url"]: f"{r['title'] or ''}\n{r['text'] or ''}" for r in articles}
        self.passages = cut({r["url"]: (r["title"] or "", r["text"] or "") for r in articles})
        self._whole = PlainBM25(self.texts)
        self._cut = PlainBM25(self.passages)

    def articles(self, row: dict[str, Any]) -> list[str]:
        """Texts of the best articles."""
        known = lambda key: self.seen[key] <= row["search_time"]  # noqa: E731
        return [self.texts[k] for k in self._whole.rank(row["question"], _TOP, known)]

    def best(self, row: dict[str, Any]) -> list[str]:
        """The best passages."""
        known = lambda key: self.seen[key.rpartition("#")[0]] <= row["search_time"]  # noqa: E731
        return [self.passages[k] for k in self._cut.rank(row["question"], _TOP, known)]


class _Tally:
    """What the questions of one year gave, question by question."""

    def __init__(self, year: str, bench: Bench) -> None:
        self._out = Figures(year, bench.rng)
        self._kept: dict[str, list[bool]] = {}
        self._f1: list[float] = []
        self._took: list[float] = []
        self._evidence: list[float] = []
        self._future = self._unsupported = self._asked = 0

    def question(
        self, row: dict[str, Any], asked: Asked, words: _Words, ranking: tuple[str, ...]
    ) -> None:
        """One question as of its minute."""
        gold = [a for a in row["answer"] if a]
        answer, moment = asked.answer, utc(row["search_time"])
        self._asked += 1
        self._took.append(asked.took_ms)
        self._evidence.append(asked.evidence_ms)
        cited = [c.quote for c in answer.citations]
        read = [f"{c.title}\n{c.quote}" for c in asked.read[:_TOP]]
        urls = [key.removeprefix("replay:") for key in ranking]
        seen = (*answer.citations, *asked.read)
        self._future += sum(c.observed_at is None or c.observed_at > moment for c in seen)
        self._unsupported += sum(
            s.verdict.kind is not VerdictKind.SUPPORTED for s in answer.sentences
        )
        self._keep("evidence recall@10", _any(gold, read))
        self._keep("evidence recall@10 of BM25", _any(gold, words.best(row)))
        self._keep("article recall@10", _any(gold, [words.texts.get(u, "") for u in urls]))
        self._keep("article recall@10 of BM25", _any(gold, words.articles(row)))
        self._keep("answered", not answer.abstained)
        self._keep("answer in what is cited, of all", _any(gold, cited))
        if not answer.abstained:
            self._keep("answer in what is cited, of answered", _any(gold, cited))
        self._keep("answer in the first sentence", _any(gold, cited[:1]))
        for name, options in (("choice", row), ("none of the above", row["nota"])):
            right = options["answer_index"]
            articles = [words.texts.get(url, "") for url in urls[:_CHOSEN_FROM]]
            theirs = words.articles(row)[:_CHOSEN_FROM]
            for by, texts in (
                ("", articles),
                (" by BM25", theirs),
                (" by its passages", [*cited, *read]),
            ):
                self._keep(f"{name} right{by}", named_most(options["choices"], texts) in right)
        if not row["question"].rstrip(" ?:.").endswith("except"):
            said = answer.sentences[0].text if answer.sentences else ""
            self._keep("exact match", any(bare(said) == bare(g) for g in gold if said))
            self._f1.append(max((f1(said, g) for g in gold), default=0.0) if said else 0.0)

    async def early(self, row: dict[str, Any], house: House) -> None:
        """The same a week before: silence is right, unless what was read holds the answer."""
        moment = utc(row["search_time"]) - _EARLIER
        asked = await house.ask(Question(text=row["question"], as_of=moment))
        if not _any([a for a in row["answer"] if a], [c.quote for c in asked.read]):
            self._keep("silent a week too early", asked.answer.abstained)

    def figures(self) -> list[Figure]:
        """All figures of the year."""
        out, kept = self._out, self._kept
        for name in kept:
            out.share(name, kept[name])
        for name in ("evidence", "article"):
            ours, theirs = kept[f"{name} recall@10"], kept[f"{name} recall@10 of BM25"]
            out.gain(f"{name} recall@10 above BM25", [*map(float, ours)], [*map(float, theirs)])
        out.mean("F1 of the first sentence", self._f1)
        out.count("evidence from the future", self._future, self._asked)
        out.count("sentences not supported", self._unsupported, self._asked)
        out.percentile("evidence, median", self._evidence, 50)
        out.percentile("evidence, 95th", self._evidence, 95)
        out.percentile("answer, median", self._took, 50)
        out.percentile("answer, 95th", self._took, 95)
        return out.list

    def _keep(self, name: str, hit: bool) -> None:
        self._kept.setdefault(name, []).append(hit)


def _any(gold: list[str], texts: list[str]) -> bool:
    return any(holds(g, text) for g in gold for text in texts)


def _history(folder: Path, year: str) -> Iterator[tuple[str, Upsert]]:
    for kind in ("docs", "revisions"):
        for row in rows(folder / f"realtimeqa_{year}_{kind}.jsonl.gz"):
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


def _documents(bench: Bench) -> Iterator[tuple[str, Upsert]]:
    for year in bench.listed("years", _YEARS):
        yield from _history(bench.folder(_FOLDER), year)


SUITE = Suite(
    name="realtimeqa",
    title="News questions of 2022 and 2023 as of their minute: choices, citations, silence",
    run=run,
    data=_FOLDER,
    documents=_documents,
)
