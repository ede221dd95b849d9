"""Tables and lists in plain text: where they stand, and what their rows and items belong to.

A row says nothing without its header, an item nothing without the line that introduces it. Cells
are parted by ` | `, as extraction writes them; items begin with a bullet or a number. Whether the
first row of a table is a header cannot always be told from text. Only where a column of numbers
stands under a word are the cells of a row named by it; else header and row are quoted side by side.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import lru_cache
from typing import Literal

import msgspec

from gnomon.answer.words import plain

CELL = " | "
BULLET = re.compile(r"\s*(?:[-*•·–—▪◦]|\d{1,3}[.)])\s+(?=\S)")
_ANY_BULLET = re.compile(r"^[ \t]{0,40}(?:[-*•·–—▪◦]|\d{1,3}[.)])[ \t]", re.MULTILINE)
_LINE = re.compile(r"[^\n]+")
_RULE = re.compile(r"[\s|:+-]*-{2,}[\s|:+-]*")
_NUMBER = re.compile(r"[^\w\s]{0,2}\d[\d.,:/ ’'–-]*\s?(?:%|[^\W\d_]{1,3})?[^\w\s]?")
_YEAR = re.compile(r"(?:19|20)\d\d")
_HEAD_CHARS = 60
_LEAD_CHARS = 300
_CAPTION_CHARS = 120
_LARGEST = 60_000


class Line(msgspec.Struct, frozen=True):
    """A half-open range of code points: a row, an item, a heading."""

    start: int
    end: int


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """A table or a list."""

    kind: Literal["table", "list"]
    start: int
    """Where its caption or the line that introduces it begins, else its first line."""
    end: int
    lines: tuple[Line, ...]
    """Rows without the header; items."""
    head: Line | None = None
    """The header of a table, the line that introduces a list."""
    typed: bool = False
    """Whether the header surely names the cells below it."""


@lru_cache(maxsize=256)
def blocks(text: str) -> tuple[Block, ...]:
    """The tables and lists of `text` (its first 60,000 characters), in order."""
    if CELL not in text and not _ANY_BULLET.search(text):
        return ()
    lines = [Line(m.start(), m.end()) for m in _LINE.finditer(text[:_LARGEST]) if m[0].strip()]
    found: list[Block] = []
    at = free = 0
    while at < len(lines):
        kind = _kind(text, lines[at])
        stop = at + 1
        while stop < len(lines) and kind and _goes_on(text, lines[stop - 1], lines[stop], kind):
            stop += 1
        if kind and stop - at >= 2:
            before = lines[at - 1] if at > free else None
            free = stop
            make = _table if kind == "table" else _list
            found.append(make(text, lines[at:stop], before))
        at = stop
    return tuple(found)


def block_at(text: str, at: int) -> Block | None:
    """The table or list in which the character at `at` stands."""
    known = blocks(text)
    index = bisect_right([b.start for b in known], at) - 1
    return known[index] if index >= 0 and at < known[index].end else None


def told(text: str, start: int, end: int) -> tuple[str, Line] | None:
    """How the row or item `text[start:end]` is told with what it belongs to, and where that stands.

    None for anything else, and where nothing introduces it.
    """
    block = block_at(text, start)
    if block is None or block.head is None:
        return None
    line = next((x for x in block.lines if x.start <= start and end <= x.end), None)
    if line is None:
        return None
    head, said = text[block.head.start : block.head.end], text[line.start : line.end]
    if block.kind == "list":
        return f"{head.strip()} {BULLET.sub('', said, count=1).strip()}", block.head
    names, cells = _cells(head), _cells(said)
    if block.typed and len(names) == len(cells):
        pairs = (f"{n}: {c}" if n else c for n, c in zip(names, cells, strict=True) if c)
        return "; ".join(pairs), block.head
    return f"{CELL.join(names)} – {CELL.join(cells)}", block.head


def stands(sentence: str, text: str, head: tuple[int, int], line: tuple[int, int]) -> bool:
    """Whether `sentence` tells exactly a row or an item of `text` with what it belongs to."""
    found = told(text, *line)
    if found is None:
        return False
    said, known = found
    return known.start <= head[0] < head[1] <= known.end and plain(said) == plain(sentence)


def _kind(text: str, line: Line) -> Literal["table", "list"] | None:
    said = text[line.start : line.end]
    if CELL in said or said.lstrip().startswith("| "):
        return "table"
    return "list" if BULLET.match(said) else None


def _goes_on(text: str, last: Line, line: Line, kind: str) -> bool:
    gap = text[last.end : line.start].count("\n")
    said = text[line.start : line.end]
    if kind == "table":
        return gap == 1 and (_kind(text, line) == "table" or bool(_RULE.fullmatch(said)))
    return gap <= 2 and _kind(text, line) == "list"


def _table(text: str, lines: list[Line], before: Line | None) -> Block:
    rows = [x for x in lines if not _RULE.fullmatch(text[x.start : x.end])]
    start = rows[0].start
    while len(rows) > 2 and sum(map(bool, _cells(text[rows[0].start : rows[0].end]))) == 1:
        rows = rows[1:]  # a caption that was written as a row
    cells = [_cells(text[x.start : x.end]) for x in rows]
    ruled = len(lines) > 1 and bool(_RULE.fullmatch(text[lines[1].start : lines[1].end]))
    named = len(rows) > 1 and (ruled or _names(cells[0]))
    if before is not None and _captions(text, before, lines[0]):
        start = before.start
    return Block(
        kind="table",
        start=start,
        end=lines[-1].end,
        lines=tuple(rows[1:] if named else rows),
        head=rows[0] if named else None,
        typed=named and (ruled or _typed(cells)),
    )


def _list(text: str, lines: list[Line], before: Line | None) -> Block:
    head = None
    if before is not None and text[before.start : before.end].rstrip().endswith((":", "：")):
        near = text[before.end : lines[0].start].count("\n") <= 2
        head = _last_sentence(text, before) if near else None
    return Block(
        kind="list",
        start=head.start if head is not None else lines[0].start,
        end=lines[-1].end,
        lines=tuple(lines),
        head=head,
    )


def _last_sentence(text: str, line: Line) -> Line | None:
    from gnomon.answer.text import sentences  # which asks this module where tables stand

    cut = sentences(text[line.start : line.end])
    if not cut or cut[-1].end - cut[-1].start > _LEAD_CHARS:
        return None
    return Line(line.start + cut[-1].start, line.start + cut[-1].end)


def _captions(text: str, before: Line, row: Line) -> bool:
    said = text[before.start : before.end].strip()
    return (
        text[before.end : row.start].count("\n") <= 2
        and len(said) <= _CAPTION_CHARS
        and not said.endswith((".", "!", "?"))
    )


def _cells(row: str) -> list[str]:
    row = row.strip()
    if row.startswith("|") and row.endswith("|"):  # as Markdown writes it
        row = row[1:-1]
    return [cell.strip() for cell in row.split("|")]


def _names(cells: list[str]) -> bool:
    """Whether these could be the names of columns: short words, no figures but years."""
    return sum(map(bool, cells)) >= 2 and all(
        len(c) <= _HEAD_CHARS and (not _NUMBER.fullmatch(c) or bool(_YEAR.fullmatch(c)))
        for c in cells
    )


def _typed(cells: list[list[str]]) -> bool:
    """Whether some column of three or more holds a word above nothing but figures, or the first
    cell is an empty corner."""
    head, rows = cells[0], cells[1:]
    if len(head) < 3 or any(len(row) != len(head) for row in rows):
        return False
    if not head[0] and all(head[1:]):  # the corner of a table with names on two sides
        return True
    return any(
        not _NUMBER.fullmatch(name) and all(_NUMBER.fullmatch(row[i]) for row in rows)
        for i, name in enumerate(head)
        if name
    )
