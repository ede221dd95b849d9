"""`/v1/models`: what can be asked."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from gnomon.serve.conversation import MODELS, mode_of
from gnomon.serve.services import Services
from gnomon.serve.wire import JsonResponse, services_of

router = APIRouter(tags=["OpenAI: Models"])

_CREATED = 1_767_225_600
"""A fixed date: the ids name ways of answering, not files that were made at some moment."""


@router.get("/v1/models", summary="List the models")
def list_models(request: Request) -> Response:
    """The models, in OpenAI's shape."""
    services = services_of(request)
    return JsonResponse({"object": "list", "data": [_model(name, services) for name in MODELS]})


@router.get("/v1/models/{model_id}", summary="Read one model")
def get_model(model_id: str, request: Request) -> Response:
    """One model, in OpenAI's shape."""
    mode_of(model_id)
    return JsonResponse(_model(model_id, services_of(request)))


def _model(name: str, services: Services) -> dict[str, Any]:
    generators = [s for s in services.models.states() if s.role == "generator"]
    ready = [s.name for s in generators if s.state == "ready"]
    writer = ready[0] if ready and MODELS[name] == "fast" else "extractive"
    return {
        "id": name,
        "object": "model",
        "created": _CREATED,
        "owned_by": "gnomon",
        "aliases": [],
        "gnomon": {"mode": MODELS[name], "writer": writer},
    }
