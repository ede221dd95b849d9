"""What a question is, what a pipeline streams, and what a writer promises."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Literal, Protocol, TypeAlias

import msgspec

from gnomon.types import Answer, Citation, Document, Freshness, Passage, Sentence, Usage

AnswerMode = Literal["fast", "extract"]
"""`fast`: the best writer that is ready; `extract`: quoted sentences only, no language model."""


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """An earlier question of the thread and what was answered."""

    question: str
    answer: str


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What a person asks. Filters narrow what may be cited."""

    text: str
    zone: str = "UTC"
    """The time zone (IANA) that its words of time mean: whose morning is "this morning"."""
    as_of: datetime | None = None
    mode: AnswerMode = "fast"
    history: tuple[Turn, ...] = ()
    instructions: str = ""
    """Wishes about form and language, for writers that can follow them."""
    since: datetime | None = None
    until: datetime | None = None
    sources: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    langs: tuple[str, ...] = ()
    authors: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    not_domains: tuple[str, ...] = ()
    within: tuple[str, ...] = ()
    """Only documents whose keys begin with one of these; empty means all."""
    given: tuple[Document, ...] = ()
    """Texts that came with the question. They may be cited, first of all, and are not stored."""
    follow_ups: bool = False
    """Whether the answer should come with questions that follow on it."""
    max_sentences: int = 4
    max_output_tokens: int | None = None
    """For a model that phrases; None: as many as its sentences need."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What will be searched for, and how newness counts."""

    search_text: str
    expects: str = "text"
    """The answer type: person, place, time, number, reason, yes_no, definition, list, text."""
    recency: float = 0.3
    half_life_s: float = 3 * 86_400.0
    terms: tuple[str, ...] = ()
    """The content words that an answer should cover."""
    notes: tuple[str, ...] = ()
    since: datetime | None = None
    """Start of the time that the question's own words name; tried first, not enforced."""
    until: datetime | None = None
    as_of: datetime | None = None
    """The moment to answer as of; None is now."""
    focus: str = ""
    """The clause that asks, without the statements before it."""
    state: bool = False
    """Whether it asks how something stands, so that a newer statement replaces an older one."""
    allowed: bool = False
    """Whether it asks if something can be done: "Can I drive through it?"."""
    overview: tuple[str, ...] | None = None
    """Where it asks what happened at large: no words for everywhere. None: it asks otherwise."""
    leans: bool = False
    """Read with the questions before it, though it may stand alone: tried alone next."""
    subject: tuple[str, ...] = ()
    """Of a question about how something stands, the words that say of what, as written."""


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """The question was understood."""

    plan: Plan


class Retrieved(msgspec.Struct, frozen=True, kw_only=True):
    """Evidence is there. `citations` are candidates in rank order, not yet quoted by a sentence."""

    citations: tuple[Citation, ...]
    freshness: Freshness
    took_ms: float


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """One more checked sentence, with the citations that it introduced."""

    sentence: Sentence
    citations: tuple[Citation, ...] = ()


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """The whole answer; always the last event."""

    answer: Answer


AnswerEvent: TypeAlias = Planned | Retrieved | Written | Finished


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A sentence as written, not yet checked: its text and the spans that it rests on.

    A span is (index into the passages, start, end), counted from the beginning of that passage. It
    may lie outside of it, in the same document: the header of a long table.
    """

    text: str
    spans: tuple[tuple[int, int, int], ...]
    confidence: float = 1.0


class Writer(Protocol):
    """Turns passages into draft sentences. Never trusted: every draft is checked after it."""

    @property
    def name(self) -> str:
        """As shown on the answer."""
        ...

    def write(
        self, question: Question, plan: Plan, passages: Sequence[Passage]
    ) -> AsyncIterator[Draft | Usage]:
        """Yield drafts in reading order, and a Usage at the end if tokens were used.

        Yielding no draft means: the passages do not answer the question.
        """
        ...
