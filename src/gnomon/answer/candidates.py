"""The sentences of what was read, each with what speaks for it as an answer."""

from __future__ import annotations

import itertools
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence, Set
from datetime import datetime

import msgspec

from gnomon.answer import facts
from gnomon.answer.absent import outcome
from gnomon.answer.across import Names
from gnomon.answer.base import Plan
from gnomon.answer.bearing import announces, bears, begun, measured, outright, stood_for
from gnomon.answer.check import kindred
from gnomon.answer.context import heading
from gnomon.answer.instructions import addresses_machine, asks
from gnomon.answer.judgement import (
    Signals,
    demands,
    lacking,
    recentness,
    type_present,
    weighed,
)
from gnomon.answer.layout import Block, block_at
from gnomon.answer.rank import time_of
from gnomon.answer.reliability import trusted
from gnomon.answer.synonyms import same
from gnomon.answer.text import Span, sentences
from gnomon.answer.words import negated, share, stem, stems, words
from gnomon.types import Passage

_SHORT_CHARS = 1_200
"""Of an item so short, the first sentence speaks for the others."""
_EVERYWHERE_FROM = 3
_TOGETHER_FROM = 2
_APART = 0.6
_OTHER = 0.6
_GUESSED = 0.85
"""What is left where a state is only told by its change."""
_HEDGED = re.compile(
    r"\bmy (?:\w+ )?(?:cousin|neighbou?r|brother|sister|uncle|aunt|friend|colleague|mate|barber)\b|"
    r"\brumou?rs? (?:has|have|is|are|says?|goes|that|of a)\b|"
    r"\b(?:reportedly|allegedly|rumou?red|unconfirmed|i heard|apparently|supposedly|"
    r"someone said|not confirmed|provisional(?:ly)?|"
    r"(?:as far as|if) .{1,40} count(?:ed)?\b.{0,12}(?=,|$)|believed|believes|"
    r"is said to|people say|angeblich)\b",
    re.IGNORECASE,
)
_DENIES = re.compile(
    r"\b(?:den(?:y|ies|ied)|refut\w+|debunk\w*|false|untrue|not true|hoax|rumou?rs?|no truth|"
    r"dementiert|weist\b.*\bzurück|falsch\w*|gerücht\w*|desmient\w*|falso|rumor|dément\w*|faux)\b",
    re.IGNORECASE,
)
_WITHIN = re.compile(
    r"\b(?:in|for|of|at|near|around|für|von|bei|à|de|en|pour|para)\s(?:the\s|la\s|le\s)?$",
    re.IGNORECASE,
)
_HOW_TO = re.compile(
    r"\bhow (?:do|can|should|to)\b|\bwhat (?:should|must|can) (?:i|we|you|people|residents)\b",
    re.IGNORECASE,
)


class Candidate(msgspec.Struct):
    """A sentence of a passage that may be quoted."""

    passage: int
    span: Span
    """Offsets into the passage's text."""
    text: str
    signals: Signals
    stems: frozenset[str]
    time: datetime
    reliable: bool
    bears: float = 1.0
    """What rules on what is asked leave of its likelihood."""
    likelihood: float = 0.0


