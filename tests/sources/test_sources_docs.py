"""The example in `docs/how-to/write-a-source.md` runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from gnomon.sources.registry import Registry

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "write-a-source.md"


@pytest.fixture(scope="module")
def example() -> dict[str, Any]:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 2
    namespace: dict[str, Any] = {"__name__": "harbour"}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), namespace)
    return namespace


async def test_the_example_keeps_the_contract(example: dict[str, Any]) -> None:
    await example["test_harbour"]()


def test_the_example_is_identified(example: dict[str, Any]) -> None:
    registry = Registry([example["SOURCE"]])
    config = registry.identify("https://harbour.example/")
    assert registry.settings(config).url == "https://harbour.example"
