"""Storylines without end: true to themselves, told in three languages, and fair to ask about."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from gnomon.testing.world import Truth, World, describe
from gnomon.testing.world.chronicle import SPAN, Chronicle
from gnomon.testing.world.model import OUTLETS, Item

START = datetime(2026, 11, 22, 15, 0, tzinfo=UTC)
MONTH = timedelta(days=30)


@pytest.fixture(scope="module", params=[1, 5])
def world(request: pytest.FixtureRequest) -> World:
    return World(request.param, START)


def followed(world: World) -> list[Item]:
    """What the storylines of a month publish."""
    return [item for item in world.told(START + MONTH) if item.published_at > START + SPAN / 10]


def test_any_way_of_looking_finds_the_same_storylines() -> None:
    whole = Chronicle(3, START).items(START, START + MONTH)
    other = Chronicle(3, START)
    cut: list[Item] = []
    for hours in range(0, 30 * 24, 5):
        begin = START + timedelta(hours=hours)
        cut += other.items(begin, min(begin + timedelta(hours=5), START + MONTH))
    assert cut == whole
    assert whole != Chronicle(4, START).items(START, START + MONTH)
    assert len({item.key for item in whole}) == len(whole) > 1_500


def test_questions_stand_in_one_order_however_often_was_asked_before() -> None:
    at_once, step_by_step = World(5, START), World(5, START)
    for days in range(5, 30, 5):
        Truth(step_by_step).questions(START + timedelta(days=days))
    asked = [q.text for q in Truth(at_once).questions(START + MONTH)]
    assert asked == [q.text for q in Truth(step_by_step).questions(START + MONTH)]


def test_a_month_holds_hundreds_of_facts_with_intervals(world: World) -> None:
    truth = Truth(world)
    at = START + MONTH
    topics = [topic for topic in world.topics(at) if world.lasts(topic.id)]
    spans = [span for topic in topics for span in truth.spans(topic.id, at)]
    known = [span for span in spans if span.known_at]
    assert len(known) > 400
    assert sum(span.until is not None for span in known) > 200
    for span in known:
        assert span.known_at is not None and span.heard_at is not None
        assert span.fact.start <= span.heard_at <= span.known_at
        assert span.until is None or span.until > span.fact.start
        assert span.knew[0][1] == span.heard_at
        assert len(span.supporting) >= len(span.knew) > 0


def test_items_state_what_they_are_said_to_tell_and_nothing_too_early(world: World) -> None:
    told = 0
    for item in followed(world):
        for version in item.versions:
            for topic, label in version.tells:
                facts = [f for f in world.facts(topic, version.at) if f.label == label]
                if not facts:
                    assert not version.reliable, f"{item.key} tells {topic} = {label} too early"
                    continue
                told += 1
                said = f"{version.title}\n{version.text}"
                assert any(re.search(p, said, re.I) for p in facts[-1].answers), (
                    f"{item.key} does not say {topic} = {label}: {said}"
                )
    assert told > 1_000


def test_prose_is_finished_in_every_language(world: World) -> None:
    langs = Counter(OUTLETS[item.outlet].lang for item in followed(world))
    assert min(langs[lang] for lang in ("en", "de", "es")) > 200
    for item in followed(world):
        for version in item.versions:
            assert version.text
            for text in (version.title, version.text):
                assert not re.search(r"[{}\[\]<>]|\|| {2}|\.\.|,,| [,.!?]", text), text


def test_near_misses_are_answered_by_nobody(world: World) -> None:
    at = START + MONTH / 4
    texts = [f"{v.title}\n{v.text}" for item in world.items(START, at) for v in item.versions]
    nothings = [n for n in world.near_misses(at) if n not in world.nothings]
    assert len(nothings) > 25
    for nothing in nothings:
        for pattern in nothing.absent:
            hit = next((text for text in texts if re.search(pattern, text, re.I)), None)
            assert hit is None, f"{nothing.question}: {hit}"


def test_questions_come_in_three_languages_and_say_what_their_trap_is(world: World) -> None:
    at = START + timedelta(days=12)
    asked = Truth(world).questions(at, langs=("en", "de", "es"))
    by_lang = Counter(q.lang for q in asked if q.answerable)
    assert by_lang["en"] > 100 and by_lang["de"] > 50 and by_lang["es"] > 50
    traps = Counter(q.trap for q in asked)
    assert traps["near_miss"] > 40 and traps["stale"] > 50 and traps["rumour"] > 20
    early = Truth(world).questions(START + timedelta(hours=20))
    assert any(q.trap == "not_yet" and not q.answerable for q in early)
    for question in asked:
        assert (question.trap in ("near_miss", "not_yet")) == (not question.answerable)
        if question.answerable:
            assert question.since and question.valid_from and question.supporting
            assert question.valid_from <= question.since <= at
            assert question.valid_until is None or question.valid_until <= at


def test_errors_are_corrected_articles_grow_and_posts_disappear(world: World) -> None:
    items = followed(world)
    corrected = [i for i in items if len(i.versions) > 1 and "Correction" in i.versions[1].text]
    assert len(corrected) > 10
    for item in corrected:
        assert not item.versions[0].reliable and item.versions[1].reliable
    assert sum(len(i.versions) > 1 for i in items) > len(corrected) + 10
    assert sum(i.ending == "vanished" for i in items) > 10
    assert sum(bool(i.copy_of) for i in items) > 50
    mistold = [t for i in items for t, label in i.versions[0].tells if label == "miscounted"]
    assert mistold


def test_the_description_goes_with_the_time(world: World) -> None:
    text = describe(world, START + timedelta(days=9))
    assert "nothing here is news" in text
    assert "Is it true that" in text or "What is the score" in text
