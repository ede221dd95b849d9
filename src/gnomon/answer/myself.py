"""Words to Gnomon itself: a greeting, thanks, who it is, what it can do, what it follows, the time.

What it says of itself is a text like any other: made at the moment, quoted, checked and cited. The
sentences stand in `myself.toml`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from importlib import resources

import msgspec

from gnomon.answer.base import Question
from gnomon.answer.retrieve import Evidence
from gnomon.types import CALL_PREFIX, Document, Passage, SourceState

_MAX_CHARS = 80
_NAMED = 8
"""How many sources are told by name."""
_MARKS = " \t\n.!?¡¿…,:;)(\"'👋🙏"
_AND = re.compile(r"[.!?…,]\s+(?:and\s+|und\s+|et\s+|y\s+)?|\s+(?:and|und|et|y)\s+")


class _Said(msgspec.Struct, frozen=True):
    lang: str
    asks: re.Pattern[str]
    says: str


def of_itself(
    question: Question,
    states: Sequence[SourceState],
    silent: Sequence[SourceState],
    now: datetime,
) -> Evidence | None:
    """What answers words to Gnomon itself; None if the question is about the world."""
    if question.within or question.given or not (asked := _asked(question.text)):
        return None
    names = [state.title or state.name for state in states]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    quiet = f"; silent now: {_some(silent)}" if silent else ""
    fields = {
        "count": len(states),
        "names": (", ".join(names[:_NAMED]) + more) or "none yet",
        "silent": quiet,
        "now": f"{now.astimezone(UTC):%H:%M UTC, %Y-%m-%d}",
    }
    passages: list[Passage] = []
    for says in dict.fromkeys(one.says for one in asked):
        text = says.format(**fields)
        key = f"{CALL_PREFIX}gnomon:{len(passages)}"
        document = Document(
            key=key,
            source="gnomon",
            kind="file",
            title="Gnomon about itself",
            text=text,
            lang=asked[0].lang,
            published_at=now,
            observed_at=now,
        )
        passages.append(
            Passage(document=document, start=0, end=len(text), text=text, score=1.0, origin=key)
        )
    return Evidence(passages=tuple(passages), surveyed=True)


def to_itself(text: str) -> bool:
    """Whether these are words to Gnomon itself."""
    return bool(_asked(text))


def _asked(text: str) -> list[_Said]:
    """What each part of the text asks of Gnomon itself; nothing if one part asks otherwise."""
    if len(text) > _MAX_CHARS:
        return []
    plain = text.replace("’", "'").lower()
    parts = [part for piece in _AND.split(plain) if (part := piece.strip(_MARKS))]
    said = [next((one for one in _all_said() if one.asks.fullmatch(p)), None) for p in parts]
    asked = [one for one in said if one is not None]
    return asked if len(asked) == len(said) else []


def _some(states: Sequence[SourceState]) -> str:
    names = [state.title or state.name for state in states]
    return ", ".join(names[:_NAMED]) + (" and more" if len(names) > _NAMED else "")


@cache
def _all_said() -> tuple[_Said, ...]:
    text = resources.files("gnomon.answer").joinpath("myself.toml").read_text("utf-8")
    return tuple(
        _Said(one["lang"], re.compile(one["asks"]), one["says"])
        for one in tomllib.loads(text)["said"]
    )
