"""`/v1/responses`: OpenAI's Responses API over checked answers."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from gnomon.serve.errors import ApiError, bad_request, shown
from gnomon.serve.exchange import Exchange, ResponsesRequest
from gnomon.serve.services import Services, Thread
from gnomon.serve.sse import EventStream, unless_gone
from gnomon.serve.wire import JsonResponse, JsonRoute, base_url, services_of

router = APIRouter(tags=["OpenAI: Responses"], route_class=JsonRoute)


@router.post("/v1/responses", summary="Ask, in OpenAI's Responses format")
async def create_response(body: ResponsesRequest, request: Request) -> Response:
    """Answer, whole or as a stream of typed events."""
    services = services_of(request)
    exchange = await Exchange.begin(body, services, base_url(request, services))
    if body.stream:
        return EventStream(exchange.stream(), services.clock)
    return JsonResponse(await unless_gone(exchange.run(), request.receive))


@router.get("/v1/responses/{response_id}", summary="Read a stored response")
def get_response(response_id: str, request: Request) -> Response:
    """The response as it was sent."""
    return JsonResponse(_stored(services_of(request), response_id).response["response"])


@router.delete("/v1/responses/{response_id}", summary="Forget a stored response")
def delete_response(response_id: str, request: Request) -> Response:
    """Remove it from the store."""
    if not services_of(request).threads.delete(response_id):
        raise _unknown(response_id)
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
    items = list(_stored(services_of(request), response_id).response["input"])
    if order == "desc":
        items.reverse()
    if after is not None:
        places = [i for i, item in enumerate(items) if item["id"] == after]
        if not places:
            raise bad_request(f"after = {shown(after)} is no item of this list.", param="after")
        items = items[places[0] + 1 :]
    page = items[:limit]
    return JsonResponse(
        {
            "object": "list",
            "data": page,
            "first_id": page[0]["id"] if page else None,
            "last_id": page[-1]["id"] if page else None,
            "has_more": len(items) > limit,
        }
    )


def _stored(services: Services, response_id: str) -> Thread:
    found = services.threads.get(response_id)
    if found is None or "response" not in found.response:
        raise _unknown(response_id)
    return found


def _unknown(response_id: str) -> ApiError:
    return ApiError(
        404,
        f"There is no stored response {shown(response_id)}.",
        code="response_not_found",
        param="response_id",
    )
