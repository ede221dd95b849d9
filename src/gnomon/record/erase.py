"""Erasing versions: which ones, what of them, and how nothing of their content is left.

What stays is the row of the log: that a version was there, from when, and which entry removed it.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Sequence
from typing import Any

import apsw

from gnomon.record import codec

_LIVES = """
SELECT l.source, l.start_us, (
  SELECT start_us FROM log n
  WHERE n.key = l.key AND n.op < 3 AND (n.start_us, n.seq) > (l.start_us, l.seq)
  ORDER BY n.start_us, n.seq LIMIT 1)
FROM carray(?) c JOIN log l ON l.seq = c.value
"""
_BY_AUTHOR = """
SELECT l.seq, b.content FROM carray(?) c
JOIN log l ON l.seq >> 16 = c.value AND l.author = ? AND l.author IS NOT NULL AND l.source = ?
JOIN bodies b ON b.seq = l.seq
"""
_OF_KEY = "SELECT seq FROM log WHERE key = ? AND op < 3 AND op = 1 AND gone IS NULL"
_OLD = """
SELECT seq FROM log WHERE source = ? AND op = 1 AND gone IS NULL AND start_us < ?
AND seq NOT IN (SELECT seq FROM pins) ORDER BY start_us, seq LIMIT ?
"""


def carray(seqs: Sequence[int]) -> Any:
    """Sequence numbers as SQL's `carray(?)` takes them; there must be one at least."""
    return apsw.carray(array("q", seqs))


def author_hash(author: str) -> int:
    """What the index of authors holds; candidates are compared in full, so it may be short."""
    return zlib.crc32(author.encode())


def by_author(db: Any, author: str, source_id: int, last_seq: int) -> list[int]:
    """The stored versions that `author` wrote in a source.

    Authors are indexed in parts of 65,536 entries, so that each append fills few pages; a purge,
    which is rare, looks into every part.
    """
    parts = carray(range((last_seq >> 16) + 1))
    rows = db.execute(_BY_AUTHOR, (parts, author_hash(author), source_id))
    return sorted(seq for seq, content in rows if codec.author_of(content) == author)


def by_key(db: Any, key_id: int) -> list[int]:
    """The stored versions of a key."""
    return sorted(seq for (seq,) in db.execute(_OF_KEY, (key_id,)))


def by_age(db: Any, source_id: int, before_us: int, limit: int) -> list[int]:
    """The oldest stored versions of a source that nobody pinned."""
    return [seq for (seq,) in db.execute(_OLD, (source_id, before_us, limit))]


def lives(db: Any, seqs: Sequence[int]) -> list[tuple[int, int, int | None]]:
    """(source, start, end) of these versions, in µs; None if they are still alive."""
    rows: list[Any] = db.execute(_LIVES, (carray(seqs),)).fetchall()
    return rows


def erase(db: Any, seqs: Sequence[int], drop_seq: int) -> None:
    """Remove the content of these versions, and the attachments that only they held."""
    doomed = carray(seqs)
    db.execute("DELETE FROM bodies WHERE seq IN (SELECT value FROM carray(?))", (doomed,))
    db.execute(
        "UPDATE log SET gone = ?, author = NULL WHERE seq IN (SELECT value FROM carray(?))",
        (drop_seq, doomed),
    )
    released = db.execute(
        "DELETE FROM attached WHERE seq IN (SELECT value FROM carray(?)) RETURNING hash",
        (doomed,),
    ).fetchall()
    db.executemany(
        "DELETE FROM blobs WHERE hash = ?1 AND NOT EXISTS (SELECT 1 FROM attached WHERE hash = ?1)",
        sorted(set(released)),
    )


def unpin(db: Any, seqs: Sequence[int]) -> None:
    """Nothing keeps these versions from being removed any more."""
    db.execute("DELETE FROM pins WHERE seq IN (SELECT value FROM carray(?))", (carray(seqs),))
