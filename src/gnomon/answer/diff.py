"""What changed between two moments: the answer then, the answer now, and what made the difference.

Both sides are ordinary answers as of their moment, by quoting, so that nothing but the record can
differ. A statement that merely fell out of the answer is no change: only what the record saw
between the moments (a new document, an edit, a deletion) is called one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Literal, Protocol

import msgspec
from msgspec import structs

from gnomon.answer.base import AnswerEvent, Finished, Plan, Question
from gnomon.answer.check import disagrees, opposed
from gnomon.answer.facts import moments, numbers
from gnomon.answer.plan import plan
from gnomon.answer.words import fold, plain, stem, stems
from gnomon.clock import Clock, Ids, in_utc
from gnomon.errors import ContentError
from gnomon.record.base import Life, Record
from gnomon.types import Answer, Citation

Status = Literal["new", "changed", "gone", "passed", "unchanged"]
"""`passed`: it came up after the first moment and no longer stood at the second."""
Deed = Literal["published", "edited", "deleted"]

_SAME = 0.6
_CLAIMS = 12
_STEPS = 4
"""How many moments in between are looked at, the latest first."""
_TICK = timedelta(microseconds=1)
_ORDER: tuple[Status, ...] = ("changed", "new", "gone", "passed", "unchanged")


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A statement of one of the two answers, and the words that it rests on."""

    text: str
    citation: Citation


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """What the record saw between the two moments that made a change."""

    deed: Deed
    key: str
    version: int
    at: datetime
    """When we saw it."""
    source: str = ""
    title: str = ""
    url: str = ""


class ClaimChange(msgspec.Struct, frozen=True, kw_only=True):
    """How one statement stood at the first moment and stands at the second."""

    status: Status
    before: Claim | None = None
    after: Claim | None = None
    cause: Cause | None = None
    """None for what is unchanged."""
    note: str = ""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """What changed between `start` and `end`. Both answers are complete."""

    id: str
    question: str
    created_at: datetime
    start: datetime
    end: datetime
    changed: bool
    summary: str
    changes: tuple[ClaimChange, ...]
    before: Answer
    after: Answer


class _Answers(Protocol):
    def answer(self, question: Question) -> AsyncIterator[AnswerEvent]: ...


