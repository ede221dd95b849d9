"""What search, the overview and opened documents show of X is looked up again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gnomon.app import House, opened
from gnomon.record.base import Life
from gnomon.serve.app import create_app
from gnomon.settings import Demo, Models, Net, Settings, Starter
from gnomon.testing.x_server import XServer
from gnomon.types import SourceConfig

Get = Callable[..., Awaitable[dict[str, Any]]]


@asynccontextmanager
async def followed(
    home: Path, server: XServer, **more: Any
) -> AsyncIterator[tuple[House, Get, Callable[[], list[str]]]]:
    """A whole house that follows X; how its API is asked; and the ids that X was asked for."""
    settings = Settings(
        home=home,
        demo=Demo(mode="off"),
        models=Models(dir=home / "none"),
        net=Net(allow=(server.address,)),
        starter=Starter(mode="off"),
    )
    x = {"bearer_token": server.token, "api_url": server.url, "rules": ["bridge"], **more}
    async with opened(settings, follow=True) as house:
        house.begin()
        app = create_app(house.services(on_damage=pytest.fail))
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(
            transport=transport, base_url="http://127.0.0.1:8420"
        ) as client:

            async def get(path: str, **query: Any) -> dict[str, Any]:
                answered = await client.get(path, params=query)
                assert answered.status_code == 200, answered.text
                return dict(answered.json())

            await house.runner.add(SourceConfig(name="x:t", type="x", settings=x))
            await until(lambda: server.listening)

            def looked_up() -> list[str]:
                asked = [r.query["ids"] for r in server.requests if r.path == "/2/tweets"]
                return ",".join(asked).split(",") if asked else []

            yield house, get, looked_up


async def until(reached: Callable[[], object]) -> None:
    deadline = asyncio.get_running_loop().time() + 15
    while not reached():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.02)


async def test_a_hit_of_a_search_is_as_x_has_it_now(tmp_path: Path) -> None:
    async with XServer(keep_alive_s=0.05) as server, followed(tmp_path, server) as (house, get, _):
        ids = [server.publish(f"The bridge over the {name} is shut.") for name in ("Ems", "Ilm")]
        await until(lambda: house.record.stats().documents == 2)
        await house.runner.wait_indexed(house.record.last_seq(), 5)
        server.rules.clear()  # the stream tells nothing of what comes
        for id in ids:
            server.delete(id)
        found = await get("/v1/search", q="Ems")
        assert [hit["key"] for hit in found["hits"]] == [f"x:{ids[0]}"]
        await until(lambda: house.record.get(f"x:{ids[0]}").life is Life.PURGED)
        assert house.record.get(f"x:{ids[1]}").life is Life.ALIVE  # no search has shown it
        assert (await get("/v1/search", q="Ems"))["hits"] == []
        await get(f"/v1/documents/x:{ids[1]}")
        await until(lambda: house.record.get(f"x:{ids[1]}").life is Life.PURGED)


async def test_a_post_is_not_paid_for_with_each_search(tmp_path: Path) -> None:
    async with (
        XServer(keep_alive_s=0.05) as server,
        followed(tmp_path, server) as (house, get, looked_up),
    ):

        async def published(text: str) -> str:
            id = server.publish(text)
            await until(lambda: house.record.get(f"x:{id}").document)
            await house.runner.wait_indexed(house.record.last_seq(), 5)
            return id

        first = await published("The bridge over the Ems is shut.")
        for _ in range(3):
            await get("/v1/search", q="bridge")
        await until(looked_up)
        second = await published("The bridge over the Ilm is shut.")
        assert len((await get("/v1/search", q="bridge"))["hits"]) == 2
        await until(lambda: len(looked_up()) > 1)
        assert looked_up() == [first, second]
