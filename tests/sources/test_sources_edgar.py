from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import msgspec
import pytest
from pydantic import ValidationError

from gnomon.sources import edgar
from gnomon.testing.check_source import START, Stage, check_source
from gnomon.testing.doors import door_to
from gnomon.testing.edgar_server import CURRENT, EdgarServer, Filing
from gnomon.types import SourceConfig


def filing(n: int, **changes: object) -> Filing:
    fields = {
        "accession": f"0000320193-26-{n:06}",
        "form": "8-K",
        "company": "Müller & Sons Inc.",
        "cik": 320193,
        "accepted_at": START - timedelta(minutes=5_000 - n),
        "items": "2.02,9.01",
        **changes,
    }
    return Filing(**fields)  # type: ignore[arg-type]


def config(server: EdgarServer, **settings: object) -> SourceConfig:
    base = server.url("")
    return SourceConfig(
        name="e", type="edgar", settings={"url": base, "data_url": base, **settings}
    )


def said(f: Filing) -> str:
    text = f"{f.company} ({f.role.lower()}) filed form {f.form} with the SEC."
    return (
        f"{text}\n\nFiled: {f.accepted_at:%Y-%m-%d} AccNo: {f.accession} Size: 14 KB"
        f"\nItems: {f.items}"
    )


@asynccontextmanager
async def current_stage(faults: tuple[str, ...] = ()) -> AsyncIterator[Stage]:
    async with EdgarServer() as server, door_to(server.host_port, stalls="stall" in faults) as door:
        expected: dict[str, list[str | None]] = {}

        def file(*filings: Filing) -> None:
            for f in filings:
                server.file(f)
                key = f"e#{f.accession}:{f.cik:010}:{f.role.lower()}"
                expected[key] = [said(f)]

        file(filing(1), filing(2, form="8-K/A"))
        server.file(filing(3, form="4", role="Reporting"))
        script = [
            lambda: file(filing(4), filing(4, role="Subject", company="Other", cik=7)),
            lambda: None,
            lambda: file(*(filing(n) for n in range(5, 330))),
            lambda: file(filing(400)),
        ]
        for i, fault in enumerate(faults):
            script.insert(2 * i + 1, lambda fault=fault: server.misbehave(CURRENT, fault))
        yield Stage(
            config=config(server, forms=["8-K", "10-Q"]), fetcher=door, script=script,
            expected=lambda: expected,
        )  # fmt: skip


async def test_current_filings_killed_anywhere() -> None:
    ledgers = await check_source(edgar.SOURCE, current_stage, rounds=6)
    assert sum(ledger.kills for ledger in ledgers) > 3
    assert not any(ledger.gaps for ledger in ledgers)
    first = next(iter(ledgers[0].documents.values()))
    assert first.author == "Müller & Sons Inc." and first.extra["form"] == "8-K"
    assert first.published_at == filing(1).accepted_at
    assert ledgers[0].skipped["edgar.other_form"]


@pytest.mark.parametrize("fault", ["drop", "stall", "truncated", "503 0", "429 0"])
async def test_raises_and_recovers(fault: str) -> None:
    (ledger,) = await check_source(edgar.SOURCE, lambda: current_stage((fault,)), rounds=1)
    assert any(code.startswith("net.") for code in ledger.errors), ledger.errors


@pytest.mark.parametrize("fault", ["html", "broken_xml"])
async def test_odd_answers(fault: str) -> None:
    (ledger,) = await check_source(edgar.SOURCE, lambda: current_stage((fault,)), rounds=1)
    assert not ledger.errors


@asynccontextmanager
async def outrun_stage() -> AsyncIterator[Stage]:
    async with EdgarServer() as server, door_to(server.host_port) as door:
        server.file(filing(1))
        yield Stage(
            config=config(server), fetcher=door,
            script=[lambda: [server.file(filing(n)) for n in range(2, 2_602)]],
            expected=lambda: {
                f"e#{f.accession}:{f.cik:010}:filer": [said(f)]
                for f in map(filing, range(1, 2_602))
            },
        )  # fmt: skip


