from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.errors import ContentError
from gnomon.sources import gdelt
from gnomon.sources.gdelt_files import Mention, chosen, mentions, releases
from gnomon.testing.check_source import START, Stage, check_source
from gnomon.testing.doors import door_to
from gnomon.testing.gdelt_server import GdeltServer, Row
from gnomon.types import SourceConfig

LIST = """150383 297a16b493de7cf6ca809a7cc31d0b93 http://data.gdeltproject.org/gdeltv2/20150218230000.export.CSV.zip
318084 bb27f78ba45f69a17ea6ed7755e9f8ff http://data.gdeltproject.org/gdeltv2/20150218230000.mentions.CSV.zip
10768507 ea8dde0beb0ba98810a92db068c0ce99 http://data.gdeltproject.org/gdeltv2/20150218230000.gkg.csv.zip
f78 ea8dde0beb0ba98810a92db068c0ce99 http://x/20150218231500.gkg.csv.zip
1 ea8dde0beb0ba98810a92db068c0ce99 http://x/20159918231500.gkg.csv.zip
"""


def test_the_list_in_gdelts_own_words() -> None:
    (found,) = releases(LIST, translated=False)
    assert (found.name, found.size) == ("20150218230000.gkg.csv.zip", 10_768_507)
    assert found.moment.isoformat() == "2015-02-18T23:00:00+00:00"
    assert releases(LIST.replace(".gkg", ".translation.gkg"), translated=True)[0].translated
    assert not releases(LIST, translated=True)


def test_the_choice_is_spread_over_sites() -> None:
    rows = [Mention(url=f"https://{d}/{n}", domain=d) for d in "aab" for n in range(3)]
    urls = [m.url for m in chosen(iter(rows), themes=(), limit=4)]
    assert urls == ["https://a/0", "https://b/0", "https://a/1", "https://b/1"]
    themed = [Mention(url="https://c/", themes=("FLOOD",)), *rows]
    assert len(chosen(iter(themed), themes=("flood",), limit=9)) == 1


@given(st.binary(max_size=300))
def test_any_bytes_end_well(noise: bytes) -> None:
    try:
        list(mentions(noise, notes=Counter()))
    except ContentError as error:
        assert error.code == "gdelt.unreadable"


class Scene:
    """A GDELT with pages behind its addresses, and what is expected of it."""

    def __init__(self, server: GdeltServer) -> None:
        self.server = server
        self.expected: dict[str, Sequence[str | None]] = {}
        self._n = 0

    def pages(self, count: int) -> list[Row]:
        return [self.page() for _ in range(count)]

    def page(self) -> Row:
        n, self._n = self._n, self._n + 1
        text = f"Report {n} says that the water at gauge {n} fell again in the night."
        self.server.page(f"/p/{n}", title=f"Report {n}", text=text)
        url = self.server.url(f"/p/{n}")
        self.expected[f"g#{url}"] = [f"Report {n}\n\n{text}"]
        return Row(url=url, domain=f"d{n % 3}.example", title=f"Report {n} &c", themes=("FLOOD",))

    def config(self, **settings: object) -> SourceConfig:
        plain = {"url": self.server.base, "interval_s": 900, **settings}
        return SourceConfig(name="g", type="gdelt", settings=plain)


@asynccontextmanager
async def stage(
    *,
    faults: tuple[tuple[str, str], ...] = (),
    damaged: int = 0,
    missing: bool = False,
    ranges: bool = True,
) -> AsyncIterator[Stage]:
    async with (
        GdeltServer(start=START - timedelta(hours=1), ranges=ranges) as server,
        door_to(server.host_port, stalls="stall" in dict(faults).values()) as door,
    ):
        scene = Scene(server)
        server.release(scene.pages(3))

        def release(n: int, **how: object) -> None:
            server.release(scene.pages(n), **how)  # type: ignore[arg-type]

        def absence() -> None:
            """Four files come out between two looks."""
            for n in (2, 9, 1, 3):
                release(n)

        script = [
            lambda: release(4),
            lambda: None,
            lambda: release(3, damaged=damaged, missing=missing),
            absence,
            lambda: release(2),
        ]
        for i, (path, fault) in enumerate(faults):
            script.insert(2 * i + 1, lambda p=path, f=fault: server.misbehave(p, f))
        yield Stage(
            config=scene.config(), fetcher=door, expected=lambda: scene.expected, script=script,
            ordered=False, rests=8,
        )  # fmt: skip


@pytest.mark.parametrize("ranges", [True, False])
async def test_killed_anywhere(ranges: bool) -> None:
    ledgers = await check_source(gdelt.SOURCE, lambda: stage(ranges=ranges), rounds=6)
    assert sum(ledger.kills for ledger in ledgers) > 3
    assert not any(ledger.gaps for ledger in ledgers)


