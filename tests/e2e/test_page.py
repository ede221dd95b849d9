from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gnomon.types import SourceConfig, VerdictKind

pytestmark = pytest.mark.slow

HOSTILE = (
    "<img src=x onerror=\"document.title='owned'\"> <script>document.title='owned'</script> "
    "[click](javascript:alert(1)) The bridge is closed."
)


def widen(house: Any, kit: Any) -> None:
    """More of everything, so that the page has something to lay out."""
    text = (
        "Traffic was diverted over the old ford since the morning. The north bridge is closed. "
        "Repairs began after an inspection found cracks in two girders, the council said; buses "
        "of line 4 turn back at the mill until further notice."
    )
    start = text.index("The north bridge")
    now = datetime.now(UTC)
    house.clock.set(now)
    seen = now - timedelta(minutes=19)
    house.record.documents = [
        kit.document("feed:www.example.org/bridge", text, observed_at=seen, published_at=seen),
        kit.document(
            "post:2",
            "The ferry sails every 20 minutes from nine, says the harbour master. #ferry",
            seq=2, title="", url="https://social.example/@harbour/2",
            source="mastodon:social.example", author="@harbour", observed_at=seen,
            published_at=None,
        ),
        kit.document(
            "feed:radio.example/3", "Council meets at six about the bridge.", seq=3,
            title="Council to meet this evening about the bridge and what it may cost the town",
            url="https://radio.example/3", source="feed:radio.example", observed_at=now,
            published_at=now - timedelta(minutes=2),
        ),
    ]  # fmt: skip
    for name, title in (
        ("feed:radio.example", "Town Radio"),
        ("page:www.council.example/notices", "Council notices"),
    ):
        house.record.configs[name] = SourceConfig(name=name, type="feed", title=title)
    house.runner.paused.add("page:www.council.example/notices")
    first = msgspec.structs.replace(
        kit.CITED, start=start, end=start + 27, published_at=seen, observed_at=seen
    )
    ferry = msgspec.structs.replace(
        kit.CITED, number=2, key="post:2", start=0, end=35, copies=1, copy_sources=(),
        quote="The ferry sails every 20 minutes", title="", url="https://social.example/@harbour/2",
        source="mastodon:social.example", author="@harbour", published_at=None, observed_at=seen,
    )  # fmt: skip
    house.answerer.sentences = [
        (kit.sentence("The north bridge is closed.", 1), (first,)),
        (
            kit.sentence(
                "Until it reopens, a ferry crosses every 20 minutes from noon.",
                2, 1, kind=VerdictKind.PARTLY, score=0.6,
            ),
            (ferry,),
        ),
    ]  # fmt: skip


@asynccontextmanager
async def opened(house: Any, served: Any, browser: Any, path: str = "/", **options: Any) -> Any:
    """A page; any error in its console, refused request or foreign request fails the test."""
    options = {"viewport": {"width": 1024, "height": 800}} | options
    async with served(house) as url:
        context = await browser.new_context(**options)
        page = await context.new_page()
        trouble: list[str] = []
        page.on("console", lambda m: trouble.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda e: trouble.append(str(e)))
        page.on(
            "request",
            lambda r: None if r.url.startswith(url) else trouble.append(f"went to {r.url}"),
        )
        page.set_default_timeout(8_000)
        await page.goto(url + path)
        try:
            yield page
            assert trouble == []
        finally:
            await context.close()


async def ask(page: Any, question: str = "Is the north bridge open?") -> None:
    await page.get_by_label("Question", exact=True).fill(question)
    await page.keyboard.press("Enter")