async def test_what_ran_past_the_pages_is_a_gap() -> None:
    (ledger,) = await check_source(edgar.SOURCE, outrun_stage, rounds=1)
    (gap,) = ledger.gaps
    assert gap.start == filing(1).accepted_at and gap.end == filing(602).accepted_at
    assert len(ledger.versions) == 2_001


@asynccontextmanager
async def company_stage() -> AsyncIterator[Stage]:
    async with EdgarServer() as server, door_to(server.host_port) as door:
        expected: dict[str, list[str | None]] = {}

        def file(f: Filing) -> None:
            server.file(f)
            expected[f"e#{f.accession}:{f.cik:010}:filer"] = [
                f"{f.company} filed form {f.form} with the SEC.\n\nItems: {f.items}."
            ]

        server.file(filing(1, accepted_at=START - timedelta(days=9)))
        file(filing(2, accepted_at=START - timedelta(hours=9)))
        yield Stage(
            config=config(server, ciks=["CIK320193"]), fetcher=door, expected=lambda: expected,
            script=[
                lambda: file(filing(3, accepted_at=START - timedelta(minutes=9), form="10-K")),
                lambda: server.misbehave("/submissions/CIK0000320193.json", "html"),
                lambda: file(filing(4, accepted_at=START - timedelta(minutes=8))),
            ],
        )  # fmt: skip


async def test_companies_killed_anywhere() -> None:
    ledgers = await check_source(edgar.SOURCE, company_stage, rounds=5)
    assert ledgers[0].skipped["edgar.unreadable"] == 1
    newest = list(ledgers[0].documents.values())[-1]
    assert newest.url.endswith("/Archives/edgar/data/320193/000032019326000004/main.htm")


@asynccontextmanager
async def unknown_stage() -> AsyncIterator[Stage]:
    async with company_stage() as stage:
        ciks = {"ciks": ["CIK999", "CIK320193"]}
        stage.config = msgspec.structs.replace(
            stage.config, settings={**stage.config.settings, **ciks}
        )
        yield stage


async def test_a_company_that_nobody_knows_keeps_no_other_from_being_followed() -> None:
    (ledger,) = await check_source(edgar.SOURCE, unknown_stage, rounds=1)
    assert ledger.skipped["edgar.unknown_company"] and not ledger.errors


def refusing_stage(contact: str):  # type: ignore[no-untyped-def]
    @asynccontextmanager
    async def stage() -> AsyncIterator[Stage]:
        async with (
            EdgarServer(asks_contact=True) as server,
            door_to(server.host_port, contact=contact) as door,
        ):
            server.file(filing(1))
            key = f"e#{filing(1).accession}:0000320193:filer"
            yield Stage(
                config=config(server), fetcher=door,
                expected=lambda: {key: [said(filing(1))]} if contact else {},
                ends_with="" if contact else "source.forbidden",
            )  # fmt: skip

    return stage


@pytest.mark.parametrize("contact", ["", "desk@paper.example"])
async def test_the_sec_wants_a_contact(contact: str) -> None:
    await check_source(edgar.SOURCE, refusing_stage(contact), rounds=1)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("edgar", "edgar"),
        ("https://www.sec.gov/cgi-bin/browse-edgar?action=getcurrent", "edgar"),
        ("CIK0000320193", "edgar:320193"),
        ("https://www.sec.gov/cgi-bin/browse-edgar?action=getcompany&CIK=0000320193",
         "edgar:320193"),
        ("https://data.sec.gov/submissions/CIK0000320193.json", "edgar:320193"),
        ("https://www.sec.gov/Archives/edgar/data/320193/", "edgar:320193"),
        ("https://www.sec.gov/news/pressreleases.rss", ""),
        ("320193", ""),
    ],
)  # fmt: skip
def test_identify(text: str, name: str) -> None:
    found = edgar.identify(text)
    assert (found.name if found else "") == name


def test_a_cik_is_a_number() -> None:
    assert edgar.EdgarSettings(ciks=("320193",)).ciks == ("0000320193",)
    with pytest.raises(ValidationError, match="at most ten digits"):
        edgar.EdgarSettings(ciks=("Apple",))
