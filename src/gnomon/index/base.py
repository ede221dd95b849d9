"""What every index promises; `tests/contract/index.py` holds any implementation to it.

The index is derived from the record: it applies log entries in order of `seq`, remembers the
last one that is durable in it, and can be thrown away and rebuilt at any time with the same
results. A query as of T sees exactly the versions alive at T; one without T, those alive now.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from gnomon.record.base import Entry

Mode = Literal["hybrid", "lexical", "vector"]


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """What to find. Empty filters do not filter; several values in one filter are alternatives.

    `text` is what a person typed: bare words are optional and ranked, `"a phrase"` and `+word`
    must occur, `-word` and `-"a phrase"` must not. It never fails to parse. An empty text
    finds everything that the filters admit, newest first.
    """

    text: str = ""
    limit: int = 10
    mode: Mode = "hybrid"
    as_of: datetime | None = None
    since: datetime | None = None
    """Lower bound, inclusive, on a document's time: published, else observed."""
    until: datetime | None = None
    """Upper bound, exclusive, likewise."""
    sources: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    langs: tuple[str, ...] = ()
    authors: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    """Host names; `example.org` also admits its subdomains."""
    not_domains: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    """Keys: only versions that answer or quote one of these documents."""
    recency: float = 0.3
    """Weight of newness in ranking: 0 ignores it, 1 lets it dominate."""
    half_life_s: float = 3 * 86_400.0
    """Age at which the recency bonus has halved."""
    newest_first: bool = False
    """Order by time instead of by score."""
    fold: bool = True
    """Fold near copies into the earliest of them that is visible."""


class Hit(msgspec.Struct, frozen=True, kw_only=True):
    """One visible version. Higher `score` is better; scores compare within one result only."""

    seq: int
    key: str
    score: float
    lexical: float = 0.0
    vector: float = 0.0
    recency: float = 0.0
    time: datetime
    """Published, else observed."""
    copies: tuple[int, ...] = ()
    """Sequence numbers of the near copies folded into this one, without itself."""


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """Hits, best first, and what the index knew."""

    hits: tuple[Hit, ...]
    applied_seq: int
    """The record's sequence number up to which this search saw everything."""
    took_ms: float
    vectors: bool
    """False if the semantic leg was asked for but not available."""


class IndexStats(msgspec.Struct, frozen=True, kw_only=True):
    """Counts and sizes."""

    documents: int
    """Versions alive now."""
    versions: int
    applied_seq: int
    committed_seq: int
    body_bytes: int
    vectors: str
    """Identity of the word vectors, empty if none."""


class WordVectors(Protocol):
    """A static embedding: one vector per word. A text's vector is the sum of its words'."""

    @property
    def name(self) -> str:
        """Identity of the table; another name makes the index rebuild its vectors."""
        ...

    @property
    def dim(self) -> int:
        """Components of a vector."""
        ...

    def vectors(self, words: Sequence[str]) -> NDArray[np.float32]:
        """Weighted vectors, shape (len(words), dim); a zero row for a word without meaning."""
        ...


class Index(Protocol):
    """Search over the record. `apply` and `commit` belong to one writer; searches to any thread."""

    def apply(self, entries: Sequence[Entry]) -> None:
        """Take in log entries, in order. Entries at or below `applied_seq` are skipped.

        They are visible after the next `commit`.
        """
        ...

    def commit(self) -> None:
        """Make everything applied visible and durable."""
        ...

    @property
    def applied_seq(self) -> int:
        """Sequence number of the last entry that is visible and durable."""
        ...

    def search(self, query: Query) -> Results:
        """Find versions. Never raises for what a person typed."""
        ...

    def highlight(self, text: str, query: str) -> list[tuple[int, int]]:
        """Spans of `text` that match words or phrases of `query`, in order, not overlapping."""
        ...

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32] | None:
        """Unit vectors as the index computes them, shape (n, dim); None without word vectors."""
        ...

    def set_vectors(self, vectors: WordVectors | None) -> None:
        """Use this table from now on; what was indexed with another one is embedded anew."""
        ...

    def stats(self) -> IndexStats:
        """Counts and sizes."""
        ...

    def close(self) -> None:
        """Commit and release files. Idempotent."""
        ...
