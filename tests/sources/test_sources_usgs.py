"""USGS: revisions, deletions, changed ids and the window; killed anywhere."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import httpx2
import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.clock import ManualClock
from gnomon.errors import ContentError
from gnomon.sources import usgs
from gnomon.testing.alerts_server import SUMMARY, UsgsServer
from gnomon.testing.check_source import START, Stage, check_source
from gnomon.testing.doors import door_to
from gnomon.types import SourceConfig

BOOK = timedelta(minutes=30)
NULL_OR = [{"type": "null"}]
SHAPE = {
    "type": "object",
    "required": ["type", "metadata", "features"],
    "properties": {
        "type": {"const": "FeatureCollection"},
        "metadata": {"type": "object", "required": ["generated", "url", "title", "api", "count"]},
        "features": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["type", "properties", "geometry", "id"],
                "properties": {
                    "type": {"const": "Feature"},
                    "id": {"type": "string"},
                    "geometry": {
                        "type": "object",
                        "properties": {
                            "type": {"const": "Point"},
                            "coordinates": {
                                "type": "array",
                                "items": {"type": "number"},
                                "minItems": 3,
                                "maxItems": 3,
                            },
                        },
                    },
                    "properties": {
                        "type": "object",
                        "required": ["mag", "place", "time", "updated", "status", "ids", "title"],
                        "properties": {
                            "time": {"type": "integer"},
                            "updated": {"type": "integer"},
                            "tsunami": {"enum": [0, 1]},
                            "ids": {"pattern": "^,.+,$"},
                        },
                    },
                },
            },
        },
    },
}
"""The shape that the USGS documents for its GeoJSON summary format."""


def said(size: float, at: datetime, *, place: str = "12 km N of Anderson Springs, CA",
         review: str = "Not yet reviewed by a person.") -> str:  # fmt: skip
    return (
        f"Magnitude {size} earthquake, {place}. It struck at {at:%Y-%m-%d %H:%M} UTC at "
        f"38.800° N, 122.800° W, at a depth of 10.0 km. {review}"
    )


@asynccontextmanager
async def stage(*faults: str) -> AsyncIterator[Stage]:
    clock = ManualClock(START)
    async with (
        UsgsServer(clock=clock) as server,
        door_to(server.host_port, stalls="stall" in faults) as door,
    ):
        expected: dict[str, list[str | None]] = {}

        def quake(id: str, size: float, at: datetime, key: str = "", **more: str) -> None:
            server.quake(id, magnitude=size, place="12 km N of Anderson Springs, CA", at=at, **more)
            review = {"review": "Reviewed by a seismologist."} if more.get("status") else {}
            expected.setdefault(key or f"usgs:{id}", []).append(said(size, at, **review))

        def delete(id: str, *, key: str, shown: bool = False) -> None:
            server.delete(id, shown=shown)
            expected[key].append(None)

        for n in range(3):
            quake(f"nc{n}", 3.0 + n, START - BOOK * (9 - n))
        script: list[Callable[[], object]] = [
            lambda: quake("nc7", 2.6, START - BOOK),
            lambda: quake("nc0", 3.4, START - BOOK * 9, status="reviewed"),
            lambda: server.rename("nc1", "us1"),
            lambda: delete("us1", key="usgs:nc1"),
            lambda: delete("nc2", key="usgs:nc2", shown=True),
            # Revised below the feed's magnitude: gone from the feed, but no deletion.
            lambda: quake("nc7", 2.3, START - BOOK),
            lambda: server.freeze(),
            lambda: quake("nc9", 5.1, START - timedelta(minutes=2)),
            lambda: server.freeze(False),
            lambda: None,
        ]
        for i, fault in enumerate(faults):
            script.insert(2 * i + 1, lambda fault=fault: server.misbehave(SUMMARY, fault))
        yield Stage(
            config=SourceConfig(name="q", type="usgs", settings={"url": server.url("")}),
            fetcher=door, script=script, expected=lambda: expected, set_time=clock.set, rests=6,
        )  # fmt: skip


async def test_killed_anywhere() -> None:
    ledgers = await check_source(usgs.SOURCE, stage, rounds=10)
    assert sum(ledger.kills for ledger in ledgers) > 5
    assert not any(ledger.gaps for ledger in ledgers)
    newest = ledgers[0].documents["usgs:nc9"]
    assert newest.title == "M 5.1 - 12 km N of Anderson Springs, CA"
    assert newest.published_at == START - timedelta(minutes=2)
    assert newest.extra["sig"] == 388


@pytest.mark.parametrize("fault", ["drop", "stall", "truncated", "503 0", "429 0"])
async def test_raises_and_recovers(fault: str) -> None:
    (ledger,) = await check_source(usgs.SOURCE, lambda: stage(fault, fault), rounds=1)
    assert any(code.startswith("net.") for code in ledger.errors), ledger.errors


async def test_another_page_in_its_place_is_no_earthquake() -> None:
    (ledger,) = await check_source(usgs.SOURCE, lambda: stage("html"), rounds=1)
    assert ledger.skipped["usgs.unreadable"] == 1


@asynccontextmanager
async def away_stage() -> AsyncIterator[Stage]:
    clock = ManualClock(START)
    async with UsgsServer(clock=clock) as server, door_to(server.host_port) as door:
        server.shuffle = server.repeat = True
        place = "at sea"
        first, missed, last = START - BOOK, START + timedelta(hours=2), START + timedelta(days=3)
        server.quake("ak1", magnitude=4.0, place=place, at=first)

        def days_pass() -> None:
            clock.set(last + BOOK)
            server.quake("ak2", magnitude=4.0, place=place, at=missed)
            server.quake("ak3", magnitude=4.0, place=place, at=last)

        yield Stage(
            config=SourceConfig(name="q", type="usgs", settings={"url": server.url("")}),
            fetcher=door, script=[days_pass],
            expected=lambda: {
                "usgs:ak1": [said(4.0, first, place=place)],
                "usgs:ak3": [said(4.0, last, place=place)],
            },
        )  # fmt: skip


async def test_longer_away_than_the_feed_looks_back_is_a_gap() -> None:
    (ledger,) = await check_source(usgs.SOURCE, away_stage, rounds=1)
    (gap,) = ledger.gaps
    assert gap.start == START
    assert gap.end == START + timedelta(days=2) + BOOK
    # An id that aged out of the window is no deletion, and what was missed is not made up.
    assert list(ledger.versions) == ["usgs:ak1", "usgs:ak3"]


@asynccontextmanager
async def unreadable_detail_stage() -> AsyncIterator[Stage]:
    clock = ManualClock(START)
    async with UsgsServer(clock=clock) as server, door_to(server.host_port) as door:
        at = START - BOOK
        server.quake("ak1", magnitude=4.0, place="at sea", at=at)

        def both_at_once() -> None:
            server.misbehave("/detail/ak1.geojson", "huge", "html")
            server.delete("ak1")
            server.quake("ak2", magnitude=5.0, place="at sea", at=at)

        yield Stage(
            config=SourceConfig(name="q", type="usgs", settings={"url": server.url("")}),
            fetcher=door, script=[both_at_once], set_time=clock.set, rests=6,
            expected=lambda: {
                "usgs:ak1": [said(4.0, at, place="at sea"), None],
                "usgs:ak2": [said(5.0, at, place="at sea")],
            },
        )  # fmt: skip


async def test_a_detail_that_cannot_be_read_costs_no_news() -> None:
    (ledger,) = await check_source(usgs.SOURCE, unreadable_detail_stage, rounds=1)
    assert ledger.skipped["net.too_large"] == ledger.skipped["usgs.detail_unreadable"] == 1


async def test_the_stand_in_has_the_documented_shape() -> None:
    clock = ManualClock(START)
    async with UsgsServer(clock=clock) as server, httpx2.AsyncClient() as client:
        server.quake("ci1", magnitude=6.0, place="here", at=START - BOOK)
        server.quake("ci2", magnitude=None, place="here", at=START - BOOK)
        server.rename("ci1", "us9")
        found = (await client.get(server.url(SUMMARY))).json()
        jsonschema.validate(found, SHAPE)
        (feature,) = found["features"]
        assert feature["properties"]["ids"] == ",us9,ci1,"
        assert (await client.get(server.url("/detail/ci1.geojson"))).json()["id"] == "us9"
        server.delete("us9")
        assert (await client.get(server.url("/detail/us9.geojson"))).status_code == 409
        assert (await client.get(server.url(SUMMARY))).json()["metadata"]["count"] == 0


@given(st.binary(max_size=80))
def test_any_body_is_read_or_refused(body: bytes) -> None:
    with pytest.raises(ContentError) as caught:
        usgs._parse(body, "https://x.example")
    assert caught.value.code == "usgs.unreadable"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("usgs", "usgs"),
        ("https://earthquake.usgs.gov/earthquakes/map/?extent=1,2", "usgs"),
        ("https://earthquake.usgs.gov/earthquakes/feed/v1.0/summary/4.5_week.geojson",
         "usgs:4.5_week"),
        ("https://earthquake.usgs.gov/earthquakes/feed/v1.0/summary/9_week.geojson", ""),
        ("https://www.usgs.gov/news", ""),
        ("quake", ""),
    ],
)  # fmt: skip
def test_identify(text: str, name: str) -> None:
    found = usgs.identify(text)
    assert (found.name if found else "") == name
    if found:
        usgs.UsgsSettings.model_validate(dict(found.settings))
