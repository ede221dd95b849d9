"""Pages that answers open: through the guarded door, and recorded before they are cited."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import TypeAlias
from urllib.parse import urlsplit

from gnomon.answer.text import passages
from gnomon.clock import Clock
from gnomon.errors import ContentError, UpstreamTerminal
from gnomon.extract.base import Page
from gnomon.extract.html import extract_page
from gnomon.net.base import Fetcher
from gnomon.types import Document, Passage, Policy

SOURCE = "opened"
"""The source under which opened pages are recorded."""
MAX_PASSAGES = 60
_LINK = re.compile(r"https?://[^\s<>\"'()\[\]{}]{4,500}")
_HTML = ("text/html", "application/xhtml+xml", "text/plain")
_MAX_BYTES = 5_000_000
_TIMEOUT_S = 20.0

Keep: TypeAlias = Callable[[Document], Awaitable[Document]]
"""Records an opened page; returns the version as the record holds it."""


class Pages:
    """Opens pages. What was opened is a document like any other: dated, quotable, searchable."""

    def __init__(self, fetcher: Fetcher, keep: Keep, clock: Clock) -> None:
        """Fetch through `fetcher`, store through `keep`."""
        self._fetcher = fetcher
        self._keep = keep
        self._clock = clock

    async def open(self, url: str) -> tuple[Document, tuple[str, ...]]:
        """The page as it was recorded, and the links on it. What its publisher wishes it not to be
        used for is in its policy.

        Raises UpstreamError (refused by the guard, by robots.txt, unreachable) and ContentError
        (no page, nothing to read on it, or no answers may be made of it).
        """
        if urlsplit(url).scheme not in ("http", "https"):
            raise UpstreamTerminal(
                f"{url[:200]} is no web address.", code="net.scheme", hint="Open http(s) pages."
            )
        response = await self._fetcher.fetch(
            url, purpose="crawl", accept=_HTML, max_body_bytes=_MAX_BYTES, timeout_s=_TIMEOUT_S
        )
        if response.status >= 400:
            raise UpstreamTerminal(
                f"{url[:200]} answers {response.status}.", code="net.status", status=response.status
            )
        page: Page = await asyncio.to_thread(
            extract_page,
            response.body,
            url=response.url,
            content_type=response.headers.get("content-type", ""),
            now=self._clock.now(),
        )
        if not page.text.strip():
            raise ContentError(f"{url[:200]} holds no text to read.", code="page.empty")
        policy = response.usage.limit(Policy())
        if not policy.snippet:
            raise ContentError(
                f"The publisher of {url[:200]} wishes no answers made of it.", code="page.unwished"
            )
        address = page.canonical_url or page.url
        document = Document(
            key=f"page:{address}",
            source=SOURCE,
            kind="page",
            text=page.text,
            title=page.title,
            url=address,
            author=page.author,
            lang=page.lang,
            published_at=page.published_at,
            updated_at=page.updated_at,
            date_source=page.date_source,
            policy=policy,
        )
        return await self._keep(document), page.links


def links_in(text: str) -> list[str]:
    """The web addresses that stand in `text`, without repeats, in order."""
    return list(dict.fromkeys(m.rstrip(".,;:!?…") for m in _LINK.findall(text)))


def cut(document: Document) -> list[Passage]:
    """The passages of an opened page, in order."""
    return [
        Passage(document=document, start=s.start, end=s.end, text=document.text[s.start : s.end])
        for s in passages(document.text)
    ][:MAX_PASSAGES]