async def test_an_answer_streams_with_verdicts_citations_and_their_age(
    house: Any, served: Any, browser: Any, kit: Any
) -> None:
    widen(house, kit)
    house.answerer.hold = asyncio.Event()
    async with opened(house, served, browser) as page:
        await ask(page)
        await page.get_by_text("The north bridge is closed.").wait_for()
        assert await page.locator("#progress").is_visible()
        assert await page.locator(".sentences li").count() == 1
        house.answerer.hold.set()
        await page.locator("#answer footer").wait_for()
        assert not await page.locator("#progress").is_visible()
        marks = page.locator(".sentences .mark")
        assert [await m.get_attribute("aria-label") for m in await marks.all()] == [
            "Supported by these words",
            "Partly supported",
        ]
        assert "“noon” is not in the quoted words" in await page.locator(".reasons").inner_text()
        footer = await page.locator("#answer footer").inner_text()
        assert (
            "Newest evidence 20 min old" in footer and "No language model is installed." in footer
        )
        await page.get_by_text("Evidence (2)").click()
        assert "same copy ×6" in await page.locator(".evidence").inner_text()
        assert await page.title() == "Is the north bridge open? · Gnomon"


async def test_the_card_of_a_citation_works_by_mouse_and_by_keyboard(
    house: Any, served: Any, browser: Any, kit: Any
) -> None:
    widen(house, kit)
    async with opened(house, served, browser) as page:
        await ask(page)
        await page.locator("#answer footer").wait_for()
        pill = page.locator(".pill").first
        await page.mouse.move(1, 1)
        await pill.hover()
        card = page.locator("#card")
        await card.get_by_text("old ford since the morning").wait_for()
        said = await card.inner_text()
        assert "same copy ×6" in said and "Supported by these words" in said and "seen" in said
        assert await card.locator("mark").inner_text() == "The north bridge is closed."
        box = await card.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 1024
        times = card.locator("time")
        assert (await times.first.get_attribute("title")).endswith(" UTC")
        await page.mouse.move(5, 5)
        await card.wait_for(state="hidden")
        await pill.focus()
        await card.wait_for()
        await page.keyboard.press("Enter")
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.textContent") == "Original"
        await page.keyboard.press("Escape")
        await card.wait_for(state="hidden")
        assert await page.evaluate("document.activeElement.className") == "pill"
        await pill.click()
        async with page.context.expect_page() as copy:
            await card.get_by_text("Saved copy").click()
        opened_copy = await copy.value
        await opened_copy.locator("mark#quote").wait_for()
        assert await opened_copy.locator("mark#quote").inner_text() == "The north bridge is closed."


async def test_a_moment_in_the_past_is_marked_and_sent(
    house: Any, served: Any, browser: Any, kit: Any
) -> None:
    widen(house, kit)
    async with opened(house, served, browser) as page:
        await page.locator(".when").get_by_text("6 h").click()
        assert await page.locator("#past-note").is_visible()
        await ask(page)
        await page.locator("#answer footer").wait_for()
        assert "nothing seen later is used" in await page.locator(".past-band").inner_text()
        assert await page.evaluate("document.body.classList.contains('past')")
        age = datetime.now(UTC) - house.answerer.asked[0].as_of
        assert abs(age - timedelta(hours=6)) < timedelta(minutes=1)
        await page.reload()
        await page.locator("#answer footer").wait_for()
        assert house.answerer.asked[1].as_of == house.answerer.asked[0].as_of
        await page.locator(".when").get_by_text("now").click()
        await page.get_by_role("button", name="Ask", exact=True).click()
        await page.wait_for_function("!document.querySelector('.past-band')")
        await page.locator("#answer footer").wait_for()
        assert house.answerer.asked[2].as_of is None


