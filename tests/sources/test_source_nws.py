"""NWS: alerts with their updates, ends and splits; absences; killed anywhere."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx2
import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gnomon.clock import ManualClock
from gnomon.errors import ConfigError, ContentError, UpstreamTransient
from gnomon.extract.dates import Dates
from gnomon.net.door import Door
from gnomon.sources import nws
from gnomon.sources.nws_alerts import alert_of, document_of
from gnomon.testing.check_source import START, Ledger, Stage, check_source
from gnomon.testing.check_source import _Context as Lent
from gnomon.testing.doors import door_to
from gnomon.testing.nws_server import ACTIVE, ALERTS, NwsServer
from gnomon.types import Change, Delete, SourceConfig


def key_of(id: str) -> str:
    return f"nws:{id.removeprefix('urn:oid:2.49.0.1.840.0.')}"


class County:
    """Alerts of one county, and what a record must say of them."""

    def __init__(self, server: NwsServer, clock: ManualClock) -> None:
        self.server = server
        self.clock = clock
        self.expected: dict[str, list[str | None]] = {}
        self.ids: dict[str, str] = {}
        self.keys: dict[str, str] = {}
        self.words: dict[str, str] = {}

    def _text(self, words: str, hours: float) -> str:
        now, shown = self.clock.now(), words.replace("at\n", "at ")
        return (
            f"Flood Warning for Butler, KS. In effect from {now:%Y-%m-%d %H:%M} to "
            f"{now + timedelta(hours=hours):%Y-%m-%d %H:%M} UTC. Severity severe, certainty "
            f"likely, urgency expected.\n\n{shown}\n\nTurn around, don't drown."
        )

    def issue(self, name: str, words: str, hours: float = 6.0) -> None:
        self.clock.advance(1)
        id = self.server.issue("Flood Warning", description=words, hours=hours)
        self.ids[name], self.keys[name] = id, key_of(id)
        self.expected[key_of(id)] = [self._text(words, hours)]

    def update(self, name: str, words: str, hours: float = 6.0, *, after: str = "") -> None:
        """`after` another name: a part of that alert goes on as a document of its own."""
        id = self.server.update(self.ids[after or name], description=words, hours=hours)
        if after:
            self.keys[name] = key_of(id)
        self.ids[name] = id
        self.expected.setdefault(self.keys[name], []).append(self._text(words, hours))

    def cancel(self, name: str, **how: Any) -> None:
        self.server.cancel(self.ids[name], **how)
        self.gone(name)

    def gone(self, name: str) -> None:
        self.expected[self.keys[name]].append(None)


def settings_of(server: NwsServer, **more: Any) -> dict[str, Any]:
    return {"url": server.url(""), "areas": ["KS"], **more}


@asynccontextmanager
async def stage(*faults: str) -> AsyncIterator[Stage]:
    clock = ManualClock(START)
    async with (
        NwsServer(clock=clock) as server,
        door_to(server.host_port, stalls="stall" in faults) as door,
    ):
        county = County(server, clock)
        county.issue("creek", "The creek is rising.")
        county.issue("river", "The river is rising.", hours=0.1)
        county.issue("road", "The road is under water.")
        server.issue("Flood Warning", zones=["TXZ001"])
        server.issue("Test Message", status="Test")
        server.issue("Flood Advisory", severity="Minor")

        def split() -> None:
            root = county.ids["road"]
            county.update("road", "The west of the road is under water.")
            county.ids["east"] = root
            clock.advance(1)
            county.update("east", "The east of the road is under water.", after="east")

        script: list[Callable[[], object]] = [
            lambda: county.update("creek", "The creek is at\nfour feet.\n\nIt still rises."),
            split,
            lambda: county.issue("dam", "The dam is leaking."),
            lambda: server.freeze(),
            lambda: county.update("dam", "The dam holds."),
            lambda: server.freeze(False),
            lambda: county.cancel("creek", shown=True),
            # The river's warning expires by itself, and the creek's cancellation stays listed.
            lambda: county.gone("river"),
            lambda: county.cancel("road"),
            lambda: county.update("east", "Only a part of the east is under water."),
            # Left out of one answer, which means nothing.
            lambda: server.hide(county.ids["dam"]),
            lambda: server.hide(county.ids["dam"], False),
            lambda: None,
        ]
        for i, fault in enumerate(faults):
            script.insert(2 * i + 1, lambda fault=fault: server.misbehave(ACTIVE, fault))
        yield Stage(
            config=SourceConfig(name="n", type="nws", settings=settings_of(server)),
            fetcher=door, script=script, expected=lambda: county.expected, set_time=clock.set,
            rests=4,
        )  # fmt: skip


async def test_killed_anywhere() -> None:
    ledgers = await check_source(nws.SOURCE, stage, rounds=10)
    assert sum(ledger.kills for ledger in ledgers) > 5
    assert not any(ledger.gaps for ledger in ledgers)
    dam = next(d for d in ledgers[0].documents.values() if "The dam holds." in d.text)
    assert dam.title.startswith("Flood Warning issued March 1 at")
    assert (dam.author, dam.lang, dam.kind) == ("NWS Wichita KS", "en", "alert")
    assert dam.published_at == dam.updated_at and dam.published_at is not None
    assert dam.url.startswith("https://api.weather.gov/alerts/urn:oid:")
    assert dam.extra["severity"] == "Severe" and dam.extra["geocode"]["UGC"] == ["KSZ069"]


@pytest.mark.parametrize("fault", ["drop", "stall", "truncated", "503 0", "429 0"])
async def test_raises_and_recovers(fault: str) -> None:
    (ledger,) = await check_source(nws.SOURCE, lambda: stage(fault, fault), rounds=1)
    assert any(code.startswith("net.") for code in ledger.errors), ledger.errors


async def test_another_page_in_its_place_ends_no_alert() -> None:
    (ledger,) = await check_source(nws.SOURCE, lambda: stage("html"), rounds=1)
    assert ledger.skipped["nws.unreadable"] == 1


# -- one look after the other ---------------------------------------------------------


class Enough(Exception):
    """The source rests."""


class Resting(ManualClock):
    async def sleep(self, seconds: float) -> None:
        raise Enough


class Looks:
    """Each look is a start from the cursor that the one before left."""

    def __init__(self, server: NwsServer, door: Door, clock: Resting, **more: Any) -> None:
        self.server = server
        self.clock = clock
        config = SourceConfig(name="n", type="nws", settings=settings_of(server, **more))
        self.ctx = Lent(nws.SOURCE, Stage(config=config, fetcher=door, expected=dict), clock, 1)
        self.ledger = Ledger()

    async def look(self, after_s: float = 60.0) -> list[Change]:
        """What it brings so much later."""
        self.clock.advance(after_s)
        changes: list[Change] = []
        with pytest.raises(Enough):
            await self.once(changes)
        return changes

    async def once(self, changes: list[Change] | None = None) -> None:
        async with aclosing(nws.follow(self.ctx, self.ledger.cursor)) as batches:
            async for batch in batches:
                self.ledger.append(batch)
                if changes is not None:
                    changes += batch.changes


@asynccontextmanager
async def looking(*, contact: str = "", asks: bool = False, **more: Any) -> AsyncIterator[Looks]:
    clock = Resting(START)
    server = NwsServer(clock=clock, asks_contact=asks)
    async with server, door_to(server.host_port, contact=contact) as door:
        yield Looks(server, door, clock, **more)


async def test_the_second_absence_ends_an_alert_also_if_nothing_else_changed() -> None:
    async with looking() as looks:
        id = looks.server.issue("Flood Warning")
        (came,) = await looks.look()
        looks.server.hide(id)
        assert await looks.look() == []
        assert await looks.look(after_s=1) == []
        assert await looks.look() == [Delete(key=key_of(id))]
        assert looks.server.asked(ACTIVE)[-1].headers["if-none-match"]
        assert await looks.look() == []
        looks.server.hide(id, False)
        assert await looks.look() == [came]


async def test_an_expired_alert_ends_with_the_first_answer_without_it() -> None:
    async with looking() as looks:
        id = looks.server.issue("Flood Warning", hours=0.04)
        await looks.look()
        assert await looks.look() == []
        assert await looks.look() == [Delete(key=key_of(id))]


async def test_an_old_answer_brings_no_old_words_back() -> None:
    async with looking() as looks:
        first = looks.server.issue("Flood Warning")
        await looks.look()
        looks.server.freeze()
        looks.server.update(first, description="Water stands at five feet.")
        looks.server.freeze(False)
        assert len(await looks.look()) == 1
        for _ in range(30):  # longer than messages are remembered
            await looks.look()
        looks.server._over.discard(first)
        newest = list(looks.server._messages)[-1]
        looks.server.hide(newest)
        assert await looks.look() == []
        assert looks.ctx.skipped["nws.stale"] == 1
        looks.server.hide(newest, False)
        looks.server._over.add(first)
        assert await looks.look() == []


async def test_two_alerts_that_one_message_joins_are_one() -> None:
    async with looking() as looks:
        east = looks.server.issue("Flood Warning", description="East.")
        looks.clock.advance(1)
        west = looks.server.issue("Flood Warning", description="West.")
        assert len(await looks.look()) == 2
        looks.server.update(east, west, description="East and west.")
        changes = await looks.look()
        assert Delete(key=key_of(west)) in changes and len(changes) == 2
        assert "East and west." in looks.ledger.documents[key_of(east)].text


async def test_what_happened_meanwhile_is_paged() -> None:
    async with looking() as looks:
        server = looks.server
        server.repeat = server.shuffle = True
        stays = server.issue("Flood Warning", description="One.", hours=48)
        ends = server.issue("Flood Warning", description="Ends.", hours=48)
        await looks.look()
        looks.clock.advance(3_600)
        server.update(stays, description="Two.", hours=47)
        brief = server.issue("Tornado Warning", description="Take cover.", hours=0.5)
        server.cancel(ends)
        crowd = [server.issue("Flood Warning", hours=0.5) for _ in range(600)]
        looks.clock.advance(3_600)
        stays_now = list(server._messages)[2]
        server.update(stays_now, description="Three.", hours=40)
        await looks.look()
        versions = looks.ledger.versions
        assert len(server.asked(ALERTS)) == 2
        assert [t and t.split("\n\n")[1] for t in versions[key_of(stays)]] == [
            "One.", "Two.", "Three.",
        ]  # fmt: skip
        assert [t and t.split("\n\n")[1] for t in versions[key_of(brief)]] == ["Take cover.", None]
        assert versions[key_of(ends)][-1] is None
        assert len(versions) == 3 + len(crowd) and not looks.ledger.gaps
        assert await looks.look() == []


@pytest.mark.parametrize("trouble", ["stray", "html", "404"])
async def test_what_cannot_be_paged_is_a_gap(trouble: str) -> None:
    async with looking() as looks:
        looks.server.issue("Flood Warning", hours=48)
        await looks.look()
        left = looks.clock.now()
        for _ in range(501):
            looks.server.issue("Flood Warning", hours=48)
        looks.server.stray = trouble == "stray"
        if trouble != "stray":
            looks.server.misbehave(ALERTS, trouble)
        looks.server.misbehave(ACTIVE, "503", "503")
        looks.clock.advance(7_200)
        for _ in range(2):  # the absence is recorded once, however often it is tried again
            with pytest.raises(UpstreamTransient):
                await looks.once()
        await looks.look(0)
        (gap,) = looks.ledger.gaps
        assert (gap.start, gap.end) == (left, looks.clock.now())
        assert len(looks.ledger.versions) == 502
        await looks.look()
        assert len(looks.ledger.gaps) == 1


async def test_more_than_a_week_away_is_a_gap() -> None:
    async with looking() as looks:
        id = looks.server.issue("Flood Warning")
        await looks.look()
        left = looks.clock.now()
        await looks.look(10 * 86_400)
        (gap,) = looks.ledger.gaps
        assert (gap.start, gap.end) == (left, looks.clock.now() - timedelta(days=7))
        assert looks.ledger.versions[key_of(id)][-1] is None


async def test_whatever_happens_what_stands_is_what_is_in_force() -> None:
    for seed in range(12):
        rng = random.Random(seed)
        async with looking() as looks:
            server = looks.server
            server.shuffle, server.repeat = rng.random() < 0.5, rng.random() < 0.5
            for n in range(40):
                looks.clock.advance(rng.choice([0, 1, 30]))
                listed = server._in_force()
                chosen = [rng.choice(listed)["properties"]["id"]] if listed else []
                act = rng.random()
                words = {"description": f"Number {n}.", "hours": rng.choice([0.02, 0.1, 1, 6])}
                if act < 0.25 or not chosen:
                    server.issue("Flood Warning", **words)
                elif act < 0.45:
                    server.update(*chosen, **words)
                elif act < 0.55:  # it is split
                    server.update(*chosen, **words)
                    looks.clock.advance(rng.choice([0, 1, 30]))
                    server.update(*chosen, **{**words, "description": f"Part of {n}."})
                elif act < 0.6 and len(listed) > 1:  # two are joined
                    two = rng.sample([m["properties"]["id"] for m in listed], 2)
                    server.update(*two, **words)
                elif act < 0.7:
                    server.cancel(*chosen, shown=rng.random() < 0.5)
                elif act < 0.75:
                    server.hide(*chosen)
                elif act < 0.8:
                    server._hidden.clear()
                elif act < 0.83:
                    looks.clock.advance(rng.choice([400, 5_000]))
                if rng.random() < 0.6:
                    kept = copy.deepcopy(looks.ledger)
                    await looks.look(rng.choice([0, 60]))
                    if rng.random() < 0.1:  # killed before it was stored
                        looks.ledger = kept
            server._hidden.clear()
            for _ in range(3):
                await looks.look()
            ledger = looks.ledger
            alive = {
                ledger.documents[key].extra["id"]
                for key, versions in ledger.versions.items()
                if versions[-1] is not None
            }
            listed = [m["properties"] for m in server._in_force()]
            assert alive == {m["id"] for m in listed if m["messageType"] != "Cancel"}, seed
            assert not ledger.gaps


# -- who may ask, and for what --------------------------------------------------------


async def test_the_service_is_not_asked_without_a_contact() -> None:
    async with looking() as looks:
        looks.ctx.settings = nws.NwsSettings()
        with pytest.raises(ConfigError, match=r"net\.contact") as caught:
            await looks.look()
        assert caught.value.code == "source.needs_contact"


async def test_who_is_refused_is_told_why() -> None:
    async with looking(asks=True) as looks:
        with pytest.raises(UpstreamTransient, match=r"Check net\.contact") as caught:
            await looks.look()
        assert caught.value.retry_after_s == 900
    async with looking(asks=True, contact="mail@example.org") as looks:
        looks.server.issue("Flood Warning")
        assert len(await looks.look()) == 1
        assert "mail@example.org" in looks.server.requests[-1].headers["user-agent"]
    async with looking() as looks:
        looks.server.misbehave(ACTIVE, "400")
        with pytest.raises(UpstreamTransient, match="Check the settings areas"):
            await looks.look()


async def test_filters_are_asked_for() -> None:
    async with looking(areas=[], zones=["ksz069"], events=["Tornado Warning"]) as looks:
        looks.server.issue("Flood Warning")
        looks.server.issue("Tornado Warning", zones=["KSZ070"])
        wanted = looks.server.issue("Tornado Warning")
        await looks.look()
        assert list(looks.ledger.versions) == [key_of(wanted)]
        assert looks.server.requests[-1].query == {
            "status": "actual", "zone": "KSZ069", "severity": "Extreme,Severe,Moderate",
            "event": "Tornado Warning",
        }  # fmt: skip
    async with looking(severities=["Minor"]) as looks:
        looks.server.issue("Flood Warning")
        assert await looks.look() == []


@pytest.mark.parametrize(
    "settings",
    [{"areas": ["KSZ069"]}, {"zones": ["KS"]}, {"areas": ["KS"], "zones": ["KSZ069"]},
     {"severities": []}, {"severities": ["Bad"]}],
)  # fmt: skip
def test_settings_that_the_service_would_refuse(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        nws.NwsSettings.model_validate(settings)


# -- what a message says --------------------------------------------------------------

DATE = {"type": "string", "format": "date-time"}
TIMES = ("sent", "effective", "onset", "expires", "ends")
WORDS = ("Alert", "Update", "Cancel", "Ack", "Error")
SHAPE = {
    "type": "object",
    "required": ["type", "features", "title"],
    "properties": {
        "type": {"const": "FeatureCollection"},
        "pagination": {
            "type": "object",
            "required": ["next"],
            "properties": {"next": {"type": "string", "format": "uri"}},
        },
        "features": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["type", "id", "geometry", "properties"],
                "properties": {
                    "type": {"const": "Feature"},
                    "id": {"pattern": "^https://api.weather.gov/alerts/urn:oid:"},
                    "properties": {
                        "type": "object",
                        "required": [
                            "id", "areaDesc", "geocode", "affectedZones", "references", "sent",
                            "effective", "onset", "expires", "ends", "status", "messageType",
                            "category", "severity", "certainty", "urgency", "event", "sender",
                            "senderName", "headline", "description", "instruction", "response",
                            "parameters",
                        ],
                        "properties": {
                            "id": {"pattern": "^urn:oid:2\\.49\\.0\\.1\\.840\\.0\\."},
                            "geocode": {"required": ["SAME", "UGC"]},
                            "references": {
                                "type": "array",
                                "items": {
                                    "required": ["@id", "identifier", "sender", "sent"],
                                    "properties": {"sent": DATE},
                                },
                            },
                            **dict.fromkeys(TIMES, DATE),
                            "status": {"enum": ["Actual", "Exercise", "System", "Test", "Draft"]},
                            "messageType": {"enum": list(WORDS)},
                            "severity": {
                                "enum": ["Extreme", "Severe", "Moderate", "Minor", "Unknown"]
                            },
                            "certainty": {
                                "enum": ["Observed", "Likely", "Possible", "Unlikely", "Unknown"]
                            },
                            "urgency": {
                                "enum": ["Immediate", "Expected", "Future", "Past", "Unknown"]
                            },
                            "parameters": {
                                "additionalProperties": {"type": "array"},
                            },
                        },
                    },
                },
            },
        },
    },
}  # fmt: skip
"""The shape that the service's description gives to a collection of alerts."""


