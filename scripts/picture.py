"""Take the README's picture and its recording: a fresh home, the demo world, a question, a check.

Needs Debian's `chromium` (or CHROMIUM=/path/to/it), the built page and the development install.
The recording is the page itself, photographed while an answer is made and a citation looked at.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

IMAGES = Path(__file__).parent.parent / "docs" / "images"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
WIDTH, HEIGHT = 1100, 680
SHRUNK = (880, 544)
QUESTION = "Is the Mill Bridge open?"


class Recording:
    """Pictures of a page with the time that each is shown."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._frames: list[tuple[Image.Image, float]] = []

    def take(self, seconds: float) -> None:
        """One picture now, shown for so long."""
        picture = Image.open(io.BytesIO(self._page.screenshot())).convert("RGB")
        picture = picture.resize(SHRUNK, Image.Resampling.LANCZOS)
        self._frames.append((picture, seconds))

    def save(self, path: Path) -> None:
        """An animated WebP that begins anew."""
        pictures = [picture for picture, _ in self._frames]
        shown = [round(1000 * seconds) for _, seconds in self._frames]
        pictures[0].save(
            path, save_all=True, append_images=pictures[1:], duration=shown, loop=0, quality=70
        )


def main() -> None:
    """Start, ask, look at the first citation; write both files."""
    with tempfile.TemporaryDirectory() as folder:
        gnomon = Path(sys.executable).with_name("gnomon")
        server = subprocess.Popen(
            [gnomon, "--home", folder, "--set", "log.level=error", "up", "--port", "0"],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"GNOMON_STARTER__MODE": "off"},
        )
        try:
            assert server.stdout is not None  # noqa: S101
            url = server.stdout.readline().split()[-1]
            with sync_playwright() as play:
                path = os.environ.get("CHROMIUM", "/usr/bin/chromium")
                browser = play.chromium.launch(executable_path=path, args=FLAGS)
                size = {"width": WIDTH, "height": HEIGHT}
                page = browser.new_page(viewport=size, device_scale_factor=1.5)
                recording = Recording(page)
                page.goto(url)
                page.locator(".stories li").first.wait_for()
                recording.take(1.6)
                box = page.get_by_label("Question", exact=True)
                for end in range(3, len(QUESTION) + 3, 3):
                    box.fill(QUESTION[:end])
                    recording.take(0.12)
                page.keyboard.press("Enter")
                for _ in range(4):
                    recording.take(0.25)
                page.get_by_text("Newest evidence").wait_for()
                recording.take(1.6)
                page.mouse.move(1, 1)
                page.mouse.move(2, 2)
                page.locator(".pill").first.hover()
                page.locator(".card mark").wait_for()
                page.wait_for_timeout(300)
                recording.take(3.5)
                IMAGES.mkdir(parents=True, exist_ok=True)
                page.screenshot(path=IMAGES / "answer.png")
                recording.save(IMAGES / "asking.webp")
                browser.close()
        finally:
            server.terminate()
            server.wait()
    print(f"Wrote answer.png and asking.webp to {IMAGES}.")


if __name__ == "__main__":
    main()
