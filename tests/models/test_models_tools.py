"""Tools spelled out for models that know none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.errors import ModelTerminal
from gnomon.models import tools
from gnomon.models.base import GenerateRequest, Message, Tool, ToolCall

LOOK = Tool(name="look", parameters={"type": "object", "properties": {"q": {"type": "string"}}})
OTHER = Tool(name="other")


def request(**options: Any) -> GenerateRequest:
    given = {"messages": (Message(role="user", content="Hi"),), "tools": (LOOK, OTHER)} | options
    return GenerateRequest(**given)


def play(parts: list[str], **options: Any) -> tuple[str, tuple[ToolCall, ...]]:
    parser = tools.CallParser(request(**options))
    shown = "".join(map(parser.take, parts))
    rest, calls = parser.end()
    return shown + rest, calls


@given(st.lists(st.text(max_size=8), max_size=8))
def test_text_that_is_no_call_comes_out_unchanged(parts: list[str]) -> None:
    text, calls = play(parts)
    assert (text, calls) == ("".join(parts), ())


@given(st.dictionaries(st.text(max_size=5), st.integers(), max_size=3), st.integers(1, 9))
def test_a_call_is_read_in_any_cut(arguments: dict[str, int], width: int) -> None:
    text = json.dumps({"name": "look", "arguments": arguments})
    shown, (call,) = play([text[i : i + width] for i in range(0, len(text), width)])
    assert shown == ""
    assert (call.name, json.loads(call.arguments)) == ("look", arguments)


@pytest.mark.parametrize(
    "text", ['{"name": "unknown", "arguments": {}}', '{"name": "look"}', "{not json", "{}"]
)
def test_what_only_looks_like_a_call_is_text(text: str) -> None:
    assert play([text]) == (text, ())


def test_without_tools_a_brace_is_shown_at_once() -> None:
    parser = tools.CallParser(request(tool_choice="none"))
    assert parser.take('{"name"') == '{"name"'


def test_a_forced_call_is_a_schema_over_the_tools_that_may_be_called() -> None:
    assert tools.forced_call_schema(request()) is None
    schema = tools.forced_call_schema(request(tool_choice="required"))
    assert schema is not None
    assert [s["properties"]["name"]["const"] for s in schema["anyOf"]] == ["look", "other"]
    schema = tools.forced_call_schema(request(tool_choice="other"))
    assert schema is not None
    assert [s["properties"]["name"]["const"] for s in schema["anyOf"]] == ["other"]
    with pytest.raises(ModelTerminal, match="names missing"):
        tools.offered(request(tool_choice="missing"))


def test_messages_name_the_tools_the_calls_and_the_results() -> None:
    history = (
        Message(role="system", content="Be brief."),
        Message(
            role="assistant", tool_calls=(ToolCall(id="c1", name="look", arguments='{"q":1}'),)
        ),
        Message(role="tool", content="42", tool_call_id="c1"),
    )
    system, call, result = tools.plain_messages(request(messages=history))
    assert system["content"].startswith("Be brief.\n\nYou can call these functions:")
    assert '"name":"look"' in system["content"]
    assert json.loads(call["content"]) == {"name": "look", "arguments": {"q": 1}}
    assert result == {"role": "user", "content": "Result of c1: 42"}
    (only,) = tools.plain_messages(request(tool_choice="none"))
    assert only == {"role": "user", "content": "Hi"}
