"""What a question asks for by name, and whether a sentence speaks of it or of its neighbour.

"What dividend will Acme pay?" is not answered by its profit, "who was hired" not by who was fired,
"the swimming pool" not by the swimming hall. A near miss holds all the other words of the question;
these are the ones that an answer cannot do without.
"""

# ruff: noqa: SIM905 - a list of words reads best as one text

from __future__ import annotations

import re
from collections.abc import Collection, Set
from functools import lru_cache
from typing import Literal

from gnomon.answer.base import Plan
from gnomon.answer.bearing import deed, means, measured, office
from gnomon.answer.check import Embed
from gnomon.answer.facts import names
from gnomon.answer.premise import nearly
from gnomon.answer.synonyms import OFFICES, others
from gnomon.answer.words import stem, stems

_QUANTITY = re.compile(
    r"\b(?:what|which)\s(?:(?:is|was|were|are)\s)?(?:(?:the|a|an)\s)?(?:\w+\s){0,2}?"
    r"(?P<noun>profit|loss|salary|wage|fine|fee|fare|rent|bonus|dividend|revenue|income|budget|debt|tax|"
    r"turnout|population|height|weight|age)s?\b",
    re.IGNORECASE,
)
_COUNTED = re.compile(r"\bhow many (?P<noun>(?!people|persons|times|more)[a-z]{3,})", re.IGNORECASE)
_POSSESSED = re.compile(r"\w(?:'s|s') (?P<noun>[a-z]{3,})(?=\s*[?.]|\s(?:name|age)\b)")
_NAMED_AFTER = re.compile(
    r"\b[Tt]he (?:[A-ZÀ-Þ][\w'’-]+ )+(?:(?P<middle>[a-zà-ÿ]{4,}) )?(?P<noun>[a-zà-ÿ]{4,})"
    r"(?=\s*\?|\s*$| (?:be|been|open|closed|now|still|again)\b)"
)
"""`railing` in "when will the Chapel Steps railing be finished": the steps have no date."""
_NAMED_BEFORE = re.compile(
    r"\b(?:the|a|an) (?:[a-zà-ÿ]+ ){0,2}?(?P<noun>[a-zà-ÿ]{4,}) (?:in|at|of|to|on) "
    r"(?:the )?[A-ZÀ-Þ]"
)
"""`pool` in "the swimming pool in Fernhill"."""
_COST_OF_DOING = re.compile(r"\bcosts? (?:\w+ )?to (?P<noun>[a-z]{4,})\b", re.IGNORECASE)
"""`repair` in "what did it cost to repair the underpass"."""
_WHEN_DID = re.compile(
    r"^\W*(?:when|where) (?:did|was|were|has|have)\b.+?\b(?P<noun>[a-z]{3,})"
    r"(?: (?:down|up|off|out|over|again|away|back))?\W*$",
    re.IGNORECASE,
)
"""`burn` in "when did the bridge burn down"."""
_AUXILIARY = re.compile(r"\b(?:did|does|do)\b", re.IGNORECASE)
_OUTCOME = re.compile(
    r"\b(?:results?|outcome|verdict|final score|ergebnis\w*|résultats?|resultados?)\b"
    r"|\bhow (?:did|has|have|was|were)\b.{1,60}\b(?:vote|voted|decide|decided|rule|ruled|end|ended|"
    r"finish|finished|play|played|fare|fared|go|gone)\b"
    r"|\bwho (?:has )?(?:won|lost|beat|prevailed)\b|\bwhat did\b.{1,40}\b(?:decide|rule)\b"
    r"|\bwie (?:hat|haben)\b.{1,60}\b(?:gestimmt|abgestimmt|entschieden|gespielt)\b|\bwie ging\b"
    r"|\bwer (?:hat )?(?:gewonnen|gewann|verlor)\b|\bcomment (?:a|ont)\b.{1,40}\bvoté\b"
    r"|\bqui a (?:gagné|perdu)\b|\bcómo (?:votó|quedó|terminó)\b|\bqui[eé]n (?:ganó|perdió)\b",
    re.IGNORECASE,
)
_BY_RESULT = frozenset(
    stem(w)
    for w in "result results outcome final score end finish play fare win won ergebnis résultat "
    "resultado quedó va ging gespielt".split()
)
"""Words that ask for an outcome; telling one answers them, in whatever words."""
_BY_BALLOT = frozenset(
    stem(w)
    for w in "result results outcome verdict vote votes voted decide rule abgestimmt gestimmt voté "
    "ergebnis résultat resultado".split()
)
_BALLOT = re.compile(
    r"\b(?:vote[ds]?|ayes|noes|roll call|ballot|motion|adopt(?:s|ed)|approve[ds]?|passe[ds]|"
    r"reject(?:s|ed)|carried|sa(?:id|ys) (?:yes|no)|turn(?:s|ed) down|council|assembly|parliament|"
    r"stimmen|angenommen|abgelehnt|beschloss\w*|adopté|rejeté|approuvé|voix|aprob\w+|rechaz\w+|votos)\b",
    re.IGNORECASE,
)
_MATTER = re.compile(
    r"\b(?:on|about|over|against|versus|vs\.?|regarding|über|gegen|sur|contre|sobre|contra)\s"
    r"(?P<matter>.+)$",
    re.IGNORECASE,
)
_CAME_OUT = re.compile(
    r"\b\d{1,3}(?:\s(?:\w+\s)?(?:to|zu|à|contra|contre|gegen)\s|\s?[-–]\s?|:(?!\d\d\b))\d{1,3}\b"
    r"|\b(?:adopted|adopts|approve[ds]?|passe[ds]|reject(?:s|ed)|agree[ds]|accept(?:s|ed)|"
    r"decided|carried|fail(?:s|ed)|defeat(?:s|ed)|w[io]ns?|winning|winners?|champions?|"
    r"crowned|clinch\w*|pick(?:s|ed) up|award\w*|victory|"
    r"triumph\w*|take[ns]? (?:the )?(?:title|gold|lead|prize|home)|los(?:t|es)|beats?|drew|tied|"
    r"elected|voted|votes? (?:for|against)|sa(?:id|ys) (?:yes|no)|unanimous\w*|finished|ended|"
    r"ruled|convicted|acquitted|sentenced|guilty|turn(?:s|ed) down|back(?:s|ed)|"
    r"angenommen|abgelehnt|beschloss\w*|gewählt|gewann|gewonnen|verlor\w*|besiegt\w*|endete|trennen|"
    r"adopté|rejeté|approuvé|élu|gagn[eé]\w*|perdu|battu|aprob\w+|rechaz\w+|gan[óa]\w*|perdió|"
    r"terminó|elegid\w)\b",
    re.IGNORECASE,
)
_SCORE = frozenset(map(stem, "score spielstand marcador".split()))
_SCORELINE = re.compile(r"\b\d{1,3}\s?(?:[-–]|:(?!\d\d\b))\s?\d{1,3}\b")
_OPEN = re.compile(
    r"\b(?:is|are|remains?|still) (?:wide )?open\b|\bforecast\b|\bundecided\b|\btoo close\b|"
    r"\bunder ?way\b|\bkick-?off\b|\b(?:has|have) (?:begun|started|gone)\b|\bhalf-?time\b|"
    r"\bat the (?:break|interval)\b|\b(?:halb|pausen)\w*stand\b|\bangepfiffen\b|\bmi-temps\b|"
    r"\bdescanso\b",
    re.IGNORECASE,
)
"""Told before it was over."""
_MONEY = frozenset(map(stem, "price fare fee salary sum money".split()))
"""A sum of money is no salary because it is money."""
_ATTENDED = re.compile(
    r"\bhow many (?:\w+ )?(?:watched|attended|came|saw|turned|were (?:there|present))\b",
    re.IGNORECASE,
)
_LIKE = 0.4
"""Cosine of two words from which one may stand for the other."""


