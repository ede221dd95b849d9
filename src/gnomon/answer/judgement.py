"""How likely a sentence answers a question: evidence weighed by fixed, calibrated numbers.

The weights were fitted on one year of news questions and checked on another; half of them were
asked a day before the news broke, so that "no answer here" was learnt too. The scale is a
probability, and the threshold below which an answer is withheld stands beside it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import msgspec

from gnomon.answer import facts
from gnomon.answer.words import is_content, stems, words


class Signals(msgspec.Struct, frozen=True):
    """What speaks for a sentence; each roughly from 0 to 1."""

    covered: float
    """Share of the question's words, rare ones weighing more, that the sentence itself holds."""
    covered_around: float
    """The same for the sentence, its neighbours and the title together."""
    named: float
    """Share of the question's names and numbers found there."""
    answer_type: float
    """Whether it holds something of the kind that is asked for, and that the question lacks."""
    similar: float
    """Likeness of meaning: the sentence encoder's if ready, else the word vectors'."""
    passage: float
    """How well its passage was ranked."""
    lead: float
    """Whether it stands near the beginning of its document."""
    length: float
    """How far its length is from that of a plain statement."""
    focus: float
    """Coverage, as in `covered_around`, of the clause that asks."""
    new: float
    """How much it says that the question does not: an echo answers nothing."""
    recent: float
    """How new its document is at the moment asked about."""


_WEIGHTS = Signals(
    covered=1.5,
    covered_around=2.0,
    named=1.0,
    answer_type=1.2,
    similar=2.5,
    passage=1.0,
    lead=0.3,
    length=-0.5,
    focus=0.0,
    new=0.0,
    recent=0.0,
)
_BIAS = -5.0


def likelihood(signals: Signals) -> float:
    """The probability that the sentence holds the answer."""
    z = _BIAS + sum(
        getattr(_WEIGHTS, name) * getattr(signals, name) for name in Signals.__struct_fields__
    )
    return 1.0 / (1.0 + math.exp(-z))


def weighed(found: set[str], weights: Mapping[str, float]) -> float:
    """The share of the weights whose words are in `found`; 1 if there are none."""
    total = sum(weights.values())
    return sum(w for t, w in weights.items() if t in found) / total if total else 1.0


def named_in(question: str, text: str, found: set[str]) -> float:
    """The share of the question's names and numbers that `text` holds; 1 if it has none."""
    wanted = {s for n in facts.names(question) for s in n.stems}
    quantities = facts.numbers(question)
    dates = facts.moments(question)
    if not wanted and not quantities and not dates:
        return 1.0
    values = {n.value for n in facts.numbers(text)} if quantities else set()
    parts = (
        frozenset[str]().union(*(m.parts for m in facts.moments(text))) if dates else frozenset()
    )
    held = [w in found for w in wanted]
    held += [n.value in values for n in quantities]
    held += [bool(m.parts & parts) for m in dates]
    return sum(held) / len(held)


_REASON = re.compile(
    r"\b(?:because|since|due to|after|so that|in order to|as a result|caused|owing|blamed|reason|"
    r"following|to avoid|to prevent|over|amid|weil|wegen|nachdem|damit|car|parce que|afin|"
    r"en raison|porque|debido|tras)\b",
    re.IGNORECASE,
)
_PLACE_CUE = re.compile(
    r"\b(?:in|at|near|on|from|to|outside|off|across|toward|im|am|bei|nach|à|en|dans|au|aux|cerca)"
    r"\s(?:the\s|der\s|dem\s|la\s|el\s|le\s)?[A-ZÀ-Þ]"
)
_DEFINITION = re.compile(
    r"\b(?:is|are|was|means?|refers? to|known as|called|defined as|ist|bedeutet|est|es)\b",
    re.IGNORECASE,
)


def type_present(expects: str, question: str, sentence: str) -> float:
    """Whether `sentence` holds what the answer type asks for, beyond what the question says."""
    if expects == "number":
        asked = {n.value for n in facts.numbers(question)}
        fresh = [n for n in facts.numbers(sentence) if n.value not in asked]
        units = _counted(question)
        if any(n.unit in units for n in fresh if n.unit):
            return 1.0
        return 0.6 if fresh else 0.0
    if expects == "time":
        return 1.0 if _new_moment(question, sentence) else 0.0
    if expects in ("person", "place"):
        if not _new_names(question, sentence):
            return 0.0
        return 1.0 if expects == "person" or _PLACE_CUE.search(sentence) else 0.5
    if expects == "reason":
        return 1.0 if _REASON.search(sentence) else 0.2
    if expects == "definition":
        return 1.0 if _DEFINITION.search(sentence) else 0.3
    if expects == "text":
        return 1.0 if _new_names(question, sentence) else 0.4
    return 0.5


def novelty(asked: set[str], sentence: set[str]) -> float:
    """The share of the sentence's content words that the question lacks, up to a half."""
    return min(1.0, 2.0 * len(sentence - asked) / (len(sentence) or 1))


def recentness(age_s: float, matters: float) -> float:
    """1 for what is new, a half for what is a month old; always near 1 where newness hardly
    matters to the question."""
    old = 1.0 - 1.0 / (1.0 + max(0.0, age_s) / (30 * 86_400.0))
    return 1.0 - old * min(1.0, matters / 0.3)


def _new_names(question: str, sentence: str) -> list[facts.Name]:
    asked = stems(question)
    return [n for n in facts.names(sentence) if not set(n.stems) <= asked]


def length_off(sentence: str) -> float:
    """0 for a plain statement of 8 to 45 words, up to 1 for fragments and walls of text."""
    n = sum(1 for _ in words(sentence))
    if n < 8:
        return (8 - n) / 8
    return min(1.0, max(0, n - 45) / 45)


def _counted(question: str) -> set[str]:
    """Nouns and units that a "how many …" counts, as stems."""
    match = re.search(
        r"\b(?:how many|how much|what percentage|what percent|wie viele|combien de?|cu[aá]nt[oa]s)"
        r"\s+((?:\S+\s*){1,3})",
        question,
        re.IGNORECASE,
    )
    units = {w.stem for w in words(match[1]) if is_content(w)} if match else set()
    if re.search(r"percent", question, re.IGNORECASE):
        units.add("%")
    if re.search(r"how much|cost|price|pay|paid|worth|fine", question, re.IGNORECASE):
        units |= {"usd", "eur", "gbp"}
    if re.search(r"how old", question, re.IGNORECASE):
        units |= {"year", "year-old"}
    return units


_SPAN_OF_TIME = re.compile(
    r"\b(?:today|yesterday|tomorrow|tonight|next|last|this|noon|midnight|morning|evening|week|"
    r"month|year|decade|century|summer|winter|spring|autumn|heute|morgen|demain|mañana)\b",
    re.IGNORECASE,
)


def _new_moment(question: str, sentence: str) -> bool:
    asked = frozenset[str]().union(*(m.parts for m in facts.moments(question)))
    if any(not m.parts <= asked for m in facts.moments(sentence)):
        return True
    mine = {m.lower() for m in _SPAN_OF_TIME.findall(sentence)}
    return bool(mine - {m.lower() for m in _SPAN_OF_TIME.findall(question)})


def spread(values: Sequence[float]) -> list[float]:
    """`values` from 0 to 1: the best is 1."""
    top = max(values, default=0.0)
    return [v / top if top > 0 else 0.0 for v in values]
