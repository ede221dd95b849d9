"""`/v1/runs`: deep mode. A run is begun, watched, cancelled and read; it outlives its client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from gnomon.accounts.base import Identity
from gnomon.answer.deep.base import Budget, Run, markdown
from gnomon.answer.deep.runs import Runs
from gnomon.serve.access import Access
from gnomon.serve.compose import citation_json
from gnomon.serve.conversation import question_text
from gnomon.serve.errors import ApiError, bad_request, shown
from gnomon.serve.moments import moment
from gnomon.serve.people import identity_of
from gnomon.serve.remembering import placed
from gnomon.serve.sse import EventStream, event, last_seen
from gnomon.serve.wire import JsonResponse, JsonRoute, base_url, services_of

router = APIRouter(tags=["Deep mode"], route_class=JsonRoute)


class RunRequest(BaseModel):
    """A question and what may be spent on it; the settings decide what is left out."""

    model_config = ConfigDict(extra="forbid")

    question: str
    as_of: str | None = Field(None, description="ISO 8601 with a zone, or `2 hours ago`.")
    steps: int | None = Field(None, ge=1, le=200)
    seconds: float | None = Field(None, gt=0, le=7_200)
    usd: float | None = Field(None, gt=0, le=1_000)


@router.post("/v1/runs", summary="Begin a deep run", status_code=202)
async def begin(body: RunRequest, request: Request) -> Response:
    """Return the run at once; watch it at `/v1/runs/{id}/events`."""
    services, owner = services_of(request), identity_of(request).user_id
    settings = services.settings.answer
    budget = Budget(
        steps=body.steps or settings.deep_steps,
        seconds=body.seconds or settings.deep_seconds,
        usd=body.usd or settings.deep_usd,
    )
    question = question_text(body.question, "question")
    asked, memories = await asyncio.to_thread(placed, services.memory, owner, question)
    run = await _runs(request).start(
        asked,
        owner=owner,
        billed=_billed(identity_of(request)),
        memories=memories,
        budget=budget,
        as_of=moment(body.as_of, services.clock, param="as_of"),
    )
    return JsonResponse(_described(run, base_url(request, services)), status_code=202)


@router.get("/v1/runs", summary="List deep runs")
async def listed(request: Request, limit: int = 50) -> Response:
    """The newest first, without notebooks and reports."""
    if not 1 <= limit <= 200:
        raise bad_request(f"limit = {limit} is not between 1 and 200.", param="limit")
    found = await _runs(request).list(identity_of(request).user_id, limit)
    return JsonResponse({"runs": [_brief(run) for run in found]})


@router.get("/v1/runs/{id}", summary="Read a deep run")
async def read(id: str, request: Request, format: str = "json") -> Response:
    """The run with its notebook and, once it ended, its report; `format=markdown` the report."""
    run = await _own(id, request)
    if format == "markdown":
        return PlainTextResponse(markdown(run), media_type="text/markdown; charset=utf-8")
    if format != "json":
        raise bad_request(f"format = {shown(format)} is neither json nor markdown.", param="format")
    return JsonResponse(_described(run, base_url(request, services_of(request))))


@router.get("/v1/runs/{id}/events", summary="Watch a deep run")
async def events(
    id: str, request: Request, after: Annotated[int, Query(ge=0, le=2**62)] = 0
) -> Response:
    """Server-sent events behind number `after` (or `Last-Event-ID`), until the run ends."""
    await _own(id, request)
    behind = last_seen(request, after)

    async def stream() -> AsyncGenerator[bytes]:
        async for e in _runs(request).watch(id, behind):
            yield event(e.name, msgspec.to_builtins(e), id=str(e.n))

    return EventStream(stream(), services_of(request).clock)


@router.post("/v1/runs/{id}/cancel", summary="Cancel a deep run")
async def cancel(id: str, request: Request) -> Response:
    """Stop it; the report is written from what its notebook holds."""
    await _own(id, request)
    await _runs(request).cancel(id)
    run = await _own(id, request)
    return JsonResponse(_described(run, base_url(request, services_of(request))))


@router.delete("/v1/runs/{id}", summary="Forget a deep run", status_code=204)
async def forget(id: str, request: Request) -> Response:
    """Cancel and forget it."""
    await _own(id, request)
    await _runs(request).delete(id)
    return Response(status_code=204)


def _billed(identity: Identity) -> str:
    """Whom a run's tokens are counted for, without what opens a session."""
    return msgspec.json.encode(msgspec.structs.replace(identity, session=None)).decode()


def counting(access: Access) -> Callable[[str, int], None]:
    """What counts the tokens of runs against the limits of whoever began them."""

    def count(billed: str, tokens: int) -> None:
        if billed:
            access.spent(msgspec.json.decode(billed, type=Identity), tokens)

    return count


def _runs(request: Request) -> Runs:
    runs = services_of(request).runs
    if runs is None:
        raise ApiError(501, "Deep mode is not open here.", code="deep.closed")
    return runs


async def _own(id: str, request: Request) -> Run:
    run = await _runs(request).get(id, identity_of(request).user_id)
    if run is None:
        raise ApiError(404, f"There is no run {shown(id)}.", code="deep.unknown", param="id")
    return run


def _brief(run: Run) -> dict[str, Any]:
    return {
        "id": run.id,
        "question": run.question,
        "created_at": msgspec.to_builtins(run.created_at),
        "as_of": msgspec.to_builtins(run.as_of),
        "status": run.status,
        "ended": run.ended,
        "budget": msgspec.to_builtins(run.budget),
        "spent": msgspec.to_builtins(run.spent),
        "findings": len(run.notebook),
        "memories": list(run.memories),
    }


def _described(run: Run, url: str) -> dict[str, Any]:
    report: dict[str, Any] | None = None
    if run.report is not None:
        report = msgspec.to_builtins(run.report)
        report["citations"] = [citation_json(c, url) for c in run.report.citations]
        report["markdown"] = markdown(run)
    return _brief(run) | {
        "ahead": [d.text for d in run.ahead],
        "asked": list(run.behind),
        "notebook": [
            msgspec.to_builtins(f) | {"citations": [citation_json(c, url) for c in f.citations]}
            for f in run.notebook
        ],
        "report": report,
    }
