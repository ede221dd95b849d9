"""`/v1/files` and `/v1/vector_stores`: documents of one's own, searchable within seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import PurePath
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response

from gnomon.answer.base import Retrieved
from gnomon.errors import ConfigError
from gnomon.extract.files import FileText, read_file
from gnomon.extract.text import detect_lang
from gnomon.files.store import PRIVATE_PURPOSES, SOURCE, Collection, Files, StoredFile, key_of
from gnomon.index.base import Mode
from gnomon.index.base import Query as IndexQuery
from gnomon.serve.errors import ApiError, bad_request, shown
from gnomon.serve.people import identity_of, note
from gnomon.serve.services import Services
from gnomon.serve.wire import JsonResponse, JsonRoute, page_of, services_of
from gnomon.types import Document, Purge, Upsert

router = APIRouter(tags=["OpenAI: Files"], route_class=JsonRoute)

MAX_STORES = 10
_INDEXED_S = 20.0
_MIN_LIFE_S, _MAX_LIFE_S = 3_600, 2_592_000
_SNIPPET_CHARS = 2_000
T = TypeVar("T")


class NewStore(BaseModel):
    """A vector store to be made."""

    model_config = ConfigDict(extra="allow")

    name: str | None = Field(None, max_length=200)
    file_ids: list[str] = Field(default=[], max_length=500)


class StoreChange(BaseModel):
    """What should be different about a vector store."""

    model_config = ConfigDict(extra="allow")

    name: str = Field(min_length=1, max_length=200)


class NewMember(BaseModel):
    """A file to be put into a vector store."""

    model_config = ConfigDict(extra="allow")

    file_id: str = Field(max_length=100)


class StoreSearch(BaseModel):
    """What to look for in a vector store."""

    model_config = ConfigDict(extra="allow")

    query: str | list[str]
    max_num_results: int = Field(10, ge=1, le=50)


# -- files -------------------------------------------------------------------
@router.post("/v1/files", summary="Upload a file")
async def upload(request: Request) -> Response:
    """Read a file (text, HTML, PDF, Office), keep it, and make it searchable."""
    services = services_of(request)
    files = _files(services)
    async with request.form(max_files=1, max_fields=20) as form:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise bad_request("file is missing: send multipart/form-data with it.", param="file")
        body, name = await file.read(), PurePath(file.filename or "file").name[:200]
        media_type = file.content_type or ""
        purpose = str(form.get("purpose") or "assistants")[:50]
        life = str(form.get("expires_after") or form.get("expires_after[seconds]") or "")
    if len(body) > services.settings.server.max_file_bytes:
        raise ApiError(
            413,
            f"The file has {len(body):,} bytes; at most "
            f"{services.settings.server.max_file_bytes:,} are accepted.",
            code="file.too_large",
            param="file",
        )
    now = services.clock.now()
    expires_at = now + timedelta(seconds=_life_s(life)) if life else None
    text = FileText(title=name, parts=())
    if purpose != "batch":
        text = await asyncio.to_thread(
            lambda: read_file(body, name=name, media_type=media_type, now=now)
        )
    id, owner = files.new_id(), identity_of(request).user_id
    stored = await asyncio.to_thread(
        lambda: files.add(
            id,
            name=name,
            purpose=purpose,
            media_type=media_type,
            owner=owner,
            body=body,
            text="\n\n".join(part.text for part in text.parts),
            parts=len(text.parts),
            expires_at=expires_at,
        )
    )
    await services.runner.deliver(SOURCE, [Upsert(d) for d in _documents(stored, text)])
    last = await asyncio.to_thread(services.record.last_seq)
    await services.runner.wait_indexed(last, _INDEXED_S)
    note(request, "file.uploaded", stored.id, stored.name)
    return JsonResponse(_file_json(stored))


@router.get("/v1/files", summary="List files")
async def list_files(
    request: Request,
    purpose: Annotated[str | None, Query(max_length=50)] = None,
    after: Annotated[str | None, Query(max_length=100)] = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
) -> Response:
    """The files of this server, the newest first; what batches read and write, only one's own."""
    files, reader = _files(services_of(request)), identity_of(request).user_id
    found = await asyncio.to_thread(
        lambda: files.list(purpose=purpose, after=after, limit=limit + 1, reader=reader)
    )
    return JsonResponse(page_of([_file_json(one) for one in found], limit))


