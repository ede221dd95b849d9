"""Which of several statements stands: newer ones replace older ones, corrected words the copies of
what they correct, and of equals the latest leads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta

from gnomon.answer.base import Plan
from gnomon.answer.candidates import Candidate
from gnomon.answer.check import disagrees, kindred
from gnomon.answer.corrections import corrected
from gnomon.answer.words import negated
from gnomon.types import Passage

_COMPARED = 16
_RIVALS_FROM = 0.7
_OLDER = 0.7
_ONE_TURN = timedelta(hours=1)
_LONE = 0.9
"""What hearsay or a lone post weighs where a reliable origin tells as much."""
_AS_MUCH = 0.9
_HARDLY = 0.25
"""A lack of names so small is that of one which stands everywhere."""
_EQUALS = 0.93
_CORRECTS = re.compile(r"\b(?:correct(?:ion|ed|s)|clarif|retract|berichtig|update)", re.IGNORECASE)


def settled(ranked: list[Candidate], plan: Plan, passages: Sequence[Passage]) -> list[Candidate]:
    """Drop statements that a newer, reliable one replaces, and copies of what was corrected since.

    Only questions about how something stands have one answer at a time; and only statements
    that are both likely answers are compared.
    """
    if not ranked:
        return ranked
    ranked = _original(ranked, passages)
    floor = ranked[0].likelihood * 0.25
    rivals = [c for c in ranked if c.likelihood >= floor][:_COMPARED]
    replaced: set[int] = set()
    one_at_a_time = plan.state or plan.expects in ("number", "yes_no", "time", "person")
    for older in rivals if one_at_a_time else ():
        for newer in rivals:
            if newer.time > older.time and newer.reliable and _replaces(newer, older, plan):
                replaced.add(id(older))
        if any(
            other.reliable and not older.reliable and _replaces(other, older, plan)
            for other in rivals
        ):
            replaced.add(id(older))
    # What stands beside a replaced statement spoke of the same hour.
    gone = {(c.passage, c.time) for c in ranked if id(c) in replaced}
    return [c for c in ranked if (c.passage, c.time) not in gone]


def newest_first(ranked: list[Candidate], plan: Plan) -> list[Candidate]:
    """Of statements of a state that are about as likely, the newest reliable one leads."""
    if not ranked:
        return ranked
    if not plan.state:
        return _latest_of_equals(ranked)
    floor = ranked[0].likelihood * _RIVALS_FROM
    likely = [c for c in ranked if c.likelihood >= floor]
    # Where only lone posts speak, the newest of these leads.
    rivals = [c for c in likely if c.reliable] or likely
    most = max((c.signals.around for c in rivals), default=0.0) * _AS_MUCH
    fewest = min((c.signals.unnamed for c in rivals), default=0.0)
    rivals = [
        c for c in rivals if c.signals.around >= most and c.signals.unnamed <= fewest + _HARDLY
    ]
    newest = max((c.time for c in rivals), default=None)
    if newest is None:
        return ranked
    for c in ranked:
        # Reports of one hour tell the same turn of events: among these the plainest leads.
        if newest - c.time > _ONE_TURN:
            c.likelihood *= _OLDER
        if not c.reliable:
            c.likelihood *= _LONE
    ranked = sorted(ranked, key=lambda c: -c.likelihood)
    first = ranked[0]
    turned = [c for c in rivals if c.time > first.time and disagrees(c.text, first.text)]
    latest = max(turned, key=lambda c: c.time, default=first)
    if latest.likelihood < first.likelihood * _RIVALS_FROM:
        return ranked
    return [latest, *(c for c in ranked if c is not latest)]


def before_it_turned(c: Candidate, first: Candidate, plan: Plan) -> bool:
    """Whether `c` is older than the leading statement and says no where that says yes, or tells of
    a turn before the last."""
    if first.time - c.time <= _ONE_TURN:
        return False
    return plan.expects in ("yes_no", "text", "number") or negated(c.text) != negated(first.text)


def _original(ranked: list[Candidate], passages: Sequence[Passage]) -> list[Candidate]:
    """Without copies of what was corrected since: the corrected words stand in their place."""
    best = ranked[:_COMPARED]
    kept = list(ranked)
    for copy in best:
        there = passages[copy.passage].document
        for c in best:
            here = passages[c.passage].document
            if corrected(here, c.text, there, copy.text, copy.time):
                kept = [k for k in kept if k.passage != copy.passage]
                c.likelihood = max(c.likelihood, copy.likelihood)
                break
    return sorted(kept, key=lambda c: -c.likelihood)


def _latest_of_equals(ranked: list[Candidate]) -> list[Candidate]:
    """Of what is as likely as the first, the latest leads: who writes later knows more."""
    floor = ranked[0].likelihood * _EQUALS
    equals = [c for c in ranked if c.likelihood >= floor and c.reliable]
    latest = max(equals, key=lambda c: c.time, default=ranked[0])
    if latest.time - ranked[0].time <= _ONE_TURN:
        return ranked
    return [latest, *(c for c in ranked if c is not latest)]


def _replaces(newer: Candidate, older: Candidate, plan: Plan) -> bool:
    if newer.passage == older.passage or newer.likelihood < 0.5 * older.likelihood:
        return False
    if newer.signals.named < older.signals.named - _HARDLY:
        return False  # another team's score, another road's closure
    if not disagrees(newer.text, older.text):
        return False
    if newer.signals.typed < older.signals.typed:
        return False  # a new date says nothing of the cost
    # What was found at the bridge does not say whether it is open.
    states = {term for term in plan.terms if kindred(term)}
    if older.reliable and older.stems & states and not newer.stems & states:
        return False
    topic = set(plan.terms)
    shared = newer.stems & older.stems
    return len(shared & topic) >= max(1, min(2, len(topic))) or bool(_CORRECTS.search(newer.text))
