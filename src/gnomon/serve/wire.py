"""Bytes in and out of routes: strict JSON in, compact JSON out, and where this server is."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, cast

import orjson
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from gnomon.serve.services import Services

MAX_DEPTH = 64
"""Nesting of a request's JSON. Deeper bodies are refused; no client needs a tenth of it."""


class JsonResponse(Response):
    """A value as JSON."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Encode it."""
        return orjson.dumps(content)


class _JsonRequest(Request):
    """Reads JSON strictly: UTF-8, no lone surrogates, no NaN, bounded depth."""

    async def json(self) -> Any:
        return read_json(await self.body())


class JsonRoute(APIRoute):
    """A route whose body is read by our own JSON reader."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the handler."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            return await handler(_JsonRequest(request.scope, request.receive))

        return handle


def read_json(body: bytes | str) -> Any:
    """Strict JSON of bounded depth. Raises json.JSONDecodeError."""
    value = orjson.loads(body)
    if _deeper_than(value, MAX_DEPTH):
        raise json.JSONDecodeError(f"nested deeper than {MAX_DEPTH} levels", "", 0)
    return value


def json_text(value: Any) -> str:
    """JSON as text."""
    return orjson.dumps(value).decode()


def page_of(data: Sequence[Mapping[str, Any]], limit: int) -> dict[str, Any]:
    """The first `limit` of `data` as OpenAI lists things; whatever is beyond tells that there is
    more."""
    page = data[:limit]
    return {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": len(data) > limit,
    }


def services_of(request: Request) -> Services:
    """The services that this application was made with."""
    return cast(Services, request.app.state.services)


def base_url(request: Request, services: Services) -> str:
    """The address under which the client reaches this server, without a slash at its end."""
    return (services.settings.server.public_url or str(request.base_url)).rstrip("/")


def _deeper_than(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return False
    return any(isinstance(item, dict | list) for item in level)
