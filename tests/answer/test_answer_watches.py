"""A watch speaks when its answer changes, and only then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gnomon.answer import watches
from gnomon.answer.base import Question
from gnomon.answer.diff import Differ
from gnomon.answer.watches import SETTLE_S, WatchEvent, Watching, WatchStore
from gnomon.clock import RandomIds
from gnomon.errors import ContentError, StoreError
from gnomon.record.base import Entry

ASKED = "Is the harbour bridge open?"
CLOSED = "The harbour bridge was closed again at 19:00 because of a burst water pipe, police said."


class House:
    """A town whose record is followed by a watching."""

    def __init__(self, town: Any, folder: Path) -> None:
        self.town = town
        self.entries: asyncio.Queue[Entry] = asyncio.Queue()
        self.store = WatchStore(folder / "watches.db", town.record)
        differ = Differ(town.answerer(), town.record, town.clock, RandomIds())

        async def indexed(seq: int) -> bool:
            return True

        self.watching = Watching(
            self.store, differ, town.clock, RandomIds(), follow=self._follow, wait_indexed=indexed
        )

    async def _follow(self) -> AsyncGenerator[Entry]:
        while True:
            yield await self.entries.get()

    def put(self, hours: float, text: str, title: str) -> None:
        """A report that is recorded, and heard of."""
        before = self.town.record.last_seq()
        self.town.put(hours, text, title)
        self._hear(before)

    def _hear(self, before: int) -> None:
        for entry in self.town.record.entries(before):
            self.entries.put_nowait(entry)


@pytest.fixture
def house(town: Any, tmp_path: Path) -> Any:
    made = House(town, tmp_path)
    yield made
    made.store.close()


async def test_it_tells_once_when_the_answer_changes_and_not_else(house: Any) -> None:
    watch = await house.watching.add(Question(text=ASKED), "local")
    assert await house.watching.look(watch.id) is None
    house.town.clock.advance(3600)
    house.town.put(10.6, "A choir sings in the old mill tonight.", "Concert")
    assert await house.watching.look(watch.id) is None
    house.put(11.5, CLOSED, "Harbour bridge closed again")
    house.town.clock.advance(3600)
    event = await house.watching.look(watch.id)
    assert event is not None and event.n == 1
    said = [c.after.text for c in event.changes if c.after is not None]
    assert any("closed again" in text for text in said)
    house.town.clock.advance(60)
    assert await house.watching.look(watch.id) is None
    kept = await house.watching.get(watch.id, "local")
    assert kept is not None and (kept.events, kept.read) == (1, 0)
    await house.watching.mark_read(watch.id)
    kept = await house.watching.get(watch.id, "local")
    assert kept is not None and kept.read == 1
    assert await house.watching.get(watch.id, "somebody else") is None


async def test_news_about_it_is_what_makes_it_look(house: Any) -> None:
    watch = await house.watching.add(Question(text=ASKED), "local")
    await house.watching.start()
    looked: list[str] = []
    look = house.watching.look

    async def noted(id: str, seq: int = 0) -> Any:
        looked.append(id)
        return await look(id, seq)

    house.watching.look = noted
    try:
        await asyncio.sleep(0.05)
        house.town.clock.advance(SETTLE_S)
        for _ in range(200):
            await asyncio.sleep(0.01)
            if looked:
                break
        assert looked == [watch.id]  # What came while nobody looked.
        looked.clear()
        house.put(10.1, "The bakery on Mill Lane has new ovens.", "Bakery")
        await asyncio.sleep(0.1)
        house.town.clock.advance(SETTLE_S)
        await asyncio.sleep(0.1)
        assert looked == []
        news = house.watching.news
        house.town.clock.advance(7200)
        house.put(11, CLOSED, "Harbour bridge closed again")
        for _ in range(500):
            await asyncio.sleep(0.01)
            house.town.clock.advance(SETTLE_S)
            if news.is_set():
                break
        assert looked[0] == watch.id and news.is_set()
        assert len(await house.watching.events(watch.id)) == 1
    finally:
        await house.watching.aclose()


async def test_watches_outlive_the_process_and_release_what_they_cite(
    house: Any, tmp_path: Path
) -> None:
    watch = await house.watching.add(Question(text=ASKED, kinds=("article",)), "local")
    house.town.clock.advance(7200)
    house.put(11, CLOSED, "Harbour bridge closed again")
    house.town.clock.advance(60)
    event = await house.watching.look(watch.id)
    assert event is not None
    again = WatchStore(tmp_path / "watches.db", house.town.record)
    try:
        kept = again.get(watch.id)
        assert kept is not None and kept.kinds == ("article",) and kept.events == 1
        assert again.events(watch.id)[0].changes == event.changes
        again.delete(watch.id)
        assert again.list() == [] and again.events(watch.id) == []
    finally:
        again.close()


async def test_the_oldest_changes_make_way_and_let_go(
    house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watches, "MAX_EVENTS", 2)
    let_go: list[str] = []
    monkeypatch.setattr(house.store._pins, "unpin", let_go.append)
    watch = await house.watching.add(Question(text=ASKED), "local")
    now = house.town.clock.now()
    for n in range(1, 5):
        watch = msgspec.structs.replace(watch, events=n)
        house.store.save(watch, WatchEvent(n=n, at=now, since=now, summary=f"{n}", changes=()))
    assert [event.n for event in house.store.events(watch.id)] == [4, 3]
    assert let_go == [f"{watch.id}/1", f"{watch.id}/2"]


async def test_what_cannot_be_watched_is_refused(house: Any, tmp_path: Path) -> None:
    with pytest.raises(ContentError) as refused:
        await house.watching.add(Question(text=f"{ASKED[:-1]} as of 2 hours ago?"), "local")
    assert refused.value.code == "diff.moment"
    damaged = tmp_path / "other.db"
    damaged.write_bytes(b"not a database, but long enough to be looked at as one" * 20)
    with pytest.raises(StoreError) as broken:
        WatchStore(damaged)
    assert broken.value.code == "store.file"
