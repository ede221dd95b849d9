"""Many rows in few statements.

SQLite lets go of Python's lock while a statement runs, and takes it again after every row of an
`executemany`. While another thread computes, each of these takings waits for that thread's turn to
end. A statement with many rows waits once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

_AT_ONCE = (512, 64, 8, 1)
"""Rows of one statement: few different ones, so that SQLite keeps them prepared."""


def insert(db: Any, into: str, rows: Sequence[Sequence[Any]], after: str = "") -> None:
    """Insert rows of equal length, in order; `into` says `INSERT INTO table`.

    `after` follows the values: what to do about a conflict.
    """
    begin = 0
    for size in _AT_ONCE:
        while len(rows) - begin >= size:
            part = rows[begin : begin + size]
            db.execute(_statement(into, len(part[0]), size, after), tuple(chain(*part)))
            begin += size


@lru_cache(maxsize=64)
def _statement(into: str, width: int, count: int, after: str) -> str:
    row = f"({','.join('?' * width)})"
    return f"{into} VALUES {','.join([row] * count)} {after}"
