"""What every language model promises, whatever stands behind it."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gnomon.clock import SystemClock
from gnomon.errors import ModelError
from gnomon.models.base import Chunk, GenerateRequest, Generator, Message, Tool
from gnomon.models.embedded import EmbeddedGenerator
from gnomon.models.fetch import SMOLLM2_FILE
from gnomon.models.remote import RemoteGenerator, endpoint
from gnomon.models.scripted import Reply, ScriptedGenerator, ToolCall
from gnomon.net.door import Door
from gnomon.settings import Net
from gnomon.testing.openai_server import OpenAIServer

WEIGHTS = Path(os.environ.get("GNOMON_MODELS__DIR", "absent")) / SMOLLM2_FILE
LOOK_UP = Tool(
    name="look_up",
    description="Look up the weather of a city.",
    parameters={
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
)
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
STORY = Reply(pieces=tuple(f"word{i} " for i in range(2_000)), delay_s=0.001)


def play(request: GenerateRequest) -> Reply | str:
    """A script that does what the request asks, as a good model would."""
    if request.tools and request.tool_choice == "required":
        call = ToolCall(id="call_7", name="look_up", arguments='{"city":"Paris"}')
        return Reply(tool_calls=(call,))
    if request.json_schema:
        return '{"name": "Ada", "age": 36}'
    if "story" in request.messages[-1].content:
        return STORY
    return "The capital of France is Paris."


@asynccontextmanager
async def scripted() -> AsyncIterator[Generator]:
    yield ScriptedGenerator([play])


@asynccontextmanager
async def remote() -> AsyncIterator[Generator]:
    async with OpenAIServer([play]) as server:
        door = Door(Net(), SystemClock(), endpoints=[endpoint(server.url)])
        try:
            yield RemoteGenerator(server.url, "scripted", door)
        finally:
            await door.aclose()


@asynccontextmanager
async def embedded() -> AsyncIterator[Generator]:
    pytest.importorskip("xllamacpp")
    if not WEIGHTS.is_file():
        pytest.skip(f"the weights are absent: GNOMON_MODELS__DIR holds no {SMOLLM2_FILE}")
    generator = await asyncio.to_thread(EmbeddedGenerator, WEIGHTS, context_tokens=1_024)
    try:
        yield generator
    finally:
        await generator.aclose()


Opening = Callable[[], AbstractAsyncContextManager[Generator]]


@pytest.fixture(
    params=[scripted, remote, pytest.param(embedded, marks=pytest.mark.models)],
    ids=["scripted", "remote", "embedded"],
)
async def generator(request: pytest.FixtureRequest) -> AsyncIterator[Generator]:
    opening: Opening = request.param
    async with opening() as opened:
        yield opened


def ask(text: str, **options: Any) -> GenerateRequest:
    return GenerateRequest(messages=(Message(role="user", content=text),), **options)


async def read(generator: Generator, request: GenerateRequest) -> list[Chunk]:
    return [chunk async for chunk in generator.stream(request)]


async def test_says_who_it_is(generator: Generator) -> None:
    assert generator.name
    assert generator.context_tokens >= 512
    assert generator.capable in (True, False)


async def test_streams_text_and_ends_with_a_reason_and_counts(generator: Generator) -> None:
    chunks = await read(generator, ask("What is the capital of France?", max_tokens=24))
    assert len([c for c in chunks if c.text]) > 1
    *body, last = chunks
    assert all(c.finish_reason is None for c in body)
    assert last.finish_reason in ("stop", "length")
    assert last.input_tokens > 0
    assert 0 < last.output_tokens <= 24


async def test_stops_at_max_tokens(generator: Generator) -> None:
    chunks = await read(generator, ask("Tell me a long story.", max_tokens=3))
    assert chunks[-1].finish_reason == "length"
    assert chunks[-1].output_tokens == 3


async def test_is_deterministic_at_temperature_zero(generator: Generator) -> None:
    request = ask("What is the capital of France?", max_tokens=12)
    first, second = [await read(generator, request) for _ in range(2)]
    assert "".join(c.text for c in first) == "".join(c.text for c in second)


async def test_keeps_to_a_json_schema(generator: Generator) -> None:
    chunks = await read(generator, ask("Invent a person.", json_schema=PERSON, max_tokens=120))
    person = json.loads("".join(c.text for c in chunks))
    assert set(person) == {"name", "age"}
    assert isinstance(person["age"], int)


async def test_calls_a_tool_when_it_must(generator: Generator) -> None:
    request = ask("How is the weather in Paris?", tools=(LOOK_UP,), tool_choice="required")
    chunks = await read(generator, request)
    assert chunks[-1].finish_reason == "tool_calls"
    (call,) = [call for c in chunks for call in c.tool_calls]
    assert call.id
    assert call.name == "look_up"
    assert set(json.loads(call.arguments)) == {"city"}


async def test_reports_log_probabilities(generator: Generator) -> None:
    chunks = await read(generator, ask("Capital of France?", logprobs=1, max_tokens=6))
    tokens = [t for c in chunks for t in c.logprobs]
    assert "".join(t.token for t in tokens) == "".join(c.text for c in chunks)
    assert all(t.logprob <= 0.0 for t in tokens)
    assert all(len(t.top) == 1 for t in tokens)


async def test_probabilities_come_without_alternatives_too(generator: Generator) -> None:
    chunks = await read(generator, ask("Capital of France?", logprobs=0, max_tokens=6))
    tokens = [t for c in chunks for t in c.logprobs]
    assert tokens and all(t.top == () for t in tokens)
    chunks = await read(generator, ask("Capital of France?", max_tokens=6))
    assert not any(c.logprobs for c in chunks)


async def test_closing_the_stream_stops_the_engine(generator: Generator) -> None:
    stream = generator.stream(ask("Write a very long story.", max_tokens=900))
    async for chunk in stream:
        if chunk.text:
            break
    await stream.aclose()  # type: ignore[attr-defined]
    began = time.monotonic()
    await read(generator, ask("What is the capital of France?", max_tokens=1))
    # 900 tokens would take several seconds; the next request need not wait for them.
    assert time.monotonic() - began < 3.0


async def test_cancelling_the_reader_stops_the_engine(generator: Generator) -> None:
    got = asyncio.Event()

    async def consume() -> None:
        async for chunk in generator.stream(ask("Write a very long story.", max_tokens=900)):
            if chunk.text:
                got.set()

    reader = asyncio.create_task(consume())
    await asyncio.wait_for(got.wait(), 30)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    began = time.monotonic()
    await read(generator, ask("What is the capital of France?", max_tokens=1))
    assert time.monotonic() - began < 3.0


async def test_serves_several_readers(generator: Generator) -> None:
    request = ask("What is the capital of France?", max_tokens=8)
    all_chunks = await asyncio.gather(*(read(generator, request) for _ in range(3)))
    texts = {"".join(c.text for c in chunks) for chunks in all_chunks}
    assert len(texts) == 1


async def test_counts_tokens(generator: Generator) -> None:
    short, long = [await generator.count_tokens("word " * n) for n in (3, 300)]
    assert 1 <= short < long
    assert await generator.count_tokens("") <= 1


@pytest.mark.parametrize("text", ["Grüße, 世界 🌍!", "a  b\n", "", "<|im_end|>"])
async def test_tokens_are_the_whole_text(generator: Generator, text: str) -> None:
    if not isinstance(generator, EmbeddedGenerator):
        pytest.skip("only the embedded engine tells its tokens")
    tokens = await generator.tokenize(text)
    assert b"".join(token.piece for token in tokens).decode() == text
    assert len(tokens) == await generator.count_tokens(text)


@pytest.mark.parametrize("text", ["\x00\x01\x1b[31m", "𝕳𝖊𝖑𝖑𝖔 🙂 日本語", "<|im_end|>" * 20, " "])
async def test_survives_odd_text(generator: Generator, text: str) -> None:
    chunks = await read(generator, ask(text, max_tokens=4))
    assert chunks[-1].finish_reason is not None


async def test_a_bad_request_is_a_model_error_and_no_more() -> None:
    generator = ScriptedGenerator([ModelError("It failed.", code="model.failed"), "well"])
    with pytest.raises(ModelError, match=r"It failed\."):
        await read(generator, ask("x"))
    assert (await read(generator, ask("x")))[-1].finish_reason == "stop"
