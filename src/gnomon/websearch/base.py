"""What a web search is: `search(q, since, n) -> hits`, its budget, and what can go wrong.

Errors of every service are told alike: UpstreamTerminal `search.key` (no key, or a wrong one),
`search.refused` (the query is not taken), `search.credit` (nothing left to spend there),
UpstreamTransient `search.budget` (our own budget is used up) and those of the door, ContentError
`search.unreadable`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

import msgspec

from gnomon.clock import Clock, to_us
from gnomon.errors import GnomonError, UpstreamTransient
from gnomon.extract.urls import canonical_url

_DAY_US = 86_400_000_000


class Hit(msgspec.Struct, frozen=True, kw_only=True):
    """One result, as the service tells it. Plain text; third-party words."""

    url: str
    title: str
    snippet: str = ""
    published_at: datetime | None = None
    updated_at: datetime | None = None
    lang: str = ""
    provider: str = ""
    extra: Mapping[str, Any] = {}
    """What else the service says: score, author, engines. JSON values only."""


class WebSearch(Protocol):
    """One service. Not for several loops at once."""

    @property
    def name(self) -> str:
        """The service's short name."""
        ...

    async def search(self, q: str, since: datetime | None = None, n: int = 10) -> Sequence[Hit]:
        """At most `n` results for `q`, in the service's order; dated before `since` none."""
        ...


class Budget(msgspec.Struct, omit_defaults=True):
    """What may be asked of one service in a UTC day, and what was. Can be kept in a cursor."""

    requests_per_day: int = 0
    """0: no bound of our own."""
    usd_per_day: float = 0.0
    day: int = -1
    requests: int = 0
    usd: float = 0.0

    def spend(self, name: str, usd: float, now: datetime) -> None:
        """Count one request in advance. Raises UpstreamTransient `search.budget`."""
        us = to_us(now)
        if us // _DAY_US != self.day:
            self.day, self.requests, self.usd = us // _DAY_US, 0, 0.0
        over = ""
        if self.requests_per_day and self.requests >= self.requests_per_day:
            over = f"{self.requests_per_day:,} requests"
        elif self.usd_per_day and self.usd + usd > self.usd_per_day + 1e-9:
            over = f"${self.usd_per_day:g}"
        if over:
            raise UpstreamTransient(
                f"Today's budget for {name} ({over}) is used up.",
                code="search.budget",
                retry_after_s=((self.day + 1) * _DAY_US - us) / 1e6,
                hint="It goes on at midnight UTC; raise the budget if that is too late.",
                provider=name,
            )
        self.requests += 1
        self.usd += usd


class Pace:
    """At least `gap_s` between two requests, in the clock's time."""

    def __init__(self, clock: Clock, gap_s: float) -> None:
        self._clock = clock
        self._gap_s = gap_s
        self._next_s = float("-inf")
        self._turn = asyncio.Lock()

    async def wait(self) -> None:
        """Until the next request may be made."""
        async with self._turn:
            wait_s = self._next_s - self._clock.monotonic()
            if wait_s > 0:
                await self._clock.sleep(wait_s)
            self._next_s = self._clock.monotonic() + self._gap_s


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What several services found together."""

    hits: tuple[Hit, ...]
    """One for each address, in the order of their best rank; the newest date is kept."""
    failed: Mapping[str, str] = {}
    """By service, why it brought nothing, in a sentence."""


async def together(
    searches: Sequence[WebSearch], q: str, since: datetime | None = None, n: int = 10
) -> Found:
    """Ask all at once, and fold results with one address. A service that fails stops no other."""

    async def one(search: WebSearch) -> Sequence[Hit] | GnomonError:
        try:
            return await search.search(q, since, n)
        except GnomonError as error:
            return error

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(search)) for search in searches]
    ranked: dict[str, tuple[int, Hit]] = {}
    failed: dict[str, str] = {}
    for search, task in zip(searches, tasks, strict=True):
        result = task.result()
        if isinstance(result, GnomonError):
            failed[search.name] = str(result)
            continue
        for rank, hit in enumerate(result):
            address = canonical_url(hit.url)
            known = ranked.get(address)
            if known is None:
                ranked[address] = (rank, hit)
            else:
                best = min(known, (rank, hit), key=lambda pair: pair[0])
                dates = [h.published_at for h in (known[1], hit) if h.published_at is not None]
                newest = max(dates, default=None)
                ranked[address] = (best[0], msgspec.structs.replace(best[1], published_at=newest))
    hits = [hit for _, hit in sorted(ranked.values(), key=lambda pair: pair[0])]
    return Found(hits=tuple(hits[:n]), failed=failed)


def recent(hits: Sequence[Hit], since: datetime | None, n: int) -> list[Hit]:
    """At most `n` of them, without those that are dated before `since`."""
    if since is not None:
        hits = [h for h in hits if (h.published_at or h.updated_at or since) >= since]
    return list(hits[:n])


def days_back(since: datetime | None, now: datetime) -> float | None:
    """How many days `since` lies back; None for no bound."""
    return None if since is None else max((now - since) / timedelta(days=1), 0.0)
