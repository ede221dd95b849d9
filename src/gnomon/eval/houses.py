"""Houses that a suite can ask: made for it in this process, or running behind a URL."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from gnomon.answer.base import Finished, Question, Retrieved
from gnomon.answer.named import narrowed_by_words
from gnomon.answer.pipeline import Answerer
from gnomon.answer.plan import plan
from gnomon.answer.rank import ranked
from gnomon.client import Client
from gnomon.clock import RandomIds, SystemClock
from gnomon.errors import ConfigError
from gnomon.eval.base import Asked, History, Ranked
from gnomon.index.base import Query
from gnomon.index.live import LiveIndex
from gnomon.models.base import Embedder, Generator, ModelState, Scorer
from gnomon.models.minilm import MiniLM
from gnomon.models.scorer import MiniLMScorer
from gnomon.models.static import StaticVectors
from gnomon.record.store import SqliteRecord
from gnomon.settings import AnswerSettings, Settings
from gnomon.types import Answer, Citation


class Local:
    """The sentence model and the word vectors of a folder, without waiting for a hub to load."""

    def __init__(self, folder: Path | None) -> None:
        """None: words alone."""
        self._minilm: MiniLM | None = None
        self._scorer: MiniLMScorer | None = None
        self.vectors: StaticVectors | None = None
        if folder is not None and (folder / "minilm").is_dir():
            self._minilm = MiniLM(folder / "minilm")
            self._scorer = MiniLMScorer(self._minilm)
        if folder is not None and (folder / "static").is_dir():
            self.vectors = StaticVectors(folder / "static")

    @property
    def names(self) -> list[str]:
        """What is there."""
        found = [self._minilm.name] if self._minilm else []
        return [*found, self.vectors.name] if self.vectors else found

    def generator(self) -> Generator | None:
        """No language model: what is measured in process is the writer that quotes."""
        return None

    def embedder(self) -> Embedder | None:
        """The sentence model, if there."""
        return self._minilm

    def scorer(self) -> Scorer | None:
        """The passage scorer, if there."""
        return self._scorer

    def states(self) -> Sequence[ModelState]:
        """Nothing is loading."""
        return ()


class Inside:
    """A record, an index and an answerer of its own, in a folder that vanishes at the end."""

    def __init__(
        self, folder: Path, history: History, models: Local, settings: AnswerSettings
    ) -> None:
        """Load the history; the folder must not exist yet."""
        folder.mkdir(parents=True)
        self._folder = folder
        self._models = models
        self._clock = SystemClock()
        self.record = SqliteRecord(folder / "record.db")
        self.index = LiveIndex(folder / "index")
        if models.vectors is not None:
            self.index.set_vectors(models.vectors)
        self.record.load(history, now=datetime.now(UTC))
        after = 0
        while entries := self.record.entries(after, limit=500):
            self.index.apply(entries)
            after = entries[-1].seq
        self.index.commit()
        self._answerer = Answerer(
            self.record,
            self.index,
            models,
            self._clock,
            RandomIds(),
            Settings(answer=settings),
            lambda moment: [],
        )

    async def ask(self, question: Question) -> Asked:
        """Answer as a running Gnomon would."""
        began_s, read, evidence_ms = time.perf_counter(), (), 0.0
        answer: Answer | None = None
        async for event in self._answerer.answer(question):
            if isinstance(event, Retrieved):
                read = event.citations  # type: ignore[assignment]
                evidence_ms = _since_ms(began_s)
            elif isinstance(event, Finished):
                answer = event.answer
        assert answer is not None  # noqa: S101 - Finished is always the last event
        return Asked(answer=answer, read=read, took_ms=_since_ms(began_s), evidence_ms=evidence_ms)

    async def rank(self, question: Question, limit: int) -> Ranked:
        """The order in which answers read documents."""
        return await asyncio.to_thread(self._rank, question, limit)

    def _rank(self, question: Question, limit: int) -> Ranked:
        began_s = time.perf_counter()
        question = narrowed_by_words(question)
        asked = plan(question, question.as_of or self._clock.now())
        found = ranked(
            question,
            asked,
            record=self.record,
            index=self.index,
            likeness=self._answerer.likeness(),
        )
        keys = tuple(f.document.key for f in found.documents[:limit])
        return Ranked(keys=keys, took_ms=_since_ms(began_s))

    async def words(self, question: Question, limit: int) -> Ranked | None:
        """BM25 over the same index, nothing else."""
        began_s = time.perf_counter()
        query = Query(
            text=plan(question, question.as_of or self._clock.now()).search_text,
            limit=limit,
            mode="lexical",
            as_of=question.as_of,
            recency=0.0,
            fold=False,
        )
        hits = await asyncio.to_thread(lambda: self.index.search(query).hits)
        return Ranked(keys=tuple(hit.key for hit in hits), took_ms=_since_ms(began_s))

    async def aclose(self) -> None:
        """Close and remove the folder."""
        self.index.close()
        self.record.close()
        with suppress(OSError):
            shutil.rmtree(self._folder)


class Outside:
    """A running Gnomon behind a URL, which holds the suite's documents already."""

    def __init__(self, client: Client) -> None:
        """Ask through this client."""
        self._client = client

    async def ask(self, question: Question) -> Asked:
        """Ask over `/v1/ask`, and keep nothing there."""
        return await asyncio.to_thread(self._ask, question)

    def _ask(self, question: Question) -> Asked:
        began_s, evidence_ms = time.perf_counter(), 0.0
        read: tuple[Citation, ...] = ()
        for name, data in self._client.events("/v1/ask", _body(question)):
            if name == "retrieved":
                read = tuple(_citation(c) for c in data["citations"])
                evidence_ms = _since_ms(began_s)
            elif name == "finished":
                answer = msgspec.convert(data["answer"], Answer)
                return Asked(
                    answer=answer, read=read, took_ms=_since_ms(began_s), evidence_ms=evidence_ms
                )
            elif name == "error":
                raise ConfigError(data["message"], code=data["code"], hint=data["hint"])
        raise ConfigError("The server ended its answer early.", code="eval.cut_off")

    async def rank(self, question: Question, limit: int) -> Ranked:
        """The documents behind the passages that it reads, in that order."""
        asked = await self.ask(question)
        keys = tuple(dict.fromkeys(c.key for c in asked.read))
        return Ranked(keys=keys[:limit], took_ms=asked.evidence_ms)

    async def words(self, question: Question, limit: int) -> Ranked | None:
        """Its search by words, with whatever newness it counts."""
        began_s = time.perf_counter()
        found = await asyncio.to_thread(
            lambda: self._client.call(
                "GET",
                "/v1/search",
                q=question.text,
                limit=min(limit, 100),
                as_of=question.as_of.isoformat() if question.as_of else "",
                mode="lexical",
            )
        )
        keys = tuple(hit["key"] for hit in found["hits"])
        return Ranked(keys=keys, took_ms=_since_ms(began_s))

    async def aclose(self) -> None:
        """Nothing was opened."""


def _body(question: Question) -> dict[str, Any]:
    return {
        "question": question.text,
        "as_of": question.as_of.isoformat() if question.as_of else None,
        "mode": question.mode,
        "store": False,
        "sources": list(question.sources),
        "langs": list(question.langs),
    }


def _citation(plain: Any) -> Citation:
    return msgspec.convert(plain, Citation)


def _since_ms(began_s: float) -> float:
    return (time.perf_counter() - began_s) * 1_000
