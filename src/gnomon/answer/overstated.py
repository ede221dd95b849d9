"""What a claim makes of its source's words: more certain, more of them, or the other way round.

Rules on what the share of words cannot tell. They can only lower a verdict, and they look at
sentences that somebody phrased: a quotation is what it is.
"""

# ruff: noqa: SIM905 - a list of words reads best as one text

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from gnomon.answer import facts
from gnomon.answer.words import Word, content, fold, words

_MODALS = frozenset(
    fold(w)
    for w in "may might could would should if threaten threatened threatens plan plans planned "
    "consider considers considered considering propose proposed wants wanted tried try "
    "könnte könnten dürfte würde würden soll sollen sollte wolle wenn plant "
    "pourrait pourraient devrait aurait si podría podrían debería habría poderia deveria".split()
)
"""Words before a verb that leave open whether it was done."""
_HEARSAY = frozenset(
    fold(w)
    for w in "rumour rumours rumor rumors rumoured rumored allegedly alleged reportedly "
    "unconfirmed supposedly purportedly false falsely untrue hoax denied denies deny "
    "angeblich mutmaßlich gerücht gerüchte falsch prétendument rumeur rumeurs faux "
    "supuestamente presuntamente rumores falso falsa".split()
)
"""Words anywhere in a sentence that leave open whether it is so, or say that it is not."""
_WHOLE = frozenset(
    fold(w)
    for w in "all every each only always everyone everybody alle alles jeder jede jedes nur immer "
    "tous toutes chaque seulement uniquement todos todas cada solo sólo solamente únicamente "
    "siempre".split()
)
_BOUNDS = (
    ("more", re.compile(r"(?:more than|over|above|at least|exceed\w*|no fewer than|upwards of|mehr "
                        r"als|über|mindestens|plus de|au moins|más de|al menos)\s+\W?$")),
    ("less", re.compile(r"(?:less than|fewer than|under|below|at most|up to|nearly|almost|weniger "
                        r"als|unter|höchstens|bis zu|fast|knapp|moins de|au plus|jusqu'à|presque|"
                        r"menos de|hasta|casi)\s+\W?$")),
)  # fmt: skip
_BEFORE_CHARS = 24
_REACH = 5
"""Words behind a modal among which is the verb that it speaks of."""
_BETWEEN = frozenset("be been have has to not also soon even still the a".split())
_SCORE = re.compile(r"(?<![\d.,])(\d{1,4})\s?(?:to|[-–:]|zu|gegen|à|contra)\s?(\d{1,4})(?![\d.,])")
_BY = re.compile(
    r"\b(?:was|were|been|being|is|are|be|got)\s+(?:\w+ly\s+)?\w+(?:ed|en|n|t|d)\s+by\b",
    re.IGNORECASE,
)


def overstated(claim: str, best: str) -> list[str]:
    """In what `claim` says more than `best`, the sentence that it comes from."""
    mine, theirs = words(claim), words(best)
    said, found = ({fold(w.text) for w in side} for side in (mine, theirs))
    reasons = []
    if open_ := _left_open(mine, theirs, said):
        reasons.append(f"The cited words leave it open: “{open_}”.")
    if whole := sorted((said & _WHOLE) - found):
        reasons.append(f"The cited words do not say “{whole[0]}”.")
    return reasons + _bounds(claim, best)


def scores_turned(claim: str, quotes: str) -> list[str]:
    """Scores and votes of `claim` that stand only the other way round in `quotes`."""
    theirs = set(_SCORE.findall(quotes))
    return [
        f"It says {a} to {b} where the cited words say {b} to {a}."
        for a, b in _SCORE.findall(claim)
        if a != b and (a, b) not in theirs and (b, a) in theirs
    ]


def turned(claim: str, best: str) -> list[str]:
    """Who does something to whom, or what to what, where `best` tells it the other way round."""
    mine, theirs = _told(claim), _told(best)
    passive = bool(_BY.search(claim)) != bool(_BY.search(best))
    places = {_base(key): i for i, (key, _) in reversed(list(enumerate(theirs)))}
    for (before, _), (verb, text), (after, _) in zip(mine, mine[1:], mine[2:], strict=False):
        at = places.get(_base(verb))
        if at is None or not 0 < at < len(theirs) - 1 or not (text.islower() and text.isalpha()):
            continue
        there = theirs[at - 1][0], theirs[at + 1][0]
        if before != after and there == ((before, after) if passive else (after, before)):
            return [f"What comes before and after “{text}” is the other way round there."]
    return []


def _told(text: str) -> list[tuple[str, str]]:
    """The content words, as compared and as they stand; a name is one of them."""
    names = facts.names(text)
    out: list[tuple[str, str]] = []
    for word in content(text):
        name = next((n for n in names if n.start <= word.start < n.end and n.stems), None)
        told = (name.stems[-1], name.text) if name else (word.stem, word.text)
        if not out or told != out[-1] or name is None:
            out.append(told)
    return out


def _base(stem: str) -> str:
    return stem.removesuffix("en")


def _left_open(mine: Sequence[Word], theirs: Sequence[Word], said: set[str]) -> str:
    """The word of the source that leaves open what is claimed; empty if the claim has one too."""
    if said & (_MODALS | _HEARSAY):
        return ""
    claimed = {w.stem for w in mine}
    for i, word in enumerate(theirs):
        folded = fold(word.text)
        if folded in _HEARSAY:
            return word.text
        if folded in _MODALS:
            acts = next(
                (w for w in theirs[i + 1 : i + _REACH] if fold(w.text) not in _BETWEEN), None
            )
            if acts is not None and acts.stem in claimed and acts.text.islower():
                return word.text
    return ""


def _bounds(claim: str, best: str) -> list[str]:
    theirs = facts.numbers(best)
    reasons = []
    for number in facts.numbers(claim):
        same = [t for t in theirs if math.isclose(t.value, number.value, rel_tol=1e-9)]
        ways = {_bound(best, t.start) for t in same}
        if same and _bound(claim, number.start) not in ways:
            reasons.append(f"Whether it is {number.text}, or more or less, is told otherwise.")
    return reasons


def _bound(text: str, start: int) -> str:
    before = text[max(0, start - _BEFORE_CHARS) : start].lower()
    return next((way for way, pattern in _BOUNDS if pattern.search(before)), "")
