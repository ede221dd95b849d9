"""`/v1/responses/compact`: earlier turns as one opaque item, which the client sends back."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from gnomon.answer.base import Turn
from gnomon.serve.conversation import converse
from gnomon.serve.earlier import items_before
from gnomon.serve.errors import bad_request
from gnomon.serve.own import asked_entry
from gnomon.serve.people import identity_of
from gnomon.serve.sealing import KIND, sealed, shortened, unpacked
from gnomon.serve.services import Services
from gnomon.serve.wire import JsonResponse, JsonRoute, services_of

router = APIRouter(tags=["OpenAI: Responses"], route_class=JsonRoute)
_CHARS_PER_TOKEN = 4


class CompactRequest(BaseModel):
    """A conversation as it would be asked on with."""

    model_config = ConfigDict(extra="allow")

    model: str = "gnomon"
    input: str | list[dict[str, Any]] | None = None
    instructions: str | None = None
    previous_response_id: str | None = None


class Packed(msgspec.Struct, frozen=True, kw_only=True):
    """A compacted conversation, and how much it held."""

    text: str
    given: int
    """Messages that it was made of."""
    dropped: int
    """Of these, how many were too old to be kept."""
    input_tokens: int
    output_tokens: int


@router.post("/v1/responses/compact", summary="Compact a conversation")
async def compact_response(body: CompactRequest, request: Request) -> Response:
    """Make one item of earlier turns; give it as the first of `input` to go on from there."""
    services, owner = services_of(request), identity_of(request).user_id
    asked_entry(services, body.model)
    items: list[dict[str, Any]] = []
    if body.previous_response_id:
        items += await asyncio.to_thread(items_before, services, body.previous_response_id, owner)
    if isinstance(body.input, str):
        items.append({"role": "user", "content": body.input})
    else:
        items += body.input or []
    packed = pack(services, items, owner, param="input")
    item = {"id": services.ids.new("cmp"), "type": KIND, "encrypted_content": packed.text}
    return JsonResponse(
        {
            "id": services.ids.new("resp"),
            "object": "response.compaction",
            "created_at": int(services.clock.now().timestamp()),
            "model": body.model,
            "output": [item],
            "usage": {
                "input_tokens": packed.input_tokens,
                "input_tokens_details": {"cache_write_tokens": 0, "cached_tokens": 0},
                "output_tokens": packed.output_tokens,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": packed.input_tokens + packed.output_tokens,
            },
        }
    )


def pack(
    services: Services, items: Sequence[Mapping[str, Any]], owner: str, *, param: str
) -> Packed:
    """The conversation as one sealed text. Raises ApiError for an empty or unreadable one."""
    whole = unpacked(services, items, owner, param)
    spoken = [item for item in whole if item.get("role") in ("user", "assistant")]
    if not spoken:
        raise bad_request(f"{param} is empty: there is nothing to compact.", param=param)
    # The reader of conversations wants a question at the end, and returns what was before it.
    said = converse([*whole, *_ENDED, {"role": "user", "content": "?"}], param=param)
    turns = [t for t in said.history if t.question or t.answer.strip()]
    if spoken[-1]["role"] == "user":
        turns[-1] = Turn(question=turns[-1].question, answer="")
    else:
        turns = turns[:-1]
    content = shortened(turns, said.instructions)
    text = sealed(services, owner, content)
    kept = sum(bool(t.question) + bool(t.answer) for t in content.turns)
    written = sum(len(t.question) + len(t.answer) for t in content.turns)
    return Packed(
        text=text,
        given=len(spoken),
        dropped=max(0, len(spoken) - kept),
        input_tokens=sum(len(str(item.get("content"))) for item in spoken) // _CHARS_PER_TOKEN,
        output_tokens=written // _CHARS_PER_TOKEN,
    )


_ENDED = ({"role": "assistant", "content": "\u2026"},)
"""Said after the last message, so that a question without an answer is a turn, too."""
