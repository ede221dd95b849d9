"""`/v1/batches`: files full of requests, asked one by one when nobody else asks."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Annotated, Any, cast

import msgspec
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from gnomon.errors import ConfigError
from gnomon.files.batches import OPEN, Batch, BatchStore
from gnomon.serve.batching import ENDPOINTS, Batches
from gnomon.serve.errors import ApiError, bad_request, shown
from gnomon.serve.people import identity_of, note
from gnomon.serve.wire import JsonResponse, JsonRoute, base_url, page_of, services_of

router = APIRouter(tags=["OpenAI: Batches"], route_class=JsonRoute)

MAX_OPEN = 20
"""Batches of one owner that are not over."""
_WINDOW = "24h"
_LIFE = timedelta(hours=24)
_TIMES = {
    "in_progress_at": "in_progress",
    "finalizing_at": "finalizing",
    "completed_at": "completed",
    "failed_at": "failed",
    "expired_at": "expired",
    "cancelling_at": "cancelling",
    "cancelled_at": "cancelled",
}


class NewBatch(BaseModel):
    """A file of requests to be asked."""

    model_config = ConfigDict(extra="allow")

    input_file_id: str = Field(max_length=100)
    endpoint: str = Field(max_length=100)
    completion_window: str = Field(_WINDOW, max_length=20)
    metadata: dict[str, str] | None = Field(None, max_length=16)


@router.post("/v1/batches", summary="Begin a batch")
async def make_batch(body: NewBatch, request: Request) -> Response:
    """Ask every line of an uploaded file (`purpose` `batch`), each at most once."""
    services, identity = services_of(request), identity_of(request)
    store = _store(request)
    if body.endpoint not in ENDPOINTS:
        raise bad_request(
            f"endpoint = {shown(body.endpoint)} is none of {', '.join(ENDPOINTS)}.",
            param="endpoint",
        )
    if body.completion_window != _WINDOW:
        raise bad_request(
            f"completion_window = {shown(body.completion_window)}: only {_WINDOW} is possible.",
            param="completion_window",
        )
    await asyncio.to_thread(_must_be_own, request, body.input_file_id)
    open_ones = await asyncio.to_thread(store.open)
    if sum(batch.owner == identity.user_id for batch in open_ones) >= MAX_OPEN:
        raise ApiError(
            429,
            f"{MAX_OPEN} batches are being worked through, as many as possible.",
            code="rate_limit_exceeded",
            hint="Wait for one to end, or cancel one.",
            headers={"retry-after": "60"},
        )
    now = services.clock.now()
    batch = Batch(
        id=services.ids.new("batch"),
        identity=msgspec.structs.replace(identity, session=None),
        base_url=base_url(request, services),
        endpoint=body.endpoint,
        input_file_id=body.input_file_id,
        window=body.completion_window,
        metadata=body.metadata or {},
        created_at=now,
        expires_at=now + _LIFE,
    )
    await asyncio.to_thread(store.add, batch)
    note(request, "batch.made", batch.id, batch.endpoint)
    _batches(request).wake()
    return JsonResponse(_json(batch, 0, 0))


@router.get("/v1/batches", summary="List batches")
async def list_batches(
    request: Request,
    after: Annotated[str | None, Query(max_length=100)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Response:
    """One's own, the newest first."""
    store, owner = _store(request), identity_of(request).user_id
    found = await asyncio.to_thread(lambda: store.of(owner, after=after, limit=limit + 1))
    page = [await asyncio.to_thread(_shown, store, batch) for batch in found]
    return JsonResponse(page_of(page, limit))


@router.get("/v1/batches/{batch_id}", summary="Read how a batch stands")
async def get_batch(batch_id: str, request: Request) -> Response:
    """Its status, how many lines are done, and at its end the files that hold the answers."""
    batch = await asyncio.to_thread(_own, request, batch_id)
    return JsonResponse(await asyncio.to_thread(_shown, _store(request), batch))


@router.post("/v1/batches/{batch_id}/cancel", summary="Cancel a batch")
async def cancel_batch(batch_id: str, request: Request) -> Response:
    """Ask no further line; what was answered until then is in its output file."""
    batch = await asyncio.to_thread(_own, request, batch_id)
    batch = await _batches(request).cancel(batch, services_of(request).clock.now())
    note(request, "batch.cancelled", batch.id)
    return JsonResponse(await asyncio.to_thread(_shown, _store(request), batch))


def _batches(request: Request) -> Batches:
    return cast(Batches, request.app.state.batches)


def _store(request: Request) -> BatchStore:
    store = services_of(request).batches
    if store is None:
        raise ApiError(404, "This server keeps no batches.", code="batches.none")
    return store


def _own(request: Request, id: str) -> Batch:
    batch = _store(request).get(id, identity_of(request).user_id)
    if batch is None:
        raise ApiError(
            404, f"There is no batch {shown(id)}.", code="batch.unknown", param="batch_id"
        )
    return batch


def _must_be_own(request: Request, file_id: str) -> None:
    """Raises ApiError for a file that cannot be a batch of whoever asks."""
    files = services_of(request).files
    unknown = ApiError(
        404,
        f"There is no file {shown(file_id)}.",
        code="file.unknown",
        param="input_file_id",
    )
    if files is None:
        raise unknown
    try:
        found = files.get(file_id)
    except ConfigError:
        raise unknown from None
    if found.owner != identity_of(request).user_id:
        raise unknown
    if found.purpose != "batch":
        raise bad_request(
            f"{shown(file_id)} was uploaded with the purpose {shown(found.purpose)}, not batch.",
            param="input_file_id",
        )


def _shown(store: BatchStore, batch: Batch) -> dict[str, Any]:
    if batch.status in OPEN:
        return _json(batch, *store.counts(batch.id))
    return _json(batch, batch.answered, batch.failed)


def _json(batch: Batch, answered: int, failed: int) -> dict[str, Any]:
    times = {
        name: int(batch.times[status].timestamp()) if status in batch.times else None
        for name, status in _TIMES.items()
    }
    over = batch.status not in OPEN
    errors = {"object": "list", "data": msgspec.to_builtins(batch.faults)}
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "errors": errors if batch.faults else None,
        "input_file_id": batch.input_file_id,
        "completion_window": batch.window,
        "status": batch.status,
        # A file is named once it is written.
        "output_file_id": batch.output_file_id if over else None,
        "error_file_id": batch.error_file_id if over else None,
        "created_at": int(batch.created_at.timestamp()),
        "expires_at": int(batch.expires_at.timestamp()),
        **times,
        "request_counts": {"total": batch.total, "completed": answered, "failed": failed},
        "metadata": dict(batch.metadata),
    }
