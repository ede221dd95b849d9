"""`/v1/diff`: what changed in an answer between two moments, and what made the difference."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from gnomon.answer.base import Question
from gnomon.answer.diff import Claim, ClaimChange, Differ, Difference
from gnomon.clock import zone_of
from gnomon.serve.ask import Names, answer_json
from gnomon.serve.compose import citation_json
from gnomon.serve.conversation import question_text
from gnomon.serve.errors import bad_request
from gnomon.serve.moments import moment
from gnomon.serve.people import spender
from gnomon.serve.services import Services
from gnomon.serve.sse import unless_gone
from gnomon.serve.wire import JsonResponse, JsonRoute, base_url, services_of

router = APIRouter(tags=["Ask"], route_class=JsonRoute)


class DiffRequest(BaseModel):
    """A question and two moments."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    question: str
    start: str = Field(alias="from", description="The earlier moment.")
    end: str | None = Field(None, alias="to", description="The later moment; now by default.")
    time_zone: str = Field("UTC", max_length=60, description="IANA name of the asker's zone.")
    sources: Names = Field(default=[], max_length=50)
    kinds: Names = Field(default=[], max_length=50)
    langs: Names = Field(default=[], max_length=50)
    authors: Names = Field(default=[], max_length=50)
    domains: Names = Field(default=[], max_length=50)
    not_domains: Names = Field(default=[], max_length=50)


@router.post("/v1/diff", summary="Ask what changed")
async def diff(body: DiffRequest, request: Request) -> Response:
    """Both answers, and each statement as new, changed, gone or unchanged, with its cause."""
    services = services_of(request)
    found = await unless_gone(_compare(body, services), request.receive)
    usages = (found.before.usage, found.after.usage)
    spender(request)(sum(usage.input_tokens + usage.output_tokens for usage in usages))
    return JsonResponse(_described(found, base_url(request, services)))


async def _compare(body: DiffRequest, services: Services) -> Difference:
    zone = zone_of(body.time_zone)
    start = moment(body.start, services.clock, param="from", zone=zone)
    if start is None:
        raise bad_request("from = now leaves nothing to compare.", param="from")
    question = Question(
        text=question_text(body.question, "question"),
        zone=body.time_zone,
        sources=tuple(body.sources),
        kinds=tuple(body.kinds),
        langs=tuple(body.langs),
        authors=tuple(body.authors),
        domains=tuple(body.domains),
        not_domains=tuple(body.not_domains),
    )
    differ = Differ(services.answerer, services.record, services.clock, services.ids)
    end = moment(body.end, services.clock, param="to", zone=zone)
    return await differ.compare(question, start, end)


def _described(found: Difference, url: str) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(found)
    plain["changes"] = [_change(c, url) for c in found.changes]
    plain["before"] = answer_json(found.before, url)
    plain["after"] = answer_json(found.after, url)
    return plain


def _change(change: ClaimChange, url: str) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(change)
    plain["before"] = _claim(change.before, url)
    plain["after"] = _claim(change.after, url)
    return plain


def _claim(claim: Claim | None, url: str) -> dict[str, Any] | None:
    if claim is None:
        return None
    return {"text": claim.text, "citation": citation_json(claim.citation, url)}
