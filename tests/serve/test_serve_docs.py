"""The examples of the how-to run as they stand."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from gnomon.models.base import GenerateRequest, ToolCall
from gnomon.models.scripted import Reply, ScriptedGenerator

DOCS = Path(__file__).parents[2] / "docs"


async def test_the_python_examples_run(house: Any, served: Any, capsys: Any) -> None:
    text = (DOCS / "how-to" / "use-the-openai-client.md").read_text("utf-8")
    examples = re.findall(r"```python\n(.*?)```", text, re.S)
    assert len(examples) == 9

    def model(request: GenerateRequest) -> Reply:
        """Calls the function until it has returned, and fills in the form."""
        if request.json_schema is not None:
            return Reply(pieces=('{"name": "north bridge", "closed": true}',))
        if request.messages[-1].role == "tool":
            return Reply(pieces=("DONE",))
        return Reply(tool_calls=(ToolCall(id="call_1", name="tide", arguments="{}"),))

    hub = type(house.services.models)(ScriptedGenerator([model]))
    house = replace(house, services=replace(house.services, models=hub))

    def run(url: str) -> None:
        names: dict[str, Any] = {}
        for example in examples:
            exec(example.replace("http://127.0.0.1:8420", url), names)
        names["client"].close()
        assert names["bridge"].closed and names["asked"].output_text

    async with served(house) as url:
        await asyncio.to_thread(run, url)
    printed = capsys.readouterr().out
    assert "supported The north bridge is closed." in printed
    assert len(house.answerer.asked) == 8
    assert "2.1 m" in [d.text for question in house.answerer.asked for d in question.given]


def test_every_route_is_in_the_reference(house: Any) -> None:
    from gnomon.serve.app import create_app

    text = (DOCS / "reference" / "http-api.md").read_text("utf-8")
    for path in create_app(house.services).openapi()["paths"]:
        stem = re.sub(r"/(pause|resume|input_items)$|/\{response_id\}.*$", "", path)
        stem = stem.replace("{model_id}", "{id}")
        assert stem in text, path
