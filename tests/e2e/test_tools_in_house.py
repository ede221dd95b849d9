"""A whole house with a model at an endpoint: code is run, a remote tool called, both quoted."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gnomon.app import opened
from gnomon.models.base import ToolCall
from gnomon.models.scripted import Reply
from gnomon.serve.app import create_app
from gnomon.settings import Demo, Models, Net, Settings, Starter, Tools
from gnomon.testing.openai_server import OpenAIServer
from gnomon.testing.tool_server import ToolServer

CODE = {"type": "code_interpreter", "container": {"type": "auto"}}


def called(name: str, **arguments: Any) -> Reply:
    return Reply(tool_calls=(ToolCall(id=f"c_{name}", name=name, arguments=json.dumps(arguments)),))


@asynccontextmanager
async def house(home: Path, model: OpenAIServer, *servers: str) -> AsyncIterator[Any]:
    """A client of a whole house; what it may call are `servers`."""
    settings = Settings(
        home=home,
        net=Net(allow=servers, per_host_delay_s=0),
        models=Models(dir=home / "none", url=model.url, model="scripted"),
        tools=Tools(mcp_servers=servers),
        demo=Demo(mode="off"),
        starter=Starter(mode="off"),
    )
    async with opened(settings, follow=False) as whole:
        standing = await whole.rooms.standing()
        if not standing.ready:
            pytest.skip(standing.text)
        app = create_app(whole.services(lambda _: None))
        transport = httpx2.ASGITransport(app=app)
        try:
            async with httpx2.AsyncClient(
                transport=transport, base_url="http://127.0.0.1:8420", timeout=60
            ) as http:
                yield http
        finally:
            await app.state.jobs.aclose()
            await app.state.batches.aclose()
            await app.state.mcp.aclose()


async def asked(http: Any, question: str, *tools: Any) -> dict[str, Any]:
    answered = await http.post("/v1/responses", json={"input": question, "tools": tools})
    assert answered.status_code == 200, answered.text
    return answered.json()


async def test_what_code_computed_is_quoted_and_named_as_such(tmp_path: Path) -> None:
    code = "print(f'391 times 27 is {391 * 27}.')"
    script = (called("code_interpreter", code=code), "DONE", "391 times 27 is 10557. [1]")
    async with OpenAIServer(script) as model, house(tmp_path, model) as http:
        answer = await asked(http, "How much is 391 times 27?", CODE)
    (sentence,) = answer["gnomon"]["sentences"]
    assert (sentence["text"], sentence["verdict"]) == ("391 times 27 is 10557.", "supported")
    assert answer["gnomon"]["citations"][0]["source"] == "code_interpreter"
    assert any("no source says it" in note for note in answer["gnomon"]["notes"])


async def test_a_wrong_sum_is_not_said(tmp_path: Path) -> None:
    code = "print(f'391 times 27 is {391 * 27}.')"
    script = (called("code_interpreter", code=code), "DONE", "391 times 27 is 10558. [1]")
    async with OpenAIServer(script) as model, house(tmp_path, model) as http:
        answer = await asked(http, "How much is 391 times 27?", CODE)
    assert "10558" not in answer["output"][-1]["content"][0]["text"]


async def test_code_cannot_make_its_own_words_evidence(tmp_path: Path) -> None:
    script = (
        called("code_interpreter", code="print('The mayor resigned today.')"),
        "DONE",
        "The mayor resigned today. [1]",
    )
    async with OpenAIServer(script) as model, house(tmp_path, model) as http:
        answer = await asked(http, "Did the mayor resign?", CODE)
    assert answer["gnomon"]["abstained"] and not answer["gnomon"]["sentences"]


async def test_what_a_remote_tool_said_is_quoted(tmp_path: Path) -> None:
    script = (
        called("port__tide", place="Ems"),
        "DONE",
        "High water at Ems is at 14:20. [1]",
    )
    async with ToolServer() as server, OpenAIServer(script) as model:
        server.tool("tide", lambda place: f"High water at {place} is at 14:20.")
        tool = {
            "type": "mcp",
            "server_label": "port",
            "server_url": server.endpoint,
            "require_approval": "never",
        }
        async with house(tmp_path, model, server.address) as http:
            answer = await asked(http, "When is high water at Ems?", tool)
    (sentence,) = answer["gnomon"]["sentences"]
    assert sentence["verdict"] == "supported"
    assert answer["gnomon"]["citations"][0]["source"] == "mcp port"
