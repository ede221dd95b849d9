"""Pages that a source only points to: fetched politely under robots rules, read, or left alone.

Sitemaps, GDELT and searches discover addresses; the words come from the pages themselves. How many
are fetched in an hour is bounded, and the bound survives a restart because it lives in the cursor.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from gnomon.clock import to_us
from gnomon.errors import ContentError, Transient, UpstreamError
from gnomon.extract.base import Page
from gnomon.extract.html import extract_page
from gnomon.sources.base import Context
from gnomon.types import Document, Policy

_HOUR_US = 3_600_000_000
_ACCEPT = {"accept": "text/html, application/xhtml+xml, text/plain;q=0.8"}


class Tip(msgspec.Struct, frozen=True, kw_only=True):
    """What a source claims about a page that it points to."""

    key: str
    url: str
    title: str = ""
    text: str = ""
    """What is delivered where the page itself cannot be had; the title if this is empty."""
    lang: str = ""
    published_at: datetime | None = None
    date_source: str = ""
    extra: Mapping[str, Any] = {}

    def document(self, source: str, policy: Policy, kind: str = "article") -> Document | None:
        """What the source itself says about the page; None if that is nothing."""
        text = self.text or self.title
        if not text.strip():
            return None
        return Document(
            key=self.key,
            source=source,
            kind=kind,
            title=self.title,
            text=text,
            url=self.url,
            lang=self.lang or "und",
            published_at=self.published_at,
            date_source=self.date_source if self.published_at else "",
            policy=policy,
            extra={"only": "reference", **self.extra},
        )


def claims_of(page: Page) -> dict[str, Any]:
    """What a page says of itself beyond the fields of a document, for its `extra`.

    `published_day` is the publisher's own calendar day, where UTC has another.
    """
    claims = {"site": page.site} if page.site else {}
    day, moment = page.published_day, page.published_at
    if day is not None and moment is not None and day != moment.date():
        claims["published_day"] = day.isoformat()
    return claims


class Read(msgspec.Struct, frozen=True, kw_only=True):
    """What came of reading a page."""

    document: Document | None = None
    outcome: Literal["read", "gone", "refused", "failed"] = "read"
    """`failed` may pass and is worth another try; `refused` is for good."""


class Allowance(msgspec.Struct, omit_defaults=True):
    """Fetches of this hour; part of a cursor."""

    hour: int = -1
    used: int = 0

    def take(self, now: datetime, per_hour: int) -> float:
        """Take one and return 0, or return the seconds until there are some again."""
        us = to_us(now)
        hour = us // _HOUR_US
        if hour != self.hour:
            self.hour, self.used = hour, 0
        if self.used >= per_hour:
            return ((hour + 1) * _HOUR_US - us) / 1e6
        self.used += 1
        return 0.0


async def read_page(ctx: Context, tip: Tip, *, policy: Policy, kind: str = "article") -> Read:
    """Fetch the page of a tip and make a document of it.

    Where robots rules, a refusal or unreadable content stand in the way, what the tip itself says
    is the document, if it says anything; each such case is counted by its reason.
    """
    try:
        response = await ctx.fetcher.fetch(tip.url, purpose="crawl", headers=_ACCEPT)
        if response.status in (404, 410):
            ctx.count(f"page.{response.status}")
            return Read(outcome="gone")
        if response.status != 200:
            ctx.count(f"page.{response.status}")
            return Read(document=tip.document(ctx.config.name, policy, kind), outcome="refused")
        page = await asyncio.to_thread(
            extract_page,
            response.body,
            url=response.url,
            content_type=response.headers.get("content-type", ""),
            now=ctx.clock.now(),
            future_tolerance=timedelta(seconds=ctx.limits.future_tolerance_s),
        )
    except (UpstreamError, ContentError) as error:
        ctx.count(error.code)
        if isinstance(error, Transient):
            return Read(document=tip.document(ctx.config.name, policy, kind), outcome="failed")
        return Read(document=tip.document(ctx.config.name, policy, kind), outcome="refused")
    if not page.text:
        ctx.count("page.empty")
        return Read(document=tip.document(ctx.config.name, policy, kind), outcome="refused")
    dated, claims = tip.published_at is not None, claims_of(page)
    if dated:
        claims.pop("published_day", None)
    document = Document(
        key=tip.key,
        source=ctx.config.name,
        kind=kind,
        title=page.title or tip.title,
        text=page.text,
        url=page.canonical_url or tip.url,
        author=page.author,
        lang=page.lang if page.lang not in ("", "und") else tip.lang or "und",
        published_at=tip.published_at if dated else page.published_at,
        updated_at=page.updated_at,
        date_source=tip.date_source if dated else page.date_source,
        policy=response.usage.limit(policy),
        extra={**claims, **tip.extra},
    )
    return Read(document=document)


async def read_pages(
    ctx: Context, tips: Sequence[Tip], *, policy: Policy, kind: str = "article"
) -> list[Read]:
    """Several pages at once, in the order of the tips. The door paces requests to one host."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(read_page(ctx, tip, policy=policy, kind=kind)) for tip in tips]
    return [task.result() for task in tasks]
