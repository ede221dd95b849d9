"""A stored answer without the words of documents that were purged since.

Their terms oblige the record to forget them, and what an answer quoted of them is theirs as well.
Offsets stay what they were: blanks take the place of the words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import Any, TypeAlias

from msgspec import structs

from gnomon.types import Answer, Citation, Sentence

Version: TypeAlias = "tuple[str, int]"
"""Key and version of a document."""

_PURGED = "[purged]"
_LONG = 12
"""So short a text may stand anywhere by chance."""


def shown(answer: Answer) -> set[Version]:
    """The stored documents whose words the answer shows."""
    found: set[Version] = set()
    for citation in _citations(answer):
        found.add((citation.key, citation.version))
        found.update((context.key, context.version) for context in citation.context)
    return {version for version in found if version[0] and version[1]}


def without(
    answer: Answer, response: Mapping[str, Any], gone: Set[Version]
) -> tuple[Answer, dict[str, Any]]:
    """The answer and the response that was sent, with nothing of what is `gone` in them."""
    words: set[str] = set()
    for citation in _citations(answer):
        words |= {c.text for c in citation.context if (c.key, c.version) in gone}
        if _of(citation) in gone:
            words |= {citation.quote, *(title for title in [citation.title] if len(title) > _LONG)}
    for disagreement in answer.disagreements:
        if _of(disagreement.citation) in gone:
            words |= {disagreement.text, disagreement.other}
    words |= {s.text for s in answer.superseded if _of(s.citation) in gone}
    numbers = {c.number for c in answer.citations if _of(c) in gone}
    quotes = {word for word in words if word}
    words |= {s.text for s in answer.sentences if _rests(s, numbers, quotes)}
    longest_first = sorted(filter(None, words), key=len, reverse=True)
    kept = structs.replace(
        answer,
        sentences=tuple(
            structs.replace(s, text=_blank(s.text)) if _rests(s, numbers, quotes) else s
            for s in answer.sentences
        ),
        citations=tuple(_cleaned(c, gone) for c in answer.citations),
        closest=None if answer.closest and _of(answer.closest) in gone else answer.closest,
        disagreements=tuple(d for d in answer.disagreements if _of(d.citation) not in gone),
        superseded=tuple(s for s in answer.superseded if _of(s.citation) not in gone),
        notes=tuple(_replaced(note, longest_first) for note in answer.notes),
    )
    return kept, {name: _replaced(value, longest_first) for name, value in response.items()}


def _citations(answer: Answer) -> Iterator[Citation]:
    yield from answer.citations
    yield from (each.citation for each in answer.disagreements)
    yield from (each.citation for each in answer.superseded)
    if answer.closest is not None:
        yield answer.closest


def _of(citation: Citation) -> Version:
    return citation.key, citation.version


def _rests(sentence: Sentence, numbers: Set[int], quotes: Set[str]) -> bool:
    """Whether the sentence has words of what is gone, or nothing else to rest on."""
    alone = bool(sentence.citations) and set(sentence.citations) <= numbers
    return alone or any(len(q) > _LONG and q in sentence.text for q in quotes)


def _cleaned(citation: Citation, gone: Set[Version]) -> Citation:
    context = tuple(c for c in citation.context if (c.key, c.version) not in gone)
    if _of(citation) in gone:
        return structs.replace(citation, quote=_blank(citation.quote), title="", context=())
    return structs.replace(citation, context=context)


def _replaced(value: Any, words: list[str]) -> Any:
    """Any JSON value with blanks in place of the words."""
    if isinstance(value, str):
        for word in words:
            if len(word) > _LONG or word == value:
                value = value.replace(word, _blank(word))
        return value
    if isinstance(value, Mapping):
        return {name: _replaced(each, words) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_replaced(each, words) for each in value]
    return value


def _blank(text: str) -> str:
    """As long as the text, so that what points behind it still points there."""
    return (_PURGED + " " * len(text))[: len(text)]
