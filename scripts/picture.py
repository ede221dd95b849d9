"""Take the README's picture: a fresh home, the demo world, its first question, in Chromium.

Needs Debian's `chromium` (or CHROMIUM=/path/to/it) and the development install.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

PICTURE = Path(__file__).parent.parent / "docs" / "images" / "answer.png"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def main() -> None:
    """Start, ask, hover the first citation, save."""
    with tempfile.TemporaryDirectory() as folder:
        gnomon = Path(sys.executable).with_name("gnomon")
        server = subprocess.Popen(
            [gnomon, "--home", folder, "--set", "log.level=error", "up", "--port", "0"],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert server.stdout is not None  # noqa: S101
            url = server.stdout.readline().split()[-1]
            with sync_playwright() as play:
                path = os.environ.get("CHROMIUM", "/usr/bin/chromium")
                browser = play.chromium.launch(executable_path=path, args=FLAGS)
                page = browser.new_page(
                    viewport={"width": 1100, "height": 880}, device_scale_factor=1.5
                )
                page.goto(url)
                page.locator("button", has_text="?").first.click()
                page.get_by_text("Newest evidence").wait_for()
                page.mouse.move(0, 0)
                page.locator("[data-citation], .pill").first.hover()
                page.wait_for_timeout(500)
                PICTURE.parent.mkdir(parents=True, exist_ok=True)
                page.screenshot(path=PICTURE, clip={"x": 0, "y": 0, "width": 1100, "height": 660})
                browser.close()
        finally:
            server.terminate()
            server.wait()
    print(f"Wrote {PICTURE}.")


if __name__ == "__main__":
    main()
