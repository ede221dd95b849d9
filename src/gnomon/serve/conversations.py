"""`/v1/threads`: one's conversations, listed, searched, renamed, shared, exported, deleted."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from typing import Annotated, Any, Literal, cast

import msgspec
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from gnomon.answer.threads import Conversation, Stored
from gnomon.clock import in_utc, to_us
from gnomon.serve.ask import answer_json
from gnomon.serve.compose import inert, is_web, saved_url
from gnomon.serve.errors import ApiError, bad_request, shown
from gnomon.serve.moments import moment
from gnomon.serve.people import identity_of
from gnomon.serve.wire import JsonResponse, JsonRoute, base_url, services_of
from gnomon.types import VerdictKind

router = APIRouter(tags=["Threads"], route_class=JsonRoute)

SHARED = "/v1/shared/"
"""What stands before a share's token. Whoever has the address needs no key."""
_MARKS = {
    VerdictKind.SUPPORTED: "",
    VerdictKind.PARTLY: " *(partly supported)*",
    VerdictKind.NOT_SUPPORTED: " *(not supported)*",
    VerdictKind.CONTRADICTED: " *(contradicted)*",
}


class ThreadChange(BaseModel):
    """What should be different; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    title: str | None = Field(None, min_length=1, max_length=200)
    folder: str | None = Field(None, max_length=100)


@router.get("/v1/threads", summary="List conversations")
async def list_threads(
    request: Request,
    q: Annotated[str, Query(max_length=500, description="Words that stand in it.")] = "",
    folder: Annotated[str | None, Query(max_length=100)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before: Annotated[str | None, Query(description="`updated_at` of the last one seen.")] = None,
) -> Response:
    """One's conversations, the newest first."""
    services, owner = services_of(request), identity_of(request).user_id
    last = moment(before, services.clock, param="before", bound=True)
    found = await asyncio.to_thread(
        lambda: services.threads.conversations(
            owner,
            words=q,
            folder=folder,
            limit=limit,
            before_us=to_us(last) if last is not None else None,
        )
    )
    here = base_url(request, services)
    return JsonResponse({"threads": [_plain(conversation, here) for conversation in found]})


@router.get("/v1/threads/{id}", summary="Read a conversation")
async def read_thread(id: str, request: Request) -> Response:
    """Its answers in order of asking; `previous_id` tells which each follows on."""
    conversation, answers = await _own(request, id)
    here = base_url(request, services_of(request))
    return JsonResponse(_whole(conversation, answers, here))


@router.patch("/v1/threads/{id}", summary="Rename a conversation")
async def change_thread(id: str, body: ThreadChange, request: Request) -> Response:
    """Another title or folder."""
    if body.title is not None and not body.title.strip():
        raise bad_request("title is empty.", param="title")
    services, owner = services_of(request), identity_of(request).user_id
    changed = await asyncio.to_thread(
        lambda: services.threads.rename(id, owner, title=body.title, folder=body.folder)
    )
    _must_be(changed, id)
    conversation, _ = await _own(request, id)
    return JsonResponse(_plain(conversation, base_url(request, services)))


@router.delete("/v1/threads/{id}", summary="Delete a conversation", status_code=204)
async def delete_thread(id: str, request: Request) -> Response:
    """Forget its questions and answers for good."""
    services, owner = services_of(request), identity_of(request).user_id
    _must_be(await asyncio.to_thread(services.threads.delete_conversation, id, owner), id)
    return Response(status_code=204)


@router.post("/v1/threads/{id}/share", summary="Share a conversation", status_code=201)
async def share_thread(id: str, request: Request) -> Response:
    """Make an address under which anybody can read it, later answers included."""
    services, owner = services_of(request), identity_of(request).user_id
    conversation, _ = await _own(request, id)
    token = conversation.token or secrets.token_urlsafe(24)
    _must_be(await asyncio.to_thread(services.threads.share, id, owner, token), id)
    shared = msgspec.structs.replace(conversation, token=token)
    return JsonResponse(_plain(shared, base_url(request, services)), status_code=201)


