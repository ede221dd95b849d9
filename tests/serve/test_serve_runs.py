from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from gnomon.accounts.base import Role
from gnomon.accounts.store import Accounts
from gnomon.answer.deep.engine import Engine
from gnomon.answer.deep.runs import Runs, RunStore
from gnomon.models.scripted import ScriptedGenerator


class NoModels:
    def generator(self) -> None:
        """None."""

    def embedder(self) -> None:
        """None."""


@asynccontextmanager
async def deep(house: Any, folder: Path) -> AsyncIterator[Any]:
    store = RunStore(folder / "runs.db")
    engine = Engine(house.answerer, house.record, NoModels(), house.clock)
    managed = Runs(store, engine, house.clock, house.services.ids)
    try:
        yield replace(house, services=replace(house.services, runs=managed))
    finally:
        await managed.aclose()
        store.close()


async def test_a_run_is_begun_watched_and_read(house: Any, tmp_path: Path) -> None:
    async with deep(house, tmp_path) as opened, opened.client() as http:
        begun = await http.post("/v1/runs", json={"question": "Is it open?", "steps": 3})
        assert begun.status_code == 202
        address = f"/v1/runs/{begun.json()['id']}"
        async with asyncio.timeout(20):
            events = await http.get(f"{address}/events")
        found = (await http.get(address)).json()
        again = await http.get(f"{address}/events", headers={"last-event-id": "1"})
        text = await http.get(address, params={"format": "markdown"})
        listed = (await http.get("/v1/runs")).json()["runs"]
    assert events.text.startswith("id: 1\nevent: begun\n")
    assert "event: ended" in events.text
    assert again.text.startswith("id: 2\n")
    assert found["status"] == "done"
    assert found["budget"]["steps"] == 3
    assert found["report"]["summary"][0]["text"] == "The north bridge is closed."
    assert found["report"]["citations"][0]["saved_url"].endswith("version=1&start=0&end=27")
    assert text.text.startswith("# Is it open?")
    assert [r["id"] for r in listed] == [found["id"]]


async def test_a_run_is_cancelled_and_forgotten(house: Any, tmp_path: Path) -> None:
    house.answerer.hold = asyncio.Event()
    async with deep(house, tmp_path) as opened, opened.client() as http:
        address = (
            "/v1/runs/" + (await http.post("/v1/runs", json={"question": "Open?"})).json()["id"]
        )
        async with asyncio.timeout(20):
            await house.answerer.waiting.wait()
        cancelled = (await http.post(f"{address}/cancel")).json()
        gone = await http.delete(address)
        unknown = await http.get(address)
    assert cancelled["status"] == "cancelled"
    assert gone.status_code == 204
    assert unknown.status_code == 404


async def test_what_cannot_be_run_is_refused(house: Any, tmp_path: Path) -> None:
    async with deep(house, tmp_path) as opened, opened.client() as http:
        empty = await http.post("/v1/runs", json={"question": "?"})
        many = await http.post("/v1/runs", json={"question": "Open?", "steps": 0})
        unknown = await http.get("/v1/runs/run_none/events")
    assert empty.status_code in (400, 422)
    assert many.status_code == 400
    assert unknown.status_code == 404


async def test_without_deep_mode_it_says_so(house: Any) -> None:
    async with house.client() as http:
        r = await http.post("/v1/runs", json={"question": "Open?"})
    assert r.status_code == 501


async def test_its_tokens_count_for_whoever_began_it(house: Any, tmp_path: Path) -> None:
    accounts = Accounts(tmp_path / "accounts.db", house.clock)
    accounts.add_user("ann", Role.READER)
    key, secret = accounts.add_key("ann", tokens_per_minute=20)
    store = RunStore(tmp_path / "runs.db")

    written = ScriptedGenerator(["Enough.", "It is closed [1]."], clock=house.clock)
    models = replace(house.services.models, writer=written)
    engine = Engine(house.answerer, house.record, models, house.clock)
    runs = Runs(store, engine, house.clock, house.services.ids)
    house = replace(house, services=replace(house.services, runs=runs, accounts=accounts))
    mine = {"authorization": f"Bearer {secret}"}
    async with house.client(headers=mine) as http:
        before = await http.get("/v1/runs")
        assert before.headers["x-ratelimit-remaining-tokens"] == "20"
        begun = (await http.post("/v1/runs", json={"question": "Is the bridge open?"})).json()
        async with asyncio.timeout(10):
            async for _ in runs.watch(begun["id"]):
                pass
        refused = await http.get("/v1/runs")
        assert refused.status_code == 429 and "tokens" in refused.text
        house.clock.advance(3_600)
        done = (await http.get(f"/v1/runs/{begun['id']}")).json()
    spent = done["spent"]["input_tokens"] + done["spent"]["output_tokens"]
    kept = store.get(begun["id"])
    assert kept is not None and kept.counted_tokens == spent > 20
    assert key.id in kept.billed and secret not in kept.billed
    await runs.aclose()
    store.close()
    accounts.close()
