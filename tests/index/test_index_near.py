"""Near copies fold into the earliest that the search itself can see."""

from __future__ import annotations

import gzip
import json
import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gnomon.clock import from_us
from gnomon.index import analyze, near
from gnomon.index.base import Query
from gnomon.index.lexicon import Lexicon

DATA = Path(os.environ.get("GNOMON_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
STREAM = DATA / "social-stream" / "crisislex_t6.jsonl.gz"
STORY = "The harbour bridge was closed at noon after a lorry overturned near the eastern pier"


def alike(one: str, two: str) -> bool:
    found = Lexicon(None).analyse([analyze.words(one), analyze.words(two)])
    signatures = near.signatures(found.marks, found.lengths)
    return bool(near.copies(signatures[:1], signatures[1:])[0, 0])


@pytest.mark.parametrize(
    "copy",
    [
        f"RT @harbour_news: {STORY}",
        f"(AP) {STORY}",
        f"{STORY} https://t.co/Ab3dEf9",
        STORY.upper() + "!!!",
        f"{STORY}, police said",
        f"“{STORY}” via @someone",
    ],
)
def test_what_forwarding_adds_makes_no_difference(copy: str):
    assert alike(STORY, copy)
    assert alike(copy, STORY)


@pytest.mark.parametrize(
    "other",
    [
        "The harbour bridge was opened again in the evening when the lorry had been removed",
        "A lorry",
        "",
        "The mayor spoke about lanterns at the harbour school after noon on a warm day in May",
    ],
)
def test_what_says_something_else_is_no_copy(other: str):
    assert not alike(STORY, other)


def test_texts_of_three_words_are_copies_of_nothing():
    assert not alike("good morning all", "good morning all")


def test_the_empty_batch_has_no_signatures():
    assert near.signatures(np.zeros(0, np.uint64), np.zeros(0, np.int64)).shape == (0, near.BINS)


class TestFolding:
    def hits(self, bench: Any, **fields: Any) -> list[tuple[int, tuple[int, ...]]]:
        query = Query(**{"text": "harbour bridge lorry", "mode": "lexical"} | fields)
        return [(hit.seq, hit.copies) for hit in bench.index.search(query).hits]

    def test_copies_stand_behind_the_first(self, bench: Any):
        bench.add(STORY, f"RT @a: {STORY}", "something else about a lorry", f"{STORY} t.co/x")
        assert self.hits(bench) == [(1, (2, 4)), (3, ())]
        assert [seq for seq, _ in self.hits(bench, fold=False)] != [1, 3]

    def test_a_copy_that_arrived_first_is_not_the_origin_of_what_was_published_before(
        self, bench: Any
    ):
        bench.add(f"RT @a: {STORY}")
        bench.add(STORY, published_at=from_us(1_770_000_000_000_000) - timedelta(days=1))
        assert self.hits(bench) == [(2, (1,))]

    def test_the_origin_must_pass_the_filters(self, bench: Any):
        bench.add(STORY, source="wire")
        bench.add(f"RT @a: {STORY}", f"RT @b: {STORY}", source="stream")
        assert self.hits(bench) == [(1, (2, 3))]
        assert self.hits(bench, sources=("stream",)) == [(2, (3,))]

    def test_the_origin_must_have_been_visible(self, bench: Any):
        bench.add(STORY, f"RT @a: {STORY}", f"RT @b: {STORY}")
        bench.add("withdrawn", key="k:1", prev_seq=1)
        assert self.hits(bench) == [(2, (3,))]
        then = from_us(1_770_000_002_000_000)
        assert self.hits(bench, as_of=then) == [(1, (2,))]

    def test_a_dropped_origin_gives_way(self, bench: Any):
        bench.add(STORY, f"RT @a: {STORY}", f"RT @b: {STORY}")
        bench.drop(1)
        assert self.hits(bench) == [(2, (3,))]

    def test_newest_first_a_story_is_as_new_as_its_origin(self, bench: Any):
        bench.add(STORY, "a lorry drove over the bridge", f"RT @a: {STORY}")
        assert self.hits(bench, newest_first=True) == [(2, ()), (1, (3,))]


@pytest.mark.skipif(not STREAM.is_file(), reason=f"{STREAM} is not here")
def test_retweets_of_a_real_stream_fold(bench: Any):
    """Old-style retweets whose original is among the same posts, and posts that differ."""
    with gzip.open(STREAM, "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for _, line in zip(range(20_000), lines, strict=False)]
    bare = {text: i for i, text in enumerate(texts)}
    pairs = [
        (bare[match[1]], i)
        for i, text in enumerate(texts)
        if (match := re.match(r"RT @\w+: (.{40,})", text)) and match[1] in bare
    ]
    assert len(pairs) > 100
    found = Lexicon(None).analyse([analyze.words(text) for text in texts])
    signatures = near.signatures(found.marks, found.lengths)
    folded = [near.copies(signatures[a : a + 1], signatures[b : b + 1])[0, 0] for a, b in pairs]
    assert np.mean(folded) > 0.97
    rng = np.random.default_rng(5)
    one, two = rng.integers(0, len(texts), (2, 3000))
    chance = [
        near.copies(signatures[a : a + 1], signatures[b : b + 1])[0, 0]
        for a, b in zip(one, two, strict=True)
        if a != b and texts[a] != texts[b] and not texts[a].startswith("RT")
    ]
    assert np.mean(chance) < 0.002
