"""What was stored of answers, without the words of documents that were purged since.

Their terms oblige the record to forget them, and what was quoted of them is theirs as well. It
works on any struct that holds citations: answers, reports, changes of a watched answer. Nothing
else changes, and offsets stay what they were: blanks take the place of the words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Set
from typing import Any, TypeAlias, TypeVar

import msgspec

Version: TypeAlias = "tuple[str, int]"
"""Key and version of a document."""
IsPurged: TypeAlias = Callable[[str, int], bool]
"""Whether that version may not be shown any more."""
T = TypeVar("T")

_PURGED = "[purged]"
_LONG = 12
"""So short a text may stand anywhere by chance: it goes from where it was quoted alone."""
_SAID = frozenset(("text", "quote", "title", "other"))


def words(value: Any, is_purged: IsPurged) -> list[str]:
    """What must go: words of purged documents, and sentences that rest on nothing else."""
    plain = msgspec.to_builtins(value)
    gone = {version for version in set(_versions(plain)) if is_purged(*version)}
    found: set[str] = set()
    if gone:
        _collect(plain, gone, frozenset(), found)
    # Blanked before, they are gone already.
    left = (word for word in found if word.strip() and not word.startswith(_PURGED))
    return sorted(left, key=len, reverse=True)


def without(value: T, words: Iterable[str]) -> T:
    """The same with blanks in place of the words."""
    made = _blanked(msgspec.to_builtins(value), list(words), "")
    return msgspec.convert(made, type(value))


def _version(node: dict[str, Any]) -> Version | None:
    key, version = node.get("key"), node.get("version")
    if not isinstance(key, str) or not isinstance(version, int):
        return None
    quoting = "quote" in node or "relation" in node
    return (key, version) if quoting and key and version else None


def _versions(node: Any) -> Iterator[Version]:
    """Every document that is quoted somewhere in there."""
    if isinstance(node, dict):
        if (version := _version(node)) is not None:
            yield version
        node = list(node.values())
    if isinstance(node, list | tuple):
        for each in node:
            yield from _versions(each)


def _collect(node: Any, gone: Set[Version], numbers: Set[int], found: set[str]) -> None:
    """`numbers` are those of the citations around that are gone."""
    if isinstance(node, list | tuple):
        for each in node:
            _collect(each, gone, numbers, found)
    if not isinstance(node, dict):
        return
    if _version(node) in gone:
        found |= _texts(node, "quote", "text")
        found |= {title for title in _texts(node, "title") if len(title) > _LONG}
    cited = node.get("citations")
    cited = list(cited) if isinstance(cited, list | tuple) else []
    if isinstance(node.get("citation"), dict | int):
        cited.append(node["citation"])
    whole = [each for each in cited if isinstance(each, dict)]
    if "citations" in node and whole:
        lost_ones = [each.get("number") for each in whole if _version(each) in gone]
        numbers = {number for number in lost_ones if isinstance(number, int)}
    lost = [_version(each) in gone if isinstance(each, dict) else each in numbers for each in cited]
    if lost and all(lost):
        found |= _texts(node, "text", "other")
    for each in node.values():
        _collect(each, gone, numbers, found)


def _is_one(number: Any, numbers: Set[int]) -> bool:
    return isinstance(number, int) and number in numbers


def _texts(node: dict[str, Any], *names: str) -> set[str]:
    return {node[name] for name in names if isinstance(node.get(name), str)}


def _blanked(node: Any, words: list[str], field: str) -> Any:
    if isinstance(node, str):
        for word in words:
            if len(word) > _LONG or (word == node and field in _SAID):
                node = node.replace(word, _blank(word))
        return node
    if isinstance(node, dict):
        return {name: _blanked(each, words, name) for name, each in node.items()}
    if isinstance(node, list | tuple):
        return [_blanked(each, words, field) for each in node]
    return node


def _blank(text: str) -> str:
    """As long as the text, so that what points behind it still points there."""
    return (_PURGED + " " * len(text))[: len(text)]
