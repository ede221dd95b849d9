"""A purge reaches what the house stored of its answers, files of one's own excepted."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gnomon.answer.base import Finished, Question
from gnomon.app import opened
from gnomon.files.store import OWN
from gnomon.settings import Demo, Models, Settings, Starter
from gnomon.types import Document, Purge, Upsert

TEXT = "The Mill Bridge reopens on Friday at noon."


@pytest.mark.parametrize("key", ["x:1", f"{OWN}file_1#0"])
async def test_a_purge_reaches_stored_answers(tmp_path: Path, key: str) -> None:
    settings = Settings(
        home=tmp_path,
        demo=Demo(mode="off"),
        starter=Starter(mode="off"),
        models=Models(dir=tmp_path, generator="off"),
    )
    async with opened(settings, follow=True) as house:
        house.begin()
        post = Document(
            key=key, source="s", kind="post", text=TEXT, lang="en", published_at=datetime.now(UTC)
        )
        await house.runner.deliver("s", [Upsert(post)])
        assert await house.runner.wait_indexed(house.record.last_seq(), 10)
        question = Question(text="When does the Mill Bridge reopen?", mode="extract")
        events = [event async for event in house.answerer.answer(question)]
        finished = events[-1]
        assert isinstance(finished, Finished) and TEXT in finished.answer.text
        house.threads.save("a", answer=finished.answer, response={}, previous_id=None)
        await house.runner.deliver("s", [Purge(key=key, reason="deleted")])
        stored = await asyncio.to_thread(house.threads.get, "a")
    assert stored is not None
    assert (TEXT in str(stored.answer)) == key.startswith(OWN)
