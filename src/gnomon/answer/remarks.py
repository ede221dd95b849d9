"""What a reader must know besides the answer: who wrote it, how new it is, what was not asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from gnomon.answer.base import Plan, Question
from gnomon.answer.context import heading
from gnomon.answer.plan import narrowed
from gnomon.answer.words import content, stems
from gnomon.clock import in_utc, in_words
from gnomon.models.base import ModelState
from gnomon.record.base import Record
from gnomon.types import Citation, Freshness, Passage, SourceState

_FAILING = ("retrying", "blocked", "failed", "paused", "gone")
_MAX_GAPS = 3
_FRESHNESS_MATTERS = 0.6


def freshness(
    times: Iterable[datetime],
    states: Sequence[SourceState],
    *,
    searched: int,
    now: datetime,
    stale_after: timedelta,
) -> Freshness:
    """How new the evidence is at `now`, and which sources were silent then."""
    silent = tuple(s for s in states if is_silent(s, now, stale_after))
    return aged(Freshness(searched=searched, silent=silent), max(times, default=None), now)


def aged(fresh: Freshness, newest: datetime | None, now: datetime) -> Freshness:
    """The same, with `newest` as its newest evidence."""
    age_s = max(0.0, (now - newest).total_seconds()) if newest else None
    return msgspec.structs.replace(fresh, newest_at=newest, newest_age_s=age_s)


def is_silent(state: SourceState, now: datetime, stale_after: timedelta) -> bool:
    """Whether the source could not have told us something new at `now`."""
    if state.state in _FAILING:
        return True
    if state.state == "live":
        return state.last_seen_at is None or now - state.last_seen_at > stale_after
    if state.state == "polling":
        return state.next_at is not None and now - state.next_at > stale_after
    return False


def why_quoting(question: Question, states: Sequence[ModelState], generator: str | None) -> str:
    """Why the answer is quoted though phrasing was wanted; empty where quoting is as it should be.

    An embedded model never writes answers, and a missing or switched-off one was somebody's choice:
    `doctor` says so once. A model that is on its way, or that failed, is news.
    """
    if question.mode == "extract" or generator is not None:
        return ""
    state = next((s for s in states if s.role == "generator"), None)
    if state is None or state.state in ("off", "missing", "ready"):
        return ""
    if state.state == "loading":
        return "Written by quoting: the language model is still loading."
    return f"Written by quoting: {state.text or 'the language model is ' + state.state + '.'}"


def remarks(
    question: Question,
    asked: Plan,
    *,
    record: Record,
    fresh: Freshness,
    found: Sequence[str],
    now: datetime,
) -> list[str]:
    """Filters, how times were read, missing news, and losses in the time asked about."""
    notes = [narrowed(question), _not_asked(question, record, asked), *asked.notes, *found]
    notes.append(_nothing_new(asked, fresh, now))
    notes += _losses(question, asked, record, now)
    return list(dict.fromkeys(n for n in notes if n))


def undated(cited: Sequence[Citation]) -> str:
    """Which of the documents that an answer rests on claim no date."""
    without = {c.key: c for c in cited if c.published_at is None}
    if not without:
        return ""
    seen = max((c.observed_at for c in without.values() if c.observed_at), default=None)
    numbers = ", ".join(f"[{c.number}]" for c in without.values())
    first = f", first seen {in_utc(seen)}" if seen else ""
    verb = "bears" if len(without) == 1 else "bear"
    return f"{numbers} {verb} no date{first}: how new it is cannot be told."


def needed(asked: Plan, passages: Sequence[Passage], fresh: Freshness) -> list[str]:
    """Why there is no answer, and what it would take."""
    if not passages:
        where = f"{fresh.searched:,} documents" if fresh.searched else "The record, which is empty,"
        notes = [
            f"{where} held nothing about this: follow a source that reports on it "
            "(`gnomon sources add`)."
        ]
    else:
        known = stems("\n".join(f"{heading(p)}\n{p.text}" for p in passages))
        spoken = {w.stem: w.text for w in content(f"{asked.focus} {asked.search_text}")}
        unknown = list(dict.fromkeys(spoken.get(t, t) for t in asked.terms if t not in known))
        if unknown:
            said = ", ".join(f"“{w}”" for w in unknown[:4])
            notes = [f"Nothing that was found speaks of {said}: a source that does is needed."]
        else:
            wanted = _WANTED.get(asked.expects, "an answer")
            notes = [
                f"What was found speaks of this, but no sentence of it tells {wanted} "
                "surely enough: the closest passage is shown."
            ]
    if fresh.silent:
        names = ", ".join(s.title or s.name for s in fresh.silent[:4])
        notes.append(f"Silent sources might have told it: {names}.")
    return notes


_WANTED = {
    "number": "a number",
    "time": "when",
    "place": "where",
    "person": "who",
    "reason": "why",
    "yes_no": "whether it is so",
    "definition": "what it is",
}


def _not_asked(question: Question, record: Record, asked: Plan) -> str:
    """Sources that the asker's own filter left out."""
    if not question.sources:
        return ""
    known = record.source_stats(asked.as_of)
    left = [n for n, s in known.items() if n not in question.sources and s.documents]
    if not left:
        return ""
    more = f" and {len(left) - 5} more" if len(left) > 5 else ""
    return f"Left out by that: {', '.join(sorted(left)[:5])}{more}."


def _nothing_new(asked: Plan, fresh: Freshness, now: datetime) -> str:
    """A question about now that is answered from before today must say so."""
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if asked.recency < _FRESHNESS_MATTERS or fresh.newest_at is None or fresh.newest_at >= midnight:
        return ""
    return (
        f"Nothing from {midnight:%Y-%m-%d} was found: the newest evidence is from "
        f"{in_words(fresh.newest_at)}."
    )


def _losses(question: Question, asked: Plan, record: Record, now: datetime) -> list[str]:
    """Gaps that lie in the time asked about; for a question about now, in its last half-life."""
    start = (
        question.since or asked.since or now - timedelta(seconds=min(asked.half_life_s, 864_000))
    )
    end = question.until or asked.until or now
    notes = []
    for source, at, gap in record.gaps(as_of=asked.as_of):
        if question.sources and source not in question.sources:
            continue
        if (gap.start or at) < end and (gap.end or at) >= start:
            since = in_utc(gap.start) if gap.start else "its beginning"
            until = in_utc(gap.end or at)
            notes.append(f"{source} lost what came between {since} and {until}: {gap.reason}")
    if len(notes) > _MAX_GAPS:
        notes[_MAX_GAPS:] = [f"{len(notes) - _MAX_GAPS} more losses lie in that time."]
    return notes
