"""How many versions of each source were alive at any moment, without counting them.

Every version adds 1 at its start and takes 1 away at its end. These steps are summed in slots of
several widths, so that the sum up to a moment takes a few short ranges, however long the history.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from gnomon.record import rows

_SHIFTS = (44, 38, 32, 26, 20, 0)
"""Slot widths as powers of two, in µs: 203 days, 3 days, 72 min, 67 s, 1 s, 1 µs."""
_ADDED = "ON CONFLICT DO UPDATE SET delta = delta + excluded.delta"
_SUM = """
SELECT source, sum(delta) FROM tally WHERE level = ? AND slot >= ? AND slot < ? GROUP BY source
"""


def add(db: Any, steps: Mapping[tuple[int, int], int]) -> None:
    """Add steps: (source id, moment in µs) to how many lives begin less those that end."""
    slots: Counter[tuple[int, int, int]] = Counter()
    for (source, at_us), step in steps.items():
        if step:
            for level, shift in enumerate(_SHIFTS):
                slots[level, at_us >> shift, source] += step
    summed = sorted((*slot, delta) for slot, delta in slots.items() if delta)
    if not summed:
        return
    rows.insert(db, "INSERT INTO tally", summed, _ADDED)
    db.executemany(
        "DELETE FROM tally WHERE level = ? AND slot = ? AND source = ? AND delta = 0",
        [step[:3] for step in summed if step[3] < 0],
    )


def alive(db: Any, as_of_us: int | None = None) -> dict[int, int]:
    """Versions alive at a moment, or after everything known, by source id."""
    total: Counter[int] = Counter()
    if as_of_us is None:
        total.update(
            dict(db.execute("SELECT source, sum(delta) FROM tally WHERE level = 0 GROUP BY source"))
        )
        return total
    end_us = as_of_us + 1
    begin = -(2**62)
    for level, shift in enumerate(_SHIFTS):
        end = end_us >> shift
        total.update(dict(db.execute(_SUM, (level, begin, end)).fetchall()))
        below = _SHIFTS[level + 1] if level + 1 < len(_SHIFTS) else shift
        begin = end << (shift - below)
    return total
