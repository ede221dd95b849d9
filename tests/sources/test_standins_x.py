"""The stand-in for X, checked by tweepy and by X's own OpenAPI document."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import threading
from collections.abc import Callable
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
import tweepy
from requests.adapters import HTTPAdapter

from gnomon.clock import SystemClock
from gnomon.net.door import Door
from gnomon.settings import Net
from gnomon.sources import x
from gnomon.sources.x_api import STREAM_FIELDS
from gnomon.testing.x_server import XServer
from gnomon.types import SourceConfig

_SPEC = importlib.util.spec_from_file_location(
    "openapi_check", Path(__file__).with_name("openapi_check.py")
)
assert _SPEC and _SPEC.loader
openapi = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(openapi)


class Elsewhere(HTTPAdapter):
    """Takes what is meant for X to the stand-in."""

    def __init__(self, base: str) -> None:
        super().__init__()
        self._base = base

    def send(self, request: requests.PreparedRequest, *args: Any, **more: Any) -> Any:
        assert request.url
        request.url = request.url.replace("https://api.twitter.com", self._base)
        return super().send(request, *args, **more)


def client(server: XServer, token: str = "") -> tweepy.Client:
    made = tweepy.Client(bearer_token=token or server.token)
    made.session.mount("https://api.twitter.com", Elsewhere(server.url))
    return made


async def test_tweepy_searches_pages_and_looks_up() -> None:
    async with XServer(page_posts=10) as server:
        ids = [server.publish(f"The bridge, part {n}.", username=f"u{n % 2}") for n in range(25)]
        newest = server.edit(ids[3], "The bridge, corrected.")
        server.delete(ids[4])
        asked = client(server)

        def search() -> list[Any]:
            pages = tweepy.Paginator(
                asked.search_recent_tweets,
                "bridge",
                max_results=10,
                tweet_fields=["created_at", "author_id"],
                expansions=["author_id"],
            )
            return [post for page in pages for post in page.data or ()]

        found = await asyncio.to_thread(search)
        assert {str(post.id) for post in found} == {*ids, newest} - {ids[3], ids[4]}
        edited = next(post for post in found if str(post.id) == newest)
        assert [str(id) for id in edited.edit_history_tweet_ids] == [ids[3], newest]
        assert all(post.created_at and post.author_id for post in found)
        looked = await asyncio.to_thread(asked.get_tweets, [ids[0], ids[4]])
        assert [str(post.id) for post in looked.data] == [ids[0]]
        assert looked.errors[0]["title"] == "Not Found Error"
        with pytest.raises(tweepy.Unauthorized):
            await asyncio.to_thread(client(server, "wrong").get_tweet, ids[0])
        with pytest.raises(tweepy.BadRequest):
            await asyncio.to_thread(asked.search_recent_tweets, "sample:10 bridge")
        server.misbehave("429 1")
        with pytest.raises(tweepy.TooManyRequests):
            await asyncio.to_thread(asked.get_tweet, ids[0])
        for session in (asked.session,):
            session.close()


class Heard(tweepy.StreamingClient):
    """Keeps what the stream says."""

    def __init__(self, server: XServer) -> None:
        super().__init__(server.token, max_retries=1)
        self.session.mount("https://api.twitter.com", Elsewhere(server.url))
        self.posts: list[Any] = []
        self.alive = 0
        self.refused: list[int] = []
        self.problems: list[Any] = []

    def on_response(self, response: Any) -> None:
        self.posts.append(response)

    def on_keep_alive(self) -> None:
        self.alive += 1

    def on_request_error(self, status_code: int) -> None:
        self.refused.append(status_code)
        self.running = False

    def on_errors(self, errors: Any) -> None:
        self.problems += errors


async def until(reached: Callable[[], object]) -> None:
    deadline = asyncio.get_running_loop().time() + 10
    while not reached():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.01)


async def test_tweepy_listens_by_rules() -> None:
    async with XServer(keep_alive_s=0.05) as server:
        heard = Heard(server)
        rules = [tweepy.StreamRule("bridge lang:en", tag="b"), tweepy.StreamRule("from:zoe")]
        added = await asyncio.to_thread(heard.add_rules, rules)
        assert added.meta["summary"]["created"] == 2 and not added.errors
        again = await asyncio.to_thread(heard.add_rules, rules[0])
        assert again.errors[0]["title"] == "DuplicateRule"
        listed = await asyncio.to_thread(heard.get_rules)
        assert [rule.value for rule in listed.data] == ["bridge lang:en", "from:zoe"]
        thread = threading.Thread(
            target=heard.filter,
            kwargs={"expansions": ["author_id"], "tweet_fields": ["lang"]},
            daemon=True,
        )
        thread.start()
        try:
            await until(lambda: server.listening and heard.alive)
            first = server.publish("The bridge is open.")
            server.publish("Die bridge ist offen.", lang="de")
            other = server.publish("Anything at all.", username="zoe")
            await until(lambda: len(heard.posts) == 2)
            assert [str(r.data.id) for r in heard.posts] == [first, other]
            assert heard.posts[0].matching_rules[0].tag == "b"
            assert heard.posts[1].includes["users"][0].username == "zoe"
            refused = Heard(server)
            await asyncio.to_thread(refused.filter)
            assert refused.refused == [429]
            server.misbehave("operational-disconnect")
            server.publish("The bridge, once more.")
            await until(lambda: heard.problems)
            assert heard.problems[0]["title"] == "operational-disconnect"
        finally:
            heard.running = False
            server.disconnect()
            await asyncio.to_thread(thread.join, 10)
        for one in (heard, refused):
            one.session.close()
        ids = [rule.id for rule in listed.data]
        gone = await asyncio.to_thread(heard.delete_rules, ids)
        assert gone.meta["summary"]["deleted"] == 2 and not server.rules
        heard.session.close()


async def test_everything_said_is_as_described() -> None:
    """The connector's questions and the stand-in's answers, against X's OpenAPI document."""
    description = openapi.Description("x/openapi.json.gz")
    async with XServer(keep_alive_s=0.05, page_posts=10) as server:
        net = Net(allow=(server.address,), per_host_delay_s=0, timeout_s=2)
        settings = {
            "bearer_token": server.token,
            "api_url": server.url,
            "rules": ["bridge"],
            "first_search_s": 3_600,
        }
        async with aclosing(Door(net, SystemClock())) as door:
            ids = [server.publish(f"The bridge {n}.", quotes="") for n in range(12)]
            reply = server.publish(
                "The bridge? https://t.co/a",
                reply_to=ids[0],
                urls={"https://t.co/a": "https://e.org/"},
            )
            server.edit(reply, "The bridge! https://t.co/a")
            server.delete(ids[1])
            ctx = _Ctx(door, settings, ids)
            for id in ids[:3]:
                ctx.shown.put_nowait((f"x:{id}", f"https://x.com/i/status/{id}"))
            documents = 0
            async with asyncio.timeout(20), aclosing(x.follow(ctx, None)) as batches:  # type: ignore[type-var]
                async for batch in batches:
                    documents += len(batch.changes)
                    if any(job["status"] == "complete" for job in server.jobs.values()):
                        break
            assert documents >= 11
            url = f"{server.url}/2/tweets/search/stream?" + "&".join(
                f"{name}={value}" for name, value in STREAM_FIELDS.items()
            )
            lines: list[bytes] = []
            await until(lambda: not server.listening)
            async with door.lines(url, headers={"authorization": f"Bearer {server.token}"}) as it:
                server.publish("The bridge, live.", reply_to=ids[0], note="Long.")
                async for line in it:
                    if line:
                        lines.append(line)
                        break
        described = [
            (request, answer)
            for request, answer in server.replies
            if not request.path.startswith(("/upload/", "/download/"))
        ]
        asked = {(request.method, request.path) for request, _ in described}
        assert ("POST", "/2/tweets/search/stream/rules") in asked
        assert ("POST", "/2/compliance/jobs") in asked and ("GET", "/2/tweets") in asked
        problems = [
            p for request, answer in described for p in description.exchange(request, answer)
        ]
        schema = {"$ref": "#/components/schemas/StreamPostsResponse"}
        problems += [p for line in lines for p in description.problems(schema, json.loads(line))]
        assert lines and not problems, problems[:10]


