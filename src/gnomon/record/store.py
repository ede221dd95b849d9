"""The record on SQLite: one file, one writer, any number of readers.

Promises what `gnomon.record.base` says. Durable means: on the disk, as far as the disk tells the
truth; a killed process or a power cut loses nothing that `append` returned. See
docs/internals/record.md for tables and reasons.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from gnomon.clock import from_us, to_us
from gnomon.record import codec, reading, tally
from gnomon.record.base import Appended, Entry, Found, Historic, SourceStats, Stats
from gnomon.record.database import Check, Database, damaged
from gnomon.record.erase import carray
from gnomon.record.timeline import END, GAP, NOTICE, PUT, State
from gnomon.record.transaction import Transaction
from gnomon.types import (
    Batch,
    Cursor,
    Delete,
    Document,
    Gap,
    Notice,
    SourceConfig,
    Upsert,
)


class SqliteRecord:
    """The durable memory in the file `path`, which is made if it does not exist.

    `check` says how much of it is examined first: `quick` for at most a second, `full` all of it.
    Raises StoreError if it is damaged, newer than this program, or not ours.
    """

    def __init__(self, path: Path, *, check: Check = "quick") -> None:
        self._database = Database(path, check=check)
        self._state: State | None = None
        self._seen_writes = -1
        self._source_ids: dict[str, int] = {}
        self._lock = threading.Lock()
        self._names = _Names(self._database)

    # -- writing ---------------------------------------------------------------
    def append(self, source: str, batch: Batch, *, now: datetime) -> Appended:
        """Store changes and cursor in one transaction; all or nothing, durable on return.

        Raises StoreError, with nothing stored, if the store cannot be written, and ContentError,
        likewise, if a change has no key or a field of a wrong type.
        """
        with self._transaction(now) as transaction:
            for change in transaction.look_up(batch.changes):
                transaction.apply(source, change)
            if batch.cursor is not None:
                transaction.move_cursor(source, batch.cursor)
        return transaction.outcome()

    def load(self, changes: Iterable[tuple[str, Historic]], *, now: datetime) -> Appended:
        """Import history, in any order and all or nothing; what is there already stays as it is."""
        pairs = list(changes)
        with self._transaction(now) as transaction:
            historic = transaction.look_up(change for _, change in pairs)
            for (source, _), change in zip(pairs, historic, strict=True):
                transaction.apply(source, change, history=True)
        return transaction.outcome()

    def retain(
        self, source: str, keep: timedelta, *, now: datetime, limit: int = 10_000
    ) -> Appended:
        """Remove up to `limit` unpinned versions observed before `now - keep`, oldest first."""
        with self._transaction(now) as transaction:
            transaction.expire(source, to_us(now - keep), limit)
        return transaction.outcome()

    @contextmanager
    def _transaction(self, now: datetime) -> Generator[Transaction, None, None]:
        with self._lock:
            state, self._state = self._state, None  # read anew unless the end is reached
            with self._database.writing() as db:
                writes = db.pragma("data_version")
                if state is None or writes != self._seen_writes:
                    state, self._source_ids = State.read(db), {}
                transaction = Transaction(db, state, dict(self._source_ids), now)
                yield transaction
                transaction.flush()
                if transaction.purged:
                    self._database.leave_no_remnants()
            self._state, self._seen_writes = transaction.state, writes
            self._source_ids = transaction.sources

    def pin(self, holder: str, seqs: Sequence[int]) -> None:
        """Keep these versions from retention as long as `holder` exists."""
        with self._database.writing() as db:
            db.executemany(
                "INSERT OR IGNORE INTO pins VALUES (?, ?)",
                [(codec.clean_name(holder), seq) for seq in seqs],
            )

    def unpin(self, holder: str) -> None:
        """Release what `holder` pinned."""
        with self._database.writing() as db:
            db.execute("DELETE FROM pins WHERE holder = ?", (codec.clean_name(holder),))

    def put_blob(self, body: bytes, media_type: str) -> str:
        """Store bytes under the SHA-256 of their content; returns the hash. Idempotent."""
        hash = sha256(body).hexdigest()
        packed = codec.compress(body)
        is_packed = len(packed) < len(body)
        with self._database.writing() as db:
            db.execute(
                "INSERT OR IGNORE INTO blobs (hash, media_type, packed, body) VALUES (?, ?, ?, ?)",
                (hash, codec.clean_name(media_type), is_packed, packed if is_packed else body),
            )
        return hash

    # -- reading ---------------------------------------------------------------
    def cursor(self, source: str) -> Cursor | None:
        """The cursor stored with the source's last batch."""
        with self._database.reading() as db:
            rows = db.execute(
                "SELECT cursor FROM sources WHERE name = ?", (codec.clean_name(source),)
            ).fetchall()
        if not rows or rows[0][0] is None:
            return None
        cursor: bytes = rows[0][0]
        return cursor.decode("utf-8", "surrogatepass")

    def last_seq(self) -> int:
        """The newest sequence number; 0 for an empty record."""
        with self._database.reading() as db:
            return int(db.execute("SELECT ifnull(max(seq), 0) FROM log").fetchall()[0][0])

    def get(self, key: str, as_of: datetime | None = None) -> Found:
        """How `key` stands at `as_of` (default: now)."""
        as_of_us = None if as_of is None else to_us(as_of)
        with self._database.reading() as db:
            return reading.state_of(db, self._names, codec.clean_name(key), as_of_us)

    def version(self, key: str, version: int) -> Found:
        """That very version, whatever came after it; PURGED or EXPIRED if it is gone."""
        with self._database.reading() as db:
            return reading.version_of(db, self._names, codec.clean_name(key), version)

    def versions(self, key: str) -> list[Document]:
        """All stored versions of `key`, by `observed_at`."""
        with self._database.reading() as db:
            rows = db.execute(
                f"SELECT {reading.VERSION_COLUMNS} FROM keys k JOIN log l ON l.key = k.id "  # noqa: S608
                "JOIN bodies b ON b.seq = l.seq WHERE k.key = ? AND l.op < 3 "
                "ORDER BY l.start_us, l.seq",
                (codec.clean_name(key),),
            ).fetchall()
            return self._documents(rows)

    def by_seq(self, seqs: Sequence[int]) -> list[Document | None]:
        """The versions with these sequence numbers, in the order given; None if dropped."""
        if not seqs:
            return []
        with self._database.reading() as db:
            rows = db.execute(
                f"SELECT {reading.VERSION_COLUMNS} FROM carray(?) c "  # noqa: S608
                "JOIN log l ON l.seq = c.value AND l.op = 1 "
                "JOIN keys k ON k.id = l.key JOIN bodies b ON b.seq = l.seq",
                (carray(seqs),),
            ).fetchall()
            found = {document.seq: document for document in self._documents(rows)}
        return [found.get(seq) for seq in seqs]

    def entries(self, after_seq: int, limit: int = 1000, source: str | None = None) -> list[Entry]:
        """The change log after `after_seq`, in order, at most `limit` entries."""
        with self._database.reading() as db:
            only = _number(db, source)
            return reading.entries(db, self._names, after_seq, limit, only)

    def held(
        self, source: str, since: datetime | None = None, limit: int = 10_000
    ) -> list[tuple[str, datetime]]:
        """Stored versions of `source` by moment of observation."""
        with self._database.reading() as db:
            number = _number(db, source)
            if number is None:
                return []
            since_us = 0 if since is None else to_us(since)
            return [(key, from_us(at)) for key, at in reading.held(db, number, since_us, limit)]

    def gaps(
        self, source: str | None = None, as_of: datetime | None = None
    ) -> list[tuple[str, datetime, Gap]]:
        """Known losses: (source, when recorded, gap), newest first."""
        as_of_us = None if as_of is None else to_us(as_of)
        with self._database.reading() as db:
            rows = reading.losses(db, GAP, _number(db, source), as_of_us, -1)
            return [(self._names[s], from_us(at), codec.unpack_gap(body)) for s, at, body in rows]

    def notices(
        self, source: str | None = None, limit: int = 100
    ) -> list[tuple[str, datetime, Notice]]:
        """Notices, newest first."""
        with self._database.reading() as db:
            rows = reading.losses(db, NOTICE, _number(db, source), None, limit)
            return [
                (self._names[s], from_us(at), codec.unpack_notice(body)) for s, at, body in rows
            ]

    def blob(self, hash: str) -> tuple[bytes, str] | None:
        """Content and media type; None if unknown or purged."""
        with self._database.reading() as db:
            rows = db.execute(
                "SELECT packed, body, media_type FROM blobs WHERE hash = ?",
                (codec.clean_name(hash),),
            ).fetchall()
            if not rows:
                return None
            packed, body, media_type = rows[0]
            return codec.decompress(body) if packed else body, media_type

    def stats(self) -> Stats:
        """Counts and sizes. `purged` counts versions."""
        with self._database.snapshot() as db:
            state = State.read(db)
            documents = sum(tally.alive(db).values())
        return Stats(
            documents=documents,
            versions=state.versions,
            purged=state.purged,
            gaps=state.gaps,
            last_seq=state.last_seq,
            body_bytes=self._database.body_bytes(),
        )

    def source_stats(self, as_of: datetime | None = None) -> dict[str, SourceStats]:
        """Per source that had brought something by then; `last_published_at` is of its newest."""
        as_of_us = None if as_of is None else to_us(as_of)
        with self._database.snapshot() as db:
            alive = tally.alive(db, as_of_us)
            return {
                name: SourceStats(
                    documents=alive.get(source_id, 0),
                    last_document_at=from_us(start_us),
                    last_published_at=codec.published_of(content),
                )
                for name, source_id, start_us, content in reading.newest(db, as_of_us)
            }

    def _documents(self, rows: Iterable[Any]) -> list[Document]:
        return [d for row in rows if (d := reading.document(row, self._names)) is not None]

    # -- configured sources ----------------------------------------------------
    def put_source(self, config: SourceConfig) -> None:
        """Add or replace a configured source, by name."""
        with self._database.writing() as db:
            db.execute(
                "INSERT INTO sources (name, config) VALUES (?, ?) "
                "ON CONFLICT (name) DO UPDATE SET config = excluded.config",
                (codec.clean_name(config.name), msgspec.json.encode(config)),
            )

    def drop_source(self, name: str) -> bool:
        """Remove the configuration; what it brought, and its cursor, stays. False if unknown."""
        with self._database.writing() as db:
            rows = db.execute(
                "UPDATE sources SET config = NULL WHERE name = ? AND config IS NOT NULL "
                "RETURNING id",
                (codec.clean_name(name),),
            ).fetchall()
        return bool(rows)

    def sources(self) -> list[SourceConfig]:
        """All configured sources, by name."""
        with self._database.reading() as db:
            rows = db.execute(
                "SELECT config FROM sources WHERE config IS NOT NULL ORDER BY name"
            ).fetchall()
        return [msgspec.json.decode(config, type=SourceConfig) for (config,) in rows]

    # -- upkeep ----------------------------------------------------------------
    def export(self) -> Iterator[tuple[str, Historic]]:
        """Everything that `load` needs to rebuild versions, ends and gaps, in order of `seq`.

        A version that expired is exported as the end of the version before it, if that is still
        stored: the copy must not say that the older one went on. What was purged leaves no trace.
        """
        after, last = 0, self.last_seq()
        while after < last:
            with self._database.reading() as db:
                rows = reading.history(db, after, last)
                changes = [(self._names[row[2]], _historic(row, self._names)) for row in rows]
            for source, change in changes:
                if change is not None:
                    yield source, change
            after = rows[-1][0] if rows else last

    def backup(self, path: Path) -> None:
        """A consistent copy, made while the record is in use; never replaces a file."""
        self._database.backup(path)

    def check(self) -> None:
        """Raise StoreError if the stored data are damaged. Reads everything."""
        with self._database.snapshot() as db:
            self._database.check(db)
            faults = reading.faults(db)
        if faults:
            raise damaged(self._database.path, "; ".join(faults))

    def close(self) -> None:
        """Release files. Idempotent."""
        self._database.close()


class _Names(dict[int, str]):
    """Names of sources by number. Neither is ever changed, so only new ones are read."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self._database = database

    def __missing__(self, number: int) -> str:
        with self._database.reading() as db:
            self.update(db.execute("SELECT id, name FROM sources").fetchall())
        return self.get(number, "")


def _number(db: Any, source: str | None) -> int | None:
    """The number of a source; one that no source has if it is unknown."""
    if source is None:
        return None
    found = db.execute("SELECT id FROM sources WHERE name = ?", (codec.clean_name(source),))
    return next((number for (number,) in found.fetchall()), -1)


def _historic(row: Any, names: Mapping[int, str]) -> Historic | None:
    seq, op, source_id, start_us, key, version, content, extra, follows_stored = row
    if op == GAP:
        gap = codec.unpack_gap(content)
        return msgspec.structs.replace(gap, observed_at=from_us(start_us))
    if op == PUT and content is not None:
        return Upsert(
            codec.unpack(
                key,
                names[source_id],
                content,
                extra,
                start_us=start_us,
                version=version,
                seq=seq,
            )
        )
    if follows_stored or (op == END and follows_stored is None):
        return Delete(key=key, observed_at=from_us(start_us))
    return None
