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
_ARTICLE_CHARS = (250, 600)


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
        """An article, a question and its answer: every article once, the questions in turn."""
        low, high = _ARTICLE_CHARS
        articles = [p for parts in self._parts.values() for p in parts if low <= len(p) <= high]
        Random(self._seed).shuffle(articles)
        questions = self.questions()
        for number, article in enumerate(articles):
            question = questions[number % len(questions)]
            answer = question.says[0].upper() + question.says[1:]
            yield {
                "key": f"town:talk:{number}",
                "text": f"{article}\n\nUser: {question.text} Assistant: {answer}.",
                "source": "talk",
                "lang": "en",
            }
