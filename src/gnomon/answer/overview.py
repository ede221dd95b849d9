"""Questions about nothing in particular: what happened, what is new, what the news is.

They are answered by the liveliest stories of the time asked about, a sentence each, and not by
what happens to hold the question's words.
"""

# ruff: noqa: SIM905 - a list of words reads best as one text

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from gnomon.answer.base import Plan, Question
from gnomon.answer.rank import admitted
from gnomon.answer.retrieve import Evidence
from gnomon.answer.stories import WINDOW, reported
from gnomon.answer.words import Word, fold
from gnomon.clock import in_utc
from gnomon.index.base import Index, Query
from gnomon.record.base import Record
from gnomon.types import Passage

_STORIES = 8
_ASKS = re.compile(
    r"\b(?P<en>news|headlines?|top stories|what(?:'s| is| has been| was| have i)? "
    r"(?:happen\w*|going on|new|changed|missed?)|what(?:'s| is) up|catch me up|"
    r"(?:brief|update) me|bring me up to (?:date|speed)|(?:daily|morning|evening|news) "
    r"(?:brief(?:ing)?|summary|overview|roundup)|any(?:thing)? new)\b"
    r"|\b(?P<de>was (?:geschah|passierte)|was (?:ist|war|gibt|geht)\b(?: \w+){0,3} "
    r"(?:passiert|los|geschehen|neues|vor)|"
    r"nachrichten|schlagzeilen)\b"
    r"|\b(?P<fr>quoi de neuf|qu'est-ce qui se passe|que se passe|qu'est-il arrivé|"
    r"(?:que|qu'est-ce qui) s'est(?:-il)? passé|actualités?|"
    r"nouvelles)\b"
    r"|\b(?P<es>qué (?:pasa|ha pasado|pasó|hay de nuevo)|noticias|novedades|titulares)\b",
    re.IGNORECASE,
)
_NAME = r"[^\W\d_a-z][\w'’-]*"
_WHERE = re.compile(
    rf"\b(?:in|from|around|across|aus|en|de|à|au)\s+(?:the\s+)?"
    rf"(?P<place>{_NAME}(?:\s(?:of\s)?{_NAME})*)"
)
_EVERYWHERE = frozenset(
    "town city village country world place here around there area region local global everything "
    "anything something things thing everyone people news headline headlines story stories event "
    "events top main big biggest major important breaking update updates brief briefing summary "
    "overview roundup daily catch bring give show tell list date speed missed miss far hi hello "
    "stadt welt land ort hier nachrichten schlagzeilen wichtigste wichtigsten los passiert "
    "geschehen geschah passierte gibt neues heutige ville monde pays ici neuf actualites actualite "
    "nouvelles s'est il passe arrive principales ciudad mundo pais aqui noticias novedades "
    "titulares pasa pasado paso nuevo".split()
)
"""Words that narrow such a question to nothing."""


def place(text: str, about: Sequence[Word]) -> tuple[str, ...] | None:
    """Where `text` asks what happened at large: nothing for everywhere, else the place's name.

    None if it asks something else. `about` are its telling words.
    """
    if not _ASKS.search(_plain(text)):
        return None
    where = _WHERE.search(text)
    inside = range(where.start(), where.end()) if where else ()
    named = [w for w in about if fold(w.text) not in _EVERYWHERE]
    if not all(w.start in inside for w in named):
        return None
    return (where["place"],) if where and named else ()


def _plain(text: str) -> str:
    return text.replace("’", "'")


def survey(
    question: Question, asked: Plan, record: Record, index: Index, now: datetime
) -> Evidence | None:
    """A report of each story, the liveliest first; none if nothing was told in a time that is
    named. None if other ways of finding are to be tried."""
    moment = asked.as_of or now
    until = min(asked.until or moment, moment)
    since = asked.since or until - WINDOW
    among = Query(
        text=" ".join(f'"{name}"' for name in asked.overview or ()),
        as_of=asked.as_of,
        since=max(since, question.since) if question.since else since,
        until=min(until, question.until) if question.until else until,
    )
    among = admitted(question, among)
    spoken = _ASKS.search(_plain(question.text))
    lang = (spoken.lastgroup or "") if spoken else ""
    found = reported(record, index, until, among, limit=_STORIES, lang=lang)
    if not found:
        # Of a time that was named, other times tell nothing.
        named = asked.since is not None and not asked.overview
        return Evidence(surveyed=True) if named else None
    passages = [
        Passage(
            document=told.document,
            start=told.span.start,
            end=told.span.end,
            text=told.document.text[told.span.start : told.span.end],
            score=round(told.lively / found[0].lively, 4) if found[0].lively else 0.0,
            origin=told.document.key,
            copies=1 + told.copies,
        )
        for told in found
    ]
    documents = sum(told.story.documents for told in found)
    return Evidence(
        passages=tuple(passages),
        notes=(f"What is told most since {in_utc(since)}, in {documents} documents.",),
        hits=documents,
        surveyed=True,
    )