class Differ:
    """Compares answers to one question as of two moments."""

    def __init__(self, answerer: _Answers, record: Record, clock: Clock, ids: Ids) -> None:
        self._answerer = answerer
        self._record = record
        self._clock = clock
        self._ids = ids

    def check(self, question: Question, until: datetime) -> None:
        """Raise ContentError `diff.moment` if the question names a moment itself."""
        if plan(structs.replace(question, as_of=until), self._clock.now()).as_of != until:
            raise ContentError(
                "The question names a moment by itself (“as of …”), but two are compared.",
                code="diff.moment",
                hint="Leave that moment out of the question.",
            )

    async def compare(
        self, question: Question, start: datetime, end: datetime | None = None
    ) -> Difference:
        """What changed in the answer to `question` after `start`, up to `end` (now).

        The question's own filters hold for both sides. Raises ContentError `diff.order` if
        `start` is not before `end`, and `diff.moment` if the question names a moment itself.
        """
        now = self._clock.now()
        until = end or now
        if start >= until:
            raise ContentError(
                f"{in_utc(start)} is not before {in_utc(until)}: there is nothing between them.",
                code="diff.order",
                hint="Give the earlier moment first.",
            )
        self.check(question, until)
        wide = structs.replace(question, mode="extract", max_sentences=_CLAIMS)
        before = await self._answer(structs.replace(wide, as_of=start))
        after = await self._answer(structs.replace(wide, as_of=until))
        meanwhile = await self._meanwhile(wide, after, start)
        matter = plan(structs.replace(wide, as_of=until), now)
        changes = await asyncio.to_thread(
            self._changes, matter, before, after, meanwhile, start, until
        )
        changes += await asyncio.to_thread(self._between, meanwhile, changes, until)
        changes.sort(key=lambda c: _ORDER.index(c.status))
        return Difference(
            id=self._ids.new("diff"),
            question=question.text,
            created_at=now,
            start=start,
            end=until,
            changed=any(c.status != "unchanged" for c in changes),
            summary=_summary(changes, before, after, start, until),
            changes=tuple(changes),
            before=before,
            after=after,
        )

    async def _answer(self, question: Question) -> Answer:
        async with aclosing(self._answerer.answer(question)) as events:  # type: ignore[type-var]
            async for event in events:
                if isinstance(event, Finished):
                    return event.answer
        raise RuntimeError("an answer ends with Finished")  # the pipeline promises it

    async def _meanwhile(self, wide: Question, after: Answer, start: datetime) -> list[Claim]:
        """What was answered in between: before the newest evidence came, before that, and so on."""
        claims: list[Claim] = []
        answer = after
        for _ in range(_STEPS):
            seen = [c.citation.observed_at for c in _claims(answer) if _fresh(c, start)]
            newest = max(filter(None, seen), default=None)
            if newest is None or newest - _TICK <= start:
                break
            answer = await self._answer(structs.replace(wide, as_of=newest - _TICK))
            claims += [c for c in _claims(answer) if _fresh(c, start)]
        return claims

    def _changes(
        self,
        matter: Plan,
        before: Answer,
        after: Answer,
        meanwhile: Sequence[Claim],
        start: datetime,
        end: datetime,
    ) -> list[ClaimChange]:
        then, left = _claims(before), _claims(after)
        since = [c for c in meanwhile if self._stands(c, end)]
        changes = []
        for old in then:
            same = next((c for c in left if _same(old, c)), None)
            if same is not None:
                left.remove(same)
                changes.append(ClaimChange(status="unchanged", before=old, after=same))
                continue
            changes.append(self._fate(matter, old, [*left, *since], start, end))
            taken = changes[-1].after
            left = [c for c in left if c is not taken]
        # Several old statements may have given way to one; the others repeat it or add to it.
        told = [c.after for c in changes if c.after is not None]
        for claim in left:
            if any(_same(claim, other) for other in told):
                continue
            told.append(claim)
            changes.append(self._arrival(claim, start))
        return changes

    def _fate(
        self, matter: Plan, old: Claim, others: Sequence[Claim], start: datetime, end: datetime
    ) -> ClaimChange:
        """What became of a statement that is not in the second answer; `others` still stand."""
        found = self._record.get(old.citation.key, end)
        rivals = [c for c in others if _fresh(c, start)]
        rival = next(
            (c for c in rivals if _replaces(c, old)),
            next((c for c in rivals if _turns(matter, c, old)), None),
        )
        if found.life is Life.ALIVE and found.document is not None:
            edited = found.document.version != old.citation.version
            stands = plain(old.citation.quote) in plain(found.document.text)
            if rival is not None:
                cause = _published(rival.citation)
                return ClaimChange(status="changed", before=old, after=rival, cause=cause)
            if stands:
                return ClaimChange(
                    status="unchanged",
                    before=old,
                    note="It still stands in its source; newer statements are nearer to the "
                    "question.",
                )
            if edited:
                cause = Cause(
                    deed="edited",
                    key=found.document.key,
                    version=found.document.version,
                    at=found.document.observed_at or end,
                    source=found.document.source,
                    title=found.document.title,
                    url=found.document.url,
                )
                return ClaimChange(status="gone", before=old, cause=cause)
        if found.life is Life.DELETED:
            gone = Cause(
                deed="deleted",
                key=old.citation.key,
                version=old.citation.version,
                at=found.since or end,
                source=old.citation.source,
                title=old.citation.title,
                url=old.citation.url,
            )
            if rival is None:
                return ClaimChange(status="gone", before=old, cause=gone)
            cause = _published(rival.citation)
            return ClaimChange(
                status="changed",
                before=old,
                after=rival,
                cause=cause,
                note=f"The earlier source was deleted; noticed {in_utc(gone.at)}.",
            )
        return ClaimChange(
            status="gone",
            before=old,
            note="The record no longer holds its source, so what became of it cannot be told.",
        )

    def _between(
        self, meanwhile: Sequence[Claim], changes: Sequence[ClaimChange], end: datetime
    ) -> list[ClaimChange]:
        """What came up between the two moments and is not in the second answer."""
        told = [c for change in changes for c in (change.before, change.after) if c is not None]
        out = []
        for claim in meanwhile:
            if any(_same(claim, other) for other in told):
                continue
            newer = [c for c in told if _seen(c) > _seen(claim) and _replaces(c, claim)]
            told.append(claim)
            cause = _published(claim.citation)
            if not newer and self._stands(claim, end):
                note = "It still stands in its source; other statements are nearer to the question."
                out.append(ClaimChange(status="new", after=claim, cause=cause, note=note))
                continue
            note = "It came up in between; the answer at the second moment no longer says it."
            out.append(ClaimChange(status="passed", before=claim, cause=cause, note=note))
        return out

    def _stands(self, claim: Claim, end: datetime) -> bool:
        """Whether its source still said so at `end`."""
        found = self._record.get(claim.citation.key, end)
        return (
            found.life is Life.ALIVE
            and found.document is not None
            and plain(claim.citation.quote) in plain(found.document.text)
        )

    def _arrival(self, claim: Claim, start: datetime) -> ClaimChange:
        if _fresh(claim, start):
            return ClaimChange(status="new", after=claim, cause=_published(claim.citation))
        return ClaimChange(
            status="unchanged",
            after=claim,
            note="It was known before the first moment already.",
        )


