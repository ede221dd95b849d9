"""Looking on the web for what the record does not say: search, open the best pages, record them.

Nothing is answered from a search result. Its page is opened through the guarded door, under robots
rules and what the publisher wishes, and stored; then it is evidence like any other, with a saved
copy. What was searched, and what could not be opened, is told to the reader.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TypeAlias
from urllib.parse import urlsplit

import msgspec

from gnomon.answer.base import Plan, Question
from gnomon.answer.pages import Pages, links_in
from gnomon.answer.words import content
from gnomon.clock import Clock
from gnomon.errors import ConfigError, GnomonError, StoreError, UpstreamTransient
from gnomon.extract.urls import canonical_url
from gnomon.log import get_logger
from gnomon.metrics import WEB_LOOKS
from gnomon.net.base import Fetcher
from gnomon.net.budget import Budget, Metered
from gnomon.settings import WebSearchSettings
from gnomon.types import Document, Passage
from gnomon.websearch.base import Budget as SearchBudget
from gnomon.websearch.base import Found, Hit, WebSearch, together
from gnomon.websearch.client import open_search
from gnomon.websearch.services import SERVICES

Indexed: TypeAlias = Callable[[int, float], Awaitable[bool]]
"""Waits until everything up to a sequence number is searchable, so many seconds at most."""

AGAIN_S = 300.0
"""The same words are not searched again sooner."""
REST_S = 60.0
"""How long nothing is asked after no service could be reached."""
_SEARCH_SHARE = 0.5
"""Of the time for the web, how much the search itself may take."""
_INDEX_S = 2.0
_RESULTS = 10
_PER_HOST = 2
_POSTS = 4
"""So many of the best passages are looked through for pages that a post names."""
_LINKS = 2
_REMEMBERED = 500
_REASON_CHARS = 160
_log = get_logger()


class Looked(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    notes: tuple[str, ...] = ()
    documents: tuple[Document, ...] = ()
    """The pages, as the record holds them now."""


class Web:
    """Looks on the web for questions. Belongs to one event loop."""

    def __init__(
        self,
        searches: Sequence[WebSearch],
        pages: Pages,
        clock: Clock,
        indexed: Indexed,
        *,
        most_pages: int,
        seconds: float,
    ) -> None:
        """Ask `searches`, open at most `most_pages`, and take at most `seconds` (real ones: a
        person waits)."""
        self._searches = [_Capped(s, seconds * _SEARCH_SHARE) for s in searches]
        self._pages = pages
        self._clock = clock
        self._indexed = indexed
        self._most_pages = most_pages
        self._seconds = seconds
        self._asked: OrderedDict[str, float] = OrderedDict()
        self._rests_until_s = float("-inf")

    def may(self, question: Question, asked: Plan) -> bool:
        """Whether the web may be asked at all.

        Never about the past, whose pages are gone, and never where the asker chose what may be
        cited and a page could not be among it.
        """
        if asked.as_of is not None or question.as_of is not None:
            return False
        chosen = question.sources or question.within or question.authors
        if chosen or (question.kinds and "page" not in question.kinds):
            return False
        now = self._clock.now()
        ended = any(until is not None and until <= now for until in (question.until, asked.until))
        return not ended and bool(query_of(asked))

    async def look(
        self, question: Question, asked: Plan, passages: Sequence[Passage] = ()
    ) -> Looked:
        """Search, and open what was found and what the best posts among `passages` point to.

        What fails is in the notes; only StoreError comes through.
        """
        query, now_s = query_of(asked), self._clock.monotonic()
        since = max((m for m in (question.since, asked.since) if m is not None), default=None)
        if now_s < self._rests_until_s:
            WEB_LOOKS.labels("resting").inc()
            return Looked(
                notes=("The web was not searched: it could not be reached a moment ago.",)
            )
        before_s = self._asked.get(query)
        if before_s is not None and now_s - before_s < AGAIN_S:
            WEB_LOOKS.labels("remembered").inc()
            ago = max(1, round((now_s - before_s) / 60))
            return Looked(
                notes=(f"The web was searched for this within the last {ago} min: not again.",)
            )
        ends_s = asyncio.get_running_loop().time() + self._seconds
        found = await together(self._searches, query, since, _RESULTS)
        notes = [self._searched(query, found)]
        if len(found.failed) == len(self._searches):
            self._rests_until_s = self._clock.monotonic() + REST_S
            WEB_LOOKS.labels("failed").inc()
            return Looked(notes=tuple(n for n in notes if n))
        self._remember(query)
        urls = [*_pointed(passages), *(hit.url for hit in found.hits)]
        documents, refused = await self._open(_best(urls, question, self._most_pages), ends_s)
        WEB_LOOKS.labels("opened" if documents else "nothing").inc()
        if documents:
            left_s = max(ends_s - asyncio.get_running_loop().time(), _INDEX_S)
            await self._indexed(max(d.seq for d in documents), left_s)
        opened = ", ".join(d.title or d.url for d in documents)
        notes.append(f"Opened and recorded: {opened}." if opened else "")
        if refused:
            told = "; ".join(f"{_shown(url)} ({why})" for url, why in refused)
            notes.append(f"Could not be opened: {told}.")
        return Looked(notes=tuple(n for n in notes if n), documents=tuple(documents))

    async def _open(
        self, urls: Sequence[str], ends_s: float
    ) -> tuple[list[Document], list[tuple[str, str]]]:
        """The pages that could be opened in time, and why the others could not."""
        tasks = {asyncio.create_task(self._pages.open(url)): url for url in urls}
        if not tasks:
            return [], []
        try:
            left_s = ends_s - asyncio.get_running_loop().time()
            await asyncio.wait(tasks, timeout=max(left_s, 0.0))
        finally:
            for task in tasks:
                task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        documents, refused = [], []
        for url, outcome in zip(tasks.values(), outcomes, strict=True):
            match outcome:
                case asyncio.CancelledError():
                    refused.append((url, "it took too long"))
                case StoreError():
                    raise outcome
                case GnomonError():
                    refused.append((url, outcome.message[:_REASON_CHARS].rstrip(".")))
                case BaseException():
                    raise outcome
                case (document, _):
                    documents.append(document)
        return documents, refused

    def _searched(self, query: str, found: Found) -> str:
        failed = " ".join(dict.fromkeys(found.failed.values()))
        if len(found.failed) == len(self._searches):
            _log.warning("answer.web_failed", reason=failed)
            return f"The web could not be searched: {failed}"
        names = ", ".join(_title(s.name) for s in self._searches if s.name not in found.failed)
        n = len(found.hits)
        results = f"{n} result{'' if n == 1 else 's'}" if n else "nothing was found"
        also = f" {failed}" if failed else ""
        return f"Searched the web ({names}) for “{query}”: {results}.{also}"

    def _remember(self, query: str) -> None:
        self._asked[query] = self._clock.monotonic()
        self._asked.move_to_end(query)
        while len(self._asked) > _REMEMBERED:
            self._asked.popitem(last=False)


class _Capped:
    """A search that fails when it takes too long."""

    def __init__(self, search: WebSearch, seconds: float) -> None:
        self._search = search
        self._seconds = seconds

    @property
    def name(self) -> str:
        return self._search.name

    async def search(self, q: str, since: datetime | None = None, n: int = 10) -> Sequence[Hit]:
        try:
            async with asyncio.timeout(self._seconds):
                return await self._search.search(q, since, n)
        except TimeoutError:
            raise UpstreamTransient(
                f"{_title(self.name)} did not answer within {self._seconds:g} s.",
                code="search.timeout",
                provider=self.name,
            ) from None


def open_web(
    settings: WebSearchSettings,
    keep: Callable[[Document], Awaitable[Document]],
    *,
    fetcher: Fetcher,
    clock: Clock,
    indexed: Indexed,
) -> Web | None:
    """The web as the settings allow it; None where no service is configured. Raises ConfigError."""
    names, keys = services_asked(settings), _keys(settings)
    given = {*keys, *(["searxng"] if settings.searxng_url else [])}
    if not names:
        return None
    budget = Budget("The web search of answers", clock, section="websearch")
    budget.max_requests = settings.max_requests_per_day
    budget.max_bytes = settings.max_mib_per_day * 1_048_576
    metered = Metered(fetcher, budget)
    for name in names:
        if (name == "searxng" or SERVICES[name].needs_key) and name not in given:
            setting = f"websearch.{name}_{'url' if name == 'searxng' else 'key'}"
            raise ConfigError(
                f"websearch.services names {name}, and {setting} is not set.",
                code="config.websearch",
                hint=f"Set {setting}, or leave {name} out.",
            )
    searches = [
        open_search(
            name,
            fetcher=metered,
            clock=clock,
            key=keys.get(name, ""),
            url=settings.searxng_url if name == "searxng" else "",
            budget=SearchBudget(
                requests_per_day=settings.searches_per_day, usd_per_day=settings.usd_per_day
            ),
            purpose="user",
        )
        for name in names
    ]
    return Web(
        searches,
        Pages(metered, keep, clock),
        clock,
        indexed,
        most_pages=settings.pages,
        seconds=settings.seconds,
    )


def services_asked(settings: WebSearchSettings) -> tuple[str, ...]:
    """The services that the settings name, else those whose key or address is set."""
    keys = _keys(settings)
    return settings.services or tuple(
        name for name in SERVICES if name in keys or (name == "searxng" and settings.searxng_url)
    )


def _keys(settings: WebSearchSettings) -> dict[str, str]:
    found = {name: getattr(settings, f"{name}_key", None) for name in SERVICES}
    return {name: secret.get_secret_value() for name, secret in found.items() if secret is not None}


def query_of(asked: Plan) -> str:
    """What a service is asked: the words of the question that say something."""
    return " ".join(dict.fromkeys(w.text for w in content(asked.search_text)))


def _pointed(passages: Sequence[Passage]) -> list[str]:
    """The pages that the best posts name."""
    posts = [p for p in passages[:_POSTS] if p.document.kind in ("post", "comment")]
    return [url for p in posts for url in links_in(p.document.text)][:_LINKS]


def _best(urls: Sequence[str], question: Question, most: int) -> list[str]:
    """The first addresses, few from each host, of domains that the asker allows."""
    per_host: Counter[str] = Counter()
    seen: set[str] = set()
    chosen = []
    for url in urls:
        address = canonical_url(url)
        host = urlsplit(address).hostname or ""
        if not host or address in seen or not _allowed(host, question):
            continue
        seen.add(address)
        per_host[host] += 1
        if per_host[host] <= _PER_HOST:
            chosen.append(url)
    return chosen[:most]


def _allowed(host: str, question: Question) -> bool:
    def within(domains: Sequence[str]) -> bool:
        return any(host == d or host.endswith(f".{d}") for d in domains)

    return not within(question.not_domains) and (not question.domains or within(question.domains))


def _title(name: str) -> str:
    return SERVICES[name].title


def _shown(url: str) -> str:
    return url if len(url) <= 100 else url[:99] + "…"
