"""The command line speaks in the zone of its machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from gnomon.clock import zone_of
from gnomon.commands.common import claimed, local, localised


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("berlin")
def test_moments_of_the_server_are_shown_in_the_zone_of_the_machine() -> None:
    note = "herald lost what came between 2026-11-23 14:57 UTC and 2026-07-01 23:30 UTC: too many."

    assert localised(note) == (
        "herald lost what came between 2026-11-23 15:57 CET and 2026-07-02 01:30 CEST: too many."
    )
    assert localised("2026-99-99 14:57 UTC, 2026-11-23") == "2026-99-99 14:57 UTC, 2026-11-23"


@pytest.mark.usefixtures("berlin")
def test_a_day_without_a_time_is_shown_as_the_day() -> None:
    assert claimed("2026-11-23T00:00:00Z") == "2026-11-23"
    assert claimed("2026-11-23T00:00:01Z") == "2026-11-23 01:00 CET"
    assert claimed(None) == "undated"
    assert local("2026-11-23T00:00:00Z") == "2026-11-23 01:00 CET"  # what happened just then


@pytest.mark.parametrize("name", ["Europe/Berlin", "Mars/Base", ":weird"])
def test_the_zone_is_told_by_name(name: str) -> None:
    # In a process of its own: the zone is looked up once in each.
    said = subprocess.run(
        [sys.executable, "-c", "from gnomon.commands import common; print(common.time_zone())"],
        env=os.environ | {"TZ": name},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    assert zone_of(said)
    assert said == name or name != "Europe/Berlin"
