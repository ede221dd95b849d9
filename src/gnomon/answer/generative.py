"""The writer that lets a language model phrase the answer, one cited sentence at a time.

Models that the operator chose (`Generator.capable`) write freely. The small embedded one writes
only if `answer.embedded` says so, and then under a grammar, so that its citations are well-formed:
asked to state facts from passages it was right on 9 of 17 questions where quoting was right on 16,
and it never kept silent when it should have.

Whatever a model writes is a draft. Its spans are the quotations in the cited passages that come
nearest to its words, and the check decides.
"""

# ruff: noqa: SIM905 - a list of words reads best as one text

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from importlib import resources
from itertools import zip_longest

from msgspec import structs

from gnomon.answer.base import Draft, Plan, Question
from gnomon.answer.rank import time_of
from gnomon.answer.text import Span, sentences
from gnomon.answer.words import content, words
from gnomon.clock import in_utc, in_words
from gnomon.models.base import GenerateRequest, Generator, Message
from gnomon.types import Passage, Usage

PROMPT = "write.v3.md"
FENCE = "=====PASSAGES"
_CITED = re.compile(r"\[(\d{1,3})\]")
_SENTENCE = re.compile(
    r"\s*(?P<text>[^\[\]]*(?:\[(?!\d)[^\]]*\][^\[\]]*)*)(?P<marks>(?:\s*\[\d{1,3}\])+)(?:\s*[.!?])?"
)
_MAY_GO_ON = re.compile(r"\s*(?:\[\d{0,3})?")
_NO_ANSWER = re.compile(r"^\W*NO ANSWER\b", re.IGNORECASE)
_THOUGHT = re.compile(r"\s*<think(?:ing)?>.*?</think(?:ing)?>\s*", re.DOTALL)
_MAY_THINK = re.compile(
    r"\s*(?:<(?:t(?:h(?:i(?:n(?:k(?:i(?:n(?:g)?)?)?)?)?)?)?(?:>.*)?)?)?", re.DOTALL
)
_BEGINS = r"\s*\n\s*(?=\||#{1,6}\s|[-*+•]\s|\d{1,2}[.)]\s)"
_BLOCK = re.compile(_BEGINS)
"""A line that is a heading, an item of a list, or a row of a table."""
_LINE = re.compile(r"\s*\n\s*(?P<line>(?:\||#{1,6}\s)[^\n]*)(?P<end>\n?)")
_LINE_AHEAD = re.compile(r"\s*\n\s*(?:\||\Z)|\s*\Z")
_ITEM = re.compile(r"\s*\n\s*(?:[-*+•]|\d{1,2}[.)])\s+")
_CELL = re.compile(r"(?<!\\)\|")
_FIGURE = re.compile(r"[\d.,\s]*\d[\d.,\s]*")
_SAYS_LITTLE = frozenset(
    "state status value detail details what who where when time date day since until event "
    "description answer fact stand zustand wert was wer wo wann datum état valeur quoi estado "
    "valor qué fecha".split()
)
"""Columns that say no more than that a cell tells something."""
_AT_LENGTH = re.compile(
    r"\b(?:tables?|lists?|bullet points?|in (?:more |great )?detail|detailed|at length|"
    r"thorough(?:ly)?|long (?:answer|text|version)|compare|comparison|timeline|chronolog\w+|essay|"
    r"step by step|everything about|tabelle|liste|ausführlich\w*|vergleich\w*|tableau|"
    r"en détail|détaillée?s?|compare[rz]|tabla|lista|en detalle|detallad[oa]s?|compara)\b",
    re.IGNORECASE,
)
_LONG = 20
"""Sentences, items and rows of an answer that is asked for at length."""
_TOKENS = 512
_TOKENS_PER_SENTENCE = 100
_SMALL_READS = 5
"""Passages that a small model reads."""
_MAX_SPANS = 3
_MAX_TURNS = 4
_TURN_CHARS = 500


class GenerativeWriter:
    """Phrases the answer with a language model; every sentence names the passages it rests on."""

    def __init__(self, generator: Generator) -> None:
        """Write with `generator`."""
        self._generator = generator
        self.name = generator.name

    async def write(
        self, question: Question, plan: Plan, passages: Sequence[Passage]
    ) -> AsyncIterator[Draft | Usage]:
        """Yield each sentence as soon as its citation is complete, then the tokens used."""
        small = not self._generator.capable
        passages = passages[:_SMALL_READS] if small else passages
        question = question if small else roomy(question)
        request = compose(question, plan, passages)
        if small and getattr(self._generator, "grammars", False):
            request = structs.replace(request, grammar=grammar(question, passages))
        reader = Reader(passages)
        usage = Usage()
        written = 0
        async with aclosing(self._generator.stream(request)) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                if chunk.finish_reason is not None:
                    usage = Usage(
                        input_tokens=chunk.input_tokens, output_tokens=chunk.output_tokens
                    )
                for draft in reader.feed(chunk.text):
                    yield draft
                    written += 1
                    if written >= question.max_sentences:
                        yield usage
                        return
        for draft in reader.finish():
            if written < question.max_sentences:
                yield draft
                written += 1
        yield usage


