"""The examples of the how-tos about code and remote tools run as they stand."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gnomon.clock import SystemClock
from gnomon.models.base import GenerateRequest, ToolCall
from gnomon.models.scripted import Reply, ScriptedGenerator
from gnomon.net.door import Door
from gnomon.sandbox.rooms import Rooms
from gnomon.settings import Net, Settings, Tools
from gnomon.testing.tool_server import ToolServer

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
CODE = "print(f'The mean is {(2 + 3 + 7.6) / 3:.2f}.')\nopen('squares.txt', 'w').write('1 4 9')"


def model(request: GenerateRequest) -> Reply | str:
    """Calls what it is offered, once."""
    if request.messages[-1].role == "tool" or not request.tools:
        return "DONE"
    name = request.tools[0].name
    given = {"code": CODE} if name == "code_interpreter" else {"place": "Ems"}
    call = ToolCall(id="c1", name=name, arguments=json.dumps(given))
    return Reply(tool_calls=(call,))


async def run(name: str, house: Any, served: Any, **changed: str) -> None:
    text = (HOW_TO / name).read_text("utf-8")
    examples = re.findall(r"```python\n(.*?)```", text, re.S)
    assert len(examples) == 2
    house = replace(
        house,
        services=replace(
            house.services, models=type(house.services.models)(ScriptedGenerator([model]))
        ),
    )

    def execute(url: str) -> None:
        names: dict[str, Any] = {}
        for example in examples:
            for old, new in (("http://127.0.0.1:8420", url), *changed.items()):
                example = example.replace(old, new)
            exec(example, names)
        names["client"].close()

    async with served(house) as url:
        await asyncio.to_thread(execute, url)


async def test_let_it_run_code(house: Any, served: Any, capsys: Any) -> None:
    rooms = Rooms(Tools(), house.clock, house.services.ids)
    house = replace(house, services=replace(house.services, rooms=rooms))
    try:
        standing = await rooms.standing()
        if not standing.ready:
            pytest.skip(standing.text)
        await run("let-it-run-code.md", house, served)
    finally:
        await rooms.aclose()
    printed = capsys.readouterr().out
    assert "The mean is 4.20." in printed and "/mnt/data/squares.txt b'1 4 9'" in printed


async def test_use_remote_tools(house: Any, served: Any, capsys: Any) -> None:
    async with ToolServer() as server:
        server.tool("tide", lambda place: f"High water at {place} is at 14:20.")
        settings = Settings(tools=Tools(mcp_servers=(server.address,)))
        door = Door(Net(allow=(server.address,)), SystemClock())
        house = replace(house, services=replace(house.services, fetcher=door, settings=settings))
        try:
            there = {"http://127.0.0.1:8930/mcp": server.endpoint}
            await run("use-remote-tools.md", house, served, **there)
        finally:
            await door.aclose()
    printed = capsys.readouterr().out
    assert "High water at Ems is at 14:20." in printed
    assert [name for name, _ in server.calls] == ["tide", "tide"]
