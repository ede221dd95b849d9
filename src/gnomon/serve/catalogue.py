"""`/v1/models`: what can be asked: the ways of answering, and the registry's models."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from gnomon.models.registry import OWN, Entry
from gnomon.serve.conversation import MODELS
from gnomon.serve.own import asked_entry, model_ids
from gnomon.serve.services import Services
from gnomon.serve.wire import JsonResponse, services_of

router = APIRouter(tags=["OpenAI: Models"])

CREATED = 1_767_225_600
"""A fixed date: the ids name ways of answering, not files that were made at some moment."""


@router.get("/v1/models", summary="List the models")
def list_models(request: Request) -> Response:
    """The models, in OpenAI's shape."""
    services = services_of(request)
    return JsonResponse(
        {"object": "list", "data": [_model(name, services) for name in model_ids(services)]}
    )


@router.get("/v1/models/{model_id}", summary="Read one model")
def get_model(model_id: str, request: Request) -> Response:
    """One model, in OpenAI's shape."""
    return JsonResponse(_model(model_id, services_of(request)))


@router.get("/v1/language-models", summary="List the models, in xAI's shape")
def list_language_models(request: Request) -> Response:
    """The models with what they read and write."""
    services = services_of(request)
    return JsonResponse(
        {"models": [_language_model(name, services) for name in model_ids(services)]}
    )


@router.get("/v1/language-models/{model_id}", summary="Read one model, in xAI's shape")
def get_language_model(model_id: str, request: Request) -> Response:
    """One model with what it reads and writes."""
    return JsonResponse(_language_model(model_id, services_of(request)))


def _language_model(name: str, services: Services) -> dict[str, Any]:
    plain = _model(name, services)
    return plain | {
        "fingerprint": f"gnomon-{services.version}",
        "version": services.version,
        "input_modalities": ["text"],
        "output_modalities": ["text"],
        "prompt_text_token_price": 0,
        "cached_prompt_text_token_price": 0,
        "prompt_image_token_price": 0,
        "completion_text_token_price": 0,
        "search_price": 0,
    }


def _model(name: str, services: Services) -> dict[str, Any]:
    entry = asked_entry(services, name)
    if entry is not None:
        return _own_model(name, entry)
    generators = [s for s in services.models.states() if s.role == "generator"]
    ready = [s.name for s in generators if s.state == "ready"]
    writer = ready[0] if ready and MODELS[name] == "fast" else "extractive"
    return {
        "id": name,
        "object": "model",
        "created": CREATED,
        "owned_by": "gnomon",
        "aliases": [],
        "gnomon": {"mode": MODELS[name], "writer": writer},
    }


def _own_model(name: str, entry: Entry) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": int(entry.added_at.timestamp()),
        "owned_by": "gnomon",
        "aliases": [OWN] if entry.state == "serving" and name != OWN else [],
        "gnomon": {
            "mode": "plain",
            "writer": entry.id,
            "state": entry.state,
            "lineage": dict(entry.lineage),
            "checks": msgspec.to_builtins(entry.checks),
            "sha256": entry.sha256,
            "body_bytes": entry.body_bytes,
        },
    }