async def test_the_stand_in_has_the_documented_shape() -> None:
    clock = ManualClock(START)
    async with NwsServer(clock=clock) as server, httpx2.AsyncClient() as client:
        first = server.issue("Flood Warning")
        clock.advance(60)
        second = server.update(first, description="More.")
        clock.advance(60)
        server.cancel(second, shown=True)
        active = (await client.get(server.url(f"{ACTIVE}?area=KS"))).json()
        jsonschema.validate(active, SHAPE)
        (cancel,) = active["features"]
        assert cancel["properties"]["messageType"] == "Cancel"
        assert [r["identifier"] for r in cancel["properties"]["references"]] == [first, second]
        page = (await client.get(server.url(f"{ALERTS}?limit=2"))).json()
        jsonschema.validate(page, SHAPE)
        assert [f["properties"]["messageType"] for f in page["features"]] == ["Cancel", "Update"]
        rest = (await client.get(page["pagination"]["next"])).json()
        assert [f["properties"]["id"] for f in rest["features"]] == [first]
        assert "pagination" not in rest
        for wrong in ("limit=5", "area=KS&zone=KSZ069", "severity=Bad"):
            refused = await client.get(server.url(f"{ACTIVE}?{wrong}"))
            assert refused.status_code == 400
            assert refused.headers["content-type"] == "application/problem+json"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["properties", "id", "sent", "expires", "references", "identifier"]),
            inner,
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_feature_is_read_or_refused(feature: Any) -> None:
    try:
        alert = alert_of(feature)
    except ContentError as error:
        assert error.code == "nws.alert_unreadable"
    else:
        json.dumps(alert.feature)


