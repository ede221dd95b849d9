"""How good an answer is, judged by the town's own truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum

import msgspec

from gnomon.testing.world.truth import TruthQuestion
from gnomon.types import Answer


class Outcome(StrEnum):
    """What an answer was worth."""

    RIGHT = "right"
    OUTDATED = "outdated"
    """It states what was right before."""
    WRONG = "wrong"
    """It states something else, or nothing to the point."""
    MISSED = "missed"
    """It abstained although somebody reliable had said it."""
    ABSTAINED = "abstained"
    """It rightly said that the evidence holds no answer."""
    INVENTED = "invented"
    """It answered what nobody had said."""


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """A question, the answer it got, and the judgement."""

    question: TruthQuestion
    answer: Answer
    outcome: Outcome
    leads: bool = False
    """Whether the first sentence alone states the right value."""


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """Shares over a set of judged answers, each between 0 and 1."""

    right: float
    """Of the answerable questions, those answered rightly."""
    leading: float
    """Of the answerable questions, those answered rightly by the first sentence alone."""
    outdated: float
    """Of the answerable questions, those answered with an earlier value."""
    missed: float
    """Of the answerable questions, those not answered."""
    abstained: float
    """Of the unanswerable questions, those not answered."""
    answerable: int
    unanswerable: int


def judge(question: TruthQuestion, answer: Answer) -> Judged:
    """Compare `answer` with what was right and knowable."""
    if answer.abstained:
        outcome = Outcome.MISSED if question.answerable else Outcome.ABSTAINED
    elif not question.answerable:
        outcome = Outcome.INVENTED
    elif question.right(answer.text):
        outcome = Outcome.RIGHT
    else:
        outcome = Outcome.OUTDATED if question.outdated(answer.text) else Outcome.WRONG
    first = answer.sentences[0].text if answer.sentences else ""
    return Judged(question=question, answer=answer, outcome=outcome, leads=question.right(first))


def score(judged: Iterable[Judged]) -> Score:
    """The shares."""
    all_judged = list(judged)
    counts = Counter(each.outcome for each in all_judged)
    answerable = sum(
        counts[o] for o in (Outcome.RIGHT, Outcome.OUTDATED, Outcome.WRONG, Outcome.MISSED)
    )
    unanswerable = counts[Outcome.ABSTAINED] + counts[Outcome.INVENTED]
    return Score(
        right=counts[Outcome.RIGHT] / max(answerable, 1),
        leading=sum(each.leads for each in all_judged) / max(answerable, 1),
        outdated=counts[Outcome.OUTDATED] / max(answerable, 1),
        missed=counts[Outcome.MISSED] / max(answerable, 1),
        abstained=counts[Outcome.ABSTAINED] / max(unanswerable, 1),
        answerable=answerable,
        unanswerable=unanswerable,
    )
