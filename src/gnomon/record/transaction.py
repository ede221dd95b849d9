"""One transaction: changes applied, in order, to the timelines of their keys.

The keys that a transaction touches are looked up together, once; from then on a change costs no
query as long as it comes after everything known of its key, as live changes do. A change from the
past is sorted into its timeline with a few queries of its own. Rows are gathered and written
together when the transaction ends.

Nothing here commits: `SqliteRecord` does, or undoes everything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec

from gnomon.clock import from_us, to_us
from gnomon.errors import ContentError
from gnomon.record import codec, erase, rows, tally
from gnomon.record.base import Appended, Entry, Life, Op
from gnomon.record.timeline import (
    DROP,
    END,
    GAP,
    NOTICE,
    PUT,
    Head,
    Place,
    State,
    entries_at,
    heads,
    place_within,
)
from gnomon.types import Change, Delete, Document, Gap, Notice, Purge, Upsert


class Transaction:
    """Applies changes to an open database transaction. `flush` before it is committed."""

    def __init__(self, db: Any, state: State, sources: dict[str, int], now: datetime) -> None:
        self.state = msgspec.structs.replace(state)
        self.sources = sources
        self.purged = False
        """Content was erased, so its remnants must go as well."""
        self._db = db
        self._stamp_us = max(to_us(now), state.stamp_us)
        self._moment_us = self._stamp_us
        self._moment = from_us(self._stamp_us)
        self._heads: dict[str, Head] = {}
        self._entries: list[Entry] = []
        self._unchanged = 0
        self._log: list[tuple[Any, ...]] = []
        self._bodies: list[tuple[int, bytes, bytes | None]] = []
        self._attached: list[tuple[int, str]] = []
        self._changed: dict[int, Head] = {}
        self._flushed_seq = state.last_seq
        self._tally: Counter[tuple[int, int]] = Counter()

    # -- what the record calls ------------------------------------------------
    def look_up(self, changes: Iterable[Change]) -> list[Change]:
        """Find the keys of `changes`, in one query; returns the changes with storable keys."""
        changes = list(changes)
        keys = _keys_of(changes)
        try:
            if not codec.is_clean_name("".join(keys)):
                changes = [_with_clean_key(change) for change in changes]
                keys = _keys_of(changes)
        except TypeError:
            raise ContentError("A key is no text.", code="document.invalid") from None
        wanted = set(keys)
        if "" in wanted:
            raise ContentError(
                "A document, delete or purge has an empty key.",
                code="document.invalid",
                hint="Its connector must give every document a stable key.",
            )
        if not wanted:
            return changes
        self._heads = heads(self._db, wanted)
        # In the order of their names, so that the index of names is filled page by page.
        for key in sorted(wanted - self._heads.keys()):
            self.state.last_key += 1
            self._heads[key] = Head(key, self.state.last_key)
        return changes

    def apply(self, source: str, change: Change, *, history: bool = False) -> None:
        """Apply one change that `look_up` knows.

        `history` also stores what changes nothing now: imports come in any order, and what
        repeats its neighbour today need not do so after the next one.
        """
        source_id = self.source_id(source)
        if isinstance(change, Upsert):
            self._put(source_id, source, change.document, history)
        elif isinstance(change, Delete):
            self._end(source_id, source, change, history)
        elif isinstance(change, Purge):
            self._purge(source_id, source, change)
        elif isinstance(change, Gap):
            self._gap(source_id, source, change, history)
        elif isinstance(change, Notice):
            body = codec.pack_notice(change)
            notice = codec.unpack_notice(body)
            seq = self._event(NOTICE, source_id, self._stamp_us, body)
            self._enter(seq, Op.NOTICE, source, start_us=self._stamp_us, notice=notice)
        else:
            raise ContentError(f"{type(change).__name__} is no change.", code="change.unknown")

    def expire(self, source: str, before_us: int, limit: int) -> None:
        """Drop up to `limit` versions of `source` observed before that; none that is pinned."""
        source_id = self.source_id(source)
        seqs = erase.by_age(self._db, source_id, before_us, limit)
        self._drop(source_id, source, "", seqs, Life.EXPIRED, "")

    def move_cursor(self, source: str, cursor: str) -> None:
        """Remember where the source stands."""
        self._db.execute(
            "UPDATE sources SET cursor = ? WHERE id = ?",
            (cursor.encode("utf-8", "surrogatepass"), self.source_id(source)),
        )

    def source_id(self, source: str) -> int:
        """The number of a source, given to it when it is first heard of."""
        try:
            return self.sources[source]
        except KeyError:
            pass
        name = codec.clean_name(source)
        self._db.execute("INSERT OR IGNORE INTO sources (name) VALUES (?)", (name,))
        found = self._db.execute("SELECT id FROM sources WHERE name = ?", (name,)).fetchall()
        self.sources[source] = int(found[0][0])
        return self.sources[source]

    def outcome(self) -> Appended:
        """What was done; true once the transaction is committed."""
        return Appended(
            last_seq=self.state.last_seq,
            entries=tuple(self._entries),
            unchanged=self._unchanged,
        )

    def flush(self) -> None:
        """Write what was gathered."""
        db = self._db
        changed = self._changed.values()
        fresh = [(h.id, h.key, h.versions, h.purged_us) for h in changed if h.fresh]
        known = [(h.versions, h.purged_us, h.id) for h in changed if not h.fresh]
        if fresh:
            fresh.sort()
            rows.insert(db, "INSERT INTO keys", fresh)
        if known:
            db.executemany("UPDATE keys SET versions = ?, purged_us = ? WHERE id = ?", known)
        rows.insert(db, "INSERT INTO log", self._log)
        rows.insert(db, "INSERT INTO bodies", self._bodies)
        rows.insert(db, "INSERT OR IGNORE INTO attached", self._attached)
        tally.add(db, self._tally)
        state = self.state
        db.execute(
            "UPDATE state SET stamp_us = ?, versions = ?, purged = ?, gaps = ?",
            (state.stamp_us, state.versions, state.purged, state.gaps),
        )
        for head in self._changed.values():
            head.fresh = False
        for gathered in (self._changed, self._log, self._bodies, self._attached, self._tally):
            gathered.clear()
        self._flushed_seq = state.last_seq

    # -- versions and ends ----------------------------------------------------
    def _put(self, source_id: int, source: str, document: Document, history: bool) -> None:
        document, content, extra = codec.pack(document)
        head = self._heads[document.key]
        observed_at = document.observed_at
        if observed_at is None:
            # What is not stored must not move the stamp either, so the common case comes first.
            if (
                head.alive
                and not history
                and head.start_us <= self._stamp_us
                and codec.same(head.content, content)
            ):
                self._unchanged += 1
                return
            place = self._place_live(head)
        else:
            start_us = _moment(observed_at, head.key)
            if self._known(head, start_us, PUT, source_id, content):
                self._unchanged += 1
                return
            place = self._place(head, start_us)
        # Another source that brings the same words brings no new version: two that overlap would
        # hand one document to and fro for ever.
        if not history and codec.same(place.prev_content, content):
            self._unchanged += 1
            return
        state = self.state
        seq = state.last_seq = state.last_seq + 1
        version = head.versions = head.versions + 1
        state.versions += 1
        start_us, prev_seq, prev_source, _, until_us = place
        author = document.author
        self._log.append(
            (
                seq,
                PUT,
                source_id,
                head.id,
                version,
                start_us,
                until_us,
                prev_seq,
                erase.author_hash(author) if author else None,
                None,
            )
        )
        self._bodies.append((seq, content, extra))
        if document.attachments:
            self._attached += ((seq, a.hash) for a in document.attachments)
        self._count(source_id, start_us, until_us, 1)
        if prev_seq is not None:
            self._count(prev_source, start_us, until_us, -1)
        self._advance(head, seq, start_us, source_id, content, alive=True)
        stored = msgspec.structs.replace(
            document, source=source, observed_at=self._at_moment(start_us), version=version, seq=seq
        )
        self._entries.append(
            Entry(
                seq=seq,
                op=Op.PUT,
                source=source,
                key=document.key,
                start_us=start_us,
                until_us=until_us,
                prev_seq=prev_seq,
                document=stored,
            )
        )

    def _end(self, source_id: int, source: str, change: Delete, history: bool) -> None:
        head = self._heads[change.key]
        if change.observed_at is None:
            if not head.alive and not history:
                self._unchanged += 1
                return
            place = self._place_live(head)
        else:
            start_us = _moment(change.observed_at, head.key)
            if self._known(head, start_us, END, source_id, b""):
                self._unchanged += 1
                return
            place = self._place(head, start_us)
        if place.prev_seq is None and not history:
            self._unchanged += 1
            return
        seq = self.state.last_seq = self.state.last_seq + 1
        start_us, prev_seq, prev_source, _, until_us = place
        self._log.append(
            (seq, END, source_id, head.id, None, start_us, until_us, prev_seq, None, None)
        )
        if prev_seq is not None:
            self._count(prev_source, start_us, until_us, -1)
        self._advance(head, seq, start_us, source_id, b"", alive=False)
        self._enter(seq, Op.END, source, key=head.key, start_us=start_us, prev_seq=prev_seq)

    def _advance(
        self, head: Head, seq: int, start_us: int, source_id: int, content: bytes, *, alive: bool
    ) -> None:
        head.touched_seq = seq
        self._changed[head.id] = head
        if not head.seq or start_us >= head.start_us:
            head.seq, head.start_us, head.source = seq, start_us, source_id
            head.alive, head.content = alive, content

    def _place_live(self, head: Head) -> Place:
        """A place at the live stamp, which moves on so that no two entries of a key share it."""
        if not head.seq and head.purged_us is None:
            self.state.stamp_us = self._stamp_us
            return Place(self._stamp_us)
        taken_us = max(
            head.start_us if head.seq and head.start_us == self._stamp_us else self._stamp_us - 1,
            -1 if head.purged_us is None else head.purged_us,
        )
        self._stamp_us = max(self._stamp_us, taken_us + 1)
        while head.seq and head.start_us > self._stamp_us and self._at(head, self._stamp_us):
            self._stamp_us += 1
        self.state.stamp_us = self._stamp_us
        return self._place(head, self._stamp_us)

    def _place(self, head: Head, start_us: int) -> Place:
        if not head.seq or start_us > head.start_us:
            if head.alive:
                return Place(start_us, head.seq, head.source, head.content)
            return Place(start_us)
        self._flush_for(head)
        return place_within(self._db, head, start_us)

    def _known(self, head: Head, start_us: int, op: int, source_id: int, content: bytes) -> bool:
        """Whether a change from the past adds nothing: it is there already, or was purged."""
        if head.purged_us is not None and start_us <= head.purged_us:
            return True
        if not head.seq or start_us > head.start_us:
            return False
        for at_op, at_source, at_content, dropped in self._at(head, start_us):
            if at_op != op:
                continue
            if op == END or (at_content is None and _life(dropped) is Life.PURGED):
                return True
            if at_content and at_source == source_id and codec.same(at_content, content):
                return True
        return False

    def _at(self, head: Head, start_us: int) -> list[tuple[int, int, bytes, bytes | None]]:
        self._flush_for(head)
        return entries_at(self._db, head, start_us)

    def _flush_for(self, head: Head) -> None:
        """Before the database is asked about a key, it must know what this transaction did."""
        if head.touched_seq > self._flushed_seq:
            self.flush()

    def _at_moment(self, at_us: int) -> datetime:
        if at_us != self._moment_us:
            self._moment_us, self._moment = at_us, from_us(at_us)
        return self._moment

    def _count(self, source_id: int, start_us: int, until_us: int | None, sign: int) -> None:
        self._tally[source_id, start_us] += sign
        if until_us is not None:
            self._tally[source_id, until_us] -= sign

    # -- erasing --------------------------------------------------------------
    def _purge(self, source_id: int, source: str, purge: Purge) -> None:
        if bool(purge.key) == bool(purge.author):
            raise ContentError(
                "A purge names either a key or an author.", code="change.invalid", key=purge.key
            )
        self.flush()
        if purge.author:
            author = codec.clean(purge.author)
            seqs = erase.by_author(self._db, author, source_id, self.state.last_seq)
            self._drop(source_id, source, "", seqs, Life.PURGED, purge.reason)
            return
        head = self._heads[purge.key]
        if head.seq:
            head.purged_us = self._stamp_us
            self._changed[head.id] = head
        seqs = erase.by_key(self._db, head.id)
        self._drop(source_id, source, head.key, seqs, Life.PURGED, purge.reason)

    def _drop(
        self, source_id: int, source: str, key: str, seqs: list[int], life: Life, reason: str
    ) -> None:
        """Remove the content of these versions; what stays is that they were, and why they went."""
        if not seqs:
            self._unchanged += life is Life.PURGED
            return
        for owner, start_us, until_us in erase.lives(self._db, seqs):
            self._count(owner, start_us, until_us, -1)
        body = codec.pack_plain((life.value, reason))
        seq = self._event(DROP, source_id, self._stamp_us, body, codec.pack_plain(seqs), key)
        erase.erase(self._db, seqs, seq)
        self.state.versions -= len(seqs)
        if life is Life.PURGED:
            erase.unpin(self._db, seqs)
            self.state.purged += len(seqs)
            self.purged = True
        dropped = set(seqs)
        for head in [self._heads[key]] if key else self._heads.values():
            if head.seq in dropped:
                head.alive, head.content = False, b""
        self._enter(seq, Op.DROP, source, key=key, start_us=self._stamp_us, dropped=tuple(seqs))
        self.flush()  # what is applied next may ask the database why a version went

    # -- other entries --------------------------------------------------------
    def _gap(self, source_id: int, source: str, gap: Gap, history: bool) -> None:
        try:
            body = codec.pack_gap(gap)
            at_us = self._stamp_us if gap.observed_at is None else to_us(gap.observed_at)
        except TypeError as error:
            raise ContentError(
                f"A gap of {source} cannot be stored: {error}.", code="change.invalid"
            ) from None
        if history and self._has_gap(source_id, gap, at_us, body):
            self._unchanged += 1
            return
        self.state.gaps += 1
        seq = self._event(GAP, source_id, at_us, body)
        self._enter(seq, Op.GAP, source, start_us=at_us, gap=codec.unpack_gap(body))

    def _has_gap(self, source_id: int, gap: Gap, at_us: int, body: bytes) -> bool:
        """Whether the very same gap is stored; one without a moment, at whatever moment."""
        self.flush()
        anywhen = gap.observed_at is None
        found = self._db.execute(
            "SELECT b.content FROM log l JOIN bodies b ON b.seq = l.seq WHERE l.op = 4 "
            "AND l.op > 3 AND l.source = ? AND l.start_us BETWEEN ? AND ?",
            (source_id, -(2**63) if anywhen else at_us, 2**63 - 1 if anywhen else at_us),
        )
        return any(codec.same(content, body) for (content,) in found)

    def _event(
        self,
        op: int,
        source_id: int,
        at_us: int,
        content: bytes,
        extra: bytes | None = None,
        key: str = "",
    ) -> int:
        state = self.state
        seq = state.last_seq = state.last_seq + 1
        state.stamp_us = max(state.stamp_us, self._stamp_us)
        key_id = self._heads[key].id if key else None
        self._log.append((seq, op, source_id, key_id, None, at_us, None, None, None, None))
        self._bodies.append((seq, content, extra))
        return seq

    def _enter(self, seq: int, op: Op, source: str, **fields: Any) -> None:
        self._entries.append(Entry(seq=seq, op=op, source=source, **fields))


def _keys_of(changes: Sequence[Change]) -> list[str]:
    keys = []
    for change in changes:
        if isinstance(change, Upsert):
            keys.append(change.document.key)
        elif isinstance(change, Delete) or (isinstance(change, Purge) and not change.author):
            keys.append(change.key)
    return keys


def _with_clean_key(change: Change) -> Change:
    if isinstance(change, Upsert):
        document = change.document
        key = codec.clean_name(document.key)
        return Upsert(msgspec.structs.replace(document, key=key))
    if isinstance(change, Delete | Purge):
        return msgspec.structs.replace(change, key=codec.clean_name(change.key))
    return change


def _moment(moment: datetime, key: str) -> int:
    try:
        return to_us(moment)
    except TypeError:
        raise ContentError(
            f"observed_at of {key!r} has no time zone.", code="document.invalid", key=key
        ) from None


def _life(dropped: bytes | None) -> Life | None:
    return None if dropped is None else Life(codec.unpack_plain(dropped)[0])
