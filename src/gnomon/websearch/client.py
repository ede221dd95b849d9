"""A web search through the door: paced, within its budget, with errors that say what to do."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from gnomon.clock import Clock
from gnomon.errors import ConfigError, ContentError, UpstreamTerminal
from gnomon.extract.dates import Dates
from gnomon.net.base import Fetcher, Purpose, Response
from gnomon.websearch.base import Budget, Hit, Pace, WebSearch, recent
from gnomon.websearch.services import SERVICES, Query, Service

MAX_QUERY_CHARS = 400
_TOLERANCE = timedelta(hours=1)
_SAID_CHARS = 200
_NO_KEY = (401, 403, 407)
_NO_CREDIT = (402, 432, 433)
"""Tavily answers 432 and 433 when a plan is used up."""


def open_search(
    name: str,
    *,
    fetcher: Fetcher,
    clock: Clock,
    key: str = "",
    url: str = "",
    lang: str = "",
    budget: Budget | None = None,
    purpose: Purpose = "feed",
) -> WebSearch:
    """The service called `name`, ready to be asked.

    `url` replaces its address and is needed for a service of your own. `purpose` `user` does not
    wait for a host's turn: for questions that a person asks. Raises ConfigError.
    """
    service = SERVICES.get(name)
    if service is None:
        raise ConfigError(
            f"No web search is called {name!r}.",
            code="search.unknown",
            hint=f"Known: {', '.join(SERVICES)}.",
        )
    if service.needs_key and not key:
        raise ConfigError(
            f"{service.title} needs a key.",
            code="search.key",
            hint="Give it as `env:NAME` or `file:PATH`.",
        )
    base = (url or service.base).rstrip("/")
    if not base:
        raise ConfigError(
            f"{service.title} needs an address.",
            code="search.url",
            hint="Give its url, and allow it by net.allow if it is in your own network.",
        )
    return _Client(service, fetcher, clock, key, base, lang, budget or Budget(), purpose)


class _Client:
    def __init__(
        self,
        service: Service,
        fetcher: Fetcher,
        clock: Clock,
        key: str,
        base: str,
        lang: str,
        budget: Budget,
        purpose: Purpose,
    ) -> None:
        self.name = service.name
        self.notes: Counter[str] = Counter()
        """What was wrong in the answers, by short reason."""
        self._service = service
        self._fetcher = fetcher
        self._clock = clock
        self._key = key
        self._base = base
        self._lang = lang
        self._budget = budget
        self._purpose = purpose
        self._pace = Pace(clock, service.gap_s)

    async def search(self, q: str, since: datetime | None = None, n: int = 10) -> Sequence[Hit]:
        """See `WebSearch.search`."""
        service = self._service
        q = " ".join(q.split())[:MAX_QUERY_CHARS]
        if not q or n < 1:
            return []
        await self._pace.wait()
        now = self._clock.now()
        self._budget.spend(service.title, service.usd, now)
        query = Query(
            q=q,
            since=since,
            n=min(n, service.most),
            now=now,
            base=self._base,
            key=self._key,
            lang=self._lang,
        )
        wire = service.request(query)
        response = await self._fetcher.fetch(
            wire.url,
            purpose=self._purpose,
            method=wire.method,
            headers=wire.headers,
            content=wire.content,
        )
        data = self._read(response)
        dates = Dates(now, _TOLERANCE)
        hits = []
        for hit in service.read(data, query, dates):
            if hit.url and (hit.title or hit.snippet):
                hits.append(msgspec.structs.replace(hit, provider=service.name))
            else:
                self.notes["hit.unreadable"] += 1
        self.notes.update(dates.notes)
        return recent(hits, since, n)

    def _read(self, response: Response) -> Any:
        service, status = self._service, response.status
        said = response.body[:4_000].decode("utf-8", "replace")
        data: Any = None
        try:
            data = json.loads(response.body)
        except (ValueError, RecursionError):
            if status == 200:
                # GDELT explains itself in plain words, with status 200.
                plain = " ".join(said.split())[:_SAID_CHARS]
                if plain and not plain.startswith("<"):
                    raise self._refused("search.refused", f"says: {plain}") from None
                raise ContentError(
                    f"{service.title} answers something that is no JSON.",
                    code="search.unreadable",
                    hint=service.hint or "It is asked again later.",
                ) from None
        if status == 200:
            if isinstance(data, dict) and isinstance(data.get("error"), list | dict | str):
                raise self._refused("search.refused", f"says: {_message(data)}")
            if not isinstance(data, dict):
                raise ContentError(
                    f"{service.title} answers JSON of another shape.",
                    code="search.unreadable",
                    hint=service.hint or "It is asked again later.",
                )
            return data
        explained = f"answers {status}{f': {message}' if (message := _message(data)) else ''}"
        if status in _NO_KEY:
            raise self._refused("search.key", explained)
        if status in _NO_CREDIT:
            raise self._refused("search.credit", explained)
        raise self._refused("search.refused", explained)

    def _refused(self, code: str, what: str) -> UpstreamTerminal:
        # A hint about the key says nothing of a query that is refused.
        about_key = self._service.needs_key and code == "search.refused"
        hint = "" if about_key else self._service.hint
        return UpstreamTerminal(
            f"{self._service.title} {what.rstrip('.')}.",
            code=code,
            hint=hint or "Check the query.",
            provider=self.name,
        )


def _message(data: Any) -> str:
    """What an error answer says, in whichever field the service says it."""
    for name in ("detail", "error", "message", "msg", "info"):
        if isinstance(data, list) and data:
            data = data[0]
        if isinstance(data, dict) and data.get(name):
            data = data[name]
    return " ".join(data.split())[:_SAID_CHARS] if isinstance(data, str) else ""
