"""Reading the data sets: compressed JSON lines, their times, and SQuAD's way to compare words."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a `.jsonl.gz` file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def utc(text: str) -> datetime:
    """An ISO 8601 moment without a zone, as UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def day(text: str | None) -> datetime | None:
    """A day, None if it is none."""
    try:
        return utc(text) if text else None
    except ValueError:
        return None


def bare(text: str) -> str:
    """SQuAD's normalisation: lower case, no punctuation, no articles."""
    text = re.sub(r"[^\w\s]", " ", text.lower())
    return " ".join(re.sub(r"\b(?:a|an|the)\b", " ", text).split())


def holds(answer: str, text: str) -> bool:
    """Whether the words of `answer` stand in `text`, one behind the other."""
    return bool(bare(answer)) and f" {bare(answer)} " in f" {bare(text)} "


def f1(said: str, gold: str) -> float:
    """SQuAD's F1 over words."""
    mine, theirs = Counter(bare(said).split()), Counter(bare(gold).split())
    shared = sum((mine & theirs).values())
    if not shared:
        return 0.0
    precision, recall = shared / sum(mine.values()), shared / sum(theirs.values())
    return 2 * precision * recall / (precision + recall)


def named_most(choices: Sequence[str], texts: Sequence[str]) -> int | None:
    """The choice that the texts, best first, name most; where they name none in full, the one of
    whose words they hold the largest share. None if they hold no word of any."""
    named = [0.0] * len(choices)
    held = [0.0] * len(choices)
    for rank, text in enumerate(texts):
        words = set(bare(text).split())
        for i, choice in enumerate(choices):
            named[i] += holds(choice, text) / (1 + rank)
            parts = bare(choice).split()
            held[i] += sum(part in words for part in parts) / (1 + rank) / max(1, len(parts))
    votes = named if any(named) else held
    return votes.index(max(votes)) if any(votes) else None
