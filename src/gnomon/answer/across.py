"""The question's names, heard in text of another script: Макрон speaks for Macron.

Nothing is translated. A name of the question that is written otherwise in a passage counts as if it
stood there, for finding and ranking; what is quoted stays as it was written.
"""

from __future__ import annotations

from collections.abc import Sequence

from gnomon.answer.base import Plan
from gnomon.answer.text import Span
from gnomon.answer.words import stem
from gnomon.index import sounds
from gnomon.types import Passage

_READ_CHARS = 20_000


class Names:
    """The names of one question, by their sounds."""

    def __init__(self, asked: Plan) -> None:
        terms = set(asked.terms)
        self._by_key: dict[str, str] = {}
        for name in sounds.names_in(asked.search_text):
            if (term := stem(name)) in terms:
                for key in sounds.of_name(name):
                    self._by_key.setdefault(key, term)
        self._latin = any(not term.isascii() for term in self._by_key.values())

    def places(self, text: str) -> list[tuple[int, str]]:
        """Where names of the question are heard in the first 20,000 characters, and which."""
        if not self._by_key or (text.isascii() and not self._latin):
            return []
        found = []
        for at, word in sounds.words_with_sound(text[:_READ_CHARS], latin=self._latin):
            term = next((t for key in sounds.of_name(word) if (t := self._by_key.get(key))), None)
            # In its own script a name is compared as it is written.
            if term is not None and term.isascii() != word.isascii():
                found.append((at, term))
        return found

    def held(self, passage: Passage, cut: Sequence[Span]) -> list[frozenset[str]]:
        """For each sentence of a passage, the terms of the names that are heard in it."""
        heard = self.places(passage.text)
        return [frozenset(t for at, t in heard if s.start <= at < s.end) for s in cut]
