"""What a question takes for granted: named where the evidence does not say it, or says otherwise.

"Why did the mayor resign?" tells as much as it asks. Where nothing says that she did, no reason can
be right, however near a sentence comes; where a source says that she did not, that is the answer.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Collection, Sequence
from itertools import pairwise

import msgspec

from gnomon.answer.base import Draft, Plan, Question
from gnomon.answer.check import Embed, kindred, opposed
from gnomon.answer.context import heading
from gnomon.answer.instructions import addresses_machine, asks
from gnomon.answer.rank import time_of
from gnomon.answer.text import sentences
from gnomon.answer.words import Word, content, negated, stems
from gnomon.types import Passage, Usage

_WHY = re.compile(
    r"^\W*(?:so\s+)?(?:why|how come|for what reason)\s+"
    r"(?:(?:did|do|does|is|are|was|were|has|have|had)\s+)?(?P<clause>(?!(?:should|would|could|can|might)\b)[^?]{3,200})",
    re.IGNORECASE,
)
_DENIES = re.compile(
    r"\b(?:den(?:y|ies|ied)|refut\w+|false|untrue|not true|hoax|rumou?rs?|no truth|invented|"
    r"remains?|stays?|dementiert|falsch|gerücht|dément\w*|desmient\w*|falso)\b",
    re.IGNORECASE,
)
_NO_VERB = re.compile(
    r"ly$|^(?:today|tonight|yesterday|tomorrow|early|late|soon|ago|together|away|home|abroad)$"
)
_PLACES = (
    *("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth"),
    *("tenth", "eleventh", "twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth"),
    *("seventeenth", "eighteenth", "nineteenth", "twentieth"),
)
_SECOND = 2
_ORDINAL = re.compile(
    rf"\b(?:(?P<digits>\d{{1,6}})(?:st|nd|rd|th)|(?P<word>{'|'.join(_PLACES)}))\b", re.IGNORECASE
)
_DID = re.compile(
    r"\b(?:when|where|how much|how many|how long|(?:what|which)\b[^?]{0,40}?)\s+did\s+"
    r"(?P<clause>(?:the\s+)?(?-i:[A-Z])[^?]{3,160})",
    re.IGNORECASE,
)
_NO_DEED = re.compile(rf"ly$|^(?:{'|'.join(_PLACES)}|last|ever|once|also|get|make|take|have)$")
_NEAR = 0.5
"""Cosine of two words from which one may stand for the other."""


class Premise(msgspec.Struct, frozen=True, kw_only=True):
    """Something taken for granted that the evidence does not bear out."""

    clause: str
    """As the question has it."""
    note: str
    draft: Draft | None = None
    """The sentence that says otherwise, if one does."""


class Naming:
    """Writes what contradicts the premise, or nothing."""

    name = "extractive"

    def __init__(self, premise: Premise) -> None:
        """Write for this premise."""
        self._premise = premise

    async def write(
        self, question: Question, plan: Plan, passages: Sequence[Passage]
    ) -> AsyncIterator[Draft | Usage]:
        """Yield the sentence that says otherwise, if one does."""
        if self._premise.draft is not None:
            yield self._premise.draft


def untrue(asked: Plan, passages: Sequence[Passage], embed: Embed | None = None) -> Premise | None:
    """What `asked` takes for granted and `passages` do not say; None where they do, or none is.

    Only a clause with a subject that is spoken of is judged: about what nothing speaks of, silence
    says enough. `embed` knows which words mean nearly the same.
    """
    clause = _taken_for_granted(asked)
    if clause is None:
        return _uncounted(asked, passages) or _undone(asked, passages, embed)
    parts = _parts(clause)
    if parts is None:
        return None
    subject, predicate = parts
    denial: tuple[int, int, int] | None = None
    spoken_of = False
    for i, p in sorted(enumerate(passages), key=lambda each: time_of(each[1].document)):
        title = stems(heading(p))
        if not subject <= title | stems(p.text):
            continue
        spoken_of = True
        for span in sentences(p.text):
            text = p.text[span.start : span.end]
            held = stems(text)
            if asks(text) or addresses_machine(text):
                continue
            opposite = predicate.stem not in held and opposed(predicate.text, text)
            said = not opposite and (
                predicate.stem in held
                or bool(kindred(predicate.stem) & held)
                or nearly(predicate.text, text, embed)
            )
            denied = negated(text) or bool(_DENIES.search(text))
            if said and not denied:
                return None
            named = bool(subject & (held | title))
            if (said and denied and named) or (opposite and subject <= held | title):
                denial = (i, span.start, span.end)
    if not spoken_of:
        return None
    if denial is None:
        note = f"The question takes for granted “{clause}”: nothing that was found says so."
        return Premise(clause=clause, note=note)
    i, start, end = denial
    quote = " ".join(passages[i].text[start:end].split())
    return Premise(
        clause=clause,
        note=f"The question takes for granted “{clause}”: what was found says otherwise.",
        draft=Draft(text=quote, spans=((i, start, end),)),
    )


def _uncounted(asked: Plan, passages: Sequence[Passage]) -> Premise | None:
    """A place in a row that nothing tells: "the tenth crusade" where nine are told of."""
    for match in _ORDINAL.finditer(asked.focus):
        place, counted = _place(match), content(asked.focus[match.end() :])[:1]
        if place < _SECOND or not counted or asked.focus[match.end() :][:1] not in " '’":
            continue
        read = [f"{heading(p)}\n{p.text}" for p in passages]
        spoken_of = any(counted[0].stem in stems(t) for t in read)
        if spoken_of and not any(place == _place(m) for t in read for m in _ORDINAL.finditer(t)):
            clause = asked.focus[match.start() : match.end() + counted[0].end].strip()
            note = f"The question takes for granted “{clause}”: nothing that was found says so."
            return Premise(clause=clause, note=note)
    return None


def _undone(asked: Plan, passages: Sequence[Passage], embed: Embed | None) -> Premise | None:
    """What one name did to another, where the first is spoken of and nothing tells that deed."""
    match = _DID.search(asked.focus)
    told = content(match["clause"]) if match is not None else []
    first = next((i for i, w in enumerate(told) if w.text[:1].islower()), 0)
    deed = next((w for w in told[first:] if w.text.islower() and not _NO_DEED.search(w.text)), None)
    if match is None or not first or deed is None:
        return None
    doer = {w.stem for w in told[:first]}
    other = {w.stem for w in told if w.start > deed.start and w.text[:1].isupper()}
    if not other:
        return None
    spoken_of = False
    for p in passages:
        title = stems(heading(p))
        if not doer <= title | stems(p.text):
            continue
        spoken_of = True
        before: set[str] = set()
        for span in sentences(p.text):
            text = p.text[span.start : span.end]
            held = stems(text)
            if other <= held | before | title and (
                deed.stem in held
                or bool(kindred(deed.stem) & held)
                or nearly(deed.text, text, embed)
            ):
                return None
            before = held
    if not spoken_of:
        return None
    clause = match["clause"].strip(" .!")
    note = f"The question takes for granted “{clause}”: nothing that was found says so."
    return Premise(clause=clause, note=note)


def _place(match: re.Match[str]) -> int:
    return int(match["digits"]) if match["digits"] else _PLACES.index(match["word"].lower()) + 1


def _taken_for_granted(asked: Plan) -> str | None:
    """The clause behind a "why did", if it says something of somebody."""
    match = _WHY.match(asked.focus)
    if match is None:
        return None
    clause = match["clause"].strip(" .!")
    return clause if 2 <= len(content(clause)) <= 6 else None


def _parts(clause: str) -> tuple[set[str], Word] | None:
    """The stems of who or what, and what is said of it: the last word that may be a verb."""
    told = content(clause)
    verbs = [
        w
        for before, w in pairwise(told)
        if w.text.islower()
        and w.text.isalpha()
        and not _NO_VERB.search(w.text)
        and not clause[before.end : w.start].strip(" ,")
    ]
    if not verbs:
        return None
    subject = {w.stem for w in told if w.start < verbs[-1].start}
    return subject, verbs[-1]


def nearly(
    word: str,
    text: str,
    embed: Embed | None,
    *,
    least: float = _NEAR,
    but: Collection[str] = (),
) -> bool:
    """Whether a word of `text` means nearly what `word` does: by a cosine of at least `least`.

    Words whose stem is in `but` stand for something else: in "swimming pool" swimming is none.
    """
    others = list(dict.fromkeys(w.text.lower() for w in content(text) if w.stem not in but))
    vectors = embed([word.lower(), *others]) if embed is not None and others else None
    return vectors is not None and bool((vectors[1:] @ vectors[0]).max() >= least)
