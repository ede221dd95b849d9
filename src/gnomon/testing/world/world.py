"""The town and its time: every item that is published and every fact that is true, for a seed.

The told stories lie around the start; others follow without end (`chronicle`). Daily life is made
a day at a time and forgotten again: a month of the world takes a few megabytes, not hundreds.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator
from datetime import datetime, timedelta
from heapq import merge

from gnomon.testing.world import daily
from gnomon.testing.world.chronicle import Chronicle
from gnomon.testing.world.model import OUTLETS, Fact, Item, Topic
from gnomon.testing.world.script import Nothing, load

HISTORY = timedelta(days=7)
POLL_S = 30.0
"""How far apart the polls lie that history is imagined to have come by."""
_KEPT_DAYS = 12


class World:
    """Quillhaven as the seed wants it, told around `start` (aware)."""

    def __init__(self, seed: int, start: datetime, *, history: timedelta = HISTORY) -> None:
        if start.tzinfo is None:
            raise ValueError(f"The start of a world needs a time zone: {start.isoformat()}")
        self.seed = seed
        # Whole seconds, as feeds carry no more.
        self.start = start.replace(microsecond=0)
        self.begin = self.start - history
        script = load(seed, self.start)
        self._told = [item for item in script.items if item.published_at >= self.begin]
        self._told_at = [item.published_at for item in self._told]
        self._story_facts = script.facts
        self._story_topics = script.topics
        self.story_topics = frozenset(topic.id for topic in script.topics)
        self.nothings: tuple[Nothing, ...] = script.nothings
        self._chronicle = Chronicle(seed, self.start)
        self._days: OrderedDict[int, daily.Day] = OrderedDict()

    def items(self, since: datetime, until: datetime) -> Iterator[Item]:
        """Items first published in [`since`, `until`), in order."""
        told = self._told[bisect_left(self._told_at, since) : bisect_left(self._told_at, until)]
        followed = self._chronicle.items(since, until)
        yield from merge(told, followed, self.lived(since, until), key=_order)

    def told(self, until: datetime) -> list[Item]:
        """Items of the told stories and of all later storylines published before `until`."""
        told = self._told[: bisect_left(self._told_at, until)]
        return told + self._chronicle.items(self.start, until)

    def near_misses(self, at: datetime) -> list[Nothing]:
        """Questions about what is in the news by `at` that nothing in the world ever answers."""
        return [*self.nothings, *self._chronicle.nothings(at)]

    def lasts(self, topic: str) -> bool:
        """Whether what is known of `topic` stays of interest; daily life is only of today."""
        return topic in self.story_topics or self._chronicle.is_topic(topic)

    def lived(self, since: datetime, until: datetime) -> list[Item]:
        """Items of daily life published in [`since`, `until`), in order."""
        return sorted(
            (
                item
                for number in range(self._number(since - daily.SPILL), self._number(until) + 1)
                for item in self._day(number).items
                if since <= item.published_at < until
            ),
            key=_order,
        )

    def topics(self, at: datetime) -> list[Topic]:
        """What one can ask about at `at`: stories so far, and the life of the last two days."""
        topics = {topic.id: topic for topic in (*self._story_topics, *self._chronicle.topics(at))}
        for number in (self._number(at) - 1, self._number(at)):
            for topic in self._day(number).topics:
                if topic.questions:
                    topics[topic.id] = topic
        return list(topics.values())

    def facts(self, topic: str, at: datetime) -> list[Fact]:
        """What became true of `topic` up to `at`, in order; daily life only of the last days."""
        facts = [fact for fact in self._story_facts if fact.topic == topic]
        facts += self._chronicle.facts(topic, at)
        for number in range(self._number(at) - 2, self._number(at) + 1):
            facts += [fact for fact in self._day(number).facts if fact.topic == topic]
        return sorted((fact for fact in facts if fact.start <= at), key=lambda fact: fact.start)

    def true(self, topic: str, at: datetime) -> Fact | None:
        """What is true of `topic` at `at`, whether anybody knows it or not."""
        facts = self.facts(topic, at)
        return facts[-1] if facts else None

    @property
    def days_held(self) -> int:
        """How many days of daily life are in memory."""
        return len(self._days)

    def _number(self, at: datetime) -> int:
        return (at - self.start) // daily.DAY

    def _day(self, number: int) -> daily.Day:
        day = self._days.get(number)
        if day is None:
            if self.start + number * daily.DAY < self.begin:
                day = daily.Day(items=(), facts=(), topics=())
            else:
                day = daily.make(self.seed, self.start, number)
            self._days[number] = day
        self._days.move_to_end(number)
        while len(self._days) > _KEPT_DAYS:
            self._days.popitem(last=False)
        return day


def _order(item: Item) -> tuple[datetime, str]:
    return item.published_at, item.key


def observed_at(item: Item, moment: datetime) -> datetime:
    """The first poll of the item's outlet after `moment`, in the imagined history."""
    phase_s = OUTLETS[item.outlet].phase_s
    since_phase_s = moment.timestamp() - phase_s
    polls = int(since_phase_s // POLL_S) + 1
    return moment + timedelta(seconds=polls * POLL_S - since_phase_s)
