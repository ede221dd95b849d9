"""The verdict on a sentence, computed from the very words that it cites.

Hard facts are compared by rule: numbers with their units, dates, names, quotations, denial and
opposites. What is left is how many of the sentence's words the quotation carries. The rules can
only lower a verdict: whatever a model says, a number that is not in the quotation is not
supported by it. A sentence that *is* the quotation is supported by definition.
"""

# ruff: noqa: SIM905 - a list of words reads best as one text

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from gnomon.answer import facts
from gnomon.answer.layout import stands
from gnomon.answer.overstated import overstated, scores_turned, turned
from gnomon.answer.support import (
    Read,
    claims,
    nearest,
    probability,
    signals,
    stems_of,
    weights,
)
from gnomon.answer.text import around, sentences
from gnomon.answer.translated import abroad, judge_abroad
from gnomon.answer.words import Word, content, fold, is_negation, plain, words
from gnomon.types import Document, Verdict, VerdictKind

Embed: TypeAlias = Callable[[Sequence[str]], "NDArray[np.float32] | None"]
"""Unit vectors of texts, or None where no model is ready."""

SUPPORTED_FROM = 0.9
"""From here on a verdict of support was right at least 95 times in 100, on either half of what it
was tested on: see docs/explanation/how-answers-are-checked.md."""
SUPPORTED_BY_WORDS_FROM = 0.92
"""The same where no model reads along; right 94 times in 100."""
PARTLY_FROM = 0.35
"""Below it a draft is repaired if it can be, and not shown otherwise."""
_UNNAMED = 0.4
"""What a missing name or date leaves of the odds; a missing number or quotation leaves nothing."""
_SAME_MATTER = 0.65
"""Share of words, but for those that differ, from which two sentences can contradict each other."""
_SAME_EVENT = 0.6
"""Share of words from which two statements with other times speak of one thing."""
_DENIES = frozenset(
    "não nunca ninguém nada не нет никогда никто ничего لا لم لن ليس ليست नहीं मत non nessuno "
    "niente niet geen nooit nie nikt değil".split()
)
"""Words that deny in languages which `words.NEGATIONS` does not hold."""
_DENIES_WITHIN = re.compile("没|沒|未|不(?=[是会會能再在])|ない|ません|なかった")
"""The same where words are not set apart."""
_LACKS = frozenset(
    {"without", "ohne", "sans", "sin", "sem", "senza", "без", "بدون", "बिना", "zonder"}
)
"""Words that deny the thing behind them, not what the sentence states."""
_UNDOES = frozenset(
    "lift remov drop abolish scrap waiv withdrawn withdraw revok ceas expir".split()
)
"""Of what is lifted, "without it" denies nothing."""
_THING_WORDS = 3
_MAX_REASONS = 4
_APART = "The cited words say these things apart, or about something else."
_MAX_EVIDENCE_CHARS = 20_000

_PASSIVE = re.compile(
    r"\b(?:was|were|been|being|is|are|be)\s+\w+(?:ed|en|n|t)\b|\bby\b", re.IGNORECASE
)
_OPPOSITES = tuple(
    (frozenset(a.split()), frozenset(b.split()))
    for a, b in (
        ("open reopen", "close shut"),
        ("block stuck jam", "clear free passabl"),
        ("suspend halt stop", "run resum restart"),
        ("forc issu", "lift expir withdraw"),
        ("find found recover", "miss lost steal"),
        ("strike", "agreement settl"),
        ("rise increas climb grow up gain jump soar", "fall decreas drop declin down sink plung"),
        ("win", "lose"),
        ("alive surviv", "die dead kill"),
        ("more higher above over", "fewer less lower below under"),
        ("before", "after"),
        ("first", "last"),
        ("allow permit legal approv accept pass", "ban forbid illegal reject refus block"),
        ("support back", "oppos"),
        ("guilty convict", "innocent acquit"),
        ("start begin launch", "end stop cancel finish halt"),
        ("north northern", "south southern"),
        ("east eastern", "west western"),
        ("true", "false"),
        ("safe", "unsafe dangerous"),
        ("confirm", "deny"),
        ("arriv", "depart leave"),
        ("hire", "fire sack dismiss"),
        ("raise", "lower cut"),
    )
)


class Cited(msgspec.Struct, frozen=True):
    """A span of a stored version, as a citation names it."""

    document: Document
    start: int
    end: int

    @property
    def quote(self) -> str:
        """The words themselves."""
        return self.document.text[self.start : self.end]


class Evidence(msgspec.Struct, frozen=True):
    """A quotation, and the whole sentences that it was taken from."""

    quote: str
    context: str


