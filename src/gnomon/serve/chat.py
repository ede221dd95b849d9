"""`/v1/chat/completions`: the older chat API, translated to and from the Responses API's exchange.

What can be asked, and how it is answered, is decided there; here are only this API's shapes.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, cast

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from gnomon.serve.conversation import IGNORED
from gnomon.serve.errors import ApiError, bad_request, openai_body, shown, told
from gnomon.serve.exchange import ENDINGS, Exchange, ResponsesRequest
from gnomon.serve.jobs import Jobs
from gnomon.serve.people import identity_of, spender
from gnomon.serve.services import Services
from gnomon.serve.sse import EventStream, data, unless_gone
from gnomon.serve.wire import JsonResponse, JsonRoute, base_url, services_of

router = APIRouter(tags=["OpenAI: Chat"], route_class=JsonRoute)
_DONE = b"data: [DONE]\n\n"


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
    """Answer, whole or as a stream of chunks; with `deferred`, an id to ask for it later."""
    services = services_of(request)
    owner = identity_of(request).user_id
    exchange = await Exchange.begin(
        responses_request(body),
        services,
        base_url(request, services),
        owner,
        asked_in="messages",
        form_in="response_format",
        spent=spender(request),
        door="plain",
    )
    if body.deferred:
        job = await _jobs(request).start(exchange, owner)
        return JsonResponse({"request_id": job.response["id"]})
    completion = _Completion(body, exchange, services)
    if body.stream:
        return EventStream(completion.stream(), services.clock)
    return JsonResponse(await unless_gone(completion.run(), request.receive))


@router.get("/v1/chat/deferred-completion/{request_id}", summary="Read a deferred completion")
async def get_deferred_completion(request_id: str, request: Request) -> Response:
    """The completion; 202 while it is being made, 404 ten minutes after its end."""
    job = _jobs(request).get(request_id)
    if job is None or job.owner != identity_of(request).user_id:
        raise ApiError(
            404,
            f"There is no deferred completion {shown(request_id)}, or none any more.",
            code="deferred_not_found",
            param="request_id",
        )
    response = job.response
    if response["status"] == "in_progress":
        return Response(status_code=202)
    if job.failure is not None:
        raise job.failure
    if response["status"] not in ("completed", "incomplete"):
        error = response.get("error") or {"code": "cancelled", "message": "It was cancelled."}
        raise ApiError(500, error["message"], code=error["code"])
    services = services_of(request)
    return JsonResponse(completion_of(response, services.version))


def _jobs(request: Request) -> Jobs:
    return cast(Jobs, request.app.state.jobs)


def responses_request(body: ChatRequest) -> ResponsesRequest:
    """The same wishes as the Responses API has them."""
    if body.n is not None and body.n != 1:
        raise bad_request(f"n = {body.n} is not possible: there is one checked answer.", param="n")
    if body.functions:
        raise bad_request(
            "functions is the form of years ago: give the same list as tools.", param="functions"
        )
    if body.deferred and body.stream:
        raise bad_request("A deferred completion is not streamed.", param="stream")
    tools = list(body.tools or ())
    if body.web_search_options is not None:
        tools.append({**body.web_search_options, "type": "web_search"})
    given = body.model_extra or {}
    return ResponsesRequest(
        model=body.model,
        input=body.messages,
        store=False,
        max_output_tokens=body.max_completion_tokens or body.max_tokens,
        tools=tools or None,
        tool_choice=body.tool_choice,
        text={"format": body.response_format} if body.response_format else None,
        search_parameters=body.search_parameters,
        as_of=body.as_of,
        **{name: given[name] for name in IGNORED if name in given},
    )


class _Completion:
    """One answer in this API's shapes."""

    def __init__(self, body: ChatRequest, exchange: Exchange, services: Services) -> None:
        self._body = body
        self._exchange = exchange
        self._services = services
        self._cites = (body.search_parameters or {}).get("return_citations") is not False
        self._head: dict[str, Any] = {}

    async def run(self) -> dict[str, Any]:
        """The whole completion."""
        response = await self._exchange.run()
        completion = completion_of(response, self._services.version)
        if not self._cites:
            completion.pop("citations", None)
        return completion

    async def stream(self) -> AsyncGenerator[bytes]:
        """The completion as chunks; a failure becomes an error object and the end."""
        calls = 0
        try:
            async with aclosing(self._exchange.steps()) as steps:
                async for name, payload in steps:
                    if name == "response.created":
                        self._head = _head(payload["response"], self._services.version)
                        yield self._chunk({"role": "assistant", "content": ""})
                    elif name == "response.output_text.delta":
                        delta = {"role": "assistant", "content": payload["delta"]}
                        tokens = payload["logprobs"] or None
                        yield self._chunk(delta, own=payload.get("gnomon"), logprobs=tokens)
                    elif name == "response.output_item.done":
                        item = payload["item"]
                        if item["type"] == "function_call":
                            # Whole in one chunk: some clients cannot read fragments.
                            one = {"index": calls, **call_json(item)}
                            yield self._chunk({"role": "assistant", "tool_calls": [one]})
                            calls += 1
                    elif name in ENDINGS:
                        for chunk in self._ending(payload["response"]):
                            yield chunk
            yield _DONE
        except Exception as error:
            yield data(openai_body(told(error, self._services, "chat")))

    def _ending(self, response: Mapping[str, Any]) -> list[bytes]:
        completion = whole(response)
        choice = completion["choices"][0]
        refusal = choice["message"].get("refusal")
        last: dict[str, Any] = {
            "index": 0,
            "delta": {"refusal": refusal} if refusal else {},
            "finish_reason": choice["finish_reason"],
        }
        beside = {
            name: completion[name]
            for name in ("citations", "gnomon")
            if name in completion and (self._cites or name != "citations")
        }
        chunks: list[dict[str, Any]] = [{"choices": [last]} | beside]
        if annotations := choice["message"].get("annotations"):
            delta = {"role": "assistant", "annotations": annotations}
            located = {"index": 0, "delta": delta, "finish_reason": None}
            chunks.insert(0, {"choices": [located]})
        if self._body.stream_options and self._body.stream_options.include_usage:
            chunks.append({"choices": [], "usage": completion["usage"]})
        return [data(self._head | {"object": "chat.completion.chunk"} | c) for c in chunks]

    def _chunk(
        self,
        delta: dict[str, Any],
        own: Mapping[str, Any] | None = None,
        logprobs: list[dict[str, Any]] | None = None,
    ) -> bytes:
        choice: dict[str, Any] = {"index": 0, "delta": delta, "finish_reason": None}
        if logprobs is not None:
            choice["logprobs"] = {"content": logprobs, "refusal": None}
        shown = {"object": "chat.completion.chunk", "choices": [choice]}
        return data(self._head | shown | ({"gnomon": own} if own else {}))


