"""The programs in `examples/`, and those in their pages, run as they stand."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gnomon.serve.app import create_app
from gnomon.serve.grpc.server import GrpcDoor

ROOT = Path(__file__).parents[2]
QUESTION = "Is the north bridge open?"


def examples(page: str) -> list[str]:
    text = (ROOT / "docs" / "how-to" / page).read_text("utf-8")
    return re.findall(r"```python\n(.*?)```", text, re.S)


async def run(name: str, *given: str) -> str:
    """The output of one of the programs."""
    command = [sys.executable, str(ROOT / "examples" / name), QUESTION, *given]
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_the_xai_sdk_program_and_its_page(house: Any, capsys: Any) -> None:
    state = create_app(house.services).state
    door = GrpcDoor(house.services, state.access, state.jobs, base_url="http://127.0.0.1:8420")
    address = f"127.0.0.1:{await door.start('127.0.0.1', 0)}"
    try:
        printed = await run("xai_sdk_chat.py", address)
        assert "supported: The north bridge is closed." in printed
        assert "[1] https://www.example.org/bridge" in printed
        assert "1200 s old" in printed

        def page() -> None:
            names: dict[str, Any] = {}
            for example in examples("use-the-xai-sdk.md"):
                exec(example.replace("127.0.0.1:8421", address), names)
            names["client"].close()
            names["earlier"].close()

        await asyncio.to_thread(page)
    finally:
        await door.stop(0)
    assert "supported The north bridge is closed." in capsys.readouterr().out
    assert house.answerer.asked[-1].as_of is not None


async def test_the_mcp_program_and_its_page(house: Any, served: Any, capsys: Any) -> None:
    async with served(house) as url:
        printed = await run("mcp_client.py", f"{url}/mcp")
        assert "supported: The north bridge is closed. [1]" in printed
        assert '"kind": "article"' in printed
        (example,) = examples("connect-an-mcp-client.md")
        example = example.replace("http://127.0.0.1:8420", url)
        await asyncio.to_thread(exec, example, {})
    assert "supported The north bridge is closed." in capsys.readouterr().out


def test_the_configurations_are_json() -> None:
    text = (ROOT / "docs" / "how-to" / "connect-an-mcp-client.md").read_text("utf-8")
    blocks = re.findall(r"```json\n(.*?)```", text, re.S)
    assert len(blocks) == 2
    for block in blocks:
        assert "gnomon" in json.loads(block)["mcpServers"]


PROGRAMS = {
    "openai_responses.py": [
        "supported: The north bridge is closed.",
        "[1] https://www.example.org",
    ],
    "langchain_chat_xai.py": ["cited: https://www.example.org/bridge", "(partly supported)\n"],
    "langchain_chat_openai.py": ["[1] at 27: https://www.example.org/bridge"],
}


@pytest.mark.parametrize("name", PROGRAMS)
async def test_the_programs_of_other_clients(house: Any, served: Any, name: str) -> None:
    async with served(house) as url:
        printed = await run(name, f"{url}/v1")
    for text in ["The north bridge is closed.", *PROGRAMS[name]]:
        assert text in printed


def test_the_page_of_clients_shows_the_programs_as_they_are() -> None:
    text = (ROOT / "docs" / "how-to" / "use-your-client.md").read_text("utf-8")
    shown = re.findall(r"\[`examples/([^`]+)`\][^\n]*\n\n```\w+\n(.*?)```", text, re.S)
    assert len(shown) == 6
    for name, program in shown:
        assert program == (ROOT / "examples" / name).read_text("utf-8")
