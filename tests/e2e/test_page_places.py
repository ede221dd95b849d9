"""The places for whoever looks after a Gnomon: for screen readers, in both themes, at all sizes."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gnomon.sources.registry import Registry

AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"


async def faults(page: Any, name: str) -> list[str]:
    """What axe finds serious on the page as it stands."""
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: run `make page`")
    await page.evaluate(AXE.read_text())
    found = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{name}: {fault['id']}: {fault['help']} {[n['html'][:160] for n in fault['nodes'][:3]]}"
        for fault in found["violations"]
        if fault["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_a_source_is_looked_at_and_changed(
    house: Any, served: Any, opened: Any, look: Any, theme: str
) -> None:
    registry = Registry.installed()

    async def identify(text: str) -> Any:
        return registry.identify(text)

    services = replace(house.services, identify=identify, examine=registry.examine)
    found: list[str] = []
    async with (
        served(replace(house, services=services)) as url,
        opened(url, "/sources", color_scheme=theme) as page,
    ):
        await page.locator("#new-source").fill("x:@example")
        await page.get_by_role("button", name="Look first").click()
        await page.get_by_label("Bearer token").wait_for()
        found += await faults(page, "recognise")
        await page.get_by_role("button", name=re.compile("^Change ")).first.click()
        await page.get_by_role("dialog").wait_for()
        found += await faults(page, "change")
        await look(page, f"place-change-{theme}")
    assert found == []


@pytest.mark.parametrize("width", [390, 1024, 1600])
async def test_settings_models_and_people(town: str, opened: Any, look: Any, width: int) -> None:
    found: list[str] = []
    async with opened(town, "/settings") as page:
        await page.set_viewport_size({"width": width, "height": 800})
        for place in ("settings", "models", "people"):
            await page.goto(f"{town}/{place}")
            await page.locator("main h1").wait_for()
            await page.wait_for_load_state("networkidle")
            for theme in ("light", "dark"):
                await page.emulate_media(color_scheme=theme)
                found += await faults(page, f"{place} {theme}")
                await look(page, f"place-{place}-{width}-{theme}")
    assert found == []