async def test_hostile_text_stays_text(house: Any, served: Any, browser: Any, kit: Any) -> None:
    bad = msgspec.structs.replace(
        kit.CITED, key="page:evil", quote=HOSTILE, title=HOSTILE, url="javascript:alert(1)",
        author=HOSTILE, source=HOSTILE, start=0, end=len(HOSTILE),
    )  # fmt: skip
    house.answerer.sentences = [(kit.sentence(HOSTILE, 1), (bad,))]
    house.record.documents = [
        kit.document("page:evil", HOSTILE, title=HOSTILE, url="javascript:alert(1)", author=HOSTILE)
    ]
    house.record.configs = {HOSTILE: SourceConfig(name=HOSTILE, type="feed", title=HOSTILE)}
    async with opened(house, served, browser) as page:
        await ask(page, HOSTILE)
        await page.locator("#answer footer").wait_for()
        await page.locator(".pill").click()
        await page.locator("#card blockquote").wait_for()
        for view in ("#search?q=bridge", "#sources"):
            await page.evaluate(f"location.hash = '{view}'")
            await page.locator("#results li, #following li").filter(visible=True).first.wait_for()
        assert await page.locator("main img, main script, #card img").count() == 0
        assert await page.locator("a[href^='javascript']").count() == 0
        await page.goto(page.url.partition("#")[0] + "saved/page:evil")
        await page.locator(".copy").wait_for()
        assert await page.locator("main img, main script").count() == 0
        assert "owned" not in await page.title() or "<img" in await page.title()


async def test_abstention_and_errors_name_the_next_step(
    house: Any, served: Any, browser: Any, kit: Any
) -> None:
    from gnomon.errors import ModelError

    house.answerer.closest = kit.CITED
    held, house.answerer.sentences = house.answerer.sentences, []
    async with opened(house, served, browser) as page:
        await ask(page)
        await page.get_by_text("The evidence does not contain an answer.").wait_for()
        assert "Closest passage" in await page.locator(".abstained").inner_text()
        house.answerer.sentences = held
        house.answerer.failure = ModelError("The model stopped.", hint="Run gnomon doctor.")
        await ask(page, "Why?")
        alert = page.get_by_role("alert")
        await alert.get_by_text("Run gnomon doctor.").wait_for()
        house.answerer.failure = None
        await alert.get_by_text("Try again").click()
        await page.locator("#answer footer").wait_for()
        assert await page.get_by_role("alert").count() == 0


async def test_stopping_keeps_what_is_there_and_ends_the_work(
    house: Any, served: Any, browser: Any
) -> None:
    house.answerer.hold = asyncio.Event()
    async with opened(house, served, browser) as page:
        await ask(page)
        await page.locator(".sentences li").wait_for()
        await page.get_by_role("button", name="Stop").click()
        async with asyncio.timeout(5):
            await house.answerer.cancelled.wait()
        await page.get_by_text("Stopped. What stands above was checked.").wait_for()
        assert await page.locator(".sentences li").count() == 1


async def test_search_lists_hits_with_their_matches(
    house: Any, served: Any, browser: Any, kit: Any
) -> None:
    widen(house, kit)
    async with opened(house, served, browser, "/#search") as page:
        await page.get_by_label("Search words").fill("bridge")
        await page.keyboard.press("Enter")
        await page.get_by_text("2 hits").wait_for()
        assert (await page.locator(".hits mark").first.inner_text()).lower() == "bridge"
        link = page.locator(".hits .title a").first
        assert await link.get_attribute("rel") == "noopener noreferrer nofollow"
        await page.get_by_label("Search words").fill("zebra")
        await page.keyboard.press("Enter")
        await page.get_by_text("Nothing found.").wait_for()


async def test_sources_can_be_followed_and_paused(
    house: Any, served: Any, browser: Any, kit: Any
) -> None:
    widen(house, kit)
    async with opened(house, served, browser) as page:
        await page.get_by_text("2 of 3 sources fresh, newest").click()
        await page.get_by_text("Town Radio").wait_for()
        await page.get_by_label("Follow a feed or a page").fill("https://news.example/feed.xml")
        await page.get_by_role("button", name="Follow").click()
        await page.get_by_text("Following News.").wait_for()
        await page.get_by_role("button", name="Pause Town Radio").click()
        await page.get_by_role("button", name="Resume Town Radio").click()
        await page.get_by_role("button", name="Pause Town Radio").wait_for()
    assert "feed:news.example/feed.xml" in house.record.configs


