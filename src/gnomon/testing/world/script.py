"""The told stories: `stories/*.toml` with the names, numbers and moments of one world.

A file holds `[[story]]` tables: `times` (name → offset), `topic` tables with their values and
the patterns by which an answer is known, and `item` tables in the words of each outlet.
`nothing` tables are questions that no item ever answers. `[[more]]` tables add to a story what it
says, and how one asks for it, in other languages.
"""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec

from gnomon.testing.world.cast import draw
from gnomon.testing.world.model import OUTLETS, Fact, Item, Topic, Version
from gnomon.testing.world.moments import moment
from gnomon.testing.world.prose import fill, pattern, write

LONG_AGO = timedelta(days=3_650)


class Nothing(msgspec.Struct, frozen=True, kw_only=True):
    """A question that sounds like the news and that nothing in the world answers."""

    question: str
    absent: tuple[str, ...]
    """Patterns of which no item may hold any; the proof that there is no answer."""


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is told about one world."""

    items: tuple[Item, ...]
    """In order of publication."""
    facts: tuple[Fact, ...]
    topics: tuple[Topic, ...]
    nothings: tuple[Nothing, ...]


@cache
def _files() -> tuple[Mapping[str, Any], ...]:
    folder = files(__package__) / "stories"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".toml"))
    return tuple(tomllib.loads((folder / name).read_text("utf-8")) for name in names)


def load(seed: int, start: datetime) -> Script:
    """The stories of `seed`, told around `start`."""
    cast = draw(seed)
    items: list[Item] = []
    facts: list[Fact] = []
    topics: list[Topic] = []
    nothings: list[Nothing] = []
    more = {each["story"]: each for file in _files() for each in file.get("more", ())}
    for file in _files():
        for story in file.get("story", ()):
            named: dict[str, datetime] = {}
            for name, text in story.get("times", {}).items():
                named[name] = moment(text, start, named)
            values = {**cast, **named}
            told = _Story(story, more.get(story["name"], {}), values, named, start, seed)
            topics += told.topics()
            facts += told.facts()
            items += told.items()
        for nothing in file.get("nothing", ()):
            nothings.append(
                Nothing(
                    question=fill(nothing["question"], cast, start),
                    absent=tuple(pattern(a, cast, start) for a in nothing["absent"]),
                )
            )
    items.extend(copies(items, seed))
    items.sort(key=lambda item: (item.published_at, item.key))
    return Script(
        items=tuple(items), facts=tuple(facts), topics=tuple(topics), nothings=tuple(nothings)
    )


class _Story:
    """One story table, with the values that its words need."""

    def __init__(
        self,
        table: Mapping[str, Any],
        more: Mapping[str, Any],
        values: Mapping[str, Any],
        named: Mapping[str, datetime],
        start: datetime,
        seed: int,
    ) -> None:
        self._table = table
        self._more = more
        self._values = values
        self._named = named
        self._start = start
        self._seed = seed
        self._name: str = table["name"]

    def topics(self) -> Iterator[Topic]:
        for table in self._table.get("topic", ()):
            questions = (table["question"], *table.get("also", ()))
            asked = self._more.get("asked", {}).get(table["id"], {})
            yield Topic(
                id=table["id"],
                questions=tuple(fill(q, self._values, self._start) for q in questions),
                asked=tuple(
                    (lang, fill(q, self._values, self._start))
                    for lang, phrasings in asked.items()
                    for q in phrasings
                ),
            )

    def facts(self) -> Iterator[Fact]:
        for table in self._table.get("topic", ()):
            others = self._more.get("answers", {}).get(table["id"], {})
            for value in table["value"]:
                answers = (*value.get("answers", ()), *others.get(value["label"], ()))
                begins = self._at(value["from"]) if "from" in value else self._start - LONG_AGO
                yield Fact(
                    topic=table["id"],
                    label=value["label"],
                    says=fill(value["says"], self._values, begins),
                    answers=tuple(pattern(a, self._values, begins) for a in answers),
                    start=begins,
                )

    def items(self) -> Iterator[Item]:
        tables = (*self._table["item"], *self._more.get("item", ()))
        for number, table in enumerate(tables, 1):
            outlet = OUTLETS[table["outlet"]]
            id = f"{self._name}-{number}"
            place = f"{self._seed} {id}"
            versions = []
            state = dict(table)
            for change in ({}, *table.get("edit", ())):
                state |= change
                at = self._at(state["at"])
                title = write(state.get("title", ""), self._values, at, place)
                text = write(state["text"], self._values, at, place)
                html = fill(state["html"], self._values, at) if "html" in state else ""
                versions.append(
                    Version(
                        at=at,
                        title=title,
                        text=text,
                        html=html,
                        tells=tuple(state.get("tells", {}).items()),
                        reliable=state.get("reliable", outlet.reliable),
                    )
                )
            yield Item(
                outlet=outlet.name,
                id=id,
                versions=tuple(versions),
                author=fill(table.get("author", ""), self._values, self._start),
                ends_at=self._at(table["ends"]) if "ends" in table else None,
                ending=table.get("ending"),
                hostile=table.get("hostile", False),
            )

    def _at(self, text: str) -> datetime:
        return moment(text, self._start, self._named)


def copies(items: Sequence[Item], seed: int) -> Iterator[Item]:
    """What the aggregator makes of the newspaper: nearly the same words, somewhat later.

    It never looks back: an edit, a correction or a withdrawal of the original passes it by.
    """
    for item in items:
        rng = random.Random(f"{seed} copy {item.id}")
        if item.outlet != "herald" or item.ending or rng.random() > 0.6:
            continue
        first = item.versions[0]
        yield Item(
            outlet="digest",
            id=f"herald-{item.id}",
            author="Coastline Digest",
            copy_of=item.key,
            versions=(
                Version(
                    at=first.at + timedelta(seconds=rng.randrange(1_080, 3_000)),
                    title=first.title,
                    text=_retold(first.text, rng),
                    tells=first.tells,
                    reliable=False,
                ),
            ),
        )


def _retold(text: str, rng: random.Random) -> str:
    paragraphs = text.split("\n\n")
    paragraphs[0] = (
        f"{rng.choice(('QUILLHAVEN', 'Quillhaven (cd)', 'AVEREL COAST'))} – " + (paragraphs[0])
    )
    text = "\n\n".join(paragraphs)
    for word, other in (("said", "told the Herald"), ("about", "around"), ("children", "kids")):
        if rng.random() < 0.5:
            text = re.sub(rf"\b{word}\b", other, text, count=1)
    return text
