"""Registered models over HTTP: asked like any chat model, swapped under load, listed."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openai import AsyncOpenAI, BadRequestError

from gnomon.accounts.memory import MemoryStore
from gnomon.clock import RandomIds, SystemClock
from gnomon.errors import ModelTerminal
from gnomon.models.base import GenerateRequest, ToolCall
from gnomon.models.registry import OWN, Check, Entry, Registry
from gnomon.models.scripted import Reply, ScriptedGenerator
from gnomon.models.served import Served
from gnomon.settings import Server, Settings
from gnomon.train.config import Data, RunConfig, Schedule
from gnomon.train.models.shape import presets

GOOD = Check(name="bits_per_byte", value=1.9, low=1.8, high=2.0, threshold=2.5, passed=True)
BAD = Check(name="cloze", value=21.0, threshold=25.0, passed=False)
ASK = [{"role": "user", "content": "Is the north bridge open?"}]


class Engine(ScriptedGenerator):
    """Says its entry's id, word by word; `tool` makes it call a function."""

    def __init__(self, entry: Entry) -> None:
        super().__init__([self._answer], clock=SystemClock())
        self._entry = entry
        self.open = True

    def _answer(self, request: GenerateRequest) -> Reply:
        assert self.open
        if "too long" in request.messages[-1].content:
            raise ModelTerminal("The prompt has 9 tokens, but it reads 8.", code="model.context")
        if request.tools and request.messages[-1].role != "tool":
            call = ToolCall(id="call_1", name=request.tools[0].name, arguments='{"a": 1}')
            return Reply(tool_calls=(call,))
        return Reply(pieces=("I", " am", f" {self._entry.id}."), delay_s=0.03)

    async def aclose(self) -> None:
        assert self.open, "closed twice"
        self.open = False


