"""The page over fakes: how an answer appears, and what the reader can do with it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from gnomon.errors import ModelError
from gnomon.types import SourceConfig, VerdictKind


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


async def ask(page: Any, question: str = "Is the north bridge open?") -> None:
    await page.get_by_label("Question", exact=True).last.fill(question)
    await page.keyboard.press("Enter")


async def answered(page: Any) -> None:
    await page.get_by_text("Newest evidence").last.wait_for()


async def test_an_answer_streams_with_verdicts_citations_and_their_age(
    house: Any, served: Any, opened: Any, kit: Any
) -> None:
    widen(house, kit)
    house.answerer.hold = asyncio.Event()
    async with served(house) as url, opened(url) as page:
        await ask(page)
        await page.get_by_text("The north bridge is closed.").wait_for()
        assert await page.get_by_text("Writing, and checking each sentence").first.is_visible()
        assert await page.locator(".sentences li").count() == 1
        house.answerer.hold.set()
        await answered(page)
        await page.get_by_text("5 steps").wait_for()
        marks = page.locator(".sentences .mark")
        assert [await m.get_attribute("aria-label") for m in await marks.all()] == [
            "Supported by these words",
            "Partly supported",
        ]
        assert "“noon” is not in the quoted words" in await page.locator(".reasons").inner_text()
        footer = await page.locator(".freshness").inner_text()
        assert (
            "Newest evidence 20 min old" in footer and "No language model is installed." in footer
        )
        await page.get_by_text("Evidence (2)").click()
        assert "same copy ×6" in await page.locator(".evidence").inner_text()
        assert await page.title() == "Is the north bridge open? · Gnomon"


async def test_the_card_of_a_citation_works_by_mouse_and_by_keyboard(
    house: Any, served: Any, opened: Any, kit: Any
) -> None:
    widen(house, kit)
    async with served(house) as url, opened(url) as page:
        await ask(page)
        await answered(page)
        pill = page.locator(".pill").first
        await page.mouse.move(1, 1)
        await page.mouse.move(2, 2)
        await pill.hover()
        card = page.locator(".card")
        await card.get_by_text("old ford since the morning").wait_for()
        said = await card.inner_text()
        assert "same copy ×6" in said and "Supported by these words" in said and "seen" in said
        assert await card.locator("mark").inner_text() == "The north bridge is closed."
        box = await card.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 1024
        assert (await card.locator("time").first.get_attribute("title")).endswith(" UTC")
        await page.mouse.move(5, 5)
        await card.wait_for(state="hidden")
        await pill.focus()
        await page.keyboard.press("Enter")
        await card.wait_for()
        await page.keyboard.press("Escape")
        await card.wait_for(state="hidden")
        await page.locator(".pill:focus").wait_for()
        await pill.click()
        async with page.context.expect_page() as copy:
            await card.get_by_text("Saved copy").click()
        opened_copy = await copy.value
        await opened_copy.locator("mark#quote").wait_for()
        assert await opened_copy.locator("mark#quote").inner_text() == "The north bridge is closed."


async def test_a_card_does_not_open_under_a_resting_pointer(
    house: Any, served: Any, opened: Any
) -> None:
    async with served(house) as url, opened(url) as page:
        await ask(page)
        await answered(page)
        box = await page.locator(".pill").first.bounding_box()
        await page.mouse.move(box["x"] + 5, box["y"] + 5)
        await page.locator(".card").wait_for(state="hidden")
        await page.reload()
        await answered(page)
        await page.wait_for_timeout(300)
        assert not await page.locator(".card").is_visible()


async def test_a_moment_in_the_past_is_marked_and_sent(
    house: Any, served: Any, opened: Any, kit: Any
) -> None:
    widen(house, kit)
    async with served(house) as url, opened(url) as page:
        await page.get_by_role("button", name="Now", exact=True).click()
        await page.get_by_role("button", name="6 h ago").click()
        assert "As of" in await page.locator(".when-button").inner_text()
        await ask(page)
        await answered(page)
        assert "nothing seen later is used" in await page.locator(".past-band").inner_text()
        age = datetime.now(UTC) - house.answerer.asked[0].as_of
        assert abs(age - timedelta(hours=6)) < timedelta(minutes=1)
        # The follow-up stays at that moment until the reader goes back to now.
        await page.locator(".when-button").last.click()
        await page.locator(".when-card").get_by_role("button", name="Now", exact=True).click()
        await ask(page, "And the ferry?")
        await page.locator(".turn").nth(1).get_by_text("Newest evidence").wait_for()
        assert house.answerer.asked[1].as_of is None
        assert len(house.answerer.asked[1].history) == 1
        assert await page.locator(".past-band").count() == 1


async def test_abstention_and_errors_name_the_next_step(
    house: Any, served: Any, opened: Any, kit: Any
) -> None:
    house.answerer.closest = kit.CITED
    held, house.answerer.sentences = house.answerer.sentences, []
    async with served(house) as url, opened(url) as page:
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
        await page.get_by_text("Repairs began at noon.").wait_for()


async def test_stopping_keeps_what_is_there_and_ends_the_work(
    house: Any, served: Any, opened: Any
) -> None:
    house.answerer.hold = asyncio.Event()
    async with served(house) as url, opened(url) as page:
        await ask(page)
        await page.locator(".sentences li").wait_for()
        await page.locator(".composer").get_by_role("button", name="Stop").click()
        await page.get_by_text("Stopped. What stands above was checked.").wait_for()
        async with asyncio.timeout(8):
            await house.answerer.cancelled.wait()
        assert await page.locator(".sentences li").count() == 1


async def test_a_question_is_edited_into_a_branch_beside_the_first(
    house: Any, served: Any, opened: Any
) -> None:
    async with served(house) as url, opened(url) as page:
        await ask(page, "What happened?")
        await answered(page)
        await ask(page, "Is it open?")
        second = page.locator(".turn").nth(1)
        await second.get_by_text("Newest evidence").wait_for()
        await second.hover()
        await second.get_by_role("button", name="Edit").click()
        box = second.get_by_label("Question", exact=True)
        await box.fill("Is the ferry running?")
        await box.press("Enter")
        await page.get_by_text("2 of 2").wait_for()
        await page.get_by_role("heading", name="Is the ferry running?").wait_for()
        await page.get_by_role("button", name="Earlier version").click()
        await page.get_by_role("heading", name="Is it open?").wait_for()
        assert [q.text for q in house.answerer.asked] == [
            "What happened?",
            "Is it open?",
            "Is the ferry running?",
        ]
        assert len(house.answerer.asked[2].history) == 1


async def test_the_choices_of_the_box_are_sent(house: Any, served: Any, opened: Any) -> None:
    async with served(house) as url, opened(url) as page:
        await page.get_by_role("radio", name="Extract").check()
        await page.get_by_role("checkbox", name="Web").uncheck()
        await page.get_by_role("checkbox", name="Files").uncheck()
        await ask(page)
        await answered(page)
    asked = house.answerer.asked[0]
    assert asked.mode == "extract" and set(asked.kinds) == {"post", "comment"}


async def test_an_answer_is_copied_with_its_citations(
    house: Any, served: Any, opened: Any, kit: Any
) -> None:
    widen(house, kit)
    permissions = {"permissions": ["clipboard-read", "clipboard-write"]}
    async with served(house) as url, opened(url, **permissions) as page:
        await ask(page)
        await answered(page)
        await page.get_by_role("button", name="Copy", exact=True).click()
        await page.get_by_text("Copied, with its citations.").wait_for()
        copied = await page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("**Is the north bridge open?**")
    assert "The north bridge is closed. [1]" in copied
    assert "(partly supported)" in copied and "https://social.example/@harbour/2" in copied


async def test_a_server_that_went_away_is_said_in_words(
    house: Any, served: Any, opened: Any
) -> None:
    async with served(house) as url, opened(url) as page:
        await page.get_by_label("Question", exact=True).wait_for()
        await page.context.set_offline(True)
        await ask(page)
        alert = page.get_by_role("alert")
        await alert.get_by_text("Gnomon does not answer.").wait_for()
        await page.context.set_offline(False)
        await alert.get_by_text("Try again").click()
        await answered(page)
        page.watched.trouble = [t for t in page.watched.trouble if "ERR_INTERNET" not in t]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1024, 1600])
async def test_nothing_overflows_at_any_width(
    house: Any, served: Any, opened: Any, look: Any, kit: Any, width: int, theme: str
) -> None:
    widen(house, kit)
    options = {"viewport": {"width": width, "height": 900}, "color_scheme": theme}
    async with served(house) as url, opened(url, **options) as page:
        await page.locator(".examples li").first.wait_for()
        await look(page, f"now-{width}-{theme}")
        await ask(page)
        await answered(page)
        await page.get_by_text("Evidence (2)").click()
        await look(page, f"answer-{width}-{theme}")
        await page.mouse.move(1, 1)
        await page.mouse.move(2, 2)
        await page.locator(".pill").first.hover()
        await page.get_by_text("old ford").wait_for()
        await look(page, f"card-{width}-{theme}")
        await page.goto(url + "/saved/feed:www.example.org%2Fbridge?version=1&start=58&end=85")
        await page.locator("mark").wait_for()
        await look(page, f"saved-{width}-{theme}")


async def test_a_question_that_was_not_understood_yet_survives_a_refresh(
    house: Any, served: Any, opened: Any, kit: Any
) -> None:
    widen(house, kit)
    kept: list[Any] = []

    async def keep(route: Any) -> None:
        kept.append(route)
        if len(kept) > 1:
            await route.continue_()

    async with served(house) as url, opened(url) as page:
        await page.route("**/v1/ask", keep)
        await ask(page)
        await page.get_by_role("heading", name="Is the north bridge open?").wait_for()
        await page.reload()
        await answered(page)
        assert len(kept) == 2 and len(house.answerer.asked) == 1
        first, second = (route.request.post_data_json["request_key"] for route in kept)
        assert first == second
        await page.goto(url)
        await page.get_by_role("heading", name="What do you want to know?").wait_for()
        assert await page.locator(".turn").count() == 0
        page.watched.trouble.clear()


async def test_what_an_answer_leaves_open_is_asked_with_a_click(
    house: Any, served: Any, opened: Any, kit: Any, look: Any
) -> None:
    widen(house, kit)
    house.answerer.follow_ups = ("When will the north bridge reopen?", "Why was it closed?")
    async with served(house) as url, opened(url) as page:
        await ask(page)
        await answered(page)
        chips = page.locator(".follow-ups .chip")
        assert await chips.all_inner_texts() == list(house.answerer.follow_ups)
        for width in (390, 1024, 1600):
            for theme in ("light", "dark"):
                await page.emulate_media(color_scheme=theme)
                await page.set_viewport_size({"width": width, "height": 800})
                await chips.first.scroll_into_view_if_needed()
                await look(page, f"follow-ups-{width}-{theme}")
        await chips.first.click()
        await page.locator(".turn").nth(1).locator(".freshness").wait_for()
        heading = page.locator(".turn").nth(1).get_by_role("heading", level=2)
        assert await heading.inner_text() == "When will the north bridge reopen?"
        # Only the last answer is followed by questions.
        assert await page.locator(".follow-ups").count() == 1
        assert await page.locator(".turn").nth(0).locator(".follow-ups").count() == 0


async def test_a_secret_is_entered_and_a_list_is_looked_at_before_it_is_followed(
    house: Any, served: Any, opened: Any, look: Any
) -> None:
    from dataclasses import replace

    from gnomon.sources.registry import Registry

    registry = Registry.installed()

    async def identify(text: str) -> Any:
        return registry.identify(text)

    services = replace(house.services, identify=identify, examine=registry.examine)
    feeds = """<opml version="2.0"><body>
    <outline text="Harbour Herald" xmlUrl="https://one.example/feed"/>
    <outline text="Council notices" xmlUrl="https://two.example/feed"/></body></opml>"""
    async with (
        served(replace(house, services=services)) as url,
        opened(url, "/sources") as page,
    ):
        await page.locator("#new-source").fill("x:@example")
        await page.get_by_role("button", name="Look first").click()
        field = page.get_by_label("Bearer token")
        await field.fill("s3cret-token")
        assert await field.get_attribute("type") == "password"
        for width in (390, 1024, 1600):
            for theme in ("light", "dark"):
                await page.emulate_media(color_scheme=theme)
                await page.set_viewport_size({"width": width, "height": 800})
                await look(page, f"secret-{width}-{theme}")
        await page.get_by_role("button", name="Follow", exact=True).click()
        await page.get_by_text("is followed now").wait_for()
        (added,) = (c for c in house.record.configs.values() if c.type == "x")
        assert added.settings["bearer_token"] == "s3cret-token"
        assert "s3cret-token" not in await page.content()
        before = len(house.record.configs)
        await page.locator("input[type=file]").set_input_files(
            {"name": "feeds.opml", "mimeType": "text/x-opml", "buffer": feeds.encode()}
        )
        await page.locator(".recognised").get_by_text("Harbour Herald").wait_for()
        assert len(house.record.configs) == before
        await look(page, "opml-preview")
        await page.get_by_role("button", name="Follow 2 feeds").click()
        await page.get_by_text("2 feeds added").wait_for()
        assert len(house.record.configs) == before + 2