def _head(response: Mapping[str, Any], version: str) -> dict[str, Any]:
    """What a completion and each chunk of its stream begin with."""
    return {
        "id": response["id"].replace("resp", "chatcmpl", 1),
        "created": response["created_at"],
        "model": response["model"],
        "system_fingerprint": f"gnomon-{version}",
    }


def completion_of(response: Mapping[str, Any], version: str) -> dict[str, Any]:
    """A finished response as a completion."""
    return _head(response, version) | whole(response)


def whole(response: Mapping[str, Any]) -> dict[str, Any]:
    """A finished response as a completion, but for its head."""
    calls = [item for item in response["output"] if item["type"] == "function_call"]
    tokens: list[dict[str, Any]] | None = None
    if calls:
        message: dict[str, Any] = {
            "role": "assistant",
            "content": None,
            "refusal": None,
            "tool_calls": [call_json(c) for c in calls],
        }
        finish, beside = "tool_calls", {}
    else:
        part = response["output"][-1]["content"][0]
        message = {"role": "assistant"} | _content(part)
        tokens = part.get("logprobs") or None
        finish = "length" if response["status"] == "incomplete" else "stop"
        beside = {"citations": response["citations"], "gnomon": response["gnomon"]}
    return {
        "object": "chat.completion",
        "service_tier": "default",
        "choices": [
            {
                "index": 0,
                "finish_reason": finish,
                "message": message,
                "logprobs": tokens and {"content": tokens, "refusal": None},
            }
        ],
        "usage": _usage(response["usage"]),
    } | beside


def _content(part: Mapping[str, Any]) -> dict[str, Any]:
    if part["type"] == "refusal":
        return {"content": None, "refusal": part["refusal"]}
    # OpenAI nests what the Responses API has flat.
    annotations = [
        {"type": "url_citation", "url_citation": {k: v for k, v in a.items() if k != "type"}}
        for a in part["annotations"]
    ]
    return {"content": part["text"], "refusal": None} | (
        {"annotations": annotations} if annotations else {}
    )


def call_json(item: Mapping[str, Any]) -> dict[str, Any]:
    """A call as the chat API shows it."""
    function = {"name": item["name"], "arguments": item["arguments"]}
    return {"id": item["call_id"], "type": "function", "function": function}


def _usage(usage: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "prompt_tokens": usage["input_tokens"],
        "completion_tokens": usage["output_tokens"],
        "total_tokens": usage["total_tokens"],
        "prompt_tokens_details": {
            "text_tokens": usage["input_tokens"],
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
        "num_sources_used": usage["num_sources_used"],
    }