def check(sentence: str, cited: Sequence[Cited], read: Read | None = None) -> Verdict:
    """The verdict on `sentence` given the spans that it cites."""
    evidence = []
    for span in cited:
        text = span.document.text
        if not 0 <= span.start < span.end <= len(text):
            return Verdict(
                kind=VerdictKind.NOT_SUPPORTED,
                score=0.0,
                reasons=("A citation points outside the text of its document.",),
            )
        whole = around(text, span.start, span.end)
        evidence.append(Evidence(span.quote, text[whole.start : whole.end]))
    if _laid_out(sentence, cited):
        return Verdict(kind=VerdictKind.SUPPORTED, score=1.0)
    return judge(sentence, evidence, read)


def _laid_out(sentence: str, cited: Sequence[Cited]) -> bool:
    """Whether `sentence` is a row with its header, or an item with what introduces the list."""
    if len(cited) != 2 or cited[0].document is not cited[1].document:
        return False
    head, line = cited
    return stands(sentence, head.document.text, (head.start, head.end), (line.start, line.end))


def judge(sentence: str, evidence: Sequence[Evidence], read: Read | None = None) -> Verdict:
    """The verdict on `sentence` given quotations and the sentences around them.

    Each claim that the sentence makes is judged by itself; the worst one decides.
    """
    if not evidence or not any(e.quote.strip() for e in evidence):
        return Verdict(kind=VerdictKind.NOT_SUPPORTED, score=0.0, reasons=("It cites nothing.",))
    if any(verbatim(sentence, e) for e in evidence):
        return Verdict(kind=VerdictKind.SUPPORTED, score=1.0)
    quotes = "\n\n".join(e.quote for e in evidence)[:_MAX_EVIDENCE_CHARS]
    if abroad(sentence, quotes):
        return judge_abroad(sentence, quotes)
    made = claims(sentence)
    found = [_judge_claim(claim, quotes, evidence, read) for claim in made]
    worst = min(found, key=lambda v: (v.kind is not VerdictKind.CONTRADICTED, v.score))
    if worst.kind is VerdictKind.NOT_SUPPORTED and any(v.score >= PARTLY_FROM for v in found):
        # One half stands there, the other does not.
        worst = Verdict(kind=VerdictKind.PARTLY, score=worst.score, reasons=worst.reasons)
    reasons = dict.fromkeys(r for v in found if v.kind is not VerdictKind.SUPPORTED
                            for r in v.reasons)  # fmt: skip
    return Verdict(kind=worst.kind, score=worst.score, reasons=tuple(reasons)[:_MAX_REASONS])


def _judge_claim(
    claim: str, quotes: str, evidence: Sequence[Evidence], read: Read | None
) -> Verdict:
    near = nearest(claim, quotes)
    invented = _missing_numbers(claim, quotes) + _missing_quotations(claim, quotes)
    best = (_single_best(claim, evidence) or near[0]) if near else ""
    invented += scores_turned(claim, quotes)
    unnamed = _missing_names(claim, quotes) + _swapped(claim, near) + overstated(claim, best)
    missing = invented + unnamed
    contrary = _contradictions(claim, near, evidence) + turned(claim, best)
    score = probability(signals(claim, quotes, near, read), model=read is not None)
    if contrary:
        return Verdict(
            kind=VerdictKind.CONTRADICTED,
            score=round(min(score, 0.2), 3),
            reasons=tuple([*contrary, *missing][:_MAX_REASONS]),
        )
    if unnamed:
        score *= _UNNAMED / (_UNNAMED * score + 1.0 - score)
    if invented:
        score = min(score, PARTLY_FROM) * 0.95
    kind = (
        VerdictKind.SUPPORTED
        if score >= (SUPPORTED_FROM if read else SUPPORTED_BY_WORDS_FROM) and not missing
        else VerdictKind.PARTLY
        if score >= PARTLY_FROM
        else VerdictKind.NOT_SUPPORTED
    )
    reasons = list(missing)
    if kind is not VerdictKind.SUPPORTED:
        reasons += _missing_words(claim, quotes) or ([] if missing else [_APART])
    return Verdict(kind=kind, score=round(score, 3), reasons=tuple(reasons[:_MAX_REASONS]))


def opposed(one: str, other: str) -> bool:
    """Whether one text says the opposite of a word of the other: open, closed."""
    return bool(_opposites(one, other))


def kindred(stem: str) -> frozenset[str]:
    """Words that answer a question for this one: those that say the same, and the opposites."""
    return frozenset().union(*(a | b for a, b in _OPPOSITES if stem in a or stem in b))


