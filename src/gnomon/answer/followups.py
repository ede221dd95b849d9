"""Short questions that follow on an answer, each of which the record can answer.

They are made by rule from what was read and not told: a reason, a date, a price, the other side of
a disagreement, something new of what an answer names. Each is looked up before it is offered;
without evidence of its own it is dropped. No question at all is better than a dull one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import urlsplit

from gnomon.answer import facts
from gnomon.answer.instructions import addresses_machine
from gnomon.answer.reliability import trusted
from gnomon.answer.text import sentences
from gnomon.answer.words import content, is_negation, stems, words
from gnomon.types import Answer, Passage

MOST = 3
"""So many are offered."""
MOST_LOOKED_UP = 6
"""So many are looked up to find them."""
_MAX_CHARS = 70
_ENGLISH = ("", "en", "und")
_SAME = 0.6
"""From this share of common words on, two questions ask the same."""
_TOLD = 0.8
"""From this share of its words on, a text tells nothing new."""
_SUBJECT = r"(?P<subject>The [\w'’ -]{3,40}?|(?:[A-Z][\w'’-]+ ){0,3}[A-Z][\w'’-]+)"
_WHEN = re.compile(
    rf"^{_SUBJECT} (?:will|(?:is|are) (?:due|expected|set) to) (?P<be>(?:be )?)"
    r"(?P<deed>[a-z]+)\b(?!\s+(?:not|never))[^.;]{0,60}?"
    r"\b(?:on|at|from|in|by|until|next|tomorrow|tonight)\b"
)
_WHY = re.compile(
    rf"^{_SUBJECT} (?P<aux>is|are|was|were) (?P<deed>[a-z]+(?:ed|en|ut|down|late|shut))\b"
    r"[^.;]{0,80}?\b(?:because|due to|owing to|after)\b"
)
_COST = re.compile(rf"^{_SUBJECT} (?:will cost|costs)\b")
_PLURAL = re.compile(r"(?:[^s]s|people|men|women|children)$")
_NO_DEED = frozenset(("have", "get", "go", "come", "make", "take", "not", "never", "also", "still"))

Tells = Callable[[str], Sequence[str]]
"""What the record answers to a question, as sentences; empty if it does not."""


def follow_ups(answer: Answer, passages: Sequence[Passage], tells: Tells) -> tuple[str, ...]:
    """At most three questions that `tells` answers and `answer` has not answered."""
    if answer.abstained or any(c.lang not in _ENGLISH for c in answer.citations):
        return ()
    told = [s.text for s in answer.sentences]
    told += [d.other for d in answer.disagreements] + [s.text for s in answer.superseded]
    asked = [answer.question]
    chosen: list[str] = []
    looked_up = 0
    for question in _candidates(answer, passages, told):
        if len(chosen) == MOST or looked_up == MOST_LOOKED_UP:
            break
        if len(question) > _MAX_CHARS or any(_alike(question, each) for each in asked):
            continue
        asked.append(question)
        looked_up += 1
        said = tells(question)
        if any(not _said(text, told) for text in said[:1]):
            chosen.append(question)
            told += said[:1]
    return tuple(chosen)


def _candidates(answer: Answer, passages: Sequence[Passage], told: Sequence[str]) -> Iterator[str]:
    """Questions worth looking up, the most telling first. Only English ones are made."""
    about = stems(answer.question) | {s for text in told for s in stems(text)}
    untold = [
        text
        for passage in passages
        if passage.document.lang in _ENGLISH and trusted(passage)
        for text in _sentences(passage)
        if not _said(text, told)
    ]
    subject = {w.stem for w in content(answer.question)}
    near = [text for text in untold if stems(text) & subject]
    for text in near:
        yield from _of(text)
    for other in answer.disagreements:
        site = (urlsplit(other.citation.url).hostname or "").removeprefix("www.")
        names = [n.text for n in facts.names(answer.question)]
        if "." in site and names and not site[-1].isdigit():
            yield f"What does {site} say about {names[0]}?"
    for text in untold:
        yield from _of(text) if stems(text) & about else ()
    known = stems(answer.question)
    for sentence in answer.sentences:
        for name in facts.names(sentence.text):
            if " " in name.text and not known & set(name.stems):
                yield f"What is the latest on {name.text}?"


def _of(text: str) -> Iterator[str]:
    """The questions that a sentence answers by its form."""
    if (match := _WHEN.match(text)) and match["deed"] not in _NO_DEED:
        yield f"When will {_inside(match['subject'])} {match['be']}{match['deed']}?"
    if match := _WHY.match(text):
        yield f"Why {match['aux']} {_inside(match['subject'])} {match['deed']}?"
    if match := _COST.match(text):
        subject = _inside(match["subject"])
        yield f"How much {'do' if _PLURAL.search(subject) else 'does'} {subject} cost?"


def _inside(subject: str) -> str:
    """A subject as it stands inside a sentence."""
    return f"the {subject[4:]}" if subject.startswith("The ") else subject


def _sentences(passage: Passage) -> Iterator[str]:
    for span in sentences(passage.text):
        text = passage.text[span.start : span.end].strip()
        if "?" in text or addresses_machine(text, orders=False):
            continue
        if any(is_negation(w.text) for w in words(text)[:6]):
            continue
        yield text


def _said(text: str, told: Sequence[str]) -> bool:
    mine = {w.stem for w in content(text)}
    return any(len(mine & {w.stem for w in content(each)}) >= _TOLD * len(mine) for each in told)


def _alike(one: str, other: str) -> bool:
    """Whether both ask the same. "When will the bridge open?" asks another thing than "Why …"."""
    first, second = ([w.text.lower() for w in words(text)[:1]] for text in (one, other))
    if first != second:
        return False
    mine, theirs = ({w.stem for w in content(text)} for text in (one, other))
    return len(mine & theirs) >= _SAME * len(mine | theirs)
