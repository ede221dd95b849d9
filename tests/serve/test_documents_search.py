"""Collections, searched as xAI's clients search them, in a real house."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest_asyncio

from gnomon.app import opened
from gnomon.serve.app import create_app
from gnomon.settings import Demo, Models, Settings

EAST = "The dredging of the eastern basin costs 4.2 million crowns. " + "It rained. " * 400
WEST = "The library board met. The dredging of the western basin costs 900 crowns."


@pytest_asyncio.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    models = Models(dir=tmp_path / "none")
    settings = Settings(home=tmp_path / "home", demo=Demo(mode="off"), models=models)
    async with opened(settings, follow=False) as house:
        app = create_app(house.services(on_damage=print))
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(
            transport=transport, base_url="http://127.0.0.1:8420/v1"
        ) as made:
            yield made


async def stored(client: httpx2.AsyncClient, name: str, text: str) -> tuple[str, str]:
    sent = {"file": (name, text.encode())}
    file = (await client.post("/files", files=sent, data={"purpose": "assistants"})).json()
    store = await client.post("/vector_stores", json={"name": name, "file_ids": [file["id"]]})
    return file["id"], store.json()["id"]


async def test_places_are_found_in_the_collections_that_are_named(
    client: httpx2.AsyncClient,
) -> None:
    (east, in_east), (west, in_west) = (
        await stored(client, "east.txt", EAST),
        await stored(client, "west.txt", WEST),
    )

    async def search(*stores: str, **more: Any) -> list[dict[str, Any]]:
        body = {"query": "dredging cost", "source": {"collection_ids": stores}} | more
        answered = await client.post("/documents/search", json=body)
        assert answered.status_code == 200, answered.text
        return list(answered.json()["matches"])

    (found,) = await search(in_west)
    assert (found["file_id"], found["collection_ids"]) == (west, [in_west])
    assert found["chunk_content"] == WEST and found["chunk_id"].startswith(f"file:{west}#")
    both = await search(in_east, in_west, retrieval_mode={"type": "keyword"})
    assert {match["file_id"] for match in both} == {east, west}
    assert all(len(match["chunk_content"]) <= 2_000 for match in both)
    assert len(await search(in_east, in_west, limit=1)) == 1


async def test_what_cannot_be_searched_is_refused(client: httpx2.AsyncClient) -> None:
    _, store = await stored(client, "west.txt", WEST)
    good = {"query": "dredging", "source": {"collection_ids": [store]}}
    for changed, status, param in (
        ({"source": {"collection_ids": ["vs_none"]}}, 404, None),
        ({"source": {"collection_ids": []}}, 400, "source.collection_ids"),
        ({"filter": 'name = "x"'}, 400, "filter"),
        ({"query": " "}, 400, "query"),
        ({"retrieval_mode": {"type": "magic"}}, 400, "retrieval_mode.type"),
    ):
        refused = await client.post("/documents/search", json=good | changed)
        assert refused.status_code == status, changed
        assert refused.json()["error"]["param"] == param
