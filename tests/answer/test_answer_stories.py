"""What is happening: reports of the same are one story, and the future takes no part in it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from gnomon.answer.stories import BUCKETS, headline, question_about, stories
from gnomon.types import Document

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)

BRIDGE = "The harbour bridge was closed at 11:00 after a lorry overturned, police said."


def told(town: Any, **more: Any) -> list[Any]:
    return stories(town.record, town.index, NOON, **more)


def fill(town: Any) -> None:
    put = town.put
    put(1, "The Rovers won the derby by two goals to one.", "Rovers win", key="e", source="radio")
    put(2, "Choir sings tonight in the old mill.", "Concert", key="f", source="herald")
    put(3, BRIDGE, "Harbour bridge closed", key="a", source="herald")
    put(3.2, f"{BRIDGE} ", "Harbour bridge closed", key="b", source="wire")  # a near copy
    put(3.4, "A lorry overturned on the harbour bridge; it is closed.", "", key="c", kind="post",
        source="mastodon")  # fmt: skip
    put(3.6, "Divers inspect the pillars of the closed harbour bridge.", "Bridge: divers at work",
        key="d", source="radio")  # fmt: skip


async def test_reports_of_the_same_are_one_story(empty_town: Any) -> None:
    fill(empty_town)
    first, *others = told(empty_town)
    assert first.title in ("Harbour bridge closed", "Bridge: divers at work")
    # The wire's copy is a document, but no outlet of its own.
    assert first.outlets == 3 and first.documents == 4
    assert set(first.sources) == {"herald", "mastodon", "radio"}
    assert sum(first.spark) == 4 and len(first.spark) == BUCKETS
    assert first.first_at.hour == 11 and first.newest_at.minute == 36
    assert {story.title for story in others} == {"Rovers win", "Concert"}
    assert all(story.outlets == 1 for story in others)
    assert "arbour bridge" in first.question or "ridge" in first.question


async def test_a_story_is_headed_by_a_report_in_the_language_of_most(empty_town: Any) -> None:
    put = empty_town.put
    put(
        1,
        "Police closed the harbour bridge: a lorry overturned.",
        key="a",
        source="herald",
        lang="en",
    )
    put(2, "Lorry overturned, harbour bridge shut all day.", key="b", source="radio", lang="en")
    put(3, "Harbour Bridge: overturned lorry, cerrado.", key="c", source="costa", lang="es")
    put(
        4,
        "Sigh, harbour bridge, that overturned lorry.",
        key="d",
        kind="post",
        source="m",
        lang="en",
    )
    story = next(s for s in told(empty_town) if s.outlets == 4)
    assert (story.key, story.lang) == ("b", "en")


async def test_nothing_seen_later_takes_part(empty_town: Any) -> None:
    fill(empty_town)
    early = datetime(2026, 5, 4, 11, 5, tzinfo=UTC)
    first = next(s for s in told(empty_town, as_of=early) if "ridge" in s.title)
    assert first.documents == 1 and first.sources == ("herald",)
    assert first.newest_at <= early
    assert told(empty_town, as_of=datetime(2026, 5, 3, tzinfo=UTC)) == []


async def test_what_the_terms_withhold_makes_no_headline(empty_town: Any) -> None:
    from gnomon.types import Policy

    empty_town.put(3, BRIDGE, "Hush", policy=Policy(display=False, snippet=False))
    assert told(empty_town) == []


def test_a_post_is_headed_by_its_first_sentence() -> None:
    post = Document(key="p", source="s", kind="post", text="  Fire\nat the mill. Stay away. ")
    assert headline(post) == "Fire at the mill."
    long = Document(key="p", source="s", kind="post", text="word " * 100)
    assert len(headline(long)) <= 142 and headline(long).endswith("…")


def test_the_question_names_what_the_documents_name() -> None:
    def report(text: str) -> Document:
        return Document(key=text, source="s", kind="article", text=text)

    texts = [report("Mill Bridge is open."), report("Traffic on Mill Bridge flows.")]
    asked = question_about("Mill Bridge fully open again", texts)
    assert asked == "What is the latest on Mill Bridge?"
    assert question_about("Rain", [report("It rains.")]) == "What is known about “Rain”?"


async def test_the_storylines_of_the_demo_town_are_told_apart(empty_town: Any) -> None:
    from gnomon.clock import ManualClock
    from gnomon.testing.world import DemoTown
    from gnomon.types import Batch, Upsert

    world = DemoTown(seed=7, start=NOON, clock=ManualClock(NOON))
    await world.start()
    try:
        history = [(s, c) for s, c in world.history(NOON) if isinstance(c, Upsert)]
    finally:
        await world.stop()
    for source, change in history:
        found = empty_town.record.append(source, Batch((change,)), now=NOON)
        empty_town.index.apply(found.entries)
    empty_town.index.commit()
    found = stories(empty_town.record, empty_town.index, NOON)
    assert len(found) == 6 and found[0].outlets >= 2
    assert all(1 <= s.outlets <= s.documents and s.newest_at <= NOON for s in found)
    assert any(story.outlets >= 3 for story in found)
