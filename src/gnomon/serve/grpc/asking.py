"""From a gRPC request to the same wishes as the Responses API has them.

What no field of ours can hold is refused by the exchange with a sentence, never dropped.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from gnomon.serve.errors import bad_request, shown
from gnomon.serve.exchange import ResponsesRequest
from gnomon.serve.grpc.schema import ENUMS
from gnomon.serve.moments import iso
from gnomon.serve.sealing import KIND
from gnomon.serve.wire import read_json

_ROLES = {
    ENUMS["ROLE_USER"]: "user",
    ENUMS["ROLE_ASSISTANT"]: "assistant",
    ENUMS["ROLE_SYSTEM"]: "system",
    ENUMS["ROLE_DEVELOPER"]: "developer",
    ENUMS["ROLE_TOOL"]: "tool",
    ENUMS["ROLE_FUNCTION"]: "tool",
}
_CLIENT_SIDE = (ENUMS["TOOL_CALL_TYPE_CLIENT_SIDE_TOOL"], ENUMS["TOOL_CALL_TYPE_INVALID"])
_INLINE = ENUMS["INCLUDE_OPTION_INLINE_CITATIONS"]
_FOUND_IN_FILES = ENUMS["INCLUDE_OPTION_COLLECTIONS_SEARCH_CALL_OUTPUT"]
_COMPUTED = ENUMS["INCLUDE_OPTION_CODE_EXECUTION_CALL_OUTPUT"]
_CHOICES = {
    ENUMS["TOOL_MODE_AUTO"]: "auto",
    ENUMS["TOOL_MODE_NONE"]: "none",
    ENUMS["TOOL_MODE_REQUIRED"]: "required",
}
_MODES = {ENUMS["OFF_SEARCH_MODE"]: "off", ENUMS["ON_SEARCH_MODE"]: "on"}
_OPTIONAL = ("temperature", "top_p", "seed", "frequency_penalty", "presence_penalty", "max_turns")


def responses_request(asked: Any, as_of: str | None) -> ResponsesRequest:
    """What a GetCompletionsRequest wishes. Raises ApiError 400."""
    if asked.HasField("n") and asked.n != 1:
        raise bad_request(f"n = {asked.n} is not possible: there is one checked answer.", param="n")
    ignored: dict[str, Any] = {
        name: getattr(asked, name) for name in _OPTIONAL if asked.HasField(name)
    }
    if asked.stop:
        ignored["stop"] = list(asked.stop)
    if asked.logprobs:
        ignored["logprobs"] = True
    if asked.HasField("top_logprobs"):
        ignored["top_logprobs"] = asked.top_logprobs
    if asked.HasField("reasoning_effort"):
        ignored["reasoning_effort"] = asked.reasoning_effort
    if asked.HasField("max_tokens") and asked.max_tokens < 1:
        raise bad_request(f"max_tokens = {asked.max_tokens} is not possible.", param="max_tokens")
    return ResponsesRequest(
        model=asked.model,
        input=list(input_items(asked.messages)),
        store=asked.store_messages,
        previous_response_id=asked.previous_response_id or None,
        max_output_tokens=asked.max_tokens if asked.HasField("max_tokens") else None,
        tools=[_tool(tool, i) for i, tool in enumerate(asked.tools)] or None,
        tool_choice=_choice(asked.tool_choice) if asked.HasField("tool_choice") else None,
        include=_include(asked.include),
        text=_format(asked.response_format) if asked.HasField("response_format") else None,
        search_parameters=(
            _search_parameters(asked.search_parameters)
            if asked.HasField("search_parameters")
            else None
        ),
        as_of=as_of,
        **ignored,
    )


def _include(options: Container[int]) -> list[str]:
    """Inline citations have to be wished for here, and to be wished away over HTTP."""
    inline = [] if _INLINE in options else ["no_inline_citations"]
    found = ["file_search_call.results"] if _FOUND_IN_FILES in options else []
    return inline + found + (["code_interpreter_call.outputs"] if _COMPUTED in options else [])


def shows_tools(asked: Any) -> bool:
    """Whether the client expects to see what our own tools did, as outputs of their own."""
    return any(tool.WhichOneof("tool") != "function" for tool in asked.tools)


def input_items(messages: Any) -> Iterator[dict[str, Any]]:
    """The messages as input items. Calls of our own tools, handed back, are passed over."""
    ours: set[str] = set()
    waiting: list[str] = []
    for i, message in enumerate(messages):
        role = _ROLES.get(message.role)
        if role is None:
            raise bad_request(
                f"messages.{i}.role = {message.role} is none of ours.", param=f"messages.{i}.role"
            )
        if role == "tool":
            call_id = message.tool_call_id or (waiting[0] if waiting else "")
            if call_id in ours:
                continue
            if call_id in waiting:
                waiting.remove(call_id)
            output = "\n".join(part.text for part in message.content)
            yield {"type": "function_call_output", "call_id": call_id, "output": output}
            continue
        if message.encrypted_content and not message.content:
            yield {"type": KIND, "encrypted_content": message.encrypted_content}
            continue
        ours |= {call.id for call in message.tool_calls if call.type not in _CLIENT_SIDE}
        calls = [call for call in message.tool_calls if call.type in _CLIENT_SIDE]
        content = [_part(part) for part in message.content]
        empty = role == "assistant" and not any(part.get("text") for part in content)
        if not empty:
            yield {"role": role, "content": content}
        for call in calls:
            waiting.append(call.id)
            yield {
                "type": "function_call",
                "call_id": call.id,
                "name": call.function.name,
                "arguments": call.function.arguments or "{}",
            }


def _part(part: Any) -> dict[str, Any]:
    kind = part.WhichOneof("content")
    if kind == "image_url":
        return {"type": "input_image", "image_url": part.image_url.image_url}
    if kind == "file":
        return {"type": "input_file", "file_id": part.file.file_id}
    return {"type": "input_text", "text": part.text}


def _tool(tool: Any, i: int) -> dict[str, Any]:
    kind = tool.WhichOneof("tool")
    if kind == "function":
        return {
            "type": "function",
            "name": tool.function.name,
            "description": tool.function.description,
            "parameters": _object(tool.function.parameters or "{}", f"tools.{i}.parameters"),
            "strict": tool.function.strict,
        }
    if kind == "web_search":
        return {"type": "web_search"} | _lists(
            tool.web_search, "allowed_domains", "excluded_domains"
        )
    if kind == "x_search":
        dates = {
            name: iso(_moment(getattr(tool.x_search, name)))
            for name in ("from_date", "to_date")
            if tool.x_search.HasField(name)
        }
        handles = _lists(tool.x_search, "allowed_x_handles", "excluded_x_handles")
        return {"type": "x_search"} | dates | handles
    if kind == "collections_search":
        wanted = tool.collections_search
        limit = {"max_num_results": wanted.limit} if wanted.HasField("limit") else {}
        return {"type": "file_search", "vector_store_ids": list(wanted.collection_ids)} | limit
    if kind == "mcp":
        return {
            "type": "mcp",
            "server_label": tool.mcp.server_label,
            "server_description": tool.mcp.server_description,
            "server_url": tool.mcp.server_url,
            "allowed_tools": list(tool.mcp.allowed_tool_names) or None,
            "authorization": tool.mcp.authorization or None,
            "headers": dict(tool.mcp.extra_headers),
        }
    return {"type": "code_interpreter" if kind == "code_execution" else kind or "unknown"}


def _choice(choice: Any) -> str | dict[str, Any] | None:
    if choice.WhichOneof("tool_choice") == "function_name":
        return {"type": "function", "name": choice.function_name}
    return _CHOICES.get(choice.mode)


def _format(wanted: Any) -> dict[str, Any] | None:
    if wanted.format_type == ENUMS["FORMAT_TYPE_JSON_OBJECT"]:
        return {"format": {"type": "json_object"}}
    if wanted.format_type == ENUMS["FORMAT_TYPE_JSON_SCHEMA"]:
        schema = _object(wanted.schema, "response_format.schema")
        return {"format": {"type": "json_schema", "name": "answer", "schema": schema}}
    return None


def _search_parameters(given: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "mode": _MODES.get(given.mode, "auto"),
        "return_citations": given.return_citations,
    }
    for name in ("from_date", "to_date"):
        if given.HasField(name):
            found[name] = iso(_moment(getattr(given, name)))
    if given.sources:
        found["sources"] = [_source(source) for source in given.sources]
    return found


def _source(source: Any) -> dict[str, Any]:
    kind = source.WhichOneof("source")
    if kind == "web":
        return {"type": "web"} | _lists(source.web, "allowed_websites", "excluded_websites")
    if kind == "news":
        return {"type": "news"} | _lists(source.news, "excluded_websites")
    if kind == "x":
        return {"type": "x"} | _lists(source.x, "included_x_handles", "excluded_x_handles")
    return {"type": kind}


def _lists(message: Any, *names: str) -> dict[str, Any]:
    return {name: list(getattr(message, name)) for name in names if getattr(message, name)}


def _moment(timestamp: Any) -> datetime:
    try:
        found: datetime = timestamp.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise bad_request(f"{timestamp.seconds} s is no moment.", param="from_date") from None
    return found


def _object(text: str, param: str) -> Mapping[str, Any]:
    try:
        value = read_json(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise bad_request(f"{param} = {shown(text)} is not a JSON object.", param=param)
    return value
