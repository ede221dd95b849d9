"""Whether a sentence bears on what is asked, by rules that no likeness of words can replace.

"The council will vote" is no result of a vote; "it closed at nine" answers "is it open" though it
shares no word for the state; and of two statements of a state the newer one counts.
"""

# ruff: noqa: SIM905 - a list of words reads best as one text

from __future__ import annotations

import re
from collections.abc import Iterable, Set

from gnomon.answer import facts
from gnomon.answer.base import Plan
from gnomon.answer.check import kindred
from gnomon.answer.judgement import tells_reason
from gnomon.answer.words import negated, stem

_ASKS_BACK = re.compile(
    r"\b(?:did|was|were|had|what happened|result|outcome|wurde|wurden|hat|haben|war|waren|"
    r"a été|ont été|était|fue|fueron)\b",
    re.IGNORECASE,
)
_ASKS_AHEAD = re.compile(
    r"\b(?:will|would|going to|plan(?:s|ned)?|expected|scheduled|next|upcoming|tomorrow|wird|"
    r"werden|soll|va|será)\b",
    re.IGNORECASE,
)
_ANNOUNCES = re.compile(
    r"\b(?:will|shall|(?:is|are) (?:to|set to|due|expected to|scheduled to|about to|going to)|"
    r"plans? to|(?:with)?in the coming|within (?:\w+ )?(?:hours?|days?|weeks?|months?)|"
    r"tomorrow|(?:next|this) (?:week|month|year|sitting|session|meeting)|upcoming|soon|pending|"
    r"awaited|"
    r"wird|werden|soll|sollen|demnächst|morgen|va|vont|devra|demain|será|serán|mañana)\b",
    re.IGNORECASE,
)
_HAPPENED = re.compile(
    r"\b(?:was|were|has|have|had|did|wurde|wurden|hat|haben|war|waren|\w{3,}ed)\b", re.IGNORECASE
)
_LEADS = re.compile(
    r"\bwho(?:'s| is| are| now)?\b.{0,40}\b(?:head|lead|run|chair|direct|manag|charge|mayor|"
    r"president|minister|chief|boss|captain|coach|ceo)",
    re.IGNORECASE,
)
_IS_WHO = re.compile(
    r"\b(?:who(?:'s| is| are| was)|wer (?:ist|war)|qui est|qui[eé]n es)\s(?:now\s|jetzt\s)?"
    r"(?:the|a|der|die|das|le|la|l['’]|el)?\s?(?:new |current |neue |nouveau |nueva? )?"
    r"(?P<role>[^\W\d]{4,})\b",
    re.IGNORECASE,
)
_AT_THE_END = re.compile(r"\b(?:at|by|until) the end of\b", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]+")
_THEN_NAMED = re.compile(
    r"\s?(?:,|is|ist|est|es|:|–|will be|wird)?\s?(?:(?:of|von|de|du|del|in)\s)?"
    r"(?:the|der|la|el|le)?\s?",
    re.IGNORECASE,
)
_IS_NAMED = re.compile(r"(?:(?!\band\b|\bund\b|\bet\b|\by\b|\bor\b|[;:.]).){0,60}", re.IGNORECASE)
_CHANGES = re.compile(
    r"\b(?:again|once more|back (?:on|in|to|at)|no longer|any ?more|until further notice|restored|"
    r"lifted|called off|wieder|bis auf weiteres|de nouveau|de nuevo)\b",
    re.IGNORECASE,
)
_LEAVES = re.compile(
    r"\b(?:steps? down|stepped down|sa(?:ys|id) goodbye|has left|leaves|is leaving|resign\w*|"
    r"retire[sd]?|departs?|departed|quits?|tritt zurück|zurückgetreten|démissionn\w*|dimit\w*)\b",
    re.IGNORECASE,
)
_SUCCEEDS = re.compile(
    r"\b(?:succe\w+|replac\w+|takes? over|new|acting|in charge|follow\w*|instead)\b", re.IGNORECASE
)
_SINCE = re.compile(r"\b(?:since|seit|depuis|desde)\b", re.IGNORECASE)
_BEGINS = re.compile(r"\bwhen did .{3,}\b(?:begin|start)\b", re.IGNORECASE)
_BEGUN = re.compile(
    r"\b(?:beg[iau]n\w*|start(?:s|ed|ing)?|since|launch\w*|went|go(?:es|ne)? on|walked out|opened|"
    r"seit|depuis|desde)\b",
    re.IGNORECASE,
)
_WHO_DID = re.compile(
    r"\b(?:who|which \w+|what \w+)\s(?:(?:has|have|had|was|were|is|are|will|would|did|be|been)\s)*"
    r"(?P<verb>[a-z]{3,})\b",
    re.IGNORECASE,
)
# Words that single out one of several: what lacks them speaks of another one.
_SINGLES_OUT = frozenset(
    stem(w)
    for w in "deputy vice former acting interim assistant honorary largest biggest smallest "
    "youngest oldest highest lowest fastest longest shortest tallest cheapest".split()
)
_QUANTITIES = tuple(
    (frozenset(stem(w) for w in nouns.split()), frozenset(units.split()) or facts.currencies())
    for nouns, units in (
        ("temperature", "° °c °f"),
        ("speed", "km/h mph"),
        ("distance", "km mile metre foot"),
        ("percentage percent share proportion turnout", "%"),
        ("money price fare fee salary sum geld dinero argent", ""),
    )
)
_COSTS = frozenset(
    stem(w) for w in "cost costs price kosten kostet coûte prix cuesta precio".split()
)
_FOR = re.compile(
    r"\b(?:for|at|für|zu|pour|por)\s(?:about |around |some |just |rund |etwa )?$", re.I
)
# Words by which one state is told, in several languages; `kindred` has opposites besides.
_MEANS = tuple(
    frozenset(stem(w) for w in group.split())
    for group in (
        "finish finished complete completed completion done due ready delay delayed "
        "postponed deadline fertig verschoben terminé retardé terminado aplazado",
        "collect collected collection raise raised gather gathered give given brought donors "
        "donated donations gespendet gesammelt reunido reunieron recaudado",
        "true false untrue wahr falsch erfunden verdad falso falsa inventado vrai faux",
        "lead leads head heads charge chair chairs director appointed appoint leitet dirige",
        "open opened reopened closed close shut offen geöffnet gesperrt geschlossen zu frei ouvert "
        "fermé abierto cerrado",
        "run running operate operating service suspend suspended interrupted resumed fährt "
        "verkehrt eingestellt unterbrochen fonctionne circule suspendu interrompu funciona "
        "funcionando circula suspendido interrumpido",
        "warning warn warnings alert alerts warnung alerte alerta",
        "coming come comes approach approaches approaching nears forming forecast passed over "
        "lifted aufziehen zieht vorbei approche passé acerca pasado",
    )
)
# What can go back and forth, so that "again" tells it.
_REVERSIBLE = frozenset[str]().union(
    *map(kindred, ("open", "block", "run", "forc", "allow", "strike"))
)
_PASSABLE = frozenset[str]().union(*map(kindred, ("open", "block", "run", "allow", "safe")))
_TOLD = 0.4
_SINGLED = 0.6