async def test_a_wrong_address_says_what_to_do(house: Any, served: Any, browser: Any) -> None:
    async with served(house) as url:
        page = await browser.new_page()
        await page.goto(url + "/#sources")
        await page.get_by_label("Follow a feed or a page").fill("??")
        await page.get_by_role("button", name="Follow").click()
        await page.get_by_role("alert").get_by_text("Give a URL.").wait_for()
        await page.close()


async def test_with_a_key_the_browser_signs_in_once(house: Any, served: Any, browser: Any) -> None:
    house = house.configure(api_key="open-sesame")
    signed_in = {"username": "me", "password": "open-sesame"}
    async with served(house) as url:
        stranger = await browser.new_context()
        assert (await stranger.request.get(url)).status == 401
        await stranger.close()
        context = await browser.new_context(http_credentials=signed_in)
        page = await context.new_page()
        await page.goto(url)
        await ask(page)
        await page.locator("#answer footer").wait_for()
        await context.close()


async def test_examples_ask_themselves(house: Any, served: Any, browser: Any) -> None:
    async with opened(house, served, browser) as page:
        assert "simulated town" in await page.locator("#demo").inner_text()
        await page.get_by_role("button", name="Is the north bridge open?").click()
        await page.locator("#answer footer").wait_for()
        await page.go_back()
        await page.locator("#examples").wait_for()
        assert not await page.locator("#answer").is_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1024, 1600])
async def test_nothing_overflows_at_any_width(
    house: Any, served: Any, browser: Any, kit: Any, width: int, theme: str
) -> None:
    widen(house, kit)
    folder = os.environ.get("GNOMON_TEST_SCREENSHOTS")
    options = {"viewport": {"width": width, "height": 900}, "color_scheme": theme}

    async def look(page: Any, name: str) -> None:
        wide = await page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{name} is {wide} px wide"
        if folder:
            await page.screenshot(path=str(Path(folder) / f"{name}-{width}-{theme}.png"))

    async with opened(house, served, browser, **options) as page:
        await page.locator("#latest li").first.wait_for()
        await look(page, "home")
        await page.locator(".when").get_by_text("1 h").click()
        await ask(page)
        await page.locator("#answer footer").wait_for()
        await page.get_by_text("Evidence (2)").click()
        await look(page, "answer")
        await page.mouse.move(1, 1)
        await page.locator(".pill").first.hover()
        await page.get_by_text("old ford").wait_for()
        await look(page, "card")
        await page.mouse.move(1, 1)
        await page.goto(page.url.partition("#")[0] + "#search?q=bridge")
        await page.locator(".hits li").first.wait_for()
        await look(page, "search")
        await page.goto(page.url.partition("#")[0] + "#sources")
        await page.get_by_text("Town Radio").wait_for()
        await look(page, "sources")
        saved = "saved/feed:www.example.org%2Fbridge?version=1&start=58&end=85"
        await page.goto(page.url.partition("#")[0] + saved)
        await page.locator("mark").wait_for()
        await look(page, "saved")


async def test_a_card_does_not_open_under_a_resting_pointer(
    house: Any, served: Any, browser: Any
) -> None:
    async with opened(house, served, browser) as page:
        await page.get_by_role("button", name="Is the north bridge open?").wait_for()
        await ask(page)
        await page.locator("#answer footer").wait_for()
        await page.mouse.move(1, 1)
        await page.locator(".pill").first.hover()
        await page.locator("#card").wait_for()
        await page.reload()
        await page.locator("#answer footer").wait_for()
        await page.wait_for_timeout(300)
        assert not await page.locator("#card").is_visible()


async def test_the_skip_link_leads_to_the_box_and_keeps_the_answer(
    house: Any, served: Any, browser: Any
) -> None:
    async with opened(house, served, browser) as page:
        await ask(page)
        await page.locator("#answer footer").wait_for()
        await page.locator(".skip").focus()
        await page.keyboard.press("Enter")
        await page.wait_for_function("document.activeElement.id === 'question'")
        assert await page.locator("#answer footer").is_visible()
