"""The writer that quotes: the sentences of the sources that answer, word for word.

It is the default because, among writers that run anywhere, it was right most often, and what it
says stands in the source by construction. Its own skill is to keep silent: every sentence has a
likelihood of holding the answer, and below a calibrated threshold there is none.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from bisect import bisect_right
from collections.abc import AsyncIterator, Mapping, Sequence, Set
from datetime import datetime, timedelta

import msgspec
import numpy as np

from gnomon.answer import facts
from gnomon.answer.absent import came_out, matter, outcome, told, wanted
from gnomon.answer.across import Names
from gnomon.answer.base import Draft, Plan, Question
from gnomon.answer.bearing import announces, bears, measured, stood_for
from gnomon.answer.check import Embed, disagrees, kindred
from gnomon.answer.context import heading
from gnomon.answer.corrections import corrected
from gnomon.answer.instructions import addresses_machine, asks
from gnomon.answer.judgement import (
    Signals,
    demands,
    lacking,
    likelihood,
    recentness,
    type_present,
    weighed,
)
from gnomon.answer.layout import Block, block_at
from gnomon.answer.layout import told as told_in_layout
from gnomon.answer.rank import time_of
from gnomon.answer.reliability import left, trusted
from gnomon.answer.synonyms import same
from gnomon.answer.text import PASSAGE_CHARS, Span, sentences
from gnomon.answer.words import negated, plain, share, stem, stems, words
from gnomon.clock import Clock
from gnomon.errors import ModelError
from gnomon.log import get_logger
from gnomon.models.base import Scorer
from gnomon.types import Passage, Usage

_log = get_logger()

ANSWER_FROM = 0.4
"""Likelihood from which a sentence may open an answer: see docs/internals/answer.md."""
_ALSO_FROM = 0.4
"""A further sentence needs at least this share of the first one's likelihood."""
_ALSO_LEAST = 0.35
_ALIKE = 0.6
"""Likeness of meaning from which a sentence without a word of the question may stand."""
_BESIDE = 0.3
_FREE = ("reason", "text", "list", "definition")
_COMPARED = 16
_RIVALS_FROM = 0.7
_OLDER = 0.7
_ONE_TURN = timedelta(hours=1)
_LONE = 0.9
"""What hearsay or a lone post weighs where a reliable origin tells as much."""
_AS_MUCH = 0.9
_UNTOLD = 0.6
"""What is left where a sentence names somebody, but not for what is asked."""
_TOLD_OF = 8
_HARDLY = 0.25
"""A lack of names so small is that of one which stands everywhere."""
_NO_OUTCOME = 0.4
_EVERYWHERE_FROM = 3
_COUNTS = 0.4
"""Below it a number counts something else, or nobody says what."""
_TOGETHER_FROM = 2
_APART = 0.6
_EQUALS = 0.93
_READ_BY_MODEL = 12
_MODEL_BATCH = 4
_REPEATS = 0.6
_OPENING_CHARS = 200
_SHORT_CHARS = 1_200
"""Of an item so short, the first sentence speaks for the others."""
_HEARSAY = 0.6
"""What hearsay weighs beside a plain statement."""
_LEANS = re.compile(
    r"^[\"“'(]*(?:but|however|and|so|also|then|still|instead|meanwhile|he|she|they|it|his|her|their|"
    r"its|this|that|these|those|such|both|there|aber|er|sie|dies\w*|mais|il|elle|pero)\b",
    re.IGNORECASE,
)
_HEDGED = re.compile(
    r"\b(?:reportedly|allegedly|rumou?rs?|rumou?red|unconfirmed|i heard|apparently|supposedly|"
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
_CORRECTS = re.compile(r"\b(?:correct(?:ion|ed|s)|clarif|retract|berichtig|update)", re.IGNORECASE)


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


class ExtractiveWriter:
    """Quotes the sentences that answer, best first; nothing where nothing answers."""

    name = "extractive"

    def __init__(
        self,
        *,
        clock: Clock,
        embed: Embed | None = None,
        scorer: Scorer | None = None,
        budget_s: float = 0.12,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        """`embed` and `scorer` help where they are ready; the scorer stops after `budget_s`."""
        self._clock = clock
        self._embed = embed
        self._scorer = scorer
        self._budget_s = budget_s
        self._weights = weights

    async def write(
        self, question: Question, plan: Plan, passages: Sequence[Passage]
    ) -> AsyncIterator[Draft | Usage]:
        """Yield the chosen sentences, each with the one before it where it leans on that."""
        drafts = await asyncio.to_thread(self.choose, question, plan, passages)
        for draft in drafts:
            yield draft

    def choose(self, question: Question, plan: Plan, passages: Sequence[Passage]) -> list[Draft]:
        """The drafts, in reading order. Synchronous."""
        ranked = self.rank(plan, passages)
        if not ranked or ranked[0].likelihood < ANSWER_FROM:
            return []
        chosen = _select(ranked, plan, question.max_sentences)
        return [_draft(c, chosen, passages) for c in chosen]

    def rank(self, plan: Plan, passages: Sequence[Passage]) -> list[Candidate]:
        """Every quotable sentence with its likelihood, superseded ones last, best first."""
        if plan.overview is not None or not plan.terms:
            return _newest(plan, passages)
        weights = self._weights if self._weights is not None else dict.fromkeys(plan.terms, 1.0)
        candidates = _candidates(plan, passages, weights)
        model = self._add_meaning(plan, candidates)
        # A reason may share no word with what it explains; a time, a number or a yes rarely does.
        spoken_of = plan.expects not in _FREE and any(c.signals.covered for c in candidates)
        for c in candidates:
            c.likelihood = c.bears * likelihood(c.signals, model=model)
            if spoken_of and _beside(c):
                c.likelihood *= _BESIDE
            if _hearsay(c.text, passages[c.passage].document.title):
                c.likelihood *= _HEARSAY
            c.likelihood *= left(passages[c.passage])
        candidates.sort(key=lambda c: -c.likelihood)
        needed, about = wanted(plan), matter(plan)
        reasoned = plan.expects == "reason" and any(
            c.signals.typed == 1.0 and c.likelihood >= ANSWER_FROM * _UNTOLD for c in candidates
        )
        counted = plan.expects == "number" and any(
            c.signals.typed == 1.0 and c.likelihood >= ANSWER_FROM for c in candidates
        )
        for c in candidates[:_TOLD_OF]:
            passage = passages[c.passage]
            held = c.stems | stems(f"{heading(passage)}\n{passage.text}")
            held |= _introduced(passage, _head(passage, c.span))
            if not all(told(word, c.text, held, self._embed) for word in needed):
                c.likelihood *= _UNTOLD
            if reasoned and c.signals.typed < 1.0:
                c.likelihood *= _UNTOLD
            if counted and c.signals.typed < _COUNTS:
                c.likelihood *= _UNTOLD
            if about and len(about & held) * 2 <= len(about):
                c.likelihood *= _NO_OUTCOME
            if not came_out(plan, c.text):
                c.likelihood *= _NO_OUTCOME
        candidates.sort(key=lambda c: -c.likelihood)
        return _newest_first(_settled(candidates, plan, passages), plan)

    def _add_meaning(self, plan: Plan, candidates: list[Candidate]) -> bool:
        """Likeness of meaning, by the sentence model for the best, by word vectors for the rest.

        False if there is no model to ask.
        """
        if self._scorer is None or not candidates:
            return False
        for c, similar in zip(candidates, self._by_words(plan, candidates), strict=True):
            c.signals = msgspec.structs.replace(c.signals, similar=similar)
        candidates.sort(key=lambda c: -likelihood(c.signals, model=False))
        began = self._clock.monotonic()
        for first in range(0, min(_READ_BY_MODEL, len(candidates)), _MODEL_BATCH):
            if self._clock.monotonic() - began > self._budget_s:
                break
            batch = candidates[first : first + _MODEL_BATCH]
            try:
                scores = self._scorer.score(plan.search_text, [c.text for c in batch])
            except ModelError as error:
                _log.warning("answer.unscored", code=error.code)
                return False
            for c, score in zip(batch, scores, strict=True):
                c.signals = msgspec.structs.replace(c.signals, similar=float(score))
        return True

    def _by_words(self, plan: Plan, candidates: Sequence[Candidate]) -> list[float]:
        vectors = None
        if self._embed is not None:
            vectors = self._embed([plan.search_text, *(c.text for c in candidates)])
        if vectors is None:
            return [0.3 + 0.65 * c.signals.covered for c in candidates]
        # On the scale of the sentence model's scores.
        return [float(np.clip(0.2 + 0.8 * s, 0, 1)) for s in vectors[1:] @ vectors[0]]


def _candidates(
    plan: Plan, passages: Sequence[Passage], weights: Mapping[str, float]
) -> list[Candidate]:
    asked, asking = plan.search_text, stems(plan.focus)
    focused = {t: w for t, w in weights.items() if t in asking} or weights
    read = "\n".join(f"{heading(p)}\n{p.text}" for p in passages)
    known = stems(read)
    known |= measured(plan.terms, read) | same(plan.terms, known)
    unknown = 1.0 - share(plan.terms, known)
    names = Names(plan)
    # What residents must do is what an alert is for, and what a "how do I" asks.
    how_to = bool(_HOW_TO.search(asked))
    common = _everywhere(plan, passages)
    subject = {stem(w) for w in plan.subject}
    singling = set(plan.terms) - common - {t for t in plan.terms if kindred(t)}
    lacks = _lacked_by(passages, asked, common)
    out = []
    for i, passage in enumerate(passages):
        cut = sentences(passage.text)
        lead = _lead(passage)
        title = stems(heading(passage)) | lead
        held = [frozenset(w.stem for w in words(passage.text[s.start : s.end])) for s in cut]
        held = [h | n for h, n in zip(held, names.held(passage, cut), strict=True)]
        said = [passage.text[s.start : s.end] for s in cut]
        held = [
            h | measured(plan.terms, t) | outcome(plan, t) | same(plan.terms, h)
            for h, t in zip(held, said, strict=True)
        ]
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
            around |= _introduced(passage, head)
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
            if subject and not subject & (around | held[j]):
                bearing *= _UNTOLD  # of something else that is finished, open or dearer
            out.append(Candidate(i, span, text, signals, held[j], time, reliable, bearing))
    _keep_together(out, plan, passages)
    _compare_times(out, plan)
    # Beside a sentence that holds the question's names, one about another name is no answer.
    fewest = min((c.signals.unnamed for c in out), default=0.0)
    for c in out:
        c.signals = msgspec.structs.replace(c.signals, unnamed=c.signals.unnamed - fewest)
    return out


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


def _introduced(passage: Passage, block: Block | None) -> set[str]:
    """The words of a header, or of the line before a list: they speak for all below them."""
    if block is None or block.head is None:
        return set()
    return stems(passage.document.text[block.start : block.head.end])


def _speaks(text: str) -> bool:
    return any(c.isalpha() for c in text)


def _reliable(passage: Passage, text: str) -> bool:
    """Whether the statement may replace another: not hearsay, and not one lone post."""
    if _hearsay(text, passage.document.title):
        return False
    return trusted(passage)


def _beside(c: Candidate) -> bool:
    """Whether it only stands beside what speaks of the matter: it shares no word with the question,
    nothing in it points back, and it means something else."""
    return not (c.signals.covered or c.signals.similar >= _ALIKE or _LEANS.match(c.text))


def _hearsay(text: str, title: str) -> bool:
    """Whether a sentence tells what others said, or what its document was written to deny."""
    if _HEDGED.search(text):
        return True
    return bool(_DENIES.search(title)) and not (_DENIES.search(text) or negated(text))


def _settled(ranked: list[Candidate], plan: Plan, passages: Sequence[Passage]) -> list[Candidate]:
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


def _newest_first(ranked: list[Candidate], plan: Plan) -> list[Candidate]:
    """Of statements of a state that are about as likely, the newest reliable one leads."""
    if not ranked:
        return ranked
    if not plan.state:
        return _latest_of_equals(ranked)
    floor = ranked[0].likelihood * _RIVALS_FROM
    rivals = [c for c in ranked if c.likelihood >= floor and c.reliable]
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
    # What was found at the bridge does not say whether it is open.
    states = {term for term in plan.terms if kindred(term)}
    if older.reliable and older.stems & states and not newer.stems & states:
        return False
    topic = set(plan.terms)
    shared = newer.stems & older.stems
    return len(shared & topic) >= max(1, min(2, len(topic))) or bool(_CORRECTS.search(newer.text))


def _select(ranked: Sequence[Candidate], plan: Plan, limit: int) -> list[Candidate]:
    """The best sentence and those that add to it, in reading order."""
    several = plan.overview is not None or plan.expects in ("list", "text", "reason", "definition")
    wanted = min(limit, 4 if several else 2)
    chosen: list[Candidate] = []
    floor = max(min(_ALSO_LEAST, ranked[0].likelihood), ranked[0].likelihood * _ALSO_FROM)
    for c in ranked:
        if len(chosen) >= wanted or c.likelihood < floor:
            break
        if chosen and plan.expects != "reason" and _beside(c):
            continue
        if chosen and plan.state and _before_it_turned(c, chosen[0]):
            continue
        if not any(_repeats(c, other) for other in chosen):
            chosen.append(c)
    first = chosen[0]
    rest = sorted(chosen[1:], key=lambda c: (c.passage != first.passage, c.passage, c.span.start))
    before = [c for c in rest if c.passage == first.passage and c.span.end <= first.span.start]
    if before and _LEANS.match(first.text):
        rest.remove(before[-1])
        return [before[-1], first, *rest]
    return [first, *rest]


def _before_it_turned(c: Candidate, first: Candidate) -> bool:
    """Whether `c` is older than the leading statement and says no where that says yes."""
    return first.time - c.time > _ONE_TURN and negated(c.text) != negated(first.text)


def _repeats(c: Candidate, other: Candidate) -> bool:
    if plain(c.text) == plain(other.text):
        return True
    smaller = min(len(c.stems), len(other.stems)) or 1
    if len(c.stems & other.stems) / smaller < _REPEATS:
        return False
    # The same words around another number say something else.
    mine = {n.value for n in facts.numbers(c.text)}
    theirs = {n.value for n in facts.numbers(other.text)}
    return not mine or not theirs or bool(mine & theirs)


def _newest(plan: Plan, passages: Sequence[Passage]) -> list[Candidate]:
    """The opening of each document, for a question about nothing in particular: newest first, or
    the liveliest story first."""
    opened: dict[str, Candidate] = {}
    for c in sorted(_candidates(plan, passages, {}), key=lambda c: (c.passage, c.span.start)):
        passage = passages[c.passage]
        key = passage.document.key
        begins = 0 if plan.overview is not None else passage.start + c.span.start
        if key not in opened and begins < _OPENING_CHARS:
            c.likelihood = 1.0
            opened[key] = c
    if plan.overview is not None:
        return list(opened.values())
    return sorted(opened.values(), key=lambda c: c.time, reverse=True)


def _laid_out(c: Candidate, passage: Passage) -> Draft | None:
    """A row with its header, an item with the line before the list, that line with its list."""
    text = passage.document.text
    start, end = passage.start + c.span.start, passage.start + c.span.end
    block = block_at(text, start)
    if block is None or block.head is None:
        return None
    spans: list[tuple[int, int]] = []
    said = ""
    if block.kind == "list" and block.head.start <= start and end <= block.head.end:
        lines = [x for x in block.lines if x.end - block.head.start <= PASSAGE_CHARS]
        if lines:
            spans = [(block.head.start, lines[-1].end)]
            said = text[block.head.start : lines[-1].end]
    else:
        line = next((x for x in block.lines if x.start <= start and end <= x.end), None)
        found = told_in_layout(text, line.start, line.end) if line is not None else None
        if line is not None and found is not None:
            said, head = found
            spans = [(head.start, head.end), (line.start, line.end)]
    if not spans:
        return None
    return Draft(
        text=" ".join(said.split()),
        spans=tuple((c.passage, a - passage.start, b - passage.start) for a, b in spans),
        confidence=round(c.likelihood, 3),
    )


def _draft(c: Candidate, chosen: Sequence[Candidate], passages: Sequence[Passage]) -> Draft:
    """The sentence, with its predecessor where it cannot stand alone."""
    passage = passages[c.passage]
    laid_out = _laid_out(c, passage)
    if laid_out is not None:
        return laid_out
    start = c.span.start
    text = passage.text
    if _LEANS.match(c.text):
        before = [s for s in sentences(text) if s.end <= c.span.start]
        gap = text[before[-1].end : c.span.start] if before else ""
        said = text[before[-1].start : before[-1].end] if before else ""
        told = any(o.passage == c.passage and before and o.span == before[-1] for o in chosen)
        if (
            before
            and not told
            and "\n\n" not in gap
            and not asks(said)
            and not addresses_machine(said)
        ):
            start = before[-1].start
    quote = text[start : c.span.end]
    return Draft(
        text=" ".join(quote.split()),
        spans=((c.passage, start, c.span.end),),
        confidence=round(c.likelihood, 3),
    )