LISTS = ("/gdeltv2/lastupdate.txt", "/gdeltv2/masterfilelist.txt")


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("fault", ["drop", "stall", "truncated", "503 0"])
async def test_raises_and_recovers(path: str, fault: str) -> None:
    (ledger,) = await check_source(gdelt.SOURCE, lambda: stage(faults=((path, fault),)), rounds=1)
    assert any(code.startswith("net.") for code in ledger.errors), ledger.errors


async def test_a_damaged_file_is_fetched_again() -> None:
    for ledger in await check_source(gdelt.SOURCE, lambda: stage(damaged=2), rounds=2):
        assert ledger.skipped["gdelt.md5"] and not ledger.gaps


@pytest.mark.parametrize("how", [{"damaged": 99}, {"missing": True}])
async def test_what_cannot_be_had_is_a_gap(how: dict[str, object]) -> None:
    for ledger in await check_source(gdelt.SOURCE, lambda: stage(**how), rounds=2):  # type: ignore[arg-type]
        (gap,) = ledger.gaps
        assert gap.start is not None and gap.end is not None
        assert gap.end - gap.start == timedelta(minutes=15)
        assert len(ledger.versions) == 3 + 4 + 15 + 2


@asynccontextmanager
async def long_absence() -> AsyncIterator[Stage]:
    async with (
        GdeltServer(start=START - timedelta(hours=30)) as server,
        door_to(server.host_port) as door,
    ):
        scene = Scene(server)
        server.release(scene.pages(1))

        def away() -> None:
            for _ in range(20):
                server.release(scene.pages(1))

        yield Stage(
            config=scene.config(catch_up_h=1), fetcher=door, expected=lambda: scene.expected,
            script=[away], ordered=False,
        )  # fmt: skip


async def test_a_long_absence_is_a_gap() -> None:
    for ledger in await check_source(gdelt.SOURCE, long_absence, rounds=3):
        (gap,) = ledger.gaps
        assert gap.start is not None and gap.end is not None
        assert gap.end - gap.start == timedelta(hours=4)
        assert len(ledger.versions) == 1 + 4


@asynccontextmanager
async def odd_rows() -> AsyncIterator[Stage]:
    async with GdeltServer(start=START) as server, door_to(server.host_port) as door:
        scene = Scene(server)
        closed = server.url("/gone")
        shut = server.url("/shut")
        server.misbehave("/shut", *["403"] * 9)
        server.release(
            [
                *scene.pages(2),
                Row(url="javascript:alert(1)"),
                Row(url=closed, title="Gone"),
                Row(url=shut, title="Closed to us & others", domain="s.example", tone=-3.5),
                Row(url="bbc tv", collection=2),
            ]
        )
        scene.expected[f"g#{shut}"] = ["Closed to us & others"]
        yield Stage(
            config=scene.config(pages_per_hour=40), fetcher=door, ordered=False,
            expected=lambda: scene.expected,
        )  # fmt: skip


async def test_odd_rows_are_counted_and_refusals_kept_as_references() -> None:
    (ledger,) = await check_source(gdelt.SOURCE, odd_rows, rounds=1)
    for reason in ("gdelt.no_address", "gdelt.no_web_page", "page.404", "page.403"):
        assert ledger.skipped[reason] == 1, ledger.skipped
    shut = next(d for k, d in ledger.documents.items() if k.endswith("/shut"))
    assert shut.extra["only"] == "reference" and shut.extra["gdelt"]["tone"] == -3.5


@asynccontextmanager
async def crowded() -> AsyncIterator[Stage]:
    """More pages than an hour allows: the rest waits for the next one."""
    async with GdeltServer(start=START) as server, door_to(server.host_port) as door:
        scene = Scene(server)

        def release() -> None:
            server.release(scene.pages(4))

        release()
        yield Stage(
            config=scene.config(pages_per_hour=16), fetcher=door, expected=lambda: scene.expected,
            script=[lambda: [release() for _ in range(6)]], ordered=False, rests=12,
        )  # fmt: skip


async def test_the_hours_allowance_is_kept() -> None:
    ledgers = await check_source(gdelt.SOURCE, crowded, rounds=3)
    assert not any(ledger.gaps for ledger in ledgers)


def test_identify() -> None:
    for text in ("gdelt", "GDELT", "http://data.gdeltproject.org/gdeltv2/lastupdate.txt"):
        config = gdelt.identify(text)
        assert config is not None and config.name == "gdelt"
    assert gdelt.identify("https://example.org/gdelt") is None
