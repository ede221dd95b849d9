"""The stand-in for Mastodon, checked by Mastodon.py and by an OpenAPI document of its API."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import mastodon as client_library
import pytest

from gnomon.clock import SystemClock
from gnomon.net.door import Door
from gnomon.settings import Net
from gnomon.testing.mastodon_server import MastodonServer

_SPEC = importlib.util.spec_from_file_location(
    "openapi_check", Path(__file__).with_name("openapi_check.py")
)
assert _SPEC and _SPEC.loader
openapi = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(openapi)


def client(server: MastodonServer, token: str | None = "user-token") -> Any:
    return client_library.Mastodon(
        access_token=token,
        api_base_url=server.url,
        version_check_mode="none",
        request_timeout=10,
        ratelimit_method="throw",
    )


async def until(reached: Callable[[], object]) -> None:
    deadline = asyncio.get_running_loop().time() + 10
    while not reached():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.01)


async def test_mastodon_py_reads_and_pages() -> None:
    async with MastodonServer(page=5) as server:
        ids = [server.publish(f"Number {n}.", tags=["town"]) for n in range(12)]
        server.publish("Not here.", acct="bob@elsewhere.example")
        server.publish("For friends.", visibility="private")
        server.trend_link("https://news.example/1", "A title", "Words.")
        server.trend_tag("town")
        server.trending.append(ids[2])
        reader = client(server)
        first = await asyncio.to_thread(reader.timeline_local, limit=5)
        assert [str(s.id) for s in first] == ids[:-6:-1]
        older = await asyncio.to_thread(reader.fetch_next, first)
        assert [str(s.id) for s in older] == ids[6:1:-1]
        upward = await asyncio.to_thread(reader.timeline_hashtag, "town", min_id=ids[0], limit=3)
        assert [str(s.id) for s in upward] == ids[3:0:-1]
        assert len(await asyncio.to_thread(reader.trending_links)) == 1
        assert (await asyncio.to_thread(reader.trending_tags))[0].name == "town"
        assert str((await asyncio.to_thread(reader.trending_statuses))[0].id) == ids[2]
        account = await asyncio.to_thread(reader.account_lookup, "ann")
        own = await asyncio.to_thread(reader.account_statuses, account.id, limit=40)
        assert len(own) == 5
        server.edit(ids[0], "Corrected.")
        status = await asyncio.to_thread(reader.status, ids[0])
        assert "Corrected" in status.content and status.edited_at >= status.created_at
        server.delete(ids[0])
        with pytest.raises(client_library.MastodonNotFoundError):
            await asyncio.to_thread(reader.status, ids[0])
        instance = await asyncio.to_thread(reader.instance_v2)
        assert instance.configuration.urls.streaming == f"ws://{server.address}"
        server.access = "authenticated"
        nobody = client(server, None)
        with pytest.raises(client_library.errors.MastodonWarning, match="unavailable"):
            await asyncio.to_thread(nobody.timeline_public)  # it reads timelines_access
        for one in (reader, nobody):
            one.session.close()


class Listener(client_library.StreamListener):
    """Keeps what the stream says."""

    def __init__(self) -> None:
        self.said: list[tuple[str, Any]] = []
        self.beats = 0

    def on_update(self, status: Any) -> None:
        self.said.append(("update", status.content))

    def on_status_update(self, status: Any) -> None:
        self.said.append(("edit", status.content))

    def on_delete(self, status_id: Any) -> None:
        self.said.append(("delete", str(status_id)))

    def handle_heartbeat(self) -> None:
        self.beats += 1

    def on_abort(self, err: Any) -> None:
        self.said.append(("abort", None))


async def test_mastodon_py_listens() -> None:
    async with MastodonServer(keep_alive_s=0.05) as server:
        reader, listener = client(server), Listener()
        handle = await asyncio.to_thread(
            lambda: reader.stream_hashtag("town", listener, run_async=True, timeout=1)
        )
        await until(lambda: server.listening and listener.beats)
        id = server.publish("One.", tags=["town"])
        server.publish("Elsewhere.")
        server.edit(id, "Two.")
        server.delete(id)
        await until(lambda: len(listener.said) == 3)
        assert listener.said == [("update", "<p>One.</p>"), ("edit", "<p>Two.</p>"), ("delete", id)]
        handle.close()
        await until(lambda: not handle.is_alive() and not server.listening)
        reader.session.close()


async def test_everything_said_is_as_described() -> None:
    description = openapi.Description("mastodon/schema.json.gz")
    async with MastodonServer(keep_alive_s=0.05) as server:
        id = server.publish("One.", warning="Careful", tags=["t"], poll=["a", "b"], pictures=["p"])
        server.publish("Two.", reply_to=id, quotes=id, acct="bob@elsewhere.example")
        server.boost(id)
        server.edit(id, "One, corrected.")
        server.trending.append(id)
        server.trend_link("https://news.example/1", "A title", "Words.")
        server.trend_tag("t")
        net = Net(allow=(server.address,), per_host_delay_s=0, timeout_s=2)
        headers = {"authorization": f"Bearer {server.token}"}
        async with aclosing(Door(net, SystemClock())) as door:
            ann = server.account("ann")["id"]
            for path in (
                "/api/v2/instance",
                "/api/v1/timelines/public?limit=40&min_id=1",
                "/api/v1/timelines/public?local=true",
                "/api/v1/timelines/tag/t?limit=40",
                "/api/v1/timelines/home",
                "/api/v1/accounts/lookup?acct=ann",
                f"/api/v1/accounts/{ann}/statuses?exclude_reblogs=true&limit=40",
                f"/api/v1/statuses/{id}",
                "/api/v1/statuses/1",
                f"/api/v1/statuses?id[]={id}",
                "/api/v1/trends/links?limit=20",
                "/api/v1/trends/statuses?limit=20",
                "/api/v1/trends/tags?limit=20",
            ):
                await door.fetch(f"{server.url}{path}", purpose="feed", headers=headers)
            problems = [p for pair in server.replies for p in description.exchange(*pair)]
            events: list[Any] = []
            url = f"{server.url}/api/v1/streaming/public"
            async with door.events(url, headers=headers) as stream:
                server.publish("Live.")
                async for event in stream:
                    events.append(event)
                    break
        schema = {"$ref": "#/components/schemas/Status"}
        problems += description.problems(schema, json.loads(events[0].data))
        assert events[0].event == "update" and len(server.replies) >= 13
        assert not problems, problems[:10]


async def test_the_limit_has_its_headers() -> None:
    async with MastodonServer() as server:
        net = Net(allow=(server.address,), per_host_delay_s=0, timeout_s=2)
        async with aclosing(Door(net, SystemClock())) as door:
            answer = await door.fetch(f"{server.url}/api/v2/instance", purpose="feed")
        assert answer.headers["x-ratelimit-limit"] == "300"
        assert answer.headers["x-ratelimit-remaining"] == "299"
