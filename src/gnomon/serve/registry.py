"""`/v1/registry`: the models that can serve, and which does. `/v1/training`: the runs so far."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import msgspec
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from gnomon.errors import ConfigError, ModelError, ModelTerminal
from gnomon.models.registry import OWN, Entry
from gnomon.models.served import Served
from gnomon.serve.errors import ApiError, shown
from gnomon.serve.people import note
from gnomon.serve.wire import JsonResponse, JsonRoute, services_of

router = APIRouter(tags=["Models and training"], route_class=JsonRoute)
_STATUS = {"registry.unknown": 404, "registry.no_rollback": 409}


class UseRequest(BaseModel):
    """Which version shall serve; the newest if it is left out."""

    model_config = ConfigDict(extra="forbid")

    version: int | None = Field(None, ge=1)


@router.get("/v1/registry", summary="List the registered models")
async def registry(request: Request) -> Response:
    """Every entry with lineage and checks, what serves, and every change of it."""
    served = services_of(request).served
    if served is None:
        return JsonResponse(
            {
                "alias": OWN,
                "entries": [],
                "serving": None,
                "loaded": [],
                "failure": "",
                "history": [],
            }
        )
    history = await asyncio.to_thread(served.registry.history)
    entries = served.entries()
    serving = next((entry for entry in entries if entry.state == "serving"), None)
    return JsonResponse(
        {
            "alias": OWN,
            "entries": [described(entry) for entry in entries],
            "serving": serving.id if serving else None,
            "loaded": served.loaded(),
            "failure": served.failure,
            "history": msgspec.to_builtins(history),
        }
    )


@router.post("/v1/registry/rollback", summary="Let serve what served before")
async def rollback(request: Request) -> Response:
    """Swap back beside the running model; on return the earlier one answers."""
    served = _served(request)
    return await _turned(request, "model.rollback", served.rollback())


@router.post("/v1/registry/{name}/use", summary="Let a model serve")
async def use(name: str, request: Request, body: UseRequest | None = None) -> Response:
    """Swap beside the running model; on return the new one answers. 409 if its gate refuses it."""
    served = _served(request)
    version = body.version if body else None
    return await _turned(request, "model.use", served.use(name, version))


async def _turned(request: Request, action: str, turning: Awaitable[Entry]) -> Response:
    try:
        # A client that leaves in the middle must not leave half a swap behind.
        entry = await asyncio.shield(asyncio.ensure_future(turning))
    except (ConfigError, ModelError) as error:
        status = 409 if isinstance(error, ModelTerminal) else 503
        if isinstance(error, ConfigError):
            status = _STATUS.get(error.code, 400)
        raise ApiError(status, error.message, code=error.code, hint=error.hint) from error
    note(request, action, entry.id)
    return JsonResponse(described(entry))


def _served(request: Request) -> Served:
    served = services_of(request).served
    if served is None:
        raise ApiError(404, "This server has no registry of models.", code="registry.none")
    return served


def described(entry: Entry) -> dict[str, Any]:
    """An entry as clients read it."""
    plain: dict[str, Any] = msgspec.to_builtins(entry)
    return {"id": entry.id, "passed": entry.passed} | plain


# -- training ------------------------------------------------------------------
@router.get("/v1/training", summary="List the training runs")
async def training(request: Request) -> Response:
    """Each run with its step, loss, tokens and time left, and a thinned curve of its loss."""
    from gnomon.train import progress  # here: few servers train

    home = services_of(request).settings.home / "runs"
    now = services_of(request).clock.now()
    found = await asyncio.to_thread(progress.all_runs, home, now)
    return JsonResponse({"runs": msgspec.to_builtins(found)})


@router.get("/v1/training/{run}", summary="Read a training run")
async def training_run(run: str, request: Request) -> Response:
    """The run with the curves of everything that it measured, and what its gate found."""
    from gnomon.train import progress

    services = services_of(request)
    home = services.settings.home / "runs"
    found = await asyncio.to_thread(progress.one_run, home, run, services.clock.now())
    if found is None:
        raise ApiError(
            404,
            f"There is no training run {shown(run)}.",
            code="training.unknown",
            hint="GET /v1/training lists them.",
        )
    return JsonResponse(msgspec.to_builtins(found))
