"""What a new home follows by itself, and when it does not."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gnomon import beginning
from gnomon.clock import ManualClock
from gnomon.errors import ConfigError, UpstreamTransient
from gnomon.net.base import Response
from gnomon.record.store import SqliteRecord
from gnomon.settings import Settings
from gnomon.sources import starter
from gnomon.sources.registry import Registry
from gnomon.types import SourceConfig


class World:
    """A door to a world that can be out of reach."""

    def __init__(self, *, up: bool) -> None:
        self.up = up
        self.asked = asyncio.Event()

    async def fetch(self, url: str, **options: Any) -> Response:
        self.asked.set()
        if not self.up:
            raise UpstreamTransient(f"{url} cannot be reached.", code="net.unresolvable")
        return Response(url=url, status=200, headers={}, body=b"")


class Runner:
    """Follows whatever it is told, but for the sources that it refuses."""

    def __init__(self, record: SqliteRecord, refused: str = "") -> None:
        self._record = record
        self._refused = refused

    async def add(self, config: SourceConfig) -> None:
        if config.name == self._refused:
            raise ConfigError(f"{config.name} cannot be followed.")
        self._record.put_source(config)


@pytest.fixture
def home(tmp_path: Path) -> Any:
    record = SqliteRecord(tmp_path / "record.db")
    yield tmp_path, record
    record.close()


async def begin(home: Any, world: World, clock: ManualClock, **changes: Any) -> None:
    folder, record = home
    settings = Settings(home=folder, **{k: v for k, v in changes.items() if k != "refused"})
    await beginning.begin(
        settings,
        record=record,
        runner=Runner(record, changes.get("refused", "")),  # type: ignore[arg-type]
        fetcher=world,  # type: ignore[arg-type]
        registry=Registry.installed(),
        clock=clock,
    )


def names(home: Any) -> set[str]:
    return {config.name for config in home[1].sources()}


async def test_a_new_home_follows_the_curated_set_once(home: Any) -> None:
    await begin(home, World(up=True), ManualClock())
    followed = names(home)
    assert {f.config.name for f in starter.feeds()} <= followed
    assert {"bluesky", "usgs", "gdelt"} <= followed
    for name in followed:
        home[1].drop_source(name)
    await begin(home, World(up=True), ManualClock())
    assert not names(home)


async def test_it_waits_until_the_world_can_be_reached(home: Any) -> None:
    world, clock = World(up=False), ManualClock()
    task = asyncio.create_task(begin(home, world, clock))
    await world.asked.wait()
    world.up = True
    async with asyncio.timeout(5):
        while not task.done():
            clock.advance(60)
            await asyncio.sleep(0)
            await asyncio.wait([task], timeout=0.01)
    assert names(home)


async def test_whoever_has_begun_is_left_alone(home: Any) -> None:
    own = SourceConfig(name="mine", type="feed", settings={"url": "https://example.org/f"})
    home[1].put_source(own)
    world = World(up=True)
    await begin(home, world, ManualClock())
    assert names(home) == {"mine"} and not world.asked.is_set()


async def test_it_can_be_switched_off_and_narrowed(home: Any) -> None:
    world = World(up=True)
    await begin(home, world, ManualClock(), starter={"mode": "off"})
    assert not names(home) and not world.asked.is_set()
    await begin(home, world, ManualClock(), starter={"languages": ["klingon"]})
    assert not names(home)
    await begin(home, world, ManualClock(), starter={"languages": ["de"]}, refused="gdelt")
    followed = [config for config in home[1].sources() if config.type == "feed"]
    assert followed and all(config.settings["lang"] == "de" for config in followed)
    assert "gdelt" not in names(home)


@pytest.mark.parametrize(
    ("environment", "languages"),
    [
        ({"LANG": "de_DE.UTF-8"}, ("de", "en")),
        ({"LANG": "C.UTF-8"}, ("en",)),
        ({"LANGUAGE": "fr:es", "LANG": "fr_FR"}, ("fr", "es", "en")),
        ({}, ("en",)),
    ],
)
def test_the_languages_of_the_user_are_those_of_the_environment(
    environment: dict[str, str], languages: tuple[str, ...]
) -> None:
    assert beginning.spoken(environment) == languages
