"""Rows of the database as the values that the record's contract names. Nothing here writes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from gnomon.clock import from_us
from gnomon.record import codec
from gnomon.record.base import Entry, Found, Life, Op
from gnomon.record.timeline import DROP, END, GAP, NOTICE, PUT
from gnomon.types import Document

VERSION_COLUMNS = "k.key, l.source, b.content, b.extra, l.start_us, l.version, l.seq"
_STATE = f"""
SELECT l.op, d.start_us, db.content, {VERSION_COLUMNS}
FROM keys k JOIN log l ON l.key = k.id
LEFT JOIN bodies b ON b.seq = l.seq
LEFT JOIN log d ON d.seq = l.gone LEFT JOIN bodies db ON db.seq = l.gone
WHERE k.key = ? AND l.op < 3
"""  # noqa: S608
_AS_OF = _STATE + "AND l.start_us <= ? ORDER BY l.start_us DESC, l.seq DESC"
_VERSION = _STATE + "AND l.op = 1 AND l.version = ?"
_ENTRIES = """
SELECT l.seq, l.op, l.source, l.start_us, l.until_us, l.prev_seq, l.version,
       k.key, b.content, b.extra
FROM log l LEFT JOIN keys k ON k.id = l.key LEFT JOIN bodies b ON b.seq = l.seq
WHERE l.seq > ? AND l.source BETWEEN ? AND ? ORDER BY l.seq LIMIT ?
"""
_OPS = {PUT: Op.PUT, END: Op.END, DROP: Op.DROP, GAP: Op.GAP, NOTICE: Op.NOTICE}
_LAST_US = 2**63 - 1
_EXPORT_ROWS = 1_000
_EXPORT_BYTES = 4_000_000


def document(row: Any, sources: Mapping[int, str]) -> Document | None:
    """The version in `VERSION_COLUMNS`; None if its content is gone."""
    key, source, content, extra, start_us, version, seq = row
    if content is None:
        return None
    return codec.unpack(
        key, sources[source], content, extra, start_us=start_us, version=version, seq=seq
    )


def state_of(db: Any, sources: Mapping[int, str], key: str, as_of_us: int | None) -> Found:
    """How `key` stands at a moment, or after everything known of it."""
    until_us = _LAST_US if as_of_us is None else as_of_us
    rows = db.execute(_AS_OF, (key, until_us))
    since: datetime | None = None
    for row in rows:
        if row[0] == END:
            # Deletes may follow each other; the first of them ended the life.
            since = from_us(row[7])
            continue
        if row[5] is None:
            return _gone(row)
        life = Life.ALIVE if since is None else Life.DELETED
        return Found(life=life, document=document(row[3:], sources), since=since or from_us(row[7]))
    return Found(life=Life.UNKNOWN if since is None else Life.DELETED, since=since)


def version_of(db: Any, sources: Mapping[int, str], key: str, version: int) -> Found:
    """One version, whatever came after it."""
    found = db.execute(_VERSION, (key, version)).fetchall()
    if not found:
        return Found(life=Life.UNKNOWN)
    row = found[0]
    if row[5] is None:
        return _gone(row)
    return Found(life=Life.ALIVE, document=document(row[3:], sources), since=from_us(row[7]))


def _gone(row: Any) -> Found:
    life, reason = codec.unpack_plain(row[2])
    return Found(life=Life(life), since=from_us(row[1]), reason=reason)


def entries(
    db: Any, sources: Mapping[int, str], after_seq: int, limit: int, source: int | None
) -> list[Entry]:
    """The change log after `after_seq`."""
    rows = db.execute(_ENTRIES, (after_seq, *_only(source), limit))
    return [_entry(row, sources) for row in rows]


def _entry(row: Any, sources: Mapping[int, str]) -> Entry:
    seq, op, source_id, start_us, until_us, prev_seq, version, key, content, extra = row
    source = sources[source_id]
    stored: Document | None = None
    if op == PUT and content is not None:
        stored = codec.unpack(
            key, source, content, extra, start_us=start_us, version=version, seq=seq
        )
    return Entry(
        seq=seq,
        op=_OPS[op],
        source=source,
        key=key or "",
        start_us=start_us,
        until_us=until_us if op == PUT else None,
        prev_seq=prev_seq,
        dropped=tuple(codec.unpack_plain(extra)) if op == DROP else (),
        document=stored,
        gap=codec.unpack_gap(content) if op == GAP else None,
        notice=codec.unpack_notice(content) if op == NOTICE else None,
    )


def held(db: Any, source: int, since_us: int, limit: int) -> list[tuple[str, int]]:
    """(key, start) of the stored versions of a source, and all of the last moment."""
    found = db.execute(
        "SELECT k.key, l.start_us FROM log l JOIN keys k ON k.id = l.key"
        " WHERE l.source = ?1 AND l.op = 1 AND l.gone IS NULL AND l.start_us >= ?2"
        " AND l.start_us <= ifnull((SELECT start_us FROM log WHERE source = ?1 AND op = 1"
        "  AND gone IS NULL AND start_us >= ?2 ORDER BY start_us LIMIT 1 OFFSET ?3), ?4)"
        " ORDER BY l.start_us, l.seq",
        (source, since_us, max(limit, 1) - 1, _LAST_US),
    )
    return [(str(key), int(at)) for key, at in found]


def losses(
    db: Any, op: int, source: int | None, as_of_us: int | None, limit: int
) -> list[tuple[int, int, bytes]]:
    """(source id, when recorded, body) of gaps or notices, newest first."""
    until_us = _LAST_US if as_of_us is None else as_of_us
    rows: list[tuple[int, int, bytes]] = db.execute(
        "SELECT l.source, l.start_us, b.content FROM log l JOIN bodies b ON b.seq = l.seq "
        "WHERE l.op = ? AND l.op > 3 AND l.source BETWEEN ? AND ? AND l.start_us <= ? "
        "ORDER BY l.start_us DESC, l.seq DESC LIMIT ?",
        (op, *_only(source), until_us, limit),
    ).fetchall()
    return rows


def _only(source: int | None) -> tuple[int, int]:
    """The range of source numbers that a filter admits."""
    return (0, _LAST_US) if source is None else (source, source)


def newest(db: Any, as_of_us: int | None) -> list[tuple[str, int, int, bytes]]:
    """(name, id, when observed, content) of the newest version of each source, at a moment."""
    rows: list[tuple[str, int, int, bytes]] = db.execute(
        "SELECT s.name, s.id, l.start_us, b.content FROM sources s JOIN log l ON l.seq = ("
        "SELECT seq FROM log WHERE source = s.id AND op = 1 AND gone IS NULL AND start_us <= ? "
        "ORDER BY start_us DESC, seq DESC LIMIT 1) JOIN bodies b ON b.seq = l.seq ORDER BY s.name",
        (_LAST_US if as_of_us is None else as_of_us,),
    ).fetchall()
    return rows


_HISTORY = """
SELECT l.seq, l.op, l.source, l.start_us, k.key, l.version, b.content, b.extra, (
  SELECT CASE WHEN p.op = 1 AND p.gone IS NULL THEN 1 ELSE 0 END FROM log p
  WHERE p.key = l.key AND p.op < 3 AND (p.start_us, p.seq) < (l.start_us, l.seq)
  ORDER BY p.start_us DESC, p.seq DESC LIMIT 1)
