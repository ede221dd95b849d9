"""What the page on measuring says is so: its suite runs, and every suite is listed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from gnomon.eval.runner import Wanted, run, suites

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "measure-answers.md"


async def test_the_suite_of_the_page_runs() -> None:
    found = re.search(r"```python\n(.+?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    module: dict[str, Any] = {}
    exec(found[1], module)
    result = await run(module["SUITE"], Wanted())
    assert [(f.name, f.value) for f in result.figures] == [("right", 100.0)]


def test_every_suite_is_on_the_page() -> None:
    rows = set(re.findall(r"^\| `([a-z-]+)` \|", PAGE.read_text(), re.MULTILINE))
    assert rows == set(suites())
