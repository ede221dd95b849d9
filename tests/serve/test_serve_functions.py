"""Functions of the client and prescribed forms, as OpenAI's own client sees them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from openai import AsyncOpenAI
from pydantic import BaseModel

from gnomon.models.base import GenerateRequest, ToolCall
from gnomon.models.scripted import Reply, ScriptedGenerator
from gnomon.serve.forms import form_of

TIDE = {
    "type": "function",
    "name": "tide",
    "description": "The tide at a place.",
    "parameters": {"type": "object", "properties": {"place": {"type": "string"}}},
}
CALL = ToolCall(id="call_1", name="tide", arguments='{"place": "north bridge"}')


class Bridge(BaseModel):
    name: str
    closed: bool


def with_model(house: Any, *script: Any, capable: bool = True) -> tuple[Any, ScriptedGenerator]:
    model = ScriptedGenerator(script, capable=capable)
    hub = type(house.services.models)(model)
    return replace(house, services=replace(house.services, models=hub)), model


async def test_a_function_is_called_and_its_result_becomes_evidence(
    house: Any, served: Any
) -> None:
    house, model = with_model(house, Reply(tool_calls=(CALL,)), "DONE")
    async with served(house) as url, AsyncOpenAI(base_url=f"{url}/v1", api_key="k") as client:
        first = await client.responses.create(
            model="gnomon", input="How high is the tide?", tools=[TIDE]
        )
        call = first.output[0]
        assert (call.type, call.name, call.call_id) == ("function_call", "tide", "call_1")
        assert json.loads(call.arguments) == {"place": "north bridge"}
        assert not house.answerer.asked  # nothing was answered yet
        second = await client.responses.create(
            model="gnomon",
            previous_response_id=first.id,
            input=[{"type": "function_call_output", "call_id": "call_1", "output": "2.1 m"}],
            tools=[TIDE],
        )
    assert second.output_text.startswith("The north bridge is closed.")
    question = house.answerer.asked[0]
    assert question.text == "How high is the tide?"
    assert [(d.key, d.source, d.text) for d in question.given] == [
        ("call:call_1", "function tide", "2.1 m")
    ]
    roles = [message.role for message in model.requests[1].messages]
    assert roles == ["system", "user", "assistant", "tool"]


async def test_calls_stream_as_clients_expect(house: Any, served: Any) -> None:
    house, _ = with_model(house, Reply(tool_calls=(CALL,)))
    async with (
        served(house) as url,
        AsyncOpenAI(base_url=f"{url}/v1", api_key="k") as client,
        client.responses.stream(model="gnomon", input="Tide?", tools=[TIDE]) as stream,
    ):
        kinds = [event.type async for event in stream]
        final = await stream.get_final_response()
    assert kinds == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert final.output[0].arguments == CALL.arguments


async def test_chat_calls_and_their_results(house: Any, served: Any) -> None:
    house, _ = with_model(house, Reply(tool_calls=(CALL,)), "DONE", Reply(tool_calls=(CALL,)))
    tool = {"type": "function", "function": {k: v for k, v in TIDE.items() if k != "type"}}
    messages: list[Any] = [{"role": "user", "content": "How high is the tide?"}]
    async with served(house) as url, AsyncOpenAI(base_url=f"{url}/v1", api_key="k") as client:
        first = await client.chat.completions.create(
            model="gnomon", messages=messages, tools=[tool]
        )
        asked = first.choices[0]
        assert asked.finish_reason == "tool_calls" and asked.message.content is None
        call = asked.message.tool_calls[0]
        messages += [
            asked.message.model_dump(exclude_none=True),
            {"role": "tool", "tool_call_id": call.id, "content": "2.1 m"},
        ]
        second = await client.chat.completions.create(
            model="gnomon", messages=messages, tools=[tool]
        )
        assert second.choices[0].message.content.startswith("The north bridge is closed.")
        stream = await client.chat.completions.create(
            model="gnomon", messages=messages[:1], tools=[tool], stream=True
        )
        chunks = [chunk async for chunk in stream]
    assert house.answerer.asked[0].given[0].text == "2.1 m"
    streamed = chunks[1].choices[0].delta.tool_calls[0]
    assert (streamed.id, streamed.function.arguments) == ("call_1", CALL.arguments)
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


async def test_a_small_model_calls_only_what_it_must(house: Any) -> None:
    house, model = with_model(house, '{"place": "harbour"}', capable=False)
    body = {"input": "Tide at the harbour?", "tools": [TIDE]}
    async with house.client() as http:
        free = (await http.post("/v1/responses", json=body)).json()
        assert free["output"][0]["type"] == "message" and not model.requests
        must = {**body, "tool_choice": {"type": "function", "name": "tide"}}
        forced = (await http.post("/v1/responses", json=must)).json()
    assert forced["output"][0]["arguments"] == '{"place": "harbour"}'
    assert model.requests[0].json_schema == TIDE["parameters"]


async def test_without_a_model_a_call_cannot_be_forced(house: Any) -> None:
    async with house.client() as http:
        body = {"input": "Tide?", "tools": [TIDE], "tool_choice": "required"}
        refused = await http.post("/v1/responses", json=body)
        never = await http.post("/v1/responses", json={**body, "tool_choice": "none"})
        unknown = {"type": "function", "name": "wind"}
        wrong = await http.post("/v1/responses", json={**body, "tool_choice": unknown})
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "request.model_needed"
    assert never.status_code == 200
    assert wrong.status_code == 400 and "wind" in wrong.json()["error"]["message"]


async def test_results_of_calls_that_nobody_made_are_refused(house: Any) -> None:
    item = {"type": "function_call_output", "call_id": "call_9", "output": "x"}
    async with house.client() as http:
        asked = [{"role": "user", "content": "Tide?"}, item]
        refused = await http.post("/v1/responses", json={"input": asked})
    assert refused.status_code == 400 and "call_9" in refused.json()["error"]["message"]


async def test_an_answer_comes_in_the_form_that_was_asked_for(house: Any, served: Any) -> None:
    fitting = json.dumps({"name": "north bridge", "closed": True})
    house, model = with_model(house, '{"name": 7}', fitting, fitting, fitting)
    async with served(house) as url, AsyncOpenAI(base_url=f"{url}/v1", api_key="k") as client:
        parsed = await client.responses.parse(
            model="gnomon", input="Is the bridge open?", text_format=Bridge
        )
        assert parsed.output_parsed == Bridge(name="north bridge", closed=True)
        own = parsed.output[-1].model_extra["gnomon"]
        assert own["unsupported"] == [] and own["sentences"][0]["verdict"] == "supported"
        chat = await client.chat.completions.parse(
            model="gnomon",
            messages=[{"role": "user", "content": "Is the bridge open?"}],
            response_format=Bridge,
        )
        assert chat.choices[0].message.parsed == Bridge(name="north bridge", closed=True)
        async with client.responses.stream(
            model="gnomon", input="Is the bridge open?", text_format=Bridge
        ) as stream:
            text = "".join(
                [e.delta async for e in stream if e.type == "response.output_text.delta"]
            )
    assert json.loads(text) == {"name": "north bridge", "closed": True}
    assert "did not fit" in model.requests[1].messages[-1].content


async def test_what_no_statement_says_is_named(house: Any) -> None:
    house, _ = with_model(house, json.dumps({"name": "south bridge", "closed": True}))
    form = {"type": "json_schema", "name": "b", "schema": Bridge.model_json_schema()}
    async with house.client() as http:
        body = {"input": "Is the bridge open?", "text": {"format": form}}
        answer = (await http.post("/v1/responses", json=body)).json()
    assert answer["gnomon"]["unsupported"] == ["/name"]
    assert answer["text"]["format"]["name"] == "b"


async def test_an_abstention_is_a_refusal_in_a_form(house: Any, served: Any) -> None:
    house, model = with_model(house)
    house.answerer.sentences.clear()
    async with served(house) as url, AsyncOpenAI(base_url=f"{url}/v1", api_key="k") as client:
        parsed = await client.responses.parse(model="gnomon", input="Open?", text_format=Bridge)
        chat = await client.chat.completions.parse(
            model="gnomon",
            messages=[{"role": "user", "content": "Open?"}],
            response_format=Bridge,
        )
    assert parsed.output_parsed is None and not model.requests
    assert "does not contain" in parsed.output[-1].content[0].refusal
    assert "does not contain" in chat.choices[0].message.refusal


async def test_a_form_needs_a_model_that_keeps_to_it(house: Any) -> None:
    form = {"type": "json_object"}
    body = {"input": "Open?", "text": {"format": form}}
    async with house.client() as http:
        without = await http.post("/v1/responses", json=body)
    assert without.status_code == 400 and "language model" in without.json()["error"]["message"]
    house, _ = with_model(house, "no JSON", "still none")
    async with house.client() as http:
        stubborn = await http.post("/v1/responses", json=body)
    assert stubborn.status_code == 502
    assert stubborn.json()["error"]["code"] == "model.schema"


async def test_a_schema_can_neither_fetch_nor_hang(house: Any) -> None:
    def reply(request: GenerateRequest) -> str:
        return json.dumps({"a": "a" * 40 + "!", "b": 1})

    elsewhere = {"type": "object", "properties": {"b": {"$ref": "http://127.0.0.1:9/s.json"}}}
    slow = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}}
    house, _ = with_model(house, reply)
    async with house.client(timeout=5) as http:
        for schema, status in ((elsewhere, 502), (slow, 200)):
            form = {"type": "json_schema", "name": "s", "schema": schema}
            body = {"input": "Open?", "text": {"format": form}}
            assert (await http.post("/v1/responses", json=body)).status_code == status


@pytest.mark.parametrize("schema", [{"type": "nothing"}, {"properties": 3}, None, "text"])
def test_what_is_no_schema_is_refused(schema: Any) -> None:
    from gnomon.serve.errors import ApiError

    with pytest.raises(ApiError):
        form_of({"type": "json_schema", "schema": schema}, "text.format")
