"""What every record promises; `tests/contract/record.py` holds any implementation to it.

The record is the bitemporal memory. A key's *timeline* is the sequence of its versions and
ends (deletes) by `observed_at`; a version is alive from its `observed_at` until that of the
next entry of its timeline. As of T, a key is what the last entry observed at or before T says.

Every state change gets the next *sequence number*, gap-free in commit order within one record.
Live batches are stamped so that `observed_at` never runs backwards, also when the clock does;
only imports carry older moments, and are sorted into the timeline where they belong.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Protocol, TypeAlias

import msgspec

from gnomon.types import Batch, Cursor, Delete, Document, Gap, Notice, SourceConfig, Upsert

Historic: TypeAlias = Upsert | Delete | Gap
"""What an export carries and an import loads."""


class Op(StrEnum):
    """What an entry of the change log did."""

    PUT = "put"
    END = "end"
    DROP = "drop"
    GAP = "gap"
    NOTICE = "notice"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the change log: what index and subscribers follow, in order of `seq`.

    PUT: `document` is a new version (None if it has since been dropped), alive
    [`start_us`, `until_us`); `prev_seq`, if any, is the version that it ends at `start_us`.
    END: the version `prev_seq` ended at `start_us` (a delete); no document.
    DROP: the versions `dropped` are gone for every as-of (purge or retention).
    """

    seq: int
    op: Op
    source: str
    key: str = ""
    start_us: int = 0
    until_us: int | None = None
    prev_seq: int | None = None
    dropped: tuple[int, ...] = ()
    document: Document | None = None
    gap: Gap | None = None
    notice: Notice | None = None


class Appended(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of one append. `entries` are its log entries, in order, ready to index."""

    last_seq: int
    entries: tuple[Entry, ...] = ()
    unchanged: int = 0
    """Upserts equal to the live version, and deletes of what is not alive: not stored again."""


class Life(StrEnum):
    """How a key stands at a moment."""

    ALIVE = "alive"
    DELETED = "deleted"
    PURGED = "purged"
    EXPIRED = "expired"
    UNKNOWN = "unknown"


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What the record knows of a key at a moment.

    `document` is the version alive then, or, for DELETED, the last one before the end.
    `since` is when that state began.
    """

    life: Life
    document: Document | None = None
    since: datetime | None = None
    reason: str = ""


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """Counts and sizes."""

    documents: int
    """Keys that are alive."""
    versions: int
    purged: int
    gaps: int
    last_seq: int
    body_bytes: int
    """Size of the store on disk."""


class SourceStats(msgspec.Struct, frozen=True, kw_only=True):
    """What one source has brought."""

    documents: int
    """Keys of this source that are alive."""
    last_document_at: datetime | None
    """`observed_at` of its newest version at or before the moment asked for."""
    last_published_at: datetime | None = None


class Record(Protocol):
    """The durable memory. Methods are synchronous and safe to call from any thread."""

    # -- writing ---------------------------------------------------------------
    def append(self, source: str, batch: Batch, *, now: datetime) -> Appended:
        """Store changes and cursor in one transaction; all or nothing, durable on return.

        Every document and delete without `observed_at` is observed at `now` (never before the
        latest live stamp). Changes apply in order. An upsert equal to the live version in
        everything but `observed_at` and `extra` stores nothing.
        Raises StoreError, with nothing stored, if the store cannot be written.
        """
        ...

    def load(self, changes: Iterable[tuple[str, Historic]], *, now: datetime) -> Appended:
        """Import history: (source, change) pairs that carry `observed_at`, in any order.

        Each is sorted into its key's timeline. Entries come back without documents read twice.
        """
        ...

    def retain(
        self, source: str, keep: timedelta, *, now: datetime, limit: int = 10_000
    ) -> Appended:
        """Remove up to `limit` versions of `source` that were observed before `now - keep`.

        A version that is still alive goes too; versions pinned by `pin` stay.
        """
        ...

    def pin(self, holder: str, seqs: Sequence[int]) -> None:
        """Keep these versions from retention as long as `holder` (an answer's id) exists."""
        ...

    def unpin(self, holder: str) -> None:
        """Release what `holder` pinned."""
        ...

    def put_blob(self, body: bytes, media_type: str) -> str:
        """Store bytes under the SHA-256 of their content; returns the hash. Idempotent."""
        ...

    # -- reading ---------------------------------------------------------------
    def cursor(self, source: str) -> Cursor | None:
        """The cursor stored with the source's last batch."""
        ...

    def last_seq(self) -> int:
        """The newest sequence number; 0 for an empty record."""
        ...

    def get(self, key: str, as_of: datetime | None = None) -> Found:
        """How `key` stands at `as_of` (default: now)."""
        ...

    def version(self, key: str, version: int) -> Found:
        """That very version, whatever came after it; PURGED or EXPIRED if it is gone."""
        ...

    def versions(self, key: str) -> list[Document]:
        """All stored versions of `key`, by `observed_at`."""
        ...

    def by_seq(self, seqs: Sequence[int]) -> list[Document | None]:
        """The versions with these sequence numbers, in the order given; None if dropped."""
        ...

    def entries(self, after_seq: int, limit: int = 1000, source: str | None = None) -> list[Entry]:
        """The change log after `after_seq`, in order, at most `limit` entries."""
        ...

    def held(
        self, source: str, since: datetime | None = None, limit: int = 10_000
    ) -> list[tuple[str, datetime]]:
        """Stored versions of `source`, ended ones too: (key, `observed_at`), oldest first.

        From `since` on, at most `limit`, but all of the last moment: the next page begins just
        after it. What was purged or has expired is not among them.
        """
        ...

    def gaps(
        self, source: str | None = None, as_of: datetime | None = None
    ) -> list[tuple[str, datetime, Gap]]:
        """Known losses: (source, when recorded, gap), newest first."""
        ...

    def notices(
        self, source: str | None = None, limit: int = 100
    ) -> list[tuple[str, datetime, Notice]]:
        """Notices, newest first."""
        ...

    def blob(self, hash: str) -> tuple[bytes, str] | None:
        """Content and media type; None if unknown or purged."""
        ...

    def stats(self) -> Stats:
        """Counts and sizes; cheap enough for a metrics scrape."""
        ...

    def source_stats(self, as_of: datetime | None = None) -> dict[str, SourceStats]:
        """Per source, at `as_of`; cheap enough for every answer."""
        ...

    # -- configured sources ----------------------------------------------------
    def put_source(self, config: SourceConfig) -> None:
        """Add or replace a configured source, by name."""
        ...

    def drop_source(self, name: str) -> bool:
        """Remove the configuration; what it brought stays. False if unknown."""
        ...

    def sources(self) -> list[SourceConfig]:
        """All configured sources, by name."""
        ...

    # -- upkeep ----------------------------------------------------------------
    def export(self) -> Iterator[tuple[str, Historic]]:
        """Everything that `load` needs to rebuild versions, ends and gaps, in order of `seq`."""
        ...

    def backup(self, path: Path) -> None:
        """A consistent copy, made while the record is in use."""
        ...

    def check(self) -> None:
        """Raise StoreError if the stored data are damaged."""
        ...

    def close(self) -> None:
        """Release files. Idempotent."""
        ...
