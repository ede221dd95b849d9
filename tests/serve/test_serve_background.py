from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from openai import AsyncOpenAI

from gnomon.errors import ModelError
from gnomon.serve import jobs


async def finished(client: AsyncOpenAI, id: str) -> Any:
    """The response, watched to its end by its own stream."""
    async for _ in await client.responses.retrieve(id, stream=True):
        pass
    return await client.responses.retrieve(id)


async def test_an_answer_is_made_while_nobody_waits(house: Any, served: Any) -> None:
    async with served(house) as url, AsyncOpenAI(base_url=f"{url}/v1", api_key="k") as client:
        begun = await client.responses.create(model="gnomon", input="Open?", background=True)
        assert begun.status == "in_progress" and begun.background is True and not begun.output
        done = await finished(client, begun.id)
    assert done.status == "completed" and done.id == begun.id
    assert done.output_text.startswith("The north bridge is closed.")


async def test_a_lost_stream_goes_on_behind_its_last_event(house: Any, served: Any) -> None:
    house.answerer.hold = asyncio.Event()
    async with served(house) as url, AsyncOpenAI(base_url=f"{url}/v1", api_key="k") as client:
        stream = await client.responses.create(
            model="gnomon", input="Open?", background=True, stream=True
        )
        seen = []
        async for event in stream:
            seen.append(event)
            if event.type == "response.output_text.delta":
                break
        await stream.close()
        assert not house.answerer.cancelled.is_set()
        house.answerer.hold.set()
        id, last = seen[0].response.id, seen[-1].sequence_number
        rest = await client.responses.retrieve(id, stream=True, starting_after=last)
        more = [event async for event in rest]
    numbers = [event.sequence_number for event in (*seen, *more)]
    assert numbers == list(range(len(numbers)))
    assert more[-1].type == "response.completed"


async def test_what_is_cancelled_stops_and_says_so(house: Any, served: Any) -> None:
    house.answerer.hold = asyncio.Event()
    async with served(house) as url, AsyncOpenAI(base_url=f"{url}/v1", api_key="k") as client:
        begun = await client.responses.create(model="gnomon", input="Open?", background=True)
        await house.answerer.waiting.wait()
        cancelled = await client.responses.cancel(begun.id)
        assert cancelled.status == "cancelled" and house.answerer.cancelled.is_set()
        assert (await client.responses.retrieve(begun.id)).status == "cancelled"
        again = await client.responses.cancel(begun.id)
        assert again.status == "cancelled"


async def test_a_failure_in_the_background_is_kept(house: Any, served: Any) -> None:
    house.answerer.failure = ModelError("The model stopped.", code="model.stopped")
    async with served(house) as url, AsyncOpenAI(base_url=f"{url}/v1", api_key="k") as client:
        begun = await client.responses.create(model="gnomon", input="Open?", background=True)
        done = await finished(client, begun.id)
    assert done.status == "failed" and "model stopped" in done.error.message.lower()


async def test_what_a_restart_interrupted_has_failed(house: Any) -> None:
    house.answerer.hold = asyncio.Event()
    async with house.client() as http:
        begun = (await http.post("/v1/responses", json={"input": "?!x", "background": True})).json()
    async with house.client() as http:  # another application over the same store
        read = (await http.get(f"/v1/responses/{begun['id']}")).json()
        stream = await http.get(f"/v1/responses/{begun['id']}?stream=true")
    assert read["status"] == "failed" and "restarted" in read["error"]["message"]
    assert stream.status_code == 400
    house.answerer.hold.set()


async def test_only_what_is_stored_can_be_made_in_the_background(house: Any) -> None:
    async with house.client() as http:
        body = {"input": "Open?", "background": True, "store": False}
        refused = await http.post("/v1/responses", json=body)
        plain = (await http.post("/v1/responses", json={"input": "Open?"})).json()
        cancelled = await http.post(f"/v1/responses/{plain['id']}/cancel")
    assert refused.status_code == 400 and "store" in refused.json()["error"]["message"]
    assert cancelled.status_code == 400


async def test_too_many_at_once_are_refused_and_old_ones_forgotten(
    house: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(jobs, "MAX_RUNNING", 1)
    house = replace(house)
    house.answerer.hold = asyncio.Event()
    async with house.client() as http:
        body = {"input": "Open?", "background": True}
        first = (await http.post("/v1/responses", json=body)).json()
        refused = await http.post("/v1/responses", json=body)
        assert refused.status_code == 429 and refused.headers["retry-after"] == "10"
        house.answerer.hold.set()
        ended = await http.get(f"/v1/responses/{first['id']}?stream=true")
        assert "response.completed" in ended.text
        house.clock.advance(jobs.KEPT_S + 1)
        assert (await http.get(f"/v1/responses/{first['id']}?stream=true")).status_code == 400
        assert (await http.get(f"/v1/responses/{first['id']}")).json()["status"] == "completed"
