"""The OpenAPI document: what FastAPI makes of the routes, and what it cannot see.

Refusals have the shape of their path; streams, pages and downloads have types of their own.
"""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import FastAPI

from gnomon.answer.base import Plan
from gnomon.answer.deep.base import Run
from gnomon.answer.diff import Difference
from gnomon.answer.threads import Conversation
from gnomon.serve.errors import ANTHROPIC_PATH, speaks_openai
from gnomon.types import Answer, SourceState

_JSON = "application/json"
_SSE = "text/event-stream"
_STRING = {"type": "string"}

_TYPES: dict[tuple[str, str], tuple[str, ...]] = {
    ("get", "/metrics"): ("text/plain",),
    ("get", "/saved/{key}"): ("text/html",),
    ("post", "/v1/ask"): (_JSON, _SSE),
    ("get", "/v1/answers/{id}/events"): (_SSE,),
    ("get", "/v1/changes"): (_SSE,),
    ("get", "/v1/documents/{key}"): (_JSON, "text/html"),
    ("get", "/v1/runs/{id}/events"): (_SSE,),
    ("get", "/v1/sources.opml"): ("text/x-opml",),
    ("get", "/v1/watches/{id}/stream"): (_SSE,),
    ("post", "/v1/responses"): (_JSON, _SSE),
    ("get", "/v1/responses/{response_id}"): (_JSON, _SSE),
    ("post", "/v1/chat/completions"): (_JSON, _SSE),
    ("post", "/v1/messages"): (_JSON, _SSE),
    ("get", "/v1/files/{file_id}/content"): ("application/octet-stream", "text/plain"),
    ("get", "/v1/threads/{id}/export"): (_JSON, "text/markdown"),
}
"""Types of successful replies that are not JSON alone."""

_MORE: dict[tuple[str, str], dict[str, str]] = {
    ("get", "/v1/chat/deferred-completion/{request_id}"): {"202": "It is being made"},
    ("get", "/v1/session/oidc"): {"303": "To the provider's page"},
    ("get", "/v1/session/oidc/callback"): {"303": "Back to Gnomon's page"},
}
"""Successful replies without a body, beside the usual one."""

_HOLDS: dict[tuple[str, str], tuple[str, ...]] = {
    ("post", "/v1/ask"): ("id", "answer"),
    ("get", "/v1/answers/{id}"): ("id", "answer"),
    ("get", "/v1/search"): ("hits",),
    ("post", "/v1/responses"): ("id", "object", "created_at", "model", "status", "output"),
    ("get", "/v1/responses/{response_id}"): ("id", "object", "status", "output"),
    ("post", "/v1/messages"): ("id", "type", "role", "content", "stop_reason", "usage"),
    ("get", "/v1/models"): ("object", "data"),
    ("get", "/v1/registry"): ("alias", "entries", "serving", "loaded", "failure", "history"),
    ("get", "/v1/training"): ("runs",),
    ("get", "/v1/files"): ("object", "data"),
    ("get", "/v1/vector_stores"): ("object", "data"),
}
"""What certain replies in JSON always hold."""

_SCHEMAS: dict[str, dict[str, Any]] = {
    "Problem": {
        "type": "object",
        "description": "Problem details of RFC 9457, with our code and the next step.",
        "required": ["type", "title", "status", "detail", "code", "request_id"],
        "properties": {
            "type": _STRING,
            "title": _STRING,
            "status": {"type": "integer"},
            "detail": _STRING,
            "code": _STRING,
            "request_id": _STRING,
            "hint": _STRING,
            "param": _STRING,
        },
    },
    "OpenAIError": {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["message", "type", "param", "code"],
                "properties": {
                    "message": _STRING,
                    "type": _STRING,
                    "param": {"type": ["string", "null"]},
                    "code": {"type": ["string", "null"]},
                },
            }
        },
    },
    "AnthropicError": {
        "type": "object",
        "required": ["type", "error"],
        "properties": {
            "type": {"const": "error"},
            "error": {
                "type": "object",
                "required": ["type", "message"],
                "properties": {"type": _STRING, "message": _STRING},
            },
        },
    },
}


_SPOKEN = (Answer, Plan, Difference, Run, Conversation, SourceState)
"""What is sent as it is; a citation has its `saved_url` besides."""


def install(app: FastAPI) -> None:
    """Serve the document of `app` with what is said here."""
    plain = app.openapi

    def whole() -> dict[str, Any]:
        if app.openapi_schema is None:
            _complete(plain())
        return plain()

    app.openapi = whole  # type: ignore[method-assign]


def _complete(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)  # Ours are refused in the shape of their path.
    schemas |= _SCHEMAS | _spoken()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            responses = operation["responses"]
            responses.pop("422", None)
            for status, reply in responses.items():
                if status != "204":
                    held = _HOLDS.get((method, path), ())
                    kinds = _TYPES.get((method, path), (_JSON,))
                    reply["content"] = {kind: {"schema": _schema(kind, held)} for kind in kinds}
            for status, description in _MORE.get((method, path), {}).items():
                responses[status] = {"description": description}
            responses["default"] = _refusal(path)


def _spoken() -> dict[str, Any]:
    _, found = msgspec.json.schema_components(_SPOKEN, ref_template="#/components/schemas/{name}")
    found["Citation"]["properties"]["saved_url"] = dict(_STRING)
    found["Citation"]["required"].append("saved_url")
    for name in found:
        # What has a default is always sent, too.
        if "properties" in found[name]:
            found[name]["required"] = list(found[name]["properties"])
    return found


def _schema(kind: str, held: tuple[str, ...]) -> dict[str, Any]:
    if kind == _SSE:
        return {"description": "Server-sent events: JSON in each `data`"}
    if kind != _JSON:
        return dict(_STRING)
    return {"type": "object"} | ({"required": list(held)} if held else {})


def _refusal(path: str) -> dict[str, Any]:
    name, kind = "Problem", "application/problem+json"
    if speaks_openai(path):
        name, kind = "OpenAIError", _JSON
    elif path.startswith(ANTHROPIC_PATH):
        name, kind = "AnthropicError", _JSON
    content: dict[str, Any] = {kind: {"schema": {"$ref": f"#/components/schemas/{name}"}}}
    if path.startswith("/saved/"):  # read by people
        content["text/html"] = {"schema": _STRING}
    return {"description": "Refused, or failed", "content": content}
