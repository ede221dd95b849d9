"""`/v1/documents/search`: the places of uploaded files that fit a query, in xAI's shape."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from gnomon.serve.conversation import MAX_QUESTION_CHARS, question_text
from gnomon.serve.errors import bad_request
from gnomon.serve.files import MAX_STORES, members, places
from gnomon.serve.services import Services
from gnomon.serve.wire import JsonResponse, JsonRoute, services_of

router = APIRouter(tags=["xAI: Collections"], route_class=JsonRoute)

CHUNK_CHARS = 2_000
_BEFORE_CHARS = 400
"""How much of what stands before the first word found is shown with it."""
_MODES: dict[str, Literal["hybrid", "vector", "lexical"]] = {
    "hybrid": "hybrid",
    "semantic": "vector",
    "keyword": "lexical",
}


class Source(BaseModel):
    """Where to search: our vector stores are xAI's collections."""

    model_config = ConfigDict(extra="allow")

    collection_ids: list[str] = Field(min_length=1, max_length=MAX_STORES)


class RetrievalMode(BaseModel):
    """How to search."""

    model_config = ConfigDict(extra="allow")

    type: Literal["hybrid", "semantic", "keyword"] = "hybrid"


class DocumentsSearch(BaseModel):
    """A search as xAI's clients send it."""

    model_config = ConfigDict(extra="allow")

    query: str = Field(max_length=MAX_QUESTION_CHARS)
    source: Source
    limit: int = Field(10, ge=1, le=100)
    retrieval_mode: RetrievalMode | None = None
    filter: str | None = None
    group_by: dict[str, Any] | None = None


@router.post("/v1/documents/search", summary="Search collections")
async def search_documents(body: DocumentsSearch, request: Request) -> Response:
    """The best places of the files in these collections, without an answer."""
    services = services_of(request)
    for name in ("filter", "group_by"):
        if getattr(body, name):
            raise bad_request(
                f"{name} is not possible: files have no fields to go by here.", param=name
            )
    query = question_text(body.query, "query")
    stores = list(dict.fromkeys(body.source.collection_ids))
    wanted = (body.retrieval_mode or RetrievalMode()).type
    found = await places(services, stores, query, body.limit, mode=_MODES[wanted])
    holders = {store: {f.id for f in await members(services, [store])} for store in stores}
    matches = []
    for file, document, score in found:
        chunk = await asyncio.to_thread(_chunk, services, document.text, query)
        match: dict[str, Any] = {
            "file_id": file.id,
            "chunk_id": document.key,
            "chunk_content": chunk,
            "score": round(score, 4),
            "collection_ids": [store for store in stores if file.id in holders[store]],
            "fields": {"name": file.name},
        }
        if "page" in document.extra:
            match["page_number"] = int(document.extra["page"])
        matches.append(match)
    return JsonResponse({"matches": matches})


def _chunk(services: Services, text: str, query: str) -> str:
    """The part of a text where the query's words begin to stand."""
    spans = services.index.highlight(text, query)
    first = min((start for start, _ in spans), default=0)
    start = max(0, min(first - _BEFORE_CHARS, len(text) - CHUNK_CHARS))
    return text[start : start + CHUNK_CHARS]
