"""Moving history in and out of a record, as a stream: JSONL (plain, `.gz`, `.zst`) and Parquet.

One row is one version, delete or gap, in the flat shape that docs/how-to/back-up-and-move.md
lists. What `export_file` writes, `import_file` loads with the same answer for every moment; rows
made by hand need no more than `text` and `observed_at`. A row that cannot be used is reported with
its number and its reason. Importing a file twice changes nothing.
"""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from gnomon.errors import ConfigError, ContentError
from gnomon.record import files
from gnomon.record.base import Historic, Record
from gnomon.types import Attachment, Delete, Document, Gap, Policy, Upsert

_CHUNK_ROWS = 2_000
_CHUNK_CHARACTERS = 16_000_000
_NAMED_ROWS = 1_000
_FUTURE_TOLERANCE = timedelta(minutes=5)
_TEXTS = ("title", "url", "author", "lang", "date_source", "reply_to", "quotes")
_KNOWN = frozenset(Document.__struct_fields__) | {"op", "extra_json"}
_BLANK = Document(key="", source="", kind="", text="")


class ImportReport(NamedTuple):
    """What became of a file's rows: `rows == loaded + known + skipped_rows`."""

    rows: int
    loaded: int
    """Rows that are new in the record."""
    known: int
    """Rows that the record had already, or that have been purged from it."""
    skipped_rows: int
    """Rows that cannot be used."""
    skipped: tuple[tuple[int, str], ...]
    """The first thousand of those: (line or row number from 1, reason)."""


def export_file(record: Record, path: Path) -> int:
    """Write every version, delete and gap to `path`, whose name tells the format.

    Returns the number of rows. The file gets its name when it is complete, and never replaces
    another. Raises ConfigError if it cannot be written, or pyarrow is missing.
    """
    write = files.writer(path)
    if path.exists():
        raise ConfigError(
            f"{path} exists already, and an export never replaces a file.",
            code="transfer.exists",
            hint="Choose another name, or remove that file first.",
            path=str(path),
        )
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            count = write(_rows(record), file)
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error.strerror or error}.",
            code="transfer.write",
            hint="Choose a folder that exists, may be written and has room.",
            path=str(path),
        ) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    return count


def import_file(
    record: Record, path: Path, *, now: datetime, between: Callable[[], None] | None = None
) -> ImportReport:
    """Load history from `path`; each row keeps the moment at which it was observed.

    `between` is called after every load of some thousand rows, when nothing is being written.
    Rows without `source` belong to `import:<file name>`. Raises ConfigError if the file cannot be
    opened, and StoreError if the record cannot be written: what was loaded until then stays, and
    importing the file again does the rest.
    """
    loading = _Loading(record, now, between)
    source = f"import:{files.stem(path)}"
    with files.open_rows(path) as rows:
        for number, row in rows:
            loading.rows += 1
            try:
                if isinstance(row, ContentError):
                    raise row
                loading.add(number, _understood(record, row, source, now))
            except ContentError as error:
                loading.skip(number, error)
    loading.flush()
    return loading.report()


class _Loading:
    """Gathers rows into loads of bounded size."""

    def __init__(self, record: Record, now: datetime, between: Callable[[], None] | None) -> None:
        self.rows = 0
        self._between = between
        self._record = record
        self._now = now
        self._waiting: list[tuple[int, tuple[str, Historic]]] = []
        self._characters = 0
        self._loaded = self._known = self._skipped_rows = 0
        self._skipped: list[tuple[int, str]] = []

    def add(self, number: int, change: tuple[str, Historic]) -> None:
        self._waiting.append((number, change))
        if isinstance(change[1], Upsert):
            self._characters += len(change[1].document.text)
        if len(self._waiting) >= _CHUNK_ROWS or self._characters >= _CHUNK_CHARACTERS:
            self.flush()

    def skip(self, number: int, error: ContentError) -> None:
        self._skipped_rows += 1
        if len(self._skipped) < _NAMED_ROWS:
            self._skipped.append((number, error.message))

    def flush(self) -> None:
        waiting, self._waiting, self._characters = self._waiting, [], 0
        if not self._load(waiting):
            for row in waiting:  # one of them is at fault; the others need not wait for it
                self._load([row])
        if self._between is not None:
            self._between()

    def _load(self, rows: list[tuple[int, tuple[str, Historic]]]) -> bool:
        try:
            done = self._record.load([change for _, change in rows], now=self._now)
        except ContentError as error:
            if len(rows) == 1:
                self.skip(rows[0][0], error)
            return False
        self._loaded += len(done.entries)
        self._known += done.unchanged
        return True

    def report(self) -> ImportReport:
        skipped = tuple(sorted(self._skipped))
        return ImportReport(self.rows, self._loaded, self._known, self._skipped_rows, skipped)


# -- from the record to rows --------------------------------------------------
def _rows(record: Record) -> Iterator[files.Row]:
    written: set[str] = set()
    for source, change in record.export():
        if isinstance(change, Upsert):
            yield _row(record, change.document, written)
        else:
            op = "delete" if isinstance(change, Delete) else "gap"
            fields = {n: getattr(change, n) for n in change.__struct_fields__}
            yield {"op": op, "source": source} | {n: v for n, v in fields.items() if v is not None}


