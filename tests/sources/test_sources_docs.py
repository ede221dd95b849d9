"""The example in `docs/how-to/write-a-source.md` runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from gnomon.sources.base import SourceSettings
from gnomon.sources.registry import Registry

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "how-to" / "write-a-source.md"


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


@pytest.mark.parametrize("name", sorted(Registry.installed().specs))
def test_every_setting_stands_on_the_page_of_its_connector(name: str) -> None:
    spec = Registry.installed().specs[name]
    page = (DOCS / f"{spec.docs_url}.md").read_text("utf-8")
    if name == "github":
        assert "follow-feeds-and-pages.md" in page  # its settings are a feed's
        return
    own = set(spec.settings.model_fields) - set(SourceSettings.model_fields)
    assert not [setting for setting in own if f"`{setting}`" not in page]


def test_the_settings_of_all_sources_stand_in_the_overview() -> None:
    page = (DOCS / "reference" / "sources" / "README.md").read_text("utf-8")
    assert not [name for name in SourceSettings.model_fields if f"`{name}`" not in page]
