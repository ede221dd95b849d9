"""`/v1/responses`: OpenAI's Responses API over checked answers."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, cast

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from gnomon.serve.errors import ApiError, bad_request, shown
from gnomon.serve.exchange import Exchange, ResponsesRequest
from gnomon.serve.jobs import Jobs
from gnomon.serve.people import identity_of, spender
from gnomon.serve.services import Thread
from gnomon.serve.sse import EventStream, unless_gone
from gnomon.serve.wire import JsonResponse, JsonRoute, base_url, page_of, services_of

router = APIRouter(tags=["OpenAI: Responses"], route_class=JsonRoute)


@router.post("/v1/responses", summary="Ask, in OpenAI's Responses format")
async def create_response(body: ResponsesRequest, request: Request) -> Response:
    """Answer, whole or as a stream of typed events."""
    services = services_of(request)
    owner = identity_of(request).user_id
    exchange = await Exchange.begin(
        body, services, base_url(request, services), owner, spent=spender(request)
    )
    if body.background:
        job = await _jobs(request).start(exchange, owner)
        if body.stream:
            return EventStream(job.stream(-1), services.clock)
        return JsonResponse(job.response)
    if body.stream:
        return EventStream(exchange.stream(), services.clock)
    return JsonResponse(await unless_gone(exchange.run(), request.receive))


@router.get("/v1/responses/{response_id}", summary="Read a stored response")
async def get_response(
    response_id: str,
    request: Request,
    stream: bool = False,
    starting_after: Annotated[int, Query(ge=-1, le=2**31)] = -1,
) -> Response:
    """The response as it was sent, or stands; with `stream`, its events behind `starting_after`."""
    services = services_of(request)
    stored = await asyncio.to_thread(_stored, request, response_id)
    job = _jobs(request).get(response_id)
    if stream:
        if job is None:
            raise bad_request(
                "The events of this response are not kept any more; read it without stream.",
                param="stream",
                code="response.no_stream",
            )
        return EventStream(job.stream(starting_after), services.clock)
    if job is not None:
        return JsonResponse(job.response)
    return JsonResponse(settled(stored.response["response"]))


@router.post("/v1/responses/{response_id}/cancel", summary="Cancel a background response")
async def cancel_response(response_id: str, request: Request) -> Response:
    """Stop what is being made; one that has ended stays as it is."""
    stored = await asyncio.to_thread(_stored, request, response_id)
    response = stored.response["response"]
    if not response.get("background"):
        raise bad_request(
            "Only responses made with background can be cancelled; close the others' connection.",
            param="response_id",
        )
    job = _jobs(request).get(response_id)
    return JsonResponse(await job.cancel() if job is not None else settled(response))


@router.delete("/v1/responses/{response_id}", summary="Forget a stored response")
async def delete_response(response_id: str, request: Request) -> Response:
    """Remove it from the store."""
    await asyncio.to_thread(_stored, request, response_id)
    job = _jobs(request).get(response_id)
    if job is not None:
        await job.cancel()
    owner = identity_of(request).user_id
    await asyncio.to_thread(services_of(request).threads.delete, response_id, owner)
    return JsonResponse({"id": response_id, "object": "response", "deleted": True})


@router.get("/v1/responses/{response_id}/input_items", summary="Read a response's input")
def get_input_items(
    response_id: str,
    request: Request,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Annotated[str, Query(pattern="^(asc|desc)$")] = "desc",
    after: str | None = None,
) -> Response:
    """The items that the response answered, newest first unless `order=asc`."""
    items = list(_stored(request, response_id).response["input"])
    if order == "desc":
        items.reverse()
    if after is not None:
        places = [i for i, item in enumerate(items) if item["id"] == after]
        if not places:
            raise bad_request(f"after = {shown(after)} is no item of this list.", param="after")
        items = items[places[0] + 1 :]
    return JsonResponse(page_of(items, limit))


def _jobs(request: Request) -> Jobs:
    return cast(Jobs, request.app.state.jobs)


def settled(response: dict[str, Any]) -> dict[str, Any]:
    """A stored response; one that no job makes any more has failed."""
    if response["status"] != "in_progress":
        return response
    error = {"code": "server_error", "message": "Gnomon was restarted while this was being made."}
    return response | {"status": "failed", "error": error}


def _stored(request: Request, response_id: str) -> Thread:
    """A response of whoever asks. A job is reached only behind this."""
    owner = identity_of(request).user_id
    found = services_of(request).threads.get(response_id, owner)
    if found is None or "response" not in found.response:
        raise unknown_response(response_id)
    return found


def unknown_response(response_id: str) -> ApiError:
    """A 404 for a response that the asker has not."""
    return ApiError(
        404,
        f"There is no stored response {shown(response_id)}.",
        code="response_not_found",
        param="response_id",
    )
