"""Rooms with short limits. Where the system cannot close rooms, their tests are skipped."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from gnomon.clock import ManualClock, RandomIds
from gnomon.sandbox.base import Limits, RoomError
from gnomon.sandbox.room import Room
from gnomon.sandbox.rooms import Rooms, found_packages
from gnomon.settings import Tools

LIMITS = Limits(
    run_s=1.0,
    cpu_s=30,
    memory_bytes=384 << 20,
    work_bytes=8 << 20,
    file_bytes=4 << 20,
    printed_bytes=4 << 20,
)


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    made = Room(LIMITS, found_packages(("numpy",)))
    try:
        await made.start()
    except RoomError as error:
        pytest.skip(str(error))
    yield made
    await made.close()


@pytest.fixture
async def rooms() -> AsyncIterator[Any]:
    """`rooms(**settings)`, with the clock as an attribute."""
    opened: list[Rooms] = []
    clock = ManualClock()

    def open_rooms(**settings: Any) -> Rooms:
        made = Rooms(Tools(**settings), clock, RandomIds(random.Random(1)))
        opened.append(made)
        return made

    open_rooms.clock = clock  # type: ignore[attr-defined]
    yield open_rooms
    for one in opened:
        await one.aclose()


@pytest.fixture
def secret(tmp_path_factory: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A word that stands in a file and in the environment of this process."""
    word = "the-key-of-the-house"
    path = tmp_path_factory.mktemp("home") / "secret"
    path.write_text(word)
    monkeypatch.setenv("GNOMON_TEST_SECRET", word)
    yield str(path)
