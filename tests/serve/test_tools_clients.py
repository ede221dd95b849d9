"""Tools that the server runs, through clients of others: xai-sdk, LangChain, Vercel's AI SDK."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from langchain_openai import ChatOpenAI
from xai_sdk import AsyncClient
from xai_sdk.chat import user
from xai_sdk.tools import code_execution, mcp

from gnomon.clock import SystemClock
from gnomon.models.base import ToolCall
from gnomon.models.scripted import Reply, ScriptedGenerator
from gnomon.net.door import Door
from gnomon.sandbox.rooms import Rooms
from gnomon.serve.app import create_app
from gnomon.serve.grpc.server import GrpcDoor
from gnomon.settings import Net, Settings, Tools
from gnomon.testing.tool_server import ToolServer

CLIENTS = Path(__file__).parents[1] / "clients"
NODE = CLIENTS / "ai7" / "node_modules" / ".bin" / "node"


def called(name: str, **arguments: Any) -> Reply:
    return Reply(tool_calls=(ToolCall(id=f"c_{name}", name=name, arguments=json.dumps(arguments)),))


ROUND = (
    called("code_interpreter", code="print('sum', 6 * 7)"),
    called("port__tide", place="Ems"),
    "DONE",
)


@asynccontextmanager
async def ready(house: Any, *script: Any, **tools: Any) -> AsyncIterator[tuple[Any, ToolServer]]:
    async with ToolServer() as server:
        server.tool("tide", lambda place: f"2.1 m at {place}")
        settings = Settings(tools=Tools(mcp_servers=(server.address,), **tools))
        rooms = Rooms(settings.tools, house.clock, house.services.ids)
        door = Door(Net(allow=(server.address,)), SystemClock())
        services = replace(
            house.services,
            models=type(house.services.models)(ScriptedGenerator(script)),
            rooms=rooms,
            fetcher=door,
            settings=settings,
        )
        try:
            standing = await rooms.standing()
            if not standing.ready:
                pytest.skip(standing.text)
            yield replace(house, services=services), server
        finally:
            await rooms.aclose()
            await door.aclose()


async def test_the_xai_sdk_runs_code_and_remote_tools(house: Any) -> None:
    async with ready(house, *ROUND, *ROUND) as (house, server):
        state = create_app(house.services).state
        door = GrpcDoor(house.services, state.access, state.jobs, base_url="http://127.0.0.1:1")
        port = await door.start("127.0.0.1", 0)
        client = AsyncClient(api_host=f"127.0.0.1:{port}", api_key="k", use_insecure_channel=True)
        try:
            tools = [
                code_execution(),
                mcp(
                    server_url=server.endpoint,
                    server_label="port",
                    authorization="k3y",
                    extra_headers={"x-more": "more"},
                ),
            ]
            chat = client.chat.create(
                model="gnomon",
                messages=[user("How high?")],
                tools=tools,
                include=["code_execution_call_output", "mcp_call_output"],
            )
            whole = await chat.sample()
            chunks = [chunk async for _, chunk in chat.stream()]
        finally:
            await client.close()
            await door.stop(0)
            await state.jobs.aclose()
    assert whole.content.startswith("The north bridge is closed.")
    names = [(call.function.name, json.loads(call.function.arguments)) for call in whole.tool_calls]
    assert ("code_execution", {"code": "print('sum', 6 * 7)"}) in names
    assert ("port.tide", {"place": "Ems"}) in names
    used = dict(whole.server_side_tool_usage)
    assert used == {"SERVER_SIDE_TOOL_CODE_EXECUTION": 1, "SERVER_SIDE_TOOL_MCP": 1}
    results = "".join(output.message.content for output in whole.proto.outputs[:-1])
    assert "sum 42" in results and "2.1 m at Ems" in results
    streamed = "".join(c.content for chunk in chunks for c in chunk.choices)
    assert "The north bridge is closed." in streamed
    assert {r.headers["authorization"] for r in server.requests} == {"Bearer k3y"}
    assert {r.headers["x-more"] for r in server.requests} == {"more"}
    assert len(server.calls) == 2  # never a word of approval: the protocol has none


async def test_langchain_sees_the_calls(house: Any, served: Any) -> None:
    async with (
        ready(house, *ROUND) as (house, server),
        served(house) as url,
    ):
        model = ChatOpenAI(
            model="gnomon", api_key="k", base_url=f"{url}/v1", use_responses_api=True
        )
        tools = [
            {"type": "code_interpreter", "container": {"type": "auto"}},
            {
                "type": "mcp",
                "server_label": "port",
                "server_url": server.endpoint,
                "require_approval": "never",
            },
        ]
        said = await model.bind_tools(tools).ainvoke("How high?")
    assert said.text.startswith("The north bridge is closed.")
    kinds = [block["type"] for block in said.content]
    assert "code_interpreter_call" in kinds and "mcp_call" in kinds


@pytest.mark.slow
@pytest.mark.skipif(
    not all((CLIENTS / sdk / "node_modules" / "ai").is_dir() for sdk in ("ai6", "ai7")),
    reason="the AI SDK is not installed: `make clients` does it, with npm",
)
@pytest.mark.parametrize("sdk", ["ai6", "ai7"])
@pytest.mark.parametrize("provider", ["xai", "openai"])
async def test_the_ai_sdk_reads_them_whole_and_streamed(
    house: Any, served: Any, tmp_path: Path, sdk: str, provider: str
) -> None:
    here = tmp_path / "js"
    here.mkdir()
    (here / "node_modules").symlink_to(CLIENTS / sdk / "node_modules")
    copy = shutil.copy(CLIENTS / "server_tools.mjs", here)
    async with (
        ready(
            # xAI's clients cannot say it, so the operator has to.
            house,
            *ROUND,
            *ROUND,
            mcp_approval="never",
        ) as (house, server),
        served(house) as url,
    ):
        done = await asyncio.to_thread(
            subprocess.run,
            [str(NODE), str(copy), provider, f"{url}/v1", server.endpoint],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["errors"] == [] and found["streamed"] == found["text"]
    assert found["text"].startswith("The north bridge is closed.")
    assert found["kinds"].count("tool-call") >= 2
    assert "tool-call" in found["parts"] and "error" not in found["parts"]
    assert len(server.calls) == 2
