"""What every index promises, held against a brute-force oracle.

A new implementation joins by adding its factory to `FACTORIES`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gnomon.clock import from_us, to_us
from gnomon.index.base import Index, Query
from gnomon.index.live import LiveIndex
from gnomon.record.base import Entry, Op
from gnomon.record.store import SqliteRecord
from gnomon.types import Batch, Delete, Document, Purge, Upsert

START = datetime(2026, 3, 1, tzinfo=UTC)
FACTORIES: dict[str, Callable[[Path], Index]] = {"live": LiveIndex}
WORDS = ("bridge", "ferry", "storm", "vote", "closed", "open", "harbour", "tram", "late")


class HashedVectors:
    """Word vectors that need no weights: random, but the same for the same word."""

    name = "hashed"
    dim = 256

    def vectors(self, words: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
        rows = [np.random.default_rng(sum(map(ord, word))).normal(size=self.dim) for word in words]
        return np.asarray(rows, np.float32).reshape(len(words), self.dim)


@pytest.fixture(params=sorted(FACTORIES))
def make(request: pytest.FixtureRequest) -> Callable[[Path], Index]:
    return FACTORIES[request.param]


@pytest.fixture
def record(tmp_path: Path) -> Iterator[SqliteRecord]:
    store = SqliteRecord(tmp_path / "record.db")
    yield store
    store.close()


@pytest.fixture
def index(make: Callable[[Path], Index], tmp_path: Path) -> Iterator[Index]:
    made = make(tmp_path / "index")
    made.set_vectors(HashedVectors())
    yield made
    made.close()


def doc(key: str, text: str, **fields: Any) -> Document:
    return Document(
        **({"key": key, "source": "s", "kind": "post", "lang": "en", "text": text} | fields)
    )


def say(record: SqliteRecord, index: Index, *changes: Any, at: datetime = START) -> None:
    """Append, index, make visible."""
    source = next((c.document.source for c in changes if isinstance(c, Upsert)), "s")
    index.apply(record.append(source, Batch(changes), now=at).entries)
    index.commit()


def keys(index: Index, text: str = "", **query: Any) -> list[str]:
    return [hit.key for hit in index.search(Query(text=text, **query)).hits]


# -- what is found -------------------------------------------------------------
def test_words_phrases_must_and_must_not(record: SqliteRecord, index: Index) -> None:
    say(
        record, index,
        Upsert(doc("a", "The Mill Bridge is closed to all traffic")),
        Upsert(doc("b", "A mill by the river, and a bridge further down")),
        Upsert(doc("c", "The ferry is open")),
    )  # fmt: skip
    assert keys(index, "bridge", mode="lexical") == ["a", "b"] or {"a", "b"} == set(
        keys(index, "bridge", mode="lexical")
    )
    assert keys(index, '"mill bridge"', mode="lexical") == ["a"]
    assert keys(index, "+bridge -closed", mode="lexical") == ["b"]
    assert keys(index, '+mill -"mill bridge"', mode="lexical") == ["b"]
    assert keys(index, "bridges", mode="lexical", limit=1) != ["c"]
    assert keys(index, "zeppelin", mode="lexical") == []


def test_every_script_and_sign_is_found(record: SqliteRecord, index: Index) -> None:
    texts = {
        "zh": "东京今天下大雨",
        "ja": "東京都では大雨が続いています",
        "ko": "서울에 폭우가 내렸다",
        "fr": "L'école est fermée à cause de la tempête",
        "ru": "Мост закрыт до утра",
        "ar": "الجسر مغلق اليوم",
        "tag": "Water is rising #YYCFlood @CityOfTown",
        "cpp": "Written in C++ and C# since 2011",
        "emoji": "All good here 🔥",
    }
    say(record, index, *(Upsert(doc(key, text)) for key, text in texts.items()))
    for query, key in {
        "大雨": {"zh", "ja"},
        "폭우": {"ko"},
        "ecole fermee": {"fr"},
        "мост": {"ru"},
        "مغلق": {"ar"},
        "#yycflood": {"tag"},
        "yycflood": {"tag"},
        "@cityoftown": {"tag"},
        "c++": {"cpp"},
        "🔥": {"emoji"},
    }.items():
        assert set(keys(index, query, mode="lexical")) == key, query


def test_filters_narrow_and_alternatives_widen(record: SqliteRecord, index: Index) -> None:
    url = "https://news.example.org/x"
    say(record, index, Upsert(doc("a", "storm", kind="article", url=url, author="Ida Marsh")))
    say(record, index, Upsert(doc("b", "storm", source="t", lang="de", author="@Bo")))
    say(record, index, Upsert(doc("c", "storm", published_at=START - timedelta(days=3))))
    assert keys(index, "storm", kinds=("article",)) == ["a"]
    assert keys(index, "storm", sources=("t",)) == ["b"]
    assert set(keys(index, "storm", sources=("t", "s"), fold=False)) == {"a", "b", "c"}
    assert keys(index, "storm", langs=("de",)) == ["b"]
    assert keys(index, "storm", authors=("bo",)) == ["b"]
    assert keys(index, "storm", domains=("example.org",)) == ["a"]
    assert keys(index, "storm", domains=("ample.org",)) == []
    assert set(keys(index, "storm", not_domains=("example.org",), fold=False)) == {"b", "c"}
    assert keys(index, "storm", until=START) == ["c"]
    assert set(keys(index, "storm", since=START, fold=False)) == {"a", "b"}


def test_newer_ranks_higher_among_equals_and_newest_first_orders_by_time(
    record: SqliteRecord, index: Index
) -> None:
    for day in (2, 0, 3, 1):
        at = START + timedelta(days=day)
        say(record, index, Upsert(doc(f"d{day}", "ferry late", published_at=at)), at=at)
    assert keys(index, "ferry", fold=False) == ["d3", "d2", "d1", "d0"]
    assert keys(index, newest_first=True, limit=2) == ["d3", "d2"]
    assert keys(index, "", fold=False) == ["d3", "d2", "d1", "d0"]


def test_meaning_finds_what_shares_no_word(record: SqliteRecord, index: Index) -> None:
    """The hashed vectors call anagrams the same word."""
    say(record, index, Upsert(doc("a", "listen")), Upsert(doc("b", "harbour")))
    assert keys(index, "silent", mode="vector", limit=1) == ["a"]
    assert keys(index, "silent", mode="hybrid", limit=1) == ["a"]
    assert keys(index, "silent", mode="lexical") == []
    assert keys(index, "silent", mode="vector", sources=("t",)) == []


def test_near_copies_fold_into_the_earliest_that_is_visible(
    record: SqliteRecord, index: Index
) -> None:
    wire = "The council approved the new tram line to the harbour by nine votes to two on Monday"
    say(record, index, Upsert(doc("first", wire)))
    later = START + timedelta(hours=1)
    say(record, index, Upsert(doc("second", f"RT @herald: {wire} https://t.co/x")), at=later)
    say(record, index, Upsert(doc("other", "The tram line is late again")), at=later)
    (hit,) = [h for h in index.search(Query(text="tram council votes")).hits if h.key == "first"]
    assert len(hit.copies) == 1
    assert "second" not in keys(index, "tram council votes")
    assert "second" in keys(index, "tram council votes", fold=False)
    assert "second" in keys(index, "tram council votes", since=later)
    say(record, index, Purge(key="first"), at=later)
    assert "second" in keys(index, "tram council votes")


def test_highlights_are_spans_of_the_text(index: Index) -> None:
    text = "The Mill Bridges were closed; the bridge is open. 大雨です"
    spans = index.highlight(text, 'bridge "mill bridge" 大雨')
    assert [text[a:b] for a, b in spans] == ["Mill Bridges", "bridge", "大雨"]


@given(text=st.text(max_size=200))
@settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
def test_nothing_that_a_person_types_raises(index: Index, text: str) -> None:
    index.search(Query(text=text))
    for start, end in index.highlight(text, text):
        assert 0 <= start < end <= len(text)


def test_ten_megabytes_of_query_are_answered(record: SqliteRecord, index: Index) -> None:
    say(record, index, Upsert(doc("a", "storm")))
    assert index.search(Query(text="storm " + "x y " * 2_500_000)).took_ms < 5_000


# -- when it is visible ----------------------------------------------------------
def test_an_old_version_is_found_for_an_old_moment(record: SqliteRecord, index: Index) -> None:
    hour = timedelta(hours=1)
    say(record, index, Upsert(doc("a", "bridge closed")), at=START)
    say(record, index, Upsert(doc("a", "bridge open")), at=START + hour)
    say(record, index, Delete(key="a"), at=START + 2 * hour)
    assert keys(index, "closed", mode="lexical", as_of=START) == ["a"]
    assert keys(index, "closed", mode="lexical", as_of=START + hour) == []
    assert keys(index, "open", mode="lexical", as_of=START + hour) == ["a"]
    assert keys(index, "open", mode="lexical", as_of=START + 2 * hour) == []
    assert keys(index, "bridge") == []
    assert keys(index, "bridge", as_of=START - hour) == []


def test_it_digs_for_what_was_alive_under_many_newer_matches(
    record: SqliteRecord, index: Index
) -> None:
    say(record, index, Upsert(doc("old", "storm over the harbour")), at=START)
    for n in range(3):
        changes = [Upsert(doc(f"k{i}", f"storm storm {n} {i}")) for i in range(700)]
        say(record, index, *changes, at=START + timedelta(days=1 + n))
    assert keys(index, "storm", as_of=START) == ["old"]
    assert len(keys(index, "storm", limit=50, fold=False)) == 50


def test_a_purge_leaves_nothing_on_disk(
    make: Callable[[Path], Index], record: SqliteRecord, tmp_path: Path
) -> None:
    folder = tmp_path / "purged"
    index = make(folder)
    say(record, index, Upsert(doc("k-mortimer", "xylographer", author="Mortimer")))
    say(record, index, Upsert(doc("b", "something else")))
    say(record, index, Purge(author="Mortimer"))
    assert keys(index, "xylographer") == []
    assert keys(index, "xylographer", as_of=START) == []
    index.close()
    stored = b"".join(f.read_bytes() for f in folder.rglob("*") if f.is_file())
    for trace in (b"xylographer", b"ortimer", b"k-mortimer"):
        assert trace not in stored


def test_nothing_is_visible_before_commit_and_nothing_applies_twice(
    record: SqliteRecord, index: Index
) -> None:
    entries = record.append("s", Batch((Upsert(doc("a", "storm")),)), now=START).entries
    index.apply(entries)
    assert keys(index, "storm") == []
    index.apply(entries)
    index.commit()
    index.apply(entries)
    index.commit()
    assert keys(index, "storm", fold=False) == ["a"]
    assert index.applied_seq == record.last_seq()
    assert index.stats().documents == 1


# -- the oracle ------------------------------------------------------------------
def _texts(rng: random.Random) -> str:
    return " ".join(rng.choices(WORDS, k=rng.randint(1, 5)))


class Oracle:
    """Every entry, and the rule of lives applied literally."""

    def __init__(self) -> None:
        self.puts: dict[int, Entry] = {}
        self.until: dict[int, int | None] = {}

    def apply(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if entry.op is Op.PUT and entry.document is not None:
                self.puts[entry.seq] = entry
                self.until[entry.seq] = entry.until_us
            if entry.op in (Op.PUT, Op.END) and entry.prev_seq is not None:
                self.until[entry.prev_seq] = entry.start_us
            for seq in entry.dropped:
                self.puts.pop(seq, None)

    def visible(self, query: Query) -> set[int]:
        words = query.text.split()
        return {seq for seq, e in self.puts.items() if self._alive(seq, e, query.as_of)
                and _passes(e, query) and (not words or set(words) & _words(e))}  # fmt: skip

    def _alive(self, seq: int, entry: Entry, as_of: datetime | None) -> bool:
        until = self.until[seq]
        if as_of is None:
            return until is None
        return entry.start_us <= to_us(as_of) and (until is None or to_us(as_of) < until)


def _words(entry: Entry) -> set[str]:
    assert entry.document is not None
    return set(entry.document.text.split())


def _passes(entry: Entry, query: Query) -> bool:
    document = entry.document
    assert document is not None
    when = from_us(entry.start_us)
    if document.published_at is not None:
        when = min(document.published_at, when)
    host = urlsplit(document.url).hostname or ""
    return (
        (not query.kinds or document.kind in query.kinds)
        and (not query.langs or document.lang in query.langs)
        and (not query.domains or any(f".{host}".endswith(f".{d}") for d in query.domains))
        and (query.since is None or when >= query.since)
        and (query.until is None or when < query.until)
    )


def _history(
    record: SqliteRecord, rng: random.Random, steps: int, *, purges: bool
) -> Iterator[Sequence[Entry]]:
    """Edits, deletes, late imports and, if wanted, purges of a few keys."""
    now = START
    for _ in range(steps):
        now += timedelta(minutes=rng.randint(0, 90))
        key = f"k{rng.randint(0, 8)}"
        published = rng.choice([None, now - timedelta(hours=rng.randint(0, 40))])
        document = doc(
            key,
            _texts(rng),
            kind=rng.choice(["post", "article"]),
            lang=rng.choice(["en", "de"]),
            url=rng.choice(["", "https://a.example.org/1", "https://b.example.com/2"]),
            published_at=published,
        )
        what = rng.random()
        if what < 0.6:
            yield record.append("s", Batch((Upsert(document),)), now=now).entries
        elif what < 0.75:
            yield record.append("s", Batch((Delete(key=key),)), now=now).entries
        elif what < 0.82 and purges:
            yield record.append("s", Batch((Purge(key=key),)), now=now).entries
        else:
            late = Document(**{f: getattr(document, f) for f in ("key", "source", "kind", "text")},
                            observed_at=now - timedelta(hours=rng.randint(1, 30)))  # fmt: skip
            yield record.load([("s", Upsert(late))], now=now).entries


def _queries(rng: random.Random) -> Iterator[Query]:
    for _ in range(25):
        yield Query(
            text=" ".join(rng.sample(WORDS, rng.randint(0, 2))),
            mode="lexical",
            fold=False,
            limit=100,
            as_of=rng.choice([None, START + timedelta(minutes=rng.randint(-60, 4000))]),
            kinds=rng.choice([(), ("post",)]),
            langs=rng.choice([(), ("en",), ("en", "de")]),
            domains=rng.choice([(), ("example.org",)]),
            since=rng.choice([None, START + timedelta(hours=rng.randint(-40, 40))]),
            until=rng.choice([None, START + timedelta(hours=rng.randint(0, 60))]),
        )


@pytest.mark.parametrize("seed", range(6))
def test_it_finds_exactly_what_the_oracle_sees_also_after_reopening_and_rebuilding(
    make: Callable[[Path], Index], record: SqliteRecord, tmp_path: Path, seed: int
) -> None:
    rng, purges = random.Random(seed), seed % 2 == 1
    index, oracle = make(tmp_path / "one"), Oracle()
    index.set_vectors(HashedVectors())
    for step, entries in enumerate(_history(record, rng, 60, purges=purges)):
        index.apply(entries)
        oracle.apply(entries)
        if step % 7 == 0:
            index.commit()
        if step == 40:
            index.close()
            index = make(tmp_path / "one")
            index.set_vectors(HashedVectors())
    index.commit()
    rebuilt = make(tmp_path / "two")
    rebuilt.set_vectors(HashedVectors())
    rebuilt.apply(record.entries(0, limit=10_000))
    rebuilt.commit()
    for query in _queries(rng):
        found = [hit.seq for hit in index.search(query).hits]
        assert set(found) == oracle.visible(query), query
        again = [hit.seq for hit in rebuilt.search(query).hits]
        # What was purged weighs in word statistics until its segment is merged: near ties may
        # then stand in another order than in a rebuilt index.
        assert set(again) == set(found) if purges else again == found, query
    everything = Query(text="bridge storm", limit=100)
    if not purges:
        assert index.search(everything).hits == rebuilt.search(everything).hits
    index.close()
    rebuilt.close()
