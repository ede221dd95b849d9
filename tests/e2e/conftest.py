"""A real browser on the page: over the fakes that the API's own tests use, or a real Gnomon."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests in the browser run in its event loop."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Any]:
    """Debian's Chromium, driven by Playwright: one for all tests, each with its own context."""
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("no chromium: install it with `apt-get install chromium`")
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield launched
        await launched.close()


class Watched:
    """A page of which every error, refused request and foreign request is kept."""

    def __init__(self, page: Any, url: str) -> None:
        self.page = page
        self.url = url
        self.trouble: list[str] = []
        page.set_default_timeout(10_000)
        page.on("console", self._console)
        page.on("pageerror", lambda e: self._note(str(e)))
        page.on("dialog", lambda d: self._note(f"a dialog: {d.message}"))
        page.on("request", self._request)

    def _console(self, message: Any) -> None:
        if message.type == "error":
            self._note(f"{message.text} {message.location['url']}")

    def _note(self, text: str) -> None:
        self.trouble.append(text)

    def _request(self, request: Any) -> None:
        if not request.url.startswith((self.url, "blob:", "about:")):
            self._note(f"went to {request.url}")


@pytest.fixture
def opened(browser: Any) -> Any:
    """`async with opened(url, "/path", **context) as page`: any trouble on it fails the test."""
    from gnomon.serve.page import PAGE

    if not (PAGE / "index.html").is_file():
        pytest.skip("the page is not built: run `make page`")

    @asynccontextmanager
    async def _opened(url: str, path: str = "/", **options: Any) -> AsyncIterator[Any]:
        options = {"viewport": {"width": 1024, "height": 800}} | options
        context = await browser.new_context(**options)
        page = await context.new_page()
        watched = Watched(page, url)
        page.watched = watched
        await page.goto(url + path)
        try:
            yield page
            assert watched.trouble == []
        except BaseException:
            if folder := os.environ.get("GNOMON_TEST_SCREENSHOTS"):
                await page.screenshot(path=str(Path(folder) / "failed.png"))
            raise
        finally:
            await context.close()

    return _opened


@pytest.fixture
def look(request: pytest.FixtureRequest) -> Any:
    """`await look(page, "name")`: nothing is wider than the window; kept as a picture if
    GNOMON_TEST_SCREENSHOTS names a folder."""
    folder = os.environ.get("GNOMON_TEST_SCREENSHOTS")

    async def _look(page: Any, name: str) -> None:
        wide, width = await page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        if folder:
            await page.screenshot(path=str(Path(folder) / f"{name}.png"))
        assert wide <= width, f"{name} is {wide} px wide in a window of {width} px"

    return _look


@pytest.fixture(scope="session")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real Gnomon with its demo world, as `gnomon up` starts it."""
    import subprocess

    gnomon = Path(sys.executable).with_name("gnomon")
    home = tmp_path_factory.mktemp("home")
    settings = {"GNOMON_STARTER__MODE": "off", "GNOMON_LOG__LEVEL": "error"}
    server = subprocess.Popen(
        [gnomon, "--home", home, "up", "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | settings,
    )
    try:
        assert server.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+", server.stdout.readline())
        assert found is not None
        yield found[0]
    finally:
        server.terminate()
        server.wait(20)
        if server.stdout is not None:
            server.stdout.close()