def _row(record: Record, document: Document, written: set[str]) -> files.Row:
    """A version without what is at its default; a saved body comes with the first that has it."""
    row = {
        name: value
        for name in document.__struct_fields__
        if (value := getattr(document, name)) != getattr(_BLANK, name)
        or name in ("key", "source", "kind", "text")
    }
    if document.policy != _BLANK.policy:
        row["policy"] = msgspec.structs.asdict(document.policy)
    if document.attachments:
        attachments = []
        for attachment in document.attachments:
            fields: dict[str, Any] = msgspec.structs.asdict(attachment)
            if attachment.hash not in written and (blob := record.blob(attachment.hash)):
                fields["data"] = b64encode(blob[0]).decode()
                written.add(attachment.hash)
            attachments.append(fields)
        row["attachments"] = attachments
    return {"op": "upsert", **row}


# -- from rows to the record --------------------------------------------------
def _understood(record: Record, row: files.Row, source: str, now: datetime) -> tuple[str, Historic]:
    """The change that a row stands for. Raises ContentError with the reason if there is none."""
    source = _text(row, "source") or source
    op = row.get("op") or "upsert"
    if op == "gap":
        gap = Gap(
            reason=_text(row, "reason"),
            start=_time(row, "start"),
            end=_time(row, "end"),
            observed_at=_observed(row, now) if row.get("observed_at") else None,
        )
        return source, gap
    if op in ("delete", "end"):
        return source, Delete(key=_key(row), observed_at=_observed(row, now))
    if op in ("upsert", "put"):
        return source, Upsert(_document(record, row, source, now))
    raise ContentError(f"unknown op {op!r}")


def _document(record: Record, row: files.Row, source: str, now: datetime) -> Document:
    if row.get("text") is None:
        raise ContentError("text is missing")
    policy, attachments = row.get("policy"), row.get("attachments") or ()
    texts: dict[str, Any] = {name: _text(row, name, getattr(_BLANK, name)) for name in _TEXTS}
    try:
        return Document(
            key=_key(row),
            source=source,
            kind=_text(row, "kind", "article" if row.get("title") or row.get("url") else "post"),
            text=_text(row, "text"),
            published_at=_time(row, "published_at"),
            updated_at=_time(row, "updated_at"),
            observed_at=_observed(row, now),
            policy=_BLANK.policy if policy is None else msgspec.convert(policy, Policy),
            attachments=tuple(_attachment(record, a) for a in attachments),
            extra=_extra(row),
            **texts,
        )
    except (msgspec.ValidationError, TypeError) as error:
        raise ContentError(f"unusable value: {error}") from None


def _key(row: files.Row) -> str:
    """The row's key, else one from what does not change between its versions."""
    if key := _text(row, "key"):
        return key
    if url := _text(row, "url"):
        return f"import:{url}"
    if not (text := _text(row, "text")):
        raise ContentError("key is missing")
    digest = sha256("\0".join((_text(row, "title"), text)).encode("utf-8", "surrogatepass"))
    return f"import:{digest.hexdigest()[:32]}"


def _attachment(record: Record, fields: Any) -> Attachment:
    attachment = msgspec.convert(fields, Attachment)
    data = fields.get("data")
    if data is not None:
        try:
            body = b64decode(data, validate=True)
        except (ValueError, TypeError) as error:
            raise ContentError(f"the data of an attachment are no base64: {error}") from None
        if sha256(body).hexdigest() != attachment.hash:
            raise ContentError("the data of an attachment do not have its hash")
        record.put_blob(body, attachment.media_type)
    return attachment


def _extra(row: files.Row) -> Mapping[str, Any]:
    """The row's `extra`, and with it what we do not know."""
    extra = row.get("extra") or {}
    if row.get("extra_json"):
        try:
            extra = msgspec.json.decode(_text(row, "extra_json"))
        except msgspec.DecodeError as error:
            raise ContentError(f"extra_json is no JSON: {error}") from None
    if not isinstance(extra, Mapping):
        raise ContentError("extra is no object")
    unknown = row.keys() - _KNOWN
    if not unknown:
        return extra
    return {**extra, **{n: msgspec.to_builtins(row[n], enc_hook=str) for n in sorted(unknown)}}


def _text(row: files.Row, name: str, default: str = "") -> str:
    value = row.get(name)
    if value is None:
        return default
    if not isinstance(value, str):
        raise ContentError(f"{name} is no text but {value!r:.40}")
    return value


def _observed(row: files.Row, now: datetime) -> datetime:
    observed = _time(row, "observed_at")
    if observed is None:
        raise ContentError("observed_at is missing: when was this seen?")
    if observed > now + _FUTURE_TOLERANCE:
        raise ContentError(f"observed_at {observed.isoformat()} lies in the future")
    return observed


def _time(row: files.Row, name: str) -> datetime | None:
    value = row.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ContentError(f"{name} {value!r:.40} is no ISO time") from None
    if not isinstance(value, datetime):
        raise ContentError(f"{name} is no time but {value!r:.40}")
    if value.tzinfo is None:
        raise ContentError(f"{name} {value.isoformat()} has no time zone; add Z for UTC")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ContentError(f"{name} {value.isoformat()} is out of range") from None
