"""The official xai-sdk, unmodified, against the gRPC door."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool
from openai import AsyncOpenAI
from pydantic import BaseModel
from xai_sdk import AsyncClient, Client
from xai_sdk.chat import assistant, image, required_tool, system, tool, tool_result, user
from xai_sdk.proto import chat_pb2
from xai_sdk.search import SearchParameters, rss_source, web_source, x_source
from xai_sdk.tools import code_execution, collections_search, web_search, x_search

from gnomon.accounts.base import Role
from gnomon.accounts.store import Accounts
from gnomon.app import opened as opened_house
from gnomon.errors import ConfigError, ModelError, UpstreamTransient
from gnomon.metrics import REGISTRY
from gnomon.models.base import Token, ToolCall
from gnomon.models.scripted import Reply, ScriptedGenerator
from gnomon.serve.app import create_app
from gnomon.serve.grpc import schema
from gnomon.serve.grpc.server import GrpcDoor
from gnomon.settings import Demo, Models, Settings

CALL = ToolCall(id="call_1", name="tide", arguments='{"place": "north bridge"}')
TIDE = tool(
    name="tide",
    description="The tide at a place.",
    parameters={"type": "object", "properties": {"place": {"type": "string"}}},
)
ASK = [user("Is the bridge open?")]


class Bridge(BaseModel):
    name: str
    closed: bool


@asynccontextmanager
async def opened(house: Any) -> AsyncIterator[str]:
    """`address` of a real gRPC server over the house."""
    state = create_app(house.services).state
    door = GrpcDoor(house.services, state.access, state.jobs, base_url="http://127.0.0.1:8420")
    port = await door.start("127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await door.stop(0)
        await state.jobs.aclose()


@asynccontextmanager
async def talking(house: Any, **options: Any) -> AsyncIterator[AsyncClient]:
    given = {"api_key": "k", "use_insecure_channel": True} | options
    async with opened(house) as address:
        client = AsyncClient(api_host=address, **given)
        try:
            yield client
        finally:
            await client.close()


@contextmanager
def refused(code: grpc.StatusCode, words: str) -> Iterator[Any]:
    with pytest.raises(grpc.RpcError) as caught:
        yield caught
    assert caught.value.code() is code
    assert words in caught.value.details()


def with_model(house: Any, *script: Any) -> Any:
    hub = replace(house.services.models, writer=ScriptedGenerator(script))
    return replace(house, services=replace(house.services, models=hub))


def test_our_protocol_is_a_part_of_the_official_one() -> None:
    theirs = descriptor_pool.Default()
    for name, message in schema.FILE.message_types_by_name.items():
        official = theirs.FindMessageTypeByName(f"xai_api.{name}")
        for field in message.fields:
            other = official.fields_by_number[field.number]
            for fact in ("name", "type", "is_repeated", "has_presence"):
                assert getattr(other, fact) == getattr(field, fact), (name, field.name, fact)
            if field.message_type is not None:
                assert other.message_type.full_name == field.message_type.full_name
    for name, enum in schema.FILE.enum_types_by_name.items():
        official = theirs.FindEnumTypeByName(f"xai_api.{name}")
        for value in enum.values:
            assert official.values_by_number[value.number].name == value.name
    for name, service in schema.FILE.services_by_name.items():
        official = theirs.FindServiceByName(f"xai_api.{name}")
        for method in service.methods:
            other = official.methods_by_name[method.name]
            assert other.input_type.full_name == method.input_type.full_name
            assert other.output_type.full_name == method.output_type.full_name
            assert other.server_streaming == method.server_streaming


async def test_sample(house: Any) -> None:
    async with talking(house) as client:
        chat = client.chat.create(model="gnomon", messages=[system("Be brief."), *ASK])
        response = await chat.sample()
        assert response.content.startswith("The north bridge is closed. Repairs began")
        assert "[[" not in response.content and not response.inline_citations
        assert response.citations[0] == "https://www.example.org/bridge"
        assert (response.role, response.finish_reason) == ("ROLE_ASSISTANT", "REASON_STOP")
        assert response.usage.completion_tokens == 12 and response.usage.num_sources_used == 2
        assert response.created == datetime(2026, 11, 22, 14, 5)
        own = json.loads(response.debug_output.responses[0])
        assert [s["verdict"] for s in own["sentences"]] == ["supported", "partly"]
        assert own["citations"][1]["saved_url"].startswith("http://127.0.0.1:8420/saved/")
        chat.append(response)
        chat.append(user("Since when?"))
        await chat.sample()
    first, second = house.answerer.asked
    assert (first.text, first.instructions) == ("Is the bridge open?", "Be brief.")
    assert [turn.question for turn in second.history] == ["Is the bridge open?"]
    assert second.text == "Since when?"


async def test_stream_with_tools_and_inline_citations(house: Any) -> None:
    async with talking(house) as client:
        chat = client.chat.create(
            model="gnomon",
            messages=ASK,
            tools=[web_search(excluded_domains=["b.org"])],
            include=["inline_citations", "web_search_call_output"],
        )
        steps = [step async for step in chat.stream()]
        pieces = [chunk.content for _, chunk in steps]
        response, chunk = steps[-1]
        assert "".join(pieces) == response.content
        assert sum(bool(piece) for piece in pieces) == 2
        for cited in response.inline_citations:
            url = cited.web_citation.url
            shown = response.content[cited.start_index : cited.end_index]
            assert shown == f"[[{cited.id}]]({url})"
        assert {c.id for c in response.inline_citations} == {"1", "2"}
        assert len(response.citations) == 2
        assert response.usage.completion_tokens == 12
        assert response.server_side_tool_usage == {"SERVER_SIDE_TOOL_WEB_SEARCH": 1}
        assert response.finish_reason == "REASON_STOP"
        call = response.tool_calls[0]
        assert call.function.name == "web_search"
        assert json.loads(call.function.arguments) == {"query": "Is the bridge open?"}
        assert "www.example.org" in response.tool_outputs[0].message.content
        assert json.loads(chunk.proto.debug_output.responses[0])["abstained"] is False
        chat.append(response)  # All outputs go back, those of our own tools included.
        chat.append(user("And now?"))
        whole = await chat.sample()
        assert whole.content == response.content
        assert [o.index for o in whole.proto.outputs] == [0, 1, 2]
    assert house.answerer.asked[0].not_domains == ("b.org",)
    assert house.answerer.asked[1].text == "And now?"


async def test_a_client_function_is_called_and_its_result_is_evidence(house: Any) -> None:
    house = with_model(house, Reply(tool_calls=(CALL,)), "DONE", Reply(tool_calls=(CALL,)))
    async with talking(house) as client:
        chat = client.chat.create(model="gnomon", messages=[user("The tide?")], tools=[TIDE])
        response = await chat.sample()
        assert response.finish_reason == "REASON_TOOL_CALLS"
        call = response.tool_calls[0]
        assert (call.id, call.function.arguments) == ("call_1", CALL.arguments)
        chat.append(response)
        chat.append(tool_result("2.1 m"))
        assert (await chat.sample()).content.startswith("The north bridge")
        again = client.chat.create(model="gnomon", messages=[user("The tide?")], tools=[TIDE])
        streamed, _ = [step async for step in again.stream()][-1]
        assert streamed.tool_calls[0].function.name == "tide"
        assert streamed.finish_reason == "REASON_TOOL_CALLS"
    assert [d.text for d in house.answerer.asked[0].given] == ["2.1 m"]


async def test_a_stored_call_is_answered_later(house: Any) -> None:
    house = with_model(house, Reply(tool_calls=(CALL,)), "DONE")
    async with talking(house) as client:
        asked = await client.chat.create(
            model="gnomon",
            messages=[user("The tide?")],
            tools=[TIDE],
            tool_choice=required_tool("tide"),
            store_messages=True,
        ).sample()
        chat = client.chat.create(model="gnomon", previous_response_id=asked.id, tools=[TIDE])
        chat.append(tool_result("2.1 m", asked.tool_calls[0].id))
        await chat.sample()
    assert house.answerer.asked[0].text == "The tide?"
    assert house.answerer.asked[0].given[0].text == "2.1 m"


async def test_parse(house: Any) -> None:
    house = with_model(house, json.dumps({"name": "north bridge", "closed": True}))
    async with talking(house) as client:
        chat = client.chat.create(model="gnomon", messages=ASK)
        response, bridge = await chat.parse(Bridge)
    assert bridge == Bridge(name="north bridge", closed=True)
    assert json.loads(response.debug_output.responses[0])["unsupported"] == []


async def test_search_parameters_and_x_search(house: Any) -> None:
    day = datetime(2026, 11, 1, tzinfo=UTC)
    async with talking(house) as client:
        wanted = SearchParameters(
            sources=[web_source(excluded_websites=["b.org"])],
            mode="on",
            from_date=day,
            to_date=day + timedelta(days=2),
            return_citations=False,
        )
        response = await client.chat.create(
            model="gnomon", messages=ASK, search_parameters=wanted
        ).sample()
        assert not response.citations and response.content.startswith("The north bridge")
        posts = SearchParameters(sources=[x_source(included_x_handles=["mayor"])])
        await client.chat.create(model="gnomon", messages=ASK, search_parameters=posts).sample()
        posts = x_search(allowed_x_handles=["mayor"], from_date=day)
        found = await client.chat.create(model="gnomon", messages=ASK, tools=[posts]).sample()
        assert found.server_side_tool_usage == {"SERVER_SIDE_TOOL_X_SEARCH": 1}
        feed = SearchParameters(sources=[rss_source(["https://www.example.org/feed"])])
        with refused(grpc.StatusCode.INVALID_ARGUMENT, "feeds"):
            await client.chat.create(model="gnomon", messages=ASK, search_parameters=feed).sample()
    web, live, searched = house.answerer.asked
    assert (web.not_domains, web.since, web.until) == (("b.org",), day, day + timedelta(days=2))
    assert (live.kinds, live.authors) == (("post",), ("mayor",))
    assert (searched.kinds, searched.since) == (("post",), day)


async def test_stored_completions_are_read_and_deleted_by_their_owner(house: Any) -> None:
    async with talking(house) as client:
        made = await client.chat.create(model="gnomon", messages=ASK, store_messages=True).sample()
        stored = await client.chat.get_stored_completion(made.id)
        assert [s.content for s in stored] == [made.content]
        after = client.chat.create(model="gnomon", previous_response_id=made.id)
        await after.append(user("Since when?")).sample()
        assert await client.chat.delete_stored_completion(made.id) == made.id
        with refused(grpc.StatusCode.NOT_FOUND, "no stored response"):
            await client.chat.get_stored_completion(made.id)
        with refused(grpc.StatusCode.NOT_FOUND, "no stored response"):
            await client.chat.delete_stored_completion(made.id)
        unkept = await client.chat.create(model="gnomon", messages=ASK).sample()
        with refused(grpc.StatusCode.NOT_FOUND, "no stored response"):
            await client.chat.get_stored_completion(unkept.id)
    assert [t.question for t in house.answerer.asked[1].history] == ["Is the bridge open?"]


async def test_deferred(house: Any) -> None:
    house.answerer.hold = asyncio.Event()
    soon = timedelta(milliseconds=5)
    async with talking(house) as client:
        chat = client.chat.create(model="gnomon", messages=ASK, tools=[web_search()])
        waiting = asyncio.create_task(chat.defer(interval=soon))
        await asyncio.wait_for(house.answerer.waiting.wait(), 5)
        house.answerer.hold.set()
        response = await asyncio.wait_for(waiting, 5)
        assert response.content.startswith("The north bridge") and response.citations
        house.answerer.failure = ModelError("The model stopped.", code="model.stopped")
        with refused(grpc.StatusCode.FAILED_PRECONDITION, "The model stopped."):
            await chat.defer(interval=soon)


async def test_models_tokens_and_the_key(house: Any) -> None:
    class Words:
        async def tokenize(self, text: str) -> list[Token]:
            return [
                Token(id=i, piece=w.encode()) for i, w in enumerate(re.findall(r"\w+|\W", text))
            ]

    sentences = SimpleNamespace(name="minilm")
    hub = replace(house.services.models, tokens=Words(), sentences=sentences)
    told = replace(house, services=replace(house.services, models=hub))
    async with talking(told) as client:
        models = await client.models.list_language_models()
        assert [m.name for m in models] == ["gnomon", "gnomon-extract"]
        assert (await client.models.get_language_model("gnomon")).input_modalities == [1]
        with refused(grpc.StatusCode.NOT_FOUND, "grok-4"):
            await client.models.get_language_model("grok-4")
        assert [m.name for m in await client.models.list_embedding_models()] == ["minilm"]
        assert (await client.models.get_embedding_model("minilm")).output_modalities == [3]
        with refused(grpc.StatusCode.NOT_FOUND, "v1"):
            await client.models.get_embedding_model("v1")
        assert not await client.models.list_image_generation_models()
        tokens = await client.tokenize.tokenize_text("Brücke zu", "gnomon")
        assert b"".join(t.token_bytes for t in tokens).decode() == "Brücke zu"
        assert [t.string_token for t in tokens] == ["Brücke", " ", "zu"]
        key = await client.auth.get_api_key_info()
        assert (key.user_id, key.disabled) == ("local", False) and "gnomon:ask" in key.acls
    async with talking(house) as client:
        assert not await client.models.list_embedding_models()
        with refused(grpc.StatusCode.NOT_FOUND, "compacts nothing"):
            await client.chat.compact_context("gnomon", ASK)
        with refused(grpc.StatusCode.FAILED_PRECONDITION, "tokens"):
            await client.tokenize.tokenize_text("Brücke", "gnomon")


async def test_calls_are_counted_by_how_they_ended(house: Any) -> None:
    def count(status: str) -> float:
        labels = {"rpc": "GetCompletion", "status": status}
        return REGISTRY.get_sample_value("gnomon_grpc_calls_total", labels) or 0.0

    before = {status: count(status) for status in ("OK", "NOT_FOUND")}
    async with talking(house) as client:
        await client.chat.create(model="gnomon", messages=ASK).sample()
        with refused(grpc.StatusCode.NOT_FOUND, "grok-4"):
            await client.chat.create(model="grok-4", messages=ASK).sample()
    assert {status: count(status) - n for status, n in before.items()} == {"OK": 1, "NOT_FOUND": 1}


async def test_as_of_comes_as_metadata(house: Any) -> None:
    async with talking(house, metadata=(("gnomon-as-of", "2 hours ago"),)) as client:
        await client.chat.create(model="gnomon", messages=ASK).sample()
    assert house.answerer.asked[0].as_of == house.clock.now() - timedelta(hours=2)


async def test_the_same_keys_and_limits_as_over_http(house: Any) -> None:
    house = house.configure(api_key="s" * 20, requests_per_minute=2)
    async with talking(house) as client:
        with refused(grpc.StatusCode.UNAUTHENTICATED, "no key of this server"):
            await client.models.list_language_models()
    async with talking(house, api_key="s" * 20) as client:
        key = await client.auth.get_api_key_info()
        assert key.user_id == "operator"


async def test_tokens_are_counted_whichever_door_they_came_through(
    house: Any, tmp_path: Path
) -> None:
    accounts = Accounts(tmp_path / "accounts.db", house.clock)
    try:
        accounts.add_user("ada", Role.ADMIN)
        _, secret = accounts.add_key("ada", tokens_per_minute=10)
        house = replace(house, services=replace(house.services, accounts=accounts))
        async with talking(house, api_key=secret) as client:
            await client.chat.create(model="gnomon", messages=ASK).sample()  # 12 tokens
            with refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "10 tokens a minute") as caught:
                await client.chat.create(model="gnomon", messages=ASK).sample()
        trailing = dict(caught.value.trailing_metadata())
        assert trailing["gnomon-code"] == "rate_limit_exceeded" and trailing["retry-after"]
        headers = {"authorization": f"Bearer {secret}"}
        async with house.client(headers=headers) as http:
            body = {"model": "gnomon", "input": "Is the bridge open?"}
            ask = {"question": "Is the bridge open?", "stream": False}
            for path, given in (("/v1/responses", body), ("/v1/ask", ask)):
                house.clock.advance(60)
                assert (await http.post(path, json=given)).status_code == 200
                assert (await http.post(path, json=given)).status_code == 429
    finally:
        accounts.close()


@pytest.mark.parametrize(
    ("asked", "code", "words"),
    [
        ({"model": "grok-4"}, grpc.StatusCode.NOT_FOUND, "grok-4"),
        ({"messages": [assistant("Hm.")]}, grpc.StatusCode.INVALID_ARGUMENT, "must end with"),
        ({"tools": [code_execution()]}, grpc.StatusCode.INVALID_ARGUMENT, "code_interpreter"),
        ({"max_tokens": 0}, grpc.StatusCode.INVALID_ARGUMENT, "max_tokens"),
        (
            {"messages": [user(image("https://a.b/c.png"))]},
            grpc.StatusCode.INVALID_ARGUMENT,
            "text",
        ),
        ({"messages": [tool_result("x", "call_9")]}, grpc.StatusCode.INVALID_ARGUMENT, "call_9"),
        ({"previous_response_id": "resp_9"}, grpc.StatusCode.INVALID_ARGUMENT, "resp_9"),
    ],
)
async def test_refusals_are_clear(
    house: Any, asked: dict[str, Any], code: grpc.StatusCode, words: str
) -> None:
    async with talking(house) as client:
        chat = client.chat.create(**({"model": "gnomon", "messages": ASK} | asked))
        with refused(code, words):
            await chat.sample()
        with refused(code, words):
            async for _ in chat.stream():
                pass


async def test_only_what_may_succeed_again_is_tried_again(house: Any) -> None:
    house.answerer.failure = UpstreamTransient("The model is busy.", code="model.busy")
    async with talking(house) as client:
        with refused(grpc.StatusCode.UNAVAILABLE, "busy"):
            await client.chat.create(model="gnomon", messages=ASK).sample()
    assert len(house.answerer.asked) > 1
    del house.answerer.asked[:]
    house.answerer.failure = RuntimeError("secret words")
    async with talking(house) as client:
        with refused(grpc.StatusCode.INTERNAL, "inside Gnomon"):
            await client.chat.create(model="gnomon", messages=ASK).sample()
    assert len(house.answerer.asked) == 1


async def test_who_goes_away_stops_the_work(house: Any) -> None:
    house.answerer.hold = asyncio.Event()
    async with talking(house) as client:
        chat = client.chat.create(model="gnomon", messages=ASK)
        asking = asyncio.create_task(chat.sample())
        await asyncio.wait_for(house.answerer.waiting.wait(), 5)
        asking.cancel()
        await asyncio.wait_for(house.answerer.cancelled.wait(), 5)
        with pytest.raises(asyncio.CancelledError):
            await asking


async def test_every_form_of_local_channel_is_served(house: Any) -> None:
    async with opened(house) as address:
        port = address.rpartition(":")[2]
        for options in (
            {"api_host": address, "use_insecure_channel": True},
            {"api_host": f"localhost:{port}"},
        ):

            def ask(options: dict[str, Any] = options) -> str:
                client = Client(api_key="k", **options)
                try:
                    return client.chat.create(model="gnomon", messages=ASK).sample().content
                finally:
                    client.close()

            assert (await asyncio.to_thread(ask)).startswith("The north bridge")


@pytest.mark.parametrize("schema", ["[]", "{", "[" * 100_000, '{"a":' * 100 + "1" + "}" * 100])
async def test_schemas_that_are_none_are_refused(house: Any, schema: str) -> None:
    form = chat_pb2.ResponseFormat(format_type=chat_pb2.FORMAT_TYPE_JSON_SCHEMA, schema=schema)
    async with talking(house) as client:
        with refused(grpc.StatusCode.INVALID_ARGUMENT, "not a JSON object"):
            await client.chat.create(model="gnomon", messages=ASK, response_format=form).sample()


async def test_files_are_asked_about_as_collections(tmp_path: Path, served: Any) -> None:
    settings = Settings(
        home=tmp_path / "home", demo=Demo(mode="off"), models=Models(dir=tmp_path / "none")
    )
    async with opened_house(settings, follow=False) as real:
        house = SimpleNamespace(services=real.services(on_damage=pytest.fail, token=""))
        async with served(house) as url, AsyncOpenAI(base_url=f"{url}/v1", api_key="k") as http:
            minutes = b"The dredging of the eastern basin costs 4.2 million crowns."
            file = await http.files.create(file=("minutes.md", minutes), purpose="assistants")
            store = await http.vector_stores.create(name="board", file_ids=[file.id])
        async with talking(house) as client:
            chat = client.chat.create(
                model="gnomon",
                messages=[user("What does the dredging cost?")],
                tools=[collections_search([store.id])],
                include=["collections_search_call_output"],
            )
            response = await chat.sample()
    assert "4.2 million" in response.content
    assert response.server_side_tool_usage == {"SERVER_SIDE_TOOL_COLLECTIONS_SEARCH": 1}
    assert "minutes.md" in response.tool_outputs[0].message.content


async def test_garbage_is_refused_and_a_taken_port_too(house: Any) -> None:
    async with opened(house) as address:
        async with grpc.aio.insecure_channel(address) as channel:
            call = channel.unary_unary("/xai_api.Chat/GetCompletion")
            with refused(grpc.StatusCode.INVALID_ARGUMENT, "no xai_api.GetCompletionsRequest"):
                await call(b"\x0a\xff\xff")
            absent = channel.unary_unary("/xai_api.Sample/SampleText")
            with refused(grpc.StatusCode.UNIMPLEMENTED, ""):
                await absent(b"")
        state = create_app(house.services).state
        door = GrpcDoor(house.services, state.access, state.jobs, base_url="")
        with pytest.raises(ConfigError, match="Cannot listen"):
            await door.start("127.0.0.1", int(address.rpartition(":")[2]))
        await door.stop(0)


@pytest.mark.slow
async def test_a_long_wait_with_pings_is_one_call(house: Any) -> None:
    """Where a server forbids pings without data, the third one makes the client ask again."""
    house.answerer.hold = asyncio.Event()
    pings = [("grpc.keepalive_time_ms", 10_000)]  # the shortest that clients can be told
    async with talking(house, channel_options=pings) as client:
        chat = client.chat.create(model="gnomon", messages=ASK)
        asking = asyncio.create_task(chat.sample())
        await asyncio.wait_for(house.answerer.waiting.wait(), 5)
        await asyncio.sleep(55)
        house.answerer.hold.set()
        assert (await asking).content
    assert len(house.answerer.asked) == 1