class Models:
    """A registry and the engines that were loaded of it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.registry = Registry(home / "registry", SystemClock())
        self.engines: list[Engine] = []
        self.breaks: set[str] = set()
        self.served = Served(self.registry, load=self.load, clock=SystemClock())

    def load(self, path: Path, entry: Entry) -> Engine:
        if entry.id in self.breaks:
            raise ModelTerminal(f"{entry.id} is broken.", code="model.unloadable")
        time.sleep(0.05)
        self.engines.append(Engine(entry))
        return self.engines[-1]

    def add(self, name: str, *checks: Check) -> Entry:
        path = self.home / "x.gguf"
        path.write_bytes(b"GGUF" + f"{name}{len(self.registry.list())}".encode())
        return self.registry.add(path, name=name, lineage={"run": "r1"}, checks=checks or (GOOD,))


@pytest.fixture
async def models(house: Any, tmp_path: Path) -> AsyncIterator[Models]:
    models = Models(tmp_path)
    house.services = replace(house.services, served=models.served, settings=Settings(home=tmp_path))
    yield models
    await models.served.aclose()
    assert not any(engine.open for engine in models.engines)


async def chat(client: httpx2.AsyncClient, model: str, **more: Any) -> httpx2.Response:
    return await client.post(
        "/v1/chat/completions", json={"model": model, "messages": ASK} | more, timeout=30
    )


# -- asking --------------------------------------------------------------------
async def test_a_registered_model_answers_in_every_format(house: Any, models: Models) -> None:
    models.add("demo")
    async with house.client() as client:
        completion = (await chat(client, "demo")).json()
        assert completion["choices"][0]["message"]["content"] == "I am demo@1."
        assert completion["choices"][0]["finish_reason"] == "stop"
        assert completion["usage"]["completion_tokens"] == 3
        assert completion["gnomon"]["model"] == "demo@1"
        assert completion["gnomon"]["lineage"] == {"run": "r1"}
        assert completion["citations"] == []
        body = {"model": "demo@1", "max_tokens": 2, "messages": ASK, "system": "Be brief."}
        message = (await client.post("/v1/messages", json=body)).json()
        assert message["content"] == [{"type": "text", "text": "I am"}]
        assert message["stop_reason"] == "max_tokens"
        response = (
            await client.post("/v1/responses", json={"model": "demo", "input": "Hello?"})
        ).json()
        assert response["status"] == "completed"
        assert response["output"][0]["content"][0]["text"] == "I am demo@1."
        again = await client.get(f"/v1/responses/{response['id']}")
        assert again.json()["output"] == response["output"]
    assert house.answerer.asked == [], "nothing was searched"
    first, second, _ = models.engines[0].requests[1:]
    assert [m.role for m in first.messages] == ["user"]
    assert [m.content for m in second.messages] == ["Be brief.", ASK[0]["content"]]


async def test_what_is_kept_claims_no_support(house: Any, models: Models) -> None:
    models.add("demo")
    async with house.client() as client:
        first = (await client.post("/v1/responses", json={"model": "demo", "input": "One"})).json()
        body = {"model": "demo", "input": "Two", "previous_response_id": first["id"]}
        await client.post("/v1/responses", json=body)
    said = [m.content for m in models.engines[0].requests[-1].messages]
    assert said == ["One", "I am demo@1.", "Two"]
    kept = house.threads.get(first["id"]).answer
    assert [s.verdict.kind for s in kept.sentences] == ["not_supported"]
    assert kept.writer == "demo@1"


async def test_what_is_remembered_is_told_to_it(house: Any, models: Models, tmp_path: Path) -> None:
    models.add("demo")
    memory = MemoryStore(tmp_path / "memory.db", house.clock, RandomIds())
    memory.switch("local", True)
    note = memory.add("local", "Answer in French.")
    house = replace(house, services=replace(house.services, memory=memory))
    async with house.client() as client:
        made = (await client.post("/v1/responses", json={"model": "demo", "input": "One"})).json()
        assert made["gnomon"]["memories"] == [note.id]
        rules = models.engines[0].requests[-1].messages[0]
        assert rules.role == "system" and "- Answer in French." in rules.content
        said = "Remember that I cycle."
        made = (await client.post("/v1/responses", json={"model": "demo", "input": said})).json()
        kept = memory.of("local").notes[-1]
        assert kept.text == "I cycle." and f"Remembered as {kept.id}." in made["gnomon"]["notes"]
        memory.switch("local", False)
        made = (await client.post("/v1/responses", json={"model": "demo", "input": "Two"})).json()
        assert made["gnomon"]["memories"] == []
        assert [m.role for m in models.engines[0].requests[-1].messages] == ["user"]
    memory.close()


async def test_probabilities_are_told_where_the_engine_tells_them(
    house: Any, models: Models, served: Any
) -> None:
    models.add("demo")
    async with (
        served(house) as url,
        AsyncOpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0) as client,
    ):
        chat = await client.chat.completions.create(
            model="demo",
            messages=ASK,
            logprobs=True,
            top_logprobs=1,  # type: ignore[arg-type]
        )
        tokens = chat.choices[0].logprobs.content  # type: ignore[union-attr]
        assert tokens and "".join(t.token for t in tokens) == chat.choices[0].message.content
        assert tokens[0].logprob == 0.0 and tokens[0].top_logprobs[0].token == tokens[0].token
        assert bytes(tokens[0].bytes or ()).decode() == tokens[0].token
        parts = [
            token.token
            async for chunk in await client.chat.completions.create(
                model="demo",
                messages=ASK,
                logprobs=True,
                stream=True,  # type: ignore[arg-type]
            )
            for choice in chunk.choices
            if choice.logprobs
            for token in choice.logprobs.content or ()
        ]
        assert parts == [t.token for t in tokens]
        plain = await client.chat.completions.create(model="demo", messages=ASK)  # type: ignore[arg-type]
        assert plain.choices[0].logprobs is None
        response = await client.responses.create(
            model="demo",
            input="Is it?",
            top_logprobs=1,
            include=["message.output_text.logprobs"],
        )
        part = response.output[0].content[0]  # type: ignore[union-attr]
        assert "".join(t.token for t in part.logprobs) == response.output_text  # type: ignore[union-attr]
        # Checked sentences are put together, not sampled: there are none, and that is said.
        checked = await client.chat.completions.create(
            model="gnomon",
            messages=ASK,
            logprobs=True,  # type: ignore[arg-type]
        )
        assert checked.choices[0].logprobs is None
        assert "logprobs" in checked.model_extra["gnomon"]["ignored"]  # type: ignore[index]
        for wrong in ({"logprobs": "yes"}, {"logprobs": True, "top_logprobs": 21}):
            with pytest.raises(BadRequestError, match="logprobs"):
                await client.chat.completions.create(model="demo", messages=ASK, **wrong)  # type: ignore[call-overload]


async def test_streams_end_as_clients_expect(house: Any, models: Models) -> None:
    models.add("demo")
    async with house.client() as client:
        lines = (await chat(client, "demo", stream=True, max_tokens=2)).text.split("\n\n")
        chunks = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
        said = "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks)
        assert said == "I am"
        assert chunks[-1]["choices"][0]["finish_reason"] == "length"
        body = {"model": "demo", "input": "Hello", "stream": True, "max_output_tokens": 2}
        text = (await client.post("/v1/responses", json=body)).text
        events = [json.loads(line[6:]) for line in text.splitlines() if line[:6] == "data: "]
        assert [e["type"] for e in events] == [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.incomplete",
        ]
        assert [e["sequence_number"] for e in events] == list(range(10))
        last = events[-1]["response"]
        assert last["incomplete_details"] == {"reason": "max_output_tokens"}


async def test_its_wishes_are_followed_or_refused(house: Any, models: Models) -> None:
    models.add("demo")
    async with house.client() as client:
        wishes = {"temperature": 0.7, "top_p": 0.9, "seed": 3, "stop": "END", "top_k": 4}
        said = (await chat(client, "demo", **wishes)).json()
        assert said["gnomon"]["ignored"] == ["top_k"]
        request = models.engines[0].requests[-1]
        assert (request.temperature, request.top_p, request.seed) == (0.7, 0.9, 3)
        assert request.stop == ("END",)
        for bad in (
            {"temperature": "hot"},
            {"temperature": 9},
            {"seed": -1},
            {"stop": [1]},
            {"as_of": "2026-01-01T00:00:00Z"},
            {"search_parameters": {"mode": "on"}},
            {"tools": [{"type": "web_search"}]},
        ):
            refused = await chat(client, "demo", **bad)
            assert refused.status_code == 400, bad
            assert refused.json()["error"]["param"] == next(iter(bad))


async def test_a_prompt_that_is_too_long_is_the_clients_to_mend(house: Any, models: Models) -> None:
    models.add("demo")
    async with house.client() as client:
        body = {"model": "demo", "messages": [{"role": "user", "content": "too long"}]}
        refused = await client.post("/v1/chat/completions", json=body)
        assert refused.status_code == 400
        assert refused.json()["error"]["code"] == "context_length_exceeded"


async def test_it_calls_functions(house: Any, models: Models) -> None:
    models.add("demo")
    tools = [{"type": "function", "function": {"name": "tide", "parameters": {}}}]
    async with house.client() as client:
        said = (await chat(client, "demo", tools=tools)).json()["choices"][0]
        assert said["finish_reason"] == "tool_calls"
        (call,) = said["message"]["tool_calls"]
        assert call["function"] == {"name": "tide", "arguments": '{"a": 1}'}
        messages = [
            *ASK,
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": call["id"], "content": "2.1 m"},
        ]
        body = {"model": "demo", "tools": tools, "messages": messages}
        said = (await client.post("/v1/chat/completions", json=body)).json()
        assert said["choices"][0]["message"]["content"] == "I am demo@1."


async def test_models_are_listed_with_their_lineage(house: Any, models: Models) -> None:
    models.add("demo")
    models.add("worse", BAD)
    models.registry.use("demo")
    async with house.client() as client:
        listed = (await client.get("/v1/models")).json()["data"]
        assert [m["id"] for m in listed] == ["gnomon", "gnomon-extract", OWN, "demo"]
        assert listed[3]["gnomon"]["lineage"] == {"run": "r1"}
        assert listed[3]["aliases"] == [OWN]
        assert (await client.get("/v1/models/demo@1")).json()["gnomon"]["writer"] == "demo@1"
        languages = (await client.get("/v1/language-models")).json()["models"]
        assert [m["id"] for m in languages] == [m["id"] for m in listed]
        assert (await client.get("/v1/language-models/demo")).status_code == 200
        missing = await client.get("/v1/models/nothing")
        assert missing.status_code == 404
        assert "gnomon-own or demo" in missing.json()["error"]["message"]
        status = (await client.get("/v1/status")).json()["models"]
        assert status[-1]["text"] == "gnomon-own is demo@1, and is loaded when it is asked."
    assert models.engines == [], "being listed loads nothing"


async def test_what_no_gate_let_pass_is_refused(house: Any, models: Models) -> None:
    models.add("worse", BAD)
    async with house.client() as client:
        refused = await chat(client, "worse")
        assert refused.status_code == 403
        assert refused.json()["error"]["code"] == "gate.refused"
        assert "cloze is 21, wanted 25" in refused.json()["error"]["message"]
        assert (await chat(client, OWN)).status_code == 404
        refused = await client.post("/v1/registry/worse/use")
        assert (refused.status_code, refused.json()["code"]) == (409, "gate.refused")
        assert "What serves stays in place" in refused.json()["hint"]
    assert models.engines == []


async def test_a_client_that_leaves_lets_go_of_the_model(
    house: Any, served: Any, models: Models
) -> None:
    models.add("a"), models.add("b")
    async with served(house) as url, httpx2.AsyncClient(base_url=url, trust_env=False) as client:
        await client.post("/v1/registry/a/use")
        body = {"model": "a", "messages": ASK, "stream": True}
        async with client.stream("POST", "/v1/chat/completions", json=body) as response:
            async for _ in response.aiter_bytes():
                break
        await client.post("/v1/registry/b/use")
        async with asyncio.timeout(10):
            while models.engines[0].open:  # noqa: ASYNC110 - closing tells nobody
                await asyncio.sleep(0.01)


async def test_the_xai_sdk_asks_registered_models(house: Any, models: Models) -> None:
    from xai_sdk import AsyncClient
    from xai_sdk.chat import user

    from gnomon.serve.app import create_app
    from gnomon.serve.grpc.server import GrpcDoor

    models.add("demo")
    state = create_app(house.services).state
    door = GrpcDoor(house.services, state.access, state.jobs, base_url="http://127.0.0.1:8420")
    address = f"127.0.0.1:{await door.start('127.0.0.1', 0)}"
    client = AsyncClient(api_host=address, api_key="k", use_insecure_channel=True)
    try:
        assert "demo" in [m.name for m in await client.models.list_language_models()]
        assert (await client.models.get_language_model("demo@1")).name == "demo@1"
        said = await client.chat.create("demo", messages=[user("Hello?")]).sample()
        assert (said.content, said.finish_reason) == ("I am demo@1.", "REASON_STOP")
        chat = client.chat.create("demo", messages=[user("Hello?")], max_tokens=2)
        pieces = [piece.content async for _, piece in chat.stream()]
        assert "".join(pieces) == "I am"
        assert (await chat.sample()).finish_reason == "REASON_MAX_LEN"
        wished: dict[str, Any] = {"logprobs": True, "top_logprobs": 1}
        chat = client.chat.create("demo", messages=[user("Hello?")], **wished)
        told = (await chat.sample()).logprobs
        assert "".join(token.token for token in told.content) == "I am demo@1."
        assert told.content[0].top_logprobs[0].token == "I"
    finally:
        await client.close()
        await door.stop(0)
        await state.jobs.aclose()


async def test_tokens_are_counted_by_the_model_that_is_named(house: Any, models: Models) -> None:
    models.add("demo")
    async with house.client() as client:
        body = {"model": "demo", "messages": [{"role": "user", "content": "one two three"}]}
        counted = await client.post("/v1/messages/count_tokens", json=body)
        assert counted.json() == {"input_tokens": 3}


# -- the registry --------------------------------------------------------------
async def test_use_and_rollback_over_http(house: Any, models: Models) -> None:
    models.add("a"), models.add("b"), models.add("b")
    async with house.client() as client:
        used = await client.post("/v1/registry/a/use")
        assert (used.json()["id"], used.json()["state"]) == ("a@1", "serving")
        assert (await chat(client, OWN)).json()["gnomon"]["model"] == "a@1"
        await client.post("/v1/registry/b/use", json={"version": 1})
        assert (await chat(client, OWN)).json()["gnomon"]["model"] == "b@1"
        shown = (await client.get("/v1/registry")).json()
        assert shown["serving"] == "b@1"
        assert shown["loaded"] == ["b@1"]
        assert [e["id"] for e in shown["entries"]] == ["a@1", "b@1", "b@2"]
        assert shown["entries"][0]["checks"][0]["threshold"] == 2.5
        assert [(e["what"], e["model"]) for e in shown["history"]] == [
            ("use", "a@1"),
            ("use", "b@1"),
        ]
        back = await client.post("/v1/registry/rollback")
        assert back.json()["id"] == "a@1"
        assert (await chat(client, OWN)).json()["gnomon"]["model"] == "a@1"
        none = await client.post("/v1/registry/rollback")
        assert (none.status_code, none.json()["code"]) == (409, "registry.no_rollback")
        for path, status in (("none", 404), ("a", 200)):
            found = await client.post(f"/v1/registry/{path}/use")
            assert found.status_code == status
        found = await client.post("/v1/registry/a/use", json={"version": 7})
        assert (found.status_code, found.json()["hint"]) == (404, "It has 1.")


async def test_a_model_that_cannot_be_loaded_leaves_the_old_one(house: Any, models: Models) -> None:
    models.add("a"), models.add("b")
    models.breaks.add("b@1")
    async with house.client() as client:
        await client.post("/v1/registry/a/use")
        failed = await client.post("/v1/registry/b/use")
        assert (failed.status_code, failed.json()["detail"]) == (409, "b@1 is broken.")
        assert (await chat(client, OWN)).json()["gnomon"]["model"] == "a@1"


async def test_changes_need_an_admin(house: Any, models: Models) -> None:
    models.add("a")
    services = replace(
        house.services, settings=Settings(home=models.home, server=Server(api_key="k" * 32))
    )
    house.services = services
    async with house.client() as client:
        assert (await client.post("/v1/registry/a/use")).status_code == 401
        assert (await client.get("/v1/registry")).status_code == 401
    from gnomon.serve.access import needed_scope

    assert needed_scope("POST", "/v1/registry/a/use") == "admin"
    assert needed_scope("POST", "/v1/registry/rollback") == "admin"
    assert needed_scope("GET", "/v1/registry") == "read"
    assert needed_scope("GET", "/v1/training") == "read"


async def test_without_a_registry_there_is_none(house: Any) -> None:
    async with house.client() as client:
        assert (await client.get("/v1/registry")).json()["entries"] == []
        assert (await client.post("/v1/registry/a/use")).status_code == 404
        assert (await client.get("/v1/models/a")).status_code == 404


async def test_swaps_and_rollbacks_fail_no_request_at_20_a_second(
    house: Any, served: Any, models: Models
) -> None:
    """Requests come at a fixed pace, whether or not earlier ones are answered."""
    models.add("blue"), models.add("green")
    models.registry.use("blue")
    failed: list[str] = []
    answered: list[tuple[float, str]] = []

    async with served(house) as url, httpx2.AsyncClient(base_url=url, trust_env=False) as client:

        async def one(number: int) -> None:
            began = time.monotonic()
            streamed = number % 2 == 0
            response = await chat(client, OWN, stream=streamed)
            text = response.text
            if response.status_code != 200 or '"error"' in text:
                failed.append(text)
            model = "blue@1" if "blue@1" in text else "green@1"
            if f"{model}." not in text.replace('"', "") or (streamed and "[DONE]" not in text):
                failed.append(text)
            answered.append((time.monotonic() - began, model))

        async def load() -> None:
            asked = []
            began = time.monotonic()
            for number in range(80):
                await asyncio.sleep(max(0.0, began + number / 20 - time.monotonic()))
                asked.append(asyncio.create_task(one(number)))
            await asyncio.gather(*asked)

        loading = asyncio.create_task(load())
        rollbacks = []
        for _ in range(4):
            await asyncio.sleep(0.4)
            assert (await client.post("/v1/registry/green/use")).status_code == 200
            assert (await chat(client, OWN)).json()["gnomon"]["model"] == "green@1"
            await asyncio.sleep(0.4)
            began = time.monotonic()
            assert (await client.post("/v1/registry/rollback")).status_code == 200
            assert (await chat(client, OWN)).json()["gnomon"]["model"] == "blue@1"
            rollbacks.append(time.monotonic() - began)
        await loading
    assert failed == []
    assert len(answered) == 80
    assert {model for _, model in answered} == {"blue@1", "green@1"}
    assert max(rollbacks) <= 10
    assert sum(engine.open for engine in models.engines) == 1
    assert len(models.engines) == 9


async def test_the_example_of_the_page_runs(
    house: Any, served: Any, models: Models, capsys: Any
) -> None:
    page = Path(__file__).parents[2] / "docs" / "how-to" / "deploy-a-model.md"
    (example,) = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.S)
    models.add("town")
    models.registry.use("town")

    def run(url: str) -> None:
        names: dict[str, Any] = {}
        exec(example.replace("http://127.0.0.1:8420", url), names)
        names["client"].close()

    async with served(house) as url:
        await asyncio.to_thread(run, url)
    assert capsys.readouterr().out.endswith("I am town@1.\ntown@1 {'run': 'r1'}\n")


# -- training ------------------------------------------------------------------
def write_run(folder: Path, steps: int, at: float, **config: Any) -> None:
    folder.mkdir(parents=True)
    given = RunConfig(
        model=presets()["grok-tiny"]
        if "grok-tiny" in presets()
        else next(iter(presets().values())),
        data=Data(tokens=Path("tokens"), sequence=32, batch=4, micro=4),
        schedule=Schedule(steps=1_000),
        **config,
    )
    (folder / "config.json").write_text(given.model_dump_json())
    with (folder / "metrics.jsonl").open("w") as file:
        for step in range(1, steps + 1):
            line = {
                "step": step,
                "loss": 5.0 - step / 1_000,
                "rate": 1e-3,
                "gradient_norm": 1.0,
                "tokens_per_s": 128.0,
                "mfu": 0.4,
                "at": at - (steps - step),
                "load": [0.5, 0.5],
                "start": 1,
            }
            file.write(json.dumps(line) + "\n")
        file.write('{"step": 9, "lo')


async def test_training_is_shown_while_it_goes_on(house: Any, models: Models) -> None:
    now = house.clock.now().timestamp()
    write_run(models.home / "runs" / "new", 700, now)
    write_run(models.home / "runs" / "old", 20, now - 3_600)
    write_run(models.home / "runs" / "done", 20, now - 7_200)
    (models.home / "runs" / "done" / "outcome.json").write_text("{}")
    (models.home / "runs" / "torn").mkdir()
    (models.home / "runs" / "torn" / "config.json").write_text("{")
    async with house.client() as client:
        runs = {run["name"]: run for run in (await client.get("/v1/training")).json()["runs"]}
        assert {name: run["state"] for name, run in runs.items()} == {
            "done": "finished",
            "new": "running",
            "old": "stopped",
            "torn": "unreadable",
        }
        new = runs["new"]
        assert (new["step"], new["steps"], new["tokens"]) == (700, 1_000, 700 * 128)
        assert new["eta_s"] == pytest.approx(300)
        assert new["loss"] == pytest.approx(4.3)
        assert len(new["curves"]["loss"]) == 60
        assert new["curves"]["loss"][-1] == [700, pytest.approx(4.3)]
        assert runs["old"]["eta_s"] is None
        one = (await client.get("/v1/training/new")).json()
        assert len(one["curves"]["loss"]) == 300
        assert {"expert_0", "loss_smoothed", "mfu"} <= one["curves"].keys()
        with (models.home / "runs" / "new" / "metrics.jsonl").open("a") as file:
            file.write(
                "\n"
                + json.dumps(
                    {
                        "step": 701,
                        "loss": 4.0,
                        "rate": 0,
                        "gradient_norm": 1,
                        "tokens_per_s": 1,
                        "mfu": 0,
                        "at": now,
                    }
                )
                + "\n"
            )
        assert (await client.get("/v1/training/new")).json()["step"] == 701
        write_run(models.home / "runs" / "back", 30, now)
        assert (await client.get("/v1/training/back")).json()["step"] == 30
        with (models.home / "runs" / "back" / "metrics.jsonl").open("a") as file:
            file.write(
                "\n"
                + json.dumps(
                    {
                        "step": 21,
                        "loss": 4.0,
                        "rate": 0,
                        "gradient_norm": 1,
                        "tokens_per_s": 1,
                        "mfu": 0,
                        "at": now,
                    }
                )
                + "\n"
            )
        back = (await client.get("/v1/training/back")).json()
        assert (back["step"], len(back["curves"]["loss"])) == (21, 21), "it went back"
        for name in ("none", "..", "%2e%2e", "new%2F..%2Fold"):
            assert (await client.get(f"/v1/training/{name}")).status_code == 404