class _Ctx:
    """A context in which compliance is due at once and sleeping is short."""

    def __init__(self, door: Door, settings: dict[str, Any], ids: list[str]) -> None:
        import random

        from gnomon.settings import Ingest

        self.config = SourceConfig(name="x:t", type="x", settings=settings)
        self.settings = x.XSettings.model_validate({**settings, "compliance_every_s": 0.01})
        self.fetcher = door
        self.clock: Any = _Hasty()
        self.rng = random.Random(1)
        self.limits = Ingest()
        self._ids = ids
        self.shown: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

    async def cited(self) -> list[tuple[str, str]]:
        return [await self.shown.get()]

    def heard(self, **state: Any) -> None:
        pass

    def count(self, reason: str, n: int = 1) -> None:
        pass

    async def held(self, since: Any = None, limit: int = 10) -> list[Any]:
        now = self.clock.now()
        return [(f"x:{id}", now) for id in self._ids] if since is None else []


class _Hasty(SystemClock):
    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.02))


async def test_backfill_is_for_enterprises() -> None:
    async with XServer(keep_alive_s=0.05) as server, aclosing(_door(server)) as door:
        url = f"{server.url}/2/tweets/search/stream?backfill_minutes=5"
        headers = {"authorization": f"Bearer {server.token}"}
        answer = await door.fetch(url, purpose="feed", headers=headers)
        assert answer.status == 403
        server.enterprise = True
        server.rules["1"] = {"id": "1", "value": "bridge"}
        server.publish("An old bridge.", at=server.clock.now() - timedelta(minutes=20))
        id = server.publish("A bridge before anybody listened.")
        async with door.lines(url, headers=headers) as lines:
            async for line in lines:
                if line:
                    break
        assert json.loads(line)["data"]["id"] == id


def _door(server: XServer) -> Door:
    return Door(Net(allow=(server.address,), per_host_delay_s=0, timeout_s=2), SystemClock())
