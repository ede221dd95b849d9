"""The ways of somebody who sees Gnomon for the first time, with the demo world behind it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
SEEN = "#main"


async def ask(page: Any, question: str) -> None:
    await page.get_by_label("Question", exact=True).last.fill(question)
    await page.keyboard.press("Enter")


async def answered(page: Any, turn: int = 0) -> None:
    await page.locator(".turn").nth(turn).locator(".freshness").wait_for()


async def example(page: Any) -> str:
    """Click the first example question; its words."""
    button = page.locator(".examples button").first
    words: str = await button.inner_text()
    await button.click()
    return words


async def test_1_start_and_see_what_is_happening(town: str, opened: Any, look: Any) -> None:
    async with opened(town) as page:
        await page.locator(".stories li").first.wait_for()
        assert 3 <= await page.locator(".stories li").count() <= 6
        story = await page.locator(".stories li").first.inner_text()
        assert re.search(r"\d+ outlets?", story)
        strip = await page.locator(".strip").inner_text()
        assert re.search(r"\d+ of \d+ sources fresh, newest \d+ \w+ ago", strip)
        assert "nothing here is news" in await page.locator(".demo").inner_text()
        await look(page, "journey-1-start")


async def test_2_ask_and_watch_the_answer_being_made(town: str, opened: Any, look: Any) -> None:
    async with opened(town) as page:
        question = await example(page)
        await answered(page)
        assert question in await page.title()
        assert await page.locator(".sentences li.supported").count() >= 1
        assert "documents searched" in await page.locator(".freshness").inner_text()
        assert "/c/" in page.url
        await look(page, "journey-2-answer")


async def test_a_greeting_is_answered_without_the_tools_of_news(
    town: str, opened: Any, look: Any
) -> None:
    async with opened(town) as page:
        await ask(page, "hi")
        await answered(page)
        turn = page.locator(".turn").first
        assert "Gnomon about itself" in await turn.locator(".freshness").inner_text()
        assert await turn.get_by_role("button", name="Copy").count() == 1
        assert await turn.get_by_role("button", name="Watch this").count() == 0
        assert await turn.get_by_text("Timeline").count() == 0
        await turn.locator(".pill").first.click()
        card = page.get_by_role("dialog")
        await card.wait_for()
        assert await card.get_by_role("link").count() == 0
        await look(page, "greeting")


async def test_3_check_a_citation_down_to_the_saved_copy(town: str, opened: Any, look: Any) -> None:
    async with opened(town) as page:
        await example(page)
        await answered(page)
        await page.mouse.move(1, 1)
        await page.mouse.move(2, 2)
        await page.locator(".pill").first.hover()
        card = page.locator(".card")
        await card.locator("mark").wait_for()
        quoted = await card.locator("mark").inner_text()
        assert "Supported by these words" in await card.inner_text()
        await look(page, "journey-3-card")
        async with page.context.expect_page() as copy:
            await card.get_by_text("Saved copy").click()
        saved = await copy.value
        await saved.locator("mark#quote").wait_for()
        assert await saved.locator("mark#quote").inner_text() == quoted
        await look(saved, "journey-3-saved")


async def test_4_go_back_in_time(town: str, opened: Any, look: Any) -> None:
    async with opened(town) as page:
        await page.get_by_role("button", name="Now", exact=True).click()
        await look(page, "journey-4-when")
        await page.get_by_role("button", name="1 h ago").click()
        await ask(page, "Is the Mill Bridge open?")
        await page.locator(".past-band").wait_for()
        await page.locator(".freshness, .abstained").first.wait_for()
        assert "nothing seen later is used" in await page.locator(".past-band").inner_text()
        await look(page, "journey-4-past")
        await page.get_by_role("button", name="What changed since?").click()
        await page.locator(".changed .headline").wait_for()
        await look(page, "journey-4-changed")


async def test_5_add_a_feed(town: str, opened: Any, look: Any) -> None:
    from gnomon.testing.feed_server import FeedServer

    async with FeedServer() as server, opened(town) as page:
        server.feed("/news.xml", title="Harbour Herald")
        await page.get_by_role("link", name="Sources").first.click()
        await page.get_by_role("heading", name="Sources", level=1).wait_for()
        box = page.locator("main form input, main form textarea").first
        # An address inside the machine is refused by the guarded door, and says so.
        await box.fill(server.url("/news.xml"))
        await box.press("Enter")
        await page.get_by_text(re.compile("not allowed|refused|private|loopback")).first.wait_for()
        await look(page, "journey-5-sources")
        page.watched.trouble = [t for t in page.watched.trouble if "/v1/sources" not in t]


async def test_6_survive_a_refresh(town: str, opened: Any, look: Any) -> None:
    async with opened(town) as page:
        question = await example(page)
        # In the middle of it: as soon as the question was understood.
        await page.wait_for_url("**/c/*")
        await page.reload()
        await answered(page)
        assert await page.get_by_role("heading", name=question).count() == 1
        assert await page.locator(".turn").count() == 1
        await ask(page, "Since when?")
        # The second step begins when the question was understood.
        steps = page.locator(".turn").nth(1).locator(".progress li")
        await steps.nth(1).wait_for(state="attached")
        await page.reload()
        await page.locator(".turn").nth(1).locator(".freshness").wait_for()
        assert await page.locator(".turn").count() == 2
        await look(page, "journey-6-refresh")


async def test_7_share_a_conversation(town: str, opened: Any, look: Any) -> None:
    async with opened(town) as page:
        question = await example(page)
        await answered(page)
        await page.get_by_role("button", name="Share").click()
        notice = page.locator(".notices p")
        await notice.get_by_text("Anybody with this address").wait_for()
        address = re.search(r"http://\S+/s/\S+", await notice.inner_text())
        assert address is not None
        async with opened(town, address[0].removeprefix(town)) as other:
            await other.get_by_role("heading", name=question).first.wait_for()
            assert await other.locator(".sentences li").count() >= 1
            assert await other.get_by_label("Question", exact=True).count() == 0
            await look(other, "journey-7-shared")


async def test_8_search_without_a_model(town: str, opened: Any, look: Any) -> None:
    async with opened(town) as page:
        await page.get_by_role("link", name="Search").first.click()
        box = page.get_by_label(re.compile("search|look for", re.IGNORECASE)).first
        await box.fill("bridge")
        await box.press("Enter")
        await page.locator("main mark").first.wait_for()
        assert (await page.locator("main mark").first.inner_text()).lower().startswith("bridge")
        assert "q=bridge" in page.url
        await look(page, "journey-8-search")


async def test_9_everything_fits_a_phone(town: str, opened: Any, look: Any) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    async with opened(town, **phone) as page:
        await page.locator(".stories li").first.wait_for()
        await look(page, "journey-9-phone-now")
        await example(page)
        await answered(page)
        await page.locator(".pill").first.tap()
        await page.locator(".card mark").wait_for()
        await look(page, "journey-9-phone-card")
        for place in ("search", "threads", "watches", "sources", "models", "settings"):
            await page.goto(f"{town}/{place}")
            await page.locator("main h1").wait_for()
            await page.wait_for_timeout(200)
            await look(page, f"journey-9-phone-{place}")


async def test_10_by_keyboard_alone(town: str, opened: Any, look: Any) -> None:
    async with opened(town) as page:
        await page.locator(".examples li").first.wait_for()
        # The cursor is in the box already.
        await page.keyboard.type("Is the Mill Bridge open?")
        await page.keyboard.press("Enter")
        await answered(page)
        for _ in range(40):
            await page.keyboard.press("Tab")
            if await page.locator(".pill:focus").count():
                break
        else:
            raise AssertionError("no citation can be reached with the Tab key")
        await page.keyboard.press("Enter")
        await page.locator(".card mark").wait_for()
        await page.keyboard.press("Escape")
        await page.locator(".pill:focus").wait_for()
        await page.keyboard.press("?")
        await page.get_by_role("dialog", name="Shortcuts").wait_for()
        await look(page, "journey-10-shortcuts")
        await page.keyboard.press("Escape")
        await page.keyboard.press("Control+k")
        await page.get_by_placeholder("What do you want to do?").wait_for()
        await page.keyboard.type("sources")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/sources")
        await page.keyboard.press("n")
        await page.wait_for_url(re.compile(r"/$"))
        await page.locator("textarea:focus").wait_for()


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_screen_readers_find_no_serious_fault(town: str, opened: Any, theme: str) -> None:
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: run `make page`")
    faults: list[str] = []

    async def check(page: Any, name: str) -> None:
        await page.evaluate(AXE.read_text())
        found = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        for fault in found["violations"]:
            if fault["impact"] in ("serious", "critical"):
                where = [node["html"][:160] for node in fault["nodes"][:3]]
                faults.append(f"{name}: {fault['id']}: {fault['help']} {where}")

    async with opened(town, color_scheme=theme) as page:
        await page.locator(".stories li").first.wait_for()
        await check(page, "now")
        await example(page)
        await answered(page)
        await page.get_by_text("Evidence (").click()
        await check(page, "answer")
        await page.locator(".pill").first.click()
        await page.locator(".card mark").wait_for()
        await check(page, "card")
        await page.keyboard.press("Escape")
        await page.keyboard.press("?")
        await check(page, "shortcuts")
        for place in ("search?q=bridge", "threads", "watches", "sources", "models", "settings"):
            await page.goto(f"{town}/{place}")
            await page.locator("main h1").wait_for()
            await page.wait_for_timeout(300)
            await check(page, place)
    assert faults == []
