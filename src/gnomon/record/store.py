"""The record on SQLite: one file in WAL mode, one writer, readers that never wait for it.

A key's timeline is its rows in `entry` by `start_us`: versions, and ends (deletes, `version` NULL).
Each row also carries `until_us`, the start of the next row, so that the index can follow. A commit
is durable against a killed process at once and against a power cut at the next checkpoint sync.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import apsw
import msgspec
import zstandard

from gnomon.clock import from_us, to_us
from gnomon.errors import StoreError, Transient
from gnomon.record.base import Appended, Entry, Found, Historic, Life, Op, SourceStats, Stats
from gnomon.record.migrations import migrate
from gnomon.types import (
    Attachment,
    Batch,
    Change,
    Cursor,
    Delete,
    Document,
    Gap,
    Notice,
    Policy,
    Purge,
    SourceConfig,
    Upsert,
)

_COMPRESS_FROM = 512
_FOREVER_US = 1 << 62
_UNSTORABLE = re.compile("[\ud800-\udfff\0]")


class StoreFull(Transient, StoreError):
    """There is no room; nothing was stored, and the same may be tried again."""

    default_code = "record.full"


class _Body(msgspec.Struct, array_like=True):
    """What is stored of a version beside its place in the timeline and its extra fields."""

    kind: str
    title: str
    url: str
    author: str
    lang: str
    text: str
    packed: bytes
    published_us: int | None
    updated_us: int | None
    date_source: str
    policy: tuple[bool, bool, bool, bool]
    reply_to: str
    quotes: str
    attachments: tuple[Attachment, ...]


class _Head:
    """The last entry of a key's timeline, as the running transaction sees it."""

    __slots__ = ("alive", "hash", "key_id", "seq", "start_us", "versions")

    def __init__(self, key_id: int, versions: int) -> None:
        self.key_id = key_id
        self.versions = versions
        self.seq: int | None = None
        self.start_us = 0
        self.alive = False
        self.hash = b""


_pack = msgspec.msgpack.Encoder().encode
_unpack_body = msgspec.msgpack.Decoder(_Body).decode
_unpack = msgspec.msgpack.decode


