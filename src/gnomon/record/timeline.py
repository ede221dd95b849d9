"""Timelines in the database: the entries of one key, in order of observation.

`Head` is the end of a timeline as a transaction sees it, which is all that a live change needs;
the functions find the neighbours of a change from the past.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import apsw
import msgspec

PUT, END, DROP, GAP, NOTICE = 1, 2, 3, 4, 5
"""`Op` as the database writes it; timelines consist of PUT and END."""

_HEADS = """
SELECT k.key, k.id, k.versions, k.purged_us,
       l.seq, l.start_us, l.op = 1 AND l.gone IS NULL, l.source, b.content
FROM carray(?) c JOIN keys k ON k.key = c.value
LEFT JOIN log l ON l.seq = (
  SELECT seq FROM log WHERE key = k.id AND op < 3 ORDER BY start_us DESC, seq DESC LIMIT 1)
LEFT JOIN bodies b ON b.seq = l.seq
"""
_BEFORE = """
SELECT l.seq, l.op = 1 AND l.gone IS NULL, l.source, b.content
FROM log l LEFT JOIN bodies b ON b.seq = l.seq
WHERE l.key = ? AND l.op < 3 AND l.start_us <= ? ORDER BY l.start_us DESC, l.seq DESC LIMIT 1
"""
_AFTER = "SELECT min(start_us) FROM log WHERE key = ? AND op < 3 AND start_us > ?"
_AT = """
SELECT l.op, l.source, b.content, d.content
FROM log l LEFT JOIN bodies b ON b.seq = l.seq LEFT JOIN bodies d ON d.seq = l.gone
WHERE l.key = ? AND l.op < 3 AND l.start_us = ?
"""


class State(msgspec.Struct):
    """Where the record stands; kept in memory between transactions."""

    last_seq: int
    last_key: int
    stamp_us: int
    """The latest live stamp: the clock may be set back, stamps are not."""
    versions: int
    purged: int
    gaps: int

    @classmethod
    def read(cls, db: Any) -> State:
        """The state as the database has it."""
        stamp_us, versions, purged, gaps, seq, key = db.execute(
            "SELECT stamp_us, versions, purged, gaps, "
            "(SELECT ifnull(max(seq), 0) FROM log), (SELECT ifnull(max(id), 0) FROM keys) "
            "FROM state"
        ).fetchall()[0]
        return cls(seq, key, stamp_us, versions, purged, gaps)


class Head(msgspec.Struct, gc=False):
    """The end of a key's timeline, as this transaction sees it."""

    key: str
    id: int
    versions: int = 0
    purged_us: int | None = None
    seq: int = 0
    """The last entry of the timeline; 0 if it is empty."""
    start_us: int = 0
    alive: bool = False
    source: int = 0
    content: bytes = b""
    fresh: bool = True
    """The key is not in the database yet."""
    touched_seq: int = 0
    """The newest entry that this transaction gave the key."""


class Place(NamedTuple):
    """Where an entry belongs in a timeline: after a live version (or none), until the next."""

    start_us: int
    prev_seq: int | None = None
    prev_source: int = 0
    prev_content: bytes = b""
    until_us: int | None = None


def heads(db: Any, keys: Iterable[str]) -> dict[str, Head]:
    """The heads of those keys that the database knows; there must be one key at least."""
    found = {}
    for key, id, versions, purged_us, seq, start_us, alive, source, content in db.execute(
        _HEADS, (apsw.carray(tuple(keys)),)
    ):
        head = found[key] = Head(
            key=key, id=id, versions=versions, purged_us=purged_us, fresh=False
        )
        if seq is not None:
            head.seq, head.start_us, head.source = seq, start_us, source
            head.alive, head.content = bool(alive), content or b""
    return found


def place_within(db: Any, head: Head, start_us: int) -> Place:
    """Where an entry at `start_us` belongs among the entries that the database has."""
    before = db.execute(_BEFORE, (head.id, start_us)).fetchall()
    until_us = db.execute(_AFTER, (head.id, start_us)).fetchall()[0][0]
    if not before or not before[0][1]:
        return Place(start_us, until_us=until_us)
    seq, _, source_id, content = before[0]
    return Place(start_us, seq, source_id, content, until_us)


def entries_at(db: Any, head: Head, start_us: int) -> list[tuple[int, int, bytes, bytes | None]]:
    """(op, source, content, body of the DROP that removed it) of the entries at one moment."""
    rows: list[Any] = db.execute(_AT, (head.id, start_us)).fetchall()
    return rows
