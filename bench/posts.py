"""Distinct short posts in any number, made from real ones, with the near copies that a stream has.

Every post recombines two real posts of the same crisis; one in eight forwards an earlier post, one
in twelve carries an address, words are swapped for others of the vocabulary. The same seed gives
the same posts.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from harness import DATA

STREAM = DATA / "social-stream" / "crisislex_t6.jsonl.gz"
START_US = 1_770_000_000_000_000
_FORWARDED = 1 / 8
_LINKED = 1 / 12
_SOURCES = 8
_LANGS = ("en", "en", "en", "en", "es", "de", "ja", "und")


def real() -> dict[str, list[str]]:
    """The texts of the test stream, by crisis."""
    texts: dict[str, list[str]] = {}
    with gzip.open(STREAM, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            texts.setdefault(row["event"], []).append(row["text"])
    return texts


def posts(count: int, seed: int = 1) -> Iterator[dict[str, Any]]:
    """`count` posts as dictionaries with the fields of a document, a millisecond apart."""
    rng = random.Random(seed)
    split = [[text.split() for text in texts] for texts in real().values()]
    words = [w for texts in split for text in texts for w in text if w.isalpha()]
    recent: list[str] = []
    for number in range(count):
        texts = split[(number // 20_000) % len(split)]
        author = f"user{int(rng.paretovariate(0.3)) % 400_000}"
        if recent and rng.random() < _FORWARDED:
            text = f"RT @{author}: {rng.choice(recent)}"
        else:
            one, two = rng.choice(texts), rng.choice(texts)
            mixed = one[: rng.randint(2, max(2, len(one)))] + two[rng.randint(0, len(two) // 2) :]
            for _ in range(3):
                mixed[rng.randrange(len(mixed))] = rng.choice(words)
            text = " ".join(mixed)[:260]
            if rng.random() < _LINKED:
                text += f" https://t.co/{number:x}"
            recent.append(text)
            if len(recent) > 5000:
                del recent[:2500]
        yield {
            "key": f"bench:{number}",
            "source": f"stream{number % _SOURCES}",
            "kind": "post",
            "text": text,
            "lang": _LANGS[number % len(_LANGS)],
            "author": author,
            "url": f"https://site{number % 97}.example.org/p/{number}",
        }


def write(path: Path, count: int, seed: int = 1) -> int:
    """Write `count` posts to `path`, a JSON object a line; returns the bytes of their texts."""
    size = 0
    with path.open("wb") as file:
        for post in posts(count, seed):
            size += len(post["text"].encode())
            file.write(orjson.dumps(post) + b"\n")
    return size


def queries(count: int, seed: int = 2) -> list[str]:
    """Queries of 2 to 4 words that stand together in some real post."""
    rng = random.Random(seed)
    texts = [text for group in real().values() for text in group]
    found: list[str] = []
    while len(found) < count:
        clean = [w for w in rng.choice(texts).split() if w.isalpha() and len(w) > 3]
        size = rng.randint(2, 4)
        if len(clean) >= size:
            at = rng.randint(0, len(clean) - size)
            found.append(" ".join(clean[at : at + size]))
    return found


class RandomWords:
    """Word vectors of the right shape where no table is at hand: each word its own direction."""

    name, dim = "random-256", 256

    def __init__(self) -> None:
        self._table = np.random.default_rng(7).standard_normal((4096, 256)).astype(np.float32)

    def vectors(self, words: list[str]) -> np.ndarray:
        """Rows by hash of the word."""
        from zlib import crc32

        return self._table[[crc32(w.encode("utf-8", "replace")) % 4096 for w in words]]