def wanted(asked: Plan) -> tuple[str, ...]:
    """The words of a question that its answer must tell, in these or other words."""
    question = (asked.focus or asked.search_text).replace("’", "'")
    found = [deed(asked), office(asked)]
    for pattern in (_QUANTITY, _COUNTED, _POSSESSED, _COST_OF_DOING, _WHEN_DID):
        found += [match["noun"] for match in pattern.finditer(question)]
    if not _AUXILIARY.search(question):
        found += [w for m in _NAMED_AFTER.finditer(question) for w in m.groups() if w]
    found += [match["noun"] for match in _NAMED_BEFORE.finditer(question)]
    if asked.expects in ("person", "yes_no"):
        found += [term for term in asked.terms if term in OFFICES]
    return tuple(dict.fromkeys(w.lower() for w in found if stem(w.lower()) in asked.terms))


def done(asked: Plan) -> frozenset[str]:
    """Of these, the deeds: who did it, or when it was done, is told only with what was done."""
    question = (asked.focus or asked.search_text).replace("’", "'")
    when = _WHEN_DID.search(question) if asked.expects == "time" else None
    found = {deed(asked), when["noun"].lower() if when else ""}
    return frozenset(found.intersection(wanted(asked)))


def of_another(asked: Plan, text: str) -> bool:
    """Whether `text` speaks of a namesake only: of the Mill Bridge where the Harbour Bridge is
    asked about."""
    told_of = [n.stems for n in names(text) if len(n.stems) > 1]
    return any(
        any(stems_[-1] == name.stems[-1] for stems_ in told_of)
        and not any(stems_[-2:] == name.stems[-2:] for stems_ in told_of)
        for name in names(asked.focus or asked.search_text)
        if len(name.stems) > 1
    )


