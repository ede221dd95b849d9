"""Replies and every streamed event against OpenAI's own OpenAPI document."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from gnomon.errors import ModelError
from gnomon.models.base import ToolCall
from gnomon.models.scripted import Reply, ScriptedGenerator

TIDE = {"name": "tide", "description": "The tide.", "parameters": {"type": "object"}}
FLAT_TIDE = {"type": "function", "strict": None, **TIDE}
CALL = ToolCall(id="call_1", name="tide", arguments='{"place": "north bridge"}')
FORM = {
    "type": "json_schema",
    "name": "bridge",
    "schema": {"type": "object", "properties": {"closed": {"type": "boolean"}}},
}
USER = [{"role": "user", "content": "Is the bridge open?"}]


def with_model(house: Any, *script: Any) -> Any:
    hub = type(house.services.models)(ScriptedGenerator(script))
    return replace(house, services=replace(house.services, models=hub))


def data_of(stream: str) -> list[Any]:
    lines = [line[6:] for line in stream.split("\n") if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


RESPONSES: dict[str, tuple[dict[str, Any], tuple[Any, ...]]] = {
    "plain": ({}, ()),
    "searched": ({"tools": [{"type": "web_search"}]}, ()),
    "continued": (
        {
            "instructions": "Be brief.",
            "max_output_tokens": 90,
            "metadata": {"a": "b"},
            "input": [
                {"role": "developer", "content": "Name the bridge."},
                {"role": "assistant", "content": "Which bridge?"},
                *USER,
            ],
        },
        (),
    ),
    "background": ({"background": True}, ()),
    "function": ({"tools": [FLAT_TIDE]}, (Reply(tool_calls=(CALL,)),)),
    "form": ({"text": {"format": FORM}}, ('{"closed": true}',)),
}


@pytest.mark.parametrize("name", RESPONSES)
async def test_responses_and_their_events(house: Any, schemas: Any, name: str) -> None:
    more, script = RESPONSES[name]
    house = with_model(house, *script, *script)
    body = {"input": USER, **more}
    async with house.client() as http:
        whole = (await http.post("/v1/responses", json=body)).json()
        streamed = await http.post("/v1/responses", json={**body, "stream": True})
        stored = (await http.get(f"/v1/responses/{whole['id']}")).json()
        items = (await http.get(f"/v1/responses/{whole['id']}/input_items")).json()
    schemas.check("Response", whole)
    schemas.check("Response", stored)
    schemas.check("ResponseItemList", items)
    events = data_of(streamed.text)
    assert events[-1]["type"] == "response.completed"
    for event in events:
        schemas.check_event(event)


async def test_refusals_and_failures(house: Any, schemas: Any) -> None:
    house.answerer.sentences.clear()
    asked = with_model(house)
    form = {"input": "Open?", "text": {"format": FORM}}
    async with asked.client() as http:
        schemas.check("Response", (await http.post("/v1/responses", json=form)).json())
        refused = await http.post("/v1/responses", json={**form, "stream": True})
        for event in data_of(refused.text):
            schemas.check_event(event)
        for wrong in ({}, {"input": "x", "model": "gpt-9"}, {"input": "x", "tools": [{}]}):
            answer = await http.post("/v1/responses", json=wrong)
            assert answer.status_code in (400, 404)
            schemas.check("ErrorResponse", answer.json())
    house.answerer.sentences.extend(type(house.answerer)().sentences)
    house.answerer.failure = ModelError("The model stopped.", code="model.stopped")
    async with house.client() as http:
        failed = await http.post("/v1/responses", json={"input": "x?", "stream": True})
        broken = await http.post("/v1/responses", json={"input": "x?"})
    events = data_of(failed.text)
    # OpenAI's list of codes is closed and its own; ours say which part of Gnomon failed.
    error = events[-1]["response"]["error"]
    assert error == {"code": "model.stopped", "message": "The model stopped."}
    error["code"] = "server_error"
    for event in events:
        schemas.check_event(event)
    assert broken.status_code == 503
    schemas.check("ErrorResponse", broken.json())


CHATS: dict[str, tuple[dict[str, Any], tuple[Any, ...]]] = {
    "plain": ({}, ()),
    "searched": ({"web_search_options": {}}, ()),
    "function": (
        {"tools": [{"type": "function", "function": TIDE}]},
        (Reply(tool_calls=(CALL,)),),
    ),
    "form": (
        {"response_format": {"type": "json_schema", "json_schema": FORM}},
        ('{"closed": true}',),
    ),
}


@pytest.mark.parametrize("name", CHATS)
async def test_completions_and_their_chunks(house: Any, schemas: Any, name: str) -> None:
    more, script = CHATS[name]
    house = with_model(house, *script, *script)
    body = {"messages": USER, **more}
    async with house.client() as http:
        whole = (await http.post("/v1/chat/completions", json=body)).json()
        usage = {"stream": True, "stream_options": {"include_usage": True}}
        streamed = await http.post("/v1/chat/completions", json={**body, **usage})
    schemas.check("CreateChatCompletionResponse", whole)
    chunks = data_of(streamed.text)
    assert len(chunks) > 2
    for chunk in chunks:
        schemas.check("CreateChatCompletionStreamResponse", chunk)


async def test_models(house: Any, schemas: Any) -> None:
    async with house.client() as http:
        schemas.check("ListModelsResponse", (await http.get("/v1/models")).json())
        schemas.check("Model", (await http.get("/v1/models/gnomon")).json())
