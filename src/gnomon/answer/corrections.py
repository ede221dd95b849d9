"""Copies that keep what their original has corrected since.

An agency takes over a report word for word; an hour later the paper moves the decimal point and the
agency does not. By their dates the copy is the newer one; what counts is when the words were last
looked at.
"""

from __future__ import annotations

import math
from datetime import datetime

from gnomon.answer import facts
from gnomon.answer.words import stems, words
from gnomon.types import Document

_IN_A_ROW = 5
"""So many words in the same order make one sentence a copy of the other."""
_OPENING_CHARS = 300


def corrected(original: Document, said: str, copy: Document, copied: str, at: datetime) -> bool:
    """Whether `copied`, published at `at`, repeats `said` with a number that `original` changed."""
    revised = original.updated_at
    if revised is None or revised <= at or original.version < 2 or original.key == copy.key:
        return False
    mine, theirs = facts.numbers(said), facts.numbers(copied)
    if not mine or len(mine) != len(theirs):
        return False
    if all(math.isclose(a.value, b.value) for a, b in zip(mine, theirs, strict=True)):
        return False
    if not _run(said) & _run(copied):
        return False
    named = {s for n in facts.names(original.text[:_OPENING_CHARS]) for s in n.stems}
    return named <= stems(copy.text)  # reports of two storms are alike but for the name


def _run(text: str) -> set[tuple[str, ...]]:
    """Its words, five at a time, whatever the numbers are."""
    found = ["#" if w.text[0].isdigit() else w.stem for w in words(text)]
    return {tuple(found[i : i + _IN_A_ROW]) for i in range(max(1, len(found) - _IN_A_ROW + 1))}
