"""What happens in Quillhaven on any day, without end: ferry, traffic, weather, matches, chatter.

A day counts from the world's start and depends on nothing but seed and number, so any day can
be made at any time and forgotten again. Most of the past is thin, as an archive is; from a few
hours before the start on, something happens every two minutes or so.
"""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec

from gnomon.testing.world.model import OUTLETS, Fact, Item, Topic, Version
from gnomon.testing.world.moments import Moment
from gnomon.testing.world.script import copies
from gnomon.testing.world.talk import LANGS, grammar

DAY = timedelta(days=1)
DENSE = timedelta(hours=5)
"""How long before the start life begins at full speed."""
SPILL = timedelta(hours=2)
"""How long after its day something may still be published."""

_STREETS = (
    "Tanner's Row",
    "Candle Lane",
    "Orchard Hill",
    "Ropewalk Road",
    "Chapel Steps",
    "Mason Street",
    "Skipper's Way",
    "Gasworks Lane",
    "Almond Court",
    "Willow Bank",
    "Customs Street",
    "Quarry Road",
)
_SOMETIMES = ("noticeboard", "bote", "faro")
"""Who tells of a disruption only every other time."""
_PLACES = {"parking.harbour": "Harbour car park", "parking.station": "Station car park"}


class Day(msgspec.Struct, frozen=True, kw_only=True):
    """One day: its items in order of publication, and what was true."""

    items: tuple[Item, ...]
    facts: tuple[Fact, ...]
    topics: tuple[Topic, ...]


@cache
def _bank() -> Mapping[str, Any]:
    return tomllib.loads((files(__package__) / "daily.toml").read_text("utf-8"))


def make(seed: int, start: datetime, number: int) -> Day:
    """Day `number` after `start`; the last one before it is -1."""
    day = _Making(seed, start, number)
    day.ferry()
    if number >= 0:
        day.bridge()
    day.traffic()
    day.parking()
    day.weather()
    day.herring()
    day.matches()
    day.chatter()
    day.items += list(copies(day.items, seed))
    items = sorted(day.items, key=lambda item: (item.published_at, item.key))
    return Day(items=tuple(items), facts=tuple(day.facts), topics=tuple(dict.fromkeys(day.topics)))


