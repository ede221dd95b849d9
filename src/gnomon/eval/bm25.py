"""BM25 as textbooks have it: what every ranking here is measured against.

The constants are those of published figures: k1 1.5, b 0.75, words of two letters and more, English
stop words left out, no stemming.
"""

# ruff: noqa: SIM905 - a list of words reads best as one text

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping

from gnomon.answer.text import passages

_STOP = frozenset(
    "a an and are as at be but by for if in into is it no not of on or such that the their then "
    "there these they this to was will with".split()
)


class PlainBM25:
    """Over texts by key."""

    def __init__(self, texts: Mapping[str, str], *, k1: float = 1.5, b: float = 0.75) -> None:
        """Count the words once."""
        self._postings: dict[str, list[tuple[str, float]]] = defaultdict(list)
        counts = {key: Counter(_terms(text)) for key, text in texts.items()}
        mean = sum(sum(c.values()) for c in counts.values()) / max(1, len(counts))
        for key, count in counts.items():
            length = k1 * (1 - b + b * sum(count.values()) / mean)
            for term, n in count.items():
                self._postings[term].append((key, n * (k1 + 1) / (n + length)))
        self._count = len(texts)

    def rank(
        self, text: str, limit: int, admits: Callable[[str], bool] = lambda key: True
    ) -> list[str]:
        """Keys that are admitted, best first."""
        scores: dict[str, float] = defaultdict(float)
        for term in _terms(text):
            found = self._postings.get(term, ())
            idf = math.log(1 + (self._count - len(found) + 0.5) / (len(found) + 0.5))
            for key, weight in found:
                scores[key] += idf * weight
        ranking = sorted(filter(admits, scores), key=lambda key: (-scores[key], key))
        return ranking[:limit]


def cut(texts: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """(title, text) by key as passages by `key#n`, each under its title, as answers read them."""
    return {
        f"{key}#{n}": f"{title}\n{text[span.start : span.end]}"
        for key, (title, text) in texts.items()
        for n, span in enumerate(passages(text))
    }


def _terms(text: str) -> list[str]:
    return [w for w in re.findall(r"[a-z0-9]{2,}", text.lower()) if w not in _STOP]