def quotable(
    plan: Plan, passages: Sequence[Passage], weights: Mapping[str, float]
) -> list[Candidate]:
    """Every sentence that may be quoted, with its signals; `weights` says how rare each of the
    question's words is."""
    asked, asking = plan.search_text, stems(plan.focus)
    read = "\n".join(f"{heading(p)}\n{p.text}" for p in passages)
    known = stems(read)
    known |= measured(plan.terms, read) | same(plan.terms, known)
    unknown = 1.0 - share(plan.terms, known)
    names = Names(plan)
    # What residents must do is what an alert is for, and what a "how do I" asks.
    how_to = bool(_HOW_TO.search(asked))
    common = _everywhere(plan, passages)
    weights = {t: w for t, w in weights.items() if t not in common} or weights
    focused = {t: w for t, w in weights.items() if t in asking} or weights
    subject = {stem(w) for w in plan.subject}
    singling = set(plan.terms) - common - {t for t in plan.terms if kindred(t)}
    lacks = _lacked_by(passages, asked, common)
    out = []
    for i, passage in enumerate(passages):
        cut = sentences(passage.text)
        lead = _lead(passage)
        title = stems(heading(passage)) | lead
        held = [frozenset(stems(passage.text[s.start : s.end])) for s in cut]
        held = [h | n for h, n in zip(held, names.held(passage, cut), strict=True)]
        said = [passage.text[s.start : s.end] for s in cut]
        held = [
            h
            | measured(plan.terms, t)
            | begun(plan.terms, t)
            | outcome(plan, t)
            | same(plan.terms, h)
            for h, t in zip(held, said, strict=True)
        ]
        told = held
        if plan.state:
            # What is open again says nothing of another matter.
            about = bool(lead & singling or title & singling) or not singling
            held = [
                h | stood_for(plan.terms, t, h) if about or h & singling else h
                for h, t in zip(held, said, strict=True)
            ]
            # "Meanwhile Ada Ferrow leads it": what that is, the item's first sentence says.
            spoken_of = lead.intersection(plan.terms)
            held = [h | spoken_of if h.intersection(plan.terms) else h for h in held]
        time = time_of(passage.document)
        orders = not how_to and passage.document.kind != "alert"
        for j, span in enumerate(cut):
            text = passage.text[span.start : span.end]
            if asks(text) or addresses_machine(text, orders=orders) or not _speaks(text):
                continue
            head = _head(passage, span)
            if head is not None and head.kind == "table" and not _is_row(passage, span, head):
                continue
            around = set(title).union(*held[max(0, j - 1) : j + 2])
            around |= introduced(passage, span)
            near = passage.text[cut[max(0, j - 1)].start : cut[min(len(cut) - 1, j + 1)].end]
            typed = type_present(plan.expects, asked, text)
            signals = Signals(
                covered=weighed(set(held[j]), weights),
                around=weighed(around, weights),
                focus=weighed(around, focused),
                named=1.0 - lacking(asked, f"{heading(passage)}\n{near}", around, common),
                typed=typed,
                untyped=float(typed == 0.0 and demands(plan.expects, asked)),
                unknown=unknown,
                similar=0.0,
                lead=1.0 / (1.0 + (passage.start + span.start) / 1_000),
                recent=1.0,
                newest=0.0,
                ahead=float(announces(plan, text)),
                unnamed=lacks[passage.document.key],
            )
            reliable = _reliable(passage, text)
            bearing = bears(plan, text, held[j], around)
            if plan.state and not outright(plan.terms, told[j]):
                bearing *= _GUESSED
            if subject and not subject & (around | held[j]):
                bearing *= _OTHER  # of something else that is finished, open or dearer
            out.append(Candidate(i, span, text, signals, held[j], time, reliable, bearing))
    _keep_together(out, plan, passages)
    _compare_times(out, plan)
    # Beside a sentence that holds the question's names, one about another name is no answer.
    fewest = min((c.signals.unnamed for c in out), default=0.0)
    for c in out:
        c.signals = msgspec.structs.replace(c.signals, unnamed=c.signals.unnamed - fewest)
    return out


def hearsay(text: str, title: str) -> bool:
    """Whether a sentence tells what others said, or what its document was written to deny."""
    if _HEDGED.search(text):
        return True
    return bool(_DENIES.search(title)) and not (_DENIES.search(text) or negated(text))


def _lead(passage: Passage) -> set[str]:
    """The words of a short item's first sentence: like a title it says what all of it is about."""
    text = passage.document.text
    if len(text) > _SHORT_CHARS:
        return set()
    first = next(iter(sentences(text)), None)
    return set() if first is None else stems(text[first.start : first.end])


