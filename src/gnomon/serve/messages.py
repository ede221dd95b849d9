"""`/v1/messages`: Anthropic's Messages API, translated to and from the Responses API's exchange."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from gnomon.serve.errors import anthropic_body, bad_request, shown, told
from gnomon.serve.exchange import ENDINGS, Exchange, ResponsesRequest
from gnomon.serve.own import asked_entry, model_ids
from gnomon.serve.people import identity_of, spender
from gnomon.serve.services import Services
from gnomon.serve.sse import EventStream, event, unless_gone
from gnomon.serve.wire import JsonResponse, JsonRoute, base_url, services_of

router = APIRouter(tags=["Anthropic: Messages"], route_class=JsonRoute)

_SEARCH = "web_search"
"""Beginning of the types of Anthropic's search tool, which carry a date."""


class MessagesRequest(BaseModel):
    """A request as Anthropic's clients send it, with `as_of` of our own."""

    model_config = ConfigDict(extra="allow")

    model: str = "gnomon"
    max_tokens: int = Field(ge=1)
    messages: list[dict[str, Any]]
    system: str | list[dict[str, Any]] | None = None
    stream: bool | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: dict[str, Any] | None = None
    as_of: str | None = Field(None, description="Answer as of this moment: ISO 8601 with a zone.")


@router.post("/v1/messages", summary="Ask, in Anthropic's Messages format")
async def create_message(body: MessagesRequest, request: Request) -> Response:
    """Answer, whole or as a stream of typed events."""
    services = services_of(request)
    exchange = await Exchange.begin(
        _responses_request(body, services),
        services,
        base_url(request, services),
        identity_of(request).user_id,
        asked_in="messages",
        spent=spender(request),
        door="plain",
    )
    if body.stream:
        return EventStream(_stream(exchange, services), services.clock)
    return JsonResponse(message_of(await unless_gone(exchange.run(), request.receive)))


