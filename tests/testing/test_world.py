"""The demo world: deterministic, consistent with its own truth, fair to who must answer."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.testing.world import (
    Judged,
    Outcome,
    Truth,
    TruthQuestion,
    World,
    describe,
    judge,
    score,
)
from gnomon.testing.world.model import OUTLETS, Item
from gnomon.testing.world.moments import Moment, Number, moment
from gnomon.testing.world.prose import choose
from gnomon.testing.world.talk import proper_names
from gnomon.testing.world.world import observed_at
from gnomon.types import Answer, Sentence, Verdict, VerdictKind

# Noon, just before and after midnight, the last day of a year, a day in spring.
STARTS = (
    datetime(2026, 11, 22, 15, 0, tzinfo=UTC),
    datetime(2027, 1, 1, 0, 4, tzinfo=UTC),
    datetime(2026, 12, 31, 23, 52, 7, tzinfo=UTC),
    datetime(2027, 4, 13, 6, 31, tzinfo=UTC),
)
CASES = tuple(enumerate(STARTS, 1))


@pytest.fixture(params=CASES, ids=lambda case: f"seed{case[0]}", scope="module")
def world(request: pytest.FixtureRequest) -> World:
    seed, start = request.param
    return World(seed, start)


def past(world: World) -> list[Item]:
    return list(world.items(world.begin, world.start))


def lived(world: World, days: int = 2) -> list[Item]:
    """The history and some days of what follows."""
    return list(world.items(world.begin, world.start + timedelta(days=days)))


def test_same_seed_and_start_give_the_same_world() -> None:
    one, other = World(7, STARTS[0]), World(7, STARTS[0])
    # Another order of access, far enough apart to forget days in between.
    for day in range(40, 0, -3):
        list(other.items(STARTS[0] + timedelta(days=day), STARTS[0] + timedelta(days=day, hours=1)))
    assert lived(one) == lived(other)
    assert Truth(one).questions(STARTS[0]) == Truth(other).questions(STARTS[0])


def test_another_seed_gives_other_people_and_numbers() -> None:
    one, other = (
        {v.text for item in past(World(seed, STARTS[0])) for v in item.versions} for seed in (1, 2)
    )
    # The told stories keep their prose where no name or number stands in it.
    assert len(one & other) < 0.25 * len(one)


def test_a_start_without_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        World(1, datetime(2026, 11, 22, 15, 0))


def test_every_moment_is_aware_and_items_come_in_order(world: World) -> None:
    items = lived(world)
    moments = [item.published_at for item in items]
    assert moments == sorted(moments)
    for item in items:
        assert all(version.at.tzinfo is not None for version in item.versions)
        assert [v.at for v in item.versions] == sorted({v.at for v in item.versions})
    assert len({item.key for item in items}) == len(items)


def test_windows_of_any_cut_give_the_same_items(world: World) -> None:
    whole = list(world.items(world.start - timedelta(days=1), world.start + timedelta(days=1)))
    step = timedelta(hours=5, minutes=7)
    cut: list[Item] = []
    at = world.start - timedelta(days=1)
    end = world.start + timedelta(days=1)
    while at < end:
        cut += world.items(at, min(at + step, end))
        at += step
    assert cut == whole


def test_some_hundred_items_lie_in_the_past_and_something_happens_every_few_minutes(
    world: World,
) -> None:
    assert 340 <= len(past(world)) <= 460
    for day in (0, 5, 29):
        begin = world.start + timedelta(days=day)
        moments = [item.published_at for item in world.items(begin, begin + timedelta(days=1))]
        waits = [b - a for a, b in pairwise(moments)]
        assert timedelta(minutes=1) < sum(waits, timedelta()) / len(waits) < timedelta(minutes=3)
        assert max(waits) < timedelta(minutes=20)


def test_no_item_tells_a_fact_before_it_is_true(world: World) -> None:
    told = 0
    for item in lived(world):
        for version in item.versions:
            for topic, label in version.tells:
                facts = [f for f in world.facts(topic, version.at) if f.label == label]
                if version.reliable:
                    assert facts, f"{item.key} tells {topic} = {label} before it is so"
                    told += 1
    assert told > 250


def test_an_item_that_tells_a_value_matches_its_pattern_and_not_that_of_a_later_value(
    world: World,
) -> None:
    for item in lived(world):
        for version in item.versions:
            for topic, label in version.tells:
                facts = world.facts(topic, version.at)
                own = [f for f in facts if f.label == label]
                text = f"{version.title}\n{version.text}"
                if not own:
                    assert not version.reliable
                    continue
                assert any(re.search(p, text, re.I) for p in own[-1].answers), (
                    f"{item.key} does not match {topic} = {label}: {text}"
                )
                if topic not in world.story_topics:
                    continue
                later = world.facts(topic, world.start)
                for fact in later[later.index(own[-1]) + 1 :] if own[-1] in later else ():
                    if fact.label != label:
                        assert not any(re.search(p, text, re.I) for p in fact.answers), (
                            f"{item.key} tells {label} but matches {topic} = {fact.label}"
                        )


def test_near_misses_are_really_absent(world: World) -> None:
    texts = [(i.key, f"{v.title}\n{v.text}") for i in lived(world) for v in i.versions]
    assert len(world.nothings) >= 10
    for nothing in world.nothings:
        for pattern in nothing.absent:
            hits = [key for key, text in texts if re.search(pattern, text, re.I)]
            assert not hits, f"{nothing.question}: {pattern} is in {hits}"


def test_the_questions_at_the_end_of_history(world: World) -> None:
    truth = Truth(world)
    now = truth.questions(world.start)
    answerable = {q.text: q for q in now if q.answerable}
    assert len(answerable) >= 25
    assert sum(not q.answerable for q in now) >= 10
    for question in answerable.values():
        assert question.answers and question.supporting
        assert question.since is not None and question.since <= world.start
    earlier = {
        hours: {q.text: q for q in truth.questions(world.start - timedelta(hours=hours))}
        for hours in (1, 6)
    }
    changed = {
        hours: [
            text
            for text, question in answerable.items()
            if text in before and before[text].says != question.says
        ]
        for hours, before in earlier.items()
    }
    assert "Is the Mill Bridge open?" in changed[1]
    assert len(changed[6]) >= 8


def test_the_known_value_follows_the_reports() -> None:
    world = World(1, STARTS[0])
    truth = Truth(world)
    start = world.start

    def label(topic: str, at: datetime) -> str | None:
        report = truth.known(topic, at)
        return report.fact.label if report else None

    assert label("bridge.state", start - timedelta(days=3)) is None
    assert label("bridge.state", start - timedelta(days=2)) == "closed"
    assert label("bridge.state", start - timedelta(hours=1)) == "one lane"
    # It is open already, but nobody has said so.
    assert world.true("bridge.state", start - timedelta(minutes=39)).label == "open"  # type: ignore[union-attr]
    assert label("bridge.state", start - timedelta(minutes=39)) == "one lane"
    assert label("bridge.state", start) == "open"
    # Elected is not sworn in.
    assert label("mayor.who", start - timedelta(hours=5)) == "old"
    assert label("mayor.who", start) == "new"
    # A withdrawn article is no evidence any more.
    assert label("library.opener", start - timedelta(days=1)) == "who"
    assert label("library.opener", start) == "nobody"


def test_a_question_is_left_out_while_only_a_wrong_report_exists() -> None:
    world = World(1, STARTS[0])
    truth = Truth(world)

    def asked(hours: float) -> list[bool]:
        at = world.start - timedelta(hours=hours)
        return [q.answerable for q in truth.questions(at) if q.topic == "orrin.profit"]

    assert asked(10) == [False]
    assert asked(8) == []
    assert asked(7) == [True]


def test_right_and_outdated_answers_are_told_apart() -> None:
    world = World(1, STARTS[0])
    bridge = next(
        q for q in Truth(world).questions(world.start) if q.text == "Is the Mill Bridge open?"
    )
    assert bridge.right("The Mill Bridge is fully open. [1]")
    assert not bridge.right("The Mill Bridge is closed in both directions.")
    assert bridge.outdated("Cars can cross the Mill Bridge again, but only on a single lane.")
    assert not bridge.outdated("Both lanes are in use; for a day there was a single lane.")


def test_answers_are_judged_by_what_was_right_and_knowable() -> None:
    world = World(1, STARTS[0])
    questions = Truth(world).questions(world.start)
    bridge = next(q for q in questions if q.text == "Is the Mill Bridge open?")
    nothing = next(q for q in questions if not q.answerable)

    def outcome(question: TruthQuestion, text: str) -> Outcome:
        sentences = (
            Sentence(
                text=text,
                citations=(),
                verdict=Verdict(kind=VerdictKind.SUPPORTED, score=1.0),
            ),
        )
        answer = Answer(
            id="a",
            question=question.text,
            created_at=world.start,
            sentences=sentences if text else (),
            abstained=not text,
        )
        judged.append(judge(question, answer))
        return judged[-1].outcome

    judged: list[Judged] = []
    assert outcome(bridge, "Both lanes are in use.") is Outcome.RIGHT
    assert outcome(bridge, "Only one lane is open.") is Outcome.OUTDATED
    assert outcome(bridge, "The bridge is pretty.") is Outcome.WRONG
    assert outcome(bridge, "") is Outcome.MISSED
    assert outcome(nothing, "") is Outcome.ABSTAINED
    assert outcome(nothing, "In 1871.") is Outcome.INVENTED
    total = score(judged)
    assert (total.right, total.outdated, total.missed) == (0.25, 0.25, 0.25)
    assert (total.abstained, total.answerable, total.unanswerable) == (0.5, 4, 2)


def test_the_world_holds_what_an_answerer_must_cope_with(world: World) -> None:
    items = past(world)
    assert any(item.hostile for item in items)
    assert any(len(item.versions) > 1 for item in items), "an edit"
    assert {item.ending for item in items} >= {"tombstone", "vanished"}
    assert sum(bool(item.copy_of) for item in items) >= 8
    assert {OUTLETS[item.outlet].lang for item in items} == {"en", "de", "es"}
    assert {item.outlet for item in items} == set(OUTLETS)
    wrong = [
        (topic, label)
        for item in items
        for topic, label in item.versions[0].tells
        if not any(f.label == label for f in world.facts(topic, world.start))
    ]
    assert {topic for topic, _ in wrong} >= {"tram.votes", "orrin.profit", "fire.evacuated"}
    corrected = next(i for i in items if i.outlet == "herald" and i.id.startswith("orrin"))
    assert "Correction" in corrected.versions[1].text


def test_prose_is_finished_and_varied(world: World) -> None:
    sentences: Counter[str] = Counter()
    for item in past(world):
        assert item.versions[0].text
        for version in item.versions:
            for text in (version.title, version.text):
                assert not re.search(r"[{}\[\]]|\|| {2}|\.\.|,,", text), f"{item.key}: {text}"
        if not item.copy_of:
            sentences.update(
                s for s in re.split(r"(?<=[.!?])\s+", item.versions[0].text) if len(s) > 40
            )
    repeated = {s: n for s, n in sentences.items() if n > 3}
    assert not repeated


def skeleton(names: re.Pattern[str], sentence: str) -> str:
    """The sentence as a template: names and numbers masked."""
    return re.sub(r"\d+(?:[.,:]\d+)*", "#", names.sub("N", sentence))


def test_in_ten_thousand_items_no_template_comes_back_more_than_a_few_times() -> None:
    world = World(5, STARTS[0])
    items = list(world.items(world.start, world.start + timedelta(days=16)))
    own = [item for item in items if not item.copy_of]
    assert len(own) > 10_000
    texts = Counter(item.versions[0].text for item in own)
    assert max(texts.values()) <= 2
    names = re.compile(
        rf"\b(?:{'|'.join(re.escape(n) for n in sorted(proper_names(), key=len, reverse=True))})"
        r"(?!\w)",
        re.I,
    )
    sentences: Counter[str] = Counter()
    for text in texts:
        # Signatures of letters ("N N, N #") are no sentences.
        found = (skeleton(names, s) for s in re.split(r"(?<=[.!?])\s+|\n+", text))
        sentences.update(s for s in found if s != "N N, N #")
    total = sum(sentences.values())
    assert total > 20_000
    assert max(sentences.values()) <= 20, sentences.most_common(5)
    assert sum(n for n in sentences.values() if n > 5) < 0.1 * total
    assert len(sentences) > 0.6 * total


def test_a_month_stays_small_in_memory() -> None:
    world = World(3, STARTS[0])
    truth = Truth(world)
    for day in range(0, 30, 3):
        at = world.start + timedelta(days=day)
        assert sum(1 for _ in world.items(at, at + timedelta(days=1))) > 300
        assert world.days_held <= 12
    questions = truth.questions(world.start + timedelta(days=30))
    assert any(q.topic == "ferry.state" and q.answerable for q in questions)
    assert world.days_held <= 12


def test_polls_come_after_publication_and_soon(world: World) -> None:
    for item in past(world):
        wait = observed_at(item, item.published_at) - item.published_at
        assert timedelta(0) < wait <= timedelta(seconds=30)


def test_the_description_says_what_is_true_and_what_changed(world: World) -> None:
    text = describe(world, world.start)
    assert "nothing here is news" in text
    assert re.search(r"Is the Mill Bridge open\? +fully open again", text)
    assert "In which year was the Mill Bridge built?" in text.split("Never told")[1]
    before = describe(world, world.start - timedelta(hours=1))
    assert "What was the final score" in before.split("Not known")[1]
    later = describe(world, world.start + timedelta(days=3))
    assert "Is the ferry to Gull Island running?" in later


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-2d5h10m", datetime(2026, 11, 20, 9, 50, tzinfo=UTC)),
        ("shut+12m", datetime(2026, 11, 1, 0, 12, tzinfo=UTC)),
        ("shut", datetime(2026, 11, 1, tzinfo=UTC)),
        ("day-2 19:30", datetime(2026, 11, 20, 19, 30, tzinfo=UTC)),
        ("day+1 00:00", datetime(2026, 11, 23, tzinfo=UTC)),
    ],
)
def test_moments_of_scripts(text: str, expected: datetime) -> None:
    assert moment(text, STARTS[0], {"shut": datetime(2026, 11, 1, tzinfo=UTC)}) == expected


@pytest.mark.parametrize("text", ["", "5m", "day-2", "-2x", "-1h or so"])
def test_other_moments_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no moment"):
        moment(text, STARTS[0], {})


def test_moments_are_told_as_seen_from_the_time_of_writing() -> None:
    at = datetime(2026, 11, 21, 9, 5, tzinfo=UTC)
    assert f"{Moment(at, STARTS[0]):rel}" == "yesterday"
    assert f"{Moment(at, at):rel} {Moment(at, at):clock}" == "today 09:05"
    assert f"{Moment(at, STARTS[0] + timedelta(days=2)):relde}" == "am Samstag"
    assert f"{Moment(at, STARTS[0]):date}, {Moment(at, STARTS[0]):datede}" == (
        "21 November, 21. November"
    )
    assert re.search(f"{Moment(at, at):re}", "until November 21, daily")


@given(st.integers(0, 10_000_000))
def test_a_number_is_recognised_in_both_languages(value: int) -> None:
    number = Number(value)
    pattern = f"{number:re}"
    for text in (f"{number:en}", f"{number:de}", str(value)):
        assert re.search(pattern, f"It was {text}.")
    assert not re.search(pattern, f"It was 9{value} or {value}1.")


@given(st.text("ab|[] ", max_size=40), st.text(max_size=5))
def test_choices_always_end(text: str, place: str) -> None:
    assert not re.search(r"\[[^\[\]]*\|[^\[\]]*\]", choose(text, place))
