"""The demo world in words, for a terminal."""

from __future__ import annotations

from datetime import datetime, timedelta

from gnomon.testing.world.moments import Moment
from gnomon.testing.world.truth import Truth
from gnomon.testing.world.world import World

CHANGED = timedelta(hours=6)


def describe(world: World, now: datetime) -> str:
    """What is true in the town at `now`, since when it is known, and what changed lately."""
    truth = Truth(world)
    rows: list[tuple[str, str, str]] = []
    changed: list[tuple[datetime, str, str]] = []
    unknown: list[str] = []
    seen: set[str] = set()
    for question in truth.questions(now):
        if question.topic == "nothing":
            continue
        if not question.answerable:
            unknown.append(question.text)
        elif question.topic not in seen and question.since is not None:
            seen.add(question.topic)
            rows.append((question.text, question.says, _when(question.since, now)))
            fact = world.true(question.topic, now)
            if fact is not None and now - fact.start <= CHANGED:
                changed.append((fact.start, question.text, fact.says))
    return "\n".join(
        [
            "Quillhaven, a demo world: nothing here is news.",
            f"Seed {world.seed}, told around {world.start:%Y-%m-%d %H:%M} UTC; "
            f"now {now:%Y-%m-%d %H:%M} UTC.",
            "",
            *_table(("What one can ask", "the answer now", "known since"), rows),
            "",
            f"Changed in the last {CHANGED // timedelta(hours=1)} hours:",
            *(f"  {at:%H:%M}  {text} {says}" for at, text, says in sorted(changed, reverse=True)),
            "",
            "Not known at this moment:",
            *(f"  {text}" for text in unknown),
            "",
            "Never told by anybody:",
            *(f"  {nothing.question}" for nothing in world.nothings),
        ]
    )


def _when(at: datetime, now: datetime) -> str:
    return f"{Moment(at, now):rel} {at:%H:%M}" if (now - at).days < 6 else f"{at:%d.%m. %H:%M}"


def _table(head: tuple[str, str, str], rows: list[tuple[str, str, str]]) -> list[str]:
    table = [head, *rows]
    first, second = (max(len(row[n]) for row in table) for n in (0, 1))
    return [f"  {a:<{first}}  {b:<{second}}  {c}".rstrip() for a, b, c in table]
