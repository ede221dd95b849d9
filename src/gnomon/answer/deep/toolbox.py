"""What a language model may do in a run: search, open a page that a result named, note, finish.

Arguments are checked against their types. Results are fenced as quoted material, and nothing in
them can call a tool: only the model's own calls are run, and a page is opened only if a search or a
page of this run showed its address, so that no text can make up an address to send data to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from importlib import resources
from typing import Annotated, Any

import msgspec

from gnomon.answer.base import Question
from gnomon.answer.check import Cited, check
from gnomon.answer.deep.base import Direction, Finding, Run
from gnomon.answer.generative import FENCE, best_quote, fenced
from gnomon.answer.pages import Pages, cut, links_in
from gnomon.answer.retrieve import citation
from gnomon.answer.support import Read
from gnomon.clock import in_utc, in_words
from gnomon.errors import GnomonError, StoreError
from gnomon.models.base import Message, Tool, ToolCall
from gnomon.record.base import Record
from gnomon.types import Answer, Citation, Document, Passage, VerdictKind

PROMPT = "deep.v1.md"
_SHOWN_CHARS = 900
_PAGE_PASSAGES = 8
_LINKS_SHOWN = 20

Line = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


class Search(msgspec.Struct, forbid_unknown_fields=True):
    """Search what was seen."""

    query: Line
    lang: Annotated[str, msgspec.Meta(max_length=12)] = ""
    since: datetime | None = None
    until: datetime | None = None


class Open(msgspec.Struct, forbid_unknown_fields=True):
    """Open a page."""

    url: Annotated[str, msgspec.Meta(min_length=8, max_length=2_000)]


class Note(msgspec.Struct, forbid_unknown_fields=True):
    """Put a claim into the notebook."""

    text: Line
    results: Annotated[list[int], msgspec.Meta(min_length=1, max_length=3)]


class Finish(msgspec.Struct, forbid_unknown_fields=True):
    """End the search."""


_DOES = {
    "search": (Search, "Search the record of live sources. Words, in any language."),
    "open": (Open, "Open a page whose address a result shows, and read it."),
    "note": (Note, "Note one claim, in a plain sentence, with the numbers of the results."),
    "finish": (Finish, "Say that nothing more is to be found."),
}


class Toolbox:
    """The tools of one run."""

    def __init__(
        self,
        run: Run,
        answer: Callable[[Question], Awaitable[Answer]],
        record: Record,
        pages: Pages | None,
        read: Read | None,
        *,
        keep: Callable[[Direction, Sequence[Finding]], list[Finding]],
        tell: Callable[[str, str], None],
    ) -> None:
        self.finished = False
        self._run = run
        self._answer = answer
        self._record = record
        self._pages = pages if run.as_of is None else None
        self._read = read
        self._keep = keep
        self._tell = tell
        self._results: list[Passage] = []
        self._known_urls: set[str] = set()

    @property
    def tools(self) -> tuple[Tool, ...]:
        """As the model is offered them."""
        return tuple(
            Tool(name=name, description=text, parameters=_schema(kind))
            for name, (kind, text) in _DOES.items()
            if name != "open" or self._pages is not None
        )

    def opening(self) -> list[Message]:
        """The rules, the question, and what the notebook holds already."""
        rules = (resources.files("gnomon.answer") / "prompts" / PROMPT).read_text("utf-8")
        asked = f"Question: {self._run.question}"
        if self._run.as_of is not None:
            asked += f"\nAs of {in_utc(self._run.as_of)}."
        if self._run.notebook:
            noted = "\n".join(f"- {fenced(f.text)}" for f in self._run.notebook)
            asked += f"\nIn the notebook already:\n{FENCE} BEGIN\n{noted}\n{FENCE} END"
        return [
            Message(role="system", content=rules.replace("{fence}", FENCE).strip()),
            Message(role="user", content=asked),
        ]

    async def run(self, call: ToolCall) -> str:
        """Do what the model asks; what is wrong with the call is the result."""
        known = {tool.name for tool in self.tools}
        if call.name not in known:
            return f"There is no tool {call.name[:40]}; there are {', '.join(sorted(known))}."
        kind = _DOES[call.name][0]
        try:
            arguments: Any = msgspec.json.decode(call.arguments or "{}", type=kind)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            return f"The arguments do not fit: {error}."
        try:
            match arguments:
                case Search():
                    return await self._search(arguments)
                case Open():
                    return await self._open(arguments.url)
                case Note():
                    return await asyncio.to_thread(self._note, arguments)
        except StoreError:
            raise
        except GnomonError as error:
            self._tell("refused", str(error))
            return f"That failed: {error.message}"
        self.finished = True
        return "Finished."

    async def _search(self, wanted: Search) -> str:
        self._tell("asked", wanted.query)
        self._run.behind.append(wanted.query)
        question = Question(
            text=wanted.query,
            as_of=self._run.as_of,
            mode="extract",
            langs=(wanted.lang,) if wanted.lang else (),
            since=_utc(wanted.since),
            until=_utc(wanted.until),
            max_sentences=6,
        )
        answer = await self._answer(question)
        self._run.disputes += [d.text for d in answer.disagreements]
        self._run.silent += [s.title or s.name for s in answer.freshness.silent]
        cited = [*answer.citations, *(d.citation for d in answer.disagreements)]
        cited += [answer.closest] if answer.closest is not None else []
        if not cited:
            self._run.empty.append(wanted.query)
            return "Nothing was found."
        passages = await asyncio.to_thread(lambda: [self._around(c) for c in cited])
        return self._shown([p for p in passages if p is not None])

    async def _open(self, url: str) -> str:
        if self._pages is None or url not in self._known_urls:
            return "Only an address that a result of this run shows can be opened."
        document, links = await self._pages.open(url)
        self._tell("opened", document.title or url)
        self._known_urls.update(links[:_LINKS_SHOWN])
        shown = self._shown(cut(document)[:_PAGE_PASSAGES])
        listed = "\n".join(fenced(link) for link in links[:_LINKS_SHOWN])
        return f"{shown}\nLinks on it:\n{FENCE} BEGIN\n{listed}\n{FENCE} END" if links else shown

    def _note(self, note: Note) -> str:
        unknown = [n for n in note.results if not 1 <= n <= len(self._results)]
        if unknown:
            return f"There is no result {unknown[0]}."
        citations, spans = [], []
        for n in note.results:
            passage = self._results[n - 1]
            span = best_quote(note.text, passage.text)
            start, end = passage.start + span.start, passage.start + span.end
            citations.append(citation(passage, n, start, end))
            spans.append(Cited(passage.document, start, end))
        verdict = check(note.text, spans, self._read)
        if verdict.kind not in (VerdictKind.SUPPORTED, VerdictKind.PARTLY):
            return f"Refused, {verdict.kind.value.replace('_', ' ')}: {' '.join(verdict.reasons)}"
        finding = Finding(
            text=note.text,
            citations=tuple(citations),
            verdict=verdict,
            direction=self._run.behind[-1] if self._run.behind else self._run.question,
            why="model",
        )
        kept = self._keep(Direction(self._run.question, "model"), [finding])
        return f"Noted, {verdict.kind.value}." if kept else "That is in the notebook already."

    def _around(self, c: Citation) -> Passage | None:
        """A citation with what stands around it."""
        document = self._record.version(c.key, c.version).document
        if document is None:
            return None
        start = max(0, c.start - 200)
        end = min(len(document.text), c.end + 400)
        return Passage(
            document=document, start=start, end=end, text=document.text[start:end],
            copies=c.copies, copy_sources=c.copy_sources, context=c.context,
        )  # fmt: skip

    def _shown(self, passages: Sequence[Passage]) -> str:
        blocks = []
        for passage in passages:
            self._results.append(passage)
            document = passage.document
            self._known_urls.update(links_in(passage.text))
            if document.url:
                self._known_urls.add(document.url)
            blocks.append(
                f"[{len(self._results)}] {_heading(document)}\n"
                f"{fenced(passage.text[:_SHOWN_CHARS])}"
            )
        return f"{FENCE} BEGIN\n" + "\n\n".join(blocks) + f"\n{FENCE} END"


def _heading(document: Document) -> str:
    when = document.published_at or document.observed_at
    shown = in_words(when) if when else "undated"
    title = fenced(" ".join(document.title.split()))[:200]
    return f"{title} ({fenced(document.source)}, {shown}) {fenced(document.url)}"


def _schema(kind: type) -> dict[str, Any]:
    (schema,), parts = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    found: dict[str, Any] = parts[kind.__name__] if "$ref" in schema else schema
    return {k: v for k, v in found.items() if k not in ("title", "description")}


def _utc(moment: datetime | None) -> datetime | None:
    if moment is None or moment.tzinfo is not None:
        return moment
    return moment.replace(tzinfo=UTC)
