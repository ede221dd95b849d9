from __future__ import annotations

import asyncio
import hmac
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.clock import ManualClock, SystemClock
from gnomon.errors import ConfigError
from gnomon.net.door import Door
from gnomon.settings import Net
from gnomon.sources.websub import POLL_S, Subscription, Subscriptions, discover, signed
from gnomon.testing.api_server import ApiReply, ApiRequest, ApiServer
from gnomon.testing.websub_hub import WebSubHub

TOPIC = "https://paper.example/feed"
FEED = "https://paper.example/feed.xml"


@pytest.mark.parametrize(
    ("link", "own", "found"),
    [
        ("", ("", ""), ("", "")),
        ("", ("https://hub.example/", ""), ("https://hub.example/", FEED)),
        ("", ("https://hub.example/", TOPIC), ("https://hub.example/", TOPIC)),
        (f'</hub>; rel="hub", <{TOPIC}>; rel=self', ("https://old.example/", "x"),
         ("https://paper.example/hub", TOPIC)),
        ('<https://h.example/a,b;c>; title="x, y"; rel="alternate hub"', ("", ""),
         ("https://h.example/a,b;c", FEED)),
        ("<javascript:x>; rel=hub", ("", ""), ("", "")),
        ("<https://h.example/>; rel=next", ("", TOPIC), ("", "")),
    ],
)  # fmt: skip
def test_discovery(link: str, own: tuple[str, str], found: tuple[str, str]) -> None:
    assert discover({"link": link}, *own, FEED) == found


@given(st.text(max_size=200))
def test_any_link_header_is_read(link: str) -> None:
    hub, topic = discover({"link": link}, "", "", FEED)
    assert bool(hub) == bool(topic)


@pytest.mark.parametrize("method", ["sha1", "sha256", "sha384", "sha512"])
def test_signatures(method: str) -> None:
    digest = hmac.new(b"s", b"body", method).hexdigest()
    assert signed(b"body", f"{method}={digest}", "s")
    assert signed(b"body", f"{method.upper()}={digest.upper()}", "s")
    assert not signed(b"body!", f"{method}={digest}", "s")
    assert not signed(b"body", f"{method}={digest}", "t")


@pytest.mark.parametrize("given", ["", "sha256", "sha256=", "md5=x", "sha256=ä", "__doc__=x"])
def test_what_is_no_signature(given: str) -> None:
    assert not signed(b"body", given, "s")


class Callback(ApiServer):
    """Our end as hubs see it, without the rest of the house."""

    subscriptions: Subscriptions

    async def answer(self, request: ApiRequest) -> ApiReply:
        id = request.path.removeprefix("/websub/")
        if request.method == "POST":
            signature = request.headers.get("x-hub-signature", "")
            known = self.subscriptions.deliver(id, request.body, signature)
            return ApiReply(status=202 if known else 404)
        q = request.query
        repeated = self.subscriptions.confirm(
            id,
            mode=q.get("hub.mode", ""),
            topic=q.get("hub.topic", ""),
            challenge=q.get("hub.challenge", ""),
            lease_s=float(q.get("hub.lease_seconds", 0)),
        )
        if repeated is None:
            return ApiReply(status=404)
        return ApiReply(body=repeated.encode())


class Scene:
    def __init__(self, hub: WebSubHub, subscriptions: Subscriptions, clock: ManualClock) -> None:
        self.hub = hub
        self.subscriptions = subscriptions
        self.clock = clock
        self.news: list[str] = []

    @property
    def one(self) -> Subscription:
        (found,) = self.subscriptions
        return found

    def wanted(self) -> bool:
        return self.subscriptions.subscribed("feed:x", f"{self.hub.url}/", TOPIC)

    async def until(self, reached: Callable[[], object]) -> None:
        async with asyncio.timeout(5):
            while not reached():  # noqa: ASYNC110 - the other side tells nobody
                await asyncio.sleep(0.002)

    async def pass_time(self, seconds: float) -> None:
        for _ in range(5):
            await asyncio.sleep(0.002)
        self.clock.advance(seconds)
        for _ in range(5):
            await asyncio.sleep(0.002)


@asynccontextmanager
async def scene_at(home: Path, lease_s: int = 1_000) -> AsyncIterator[Scene]:
    clock = ManualClock()
    async with Callback() as callback, WebSubHub(allow=(callback.address,), lease_s=lease_s) as hub:
        net = Net(allow=(hub.address,), per_host_delay_s=0, timeout_s=2)
        door = Door(net, SystemClock())
        subscriptions = callback.subscriptions = Subscriptions(
            door, clock, random.Random(1), public_url=callback.url, home=home,
            on_news=lambda name: scene.news.append(name),
        )  # fmt: skip
        scene = Scene(hub, subscriptions, clock)
        await subscriptions.open()
        running = asyncio.create_task(subscriptions.run())
        try:
            yield scene
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await door.aclose()


async def test_a_push_reaches_the_source(tmp_path: Path) -> None:
    async with scene_at(tmp_path) as scene:
        assert not scene.wanted()
        await scene.until(lambda: scene.hub.subscribed)
        assert scene.wanted() and scene.hub.verified == [200]
        (form,) = scene.hub.subscribed.values()
        assert form["hub.topic"] == TOPIC and 20 <= len(form["hub.secret"]) < 200
        assert await scene.hub.publish(TOPIC, b"<rss/>") == [202]
        await scene.until(lambda: scene.news == ["feed:x"])
        # Caches may lag behind the hub: the feed is asked again later.
        await scene.pass_time(60)
        await scene.until(lambda: len(scene.news) == 2)
        await scene.pass_time(540)
        await scene.until(lambda: len(scene.news) == 3)
        await scene.pass_time(100)
        assert len(scene.news) == 3


