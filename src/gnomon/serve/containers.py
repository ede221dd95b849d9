"""`/v1/containers`: the closed rooms of whoever asks, and the files in them, as OpenAI has them."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from gnomon.sandbox.base import RoomError
from gnomon.sandbox.rooms import Container, Rooms
from gnomon.serve.errors import ApiError, shown
from gnomon.serve.people import identity_of
from gnomon.serve.tools.code import body_of, check, file_id, named
from gnomon.serve.tools.wishes import CodeWish
from gnomon.serve.wire import JsonResponse, JsonRoute, page_of, services_of

router = APIRouter(tags=["OpenAI: Containers"], route_class=JsonRoute)


class NewContainer(BaseModel):
    """A container to be made."""

    model_config = ConfigDict(extra="allow")

    name: str = Field("", max_length=200)
    file_ids: list[str] = Field(default=[], max_length=50)


@router.post("/v1/containers", summary="Open a closed room for code")
async def create(body: NewContainer, request: Request) -> Response:
    """The room stays until nobody used it for as long as `tools.code_idle_minutes` says."""
    services, owner = services_of(request), identity_of(request).user_id
    wish = CodeWish(file_ids=tuple(dict.fromkeys(body.file_ids)), given=True)
    await check(services, wish, owner, param="file_ids")
    rooms = _rooms(request)
    container = await _had(rooms.enter(owner, name=body.name))
    try:
        names = await asyncio.to_thread(named, services, wish.file_ids, owner)
        for id, name in names.items():
            await _had(container.lay(name, body_of(services, id)))
    except BaseException:
        await rooms.remove(container)
        raise
    finally:
        container.leave()
    return JsonResponse(_described(container, request))


@router.get("/v1/containers", summary="List your rooms for code")
async def listed(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    after: str | None = None,
) -> Response:
    """The newest first."""
    mine = _rooms(request).of(identity_of(request).user_id)
    ids = [container.id for container in mine]
    if after is not None:
        mine = mine[ids.index(after) + 1 :] if after in ids else []
    return JsonResponse(page_of([_described(c, request) for c in mine], limit))


@router.get("/v1/containers/{container_id}", summary="Read how a room stands")
async def read(container_id: str, request: Request) -> Response:
    """A room that was idle for long is gone."""
    return JsonResponse(_described(_own(container_id, request), request))


@router.delete("/v1/containers/{container_id}", summary="End a room")
async def delete(container_id: str, request: Request) -> Response:
    """What is in it is gone at once; code that runs there is stopped."""
    container = _own(container_id, request)
    await _rooms(request).remove(container)
    return JsonResponse({"id": container.id, "object": "container.deleted", "deleted": True})


@router.get("/v1/containers/{container_id}/files", summary="List a room's files")
async def files(
    container_id: str,
    request: Request,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    after: str | None = None,
) -> Response:
    """What was laid in, and what code wrote."""
    container = _own(container_id, request)
    found = [_file(container, path) for path in _paths(container)]
    ids = [file["id"] for file in found]
    if after is not None:
        found = found[ids.index(after) + 1 :] if after in ids else []
    return JsonResponse(page_of(found, limit))


@router.get("/v1/containers/{container_id}/files/{id}", summary="Read what a file is")
async def file(container_id: str, id: str, request: Request) -> Response:
    """Its path and size."""
    container = _own(container_id, request)
    return JsonResponse(_file(container, _path(container, id)))


@router.get("/v1/containers/{container_id}/files/{id}/content", summary="Read a room's file")
async def content(container_id: str, id: str, request: Request) -> Response:
    """Its bytes, to be saved and never to be shown as a page."""
    container = _own(container_id, request)
    path = _path(container, id)
    body = await _had(container.read(path))
    if body is None:
        raise _no_file(id)
    headers = {"content-disposition": "attachment", "x-content-type-options": "nosniff"}
    return Response(body, media_type="application/octet-stream", headers=headers)


def _rooms(request: Request) -> Rooms:
    rooms = services_of(request).rooms
    if rooms is None:
        raise ApiError(501, "Code is not run by this server.", code="sandbox.unavailable")
    return rooms


def _own(id: str, request: Request) -> Container:
    try:
        return _rooms(request).find(identity_of(request).user_id, id)
    except RoomError as error:
        raise ApiError(
            404, error.message, code=error.code, param="container_id", hint=error.hint
        ) from None


async def _had(work: Any) -> Any:
    """What `work` brings; what a room cannot do is told."""
    try:
        return await work
    except RoomError as error:
        status = 429 if error.code == "sandbox.busy" else 400
        raise ApiError(status, error.message, code=error.code, hint=error.hint) from None


def _paths(container: Container) -> list[str]:
    return sorted({*container.given, *container.files})


def _path(container: Container, id: str) -> str:
    for path in _paths(container):
        if file_id(container, path) == id:
            return path
    raise _no_file(id)


def _no_file(id: str) -> ApiError:
    return ApiError(
        404, f"There is no file {shown(id)} in this container.", code="file.unknown", param="id"
    )


def _described(container: Container, request: Request) -> dict[str, Any]:
    settings = services_of(request).settings.tools
    return {
        "id": container.id,
        "object": "container",
        "name": container.name or container.id,
        "created_at": int(container.created_at.timestamp()),
        "last_active_at": int(container.used_at.timestamp()),
        "status": "running",
        "expires_after": {
            "anchor": "last_active_at",
            "minutes": max(1, round(settings.code_idle_minutes)),
        },
        "network_policy": {"type": "disabled"},
    }


def _file(container: Container, path: str) -> dict[str, Any]:
    written = container.files.get(path)
    size = written.body_bytes if written is not None else container.given[path]
    return {
        "id": file_id(container, path),
        "object": "container.file",
        "container_id": container.id,
        "created_at": int(container.created_at.timestamp()),
        "bytes": size,
        "path": f"/mnt/data/{path}",
        "source": "user" if path in container.given else "assistant",
    }
