"""A whole house asks the web and opens pages in a deep run: both keep copies that open."""

from __future__ import annotations

import asyncio
from pathlib import Path

from gnomon.answer.base import Finished, Question
from gnomon.answer.deep.base import Budget
from gnomon.app import House, opened
from gnomon.settings import Demo, Models, Net, Settings, Starter, WebSearchSettings
from gnomon.testing.feed_server import FeedServer
from gnomon.testing.search_server import SearchServer
from gnomon.types import Answer, Citation, Document, Upsert

ASKED = "Who won the harbour regatta?"
TOLD = (
    "Ada Ferrow won the harbour regatta, ahead of eleven other boats.\n\n"
    "The harbour regatta was sailed in a light breeze, and nobody was hurt in the harbour."
)


def settings(home: Path, pages: FeedServer, search: SearchServer, *, web: bool) -> Settings:
    return Settings(
        home=home,
        net=Net(allow=(pages.host_port, search.address), per_host_delay_s=0),
        models=Models(dir=home / "none", generator="off"),
        websearch=WebSearchSettings(searxng_url=search.url if web else ""),
        demo=Demo(mode="off"),
        starter=Starter(mode="off"),
    )


async def ask(house: House, text: str) -> Answer:
    async for event in house.answerer.answer(Question(text=text)):
        if isinstance(event, Finished):
            return event.answer
    raise AssertionError("no answer")


def opens(house: House, cited: Citation) -> bool:
    found = house.record.version(cited.key, cited.version).document
    return found is not None and found.text[cited.start : cited.end] == cited.quote


async def test_an_answer_from_the_web_cites_what_the_record_holds(tmp_path: Path) -> None:
    async with FeedServer() as pages, SearchServer() as search:
        pages.page("/regatta", title="Who won the harbour regatta", text=TOLD)
        search.put(pages.url("/regatta"), "Who won the harbour regatta")
        async with opened(settings(tmp_path, pages, search, web=True), follow=False) as house:
            answer = await ask(house, ASKED)
            assert "Ada Ferrow won" in answer.text
            assert all(opens(house, c) for c in answer.citations)
            # Searchable at once for everybody, also for a question that asks no service.
            asked = len(search.requests)
            assert "Ada Ferrow" in (await ask(house, "Who won the regatta in the harbour?")).text
            assert len(search.requests) == asked


async def test_a_page_that_a_run_opened_is_searchable_and_its_copy_opens(tmp_path: Path) -> None:
    async with FeedServer() as pages, SearchServer() as search:
        pages.page("/regatta", title="Regatta", text=TOLD)
        async with opened(settings(tmp_path, pages, search, web=False), follow=False) as house:
            post = Document(
                key="board:1", source="board", kind="post",
                text=f"The harbour regatta is over: {pages.url('/regatta')}",
                published_at=house.clock.now(),
            )  # fmt: skip
            await house.runner.deliver("board", [Upsert(post)])
            assert await house.runner.wait_indexed(house.record.last_seq(), 10)
            run = await house.runs.start(
                "Is the harbour regatta over?", owner="ada", budget=Budget()
            )
            async with asyncio.timeout(30):
                async for _ in house.runs.watch(run.id):
                    pass
            done = await house.runs.get(run.id, "ada")
            assert done is not None and done.report is not None
            assert pages.asked("/regatta")
            cited = [c for c in done.report.citations if c.source == "opened"]
            assert cited and all(opens(house, c) for c in cited)
            assert await house.runner.wait_indexed(house.record.last_seq(), 10)
            assert "Ada Ferrow won" in (await ask(house, ASKED)).text