class SqliteRecord:
    """A `Record` in one SQLite file."""

    def __init__(self, path: Path, *, check: Literal["quick", "full", "off"] = "quick") -> None:
        """Open or create the record at `path`. Raises StoreError if it is damaged or too new."""
        self._path = path
        self._lock = threading.RLock()
        self._local = threading.local()
        self._readers: list[apsw.Connection] = []
        self._closed = False
        with _explained(path):
            self._db = self._connect()
            self._db.execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL")
            migrate(self._db, path)
            if check == "quick":
                # A full check reads every page; at start only what a torn file would break.
                self._db.execute(
                    "SELECT max(seq) FROM entry; SELECT max(seq) FROM event"
                ).fetchall()
            elif check == "full":
                self.check()
            self._seq = self._one(
                "SELECT max(coalesce((SELECT max(seq) FROM entry), 0),"
                " coalesce((SELECT max(seq) FROM event), 0),"
                " coalesce((SELECT value FROM meta WHERE name = 'last_seq'), 0))"
            )
            self._live_us = self._one(
                "SELECT coalesce((SELECT value FROM meta WHERE name = 'live_us'), 0)"
            )
            self._next_key = self._one("SELECT coalesce(max(id), 0) + 1 FROM key")

    def _connect(self) -> apsw.Connection:
        db = apsw.Connection(str(self._path))
        db.set_busy_timeout(10_000)
        db.execute("PRAGMA secure_delete=ON; PRAGMA cache_size=-32768; PRAGMA temp_store=MEMORY")
        return db

    def _one(self, sql: str, args: Sequence[Any] = ()) -> Any:
        return self._db.execute(sql, args).fetchone()[0]

    def _reader(self) -> apsw.Connection:
        db = getattr(self._local, "db", None)
        if db is None:
            db = self._local.db = self._connect()
            with self._lock:
                self._readers.append(db)
        return db

    def _rows(self, sql: str, args: Sequence[Any] = ()) -> list[Any]:
        with _explained(self._path):
            return self._reader().execute(sql, args).fetchall()

    @contextmanager
    def _writing(self) -> Iterator[apsw.Connection]:
        """One transaction; on any error nothing of it stays, in the file or in memory."""
        with self._lock, _explained(self._path):
            before = self._seq, self._live_us, self._next_key
            try:
                with self._db:
                    yield self._db
                    self._db.execute(
                        "INSERT INTO meta VALUES ('last_seq', ?), ('live_us', ?)"
                        " ON CONFLICT(name) DO UPDATE SET value = excluded.value",
                        (self._seq, self._live_us),
                    )
            except BaseException:
                self._seq, self._live_us, self._next_key = before
                raise

    # -- writing ---------------------------------------------------------------
    def append(self, source: str, batch: Batch, *, now: datetime) -> Appended:
        """See `Record.append`."""
        with self._writing() as db:
            self._live_us = max(self._live_us, to_us(now))
            work = _Transaction(self, db, self._live_us)
            work.apply([(source, change) for change in batch.changes])
            if batch.cursor is not None:
                db.execute(
                    "UPDATE source SET cursor = ? WHERE id = ?",
                    (batch.cursor, work.source_id(source)),
                )
        return Appended(last_seq=self._seq, entries=tuple(work.entries), unchanged=work.unchanged)

    def load(self, changes: Iterable[tuple[str, Historic]], *, now: datetime) -> Appended:
        """See `Record.load`."""
        with self._writing() as db:
            work = _Transaction(self, db, to_us(now))
            work.apply(changes)
        return Appended(last_seq=self._seq, entries=tuple(work.entries), unchanged=work.unchanged)

    def retain(
        self, source: str, keep: timedelta, *, now: datetime, limit: int = 10_000
    ) -> Appended:
        """See `Record.retain`."""
        with self._writing() as db:
            work = _Transaction(self, db, to_us(now))
            seqs = db.execute(
                "SELECT seq, key_id, version FROM entry WHERE source_id = ? AND start_us < ?"
                " AND seq NOT IN (SELECT seq FROM pin) ORDER BY start_us LIMIT ?",
                (work.source_id(source), to_us(now - keep), limit),
            ).fetchall()
            if seqs:
                work.drop(source, "", seqs, Life.EXPIRED, f"older than {keep.days} days")
        return Appended(last_seq=self._seq, entries=tuple(work.entries))

    def pin(self, holder: str, seqs: Sequence[int]) -> None:
        """See `Record.pin`."""
        with self._writing() as db:
            db.executemany("INSERT OR IGNORE INTO pin VALUES (?, ?)", [(holder, s) for s in seqs])

    def unpin(self, holder: str) -> None:
        """See `Record.unpin`."""
        with self._writing() as db:
            db.execute("DELETE FROM pin WHERE holder = ?", (holder,))

    def put_blob(self, body: bytes, media_type: str) -> str:
        """See `Record.put_blob`."""
        digest = hashlib.sha256(body).hexdigest()
        with self._writing() as db:
            db.execute(
                "INSERT OR IGNORE INTO blob VALUES (?, ?, ?)",
                (digest, media_type, zstandard.compress(body)),
            )
        return digest

    # -- reading ---------------------------------------------------------------
    def cursor(self, source: str) -> Cursor | None:
        """See `Record.cursor`."""
        rows = self._rows("SELECT cursor FROM source WHERE name = ?", (source,))
        return rows[0][0] if rows else None

    def last_seq(self) -> int:
        """See `Record.last_seq`."""
        rows = self._rows("SELECT value FROM meta WHERE name = 'last_seq'")
        return int(rows[0][0]) if rows else 0

    def get(self, key: str, as_of: datetime | None = None) -> Found:
        """See `Record.get`."""
        until = to_us(as_of) if as_of is not None else _FOREVER_US
        rows = self._rows(
            _SELECT + " WHERE k.key = ? AND e.start_us <= ? ORDER BY e.start_us DESC, e.seq DESC"
            " LIMIT 1",
            (key, until),
        )
        if not rows:
            return self._gone(key, None)
        row = rows[0]
        since = from_us(row[_START])
        if row[_UNTIL] is not None and row[_UNTIL] <= min(until, _FOREVER_US - 1):
            return self._gone(key, None)  # what was alive then has been dropped
        if row[_VERSION] is not None:
            return Found(life=Life.ALIVE, document=self._document(row), since=since)
        before = self._rows(_SELECT + " WHERE e.seq = ?", (row[_PREV],)) if row[_PREV] else []
        document = self._document(before[0]) if before else None
        return Found(life=Life.DELETED, document=document, since=since)

    def version(self, key: str, version: int) -> Found:
        """See `Record.version`."""
        rows = self._rows(_SELECT + " WHERE k.key = ? AND e.version = ?", (key, version))
        if not rows:
            return self._gone(key, version)
        return Found(
            life=Life.ALIVE, document=self._document(rows[0]), since=from_us(rows[0][_START])
        )

    def _gone(self, key: str, version: int | None) -> Found:
        rows = self._rows(
            "SELECT g.life, g.at_us, g.reason FROM gone g JOIN key k ON k.id = g.key_id"
            " WHERE k.key = ? AND (?2 IS NULL OR g.version = ?2)"
            " ORDER BY g.at_us DESC, g.version DESC LIMIT 1",
            (key, version),
        )
        if not rows:
            return Found(life=Life.UNKNOWN)
        life, at_us, reason = rows[0]
        return Found(life=Life(life), since=from_us(at_us), reason=reason)

    def versions(self, key: str) -> list[Document]:
        """See `Record.versions`."""
        rows = self._rows(
            _SELECT + " WHERE k.key = ? AND e.version IS NOT NULL ORDER BY e.start_us, e.seq",
            (key,),
        )
        return [self._document(row) for row in rows]

    def by_seq(self, seqs: Sequence[int]) -> list[Document | None]:
        """See `Record.by_seq`."""
        wanted = ",".join(str(int(seq)) for seq in seqs)
        rows = self._rows(f"{_SELECT} WHERE e.seq IN ({wanted}) AND e.version IS NOT NULL")
        found = {row[_SEQ]: self._document(row) for row in rows}
        return [found.get(seq) for seq in seqs]

    def entries(self, after_seq: int, limit: int = 1000, source: str | None = None) -> list[Entry]:
        """See `Record.entries`."""
        only = " AND s.name = ?3" if source is not None else ""
        args = (after_seq, limit) + ((source,) if source is not None else ())
        rows = self._rows(f"{_SELECT} WHERE e.seq > ?1{only} ORDER BY e.seq LIMIT ?2", args)
        entries = [self._entry(row) for row in rows]
        events = self._rows(
            "SELECT e.seq, s.name, e.op, e.at_us, e.body FROM event e"
            f" JOIN source s ON s.id = e.source_id WHERE e.seq > ?1{only} ORDER BY e.seq LIMIT ?2",
            args,
        )
        entries += [_event(row) for row in events]
        entries.sort(key=lambda entry: entry.seq)
        return entries[:limit]

    def _entry(self, row: Any) -> Entry:
        alive = row[_VERSION] is not None
        return Entry(
            seq=row[_SEQ],
            op=Op.PUT if alive else Op.END,
            source=row[_SOURCE],
            key=row[_KEY],
            start_us=row[_START],
            until_us=row[_UNTIL] if alive else None,
            prev_seq=row[_PREV],
            document=self._document(row) if alive else None,
        )

    def _document(self, row: Any) -> Document:
        body = _unpack_body(row[_BODY])
        text = body.text
        if body.packed:
            text = zstandard.decompress(body.packed).decode()
        display, snippet, index, train = body.policy
        return Document(
            key=row[_KEY],
            source=row[_SOURCE],
            kind=body.kind,
            text=text,
            title=body.title,
            url=body.url,
            author=body.author,
            lang=body.lang,
            published_at=None if body.published_us is None else from_us(body.published_us),
            updated_at=None if body.updated_us is None else from_us(body.updated_us),
            date_source=body.date_source,
            observed_at=from_us(row[_START]),
            policy=Policy(display=display, snippet=snippet, index=index, train=train),
            reply_to=body.reply_to,
            quotes=body.quotes,
            attachments=body.attachments,
            extra=_unpack(row[_EXTRA]) if row[_EXTRA] else {},
            version=row[_VERSION],
            seq=row[_SEQ],
        )

    def gaps(
        self, source: str | None = None, as_of: datetime | None = None
    ) -> list[tuple[str, datetime, Gap]]:
        """See `Record.gaps`."""
        until = to_us(as_of) if as_of is not None else _FOREVER_US
        rows = self._events(Op.GAP, source, until, -1)
        return [(name, from_us(at), _unpack(body, type=Gap)) for name, at, body in rows]

    def notices(
        self, source: str | None = None, limit: int = 100
    ) -> list[tuple[str, datetime, Notice]]:
        """See `Record.notices`."""
        rows = self._events(Op.NOTICE, source, _FOREVER_US, limit)
        return [(name, from_us(at), _unpack(body, type=Notice)) for name, at, body in rows]

    def _events(self, op: Op, source: str | None, until_us: int, limit: int) -> list[Any]:
        return self._rows(
            "SELECT s.name, e.at_us, e.body FROM event e JOIN source s ON s.id = e.source_id"
            " WHERE e.op = ? AND (?2 IS NULL OR s.name = ?2) AND e.at_us <= ?3"
            " ORDER BY e.seq DESC LIMIT ?4",
            (op, source, until_us, limit),
        )

    def blob(self, hash: str) -> tuple[bytes, str] | None:
        """See `Record.blob`."""
        rows = self._rows("SELECT body, media_type FROM blob WHERE hash = ?", (hash,))
        return (zstandard.decompress(rows[0][0]), rows[0][1]) if rows else None

    def stats(self) -> Stats:
        """See `Record.stats`."""
        (row,) = self._rows(
            "SELECT (SELECT count(*) FROM entry WHERE version IS NOT NULL AND until_us IS NULL),"
            " (SELECT count(*) FROM entry WHERE version IS NOT NULL),"
            " (SELECT count(*) FROM gone WHERE life = 'purged'),"
            " (SELECT count(*) FROM event WHERE op = 'gap'),"
            " (SELECT page_count * page_size FROM pragma_page_count, pragma_page_size)"
        )
        return Stats(
            documents=row[0],
            versions=row[1],
            purged=row[2],
            gaps=row[3],
            last_seq=self.last_seq(),
            body_bytes=row[4],
        )

    def source_stats(self, as_of: datetime | None = None) -> dict[str, SourceStats]:
        """See `Record.source_stats`."""
        until = to_us(as_of) if as_of is not None else _FOREVER_US
        stats = {}
        for id, name in self._rows("SELECT id, name FROM source"):
            ((count,),) = self._rows(
                "SELECT count(*) FROM entry WHERE source_id = ?1 AND version IS NOT NULL"
                " AND start_us <= ?2 AND (until_us IS NULL OR until_us > ?2)",
                (id, until),
            )
            newest = self._rows(
                "SELECT start_us, published_us FROM entry WHERE source_id = ? AND start_us <= ?"
                " AND version IS NOT NULL ORDER BY start_us DESC LIMIT 1",
                (id, until),
            )
            last, published = newest[0] if newest else (None, None)
            stats[name] = SourceStats(
                documents=count,
                last_document_at=None if last is None else from_us(last),
                last_published_at=None if published is None else from_us(published),
            )
        return stats

    # -- configured sources ----------------------------------------------------
    def put_source(self, config: SourceConfig) -> None:
        """See `Record.put_source`."""
        with self._writing() as db:
            db.execute(
                "INSERT INTO source(name, config) VALUES (?, ?)"
                " ON CONFLICT(name) DO UPDATE SET config = excluded.config",
                (config.name, msgspec.json.encode(config)),
            )

    def drop_source(self, name: str) -> bool:
        """See `Record.drop_source`."""
        with self._writing() as db:
            db.execute(
                "UPDATE source SET config = NULL WHERE name = ? AND config IS NOT NULL", (name,)
            )
            return bool(db.changes())

    def sources(self) -> list[SourceConfig]:
        """See `Record.sources`."""
        rows = self._rows("SELECT config FROM source WHERE config IS NOT NULL ORDER BY name")
        return [msgspec.json.decode(row[0], type=SourceConfig) for row in rows]

    # -- upkeep ----------------------------------------------------------------
    def export(self) -> Iterator[tuple[str, Historic]]:
        """See `Record.export`."""
        after = 0
        while entries := self.entries(after, 1000):
            after = entries[-1].seq
            for entry in entries:
                if entry.op is Op.PUT and entry.document is not None:
                    yield entry.source, Upsert(entry.document)
                elif entry.op is Op.END:
                    moment = from_us(entry.start_us)
                    yield entry.source, Delete(key=entry.key, observed_at=moment)
                elif entry.gap is not None:
                    yield entry.source, entry.gap

    def backup(self, path: Path) -> None:
        """See `Record.backup`."""
        with _explained(path):
            target = apsw.Connection(str(path))
            try:
                with target.backup("main", self._reader(), "main") as copy:
                    while not copy.done:
                        copy.step(1000)
            finally:
                target.close()

    def check(self) -> None:
        """See `Record.check`."""
        with _explained(self._path):
            problems = [row[0] for row in self._db.execute("PRAGMA integrity_check(5)")]
        if problems != ["ok"]:
            raise _damaged(self._path, "; ".join(problems))

    def close(self) -> None:
        """See `Record.close`."""
        with self._lock:
            if not self._closed:
                self._closed = True
                for db in [*self._readers, self._db]:
                    db.close()


