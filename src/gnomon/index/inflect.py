"""Words of eight languages without their endings, beside the words themselves.

A document in one of these languages is found by its words as they stand and by their stems
(Snowball). A question tells its language badly, so that it is looked for by the stems that its
words have in any of the languages of their script. English needs none of this: its plurals meet
in the terms themselves. Chinese and Japanese have no endings to speak of and are found by pairs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

import Stemmer

_LATIN = {"de": "german", "fr": "french", "es": "spanish", "pt": "portuguese", "it": "italian"}
_SCRIPTS = (
    (re.compile("[\u0430-\u044f]"), "ru", "russian"),
    (re.compile("[\u0621-\u064a]"), "ar", "arabic"),
    (re.compile("[\u0905-\u0939]"), "hi", "hindi"),
)
_ALGORITHMS = _LATIN | {lang: name for _, lang, name in _SCRIPTS}
_SHORTEST = {"hi": 3}
_SHORTEST_ELSE = 4
_MAX_WORDS = 100_000
APART = "¶"
"""Stands between a text's words and its stems, where no phrase can reach over it."""
# Accents are folded away before, and with them the breve of и: after a vowel it was й.
_BREVE = re.compile("(?<=[аеиоуыэюя])и")


def of_text(words: Sequence[str], lang: str) -> list[str]:
    """The stems of a document's words that differ from them, in the language `lang` (`de-AT`)."""
    language = lang.partition("-")[0].lower()
    if language == "en":
        return []
    if language not in _LATIN:
        if "".join(words).isascii():
            return []
        words = [word for word in words if not word.isascii()]
        language = language if language in _ALGORITHMS else ""
    stems = _tables.setdefault(language, _Stems(language))
    if len(stems) > _MAX_WORDS:
        stems.clear()
    return list(filter(None, map(stems.__getitem__, words)))


def of_query(term: str) -> list[str]:
    """The stems that a term of a query may have, without itself."""
    if term.isascii():
        if not term.isalpha():
            return []
        found = [_stem(term, language) for language in _LATIN]
        return [stem for stem in dict.fromkeys(found) if stem != term]
    stem = _of_word(term, "")
    return [stem] if stem else []


def stem_of(word: str) -> str:
    """The stem of a Russian, Arabic or Hindi word; empty if it has none of its own."""
    return _of_word(word, "")


class _Stems(dict[str, str]):
    """The stems of words in one language, worked out as they are first looked for."""

    def __init__(self, language: str) -> None:
        self._language = language

    def __missing__(self, word: str) -> str:
        stem = self[word] = _of_word(word, self._language)
        return stem


_tables: dict[str, _Stems] = {}


def _of_word(word: str, language: str) -> str:
    """The stem of a word by its script, or its document's language; empty if it is the same."""
    if word.isascii():
        stem = _stem(word, language) if language in _LATIN and word.isalpha() else word
    else:
        by_script = next((lang for sign, lang, _ in _SCRIPTS if sign.search(word)), "")
        stem = _stem(word, by_script or language)
    return stem if stem != word else ""


def _stem(word: str, language: str) -> str:
    if len(word) < _SHORTEST.get(language, _SHORTEST_ELSE) or language not in _ALGORITHMS:
        return word
    if language == "ru":
        word = _BREVE.sub("й", word)
    stem: str = _stemmer(language).stemWord(word)
    return stem.replace("й", "и") if len(stem) > 1 else word


@lru_cache
def _stemmer(language: str) -> Stemmer.Stemmer:
    return Stemmer.Stemmer(_ALGORITHMS[language])
