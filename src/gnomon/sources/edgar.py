"""SEC EDGAR: filings as they come in, of everybody or of chosen companies.

Of everybody by the Atom feed of current filings, which is paged back to the last filing known; of
companies by their submissions. A filing is never edited: an amendment is a filing of its own. The
SEC wants to know who asks (`net.contact`), and at most ten requests a second, which the door's
pacing keeps. What ran past the pages that the SEC serves is a gap.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec
from pydantic import Field, field_validator

from gnomon.clock import from_us, to_us
from gnomon.errors import ContentError, UpstreamTerminal, UpstreamTransient
from gnomon.extract.base import FeedEntry
from gnomon.extract.dates import Dates
from gnomon.extract.feeds import parse_feed
from gnomon.sources.base import Context, SourceSettings, SourceSpec, require_contact
from gnomon.sources.polling import (
    REFUSED_RETRY_S,
    ask,
    short_hash,
    web_address,
    why_unreadable,
)
from gnomon.sources.remembered import Remembered
from gnomon.types import Batch, Cursor, Document, Gap, Policy, SourceConfig, Upsert

_PAGE = 100
_MAX_PAGES = 20
"""The SEC pages current filings back to about 2,000."""
_REMEMBERED = 1_500
_MAX_SUBMISSIONS_BYTES = 20_000_000
_MAX_SUBMISSIONS = 1_000
_TITLE = re.compile(r"^(?P<form>.+?) - (?P<name>.+) \((?P<cik>\d{10})\) \((?P<role>[^()]+)\)$")
_ACCESSION = re.compile(r"(\d{10}-\d{2}-\d{6})")
_OVERLAP_US = 2 * 86_400_000_000
"""Filings are listed late now and then."""
_CIK = re.compile(r"(?:CIK)?0*(\d{1,10})", re.IGNORECASE)


class EdgarSettings(SourceSettings):
    """Settings of one EDGAR source."""

    forms: tuple[str, ...] = Field(
        (), description="Only these forms, such as `8-K`; amendments (`8-K/A`) included."
    )
    ciks: tuple[str, ...] = Field(
        (), description="Companies to follow, by CIK number; none follows all current filings."
    )
    backfill_days: float = Field(
        2.0, ge=0, le=3_650, description="How far back the first look at a company goes."
    )
    interval_s: float = Field(300.0, ge=1, description="Time between two looks.")
    url: str = Field("https://www.sec.gov", description="Address of the SEC's site.")
    data_url: str = Field("https://data.sec.gov", description="Address of its data service.")

    @field_validator("ciks")
    @classmethod
    def _digits(cls, ciks: tuple[str, ...]) -> tuple[str, ...]:
        found = [_CIK.fullmatch(cik.strip()) for cik in ciks]
        if not all(found):
            raise ValueError("a CIK is a number of at most ten digits")
        return tuple(f"{int(match[1]):010}" for match in found if match)


class _Memory(Remembered, msgspec.Struct, omit_defaults=True):
    """The cursor, opened."""

    seen: dict[str, None] = {}
    """Short hashes of the filings handed over last, oldest first."""
    newest_us: int = 0
    """When the newest of them was accepted."""
    companies: dict[str, int] = {}
    """By CIK, from when on its filings are wanted; moves on with its newest one."""

    def knows(self, key: str) -> bool:
        return short_hash(key) in self.seen

    def note(self, key: str, document: Document | None) -> None:
        self.seen[short_hash(key)] = None
        for hashed in list(self.seen)[:-_REMEMBERED]:
            del self.seen[hashed]
        if document is not None and document.published_at is not None:
            self.newest_us = max(self.newest_us, to_us(document.published_at))


async def follow(ctx: Context, cursor: Cursor | None) -> AsyncIterator[Batch]:
    """Look for filings for ever; see the module's promise."""
    settings: EdgarSettings = ctx.settings
    if (urlsplit(settings.url).hostname or "").endswith(".sec.gov"):
        require_contact(ctx, "The SEC")
    memory = _Memory.read(cursor) or _Memory()
    look = _companies if settings.ciks else _current
    while True:
        trouble = ""
        try:
            async with aclosing(look(ctx, memory)) as batches:
                async for batch in batches:
                    yield batch
        except ContentError as error:
            ctx.count(error.code)
            known = error.code != "edgar.unknown_company"
            trouble = f"the answer could not be read: {error.message}" if known else str(error)
        wait_s = settings.interval_s * ctx.rng.uniform(1.0, 1.1)
        ctx.heard(state="retrying" if trouble else "", text=trouble, next_in_s=wait_s)
        await ctx.clock.sleep(wait_s)


