from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from anthropic import AsyncAnthropic, AuthenticationError, BadRequestError

from gnomon.errors import ModelError
from gnomon.models.base import ToolCall
from gnomon.models.scripted import Reply, ScriptedGenerator

ASK: Any = [{"role": "user", "content": "Is the north bridge open?"}]
TIDE: Any = {
    "name": "tide",
    "description": "The tide at a place.",
    "input_schema": {"type": "object", "properties": {"place": {"type": "string"}}},
}


def with_model(house: Any, *script: Any) -> Any:
    hub = type(house.services.models)(ScriptedGenerator(script))
    return replace(house, services=replace(house.services, models=hub))


async def test_anthropics_client_gets_a_checked_answer(house: Any, served: Any) -> None:
    async with served(house) as url, AsyncAnthropic(base_url=url, api_key="k") as client:
        message = await client.messages.create(
            model="gnomon",
            max_tokens=500,
            system="Be short.",
            messages=ASK,
            tools=[{"type": "web_search_20250305", "name": "web_search"}],
        )
    assert message.content[0].text.startswith("The north bridge is closed.")
    assert message.stop_reason == "end_turn" and message.role == "assistant"
    assert message.model_extra["gnomon"]["sentences"][0]["verdict"] == "supported"
    assert house.answerer.asked[0].instructions == "Be short."


async def test_a_message_streams_as_anthropics_client_reads_it(house: Any, served: Any) -> None:
    async with (
        served(house) as url,
        AsyncAnthropic(base_url=url, api_key="k") as client,
        client.messages.stream(model="gnomon", max_tokens=500, messages=ASK) as stream,
    ):
        pieces = [text async for text in stream.text_stream]
        final = await stream.get_final_message()
    assert len(pieces) == 2
    assert final.content[0].text == "".join(pieces)
    assert final.stop_reason == "end_turn"


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_tool_is_used_and_its_result_becomes_evidence(
    house: Any, served: Any, streamed: bool
) -> None:
    call = ToolCall(id="call_1", name="tide", arguments='{"place": "harbour"}')
    house = with_model(house, Reply(tool_calls=(call,)), "DONE")
    options: Any = {"model": "gnomon", "max_tokens": 500, "tools": [TIDE]}
    async with served(house) as url, AsyncAnthropic(base_url=url, api_key="k") as client:
        if streamed:
            async with client.messages.stream(messages=ASK, **options) as stream:
                first = await stream.get_final_message()
        else:
            first = await client.messages.create(messages=ASK, **options)
        use = first.content[0]
        assert first.stop_reason == "tool_use"
        assert (use.type, use.name, use.input) == ("tool_use", "tide", {"place": "harbour"})
        result = {"type": "tool_result", "tool_use_id": use.id, "content": "2.1 m"}
        said: Any = [
            *ASK,
            {"role": "assistant", "content": [b.to_dict() for b in first.content]},
            {"role": "user", "content": [result]},
        ]
        second = await client.messages.create(messages=said, **options)
    assert second.stop_reason == "end_turn"
    assert [d.text for d in house.answerer.asked[0].given] == ["2.1 m"]


async def test_errors_have_anthropics_shape(house: Any, served: Any) -> None:
    async with served(house) as url, AsyncAnthropic(base_url=url, api_key="k") as client:
        images: Any = [{"role": "user", "content": [{"type": "image", "source": {}}]}]
        with pytest.raises(BadRequestError, match="image"):
            await client.messages.create(model="gnomon", max_tokens=5, messages=images)
        with pytest.raises(BadRequestError, match="bash"):
            await client.messages.create(
                model="gnomon",
                max_tokens=5,
                messages=ASK,
                tools=[{"type": "bash_20250124", "name": "bash"}],
            )
    locked = house.configure(api_key="open-sesame")
    async with served(locked) as url:
        async with AsyncAnthropic(base_url=url, api_key="wrong") as client:
            with pytest.raises(AuthenticationError):
                await client.messages.create(model="gnomon", max_tokens=5, messages=ASK)
        async with AsyncAnthropic(base_url=url, api_key="open-sesame") as client:
            found = await client.messages.count_tokens(model="gnomon", messages=ASK)
    assert found.input_tokens > 0


async def test_a_failure_in_the_stream_is_an_error_event(house: Any) -> None:
    house.answerer.failure = ModelError("The model stopped.", code="model.stopped")
    async with house.client() as http:
        body = {"model": "gnomon", "max_tokens": 9, "messages": ASK, "stream": True}
        r = await http.post("/v1/messages", json=body)
    assert '"type":"error"' in r.text and "model stopped" in r.text.lower()
