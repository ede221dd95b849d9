"""`/v1/chat/completions`: the older chat API over the same checked answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from gnomon.answer.base import Finished, Question, Written
from gnomon.models.base import ToolCall
from gnomon.serve.calling import client_functions, decide
from gnomon.serve.compose import Composer, Piece
from gnomon.serve.conversation import Conversation, converse, documents_of, ignored, limits, mode_of
from gnomon.serve.errors import bad_request, openai_body, told
from gnomon.serve.exchange import added
from gnomon.serve.forms import fill, form_of
from gnomon.serve.moments import moment
from gnomon.serve.narrowing import narrow
from gnomon.serve.services import Services
from gnomon.serve.sse import EventStream, data, unless_gone
from gnomon.serve.wire import JsonResponse, JsonRoute, base_url, services_of
from gnomon.types import Answer, Usage

router = APIRouter(tags=["OpenAI: Chat"], route_class=JsonRoute)
_DONE = b"data: [DONE]\n\n"
_NONE = Usage()


class StreamOptions(BaseModel):
    """What a stream carries besides text."""

    model_config = ConfigDict(extra="allow")

    include_usage: bool | None = None


class ChatRequest(BaseModel):
    """A request as OpenAI's and xAI's clients send it, with `as_of` of our own."""

    model_config = ConfigDict(extra="allow")

    model: str = "gnomon"
    messages: list[dict[str, Any]]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    deferred: bool | None = None
    max_completion_tokens: int | None = Field(None, ge=1, le=100_000)
    max_tokens: int | None = Field(None, ge=1, le=100_000)
    response_format: dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    functions: list[dict[str, Any]] | None = None
    search_parameters: dict[str, Any] | None = None
    web_search_options: dict[str, Any] | None = None
    as_of: str | None = Field(None, description="Answer as of this moment: ISO 8601 with a zone.")


@router.post("/v1/chat/completions", summary="Ask, in OpenAI's Chat Completions format")
async def create_chat_completion(body: ChatRequest, request: Request) -> Response:
    """Answer, whole or as a stream of chunks."""
    services = services_of(request)
    exchange = _Exchange(body, services, base_url(request, services))
    if body.stream:
        return EventStream(exchange.stream(), services.clock)
    return JsonResponse(await unless_gone(exchange.run(), request.receive))


class _Exchange:
    """One request and the answer that grows for it."""

    def __init__(self, body: ChatRequest, services: Services, base_url: str) -> None:
        self._body = body
        self._services = services
        self._form = form_of(body.response_format, "response_format")
        self._functions, tools = client_functions(body.tools, body.tool_choice)
        self._question, self._said = _question(body, services, tools)
        self._used = Usage()
        self._refused = False
        self._ignored = ignored(body.model_extra)
        parameters = body.search_parameters or {}
        self._cites = parameters.get("return_citations") is not False
        self._composer = Composer(base_url=base_url, inline=self._cites)
        self._head = {
            "id": services.ids.new("chatcmpl"),
            "created": int(services.clock.now().timestamp()),
            "model": body.model,
            "system_fingerprint": f"gnomon-{services.version}",
        }

    async def run(self) -> dict[str, Any]:
        """The whole completion."""
        result: dict[str, Any] = {}
        async with aclosing(self._steps()) as steps:
            async for step in steps:
                if isinstance(step, Answer):
                    result = self._completion(step)
                elif isinstance(step, tuple) and isinstance(step[0], ToolCall):
                    result = self._completion_of(calls_message(step), "tool_calls")
        return result

    async def stream(self) -> AsyncGenerator[bytes]:
        """The completion as chunks; a failure becomes an error object and the end."""
        usage = bool(self._body.stream_options and self._body.stream_options.include_usage)
        try:
            yield self._chunk({"role": "assistant", "content": ""})
            async with aclosing(self._steps()) as steps:
                async for step in steps:
                    if isinstance(step, Piece):
                        delta = {"role": "assistant", "content": step.delta}
                        yield self._chunk(delta, step.sentence)
                    elif isinstance(step, Answer):
                        yield self._last_chunk(step)
                        if usage:
                            yield self._usage_chunk(step.usage)
                    else:
                        # Each call whole in one chunk: some clients cannot read fragments.
                        for i, call in enumerate(step):
                            one = {"index": i, **call_json(call)}
                            yield self._chunk({"role": "assistant", "tool_calls": [one]})
                        choice = {"index": 0, "delta": {}, "finish_reason": "tool_calls"}
                        kind = {"object": "chat.completion.chunk", "choices": [choice]}
                        yield data(self._head | kind)
                        if usage:
                            yield self._usage_chunk(Usage())
            yield _DONE
        except Exception as error:
            yield data(openai_body(told(error, self._services, "chat")))

    async def _steps(self) -> AsyncGenerator[Piece | tuple[ToolCall, ...] | Answer]:
        """Pieces of text and then the answer; or the functions that must be called first."""
        models, form = self._services.models, self._form
        if self._functions.wanted:
            called = await decide(
                models.generator(), self._functions, self._said.messages, self._services.ids
            )
            self._used = called.usage
            if called.calls:
                yield called.calls
                return
        pipeline = self._services.answerer.answer(self._question)
        async with aclosing(pipeline) as events:  # type: ignore[type-var]
            async for event in events:
                if isinstance(event, Written):
                    piece = self._composer.add(event.sentence, event.citations)
                    if form.schema is None:
                        yield piece
                elif isinstance(event, Finished):
                    sentences = self._composer.sentences
                    if form.schema is not None and sentences:
                        statements = " ".join(sentence["text"] for sentence in sentences)
                        filled = await fill(
                            form, models.generator(), self._question.text, statements
                        )
                        self._used = added(self._used, filled.usage)
                        self._composer.replace(filled.text, unsupported=filled.unsupported)
                        yield Piece(delta=filled.text, annotations=(), sentence=None)
                    elif not sentences:
                        piece = self._composer.abstain(event.answer.closest)
                        self._refused = form.schema is not None
                        if not self._refused:
                            yield piece
                    yield event.answer

    def _chunk(self, delta: dict[str, Any], sentence: dict[str, Any] | None = None) -> bytes:
        own = {"gnomon": {"sentence": sentence}} if sentence is not None else {}
        choice = {"index": 0, "delta": delta, "finish_reason": None}
        return data(self._head | {"object": "chat.completion.chunk", "choices": [choice]} | own)

    def _last_chunk(self, answer: Answer) -> bytes:
        refusal = {"refusal": self._composer.text} if self._refused else {}
        choice = {"index": 0, "delta": refusal, "finish_reason": "stop"}
        return data(
            self._head
            | {"object": "chat.completion.chunk", "choices": [choice]}
            | self._citations()
            | {"gnomon": self._composer.extension(answer, self._ignored)}
        )

    def _usage_chunk(self, usage: Usage) -> bytes:
        return data(
            self._head
            | {"object": "chat.completion.chunk", "choices": [], "usage": self._usage(usage)}
        )

    def _completion(self, answer: Answer) -> dict[str, Any]:
        text = self._composer.text
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if self._refused:
            message |= {"content": None, "refusal": text}
        elif self._cites:
            # OpenAI nests what the Responses API has flat.
            message["annotations"] = [
                {
                    "type": "url_citation",
                    "url_citation": {k: v for k, v in a.items() if k != "type"},
                }
                for a in self._composer.annotations
            ]
        return (
            self._completion_of(message, "stop", answer.usage)
            | self._citations()
            | {"gnomon": self._composer.extension(answer, self._ignored)}
        )

    def _completion_of(
        self, message: dict[str, Any], finish_reason: str, usage: Usage = _NONE
    ) -> dict[str, Any]:
        return self._head | {
            "object": "chat.completion",
            "service_tier": "default",
            "choices": [{"index": 0, "finish_reason": finish_reason, "message": message}],
            "usage": self._usage(usage),
        }

    def _citations(self) -> dict[str, Any]:
        return {"citations": self._composer.urls} if self._cites else {}

    def _usage(self, usage: Usage) -> dict[str, Any]:
        both = added(usage, self._used)
        read, wrote = both.input_tokens, both.output_tokens
        return {
            "prompt_tokens": read,
            "completion_tokens": wrote,
            "total_tokens": read + wrote,
            "prompt_tokens_details": {
                "text_tokens": read,
                "audio_tokens": 0,
                "image_tokens": 0,
                "cached_tokens": 0,
            },
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
            "num_sources_used": len(self._composer.urls),
        }


def call_json(call: ToolCall) -> dict[str, Any]:
    """A call as the chat API shows it."""
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


def calls_message(calls: Sequence[ToolCall]) -> dict[str, Any]:
    """The assistant's message that asks for calls."""
    return {"role": "assistant", "content": None, "tool_calls": [call_json(c) for c in calls]}


def _question(
    body: ChatRequest, services: Services, tools: Sequence[Mapping[str, Any]]
) -> tuple[Question, Conversation]:
    mode = mode_of(body.model)
    if body.n is not None and body.n != 1:
        raise bad_request(f"n = {body.n} is not possible: there is one checked answer.", param="n")
    if body.deferred:
        raise bad_request("deferred completions are not possible here.", param="deferred")
    if body.functions:
        raise bad_request(
            "functions is the form of years ago: give the same list as tools.", param="functions"
        )
    meant = narrow(
        tools, body.search_parameters, services.clock, web_options=body.web_search_options
    )
    said = converse(body.messages, param="messages")
    return Question(
        text=said.question,
        as_of=moment(body.as_of, services.clock, param="as_of"),
        mode=mode,
        history=said.history,
        instructions=said.instructions,
        given=documents_of(said.returned, services.clock.now()),
        **meant.filters(),
        **limits(body.max_completion_tokens or body.max_tokens),
    ), said