@router.get("/v1/files/{file_id}", summary="Read a file's facts")
async def get_file(file_id: str, request: Request) -> Response:
    """Name, size, purpose and when it was uploaded."""
    return JsonResponse(_file_json(await _shown_file(request, file_id)))


@router.get("/v1/files/{file_id}/content", summary="Read a file")
async def get_content(
    file_id: str, request: Request, format: Literal["original", "text"] = "original"
) -> Response:
    """Its bytes as they came, or the text that was read in them."""
    files = _files(services_of(request))
    stored = await _shown_file(request, file_id)
    body, text = await _known(files.content, file_id)
    if format == "text":
        return Response(text, media_type="text/plain; charset=utf-8")
    safe = "".join(c if c.isalnum() or c in "._-" else "_" for c in stored.name if c.isascii())
    headers = {"content-disposition": f'attachment; filename="{safe or "file"}"'}
    # Never as what it claims to be: a browser must not run what somebody uploaded.
    return Response(body, media_type="application/octet-stream", headers=headers)


@router.delete("/v1/files/{file_id}", summary="Delete a file")
async def delete_file(file_id: str, request: Request) -> Response:
    """Forget it for good, its text in the record and the index included."""
    services = services_of(request)
    await _shown_file(request, file_id)
    stored = await _known(_files(services).delete, file_id)
    await forget(services, stored)
    note(request, "file.deleted", stored.id, stored.name)
    return JsonResponse({"id": file_id, "object": "file", "deleted": True})


async def forget(services: Services, stored: StoredFile) -> None:
    """Purge a file's documents."""
    purges = [Purge(key=key, reason="The file was deleted.") for key in stored.keys]
    if purges:
        await services.runner.deliver(SOURCE, purges)


# -- vector stores -----------------------------------------------------------
@router.post("/v1/vector_stores", summary="Make a vector store")
async def make_store(body: NewStore, request: Request) -> Response:
    """A named set of files that `file_search` can be narrowed to."""
    files, owner = _files(services_of(request)), identity_of(request).user_id
    made = await _known(
        lambda name: files.add_collection(name, owner, body.file_ids), body.name or ""
    )
    return JsonResponse(_store_json(made))


@router.get("/v1/vector_stores", summary="List vector stores")
async def list_stores(
    request: Request, limit: Annotated[int, Query(ge=1, le=1_000)] = 100
) -> Response:
    """All sets of files, the newest first."""
    found = await asyncio.to_thread(_files(services_of(request)).collections)
    return JsonResponse(page_of([_store_json(one) for one in found], limit))


@router.get("/v1/vector_stores/{store_id}", summary="Read a vector store")
async def get_store(store_id: str, request: Request) -> Response:
    """Its name and how many files it has."""
    files = _files(services_of(request))
    return JsonResponse(_store_json(await _known(files.collection, store_id)))


@router.post("/v1/vector_stores/{store_id}", summary="Rename a vector store")
async def change_store(store_id: str, body: StoreChange, request: Request) -> Response:
    """Give it another name."""
    files = _files(services_of(request))
    changed = await _known(lambda id: files.rename_collection(id, body.name), store_id)
    return JsonResponse(_store_json(changed))


@router.delete("/v1/vector_stores/{store_id}", summary="Delete a vector store")
async def delete_store(store_id: str, request: Request) -> Response:
    """Forget the set; its files stay."""
    await _known(_files(services_of(request)).delete_collection, store_id)
    return JsonResponse({"id": store_id, "object": "vector_store.deleted", "deleted": True})


