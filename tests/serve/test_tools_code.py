"""`code_interpreter` in answers, as OpenAI's, xAI's and plain clients see it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI

from gnomon.files.store import Files
from gnomon.models.base import ToolCall
from gnomon.models.scripted import Reply, ScriptedGenerator
from gnomon.sandbox.rooms import Rooms
from gnomon.serve.tools.results import computed
from gnomon.settings import Settings, Tools

TOOL = {"type": "code_interpreter", "container": {"type": "auto"}}
OUTPUTS = ["code_interpreter_call.outputs"]


def runs(code: str, id: str = "c1") -> ToolCall:
    return ToolCall(id=id, name="code_interpreter", arguments=json.dumps({"code": code}))


def run(code: str) -> Reply:
    return Reply(tool_calls=(runs(code),))


@asynccontextmanager
async def coding(
    house: Any, *script: Any, capable: bool = True, files: Files | None = None, **tools: Any
) -> AsyncIterator[tuple[Any, ScriptedGenerator]]:
    model = ScriptedGenerator(script, capable=capable)
    settings = Settings(tools=Tools(**({"code_seconds": 2.0} | tools)))
    rooms = Rooms(settings.tools, house.clock, house.services.ids)
    services = replace(
        house.services,
        models=type(house.services.models)(model),
        rooms=rooms,
        settings=settings,
        files=files,
    )
    try:
        standing = await rooms.standing()
        if standing.state == "unavailable":
            pytest.skip(standing.text)
        yield replace(house, services=services), model
    finally:
        await rooms.aclose()


async def ask(house: Any, **body: Any) -> dict[str, Any]:
    async with house.client() as http:
        answered = await http.post("/v1/responses", json={"input": "How much?", **body})
    assert answered.status_code == 200, answered.text
    return answered.json()


async def test_code_runs_streams_and_is_quoted(house: Any, served: Any) -> None:
    code = "total = 391 * 27\nprint('Total:', total)"
    async with (
        coding(house, run(code), run("total + 1"), "DONE") as (house, model),
        served(house) as url,
        AsyncOpenAI(base_url=f"{url}/v1", api_key="k") as client,
        client.responses.stream(
            model="gnomon", input="391 times 27?", tools=[TOOL], include=OUTPUTS
        ) as stream,
    ):
        events = [event async for event in stream]
        final = await stream.get_final_response()
    kinds = [event.type for event in events]
    assert kinds[2:9] == [
        "response.output_item.added",
        "response.code_interpreter_call.in_progress",
        "response.code_interpreter_call_code.delta",
        "response.code_interpreter_call_code.done",
        "response.code_interpreter_call.interpreting",
        "response.code_interpreter_call.completed",
        "response.output_item.done",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    first, second, message = final.output
    assert (first.code, first.status) == (code, "completed")
    assert first.outputs[0].logs == "Total: 10557\n" and second.outputs[0].logs == "10558\n"
    assert first.container_id == second.container_id and first.container_id.startswith("cntr_")
    assert message.type == "message"
    assert [d.text for d in house.answerer.asked[0].given] == ["Total: 10557", "10558"]
    assert {d.source for d in house.answerer.asked[0].given} == {"code_interpreter"}
    assert len({d.key for d in house.answerer.asked[0].given}) == 2  # though the ids were the same
    assert "Total: 10557" in model.requests[1].messages[-1].content
    used = final.usage.model_extra["server_side_tool_usage_details"]
    assert used["code_interpreter_calls"] == 2


async def test_outputs_are_shown_only_on_wish(house: Any) -> None:
    async with coding(house, run("print(1)"), "DONE") as (house, _):
        answer = await ask(house, tools=[{"type": "code_execution"}])
    item = answer["output"][0]
    assert item["type"] == "code_interpreter_call" and item["outputs"] is None
    assert item["gnomon"]["ended"] == "done"


async def test_names_and_files_stay_for_the_next_answer(house: Any, tmp_path: Path) -> None:
    files = Files(tmp_path / "files.db", house.clock, house.services.ids)
    files.add(
        "file_1", name="t.csv", purpose="assistants", media_type="text/csv", owner="local",
        body=b"a,b\n20,22\n", text="", parts=0,
    )  # fmt: skip
    files.add(
        "file_2", name="b.jsonl", purpose="batch", media_type="", owner="bob", body=b"x", text="",
        parts=0,
    )  # fmt: skip
    read = "import csv\nrow = list(csv.reader(open('t.csv')))[1]\nopen('out.txt','w').write('42')"
    script = (run(read), "DONE", run("sum(map(int, row))"), "DONE")
    async with coding(house, *script, files=files) as (house, model), house.client() as http:
        tool = {"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["file_1"]}}
        first = await ask(house, tools=[tool])
        item = first["output"][0]
        (written,) = [f for f in item["gnomon"]["files"] if f["path"] == "out.txt"]
        second = await ask(house, tools=[TOOL], previous_response_id=first["id"], include=OUTPUTS)
        again = second["output"][0]
        assert again["container_id"] == item["container_id"]
        assert again["outputs"] == [{"type": "logs", "logs": "42\n"}]
        at = f"/v1/containers/{item['container_id']}"
        listed = (await http.get(f"{at}/files")).json()["data"]
        assert {(f["path"], f["source"]) for f in listed} == {
            ("/mnt/data/t.csv", "user"),
            ("/mnt/data/out.txt", "assistant"),
        }
        body = await http.get(f"{at}/files/{written['file_id']}/content")
        assert body.content == b"42" and "attachment" in body.headers["content-disposition"]
        assert (await http.get(f"{at}/files/{written['file_id']}")).json()["bytes"] == 2
        assert (await http.get(f"{at}/files/cfile_none/content")).status_code == 404
        for unknown in ("file_2", "file_none"):
            wrong = {"type": "auto", "file_ids": [unknown]}
            refused = await http.post(
                "/v1/responses", json={"input": "x", "tools": [tool | {"container": wrong}]}
            )
            assert refused.status_code == 400 and unknown in refused.text
        # Words of a file have been read: nothing but code is offered behind them.
        names = [[t.name for t in request.tools] for request in model.requests]
        assert names == [["code_interpreter"]] * 4
    files.close()


async def test_containers_are_made_listed_and_ended(house: Any, served: Any) -> None:
    async with (
        coding(house, run("open('x.txt', 'w').write('x')"), "DONE") as (house, _),
        served(house) as url,
        AsyncOpenAI(base_url=f"{url}/v1", api_key="k") as client,
    ):
        made = await client.containers.create(name="sums")
        assert made.name == "sums" and made.status == "running"
        tool: Any = {"type": "code_interpreter", "container": made.id}
        answer = await client.responses.create(model="gnomon", input="x", tools=[tool])
        assert answer.output[0].container_id == made.id
        (file,) = [f async for f in client.containers.files.list(made.id)]
        content = await client.containers.files.content.retrieve(file.id, container_id=made.id)
        assert content.content == b"x"
        assert [c.id async for c in client.containers.list()] == [made.id]
        await client.containers.delete(made.id)
        for call in (client.containers.retrieve(made.id), client.containers.files.list(made.id)):
            with pytest.raises(Exception, match="no container"):
                await call
        with pytest.raises(Exception, match="no container"):
            await client.responses.create(model="gnomon", input="x", tools=[tool])


async def test_every_end_of_code_is_told(house: Any) -> None:
    script = (
        run("1 / 0"),
        run("while True: pass"),
        run("import os; os._exit(1)"),
        run("print('here')"),
        Reply(tool_calls=(ToolCall(id="c", name="code_interpreter", arguments="{"),)),
        Reply(tool_calls=(ToolCall(id="c", name="made_up", arguments="{}"),)),
        "DONE",
    )
    async with coding(house, *script, code_seconds=0.5) as (house, model):
        answer = await ask(house, tools=[TOOL], include=OUTPUTS)
    items = answer["output"][:-1]
    assert [i["status"] for i in items] == [
        *("completed", "failed", "failed", "completed", "failed"),
    ]  # fmt: skip
    logs = [i["outputs"][0]["logs"] if i["outputs"] else "" for i in items]
    assert "ZeroDivisionError" in logs[0] and "Stopped after 0.5 s" in logs[1]
    assert "gone" in logs[2] and logs[3] == "here\n"
    told = [request.messages[-1].content for request in model.requests[1:]]
    assert "no code" in told[4] and "no such tool" in told[5]
    # Nothing that failed is evidence, and nothing that the code only repeats.
    assert house.answerer.asked[0].given == ()


def test_what_code_only_says_is_no_evidence() -> None:
    code = "print('The mayor resigned.')\nx = 6 * 7\nprint(f'The answer is {x}.')\nprint(42)"
    said = "The mayor resigned.\nThe answer is 42.\n42\n\n"
    assert computed(said, code) == "The answer is 42.\n42"
    assert computed("'the  MAYOR resigned.'", code) == ""


async def test_client_functions_are_mixed_with_code(house: Any) -> None:
    tide = {"type": "function", "name": "tide", "parameters": {"type": "object"}}
    both = Reply(tool_calls=(runs("print(6 * 7)"), ToolCall(id="f1", name="tide", arguments="{}")))
    async with coding(house, run("7 * 6"), both) as (house, model):
        answer = await ask(house, tools=[TOOL, tide])
    assert [item["type"] for item in answer["output"]] == [
        *("code_interpreter_call", "code_interpreter_call", "function_call"),
    ]  # fmt: skip
    assert [t.name for t in model.requests[1].tools] == ["code_interpreter", "tide"]


async def test_without_a_capable_model_it_is_accepted_and_not_used(house: Any) -> None:
    async with coding(house, capable=False) as (house, model), house.client() as http:
        answer = await ask(house, tools=[TOOL])
        assert [item["type"] for item in answer["output"]] == ["message"] and not model.requests
        assert any("were not used" in note for note in answer["gnomon"]["notes"])
        for choice in ({"type": "code_interpreter"}, "required"):
            body = {"input": "x", "tools": [TOOL], "tool_choice": choice}
            refused = await http.post("/v1/responses", json=body)
            assert refused.json()["error"]["code"] == "request.model_needed"


async def test_who_wants_quotes_only_gets_no_model(house: Any) -> None:
    async with coding(house, run("1")) as (house, model):
        answer = await ask(house, tools=[TOOL], model="gnomon-extract")
    assert [item["type"] for item in answer["output"]] == ["message"] and not model.requests


async def test_it_can_be_forced_and_forbidden(house: Any) -> None:
    async with coding(house, run("1"), "DONE") as (house, model):
        await ask(house, tools=[TOOL, {"type": "web_search"}], tool_choice=TOOL)
        assert [request.tool_choice for request in model.requests] == ["required", "auto"]
        quiet = await ask(house, tools=[TOOL], tool_choice="none")
        assert len(model.requests) == 2 and quiet["output"][0]["type"] == "message"


async def test_where_rooms_cannot_be_had_it_is_refused(house: Any) -> None:
    async with coding(house, code="off") as (off, _), off.client() as http:
        refused = await http.post("/v1/responses", json={"input": "x", "tools": [TOOL]})
        status = (await http.get("/v1/status")).json()
        made = await http.post("/v1/containers", json={})
    assert refused.status_code == 400 and "tools.code is off" in refused.text
    assert refused.json()["error"]["code"] == "sandbox.unavailable"
    assert status["tools"]["code"]["state"] == "off" and made.status_code == 400
    async with house.client() as http:
        none = await http.post("/v1/responses", json={"input": "x", "tools": [TOOL]})
    assert none.status_code == 400 and "code_interpreter" in none.text


@pytest.mark.parametrize(
    ("container", "words"),
    [
        ("cntr_none", "no container"),
        ({"type": "own"}, "neither an id"),
        ({"type": "auto", "memory_limit": "9g"}, "memory_limit"),
        ({"type": "auto", "file_ids": "x"}, "file_ids"),
        ({"type": "auto", "network_policy": {"type": "allowlist"}}, "no network"),
    ],
)
async def test_containers_that_cannot_be(house: Any, container: Any, words: str) -> None:
    async with coding(house) as (house, _), house.client() as http:
        tool = TOOL | {"container": container}
        refused = await http.post("/v1/responses", json={"input": "x", "tools": [tool]})
    assert refused.status_code == 400 and words in refused.json()["error"]["message"]


async def test_a_client_that_leaves_ends_the_run(house: Any, served: Any) -> None:
    async with (
        coding(house, run("while True: pass"), code_seconds=60) as (house, _),
        served(house) as url,
        AsyncOpenAI(base_url=f"{url}/v1", api_key="k") as client,
    ):
        stream = await client.responses.create(model="gnomon", input="x", tools=[TOOL], stream=True)
        async for event in stream:
            if event.type == "response.code_interpreter_call.interpreting":
                break
        (container,) = house.services.rooms.of("local")
        async with asyncio.timeout(10):
            while container._room is None:  # noqa: ASYNC110 - nothing tells it
                await asyncio.sleep(0.02)
        room = container._room
        await stream.close()
        async with asyncio.timeout(10):
            while room.alive or container.users:  # noqa: ASYNC110 - nothing tells it
                await asyncio.sleep(0.02)


async def test_images_come_as_images(house: Any) -> None:
    png = "open('a.png', 'wb').write(bytes.fromhex('89504e470d0a1a0a'))\nopen('b.png','w').close()"
    async with coding(house, run(png), "DONE") as (house, _):
        answer = await ask(house, tools=[TOOL], include=OUTPUTS)
    outputs = answer["output"][0]["outputs"]
    assert [o["type"] for o in outputs] == ["image"]
    assert outputs[0]["url"] == "data:image/png;base64,iVBORw0KGgo="
