"""From text to terms: one analyzer, run once per document and once per query.

Terms are lower case, NFKC-normalised and free of accents. Han, Kana, Hangul and Thai runs become
overlapping pairs of characters, emoji stand alone, `#tag` and `@handle` are found with and without
their sign, and English plurals meet their singular. Word vectors get the words before that.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

from gnomon.index.base import Query

MAX_TERM_CHARS = 64
MAX_QUERY_TERMS = 64
_MAX_QUERY_CHARS = 20_000

_ASCII = re.compile(r"[#@]?[a-z0-9_]+(?:['.][a-z0-9_]+)*(?:\+\+|#(?![a-z0-9_]))?")
_CJK = "\u0e00-\u0e7f\u1100-\u11ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_EMOJI = "\u2600-\u27bf\U0001f1e6-\U0001f1ff\U0001f300-\U0001faff"
_ANY = re.compile(rf"[{_CJK}]+|[{_EMOJI}]|[#@]?[^\W{_CJK}]+(?:['.’][^\W{_CJK}]+)*(?:\+\+|#(?!\w))?")
_IS_CJK = re.compile(f"[{_CJK}]")
_ACCENTS = re.compile("[\u0300-\u036f]")
_QUERY = re.compile(r'([+-]?)"([^"]*)"|(\S+)')


def normal(text: str) -> str:
    """Lower case, compatibility forms and accents folded."""
    if text.isascii():
        return text.lower()
    folded = unicodedata.normalize("NFKC", text).casefold()
    if not folded.isascii():
        folded = unicodedata.normalize(
            "NFC", _ACCENTS.sub("", unicodedata.normalize("NFD", folded))
        )
    return folded


def words(text: str) -> list[str]:
    """The words of a text, in order; pairs of characters where a script has no spaces."""
    folded = normal(text)
    if folded.isascii():
        return _ASCII.findall(folded)
    found: list[str] = []
    for word in _ANY.findall(folded):
        if _IS_CJK.match(word):
            found.extend(_pairs(word))
        else:
            found.append(word.replace("’", "'"))
    return found


def terms(found: Sequence[str]) -> list[str]:
    """The index terms of words, in order; a tag or handle gives its bare word as well."""
    result: list[str] = []
    for word in found:
        if word[0] in "#@" and len(word) > 1:
            result.append(word[:MAX_TERM_CHARS])
            word = word[1:]
        result.append(stem(word)[:MAX_TERM_CHARS])
    return result


def stem(word: str) -> str:
    """Without an English plural or possessive ending; other words are left alone."""
    if len(word) < 4 or word[-1] != "s":
        return word
    if word.endswith("'s"):
        return word[:-2]
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("ss", "us", "is")):
        return word
    return word[:-2] if word.endswith(("sses", "shes", "ches", "xes", "zes")) else word[:-1]


def spans(text: str) -> Iterator[tuple[int, int, str]]:
    """(start, end, term) of every term of `text`, for highlighting."""
    pattern = re.compile(
        rf"[{_CJK}]|[{_EMOJI}]|[^\W{_CJK}]+(?:['.’][^\W{_CJK}]+)*(?:\+\+|#(?!\w))?"
    )
    for match in pattern.finditer(text):
        yield match.start(), match.end(), stem(normal(match[0]).replace("’", "'"))


def _pairs(run: str) -> list[str]:
    return [run[i : i + 2] for i in range(len(run) - 1)] if len(run) > 1 else [run]


class Parsed:
    """A query as typed, taken apart. Every list holds phrases: lists of terms."""

    __slots__ = ("must", "must_not", "should", "words")

    def __init__(self) -> None:
        self.should: list[list[str]] = []
        self.must: list[list[str]] = []
        self.must_not: list[list[str]] = []
        self.words: list[str] = []

    @property
    def empty(self) -> bool:
        """Whether it names nothing to look for."""
        return not (self.should or self.must)


def parse(query: Query) -> Parsed:
    """Take a query apart; never fails. Terms beyond the 64th are left out."""
    parsed = Parsed()
    seen: set[tuple[str, ...]] = set()
    for sign, phrase, bare in _QUERY.findall(query.text[:_MAX_QUERY_CHARS]):
        if bare:
            sign = bare[0] if bare[0] in "+-" and len(bare) > 1 else ""
            found = words(bare[len(sign) :])
        else:
            found = words(phrase)
        if not found:
            continue
        # A bare word of several terms (CJK, 3.5, don't) is that sequence; a tag is its own term.
        group = [stem(w) if w[0] not in "#@" else w for w in found]
        if tuple(group) in seen:
            continue
        if len(seen) >= MAX_QUERY_TERMS:
            break
        seen.add(tuple(group))
        target = {"+": parsed.must, "-": parsed.must_not}.get(sign, parsed.should)
        if not bare and not sign:
            target = parsed.must
        if bare and not sign and len(group) > 1:
            target.extend([term] for term in group)
        else:
            target.append(group)
        if sign != "-":
            parsed.words.extend(w.lstrip("#@") or w for w in found)
    return parsed
