"""An answer that was asked for as resumable outlives its reader."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

import httpx2
import pytest

from gnomon.serve import jobs


def read(text: str) -> list[tuple[str, str, Any]]:
    """(id, name, data) of each event."""
    found = []
    for block in text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line[:9])
        if "data" in fields:
            found.append((fields.get("id", ""), fields["event"], json.loads(fields["data"])))
    return found


async def test_a_lost_stream_is_taken_up_behind_the_last_event(house: Any, served: Any) -> None:
    house.answerer.hold = asyncio.Event()
    async with served(house) as url, httpx2.AsyncClient(base_url=url) as http:
        body = {"question": "Is it open?", "resumable": True}
        seen = ""
        async with http.stream("POST", "/v1/ask", json=body) as reply:
            async for part in reply.aiter_text():
                seen += part
                if "event: sentence" in seen and seen.endswith("\n\n"):
                    break
        begun = read(seen)
        id = begun[0][2]["id"]
        assert [n for n, _, _ in begun] == ["0", "1", "2"]
        unfinished = await http.get(f"/v1/answers/{id}")
        assert unfinished.status_code == 404
        assert unfinished.json()["code"] == "answer.unfinished"
        house.answerer.hold.set()
        rest = read((await http.get(f"/v1/answers/{id}/events?starting_after=2")).text)
        assert [(n, name) for n, name, _ in rest] == [("3", "sentence"), ("4", "finished")]
        again = await http.get(f"/v1/answers/{id}/events", headers={"last-event-id": "3"})
        assert read(again.text) == rest[1:]
        whole = (await http.get(f"/v1/answers/{id}")).json()
        assert whole["answer"]["text"] == rest[-1][2]["answer"]["text"]
        assert not house.answerer.cancelled.is_set()
        assert len(house.answerer.asked) == 1


async def test_answers_that_are_read_are_not_counted_with_those_that_nobody_reads(
    house: Any, served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "MAX_RUNNING", 1)
    house.answerer.hold = asyncio.Event()
    asked = {"question": "Is the bridge open?", "resumable": True}
    lines: list[Any] = []
    async with served(house) as url, httpx2.AsyncClient(base_url=url, timeout=20) as http:
        async with AsyncExitStack() as stack:
            for _ in range(3):
                reading = await stack.enter_async_context(
                    http.stream("POST", "/v1/ask", json=asked)
                )
                assert reading.status_code == 200
                lines.append(reading.aiter_lines())
                while await anext(lines[-1]) != "event: sentence":
                    pass
        # All three readers have left, and their answers go on.
        async with asyncio.timeout(10):
            while True:
                async with http.stream("POST", "/v1/ask", json=asked) as refused:
                    if refused.status_code == 429:
                        break
                await asyncio.sleep(0.01)
        assert refused.headers["retry-after"] == "10"
        house.answerer.hold.set()


async def test_stopping_ends_the_work_and_stores_nothing(house: Any, served: Any) -> None:
    house.answerer.hold = asyncio.Event()
    async with served(house) as url, httpx2.AsyncClient(base_url=url) as http:
        body = {"question": "Is it open?", "resumable": True}
        async with http.stream("POST", "/v1/ask", json=body) as reply:
            first = await anext(reply.aiter_text())
        id = read(first)[0][2]["id"]
        async with asyncio.timeout(5):
            await house.answerer.waiting.wait()
        stopped = (await http.post(f"/v1/answers/{id}/cancel")).json()
        assert stopped == {"id": id, "status": "cancelled"}
        assert house.answerer.cancelled.is_set()
        assert (await http.get("/v1/threads")).json()["threads"] == []
        assert (await http.get("/v1/answers/nothing/events")).status_code == 404


async def test_without_it_the_work_ends_with_its_reader(house: Any, served: Any) -> None:
    house.answerer.hold = asyncio.Event()
    async with served(house) as url, httpx2.AsyncClient(base_url=url) as http:
        async with http.stream("POST", "/v1/ask", json={"question": "Is it open?"}) as reply:
            await anext(reply.aiter_text())
        async with asyncio.timeout(5):
            await house.answerer.cancelled.wait()


async def test_a_request_sent_twice_under_one_key_is_answered_once(house: Any, served: Any) -> None:
    house.answerer.hold = asyncio.Event()
    async with served(house) as url, httpx2.AsyncClient(base_url=url, timeout=20) as http:
        body = {"question": "Is it open?", "resumable": True, "request_key": "mine-1"}
        async with http.stream("POST", "/v1/ask", json=body) as reply:
            async for part in reply.aiter_text():
                if "event: planned" in part:
                    break
        house.answerer.hold.set()
        again = read((await http.post("/v1/ask", json=body)).text)
        assert [name for _, name, _ in again] == [
            "planned", "retrieved", "sentence", "sentence", "finished",
        ]  # fmt: skip
        assert len(house.answerer.asked) == 1
        other = read((await http.post("/v1/ask", json=body | {"request_key": "mine-2"})).text)
        assert other[0][2]["id"] != again[0][2]["id"]
        assert len(house.answerer.asked) == 2
