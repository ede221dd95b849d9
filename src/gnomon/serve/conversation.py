"""From a client's messages to one question with its history."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from gnomon.answer.base import AnswerMode, Turn
from gnomon.models.base import Message, ToolCall
from gnomon.serve.errors import ApiError, bad_request, shown
from gnomon.types import CALL_PREFIX, Document

MODELS: Mapping[str, AnswerMode] = {"gnomon": "fast", "gnomon-extract": "extract"}
"""Model ids that we serve, and how each answers."""

MAX_QUESTION_CHARS = 20_000
MAX_TURNS = 50
"""Earlier turns beyond this many, counted from the newest, are not read."""

_LINK = re.compile(r"\[\[\d+\]\]\([^)\s]*\)")
# Tuples: what clients send may be unhashable.
_OUTPUT_ITEMS = (
    "reasoning",
    "web_search_call",
    "x_search_call",
    "custom_tool_call",
    "file_search_call",
    "code_interpreter_call",
    "mcp_list_tools",
    "mcp_approval_request",
    "mcp_approval_response",
)
_TEXT_PARTS = ("text", "input_text", "output_text")
IGNORED = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "seed",
    "stop",
    "logprobs",
    "top_logprobs",
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "reasoning",
    "reasoning_effort",
    "max_turns",
)
"""Wishes that our writers do not follow; those given are listed in the answer."""


class Returned(msgspec.Struct, frozen=True, kw_only=True):
    """What a function of the client returned."""

    call_id: str
    name: str
    arguments: str
    output: str


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked, and what was said before."""

    question: str
    history: tuple[Turn, ...] = ()
    instructions: str = ""
    messages: tuple[Message, ...] = ()
    """Everything that was said, calls of functions and what they returned included."""
    returned: tuple[Returned, ...] = ()
    """What functions of the client returned since the question."""


def mode_of(model: str, known: Sequence[str] = tuple(MODELS)) -> AnswerMode:
    """How the model `model` answers; a 404 for a model that we do not have, naming the known."""
    if model not in MODELS:
        raise ApiError(
            404,
            f"There is no model {shown(model)} here.",
            code="model_not_found",
            param="model",
            hint=f"Use {' or '.join(known)}.",
        )
    return MODELS[model]


def question_text(text: str, param: str) -> str:
    """A question that can be asked, or a 400."""
    text = text.strip()
    if not text or not any(c.isprintable() and not c.isspace() for c in text):
        raise bad_request(f"{param} is empty: there is no question.", param=param)
    if len(text) > MAX_QUESTION_CHARS:
        raise bad_request(
            f"{param} has {len(text):,} characters; a question may have {MAX_QUESTION_CHARS:,}.",
            param=param,
            code="request.too_long",
        )
    return text


def converse(items: Sequence[Mapping[str, Any]], *, param: str) -> Conversation:
    """Read messages (of either API) in order; the last user messages are the question."""
    instructions: list[str] = []
    turns: list[Turn] = []
    asked: list[str] = []
    messages: list[Message] = []
    calls: dict[str, ToolCall] = {}
    returned: list[Returned] = []
    for i, item in enumerate(items):
        here = f"{param}.{i}"
        kind = item.get("type") or "message"
        role = item.get("role") if kind == "message" else None
        if kind in _OUTPUT_ITEMS:
            continue
        if kind == "mcp_call":
            if isinstance(item.get("output"), str):
                returned.append(_returned(item))
            continue
        if kind == "function_call":
            call = _call(item, str(item.get("call_id") or item.get("id") or ""), here)
            calls[call.id] = call
            messages.append(Message(role="assistant", tool_calls=(call,)))
        elif kind == "function_call_output" or role == "tool":
            id = item.get("call_id") or item.get("tool_call_id")
            if not isinstance(id, str) or id not in calls:
                raise bad_request(
                    f"{here} answers the call {shown(id)}, which was not made.", param=here
                )
            text = _text(item.get("output", item.get("content")), here)
            name, arguments = calls[id].name, calls[id].arguments
            returned.append(Returned(call_id=id, name=name, arguments=arguments, output=text))
            messages.append(Message(role="tool", content=text, tool_call_id=id))
        elif kind != "message":
            raise bad_request(f"{here}.type = {shown(kind)} cannot be read here.", param=here)
        elif role in ("system", "developer"):
            instructions.append(_text(item.get("content"), here))
        elif role == "user":
            asked = asked if messages and messages[-1].role == "user" else []
            asked.append(_text(item.get("content"), here))
            messages.append(Message(role="user", content=asked[-1]))
            returned = []
        elif role == "assistant":
            text = _LINK.sub("", _text(item.get("content"), here))
            made = tuple(_chat_calls(item, here))
            calls |= {call.id: call for call in made}
            messages.append(Message(role="assistant", content=text, tool_calls=made))
            if text:
                turns.append(Turn(question="\n".join(asked), answer=text))
        else:
            raise bad_request(
                f"{here}.role = {shown(role)} is none of user, assistant, system, developer, tool.",
                param=f"{here}.role",
            )
    if not asked or (messages[-1].role not in ("user", "tool")):
        raise bad_request(f"{param} must end with a message of the user.", param=param)
    return Conversation(
        question=question_text("\n".join(asked), param),
        history=tuple(turns[-MAX_TURNS:]),
        instructions="\n".join(t for t in instructions if t),
        messages=tuple(messages),
        returned=tuple(returned),
    )


