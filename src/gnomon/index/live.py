"""The index on one machine: tantivy for words, memory-mapped columns for everything else.

Nothing is deleted on the hot path: an edit is a new document, and the old one's life ends in a
column. A search asks tantivy for candidates, keeps those alive at its moment, and goes deeper until
it has enough or there are no more; so aliveness is exact however many newer versions match.

A commit writes the columns, then tantivy, then the sequence number that all of it stands for. What
a crash leaves between two of these steps is written again by replaying the log from that number.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import orjson
import tantivy
from numpy.typing import NDArray

from gnomon.clock import is_day, to_us
from gnomon.errors import StoreError
from gnomon.index import analyze, inflect, near, sounds
from gnomon.index.base import Hit, IndexStats, Query, Results, WordVectors
from gnomon.index.files import (
    Meta,
    check_words,
    mark_damaged,
    native,
    read_meta,
    this_boot,
    write_meta,
)
from gnomon.index.lexicon import Lexicon
from gnomon.index.marks import beside, marks
from gnomon.index.search import Search, Snapshot
from gnomon.index.shelf import DROPPED, OPEN, Shelf
from gnomon.log import get_logger
from gnomon.record.base import Entry, Op
from gnomon.types import Document

DEFAULT_DIM = 256
_HEAP_BYTES = 64_000_000
_MAX_DOCUMENT_CHARS = 200_000
_MAX_NAMED_CHARS = 20_000
"""Of a text in another script, how much is read for names."""
_TRIES = 3
_NOON_US = 43_200_000_000
_LEGS = 4


class LiveIndex:
    """An `Index` in a folder. Damaged files are put aside and the index starts anew."""

    def __init__(self, path: Path) -> None:
        """Open or create. What is not there yet comes by replaying the record's log.

        Raises StoreError if another index has the folder open or it cannot be written.
        """
        self._path = path
        self._lexicon = Lexicon(None)
        self._closed = False
        self._failure: StoreError | None = None
        self._legs = ThreadPoolExecutor(_LEGS, "gnomon-search")
        self._changing = threading.Lock()
        """Held while the visible state changes, so that no search mixes two of them."""
        aside = path.with_name(f"{path.name}.damaged")
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(path)
            try:
                with native():
                    self._open(DEFAULT_DIM)
                shutil.rmtree(aside, ignore_errors=True)
            except (ValueError, LookupError, StoreError) as error:
                get_logger().error("index.damaged", reason=str(error), aside=str(aside))
                shutil.rmtree(aside, ignore_errors=True)
                path.rename(aside)
                path.mkdir()
                os.close(self._lock)
                self._lock = _locked(path)
                self._open(DEFAULT_DIM)
        except OSError as error:
            raise _unwritable(path, error) from error

    # -- opening ---------------------------------------------------------------
    def _open(self, dim: int) -> None:
        words = self._path / "words"
        new = not words.exists()
        self._meta = Meta(dim=dim, boot=this_boot()) if new else read_meta(self._path)
        words.mkdir(exist_ok=True)
        check_words(words)
        self._schema = _schema()
        self._tantivy = tantivy.Index(self._schema, str(words))
        self._tantivy.register_tokenizer(
            "spaced", tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace()).build()
        )
        self._tantivy.config_reader("manual")  # else a thread of its own reloads it as well
        self._writer = self._tantivy.writer(_HEAP_BYTES, 1)
        self._shelf = Shelf(self._path / "columns", self._meta.dim)
        self._tantivy.reload()
        searcher = self._tantivy.searcher()
        last = searcher.search(tantivy.Query.all_query(), 1, count=False, order_by_field="ord").hits
        self._shelf.open(max(int(last[0][0]) + 1 if last else 0, self._meta.rows))
        if searcher.num_docs < np.count_nonzero(
            self._shelf.start.rows[: self._meta.rows] != DROPPED
        ):
            self._shelf.release()
            raise StoreError("The words of some rows are missing.")
        self._seen_seq = self._meta.applied_seq
        self._ends: list[tuple[int, int]] = []
        self._newest_us = self._latest_start()
        self._publish()
        self._meta.clean = False
        write_meta(self._path, self._meta)

    def _latest_start(self) -> int:
        starts = self._shelf.start.rows[: self._shelf.rows]
        return int(starts.max(initial=0, where=starts != DROPPED))

    def _publish(self) -> None:
        """Let searches see everything up to `_seen_seq`; the caller holds `_changing`."""
        self._tantivy.reload()
        # After a crash there may be rows whose entries are yet to be replayed.
        rows = int(
            np.searchsorted(self._shelf.seq.rows[: self._shelf.rows], self._seen_seq, "right")
        )
        searcher = self._tantivy.searcher()
        self._snapshot = Snapshot(searcher, rows, self._seen_seq, self._newest_us)

    # -- writing ---------------------------------------------------------------
    def apply(self, entries: Sequence[Entry]) -> None:
        """See `Index.apply`."""
        self._usable()
        try:
            with native():
                self._apply(entries)
        except (ValueError, OSError) as error:
            raise self._failed(error) from error

    def _apply(self, entries: Sequence[Entry]) -> None:
        puts: list[tuple[Entry, Document]] = []
        for entry in entries:
            if entry.seq <= self._seen_seq:
                continue
            self._seen_seq = entry.seq
            if entry.op is Op.DROP:
                self._put(puts)
                puts = []
                self._drop(entry.dropped)
            elif entry.op in (Op.PUT, Op.END):
                if entry.prev_seq is not None:
                    self._ends.append((entry.prev_seq, entry.start_us))
                if entry.document is not None and entry.document.policy.index:
                    puts.append((entry, entry.document))
        self._put(puts)

    def _put(self, puts: Sequence[tuple[Entry, Document]]) -> None:
        first = self._shelf.rows
        if first and puts and puts[0][0].seq <= self._shelf.seq.rows[first - 1]:
            # Committed just before a crash that the sequence number did not survive.
            known = int(self._shelf.seq.rows[first - 1])
            puts = [put for put in puts if put[0].seq > known]
        if not puts:
            return
        if self._lexicon.source is None:
            self._meta.vectors = ""  # these rows get none: a table that comes later starts anew
        documents = [document for _, document in puts]
        texts = [analyze.words(f"{d.title}\n{d.text}"[:_MAX_DOCUMENT_CHARS]) for d in documents]
        analysed = self._lexicon.analyse(texts)
        marked = [marks(document) for document in documents]
        times = [_time_us(document, entry.start_us) for entry, document in puts]
        for i, (entry, document) in enumerate(puts):
            row: dict[str, Any] = {
                "ord": first + i,
                "time": times[i],
                "start": entry.start_us,
                "body": analysed.terms[i],
                "filter": marked[i].terms,
            }
            if analysed.tags[i]:
                row["tag"] = analysed.tags[i]
            if document.title:
                # A title counts twice.
                title = [t for word in analyze.words(document.title) for t in analyze.terms(word)]
                row["body"] = " ".join((*title, analysed.terms[i]))
            if stems := inflect.of_text(texts[i], document.lang):
                row["body"] = " ".join((row["body"], inflect.APART, *stems))
            if names := sounds.of_text(f"{document.title}\n{document.text}"[:_MAX_NAMED_CHARS]):
                row["body"] = " ".join((row["body"], inflect.APART, *names))
            if threads := beside(document):
                row["body"] = " ".join((row["body"], inflect.APART, *threads))
            self._writer.add_json(orjson.dumps(row).decode())
        starts = [entry.start_us for entry, _ in puts]
        self._shelf.append(
            seqs=[entry.seq for entry, _ in puts],
            starts=starts,
            untils=[OPEN if entry.until_us is None else entry.until_us for entry, _ in puts],
            times=times,
            keys=[document.key for document in documents],
            attributes=[mark.values for mark in marked],
            signatures=near.signatures(analysed.marks, analysed.lengths),
            vectors=analysed.vectors,
        )
        self._newest_us = max(self._newest_us, *starts)

    def _drop(self, seqs: Sequence[int]) -> None:
        """Gone from every search at once; from tantivy's files with the next commit and merge."""
        rows = self._shelf.rows_of(seqs)
        for row in rows:
            self._writer.delete_documents_by_term("ord", int(row))
        with self._changing:
            self._shelf.erase(rows)
            self._newest_us = self._latest_start()
            self._snapshot = msgspec.structs.replace(self._snapshot, newest_us=self._newest_us)

    def commit(self) -> None:
        """See `Index.commit`."""
        self._usable()
        if self._seen_seq == self._snapshot.applied_seq:
            return
        try:
            self._shelf.sync()
            with native():
                self._writer.commit()
            with self._changing:
                self._end_lives()
                self._publish()
            self._meta.applied_seq, self._meta.rows = self._seen_seq, self._shelf.rows
            write_meta(self._path, self._meta)
        except (ValueError, OSError) as error:
            raise self._failed(error) from error

    def _end_lives(self) -> None:
        ended = dict(self._ends)  # the last end of a version counts
        self._ends.clear()
        if not ended:
            return
        rows = self._shelf.rows_of(list(ended))
        rows = rows[self._shelf.start.rows[rows] != DROPPED]
        self._shelf.until.rows[rows] = [ended[int(seq)] for seq in self._shelf.seq.rows[rows]]

    def _usable(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _failed(self, error: BaseException) -> StoreError:
        """What was not committed is lost to this object: only opening anew is safe from here."""
        self._failure = _unwritable(self._path, error)
        return self._failure

    @property
    def applied_seq(self) -> int:
        """See `Index.applied_seq`."""
        return self._snapshot.applied_seq

    # -- meaning ---------------------------------------------------------------
    def set_vectors(self, vectors: WordVectors | None) -> None:
        """See `Index.set_vectors`. With another table the index starts anew, from number 0."""
        self._lexicon = Lexicon(vectors)
        if vectors is None or vectors.name == self._meta.vectors:
            return
        if self._shelf.rows or vectors.dim != self._meta.dim:
            get_logger().info("index.rebuild", reason="other word vectors", vectors=vectors.name)
            self._writer.wait_merging_threads()
            self._shelf.close()
            shutil.rmtree(self._path / "words")
            shutil.rmtree(self._path / "columns")
            self._open(vectors.dim)
        self._meta.vectors = vectors.name
        write_meta(self._path, self._meta)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32] | None:
        """See `Index.embed`."""
        return self._lexicon.vectors([analyze.words(text) for text in texts])

    # -- searching -------------------------------------------------------------
    def search(self, query: Query) -> Results:
        """See `Index.search`. Raises StoreError if the files turn out to be damaged."""
        began_s = time.perf_counter()
        lexicon = self._lexicon
        meaning = query.mode != "lexical" and lexicon.source is not None
        parsed = analyze.parse(query.text)
        try:
            hits, snapshot = self._consistent(query, parsed, lexicon if meaning else None)
        except StoreError:
            mark_damaged(self._path)
            raise
        return Results(
            hits=tuple(hits),
            applied_seq=snapshot.applied_seq,
            took_ms=(time.perf_counter() - began_s) * 1000,
            vectors=meaning,
        )

    def _consistent(
        self, query: Query, parsed: analyze.Parsed, lexicon: Lexicon | None
    ) -> tuple[list[Hit], Snapshot]:
        """Search until nothing became visible meanwhile; in the end, hold it off."""

        def hits(snapshot: Snapshot) -> list[Hit]:
            if not snapshot.rows or query.limit <= 0:
                return []
            search = Search(self._shelf, snapshot, query, parsed, self._schema, lexicon, self._legs)
            return search.hits()

        for _ in range(_TRIES):
            with self._changing:
                snapshot = self._snapshot
            found = hits(snapshot)
            with self._changing:
                if snapshot is self._snapshot:
                    return found, snapshot
        with self._changing:
            return hits(self._snapshot), self._snapshot

    def highlight(self, text: str, query: str) -> list[tuple[int, int]]:
        """See `Index.highlight`."""
        return analyze.highlight(text, query)

    def stats(self) -> IndexStats:
        """See `Index.stats`."""
        snapshot = self._snapshot
        rows = slice(0, snapshot.rows)
        words = [entry for entry in os.scandir(self._path / "words") if entry.is_file()]
        return IndexStats(
            documents=int(self._shelf.alive(rows, None).sum()),
            versions=int((self._shelf.start.rows[rows] != DROPPED).sum()),
            applied_seq=snapshot.applied_seq,
            committed_seq=snapshot.applied_seq,
            body_bytes=sum(_size(entry) for entry in words) + self._shelf.body_bytes,
            vectors=self._lexicon.source.name if self._lexicon.source else "",
        )

    def close(self) -> None:
        """See `Index.close`."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._failure is None:
                self.commit()
                self._meta.clean = True
            self._writer.wait_merging_threads()
            self._shelf.close()
            write_meta(self._path, self._meta)
        finally:
            self._legs.shutdown()
            os.close(self._lock)


def _schema() -> Any:
    builder = tantivy.SchemaBuilder()
    builder.add_integer_field("ord", fast=True, indexed=True)
    builder.add_integer_field("time", fast=True, indexed=True)
    builder.add_integer_field("start", fast=True, indexed=True)
    builder.add_text_field("body", tokenizer_name="spaced", index_option="position")
    builder.add_text_field("tag", tokenizer_name="raw", index_option="basic")
    builder.add_text_field("filter", tokenizer_name="raw", index_option="basic")
    return builder.build()


def _time_us(document: Document, start_us: int) -> int:
    """When it was published, else observed; a claim from the future counts as observed.

    Where only a day is told it is its noon, unless we saw it earlier: not before all else that day.
    """
    if document.published_at is None:
        return start_us
    claimed_us = to_us(document.published_at)
    return min(claimed_us + _NOON_US * is_day(document.published_at), start_us)


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except FileNotFoundError:  # merged away meanwhile
        return 0


def _locked(path: Path) -> int:
    lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise StoreError(
            f"The index in {path} is open elsewhere.",
            code="index.in_use",
            hint="Close the process that has it open.",
        ) from None
    return lock


def _unwritable(path: Path, error: BaseException) -> StoreError:
    return StoreError(
        f"The index in {path} cannot be written: {error}.",
        code="index.io",
        hint="Look at the disk, then restart: what is missing comes from the record.",
    )
