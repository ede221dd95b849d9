"""How a sentence stands among everything that was read: who else says it, who says otherwise.

A statement that another excludes is either out of date or disputed. It is out of date where the
matter may have changed in between, where the same source corrects itself, or where the newer one
calls itself a correction. Else two reliable origins disagree, and a reader sees both.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from gnomon.answer import facts
from gnomon.answer.base import Draft, Plan
from gnomon.answer.check import disagrees
from gnomon.answer.corrections import corrected
from gnomon.answer.instructions import addresses_machine, asks
from gnomon.answer.layout import block_at
from gnomon.answer.reliability import trusted
from gnomon.answer.text import Span, sentences
from gnomon.answer.words import stems
from gnomon.clock import in_utc, in_words
from gnomon.types import Citation, Document, Passage, Superseded

_SAYS_SAME = 0.6
_SAYS_IT_ALL = 0.6
"""Who says "closed" does not say "closed until spring", unless both tell one number or time."""
_SPEAKS_OF_IT = 0.5
_AT_ONCE = timedelta(minutes=30)
"""Two reports of a state that changes quickly exclude each other only within this time."""
_AT_ABOUT_ONCE = timedelta(days=1)
"""The same for figures and names, which rarely change within it."""
_HEARSAY = re.compile(
    r"\b(?:reportedly|allegedly|rumou?rs?|rumou?red|unconfirmed|i heard|apparently|supposedly|"
    r"someone said|not confirmed|believed|believes|is said to|people say|angeblich|selon la rumeur|"
    r"al parecer|supuestamente)\b",
    re.IGNORECASE,
)
_CORRECTS = re.compile(r"\b(?:correct(?:ion|ed|s)|clarif|retract|berichtig|update)", re.IGNORECASE)

Relation = Literal["same", "replaced", "replaces", "disputes"]


class Statement(msgspec.Struct, frozen=True):
    """A sentence of a passage, ready to be compared."""

    passage: int
    span: Span
    text: str
    stems: frozenset[str]
    document: Document
    origin: str
    time: datetime
    reliable: bool


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What the other statements mean for one sentence."""

    origins: int = 1
    also: tuple[str, ...] = ()
    replaced_by: Statement | None = None
    replaced: Statement | None = None
    """The latest statement that this sentence took the place of."""
    rival: Statement | None = None
    """The most reliable statement that disputes it."""


class Others:
    """All that was read, sentence by sentence; computed once for an answer."""

    def __init__(self, plan: Plan, passages: Sequence[Passage]) -> None:
        """Statements of `passages`, about the matter of `plan`."""
        self._plan = plan
        self._passages = passages
        self._topic = frozenset(plan.terms)
        self._all = [s for i, p in enumerate(passages) for s in _statements(i, p)]

    def standing(self, text: str, cited: Sequence[int]) -> Standing:
        """How the sentence `text`, which rests on the passages numbered `cited`, stands."""
        mine = [self._passages[i] for i in dict.fromkeys(cited)]
        if not mine:
            return Standing()
        own_origins = {p.origin or p.document.key for p in mine}
        newest = max(mine, key=lambda p: _when(p.document)).document
        me = Statement(
            -1, Span(0, 0), text, frozenset(stems(text)), newest, "",
            _when(newest), all(_reliable(p, text) for p in mine),
        )  # fmt: skip
        same: dict[str, str] = {}
        found: dict[Relation, list[Statement]] = {"replaces": [], "replaced": [], "disputes": []}
        for other in self._all:
            if not other.stems or other.document is newest:
                continue
            relation = self._relation(me, other)
            if relation == "same" and other.origin not in own_origins:
                same.setdefault(other.origin, other.document.source)
            elif relation and relation != "same" and other.reliable:
                found[relation].append(other)
        return Standing(
            origins=len(own_origins) + len(same),
            also=tuple(dict.fromkeys(same.values())),
            replaced_by=max(found["replaces"], key=_time, default=None),
            replaced=max(found["replaced"], key=_time, default=None),
            rival=max(found["disputes"], key=_time, default=None) if me.reliable else None,
        )

    def draft(self, statement: Statement) -> Draft:
        """`statement`, quoted as it stands in its source."""
        span = statement.span
        return Draft(
            text=" ".join(statement.text.split()),
            spans=((statement.passage, span.start, span.end),),
        )

    def _relation(self, me: Statement, other: Statement) -> Relation | None:
        shared = me.stems & other.stems
        alike = len(shared) / (min(len(me.stems), len(other.stems)) or 1)
        # One word of the question in common is not yet the same matter: a fire brigade has many.
        if alike < _SPEAKS_OF_IT or len(shared & self._topic) < len(self._topic) / 2:
            return None
        excluded = disagrees(me.text, other.text) or (
            self._plan.expects == "person" and _other_name(me.text, other.text)
        )
        if not excluded:
            own = me.stems - {s for n in facts.names(me.text) for s in n.stems}
            said = len(shared & own) >= _SAYS_IT_ALL * len(own) or _one_fact(me.text, other.text)
            same = alike >= _SAYS_SAME and said and _same_facts(me.text, other.text)
            return "same" if same else None
        if corrected(me.document, me.text, other.document, other.text, other.time):
            return "replaced"
        if corrected(other.document, other.text, me.document, me.text, me.time):
            return "replaces"
        older, newer = sorted((me, other), key=_time)
        if self._out_of_date(older, newer):
            return "replaced" if other is older else "replaces"
        return "disputes" if older.document.source != newer.document.source else None

    def _out_of_date(self, older: Statement, newer: Statement) -> bool:
        apart = newer.time - older.time
        if not apart:
            return False
        if older.document.source == newer.document.source or _CORRECTS.search(newer.text):
            return True
        quick = self._plan.state and not facts.numbers(older.text)
        return apart > (_AT_ONCE if quick else _AT_ABOUT_ONCE)


