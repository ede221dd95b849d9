"""Three writers behind one protocol, over a real endpoint and with the embedded engine."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gnomon.answer.base import Question
from gnomon.answer.deep.base import Budget, markdown
from gnomon.answer.deep.engine import Engine
from gnomon.answer.deep.runs import Runs, RunStore
from gnomon.answer.generative import Reader, grammar
from gnomon.clock import RandomIds, SystemClock
from gnomon.models.base import GenerateRequest, ToolCall
from gnomon.models.remote import RemoteGenerator, endpoint
from gnomon.models.scripted import Reply, ScriptedGenerator
from gnomon.net.door import Door
from gnomon.settings import Net
from gnomon.testing.openai_server import OpenAIServer
from gnomon.types import Document, Passage, VerdictKind

Town = Any
BRIDGE = "Is the harbour bridge open?"
SMOLLM = Path(os.environ.get("GNOMON_MODELS__DIR", "models")) / "smollm2"


@asynccontextmanager
async def remote(server: OpenAIServer) -> AsyncIterator[RemoteGenerator]:
    door = Door(Net(), SystemClock(), endpoints=[endpoint(server.url)])
    try:
        yield RemoteGenerator(server.url, "scripted", door)
    finally:
        await door.aclose()


async def test_a_remote_model_phrases_over_http_and_is_checked(town: Town) -> None:
    said = (
        "<think>The newest passage says that it is open [9].</think>\n"
        "The harbour bridge is open again. [1] It was closed by 17 dragons. [1]"
    )
    async with OpenAIServer([said]) as server, remote(server) as model:
        answer = await town.ask(BRIDGE, town.models(generator=model))
    assert answer.writer == "scripted"
    assert [s.text for s in answer.sentences] == ["The harbour bridge is open again."]
    assert answer.sentences[0].verdict.kind is VerdictKind.SUPPORTED
    assert answer.usage.output_tokens > 0
    assert "dragons" not in answer.text
    told = server.bodies[0]["messages"]
    assert "language of the question" in told[0]["content"]


@pytest.mark.parametrize("fault", ["500", "half", "garbage", "error_event", "drop"])
async def test_whatever_the_endpoint_does_there_is_an_answer(town: Town, fault: str) -> None:
    async with OpenAIServer(["The harbour bridge is open again. [1]"] * 3) as server:
        server.faults.append(fault)
        async with remote(server) as model:
            answer = await town.ask(BRIDGE, town.models(generator=model))
    assert "open again" in answer.text
    assert answer.writer == "extractive"
    assert any("goes on by quoting" in n for n in answer.notes)


async def test_a_remote_model_drives_a_deep_run_by_tool_calls(town: Town, tmp_path: Path) -> None:
    def turn(request: GenerateRequest) -> Reply | str:
        last = request.messages[-1]
        if not request.tools:
            return "The harbour bridge is open again. [1]"
        if last.role == "user":
            arguments = json.dumps({"query": "harbour bridge open"})
            return Reply(tool_calls=(ToolCall(id="a", name="search", arguments=arguments),))
        if "BEGIN" in last.content:
            before = last.content[: last.content.index("open again")]
            n = int(before.rpartition("\n[")[2].partition("]")[0])
            arguments = json.dumps({"text": "The harbour bridge is open again.", "results": [n]})
            return Reply(tool_calls=(ToolCall(id="b", name="note", arguments=arguments),))
        return Reply(tool_calls=(ToolCall(id="c", name="finish", arguments="{}"),))

    async with OpenAIServer([turn]) as server, remote(server) as model:
        models = town.models(generator=model)
        engine = Engine(town.answerer(models), town.record, models, town.clock)
        store = RunStore(tmp_path / "runs.db", town.record)
        runs = Runs(store, engine, town.clock, RandomIds())
        run = await runs.start(BRIDGE, owner="ada", budget=Budget())
        async with asyncio.timeout(30):
            events = [e async for e in runs.watch(run.id)]
        done = await runs.get(run.id, "ada")
        await runs.aclose()
        store.close()
    assert done is not None
    assert "The harbour bridge is open again." in markdown(done)
    assert [e.name for e in events] == ["begun", "asked", "noted", "ended"]
    assert done.spent.input_tokens > 0


async def test_the_embedded_model_phrases_only_when_told_and_under_a_grammar(town: Town) -> None:
    small = ScriptedGenerator(["The harbour bridge is open again. [1]"], capable=False)
    answer = await town.ask(BRIDGE, town.models(generator=small), embedded="phrase")
    assert answer.writer == "scripted"
    (request,) = small.requests
    assert request.grammar is not None
    assert "NO ANSWER" in request.grammar
    assert request.messages[1].content.count("\n[") <= 5


def test_thoughts_are_no_drafts_however_the_stream_is_cut() -> None:
    document = Document(key="k", source="s", kind="article", text="It is open.", version=1, seq=1)
    passages = [Passage(document=document, start=0, end=11, text="It is open.")]
    for size in (1, 3, 7, 100):
        reader, said = Reader(passages), "<think>Is it? [1] Yes.</think>It is open. [1]"
        drafts = [d for i in range(0, len(said), size) for d in reader.feed(said[i : i + size])]
        assert [d.text for d in [*drafts, *reader.finish()]] == ["It is open."]
    reader = Reader(passages)
    assert [*reader.feed("<think>It never ends. [1]"), *reader.finish()] == []


def test_the_grammar_names_every_passage() -> None:
    document = Document(key="k", source="s", kind="article", text="x", version=1, seq=1)
    passages = [Passage(document=document, start=0, end=1, text="x")] * 3
    made = grammar(Question(text="Open?", max_sentences=2), passages)
    assert 'number ::= "1" | "2" | "3"' in made
    assert "{0,1}" in made


@pytest.mark.slow
@pytest.mark.skipif(not SMOLLM.is_dir(), reason=f"{SMOLLM} is not here")
async def test_the_embedded_engine_keeps_to_the_grammar(town: Town) -> None:
    from gnomon.models.embedded import EmbeddedGenerator
    from gnomon.models.fetch import SMOLLM2_FILE

    model = EmbeddedGenerator(SMOLLM.parent / SMOLLM2_FILE, n_threads=1)
    try:
        answer = await town.ask(
            Question(text=BRIDGE, max_sentences=2, max_output_tokens=120),
            town.models(generator=model),
            embedded="phrase",
        )
    finally:
        await model.aclose()
    shown = (VerdictKind.SUPPORTED, VerdictKind.PARTLY)
    assert all(s.citations and s.verdict.kind in shown for s in answer.sentences)
