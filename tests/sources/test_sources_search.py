from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from pydantic import ValidationError

from gnomon.clock import SystemClock
from gnomon.net.door import Door
from gnomon.settings import Net
from gnomon.sources import search
from gnomon.sources.search import SearchSettings
from gnomon.testing.check_source import START, Stage, check_source
from gnomon.testing.feed_server import FeedServer
from gnomon.testing.search_server import SearchServer
from gnomon.types import SourceConfig


@asynccontextmanager
async def stage(
    provider: str = "gdelt", faults: tuple[str, ...] = (), **settings: object
) -> AsyncIterator[Stage]:
    """Pages come up in the results, one by one and many at once; one is gone already."""
    async with SearchServer() as server, FeedServer() as site:
        door = Door(
            Net(allow=(server.address, site.host_port), per_host_delay_s=0, timeout_s=0.6),
            SystemClock(),
        )
        expected: dict[str, list[str | None]] = {}

        def found(n: int, *, there: bool = True) -> None:
            url, title = site.url(f"/p/{n}"), f"Bridge {n}"
            text = f"What was said about the bridge for the {n}th time, at some length, by two."
            if there:
                site.page(f"/p/{n}", title=title, text=text)
                expected[f"s#{url}"] = [f"{title}\n\n{text}"]
            server.put(url, title, text, at=START - timedelta(minutes=100 - n))

        server.put("https://e.example/", "Elections", "Votes.", at=START)
        found(1)
        found(2)
        script = [
            lambda: found(3),
            lambda: None,
            lambda: found(4, there=False),
            lambda: [found(n) for n in range(5, 17)],
            lambda: found(17),
        ]
        for i, fault in enumerate(faults):
            script.insert(2 * i + 1, lambda fault=fault: server.misbehave(fault))
        config = SourceConfig(
            name="s", type="search",
            settings={"query": "bridge", "provider": provider, "url": server.url, **settings},
        )  # fmt: skip
        try:
            yield Stage(
                config=config, fetcher=door, script=script, expected=lambda: expected,
                ordered=False, rests=5,
            )  # fmt: skip
        finally:
            await door.aclose()


KEYED = {"provider": "brave", "key": "k-1"}


@pytest.mark.parametrize("settings", [{}, {"provider": "hn"}, KEYED, {"provider": "searxng"}])
async def test_killed_anywhere(settings: dict[str, str]) -> None:
    ledgers = await check_source(search.SOURCE, lambda: stage(**settings), rounds=4)  # type: ignore[arg-type]
    assert sum(ledger.kills for ledger in ledgers) > 1
    assert not any(ledger.gaps for ledger in ledgers)
    newest = list(ledgers[0].documents.values())[-1]
    assert newest.extra["found_by"] and newest.published_at is not None


@pytest.mark.parametrize("fault", ["refuse", "503", "429 0"])
async def test_raises_and_recovers(fault: str) -> None:
    (ledger,) = await check_source(search.SOURCE, lambda: stage(faults=(fault,)), rounds=1)
    assert any(code.startswith("net.") for code in ledger.errors), ledger.errors


@pytest.mark.parametrize("fault", ["html", "odd", "repeat"])
async def test_odd_answers(fault: str) -> None:
    (ledger,) = await check_source(search.SOURCE, lambda: stage(faults=(fault,)), rounds=1)
    assert not ledger.errors


@asynccontextmanager
async def refused() -> AsyncIterator[Stage]:
    async with stage("kagi", key="wrong") as scene:
        yield Stage(
            config=scene.config, fetcher=scene.fetcher, expected=dict, ends_with="search.key"
        )


async def test_a_wrong_key_ends_it() -> None:
    await check_source(search.SOURCE, refused, rounds=1)


@asynccontextmanager
async def outrun() -> AsyncIterator[Stage]:
    async with SearchServer() as server:
        door = Door(Net(allow=(server.address,), per_host_delay_s=0), SystemClock())

        def found(n: int) -> None:
            at = START + timedelta(minutes=n)
            server.put(f"https://e.example/{n}", f"Bridge {n}", at=at)

        found(-9)
        config = SourceConfig(
            name="s", type="search",
            settings={"query": "bridge", "provider": "hn", "url": server.url, "read": False,
                      "results": 5},
        )  # fmt: skip
        try:
            yield Stage(
                config=config, fetcher=door, ordered=False,
                script=[lambda: [found(n) for n in range(1, 30)]],
                expected=lambda: {
                    f"s#https://e.example/{n}": [f"Bridge {n}"] for n in (-9, *range(1, 30))
                },
            )  # fmt: skip
        finally:
            await door.aclose()


async def test_a_list_that_is_new_as_a_whole_is_a_gap() -> None:
    for ledger in await check_source(search.SOURCE, outrun, rounds=2):
        (gap,) = ledger.gaps
        assert gap.start == START and gap.end == START + timedelta(minutes=25)
        assert len(ledger.versions) == 6


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"provider": "brave"}, "Brave Search needs a key: set key to env:NAME"),
        ({"provider": "searxng"}, "needs an address: set url"),
        ({"provider": "altavista"}, "provider"),
        ({"query": ""}, "query"),
    ],
)
def test_settings_that_cannot_work(settings: dict[str, str], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        SearchSettings(**{"query": "bridge", **settings})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("north bridge", True),
        ('"north bridge" closed', True),
        ("bridge", False),
        ("@someone said this", False),
        ("/no such/file.jsonl", False),
        ("see https://e.example", False),
        ("a\0b c", False),
        (" ".join("abcdefghijklmn"), False),
    ],
)
def test_identify(text: str, wanted: bool) -> None:
    assert (search.identify(text) is not None) is wanted