async def test_a_lease_is_renewed_and_ends_if_it_is_not(tmp_path: Path) -> None:
    async with scene_at(tmp_path, lease_s=1_000) as scene:
        scene.wanted()
        await scene.until(lambda: scene.hub.subscribed)
        await scene.pass_time(790)
        assert len(scene.hub.requests) == 1 and scene.wanted()
        await scene.pass_time(11)
        await scene.until(lambda: len(scene.hub.verified) == 2)
        ids = {request.body for request in scene.hub.requests}
        assert len(ids) == 1, "a renewal has the same callback and secret"
        scene.hub.misbehave(*["silent"] * 50)
        await scene.pass_time(1_001)
        assert not scene.wanted(), "polling is all there is again"


@pytest.mark.parametrize("fault", ["unsigned", "wrong_signature"])
async def test_what_is_not_signed_is_thrown_away(tmp_path: Path, fault: str) -> None:
    async with scene_at(tmp_path) as scene:
        scene.wanted()
        await scene.until(lambda: scene.hub.subscribed)
        scene.hub.misbehave(fault)
        assert await scene.hub.publish(TOPIC, b"<rss/>") == [202]
        await scene.pass_time(1)
        assert scene.news == [] and scene.one.pushes == 0


@pytest.mark.parametrize("fault", ["silent", "503 7", "refuse"])
async def test_a_hub_that_fails_is_asked_again(tmp_path: Path, fault: str) -> None:
    async with scene_at(tmp_path) as scene:
        scene.hub.misbehave(fault)
        scene.wanted()
        await scene.until(lambda: scene.one.attempts == 1 and scene.one.state == "accepted")
        await scene.pass_time(400)
        await scene.until(lambda: scene.hub.subscribed)
        assert scene.wanted()


@pytest.mark.parametrize("fault", ["400", "denied"])
async def test_a_hub_that_refuses_rests_for_a_day(tmp_path: Path, fault: str) -> None:
    async with scene_at(tmp_path) as scene:
        scene.hub.misbehave(fault)
        scene.wanted()
        await scene.until(lambda: scene.one.state == "refused")
        await scene.pass_time(80_000)
        assert len(scene.hub.requests) == 1 and not scene.wanted()
        await scene.pass_time(20_000)
        await scene.until(lambda: scene.hub.subscribed)


async def test_only_what_was_asked_for_is_confirmed(tmp_path: Path) -> None:
    async with scene_at(tmp_path) as scene:
        scene.hub.misbehave("other_topic")
        scene.wanted()
        await scene.until(lambda: scene.hub.verified)
        assert scene.hub.verified == [404] and not scene.hub.subscribed
        confirm, id = scene.subscriptions.confirm, scene.one.id

        def said(**changes: object) -> str | None:
            plain = {"mode": "subscribe", "topic": TOPIC, "challenge": "c", "lease_s": 60.0}
            return confirm(id, **{**plain, **changes})  # type: ignore[arg-type]

        assert said() == "c"
        assert said(mode="unsubscribe") is None, "it is still wanted"
        assert said(challenge="") is None and said(challenge="c" * 9_999) is None
        assert said(lease_s=None) == "c" and said(lease_s=1e11) == "c"
        lease_until = scene.one.lease_until
        assert lease_until is not None
        assert lease_until <= scene.clock.now() + timedelta(days=30)
        scene.subscriptions.forget("feed:x")
        assert said() is None and said(mode="unsubscribe") == "c"
        assert not scene.subscriptions.deliver(id, b"", "")


async def test_another_hub_takes_the_place_of_the_first(tmp_path: Path) -> None:
    async with scene_at(tmp_path) as scene:
        scene.wanted()
        first = scene.one.id
        scene.subscriptions.subscribed("feed:x", "http://127.0.0.1:1/", TOPIC)
        assert scene.one.id != first


async def test_a_restart_asks_for_the_same_callback(tmp_path: Path) -> None:
    seen = []
    for _ in range(2):
        async with scene_at(tmp_path) as scene:
            scene.subscriptions.subscribed("feed:x", "http://127.0.0.1:1/", TOPIC)
            seen.append((scene.one.id, scene.one.secret))
    assert seen[0] == seen[1]
    assert (tmp_path / "websub.key").stat().st_mode & 0o777 == 0o600


async def test_off_until_there_is_an_address(tmp_path: Path) -> None:
    door = Door(Net(), SystemClock())
    plain = Subscriptions(
        door, ManualClock(), random.Random(1), public_url="", home=tmp_path, on_news=print
    )
    await plain.open()
    assert not plain.enabled and not plain.subscribed("feed:x", "https://hub.example/", TOPIC)
    assert not (tmp_path / "websub.key").exists()
    (tmp_path / "websub.key").mkdir()
    wrong = Subscriptions(
        door, ManualClock(), random.Random(1), public_url="https://g.example", home=tmp_path,
        on_news=print,
    )  # fmt: skip
    with pytest.raises(ConfigError, match=r"websub\.key"):
        await wrong.open()
    await door.aclose()
    assert POLL_S >= 6 * 3_600
