"""`/v1/memory`: what one asked to be remembered; viewed, edited, forgotten, switched on and off."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from gnomon.accounts.memory import MAX_NOTE_CHARS, MemoryStore, Note
from gnomon.errors import ConfigError
from gnomon.serve.errors import ApiError
from gnomon.serve.people import identity_of
from gnomon.serve.wire import JsonResponse, JsonRoute, services_of

router = APIRouter(tags=["Memory"], route_class=JsonRoute)
T = TypeVar("T")


class NoteText(BaseModel):
    """What should be remembered."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(min_length=1, max_length=MAX_NOTE_CHARS)


class MemorySettings(BaseModel):
    """Whether one's memory is used."""

    model_config = ConfigDict(extra="forbid")

    on: bool


@router.get("/v1/memory", summary="List what is remembered")
async def list_notes(request: Request) -> Response:
    """One's own notes, the oldest first, and whether they are used."""
    store, owner = _store(request), identity_of(request).user_id
    return JsonResponse(msgspec.to_builtins(await asyncio.to_thread(store.of, owner)))


@router.post("/v1/memory", summary="Remember something", status_code=201)
async def add_note(body: NoteText, request: Request) -> Response:
    """Keep a note; 409 while memory is off."""
    store, owner = _store(request), identity_of(request).user_id
    made = await _known(lambda: store.add(owner, body.text))
    return JsonResponse(_json(made), status_code=201)


@router.put("/v1/memory/settings", summary="Switch memory on or off")
async def change_settings(body: MemorySettings, request: Request) -> Response:
    """Use one's notes, or let them rest; switching off keeps them."""
    store, owner = _store(request), identity_of(request).user_id
    await asyncio.to_thread(store.switch, owner, body.on)
    return JsonResponse({"on": body.on})


@router.patch("/v1/memory/{note_id}", summary="Edit a note")
async def edit_note(note_id: str, body: NoteText, request: Request) -> Response:
    """Let it say something else."""
    store, owner = _store(request), identity_of(request).user_id
    return JsonResponse(_json(await _known(lambda: store.edit(owner, note_id, body.text))))


@router.delete("/v1/memory/{note_id}", summary="Forget a note", status_code=204)
async def forget_note(note_id: str, request: Request) -> Response:
    """Forget it for good, with the stored answer in which it was said."""
    store, owner = _store(request), identity_of(request).user_id
    note = await _known(lambda: store.delete(owner, note_id))
    await _forget_answers(request, [note])
    return Response(status_code=204)


@router.delete("/v1/memory", summary="Forget everything", status_code=204)
async def forget_all(request: Request) -> Response:
    """Forget all notes for good, and switch memory off."""
    store, owner = _store(request), identity_of(request).user_id
    await _forget_answers(request, await asyncio.to_thread(store.clear, owner))
    return Response(status_code=204)


async def _forget_answers(request: Request, notes: Iterable[Note]) -> None:
    threads, owner = services_of(request).threads, identity_of(request).user_id
    for note in notes:
        if note.said_in:
            await asyncio.to_thread(threads.delete, note.said_in, owner)


def _store(request: Request) -> MemoryStore:
    store = services_of(request).memory
    if store is None:
        raise ApiError(404, "This server remembers nothing.", code="memory.none")
    return store


async def _known(do: Callable[[], T]) -> T:
    try:
        return await asyncio.to_thread(do)
    except ConfigError as error:
        status = {"memory.unknown": 404, "memory.off": 409, "memory.full": 409}
        raise ApiError(
            status.get(error.code, 400), error.message, code=error.code, hint=error.hint
        ) from None


def _json(note: Note) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(note)
    return plain
