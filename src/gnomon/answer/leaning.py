"""What a question in a conversation takes over from the ones before.

"Since when?" leans on what was asked, and so on back to the question that stood alone; "How old is
she?" on whom the last answer names; "Is that true?" on what it said; "What about the ferry?" on the
form of the question before, not on its matter. "Tell me more" asks the same anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, TypeAlias

from gnomon.answer import facts
from gnomon.answer.base import Question, Turn
from gnomon.answer.check import kindred
from gnomon.answer.myself import to_itself
from gnomon.answer.text import sentences
from gnomon.answer.wording import plainly
from gnomon.answer.words import Word, content, stems

How: TypeAlias = Literal["wholly", "perhaps"]

_MOST_TERMS = 8
_MOST_TURNS = 6
_SHARED = 2
"""So many words in common, and an answer goes on with the matter of the one before."""
_SHORT = 5
"""So many words with a pronoun among them may lean on what was asked before."""
_PERSON = re.compile(
    r"\b(?:he|she|him|her|hers|his|er|ihn|ihm|sie|elle|lui|él|ella)\b", re.IGNORECASE
)
_WHO = re.compile(r"\W*(?:who|wer|wem|wen|qui|quién)\b", re.IGNORECASE)
_PRONOUN = re.compile(
    r"\b(?:it|its|he|she|they|them|him|her|his|their|this|that|these|those|there|then|er|sie|ihn|"
    r"ihm|es|dort|das|il|elle|ils|elles|cela|ça|él|ella|ellos|ellas|eso|allí)\b",
    re.IGNORECASE,
)
_SAID = re.compile(
    r"^\W*(?:(?:is|was|are) (?:that|this|it) (?:really |still )?"
    r"(?:true|right|correct|so|sure|certain|confirmed)|"
    r"(?:who|where) (?:said|says|says that|told|reported|wrote) (?:so|that|this|it)|"
    r"(?:says|said) who|are you sure|really|source|sources|stimmt das|ist das wahr|wer sagt das|"
    r"c'est vrai|qui (?:l'a dit|le dit|dit ça)|es verdad|quién lo (?:dice|dijo))\W*$",
    re.IGNORECASE,
)
_MORE = re.compile(
    r"^\W*(?:(?:can you |could you |please )*(?:tell|give|show) (?:me |us )?(?:some )?more|more|"
    r"more (?:details?|information|info|please)|(?:any )?(?:more |further )?details|go on|continue|"
    r"elaborate|explain|expand|and then|what else|anything else|mehr|erzähl(?:e)? (?:mir )?mehr|"
    r"weiter|was noch|dis-m'en plus|plus de détails|quoi d'autre|cuéntame más|más|qué más)"
    r"(?: (?:details?|information))?(?: (?:about|on|of) (?:it|this|that|them))?\W*$",
    re.IGNORECASE,
)
_AND = re.compile(
    r"^\W*(?:and|but|what about|how about|und|aber|was ist mit|et|mais|y|pero|qué tal)\b"
    r"(?!\W+(?:who|what|when|where|why|how|which|is|are|was|were|do|does|did|has|have|can|will|wer|"
    r"was|wann|wo|warum|wie|ist|sind|qui|quand|où|pourquoi|comment|quién|qué|cuándo|dónde|cómo)\b)",
    re.IGNORECASE,
)
_ELLIPSIS = re.compile(
    r"^\W*(?:and|but|what about|how about|why|when|where|who|how|since when|und|aber|et|pero|y)\b"
    r"(?:\s+\S+){0,3}\W*$",
    re.IGNORECASE,
)


class Leaning(NamedTuple):
    """What is taken over."""

    how: How
    """Whether it cannot be understood alone, or may be."""
    words: tuple[Word, ...] = ()
    """Of what was asked and answered: an answer should tell them too."""
    own: tuple[Word, ...] = ()
    """What the question itself asks about."""
    form: str = ""
    """The earlier question whose form this one has; empty where its own form counts."""


def lean(
    asked: str, own: Sequence[Word], history: Sequence[Turn], told: Callable[[str], list[Word]]
) -> Leaning | None:
    """What `asked`, with its telling words `own`, takes over; None if it stands alone.

    `told` finds the telling words of an earlier question.
    """
    if not history:
        return None
    before = [
        Turn(question=plainly(Question(text=turn.question)).text, answer=turn.answer)
        for turn in history[-_MOST_TURNS:]
        if not to_itself(turn.question)
    ]
    if not before or to_itself(asked):
        return None
    root = _root(before, told)
    form = root[0].question
    if _MORE.match(asked):
        return Leaning("wholly", _matter(root, told, ()))
    if _SAID.match(asked):
        words = tuple(content(_first_sentence(before[-1].answer)))[:_MOST_TERMS]
        return Leaning("wholly", words or _matter(root, told, ()), (), form)
    if _AND.match(asked):
        if own:  # "What about the ferry?"
            return Leaning("perhaps", (), tuple(own), form)
        return Leaning("wholly", _matter(root, told, ()), (), form)
    how = _how(asked, own)
    if how is None:
        return None
    if _PERSON.search(asked) and (whom := _person(asked, before)):
        return Leaning(how, whom, tuple(own))
    return Leaning(how, _matter(root, told, own), tuple(own))


def _how(asked: str, own: Sequence[Word]) -> How | None:
    """Whether a question leans on those before it."""
    if not own or (_PRONOUN.search(asked) and len(own) <= _SHORT):
        return "wholly"
    return "perhaps" if len(own) <= 1 or _ELLIPSIS.match(asked) else None


def _root(before: Sequence[Turn], told: Callable[[str], list[Word]]) -> Sequence[Turn]:
    """The last of the turns before that stood alone, and those after it."""
    for at in range(len(before) - 1, 0, -1):
        turn = before[at]
        own = told(turn.question)
        if _MORE.match(turn.question) or _SAID.match(turn.question):
            continue
        how = _how(turn.question, own)
        if how is None or (_AND.match(turn.question) and own):
            return before[at:]
        if how == "perhaps" and turn.answer and not _continues(turn, before[:at], told):
            return before[at:]
    return before


def _continues(turn: Turn, before: Sequence[Turn], told: Callable[[str], list[Word]]) -> bool:
    """Whether its answer speaks of what was asked before it, or of what was answered last."""
    held = stems(turn.answer)
    asked = {w.stem for other in before for w in told(other.question)}
    last = next((other.answer for other in reversed(before) if other.answer), "")
    return bool(held & asked) or len(held & stems(last)) >= _SHARED


def _matter(
    asked: Sequence[Turn], told: Callable[[str], list[Word]], own: Sequence[Word]
) -> tuple[Word, ...]:
    """What these turns are about, the latest first; no state where `own` asks of one."""
    known = {w.stem for w in own}
    state = any(kindred(w.stem) for w in own)
    found: dict[str, Word] = {}
    for at in range(len(asked) - 1, -1, -1):
        text = asked[at].question
        if _MORE.match(text) or _SAID.match(text) or (at and not asked[at].answer):
            continue  # what could not be answered is no matter to go on with
        for word in told(text):
            if word.stem in known or (state and kindred(word.stem)):
                continue
            found.setdefault(word.stem, word)
        state = state or any(kindred(stem) for stem in found)
    return tuple(found.values())[:_MOST_TERMS]


def _person(asked: str, before: Sequence[Turn]) -> tuple[Word, ...]:
    """The words of the name that "she" stands for: in full, of the last answer to "who", else of
    the last that names somebody."""
    spoken = (asked, before[-1].question)
    if any(len(name.stems) > 1 for text in spoken for name in facts.names(text)):
        return ()
    latest = list(reversed(before))
    for turn in [*(t for t in latest if _WHO.match(t.question)), *latest]:
        for name in facts.names(turn.answer):
            if len(name.stems) > 1:
                return tuple(content(name.text))
    return ()


def _first_sentence(answer: str) -> str:
    text = re.sub(r"\s*\[\d+\]", "", answer)
    first = next(iter(sentences(text)), None)
    return "" if first is None else text[first.start : first.end]
