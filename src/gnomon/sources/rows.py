"""Rows of a file, in order and by number, and what each of them says.

JSONL (plain, gzip, zstd), Parquet and WARC are read as a stream: memory does not grow with the
file. A row has the flat shape of `gnomon record export`; a few other common names are understood
(`created_at`, `id`, `body`), and what is not understood is kept in `extra`.
"""

from __future__ import annotations

import gzip
import io
import re
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

import msgspec
import orjson
import zstandard

from gnomon.clock import from_us
from gnomon.errors import ConfigError, ContentError
from gnomon.extract.html import extract_page
from gnomon.types import Attachment, Change, Delete, Document, Gap, Policy, Upsert

Format = Literal["jsonl", "parquet", "warc"]

_SUFFIXES: Mapping[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".warc": "warc",
}
_LINE_BYTES = 8_000_000
_HEAD_BYTES = 4_096
_TIMES = ("observed_at", "published_at", "created_at", "updated_at")


def format_of(path: Path) -> Format | None:
    """The format that a file's name tells, compressed or not; None if it tells none."""
    suffixes = [s.lower() for s in path.suffixes]
    if suffixes and suffixes[-1] in (".gz", ".zst"):
        suffixes.pop()
    return _SUFFIXES.get(suffixes[-1]) if suffixes else None


class Identity(msgspec.Struct, frozen=True):
    """Tells whether a file is still the same one, grown or not, by its first bytes."""

    head_bytes: int
    digest: str

    @classmethod
    def of(cls, path: Path, head_bytes: int = _HEAD_BYTES) -> Identity:
        """The identity of the file as it is now."""
        with path.open("rb") as file:
            head = file.read(head_bytes)
        return cls(len(head), blake2b(head, digest_size=8).hexdigest())

    def holds(self, path: Path) -> bool:
        """Whether the file still begins as it did."""
        return self == Identity.of(path, self.head_bytes)


class Raw(NamedTuple):
    """One row, not yet understood."""

    number: int
    """From 1. In JSONL this is the line."""
    data: bytes | Mapping[str, Any] | Exception
    """A JSON line, a decoded row, or why there is none."""
    offset: int = 0
    """Where the next row begins, in plain JSONL."""


@contextmanager
def open_rows(
    path: Path, format: Format, *, after: int, offset: int, now: datetime
) -> Iterator[Iterator[Raw]]:
    """The rows after number `after`. `offset` is where they begin, if that is known."""
    if format == "jsonl":
        with _open_bytes(path) as file:
            plain = path.suffix.lower() not in (".gz", ".zst")
            if plain and offset:
                file.seek(offset)
            yield _lines(file, after, skip=0 if plain and offset else after, offset=offset)
    elif format == "parquet":
        with closing(_parquet(path, after)) as rows:
            yield rows
    else:
        with path.open("rb") as file:
            yield _warc(file, after, now)


@contextmanager
def _open_bytes(path: Path) -> Iterator[BinaryIO]:
    suffix = path.suffix.lower()
    with path.open("rb") as file:
        if suffix == ".gz":
            with gzip.open(file) as unpacked:
                yield io.BufferedReader(unpacked, 1 << 20)
        elif suffix == ".zst":
            with io.BufferedReader(_Zstd(file), 1 << 20) as unpacked:
                yield unpacked
        else:
            yield file


