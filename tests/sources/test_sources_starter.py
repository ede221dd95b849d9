from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from gnomon.clock import SystemClock
from gnomon.errors import ConfigError
from gnomon.net.door import Door
from gnomon.settings import Net
from gnomon.sources import starter
from gnomon.sources.registry import Registry
from gnomon.testing.feed_server import FeedServer


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.installed()


def test_the_list_is_what_it_promises() -> None:
    feeds = starter.feeds()
    assert 55 <= len(feeds) <= 75
    assert len(starter.languages()) >= 8
    assert len({f.url for f in feeds}) == len(feeds) == len({f.config.name for f in feeds})
    for feed in feeds:
        parts = urlsplit(feed.url)
        assert parts.scheme == "https" and parts.hostname, feed
        assert feed.title and len(feed.language) == 2 and len(feed.country) in (2, 3), feed
    for language in ("en", "de", "fr", "es", "pt", "it", "ar", "zh", "ja", "ko"):
        assert any(f.language == language for f in feeds), language


def test_every_config_is_valid_and_named_once(registry: Registry) -> None:
    configs = starter.configs((), "mail@example.org", registry=registry)
    assert len({c.name for c in configs}) == len(configs)
    for config in configs:
        assert registry.settings(config)


def test_every_installed_service_takes_its_settings(registry: Registry) -> None:
    names = {c.name for c in starter.configs((), "mail@example.org", registry=registry)}
    for service in starter.SERVICES:
        assert service.type not in registry.specs or (service.name or service.type) in names
    posts = starter.configs(spoken=["ja"], registry=registry)
    assert [c.settings["languages"] for c in posts if c.type == "bluesky"] == [["ja"]]


def test_languages_narrow_the_feeds(registry: Registry) -> None:
    configs = starter.configs([" DE", "fr", ""], registry=registry)
    langs = {c.settings["lang"] for c in configs if c.type == "feed"}
    assert langs == {"de", "fr"}
    with pytest.raises(ConfigError, match=r"curated feeds in xx\. Languages: ar, de"):
        starter.configs(["xx"], registry=registry)


def test_who_wants_a_contact_waits_for_one(registry: Registry) -> None:
    shy = [n for n, spec in registry.specs.items() if "contact" in spec.needs]
    assert not [c for c in starter.configs(registry=registry) if c.type in shy]


async def test_reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    async with FeedServer() as server:
        door = Door(Net(allow=(server.host_port,), per_host_delay_s=0, timeout_s=1), SystemClock())
        dead = tuple(f"http://127.0.0.1:1/{n}" for n in range(2))
        try:
            monkeypatch.setattr(starter, "PROBED", dead)
            assert not await starter.reachable(door)
            monkeypatch.setattr(starter, "PROBED", (*dead, server.url("/missing")))
            assert await starter.reachable(door)
            server.misbehave("/busy", "503")
            monkeypatch.setattr(starter, "PROBED", (server.url("/busy"),))
            assert await starter.reachable(door)
            server.misbehave("/gone", "drop")
            monkeypatch.setattr(starter, "PROBED", (server.url("/gone"),))
            assert not await starter.reachable(door)
        finally:
            await door.aclose()
