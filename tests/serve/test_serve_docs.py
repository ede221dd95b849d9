"""The examples of the how-to run as they stand."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[2] / "docs"


async def test_the_python_examples_run(house: Any, served: Any, capsys: Any) -> None:
    text = (DOCS / "how-to" / "use-the-openai-client.md").read_text("utf-8")
    examples = re.findall(r"```python\n(.*?)```", text, re.S)
    assert len(examples) == 6

    def run(url: str) -> None:
        names: dict[str, Any] = {}
        for example in examples:
            exec(example.replace("http://127.0.0.1:8420", url), names)
        names["client"].close()

    async with served(house) as url:
        await asyncio.to_thread(run, url)
    printed = capsys.readouterr().out
    assert "supported The north bridge is closed." in printed
    assert len(house.answerer.asked) == 5


def test_every_route_is_in_the_reference(house: Any) -> None:
    from gnomon.serve.app import create_app

    text = (DOCS / "reference" / "http-api.md").read_text("utf-8")
    for path in create_app(house.services).openapi()["paths"]:
        stem = re.sub(r"/(pause|resume|input_items)$|/\{response_id\}.*$", "", path)
        stem = stem.replace("{model_id}", "{id}")
        assert stem in text, path
