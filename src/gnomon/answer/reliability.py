"""How far a source is believed before it is read: an open prior, which the operator may set.

It counts in four places: a little in the order of passages, in whether a statement may replace or
dispute another, and against the sentences of a source that was set below what its kind has, and of
notices that a page was edited.
"""

from __future__ import annotations

from collections.abc import Mapping

from gnomon.types import RELIABILITY, Document, Passage

RELIABLE_FROM = 0.5
"""From here on one origin alone may replace or dispute what another says."""
_UNKNOWN = 0.5
_ORDER = 0.3
_DISTRUST = 0.5
"""What is left of a sentence's likelihood where its source is believed nothing."""
_NOTICE = 0.6
"""“Ada edited the page “Storm warning lifted””: whether it was lifted is told by the page."""


def of(document: Document, chosen: Mapping[str, float]) -> float:
    """The prior of a document: what was chosen for its source, else what its kind has."""
    found = chosen.get(document.source)
    return RELIABILITY.get(document.kind, _UNKNOWN) if found is None else found


def prior(passage: Passage) -> float:
    """The prior of a passage's source; that of its kind where none was set."""
    return of(passage.document, {}) if passage.reliability is None else passage.reliability


def trusted(passage: Passage) -> bool:
    """Whether it may replace or dispute others: reliable by itself, or told by several."""
    return prior(passage) >= RELIABLE_FROM or passage.copies > 1


def in_order(value: float) -> float:
    """The factor by which a passage stands higher or lower; 1 in the middle."""
    return 1.0 + _ORDER * (value - _UNKNOWN)


def left(passage: Passage) -> float:
    """What is left of a sentence's likelihood: all of it, unless its source was set down or it only
    tells that a page was changed."""
    usual = of(passage.document, {})
    below = max(0.0, usual - prior(passage)) / (usual or 1.0)
    kept = 1.0 - (1.0 - _DISTRUST) * below
    return kept * _NOTICE if passage.document.kind == "edit" else kept