class _Transaction:
    """Applies changes to the timelines inside one open transaction."""

    def __init__(self, record: SqliteRecord, db: apsw.Connection, now_us: int) -> None:
        self._record = record
        self._db = db
        self._now_us = now_us
        self._heads: dict[str, _Head] = {}
        self._sources: dict[str, int] = {}
        self._rows: dict[int, list[Any]] = {}
        self._ends: list[tuple[int, int]] = []
        self._touched: set[str] = set()
        self.entries: list[Entry] = []
        self.unchanged = 0

    def source_id(self, name: str) -> int:
        """The row id of a source, made when it is first heard of."""
        found = self._sources.get(name)
        if found is None:
            self._db.execute("INSERT OR IGNORE INTO source(name) VALUES (?)", (name,))
            row = self._db.execute("SELECT id FROM source WHERE name = ?", (name,)).fetchone()
            found = self._sources[name] = row[0]
        return found

    def apply(self, changes: Iterable[tuple[str, Change]]) -> None:
        """All changes, in order."""
        changes = list(changes)
        self._fetch_heads(changes)
        for source, change in changes:
            source_id = self.source_id(source)
            if isinstance(change, Upsert):
                self._put(source, source_id, change.document)
            elif isinstance(change, Delete):
                self._end(source, source_id, change)
            elif isinstance(change, Purge):
                self._purge(source, source_id, change)
            else:
                op = Op.GAP if isinstance(change, Gap) else Op.NOTICE
                self._event(source, source_id, op, _pack(change), change)
        self._flush()

    def _fetch_heads(self, changes: Sequence[tuple[str, Change]]) -> None:
        keys = {
            change.document.key if isinstance(change, Upsert) else change.key
            for _, change in changes
            if isinstance(change, Upsert | Delete)
        }
        rows = self._db.execute(
            "SELECT k.key, k.id, k.versions, e.seq, e.start_us, e.version, e.hash FROM key k"
            " LEFT JOIN entry e ON e.key_id = k.id AND e.until_us IS NULL"
            " WHERE k.key IN (SELECT value FROM json_each(?)) ORDER BY e.start_us, e.seq",
            (msgspec.json.encode(list(map(_clean, keys))).decode(),),
        )
        for key, id, versions, seq, start_us, version, digest in rows:
            head = self._heads.setdefault(key, _Head(id, versions))
            if seq is not None:
                head.seq, head.start_us = seq, start_us
                head.alive, head.hash = version is not None, digest or b""

    def _head(self, key: str) -> _Head:
        head = self._heads.get(key)
        if head is None:
            head = self._heads[key] = _Head(self._record._next_key, 0)
            self._record._next_key += 1
            self._db.execute("INSERT INTO key VALUES (?, ?, 0)", (head.key_id, key))
        return head

    def _put(self, source: str, source_id: int, document: Document) -> None:
        key = _clean(document.key)
        head = self._head(key)
        observed = document.observed_at
        start_us = self._now_us if observed is None else to_us(observed)
        body, author, published_us = _encode(document)
        digest = hashlib.blake2b(body, digest_size=16).digest()
        late = head.seq is not None and start_us < head.start_us
        if late:
            self._flush()
            before, after = self._neighbours(head.key_id, start_us)
        else:
            before = (head.seq, head.alive, head.hash) if head.seq is not None else None
            after = None
        if before is not None and before[1] and before[2] == digest:
            self.unchanged += 1
            return
        head.versions += 1
        self._touched.add(key)
        seq = self._next_seq()
        prev_seq = self._close(before, start_us)
        extra = _pack(_plain(document.extra)) if document.extra else None
        self._rows[seq] = [
            seq, head.key_id, source_id, head.versions, start_us, after, prev_seq, published_us,
            author or None, digest, body, extra,
        ]  # fmt: skip
        for item in document.attachments:
            self._db.execute("INSERT OR IGNORE INTO attached VALUES (?, ?)", (item.hash, seq))
        if not late:
            head.seq, head.start_us, head.alive, head.hash = seq, start_us, True, digest
        stored = _stored(document, key, source, head.versions, seq, start_us)
        self.entries.append(
            Entry(
                seq=seq,
                op=Op.PUT,
                source=source,
                key=key,
                start_us=start_us,
                until_us=after,
                prev_seq=prev_seq,
                document=stored,
            )
        )

    def _end(self, source: str, source_id: int, change: Delete) -> None:
        key = _clean(change.key)
        head = self._heads.get(key)
        start_us = self._now_us if change.observed_at is None else to_us(change.observed_at)
        late = head is not None and head.seq is not None and start_us < head.start_us
        if head is None or head.seq is None:
            self.unchanged += 1
            return
        if late:
            self._flush()
            before, after = self._neighbours(head.key_id, start_us)
        else:
            before, after = (head.seq, head.alive, head.hash), None
        if before is None or not before[1]:
            self.unchanged += 1
            return
        seq = self._next_seq()
        prev_seq = self._close(before, start_us)
        self._rows[seq] = [
            seq, head.key_id, source_id, None, start_us, after, prev_seq, None, None, None, None,
            None,
        ]  # fmt: skip
        if not late:
            head.seq, head.start_us, head.alive = seq, start_us, False
        self.entries.append(
            Entry(seq=seq, op=Op.END, source=source, key=key, start_us=start_us, prev_seq=prev_seq)
        )

    def _neighbours(
        self, key_id: int, start_us: int
    ) -> tuple[tuple[int, bool, bytes] | None, int | None]:
        """The entry of a timeline at or before a moment, and the start of the one after it."""
        row = self._db.execute(
            "SELECT seq, version, hash FROM entry WHERE key_id = ? AND start_us <= ?"
            " ORDER BY start_us DESC, seq DESC LIMIT 1",
            (key_id, start_us),
        ).fetchone()
        after = self._db.execute(
            "SELECT min(start_us) FROM entry WHERE key_id = ? AND start_us > ?", (key_id, start_us)
        ).fetchone()[0]
        return (row[0], row[1] is not None, row[2] or b"") if row else None, after

    def _close(self, before: tuple[int | None, bool, bytes] | None, start_us: int) -> int | None:
        """End the entry before a new one; its number if it was a version."""
        if before is None or before[0] is None:
            return None
        row = self._rows.get(before[0])
        if row is not None:
            row[5] = start_us
        else:
            self._ends.append((start_us, before[0]))
        return before[0] if before[1] else None

    def _purge(self, source: str, source_id: int, change: Purge) -> None:
        self._flush()
        if change.author:
            where, value = "e.source_id = ?1 AND e.author = ?2", _clean(change.author)
        else:
            where, value = "k.key = ?2 AND ?1 = ?1", _clean(change.key)
        rows = self._db.execute(
            "SELECT DISTINCT o.seq, o.key_id, o.version FROM entry e"
            " JOIN key k ON k.id = e.key_id JOIN entry o ON o.key_id = e.key_id"
            f" WHERE {where}",
            (source_id, value),
        ).fetchall()
        if rows:
            self.drop(source, change.key, rows, Life.PURGED, change.reason)
            # A purged key may come back as something new: forget what we knew of its head.
            for key in [k for k, h in self._heads.items() if h.key_id in {r[1] for r in rows}]:
                head = self._heads[key]
                head.seq, head.alive, head.hash = None, False, b""
        else:
            self.unchanged += 1

    def drop(self, source: str, key: str, rows: Sequence[Any], life: Life, reason: str) -> None:
        """Remove these timeline rows, and leave a mark of each version."""
        seqs = [row[0] for row in rows]
        marks = [(r[1], r[2], str(life), self._now_us, reason) for r in rows if r[2] is not None]
        self._db.executemany("INSERT OR REPLACE INTO gone VALUES (?, ?, ?, ?, ?)", marks)
        one = [(seq,) for seq in seqs]
        hashes = {
            row[0]
            for seq in one
            for row in self._db.execute("SELECT hash FROM attached WHERE seq = ?", seq)
        }
        for table in ("entry", "attached", "pin"):
            self._db.executemany(f"DELETE FROM {table} WHERE seq = ?", one)
        self._db.executemany(
            "DELETE FROM blob WHERE hash = ?1"
            " AND NOT EXISTS (SELECT 1 FROM attached WHERE hash = ?1)",
            [(digest,) for digest in hashes],
        )
        dropped = tuple(seq for seq, _, version in rows if version is not None)
        self._event(source, self.source_id(source), Op.DROP, _pack((key, dropped)), dropped, key)

    def _event(
        self, source: str, source_id: int, op: Op, body: bytes, value: Any, key: str = ""
    ) -> None:
        seq = self._next_seq()
        self._db.execute(
            "INSERT INTO event VALUES (?, ?, ?, ?, ?)", (seq, source_id, op, self._now_us, body)
        )
        self.entries.append(_event((seq, source, op, self._now_us, body)))

    def _next_seq(self) -> int:
        self._record._seq += 1
        return self._record._seq

    def _flush(self) -> None:
        self._db.executemany(
            "INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", self._rows.values()
        )
        self._db.executemany("UPDATE entry SET until_us = ? WHERE seq = ?", self._ends)
        touched = [(self._heads[key].versions, self._heads[key].key_id) for key in self._touched]
        self._db.executemany("UPDATE key SET versions = ? WHERE id = ?", touched)
        self._rows.clear()
        self._ends.clear()
        self._touched.clear()


