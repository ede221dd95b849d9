"""Storylines without end: closures, votes, storms, matches, reports, rumours, and how they end.

A storyline depends on nothing but the seed, its line and its number, so any stretch of the future
can be made at any time. What was made is kept: about 20 items and 8 KB for each storyline.
"""

from __future__ import annotations

import random
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec

from gnomon.testing.world.model import OUTLETS, Fact, Item, Topic, Version
from gnomon.testing.world.moments import Decimal, Moment, Number
from gnomon.testing.world.prose import fill, pattern
from gnomon.testing.world.script import Nothing, copies
from gnomon.testing.world.talk import LANGS, grammar

SPAN = timedelta(days=10)
"""No storyline lasts longer, its last report included."""
_FIRST = timedelta(minutes=40)
"""How long after the start of a world the first one begins."""
_EDITED, _VANISHED = 0.2, 0.12
"""Shares of newspaper articles that grow, and of citizens' posts that disappear."""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """One storyline: what is published, what is true, and how one asks."""

    begin: datetime
    items: tuple[Item, ...]
    facts: tuple[Fact, ...]
    topics: tuple[Topic, ...]
    nothings: tuple[Nothing, ...]


@cache
def _lines() -> tuple[Sequence[Mapping[str, Any]], Sequence[str]]:
    table = tomllib.loads((files(__package__) / "chronicle.toml").read_text("utf-8"))
    return table["line"], table["last"]


class Chronicle:
    """All storylines of one world, made as far as somebody has looked."""

    def __init__(self, seed: int, start: datetime) -> None:
        self._seed = seed
        self._start = start
        self._made: dict[str, list[Told]] = defaultdict(list)
        self._until = start
        self._items: list[Item] = []
        self._facts: dict[str, list[Fact]] = defaultdict(list)
        self._topics: dict[str, tuple[datetime, Topic]] = {}
        self._nothings: list[tuple[datetime, Nothing]] = []

    def items(self, since: datetime, until: datetime) -> list[Item]:
        """Items first published in [`since`, `until`), in order."""
        self._make(until)
        return [item for item in self._items if since <= item.published_at < until]

    def facts(self, topic: str, until: datetime) -> list[Fact]:
        """What became true of `topic` up to `until`, in order."""
        self._make(until)
        return [fact for fact in self._facts.get(topic, ()) if fact.start <= until]

    def topics(self, until: datetime) -> list[Topic]:
        """What one can ask about because its storyline has begun by `until`."""
        self._make(until)
        # In order of beginning: how far storylines were made depends on who looked before.
        begun = sorted(self._topics.values(), key=lambda each: (each[0], each[1].id))
        return [topic for begin, topic in begun if begin <= until]

    def nothings(self, until: datetime) -> list[Nothing]:
        """Near-misses about storylines that have begun by `until`."""
        self._make(until)
        begun = sorted(self._nothings, key=lambda each: (each[0], each[1].question))
        return list({n.question: n for begin, n in begun if begin <= until}.values())

    def is_topic(self, topic: str) -> bool:
        """Whether some storyline made so far is about `topic`."""
        return topic in self._topics

    def _make(self, until: datetime) -> None:
        if until <= self._until:
            return
        # In steps, so that many short looks cost no more than one long one.
        until = max(until, self._until + timedelta(days=1))
        for line in _lines()[0]:
            made = self._made[line["id"]]
            every = timedelta(hours=line["every_h"])
            while (begin := self._begin(line, len(made))) < until:
                told = _Telling(line, self._seed, self._start, len(made), begin, every).told()
                made.append(told)
                self._items += told.items
                for fact in told.facts:
                    self._facts[fact.topic].append(fact)
                for topic in told.topics:
                    self._topics.setdefault(topic.id, (begin, topic))
                self._nothings += [(begin, nothing) for nothing in told.nothings]
        self._items.sort(key=lambda item: (item.published_at, item.key))
        for facts in self._facts.values():
            facts.sort(key=lambda fact: fact.start)
        self._until = until

    def _begin(self, line: Mapping[str, Any], number: int) -> datetime:
        rng = random.Random(f"{self._seed} {line['id']} begin {number}")
        every = timedelta(hours=line["every_h"])
        begin = self._start + _FIRST + (number + rng.uniform(0.0, 0.7)) * every
        return begin.replace(microsecond=0)


