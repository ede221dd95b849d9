"""What somebody asked to be remembered, given to what they ask.

Notes are wishes: about form and language they go to a writer as instructions, about the place to
the search in place of words like "near me". They are never passages, so nothing can cite them, and
every sentence is checked against passages only. An answer names the notes by their ids: where it is
stored, their words are not.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

import msgspec

from gnomon.accounts.memory import MAX_NOTE_CHARS, Memory, MemoryStore, Note
from gnomon.answer.base import AnswerEvent, Finished, Plan, Planned, Question
from gnomon.errors import ConfigError
from gnomon.serve.services import Services
from gnomon.types import Answer

WRITER = "memory"
"""The writer of an answer that only says what is remembered now."""
_MAX_GIVEN_CHARS = 2_000
_QUOTING = "extractive"
_ASKED_TO = re.compile(r"\s*(?:please[,\s]\s*|kindly\s+)?remember(?:\s+that\b|\s*:)", re.IGNORECASE)
_END = re.compile(r"[.!](?=\s)|\n")
_HOME = re.compile(
    r"\b(?:I live|I am living|I'm living|I am based|I'm based|my home is|we live)\s+"
    r"(?:here\s+)?(?P<place>(?:in|at|near|on)\s+[^.;,!?\n]{2,80})",
    re.IGNORECASE,
)
_HERE = re.compile(
    r"\b(?:near|around|close to) (?:me|here|us|my (?:home|house|place))\b"
    r"|\bwhere (?:I|we) live\b"
    r"|\bin (?:my|our) (?:area|neighbou?rhood|district|quarter|town|city|village|region|street)\b",
    re.IGNORECASE,
)


class Remembering:
    """An answerer for one person's question. Give it the id under which the answer is stored."""

    def __init__(self, services: Services, owner: str, answer_id: str) -> None:
        self._services = services
        self._store: MemoryStore | None = services.memory
        self._owner = owner
        self._answer_id = answer_id
        self.used: tuple[str, ...] = ()
        """Ids of the notes that the answer was asked with; known at its end."""

    async def answer(self, question: Question) -> AsyncIterator[AnswerEvent]:
        """Answer with what is remembered; or remember, and say so."""
        inner = self._services.answerer
        memory = await asyncio.to_thread(self._store.of, self._owner) if self._store else None
        asked, said = question, ""
        if memory is not None and (order := order_in(question.text)):
            note, rest = order
            said = await self.remember(note)
            if not rest:
                yield Planned(plan=Plan(search_text=""))
                yield Finished(answer=self._told(question, said))
                return
            asked = msgspec.structs.replace(question, text=rest)
        place = None
        given: tuple[Note, ...] = ()
        if memory is not None and memory.on:
            asked, place = at_home(asked, memory)
            given = newest(memory.notes)
            asked = msgspec.structs.replace(asked, instructions=instructed(asked, given))
        async with aclosing(inner.answer(asked)) as events:  # type: ignore[type-var]
            async for event in events:
                if isinstance(event, Finished):
                    event = Finished(answer=self._noted(event.answer, question, said, given, place))
                yield event

    async def remember(self, text: str) -> str:
        """Keep it, and what to say of that."""
        if self._store is None:
            return ""
        if len(text) > MAX_NOTE_CHARS:
            return f"Not remembered: a note may have {MAX_NOTE_CHARS} characters."
        try:
            note = await asyncio.to_thread(
                lambda: self._store.add(  # type: ignore[union-attr]
                    self._owner, text, said_in=self._answer_id
                )
            )
        except ConfigError as error:
            return f"Not remembered: {error}"
        return f"Remembered as {note.id}."

    def _told(self, question: Question, said: str) -> Answer:
        return Answer(
            id=self._services.ids.new("ans"),
            question=question.text,
            created_at=self._services.clock.now(),
            as_of=question.as_of,
            writer=WRITER,
            notes=(said,),
        )

    def _noted(
        self,
        answer: Answer,
        question: Question,
        said: str,
        given: Sequence[Note],
        place: Note | None,
    ) -> Answer:
        """The answer to what was really asked, with what it was asked with."""
        written = any(name.strip() != _QUOTING for name in answer.writer.split(","))
        used = [note.id for note in given] if written else []
        if place is not None and place.id not in used:
            used.append(place.id)
        self.used = tuple(used)
        notes = [said] if said else []
        if used:
            notes.append(f"Asked with what is remembered for you: {', '.join(used)}.")
        return msgspec.structs.replace(
            answer, question=question.text, notes=(*notes, *answer.notes)
        )


def wishes_of(store: MemoryStore, owner: str) -> tuple[str, tuple[str, ...]]:
    """What a writer is told of somebody's notes, and their ids; nothing while memory is off."""
    memory = store.of(owner)
    given = newest(memory.notes) if memory.on else ()
    return instructed(Question(text=""), given), tuple(note.id for note in given)


def placed(store: MemoryStore | None, owner: str, text: str) -> tuple[str, tuple[str, ...]]:
    """A question with "near me" said as the place that is remembered, and the ids of the notes
    that this took; as it is while memory is off."""
    memory = store.of(owner) if store is not None else None
    if memory is None or not memory.on:
        return text, ()
    question, note = at_home(Question(text=text), memory)
    return question.text, (note.id,) if note is not None else ()


def order_in(text: str) -> tuple[str, str] | None:
    """What is to be remembered, and the question behind it; None if nothing is."""
    order = _ASKED_TO.match(text)
    if order is None:
        return None
    said = text[order.end() :].strip()
    end = _END.search(said)
    note, rest = (said[: end.end()], said[end.end() :]) if end else (said, "")
    return (note.strip(), rest.strip()) if note.strip() and "?" not in note else None


def newest(notes: Sequence[Note]) -> tuple[Note, ...]:
    """The notes that are given to a writer: the newest, as many as have room, in their order."""
    given: list[Note] = []
    left = _MAX_GIVEN_CHARS
    for note in reversed(notes):
        left -= len(note.text)
        if left < 0:
            break
        given.append(note)
    return tuple(reversed(given))


def instructed(question: Question, given: Sequence[Note]) -> str:
    """The wishes of the question, and behind them those that are remembered."""
    if not given:
        return question.instructions
    lines = "\n".join(f"- {note.text}" for note in given)
    remembered = (
        "What the asker wants to be kept in mind, for language, form and place only; it is no "
        f"evidence of anything:\n{lines}"
    )
    return "\n".join(text for text in (question.instructions, remembered) if text)


def at_home(question: Question, memory: Memory) -> tuple[Question, Note | None]:
    """The question with words like "near me" said as the place that is remembered."""
    for note in reversed(memory.notes):
        found = _HOME.search(note.text)
        if found is not None:
            here = _HERE.search(question.text)
            if here is None:
                break
            text = question.text[: here.start()] + found["place"].strip()
            text += question.text[here.end() :]
            return msgspec.structs.replace(question, text=text), note
    return question, None
