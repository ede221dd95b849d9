"""The page and the API over the real house and its demo world."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI

from gnomon.app import opened
from gnomon.settings import Demo, Settings

pytestmark = pytest.mark.slow


class _Served:
    """What the fakes' server needs to know of a house."""

    def __init__(self, services: Any) -> None:
        self.services = services


@asynccontextmanager
async def running(home: Path, served: Any) -> AsyncIterator[str]:
    settings = Settings(home=home, demo=Demo(mode="on"))
    async with (
        opened(settings, follow=False) as house,
        served(_Served(house.services(on_damage=pytest.fail))) as url,
    ):
        yield url


async def test_three_questions_get_checked_answers_and_their_saved_copies_open(
    tmp_path: Path, served: Any, browser: Any
) -> None:
    async with running(tmp_path, served) as url:
        page = await browser.new_page()
        await page.goto(url)
        await page.locator(".examples button").first.wait_for()
        assert await page.locator(".examples button").count() >= 3
        for i in range(3):
            await page.goto(url)
            await page.locator(".examples button").nth(i).click()
            facts = page.locator(".turn .freshness")
            await facts.wait_for()
            assert await page.locator(".sentences li.supported").count() >= 1
            assert re.search(r"[1-9]\d* documents searched", await facts.inner_text())
            await page.locator(".pill").first.hover()
            card = page.locator(".card")
            quoted = await card.locator("mark").inner_text()
            async with page.context.expect_page() as copy:
                await card.get_by_text("Saved copy").click()
            saved = await copy.value
            await saved.locator("mark#quote").wait_for()
            assert await saved.locator("mark#quote").inner_text() == quoted
            await saved.close()
        await page.close()


async def test_the_openai_client_asks_the_demo_world_about_now_and_then(
    tmp_path: Path, served: Any
) -> None:
    async with (
        running(tmp_path, served) as url,
        AsyncOpenAI(api_key="k", base_url=f"{url}/v1") as client,
    ):
        now = await client.responses.create(model="gnomon", input="Is the Mill Bridge open?")
        then = await client.responses.create(
            model="gnomon",
            input="Is the Mill Bridge open?",
            extra_body={"as_of": "12 hours ago"},
        )
        async with client.responses.stream(
            model="gnomon", input="Since when?", previous_response_id=now.id
        ) as stream:
            final = await stream.get_final_response()
        again = await client.responses.retrieve(now.id)
    assert now.output_text and now.output_text != then.output_text
    assert again.output_text == now.output_text
    assert final.status == "completed"
    seen = [c["observed_at"] for c in (then.model_extra or {})["gnomon"]["citations"]]
    assert seen and max(seen) <= (then.model_extra or {})["gnomon"]["as_of"]