def holds(asked: Plan, text: str) -> bool:
    """False where it is asked who has an office, and `text` speaks of the office only: "Ada and the
    new mayor had lunch" names no mayor."""
    role = stem(office(asked))
    found = [m for m in _WORD.finditer(text) if stem(m[0].lower()) == role]
    return not role or not found or any(_named_beside(text, m.start(), m.end()) for m in found)


def office(asked: Plan) -> str:
    """The office whose holder is asked for: `mayor` in "who is the mayor"; else empty."""
    match = _IS_WHO.search(asked.focus or asked.search_text)
    return match["role"].lower() if match else ""


def _named_beside(text: str, start: int, end: int) -> bool:
    """Whether a name stands beside the office that is told from `start` to `end`."""
    people = facts.names(text)
    if any(n.start <= start < n.end and " " in n.text for n in people):
        return True  # "Mayor Ada Ferrow"
    after = [n.start for n in people if n.start >= end]
    if after and _THEN_NAMED.fullmatch(text[end : min(after)]):
        return True
    before = [n.end for n in people if n.end <= start]
    return bool(before) and bool(_IS_NAMED.fullmatch(text[max(before) : start]))


def deed(asked: Plan) -> str:
    """What somebody is asked to have done: `hired` in "which builder was hired"; else empty."""
    match = _WHO_DID.search(asked.focus or asked.search_text)
    if match is None or asked.expects != "person" or asked.state:
        return ""
    verb = match["verb"].lower()
    return verb if stem(verb) in asked.terms else ""