def told(one: str, cited: Citation, other: str, rival: Citation) -> str:
    """A disagreement in a sentence, with sources and times."""
    return (
        f"Sources disagree: {_site(cited)} ({_stamp(cited)}) says “{_cut(one)}”, "
        f"{_site(rival)} ({_stamp(rival)}) says “{_cut(other)}”."
    )


def was(superseded: Superseded) -> str:
    """A replaced statement in a sentence: was …, until …"""
    c = superseded.citation
    return (
        f"Until {in_utc(superseded.until)} it was: “{_cut(superseded.text)}” "
        f"({_site(c)}, {_stamp(c)})."
    )


def outdated(sentence: str, until: datetime) -> str:
    """That a sentence of the answer no longer stands."""
    return f"“{_cut(sentence)}” stood until {in_utc(until)}: a newer report says otherwise."


def _statements(index: int, passage: Passage) -> list[Statement]:
    out = []
    origin = passage.origin or passage.document.key
    for span in sentences(passage.text):
        text = passage.text[span.start : span.end]
        if asks(text) or addresses_machine(text, orders=False):
            continue
        laid_out = block_at(passage.document.text, passage.start + span.start)
        if laid_out is not None and laid_out.kind == "table":
            continue  # two rows with other figures speak of two things
        out.append(
            Statement(
                index, span, text, frozenset(stems(text)), passage.document, origin,
                _when(passage.document), _reliable(passage, text),
            )
        )  # fmt: skip
    return out


def _reliable(passage: Passage, text: str) -> bool:
    """No hearsay, and no lone post: only such a statement can dispute or replace another."""
    if _HEARSAY.search(text):
        return False
    return trusted(passage)


def _same_facts(one: str, other: str) -> bool:
    mine, theirs = ({n.value for n in facts.numbers(t)} for t in (one, other))
    return not mine or not theirs or bool(mine & theirs)


def _one_fact(one: str, other: str) -> bool:
    """Whether both tell the same number or time."""
    if {n.value for n in facts.numbers(one)} & {n.value for n in facts.numbers(other)}:
        return True
    mine, theirs = ({p for m in facts.moments(t) for p in m.parts} for t in (one, other))
    return bool(mine & theirs)


def _other_name(one: str, other: str) -> bool:
    """Whether both tell the same of somebody else: who won, who was appointed."""
    mine, theirs = ({s for n in facts.names(t) for s in n.stems} for t in (one, other))
    if not (mine - theirs and theirs - mine):
        return False
    a, b = stems(one) - mine - theirs, stems(other) - mine - theirs
    return len(a & b) >= 2 and len(a & b) >= _SAYS_SAME * min(len(a), len(b))


def _when(document: Document) -> datetime:
    moment = document.published_at or document.observed_at
    if moment is None:  # the record stamps every version
        raise ValueError(f"{document.key} has no time")
    return moment


def _time(statement: Statement) -> datetime:
    return statement.time


def _site(citation: Citation) -> str:
    return citation.source or citation.key


def _stamp(citation: Citation) -> str:
    if citation.published_at is not None:
        return in_words(citation.published_at)
    return f"undated, first seen {in_utc(citation.observed_at)}" if citation.observed_at else "?"


def _cut(text: str) -> str:
    return text if len(text) <= 160 else text[:159].rstrip() + "…"