class Reader:
    """Parses sentences that end in `[n]` out of a stream, also from lists and tables.

    Headings and introductions state nothing and are left out; an item is a sentence, and each row
    of a table is told as one.
    """

    def __init__(self, passages: Sequence[Passage]) -> None:
        """Citations refer to `passages`, counted from 1."""
        self._passages = passages
        self._rest = ""
        self._thinking = True
        self._columns: tuple[str, ...] = ()

    def feed(self, text: str) -> list[Draft]:
        """The drafts that `text` completes. What a model thinks aloud first is no draft."""
        self._rest += text
        if self._thinking:
            if not (thought := _THOUGHT.match(self._rest)) and _MAY_THINK.fullmatch(self._rest):
                return []
            self._rest = "\n" + (self._rest[thought.end() :] if thought else self._rest)
            self._thinking = False
        return self._read(final=False)

    def finish(self) -> list[Draft]:
        """What was still waiting; a last sentence without a citation cites nothing."""
        if self._thinking and "<" in self._rest:
            return []
        return self._read(final=True)

    def _read(self, *, final: bool) -> list[Draft]:
        drafts: list[Draft] = []
        while self._rest.strip():
            if line := _LINE.match(self._rest):
                if not line["end"] and not final:
                    break
                # The line's end stays: the next line begins behind it.
                self._rest = self._rest[line.end("line") :]
                drafts += self._row(line["line"]) if line["line"][0] == "|" else []
                continue
            if item := _ITEM.match(self._rest):
                self._rest = self._rest[item.end() :]
            self._columns = () if not _LINE_AHEAD.match(self._rest) else self._columns
            block = _BLOCK.search(self._rest)
            if block or final:
                end = block.start() if block else len(self._rest)
                drafts += self._prose(self._rest[:end])
                self._rest = self._rest[end:]
                continue
            match = _SENTENCE.match(self._rest)
            # Another mark or a full stop may follow: wait for what cannot belong to it.
            if match is None or _MAY_GO_ON.fullmatch(self._rest[match.end() :]):
                break
            drafts += self._draft(match)
            self._rest = self._rest[match.end() :]
        return drafts

    def _prose(self, text: str) -> list[Draft]:
        """All sentences of `text`, behind which another block begins."""
        drafts: list[Draft] = []
        while match := _SENTENCE.match(text):
            drafts += self._draft(match)
            text = text[match.end() :]
        rest = _unadorned(_CITED.sub("", text))
        if any(c.isalnum() for c in rest) and rest[-1] not in ":：" and not _NO_ANSWER.match(rest):
            drafts += [Draft(text=rest[s.start : s.end], spans=()) for s in sentences(rest)]
        return drafts

    def _row(self, line: str) -> list[Draft]:
        cells = tuple(
            _unadorned(_CITED.sub("", cell)).replace("\\|", "|")
            for cell in _CELL.split(line.strip().removeprefix("|").removesuffix("|"))
        )
        numbers = _numbers(line)
        if not any(c.isalnum() for cell in cells for c in cell):
            return []
        if not self._columns and not numbers:
            self._columns = cells
            return []
        said = [
            _cell(cell, column, first=i == 0)
            for i, (cell, column) in enumerate(zip_longest(cells, self._columns, fillvalue=""))
            if any(c.isalnum() for c in cell)
        ]
        text = said[0] + (": " + ", ".join(said[1:]) if said[1:] else "")
        return [Draft(text=_ended(text), spans=self._spans(text, numbers))]

    def _draft(self, match: re.Match[str]) -> list[Draft]:
        text = _unadorned(match["text"])
        if not any(c.isalnum() for c in text) or _NO_ANSWER.match(text):
            return []
        # Sentences without a mark of their own, before one that has it, cite nothing.
        *before, last = _told(_ended(text))
        uncited = [Draft(text=t, spans=()) for t in before]
        return [*uncited, Draft(text=last, spans=self._spans(last, _numbers(match["marks"])))]

    def _spans(self, text: str, numbers: Sequence[int]) -> tuple[tuple[int, int, int], ...]:
        spans = []
        for n in numbers:
            if 1 <= n <= len(self._passages):
                quoted = best_quote(text, self._passages[n - 1].text)
                spans.append((n - 1, quoted.start, quoted.end))
        return tuple(spans[:_MAX_SPANS])