def disagrees(one: str, other: str) -> bool:
    """Whether two statements about the same thing exclude each other, as far as rules can tell."""
    a, b = weights(one), weights(other)
    shared = sum(min(w, b[s]) for s, w in a.items() if s in b)
    alike = shared / (min(sum(a.values()), sum(b.values())) or 1.0)
    if alike < 0.34:
        return False
    return bool(
        _denied(one, other)
        or _opposites(one, other)
        or _other_numbers(one, other)
        or _other_reading(one, other)
        or (alike >= _SAME_EVENT and _other_moment(one, other))
    )


def _denied(one: str, other: str) -> bool:
    """Whether one denies what the other states: sharing a name alone is not enough."""
    if _denials(one, other) == _denials(other, one):
        return False
    named = {s for text in (one, other) for n in facts.names(text) for s in n.stems}
    return bool((weights(one).keys() & weights(other).keys()) - named)


def _other_moment(one: str, other: str) -> bool:
    """Whether both tell when, and not the same: two times for one departure."""
    mine, theirs = ({p for m in facts.moments(t) for p in m.parts} for t in (one, other))
    return any(
        {p for p in mine if p[0] == kind}
        and {p for p in theirs if p[0] == kind}
        and not {p for p in mine if p[0] == kind} & {p for p in theirs if p[0] == kind}
        for kind in "twd"
    )


def _other_reading(one: str, other: str) -> bool:
    """Whether both tell one number, another one, whatever it counts: two readings of a gauge."""
    mine, theirs = facts.numbers(one), facts.numbers(other)
    return (
        len(mine) == len(theirs) == 1
        and not math.isclose(mine[0].value, theirs[0].value)
        and (not mine[0].unit or not theirs[0].unit)
    )


def verbatim(sentence: str, evidence: Evidence) -> bool:
    """Whether `sentence` is one or more neighbouring whole sentences of the source.

    A part of a sentence is not enough: what was left out may deny the rest.
    """
    wanted = plain(sentence)
    if not wanted or wanted not in plain(evidence.quote):
        return False
    whole = [plain(evidence.context[s.start : s.end]) for s in sentences(evidence.context)]
    for first in range(len(whole)):
        run = ""
        for piece in whole[first:]:
            run = f"{run} {piece}".strip()
            if len(run) >= len(wanted):
                break
        if run == wanted:
            return True
    return False


def _missing_numbers(sentence: str, quotes: str) -> list[str]:
    theirs = facts.numbers(quotes)
    return [
        f"The number {number.text} does not stand in the cited words."
        for number in facts.numbers(sentence)
        if not any(
            math.isclose(number.value, t.value, rel_tol=1e-9)
            and facts.units_agree(number.unit, t.unit)
            for t in theirs
        )
        and not _as_written(number.text, quotes)
    ]


def _missing_quotations(sentence: str, quotes: str) -> list[str]:
    bare = plain(quotes)
    return [
        f"The quotation “{q}” does not stand in the cited words."
        for q in facts.quotations(sentence)
        if plain(q).strip(" .,;!?") not in bare
    ]


def _missing_names(sentence: str, quotes: str) -> list[str]:
    """Names, dates and times of `sentence` that do not stand in `quotes`."""
    reasons = []
    moments = facts.moments(quotes)
    known_parts = frozenset[str]().union(*(m.parts for m in moments))
    for moment in facts.moments(sentence):
        if not any(moment.parts <= m.parts for m in moments) and not (
            moment.parts <= known_parts and len(moments) <= 2
        ):
            reasons.append(f"The date or time “{moment.text}” does not stand in the cited words.")
    found = stems_of(quotes)
    folded = _compact(quotes)
    for name in facts.names(sentence):
        lacking = [s for s in name.stems if s not in found]
        if lacking and _compact(name.text) not in folded and not _initials(name.text, quotes):
            reasons.append(f"The name {name.text} does not stand in the cited words.")
    return reasons


def _swapped(sentence: str, near: Sequence[str]) -> list[str]:
    """Names that do something to each other the other way round: A beat B, B beat A."""
    if not near or _PASSIVE.search(sentence) or _PASSIVE.search(near[0]):
        return []
    named = {n.stems[-1]: n.text for t in (near[0], sentence) for n in facts.names(t) if n.stems}
    mine, theirs = _first_places(sentence, named), _first_places(near[0], named)
    both = sorted((s for s in mine if s in theirs), key=lambda s: mine[s])
    for a, b in pairwise(both):
        between = content(sentence)[mine[a] + 1 : mine[b]]
        acts = any(w.stem not in named and w.text.islower() for w in between)
        if acts and theirs[a] > theirs[b]:
            return [f"{named[a]} and {named[b]} stand the other way round in the cited words."]
    return []