@router.post("/v1/messages/count_tokens", summary="Count a request's tokens")
async def count_tokens(body: dict[str, Any], request: Request) -> Response:
    """About how many tokens the messages have."""
    texts = [text for item in _items(body.get("messages") or []) for text in _texts_of(item)]
    services = services_of(request)
    whole = "\n".join([_plain(body.get("system")), *texts])
    model = body.get("model")
    if (
        services.served
        and isinstance(model, str)
        and asked_entry(services, _known(model, services))
    ):
        async with services.served.generator(model) as (_, own):
            return JsonResponse({"input_tokens": await own.count_tokens(whole)})
    generator = services.models.generator()
    count = await generator.count_tokens(whole) if generator else max(1, len(whole) // 4)
    return JsonResponse({"input_tokens": count})


def _known(model: str, services: Services) -> str:
    """The model that is meant: clients of Anthropic name theirs."""
    theirs = model.startswith("claude") and model not in model_ids(services)
    return "gnomon" if theirs else model


def _responses_request(body: MessagesRequest, services: Services) -> ResponsesRequest:
    """The same wishes as the Responses API has them."""
    model = _known(body.model, services)
    given = body.model_extra or {}
    wishes = {name: given.get(theirs) for name, theirs in _WISHES.items() if given.get(theirs)}
    return ResponsesRequest(
        model=model,
        input=list(_items(body.messages)),
        instructions=_plain(body.system) or None,
        store=False,
        max_output_tokens=min(body.max_tokens, 100_000),
        tools=[_tool(tool, f"tools.{i}") for i, tool in enumerate(body.tools or ())] or None,
        tool_choice=_choice(body.tool_choice),
        as_of=body.as_of,
        **wishes,
    )


_WISHES = {"temperature": "temperature", "top_p": "top_p", "stop": "stop_sequences"}
"""How they are called in the Responses API, and here."""


def _items(messages: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Messages, calls and results as items of the Responses API."""
    for i, message in enumerate(messages):
        here = f"messages.{i}"
        role, content = message.get("role"), message.get("content")
        if role not in ("user", "assistant"):
            raise bad_request(
                f"{here}.role = {shown(role)} is neither user nor assistant.", param=here
            )
        if isinstance(content, str):
            content = [{"type": "text", "text": content}]
        if not isinstance(content, list):
            raise bad_request(f"{here}.content must be a string or a list of blocks.", param=here)
        texts: list[dict[str, Any]] = []
        for j, block in enumerate(content):
            place = f"{here}.content.{j}"
            kind = block.get("type") if isinstance(block, Mapping) else None
            if kind == "text":
                texts.append({"type": "input_text", "text": _plain([block])})
            elif kind == "tool_use" and role == "assistant":
                yield {
                    "type": "function_call",
                    "call_id": str(block.get("id") or ""),
                    "name": block.get("name"),
                    "arguments": json.dumps(block.get("input") or {}),
                }
            elif kind == "tool_result" and role == "user":
                yield {
                    "type": "function_call_output",
                    "call_id": block.get("tool_use_id"),
                    "output": _plain(block.get("content")),
                }
            elif kind not in ("thinking", "redacted_thinking", "server_tool_use") and not str(
                kind
            ).endswith("_tool_result"):
                raise bad_request(f"{place}.type = {shown(kind)} cannot be read here.", param=place)
        if texts:
            yield {"type": "message", "role": role, "content": texts}


def _texts_of(item: Mapping[str, Any]) -> Iterator[str]:
    for part in item.get("content") or ():
        yield part["text"]
    yield str(item.get("output") or item.get("arguments") or "")


def _plain(content: Any) -> str:
    """The text of a string or of text blocks."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise bad_request("Text must be a string or a list of text blocks.", param="messages")
    texts = [block.get("text") for block in content if isinstance(block, Mapping)]
    return "\n".join(text for text in texts if isinstance(text, str))


def _tool(tool: Mapping[str, Any], param: str) -> dict[str, Any]:
    kind = tool.get("type") or "custom"
    if str(kind).startswith(_SEARCH):
        return {
            "type": "web_search",
            "allowed_domains": tool.get("allowed_domains"),
            "excluded_domains": tool.get("blocked_domains"),
        }
    if kind != "custom":
        raise bad_request(
            f"{param}.type = {shown(kind)} is not a tool that Gnomon runs.", param=param
        )
    return {
        "type": "function",
        "name": tool.get("name"),
        "description": tool.get("description"),
        "parameters": tool.get("input_schema"),
    }


def _choice(choice: Mapping[str, Any] | None) -> str | dict[str, Any] | None:
    kind = (choice or {}).get("type")
    if kind == "tool":
        return {"type": "function", "name": (choice or {}).get("name")}
    return {"any": "required", "none": "none"}.get(str(kind))


def message_of(response: Mapping[str, Any]) -> dict[str, Any]:
    """A finished response as a message."""
    blocks = [_block(item) for item in response["output"] if item["type"] in _BLOCKS]
    called = any(block["type"] == "tool_use" for block in blocks)
    cut = response["status"] == "incomplete"
    usage = response["usage"]
    return _head(response) | {
        "content": blocks,
        "stop_reason": "tool_use" if called else "max_tokens" if cut else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": usage["input_tokens"], "output_tokens": usage["output_tokens"]},
        "gnomon": response.get("gnomon"),
    }


_BLOCKS = ("message", "function_call")


def _head(response: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": response["id"].replace("resp", "msg", 1),
        "type": "message",
        "role": "assistant",
        "model": response["model"],
    }


def _block(item: Mapping[str, Any]) -> dict[str, Any]:
    if item["type"] == "message":
        return {"type": "text", "text": item["content"][0]["text"]}
    arguments = json.loads(item["arguments"] or "{}")
    return {"type": "tool_use", "id": item["call_id"], "name": item["name"], "input": arguments}


async def _stream(exchange: Exchange, services: Services) -> AsyncGenerator[bytes]:
    """The message as Anthropic's events; a failure becomes `error` and the end."""
    index = -1
    try:
        async with aclosing(exchange.steps()) as steps:
            async for name, payload in steps:
                if name == "response.created":
                    begun = _head(payload["response"]) | {
                        "content": [],
                        "stop_reason": None,
                        "stop_sequence": None,
                        "usage": {"input_tokens": 0, "output_tokens": 0},
                    }
                    yield _event("message_start", message=begun)
                elif name == "response.output_item.added" and payload["item"]["type"] in _BLOCKS:
                    index += 1
                    item = payload["item"]
                    block: dict[str, Any] = {"type": "text", "text": ""}
                    if item["type"] == "function_call":
                        block = _block(item | {"arguments": "{}"})
                    yield _event("content_block_start", index=index, content_block=block)
                elif name in _DELTAS:
                    kind, field = _DELTAS[name]
                    delta = {"type": kind, field: payload["delta"]}
                    own = {"gnomon": payload["gnomon"]} if "gnomon" in payload else {}
                    yield _event("content_block_delta", index=index, delta=delta, **own)
                elif name == "response.output_item.done" and payload["item"]["type"] in _BLOCKS:
                    yield _event("content_block_stop", index=index)
                elif name in ENDINGS:
                    whole = message_of(payload["response"])
                    ending = {name: whole[name] for name in ("stop_reason", "stop_sequence")}
                    usage, own = whole["usage"], whole["gnomon"]
                    yield _event("message_delta", delta=ending, usage=usage, gnomon=own)
                    yield _event("message_stop")
    except Exception as error:
        yield event("error", anthropic_body(told(error, services, "message")))


_DELTAS = {
    "response.output_text.delta": ("text_delta", "text"),
    "response.function_call_arguments.delta": ("input_json_delta", "partial_json"),
}


def _event(name: str, /, **payload: Any) -> bytes:
    return event(name, {"type": name, **payload})
