"""`/v1/ask`: the native way to ask, streaming every step of an answer as it happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from gnomon.answer.base import (
    AnswerEvent,
    AnswerMode,
    Finished,
    Plan,
    Planned,
    Question,
    Retrieved,
    Turn,
    Written,
)
from gnomon.clock import zone_of
from gnomon.serve.compose import citation_json
from gnomon.serve.conversation import MAX_QUESTION_CHARS, question_text
from gnomon.serve.errors import ApiError, shown, told
from gnomon.serve.jobs import Job
from gnomon.serve.moments import moment
from gnomon.serve.people import identity_of, spender
from gnomon.serve.remembering import Remembering
from gnomon.serve.services import Services
from gnomon.serve.sse import EventStream, event, last_seen, unless_gone
from gnomon.serve.wire import JsonResponse, JsonRoute, base_url, services_of
from gnomon.types import Answer, Citation

router = APIRouter(tags=["Ask"], route_class=JsonRoute)

Names = list[str]

_KINDS = (
    (0.7, "Asked about this very moment"),
    (0.35, "Asked about how things stand"),
    (0.1, "Asked about what may be older"),
    (0.0, "Asked about what does not change"),
)
"""Kinds of question by the least weight of newness that each has."""
_DAYS_FROM_H = 48.0


class AskRequest(BaseModel):
    """A question, the moment that it is asked about, and what may be cited."""

    model_config = ConfigDict(extra="forbid")

    question: str
    as_of: str | None = Field(None, description="ISO 8601 with a zone, or `2 hours ago`.")
    time_zone: str = Field(
        "UTC",
        max_length=60,
        description="IANA name of the zone whose mornings and midnights the words mean.",
    )
    mode: AnswerMode = "fast"
    stream: bool = True
    resumable: bool = Field(
        False, description="Go on without the reader; `/v1/answers/{id}/events` catches up."
    )
    request_key: str = Field(
        "",
        max_length=100,
        description="A name of your own for a resumable request. Sent again within ten minutes, it "
        "brings the same answer's events instead of another answer.",
    )
    store: bool = True
    previous_id: str | None = Field(None, description="Id of the answer that this follows on.")
    instructions: str = Field("", max_length=MAX_QUESTION_CHARS)
    since: str | None = None
    until: str | None = None
    sources: Names = Field(default=[], max_length=50)
    kinds: Names = Field(default=[], max_length=50)
    langs: Names = Field(default=[], max_length=50)
    authors: Names = Field(default=[], max_length=50)
    domains: Names = Field(default=[], max_length=50)
    not_domains: Names = Field(default=[], max_length=50)
    max_sentences: int = Field(4, ge=1, le=50)
    follow_ups: bool = Field(
        False, description="Also up to three questions that this leaves open and Gnomon can answer."
    )


@router.post("/v1/ask", summary="Ask a question")
async def ask(body: AskRequest, request: Request) -> Response:
    """Stream `planned`, `retrieved`, `sentence`…, `finished` (or `error`); or, with
    `stream: false`, return what `finished` carries."""
    services = services_of(request)
    owner = identity_of(request).user_id
    question = await _question(body, services, owner)
    asked = _Asked(body, question, services, base_url(request, services), owner, spender(request))
    if body.stream and body.resumable:
        jobs = request.app.state.jobs
        job = jobs.of(owner, body.request_key) or await jobs.start(
            asked, owner, read=True, key=body.request_key
        )
        return EventStream(job.stream(-1), services.clock)
    if body.stream:
        return EventStream(asked.stream(), services.clock)
    return JsonResponse(await unless_gone(asked.run(), request.receive))


@router.get("/v1/answers/{id}", summary="Read an answer")
async def read_answer(id: str, request: Request) -> Response:
    """What `finished` carried; 404 `answer.unfinished` while it is being written."""
    services, owner = services_of(request), identity_of(request).user_id
    stored = await asyncio.to_thread(services.threads.get, id, owner)
    if stored is not None:
        answer = answer_json(stored.answer, base_url(request, services))
        return JsonResponse({"id": id, "answer": answer})
    _job(request, id)
    raise ApiError(
        404,
        f"The answer {shown(id)} is being written.",
        code="answer.unfinished",
        hint=f"Watch it at /v1/answers/{id}/events.",
        param="id",
    )


@router.get("/v1/answers/{id}/events", summary="Go on reading an answer")
async def answer_events(
    id: str, request: Request, starting_after: Annotated[int, Query(ge=-1, le=2**31)] = -1
) -> Response:
    """The events behind that number (or `Last-Event-ID`), and those to come. Only of answers that
    were asked for with `resumable`; until ten minutes after the end."""
    behind = last_seen(request, starting_after)
    return EventStream(_job(request, id).stream(behind), services_of(request).clock)


@router.post("/v1/answers/{id}/cancel", summary="Stop an answer")
async def cancel_answer(id: str, request: Request) -> Response:
    """Stop writing. What was written stays with whoever read it; nothing is stored."""
    job = _job(request, id)
    ended = job.ended_at_s is not None
    await job.cancel()
    return JsonResponse({"id": id, "status": "completed" if ended else "cancelled"})


def _job(request: Request, id: str) -> Job:
    job: Job | None = request.app.state.jobs.get(id)
    if job is None or job.owner != identity_of(request).user_id:
        raise ApiError(404, f"There is no answer {shown(id)}.", code="answer.unknown", param="id")
    return job


class _Asked:
    """One question on its way."""

    failure = None  # It is told as an event.

    def __init__(
        self,
        body: AskRequest,
        question: Question,
        services: Services,
        base_url: str,
        owner: str,
        spent: Callable[[int], None],
    ) -> None:
        self._owner = owner
        self._spent = spent
        self._body = body
        self._question = question
        self._services = services
        self._base_url = base_url
        self.id = services.ids.new("ask")

    async def begin_in_background(self) -> dict[str, Any]:
        """Nothing is stored before the end."""
        return {"id": self.id}

    async def cancelled(self) -> dict[str, Any]:
        """Nothing is stored of an answer that was stopped."""
        return {"id": self.id}

    async def run(self) -> dict[str, Any]:
        """What the last event carries."""
        last: dict[str, Any] = {}
        async with aclosing(self._events()) as events:
            async for _, payload in events:
                last = payload
        return last

    async def stream(self) -> AsyncGenerator[bytes]:
        """The events as they go over the wire."""
        async with aclosing(self.events()) as events:
            async for name, payload in events:
                yield event(name, payload)

    async def events(self) -> AsyncGenerator[tuple[str, dict[str, Any]]]:
        """The events; a failure becomes `error` and the end."""
        try:
            async with aclosing(self._events()) as events:
                async for name, payload in events:
                    yield name, payload
        except Exception as error:
            public = told(error, self._services, "ask")
            problem = {"message": public.message, "code": public.code, "hint": public.hint}
            yield "error", problem

    async def _events(self) -> AsyncGenerator[tuple[str, dict[str, Any]]]:
        pipeline = Remembering(self._services, self._owner, self.id).answer(self._question)
        async with aclosing(pipeline) as steps:  # type: ignore[type-var]
            async for step in steps:
                if isinstance(step, Finished):
                    usage = step.answer.usage
                    self._spent(usage.input_tokens + usage.output_tokens)
                if isinstance(step, Finished) and self._body.store:
                    await asyncio.to_thread(
                        self._services.threads.save,
                        self.id,
                        answer=step.answer,
                        response={},
                        previous_id=self._body.previous_id,
                        owner=self._owner,
                    )
                yield self._described(step)

    def _described(self, step: AnswerEvent) -> tuple[str, dict[str, Any]]:
        match step:
            case Planned(plan=plan):
                return "planned", {
                    "id": self.id,
                    "plan": msgspec.to_builtins(plan),
                    "newness": newness(plan),
                }
            case Retrieved():
                return "retrieved", {
                    "citations": self._citations(step.citations),
                    "freshness": msgspec.to_builtins(step.freshness),
                    "took_ms": step.took_ms,
                }
            case Written():
                return "sentence", {
                    "sentence": msgspec.to_builtins(step.sentence),
                    "citations": self._citations(step.citations),
                }
            case Finished(answer=answer):
                return "finished", {
                    "id": self.id,
                    "answer": answer_json(answer, self._base_url),
                }

    def _citations(self, citations: tuple[Citation, ...]) -> list[dict[str, Any]]:
        return [citation_json(c, self._base_url) for c in citations]


def answer_json(answer: Answer, base_url: str) -> dict[str, Any]:
    """An answer with the addresses of the saved copies that it cites."""
    plain: dict[str, Any] = msgspec.to_builtins(answer)
    plain["citations"] = [citation_json(c, base_url) for c in answer.citations]
    if answer.closest is not None:
        plain["closest"] = citation_json(answer.closest, base_url)
    beside = {
        "disagreements": [d.citation for d in answer.disagreements],
        "superseded": [s.citation for s in answer.superseded],
    }
    for name, citations in beside.items():
        for plainly, citation in zip(plain[name], citations, strict=True):
            plainly["citation"] = citation_json(citation, base_url)
    plain["text"] = answer.text
    return plain


def newness(plan: Plan) -> str:
    """How much the question lets the age of a report count, in a sentence."""
    if plan.recency <= 0.0:
        return "How new a report is counts for nothing."
    kind = next(kind for least, kind in _KINDS if plan.recency >= least)
    hours = plan.half_life_s / 3_600.0
    span = f"{hours:.0f} hours" if hours < _DAYS_FROM_H else f"{hours / 24.0:g} days"
    return f"{kind}: newness weighs {plan.recency:.0%}, and half as much at an age of {span}."


async def _question(body: AskRequest, services: Services, owner: str) -> Question:
    history: tuple[Turn, ...] = ()
    if body.previous_id:
        if await asyncio.to_thread(services.threads.get, body.previous_id, owner) is None:
            raise ApiError(
                400,
                f"previous_id = {shown(body.previous_id)} names no stored answer.",
                code="answer.unknown",
                param="previous_id",
                hint="Give the `id` that stands beside `answer` in what came back.",
            )
        turns = await asyncio.to_thread(services.threads.history, body.previous_id, owner)
        history = tuple(turns)
    zone = zone_of(body.time_zone)
    return Question(
        text=question_text(body.question, "question"),
        zone=body.time_zone,
        as_of=moment(body.as_of, services.clock, param="as_of", zone=zone),
        mode=body.mode,
        history=history,
        instructions=body.instructions,
        since=moment(body.since, services.clock, param="since", bound=True, zone=zone),
        until=moment(body.until, services.clock, param="until", bound=True, zone=zone),
        sources=tuple(body.sources),
        kinds=tuple(body.kinds),
        langs=tuple(body.langs),
        authors=tuple(body.authors),
        domains=tuple(body.domains),
        not_domains=tuple(body.not_domains),
        max_sentences=body.max_sentences,
        follow_ups=body.follow_ups,
    )
