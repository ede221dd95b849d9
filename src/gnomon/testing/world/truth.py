"""What is true in the demo world, who could know it since when, and how to ask for it.

A question's right answer at T is the newest value that a reliable item had stated by T, as the
imagined polls saw it; what is true but unreported cannot be asked for. Where reliable items are
silent and only unreliable ones speak, nobody can be blamed, so that question is left out.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

import msgspec

from gnomon.testing.world.model import Fact, Item, Topic, Version
from gnomon.testing.world.world import World, observed_at

DAILY = timedelta(days=2)
"""How far back the items of daily life count."""
MEASURED = timedelta(hours=6)
"""A measurement older than this is no answer to a question about now."""


Trap: TypeAlias = Literal["", "stale", "rumour", "near_miss", "not_yet"]
"""`stale`: an earlier value is still to be found. `rumour`: so is a value that was never true.
`near_miss`: it sounds like the news, and nothing ever answers it. `not_yet`: it will be answered,
but nobody has said so."""


class TruthQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """A question, and what a right answer at that moment states."""

    text: str
    topic: str
    answerable: bool
    """False: no item says it, or none yet, or none any more; the right answer is to abstain."""
    answers: tuple[str, ...] = ()
    """Regular expressions, case ignored; a right answer matches at least one."""
    stale: tuple[str, ...] = ()
    """Patterns of values that were right before and are not now."""
    says: str = ""
    """The right value, in words."""
    since: datetime | None = None
    """When the first reliable item that states it could be seen."""
    supporting: tuple[str, ...] = ()
    """Keys of the items visible now that state it."""
    lang: str = "en"
    trap: Trap = ""
    """What makes it easy to fall for: see `Trap`."""
    valid_from: datetime | None = None
    """Since when the right value has been true, whether anybody knew or not."""
    valid_until: datetime | None = None
    """When it stops being true; None if nothing is known of an end by the moment asked for."""

    def right(self, answer: str) -> bool:
        """Whether `answer` states the right value."""
        return _matches(self.answers, answer)

    def outdated(self, answer: str) -> bool:
        """Whether `answer` states only what was right before."""
        return not self.right(answer) and _matches(self.stale, answer)


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One item's word on one fact, as seen from `since` on."""

    fact: Fact
    item: Item
    version: Version
    since: datetime


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """One fact from beginning to end, and how it became known."""

    fact: Fact
    until: datetime | None
    """When the topic's next value began; None if this one still held at the moment asked for."""
    known_at: datetime | None
    """When the first reliable item that states it could be seen; None if none could."""
    heard_at: datetime | None
    """When the first item of any kind could be seen."""
    knew: tuple[tuple[str, datetime], ...]
    """(outlet, since when it could be read there), earliest first."""
    supporting: tuple[str, ...]
    """Keys of the items that state it, in that order."""


