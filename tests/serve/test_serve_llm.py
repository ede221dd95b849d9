"""The command `llm`, unmodified, with the models of `examples/extra-openai-models.yaml`."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gnomon.models.base import ToolCall
from gnomon.models.scripted import Reply, ScriptedGenerator

MODELS = Path(__file__).parents[2] / "examples" / "extra-openai-models.yaml"
MODEL_IDS = ["gnomon", pytest.param("gnomon-responses", marks=pytest.mark.slow)]
CALL = ToolCall(id="call_1", name="tide", arguments='{"place": "north bridge"}')
FUNCTION = """
def tide(place: str) -> str:
    "The tide at a place."
    return "2.1 m at the " + place
"""

Llm = Callable[..., Coroutine[Any, Any, str]]


@pytest.fixture
def llm(tmp_path: Path) -> Callable[[str], Llm]:
    """`await llm(url)("words", "of", "the", "command")`: what it prints."""

    def at(url: str) -> Llm:
        known = MODELS.read_text("utf-8").replace("http://127.0.0.1:8420", url)
        (tmp_path / MODELS.name).write_text(known, "utf-8")
        environment = {**os.environ, "LLM_USER_PATH": str(tmp_path)}

        async def run(*given: str) -> str:
            done = await asyncio.to_thread(
                subprocess.run,
                [sys.executable, "-m", "llm", *given],
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
                env=environment,
                stdin=subprocess.DEVNULL,
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        return run

    return at


def with_model(house: Any, *script: Any) -> Any:
    hub = type(house.services.models)(ScriptedGenerator(script))
    return replace(house, services=replace(house.services, models=hub))


@pytest.mark.parametrize("model", MODEL_IDS)
async def test_the_command_asks_and_continues(
    house: Any, served: Any, llm: Any, model: str
) -> None:
    async with served(house) as url:
        ask = llm(url)
        streamed = await ask("-m", model, "Is the north bridge open?")
        whole = await ask("-m", model, "-c", "--no-stream", "Since when?")
    assert streamed.startswith("The north bridge is closed.[[1]](https://www.example.org/bridge)")
    assert whole == streamed
    first, second = house.answerer.asked
    assert second.text == "Since when?" and not first.history
    assert second.history[0].question == "Is the north bridge open?"


@pytest.mark.parametrize("model", MODEL_IDS)
async def test_the_command_runs_functions_and_schemas(
    house: Any, served: Any, llm: Any, model: str
) -> None:
    fitting = json.dumps({"name": "north bridge", "closed": True})
    house = with_model(house, Reply(tool_calls=(CALL,)), "DONE", fitting)
    async with served(house) as url:
        ask = llm(url)
        told = await ask("-m", model, "--functions", FUNCTION, "How high is the tide?")
        filled = await ask("-m", model, "--schema", "name, closed bool", "Is it open?")
    assert "The north bridge is closed." in told
    assert [d.text for d in house.answerer.asked[0].given] == ["2.1 m at the north bridge"]
    assert json.loads(filled) == {"name": "north bridge", "closed": True}
