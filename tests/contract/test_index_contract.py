"""What any index must do. A new implementation adds its factory to `INDEXES`, nothing else.

The oracle keeps every version in a dictionary and looks at all of them for each question.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gnomon.clock import from_us, to_us
from gnomon.index.base import Index, Query
from gnomon.index.live import LiveIndex
from gnomon.record.base import Entry, Op
from gnomon.types import Document, Policy

Factory = Callable[[Path], Index]
INDEXES: dict[str, Factory] = {"live": lambda folder: LiveIndex(folder / "index")}

T0_US = 1_770_000_000_000_000
SECOND_US = 1_000_000
WORDS = ("red", "blue", "harbour", "storm", "bridge", "mayor", "ferry", "lantern")
SOURCES, KINDS, LANGS = ("feed:a", "feed:b"), ("post", "article"), ("en", "de")
AUTHORS = ("ada", "bo", "")
HOSTS = ("", "example.org", "news.example.org", "example.com")


class HashedWords:
    """A direction for each word, by its hash."""

    name, dim = "hashed-64", 64

    def vectors(self, words: Sequence[str]) -> Any:
        rows = [np.random.default_rng(crc32(w.encode())).standard_normal(64) for w in words]
        return np.array(rows, np.float32).reshape(len(words), 64)


class Log:
    """Writes a change log as a record does, and knows what is alive when."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.versions: dict[int, tuple[Document, int]] = {}
        """(document, start) of each version that is not dropped, by number."""
        self.timelines: dict[str, list[tuple[int, int, bool]]] = {}
        """(moment, seq, whether a version begins) in order."""

    def put(self, key: str, at_us: int, **fields: Any) -> int:
        """Store a version at a moment, wherever in the key's timeline that is."""
        given = {"source": "feed:a", "kind": "post", "text": "red"} | fields
        seq = len(self.entries) + 1
        document = Document(key=key, observed_at=from_us(at_us), seq=seq, **given)
        timeline = self.timelines.setdefault(key, [])
        before = [event for event in timeline if event[0] <= at_us]
        after = [event for event in timeline if event[0] > at_us]
        previous = before[-1] if before else (0, 0, False)
        self.entries.append(
            Entry(
                seq=seq,
                op=Op.PUT,
                source=document.source,
                key=key,
                start_us=at_us,
                until_us=after[0][0] if after else None,
                prev_seq=previous[1] if previous[2] else None,
                document=document,
            )
        )
        self.timelines[key] = [*before, (at_us, seq, True), *after]
        self.versions[seq] = (document, at_us)
        return seq

    def end(self, key: str, at_us: int) -> None:
        timeline = self.timelines.get(key, [])
        if not timeline or not timeline[-1][2]:
            return
        at_us = max(at_us, timeline[-1][0])
        seq = len(self.entries) + 1
        last = timeline[-1][1]
        self.entries.append(
            Entry(seq=seq, op=Op.END, source="feed:a", key=key, start_us=at_us, prev_seq=last)
        )
        timeline.append((at_us, seq, False))

    def drop(self, key: str) -> None:
        gone = tuple(seq for seq, (d, _) in self.versions.items() if d.key == key)
        seq = len(self.entries) + 1
        self.entries.append(Entry(seq=seq, op=Op.DROP, source="feed:a", key=key, dropped=gone))
        for number in gone:
            del self.versions[number]
        self.timelines.pop(key, None)

    def replay(self) -> list[Entry]:
        """The log as it reads later: what was dropped since has no document."""
        return [
            Entry(**{f: getattr(e, f) for f in e.__struct_fields__} | {"document": None})
            if e.op is Op.PUT and e.seq not in self.versions
            else e
            for e in self.entries
        ]

    def alive(self, as_of_us: int | None) -> dict[int, Document]:
        found = {}
        for timeline in self.timelines.values():
            past = [e for e in timeline if as_of_us is None or e[0] <= as_of_us]
            if past and past[-1][2]:
                found[past[-1][1]] = self.versions[past[-1][1]][0]
        return found

    def time_us(self, seq: int) -> int:
        document, start_us = self.versions[seq]
        published = document.published_at
        return start_us if published is None else min(to_us(published), start_us)

    def visible(self, query: Query) -> set[int]:
        """What the filters of a query admit, of what was alive at its moment."""
        found = set()
        for seq, d in self.alive(to_us(query.as_of) if query.as_of else None).items():
            host = d.url.removeprefix("https://").partition("/")[0]
            time = from_us(self.time_us(seq))
            if (
                d.policy.index
                and (not query.sources or d.source in query.sources)
                and (not query.kinds or d.kind in query.kinds)
                and (not query.langs or d.lang in query.langs)
                and (not query.authors or d.author in query.authors)
                and (not query.domains or any(_below(host, name) for name in query.domains))
                and not any(_below(host, name) for name in query.not_domains)
                and (query.since is None or time >= query.since)
                and (query.until is None or time < query.until)
            ):
                found.add(seq)
        return found

    def matching(self, query: Query) -> set[int]:
        """Those that `visible` tells, if they satisfy the words of the query."""
        should, must, must_not = set(), set(), set()
        for word in query.text.split():
            {"+": must, "-": must_not}.get(word[0], should).add(word.lstrip("+-"))
        found = set()
        for seq in self.visible(query):
            text = set(self.versions[seq][0].text.split())
            wanted = must <= text if must else not should or bool(should & text)
            if wanted and not must_not & text:
                found.add(seq)
        return found