class _Making:
    """A day while it is made."""

    def __init__(self, seed: int, start: datetime, number: int) -> None:
        self.items: list[Item] = []
        self.facts: list[Fact] = []
        self.topics: list[Topic] = []
        self._seed = seed
        self._number = number
        self._begin = start + number * DAY
        self._end = self._begin + DAY
        self._dense_from = max(self._begin, start - DENSE)
        self._serial = 0

    # -- the processes --------------------------------------------------------
    def ferry(self) -> None:
        self._disrupted(
            "ferry",
            Topic(
                id="ferry.state",
                questions=(
                    "Is the ferry to Gull Island running?",
                    "Can I get to Gull Island by ferry at the moment?",
                ),
            ),
            ("suspended", "running"),
            (
                (
                    r"suspended",
                    r"(not|no longer) run",
                    r"stopped running",
                    r"out of service",
                    r"interrupted",
                    r"stays in port",
                    r"no ferry",
                    r"eingestellt",
                    r"suspendido",
                    r"no circula",
                ),
                (
                    r"(runs|running|sails) again",
                    r"resumed",
                    r"taken up again",
                    r"back to the island",
                    r"(fährt|verkehrt|legt) wieder",
                    r"vuelve a navegar|circula de nuevo|ha reanudado",
                ),
            ),
            every_h=5,
            lasts_min=(25, 80),
        )

    def bridge(self) -> None:
        # The told story owns the bridge until well after the start.
        self._disrupted(
            "bridge",
            Topic(id="bridge.state", questions=()),
            ("closed", "open"),
            (
                (
                    r"Mill Bridge\b[^.]{0,40}\b(closed|shut|gesperrt|cerrado)",
                    r"temporary closure$",
                ),
                (
                    r"fully open",
                    r"open to all traffic",
                    r"both lanes",
                    r"closure (has )?ended",
                    r"wieder (in beiden|frei|für alle frei)",
                    r"abierto de nuevo",
                ),
            ),
            every_h=8,
            lasts_min=(12, 45),
            first=timedelta(hours=3),
        )

    def traffic(self) -> None:
        rng = self._rng("traffic")
        streets = rng.sample(_STREETS, len(_STREETS))
        for street, at in zip(streets, self._moments(rng, 100, thin=2), strict=False):
            topic = Topic(
                id=f"traffic.{street}",
                questions=(f"Is {street} blocked?", f"Can I drive through {street} right now?"),
            )
            self._trouble(
                "traffic",
                topic,
                ("blocked", "clear"),
                ((r"blocked", r"no way through"), (r"clear", r"passable", r"can use", r"is over")),
                at,
                timedelta(minutes=rng.randrange(20, 75)),
                {"street": street, "reason": rng.choice(_bank()["traffic"]["reason"])},
            )

    def parking(self) -> None:
        for topic_id, place in _PLACES.items():
            rng = self._rng(topic_id)
            for at in self._moments(rng, 42, thin=2):
                n = rng.randrange(4, 180)
                self._measure(
                    Topic(
                        id=topic_id,
                        questions=(f"How many spaces are free at the {place}?",),
                    ),
                    "parking",
                    "townhall",
                    at,
                    says=f"{n} spaces",
                    answers=(rf"\b{n}\b",),
                    values={"place": place, "n": n},
                )

    def weather(self) -> None:
        rng = self._rng("weather")
        season = rng.randrange(3, 14)
        for at in self._moments(rng, 60, thin=4):
            t = season + rng.randrange(-3, 4) + (2 if 9 <= at.hour < 18 else 0)
            self._measure(
                Topic(
                    id="weather.temperature",
                    questions=(
                        "What is the temperature at Lighthouse Point?",
                        "How many degrees is it at Lighthouse Point?",
                    ),
                ),
                "weather",
                "harbour",
                at,
                says=f"{t} degrees",
                answers=(rf"(?<![\d-]){t} degrees", rf"(?<![\d-]){t}\s?°"),
                values={
                    "t": t,
                    "w": rng.randrange(6, 58),
                    "sky": rng.choice(_bank()["weather"]["sky"]),
                    "wind": rng.choice(_bank()["weather"]["wind"]),
                },
            )

    def herring(self) -> None:
        rng = self._rng("herring")
        for at in self._moments(rng, 180, thin=1):
            p, q = (f"{rng.randrange(low, low + 3)}.{rng.randrange(10, 100)}" for low in (3, 7))
            self._measure(
                Topic(
                    id="herring.price",
                    questions=("How much does herring cost at the fish auction?",),
                ),
                "herring",
                rng.choice(("harbour", "harbour", "radio")),
                at,
                says=f"{p} crowns a kilo",
                answers=(re.escape(p),),
                values={"p": p, "q": q},
            )

    def matches(self) -> None:
        rng = self._rng("match")
        words = _bank()["match"]
        homes, aways = rng.sample(words["home"], 3), rng.sample(words["away"], 3)
        for home, away, begin in zip(homes, aways, self._moments(rng, 400, thin=1), strict=False):
            sport = rng.choice(words["sport"])
            a, b = rng.randrange(4, 12), rng.randrange(4, 12)
            x, y = a + rng.randrange(3, 12), b + rng.randrange(3, 12)
            if x == y:
                x += 1
            end = begin + timedelta(minutes=95)
            topic = Topic(
                id=f"match.{self._number}.{home}",
                questions=(f"How did {home} play against {away} in the {sport}?",),
            )
            values = {"home": home, "away": away, "sport": sport, "a": a, "b": b, "x": x, "y": y}
            label = f"{x}-{y}"
            self.topics.append(topic)
            self.facts.append(
                Fact(
                    topic=topic.id,
                    label=label,
                    says=label,
                    answers=(rf"\b{x}\s?[-–:]\s?{y}\b",),
                    start=end,
                )
            )
            self._say("match", "begin", "radio", begin + timedelta(minutes=2), values)
            self._say("match", "middle", "radio", begin + timedelta(minutes=48), values)
            told = ((topic.id, label),)
            self._say("match", "end", "radio", end + timedelta(minutes=3), values, told)

    def chatter(self) -> None:
        rng = self._rng("chatter")
        kinds = _bank()["chatter"]
        for at in self._moments(rng, 3, thin=14):
            # Citizens write twice as often as everybody else together.
            if rng.random() < 0.66:
                self._publish("noticeboard", at, "", "<post>", {})
            else:
                kind = rng.choice(kinds)
                self._publish(kind["outlet"], at, kind["title"], kind["text"], {})

    # -- how they are told ----------------------------------------------------
    def _disrupted(
        self,
        name: str,
        topic: Topic,
        labels: tuple[str, str],
        answers: tuple[Sequence[str], Sequence[str]],
        *,
        every_h: int,
        lasts_min: tuple[int, int],
        first: timedelta = timedelta(minutes=30),
    ) -> None:
        rng = self._rng(name)
        for at in self._moments(rng, every_h * 60, thin=1):
            if at < self._begin + first:
                continue
            span = timedelta(minutes=rng.randrange(*lasts_min))
            reason = rng.choice(_bank()[name]["reason"])
            self._trouble(name, topic, labels, answers, at, span, {"reason": reason})

    def _trouble(
        self,
        name: str,
        topic: Topic,
        labels: tuple[str, str],
        answers: tuple[Sequence[str], Sequence[str]],
        at: datetime,
        span: timedelta,
        values: Mapping[str, Any],
    ) -> None:
        """Something stops working at `at` and works again after `span`; both are reported."""
        self.topics.append(topic)
        for label, patterns, moment in zip(labels, answers, (at, at + span), strict=True):
            self.facts.append(
                Fact(
                    topic=topic.id,
                    label=label,
                    says=label,
                    answers=tuple(patterns),
                    start=moment,
                )
            )
            rng = self._rng(f"{topic.id} {label} {moment.isoformat()}")
            told = ((topic.id, label),)
            for outlet in _bank()[name][label]:
                if outlet in _SOMETIMES and rng.random() < 0.5:
                    continue
                delay = timedelta(minutes=rng.randrange(1, 9), seconds=rng.randrange(60))
                self._say(name, label, outlet, moment + delay, {**values, "from": moment}, told)

    def _measure(
        self,
        topic: Topic,
        name: str,
        outlet: str,
        at: datetime,
        *,
        says: str,
        answers: tuple[str, ...],
        values: Mapping[str, Any],
    ) -> None:
        label = f"{says} at {at:%H:%M:%S}"
        self.topics.append(topic)
        self.facts.append(Fact(topic=topic.id, label=label, says=says, answers=answers, start=at))
        bank = _bank()[name]
        title, text = self._rng(f"{name} {label}").choice(bank[outlet])
        self._publish(
            outlet,
            at + timedelta(minutes=1),
            title,
            text,
            {**values, "from": at},
            ((topic.id, label),),
        )

    def _say(
        self,
        name: str,
        label: str,
        outlet: str,
        at: datetime,
        values: Mapping[str, Any],
        tells: tuple[tuple[str, str], ...] = (),
    ) -> None:
        bank = _bank()[name][label]
        options = bank[outlet] if isinstance(bank, Mapping) else bank
        rng = self._rng(f"{name} {label} {outlet} {at.isoformat()}")
        title, text = rng.choice(options)
        self._publish(outlet, at, title, text, values, tells)

    def _publish(
        self,
        outlet: str,
        at: datetime,
        title: str,
        text: str,
        values: Mapping[str, Any],
        tells: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self._serial += 1
        id = f"d{self._number}-{self._serial}"
        rng = self._rng(f"item {id}")
        lang = OUTLETS[outlet].lang
        known = {
            name: Moment(value, at)
            if isinstance(value, datetime)
            else value[LANGS.index(lang)]
            if isinstance(value, list)
            else value
            for name, value in values.items()
        }
        words = grammar(lang)
        author = {"noticeboard": "<handle>", "herald": "<person>"}.get(outlet)
        self.items.append(
            Item(
                outlet=outlet,
                id=id,
                author=grammar("en").expand(author, rng, {}) if author else "",
                versions=(
                    Version(
                        at=at,
                        title=words.expand(title, rng, known),
                        text=words.expand(text, rng, known),
                        tells=tells,
                        reliable=OUTLETS[outlet].reliable,
                    ),
                ),
            )
        )

    # -- chance ---------------------------------------------------------------
    def _moments(self, rng: random.Random, every_min: int, *, thin: int) -> list[datetime]:
        """When something happens: about `every_min` apart in dense times, `thin` a day before."""
        moments = []
        if self._dense_from > self._begin:
            span_s = (self._dense_from - self._begin).total_seconds()
            share = min(span_s / DAY.total_seconds(), 1.0)
            for part in range(round(thin * share)):
                offset_s = span_s * (part + rng.uniform(0.1, 0.9)) / max(round(thin * share), 1)
                moments.append(self._begin + timedelta(seconds=int(offset_s)))
        at = self._dense_from
        while at < self._end:
            at += timedelta(seconds=int(every_min * 60 * rng.uniform(0.4, 1.6)))
            moments.append(at)
        return [at for at in moments if at < self._end]

    def _rng(self, name: str) -> random.Random:
        return random.Random(f"{self._seed} {self._number} {name}")
