"""Bluesky over real sockets: filters, replay, compression, faults, and the contract."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any, cast

import pytest

from gnomon.clock import ManualClock
from gnomon.errors import UpstreamError
from gnomon.net.door import Door
from gnomon.settings import Net
from gnomon.sources.bluesky import SOURCE
from gnomon.testing.atproto_data import did_plc
from gnomon.testing.check_source import START, HurriedClock, Ledger, Stage, check_source
from gnomon.testing.check_source import _Context as Lent
from gnomon.testing.jetstream_server import JetstreamServer
from gnomon.types import Batch, Delete, Purge, SourceConfig

COMMIT = ("rev", "operation", "collection", "rkey", "record", "cid")
ADA, BO, CY = map(did_plc, ("ada", "bo", "cy"))


def door(*servers: JetstreamServer) -> Door:
    allowed = tuple(server.address for server in servers)
    return Door(Net(allow=allowed, per_host_delay_s=0.0, timeout_s=5.0), ManualClock(START))


class Follower:
    """Follows from the last stored cursor, as the runner would, until enough came."""

    def __init__(self, *servers: JetstreamServer, **settings: Any) -> None:
        addresses = tuple(server.url for server in servers)
        settings = {"endpoints": addresses, "protocol": "v2", **settings}
        self.config = SourceConfig(name="bluesky", type="bluesky", settings=settings)
        self.door = door(*servers)
        self.ledger = Ledger()
        self.batches: list[Batch] = []
        stage = Stage(config=self.config, fetcher=self.door, expected=dict)
        self.context = Lent(SOURCE, stage, HurriedClock(), 0)
        self.errors: list[str] = []

    async def until(self, enough: Callable[[Ledger], bool], tries: int = 8) -> Ledger:
        for _ in range(tries):
            stream = cast(Any, SOURCE.follow(self.context, self.ledger.cursor))
            try:
                async with aclosing(stream):
                    async for batch in stream:
                        self.batches.append(batch)
                        self.ledger.append(batch)
                        if enough(self.ledger):
                            return self.ledger
            except UpstreamError as error:
                self.errors.append(error.code)
        raise AssertionError(f"not enough came: {self.ledger}, {self.errors}")

    @property
    def texts(self) -> list[str]:
        return [d.text for d in self.ledger.documents.values()]

    @property
    def counted(self) -> dict[str, int]:
        return dict(self.context.skipped)


@asynccontextmanager
async def world(**settings: Any) -> AsyncIterator[tuple[JetstreamServer, Follower]]:
    async with JetstreamServer(ManualClock(START)) as server:
        server.post(ADA, "one")
        follower = Follower(server, **settings)
        follower.ledger.cursor = f'{{"base":"{server.url}","seq":1,"us":{server._last_us}}}'
        try:
            yield server, follower
        finally:
            await follower.door.aclose()


def posts(n: int) -> Callable[[Ledger], bool]:
    return lambda ledger: len(ledger.documents) >= n


@pytest.mark.parametrize("compression", [True, False])
async def test_what_happens_becomes_changes(compression: bool) -> None:
    async with world(compression=compression) as (server, follower):
        first = server.post(
            ADA,
            "Fähre fährt wieder",
            langs=["de-DE"],
            link=("https://x.example/a", "Fahrplan", "Ab Montag."),
        )
        answer = server.post(BO, "Gut!", reply_to=first, langs=["de"])
        server.like(CY, first)
        server.follow(CY, ADA)
        server.post(CY, "Look at this", quotes=first)
        server.edit(answer, "Sehr gut!")
        gone = server.post(CY, "oops")
        server.delete(gone)
        server.post(BO, "last")
        ledger = await follower.until(lambda x: "last" in follower.texts)
        d = {x.text: x for x in ledger.documents.values()}
        ferry = d["Fähre fährt wieder\n\nFahrplan\n\nAb Montag."]
        assert ferry.key == f"bluesky:{first}" and ferry.author == ADA and ferry.lang == "de"
        assert ferry.url == f"https://bsky.app/profile/{ADA}/post/{first.rpartition('/')[2]}"
        assert ferry.extra["links"] == ["https://x.example/a"]
        assert ledger.versions[f"bluesky:{answer}"] == ["Gut!", "Sehr gut!"]
        assert d["Sehr gut!"].reply_to == ferry.key and d["Look at this"].quotes == ferry.key
        assert ledger.versions[f"bluesky:{gone}"] == ["oops", None]
        assert not ledger.gaps and "one" not in follower.texts
        packed = any("zstdDictionary" in path for path in server.requests)
        assert packed == compression


def play(server: JetstreamServer, n: int, rng: random.Random) -> list[Callable[[], object]]:
    """What happens upstream, and with it now and then something that goes wrong on the way."""
    written: list[str] = []

    def write() -> None:
        written.append(server.post(rng.choice((ADA, BO)), f"post {len(written)}"))

    def edit() -> None:
        server.edit(rng.choice(written), f"edited {rng.random():.6f}")

    def several() -> None:
        for _ in range(rng.randint(2, 30)):
            write()

    def trouble() -> None:
        faults = ["drop", "duplicate", "truncated", "oversized", "too_slow", "unknown"]
        faults += ["503", "rotate", "bad_dictionary"]
        server.misbehave(rng.choice(faults))
        write()

    def restart() -> None:
        write()
        server.kick()
        write()

    steps = [rng.choice((write, several, several, edit, trouble, restart)) for _ in range(n)]
    return [several, *steps, several]


def timeline(server: JetstreamServer) -> dict[str, list[str | None]]:
    """What a record must hold, from what the server says happened."""
    found: dict[str, list[str | None]] = {}
    for event in server.published:
        if event["collection"] != "app.bsky.feed.post":
            continue
        key = f"bluesky:at://{event['did']}/{event['collection']}/{event['rkey']}"
        versions = found.setdefault(key, [])
        versions.append(event["record"]["text"] if "record" in event else None)
    return found


def stage(steps: int, **settings: Any) -> Callable[[], Any]:
    rng = random.Random(7)

    @asynccontextmanager
    async def scene() -> AsyncIterator[Stage]:
        async with JetstreamServer(ManualClock(START)) as server:
            fetcher = door(server)
            yield Stage(
                config=SourceConfig(
                    name="bluesky",
                    type="bluesky",
                    settings={"endpoints": (server.url,), **settings},
                ),
                fetcher=fetcher,
                expected=lambda: timeline(server),
                script=play(server, steps, rng),
                patience_s=0.05,
            )
            await fetcher.aclose()

    return scene


@pytest.mark.parametrize("protocol", ["v2", "v1"])
async def test_killed_anywhere_it_loses_and_doubles_nothing(protocol: str) -> None:
    ledgers = await check_source(SOURCE, stage(6, protocol=protocol), rounds=2, timeout_s=60)
    assert ledgers[1].kills and not any(ledger.gaps for ledger in ledgers)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["v2", "v1"])
async def test_killed_anywhere_many_times(protocol: str) -> None:
    ledgers = await check_source(SOURCE, stage(30, protocol=protocol), rounds=12, timeout_s=60)
    assert sum(ledger.kills for ledger in ledgers) > 40
    assert not any(ledger.gaps for ledger in ledgers)


async def test_accounts_that_leave_are_purged() -> None:
    async with world() as (server, follower):
        for status in ("deleted", "takendown", "suspended", "deactivated"):
            server.post(BO, f"before {status}")
            server.post(ADA, f"kept {status}")
            server.account(BO, active=False, status=status)
        server.account(CY, active=False, status="throttled")
        server.account(CY, active=True)
        server.post(ADA, "end")
        ledger = await follower.until(lambda x: "end" in follower.texts)
        alive = [str(texts[-1]).split()[-1] for texts in ledger.versions.values()]
        assert alive == ["deleted", "takendown", "suspended", "deactivated", "end"]
        purges = [c for b in follower.batches for c in b.changes if isinstance(c, Purge)]
        assert [p.author for p in purges] == [BO] * 4
        assert follower.counted["account.throttled"] == 1


async def test_what_the_server_forgot_is_a_gap_and_the_stream_goes_on() -> None:
    async with world() as (server, follower):
        clock = cast(ManualClock, server._clock)
        await follower.until(lambda _: True)
        clock.advance(100)
        lost = server.post(ADA, "lost")
        clock.advance(100)
        server.post(ADA, "after")
        server.forget(server.last_seq)
        cast(Any, follower.context.clock)._elapsed_s = 200
        ledger = await follower.until(posts(1))
        assert follower.texts == ["after"] and f"bluesky:{lost}" not in ledger.versions
        [gap] = ledger.gaps
        assert gap.start is not None and gap.end is not None
        assert (gap.start - START).total_seconds() == pytest.approx(0, abs=1)
        assert (gap.end - START).total_seconds() == pytest.approx(200, abs=1)


async def test_a_refused_cursor_is_no_gap_where_time_still_reaches() -> None:
    async with world() as (server, follower):
        server.misbehave("stale_cursor")
        server.post(ADA, "two")
        ledger = await follower.until(lambda x: "two" in follower.texts)
        assert not ledger.gaps


async def test_another_server_goes_on_by_time_and_edits_stay() -> None:
    async with JetstreamServer(ManualClock(START), first_seq=5_000) as west, world() as (east, f):
        uri = east.post(ADA, "draft")
        east.edit(uri, "final")
        gone = east.post(ADA, "oops")
        east.delete(gone)
        east.post(ADA, "east")
        ledger = await f.until(lambda x: "east" in f.texts)
        for event in east.published[1:]:
            commit = {k: v for k, v in event.items() if k in COMMIT}
            west.replay_line({"kind": "commit", "did": event["did"], "commit": commit})
        west.post(ADA, "west")
        await east.stop()
        await f.door.aclose()
        f.door = door(west)
        settings = {**f.config.settings, "endpoints": (east_url(f), west.url)}
        f.context.settings = SOURCE.settings.model_validate(settings)
        f.context.fetcher = f.door
        await f.until(lambda x: "west" in f.texts)
        assert ledger.versions[f"bluesky:{uri}"] == ["draft", "final"]
        assert ledger.versions[f"bluesky:{gone}"] == ["oops", None]
        assert not ledger.gaps
        await east.start()


def east_url(follower: Follower) -> str:
    return cast(str, follower.config.settings["endpoints"][0])


@pytest.mark.parametrize(
    "fault", ["401", "403", "410", "429 0", "503", "drop", "too_slow", "truncated", "oversized"]
)
async def test_faults_cost_a_connection_and_no_post(fault: str) -> None:
    async with world() as (server, follower):
        server.misbehave(fault)
        for n in range(5):
            server.post(ADA, f"p{n}")
        ledger = await follower.until(posts(5))
        assert follower.texts == [f"p{n}" for n in range(5)]
        assert follower.errors and not ledger.gaps


@pytest.mark.parametrize("fault", ["duplicate", "reorder", "unknown", "bad_dictionary", "rotate"])
async def test_faults_that_cost_nothing(fault: str) -> None:
    async with world() as (server, follower):
        server.post(ADA, "p0")
        await follower.until(posts(1))
        server.misbehave(fault)
        for n in range(1, 5):
            server.post(ADA, f"p{n}")
        ledger = await follower.until(posts(5))
        assert sorted(follower.texts) == [f"p{n}" for n in range(5)]
        assert not ledger.gaps and not follower.errors
        assert [len(v) for v in ledger.versions.values()] == [1] * 5


async def test_a_frame_that_stays_unreadable_is_passed_as_a_gap() -> None:
    async with world() as (server, follower):
        server.post(ADA, "p0")
        bad = server.post(ADA, "bad")
        server.post(ADA, "p2")
        next(
            e for e in server._events if e.payload.get("rkey") == bad.rpartition("/")[2]
        ).packed = {1_000: b"nonsense"}
        ledger = await follower.until(posts(2))
        assert follower.texts == ["p0", "p2"] and len(ledger.gaps) == 1
        assert follower.errors == ["bluesky.unreadable"] * 2


async def test_a_stalled_stream_is_left() -> None:
    async with world(idle_s=0.3) as (server, follower):
        server.misbehave("stall")
        server.post(ADA, "two")
        await follower.until(posts(1))
        assert follower.errors == ["net.timeout"]


async def test_a_clock_that_is_ahead_makes_no_future() -> None:
    async with world() as (server, follower):
        server.misbehave("clock_skew")
        server.post(ADA, "skewed", created_at="2091-01-01T00:00:00Z")
        server.post(ADA, "ancient", created_at="1970-01-01T00:00:00Z")
        server.post(ADA, "imported", created_at="2019-05-01T00:00:00+02:00")
        ledger = await follower.until(posts(3))
        dates = {d.text: (d.published_at, d.date_source) for d in ledger.documents.values()}
        assert dates["skewed"] == (START, "server")
        assert dates["ancient"][1] == "server" and dates["imported"][0].year == 2019  # type: ignore[union-attr]
        assert '"us":' in (ledger.cursor or "")
        assert follower.context.clock.now() == START


async def test_a_version_1_server_whose_clock_is_put_right_goes_on_being_heard() -> None:
    """Version 1 counts by its clock: an event of the future must not outrank all others."""
    async with world(protocol="v1") as (server, follower):
        server.post(ADA, "before")
        await follower.until(posts(1))
        server.misbehave("clock_skew")
        server.post(ADA, "skewed")
        server.post(ADA, "after")
        await follower.until(posts(3))
        server.misbehave("clock_skew")
        server.post(ADA, "skewed again")
        await follower.until(posts(4))  # and here the connection ends
        server.post(ADA, "in between")
        ledger = await follower.until(posts(5))
        assert follower.texts[-1] == "in between" and not ledger.gaps
        assert {"before", "skewed", "after", "skewed again", "in between"} <= set(follower.texts)


async def test_the_first_start_begins_a_little_back_and_names_are_resolved() -> None:
    async with JetstreamServer(ManualClock(START)) as server:
        server.identity(ADA, "ada.example.com")
        server.post(BO, "not followed")
        server.post(ADA, "followed")
        follower = Follower(
            server, handles=("@Ada.example.com",), api=server.url.replace("ws", "http")
        )
        ledger = await follower.until(posts(1))
        assert follower.texts == ["followed"]
        [document] = ledger.documents.values()
        assert document.extra["handle"] == "ada.example.com"
        server.identity(ADA, "ada.example.org")
        server.account(ADA, active=False, status="deleted")
        await follower.until(lambda x: len(x.notices) == 2)
        assert [n.code for n in ledger.notices] == ["account.renamed", "account.inactive"]
        assert not ledger.versions
        await follower.door.aclose()


async def test_what_is_wanted_is_kept_and_the_rest_counted() -> None:
    wanted = {"languages": ("de", "und"), "min_letters": 5}
    async with world(**wanted) as (server, follower):
        server.post(ADA, "zu kurz: ja", langs=["de"])
        server.post(ADA, "ja", langs=["de"])
        server.post(ADA, "ja", langs=["de"], link=("https://x.example", "", ""))
        server.post(ADA, "English words here", langs=["en"])
        server.post(ADA, "wörter ohne Sprache")
        server.post(ADA, "")
        server.post(ADA, "das Ende naht", langs=["de"])
        await follower.until(posts(4))
        assert follower.texts == ["zu kurz: ja", "ja", "wörter ohne Sprache", "das Ende naht"]
        counted = follower.counted
        assert counted["post.language"] == 1 and counted["post.short"] == 2


async def test_a_flood_is_sampled_evenly_and_said() -> None:
    async with world(max_per_s=5.0) as (server, follower):
        clock = cast(ManualClock, server._clock)
        for second in range(20):
            clock.advance(1)
            for n in range(50):
                server.post(ADA, f"{second} {n}")
        uri = server.post(ADA, "edited soon")
        server.edit(uri, "edited")
        await follower.until(lambda x: "edited" in follower.texts)
        kept = len(follower.texts)
        assert 5 <= kept <= 120
        assert follower.counted["post.sampled_out"] + kept in (1000, 1001, 1002)


async def test_broken_chains_are_said_once() -> None:
    async with world() as (server, follower):
        for _ in range(3):
            server.sync(BO)
        server.post(ADA, "end")
        ledger = await follower.until(posts(1))
        assert [n.code for n in ledger.notices] == ["bluesky.resynced"]
        assert follower.counted["repository.resynced"] == 3


async def test_deleted_posts_can_be_erased() -> None:
    async with world(erase_deleted=True) as (server, follower):
        uri = server.post(ADA, "gone")
        server.delete(uri)
        server.post(ADA, "end")
        ledger = await follower.until(lambda x: "end" in follower.texts)
        assert f"bluesky:{uri}" not in ledger.versions
        assert not any(isinstance(c, Delete) for b in follower.batches for c in b.changes)


async def test_a_cursor_of_another_archive_is_resumed_by_time() -> None:
    async with world() as (server, follower):
        server.post(ADA, "two")
        moved = follower.ledger.cursor.replace('"seq":1', '"seq":90000')  # type: ignore[union-attr]
        follower.ledger.cursor = moved
        ledger = await follower.until(lambda x: "two" in follower.texts)
        assert follower.texts == ["one", "two"] and not ledger.gaps
        assert len([path for path in server.requests if "subscribeEvents" in path]) == 2


async def test_version_1_says_nothing_of_a_lost_window_and_it_is_noticed() -> None:
    async with world(protocol="v1") as (server, follower):
        follower.ledger.cursor = None
        await follower.until(posts(1))
        server.post(ADA, "seen")
        await follower.until(posts(2))
        server.post(ADA, "lost")
        server.post(ADA, "after")
        server.forget(server.last_seq)
        ledger = await follower.until(posts(3))
        assert follower.texts == ["one", "seen", "after"] and len(ledger.gaps) == 1
        server.post(ADA, "whole")
        await follower.until(posts(4))
        assert len(ledger.gaps) == 1


async def test_a_refusal_is_asked_again_before_long() -> None:
    async with world() as (server, follower):
        server.misbehave("403", "410", "400")
        for code in ("source.refused", "source.refused", "net.status"):
            with pytest.raises(UpstreamError) as caught:
                async for _ in SOURCE.follow(follower.context, follower.ledger.cursor):
                    pass
            assert caught.value.code == code
            retry_after_s = getattr(caught.value, "retry_after_s", None)
            assert retry_after_s == (900.0 if code == "source.refused" else None)
