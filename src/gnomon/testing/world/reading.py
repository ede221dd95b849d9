"""The town as something to learn from: pages of its outlets, and questions with their answers.

For training small models where no other text is at hand. English only, and without the hostile
items. A function of the seed: nothing here looks at a clock.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random

from gnomon.testing.world.model import OUTLETS
from gnomon.testing.world.truth import Truth, TruthQuestion
from gnomon.testing.world.world import World

START = datetime(2026, 1, 5, 12, tzinfo=UTC)
_PAGE_ITEMS = 8
_WAYS = (
    "{}",
    "Hello. {}",
    "Hello! {}",
    "Hi, {}",
    "Good morning. {}",
    "Please: {}",
    "{} Thank you.",
    "{} Please answer briefly.",
    "Tell me: {}",
    "Do you know this? {}",
    "One question. {}",
    "I wonder: {}",
    "{} I have to know.",
    "My neighbour asks: {}",
    "A visitor would like to know: {}",
    "Quick question: {}",
    "Sorry to bother you. {}",
    "I have been away. {}",
    "{} Any news?",
    "So, {}",
    "Once more: {}",
    "For the paper: {}",
    "Nobody could tell me. {}",
    "{} I am new in town.",
)


class TownText:
    """Quillhaven from a week before `START` until `days` after it."""

    def __init__(self, seed: int = 1, days: int = 21) -> None:
        self._seed = seed
        self._world = World(seed, START)
        self._until = START + timedelta(days=days)
        self._parts: dict[tuple[str, str], list[str]] = defaultdict(list)
        for item in self._world.items(self._world.begin, self._until):
            if OUTLETS[item.outlet].lang == "en" and not item.hostile:
                said = item.versions[-1]
                text = f"{said.title}\n{said.text}" if said.title else said.text
                self._parts[item.outlet, f"{item.published_at:%Y-%m-%d}"].append(text)

    def pages(self) -> Iterator[dict[str, str]]:
        """What an outlet published on a day, eight items a page, as rows of a corpus."""
        for (outlet, day), parts in self._parts.items():
            for first in range(0, len(parts), _PAGE_ITEMS):
                part = "\n\n".join(parts[first : first + _PAGE_ITEMS])
                yield {
                    "key": f"town:{outlet}:{day}:{first // _PAGE_ITEMS}",
                    "text": f"{OUTLETS[outlet].title}, {day}\n\n{part}",
                    "source": outlet,
                    "lang": "en",
                }

    def questions(self) -> list[TruthQuestion]:
        """Those about the told stories whose answer is known at the end, in English."""
        asked = Truth(self._world).questions(self._until)
        told = self._world.story_topics
        return [q for q in asked if q.answerable and q.says and q.topic in told]

    def talks(self) -> Iterator[dict[str, str]]:
        """Each question with its answer, asked in every way of `_WAYS`, in a drawn order."""
        asked = [(question, way) for question in self.questions() for way in _WAYS]
        Random(self._seed).shuffle(asked)
        for number, (question, way) in enumerate(asked):
            answer = question.says[0].upper() + question.says[1:]
            yield {
                "key": f"town:talk:{number}",
                "text": f"User: {way.format(question.text)} Assistant: {answer}.",
                "source": "talk",
                "lang": "en",
            }
