"""A question without the words that only lead up to it.

"Could you please tell me who won the match?" asks "who won the match?"; "Summarize what happened at
the harbour in one sentence" asks what happened, and wants one sentence. Such words would otherwise
be searched for. They stand in `wording.toml`.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib import resources

from msgspec import structs

from gnomon.answer.base import Question
from gnomon.answer.named import MAX_CHARS
from gnomon.answer.words import content

_COUNTS = {"one": 1, "a single": 1, "two": 2, "three": 3, "four": 4, "five": 5}
_BRIEF = 2
"""Sentences of an answer that is to be brief."""
_DEEPEST = 3
"""So often one such phrase may follow another: "can you tell me | if you know | when …"."""
_AUXILIARY = re.compile(
    r"(?P<who>.{1,80}?)\s"
    r"(?P<verb>is|are|was|were|has|have|had|can|could|will|would|should)\s(?P<rest>\S.*)"
)


def plainly(question: Question) -> Question:
    """The question in as few words as ask it, and with as many sentences as it wants."""
    if len(question.text) > MAX_CHARS:
        return question
    plain = question.text.replace("’", "'")
    most = question.max_sentences
    text = plain
    if (wish := _pattern("sentences").search(text)) is not None:
        count = (wish["count"] or "").lower()
        most = min(most, (_COUNTS.get(count) or int(count)) if count else _BRIEF)
        text = _without(text, wish)
    elif (wish := _pattern("briefly").search(text)) is not None:
        most, text = min(most, _BRIEF), _without(text, wish)
    text = _asked(text)
    return question if text == plain else structs.replace(question, text=text, max_sentences=most)


def _asked(text: str) -> str:
    """`text` without what leads up to its question, as long as something is left to ask."""
    if (match := _pattern("thanks").search(text)) is not None:
        text = _without(text, match)
    if (match := _pattern("address").match(text)) is not None:
        text = _without(text, match)
    for _ in range(_DEEPEST):
        match = _pattern("asking").match(text)
        if match is None or not content(text[match.end() :]):
            break
        rest = text[match.end() :]
        text = _direct(rest) if match["whether"] else rest
    if (match := _pattern("latest").match(text)) is not None:
        text = f"What is the latest on {text[match.end() :]}"
    for name in ("summary", "like"):
        if (match := _pattern(name).match(text)) is not None:
            text = match["head"] + text[match.end() :]
    return text


def _without(text: str, match: re.Match[str]) -> str:
    mark = "?" if match[0].rstrip().endswith("?") else ""
    before, after = text[: match.start()].rstrip(), text[match.end() :].lstrip()
    rest = f"{before}{' ' if after[:1].isalnum() else ''}{after}{mark}".strip()
    return rest if content(rest) else text


def _direct(clause: str) -> str:
    """“the bridge is open” as a question: “is the bridge open”."""
    found = _AUXILIARY.match(clause)
    return f"{found['verb']} {found['who']} {found['rest']}" if found else f"does {clause}"


@cache
def _pattern(name: str) -> re.Pattern[str]:
    text = resources.files("gnomon.answer").joinpath("wording.toml").read_text("utf-8")
    told = tomllib.loads(text)
    if name == "asking":
        return re.compile(rf"[\s¿¡]*(?:{'|'.join(told['asking'])}){told['joining']}", re.IGNORECASE)
    anchored = name in ("address", "latest", "like", "summary")
    return re.compile((r"\s*" if anchored else "") + told[name], re.IGNORECASE)
