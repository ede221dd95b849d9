"""A chosen sentence as it is quoted: made to stand alone, a row with its header."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gnomon.answer.base import Draft
from gnomon.answer.candidates import Candidate
from gnomon.answer.instructions import addresses_machine, asks
from gnomon.answer.layout import block_at
from gnomon.answer.layout import told as told_in_layout
from gnomon.answer.text import PASSAGE_CHARS, sentences
from gnomon.types import Passage

LEANS = re.compile(
    r"^[\"“'(]*(?:but|however|and|so|also|then|still|instead|meanwhile|he|she|they|it|his|her|their|"
    r"its|this|that|these|those|such|both|there|aber|er|sie|dies\w*|mais|il|elle|pero)\b",
    re.IGNORECASE,
)


def drafted(c: Candidate, chosen: Sequence[Candidate], passages: Sequence[Passage]) -> Draft:
    """The sentence, with its predecessor where it cannot stand alone."""
    passage = passages[c.passage]
    laid_out = _laid_out(c, passage)
    if laid_out is not None:
        return laid_out
    start = c.span.start
    text = passage.text
    if LEANS.match(c.text):
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
