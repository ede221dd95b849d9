"""One search: candidates from words, newness and meaning, alive at the moment, fused and folded.

Candidates come in three legs: best by words, newest that match, closest in meaning. Each
goes deeper until enough of what it found was alive at the moment, or until there is no more; so a
search as of long ago is exact however many newer versions match.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Any, NamedTuple, TypeAlias

import msgspec
import numpy as np
import tantivy
from numpy.typing import NDArray

from gnomon.clock import from_us, to_us
from gnomon.errors import StoreError
from gnomon.index import inflect, near, sounds
from gnomon.index.analyze import Parsed, is_paired, is_tag
from gnomon.index.base import Hit, Query
from gnomon.index.files import native
from gnomon.index.lexicon import Lexicon
from gnomon.index.marks import author_mark, beside_mark, host_of
from gnomon.index.shelf import Shelf, spread

_CANDIDATES = 128
_NEWEST = 50
_WINDOW = 16_384
"""Newest rows of all among which the newest matches are looked for."""
_SPARE = 3
"""Times as many matches as should suffice are asked for: to go deeper means to search again."""
_NARROW = 1 / 8
"""Share of rows below which tantivy gets bounds or filters, instead of finding more."""
_HEARD = 0.5
"""What a name counts that is found by its sound in another script."""
_MAX_SOUNDS = 48
_VECTOR_WEIGHT = 0.8
_LEAST_COSINE = 0.35
"""A document that shares no word with the query must be at least this similar."""
_FOLDED = 128
"""Candidates that are compared with each other as near copies."""
_COMPARED = 16
"""Of them, how many at once."""

_NOTHING = np.zeros(0, np.int64), np.zeros(0, np.float32), True

Q = tantivy.Query
MUST, SHOULD, NOT = tantivy.Occur.Must, tantivy.Occur.Should, tantivy.Occur.MustNot
_INTEGER = tantivy.FieldType.Integer
_Rows: TypeAlias = NDArray[np.int64]
_Floats: TypeAlias = NDArray[np.float32]


class Snapshot(msgspec.Struct, frozen=True):
    """What searches see: replaced as a whole whenever something becomes visible or vanishes."""

    searcher: Any
    rows: int
    applied_seq: int
    newest_us: int


class _Group(NamedTuple):
    """A text and its near copies. `at` is where the ranked one stands among the candidates."""

    origin: int
    at: int
    copies: tuple[int, ...]


class Search:
    """Runs one query against one snapshot."""

    def __init__(
        self,
        shelf: Shelf,
        snapshot: Snapshot,
        query: Query,
        parsed: Parsed,
        schema: Any,
        lexicon: Lexicon | None,
        legs: Executor,
    ) -> None:
        self._legs = legs
        self._shelf = shelf
        self._snapshot = snapshot
        self._query = query
        self._parsed = parsed
        self._schema = schema
        self._moment_us = to_us(query.as_of) if query.as_of is not None else None
        self._by_time = query.newest_first or parsed.empty
        self._vector = self._meaning(lexicon)
        self._wanted = {
            "source": query.sources,
            "kind": query.kinds,
            "lang": query.langs,
            "author": tuple(author_mark(author) for author in query.authors),
            "domain": tuple(host_of(domain) for domain in query.domains),
        }
        self._unwanted_hosts = [host_of(domain) for domain in query.not_domains]
        self._low_us = to_us(query.since) if query.since is not None else None
        self._high_us = to_us(query.until) if query.until is not None else None
        sample = spread(snapshot.rows)
        within = self._within(sample)
        self._sample = sample[self._admitted(sample, within)]
        self._each = snapshot.rows / len(sample)
        # Where little passes, tantivy gets the bounds, which cost it little; and where little of
        # what is within them passes, the filters.
        share = len(self._sample) / len(sample)
        self._bounded = self._by_time or share < _NARROW
        if self._bounded:
            share = len(self._sample) / max(int(within.sum()), 1)
        self._narrow = self._by_time or share < _NARROW
        self._share = max(share, _NARROW)
        """Of what tantivy finds, about how much passes: so much more has to be found."""

    def hits(self) -> list[Hit]:
        """The best hits, folded, at most `limit`."""
        query = self._query
        reranked = self._vector is not None or query.recency > 0 or query.fold
        want = max(_CANDIDATES if reranked else 0, 2 * query.limit)
        while True:
            rows, scores, complete = self._candidates(want)
            hits = self._ordered(rows, scores)
            if complete or len(hits) >= self._query.limit:
                return hits
            want *= 4

    def _candidates(self, want: int) -> tuple[_Rows, _Floats, bool]:
        """(rows, scores by words, whether there are no others), without repetitions."""
        if self._by_time:
            return self._by_words(want, by_time=True)
        if self._vector is None:
            return self._worded(want) if self._query.mode != "vector" else _NOTHING
        if self._query.mode == "vector":
            rows, complete = self._by_meaning(self._vector, want)
            return rows, np.zeros(len(rows), np.float32), complete
        # Both legs work outside the interpreter's lock for most of their time.
        words = self._legs.submit(self._worded, want)
        close, all_close = self._by_meaning(self._vector, want)
        rows, scores, complete = words.result()
        new = close[~np.isin(close, rows)]
        nothing = np.zeros(len(new), np.float32)
        return (
            np.concatenate((rows, new)),
            np.concatenate((scores, nothing)),
            complete and all_close,
        )

    def _worded(self, want: int) -> tuple[_Rows, _Floats, bool]:
        """The best by words, and the newest of the others that match."""
        rows, scores, complete = self._by_words(want, by_time=False)
        if complete or self._query.recency <= 0:
            return rows, scores, complete
        new, new_scores = self._newest(rows)
        return np.concatenate((rows, new)), np.concatenate((scores, new_scores)), False

    # -- words -----------------------------------------------------------------
    def _by_words(self, want: int, by_time: bool) -> tuple[_Rows, _Floats, bool]:
        """The first `want` rows that match and were alive then, by score or newest first."""
        words = self._words(scored=not by_time)
        enough = max(want // 4, min(want, self._query.limit))
        limit = want if self._narrow else max(want, int(_SPARE * enough / self._share))
        while True:
            rows, values = self._found(words, limit, by_time)
            exhausted = len(rows) < limit
            if not exhausted:
                # Of those that rank with the last, some may be missing, and which is chance: an
                # index built anew must find the same.
                rows, values = rows[values > values[-1]], values[values > values[-1]]
            kept = self._kept(rows)
            rows, values = rows[kept], values[kept]
            if exhausted or len(rows) >= enough:
                scores = np.zeros(len(rows), np.float32) if by_time else values.astype(np.float32)
                return rows, scores, exhausted
            limit *= 4

    def _newest(self, known: _Rows) -> tuple[_Rows, _Floats]:
        """The newest rows that match, with their scores, without the known ones."""
        words = self._words(scored=True)
        span = self._range("time", self._recent(), self._moment_us)
        _, moments = self._found(_all_of(words, span), _NEWEST, by_time=True)
        if not len(moments):
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        span = self._range("time", int(moments[-1]), self._moment_us)
        rows, scores = self._found(_all_of(words, span), 2 * _NEWEST, by_time=False)
        new = self._kept(rows) & ~np.isin(rows, known)
        return rows[new], scores[new].astype(np.float32)

    def _recent(self) -> int | None:
        """Since when to look for the newest: ordering every match by time takes far longer."""
        times = self._shelf.time.rows[spread(self._snapshot.rows)]
        if self._moment_us is not None:
            times = times[times <= self._moment_us]
        last = int(_WINDOW / self._each)
        return int(np.partition(times, -last)[-last]) if len(times) > last else None

    def _found(self, words: Any, limit: int, by_time: bool) -> tuple[_Rows, NDArray[np.float64]]:
        """The first rows that match, whether visible or not, with their scores or times."""
        order = {"order_by_field": "time"} if by_time else {}
        searcher = self._snapshot.searcher
        try:
            with native():
                found = searcher.search(words, limit, count=False, **order).hits
                addresses = [address for _, address in found]
                rows = searcher.fast_field_values("ord", addresses) if found else []
        except (ValueError, OSError) as error:
            raise StoreError(
                f"The index cannot be read: {error}.",
                code="index.damaged",
                hint="Restart: a damaged index is rebuilt from the record.",
            ) from error
        values = np.asarray([value for value, _ in found], np.float64)
        return np.asarray(rows, np.int64), values

    def _kept(self, rows: _Rows) -> NDArray[np.bool_]:
        """Which of the rows were alive at the moment and pass the filters."""
        kept = rows < self._snapshot.rows
        kept[kept] = self._passing(rows[kept])
        return kept

    def _words(self, scored: bool) -> Any:
        """The tantivy query: phrases and words, and where few rows pass, bounds and filters."""
        clauses = self._texts(scored)
        if not self._bounded:
            return _query(clauses)
        if self._narrow:
            for name, values in self._wanted.items():
                if values:
                    clauses.append((MUST, self._any_of(name, values)))
            if self._unwanted_hosts:
                clauses.append((NOT, self._any_of("domain", self._unwanted_hosts)))
        if self._low_us is not None or self._high_us is not None:
            last = None if self._high_us is None else self._high_us - 1
            clauses.append((MUST, self._range("time", self._low_us, last)))
        if self._moment_us is not None:
            clauses.append((MUST, self._range("start", None, self._moment_us)))
        return _query(clauses)

    def _texts(self, scored: bool) -> list[tuple[Any, Any]]:
        parsed, constraints = self._parsed, self._constraints()
        if not parsed.should or (parsed.must and not scored):
            return constraints
        words = [(SHOULD, self._group(group)) for group in parsed.should]
        # What is found only without its ending counts half.
        stems = (self._group((stem,)) for group in parsed.should for stem in _stems(group))
        words += [(SHOULD, Q.boost_query(stem, 0.5)) for stem in stems]
        if not parsed.must:
            names = dict.fromkeys(key for name in parsed.names for key in _sounds(name))
            heard = (self._group((key,)) for key in list(names)[:_MAX_SOUNDS])
            words += [(SHOULD, Q.boost_query(name, _HEARD)) for name in heard]
        # Where something must occur, the other words only rank. Terms that stand alone in one
        # flat list are the case in which tantivy skips what cannot be among the best.
        if not constraints and not self._bounded:
            return words
        return [(SHOULD if parsed.must else MUST, Q.boolean_query(words)), *constraints]

    def _constraints(self) -> list[tuple[Any, Any]]:
        must = [(MUST, self._group(group)) for group in self._parsed.must]
        if self._query.beside:
            any_of = [(SHOULD, self._group((beside_mark(key),))) for key in self._query.beside]
            must.append((MUST, Q.const_score_query(Q.boolean_query(any_of), 0.0)))
        return must + [(NOT, self._group(group)) for group in self._parsed.must_not]

    def _group(self, group: Sequence[str]) -> Any:
        if len(group) > 1:
            return Q.phrase_query(self._schema, "body", list(group))
        term = group[0]
        if is_tag(term):
            return Q.term_query(self._schema, "tag", term)
        body = Q.term_query(self._schema, "body", term, "freq")
        if is_paired(term):
            # A single character of a script in pairs: it begins a pair wherever it stands.
            pairs = Q.regex_query(self._schema, "body", f"{term}.")
            return Q.boolean_query([(SHOULD, body), (SHOULD, pairs)])
        return body

    def _any_of(self, name: str, values: Sequence[str]) -> Any:
        terms = [f"{name}={value}".encode("utf-8", "replace").decode() for value in values]
        # Not a term set: that one collects every document before the first is looked at.
        each = [Q.term_query(self._schema, "filter", term, "basic") for term in terms]
        return Q.const_score_query(Q.boolean_query([(SHOULD, one) for one in each]), 0.0)

    def _range(self, field: str, low: int | None, high: int | None) -> Any:
        if low is None and high is None:
            return Q.const_score_query(Q.all_query(), 0.0)
        bounds = Q.range_query(self._schema, field, _INTEGER, lower_bound=low, upper_bound=high)
        return Q.const_score_query(bounds, 0.0)

    # -- meaning ---------------------------------------------------------------
    def _meaning(self, lexicon: Lexicon | None) -> _Floats | None:
        """The query's vector; None where there is none to compare with."""
        if lexicon is None or self._by_time or not self._parsed.words:
            return None
        vectors = lexicon.vectors([self._parsed.words])
        return vectors[0] if vectors is not None and vectors.any() else None

    def _by_meaning(self, vector: _Floats, want: int) -> tuple[_Rows, bool]:
        """The closest rows, and whether there are no others worth finding."""
        alone = self._query.mode == "vector"
        constraints = self._constraints()
        passing, sample = self._passing, self._sample
        if constraints and alone:
            admitted = self._matching(constraints)
            passing, sample = (lambda rows: self._passing(rows) & admitted[rows]), sample[:0]
        rows = self._snapshot.rows
        chunks = self._shelf.chunks(rows, self._low_us, self._high_us, self._moment_us)
        close, complete = self._shelf.nearest(vector, chunks, passing, sample, self._each, want)
        if not alone:
            similar = self._shelf.similarity(close, vector) >= _LEAST_COSINE
            complete = complete or not similar.all()
            close = close[similar]
            if constraints and len(close):
                ordinals = Q.term_set_query(self._schema, "ord", close.tolist())
                both = _all_of(_query(constraints), Q.const_score_query(ordinals, 0.0))
                close, _ = self._found(both, len(close), by_time=False)
        return close, complete

    def _matching(self, clauses: list[tuple[Any, Any]]) -> NDArray[np.bool_]:
        """Every row that satisfies these clauses."""
        everything = max(self._snapshot.searcher.num_docs, 1)
        rows, _ = self._found(_query(clauses), everything, by_time=False)
        mask = np.zeros(self._snapshot.rows, bool)
        mask[rows[rows < len(mask)]] = True
        return mask

    def _passing(self, rows: slice | _Rows) -> NDArray[np.bool_]:
        """Which of the rows were alive then and pass the filters."""
        return self._admitted(rows, self._within(rows))

    def _within(self, rows: slice | _Rows) -> NDArray[np.bool_]:
        """Which of the rows were alive then and lie within the bounds."""
        shelf = self._shelf
        mask = shelf.alive(rows, self._moment_us)
        if self._low_us is not None:
            mask &= shelf.time.at(rows) >= self._low_us
        if self._high_us is not None:
            mask &= shelf.time.at(rows) < self._high_us
        return mask

    def _admitted(self, rows: slice | _Rows, within: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Of those within the bounds, which have what the filters ask for."""
        mask = within.copy()
        for name, values in self._wanted.items():
            if values:
                mask &= self._shelf.admits(name, values, rows)
        if self._unwanted_hosts:
            mask &= ~self._shelf.admits("domain", self._unwanted_hosts, rows)
        return mask

    # -- order -----------------------------------------------------------------
    def _ordered(self, rows: _Rows, lexical: _Floats) -> list[Hit]:
        if not len(rows):
            return []
        shelf, query = self._shelf, self._query
        times, seqs = shelf.time.rows[rows], shelf.seq.rows[rows]
        vector = np.zeros(len(rows), np.float32)
        if self._vector is not None:
            vector = shelf.similarity(rows, self._vector)
        now_us = self._moment_us if self._moment_us is not None else self._snapshot.newest_us
        ages_s = np.maximum(now_us - times, 0) / 1e6
        recency = np.exp2(-ages_s / max(query.half_life_s, 1e-6))
        match = lexical / (lexical.max() or 1.0) + _VECTOR_WEIGHT * np.maximum(vector, 0)
        scores = (1 - query.recency) * match + query.recency * recency
        # Ties are broken by time, then by number: equal indexes order equally.
        ties = (-seqs, -times)
        groups = self._groups(rows, np.lexsort(ties if self._by_time else (*ties, -scores)))
        if self._by_time:
            # A story is as new as its origin, however often it is repeated now.
            groups.sort(key=lambda g: (-int(shelf.time.rows[g.origin]), -g.origin))
        return [
            Hit(
                seq=int(shelf.seq.rows[origin]),
                key=shelf.key(origin),
                score=float(scores[at]),
                lexical=float(lexical[at]),
                vector=float(vector[at]),
                recency=float(recency[at]),
                time=from_us(int(shelf.time.rows[origin])),
                copies=copies,
            )
            for origin, at, copies in groups[: query.limit]
        ]

    def _groups(self, rows: _Rows, order: _Rows) -> list[_Group]:
        """The candidates in order, near copies behind the earliest of them."""
        if not self._query.fold:
            return [_Group(int(rows[at]), int(at), ()) for at in order]
        shelf, limit = self._shelf, self._query.limit
        # By time, a group's place shows only when its origin is known: all come into question.
        window = max(60, 3 * limit) if self._by_time else _FOLDED
        top = rows[order[:window]]
        signatures = shelf.signature.rows[top]
        folded = np.zeros(len(top), bool)
        groups: list[_Group] = []
        for place, at in enumerate(order):
            if not self._by_time and len(groups) >= limit:
                break
            if place >= len(top):
                groups.append(_Group(int(rows[at]), int(at), ()))
                continue
            if place % _COMPARED == 0:
                same_as = near.copies(signatures[place : place + _COMPARED], signatures)
            if folded[place]:
                continue
            same = same_as[place % _COMPARED] & ~folded
            same[place] = True
            folded |= same
            members = top[same]
            if len(members) == 1:
                groups.append(_Group(int(rows[at]), int(at), ()))
                continue
            first = np.lexsort((members, shelf.start.rows[members], shelf.time.rows[members]))
            seqs = shelf.seq.rows[members[first]].tolist()
            groups.append(_Group(int(members[first[0]]), int(at), tuple(seqs[1:])))
        return groups


def _sounds(name: str) -> list[str]:
    """The terms under which a name stands in other scripts."""
    return [*sounds.of_name(name), *sounds.latin(name)]


def _stems(group: Sequence[str]) -> list[str]:
    """Of a bare word, the stems by which documents in other languages are found."""
    return inflect.of_query(group[0]) if len(group) == 1 and not is_tag(group[0]) else []


def _all_of(*parts: Any) -> Any:
    return Q.boolean_query([(MUST, part) for part in parts])


def _query(clauses: list[tuple[Any, Any]]) -> Any:
    if all(occur == NOT for occur, _ in clauses):
        clauses = [*clauses, (MUST, Q.const_score_query(Q.all_query(), 0.0))]
    return Q.boolean_query(clauses)