FROM log l LEFT JOIN keys k ON k.id = l.key LEFT JOIN bodies b ON b.seq = l.seq
WHERE l.seq > ? AND l.seq <= ? AND l.op IN (1, 2, 4) ORDER BY l.seq LIMIT ?
"""


def history(db: Any, after_seq: int, last_seq: int) -> list[Any]:
    """Rows that an export consists of: (…, whether a stored version stood right before).

    Some of them, so that memory stays bounded; none at the end.
    """
    rows, size = [], 0
    for row in db.execute(_HISTORY, (after_seq, last_seq, _EXPORT_ROWS)):
        rows.append(row)
        size += len(row[6] or b"")
        if size > _EXPORT_BYTES:
            break
    return rows


def faults(db: Any) -> list[str]:
    """What the database's own integrity check cannot see: rows that contradict each other."""
    found = []
    for query, complaint in _FAULTS:
        count = db.execute(query).fetchall()[0][0]
        if count:
            found.append(f"{count} {complaint}")
    for seq, content, extra in db.execute("SELECT seq, content, extra FROM bodies"):
        try:
            codec.unpack_plain(content)
            if extra is not None:
                codec.unpack_plain(extra)
        except codec.Unreadable as error:
            found.append(f"the content of entry {seq} cannot be read ({error})")
            break
    return found


_FAULTS = (
    (
        "SELECT ifnull(max(seq), 0) - count(*) FROM log",
        "entries of the log are missing",
    ),
    (
        "SELECT count(*) FROM log l LEFT JOIN bodies b ON b.seq = l.seq "
        "WHERE l.op <> 2 AND l.gone IS NULL AND b.seq IS NULL",
        "entries have lost their content",
    ),
    (
        "SELECT count(*) FROM bodies b LEFT JOIN log l ON l.seq = b.seq "
        "WHERE l.seq IS NULL OR l.gone IS NOT NULL",
        "contents belong to no entry",
    ),
    (
        "SELECT count(*) FROM log l LEFT JOIN keys k ON k.id = l.key "
        "WHERE l.op < 3 AND k.id IS NULL",
        "entries have lost their key",
    ),
    (
        "SELECT count(*) FROM log l LEFT JOIN sources s ON s.id = l.source WHERE s.id IS NULL",
        "entries have lost their source",
    ),
    (
        "SELECT (SELECT versions FROM state) <> "
        "(SELECT count(*) FROM log WHERE op = 1 AND gone IS NULL)",
        "count of versions is wrong",
    ),
    (
        "SELECT (SELECT ifnull(sum(delta), 0) FROM tally WHERE level = 0) <> (SELECT count(*) "
        "FROM (SELECT op = 1 AND gone IS NULL AS alive, row_number() OVER ("
        "PARTITION BY key ORDER BY start_us DESC, seq DESC) AS place FROM log WHERE op < 3) "
        "WHERE place = 1 AND alive)",
        "count of living documents is wrong",
    ),
)