class _Telling:
    """One storyline while it is made."""

    def __init__(
        self,
        line: Mapping[str, Any],
        seed: int,
        start: datetime,
        number: int,
        begin: datetime,
        every: timedelta,
    ) -> None:
        self._line = line
        self._rng = random.Random(f"{seed} {line['id']} {number}")
        self._id = f"{line['id']}{number}"
        self._seed = seed
        self._begin = begin
        order = list(range(len(line["it"])))
        random.Random(f"{seed} {line['id']} order").shuffle(order)
        self._subject = order[number % len(order)]
        self._serial = 0
        drawn = _drawn(line, self._rng, begin)
        drawn["it"] = line["it"][self._subject]
        self._values = {lang: _in(drawn, lang) for lang in LANGS}

    def told(self) -> Told:
        line = self._line
        items: list[Item] = []
        facts: list[Fact] = []
        at = self._begin
        for step in line["step"]:
            low, high = step.get("after_min", (0, 0))
            at += timedelta(minutes=self._rng.uniform(low, high))
            at = at.replace(microsecond=0)
            begun = [self._fact(topic, label, at) for topic, label in step.get("true", {}).items()]
            facts += begun
            items += self._reports(step, at, begun)
            items += [self._wrong(wrong, at) for wrong in step.get("wrong", ())]
        items += copies(items, self._seed)
        return Told(
            begin=self._begin,
            items=tuple(items),
            facts=tuple(facts),
            topics=tuple(self._topic(table) for table in line.get("topic", ())),
            nothings=tuple(
                Nothing(
                    question=fill(table["en"], self._values["en"], self._begin),
                    absent=tuple(
                        pattern(a, self._values["en"], self._begin) for a in table["absent"]
                    ),
                )
                for table in line.get("near_miss", ())
            ),
        )

    def _topic_id(self, name: str) -> str:
        return f"{self._line['id']}.{self._subject}.{name}"

    def _topic(self, table: Mapping[str, Any]) -> Topic:
        return Topic(
            id=self._topic_id(table["id"]),
            questions=tuple(fill(q, self._values["en"], self._begin) for q in table["en"]),
            asked=tuple(
                (lang, fill(q, self._values[lang], self._begin))
                for lang in LANGS[1:]
                for q in table.get(lang, ())
            ),
        )

    def _fact(self, topic: str, label: str, at: datetime) -> Fact:
        value = next(v for v in self._line["value"] if (v["topic"], v["label"]) == (topic, label))
        values = self._values["en"]
        return Fact(
            topic=self._topic_id(topic),
            label=self._label(label),
            says=fill(value["says"], values, at),
            answers=tuple(pattern(a, values, at) for a in value["answers"]),
            start=at,
        )

    def _label(self, label: str) -> str:
        """The same value of another storyline about the same thing is another fact."""
        return f"{label} ({self._id})"

    def _reports(
        self, step: Mapping[str, Any], at: datetime, begun: Sequence[Fact]
    ) -> Iterator[Item]:
        for name, (low, high) in step["by"].items():
            outlet = OUTLETS[name]
            words = step[outlet.lang]
            when = at + timedelta(seconds=int(60 * self._rng.uniform(low, high)))
            if outlet.kind == "post":
                yield self._item(name, when, at, "", words["slang"], begun)
            elif name == "herald" and "corrects" in step:
                yield self._corrected(step["corrects"], words, when, at, begun)
            else:
                yield self._item(name, when, at, words["title"], words["text"], begun)

    def _item(
        self,
        outlet: str,
        when: datetime,
        at: datetime,
        title: str,
        text: str,
        begun: Sequence[Fact],
        *,
        ends: float | None = None,
    ) -> Item:
        rng = self._rng
        lang = OUTLETS[outlet].lang
        first = self._version(outlet, when, at, title, text)
        tells = _told_by(first, begun)
        first = msgspec.structs.replace(first, tells=tells)
        versions = [first]
        if outlet == "herald" and rng.random() < _EDITED:
            grown = grammar(lang).expand(f"{_escaped(first.text)} <quote>", rng, {})
            later = when + timedelta(minutes=rng.randrange(15, 240))
            versions.append(msgspec.structs.replace(first, at=later, text=grown))
        post = OUTLETS[outlet].kind == "post"
        vanishes = rng.random() < (_VANISHED if ends is None else ends) and post
        self._serial += 1
        author = {"post": "<handle>"}.get(OUTLETS[outlet].kind, "<person>" * (outlet == "herald"))
        return Item(
            outlet=outlet,
            id=f"{self._id}-{self._serial}",
            author=grammar("en").expand(author, rng, {}) if author else "",
            versions=tuple(versions),
            ends_at=when + timedelta(minutes=rng.randrange(30, 600)) if vanishes else None,
            ending="vanished" if vanishes else None,
        )

    def _version(
        self,
        outlet: str,
        when: datetime,
        at: datetime,
        title: str,
        text: str,
        **others: Any,
    ) -> Version:
        lang = OUTLETS[outlet].lang
        values = self._values[lang] | others
        seen = {
            name: Moment(value, when) if isinstance(value, datetime) else value
            for name, value in {**values, "from": at}.items()
        }
        words = grammar(lang)
        return Version(
            at=when,
            title=words.expand(title, self._rng, seen),
            text=words.expand(text, self._rng, seen),
            reliable=OUTLETS[outlet].reliable,
        )

    def _corrected(
        self,
        value: str,
        words: Mapping[str, str],
        when: datetime,
        at: datetime,
        begun: Sequence[Fact],
    ) -> Item:
        """An article with a wrong figure, put right an hour or three later."""
        values = self._values["en"]
        topic = self._topic_id(value)
        wrong = self._version(
            "herald",
            when,
            at,
            words["title"],
            words["text"],
            **{value: values[f"{value}_wrong"]},
        )
        right = wrong.text.replace(str(values[f"{value}_wrong"]), str(values[value]), 1)
        later = when + timedelta(minutes=self._rng.randrange(50, 200))
        note = f"\n\nCorrection, {later:%H:%M}: an earlier version gave a wrong figure."
        self._serial += 1
        return Item(
            outlet="herald",
            id=f"{self._id}-{self._serial}",
            author=grammar("en").expand("<person>", self._rng, {}),
            versions=(
                msgspec.structs.replace(
                    wrong, tells=(*_told_by(wrong, begun), (topic, "misprint")), reliable=False
                ),
                Version(
                    at=later,
                    title=wrong.title,
                    text=right + note,
                    tells=tuple((fact.topic, fact.label) for fact in begun),
                ),
            ),
        )

    def _wrong(self, table: Mapping[str, Any], at: datetime) -> Item:
        low, high = table["after_min"]
        when = at + timedelta(seconds=int(60 * self._rng.uniform(low, high)))
        tells = tuple((self._topic_id(t), label) for t, label in table["tells"].items())
        item = self._item(
            table["outlet"],
            when,
            at,
            table.get("title", ""),
            table["text"],
            (),
            ends=table.get("ends", 0.0),
        )
        versions = tuple(
            msgspec.structs.replace(v, tells=tells, reliable=False) for v in item.versions
        )
        return msgspec.structs.replace(item, versions=versions)


