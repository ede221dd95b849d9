"""Several questions in one: told apart by rule, answered one after the other, merged in order.

"When does the bridge reopen, and who pays for it?" asks twice. Each question gets its own search,
its own sentences and its own silence; one that cannot be answered does not spoil the others.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing

from msgspec import structs

from gnomon.answer.base import (
    AnswerEvent,
    Finished,
    Planned,
    Question,
    Retrieved,
    Turn,
    Written,
)
from gnomon.answer.named import narrowed_by_words
from gnomon.answer.wording import plainly
from gnomon.answer.words import content
from gnomon.types import Answer, Citation, Freshness, Sentence, Usage

MOST = 4
"""So many questions are told apart; what follows stays with the last one."""
_MAX_CHARS = 1_000
_WH = (
    r"(?:who(?:m|se)?|what|when|where|why|how|which|wer|wen|wem|was|wann|wo|warum|wieso|wie|"
    r"welche[rsnm]?|qui|quand|où|pourquoi|comment|combien|qui[eé]n(?:es)?|qu[eé]|cu[aá]ndo|"
    r"d[oó]nde|c[oó]mo|cu[aá]nt[oa]s?)"
)
_AUX = (
    r"(?:is|are|was|were|do|does|did|has|have|had|can|could|will|would|should|ist|sind|hat|haben|"
    r"wird|kann|est|sont)"
)
_AND = r"(?:and|und|et|y)(?:\s+(?:also|auch|aussi))?"
_ASKS = re.compile(rf"^[\W_]*(?:{_AND}\s+)?(?:{_WH}|{_AUX})\b", re.IGNORECASE)
_NEXT = re.compile(r"(?<=\?)\s+")
_JOINT = re.compile(
    rf"(?:,|;)?\s+{_AND}\s+(?=(?:{_WH})\s+\S+\s+\S|"
    rf"(?:{_AUX})\s+(?:the|an?|it|he|she|they|there|this|that|der|die|das|le|la|el)\b\s*\S)",
    re.IGNORECASE,
)
_BARE = re.compile(
    rf"^(?P<before>(?:.*[.!]\s)?)(?P<one>{_WH})\s+{_AND}\s+(?P<other>{_WH})\s+(?P<rest>\S.*)$",
    re.IGNORECASE | re.DOTALL,
)
_PRONOUN = re.compile(r"\b(?:it|he|she|they|this|that|er|sie|es|il|elle)\b", re.IGNORECASE)
_EMBEDDED = re.compile(rf"\b{_WH}\b", re.IGNORECASE)


def apart(question: Question) -> tuple[Question, ...]:
    """The questions that `question` holds, in order and plainly put, each narrowed by its words.

    A later one has the earlier ones for its history, so that "it" can be understood.
    """
    question = plainly(question)
    asked = told_apart(question.text)
    out: list[Question] = []
    history = question.history
    for text in asked:
        part = plainly(structs.replace(question, text=text, history=history))
        part = narrowed_by_words(part)
        out.append(part)
        history = (*history, Turn(question=text, answer=""))
    return tuple(out)


def told_apart(text: str) -> list[str]:
    """The questions in `text`, in order; `text` itself where it asks but once."""
    if len(text) > _MAX_CHARS:
        return [text]
    pieces: list[str] = []
    for piece in _NEXT.split(text.strip()):
        if pieces and not _ASKS.match(piece):
            pieces[-1] += f" {piece}"  # "Is it open? I have to cross it."
        else:
            pieces.append(piece)
    found = [part for piece in pieces for part in _joined(piece)]
    if len(found) < 2 or not all(_tells(part) for part in found):
        return [text]
    return [*found[: MOST - 1], " ".join(found[MOST - 1 :])] if len(found) > MOST else found


def _joined(piece: str) -> list[str]:
    """The questions that one sentence joins with "and"."""
    bare = _BARE.match(piece)
    if bare is not None:
        one = f"{bare['before']}{bare['one']} {bare['rest']}"
        return [one, f"{bare['other'][:1].upper()}{bare['other'][1:]} {bare['rest']}"]
    out: list[str] = []
    rest = piece
    while (match := _JOINT.search(rest)) is not None:
        left = rest[: match.start()]
        if not _stands_alone(left):
            break
        out.append(f"{left.rstrip(' ,;')}?")
        rest = rest[match.end() :]
        rest = rest[:1].upper() + rest[1:]
    return [*out, rest]


def _stands_alone(left: str) -> bool:
    """Whether what comes before an "and" is a whole question, and not the head of a longer one."""
    clause = re.split(r"[.!]\s+", left)[-1]
    if not _ASKS.match(clause):
        return False
    # "What does it say about who pays and who benefits?" asks but once.
    first = re.match(r"[\W_]*\w+", clause)
    if first is not None and _EMBEDDED.search(clause, first.end()):
        return False
    return len(content(clause)) >= 2 or bool(_PRONOUN.search(clause))


def _tells(part: str) -> bool:
    """Whether it can be asked: it says something, or leans on what was asked before."""
    return bool(content(part)) or bool(_PRONOUN.search(part))


async def together(
    question: Question,
    parts: Sequence[Question],
    answer: Callable[[Question], AsyncIterator[AnswerEvent]],
) -> AsyncGenerator[AnswerEvent]:
    """The events of one answer to all `parts`: one Planned, one Retrieved or more, and so on."""
    merged = _Merged(question, parts)
    as_of = question.as_of
    for part in parts:
        steps = answer(structs.replace(part, as_of=part.as_of or as_of))
        async with aclosing(steps) as events:  # type: ignore[type-var]
            async for event in events:
                step = merged.step(event)
                if step is not None:
                    yield step
                if isinstance(event, Finished):
                    # "As of noon, …" holds for all that is asked in one breath.
                    as_of = as_of or event.answer.as_of
    yield Finished(answer=merged.answer())


class _Merged:
    """Several answers as one: citations numbered through, notes in order."""

    def __init__(self, question: Question, parts: Sequence[Question]) -> None:
        self._question = question
        self._parts = parts
        self._answers: list[Answer] = []
        self._candidates: list[Citation] = []
        self._citations: list[Citation] = []
        self._sentences: list[Sentence] = []
        self._numbers: dict[tuple[int, int, int], int] = {}
        self._renumbered: dict[int, int] = {}
        self._planned = False

    def step(self, event: AnswerEvent) -> AnswerEvent | None:
        """The event of one part as one of the whole; None where the whole has had it."""
        match event:
            case Planned(plan=plan):
                if self._planned:
                    return None
                self._planned = True
                return Planned(plan=structs.replace(plan, notes=(self._note(), *plan.notes)))
            case Retrieved():
                known = {(c.seq, c.start, c.end) for c in self._candidates}
                new = [c for c in event.citations if (c.seq, c.start, c.end) not in known]
                first = len(self._candidates) + 1
                self._candidates += [
                    structs.replace(c, number=first + i) for i, c in enumerate(new)
                ]
                return structs.replace(event, citations=tuple(self._candidates))
            case Written():
                return self._written(event)
            case Finished():
                self._answers.append(event.answer)
                self._renumbered = {}
                return None

    def _written(self, event: Written) -> Written:
        new = []
        for c in event.citations:
            place = (c.seq, c.start, c.end)
            if place not in self._numbers:
                self._numbers[place] = len(self._citations) + 1
                self._citations.append(structs.replace(c, number=self._numbers[place]))
                new.append(self._citations[-1])
            self._renumbered[c.number] = self._numbers[place]
        numbers = tuple(self._renumbered[n] for n in event.sentence.citations)
        sentence = structs.replace(event.sentence, citations=numbers)
        self._sentences.append(sentence)
        return Written(sentence=sentence, citations=tuple(new))

    def answer(self) -> Answer:
        """The whole answer. What each part could not say stands in the notes."""
        first = self._answers[0]
        notes = [self._note()]
        disagreements, superseded = [], []
        said = 0
        for part, each in zip(self._parts, self._answers, strict=True):
            if each.abstained:
                notes.append(f"No answer to “{part.text}”:")
            notes += each.notes
            disagreements += [
                structs.replace(d, sentence=d.sentence + said) for d in each.disagreements
            ]
            superseded += [structs.replace(s, sentence=s.sentence + said) for s in each.superseded]
            said += len(each.sentences)
        abstained = all(a.abstained for a in self._answers)
        closest = next((a.closest for a in self._answers if a.closest is not None), None)
        return structs.replace(
            first,
            question=self._question.text,
            sentences=tuple(self._sentences),
            citations=tuple(self._citations),
            abstained=abstained,
            closest=closest if abstained else None,
            freshness=_freshest([a.freshness for a in self._answers]),
            as_of=next((a.as_of for a in self._answers if a.as_of is not None), None),
            writer=", ".join(dict.fromkeys(a.writer for a in self._answers)),
            notes=tuple(dict.fromkeys(notes)),
            disagreements=tuple(disagreements),
            superseded=tuple(superseded),
            timings_ms={
                **first.timings_ms,
                "whole": round(sum(a.timings_ms.get("whole", 0.0) for a in self._answers), 2),
            },
            usage=Usage(
                input_tokens=sum(a.usage.input_tokens for a in self._answers),
                output_tokens=sum(a.usage.output_tokens for a in self._answers),
            ),
        )

    def _note(self) -> str:
        asked = " ".join(f"“{p.text}”" for p in self._parts)
        return f"Read as {len(self._parts)} questions: {asked}"


def _freshest(all_: Sequence[Freshness]) -> Freshness:
    dated = [f for f in all_ if f.newest_at is not None]
    newest = max(dated, key=lambda f: f.newest_at or 0, default=all_[0])
    silent = {s.name: s for f in all_ for s in f.silent}
    return structs.replace(
        newest, searched=max(f.searched for f in all_), silent=tuple(silent.values())
    )
