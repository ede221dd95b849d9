"""What an X source remembers: its cursor, opened."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Self

import msgspec

from gnomon.clock import from_us, to_us
from gnomon.sources.remembered import Remembered
from gnomon.sources.x_money import Purse
from gnomon.sources.x_posts import key_of
from gnomon.types import Change, Gap, Purge

_REMEMBERED_S = 7_200.0
"""Edits are possible for an hour at most; a late duplicate does not come later than this."""
_REMEMBERED = 2_000
_LOOKED = 5_000
_MAX_HOLES = 40
RECOVERABLE = timedelta(days=7)
"""How far back recent search reaches."""
_SPARE = timedelta(minutes=5)
"""What a search may be delayed until it reaches too far back."""


class Hole(msgspec.Struct, omit_defaults=True):
    """A stretch that the stream missed, to be searched for one query, newest first."""

    query: str
    since_us: int
    until_us: int
    before_id: str = ""
    """Everything from this id on is handed over already."""


class Job(msgspec.Struct, omit_defaults=True):
    """A compliance job that X is working on."""

    id: str
    since_us: int
    """Posts observed from here on are left for the next job; 0: these were the last."""
    posts: int = 0


class Memory(Remembered, msgspec.Struct, omit_defaults=True):
    """The cursor, opened. What it says is true once everything before it is stored."""

    until_us: int = 0
    """The stream was heard without a break up to this moment; 0: never."""
    holes: list[Hole] = []
    attempt: int = 0
    """Failed connections since the last sound one."""
    connects_us: list[int] = []
    day: str = ""
    spent_micros: int = 0
    stopped_us: int = 0
    """When the money of the day ran out; 0: it has not."""
    versions: dict[str, list[str]] = {}
    """By id of the first version, the chain of posts that were edited lately."""
    gone: dict[str, int] = {}
    """Posts purged lately, by id of the first version: late duplicates must not bring them back."""
    waiting: dict[str, str] = {}
    """What was shown and is to be looked up again: the version, by id of the first version."""
    looked: dict[str, int] = {}
    """When posts that were shown were last looked up again, by id of the first version."""
    checked_us: int = 0
    """When the last compliance round ended; the first start counts as one."""
    check_since_us: int = 0
    """Where the running compliance round goes on."""
    job: Job | None = None

    def tidy(self, purse: Purse, now: datetime, relook_s: float = 0.0) -> Self:
        """Note the money spent; forget what is long past, and looks older than `relook_s`."""
        self.day, self.spent_micros = purse.day, purse.spent_micros
        horizon_us = to_us(now - timedelta(seconds=_REMEMBERED_S))
        self.gone = dict([(k, at) for k, at in self.gone.items() if at > horizon_us][-_REMEMBERED:])
        looked_us = to_us(now - timedelta(seconds=relook_s))
        self.looked = dict([(k, t) for k, t in self.looked.items() if t > looked_us][-_LOOKED:])
        self.versions = dict(list(self.versions.items())[-_REMEMBERED:])
        self.connects_us = [us for us in self.connects_us if us > to_us(now) - 900_000_000]
        return self

    # -- edits and removals ---------------------------------------------------
    def first_of(self, id: str) -> str:
        """The id of the first version of the post that has this one."""
        return next((first for first, ids in self.versions.items() if id in ids), id)

    def outdated(self, ids: tuple[str, ...]) -> bool:
        """Whether a newer version of this chain was handed over, or the post is gone."""
        first, known = ids[0], self.versions.get(ids[0])
        return first in self.gone or (known is not None and int(known[-1]) > int(ids[-1]))

    def note_version(self, ids: tuple[str, ...]) -> None:
        """This version is handed over."""
        if len(ids) > 1:
            self.versions.pop(ids[0], None)
            self.versions[ids[0]] = list(ids)

    def note_gone(self, first: str, now: datetime) -> None:
        """This post is purged."""
        self.gone[first] = to_us(now)
        self.versions.pop(first, None)

    # -- losses ---------------------------------------------------------------
    def missed(self, queries: Iterable[str], since: datetime, now: datetime) -> list[Change]:
        """The stream was not heard since: search for it. Returns what cannot be had."""
        gaps: list[Change] = []
        earliest = now - RECOVERABLE + _SPARE
        if since < earliest:
            gaps.append(
                Gap(reason="X searches only the last seven days.", start=since, end=earliest)
            )
            since = earliest
        for query in queries:
            self.holes.append(Hole(query, to_us(since), to_us(now)))
        while len(self.holes) > _MAX_HOLES:
            hole = self.holes.pop(0)
            gaps.append(gap_of(hole, "X's stream broke too often to search for all it missed."))
        return gaps


def gap_of(hole: Hole, reason: str) -> Gap:
    """What is left of a hole, given up."""
    start, end = from_us(hole.since_us), from_us(hole.until_us)
    return Gap(reason=f"{reason} Query: {hole.query}", start=start, end=end)


class Step:
    """What one part of the source found, and what is true of the memory after it."""

    def __init__(
        self,
        changes: Sequence[Change] = (),
        *,
        posts: Sequence[tuple[tuple[str, ...], Change]] = (),
        note: Callable[[Memory], Sequence[Change] | None] | None = None,
    ) -> None:
        self.changes = changes
        self.posts = posts
        """(ids of the chain, Upsert or Purge)"""
        self.note = note
        """May itself find changes, such as a gap."""
        self.accepted = asyncio.Event()

    def accept(self, memory: Memory, now: datetime) -> list[Change]:
        """Bring the memory up to date; returns what is to be handed over."""
        changes: list[Change] = []
        for ids, change in self.posts:
            if isinstance(change, Purge):
                first = memory.first_of(ids[0])
                memory.note_gone(first, now)
                changes.append(Purge(key=key_of(first), reason=change.reason))
            elif not memory.outdated(ids):
                memory.note_version(ids)
                changes.append(change)
        changes += self.changes
        if self.note is not None:
            changes += self.note(memory) or ()
        self.accepted.set()
        return changes