def _told_by(version: Version, begun: Sequence[Fact]) -> tuple[tuple[str, str], ...]:
    """Those of the new facts that the text really states; some say only half of it."""
    said = f"{version.title}\n{version.text}"
    return tuple(
        (fact.topic, fact.label)
        for fact in begun
        if any(re.search(pattern, said, re.IGNORECASE) for pattern in fact.answers)
    )


def _drawn(line: Mapping[str, Any], rng: random.Random, begin: datetime) -> dict[str, Any]:
    """The names, numbers and dates of one storyline; a list has one value for each language."""
    drawn: dict[str, Any] = {name: rng.choice(few) for name, few in line.get("draw", {}).items()}
    for name, (low, high) in line.get("number", {}).items():
        drawn[name] = rng.randrange(low, high)
    for name, (low, high) in line.get("decimal", {}).items():
        drawn[name] = Decimal(rng.randrange(low * 10 + 1, high * 10), 1)
        drawn[f"{name}_wrong"] = Decimal(drawn[name].scaled * 10, 1)
    firsts = rng.sample(grammar("en").words("first"), len(line.get("people", ())))
    lasts = rng.sample(_lines()[1], len(line.get("people", ())))
    for name, first, last in zip(line.get("people", ()), firsts, lasts, strict=True):
        drawn[name] = f"{first} {last}"
    if "split" in line:
        split = line["split"]
        ayes = rng.randrange(split["low"], split["high"])
        drawn[split["first"]], drawn[split["second"]] = ayes, split["total"] - ayes
        drawn[f"{split['first']}_wrong"] = ayes + 1
        drawn[f"{split['second']}_wrong"] = split["total"] - ayes - 1
    if "goals" in line:
        a, b = rng.choice(((1, 0), (0, 1), (1, 1), (2, 1), (1, 2)))
        drawn |= {"a": a, "b": b, "x": a + rng.randrange(1, 3), "y": b + rng.randrange(0, 3)}
    if "prices" in line:
        before = rng.randrange(31, 160)
        drawn |= {"before": Decimal(before, 1), "after": Decimal(before + rng.randrange(3, 19), 1)}
    if "growing" in line:
        one = rng.randrange(1_010, 4_000)
        two = one + rng.randrange(900, 4_000)
        drawn |= {"one": Number(one), "two": Number(two)}
        drawn["three"] = Number(two + rng.randrange(700, 6_000))
    for name, (low, high) in line.get("dates", {}).items():
        drawn[name] = begin + timedelta(days=rng.randrange(low, high))
    return drawn


def _in(drawn: Mapping[str, Any], lang: str) -> dict[str, Any]:
    number = LANGS.index(lang)
    return {
        name: value[number]
        if isinstance(value, list)
        else value.said_in(lang)
        if isinstance(value, Decimal)
        else value
        for name, value in drawn.items()
    }


def _escaped(text: str) -> str:
    """Finished prose holds none of the grammar's signs, and must not grow new ones."""
    return text.translate(str.maketrans("[]|{}<>", "()/()()"))