def _below(host: str, name: str) -> bool:
    return host == name or host.endswith("." + name)


moments = st.integers(0, 40).map(lambda n: T0_US + n * SECOND_US)
keys = st.integers(0, 7).map(lambda n: f"k:{n}")


@st.composite
def logs(draw: st.DrawFn) -> Log:
    log = Log()
    now_us = T0_US
    for _ in range(draw(st.integers(0, 25))):
        now_us += draw(st.sampled_from((0, SECOND_US, SECOND_US)))
        key = draw(keys)
        step = draw(st.sampled_from(("put", "put", "put", "import", "end", "drop")))
        if step == "end":
            log.end(key, now_us)
        elif step == "drop":
            log.drop(key)
        else:
            log.put(
                key,
                now_us if step == "put" else draw(moments),
                text=" ".join(draw(st.lists(st.sampled_from(WORDS), max_size=6))),
                source=draw(st.sampled_from(SOURCES)),
                kind=draw(st.sampled_from(KINDS)),
                lang=draw(st.sampled_from(LANGS)),
                author=draw(st.sampled_from(AUTHORS)),
                url=f"https://{host}/x" if (host := draw(st.sampled_from(HOSTS))) else "",
                published_at=from_us(at) if (at := draw(st.none() | moments)) else None,
                policy=Policy(index=draw(st.sampled_from((True, True, True, False)))),
            )
    return log


