"""What a question itself says about who or what may answer it: handles, sites, languages, kinds.

"What did @harbourmaster say", "on bbc.co.uk", "in German", "according to posts" become filters, so
that the answer is theirs and nobody else's. Only words that introduce a source do that: a question
*about* somebody is no question *to* them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal, TypeAlias

from msgspec import structs

from gnomon.answer.base import Question

MAX_CHARS = 4_000
Filter: TypeAlias = Literal["authors", "domains", "not_domains", "langs", "kinds"]

_HANDLE = r"@(?P<handle>[\w][\w.-]{0,63}\w(?:@[\w-]+(?:\.[\w-]+)+)?)"
SAYING = (
    r"(?:say|says|said|saying|post|posts|posted|write|writes|wrote|written|report|reports|reported|"
    r"announce|announces|announced|claim|claims|claimed|publish|published|share|shared|tweet|"
    r"tweeted|reply|replied|tell|tells|told|think|thinks|sagte?|schreibt|schrieb|gesagt|"
    r"geschrieben|dit|écrit|dijo|escribió)"
)
_BY = (
    r"(?:according to|as reported by|reported by|posted by|written by|published by|said by|by|from|"
    r"laut|von|selon|par|según|por)"
)
_SITE = (
    r"(?:https?://)?(?:www\.)?(?P<site>(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,24})/?"
)
# Names of things that look like hosts: "Node.js", "main.py", "e.g.".
_NO_SITE = frozenset(("js", "py", "rs", "md", "txt", "pdf", "net", "exe", "cpp", "json", "csv"))
_LANGS = {
    "en": "english|englische[nr]?|anglais|inglés",
    "de": "german|deutsche[nr]?|allemand|alemán",
    "fr": "french|französische[nr]?|français|francés",
    "es": "spanish|spanische[nr]?|espagnol|español",
    "pt": "portuguese", "it": "italian", "nl": "dutch", "ru": "russian", "uk": "ukrainian",
    "pl": "polish", "ar": "arabic", "zh": "chinese", "ja": "japanese", "hi": "hindi",
    "ko": "korean", "tr": "turkish", "sv": "swedish",
}  # fmt: skip
_LANG = "|".join(f"(?P<{code}>{names})" for code, names in _LANGS.items())
_MEDIA = (
    r"(?:sources?|media|press|newspapers?|papers|articles?|posts?|news|reports?|websites?|pages?|"
    r"quellen|medien|presse|médias|medios)"
)
# A question about a language itself ("How do you say bread in German?") or about how to answer.
_OF_LANGUAGE = re.compile(
    r"\b(?:how (?:do|does|can|would) (?:you|one|i|we) (?:say|write|spell|pronounce)|translat\w+|"
    r"call(?:ed)? .{0,60}\bin|mean(?:s|ing)?|words? for|speaks?|spoken|answer|reply|respond|"
    r"explain|summari[sz]e|write|tell me)\b",
    re.IGNORECASE,
)
_KINDS = {
    "post": r"(?:social media )?posts?|tweets?|toots?",
    "comment": r"comments?",
    "article": r"(?:news )?articles?|newspapers?",
    "paper": r"(?:research |scientific )?papers?|preprints?",
    "release": r"releases|release notes|filings?",
    "edit": r"(?:wiki )?edits",
    "alert": r"(?:official )?(?:alerts|warnings)",
}
_KIND = "|".join(f"(?P<{kind}>{names})" for kind, names in _KINDS.items())


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE)


_HANDLES = (
    _pattern(rf"[,(]?\s*\b{_BY}\s+{_HANDLE}(?:'s (?:posts?|feed|account))?[,)]?"),
    _pattern(rf"(?<!about )(?<!of )(?<!to )(?<!on )(?<!with )(?<!mention ){_HANDLE}\s+{SAYING}\b"),
    _pattern(
        rf"\b(?:posts?|tweets?|statements?|news|anything|updates?)\s+(?:by|from|of)\s+{_HANDLE}"
    ),
    _pattern(rf"{_HANDLE}'s\s+(?:(?:latest|last|newest|recent)\s+)?(?:posts?|tweets?|statements?)"),
)
_SITES = (
    _pattern(
        rf"[,(]?\s*\b(?:not|except|other than|but not)\s+(?:from|on|by|at)\s+{_SITE}(?![\w@-])"
    ),
    _pattern(rf"[,(]?\s*\b(?:{_BY}|on|at)\s+{_SITE}(?![\w@-])[,)]?"),
    _pattern(rf"\b(?:does|did|do|has|have)\s+{_SITE}\s+{SAYING}\b"),
)
_IN_LANGUAGE = (
    _pattern(
        rf"[,(]?\s*\b(?:in|from|according to)\s+(?:the\s+)?(?:{_LANG})[- ]?"
        rf"(?:language\s+)?{_MEDIA}\b[,)]?"
    ),
    _pattern(
        rf"\b(?:do|does|did|have)\s+(?:the\s+)?(?:{_LANG})[- ](?:language\s+)?{_MEDIA}"
        rf"\s+{SAYING}\b"
    ),
    _pattern(
        rf"[,(]?\s*\b(?:in|auf|en)\s+(?:{_LANG})\s*(?=[?.!]*$|(?:about|on|over|über|sur|sobre)\b)"
    ),
)
_OF_KIND = (
    _pattern(
        rf"[,(]?\s*\b(?:according to|only (?:in|from)|judging by)\s+(?:the\s+)?(?:{_KIND})\b[,)]?"
    ),
    _pattern(rf"\bwhat (?:do|did)\s+(?:the\s+)?(?:{_KIND})\s+{SAYING}\b"),
    _pattern(r"\bin (?:the\s+)?(?P<comment>comments)\b(?=\s*[?.!]*$)"),
)

_PEOPLE = (
    r"(?:(?:the |most |other )?(?:people|users|fans|locals|residents|folks|readers|public)|"
    r"the internet|others|everyone|everybody|social media)"
)
_THINKING = r"(?:say|think|feel|post|talk|complain|writ)\w*(?= (?:about|of|on|over)\b|\W*$)"
_REACTION = r"(?:reactions?|opinions?|mood|sentiment|buzz|chatter)"
_OPINIONS = (
    _pattern(rf"\bwhat (?:do|does|did|are|were|is) {_PEOPLE} {_THINKING}"),
    _pattern(rf"\bhow (?:do|does|did|are|is) {_PEOPLE} (?:react|respond|feel)\w*(?: (?:to|on))?"),
    _pattern(rf"\b(?:the )?(?:public |people's )?{_REACTION} (?:to|on|about|around|over)\b"),
    _pattern(r"\bwas (?:sagen|denken|meinen|schreiben) (?:die )?(?:leute|menschen|nutzer)\b"),
    _pattern(r"\b(?:que|qu'en) (?:disent|pensent) les gens\b"),
    _pattern(r"\bqué (?:dice|piensa|opina) la gente\b"),
)
"""Questions after what people say, which only posts and comments tell at first hand."""


def narrowed_by_words(question: Question) -> Question:
    """The question with the filters that its words name, and without those words.

    What the asker set apart from the words stands: words narrow, and never widen or replace it.
    """
    text = question.text
    if len(text) > MAX_CHARS:
        return question
    found: dict[Filter, list[str]] = {}
    text = _taken(text, _HANDLES, "authors", found, lambda m: m["handle"])
    text = _taken(text, _SITES[:1], "not_domains", found, _host)
    text = _taken(text, _SITES[1:], "domains", found, _host)
    text = _taken(text, _OF_KIND, "kinds", found, _named_group)
    if (asked := _taken(text, _OPINIONS, "kinds", found, lambda m: "post")) != text:
        found["kinds"].append("comment")
        text = asked
    plain = text.replace("’", "'")
    for i, pattern in enumerate(_IN_LANGUAGE):
        # Without "sources" or the like it may be a question about the language.
        if i < len(_IN_LANGUAGE) - 1 or not _OF_LANGUAGE.search(plain):
            text = _taken(text, (pattern,), "langs", found, _named_group)
    new = {
        name: tuple(dict.fromkeys(values))
        for name, values in found.items()
        if not getattr(question, name)
    }
    if not new or not any(c.isalnum() for c in text):
        return question
    return structs.replace(question, text=text, **new)


def _taken(
    text: str,
    patterns: tuple[re.Pattern[str], ...],
    name: Filter,
    found: dict[Filter, list[str]],
    value: Callable[[re.Match[str]], str],
) -> str:
    """`text` without what `patterns` find, which is kept in `found`."""
    for pattern in patterns:
        kept: list[str] = []

        def take(match: re.Match[str], kept: list[str] = kept) -> str:
            named = value(match)
            if not named:
                return match[0]
            kept.append(named)
            return " "

        text = pattern.sub(take, text)
        if kept:
            found.setdefault(name, []).extend(kept)
    return " ".join(text.split()).replace(" ?", "?") if found.get(name) else text


def _host(match: re.Match[str]) -> str:
    site = match["site"].lower()
    return "" if site.rpartition(".")[2] in _NO_SITE and site.count(".") == 1 else site


def _named_group(match: re.Match[str]) -> str:
    return next(name for name, text in match.groupdict().items() if text)