_SELECT = (
    "SELECT e.seq, k.key, s.name, e.version, e.start_us, e.until_us, e.prev_seq, e.body, e.extra"
    " FROM entry e JOIN key k ON k.id = e.key_id JOIN source s ON s.id = e.source_id"
)
_SEQ, _KEY, _SOURCE, _VERSION, _START, _UNTIL, _PREV, _BODY, _EXTRA = range(9)


def _event(row: Any) -> Entry:
    seq, source, op, at_us, body = row
    if op == Op.DROP:
        key, dropped = _unpack(body)
        return Entry(
            seq=seq, op=Op.DROP, source=source, key=key, start_us=at_us, dropped=tuple(dropped)
        )
    if op == Op.GAP:
        gap = _unpack(body, type=Gap)
        return Entry(seq=seq, op=Op.GAP, source=source, start_us=at_us, gap=gap)
    notice = _unpack(body, type=Notice)
    return Entry(seq=seq, op=Op.NOTICE, source=source, start_us=at_us, notice=notice)


def _encode(document: Document) -> tuple[bytes, str, int | None]:
    """(body, author, published) of a document; the body is equal iff the content is."""
    text, author = _clean(document.text), _clean(document.author)
    packed = b""
    if len(text) >= _COMPRESS_FROM:
        text, packed = "", zstandard.compress(text.encode())
    policy = document.policy
    published_us = None if document.published_at is None else to_us(document.published_at)
    body = _Body(
        kind=_clean(document.kind),
        title=_clean(document.title),
        url=_clean(document.url),
        author=author,
        lang=_clean(document.lang),
        text=text,
        packed=packed,
        published_us=published_us,
        updated_us=None if document.updated_at is None else to_us(document.updated_at),
        date_source=_clean(document.date_source),
        policy=(policy.display, policy.snippet, policy.index, policy.train),
        reply_to=_clean(document.reply_to),
        quotes=_clean(document.quotes),
        attachments=document.attachments,
    )
    return _pack(body), author, published_us