def told(
    word: str, text: str, held: Set[str], embed: Embed | None, terms: Collection[str] = ()
) -> bool:
    """Whether `text`, or what stands around it with the stems `held`, speaks of `word`.

    Of the question's other `terms` none stands for it.
    """
    own = stem(word)
    return (
        own in held
        or bool((means(own) | others(own)) & held)
        or bool(own not in _MONEY and measured([own], text))
        or nearly(word, text, embed, least=_LIKE, but=terms)
    )


def came_out(asked: Plan, text: str) -> bool:
    """False where an outcome is asked for and `text` tells none."""
    asks = _of_outcome(asked.focus or asked.search_text)
    if asks == "attended":
        return not _OPEN.search(text)
    return not asks or _over(text)


def outcome(asked: Plan, text: str) -> frozenset[str]:
    """The terms of a question for an outcome that `text` answers by telling one."""
    if _SCORE.intersection(asked.terms) and _SCORELINE.search(text):
        return _SCORE.intersection(asked.terms)
    if _of_outcome(asked.focus or asked.search_text) != "outcome" or not _over(text):
        return frozenset()
    words_for = _BY_BALLOT if _BALLOT.search(text) else _BY_RESULT
    return words_for.intersection(asked.terms)


def matter(asked: Plan) -> frozenset[str]:
    """Of what an outcome is asked for: the terms of `the dog tax` in "the vote on the dog tax"."""
    question = (asked.focus or asked.search_text).rstrip(" ?.!")
    found = _MATTER.search(question) if _of_outcome(question) else None
    return frozenset(stems(found["matter"]).intersection(asked.terms)) if found else frozenset()


@lru_cache(maxsize=64)
def _of_outcome(question: str) -> Literal["", "outcome", "attended"]:
    """Whether a question asks how something came out, or how many saw it. Asked per sentence."""
    if _ATTENDED.search(question):
        return "attended"
    return "outcome" if _OUTCOME.search(question) else ""


def _over(text: str) -> bool:
    return bool(_CAME_OUT.search(text)) and not _OPEN.search(text)