# -- everybody ---------------------------------------------------------------------------
async def _current(ctx: Context, memory: _Memory) -> AsyncGenerator[Batch, None]:
    """The current filings, back to the last known; oldest first."""
    found: dict[str, Document | None] = {}
    reached = False
    first = not memory.seen
    for page in range(_MAX_PAGES):
        filings = await _page(ctx, page * _PAGE)
        fresh = {key: document for key, document in filings.items() if not memory.knows(key)}
        found |= {key: document for key, document in fresh.items() if key not in found}
        # The list moves while it is paged: one filing that is known proves that nothing is missing.
        reached = len(fresh) < len(filings)
        if first or reached or not filings:
            break
    newest_first = list(found.values())
    dated = sorted(
        (d for d in reversed(newest_first) if d is not None),
        key=lambda d: d.published_at or ctx.clock.now(),
    )
    changes: list[Gap | Upsert] = []
    if not first and not reached and filings:
        changes.append(_gap(memory, dated))
    changes += map(Upsert, dated)
    for key in reversed(found):
        memory.note(key, found[key])
    if found:
        yield Batch(tuple(changes), memory.cursor())


async def _page(ctx: Context, start: int) -> dict[str, Document | None]:
    """One page by key, newest first; None for forms that are not wanted."""
    settings: EdgarSettings = ctx.settings
    query = {"action": "getcurrent", "type": "", "company": "", "dateb": "", "owner": "include"}
    query |= {"start": str(start), "count": str(_PAGE), "output": "atom"}
    if len(settings.forms) == 1:
        query["type"] = settings.forms[0]
    url = f"{settings.url.rstrip('/')}/cgi-bin/browse-edgar?{urlencode(query)}"
    response = await _ask(ctx, url)
    feed = await asyncio.to_thread(
        parse_feed,
        response,
        url=url,
        content_type="application/atom+xml",
        now=ctx.clock.now(),
        future_tolerance=timedelta(seconds=ctx.limits.future_tolerance_s),
    )
    if feed.notes.get("xml.malformed"):
        # Of a page that was cut off nobody knows what is missing.
        raise ContentError(f"{url} is cut off.", code="edgar.cut", hint="It is asked again later.")
    filings: dict[str, Document | None] = {}
    for entry in feed.entries:
        read = _filing(entry, ctx)
        if read is not None:
            filings.setdefault(*read)
    return filings


def _filing(entry: FeedEntry, ctx: Context) -> tuple[str, Document | None] | None:
    title = _TITLE.match(entry.title)
    number = _ACCESSION.search(entry.id) or _ACCESSION.search(entry.url)
    if title is None or number is None:
        ctx.count("edgar.unreadable")
        return None
    form, name, cik, role = title["form"], title["name"], title["cik"], title["role"]
    # Filer and subject of one filing are separate entries, and separate facts.
    key = f"{ctx.config.name}#{number[1]}:{cik}:{role.lower()}"
    if not _wanted(form, ctx.settings.forms):
        ctx.count("edgar.other_form")
        return key, None
    text = f"{name} ({role.lower()}) filed form {form} with the SEC."
    return key, Document(
        key=key,
        source=ctx.config.name,
        kind="release",
        title=f"{name}: {form}",
        text=f"{text}\n\n{entry.text}".strip(),
        url=entry.url,
        author=name,
        lang="en",
        published_at=entry.published_at or entry.updated_at,
        date_source="feed",
        policy=SOURCE.policy,
        extra={"form": form, "cik": cik, "role": role, "accession": number[1]},
    )


def _wanted(form: str, forms: Sequence[str]) -> bool:
    return not forms or any(form == f or form == f"{f}/A" for f in forms)


def _gap(memory: _Memory, dated: Sequence[Document]) -> Gap:
    oldest = next((d.published_at for d in dated if d.published_at), None)
    start = from_us(memory.newest_us) if memory.newest_us else None
    return Gap(
        reason="More was filed between two looks than the SEC lists.",
        start=start,
        end=max(oldest, start) if oldest and start else oldest,
    )


# -- companies ---------------------------------------------------------------------------
async def _companies(ctx: Context, memory: _Memory) -> AsyncGenerator[Batch, None]:
    """What each company filed, by its submissions; oldest first."""
    settings: EdgarSettings = ctx.settings
    first_us = to_us(ctx.clock.now() - timedelta(days=settings.backfill_days))
    troubles: list[ContentError] = []
    for cik in settings.ciks:
        url = f"{settings.data_url.rstrip('/')}/submissions/CIK{cik}.json"
        try:
            body = await _ask(ctx, url)
        except UpstreamTransient as error:
            if error.code != "source.not_found":
                raise
            troubles.append(_unknown(cik))
            continue
        try:
            documents = await asyncio.to_thread(_submissions, body, url, cik, ctx)
        except ContentError as error:
            troubles.append(error)
            continue
        since_us = memory.companies.get(cik, first_us)
        fresh = [
            d
            for d in documents
            if not memory.knows(d.key)
            and d.published_at is not None
            and to_us(d.published_at) >= since_us
        ]
        if not fresh and cik in memory.companies:
            continue
        for document in fresh:
            memory.note(document.key, document)
        newest_us = max((to_us(d.published_at) for d in fresh if d.published_at), default=0)
        memory.companies[cik] = max(since_us, newest_us - _OVERLAP_US)
        yield Batch(tuple(map(Upsert, fresh)), memory.cursor())
    if troubles:
        raise troubles[0]  # once all others had their turn


