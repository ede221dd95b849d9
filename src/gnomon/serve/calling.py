"""Functions of the client: a language model decides which to call, and the client calls them.

What a call brought is handed in with the next request. It is then a text among the evidence, which
sentences may quote and are checked against, like anything else that was read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Any

import msgspec

from gnomon.clock import Ids
from gnomon.models.base import GenerateRequest, Generator, Message, Tool, ToolCall
from gnomon.serve.errors import ApiError, bad_request, shown
from gnomon.types import Usage

MAX_FUNCTIONS = 350
_MAX_ARGUMENT_TOKENS = 1_000
_RULES = (
    "Decide whether one of the functions is needed to serve the last message. Call it if so. If "
    "none is needed, or what they returned is enough, reply with the single word DONE."
)


class Functions(msgspec.Struct, frozen=True, kw_only=True):
    """The client's functions, and whether one must be called."""

    tools: tuple[Tool, ...] = ()
    choice: str = "auto"
    """`auto`, `none`, `required`, or a function's name."""

    @property
    def wanted(self) -> bool:
        """Whether a model has to be asked at all."""
        return bool(self.tools) and self.choice != "none"


class Called(msgspec.Struct, frozen=True, kw_only=True):
    """The calls that a model asked for, and the tokens that this took."""

    calls: tuple[ToolCall, ...] = ()
    usage: Usage = Usage()


def client_functions(
    tools: Sequence[Mapping[str, Any]] | None, choice: str | Mapping[str, Any] | None
) -> tuple[Functions, list[Mapping[str, Any]]]:
    """The functions among `tools`, in either API's form, and the tools that are no functions."""
    functions, others = [], []
    for i, tool in enumerate(tools or ()):
        if tool.get("type") != "function":
            others.append(tool)
            continue
        inner = tool.get("function", tool)
        name = inner.get("name") if isinstance(inner, Mapping) else None
        parameters = (inner.get("parameters") or {}) if isinstance(inner, Mapping) else None
        if not isinstance(name, str) or not name or not isinstance(parameters, Mapping):
            raise bad_request(f"tools.{i} is no function with a name.", param=f"tools.{i}")
        described = inner.get("description")
        functions.append(
            Tool(
                name=name,
                description=described if isinstance(described, str) else "",
                parameters=parameters,
            )
        )
    if len(functions) > MAX_FUNCTIONS:
        raise bad_request(f"tools has more than {MAX_FUNCTIONS} functions.", param="tools")
    return Functions(tools=tuple(functions), choice=_choice(choice, functions)), others


def _choice(choice: str | Mapping[str, Any] | None, functions: Sequence[Tool]) -> str:
    if choice is None or choice in ("auto", "none"):
        return str(choice or "auto")
    if choice in ("required", "any"):
        if not functions:
            return "auto"  # a search that runs always: nothing else can be required
        return "required"
    if isinstance(choice, Mapping):
        inner = choice.get("function", choice)
        name = inner.get("name") if isinstance(inner, Mapping) else None
        if choice.get("type") not in ("function", "tool"):
            return "auto"  # a search tool by name: evidence is always searched
        if any(name == tool.name for tool in functions):
            return str(name)
        raise bad_request(
            f"tool_choice names {shown(name)}, which is no tool.", param="tool_choice"
        )
    raise bad_request(f"tool_choice = {shown(choice)} is not possible.", param="tool_choice")


async def decide(
    generator: Generator | None, functions: Functions, messages: Sequence[Message], ids: Ids
) -> Called:
    """Which functions to call now. Raises ApiError where a call must be made and none can."""
    forced = functions.choice not in ("auto", "none")
    if generator is None:
        if not forced:
            return Called()
        raise ApiError(
            400,
            "Calling functions needs a language model, and none is ready.",
            code="request.model_needed",
            param="tools",
            hint="`gnomon doctor` says which models there are.",
        )
    if generator.capable:
        return await _asked(generator, functions, messages)
    # A small model calls something every time that it may, so it is asked only where it must.
    return await _filled(generator, functions, messages, ids) if forced else Called()


async def _asked(generator: Generator, functions: Functions, messages: Sequence[Message]) -> Called:
    request = GenerateRequest(
        messages=(Message(role="system", content=_RULES), *messages),
        max_tokens=_MAX_ARGUMENT_TOKENS,
        tools=functions.tools,
        tool_choice=functions.choice,
    )
    calls: list[ToolCall] = []
    usage = Usage()
    async with aclosing(generator.stream(request)) as chunks:  # type: ignore[type-var]
        async for chunk in chunks:
            calls += chunk.tool_calls
            if chunk.finish_reason is not None:
                usage = Usage(input_tokens=chunk.input_tokens, output_tokens=chunk.output_tokens)
    return Called(calls=tuple(calls), usage=usage)


async def _filled(
    generator: Generator, functions: Functions, messages: Sequence[Message], ids: Ids
) -> Called:
    """The one call that must be made, its arguments held to the schema by the engine."""
    named = [tool for tool in functions.tools if tool.name == functions.choice]
    tool = (named or list(functions.tools))[0]
    asked = [message.content for message in messages if message.role == "user"]
    request = GenerateRequest(
        messages=(
            Message(
                role="system",
                content=f"Write the arguments of the function {tool.name} as JSON. "
                f"{tool.description}",
            ),
            Message(role="user", content="\n".join(asked[-1:])[-2_000:]),
        ),
        max_tokens=256,
        json_schema=tool.parameters or {"type": "object"},
    )
    written, usage = "", Usage()
    async with aclosing(generator.stream(request)) as chunks:  # type: ignore[type-var]
        async for chunk in chunks:
            written += chunk.text
            if chunk.finish_reason is not None:
                usage = Usage(input_tokens=chunk.input_tokens, output_tokens=chunk.output_tokens)
    call = ToolCall(id=ids.new("call"), name=tool.name, arguments=written.strip() or "{}")
    return Called(calls=(call,), usage=usage)
