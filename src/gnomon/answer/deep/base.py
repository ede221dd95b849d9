"""What a deep run is: its budget, its notebook, its events, its report."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from gnomon.clock import in_words
from gnomon.types import Citation, Sentence, Verdict

Status = Literal["running", "done", "cancelled", "failed"]
Why = Literal["question", "aspect", "entity", "other side", "language", "before", "link", "model"]


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """How much a run may spend. It ends with a report when any of these is used up."""

    steps: int = 16
    """Searches and pages opened; with a language model, its turns."""
    seconds: float = 180.0
    usd: float | None = None
    """Money for the language model, by the prices in the settings; None sets no limit."""


class Spent(msgspec.Struct, kw_only=True):
    """What a run has used so far; it goes on counting after a restart."""

    steps: int = 0
    seconds: float = 0.0
    usd: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0


class Direction(msgspec.Struct, frozen=True):
    """One thing to find out, or a page to open."""

    text: str
    why: Why
    langs: tuple[str, ...] = ()
    url: str = ""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A claim in the notebook, with the words that carry it."""

    text: str
    citations: tuple[Citation, ...]
    verdict: Verdict
    direction: str
    why: Why
    origins: int = 1


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """A heading and checked sentences."""

    heading: str
    sentences: tuple[Sentence, ...]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the report's timeline."""

    at: datetime
    text: str
    citation: int


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the report's table of figures."""

    figure: str
    """The number with what it counts, as it stands in the sentence."""
    text: str
    at: datetime | None
    citation: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome. Every sentence carries its verdict, like those of any answer."""

    summary: tuple[Sentence, ...] = ()
    sections: tuple[Section, ...] = ()
    timeline: tuple[Row, ...] = ()
    """What was reported when, oldest first; empty where there is too little for a table."""
    figures: tuple[Figure, ...] = ()
    """What was counted and measured; empty where a single number is told."""
    uncertain: tuple[str, ...] = ()
    """What stayed open: disputed, told by one origin alone, asked and not found."""
    citations: tuple[Citation, ...] = ()
    writer: str = "extractive"
    notes: tuple[str, ...] = ()


class Run(msgspec.Struct, kw_only=True):
    """Everything that a run knows; stored after each step, so that a restart loses at most one."""

    id: str
    owner: str
    question: str
    created_at: datetime
    as_of: datetime | None = None
    budget: Budget = Budget()
    status: Status = "running"
    ended: str = ""
    """Why it ended, in a sentence."""
    spent: Spent = msgspec.field(default_factory=Spent)
    ahead: list[Direction] = []
    behind: list[str] = []
    """What was asked or opened already."""
    empty: list[str] = []
    """What was asked and not answered."""
    notebook: list[Finding] = []
    disputes: list[str] = []
    silent: list[str] = []
    dry: int = 0
    """Steps in a row that brought nothing new."""
    report: Report | None = None
    billed: str = ""
    """Whom its tokens are counted for, in the words of whoever began it."""
    counted_tokens: int = 0
    """Of what is spent, how many were counted for them already."""
    memories: tuple[str, ...] = ()
    """Ids of what is remembered for its owner and had a part in it."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened in a run. Numbers count from 1 without a hole."""

    n: int
    at: datetime
    name: Literal["begun", "asked", "found", "opened", "refused", "noted", "resumed", "ended"]
    text: str


def markdown(run: Run) -> str:
    """The report as Markdown, citations as `[n]` and listed at its end."""
    report = run.report
    if report is None:
        return ""
    lines = [f"# {run.question}", ""]
    if report.summary:
        lines += [_prose(report.summary), ""]
    for section in report.sections:
        lines += [f"## {section.heading}", "", _prose(section.sentences), ""]
    if report.timeline:
        lines += ["## Timeline", "", "| when | what |", "|---|---|"]
        lines += [f"| {in_words(r.at)} | {_cell(r.text)} [{r.citation}] |" for r in report.timeline]
        lines.append("")
    if report.figures:
        lines += ["## In figures", "", "| figure | reported | what is said |", "|---|---|---|"]
        lines += [
            f"| {_cell(f.figure)} | {in_words(f.at) if f.at else 'undated'} | {_cell(f.text)} "
            f"[{f.citation}] |"
            for f in report.figures
        ]
        lines.append("")
    if report.uncertain:
        lines += ["## What stayed uncertain", "", *(f"- {u}" for u in report.uncertain), ""]
    if report.citations:
        lines += ["## Sources", ""]
        lines += [
            f"{c.number}. {c.title or c.key} ({c.source}, {_stamp(c)}) {c.url}".rstrip()
            for c in report.citations
        ]
        newest = max((t for c in report.citations if (t := c.published_at)), default=None)
        lines += ["", f"Newest evidence: {in_words(newest)}."] if newest else []
    lines += ["", *(f"Note: {note}" for note in report.notes)] if report.notes else []
    return "\n".join(lines).strip() + "\n"


def _prose(sentences: tuple[Sentence, ...]) -> str:
    return " ".join(s.text + "".join(f" [{n}]" for n in s.citations) + _marks(s) for s in sentences)


def _marks(sentence: Sentence) -> str:
    """What a reader must know about a sentence at once."""
    kind = sentence.verdict.kind.value
    marks = {"supported": [], "partly": ["partly supported"]}.get(kind, [kind.replace("_", " ")])
    marks += [f"stood until {in_words(sentence.until)}"] if sentence.until else []
    marks += ["disputed"] if sentence.disputed else []
    return f" ({', '.join(marks)})" if marks else ""


def _stamp(citation: Citation) -> str:
    if citation.published_at is not None:
        return in_words(citation.published_at)
    seen = citation.observed_at
    return f"undated, first seen {in_words(seen)}" if seen else "undated"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