class _Zstd(io.RawIOBase):
    """Unpacks frame after frame; unlike zstandard's own reader it tells a cut-off file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._frame: Any = None
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            packed = (self._frame.unused_data if self._ended() else b"") or self._file.read(8_192)
            if not packed:
                if self._frame is not None and not self._ended():
                    raise EOFError("the last frame is cut off")
                return 0
            if self._frame is None or self._ended():
                self._frame = zstandard.ZstdDecompressor().decompressobj()
            self._ready = self._frame.decompress(packed)
        size = min(len(buffer), len(self._ready))
        buffer[:size], self._ready = self._ready[:size], self._ready[size:]
        return size

    def _ended(self) -> bool:
        return self._frame is not None and self._frame.eof


def _lines(file: BinaryIO, after: int, *, skip: int, offset: int) -> Iterator[Raw]:
    number = after - skip
    at = offset
    while True:
        try:
            line = file.readline(_LINE_BYTES)
            size = len(line)
            whole = size < _LINE_BYTES or line.endswith(b"\n")
            while not whole:
                rest = file.readline(_LINE_BYTES)
                size += len(rest)
                whole = len(rest) < _LINE_BYTES or rest.endswith(b"\n")
                line = b""
        except (EOFError, OSError, zstandard.ZstdError) as error:
            # The packed file is cut off or damaged from here on.
            yield Raw(number + 1, ContentError(f"the file is damaged: {error}"), at)
            return
        if not size:
            return
        number += 1
        at += size
        if number <= after:
            continue
        if not line:
            yield Raw(number, ContentError(f"longer than {_LINE_BYTES:,} bytes"), at)
        elif not line.isspace():
            yield Raw(number, line, at)


def _parquet(path: Path, after: int) -> Generator[Raw, None, None]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise ConfigError(
            f"{path} is a Parquet file, and pyarrow is not installed.",
            code="replay.parquet",
            hint="Install the extra: pip install 'gnomon[parquet]'.",
        ) from None
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                if number + rows <= after:
                    number += rows
                    continue
                for batch in file.iter_batches(batch_size=1_000, row_groups=[group]):
                    for row in batch.to_pylist():
                        number += 1
                        if number > after:
                            yield Raw(number, row)
    except (ArrowException, OSError) as error:
        yield Raw(number + 1, ContentError(f"the file is damaged: {error}"))


def _warc(file: BinaryIO, after: int, now: datetime) -> Iterator[Raw]:
    try:
        from fastwarc.warc import ArchiveIterator, WarcRecordType
    except ImportError:
        raise ConfigError(
            "WARC files need fastwarc, which is not installed.",
            code="replay.warc",
            hint="Install the extra: pip install 'gnomon[warc]'.",
        ) from None
    number = 0
    try:
        for record in ArchiveIterator(file, record_types=WarcRecordType.response):
            number += 1
            media_type = (record.http_content_type or "").lower()
            if number <= after:
                continue
            if "html" not in media_type or record.http_headers.status_code != 200:
                yield Raw(number, {})
                continue
            url = record.headers.get("WARC-Target-URI") or ""
            try:
                page = extract_page(
                    record.reader.read(_LINE_BYTES),
                    url=url,
                    content_type=record.http_headers.get("Content-Type") or "",
                    now=record.record_date or now,
                )
            except ContentError as error:
                yield Raw(number, error)
                continue
            yield Raw(
                number,
                {
                    "id": page.canonical_url or url,
                    "kind": "page",
                    "title": page.title,
                    "text": page.text,
                    "url": page.canonical_url or url,
                    "author": page.author,
                    "lang": page.lang,
                    "published_at": page.published_at,
                    "date_source": page.date_source,
                    "observed_at": record.record_date,
                },
            )
    except (OSError, ValueError, RuntimeError) as error:
        yield Raw(number + 1, ContentError(f"the file is damaged: {error}"))


class Row(NamedTuple):
    """One row, understood."""

    number: int
    change: Change
    time: datetime | None
    """When it happened: observed, else published. Sets the pace of a replay."""
    offset: int


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """How rows become changes."""

    source: str
    kind: str
    lang: str
    policy: Policy
    keep_times: bool
    suffix: str = ""
    """Appended to every key, so that a repetition brings new documents."""

    def change(self, raw: Raw) -> Row | None:
        """What a row says; None if it is none of ours. Raises ContentError with the reason."""
        if isinstance(raw.data, Exception):
            raise raw.data
        row = raw.data
        if isinstance(row, bytes):
            try:
                row = orjson.loads(row)
            except orjson.JSONDecodeError as error:
                raise ContentError(f"no valid JSON: {error}") from None
            if not isinstance(row, dict):
                raise ContentError("not a JSON object")
        if not row:
            return None
        times = {name: moment(row.get(name)) for name in _TIMES}
        observed = times["observed_at"]
        published = times["published_at"] or times["created_at"]
        kept = observed if self.keep_times else None
        op = row.get("op") or "upsert"
        if op in ("delete", "end"):
            change: Change = Delete(key=self._key(row, raw.number), observed_at=kept)
        elif op == "gap":
            change = Gap(
                reason=_text(row, "reason"),
                start=moment(row.get("start")),
                end=moment(row.get("end")),
            )
        elif op in ("upsert", "put"):
            change = Upsert(self._document(row, raw.number, published, times["updated_at"], kept))
        elif op == "notice":
            return None
        else:
            raise ContentError(f"unknown op {op!r}")
        return Row(raw.number, change, observed or published, raw.offset)

    def _key(self, row: Mapping[str, Any], number: int) -> str:
        key = row.get("key")
        if not key:
            id = row.get("id")
            key = f"{self.source}#{number if id in (None, '') else id}"
        if not isinstance(key, str):
            raise ContentError("key is no text")
        return key + self.suffix

    def _document(
        self,
        row: Mapping[str, Any],
        number: int,
        published: datetime | None,
        updated: datetime | None,
        observed: datetime | None,
    ) -> Document:
        title = _text(row, "title")
        text = _text(row, "text") or _text(row, "body") or title
        if not text:
            raise ContentError("no text")
        extra = row.get("extra") or {}
        if not isinstance(extra, dict):
            raise ContentError("extra is no object")
        unknown = row.keys() - _KNOWN
        if unknown:
            extra = {**extra, **{name: _json(row[name]) for name in unknown}}
        policy, attachments = row.get("policy"), row.get("attachments")
        try:
            return Document(
                key=self._key(row, number),
                source=self.source,
                kind=_text(row, "kind") or self.kind,
                title=title,
                text=text,
                url=_text(row, "url"),
                author=_text(row, "author"),
                lang=_text(row, "lang") or self.lang,
                published_at=published,
                updated_at=updated,
                date_source=_text(row, "date_source") or ("file" if published else ""),
                observed_at=observed,
                policy=msgspec.convert(policy, Policy) if policy else self.policy,
                reply_to=_text(row, "reply_to"),
                quotes=_text(row, "quotes"),
                attachments=(
                    msgspec.convert(attachments, tuple[Attachment, ...]) if attachments else ()
                ),
                extra=extra,
            )
        except msgspec.ValidationError as error:
            raise ContentError(f"unusable value: {error}") from None


_KNOWN = frozenset(Document.__struct_fields__) | {"op", "id", "body", "created_at"}
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    if value is None:
        return ""
    if type(value) is not str:
        raise ContentError(f"{name} is no text")
    return _CONTROL.sub(" ", value) if _CONTROL.search(value) else value


def _json(value: Any) -> Any:
    """Parquet holds dates and bytes; `extra` holds JSON values."""
    return msgspec.to_builtins(value, enc_hook=str)


def moment(value: Any) -> datetime | None:
    """A time as files write it: RFC 3339 (UTC where no zone is given), or epoch s, ms or µs."""
    if value is None or value == "":
        return None
    try:
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        if isinstance(value, datetime):
            return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        if isinstance(value, int | float) and not isinstance(value, bool):
            # Seconds until the year 5138, milliseconds until 5138, else microseconds.
            scale = 1_000_000 if abs(value) < 1e11 else 1_000 if abs(value) < 1e14 else 1
            return from_us(int(value * scale))
    except (ValueError, OverflowError):
        pass
    raise ContentError(f"{value!r} is no time")
