"""From the notebook to the report. Every sentence passes the desk, whoever wrote it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from importlib import resources

from msgspec import structs

from gnomon.answer import facts
from gnomon.answer.base import Draft, Plan, Question
from gnomon.answer.deep.base import Figure, Finding, Report, Row, Run, Section
from gnomon.answer.deep.directions import titled
from gnomon.answer.desk import Desk
from gnomon.answer.generative import FENCE, Reader, fenced
from gnomon.answer.plan import plan
from gnomon.answer.reliability import trusted
from gnomon.answer.support import Read
from gnomon.clock import in_words
from gnomon.models.base import GenerateRequest, Message
from gnomon.record.base import Record
from gnomon.types import Citation, Document, Passage, Sentence, Usage

PROMPT = "report.v1.md"
_SUMMARY = 3
_PER_SECTION = 6
_TIMELINE_FROM = 3
_FIGURES_FROM = 2
_HEADING = re.compile(r"^\s{0,3}#{1,4}\s+(.{1,120}?)\s*#*\s*$", re.MULTILINE)
_COUNTED = re.compile(r"[ -]?[^\W\d_][\w/]*|\s?[%‰€$£¥°]\w?")
_HEADINGS = {
    "other side": "The other side",
    "before": "Before",
    "language": "In other languages",
    "link": "From linked pages",
    "model": "Findings",
}


class _Quoting:
    """A writer that hands over drafts which are there already."""

    def __init__(self, name: str, drafts: Sequence[Draft]) -> None:
        self.name = name
        self._drafts = drafts

    async def write(
        self, question: Question, plan: Plan, passages: Sequence[Passage]
    ) -> AsyncIterator[Draft | Usage]:
        for draft in self._drafts:
            yield draft


class Writing:
    """One report on its way: what the notebook holds, ready to be quoted and checked."""

    def __init__(self, run: Run, record: Record, read: Read | None) -> None:
        """Findings whose document was erased meanwhile are left out."""
        self.run = run
        self.passages: list[Passage] = []
        self.drafts: list[tuple[Finding, Draft]] = []
        places: dict[tuple[int, int, int], int] = {}
        for finding in run.notebook:
            spans = []
            for c in finding.citations:
                found = record.version(c.key, c.version).document
                if found is None or found.text[c.start : c.end] != c.quote:
                    continue
                place = (c.seq, c.start, c.end)
                if place not in places:
                    places[place] = len(self.passages)
                    self.passages.append(_passage(c, found))
                spans.append((places[place], 0, c.end - c.start))
            if spans:
                self.drafts.append((finding, Draft(text=finding.text, spans=tuple(spans))))
        self._asked = Question(text=run.question, max_sentences=1_000, as_of=run.as_of)
        self._plan = plan(self._asked, run.as_of or run.created_at)
        self._desk = Desk(self._asked, self._plan, self.passages, read=read, unsupported="drop")

    async def by_quoting(self) -> Report:
        """Sections by what was asked, each sentence a source's own."""
        answers = [d for f, d in self.drafts if f.why == "question"]
        summary = await self._checked(
            "extractive", (answers or [d for _, d in self.drafts])[:_SUMMARY]
        )
        sections = []
        for heading, drafts in self._grouped().items():
            sentences = await self._checked("extractive", drafts[:_PER_SECTION])
            if sentences:
                sections.append(Section(heading=heading, sentences=sentences))
        return self._whole(summary, sections, "extractive")

    async def from_text(self, text: str, writer: str) -> Report:
        """Sections as a language model wrote them; what the desk refuses is not in them."""
        parts = _HEADING.split(text)
        summary = await self._checked(writer, self._read(parts[0]))
        sections = []
        for heading, body in zip(parts[1::2], parts[2::2], strict=True):
            sentences = await self._checked(writer, self._read(body))
            if sentences and not summary:
                summary = sentences
            elif sentences:
                sections.append(Section(heading=heading.strip(), sentences=sentences))
        return self._whole(summary, sections, writer)

    def request(self, max_tokens: int, wishes: str = "") -> GenerateRequest:
        """What a language model is asked, to write the report from the notebook alone."""
        rules = (resources.files("gnomon.answer") / "prompts" / PROMPT).read_text("utf-8")
        blocks = [
            f"[{i}] {fenced(p.document.source)}, {in_words(_when(p))}\n{fenced(p.text)}"
            for i, p in enumerate(self.passages, 1)
        ]
        told = rules.replace("{fence}", FENCE).strip()
        quoted = f"{FENCE} BEGIN\n" + "\n\n".join(blocks) + f"\n{FENCE} END"
        return GenerateRequest(
            messages=(
                Message(role="system", content="\n\n".join(t for t in (told, wishes) if t)),
                Message(role="user", content=f"{quoted}\n\nQuestion: {self.run.question}"),
            ),
            max_tokens=max_tokens,
        )

    def _read(self, text: str) -> list[Draft]:
        reader = Reader(self.passages)
        return [*reader.feed(text), *reader.finish()]

    async def _checked(self, writer: str, drafts: Sequence[Draft]) -> tuple[Sentence, ...]:
        written = [w.sentence async for w in self._desk.checked(_Quoting(writer, drafts))]
        # The desk sees the notebook alone; when a claim was found, all that was read was compared.
        known = {f.text: f.origins for f in self.run.notebook}
        return tuple(
            structs.replace(s, origins=max(s.origins, known.get(s.text, 1))) for s in written
        )

    def _unsure(self, told: Sequence[Sentence]) -> list[str]:
        """What the findings dispute among themselves, and what nobody reliable tells."""
        out = [d.text for d in self._desk.disagreements]
        by_place = {(p.document.key, p.start): p for p in self.passages}
        for sentence in told:
            cited = [self._desk.citations[n - 1] for n in sentence.citations]
            passages = [by_place.get((c.key, c.start)) for c in cited]
            own = {c.source for c in cited}
            if own >= set(sentence.also) and not any(p and trusted(p) for p in passages):
                names = ", ".join(sorted(own))
                out.append(f"Told by {names} alone, which is no reliable source: “{sentence.text}”")
        return out

    def _grouped(self) -> Mapping[str, list[Draft]]:
        out: dict[str, list[Draft]] = {}
        for finding, draft in self.drafts:
            out.setdefault(heading(finding), []).append(draft)
        return out

    def _whole(self, summary: Sequence[Sentence], sections: Sequence[Section], by: str) -> Report:
        citations = tuple(self._desk.citations)
        every = [*summary, *(s for section in sections for s in section.sentences)]
        return Report(
            summary=tuple(summary),
            sections=tuple(sections),
            timeline=_timeline(every, citations),
            figures=_figures(every, citations),
            uncertain=tuple(uncertain(self.run, every, self._unsure(every))),
            citations=citations,
            writer=by,
            notes=tuple(self._desk.remarks()),
        )


