"""A small town's record and index, and an answerer over them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gnomon.answer.base import AnswerEvent, Finished, Question
from gnomon.answer.pipeline import Answerer
from gnomon.clock import ManualClock, RandomIds
from gnomon.index.live import LiveIndex
from gnomon.models.base import Generator, ModelState, Scorer
from gnomon.record.store import SqliteRecord
from gnomon.settings import AnswerSettings, Settings
from gnomon.types import Answer, Batch, Change, Document, SourceState, Upsert

MORNING = datetime(2026, 5, 4, 8, tzinfo=UTC)
"""A Monday."""


def at(hours: float) -> datetime:
    return MORNING + timedelta(hours=hours)


class Models:
    """The models that a test wants; none by default."""

    def __init__(
        self,
        generator: Generator | None = None,
        scorer: Scorer | None = None,
        states: Sequence[ModelState] = (),
    ) -> None:
        self._generator, self._scorer, self._states = generator, scorer, states

    def generator(self) -> Generator | None:
        return self._generator

    def embedder(self) -> None:
        """Sentences are compared by their words."""

    def scorer(self) -> Scorer | None:
        return self._scorer

    def states(self) -> Sequence[ModelState]:
        return self._states


class Town:
    """A record and an index that documents are put into at moments of one day."""

    def __init__(self, folder: Path) -> None:
        self.record = SqliteRecord(folder / "record.db")
        self.index = LiveIndex(folder / "index")
        self.clock = ManualClock(at(10))
        self.states: list[SourceState] = []
        self.asked_as_of: list[datetime | None] = []

    def put(self, hours: float, text: str, title: str = "", **fields: Any) -> Document:
        """A document published and seen `hours` after eight."""
        fields.setdefault("key", f"feed:{text[:40]}")
        fields.setdefault("source", "herald")
        fields.setdefault("kind", "article")
        fields.setdefault("published_at", at(hours))
        document = Document(text=text, title=title, **fields)
        self.change(hours, Upsert(document), source=document.source)
        found = self.record.get(document.key, at(hours)).document
        assert found is not None
        return found

    def change(self, hours: float, *changes: Change, source: str = "herald") -> None:
        appended = self.record.append(source, Batch(tuple(changes)), now=at(hours))
        self.index.apply(appended.entries)
        self.index.commit()

    def models(self, **ready: Any) -> Models:
        return Models(**ready)

    def answerer(self, models: Models | None = None, **settings: Any) -> Answerer:
        def states(moment: datetime | None) -> Sequence[SourceState]:
            self.asked_as_of.append(moment)
            return self.states

        return Answerer(
            self.record,
            self.index,
            models or Models(),
            self.clock,
            RandomIds(),
            Settings(answer=AnswerSettings(**settings)),
            states,
        )

    async def events(
        self, question: Question | str, models: Models | None = None, **settings: Any
    ) -> list[AnswerEvent]:
        asked = Question(text=question) if isinstance(question, str) else question
        return [e async for e in self.answerer(models, **settings).answer(asked)]

    async def ask(
        self, question: Question | str, models: Models | None = None, **settings: Any
    ) -> Answer:
        last = (await self.events(question, models, **settings))[-1]
        assert isinstance(last, Finished)
        return last.answer

    def close(self) -> None:
        self.index.close()
        self.record.close()


@pytest.fixture
def empty_town(tmp_path: Path) -> Iterator[Town]:
    town = Town(tmp_path)
    yield town
    town.close()


@pytest.fixture
def town(empty_town: Town) -> Town:
    put: Callable[..., Document] = empty_town.put
    put(0, "The harbour bridge is open to all traffic. Drivers reported no delays.", "Bridge open")
    put(
        3,
        "The harbour bridge was closed at 11:00 after a lorry overturned, police said. "
        "It will stay closed until the evening.",
        "Harbour bridge closed",
    )
    put(
        5,
        "Mayor Ada Ferrow said that 1,200 lanterns will be lit on Friday. "
        "The lanterns were made by pupils of the harbour school.",
        "Lantern night",
        key="feed:lanterns",
    )
    put(
        9,
        "The harbour bridge is open again. A crane removed the lorry at 16:40.",
        "Harbour bridge reopens",
    )
    return empty_town
