"""From the Responses API's events and objects to the messages of gRPC.

The official client overwrites role, finish reason and usage with each chunk and appends citations,
so every chunk carries the role, the last one the rest, and nothing comes behind it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from gnomon.serve.exchange import ENDINGS
from gnomon.serve.grpc.schema import ENUMS, MESSAGES

_ASSISTANT, _TOOL = ENUMS["ROLE_ASSISTANT"], ENUMS["ROLE_TOOL"]
_SEARCHES = {
    "web_search_call": (
        ENUMS["TOOL_CALL_TYPE_WEB_SEARCH_TOOL"],
        ENUMS["SERVER_SIDE_TOOL_WEB_SEARCH"],
        ENUMS["INCLUDE_OPTION_WEB_SEARCH_CALL_OUTPUT"],
    ),
    "x_search_call": (
        ENUMS["TOOL_CALL_TYPE_X_SEARCH_TOOL"],
        ENUMS["SERVER_SIDE_TOOL_X_SEARCH"],
        ENUMS["INCLUDE_OPTION_X_SEARCH_CALL_OUTPUT"],
    ),
    "file_search_call": (
        ENUMS["TOOL_CALL_TYPE_COLLECTIONS_SEARCH_TOOL"],
        ENUMS["SERVER_SIDE_TOOL_COLLECTIONS_SEARCH"],
        ENUMS["INCLUDE_OPTION_COLLECTIONS_SEARCH_CALL_OUTPUT"],
    ),
    "code_interpreter_call": (
        ENUMS["TOOL_CALL_TYPE_CODE_EXECUTION_TOOL"],
        ENUMS["SERVER_SIDE_TOOL_CODE_EXECUTION"],
        ENUMS["INCLUDE_OPTION_CODE_EXECUTION_CALL_OUTPUT"],
    ),
    "mcp_call": (
        ENUMS["TOOL_CALL_TYPE_MCP_TOOL"],
        ENUMS["SERVER_SIDE_TOOL_MCP"],
        ENUMS["INCLUDE_OPTION_MCP_CALL_OUTPUT"],
    ),
}
"""Items of our own tools: how their call is shown, counted, and asked to be shown in full."""
_X_HOSTS = ("x.com", "twitter.com")


class Telling:
    """One answer in gRPC's messages. Chunks of one answer come from one Telling."""

    def __init__(self, version: str, *, shows_tools: bool, include: Sequence[int] = ()) -> None:
        self._version = version
        self._shows_tools = shows_tools
        self._include = include
        self._outputs = 0

    def whole(self, response: Mapping[str, Any]) -> Any:
        """A finished response."""
        told = MESSAGES["GetChatCompletionResponse"](
            usage=_usage(response),
            citations=response.get("citations", ()),
            settings=_settings(response),
            debug_output=_own(response),
            **self._head(response),
        )
        told.created.FromSeconds(response["created_at"])
        for item in response["output"]:
            for role, parts in self._outputs_of(item):
                told.outputs.add(
                    index=self._outputs,
                    finish_reason=ENUMS["REASON_TOOL_CALLS"],
                    message=MESSAGES["CompletionMessage"](role=role, **parts),
                )
                self._outputs += 1
        output = told.outputs.add(
            index=self._outputs,
            finish_reason=_finish(response),
            message=MESSAGES["CompletionMessage"](role=_ASSISTANT, **_answer(response)),
        )
        last = response["output"][-1]
        if last["type"] == "message":
            _add_logprobs(output, last["content"][0].get("logprobs"))
        return told

    def chunk(self, name: str, payload: Mapping[str, Any], begun: Mapping[str, Any]) -> Any | None:
        """What an event adds, None if nothing. `begun` is the response as it began."""
        if name == "response.output_text.delta":
            told = self._chunk(begun, [(_ASSISTANT, {"content": payload["delta"]}, 0)])
            _add_logprobs(told.outputs[0], payload["logprobs"])
            return told
        if name == "response.output_item.done":
            outputs = [
                (role, parts, ENUMS["REASON_TOOL_CALLS"])
                for role, parts in self._outputs_of(payload["item"])
            ]
            if not outputs:
                return None
            told = self._chunk(begun, outputs)
            self._outputs += len(outputs)
            return told
        if name in ENDINGS:
            response = payload["response"]
            parts = _answer(response)
            if not _refused(response):
                del parts["content"]  # It came piece by piece.
            told = self._chunk(begun, [(_ASSISTANT, parts, _finish(response))])
            told.usage.CopyFrom(_usage(response))
            told.citations.extend(response.get("citations", ()))
            told.debug_output.CopyFrom(_own(response))
            return told
        return None

    def _chunk(
        self, begun: Mapping[str, Any], outputs: Sequence[tuple[int, Mapping[str, Any], int]]
    ) -> Any:
        told = MESSAGES["GetChatCompletionChunk"](**self._head(begun))
        told.created.FromSeconds(begun["created_at"])
        for i, (role, parts, finish) in enumerate(outputs):
            told.outputs.add(
                index=self._outputs + i,
                finish_reason=finish,
                delta=MESSAGES["Delta"](role=role, **parts),
            )
        return told

    def _head(self, response: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "id": response["id"],
            "model": response["model"],
            "system_fingerprint": f"gnomon-{self._version}",
        }

    def _outputs_of(self, item: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
        """(role, fields) of the outputs that show a call of our own: the call, its result."""
        if not self._shows_tools or item["type"] not in _SEARCHES:
            return
        kind, _, option = _SEARCHES[item["type"]]
        call = _call(item.get("call_id") or item["id"], kind, *_named(item))
        yield _ASSISTANT, {"tool_calls": [call]}
        result = json.dumps(_result(item), ensure_ascii=False) if option in self._include else ""
        yield _TOOL, {"tool_calls": [call], "content": result}


def _named(item: Mapping[str, Any]) -> tuple[str, str]:
    """A tool's name and its arguments as JSON."""
    if item["type"] == "web_search_call":
        return "web_search", json.dumps({"query": item["action"]["query"]}, ensure_ascii=False)
    if item["type"] == "file_search_call":
        return "collections_search", json.dumps({"queries": item.get("queries", [])})
    if item["type"] == "code_interpreter_call":
        return "code_execution", json.dumps({"code": item["code"]}, ensure_ascii=False)
    if item["type"] == "mcp_call":
        return f"{item['server_label']}.{item['name']}", item["arguments"]
    return item["name"], item["arguments"]


def _result(item: Mapping[str, Any]) -> Any:
    if item["type"] == "web_search_call":
        return item["action"]["sources"]
    return item.get("results") or item.get("output") or item.get("outputs") or []


def _answer(response: Mapping[str, Any]) -> dict[str, Any]:
    """The answer itself: its text with citations, or the client's functions to call."""
    calls = [item for item in response["output"] if item["type"] == "function_call"]
    if calls:
        kind = ENUMS["TOOL_CALL_TYPE_CLIENT_SIDE_TOOL"]
        told = [_call(c["call_id"], kind, c["name"], c["arguments"]) for c in calls]
        return {"content": "", "tool_calls": told}
    part = response["output"][-1]["content"][0]
    if part["type"] == "refusal":
        return {"content": part["refusal"]}
    citations = [_citation(annotation) for annotation in part["annotations"]]
    return {"content": part["text"], "citations": citations}


def _refused(response: Mapping[str, Any]) -> bool:
    """Whether the text did not come as deltas, because it stands in a form's place."""
    last = response["output"][-1]
    return bool(last["type"] == "message") and last["content"][0]["type"] == "refusal"


def _citation(annotation: Mapping[str, Any]) -> Any:
    url = annotation["url"]
    on_x = (urlsplit(url).hostname or "").removeprefix("www.") in _X_HOSTS
    kind = "x_citation" if on_x else "web_citation"
    return MESSAGES["InlineCitation"](
        id=annotation["title"],
        start_index=annotation["start_index"],
        end_index=annotation["end_index"],
        **{kind: {"url": url}},
    )


def _call(id: str, kind: int, name: str, arguments: str) -> Any:
    return MESSAGES["ToolCall"](
        id=id,
        type=kind,
        status=(
            ENUMS["TOOL_CALL_STATUS_IN_PROGRESS"]
            if kind == ENUMS["TOOL_CALL_TYPE_CLIENT_SIDE_TOOL"]
            else ENUMS["TOOL_CALL_STATUS_COMPLETED"]
        ),
        function={"name": name, "arguments": arguments},
    )


def _add_logprobs(output: Any, tokens: Sequence[Mapping[str, Any]] | None) -> None:
    """The probabilities of an output's tokens, where there are any."""
    for token in tokens or ():
        top = [{**t, "bytes": bytes(t["bytes"])} for t in token["top_logprobs"]]
        output.logprobs.content.add(
            **{**token, "bytes": bytes(token["bytes"]), "top_logprobs": top}
        )


def _finish(response: Mapping[str, Any]) -> int:
    if any(item["type"] == "function_call" for item in response["output"]):
        return ENUMS["REASON_TOOL_CALLS"]
    return ENUMS["REASON_MAX_LEN" if response["status"] == "incomplete" else "REASON_STOP"]


def _usage(response: Mapping[str, Any]) -> Any:
    usage = response["usage"]
    used = [_SEARCHES[i["type"]][1] for i in response["output"] if i["type"] in _SEARCHES]
    return MESSAGES["SamplingUsage"](
        completion_tokens=usage["output_tokens"],
        prompt_tokens=usage["input_tokens"],
        total_tokens=usage["total_tokens"],
        prompt_text_tokens=usage["input_tokens"],
        num_sources_used=usage["num_sources_used"],
        server_side_tools_used=used,
    )


def _settings(response: Mapping[str, Any]) -> Any:
    given = {
        "max_tokens": response.get("max_output_tokens"),
        "previous_response_id": response.get("previous_response_id"),
    }
    return MESSAGES["RequestSettings"](
        parallel_tool_calls=response["parallel_tool_calls"],
        store_messages=response["store"],
        **{name: value for name, value in given.items() if value is not None},
    )


def _own(response: Mapping[str, Any]) -> Any:
    """What the protocol has no field for: verdicts, full citations, the evidence's age."""
    own = json.dumps(response.get("gnomon", {}), ensure_ascii=False)
    return MESSAGES["DebugOutput"](responses=[own])