def heading(finding: Finding) -> str:
    """The section that a finding belongs to."""
    if finding.why in ("aspect", "entity", "question"):
        return titled(finding.direction)
    return _HEADINGS[finding.why]


def uncertain(run: Run, told: Sequence[Sentence], unsure: Sequence[str] = ()) -> list[str]:
    """What a reader cannot rely on, in plain words."""
    out = list(dict.fromkeys([*run.disputes, *unsure]))
    out += [f"Asked and not found: {text}" for text in dict.fromkeys(run.empty)]
    alone = [s for s in told if s.origins <= 1]
    if told and len(alone) == len(told):
        out.append("Nothing of this is told by a second, independent origin.")
    elif alone:
        out.append(f"{len(alone)} of {len(told)} sentences are told by one origin alone.")
    out += [f"Silent, so not heard: {name}." for name in dict.fromkeys(run.silent)]
    if run.ahead:
        out.append(f"{len(run.ahead)} further directions were not looked into: {run.ended}")
    return out


def _timeline(sentences: Sequence[Sentence], citations: Sequence[Citation]) -> tuple[Row, ...]:
    by_number = {c.number: c for c in citations}
    rows: list[Row] = []
    for s in sentences:
        cited = by_number.get(s.citations[0]) if s.citations else None
        if cited is not None and cited.published_at is not None:
            rows.append(Row(at=cited.published_at, text=s.text, citation=cited.number))
    rows.sort(key=lambda r: r.at)
    return tuple(rows) if len({r.at for r in rows}) >= _TIMELINE_FROM else ()


def _figures(sentences: Sequence[Sentence], citations: Sequence[Citation]) -> tuple[Figure, ...]:
    """Numbers that count something, those of one unit together, newest first."""
    by_number = {c.number: c for c in citations}
    found: dict[str, list[Figure]] = {}
    for s in sentences:
        cited = by_number.get(s.citations[0]) if s.citations else None
        for number in facts.numbers(s.text) if cited is not None else ():
            if cited is None or not number.unit or not any(c.isdigit() for c in number.text):
                continue
            row = Figure(
                figure=_with_unit(s.text, number), text=s.text,
                at=cited.published_at, citation=cited.number,
            )  # fmt: skip
            rows = found.setdefault(number.unit, [])
            if not any((r.figure, r.citation) == (row.figure, row.citation) for r in rows):
                rows.append(row)
    for rows in found.values():
        rows.sort(key=lambda r: r.at.timestamp() if r.at else 0.0, reverse=True)
    told = [row for rows in found.values() for row in rows]
    return tuple(told) if len(told) >= _FIGURES_FROM else ()


def _with_unit(text: str, number: facts.Number) -> str:
    """A number as it stands, with the word behind it that says what it counts."""
    word = _COUNTED.match(text, number.end) if number.text[-1].isdigit() else None
    return number.text + (word[0] if word else "")


def _passage(c: Citation, document: Document) -> Passage:
    return Passage(
        document=document,
        start=c.start,
        end=c.end,
        text=document.text[c.start : c.end],
        copies=c.copies,
        copy_sources=c.copy_sources,
    )


def _when(passage: Passage) -> datetime:
    moment = passage.document.published_at or passage.document.observed_at
    if moment is None:  # the record stamps every version
        raise ValueError(f"{passage.document.key} has no time")
    return moment
