"""Events that a question counts time from: "before the vote", "since the fire".

The record says when: if all that tells of the event as having happened was published within a few
days, it happened before the first of them. Where several events fit, or none, no time is set, and
the plan says which.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal, NamedTuple, TypeAlias

from msgspec import structs

from gnomon.answer.base import Plan, Question
from gnomon.answer.bearing import comes
from gnomon.answer.rank import time_of
from gnomon.answer.words import content, stems, words
from gnomon.clock import in_utc
from gnomon.index.base import Index, Query
from gnomon.record.base import Record
from gnomon.types import Document

_HITS = 20
_HEAD_CHARS = 400
_ONE_EVENT = timedelta(days=4)
"""Reports of one event follow each other without a longer pause."""
_NAMED = r"(?P<event>(?:the|this|that|last|its|his|her|their)\s+[^?!.,;]{3,60}?)"
_END = (
    r"(?=\s*(?:[?!.,;]|$|"
    r"\b(?:and|or|in|on|at|did|does|do|is|are|was|were|has|have|had|who|what)\b))"
)
_NOUN = r"(?-i:[A-ZÄÖÜ])\w+(?: (?-i:[A-ZÄÖÜ])\w+)?"
Sense: TypeAlias = Literal["since", "until"]
_FORMS: tuple[tuple[Sense, str], ...] = (
    ("since", rf"\b(?:ever since|since|after|following)\s+{_NAMED}{_END}"),
    ("until", rf"\b(?:before|until|till|up to|ahead of|prior to)\s+{_NAMED}{_END}"),
    ("since", r"\b(?:seit|nach) (?P<event>(?:dem|der) " + _NOUN + ")"),
    ("until", r"\bvor (?P<event>(?:dem|der) " + _NOUN + ")"),
    ("until", r"\bbis zu[mr] (?P<event>" + _NOUN + ")"),
    ("since", r"\b(?:depuis|après) (?P<event>(?:le |la |l')[^?!.,;]{3,40})(?=[?!.,;]|$)"),
    ("until", r"\bavant (?P<event>(?:le |la |l')[^?!.,;]{3,40})(?=[?!.,;]|$)"),
    ("since", r"\b(?:desde|después de|tras) (?P<event>(?:el |la )[^?!.,;]{3,40})(?=[?!.,;]|$)"),
    ("until", r"\bantes de(?:l| la) (?P<event>[^?!.,;]{3,40})(?=[?!.,;]|$)"),
)
_EVENTS = tuple((sense, re.compile(form, re.IGNORECASE)) for sense, form in _FORMS)


_KNOWN = re.compile(
    r"\b(?:was|were) (?:already )?(?:known|believed|thought|expected|planned)\b|"
    r"\bdid (?:we|one|people|anyone|anybody) know\b",
    re.IGNORECASE,
)
"""What was known before an event is asked as of then."""


class Event(NamedTuple):
    """An event as a question names it."""

    sense: Sense
    said: str
    """The words with which the question counts from it."""
    words: str


def named(text: str) -> Event | None:
    """The event that the words of `text` count time from; None if they name none."""
    for sense, pattern in _EVENTS:
        match = pattern.search(text)
        if match is not None and content(match["event"]):
            return Event(sense, match[0].strip(), match["event"].strip())
    return None


def dated(question: Question, asked: Plan, record: Record, index: Index) -> Plan:
    """`asked` with the time of the event that its words name, as the record dates it.

    Untouched where a time is named already, or no event.
    """
    event = named(question.text)
    if event is None or asked.since is not None or asked.until is not None:
        return asked
    groups = _apart(_reports(event, question, asked, record, index))
    if not groups:
        note = f"When “{event.words}” was, nothing that was seen tells: no time was set."
        return structs.replace(asked, notes=(*asked.notes, note))
    if len(groups) > 1:
        days = ", ".join(f"{time_of(g[0]):%Y-%m-%d}" for g in groups[-4:])
        note = f"“{event.words}” may be one of several ({days}): no time was set."
        return structs.replace(asked, notes=(*asked.notes, note))
    first = groups[0][0]
    moment = time_of(first)
    bound = "since" if event.sense == "since" else "before"
    note = (
        f"“{event.said}” was read as {bound} {in_utc(moment)}, when {first.source} "
        f"told of it{f': “{first.title}”' if first.title else ''}."
    )
    asked = _without(asked, event)
    if event.sense == "since":
        return structs.replace(asked, since=moment, notes=(*asked.notes, note))
    if _KNOWN.search(question.text):
        return structs.replace(asked, as_of=moment, notes=(*asked.notes, note))
    return structs.replace(asked, until=moment, notes=(*asked.notes, note))


def _reports(
    event: Event, question: Question, asked: Plan, record: Record, index: Index
) -> list[Document]:
    """What tells of the event as of something that has happened, oldest first."""
    told = content(event.words)
    query = Query(
        text=" ".join(f"+{w.text}" for w in told),
        limit=_HITS,
        as_of=asked.as_of,
        recency=0.0,
        sources=question.sources,
        not_domains=question.not_domains,
    )
    hits = index.search(query).hits
    wanted = {w.stem for w in told}
    found = []
    for document in record.by_seq([hit.seq for hit in hits]):
        if document is None or document.kind in ("post", "comment"):
            continue
        head = f"{document.title}\n{document.text[:_HEAD_CHARS]}"
        if wanted <= stems(head) and not comes(head):
            found.append(document)
    return sorted(found, key=time_of)


def _apart(reports: Sequence[Document]) -> list[list[Document]]:
    """Reports in groups, one for each event."""
    groups: list[list[Document]] = []
    last: datetime | None = None
    for document in reports:
        if last is None or time_of(document) - last > _ONE_EVENT:
            groups.append([])
        groups[-1].append(document)
        last = time_of(document)
    return groups


def _without(asked: Plan, event: Event) -> Plan:
    """The plan without the event's words, unless nothing else is asked about."""
    gone = {w.stem for w in content(event.words)}
    terms = tuple(t for t in asked.terms if t not in gone)
    if not terms:
        return asked
    kept = [w.text for w in words(asked.search_text) if w.stem not in gone]
    return structs.replace(
        asked,
        terms=terms,
        search_text=" ".join(kept),
        subject=tuple(w for w in asked.subject if not stems(w) & gone),
    )