def _numbers(marks: str) -> list[int]:
    return list(dict.fromkeys(int(n) for n in _CITED.findall(marks)))


def _told(text: str) -> list[str]:
    return [text[s.start : s.end] for s in sentences(text)]


def _ended(text: str) -> str:
    return text if text[-1] in '.!?…。！？"”»)' else text + "."


def _unadorned(text: str) -> str:
    """`text` on one line, without the marks of bold type."""
    return " ".join(text.replace("**", "").split())


def _cell(cell: str, column: str, *, first: bool) -> str:
    """A cell as it is told in a sentence: with its column, where that says what it is."""
    bare = column.lower() if column.istitle() else column
    if first or not bare or bare.lower() in _SAYS_LITTLE:
        return cell
    return f"{cell} {bare}" if _FIGURE.fullmatch(cell) else f"{bare} {cell}"


def roomy(question: Question) -> Question:
    """The question with as many sentences as the form needs that it asks for."""
    asked = f"{question.text}\n{question.instructions}"
    if question.max_sentences != Question(text="").max_sentences or not _AT_LENGTH.search(asked):
        return question
    return structs.replace(question, max_sentences=_LONG)


def grammar(question: Question, passages: Sequence[Passage]) -> str:
    """A GBNF that admits `NO ANSWER`, or sentences that each end in numbers of passages."""
    numbers = " | ".join(f'"{n}"' for n in range(1, len(passages) + 1)) or '"1"'
    more = max(0, question.max_sentences - 1)
    return (
        f'root ::= "NO ANSWER" | claim (" " claim){{0,{more}}}\n'
        'claim ::= text "." (" [" number "]"){1,2}\n'
        'text ::= [^\\[\\].\\n ] ([^\\[\\].\\n] | "." [^\\[\\].\\n ]){8,240}\n'
        f"number ::= {numbers}\n"
    )


def best_quote(sentence: str, passage: str) -> Span:
    """The one to three neighbouring sentences of `passage` that carry most of `sentence`."""
    wanted = {w.stem for w in content(sentence)}
    cut = sentences(passage)
    best, best_score = Span(0, len(passage)), -1.0
    for first in range(len(cut)):
        for last in range(first, min(first + 3, len(cut))):
            span = Span(cut[first].start, cut[last].end)
            found = {w.stem for w in words(passage[span.start : span.end])}
            score = len(wanted & found) / (len(wanted) or 1) - 0.06 * (last - first)
            if score > best_score:
                best, best_score = span, score
    return best


def compose(question: Question, plan: Plan, passages: Sequence[Passage]) -> GenerateRequest:
    """The request: rules and passages first and byte-stable, the question last."""
    rules = (resources.files("gnomon.answer") / "prompts" / PROMPT).read_text("utf-8")
    system = rules.replace("{max_sentences}", str(question.max_sentences)).replace("{fence}", FENCE)
    blocks = [f"[{i}] {_heading(p)}\n{fenced(p.text)}" for i, p in enumerate(passages, 1)]
    quoted = f"{FENCE} BEGIN\n" + "\n\n".join(blocks) + f"\n{FENCE} END"
    earlier = [
        f"Earlier question: {_cut(fenced(t.question))}\nEarlier answer: {_cut(fenced(t.answer))}"
        for t in question.history[-_MAX_TURNS:]
    ]
    wishes = [f"Wishes about form: {_cut(question.instructions)}"] if question.instructions else []
    moment = [f"Answer as of {in_utc(plan.as_of)}."] if plan.as_of else []
    ask = "\n".join([*earlier, *moment, *wishes, f"Question: {question.text}"])
    return GenerateRequest(
        messages=(
            Message(role="system", content=system.strip()),
            Message(role="user", content=f"{quoted}\n\n{ask}"),
        ),
        max_tokens=question.max_output_tokens
        or max(_TOKENS, _TOKENS_PER_SENTENCE * question.max_sentences),
        temperature=0.0,
    )


def fenced(text: str) -> str:
    """`text` such that it cannot end the fence or forge a passage's number."""
    safe = re.sub(r"={4,}", "===", text)
    safe = "".join(c if c.isprintable() or c == "\n" else " " for c in safe)
    return re.sub(r"(?m)^(\s*)\[(\d{1,3})\]", r"\1(\2)", safe)


def _heading(passage: Passage) -> str:
    document = passage.document
    title = fenced(" ".join(document.title.split()))[:200]
    beside = "".join(f" ({c.relation}: {fenced(c.text)})" for c in passage.context)
    when = in_words(time_of(document))
    return f"{title} ({fenced(document.source)}, {when}){beside}"


def _cut(text: str) -> str:
    return text if len(text) <= _TURN_CHARS else text[:_TURN_CHARS] + "…"
