"""The index on one machine: tantivy for words, memory-mapped columns for everything else.

Nothing is deleted on the hot path: an edit is a new document, and the old one's life ends in a
column. A search asks tantivy for candidates, keeps those alive at its moment, and goes deeper until
it has enough or there are no more; so aliveness is exact however many newer versions match.

A commit first writes the columns, then commits tantivy, whose highest ordinal is the truth after a
crash: rows behind it are forgotten and the record's log is replayed from the last row's number.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import orjson
import tantivy
from numpy.typing import NDArray

from gnomon.clock import to_us
from gnomon.errors import StoreError
from gnomon.index import analyze, near
from gnomon.index.base import Hit, IndexStats, Query, Results, WordVectors
from gnomon.index.lexicon import Lexicon
from gnomon.index.search import Search, Snapshot, author_mark, domain
from gnomon.index.shelf import DROPPED, OPEN, Shelf
from gnomon.log import get_logger
from gnomon.record.base import Entry, Op
from gnomon.types import Document

FORMAT = 1
DEFAULT_DIM = 256
_HEAP_BYTES = 64_000_000
_MAX_DOCUMENT_CHARS = 200_000


class _Meta(msgspec.Struct):
    format: int = FORMAT
    dim: int = DEFAULT_DIM
    applied_seq: int = 0
    vectors: str = ""
    boot: str = ""
    clean: bool = True


class LiveIndex:
    """An `Index` in a folder. Damaged files are put aside and the index starts anew."""

    def __init__(self, path: Path) -> None:
        """Open or create. What is not there yet comes by replaying the record's log."""
        self._path = path
        self._lexicon = Lexicon(None)
        self._closed = False
        try:
            self._open()
        except (ValueError, OSError, msgspec.DecodeError, StoreError) as error:
            aside = path.with_name(f"{path.name}.damaged")
            get_logger().error("index.damaged", path=str(path), reason=str(error), aside=str(aside))
            shutil.rmtree(aside, ignore_errors=True)
            with contextlib.suppress(OSError):
                path.rename(aside)
            shutil.rmtree(path, ignore_errors=True)
            self._open()

    # -- opening ---------------------------------------------------------------
    def _open(self, dim: int = DEFAULT_DIM) -> None:
        words = self._path / "words"
        words.mkdir(parents=True, exist_ok=True)
        self._meta = self._read_meta(dim)
        self._schema = _schema()
        self._tantivy = tantivy.Index(self._schema, str(words))
        self._tantivy.register_tokenizer(
            "spaced", tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace()).build()
        )
        self._writer = self._tantivy.writer(_HEAP_BYTES, 1)
        self._shelf = Shelf(self._path / "columns", self._meta.dim)
        self._tantivy.reload()
        searcher = self._tantivy.searcher()
        last = searcher.search(tantivy.Query.all_query(), 1, count=False, order_by_field="ord").hits
        rows = int(last[0][0]) + 1 if last else 0
        if rows > len(self._shelf.seq.rows):
            raise StoreError("The columns are shorter than the index.", code="index.damaged")
        self._shelf.truncate(rows)
        seqs = self._shelf.seq.rows[:rows]
        if rows and (np.diff(seqs) <= 0).any():
            raise StoreError("The columns are out of order.", code="index.damaged")
        # A crash may have come between tantivy's commit and the ends of lives: those entries are
        # applied once more, but what has a row already gets no second one.
        self._last_row_seq = int(seqs[-1]) if rows else 0
        applied = self._meta.applied_seq
        self._seen_seq = applied
        self._ends: list[tuple[int, int]] = []
        self._publish(applied)
        self._meta.clean = False
        self._write_meta()

    def _read_meta(self, dim: int) -> _Meta:
        path = self._path / "meta.json"
        if not path.exists():
            return _Meta(dim=dim, boot=_boot())
        meta = msgspec.json.decode(path.read_bytes(), type=_Meta)
        if meta.format != FORMAT:
            raise StoreError(f"Its format is {meta.format}, not {FORMAT}.", code="index.format")
        if not meta.clean and meta.boot != _boot():
            # Columns are not forced to disk at each commit: after a power cut start anew.
            raise StoreError("The machine stopped while it was open.", code="index.torn")
        meta.boot = _boot()
        return meta

    def _write_meta(self) -> None:
        fresh = self._path / "meta.new"
        fresh.write_bytes(msgspec.json.encode(self._meta))
        fresh.replace(self._path / "meta.json")

    def _publish(self, applied_seq: int) -> None:
        self._tantivy.reload()
        rows = self._shelf.rows
        newest = self._shelf.start.rows[:rows]
        newest = newest[newest != DROPPED]
        self._snapshot = Snapshot(
            self._tantivy.searcher(), rows, applied_seq, int(newest.max()) if len(newest) else 0
        )

    # -- writing ---------------------------------------------------------------
    def apply(self, entries: Sequence[Entry]) -> None:
        """See `Index.apply`."""
        puts: list[Entry] = []
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
                document = entry.document
                if document and document.policy.index and entry.seq > self._last_row_seq:
                    puts.append(entry)
        self._put(puts)

    def _put(self, puts: Sequence[Entry]) -> None:
        if not puts:
            return
        documents = [entry.document for entry in puts if entry.document is not None]
        if self._lexicon.source is None:
            self._meta.vectors = ""  # these rows get none: a table that comes later starts anew
        first = self._shelf.rows
        texts = [analyze.words(f"{d.title}\n{d.text}"[:_MAX_DOCUMENT_CHARS]) for d in documents]
        analysed = self._lexicon.analyse(texts)
        attributes = [_attributes(document) for document in documents]
        times = [_time_us(d, entry.start_us) for d, entry in zip(documents, puts, strict=True)]
        for i, (entry, document) in enumerate(zip(puts, documents, strict=True)):
            row = {
                "ord": first + i,
                "time": times[i],
                "start": entry.start_us,
                "body": analysed.terms[i],
                "filter": _filters(attributes[i]),
            }
            if document.title:
                row["title"] = " ".join(analyze.terms(analyze.words(document.title)))
            self._writer.add_json(orjson.dumps(row).decode())
        self._shelf.append(
            seqs=[entry.seq for entry in puts],
            starts=[entry.start_us for entry in puts],
            untils=[OPEN if entry.until_us is None else entry.until_us for entry in puts],
            times=times,
            keys=[document.key for document in documents],
            attributes=attributes,
            signatures=near.signatures(analysed.marks),
            vectors=analysed.vectors,
        )

    def _drop(self, seqs: Sequence[int]) -> None:
        rows = self._rows_of(seqs)
        for row in rows:
            self._writer.delete_documents_by_term("ord", int(row))
        self._shelf.erase(rows)

    def _rows_of(self, seqs: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
        known = self._shelf.seq.rows[: self._shelf.rows]
        wanted = np.asarray(seqs, np.int64)
        at = np.searchsorted(known, wanted)
        inside = at < len(known)
        found = np.zeros(len(wanted), bool)
        found[inside] = known[at[inside]] == wanted[inside]
        rows: NDArray[np.int64] = at[found]
        return rows

    def commit(self) -> None:
        """See `Index.commit`."""
        if self._seen_seq == self._snapshot.applied_seq:
            return
        self._shelf.sync()
        try:
            self._writer.commit()
        except ValueError as error:
            self._writer.rollback()
            raise StoreError(
                f"The index in {self._path} cannot be written: {error}.",
                code="index.io",
                hint="Look at the disk; the index is rebuilt from the record if its folder goes.",
            ) from None
        ended = dict(self._ends)  # the last end of a version counts
        if ended:
            seqs = np.fromiter(ended, np.int64, len(ended))
            known = self._rows_of(seqs)
            moments = [ended[int(seq)] for seq in self._shelf.seq.rows[known]]
            alive = self._shelf.start.rows[known] != DROPPED
            self._shelf.until.rows[known[alive]] = np.asarray(moments, np.int64)[alive]
        self._ends.clear()
        self._publish(self._seen_seq)
        self._meta.applied_seq = self._seen_seq
        self._write_meta()

    @property
    def applied_seq(self) -> int:
        """See `Index.applied_seq`."""
        return self._snapshot.applied_seq

    def set_vectors(self, vectors: WordVectors | None) -> None:
        """See `Index.set_vectors`. With another table the index starts anew, from number 0."""
        self._lexicon = Lexicon(vectors)
        if vectors is None or vectors.name == self._meta.vectors:
            return
        if self._shelf.rows or vectors.dim != self._meta.dim:
            get_logger().info("index.rebuild", reason="other word vectors", vectors=vectors.name)
            self._writer.wait_merging_threads()
            self._shelf.close()
            shutil.rmtree(self._path)
            self._open(vectors.dim)
        self._meta.vectors = vectors.name
        self._write_meta()

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32] | None:
        """See `Index.embed`."""
        return self._lexicon.vectors([analyze.words(text) for text in texts])

    # -- searching -------------------------------------------------------------
    def search(self, query: Query) -> Results:
        """See `Index.search`."""
        began = time.perf_counter()
        snapshot = self._snapshot
        parsed = analyze.parse(query)
        hits: list[Hit] = []
        meaning = query.mode != "lexical" and self._lexicon.source is not None
        if snapshot.rows:
            hits = Search(
                self._shelf,
                snapshot,
                query,
                parsed,
                self._schema,
                self._lexicon if meaning else None,
            ).hits()
        return Results(
            hits=tuple(hits),
            applied_seq=snapshot.applied_seq,
            took_ms=(time.perf_counter() - began) * 1000,
            vectors=meaning,
        )

    def highlight(self, text: str, query: str) -> list[tuple[int, int]]:
        """See `Index.highlight`."""
        parsed = analyze.parse(Query(text=query))
        groups = [*parsed.must, *parsed.should]
        single = {group[0].lstrip("#@") for group in groups if len(group) == 1}
        phrases = [group for group in groups if len(group) > 1]
        found = list(analyze.spans(text))
        marked: list[tuple[int, int]] = []
        for i, (start, end, term) in enumerate(found):
            pair = term + (found[i + 1][2] if i + 1 < len(found) else "")
            if term in single:
                marked.append((start, end))
            elif len(term) == 1 and pair in single:
                marked.append((start, found[i + 1][1]))
            for phrase in phrases:
                tail = found[i : i + len(phrase)]
                if [t for _, _, t in tail] == phrase:
                    marked.append((start, tail[-1][1]))
        return _merged(marked)

    def stats(self) -> IndexStats:
        """See `Index.stats`."""
        snapshot = self._snapshot
        rows = slice(0, snapshot.rows)
        words = sum(f.stat().st_size for f in (self._path / "words").iterdir() if f.is_file())
        return IndexStats(
            documents=int(self._shelf.alive(rows, None).sum()),
            versions=int((self._shelf.start.rows[rows] != DROPPED).sum()),
            applied_seq=snapshot.applied_seq,
            committed_seq=snapshot.applied_seq,
            body_bytes=words + self._shelf.body_bytes,
            vectors=self._lexicon.source.name if self._lexicon.source else "",
        )

    def close(self) -> None:
        """See `Index.close`."""
        if self._closed:
            return
        self._closed = True
        self.commit()
        self._writer.wait_merging_threads()
        self._shelf.close()
        self._meta.clean = True
        self._write_meta()


