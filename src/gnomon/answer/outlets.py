"""Sources that a question calls by their name: "according to the Herald", "on Mastodon".

They become filters, as handles and sites do (`named.py`). A newspaper is called by less than its
whole title ("the BBC" for "BBC News: World"), a network by the name of all that is followed there.
Only words that ask for what somebody *told* do that: "Who owns the Herald?" is asked of all.
"""

# ruff: noqa: SIM905 - a list of words reads best as one text

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from msgspec import structs

from gnomon.answer.base import Question
from gnomon.answer.named import MAX_CHARS, SAYING
from gnomon.types import SourceState

_NETWORKS = {
    "bluesky": ("bluesky", "bsky"),
    "mastodon": ("mastodon", "the fediverse"),
    "x": ("x", "twitter", "x.com"),
    "hackernews": ("hacker news", "hackernews", "hn"),
    "nostr": ("nostr",),
    "wikimedia": ("wikipedia",),
    "github": ("github",),
    "arxiv": ("arxiv",),
}
_PAPERS = frozenset(
    "argus beacon bote bulletin chronicle courant courier daily digest echo examiner express "
    "gazette globe guardian herald independent inquirer journal ledger mail messenger mirror "
    "observer post press record register review sentinel standard star sun telegraph times "
    "tribune wire zeitung anzeiger blatt kurier nachrichten rundschau tagblatt tageblatt spiegel "
    "monde figaro parisien dépêche faro mundo país vanguardia diario periódico".split()
)
"""Last words of titles by which alone a newspaper goes, behind an article: "the Herald"."""
_PLAIN = frozenset(
    "news world online english magazine nachrichten newsletter blog feed rss top headlines".split()
)
"""Last words that a title loses in speech: "BBC News" is "the BBC"."""
_ARTICLE = r"(?:the|der|die|das|dem|den|le|la|les|el|los|las|il)"
_REPORTS = (
    r"(?:news|headlines?|top stories|front page|stories|story|articles?|reports?|posts?|coverage|"
    r"updates?|toots?|tweets?)"
)
_TOLD = (
    rf"(?:{_REPORTS}|new|latest|say|says|said|saying|written|write|writes|reported|reporting|"
    r"posted|posting|published|talk(?:s|ed|ing)?|discuss(?:es|ed|ing)?|mentioned|trending|trends|"
    r"read|happen\w*|going on|people|anyone|anybody|someone|users|opinions?|rumou?rs?|complain\w*|"
    r"react\w*|think(?:s|ing)?|passiert|steht|dit|dice|dijo)"
)
_TELLS = rf"(?:{SAYING}|dice|reporting|writing|posting|publishing|claiming|announcing)"
_FROM = r"(?:from|by|in|on|at|von|aus|in der|im|auf|bei|de|du|en|dans|sur)"
_WHY = re.compile(r"\W*(?:why|how|warum|wieso|pourquoi|por qué)\b", re.IGNORECASE)
_SPAN = r"(?:minutes?|hours?|days?|weeks?|months?|years?)\b"  # "in France 24 years ago"


def asked_of(question: Question, states: Sequence[SourceState]) -> Question:
    """The question with the sources that its words call, and without those words.

    Sources that the asker chose apart from the words stand.
    """
    text = question.text
    if question.sources or question.within or len(text) > MAX_CHARS:
        return question
    folded = _folded(text)
    called = {
        alias: names
        for alias, names in _called(states).items()
        if alias.removeprefix("the ") in folded
    }
    if not called:
        return question
    found: list[str] = []
    for pattern, instead in _patterns(text, called):

        def take(match: re.Match[str], instead: str = instead) -> str:
            alias = re.sub(rf"^{_ARTICLE} ", "the ", _folded(match["name"]))
            if not _is_meant(alias, match):
                return match[0]
            found.extend(called[alias])
            return match.expand(instead)

        text = pattern.sub(take, text)
    if not found:
        return question
    text = re.sub(r"\s+([?.!,])", r"\1", " ".join(text.split()))
    if not any(c.isalnum() for c in text):
        text = "What is the latest news?"
    return structs.replace(question, text=text, sources=tuple(dict.fromkeys(found)))


def _called(states: Sequence[SourceState]) -> dict[str, list[str]]:
    """Each name by which sources are called, folded, and the sources."""
    found: dict[str, list[str]] = {}
    for state in states:
        for alias in _NETWORKS.get(state.type, _aliases(state.title or state.name)):
            found.setdefault(alias, []).append(state.name)
    return found


def _aliases(title: str) -> Iterator[str]:
    """“The Quillhaven Herald: Town” goes by “quillhaven herald” and “the herald”."""
    base = re.split(r"\s*(?::|\(|\s[–—|-]\s)", title, maxsplit=1)[0]
    words = re.sub(rf"^{_ARTICLE}\s+", "", _folded(base)).split()
    if not words:
        return
    yield " ".join(words)
    paper = re.split(r" (?:de|of|von|di|da) ", " ".join(words))[0].split()[-1]
    paper = paper.rpartition("-")[2]
    if paper in _PAPERS and words != [paper]:
        yield f"the {paper}"
    shorter = list(words)
    while len(shorter) > 1 and shorter[-1] in _PLAIN:
        shorter.pop()
    if len(shorter) < len(words):
        yield " ".join(shorter)


def _folded(text: str) -> str:
    return " ".join(text.replace("’", "'").casefold().split())


def _patterns(text: str, called: dict[str, list[str]]) -> list[tuple[re.Pattern[str], str]]:
    """What calls a source, and what is left in its place."""
    names = "|".join(_spoken(a) for a in sorted(called, key=len, reverse=True))
    # The article belongs to some names ("the herald") and stands before others.
    name = rf"(?:{_ARTICLE}\s+)??(?P<name>{names})(?![\w@-])"
    heard = r"(?:as )?(?:reported|published|posted|written|told) by"
    found = [(rf"[,(]?\s*\b(?:according to|as per|{heard}|laut|selon|según)\s+{name}[,)]?", " ")]
    if not _WHY.match(text):
        found += [
            (rf"\b(?:does|did|do|has|have|hat|is|are|was|were)\s+{name}\s+{_TELLS}\b", " "),
            (rf"\b(?:was|wie|que|qué)\s+{_TELLS}\s+{name}", " "),
        ]
    latest = r"(?:(?:latest|last|newest|recent|top)\s+)*"
    found += [
        (rf"{name}['’]s?\s+{latest}{_REPORTS}", "the latest news"),
        (rf"(?P<told>\b{_TOLD}\b[^?.!]{{0,60}}?)\s+{_FROM}\s+{name}(?!\s+{_SPAN})", r"\g<told>"),
    ]
    return [(re.compile(pattern, re.IGNORECASE), instead) for pattern, instead in found]


def _spoken(alias: str) -> str:
    """What finds an alias, with any article."""
    alias, the = alias.removeprefix("the "), alias.startswith("the ")
    return (rf"{_ARTICLE}\s+" if the else "") + re.escape(alias).replace(r"\ ", r"\s+")


def _is_meant(alias: str, match: re.Match[str]) -> bool:
    """Whether a word that is also a common one is used as a name: "Nature", "X"."""
    if alias.startswith("the ") or " " in alias or alias in _SURE:
        return True
    return match["name"][:1].isupper()


_SURE = frozenset(a for aliases in _NETWORKS.values() for a in aliases if len(a) > 2)