@router.delete("/v1/threads/{id}/share", summary="Stop sharing", status_code=204)
async def unshare_thread(id: str, request: Request) -> Response:
    """The address opens nothing from now on."""
    services, owner = services_of(request), identity_of(request).user_id
    _must_be(await asyncio.to_thread(services.threads.share, id, owner, None), id)
    return Response(status_code=204)


@router.get("/v1/threads/{id}/export", summary="Export a conversation")
async def export_thread(
    id: str, request: Request, format: Literal["markdown", "json"] = "markdown"
) -> Response:
    """The whole conversation as a file."""
    conversation, answers = await _own(request, id)
    here = base_url(request, services_of(request))
    name = "".join(c if c.isalnum() and c.isascii() else "-" for c in conversation.title)[:60]
    ending = "md" if format == "markdown" else "json"
    headers = {"content-disposition": f'attachment; filename="{name or "thread"}.{ending}"'}
    if format == "json":
        return JsonResponse(_whole(conversation, answers, here), headers=headers)
    text = markdown(conversation, answers, here)
    return Response(text, media_type="text/markdown; charset=utf-8", headers=headers)


@router.get(SHARED + "{token}", summary="Read a shared conversation")
async def read_shared(token: str, request: Request) -> Response:
    """A conversation that somebody shared; read-only, and without its owner's name."""
    services = services_of(request)
    found = await asyncio.to_thread(services.threads.shared, token)
    if found is None:
        raise ApiError(
            404, "This is not shared, or not any more.", code="thread.not_shared", param="token"
        )
    plain = _whole(*found, base_url(request, services))
    return JsonResponse({k: v for k, v in plain.items() if k not in ("folder", "share_url")})


def markdown(conversation: Conversation, answers: Sequence[Stored], here: str) -> str:
    """A conversation to be read: questions, sentences with verdicts, and what they quote."""
    lines = [f"# {inert(conversation.title)}", ""]
    for stored in answers:
        answer = stored.answer
        when = f" as of {in_utc(answer.as_of)}" if answer.as_of else ""
        lines += [f"## {inert(answer.question)}", "", f"*{in_utc(answer.created_at)}{when}*", ""]
        for sentence in answer.sentences:
            numbers = "".join(f"[{n}]" for n in sentence.citations)
            lines.append(f"- {inert(sentence.text)} {numbers}{_MARKS[sentence.verdict.kind]}")
        if answer.abstained:
            lines.append("The evidence did not contain an answer.")
        lines.append("")
        for citation in answer.citations:
            dated = citation.published_at or citation.observed_at
            link = (
                citation.url
                if is_web(citation.url)
                else saved_url(citation.key, citation.version, here)
            )
            title = inert(citation.title or citation.key)
            lines.append(
                f"[{citation.number}] “{inert(citation.quote)}” {title}, "
                f"{inert(citation.source)}, {in_utc(dated) if dated else 'undated'}: <{link}>  "
            )
        lines += [f"> {inert(note)}" for note in answer.notes]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


async def _own(request: Request, id: str) -> tuple[Conversation, Sequence[Stored]]:
    owner = identity_of(request).user_id
    found = await asyncio.to_thread(services_of(request).threads.conversation, id, owner)
    if found is None:
        raise _unknown(id)
    return found


def _must_be(found: bool, id: str) -> None:
    if not found:
        raise _unknown(id)


def _unknown(id: str) -> ApiError:
    return ApiError(
        404, f"There is no conversation {shown(id)}.", code="thread.unknown", param="id"
    )


def _plain(conversation: Conversation, here: str) -> dict[str, Any]:
    plain = cast(dict[str, Any], msgspec.to_builtins(conversation))
    token = plain.pop("token")
    return plain | {"share_url": f"{here}{SHARED}{token}" if token else None}


def _whole(conversation: Conversation, answers: Sequence[Stored], here: str) -> dict[str, Any]:
    shown_answers = [
        {
            "id": stored.id,
            "previous_id": stored.previous_id,
            "answer": answer_json(stored.answer, here),
        }
        for stored in answers
    ]
    return _plain(conversation, here) | {"turns": shown_answers}
