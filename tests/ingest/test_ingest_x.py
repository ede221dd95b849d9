"""X through the real runner into the real record: what is gone there is gone here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from gnomon.answer.base import Finished, Question
from gnomon.answer.pipeline import Answerer
from gnomon.answer.threads import Threads
from gnomon.clock import RandomIds, SystemClock
from gnomon.record.base import Life
from gnomon.settings import Settings
from gnomon.testing.x_server import XServer
from gnomon.types import Answer, SourceConfig


@asynccontextmanager
async def following(
    house: Any, eventually: Any, *rules: str, **more: Any
) -> AsyncIterator[tuple[XServer, Any]]:
    """X and a house that listens to these rules."""
    async with (
        XServer(keep_alive_s=0.05) as server,
        house(allow=(server.address,)) as opened,
    ):
        settings = {"bearer_token": server.token, "api_url": server.url, "rules": list(rules)}
        await opened.runner.add(SourceConfig(name="x:t", type="x", settings=settings | more))
        await eventually(lambda: server.listening)
        yield server, opened


async def test_what_is_gone_on_x_is_purged_from_the_record(house: Any, eventually: Any) -> None:
    async with following(house, eventually, "bridge", compliance_every_s=1) as (server, opened):
        ids = [server.publish(f"The bridge, part {n}.") for n in range(3)]
        await eventually(lambda: opened.record.stats().documents == 3)
        assert opened.state("x:t").state == "live" and "of $5.00 spent" in opened.state("x:t").text
        server.delete(ids[0])
        # The first job after the deletion finds it; each is polled once a minute, or when poked.
        for _ in range(200):
            opened.runner.poll_now("x:t")
            await asyncio.sleep(0.05)
            if opened.record.get(f"x:{ids[0]}").life is Life.PURGED:
                break
        assert opened.record.get(f"x:{ids[0]}").life is Life.PURGED
        assert opened.record.get(f"x:{ids[1]}").life is Life.ALIVE


class NoModels:
    def generator(self) -> None: ...

    def embedder(self) -> None: ...

    def scorer(self) -> None: ...

    def states(self) -> list[Any]:
        return []


async def ask(opened: Any, text: str) -> Answer:
    answerer = Answerer(
        opened.record,
        opened.index,
        NoModels(),
        SystemClock(),
        RandomIds(),
        Settings(),
        opened.runner.states,
        shown=opened.runner.shown,
    )
    events = [event async for event in answerer.answer(Question(text=text, mode="extract"))]
    assert isinstance(events[-1], Finished)
    return events[-1].answer


async def test_what_answers_show_of_x_is_as_x_has_it_now(house: Any, eventually: Any) -> None:
    async with following(house, eventually, "bridge OR ferry", relook_s=0.2) as (server, opened):
        bridge = server.publish("The Mill Bridge reopens on Friday at noon.")
        ferry = server.publish("The ferry to Saltmarsh Quay costs four crowns.", username="bob")
        await eventually(lambda: opened.record.stats().documents == 2)
        await opened.runner.wait_indexed(opened.record.last_seq(), 5)
        answer = await ask(opened, "When does the Mill Bridge reopen?")
        assert [c.key for c in answer.citations] == [f"x:{bridge}"]
        await eventually(lambda: "/2/tweets" in [r.path for r in server.requests])

        server.rules.clear()  # the stream tells nothing of what comes
        server.delete(ferry)
        edited = server.edit(bridge, "The Mill Bridge reopens on Saturday at noon.")
        loop = asyncio.get_running_loop()
        shown = partial(loop.call_soon_threadsafe, opened.runner.shown)
        threads = Threads(
            opened.home / "answers.db",
            shown=shown,
            is_purged=lambda key, n: opened.record.version(key, n).life is Life.PURGED,
        )
        threads.save("one", answer=answer, response={}, previous_id=None)

        def newest() -> Any:
            return opened.record.get(f"x:{bridge}").document

        async def read_again() -> None:
            while newest().url != f"https://x.com/ann/status/{edited}":
                await asyncio.to_thread(threads.get, "one")
                await asyncio.sleep(0.05)

        await asyncio.wait_for(read_again(), 15)  # a stored answer is shown once more
        assert newest().text == "The Mill Bridge reopens on Saturday at noon."
        assert opened.record.get(f"x:{ferry}").life is Life.ALIVE  # nothing has shown it
        answer = await ask(opened, "What does the ferry to Saltmarsh Quay cost?")
        threads.save("two", answer=answer, response={}, previous_id=None)
        await eventually(lambda: opened.record.get(f"x:{ferry}").life is Life.PURGED)
        stored = await asyncio.to_thread(threads.get, "two")
        assert stored is not None and "four crowns" in answer.text
        assert "four crowns" not in str(stored.answer)
        threads.close()


async def test_without_a_key_the_source_says_so(house: Any, eventually: Any) -> None:
    async with house() as opened:
        settings = {"rules": ["bridge"]}
        await opened.runner.add(SourceConfig(name="x:t", type="x", settings=settings))
        await eventually(lambda: opened.state("x:t").state == "failed")
        assert "needs a key" in opened.state("x:t").text
