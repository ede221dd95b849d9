"""`/websub/{id}`: where hubs verify subscriptions and tell of news. Needs no key.

Only the id, which nobody can guess, and the signature decide; what is pushed is never shown.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from gnomon.serve.wire import services_of

router = APIRouter(include_in_schema=False)

_UNKNOWN = PlainTextResponse("No such subscription.\n", 404)


@router.get("/websub/{id}")
async def verify(
    id: str,
    request: Request,
    mode: Annotated[str, Query(alias="hub.mode")] = "",
    topic: Annotated[str, Query(alias="hub.topic")] = "",
    challenge: Annotated[str, Query(alias="hub.challenge")] = "",
    lease: Annotated[str, Query(alias="hub.lease_seconds")] = "",
) -> Response:
    """Repeat the challenge if the subscription is wanted."""
    subscriptions = services_of(request).runner.websub
    lease_s = float(lease) if lease.isdecimal() and len(lease) < 12 else None
    repeated = subscriptions.confirm(
        id, mode=mode, topic=topic, challenge=challenge, lease_s=lease_s
    )
    if repeated is None:
        return _UNKNOWN
    # Plain text, and nothing sniffs it: a challenge cannot become a page.
    return PlainTextResponse(repeated)


@router.post("/websub/{id}")
async def push(id: str, request: Request) -> Response:
    """Take a push; the feed itself is asked then."""
    body = await request.body()
    signature = request.headers.get("x-hub-signature", "")
    if not services_of(request).runner.websub.deliver(id, body, signature):
        return _UNKNOWN
    return Response(status_code=202)