class Truth:
    """The questions that one can put to a world, with the right answers."""

    def __init__(self, world: World) -> None:
        self.world = world

    def questions(self, at: datetime, langs: Sequence[str] = ("en",)) -> list[TruthQuestion]:
        """Every question at `at`: answerable ones, those not known yet, and near-misses.

        In those of `langs` that a question is known in; near-misses are asked in English.
        """
        spoken = self._spoken(at)
        asked: list[TruthQuestion] = []
        for topic in self.world.topics(at):
            asked += self._ask(topic, spoken.get(topic.id, []), at, langs)
        if "en" in langs:
            asked += [
                TruthQuestion(
                    text=nothing.question, topic="nothing", answerable=False, trap="near_miss"
                )
                for nothing in self.world.near_misses(at)
            ]
        return asked

    def known(self, topic: str, at: datetime) -> Report | None:
        """The newest value of `topic` that a reliable item had stated by `at`; None if none."""
        return _newest(self._reports(topic, self._spoken(at).get(topic, []), at))

    def reports(self, topic: str, at: datetime) -> list[Report]:
        """Everything visible at `at` that states a value of `topic`, right or outdated."""
        return self._reports(topic, self._spoken(at).get(topic, []), at)

    def spans(self, topic: str, at: datetime) -> list[Span]:
        """Everything that was true of `topic` up to `at`, with who knew it when."""
        facts = self.world.facts(topic, at)
        reports = self.reports(topic, at)
        ends = [fact.start for fact in facts]
        return [
            _span(fact, until, [r for r in reports if r.fact == fact])
            for fact, until in zip(facts, [*ends[1:], None], strict=False)
        ]

    def _ask(
        self, topic: Topic, items: list[Item], at: datetime, langs: Sequence[str]
    ) -> list[TruthQuestion]:
        reports = self._reports(topic.id, items, at)
        newest = _newest(reports)
        daily = not self.world.lasts(topic.id)
        if newest is None:
            if daily or any(_seen(item, at) for item in items):
                return []
            return [
                TruthQuestion(
                    text=text, topic=topic.id, answerable=False, lang=lang, trap="not_yet"
                )
                for lang, text in _phrasings(topic, langs)
            ]
        fact = newest.fact
        if daily and at - fact.start > MEASURED:
            return []
        telling = [report for report in reports if report.fact == fact]
        facts = self.world.facts(topic.id, at)
        before = [f for f in facts if f.start <= fact.start and f.label != fact.label]
        later = [f.start for f in facts if f.start > fact.start]
        mistaken = _mistaken(topic.id, items, at, {f.label for f in facts})
        trap: Trap = "rumour" if mistaken else "stale" if before else ""
        return [
            TruthQuestion(
                text=text,
                topic=topic.id,
                answerable=True,
                answers=fact.answers,
                stale=tuple(pattern for f in before for pattern in f.answers),
                says=fact.says,
                since=min(report.since for report in telling if report.version.reliable),
                supporting=tuple(report.item.key for report in telling),
                lang=lang,
                trap=trap,
                valid_from=fact.start,
                valid_until=min(later, default=None),
            )
            for lang, text in _phrasings(topic, langs)
        ]

    def _spoken(self, at: datetime) -> dict[str, list[Item]]:
        spoken: dict[str, list[Item]] = defaultdict(list)
        for item in self.world.told(at):
            for topic in dict.fromkeys(t for v in item.versions for t, _ in v.tells):
                spoken[topic].append(item)
        for item in self.world.lived(at - DAILY, at):
            for topic, _ in item.versions[0].tells:
                spoken[topic].append(item)
        return spoken

    def _reports(self, topic: str, items: list[Item], at: datetime) -> list[Report]:
        facts = self.world.facts(topic, at)
        reports = []
        for item in items:
            version = _seen(item, at)
            label = dict(version.tells).get(topic) if version else None
            if version is None or label is None:
                continue
            meant = [f for f in facts if f.label == label and f.start <= version.at]
            if meant:
                since = observed_at(item, version.at)
                reports.append(Report(fact=meant[-1], item=item, version=version, since=since))
        return reports


def _span(fact: Fact, until: datetime | None, reports: list[Report]) -> Span:
    reports = sorted(reports, key=lambda report: report.since)
    knew: dict[str, datetime] = {}
    for report in reports:
        knew.setdefault(report.item.outlet, report.since)
    return Span(
        fact=fact,
        until=until,
        known_at=min((r.since for r in reports if r.version.reliable), default=None),
        heard_at=min((r.since for r in reports), default=None),
        knew=tuple(knew.items()),
        supporting=tuple(report.item.key for report in reports),
    )


def _mistaken(topic: str, items: list[Item], at: datetime, labels: set[str]) -> bool:
    """Whether some item says of `topic` what was never true."""
    seen = [version for item in items if (version := _seen(item, at))]
    return any(t == topic and label not in labels for v in seen for t, label in v.tells)


def _phrasings(topic: Topic, langs: Sequence[str]) -> Iterator[tuple[str, str]]:
    every = (*(("en", text) for text in topic.questions), *topic.asked)
    return (each for each in every if each[0] in langs)


def _seen(item: Item, at: datetime) -> Version | None:
    """What the polls had seen of the item by `at`. What merely vanished is still remembered."""
    if item.ending == "tombstone" and item.ends_at and observed_at(item, item.ends_at) <= at:
        return None
    seen = [version for version in item.versions if observed_at(item, version.at) <= at]
    return seen[-1] if seen else None


def _newest(reports: list[Report]) -> Report | None:
    reliable = [report for report in reports if report.version.reliable]
    return max(reliable, key=lambda report: (report.fact.start, report.since), default=None)


def _matches(patterns: tuple[str, ...], text: str) -> bool:
    return any(re.search(pattern, text, re.IGNORECASE) for pattern in patterns)
