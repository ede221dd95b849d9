"""Nostr over real sockets: signatures, deletions, edits, expiry, faults, and the contract."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from datetime import timedelta
from typing import Any, cast

import pytest

from gnomon.clock import ManualClock
from gnomon.errors import ConfigError, UpstreamError
from gnomon.net.door import Door
from gnomon.settings import Net
from gnomon.sources.nostr import SOURCE, identify
from gnomon.testing.check_source import START, HurriedClock, Ledger, Stage, check_source
from gnomon.testing.check_source import _Context as Lent
from gnomon.testing.nostr_server import NostrServer
from gnomon.types import SourceConfig, Upsert

pytest.importorskip("nostr_sdk", reason="signatures need gnomon[nostr]")
START_S = int(START.timestamp())


def door(*relays: NostrServer) -> Door:
    allowed = tuple(relay.address for relay in relays)
    return Door(Net(allow=allowed, per_host_delay_s=0.0, timeout_s=5.0), ManualClock(START))


class Follower:
    """Follows from the last stored cursor, as the runner would, until enough came."""

    def __init__(self, *relays: NostrServer, **settings: Any) -> None:
        self.config = SourceConfig(
            name="nostr",
            type="nostr",
            settings={"relays": [relay.url for relay in relays], **settings},
        )
        self.door = door(*relays)
        self.ledger = Ledger()
        stage = Stage(config=self.config, fetcher=self.door, expected=dict)
        self.clock = HurriedClock()
        self.context = Lent(SOURCE, stage, self.clock, 0)
        self.errors: list[str] = []
        self.said: list[str] = []
        self.handed_over = 0

    async def until(self, enough: Callable[[], bool], tries: int = 5) -> Ledger:
        for _ in range(tries):
            stream = cast(Any, SOURCE.follow(self.context, self.ledger.cursor))
            try:
                async with aclosing(stream):
                    async for batch in stream:
                        self.ledger.append(batch)
                        self.handed_over += sum(isinstance(c, Upsert) for c in batch.changes)
                        if enough():
                            return self.ledger
            except UpstreamError as error:
                self.errors.append(error.code)
                self.said.append(error.message)
        raise AssertionError(f"not enough came: {self.ledger}, {self.errors}")

    def has(self, text: str) -> Callable[[], bool]:
        return lambda: any(text in (v or "") for vs in self.ledger.versions.values() for v in vs)


@asynccontextmanager
async def world(**settings: Any) -> AsyncIterator[tuple[NostrServer, Follower]]:
    async with NostrServer(ManualClock(START)) as relay:
        follower = Follower(relay, **settings)
        try:
            yield relay, follower
        finally:
            await follower.door.aclose()


async def test_what_people_do_becomes_changes() -> None:
    async with world() as (relay, follower):
        ada, bo = relay.pubkey("ada"), relay.pubkey("bo")
        first = relay.note("ada", "The bridge is open again for everyone.", hashtags=["harbour"])
        answer = relay.note("bo", "Good!", reply_to=first)
        gone = relay.note("bo", "oops")
        relay.publish("bo", 7, "+", [["e", first]])
        relay.article("ada", "bridge", "On bridges", "Long words.", created_s=START_S - 50)
        follower.clock._elapsed_s = 1
        await follower.until(follower.has("oops"))
        relay.delete("ada", gone)  # another's: without effect
        relay.delete("bo", gone)
        relay.article("ada", "bridge", "On bridges", "Longer words.", created_s=START_S - 40)
        relay.note("ada", "end")
        ledger = await follower.until(follower.has("end"))
        assert ledger.versions == {
            f"nostr:{ada}:30023:bridge": ["Long words.", "Longer words."],
            f"nostr:{ada}:{first}": ["The bridge is open again for everyone."],
            f"nostr:{bo}:{answer}": ["Good!"],
            f"nostr:{bo}:{gone}": ["oops", None],
            next(k for k, v in ledger.versions.items() if v == ["end"]): ["end"],
        }
        documents = ledger.documents
        assert documents[f"nostr:{bo}:{answer}"].reply_to == f"nostr:{ada}:{first}"
        note = documents[f"nostr:{ada}:{first}"]
        assert (note.lang, note.author, note.extra["tags"]) == ("en", ada, ["harbour"])
        assert note.published_at == START
        article = documents[f"nostr:{ada}:30023:bridge"]
        assert (article.kind, article.title) == ("article", "On bridges")


async def test_what_expires_is_ended_and_what_vanishes_is_purged() -> None:
    async with world() as (relay, follower):
        relay.note("ada", "for an hour", expires_s=START_S + 3_600)
        relay.note("ada", "over", expires_s=START_S - 1)
        relay.note("bo", "private life")
        await follower.until(follower.has("private life"))
        [key] = [k for k, v in follower.ledger.versions.items() if v == ["for an hour"]]
        follower.clock._elapsed_s = 3_601
        await follower.until(lambda: follower.ledger.versions[key][-1] is None)
        relay.vanish("bo")
        await follower.until(lambda: not follower.has("private life")())
        assert not follower.has("over")()


async def test_articles_are_deleted_by_id_and_by_address() -> None:
    async with world() as (relay, follower):
        ada = relay.pubkey("ada")
        one = relay.article("ada", "a", "A", "text a")
        relay.article("ada", "b", "B", "text b")
        await follower.until(follower.has("text b"))
        relay.delete("ada", one)
        relay.delete("bo", addresses=[f"30023:{ada}:b"])
        relay.note("ada", "between")
        await follower.until(follower.has("between"))
        assert follower.ledger.versions[f"nostr:{ada}:30023:a"] == ["text a", None]
        assert follower.ledger.versions[f"nostr:{ada}:30023:b"] == ["text b"]
        relay.delete("ada", addresses=[f"30023:{ada}:b"])
        await follower.until(lambda: follower.ledger.versions[f"nostr:{ada}:30023:b"][-1] is None)


@pytest.mark.parametrize("fault", ["forged", "duplicate", "truncated", "notice", "reorder"])
async def test_faults_that_cost_nothing(fault: str) -> None:
    async with world() as (relay, follower):
        relay.misbehave(fault)
        for n in range(5):
            relay.note("ada", f"p{n}", created_s=START_S - 10 + n)
        ledger = await follower.until(follower.has("p4"))
        assert list(ledger.versions.values()) == [[f"p{n}"] for n in range(5)]
        assert not follower.errors and not ledger.gaps
        assert ("event.forged" in follower.context.skipped) == (fault == "forged")


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("drop", "net.closed"),
        ("closed", "nostr.closed"),
        ("closed auth-required: sign in", "source.forbidden"),
        ("503", "net.status"),
        ("403", "source.refused"),
    ],
)
async def test_faults_that_cost_a_connection(fault: str, code: str) -> None:
    async with world() as (relay, follower):
        relay.misbehave(fault)
        for n in range(3):
            relay.note("ada", f"p{n}", created_s=START_S - 10 + n)
        ledger = await follower.until(follower.has("p2"))
        assert list(ledger.versions.values()) == [[f"p{n}"] for n in range(3)]
        assert follower.errors == [code]


async def test_a_long_past_is_fetched_in_pages_and_in_order() -> None:
    async with world(page=10) as (relay, follower):
        for n in range(95):
            relay.note("ada", f"p{n}", created_s=START_S - 1_000 + n)
        ledger = await follower.until(follower.has("p94"))
        assert [v for [v] in ledger.versions.values()] == [f"p{n}" for n in range(95)]
        assert not ledger.gaps


async def test_more_than_can_be_fetched_is_a_gap() -> None:
    async with world(page=2) as (relay, follower):
        for n in range(80):
            relay.note("ada", f"p{n}", created_s=START_S - 1_000 + n)
        ledger = await follower.until(follower.has("p79"))
        [gap] = ledger.gaps
        assert gap.end is not None and gap.end <= START - timedelta(seconds=930)
        assert f"p{5}" not in [v for [v] in ledger.versions.values()]


async def test_only_what_was_asked_for_is_taken() -> None:
    async with NostrServer(ManualClock(START)) as relay:
        follower = Follower(relay, hashtags=["#Harbour"], authors=[relay.pubkey("ada")])
        relay.note("ada", "kept", hashtags=["harbour"])
        relay.note("ada", "other subject")
        relay.note("bo", "other person", hashtags=["harbour"])
        await follower.until(follower.has("kept"))
        assert len(follower.ledger.versions) == 1
        await follower.door.aclose()


# -- several relays -----------------------------------------------------------------
@asynccontextmanager
async def two_relays() -> AsyncIterator[tuple[NostrServer, NostrServer, Follower]]:
    async with (
        NostrServer(ManualClock(START)) as one,
        NostrServer(ManualClock(START)) as two,
    ):
        follower = Follower(one, two)
        try:
            yield one, two, follower
        finally:
            await follower.door.aclose()


def alive(follower: Follower) -> list[str]:
    versions = follower.ledger.versions.values()
    return sorted(text for *_, text in versions if text is not None)


async def test_what_two_relays_have_is_one_event() -> None:
    async with two_relays() as (one, two, follower):
        for relay in (one, two):
            for n in range(5):
                relay.note("ada", f"p{n}", created_s=START_S - 100 + n)
        one.note("bo", "only here")
        two.note("cy", "only there")
        await follower.until(lambda: follower.has("only here")() and follower.has("only there")())
        assert alive(follower) == ["only here", "only there", *(f"p{n}" for n in range(5))]
        assert follower.handed_over == 7, "each once"


async def test_one_relays_death_does_not_silence_the_source() -> None:
    async with two_relays() as (one, two, follower):
        told: list[str] = []
        follower.context.heard = lambda **how: told.append(how.get("text", ""))  # type: ignore[method-assign]
        one.misbehave("503")
        two.note("ada", "the other speaks")
        await follower.until(lambda: follower.has("the other speaks")() and told[-1] != "")
        assert not follower.errors
        assert told[-1].startswith("1 of 2 relays") and one.url in told[-1]
        # What the dead one had is made up for: it has a position of its own.
        one.note("bo", "said while away", created_s=START_S - 30)
        two.note("cy", "later", created_s=START_S + 60)
        await follower.until(follower.has("later"))
        await follower.until(follower.has("said while away"))
        one.misbehave("403")
        two.misbehave("503")
        with pytest.raises(AssertionError):
            await follower.until(follower.has("never"), tries=1)
        assert follower.errors == ["net.status"], "of two troubles, the one that may pass"


async def test_a_relay_that_refuses_its_readers_is_named() -> None:
    async with world() as (relay, follower):
        relay.misbehave("closed auth-required: sign in")
        with pytest.raises(AssertionError, match="not enough came"):
            await follower.until(follower.has("never"), tries=1)
        assert follower.errors == ["source.forbidden"]
        assert relay.url in follower.said[0]


async def test_what_one_relay_takes_back_another_cannot_bring_again() -> None:
    async with two_relays() as (one, two, follower):
        gone = one.note("ada", "a slip")
        one.note("bo", "a life")
        old = one.article("cy", "a", "A", "old words", created_s=START_S - 9)
        await follower.until(lambda: len(alive(follower)) == 3)
        one.delete("ada", gone)
        one.vanish("bo")
        one.article("cy", "a", "A", "new words", created_s=START_S - 5)
        one.note("ada", "end of the first part")
        await follower.until(follower.has("end of the first part"))
        late = two.note("ada", "a slip")
        two.note("bo", "a life")
        two.note("bo", "more of it")
        assert late == gone
        assert two.article("cy", "a", "A", "old words", created_s=START_S - 9) == old
        two.note("cy", "end of the second part")
        await follower.until(follower.has("end of the second part"))
        assert alive(follower) == ["end of the first part", "end of the second part", "new words"]


async def test_a_cursor_of_the_time_of_one_relay_goes_on() -> None:
    async with two_relays() as (one, two, follower):
        old = one.note("ada", "handed over already", created_s=START_S - 5_000)
        one.note("ada", "not yet", created_s=START_S - 4_000)
        two.note("bo", "nor this", created_s=START_S - 3_900)
        seen = {old[:16]: START_S - 5_000}
        follower.ledger.cursor = json.dumps({"since_s": START_S - 4_500, "seen": seen})
        await follower.until(lambda: len(alive(follower)) == 2)
        assert alive(follower) == ["nor this", "not yet"]


def stage(steps: int, relays: int = 1) -> Callable[[], Any]:
    rng = random.Random(3)

    @asynccontextmanager
    async def scene() -> AsyncIterator[Stage]:
        async with AsyncExitStack() as stack:
            servers = [
                await stack.enter_async_context(NostrServer(ManualClock(START)))
                for _ in range(relays)
            ]
            fetcher = door(*servers)
            stack.push_async_callback(fetcher.aclose)
            written = 0

            def write() -> None:
                nonlocal written
                written += 1
                for server in rng.sample(servers, rng.randint(1, relays)):
                    server.note("ada", f"n{written}")

            def trouble() -> None:
                fault = rng.choice(["drop", "duplicate", "forged", "truncated", "503"])
                rng.choice(servers).misbehave(fault)
                write()

            def restart() -> None:
                write()
                rng.choice(servers).kick()
                write()

            def expected() -> dict[str, list[str | None]]:
                found: dict[str, list[str | None]] = {}
                for event in (event for server in servers for event in server.events):
                    if event["kind"] == 1:
                        found[f"nostr:{event['pubkey']}:{event['id']}"] = [event["content"]]
                return found

            yield Stage(
                config=SourceConfig(
                    name="nostr", type="nostr", settings={"relays": [s.url for s in servers]}
                ),
                fetcher=fetcher,
                expected=expected,
                script=[
                    write,
                    *(rng.choice((write, trouble, restart)) for _ in range(steps)),
                    write,
                ],
                patience_s=0.1,
                ordered=False,
                rests=6,
            )

    return scene


@pytest.mark.parametrize("relays", [1, 2])
async def test_killed_anywhere_it_loses_and_doubles_nothing(relays: int) -> None:
    ledgers = await check_source(SOURCE, stage(4, relays), rounds=2, timeout_s=60)
    assert not any(ledger.gaps for ledger in ledgers)


@pytest.mark.slow
@pytest.mark.parametrize("relays", [1, 3])
async def test_killed_anywhere_many_times(relays: int) -> None:
    ledgers = await check_source(SOURCE, stage(15, relays), rounds=8, timeout_s=60)
    assert sum(ledger.kills for ledger in ledgers) > 20
    assert not any(ledger.gaps for ledger in ledgers)


async def test_an_independent_client_reads_the_stand_in() -> None:
    import nostr_sdk as sdk

    async with NostrServer(ManualClock(START)) as relay:
        for n in range(5):
            relay.note("ada", f"p{n}", hashtags=["harbour"], created_s=START_S + n)
        relay.note("bo", "other")
        relay.article("ada", "a", "A", "old", created_s=START_S)
        relay.article("ada", "a", "A", "new", created_s=START_S + 1)
        relay.delete("ada", relay.events[0]["id"])
        client = sdk.ClientBuilder().build()
        url = sdk.RelayUrl.parse(relay.url)
        await client.add_relay(url)
        await client.connect()
        ada = sdk.PublicKey.parse(relay.pubkey("ada"))
        wanted = sdk.Filter().author(ada).since(sdk.Timestamp.from_secs(START_S))
        found = await client.fetch_events(sdk.ReqTarget.auto([wanted]), timedelta(seconds=5))
        events = found.to_vec() if hasattr(found, "to_vec") else list(found)
        texts = sorted(event.content() for event in events if event.content())
        assert texts == ["new", "p1", "p2", "p3", "p4"]
        assert all(event.verify() for event in events)
        await client.shutdown()


def test_keys_are_read_and_mistypes_refused() -> None:
    import nostr_sdk as sdk

    key = sdk.Keys.generate().public_key()
    config = identify(f"nostr:{key.to_bech32()}")
    assert config is not None
    assert SOURCE.settings.model_validate(dict(config.settings)).authors == (key.to_hex(),)  # type: ignore[attr-defined]
    mistyped = key.to_bech32()[:-1] + ("q" if key.to_bech32()[-1] != "q" else "p")
    for text in (mistyped, "npub1", "nsec1abc", "ada", "wss://relay.example"):
        assert identify(text) is None
        with pytest.raises(ValueError, match="validation error"):
            SOURCE.settings.model_validate({"authors": [text]})


async def test_without_the_library_it_says_what_to_install(monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "nostr_sdk", None)
    stage = Stage(
        config=SourceConfig(name="nostr", type="nostr"), fetcher=cast(Any, None), expected=dict
    )
    stream = SOURCE.follow(Lent(SOURCE, stage, HurriedClock(), 0), None)
    with pytest.raises(ConfigError, match=r"pip install gnomon\[nostr\]"):
        await anext(stream)
