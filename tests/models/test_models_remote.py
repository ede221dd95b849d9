"""The remote engine against a stand-in endpoint, and the stand-in against the openai client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import openai
import pytest
from pydantic import SecretStr

from gnomon.clock import SystemClock
from gnomon.errors import ModelError, ModelTerminal, ModelTransient
from gnomon.models.base import Chunk, GenerateRequest, Message, Tool, ToolCall
from gnomon.models.remote import RemoteGenerator, endpoint
from gnomon.models.scripted import Reply
from gnomon.net.door import Door
from gnomon.settings import Net
from gnomon.testing.openai_server import OpenAIServer

KEY = "sk-very-secret-0123456789"
CALL = ToolCall(id="call_7", name="look_up", arguments='{"city": "Pärís"}')
TOOL = Tool(name="look_up", parameters={"type": "object", "properties": {}})


def ask(text: str = "Hello?", **options: Any) -> GenerateRequest:
    return GenerateRequest(messages=(Message(role="user", content=text),), **options)


@asynccontextmanager
async def opened(
    url: str, model: str = "scripted", key: str | None = None
) -> AsyncIterator[RemoteGenerator]:
    door = Door(Net(), SystemClock(), endpoints=[endpoint(url)])
    try:
        yield RemoteGenerator(url, model, door, api_key=SecretStr(key) if key else None)
    finally:
        await door.aclose()


async def read(generator: RemoteGenerator, request: GenerateRequest) -> list[Chunk]:
    return [chunk async for chunk in generator.stream(request)]


async def failure(fault: str, **options: Any) -> ModelError:
    """What a request ends in when the endpoint misbehaves so."""
    async with OpenAIServer(["one two three four"]) as server, opened(server.url) as generator:
        server.faults.append(fault)
        with pytest.raises(ModelError) as caught:
            await read(generator, ask(**options))
        assert generator.last_failure is caught.value
        return caught.value


async def test_sends_what_was_asked() -> None:
    schema = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    request = GenerateRequest(
        messages=(
            Message(role="system", content="Be brief."),
            Message(role="assistant", tool_calls=(CALL,)),
            Message(role="tool", content="12 °C", tool_call_id="call_7"),
        ),
        max_tokens=7,
        temperature=0.5,
        top_p=0.9,
        seed=3,
        stop=("END",),
        tools=(TOOL,),
        tool_choice="look_up",
        json_schema=schema,
        logprobs=2,
    )
    async with OpenAIServer(["fine"]) as server, opened(server.url) as generator:
        await read(generator, request)
        (received,) = server.generator.requests
        assert received == request
        assert server.bodies[0]["response_format"]["json_schema"]["strict"] is True


async def test_text_usage_and_tool_calls_arrive() -> None:
    reply = Reply(pieces=("Zürich", " is", " 🙂."), tool_calls=(CALL,))
    async with OpenAIServer([reply]) as server, opened(server.url) as generator:
        chunks = await read(generator, ask("one two", tools=(TOOL,)))
    assert "".join(c.text for c in chunks) == "Zürich is 🙂."
    last = chunks[-1]
    assert last.tool_calls == (CALL,)
    assert (last.finish_reason, last.input_tokens, last.output_tokens) == ("tool_calls", 2, 3)


@pytest.mark.parametrize("fault", ["no_usage", "no_done", "crlf", "plain"])
async def test_oddities_are_read(fault: str) -> None:
    async with OpenAIServer(["one two three"]) as server, opened(server.url) as generator:
        server.faults.append(fault)
        chunks = await read(generator, ask())
    assert "".join(c.text for c in chunks) == "one two three"
    assert chunks[-1].finish_reason == "stop"
    assert chunks[-1].output_tokens > 0


@pytest.mark.parametrize(
    ("fault", "kind", "code", "says"),
    [
        ("400", ModelTerminal, "model.request", "refuses the request (status 400): No"),
        ("401", ModelTerminal, "model.key", "refuses the key"),
        ("404", ModelTerminal, "model.unknown", "knows no model scripted"),
        ("429", ModelTransient, "model.busy", "answers 429"),
        ("500", ModelTransient, "model.busy", "answers 500"),
        ("drop", ModelTransient, "model.unreachable", "cannot be reached"),
        ("half", ModelTransient, "model.broken_stream", "no JSON"),
        ("garbage", ModelTransient, "model.broken_stream", "no JSON"),
        ("shape", ModelTransient, "model.broken_stream", "unknown shape"),
        ("error_event", ModelTransient, "model.failed", "The engine died."),
        ("error_200", ModelTransient, "model.failed", "out of memory"),
    ],
)
async def test_failures_are_told_apart(
    fault: str, kind: type[ModelError], code: str, says: str
) -> None:
    error = await failure(fault)
    assert isinstance(error, kind)
    assert error.code == code
    assert says in error.message
    if fault == "429":
        assert isinstance(error, ModelTransient)
        assert error.retry_after_s == 7.0


async def test_nothing_listens() -> None:
    async with OpenAIServer([]) as server:
        url = server.url
    async with opened(url) as generator:
        with pytest.raises(ModelTransient, match="cannot be reached"):
            await read(generator, ask())


async def test_a_grammar_is_refused_before_anything_is_sent() -> None:
    async with OpenAIServer(["x"]) as server, opened(server.url) as generator:
        with pytest.raises(ModelTerminal, match="takes no grammar"):
            await read(generator, ask(grammar='root ::= "a"'))
        assert server.bodies == []


async def test_parameters_that_an_endpoint_refuses_are_left_out_from_then_on() -> None:
    async with OpenAIServer(["one", "two", "three"]) as server, opened(server.url) as generator:
        server.faults += ["no_max_tokens", "no_temperature"]
        for text, asked in (("one", 2), ("two", 4), ("three", 5)):
            assert (await read(generator, ask(max_tokens=9)))[0].text == text
            assert len(server.bodies) == asked
    assert server.bodies[-1]["max_completion_tokens"] == 9
    assert {"max_tokens", "temperature"}.isdisjoint(server.bodies[-1])


async def test_the_key_is_sent_and_never_shown(capfd: pytest.CaptureFixture[str]) -> None:
    async with OpenAIServer(["one two", "x"], api_key=KEY) as server:
        async with opened(server.url, key=KEY) as generator:
            assert (await read(generator, ask()))[0].text == "one"
            server.faults += ["400", "422", "403", "error_event"]
            shown = repr(vars(generator))
            for _ in range(3):
                with pytest.raises(ModelError) as caught:
                    await read(generator, ask())
                shown += f"{caught.value} {caught.value.fields} {caught.value!r}"
        async with opened(server.url, key="sk-wrong") as generator:
            with pytest.raises(ModelTerminal, match="refuses the key") as caught:
                await read(generator, ask())
            shown += str(caught.value)
    assert KEY not in shown
    assert "sk-wrong" not in shown
    assert KEY not in "".join(capfd.readouterr())


async def test_a_key_that_no_header_can_hold_is_a_model_error() -> None:
    async with OpenAIServer(["x"]) as server, opened(server.url, key="sk\nbad") as generator:
        with pytest.raises(ModelTerminal, match="header") as caught:
            await read(generator, ask())
    assert "sk\nbad" not in str(caught.value)


async def test_leaving_the_stream_hangs_up() -> None:
    endless = Reply(pieces=("word ",) * 100_000)
    async with OpenAIServer([endless]) as server, opened(server.url) as generator:
        stream = generator.stream(ask(max_tokens=100_000))
        async for _ in stream:
            break
        await stream.aclose()  # type: ignore[attr-defined]
        deadline = time.monotonic() + 10
        while (  # noqa: ASYNC110 - the server's own event
            not server.generator.closed_early and time.monotonic() < deadline
        ):
            await asyncio.sleep(0.01)
        assert server.generator.closed_early == 1


async def test_recovers_after_a_failure() -> None:
    async with OpenAIServer(["one"]) as server, opened(server.url) as generator:
        server.faults.append("500")
        with pytest.raises(ModelTransient):
            await read(generator, ask())
        await read(generator, ask())
        assert generator.last_failure is None


def test_endpoint_names_host_and_port() -> None:
    assert endpoint("http://localhost:8000/v1") == "localhost:8000"
    assert endpoint("https://api.example.org/v1") == "api.example.org:443"
    assert endpoint("http://[::1]:9/v1") == "[::1]:9"


# -- the stand-in is what it claims to be: a foreign client understands it -----
@asynccontextmanager
async def foreign(server: OpenAIServer, key: str = KEY) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=server.url, api_key=key, max_retries=0) as client:
        yield client


async def test_the_openai_client_reads_the_stand_in() -> None:
    messages: Any = [{"role": "user", "content": "one two"}]
    reply = Reply(pieces=("Hel", "lo"), tool_calls=(CALL,))
    async with OpenAIServer([reply, reply, "x"], api_key=KEY) as server, foreign(server) as client:
        whole = await client.chat.completions.create(model="scripted", messages=messages)
        assert whole.choices[0].message.content == "Hello"
        assert whole.usage is not None
        assert whole.usage.prompt_tokens == 2
        text, arguments, last = "", "", None
        stream = await client.chat.completions.create(
            model="scripted",
            messages=messages,
            stream=True,
            stream_options={"include_usage": True},
        )
        async for event in stream:
            last = event
            for choice in event.choices:
                text += choice.delta.content or ""
                for call in choice.delta.tool_calls or ():
                    assert call.function is not None
                    arguments += call.function.arguments or ""
        assert text == "Hello"
        assert msgspec.json.decode(arguments) == {"city": "Pärís"}
        assert last is not None
        assert last.usage is not None
        assert last.usage.completion_tokens == 2
        assert [m.id async for m in client.models.list()] == ["scripted"]
        server.faults.append("429")
        with pytest.raises(openai.RateLimitError):
            await client.chat.completions.create(model="scripted", messages=messages)
        with pytest.raises(openai.NotFoundError):
            await client.chat.completions.create(model="another", messages=messages)


async def test_the_stand_in_checks_the_key_as_the_openai_client_sends_it() -> None:
    async with OpenAIServer(["x"], api_key=KEY) as server, foreign(server, "sk-wrong") as client:
        with pytest.raises(openai.AuthenticationError):
            await client.chat.completions.create(
                model="scripted", messages=[{"role": "user", "content": "x"}]
            )