def several(values: Sequence[str]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.just(()) | st.lists(st.sampled_from(values), max_size=2).map(tuple)


queries = st.builds(
    Query,
    text=st.lists(
        st.tuples(st.sampled_from(("", "", "+", "-")), st.sampled_from(WORDS)), max_size=3
    ).map(lambda parts: " ".join(sign + word for sign, word in parts)),
    as_of=st.none() | moments.map(from_us),
    since=st.none() | moments.map(from_us),
    until=st.none() | moments.map(from_us),
    sources=several(SOURCES),
    kinds=several(KINDS),
    langs=several(LANGS),
    authors=several(AUTHORS[:2]),
    domains=several(("example.org", "news.example.org", "example.com", "org")),
    not_domains=several(("example.org", "news.example.org")),
    mode=st.just("lexical"),
    newest_first=st.booleans(),
    limit=st.just(1000),
    fold=st.just(False),
)


@pytest.fixture(params=sorted(INDEXES))
def factory(request: pytest.FixtureRequest) -> Factory:
    return INDEXES[request.param]


@pytest.fixture
def index(factory: Factory, tmp_path: Path) -> Iterator[Index]:
    index = factory(tmp_path)
    yield index
    index.close()


def taken_in(index: Index, entries: Sequence[Entry]) -> None:
    index.apply(entries)
    index.commit()


def seqs(index: Index, query: Query) -> list[int]:
    return [hit.seq for hit in index.search(query).hits]


@contextmanager
def indexes(factory: Factory, count: int = 1) -> Iterator[list[Index]]:
    """New indexes in folders of their own, which go with them."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        made = [factory(Path(name) / str(i)) for i in range(count)]
        for index in made:
            stack.callback(index.close)
        yield made


SLOW = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class TestAgainstTheOracle:
    @SLOW
    @given(log=logs(), asked=st.lists(queries, min_size=1, max_size=8), cuts=st.data())
    def test_exactly_the_visible_versions_are_found(
        self, factory: Factory, log: Log, asked: list[Query], cuts: st.DataObject
    ):
        with indexes(factory) as [index]:
            at = 0
            while at < len(log.entries):
                step = cuts.draw(st.integers(1, len(log.entries) - at), label="entries at once")
                index.apply(log.entries[at : at + step])
                at += step
                if cuts.draw(st.booleans(), label="commit"):
                    index.commit()
            index.commit()
            for query in asked:
                found = seqs(index, query)
                assert len(found) == len(set(found))
                assert set(found) == log.matching(query), query
                if query.newest_first or not query.text.replace("-", ""):
                    order = sorted(found, key=lambda s: (-log.time_us(s), -s))
                    assert found == order
            assert index.stats().documents == len(log.visible(Query()))

    @SLOW
    @given(log=logs(), asked=queries)
    def test_vectors_see_exactly_the_visible_versions(
        self, factory: Factory, log: Log, asked: Query
    ):
        with indexes(factory) as [index]:
            index.set_vectors(HashedWords())
            taken_in(index, log.entries)
            parts = {f: getattr(asked, f) for f in asked.__struct_fields__}
            query = Query(**parts | {"text": "storm", "mode": "vector", "newest_first": False})
            assert set(seqs(index, query)) == log.visible(query)

    @SLOW
    @given(
        log=logs(),
        asked=st.lists(queries, min_size=1, max_size=8),
        mode=st.sampled_from(("hybrid", "lexical")),
    )
    def test_a_rebuild_finds_the_same_in_the_same_order(
        self, factory: Factory, log: Log, asked: list[Query], mode: Any
    ):
        with indexes(factory, 2) as [grown, rebuilt]:
            for entry in log.entries:
                taken_in(grown, [entry])
            taken_in(rebuilt, log.replay())
            assert rebuilt.applied_seq == grown.applied_seq == len(log.entries)
            for query in asked:
                parts = {f: getattr(query, f) for f in query.__struct_fields__}
                query = Query(**parts | {"mode": mode, "fold": True})
                left, right = grown.search(query).hits, rebuilt.search(query).hits
                if not any(entry.op is Op.DROP for entry in log.entries):
                    # What is dropped counts as a document until files are merged: scores differ.
                    assert left == right
                assert {h.seq for h in left} == {h.seq for h in right}


class TestVisibility:
    def test_nothing_is_visible_before_a_commit(self, index: Index):
        log = Log()
        log.put("a", T0_US)
        index.apply(log.entries)
        assert seqs(index, Query(text="red")) == []
        assert index.applied_seq == 0
        index.commit()
        assert seqs(index, Query(text="red")) == [1]
        assert index.applied_seq == 1

    def test_entries_that_are_known_are_skipped(self, index: Index):
        log = Log()
        log.put("a", T0_US)
        log.put("a", T0_US + 1, text="blue")
        taken_in(index, log.entries)
        taken_in(index, log.entries)
        assert seqs(index, Query(text="red blue")) == [2]
        assert index.stats().versions == 2

    def test_an_old_version_is_found_under_a_thousand_newer_ones(self, index: Index):
        log = Log()
        log.put("old", T0_US, text="storm")
        for n in range(1000):
            log.put(f"k{n}", T0_US + (n + 1) * SECOND_US, text="storm storm")
        for n in range(1000):
            log.put(f"k{n}", T0_US + (2000 + n) * SECOND_US, text="storm over")
        taken_in(index, log.entries)
        query = Query(text="storm", as_of=from_us(T0_US), mode="lexical", limit=5)
        assert seqs(index, query) == [1]
        late = from_us(T0_US + 10_000 * SECOND_US)
        assert seqs(index, Query(text="+storm -over", as_of=late)) == [1]
        assert seqs(index, Query(newest_first=True, text="storm -over")) == [1]

    def test_the_live_are_found_behind_thousands_that_ended(self, index: Index):
        log = Log()
        for n in range(1500):
            log.put("edited", T0_US + n * SECOND_US, text="storm storm storm")
        log.put("b", T0_US, text="a storm among very many other words of no weight at all")
        taken_in(index, log.entries)
        for newest_first in (True, False):
            query = Query(text="storm", newest_first=newest_first, mode="lexical")
            assert set(seqs(index, query)) == {1500, 1501}

    def test_what_is_dropped_is_gone_for_every_moment(self, index: Index):
        log = Log()
        log.put("a", T0_US)
        log.put("a", T0_US + SECOND_US)
        log.put("b", T0_US)
        log.drop("a")
        index.apply(log.entries[:3])
        index.commit()
        index.apply(log.entries[3:])
        index.commit()
        for as_of in (None, from_us(T0_US), from_us(T0_US + SECOND_US)):
            assert seqs(index, Query(text="red", as_of=as_of)) == [3]
        assert index.stats().versions == 1

    def test_a_version_begins_at_its_moment_and_ends_before_the_next(self, index: Index):
        log = Log()
        log.put("a", T0_US, text="red")
        log.put("a", T0_US + SECOND_US, text="blue")
        taken_in(index, log.entries)
        just_before = from_us(T0_US + SECOND_US) - timedelta(microseconds=1)
        assert seqs(index, Query(as_of=from_us(T0_US - 1))) == []
        assert seqs(index, Query(as_of=from_us(T0_US))) == [1]
        assert seqs(index, Query(as_of=just_before)) == [1]
        assert seqs(index, Query(as_of=from_us(T0_US + SECOND_US))) == [2]

    def test_it_remembers_across_a_close(self, factory: Factory, tmp_path: Path):
        log = Log()
        log.put("a", T0_US)
        log.put("a", T0_US + SECOND_US, text="blue")
        first = factory(tmp_path)
        taken_in(first, log.entries)
        first.close()
        first.close()
        second = factory(tmp_path)
        assert second.applied_seq == 2
        assert seqs(second, Query(text="red blue")) == [2]
        assert seqs(second, Query(text="red", as_of=from_us(T0_US))) == [1]
        second.close()


class TestRanking:
    def test_more_of_the_words_ranks_higher(self, index: Index):
        log = Log()
        log.put("a", T0_US, text="a storm is coming to the coast tonight")
        log.put("b", T0_US, text="the harbour bridge closed in the storm")
        taken_in(index, log.entries)
        assert seqs(index, Query(text="harbour bridge storm", recency=0)) == [2, 1]

    def test_of_equals_the_newer_ranks_higher_unless_newness_is_ignored(self, index: Index):
        log = Log()
        log.put("a", T0_US + 86_400 * SECOND_US, text="storm warning today")
        log.put("b", T0_US, text="storm storm storm")
        taken_in(index, log.entries)
        query = Query(text="storm", recency=0.9, half_life_s=3600, mode="lexical")
        assert seqs(index, query) == [1, 2]
        assert seqs(index, Query(text="storm", recency=0, mode="lexical")) == [2, 1]

    def test_the_newest_matches_are_weighed_however_many_match_better(self, index: Index):
        log = Log()
        for n in range(1200):
            log.put(f"k{n}", T0_US + n, text="storm storm storm " + WORDS[n % 7])
        newest = log.put("new", T0_US + 86_400 * SECOND_US, text="a storm with many other words")
        taken_in(index, log.entries)
        query = Query(text="storm", recency=0.8, half_life_s=3600, mode="lexical", fold=False)
        assert seqs(index, query)[0] == newest

    def test_meaning_finds_what_shares_no_word(self, index: Index):
        class Synonyms(HashedWords):
            def vectors(self, words: Sequence[str]) -> Any:
                return super().vectors([{"tempest": "storm"}.get(w, w) for w in words])

        index.set_vectors(Synonyms())
        log = Log()
        log.put("a", T0_US, text="storm")
        log.put("b", T0_US, text="lantern")
        taken_in(index, log.entries)
        results = index.search(Query(text="tempest"))
        assert [hit.seq for hit in results.hits] == [1]
        assert results.vectors
        assert results.hits[0].vector == pytest.approx(1, abs=0.01)
        assert seqs(index, Query(text="tempest", mode="lexical")) == []
        assert seqs(index, Query(text="tempest -storm")) == []

    def test_without_word_vectors_it_says_so(self, index: Index):
        assert not index.search(Query(text="storm")).vectors
        assert index.embed(["storm"]) is None

    def test_embed_gives_unit_vectors(self, index: Index):
        index.set_vectors(HashedWords())
        vectors = index.embed(["harbour bridge", "", "Harbour  BRIDGE"])
        assert vectors is not None
        assert vectors.shape == (3, 64)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [1, 0, 1], atol=1e-6)
        np.testing.assert_allclose(vectors[0], vectors[2])

    def test_another_table_starts_the_index_anew(self, index: Index):
        log = Log()
        log.put("a", T0_US, text="storm")
        taken_in(index, log.entries)
        index.set_vectors(HashedWords())
        assert index.applied_seq == 0
        taken_in(index, log.entries)
        assert seqs(index, Query(text="storm", mode="vector")) == [1]
        index.set_vectors(HashedWords())
        assert index.applied_seq == 1

    @pytest.mark.parametrize("limit", [0, 1, 7, 500])
    def test_the_limit_holds_and_is_reached(self, index: Index, limit: int):
        index.set_vectors(HashedWords())
        log = Log()
        for n in range(800):
            log.put(f"k{n}", T0_US + n, text=f"storm {WORDS[n % 8]} number{n}")
        taken_in(index, log.entries)
        for mode in ("hybrid", "lexical", "vector"):
            for newest_first in (True, False):
                query = Query(
                    text="storm", limit=limit, mode=mode, newest_first=newest_first, fold=False
                )
                assert len(seqs(index, query)) == limit