@router.post("/v1/vector_stores/{store_id}/files", summary="Put a file into a vector store")
async def add_member(store_id: str, body: NewMember, request: Request) -> Response:
    """It is searchable there at once."""
    files = _files(services_of(request))
    await _known(lambda id: files.put_in(id, body.file_id), store_id)
    stored = await _known(files.get, body.file_id)
    return JsonResponse(_member_json(store_id, stored))


@router.get("/v1/vector_stores/{store_id}/files", summary="List a vector store's files")
async def list_members(
    store_id: str, request: Request, limit: Annotated[int, Query(ge=1, le=1_000)] = 100
) -> Response:
    """The files that are in it."""
    found = await _known(_files(services_of(request)).files_in, store_id)
    return JsonResponse(page_of([_member_json(store_id, one) for one in found], limit))


@router.get("/v1/vector_stores/{store_id}/files/{file_id}", summary="Read a member")
async def get_member(store_id: str, file_id: str, request: Request) -> Response:
    """How a file stands in a vector store."""
    found = await _known(_files(services_of(request)).files_in, store_id)
    for stored in found:
        if stored.id == file_id:
            return JsonResponse(_member_json(store_id, stored))
    raise ApiError(404, f"{shown(file_id)} is not in this vector store.", code="file.unknown")


@router.delete("/v1/vector_stores/{store_id}/files/{file_id}", summary="Take a file out")
async def remove_member(store_id: str, file_id: str, request: Request) -> Response:
    """It stays a file."""
    files = _files(services_of(request))
    await _known(lambda id: files.take_out(id, file_id), store_id)
    return JsonResponse({"id": file_id, "object": "vector_store.file.deleted", "deleted": True})


@router.post("/v1/vector_stores/{store_id}/search", summary="Search a vector store")
async def search_store(store_id: str, body: StoreSearch, request: Request) -> Response:
    """The best places of its files, without an answer."""
    services = services_of(request)
    text = body.query if isinstance(body.query, str) else "\n".join(body.query)
    found = await places(services, [store_id], text, body.max_num_results)
    results = [
        {
            "file_id": file.id,
            "filename": file.name,
            "score": round(score, 4),
            "attributes": {},
            "content": [{"type": "text", "text": document.text[:_SNIPPET_CHARS]}],
        }
        for file, document, score in found
    ]
    return JsonResponse(
        {
            "object": "vector_store.search_results.page",
            "search_query": [text],
            "data": results,
            "has_more": False,
            "next_page": None,
        }
    )


async def places(
    services: Services, stores: Sequence[str], text: str, limit: int, mode: Mode = "hybrid"
) -> list[tuple[StoredFile, Document, float]]:
    """The documents of these stores' files that fit a query best."""
    by_key = {key: file for file in await members(services, stores) for key in file.keys}
    if not by_key or not text.strip():
        return []
    query = IndexQuery(
        text=text, sources=(SOURCE,), limit=2_000, recency=0.0, fold=False, mode=mode
    )
    hits = (await asyncio.to_thread(services.index.search, query)).hits
    chosen = [hit for hit in hits if hit.key in by_key][:limit]
    found = await asyncio.to_thread(services.record.by_seq, [hit.seq for hit in chosen])
    return [
        (by_key[hit.key], document, hit.score)
        for hit, document in zip(chosen, found, strict=True)
        if document is not None
    ]


async def members(services: Services, stores: Sequence[str]) -> list[StoredFile]:
    """The files of these vector stores. Raises ApiError for one that there is not."""
    if len(stores) > MAX_STORES:
        raise bad_request(
            f"{len(stores)} vector stores are named; at most {MAX_STORES} are searched.",
            param="tools",
        )
    files = _files(services)
    found = [file for id in stores for file in await _known(files.files_in, id)]
    return list({file.id: file for file in found}.values())