def _first_places(text: str, named: Mapping[str, str]) -> dict[str, int]:
    places: dict[str, int] = {}
    for i, word in enumerate(content(text)):
        if word.stem in named:
            places.setdefault(word.stem, i)
    return places


@lru_cache(maxsize=512)
def _compact(text: str) -> str:
    """Letters and digits alone: `B.J. Thomas` and `B. J. Thomas` are one name."""
    return "".join(c for c in fold(text) if c.isalnum())


def _as_written(text: str, quotes: str) -> bool:
    # "once", "both", "first": words that counted here may stand there as mere words.
    return not any(c.isdigit() for c in text) and text.lower() in quotes.lower()


def _initials(name: str, quotes: str) -> bool:
    letters = name.replace(".", "")
    if not (letters.isupper() and 2 <= len(letters) <= 6):
        return False
    return any(
        "".join(s[0] for s in n.stems).upper() == letters.upper() for n in facts.names(quotes)
    )


def _missing_words(sentence: str, quotes: str) -> list[str]:
    found = stems_of(quotes)
    named = {s for n in facts.names(sentence) for s in n.stems}
    lacking = [
        w.text
        for w in content(sentence)
        if w.stem not in found and w.stem not in named and not w.stem[0].isdigit()
    ]
    if not lacking:
        return []
    shown = ", ".join(f"“{w}”" for w in list(dict.fromkeys(lacking))[:5])
    return [f"Not in the cited words: {shown}."]


def _contradictions(sentence: str, near: Sequence[str], evidence: Sequence[Evidence]) -> list[str]:
    """What the nearest cited sentence says otherwise: a denial, an opposite, another number.

    All the rest must be the same: two sentences that share a topic may deny different things.
    """
    if not near:
        return []
    best = _single_best(sentence, evidence) or near[0]
    theirs = stems_of(best)
    opposites = _opposites(sentence, best)
    differing = {w for a, b in _OPPOSITES for w in a | b} if opposites else frozenset[str]()
    rest = {s: w for s, w in weights(sentence).items() if s not in differing and not s[0].isdigit()}
    if sum(w for s, w in rest.items() if s in theirs) < _SAME_MATTER * sum(rest.values()):
        return []
    reasons = []
    denies = _denials(sentence, best)
    if denies != _denials(best, sentence):
        who = "The sentence denies" if denies else "The cited words deny"
        reasons.append(f"{who} what the other states.")
    return reasons + opposites + _other_numbers(sentence, best)


def _single_best(sentence: str, evidence: Sequence[Evidence]) -> str | None:
    """The whole source sentence that carries most of `sentence`."""
    wanted = weights(sentence)
    best, most = None, 0.0
    for e in evidence:
        for span in sentences(e.context[:_MAX_EVIDENCE_CHARS]):
            text = e.context[span.start : span.end]
            found = stems_of(text)
            carried = sum(w for s, w in wanted.items() if s in found)
            if carried > most:
                best, most = text, carried
    return best


def _denials(text: str, other: str) -> bool:
    """Whether an odd number of words deny something that `other` may state: two cancel out."""
    said = list(words(text))
    theirs = stems_of(other)
    denying = len(_DENIES_WITHIN.findall(text))
    for i, w in enumerate(said):
        token = w.text.lower()
        # "Without a limit" denies the limit alone, and nothing of who speaks of none.
        if token in _LACKS:
            denying += bool(theirs & _thing(said[i + 1 :])) and not theirs & _UNDOES
        else:
            denying += is_negation(w.text) or token in _DENIES
    return denying % 2 == 1


def _thing(after: Sequence[Word]) -> set[str]:
    return {w.stem for w in after[:_THING_WORDS]}


def _opposites(sentence: str, best: str) -> list[str]:
    mine, theirs = stems_of(sentence), stems_of(best)
    reasons = []
    for a, b in _OPPOSITES:
        for one, other in ((a, b), (b, a)):
            said, says = mine & one, theirs & other
            if said and says and not mine & other and not theirs & one:
                reasons.append(f"It says “{min(said)}” where the cited words say “{min(says)}”.")
    return reasons


def _other_numbers(sentence: str, best: str) -> list[str]:
    """Numbers of the same unit that differ, where the cited sentence has no equal one."""
    theirs = facts.numbers(best)
    reasons = []
    for number in facts.numbers(sentence):
        rivals = [t for t in theirs if t.unit == number.unit and number.unit]
        if rivals and all(not math.isclose(number.value, t.value) for t in theirs):
            reasons.append(f"It says {number.text} where the cited words say {rivals[0].text}.")
    return reasons
