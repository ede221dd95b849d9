"""`/v1/watches`: standing questions, and what changed in their answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from gnomon.answer.base import Question
from gnomon.answer.diff import ClaimChange
from gnomon.answer.watches import Watch, WatchEvent, Watching
from gnomon.serve.ask import Names
from gnomon.serve.compose import citation_json
from gnomon.serve.conversation import question_text
from gnomon.serve.errors import ApiError, shown
from gnomon.serve.people import identity_of
from gnomon.serve.remembering import placed
from gnomon.serve.sse import EventStream, event, last_seen
from gnomon.serve.wire import JsonResponse, JsonRoute, base_url, services_of

router = APIRouter(tags=["Watches"], route_class=JsonRoute)


class NewWatch(BaseModel):
    """A question to watch, and what its answer may cite."""

    model_config = ConfigDict(extra="forbid")

    question: str
    sources: Names = Field(default=[], max_length=50)
    kinds: Names = Field(default=[], max_length=50)
    langs: Names = Field(default=[], max_length=50)
    domains: Names = Field(default=[], max_length=50)


@router.post("/v1/watches", summary="Watch a question", status_code=201)
async def add_watch(body: NewWatch, request: Request) -> Response:
    """Tell from now on when the answer changes."""
    services, owner = services_of(request), identity_of(request).user_id
    given = question_text(body.question, "question")
    text, memories = await asyncio.to_thread(placed, services.memory, owner, given)
    question = Question(
        text=text,
        sources=tuple(body.sources),
        kinds=tuple(body.kinds),
        langs=tuple(body.langs),
        domains=tuple(body.domains),
    )
    watch = await _watching(request).add(question, owner, memories)
    return JsonResponse(_plain(watch), status_code=201)


@router.get("/v1/watches", summary="List watches")
async def list_watches(request: Request) -> Response:
    """One's own, the newest first, each with how much its owner has not seen."""
    found = await _watching(request).list(identity_of(request).user_id)
    return JsonResponse({"watches": [_plain(watch) for watch in found]})


@router.get("/v1/watches/{id}", summary="Read a watch")
async def read_watch(id: str, request: Request) -> Response:
    """How it stands."""
    return JsonResponse(_plain(await _own(id, request)))


@router.delete("/v1/watches/{id}", summary="Stop watching", status_code=204)
async def remove_watch(id: str, request: Request) -> Response:
    """Forget it, and what changed."""
    await _own(id, request)
    await _watching(request).remove(id)
    return Response(status_code=204)


@router.get("/v1/watches/{id}/events", summary="What changed")
async def watch_events(
    id: str,
    request: Request,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before: Annotated[
        int | None, Query(ge=1, le=2**62, description="Only those below this number.")
    ] = None,
) -> Response:
    """The changes of its answer, the newest first."""
    await _own(id, request)
    found = await _watching(request).events(id, before=before, limit=limit)
    base = base_url(request, services_of(request))
    return JsonResponse({"events": [_event(e, base) for e in found]})


@router.get("/v1/watches/{id}/stream", summary="Be told when it changes")
async def watch_stream(
    id: str, request: Request, after: Annotated[int, Query(ge=0, le=2**62)] = 0
) -> Response:
    """Server-sent events `changed` behind number `after` (or `Last-Event-ID`), as they happen."""
    await _own(id, request)
    behind = last_seen(request, after)
    watching, base = _watching(request), base_url(request, services_of(request))
    owner = identity_of(request).user_id

    async def stream() -> AsyncGenerator[bytes]:
        seen = behind
        while await watching.get(id, owner) is not None:
            news = watching.news  # What is told while we look must not be missed.
            found = await watching.events(id, limit=200)
            for e in reversed([e for e in found if e.n > seen]):
                yield event("changed", _event(e, base), id=str(e.n))
                seen = e.n
            await news.wait()

    return EventStream(stream(), services_of(request).clock)


@router.post("/v1/watches/{id}/read", summary="Mark as seen", status_code=204)
async def mark_read(id: str, request: Request) -> Response:
    """All that changed so far was seen."""
    await _own(id, request)
    await _watching(request).mark_read(id)
    return Response(status_code=204)


def _watching(request: Request) -> Watching:
    watching = services_of(request).watching
    if watching is None:
        raise ApiError(501, "Watches are not open here.", code="watch.closed")
    return watching


async def _own(id: str, request: Request) -> Watch:
    watch = await _watching(request).get(id, identity_of(request).user_id)
    if watch is None:
        raise ApiError(404, f"There is no watch {shown(id)}.", code="watch.unknown", param="id")
    return watch


def _plain(watch: Watch) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(watch)
    del plain["owner"], plain["read"]
    return plain | {"unread": watch.events - watch.read}


def _event(event: WatchEvent, base: str) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(event)
    plain["changes"] = [_change(change, base) for change in event.changes]
    return plain


def _change(change: ClaimChange, base: str) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(change)
    for side, claim in (("before", change.before), ("after", change.after)):
        if claim is not None:
            plain[side]["citation"] = citation_json(claim.citation, base)
    return plain
