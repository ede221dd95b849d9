"""From text to terms: one analyzer, run once per document and once per query.

Terms are lower case, NFKC-normalised and free of accents. Runs of Han, Kana, Hangul, Thai and other
scripts without spaces become overlapping pairs of characters, emoji stand alone, `#tag` and
`@handle` are found with and without their sign, and English plurals meet their singular. Word
vectors get the words before that.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

from gnomon.index import sounds

MAX_TERM_CHARS = 64
MAX_QUERY_TERMS = 64
_MAX_QUERY_CHARS = 20_000

# Thai, Lao, Myanmar, Hangul, Khmer, Kana, Han: written without spaces, or agglutinating.
_PAIRED = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3005\u3040-\u30ff\u3400-\u4dbf"
    "\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff"
)
_EMOJI = "\u2600-\u27bf\U0001f1e6-\U0001f1ff\U0001f300-\U0001faff"
# Combining signs and joiners are no letters to `\w`, but a word does not end at them.
_SIGNS = (
    "\u00ad\u200b-\u200d\u2060"
    "\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u0610-\u061a\u064b-\u0670\u06d6-\u06ed"
    "\u0900-\u0963\u0981-\u0d7f"
)
_LETTER = rf"(?:[^\W{_PAIRED}]|[{_SIGNS}])"
_WORD = rf"{_LETTER}+(?:['.’]{_LETTER}+)*(?:\+\+|#(?!\w))?"

_ASCII = re.compile(r"[#@]?[a-z0-9_]+(?:['.][a-z0-9_]+)*(?:\+\+|#(?![a-z0-9_]))?")
_ANY = re.compile(rf"[{_PAIRED}]+|[{_EMOJI}]|[#@]?{_WORD}")
_SPAN = re.compile(rf"[{_PAIRED}\uff66-\uff9f]|[{_EMOJI}]|{_WORD}")
_IS_PAIRED = re.compile(f"[{_PAIRED}]")
# Accents, Arabic and Hebrew vowel points, and characters that only steer layout.
_SILENT = re.compile("[\u0300-\u036f\u0591-\u05bd\u064b-\u0652\u00ad\u200b-\u200f\u2060\ufeff]")
# Arabic, Indic, Thai, Lao, Tibetan, Burmese, Khmer; full-width ones are folded by NFKC.
_DIGIT = re.compile(
    "[\u0660-\u0669\u066b\u066c\u06f0-\u06f9\u0966-\u096f\u09e6-\u09ef\u0a66-\u0a6f\u0ae6-\u0aef"
    "\u0b66-\u0b6f\u0be6-\u0bef\u0c66-\u0c6f\u0ce6-\u0cef\u0d66-\u0d6f\u0e50-\u0e59\u0ed0-\u0ed9"
    "\u0f20-\u0f29\u1040-\u1049\u17e0-\u17e9]"
)
_SEPARATORS = {"\u066b": ".", "\u066c": ","}
_QUERY = re.compile(r'([+-]?)"([^"]*)"|(\S+)')
_QUOTES = str.maketrans("“”„«»", '"""""')


def normal(text: str) -> str:
    """Lower case, compatibility forms and accents folded."""
    if text.isascii():
        return text.lower()
    folded = digits(unicodedata.normalize("NFKC", text).casefold())
    if folded.isascii():
        return folded
    return unicodedata.normalize("NFC", _SILENT.sub("", unicodedata.normalize("NFD", folded)))


def digits(text: str) -> str:
    """`text` with the digits and separators of other scripts as ASCII ones; as long as before."""
    return text if text.isascii() else _DIGIT.sub(_ascii_digit, text)


def _ascii_digit(match: re.Match[str]) -> str:
    return _SEPARATORS.get(match[0]) or str(unicodedata.decimal(match[0]))


def words(text: str, *, tails: bool = True) -> list[str]:
    """The words of a text, in order; pairs of characters where a script has no spaces.

    With `tails`, the last character of such a run stands for itself as well, so that every single
    character begins a word. A document has tails, a query has none.
    """
    folded = normal(text)
    if folded.isascii():
        return _ASCII.findall(folded)
    found: list[str] = []
    for word in _ANY.findall(folded):
        if _IS_PAIRED.match(word):
            found.extend(word[i : i + 2] for i in range(len(word) - (not tails and len(word) > 1)))
        else:
            found.append(word.replace("’", "'"))
    return found


def is_tag(word: str) -> bool:
    """Whether a word is a `#tag` or an `@handle`."""
    return word[0] in "#@" and len(word) > 1


def is_paired(term: str) -> bool:
    """Whether a term is a single character of a script that is indexed in pairs."""
    return len(term) == 1 and _IS_PAIRED.match(term) is not None


def tag(word: str) -> str:
    """The index term of a tag or handle with its sign."""
    return word[:MAX_TERM_CHARS]


