"""Source states for people: of now, and as they were at an earlier moment.

How a source stood is kept as notices in the record (`state.retrying`, `state.well`, …), written
once a minute when it changed, so that an answer about the past can name who was silent then.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from gnomon.clock import in_utc
from gnomon.ingest.health import TROUBLE, Health, moment
from gnomon.record.base import SourceStats
from gnomon.types import Notice, SourceConfig, SourceState

PREFIX = "state."
_NOTED = (*TROUBLE, "paused", "done")
_NO_STATS = SourceStats(documents=0, last_document_at=None)


def noted_state(health: Health) -> str:
    """What the record should say about this state: a trouble by name, or `well`."""
    return health.state if health.state in _NOTED else "well"


def last_noted(notices: Iterable[tuple[str, datetime, Notice]]) -> str:
    """The state that the record says last; `well` if it says nothing. Newest first."""
    return next((n.code[len(PREFIX) :] for _, _, n in notices if n.code.startswith(PREFIX)), "well")


def state_now(
    config: SourceConfig, health: Health, stats: SourceStats | None, on_hold: str = ""
) -> SourceState:
    """How a source stands. `on_hold` says why nothing can be stored at the moment."""
    stats = stats or _NO_STATS
    text = health.sentence()
    if on_hold:
        text += f" Nothing can be stored for the moment: {on_hold}"
    return SourceState(
        name=config.name,
        type=config.type,
        title=config.title,
        state=health.state,
        text=text,
        last_seen_at=health.heard_at,
        last_document_at=stats.last_document_at,
        lag_s=_lag_s(stats),
        documents=stats.documents,
        errors=health.errors,
        next_at=health.next_at,
        reliability=_reliability(config),
    )


def state_as_of(
    config: SourceConfig,
    well: str,
    stats: SourceStats | None,
    notices: Iterable[tuple[str, datetime, Notice]],
    as_of: datetime,
) -> SourceState:
    """How a source stood at `as_of`, from what the record keeps. `notices` are newest first."""
    stats = stats or _NO_STATS
    noted = next(
        ((at, n) for _, at, n in notices if at <= as_of and n.code.startswith(PREFIX)), None
    )
    state, text = well, ""
    if noted is not None and (code := noted[1].code[len(PREFIX) :]) != "well":
        state, text = code, f" {noted[1].text}"
    newest = stats.last_document_at
    seen = f"newest document seen at {moment(newest, as_of)}" if newest else "nothing seen yet"
    return SourceState(
        name=config.name,
        type=config.type,
        title=config.title,
        state=state,
        text=f"As of {in_utc(as_of)}: {seen}.{text}",
        last_seen_at=newest,
        last_document_at=newest,
        lag_s=_lag_s(stats),
        documents=stats.documents,
        reliability=_reliability(config),
    )


def _reliability(config: SourceConfig) -> float | None:
    """As configured; a setting that cannot be read is told where the source is refused for it."""
    try:
        return min(max(float(config.settings["reliability"]), 0.0), 1.0)
    except (KeyError, TypeError, ValueError):
        return None


def _lag_s(stats: SourceStats) -> float | None:
    if stats.last_document_at is None or stats.last_published_at is None:
        return None
    return max((stats.last_document_at - stats.last_published_at).total_seconds(), 0.0)
