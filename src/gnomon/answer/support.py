"""How much of a claim the cited words carry, beyond what rules can compare.

A handful of signals in a logistic sum: shared words, and for each word of the claim how near the
nearest word of the cited sentences comes to it in context. `bench/fit_check.py` fits the weights on
claims made from the demo town's and our own texts; nothing here was fitted on what it is tested on.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from gnomon.answer import facts
from gnomon.answer.text import sentences
from gnomon.answer.words import content, words

Read: TypeAlias = Callable[
    [Sequence[str]], "Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]]"
]
"""For each text its unit vector and those of its words in context."""

_COMPARED_CHARS = 240
_WINDOWS_COMPARED = 2
_KEPT = 256
_MIN_CLAIM_WORDS = 4
_HOPELESS = 0.03
_SIGNS = frozenset(("percent", "dollar", "euro", "pound", "degre"))
"""Units that a source may write as a sign; whether the unit fits, the rule on numbers says."""
_JOINT = re.compile(
    r";\s+|,\s+(?:and|but|while|whereas|although|though|und|aber|während|et|mais|tandis que|y|pero|"
    r"mientras)\s+|\s+(?:while|whereas|although)\s+",
    re.IGNORECASE,
)


class Remembering:
    """A reader that reads each text once; one serves one answer."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._kept: dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]] = {}

    def __call__(
        self, texts: Sequence[str]
    ) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """As the reader itself."""
        unread = list(dict.fromkeys(t for t in texts if t not in self._kept))
        if len(self._kept) + len(unread) > _KEPT:
            self._kept.clear()
            unread = list(dict.fromkeys(texts))
        if unread:
            self._kept |= zip(unread, self._read(unread), strict=True)
        return [self._kept[t] for t in texts]


class Signals(msgspec.Struct, frozen=True):
    """What a verdict is computed from where no rule decides; each from 0 to 1."""

    covered: float
    """Share of the claim's content words that stand anywhere in the quotations."""
    near: float
    """The same for the one or two neighbouring sentences that hold most."""
    pairs: float
    """Share of neighbouring words of the claim that stand near each other there too."""
    meant: float = 0.0
    """Mean nearness of the claim's words to the nearest word in context; needs a model."""
    weakest: float = 0.0
    """The same for the quarter of the words that are worst off."""


WITH_MODEL = Signals(covered=1.25, near=1.25, pairs=1.2, meant=1.45, weakest=2.1)
WITH_MODEL_BIAS = -4.2
BY_WORDS = Signals(covered=2.95, near=2.9, pairs=2.4)
BY_WORDS_BIAS = -5.1


def claims(sentence: str) -> list[str]:
    """The statements that a sentence joins; the sentence itself if it makes one."""
    parts = [p.strip() for p in _JOINT.split(sentence) if p and p.strip()]
    out: list[str] = []
    for part in parts:
        if out and min(len(content(part)), len(content(out[-1]))) < _MIN_CLAIM_WORDS:
            return [sentence]
        out.append(part)
    return out or [sentence]


def signals(claim: str, quotes: str, near: Sequence[str], read: Read | None) -> Signals:
    """What speaks for `claim` in `quotes`, of which `near` are the nearest sentences."""
    wanted = weights(claim)
    total = sum(wanted.values()) or 1.0
    found = stems_of(quotes)
    held = (sum(w for s, w in wanted.items() if s in stems_of(window)) for window in near)
    by_words = Signals(
        covered=sum(w for s, w in wanted.items() if s in found) / total,
        near=max(held, default=0.0) / total,
        pairs=_pairs_covered(claim, quotes),
    )
    if read is None or not near or probability(by_words, model=False) < _HOPELESS:
        return by_words
    meant, weakest = _meaning(claim, near[:_WINDOWS_COMPARED], read)
    return msgspec.structs.replace(by_words, meant=meant, weakest=weakest)


def probability(signals: Signals, *, model: bool) -> float:
    """0 to 1: how likely the claim is carried."""
    fitted, z = (WITH_MODEL, WITH_MODEL_BIAS) if model else (BY_WORDS, BY_WORDS_BIAS)
    z += sum(getattr(fitted, n) * getattr(signals, n) for n in Signals.__struct_fields__)
    return 1.0 / (1.0 + math.exp(-z))


def weights(sentence: str) -> dict[str, float]:
    """Content words with their weights: what names or counts something weighs more."""
    named = {s for n in facts.names(sentence) for s in n.stems}
    return {
        w.stem: 1.5 if w.stem in named or w.stem[0].isdigit() else 1.0
        for w in content(sentence)
        if w.stem not in _SIGNS
    }


def nearest(sentence: str, quotes: str, limit: int = 3) -> list[str]:
    """The windows of one or two sentences that carry most words of `sentence`, none in another."""
    wanted = weights(sentence)
    scored = [
        (sum(w for s, w in wanted.items() if s in held), -len(window), window)
        for window, held in _windows(quotes)
    ]
    scored.sort(key=lambda s: s[:2], reverse=True)
    chosen: list[str] = []
    for *_, window in scored:
        if not any(window in other or other in window for other in chosen):
            chosen.append(window)
        if len(chosen) == limit:
            break
    return chosen


@lru_cache(maxsize=512)
def stems_of(text: str) -> frozenset[str]:
    """Every word of `text` as it is compared."""
    return frozenset(w.stem for w in words(text))


def _meaning(claim: str, near: Sequence[str], read: Read) -> tuple[float, float]:
    (_, mine), *theirs = read([claim[:_COMPARED_CHARS], *(w[:_COMPARED_CHARS] for w in near)])
    held = [vectors for _, vectors in theirs if len(vectors)]
    if not len(mine) or not held:
        return 0.0, 0.0
    best = (mine @ np.concatenate(held).T).max(axis=1)
    worst = np.sort(best)[: max(1, len(best) // 4)]
    return float(best.mean()), float(worst.mean())


def _pairs_covered(sentence: str, quotes: str) -> float:
    mine = [w.stem for w in content(sentence) if w.stem not in _SIGNS]
    theirs = _content_stems(quotes)
    wanted = list(itertools.pairwise(mine))
    if not wanted:
        return 1.0
    places: dict[str, list[int]] = {}
    looked_for = set(mine)
    for i, s in enumerate(theirs):
        if s in looked_for:
            places.setdefault(s, []).append(i)
    return sum(_stand_near(places.get(a, ()), places.get(b, ())) for a, b in wanted) / len(wanted)


def _stand_near(one: Sequence[int], other: Sequence[int], reach: int = 3) -> bool:
    """Whether two ascending lists of places come within `reach` of each other."""
    i = j = 0
    while i < len(one) and j < len(other):
        if abs(one[i] - other[j]) <= reach:
            return True
        if one[i] < other[j]:
            i += 1
        else:
            j += 1
    return False


@lru_cache(maxsize=64)
def _content_stems(text: str) -> tuple[str, ...]:
    return tuple(w.stem for w in content(text))


@lru_cache(maxsize=64)
def _windows(quotes: str) -> tuple[tuple[str, frozenset[str]], ...]:
    """Every sentence and every two neighbouring ones, with their stems."""
    cut = sentences(quotes)
    held = [frozenset(w.stem for w in words(quotes[s.start : s.end])) for s in cut]
    runs = [(quotes[s.start : s.end], h) for s, h in zip(cut, held, strict=True)]
    for i, (one, other) in enumerate(pairwise(cut)):
        runs.append((quotes[one.start : other.end], held[i] | held[i + 1]))
    return tuple(runs)
