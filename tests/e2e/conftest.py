"""A real browser on the page, over the fakes that the API's own tests use."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

_path = Path(__file__).parents[1] / "serve" / "conftest.py"
_spec = importlib.util.spec_from_file_location("serve_fakes", _path)
assert _spec is not None and _spec.loader is not None
fakes: Any = importlib.util.module_from_spec(_spec)
sys.modules["serve_fakes"] = fakes
_spec.loader.exec_module(fakes)

house = fakes.house
served = fakes.served

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture
def kit() -> Any:
    """The module of fakes."""
    return fakes


@pytest_asyncio.fixture
async def browser() -> AsyncIterator[Any]:
    """Debian's Chromium, driven by Playwright."""
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("no chromium: install it with `apt-get install chromium`")
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield launched
        await launched.close()