def _chat_calls(item: Mapping[str, Any], param: str) -> Iterator[ToolCall]:
    """The calls of an assistant's message in the chat API."""
    given = item.get("tool_calls") or ()
    if not isinstance(given, list | tuple):
        raise bad_request(f"{param}.tool_calls must be a list.", param=f"{param}.tool_calls")
    for j, call in enumerate(given):
        here = f"{param}.tool_calls.{j}"
        function = call.get("function") if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping):
            raise bad_request(f"{here} names no function.", param=here)
        yield _call(function, str(call.get("id") or ""), here)


def _call(function: Mapping[str, Any], id: str, param: str) -> ToolCall:
    name, arguments = function.get("name"), function.get("arguments", "{}")
    if not id or not isinstance(name, str) or not isinstance(arguments, str):
        raise bad_request(f"{param} needs an id, a name and arguments as text.", param=param)
    return ToolCall(id=id, name=name, arguments=arguments)


def _returned(item: Mapping[str, Any]) -> Returned:
    """What a remote server returned earlier: a text to quote, but no message to a model."""
    return Returned(
        call_id=str(item.get("id")),
        name=f"{item.get('server_label')}/{item.get('name')}",
        arguments=str(item.get("arguments")),
        output=item["output"],
    )


def documents_of(returned: Sequence[Returned], now: datetime) -> tuple[Document, ...]:
    """What functions returned, as texts that an answer may quote."""
    return tuple(
        Document(
            key=f"{CALL_PREFIX}{one.call_id}",
            source=f"function {one.name}",
            kind="file",
            title=f"{one.name}({one.arguments})"[:200],
            text=one.output,
            observed_at=now,
        )
        for one in returned
        if one.output.strip()
    )


def limits(max_output_tokens: int | None) -> dict[str, Any]:
    """The client's limit as keyword arguments of a Question; nothing keeps our default."""
    return {} if max_output_tokens is None else {"max_output_tokens": max_output_tokens}


def ignored(extra: Mapping[str, Any] | None) -> list[str]:
    """Which given wishes have no effect."""
    return [name for name in IGNORED if (extra or {}).get(name) is not None]


def _text(content: Any, param: str) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise bad_request(
            f"{param}.content must be a string or a list of parts.", param=f"{param}.content"
        )
    texts = []
    for j, part in enumerate(content):
        here = f"{param}.content.{j}"
        if not isinstance(part, Mapping):
            raise bad_request(f"{here} must be an object.", param=here)
        kind = part.get("type")
        if kind == "refusal":
            continue
        text = part.get("text")
        if kind not in _TEXT_PARTS or not isinstance(text, str):
            raise bad_request(
                f"{here}.type = {shown(kind)} cannot be read: only text can.", param=here
            )
        texts.append(text)
    return "\n".join(texts)
