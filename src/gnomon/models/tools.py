"""Tools for models that know none: the call is asked for in words and read back from the text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from gnomon.errors import ModelTerminal
from gnomon.models.base import GenerateRequest, Message, Tool, ToolCall


def offered(request: GenerateRequest) -> tuple[Tool, ...]:
    """The tools that the model may call under the request's `tool_choice`."""
    if request.tool_choice == "none":
        return ()
    if request.tool_choice in ("auto", "required"):
        return request.tools
    named = tuple(t for t in request.tools if t.name == request.tool_choice)
    if not named:
        raise ModelTerminal(
            f"tool_choice names {request.tool_choice}, which is not among the tools.",
            code="model.request",
        )
    return named


def forced(request: GenerateRequest) -> bool:
    """Whether the answer must be a call."""
    return bool(offered(request)) and request.tool_choice != "auto"


def forced_call_schema(request: GenerateRequest) -> Mapping[str, Any] | None:
    """A JSON schema that only a call fits, if the answer must be one."""
    if not forced(request):
        return None
    return {
        "anyOf": [
            {
                "type": "object",
                "properties": {
                    "name": {"const": tool.name},
                    "arguments": dict(tool.parameters) or {"type": "object"},
                },
                "required": ["name", "arguments"],
                "additionalProperties": False,
            }
            for tool in offered(request)
        ]
    }


def plain_messages(request: GenerateRequest) -> list[dict[str, str]]:
    """The messages with tools, calls and results spelled out, for a template without them."""
    messages = [{"role": _role(m), "content": _content(m)} for m in request.messages]
    if not offered(request):
        return messages
    listed = "\n".join(
        msgspec.json.encode(
            {"name": t.name, "description": t.description, "parameters": t.parameters}
        ).decode()
        for t in offered(request)
    )
    asked = (
        f"You can call these functions:\n{listed}\nTo call one, answer only with "
        '{"name": its name, "arguments": an object}.'
    )
    if messages and messages[0]["role"] == "system":
        messages[0]["content"] += f"\n\n{asked}"
    else:
        messages.insert(0, {"role": "system", "content": asked})
    return messages


class CallParser:
    """Tells calls from text in a stream: text that opens with a brace is held until it is clear."""

    def __init__(self, request: GenerateRequest) -> None:
        self._names = {t.name for t in offered(request)}
        self._held = ""
        self._is_text = not self._names

    def take(self, text: str) -> str:
        """What of the stream so far can be shown."""
        if self._is_text:
            return text
        self._held += text
        if not self._held.strip() or self._held.lstrip().startswith("{"):
            return ""
        self._is_text = True
        shown, self._held = self._held, ""
        return shown

    def end(self) -> tuple[str, tuple[ToolCall, ...]]:
        """The text that was held back, or the call that it is."""
        held, self._held = self._held, ""
        try:
            found = msgspec.json.decode(held) if held else None
        except msgspec.DecodeError:
            found = None
        if not isinstance(found, dict) or found.get("name") not in self._names:
            return held, ()
        arguments = found.get("arguments")
        if not isinstance(arguments, dict):
            return held, ()
        call = ToolCall(
            id="call_0", name=found["name"], arguments=msgspec.json.encode(arguments).decode()
        )
        return "", (call,)


def _role(message: Message) -> str:
    return "user" if message.role == "tool" else message.role


def _content(message: Message) -> str:
    if message.role == "tool":
        return f"Result of {message.tool_call_id}: {message.content}"
    calls = [
        f'{{"name": {msgspec.json.encode(c.name).decode()}, "arguments": {c.arguments}}}'
        for c in message.tool_calls
    ]
    return "\n".join(filter(None, [message.content, *calls]))