FIELDS = ("event", "areaDesc", "headline", "onset", "ends", "expires", "severity", "urgency",
          "description", "instruction", "senderName", "language", "geocode")  # fmt: skip


@given(st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_whatever_an_alert_lacks_it_makes_a_document(said: dict[str, Any]) -> None:
    said |= {"id": "urn:oid:2.49.0.1.840.0.a.1", "sent": "2026-03-01T12:00:00+00:00"}
    said.pop("references", None)
    alert = alert_of({"properties": said})
    document = document_of(alert, "nws:a", "n", Dates(START, timedelta(days=1)))
    assert document.text and document.title and document.author


@pytest.mark.parametrize(
    ("text", "name", "settings"),
    [
        ("nws", "nws", {}),
        ("nws:ks, ok", "nws:KS,OK", {"areas": ["KS", "OK"]}),
        ("nws:KSZ069", "nws:KSZ069", {"zones": ["KSZ069"]}),
        ("nws:KS,KSZ069", "", {}),
        ("https://api.weather.gov/alerts/active?area=KS", "nws:KS", {"areas": ["KS"]}),
        ("https://api.weather.gov/alerts/active/zone/KSC015", "nws:KSC015", {"zones": ["KSC015"]}),
        ("https://api.weather.gov/alerts", "nws", {}),
        ("https://api.weather.gov/stations", "", {}),
        ("https://www.weather.gov/alerts", "nws", {}),
        ("https://www.weather.gov/ict", "", {}),
        ("weather", "", {}),
    ],
)
def test_identify(text: str, name: str, settings: dict[str, Any]) -> None:
    found = nws.identify(text)
    assert (found.name if found else "") == name
    if found:
        assert found.settings == settings
        nws.NwsSettings.model_validate(dict(found.settings))
