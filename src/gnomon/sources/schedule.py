"""When to look again: a publisher's rhythm, its hints and the operator's bounds, in one number.

All functions are pure; jitter comes from the caller's randomness.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import datetime
from itertools import pairwise
from statistics import median

from gnomon.settings import Ingest

_NEWEST = 20
"""How many of the newest dates tell the rhythm; older ones describe another time."""


def rhythm_s(dates: Iterable[datetime]) -> float | None:
    """The usual time between two publications; None where fewer than three dates tell it."""
    newest = sorted(set(dates), reverse=True)[:_NEWEST]
    if len(newest) < 3:
        return None
    pairs = pairwise(newest)
    return median((later - earlier).total_seconds() for later, earlier in pairs)


def estimate_s(rhythm: float | None, idle_s: float | None, adaptive_s: float) -> float:
    """Our own guess: a quarter of the rhythm, longer once nothing came for long.

    Without dates, `adaptive_s` (what `adapt` made of earlier polls) is all we know.
    """
    if rhythm is None:
        return adaptive_s
    return max(rhythm / 4, (idle_s or 0.0) / 8)


def adapt(every_s: float, *, changed: bool, limits: Ingest) -> float:
    """Halve the interval after a change, lengthen it by half after none, within the bounds."""
    wanted = every_s / 2 if changed else every_s * 1.5
    return min(max(wanted, limits.min_interval_s), limits.max_interval_s)


def next_poll_s(
    estimate: float,
    *,
    hints: Iterable[float | None] = (),
    fixed: float | None = None,
    limits: Ingest,
    rng: random.Random,
) -> float:
    """Seconds until the next poll.

    The largest of our estimate and the publisher's hints, within the operator's bounds; a
    publisher that hints nothing is asked a quarter as often at most. `fixed` overrules all.
    Up to a tenth is added at random, so that many sources do not fall into step.
    """
    known = [hint for hint in hints if hint]
    floor = limits.min_interval_s * (1 if known else 4)
    wanted = max([estimate, floor, *known]) if fixed is None else fixed
    if fixed is None:
        wanted = min(wanted, max(limits.max_interval_s, limits.min_interval_s))
    return wanted * rng.uniform(1.0, 1.1)
