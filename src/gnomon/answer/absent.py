"""What a question asks for by name, and whether a sentence speaks of it or of its neighbour.

"What dividend will Acme pay?" is not answered by its profit, "who was hired" not by who was fired,
"the swimming pool" not by the swimming hall. A near miss holds all the other words of the question;
these are the ones that an answer cannot do without.
"""

from __future__ import annotations

import re
from collections.abc import Set

from gnomon.answer.base import Plan
from gnomon.answer.bearing import deed, means, measured
from gnomon.answer.check import Embed
from gnomon.answer.words import content, stem

_QUANTITY = re.compile(
    r"\b(?:what|which)\s(?:(?:is|was|were|are)\s)?(?:(?:the|a|an)\s)?(?:\w+\s){0,2}?"
    r"(?P<noun>profit|loss|salary|wage|fine|fee|fare|rent|bonus|dividend|revenue|income|budget|debt|tax|"
    r"turnout|population|height|weight|age)s?\b",
    re.IGNORECASE,
)
_COUNTED = re.compile(r"\bhow many (?P<noun>(?!people|persons|times|more)[a-z]{3,})", re.IGNORECASE)
_POSSESSED = re.compile(r"\w(?:'s|s') (?P<noun>[a-z]{3,})(?=\s*[?.]|\s(?:name|age)\b)")
_OUTCOME = re.compile(r"\b(?:result|outcome|ergebnis|résultat|resultado)s?\b", re.IGNORECASE)
_CAME_OUT = re.compile(
    r"\d|\b(?:adopt|approv|pass|reject|agree|accept|decid|carr|fail|defeat|win|won|wins|los[te]|"
    r"beat|drew|tie|elect|voted|against|in favour|majority|unanimous|finish|end|result|"
    r"angenommen|abgelehnt|beschlossen|gewann|verlor|adopt|rejet|aprob|rechaz|gan[óa])\w*",
    re.IGNORECASE,
)
_LIKE = 0.34
"""Cosine of two words from which one may stand for the other."""


def wanted(asked: Plan) -> tuple[str, ...]:
    """The words of a question that its answer must tell, in these or other words."""
    question = (asked.focus or asked.search_text).replace("’", "'")
    found = [deed(asked)]
    for pattern in (_QUANTITY, _COUNTED, _POSSESSED):
        found += [match["noun"] for match in pattern.finditer(question)]
    return tuple(dict.fromkeys(w.lower() for w in found if stem(w.lower()) in asked.terms))


def told(word: str, text: str, held: Set[str], embed: Embed | None) -> bool:
    """Whether `text`, or what stands around it with the stems `held`, speaks of `word`."""
    own = stem(word)
    return (
        own in held
        or bool(means(own) & held)
        or bool(measured([own], text))
        or (_like(word, text, embed))
    )


def _like(word: str, text: str, embed: Embed | None) -> bool:
    others = list(dict.fromkeys(w.text.lower() for w in content(text)))
    vectors = embed([word.lower(), *others]) if embed is not None and others else None
    return vectors is not None and bool((vectors[1:] @ vectors[0]).max() >= _LIKE)


def came_out(asked: Plan, text: str) -> bool:
    """False where an outcome is asked for and `text` tells none."""
    question = asked.focus or asked.search_text
    return not _OUTCOME.search(question) or bool(_CAME_OUT.search(text))
