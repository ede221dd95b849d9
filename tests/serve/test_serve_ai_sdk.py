"""Vercel's AI SDK in two generations, unmodified, with its xAI and OpenAI providers.

`make clients` installs what this needs; without it these tests are skipped.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gnomon.errors import ModelTransient
from gnomon.models.base import ToolCall
from gnomon.models.scripted import Reply, ScriptedGenerator

ROOT = Path(__file__).parents[2]
CLIENTS = ROOT / "tests" / "clients"
NODE = CLIENTS / "ai7" / "node_modules" / ".bin" / "node"
BRIDGE_URL = "https://www.example.org/bridge"
CALL = ToolCall(id="call_1", name="tide", arguments='{"place": "north bridge"}')
PROVIDERS = ["xai", "openai", "openai-chat"]
BOTH = [(sdk, provider) for sdk in ("ai6", "ai7") for provider in PROVIDERS] + [
    ("ai6", "xai-chat")  # the newer provider has none
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all((CLIENTS / sdk / "node_modules" / "ai").is_dir() for sdk in ("ai6", "ai7")),
        reason="the AI SDK is not installed: `make clients` does it, with npm",
    ),
]

Node = Callable[..., Coroutine[Any, Any, str]]


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """`await node("ai6", program, …)`: what the program prints with those packages."""

    async def run(sdk: str, program: Path, *given: str) -> str:
        here = tmp_path / sdk
        here.mkdir(exist_ok=True)
        packages = here / "node_modules"
        if not packages.exists():
            packages.symlink_to(CLIENTS / sdk / "node_modules")
        copy = shutil.copy(program, here / program.name)
        done = await asyncio.to_thread(
            subprocess.run,
            [str(NODE), str(copy), *given],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def call(node: Any) -> Any:
    """The outcome of one of the tasks of `calls.mjs`."""

    async def run(sdk: str, provider: str, task: str, url: str) -> Any:
        return json.loads(await node(sdk, CLIENTS / "calls.mjs", provider, task, f"{url}/v1"))

    return run


def with_model(house: Any, *script: Any) -> Any:
    hub = type(house.services.models)(ScriptedGenerator(script))
    return replace(house, services=replace(house.services, models=hub))


@pytest.mark.parametrize(("sdk", "provider"), BOTH)
async def test_text_and_sources_come_whole_and_streamed(
    house: Any, served: Any, call: Any, sdk: str, provider: str
) -> None:
    async with served(house) as url:
        whole = await call(sdk, provider, "generate", url)
        streamed = await call(sdk, provider, "stream", url)
    assert whole["text"].startswith(f"The north bridge is closed.[[1]]({BRIDGE_URL})")
    assert whole["warnings"] == []
    assert "".join(streamed["pieces"]) == whole["text"] and len(streamed["pieces"]) == 2
    assert streamed["errors"] == []
    for one in (whole, streamed):
        assert one["finish"] == "stop" and one["output"] == 12
        assert one["sources"][0] == BRIDGE_URL
    assert streamed["sources"] == whole["sources"]


@pytest.mark.parametrize(("sdk", "provider"), BOTH)
async def test_functions_make_their_round(
    house: Any, served: Any, call: Any, sdk: str, provider: str
) -> None:
    house = with_model(house, Reply(tool_calls=(CALL,)), "DONE", Reply(tool_calls=(CALL,)), "DONE")
    async with served(house) as url:
        whole = await call(sdk, provider, "tools", url)
        streamed = await call(sdk, provider, "toolstream", url)
    assert whole["calls"] == [{"place": "north bridge"}]
    assert whole["results"] == ["2.1 m at the north bridge"]
    assert (whole["steps"], streamed["steps"]) == (2, 2)
    assert whole["text"].startswith("The north bridge is closed.")
    assert streamed["text"] == whole["text"] and streamed["errors"] == []
    for question in house.answerer.asked:
        assert [d.text for d in question.given] == ["2.1 m at the north bridge"]


@pytest.mark.parametrize(("sdk", "provider"), BOTH)
async def test_an_object_comes_in_its_schema(
    house: Any, served: Any, call: Any, sdk: str, provider: str
) -> None:
    fitting = {"name": "north bridge", "closed": True}
    house = with_model(house, json.dumps(fitting))
    async with served(house) as url:
        assert await call(sdk, provider, "object", url) == {"object": fitting}


@pytest.mark.parametrize(("sdk", "provider"), BOTH)
async def test_a_failure_is_told_as_it_is(
    house: Any, served: Any, call: Any, sdk: str, provider: str
) -> None:
    house.answerer.failure = ModelTransient("The endpoint is busy.", retry_after_s=7)
    async with served(house) as url:
        failed = await call(sdk, provider, "failure", url)
    assert failed["status"] == 503 and "busy" in failed["message"]


@pytest.mark.parametrize("sdk", ["ai6", "ai7"])
async def test_the_programs_of_the_examples(house: Any, served: Any, node: Any, sdk: str) -> None:
    async with served(house) as url:
        for name in ("ai_sdk_xai.mjs", "ai_sdk_openai.mjs"):
            printed = await node(sdk, ROOT / "examples" / name, "Is it open?", f"{url}/v1")
            assert printed.startswith("The north bridge is closed.")
            assert f"source: {BRIDGE_URL}" in printed
