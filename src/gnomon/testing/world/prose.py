"""Prose with choices: `[a|b]` picks one by seed, `{name}` puts in a value.

The same choice in the same place falls the same way, so that an edit of a text changes only
what the edit changes.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from gnomon.testing.world.moments import Moment

_CHOICE: Final = re.compile(r"\[([^\[\]]*\|[^\[\]]*)\]")
_NAME: Final = re.compile(r"\{[a-z_]\w*(?::[a-z]+)?\}")
_SENTENCE_START: Final = re.compile(r"(?:^|(?<=[.!?] )|(?<=\n))[a-zäöü]")


def choose(text: str, place: str) -> str:
    """`text` with every `[a|b|…]` resolved, innermost first; nested choices are allowed."""

    def pick(found: re.Match[str]) -> str:
        options: list[str] = found[1].split("|")
        return random.Random(f"{place} {found[1]}").choice(options)

    while _CHOICE.search(text):
        text = _CHOICE.sub(pick, text)
    return text


def fill(text: str, values: Mapping[str, Any], written: datetime) -> str:
    """`text` with its values, moments as seen from `written`, and paragraphs in one line each.

    Raises KeyError for a name that nobody defined.
    """
    seen = {
        name: Moment(value, written) if isinstance(value, datetime) else value
        for name, value in values.items()
    }
    filled = text.format_map(seen)
    paragraphs = (" ".join(part.split()) for part in re.split(r"\n\s*\n", filled))
    return "\n\n".join(part for part in paragraphs if part)


def pattern(text: str, values: Mapping[str, Any], written: datetime) -> str:
    """A regular expression with its values; plain ones match literally, its braces stay."""

    def value(found: re.Match[str]) -> str:
        filled = fill(found[0], values, written)
        return filled if found[0].endswith(":re}") else re.escape(filled)

    return _NAME.sub(value, text)


def write(text: str, values: Mapping[str, Any], written: datetime, place: str) -> str:
    """`fill` after `choose`, every sentence with a capital first letter."""
    done = fill(choose(text, place), values, written)
    return _SENTENCE_START.sub(lambda found: found[0].upper(), done)
