"""One search: candidates from words and vectors, alive at the moment, fused, folded, ordered."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import msgspec
import numpy as np
import tantivy
from numpy.typing import NDArray

from gnomon.clock import from_us, to_us
from gnomon.index import near
from gnomon.index.analyze import Parsed
from gnomon.index.base import Hit, Query
from gnomon.index.lexicon import Lexicon
from gnomon.index.shelf import Shelf

_CANDIDATES = 200
_VECTOR_WEIGHT = 0.8
_LEAST_COSINE = 0.35
"""A document that shares no word with the query must be at least this similar."""
_TITLE_BOOST = 0.5
_FOLDED = 300
"""Candidates that are compared with each other as near copies."""

Q = tantivy.Query
MUST, SHOULD, NOT = tantivy.Occur.Must, tantivy.Occur.Should, tantivy.Occur.MustNot


class Snapshot(msgspec.Struct, frozen=True):
    """What searches see: replaced as a whole by each commit."""

    searcher: Any
    rows: int
    applied_seq: int
    newest_us: int


@lru_cache(maxsize=65_536)
def domain(url: str) -> str:
    """The host name of an address, lower case, without `www.`; empty if there is none."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return ""
    return host.lower().removeprefix("www.")


@lru_cache(maxsize=65_536)
def author_mark(author: str) -> str:
    """What stands for an author in filters: the name itself is not kept."""
    folded = author.strip().lstrip("@").casefold()
    if not folded:
        return ""
    raw = folded.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(raw, digest_size=8, person=b"gnomon-author").hexdigest()


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
    ) -> None:
        self._shelf = shelf
        self._snapshot = snapshot
        self._query = query
        self._parsed = parsed
        self._schema = schema
        self._lexicon = lexicon
        self._moment_us = to_us(query.as_of) if query.as_of is not None else None
        self._wanted = {
            "source": query.sources,
            "kind": query.kinds,
            "lang": query.langs,
            "author": tuple(author_mark(author) for author in query.authors),
            "domain": tuple(d.lower().removeprefix("www.") for d in query.domains),
        }

    def hits(self) -> list[Hit]:
        """The best hits, folded, at most `limit`."""
        query = self._query
        by_time = query.newest_first or self._parsed.empty
        want = max(_CANDIDATES, 2 * query.limit)
        hits: list[Hit] = []
        for rows, lexical in self._lexical(by_time, want):
            vector = np.zeros(len(rows), np.float32)
            if not by_time:
                rows, lexical, vector = self._with_vectors(rows, lexical)
            hits = self._ordered(rows, lexical, vector, by_time)
            if len(hits) >= query.limit:
                break
        return hits[: query.limit]

    # -- words -----------------------------------------------------------------
    def _lexical(
        self, by_time: bool, want: int
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """(rows, scores) of what matches and was alive then; each time more, until all."""
        if self._query.mode == "vector" and not by_time:
            yield np.zeros(0, np.int64), np.zeros(0, np.float32)
            return
        words = self._words()
        limit = want
        while True:
            order = {"order_by_field": "time"} if by_time else {}
            found = self._snapshot.searcher.search(words, limit, count=False, **order).hits
            addresses = [address for _, address in found]
            values = self._snapshot.searcher.fast_field_values("ord", addresses) if found else []
            rows = np.asarray(values, np.int64)
            scores = np.asarray([0.0 if by_time else score for score, _ in found], np.float32)
            inside = rows < self._snapshot.rows
            rows, scores = rows[inside], scores[inside]
            alive = self._shelf.alive(rows, self._moment_us)
            rows, scores = rows[alive], scores[alive]
            exhausted = len(found) < limit
            if exhausted or len(rows) >= want:
                yield rows, scores
                want *= 4
            if exhausted:
                return
            limit *= 4

    def _words(self) -> Any:
        """The tantivy query: phrases and words, filters, bounds."""
        parsed, clauses = self._parsed, []
        if parsed.should:
            terms = [(SHOULD, self._group(group)) for group in parsed.should]
            # Where something must occur, the other words only rank.
            clauses.append((SHOULD if parsed.must else MUST, Q.boolean_query(terms)))
        clauses += [(MUST, self._group(group)) for group in parsed.must]
        clauses += [(NOT, self._group(group)) for group in parsed.must_not]
        for name, values in self._wanted.items():
            if values:
                clauses.append((MUST, self._any_of(name, values)))
        if self._query.not_domains:
            hosts = [d.lower().removeprefix("www.") for d in self._query.not_domains]
            clauses.append((NOT, self._any_of("domain", hosts)))
        low, high = self._bounds()
        if low is not None or high is not None:
            clauses.append((MUST, self._range("time", low, None if high is None else high - 1)))
        if self._moment_us is not None:
            clauses.append((MUST, self._range("start", None, self._moment_us)))
        if all(occur == NOT for occur, _ in clauses):
            clauses.append((MUST, Q.const_score_query(Q.all_query(), 0.0)))
        return Q.boolean_query(clauses)

    def _group(self, group: Sequence[str]) -> Any:
        if len(group) > 1:
            return Q.phrase_query(self._schema, "body", list(group))
        body = Q.term_query(self._schema, "body", group[0], "freq")
        title = Q.boost_query(Q.term_query(self._schema, "title", group[0], "freq"), _TITLE_BOOST)
        return Q.boolean_query([(SHOULD, body), (SHOULD, title)])

    def _any_of(self, name: str, values: Sequence[str]) -> Any:
        values = [f"{name}={value}" for value in values]
        return Q.const_score_query(Q.term_set_query(self._schema, "filter", values), 0.0)

    def _range(self, field: str, low: int | None, high: int | None) -> Any:
        kind = tantivy.FieldType.Integer
        return Q.const_score_query(
            Q.range_query(self._schema, field, kind, lower_bound=low, upper_bound=high), 0.0
        )

    def _bounds(self) -> tuple[int | None, int | None]:
        since, until = self._query.since, self._query.until
        return (
            None if since is None else to_us(since),
            None if until is None else to_us(until),
        )

    # -- vectors ---------------------------------------------------------------
    def _with_vectors(
        self, rows: NDArray[np.int64], lexical: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
        """Rows by words, joined by rows by meaning, with the similarity of each."""
        nothing = np.zeros(len(rows), np.float32)
        if self._lexicon is None or not self._parsed.words:
            return rows, lexical, nothing
        vectors = self._lexicon.vectors([self._parsed.words])
        if vectors is None or not vectors.any():
            return rows, lexical, nothing
        vector = vectors[0]
        if not (self._parsed.must or self._parsed.must_not):
            close = self._shelf.nearest(vector, self._admitted(), _CANDIDATES)
            close = close[self._shelf.similarity(close, vector) >= self._least()]
            new = close[~np.isin(close, rows)]
            rows = np.concatenate((rows, new))
            lexical = np.concatenate((lexical, np.zeros(len(new), np.float32)))
        return rows, lexical, self._shelf.similarity(rows, vector)

    def _least(self) -> float:
        return 0.0 if self._query.mode == "vector" else _LEAST_COSINE

    def _admitted(self) -> NDArray[np.bool_]:
        """Every row that was alive then and passes the filters."""
        count = self._snapshot.rows
        rows = slice(0, count)
        mask = self._shelf.alive(rows, self._moment_us)
        for name, values in self._wanted.items():
            if values:
                mask &= self._shelf.admits(name, values, count)
        if self._query.not_domains:
            hosts = [d.lower().removeprefix("www.") for d in self._query.not_domains]
            mask &= ~self._shelf.admits("domain", hosts, count)
        low, high = self._bounds()
        times = self._shelf.time.rows[rows]
        if low is not None:
            mask &= times >= low
        if high is not None:
            mask &= times < high
        return mask

    # -- order -----------------------------------------------------------------
    def _ordered(
        self,
        rows: NDArray[np.int64],
        lexical: NDArray[np.float32],
        vector: NDArray[np.float32],
        by_time: bool,
    ) -> list[Hit]:
        if not len(rows):
            return []
        query = self._query
        times = self._shelf.time.rows[rows]
        now_us = self._moment_us if self._moment_us is not None else self._snapshot.newest_us
        ages_s = np.maximum(now_us - times, 0) / 1e6
        recency = np.exp2(-ages_s / max(query.half_life_s, 1e-6))
        best = lexical.max() or 1.0
        match = lexical / best + _VECTOR_WEIGHT * np.maximum(vector, 0)
        scores = (1 - query.recency) * match + query.recency * recency
        # Ties are broken by time, then by number: equal indexes order equally.
        keys = (-self._shelf.seq.rows[rows], -times, -times.astype(float) if by_time else -scores)
        order = np.lexsort(keys)
        folded = np.zeros(len(order), bool)
        hits: list[Hit] = []
        for place, at in enumerate(order):
            if folded[place]:
                continue
            row, members = int(rows[at]), np.zeros(0, np.int64)
            if query.fold and place < _FOLDED:
                row, members = self._folded(rows[order[:_FOLDED]], place, folded)
            hits.append(
                Hit(
                    seq=int(self._shelf.seq.rows[row]),
                    key=self._shelf.key(row),
                    score=float(scores[at]),
                    lexical=float(lexical[at]),
                    vector=float(vector[at]),
                    recency=float(recency[at]),
                    time=from_us(int(self._shelf.time.rows[row])),
                    copies=tuple(int(self._shelf.seq.rows[m]) for m in members),
                )
            )
            if len(hits) >= query.limit:
                break
        return hits

    def _folded(
        self, top: NDArray[np.int64], place: int, folded: NDArray[np.bool_]
    ) -> tuple[int, NDArray[np.int64]]:
        """(origin, copies) of the text at a place of the ranking; marks all of them as folded."""
        signature = self._shelf.signature.rows[top]
        same = near.copies(signature[place], signature) & ~folded[: len(top)]
        same[place] = True
        folded[: len(top)] |= same
        members = top[same]
        starts, times = self._shelf.start.rows[members], self._shelf.time.rows[members]
        first = np.lexsort((members, starts, times))[0]
        return int(members[first]), np.delete(members, first)