async def keys_within(services: Services, stores: Sequence[str]) -> tuple[str, ...]:
    """What the keys of these stores' documents begin with; never empty."""
    found = tuple(key_of(file.id) for file in await members(services, stores))
    return found or ("file:none#",)


def results_of(found: Retrieved, names: Mapping[str, str]) -> list[dict[str, Any]]:
    """What `file_search` found, as the Responses API shows it."""
    results = []
    for citation in found.citations:
        file_id = citation.key.removeprefix("file:").partition("#")[0]
        if citation.key.startswith("file:") and file_id in names:
            results.append(
                {
                    "file_id": file_id,
                    "filename": names[file_id],
                    "score": 1.0,
                    "text": citation.quote,
                    "attributes": {},
                }
            )
    return results


# -- shapes ------------------------------------------------------------------
def _readable(stored: StoredFile, request: Request) -> bool:
    """Whether a file is shown to whoever asks: what batches read and write is their owner's."""
    return stored.purpose not in PRIVATE_PURPOSES or stored.owner == identity_of(request).user_id


async def _shown_file(request: Request, file_id: str) -> StoredFile:
    """The file, or a 404."""
    stored = await _known(_files(services_of(request)).get, file_id)
    if not _readable(stored, request):
        raise ApiError(404, f"There is no file {shown(file_id)!r}.", code="file.unknown")
    return stored


def _files(services: Services) -> Files:
    if services.files is None:
        raise ApiError(404, "This server keeps no files.", code="files.none")
    return services.files


async def _known(find: Callable[[str], T], id: str) -> T:
    """What is there, or a 404."""
    try:
        return await asyncio.to_thread(find, id)
    except ConfigError as error:
        raise ApiError(404, error.message, code=error.code) from None


def _life_s(text: str) -> int:
    if not text.isdecimal() or not _MIN_LIFE_S <= int(text) <= _MAX_LIFE_S:
        raise bad_request(
            f"expires_after = {shown(text)} is not from {_MIN_LIFE_S:,} to {_MAX_LIFE_S:,} s.",
            param="expires_after",
        )
    return int(text)


def _documents(stored: StoredFile, text: FileText) -> list[Document]:
    """A file's parts as documents."""
    lang = detect_lang(text.parts[0].text[:2_000]) if text.parts else "und"
    return [
        Document(
            key=key,
            source=SOURCE,
            kind="file",
            title=text.title if part.page is None else f"{text.title}, page {part.page}",
            text=part.text,
            lang=lang,
            extra={"file_id": stored.id, "filename": stored.name}
            | ({} if part.page is None else {"page": part.page}),
        )
        for key, part in zip(stored.keys, text.parts, strict=True)
    ]


def _file_json(stored: StoredFile) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "id": stored.id,
        "object": "file",
        "bytes": stored.body_bytes,
        "created_at": int(stored.created_at.timestamp()),
        "filename": stored.name,
        "purpose": stored.purpose,
        "status": "processed",
    }
    if stored.expires_at is not None:
        plain["expires_at"] = int(stored.expires_at.timestamp())
    return plain


def _store_json(store: Collection) -> dict[str, Any]:
    counts = {"in_progress": 0, "completed": store.files, "failed": 0, "cancelled": 0}
    return {
        "id": store.id,
        "object": "vector_store",
        "created_at": int(store.created_at.timestamp()),
        "name": store.name,
        "usage_bytes": store.body_bytes,
        "file_counts": counts | {"total": store.files},
        "status": "completed",
        "last_active_at": int(store.created_at.timestamp()),
        "metadata": {},
    }


def _member_json(store_id: str, stored: StoredFile) -> dict[str, Any]:
    return {
        "id": stored.id,
        "object": "vector_store.file",
        "created_at": int(stored.created_at.timestamp()),
        "vector_store_id": store_id,
        "status": "completed",
        "usage_bytes": stored.body_bytes,
        "last_error": None,
        "attributes": {},
    }
