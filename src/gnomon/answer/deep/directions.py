"""Where to look next, by rule: aspects of the question, what came up, the other side, links.

This is the reduced form of deep mode, which needs no language model; with one, these are the
directions that it starts from.
"""

# ruff: noqa: SIM905 - a list of words reads best as one text

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from gnomon.answer import facts
from gnomon.answer.base import Plan
from gnomon.answer.deep.base import Direction, Finding
from gnomon.answer.pages import links_in
from gnomon.answer.parts import told_apart
from gnomon.answer.plan import focus
from gnomon.answer.words import content, fold, plain, stem, stems
from gnomon.types import Citation

_MAX_ENTITIES = 3
_MAX_LINKS = 3
_NEWEST = "What is new about "
_ASPECTS = {
    "why": "Why",
    "when": "When",
    "who": "Who",
    "where": "Where",
    "how many": "How many",
}
_ASKS = frozenset(
    stem(w)
    for w in "state status situation happen happened happening know known knows tell new news "
    "newest latest current currently now still stand stands development developments update "
    "updates information overview summary report explain describe".split()
)
"""Words that ask for something without saying of what."""


def first(question: str, plan: Plan, langs: Sequence[str] = ()) -> list[Direction]:
    """The question itself, its parts, its aspects, and its other side."""
    parts = told_apart(question)
    topic = topic_of(parts[0])
    out = [Direction(question, "question")]
    if len(parts) > 1:
        # "What does it cost?" is asked of what the question before is about.
        out += [
            Direction(p if not topic or stems(p) & stems(topic) else f"{topic}: {p}", "aspect")
            for p in parts
        ]
    if topic:
        out.append(Direction(f"{_NEWEST}{topic}?", "aspect"))
        asked = {
            "reason": f"{topic}: why?",
            "time": f"{topic}: when?",
            "person": f"{topic}: who?",
            "place": f"{topic}: where?",
            "number": f"{topic}: how many?",
        }
        out += [Direction(text, "aspect") for kind, text in asked.items() if kind != plan.expects]
        out.append(Direction(f"{topic}: who denies, disputes or criticises it?", "other side"))
        out.append(Direction(f"{topic}: what happened before?", "before"))
    out += [Direction(question, "language", (lang,)) for lang in langs]
    return out


def further(question: str, found: Sequence[Finding], behind: Iterable[str]) -> list[Direction]:
    """What the latest findings lead to: names that came up, and pages that posts point to."""
    topic = topic_of(question)
    known = {fold(b) for b in behind}
    named: Counter[str] = Counter()
    for finding in found:
        for name in facts.names(finding.text):
            if set(name.stems) - stems(question) and len(name.text) > 2:
                named[name.text] += 1
    out = [Direction(f"{name}: {topic}?", "entity") for name, _ in named.most_common(_MAX_ENTITIES)]
    return [d for d in out if fold(d.text) not in known]


def links(citations: Iterable[Citation], texts: Iterable[str]) -> list[Direction]:
    """Pages that cited posts point to."""
    found: dict[str, None] = {}
    for citation, text in zip(citations, texts, strict=True):
        if citation.kind in ("post", "comment"):
            found |= dict.fromkeys(links_in(text))
    return [Direction(url, "link", url=url) for url in list(found)[:_MAX_LINKS]]


def topic_of(question: str) -> str:
    """The words of the question that say what it is about, as they stand there."""
    told = content(focus(question))
    kept = [w.text for w in told if w.stem not in _ASKS] or [w.text for w in told]
    return " ".join(kept[:8])


def titled(direction: str) -> str:
    """What was asked, as a heading over what was found."""
    if direction.startswith(_NEWEST):
        return "The newest"
    about, _, asked = direction.rstrip("?").rpartition(": ")
    if asked in _ASPECTS:
        return _ASPECTS[asked]
    return about or direction.rstrip("?")


def is_new(finding: Finding, notebook: Sequence[Finding]) -> bool:
    """Whether a claim says something that the notebook does not hold yet."""
    mine, bare = stems(finding.text), plain(finding.text)
    numbers = {n.value for n in facts.numbers(finding.text)}
    for other in notebook:
        if plain(other.text) == bare:
            return False
        theirs = stems(other.text)
        alike = len(mine & theirs) / (len(mine) or 1)
        if alike >= 0.8 and numbers <= {n.value for n in facts.numbers(other.text)}:
            return False
    return True


def says_all(finding: Finding, other: Finding) -> bool:
    """Whether a claim holds another one of the same document word for word."""
    same = {c.key for c in finding.citations} >= {c.key for c in other.citations}
    return same and plain(other.text) in plain(finding.text)