def _claims(answer: Answer) -> list[Claim]:
    by_number = {c.number: c for c in answer.citations}
    return [
        Claim(text=s.text, citation=by_number[s.citations[0]])
        for s in answer.sentences
        if s.citations
    ]


def _same(one: Claim, other: Claim) -> bool:
    """Whether two statements say the same, as far as rules can tell."""
    if plain(one.text) == plain(other.text):
        return True
    mine, theirs = stems(one.text), stems(other.text)
    smaller = min(len(mine), len(theirs)) or 1
    if len(mine & theirs) / smaller < _SAME or disagrees(one.text, other.text):
        return False
    return _facts(one.text) == _facts(other.text)


def _replaces(new: Claim, old: Claim) -> bool:
    """Whether `new` excludes `old`, or stands where `old` stood before its text was edited."""
    if disagrees(new.text, old.text):
        return True
    mine, theirs = stems(new.text), stems(old.text)
    alike = len(mine & theirs) / (min(len(mine), len(theirs)) or 1)
    return new.citation.key == old.citation.key and alike >= _SAME


def _turns(matter: Plan, new: Claim, old: Claim) -> bool:
    """Whether `new` says the opposite of the state that was asked for: open, no longer closed."""
    if not matter.state or not matter.subject:
        return False
    of_what = stem(fold(matter.subject[-1]))
    return all(of_what in stems(c.text) for c in (new, old)) and opposed(new.text, old.text)


def _facts(text: str) -> tuple[frozenset[float], frozenset[str]]:
    parts = frozenset[str]().union(*(m.parts for m in moments(text)))
    return frozenset(n.value for n in numbers(text)), parts


def _fresh(claim: Claim, start: datetime) -> bool:
    seen = claim.citation.observed_at
    return seen is not None and seen > start


def _seen(claim: Claim) -> datetime:
    return _published(claim.citation).at


def _published(citation: Citation) -> Cause:
    at = citation.observed_at
    if at is None:  # the record stamps every version
        raise ValueError(f"{citation.key} was cited without its moment")
    return Cause(
        deed="edited" if citation.version > 1 else "published",
        key=citation.key,
        version=citation.version,
        at=at,
        source=citation.source,
        title=citation.title,
        url=citation.url,
    )


def _summary(
    changes: Sequence[ClaimChange], before: Answer, after: Answer, start: datetime, end: datetime
) -> str:
    between = f"between {in_utc(start)} and {in_utc(end)}"
    if before.abstained and after.abstained:
        found = any(c.status == "new" for c in changes)
        if not found:
            return f"Nothing: the record held no answer at either moment, {between}."
    counts = {s: sum(c.status == s for c in changes) for s in _ORDER[:-1]}
    if not any(counts.values()):
        return f"Nothing changed {between}: the evidence says the same."
    words = {"changed": "changed", "new": "came up", "gone": "went away", "passed": "came and went"}
    told = ", ".join(f"{n} {words[s]}" for s, n in counts.items() if n)
    noun = "statement" if sum(counts.values()) == 1 else "statements"
    return f"{sum(counts.values())} {noun} {between}: {told}."
