"""LangChain's clients of xAI's and OpenAI's APIs, unmodified, against a real server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langchain_xai import ChatXAI
from pydantic import BaseModel

from gnomon.models.base import ToolCall
from gnomon.models.scripted import Reply, ScriptedGenerator

BRIDGE_URL = "https://www.example.org/bridge"
SEARCHES = [{"type": "web_search"}, {"type": "x_search"}]
CALL = ToolCall(id="call_1", name="tide", arguments='{"place": "north bridge"}')


class Bridge(BaseModel):
    """A bridge."""

    name: str
    closed: bool


@tool
def tide(place: str) -> str:
    """The tide at a place."""
    return f"2.1 m at the {place}"


KINDS = ["xai", "openai", "openai responses"]


@asynccontextmanager
async def chat_model(kind: str, url: str, **more: Any) -> AsyncIterator[Any]:
    """The client, its connections closed at the end: by itself it keeps them for good."""
    made = ChatXAI if kind == "xai" else ChatOpenAI
    if kind == "openai responses":
        more["use_responses_api"] = True
    async with httpx2.AsyncClient() as http:
        with httpx2.Client() as blocking:
            yield made(
                model="gnomon",
                api_key="any",
                base_url=f"{url}/v1",
                http_async_client=http,
                http_client=blocking,
                stream_usage=True,  # by itself, ChatOpenAI asks only OpenAI's own address
                **more,
            )


async def streamed(model: Any, asked: Any) -> Any:
    """The sum of the pieces."""
    whole = None
    async for chunk in model.astream(asked):
        whole = chunk if whole is None else whole + chunk
    return whole


def with_model(house: Any, *script: Any) -> Any:
    hub = type(house.services.models)(ScriptedGenerator(script))
    return replace(house, services=replace(house.services, models=hub))


@pytest.mark.parametrize("kind", KINDS)
async def test_an_answer_is_read_whole_and_streamed(house: Any, served: Any, kind: str) -> None:
    async with served(house) as url, chat_model(kind, url) as model:
        whole = await model.ainvoke("Is the north bridge open?")
        chunks = [chunk async for chunk in model.astream("Is the north bridge open?")]
        blocking = await asyncio.to_thread(model.invoke, "Is the north bridge open?")
    assert whole.text.startswith(f"The north bridge is closed.[[1]]({BRIDGE_URL})")
    assert whole.text == blocking.text == "".join(chunk.text for chunk in chunks)
    assert len([chunk for chunk in chunks if chunk.text]) == 2
    assert whole.usage_metadata["output_tokens"] == 12
    (usage,) = [chunk.usage_metadata for chunk in chunks if chunk.usage_metadata]
    assert usage == whole.usage_metadata


async def test_citations_reach_chat_xai(house: Any, served: Any) -> None:
    async with served(house) as url, chat_model("xai", url) as model:
        whole = await model.ainvoke("Is the north bridge open?")
        pieces = await streamed(model, "Is the north bridge open?")
    cited = whole.additional_kwargs["citations"]
    assert cited[0] == BRIDGE_URL and len(cited) == 2
    assert pieces.additional_kwargs["citations"] == cited


@pytest.mark.parametrize("kind", KINDS)
async def test_searches_show_their_calls_and_citations(house: Any, served: Any, kind: str) -> None:
    async with served(house) as url, chat_model(kind, url) as model:
        searching = model.bind(tools=SEARCHES)
        whole = await searching.ainvoke("Is the north bridge open?")
        pieces = await streamed(searching, "Is the north bridge open?")
    for message in (whole, pieces):
        first, *_, last = message.content_blocks
        assert (first["type"], first["name"]) == ("server_tool_call", "web_search")
        urls = [a["url"] for a in last["annotations"]]
        assert urls[0] == BRIDGE_URL and len(urls) == 3
        assert not message.tool_calls
    assert pieces.text == whole.text


@pytest.mark.parametrize("kind", KINDS)
async def test_a_function_makes_its_round(house: Any, served: Any, kind: str) -> None:
    house = with_model(house, Reply(tool_calls=(CALL,)), "DONE", Reply(tool_calls=(CALL,)))
    asked = [HumanMessage("How high is the tide?")]
    async with served(house) as url, chat_model(kind, url) as model:
        equipped = model.bind_tools([tide])
        first = await equipped.ainvoke(asked)
        (call,) = first.tool_calls
        result = await tide.ainvoke(call)
        second = await equipped.ainvoke([*asked, first, result])
        pieces = await streamed(equipped, asked)
    assert (call["name"], call["args"]) == ("tide", {"place": "north bridge"})
    assert second.text.startswith("The north bridge is closed.")
    assert [d.text for d in house.answerer.asked[0].given] == ["2.1 m at the north bridge"]
    assert [c["args"] for c in pieces.tool_calls] == [{"place": "north bridge"}]


@pytest.mark.parametrize("kind", KINDS)
async def test_an_answer_comes_as_a_model_of_pydantic(house: Any, served: Any, kind: str) -> None:
    fitting = json.dumps({"name": "north bridge", "closed": True})
    called = ToolCall(id="call_2", name="Bridge", arguments=fitting)
    house = with_model(house, fitting, Reply(tool_calls=(called,)))
    async with served(house) as url, chat_model(kind, url) as model:
        for method in ("json_schema", "function_calling"):
            structured = model.with_structured_output(Bridge, method=method)
            assert await structured.ainvoke("Open?") == Bridge(name="north bridge", closed=True)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_conversation_goes_on_from_its_messages(house: Any, served: Any, kind: str) -> None:
    async with served(house) as url, chat_model(kind, url) as model:
        first = await model.ainvoke("Is the north bridge open?")
        assert isinstance(first, AIMessage)
        await model.ainvoke([HumanMessage("Is it open?"), first, HumanMessage("Since when?")])
    asked = house.answerer.asked[-1]
    assert asked.text == "Since when?"
    assert asked.history[0].answer.startswith("The north bridge is closed. Repairs")


async def test_moments_and_search_parameters_go_through_extra_body(house: Any, served: Any) -> None:
    sources = [{"type": "x", "included_x_handles": ["mayor"]}]
    extra = {"as_of": "2026-11-22T13:00:00Z", "search_parameters": {"sources": sources}}
    async with served(house) as url, chat_model("xai", url, extra_body=extra) as model:
        await model.ainvoke("Is the north bridge open?")
    asked = house.answerer.asked[-1]
    assert asked.as_of is not None and asked.authors == ("mayor",)