def _unknown(cik: str) -> ContentError:
    return ContentError(
        f"The SEC knows no company with the CIK {cik}.",
        code="edgar.unknown_company",
        hint="Check the setting ciks; the others are followed.",
    )


def _submissions(body: bytes, url: str, cik: str, ctx: Context) -> list[Document]:
    try:
        data = json.loads(body)
        name, recent = str(data["name"]), data["filings"]["recent"]
        rows = [
            dict(zip(recent, values, strict=False))
            for values in zip(*recent.values(), strict=False)
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ContentError(
            f"{url} is not what the SEC's submissions look like ({why_unreadable(error)}).",
            code="edgar.unreadable",
            hint="It is asked again later.",
        ) from None
    dates = Dates(ctx.clock.now(), timedelta(seconds=ctx.limits.future_tolerance_s))
    found = [_submission(row, name, cik, dates, ctx) for row in rows[:_MAX_SUBMISSIONS]]
    for note, n in dates.notes.items():
        ctx.count(note, n)
    return [d for d in reversed(found) if d is not None]


def _submission(
    row: Mapping[str, Any], name: str, cik: str, dates: Dates, ctx: Context
) -> Document | None:
    number = _ACCESSION.fullmatch(str(row.get("accessionNumber", "")))
    form = str(row.get("form", ""))
    if number is None or not form:
        ctx.count("edgar.unreadable")
        return None
    if not _wanted(form, ctx.settings.forms):
        return None
    accepted: datetime | None = dates.of_text(str(row.get("acceptanceDateTime", "")))
    described = str(row.get("primaryDocDescription") or "")
    items = str(row.get("items") or "")
    lines = [f"{name} filed form {form} with the SEC."]
    lines += [f"It is described as: {described}."] if described and described != form else []
    lines += [f"Items: {items}."] if items else []
    lines += [f"Period of report: {row['reportDate']}."] if row.get("reportDate") else []
    folder = number[1].replace("-", "")
    site = ctx.settings.url.rstrip("/")
    document = str(row.get("primaryDocument") or f"{number[1]}-index.htm")
    return Document(
        key=f"{ctx.config.name}#{number[1]}:{cik}:filer",
        source=ctx.config.name,
        kind="release",
        title=f"{name}: {form}",
        text="\n\n".join(lines),
        url=f"{site}/Archives/edgar/data/{int(cik)}/{folder}/{document}",
        author=name,
        lang="en",
        published_at=accepted,
        date_source="api" if accepted else "",
        policy=SOURCE.policy,
        extra={"form": form, "cik": cik, "accession": number[1], "items": items},
    )


async def _ask(ctx: Context, url: str) -> bytes:
    try:
        response = await ask(ctx, url, purpose="feed", max_body_bytes=_MAX_SUBMISSIONS_BYTES)
    except UpstreamTerminal as error:
        if error.code != "source.forbidden":
            raise
        raise UpstreamTerminal(
            f"{url} answers {error.fields.get('status')}: the SEC wants to know who asks.",
            code="source.forbidden",
            hint="Set net.contact to an e-mail address. It also refuses for ten minutes whoever "
            "asks more than ten times a second.",
            url=url,
        ) from None
    if response.status != 200:
        raise UpstreamTransient(
            f"{url} answers {response.status}: there are no filings.",
            code="source.not_found",
            retry_after_s=REFUSED_RETRY_S,
            hint="Check the settings ciks and url.",
            url=url,
        )
    return response.body


def identify(text: str) -> SourceConfig | None:
    """`edgar`, a CIK (`CIK0000320193`), or an address of a company at sec.gov."""
    text = text.strip()
    if text.lower() in ("edgar", "sec"):
        return SourceConfig(name="edgar", type="edgar", title=SOURCE.title)
    cik = ""
    if match := re.fullmatch(r"CIK0*(\d{1,10})", text, re.IGNORECASE):
        cik = match[1]
    url = web_address(text)
    parts = urlsplit(url)
    if parts.hostname in ("www.sec.gov", "sec.gov", "data.sec.gov"):
        asked = parse_qs(parts.query).get("CIK", [""])[0]
        in_path = re.search(r"/(?:data/|submissions/CIK)0*(\d{1,10})(?:/|\.json|$)", parts.path)
        cik = asked if asked.isdecimal() else in_path[1] if in_path else ""
        if not cik and "browse-edgar" in parts.path and "getcurrent" in parts.query:
            return SourceConfig(name="edgar", type="edgar", title=SOURCE.title)
    if not cik or len(cik) > 10:
        return None
    return SourceConfig(
        name=f"edgar:{int(cik)}",
        type="edgar",
        title=f"SEC filings of CIK {int(cik)}",
        settings={"ciks": [f"{int(cik):010}"]},
    )


SOURCE = SourceSpec(
    name="edgar",
    title="SEC EDGAR filings",
    docs_url="reference/sources/edgar",
    follow=follow,
    settings=EdgarSettings,
    needs=("contact",),
    policy=Policy(),
    identify=identify,
    examples=("CIK0000320193",),
)
