"""`/v1/search`: what was seen, found again, without a model."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from gnomon.index.base import Hit, Mode
from gnomon.index.base import Query as IndexQuery
from gnomon.serve.compose import is_web, saved_url
from gnomon.serve.moments import moment
from gnomon.serve.services import Services
from gnomon.serve.wire import JsonResponse, base_url, services_of
from gnomon.types import Document

router = APIRouter(tags=["Search"])

SNIPPET_CHARS = 280
_SCANNED_CHARS = 20_000
"""How far into a document a snippet is looked for."""

Many = Annotated[list[str] | None, Query(max_length=50)]
Moment = Annotated[
    str | None, Query(max_length=64, description="ISO 8601 with a zone, or `2 hours ago`.")
]


@router.get("/v1/search", summary="Search what was seen")
def search(
    request: Request,
    q: Annotated[str, Query(max_length=2_000, description='Words, "phrases", +must, -not.')] = "",
    limit: Annotated[int, Query(ge=1, le=100)] = 10,
    as_of: Moment = None,
    since: Moment = None,
    until: Moment = None,
    source: Many = None,
    kind: Many = None,
    lang: Many = None,
    author: Many = None,
    domain: Many = None,
    not_domain: Many = None,
    mode: Mode = "hybrid",
    newest: Annotated[bool, Query(description="Newest first instead of best first.")] = False,
) -> Response:
    """Hits, best first, as of a moment, each with the words that matched."""
    services = services_of(request)
    when = moment(as_of, services.clock, param="as_of")
    results = services.index.search(
        IndexQuery(
            text=q,
            limit=limit,
            mode=mode,
            as_of=when,
            since=moment(since, services.clock, param="since", bound=True),
            until=moment(until, services.clock, param="until", bound=True),
            sources=tuple(source or ()),
            kinds=tuple(kind or ()),
            langs=tuple(lang or ()),
            authors=tuple(author or ()),
            domains=tuple(domain or ()),
            not_domains=tuple(not_domain or ()),
            newest_first=newest,
        )
    )
    documents = services.record.by_seq([hit.seq for hit in results.hits])
    services.listed([document for document in documents if document is not None])
    base = base_url(request, services)
    return JsonResponse(
        {
            "hits": [
                _hit(hit, document, q, services, base)
                for hit, document in zip(results.hits, documents, strict=True)
                if document is not None  # Dropped between finding and reading.
            ],
            "as_of": msgspec.to_builtins(when),
            "applied_seq": results.applied_seq,
            "took_ms": round(results.took_ms, 3),
            "vectors": results.vectors,
        }
    )


def _hit(hit: Hit, document: Document, q: str, services: Services, base: str) -> dict[str, Any]:
    readable = document.policy.display and document.policy.snippet
    snippet = ""
    highlights: list[tuple[int, int]] = []
    if readable:
        snippet, highlights = cut_snippet(services, document.text, q)
    plain: dict[str, Any] = msgspec.to_builtins(
        {
            "key": document.key,
            "version": document.version,
            "seq": document.seq,
            "title": document.title,
            "title_highlights": services.index.highlight(document.title, q) if q else [],
            "url": document.url if is_web(document.url) else "",
            "saved_url": saved_url(document.key, document.version, base),
            "source": document.source,
            "kind": document.kind,
            "author": document.author,
            "lang": document.lang,
            "published_at": document.published_at,
            "observed_at": document.observed_at,
            "time": hit.time,
            "snippet": snippet,
            "highlights": highlights,
            "withheld": not readable,
            "copies": 1 + len(hit.copies),
            "score": hit.score,
        }
    )
    return plain


def cut_snippet(services: Services, text: str, q: str) -> tuple[str, list[tuple[int, int]]]:
    """The part of `text` with the most matches, on one line, and the matches' spans in it."""
    text = text[:_SCANNED_CHARS]
    spans = services.index.highlight(text, q) if q else []
    start = _best_start(spans)
    if start > 0:
        start = text.rfind(" ", 0, start) + 1
    end = min(len(text), start + SNIPPET_CHARS)
    if end < len(text):
        end = max(text.rfind(" ", start, end), start + SNIPPET_CHARS // 2)
    head, tail = "… " if start else "", " …" if end < len(text) else ""
    inside = [
        (a - start + len(head), b - start + len(head)) for a, b in spans if a >= start and b <= end
    ]
    # Line breaks become spaces one for one, so that the spans stay true.
    cut = text[start:end].translate(_BREAKS)
    return head + cut + tail, inside


def _best_start(spans: list[tuple[int, int]]) -> int:
    best, most = 0, 0
    right = 0
    for left, (start, _) in enumerate(spans):
        while right < len(spans) and spans[right][1] <= start + SNIPPET_CHARS * 3 // 4:
            right += 1
        if right - left > most:
            best, most = start, right - left
    return max(0, best - SNIPPET_CHARS // 5)


_BREAKS = str.maketrans("\r\n\t\u2028\u2029", "     ")
