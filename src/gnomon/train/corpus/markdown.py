"""What a Markdown document shows: headings, paragraphs, lists and the rows of tables.

Marks, addresses behind links, blocks of code, comments and front matter are left out: the quality
rules were made for what a reader sees, and to them most of `[this](there.md)` holds no letter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from markdown_it import MarkdownIt

_FRONT = re.compile(r"\A---\n.*?\n(?:---|\.\.\.)\n", re.DOTALL)
_GAP = re.compile(r"\n{3,}")
_PARSER = MarkdownIt("commonmark").enable("table")


def shown(text: str) -> str:
    """The text as a reader sees it, a paragraph, item or row of a table on a line."""
    lines: list[str] = []
    marks: list[str] = []
    cells: list[str] | None = None
    for token in _PARSER.parse(_FRONT.sub("", text)):
        kind = token.type
        if kind == "list_item_open":
            marks.append(f"{token.info}{token.markup} " if token.info else "- ")
        elif kind == "tr_open":
            cells = []
        elif kind == "tr_close":
            lines.append(", ".join(cell for cell in cells or () if cell))
            cells = None
        elif kind == "inline" and cells is not None:
            cells.append(_said(token.children or ()))
        elif kind == "inline":
            lines.append("".join(marks[-1:]) + _said(token.children or ()))
            marks.clear()
        elif kind in ("bullet_list_close", "ordered_list_close", "table_close") or (
            kind in ("paragraph_close", "heading_close") and not token.hidden and not token.level
        ):
            marks.clear()
            lines.append("")
    return _GAP.sub("\n\n", "\n".join(lines)).strip()


def _said(tokens: Iterable[Any]) -> str:
    parts = []
    for token in tokens:
        if token.type in ("softbreak", "hardbreak"):
            parts.append(" ")
        elif token.type in ("text", "code_inline", "image"):
            parts.append(token.content)
    return " ".join("".join(parts).split())
