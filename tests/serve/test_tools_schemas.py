"""Code and remote tools, held to OpenAI's own document: items, events, containers."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from gnomon.clock import SystemClock
from gnomon.models.base import ToolCall
from gnomon.models.scripted import Reply, ScriptedGenerator
from gnomon.net.door import Door
from gnomon.sandbox.rooms import Rooms
from gnomon.settings import Net, Settings, Tools
from gnomon.testing.tool_server import ToolServer


def called(name: str, **arguments: Any) -> Reply:
    return Reply(tool_calls=(ToolCall(id="c1", name=name, arguments=json.dumps(arguments)),))


def events_of(stream: str) -> list[Any]:
    lines = [line[6:] for line in stream.split("\n") if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


async def test_code_and_containers(house: Any, schemas: Any) -> None:
    code = called("code_interpreter", code="open('x.txt', 'w').write('x')\nprint(42)")
    model = ScriptedGenerator((code, "DONE", code, "DONE"))
    rooms = Rooms(Tools(), house.clock, house.services.ids)
    models = type(house.services.models)(model)
    house = replace(house, services=replace(house.services, models=models, rooms=rooms))
    try:
        standing = await rooms.standing()
        if standing.state == "unavailable":
            pytest.skip(standing.text)
        tool = {"type": "code_interpreter", "container": {"type": "auto"}}
        body = {"input": "x", "tools": [tool], "include": ["code_interpreter_call.outputs"]}
        async with house.client() as http:
            whole = (await http.post("/v1/responses", json=body)).json()
            streamed = await http.post("/v1/responses", json={**body, "stream": True})
            again = await http.post(
                "/v1/responses",
                json={"input": [*whole["output"], {"role": "user", "content": "y"}]},
            )
            id = whole["output"][0]["container_id"]
            container = (await http.get(f"/v1/containers/{id}")).json()
            files = (await http.get(f"/v1/containers/{id}/files")).json()
            listed = (await http.get("/v1/containers")).json()
    finally:
        await rooms.aclose()
    schemas.check("Response", whole)
    schemas.check("CodeInterpreterToolCall", whole["output"][0])
    for event in events_of(streamed.text):
        schemas.check_event(event)
    assert again.status_code == 200
    schemas.check("ContainerResource", container)
    schemas.check("ContainerListResource", listed)
    schemas.check("ContainerFileListResource", files)


async def test_remote_tools_and_approvals(house: Any, schemas: Any) -> None:
    async with ToolServer() as server:
        server.tool("tide", lambda: "2.1 m")
        server.tool("bad", lambda: 1 / 0)
        script = (called("port__tide"), called("port__bad"), "DONE")
        model = ScriptedGenerator((*script, *script, called("port__tide"), *script))
        settings = Settings(tools=Tools(mcp_servers=(server.address,)))
        door = Door(Net(allow=(server.address,)), SystemClock())
        models = type(house.services.models)(model)
        services = replace(house.services, models=models, fetcher=door, settings=settings)
        house = replace(house, services=services)
        tool = {"type": "mcp", "server_label": "port", "server_url": server.endpoint}
        never = {"input": "x", "tools": [{**tool, "require_approval": "never"}]}
        try:
            async with house.client() as http:
                whole = (await http.post("/v1/responses", json=never)).json()
                streamed = await http.post("/v1/responses", json={**never, "stream": True})
                asked = await http.post(
                    "/v1/responses", json={"input": "x", "tools": [tool], "stream": True}
                )
                server.misbehave("500", path="/initialize")
                failed = await http.post("/v1/responses", json={**never, "stream": True})
                events = events_of(asked.text)
                reply = {
                    "type": "mcp_approval_response",
                    "approval_request_id": events[-1]["response"]["output"][-1]["id"],
                    "approve": False,
                }
                last = {"input": [reply], "previous_response_id": events[-1]["response"]["id"]}
                refused = (await http.post("/v1/responses", json={**last, "tools": [tool]})).json()
                items = (await http.get(f"/v1/responses/{refused['id']}/input_items")).json()
        finally:
            await door.aclose()
    schemas.check("Response", whole)
    schemas.check("Response", refused)
    assert [item["type"] for item in whole["output"]] == [
        *("mcp_list_tools", "mcp_call", "mcp_call", "message"),
    ]  # fmt: skip
    assert items["data"][0]["approve"] is False
    for stream in (streamed, asked, failed):
        for event in events_of(stream.text):
            schemas.check_event(event)
    kinds = [event["type"] for event in events_of(failed.text)]
    assert "response.mcp_list_tools.failed" in kinds