def _stored(
    document: Document, key: str, source: str, version: int, seq: int, start_us: int
) -> Document:
    """The document as reading it back gives it."""
    return msgspec.structs.replace(
        document,
        key=key,
        source=source,
        title=_clean(document.title),
        text=_clean(document.text),
        author=_clean(document.author),
        observed_at=from_us(start_us),
        version=version,
        seq=seq,
    )


def _clean(text: str) -> str:
    """Text that SQLite and UTF-8 can hold: lone surrogates and NUL become U+FFFD."""
    return _UNSTORABLE.sub("\ufffd", text)


def _plain(value: Any) -> Any:
    """JSON values with clean text, whatever upstream sent."""
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, dict):
        return {_clean(str(k)): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return str(value)
    return value if isinstance(value, int | float | bool) or value is None else str(value)


def _damaged(path: Path, problem: str) -> StoreError:
    return StoreError(
        f"The record {path} is damaged: {problem}.",
        code="record.damaged",
        hint="Restore a backup made with `gnomon record backup`, or move the file away to start "
        "with an empty record.",
        path=str(path),
    )


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Errors of the engine as StoreErrors that say what to do."""
    try:
        yield
    except apsw.FullError as error:
        raise StoreFull(
            f"There is no room left to write {path}: {error}.",
            hint="Free some space; what waits is stored then.",
            path=str(path),
        ) from None
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise _damaged(path, str(error)) from None
    except apsw.BusyError:
        raise StoreError(
            f"Another program holds {path}.", code="record.busy", hint="Close it.", path=str(path)
        ) from None
    except (apsw.IOError, apsw.CantOpenError, apsw.ReadOnlyError, apsw.PermissionsError) as error:
        raise StoreError(
            f"Cannot read or write {path}: {error}.",
            code="record.io",
            hint="Look at the disk and at the permissions of its folder.",
            path=str(path),
        ) from None
