from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from msgspec import structs

from gnomon.answer.diff import Claim, ClaimChange
from gnomon.answer.watches import WatchEvent, WatchStore
from gnomon.types import Citation


@pytest.fixture
def watched(house: Any, tmp_path: Path) -> Iterator[Any]:
    """The house, and its store of watches opened once more."""
    store = WatchStore(tmp_path / "watches.db")
    yield house, store
    store.close()


def changed(house: Any, store: WatchStore, id: str, cited: Citation, n: int) -> None:
    """The answer of a watch has changed."""
    watch = store.get(id)
    assert watch is not None
    claim = Claim(text="The bridge is open.", citation=cited)
    now = house.clock.now()
    event = WatchEvent(
        n=n, at=now, since=now, summary="One is new.",
        changes=(ClaimChange(status="new", after=claim),),
    )  # fmt: skip
    store.save(structs.replace(watch, events=n), event)


async def test_a_watch_is_made_listed_read_and_removed(watched: Any) -> None:
    house, store = watched
    cited = Citation(number=1, key="k", version=1, seq=1, start=0, end=3, quote="The")
    async with house.client() as http:
        made = await http.post("/v1/watches", json={"question": "Is the bridge open?"})
        assert made.status_code == 201
        id = made.json()["id"]
        assert "owner" not in made.json() and made.json()["unread"] == 0
        for n in (1, 2):
            changed(house, store, id, cited, n)
        listed = (await http.get("/v1/watches")).json()["watches"]
        assert [(w["id"], w["unread"]) for w in listed] == [(id, 2)]
        events = (await http.get(f"/v1/watches/{id}/events?limit=1")).json()["events"]
        assert [e["n"] for e in events] == [2]
        assert events[0]["changes"][0]["after"]["citation"]["saved_url"].endswith("start=0&end=3")
        older = (await http.get(f"/v1/watches/{id}/events?before=2")).json()["events"]
        assert [e["n"] for e in older] == [1]
        assert (await http.post(f"/v1/watches/{id}/read")).status_code == 204
        assert (await http.get(f"/v1/watches/{id}")).json()["unread"] == 0
        assert (await http.delete(f"/v1/watches/{id}")).status_code == 204
        assert (await http.get(f"/v1/watches/{id}")).status_code == 404
        assert (await http.get("/v1/watches/none/events")).status_code == 404
        moment = await http.post("/v1/watches", json={"question": "Was it open as of 2 hours ago?"})
        assert moment.status_code == 422 and moment.json()["code"] == "diff.moment"


async def test_a_change_is_streamed_as_it_happens(watched: Any, served: Any) -> None:
    house, store = watched
    cited = Citation(number=1, key="k", version=1, seq=1, start=0, end=3, quote="The")
    async with served(house) as url, httpx2.AsyncClient(base_url=url) as http:
        id = (await http.post("/v1/watches", json={"question": "Is it open?"})).json()["id"]
        changed(house, store, id, cited, 1)
        async with http.stream("GET", f"/v1/watches/{id}/stream") as reply:
            parts = reply.aiter_text()
            first = await anext(parts)
            assert first.startswith("id: 1\nevent: changed\n")
            changed(house, store, id, cited, 2)
            house.services.watching._tell()
            async with asyncio.timeout(5):
                second = await anext(parts)
            assert json.loads(second.split("data: ")[1])["n"] == 2
            await http.delete(f"/v1/watches/{id}")
            async with asyncio.timeout(5):
                assert [part async for part in parts] == []


@pytest.mark.parametrize("question", ["", "   "])
async def test_an_empty_question_is_refused(watched: Any, question: str) -> None:
    house, _ = watched
    async with house.client() as http:
        refused = await http.post("/v1/watches", json={"question": question})
    assert refused.status_code == 400 and refused.json()["param"] == "question"