def means(term: str) -> frozenset[str]:
    """Stems of words that tell what `term` tells, or its opposite."""
    return kindred(term).union(*(group for group in _MEANS if term in group))


def announces(asked: Plan, text: str) -> bool:
    """Whether `text` only tells what is to come, where the question asks what has come of it."""
    question = asked.focus or asked.search_text
    return bool(_ASKS_BACK.search(question) and not _ASKS_AHEAD.search(question) and comes(text))


def comes(text: str) -> bool:
    """Whether `text` speaks only of what is still to come."""
    return bool(_ANNOUNCES.search(text)) and not _HAPPENED.search(text)


def stood_for(terms: Iterable[str], text: str, held: Set[str]) -> frozenset[str]:
    """The words for states among `terms` that `text` answers: `open` by `closed`, or by `again`."""
    changes = bool(_CHANGES.search(text))
    if _AT_THE_END.search(text):
        held = held - {"end"}  # of a street, or of the day

    def answers(term: str) -> bool:
        return bool(means(term) & held) or (changes and term in _REVERSIBLE)

    return frozenset(t for t in terms if t not in held and answers(t))


def outright(terms: Iterable[str], held: Set[str]) -> bool:
    """Whether a sentence with the stems `held` names one of the states among `terms`, or its
    opposite: "open" and "closed" do, "lifted" only lets one guess."""
    states = [t for t in terms if t in _REVERSIBLE]
    return not states or any(t in held or means(t) & held for t in states)


def begun(terms: Iterable[str], text: str) -> frozenset[str]:
    """The words for a beginning among `terms` that `text` answers with "since"."""
    if not _SINCE.search(text):
        return frozenset()
    return frozenset(("begin", "start")).intersection(terms)


def measured(terms: Iterable[str], text: str) -> frozenset[str]:
    """The quantities among `terms` that a number of `text` has the unit of: a price in euros."""
    wanted = [(t, units) for t in terms for nouns, units in _QUANTITIES if t in nouns]
    priced = frozenset(t for t in terms if t in _COSTS and _sold_for(text))
    if not wanted:
        return priced
    told = {n.unit for n in facts.numbers(text)}
    return priced.union(t for t, units in wanted if units & told)


def _sold_for(text: str) -> bool:
    """Whether it tells for how much: "renewed for 108,000 crowns"."""
    return any(
        n.unit in facts.currencies() and _FOR.search(text[: n.start]) for n in facts.numbers(text)
    )


def _allows(text: str, held: Set[str]) -> bool:
    """Whether it can be a yes or a no to whether something can be done."""
    return bool(held & _PASSABLE or _CHANGES.search(text)) or negated(text)


def bears(asked: Plan, text: str, held: Set[str], around: Set[str]) -> float:
    """What rules leave of a sentence's likelihood, from 0 to 1.

    `held` are its stems, `around` those of what stands around it too.
    """
    left = 1.0
    question = asked.focus or asked.search_text
    if _LEADS.search(question) and _LEAVES.search(text) and not _SUCCEEDS.search(text):
        left *= _TOLD  # Who left is not who leads now.
    if asked.expects == "reason" and _CHANGES.search(text) and not tells_reason(text):
        left *= _TOLD  # That it is over does not say why it was.
    if asked.expects == "time" and _BEGINS.search(question) and not _BEGUN.search(text):
        left *= _TOLD
    if not holds(asked, text):
        left *= _TOLD
    if asked.allowed and not _allows(text, held):
        left *= _TOLD
    if any(t in _SINGLES_OUT and t not in around for t in asked.terms):
        left *= _SINGLED
    return left
