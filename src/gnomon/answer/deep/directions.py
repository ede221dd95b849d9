"""Where to look next, by rule: aspects of the question, what came up, the other side, links.

This is the reduced form of deep mode, which needs no language model; with one, these are the
directions that it starts from.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from gnomon.answer import facts
from gnomon.answer.base import Plan
from gnomon.answer.deep.base import Direction, Finding
from gnomon.answer.pages import links_in
from gnomon.answer.plan import focus
from gnomon.answer.words import content, fold, plain, stems
from gnomon.types import Citation

_MAX_ENTITIES = 3
_MAX_LINKS = 3


def first(question: str, plan: Plan, langs: Sequence[str] = ()) -> list[Direction]:
    """The question itself, its parts, its aspects, and its other side."""
    topic = topic_of(question)
    out = [Direction(question, "question")]
    parts = [p.strip() for p in re.split(r"(?<=[?？؟])\s+", question) if p.strip()]
    if len(parts) > 1:
        out += [Direction(p, "aspect") for p in parts]
    if topic:
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
    kept = [w.text for w in content(focus(question))]
    return " ".join(kept[:8])


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