def terms(word: str) -> list[str]:
    """The index terms of one word: without its sign, singular, a dotted name in its parts."""
    bare = word[1:] if is_tag(word) else word
    if "." not in bare:
        return [stem(bare)[:MAX_TERM_CHARS]]
    parts = bare.split(".")
    if all(len(part) == 1 and part.isalpha() for part in parts):
        return ["".join(parts)[:MAX_TERM_CHARS]]  # u.s. is us
    if all(part.isdigit() for part in parts):
        return [bare[:MAX_TERM_CHARS]]  # 3.5 is a number
    return [stem(part)[:MAX_TERM_CHARS] for part in parts]


def stem(word: str) -> str:
    """Without an English plural or possessive ending; other words are left alone."""
    if len(word) < 4 or word[-1] != "s" or word == "news":
        return word
    if word.endswith("'s"):
        return word[:-2]
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("ss", "us", "is")):
        return word
    return word[:-2] if word.endswith(("sses", "shes", "ches", "xes", "zes")) else word[:-1]


class Parsed:
    """A query as typed, taken apart. Every list holds groups: a term, a tag, or a phrase."""

    __slots__ = ("must", "must_not", "names", "should", "words")

    def __init__(self) -> None:
        self.should: list[tuple[str, ...]] = []
        self.must: list[tuple[str, ...]] = []
        self.must_not: list[tuple[str, ...]] = []
        self.words: list[str] = []
        """What the query is about, for its vector."""
        self.names: list[str] = []
        """Words that may name something, as typed: other scripts are searched for their sound."""

    @property
    def empty(self) -> bool:
        """Whether it names nothing to look for."""
        return not (self.should or self.must)


def parse(text: str) -> Parsed:
    """Take a query apart; never fails. What follows the 64th different part is left out."""
    parsed = Parsed()
    seen: set[tuple[str, tuple[str, ...]]] = set()
    for sign, phrase, bare in _QUERY.findall(text[:_MAX_QUERY_CHARS].translate(_QUOTES)):
        if bare and bare[0] in "+-" and len(bare) > 1:
            sign = bare[0]
        found = words(bare.lstrip("+-") if bare else phrase, tails=False)
        if not found:
            continue
        wanted = parsed.must if sign == "+" or not bare else parsed.should
        target = parsed.must_not if sign == "-" else wanted
        for group in _groups(found, together=not bare or bool(sign)):
            if (sign, group) in seen:
                # What is said twice counts twice, as in every BM25.
                if target is parsed.should and len(target) < MAX_QUERY_TERMS:
                    target.append(group)
            elif len(seen) < MAX_QUERY_TERMS:
                seen.add((sign, group))
                target.append(group)
        if sign != "-":
            parsed.words.extend(found)
            parsed.names.extend(sounds.names_in(bare or phrase))
        if len(seen) >= MAX_QUERY_TERMS:
            break
    return parsed


def _groups(found: Sequence[str], together: bool) -> list[tuple[str, ...]]:
    """A tag alone is looked for as a tag; elsewhere its sign does not count."""
    if len(found) == 1 and is_tag(found[0]):
        return [(tag(found[0]),)]
    if together:
        return [tuple(term for word in found for term in terms(word))]
    return [(term,) for word in found for term in ([tag(word)] if is_tag(word) else terms(word))]


def highlight(text: str, query: str) -> list[tuple[int, int]]:
    """Spans of `text` that match words or phrases of `query`, in order, not overlapping."""
    parsed = parse(query)
    groups = [*parsed.must, *parsed.should]
    single = {group[0].lstrip("#@") or group[0] for group in groups if len(group) == 1}
    phrases = [_unpaired(group) for group in groups if len(group) > 1]
    found = list(_spans(text))
    marked: list[tuple[int, int]] = []
    for i, (start, end, term) in enumerate(found):
        if term in single:
            marked.append((start, end))
        for after, stop, other in found[i + 1 : i + 2]:
            if after == end and len(term) == 1 and term + other in single:
                marked.append((start, stop))
        for phrase in phrases:
            tail = found[i : i + len(phrase)]
            if term == phrase[0] and tuple(t for _, _, t in tail) == phrase:
                marked.append((start, tail[-1][1]))
    return _merged(marked)


def _unpaired(group: tuple[str, ...]) -> tuple[str, ...]:
    """A phrase as `_spans` gives it: single characters where the index has pairs."""
    plain: list[str] = []
    for i, term in enumerate(group):
        if _IS_PAIRED.match(term):
            last = i + 1 == len(group) or group[i + 1][0] != term[-1]
            plain.extend(term if last else term[0])
        else:
            plain.append(term)
    return tuple(plain)


def _spans(text: str) -> Iterator[tuple[int, int, str]]:
    for match in _SPAN.finditer(text):
        word = normal(match[0]).replace("’", "'")
        parts = terms(word) if word else []
        if len(parts) == 1:
            yield match.start(), match.end(), parts[0]
            continue
        at = match.start()
        for piece, part in zip(match[0].split("."), parts, strict=False):
            yield at, at + len(piece), part
            at += len(piece) + 1


def _merged(marked: list[tuple[int, int]]) -> list[tuple[int, int]]:
    result: list[tuple[int, int]] = []
    for start, end in sorted(marked):
        if result and start < result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((start, end))
    return result
