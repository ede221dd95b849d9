"""Names across scripts: Макрон, ماكرون, マクロン and Macron meet in how they sound.

A word is written in Latin letters, and what writing systems disagree about is dropped: vowels,
doubled letters, and the differences between p and b, k and g, l and r, the hissing sounds. What
remains (`mkln`) is a key. Documents in other scripts are found by the keys of their names; in a
question, names are what begins with a capital, or, where a script has none, every word. Chinese
characters have no sound of their own that would do, and are left alone.
"""

from __future__ import annotations

import re
from functools import lru_cache

SIGN = "≈"
"""Begins every key, so that none meets a word."""
_SHORTEST = 3
_MAX_CHARS = 40
_MAX_KEYS = 400
"""Keys of one document; what a long one names stands in its beginning."""

# Greek, Cyrillic, Armenian: names are what begins with a capital.
_CASED = "\u0370-\u052f\u0531-\u0587\u1c80-\u1c8f\u1f00-\u1fff"
# Hebrew, Arabic, the scripts of India, Georgian, Hangul, Katakana: nothing marks a name.
_UNCASED = (
    "\u05d0-\u05ea\u0620-\u06d3\u0750-\u077f\u0900-\u0dff\u10d0-\u10ff\uac00-\ud7a3\u30a1-\u30ff"
)
_MARKS = "\u0300-\u036f\u0591-\u05c7\u064b-\u0670\u06d6-\u06ed\u200c\u200d"
_FOREIGN = re.compile(f"[{_CASED}]+|[{_UNCASED}{_MARKS}]+")
_NAME = re.compile(rf"[^\W\d_]+(?:[’'-][^\W\d_]+)*|[{_UNCASED}{_MARKS}]+")
_KATAKANA = re.compile("[\u30a1-\u30ff]")

_LABIAL = re.compile("ph|bh|[bpfv]")
_HISS = re.compile("s?c[hz]|t?s(?:ch|h|z)?|[dz]h|d[jz]|tz|tch|cz|[zj]")
_THROAT = re.compile("[kg]h|c?k|[cgq]")
_SILENT = re.compile("[aeiouyhw]")
_DOUBLE = re.compile(r"(.)\1+")


def of_text(text: str) -> list[str]:
    """The keys of the names in other scripts, each once."""
    if text.isascii():
        return []
    keys: dict[str, None] = {}
    for match in _FOREIGN.finditer(text):
        word = match[0]
        if len(word) >= _SHORTEST and _may_name(word):
            keys |= dict.fromkeys(_keys(word))
            if len(keys) >= _MAX_KEYS:
                break
    return list(keys)


def of_name(word: str) -> list[str]:
    """The keys under which a name may stand in another script; none for what is no name."""
    return list(_keys(word)) if _may_name(word) else []


def names_in(text: str) -> list[str]:
    """The words of a question that may be names, as they stand there."""
    return [m[0] for m in _NAME.finditer(text) if of_name(m[0])]


def words_with_sound(text: str, *, latin: bool = False) -> list[tuple[int, str]]:
    """The words of other scripts that may be names, with their places; with `latin`, of all."""
    pattern = _NAME if latin else _FOREIGN
    found = ((m.start(), m[0]) for m in pattern.finditer(text))
    return [(at, word) for at, word in found if len(word) >= _SHORTEST and _may_name(word)]


def latin(word: str) -> list[str]:
    """How a name in another script may be spelt in Latin letters, likeliest first."""
    if not _FOREIGN.fullmatch(word) or not _may_name(word):
        return []
    plain = _romanised(word)
    found = [plain]
    for sound, spelt in _SPELLINGS:
        for one in found[:]:
            if sound in one and len(found) < _MAX_SPELLINGS:
                found.append(one.replace(sound, spelt))
    return [one for one in dict.fromkeys(found) if len(one) >= _SHORTEST]


_MAX_SPELLINGS = 16
_SPELLINGS = (
    ("ks", "x"), ("k", "c"), ("kh", "ch"), ("kh", "h"), ("v", "w"), ("f", "ph"), ("ts", "z"),
    ("y", "i"), ("iy", "y"), ("sh", "sch"), ("dzh", "j"), ("u", "ou"), ("yu", "u"),
)  # fmt: skip


def _may_name(word: str) -> bool:
    first = word[0]
    return first.isupper() if first.upper() != first.lower() else not word.isascii()


@lru_cache(maxsize=100_000)
def _keys(word: str) -> tuple[str, ...]:
    if len(word) > _MAX_CHARS:
        return ()
    found = dict.fromkeys(_key(one) for one in _readings(_romanised(word), word.isascii()))
    return tuple(SIGN + key for key in found if len(key) >= _SHORTEST)


def _romanised(word: str) -> str:
    from anyascii import anyascii  # its tables are read on first use

    return re.sub("[^a-z]", "", anyascii(word).lower())


def _readings(word: str, spelt: bool) -> list[str]:
    """The sounds that one spelling in Latin letters may have."""
    found = [word]
    if not spelt:
        return found
    for pattern, sounds in _READINGS:
        if pattern.search(word):
            found += [pattern.sub(sounds, one) for one in found]
    return found[:8]


_READINGS = (
    (re.compile("ch"), "k"),  # Munich
    (re.compile("g(?=[eiy])"), "j"),  # George
    (re.compile("c(?=[eiy])"), "s"),  # Alice
    (re.compile("^j"), "y"),  # Johan
    (re.compile("^w"), "v"),  # Warsaw
    (re.compile("x"), "ks"),  # Alexander
)


def _key(word: str) -> str:
    vowel = "a" if word[:1] and word[0] in "aeiouyw" else ""
    word = word.replace("x", "ks").replace("th", "t").replace("ng", "n")
    word = _HISS.sub("s", word)
    word = _THROAT.sub("k", _LABIAL.sub("p", word)).replace("r", "l")
    word = re.sub("n(?=p)", "m", word)
    return vowel + _DOUBLE.sub(r"\1", _SILENT.sub("", word))
