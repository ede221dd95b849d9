"""What a reader must know besides the answer: who wrote it, how new it is, what was not asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from gnomon.answer.base import Plan, Question
from gnomon.answer.plan import narrowed
from gnomon.models.base import ModelState
from gnomon.record.base import Record
from gnomon.types import Freshness, SourceState

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
    """Why the answer is quoted rather than phrased, in one sentence."""
    if question.mode == "extract":
        return "Written by quoting, as asked."
    if generator is not None:
        return f"Written by quoting: {generator} is too small to be trusted with facts."
    state = next((s for s in states if s.role == "generator"), None)
    if state is None:
        return "Written by quoting: there is no language model."
    if state.state == "loading":
        return "Written by quoting: the language model is still loading."
    if state.state == "off":
        return "Written by quoting: the language model is switched off."
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
    notes = [narrowed(question), *asked.notes, *found]
    notes.append(_nothing_new(asked, fresh, now))
    notes += _losses(question, asked, record, now)
    return list(dict.fromkeys(n for n in notes if n))


def _nothing_new(asked: Plan, fresh: Freshness, now: datetime) -> str:
    """A question about now that is answered from before today must say so."""
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if asked.recency < _FRESHNESS_MATTERS or fresh.newest_at is None or fresh.newest_at >= midnight:
        return ""
    return (
        f"Nothing from {midnight:%Y-%m-%d} was found: the newest evidence is from "
        f"{fresh.newest_at:%Y-%m-%d %H:%M} UTC."
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
            notes.append(
                f"{source} lost what came between {_shown(gap.start)} and "
                f"{_shown(gap.end or at)}: {gap.reason}"
            )
    if len(notes) > _MAX_GAPS:
        notes[_MAX_GAPS:] = [f"{len(notes) - _MAX_GAPS} more losses lie in that time."]
    return notes


def _shown(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else "its beginning"