def _schema() -> Any:
    builder = tantivy.SchemaBuilder()
    builder.add_integer_field("ord", fast=True, indexed=True)
    builder.add_integer_field("time", fast=True, indexed=True)
    builder.add_integer_field("start", fast=True, indexed=True)
    builder.add_text_field("body", tokenizer_name="spaced", index_option="position")
    builder.add_text_field("title", tokenizer_name="spaced", index_option="freq")
    builder.add_text_field("filter", tokenizer_name="raw", index_option="basic")
    return builder.build()


def _time_us(document: Document, start_us: int) -> int:
    """When it was published, else observed; a claim from the future counts as observed."""
    if document.published_at is None:
        return start_us
    return min(to_us(document.published_at), start_us)


def _attributes(document: Document) -> tuple[str, ...]:
    # Authors are people: what a purge removes must not live on in a list of names.
    return (
        document.source,
        document.kind,
        document.lang,
        author_mark(document.author),
        domain(document.url),
    )


def _filters(attributes: tuple[str, ...]) -> list[str]:
    source, kind, lang, author, host = attributes
    labels = host.split(".") if host else []
    return [
        f"source={source}",
        f"kind={kind}",
        f"lang={lang}",
        f"author={author}",
        *(f"domain={'.'.join(labels[i:])}" for i in range(len(labels))),
    ]


def _merged(marked: list[tuple[int, int]]) -> list[tuple[int, int]]:
    result: list[tuple[int, int]] = []
    for start, end in sorted(marked):
        if result and start <= result[-1][1] and start < result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((start, end))
    return result


def _boot() -> str:
    """Identity of this run of the machine; empty where the system does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