def _everywhere(plan: Plan, passages: Sequence[Passage]) -> frozenset[str]:
    """Names of the question that stand in what shares nothing else with it: they single out little,
    as the town's does in the town's own paper."""
    asked = plan.search_text
    names = {s for n in facts.names(asked) if _WITHIN.search(asked[: n.start]) for s in n.stems}
    alone: dict[str, set[str]] = {}
    for p in passages if names else ():
        shared = stems(f"{heading(p)}\n{p.text}").intersection(plan.terms)
        if len(shared) == 1 and shared <= names:
            alone.setdefault(next(iter(shared)), set()).add(p.document.key)
    return frozenset(name for name, keys in alone.items() if len(keys) >= _EVERYWHERE_FROM)


def _lacked_by(passages: Sequence[Passage], asked: str, common: Set[str]) -> dict[str, float]:
    """Of each document, how many of the question's names and numbers nothing read of it holds."""
    read: dict[str, list[str]] = {}
    for p in passages:
        read.setdefault(p.document.key, [heading(p)]).append(p.text)
    texts = {key: "\n".join(parts) for key, parts in read.items()}
    return {key: lacking(asked, text, stems(text), common) for key, text in texts.items()}


def _keep_together(
    candidates: Sequence[Candidate], plan: Plan, passages: Sequence[Passage]
) -> None:
    """A market and a hall, each in a sentence of its own, are no market hall where others tell of
    one."""
    asked = [w.stem for w in words(plan.search_text)]
    terms = {t for t in plan.terms if not kindred(t)}
    pairs = {(a, b) for a, b in itertools.pairwise(asked) if {a, b} <= terms}
    if not plan.state or not pairs:
        return
    said = [(heading(p), *(p.text[s.start : s.end] for s in sentences(p.text))) for p in passages]
    read = [[[w.stem for w in words(text)] for text in texts] for texts in said]
    runs = [{pair for stems_ in texts for pair in itertools.pairwise(stems_)} for texts in read]
    pairs = {pair for pair in pairs if sum(pair in run for run in runs) >= _TOGETHER_FROM}
    for c in candidates:
        together = [set(stems_) for stems_ in read[c.passage]]
        held = set().union(*together)
        if any({a, b} <= held and not any({a, b} <= one for one in together) for a, b in pairs):
            c.bears *= _APART


def _compare_times(candidates: Sequence[Candidate], plan: Plan) -> None:
    """Weigh each sentence's age against the newest documents that speak of the matter."""
    best = max((c.signals.around for c in candidates), default=0.0)
    speaking = [c for c in candidates if c.signals.around >= 0.6 * best]
    newest = max((c.time for c in speaking), default=None)
    times = sorted({c.time for c in speaking if c.reliable})
    for c in candidates:
        behind_s = (newest - c.time).total_seconds() if newest else 0.0
        newer = len(times) - bisect_right(times, c.time)
        c.signals = msgspec.structs.replace(
            c.signals,
            recent=recentness(behind_s, plan.recency),
            newest=1.0 / (1.0 + newer) if plan.state else 0.0,
        )


def _head(passage: Passage, span: Span) -> Block | None:
    """The table or list in which a sentence stands."""
    return block_at(passage.document.text, passage.start + span.start)


def _is_row(passage: Passage, span: Span, table: Block) -> bool:
    """Whether it is a row, not the header or the caption."""
    at = passage.start + span.start
    return any(line.start <= at < line.end for line in table.lines)


def introduced(passage: Passage, span: Span) -> set[str]:
    """The words of a header, or of the line before a list: they speak for all below them."""
    block = _head(passage, span)
    if block is None or block.head is None:
        return set()
    return stems(passage.document.text[block.start : block.head.end])


def _speaks(text: str) -> bool:
    return any(c.isalpha() for c in text)


def _reliable(passage: Passage, text: str) -> bool:
    """Whether the statement may replace another: not hearsay, and not one lone post."""
    if hearsay(text, passage.document.title):
        return False
    return trusted(passage)
