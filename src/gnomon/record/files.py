"""Rows in files: JSONL (plain, gzip, zstd) and Parquet, read and written as a stream.

What a row means is `transfer`'s business. Reading never ends early because of one bad row: it
comes as a ContentError in its place, and so does the rest of a damaged file.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeAlias

import msgspec
import zstandard

from gnomon.errors import ConfigError, ContentError

Row: TypeAlias = Mapping[str, Any]

_LINE_BYTES = 256_000_000
_PACKED_BYTES = 1 << 14
_PARQUET_ROWS = 500
_FORMATS = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".ndjson", ".ndjson.gz", ".ndjson.zst", ".parquet")


class Numbered(NamedTuple):
    """A row, or why there is none, with its line (JSONL) or its place (Parquet) from 1."""

    number: int
    row: Row | ContentError


def stem(path: Path) -> str:
    """The file's name without the ending that tells the format."""
    ending = _format(path)
    return path.name[: -len(ending)] or path.name


def writer(path: Path) -> Callable[[Iterable[Row], BinaryIO], int]:
    """Writes rows in the format that the name tells; returns how many. Raises ConfigError."""
    ending = _format(path)
    if ending == ".parquet":
        return _parquet_writer(path)
    pack = _PACKERS.get(Path(ending).suffix)

    def write(rows: Iterable[Row], file: BinaryIO) -> int:
        if pack is None:
            return _write_lines(rows, file)
        with pack(file) as packed:
            return _write_lines(rows, packed)

    return write


@contextmanager
def open_rows(
    path: Path, span: tuple[int, int] | None = None
) -> Generator[Iterator[Numbered], None, None]:
    """The rows of a file, in order. Raises ConfigError if it cannot be opened.

    Of a plain JSONL file, `span` takes the lines that begin within these bytes.
    """
    ending = _format(path)
    try:
        with path.open("rb") as file:
            if ending == ".parquet":
                yield _parquet_rows(file, path)
            elif ending.endswith(".gz"):
                with gzip.open(file) as unpacked:
                    yield _lines(_piecewise(unpacked))
            elif ending.endswith(".zst"):
                yield _lines(_piecewise(_Zstd(file)))
            else:
                yield _lines(_Span(file, *span) if span else file)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror or error}.",
            code="transfer.read",
            hint="Correct the path or its permissions.",
            path=str(path),
        ) from error


def _format(path: Path) -> str:
    name = path.name.lower()
    found = [ending for ending in _FORMATS if name.endswith(ending)]
    if not found:
        raise ConfigError(
            f"The name of {path} tells no format.",
            code="transfer.format",
            hint=f"Let it end in one of {', '.join(_FORMATS)}.",
            path=str(path),
        )
    return found[0]


# -- JSONL --------------------------------------------------------------------
_PACKERS: Mapping[str, Callable[[BinaryIO], Any]] = {
    ".gz": lambda file: gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0),
    ".zst": lambda file: zstandard.ZstdCompressor(level=6).stream_writer(file, closefd=False),
}


def _write_lines(rows: Iterable[Row], file: Any) -> int:
    encode = msgspec.json.Encoder().encode
    count = 0
    for row in rows:
        file.write(encode(row) + b"\n")
        count += 1
    return count


class _Pieces(io.RawIOBase):
    """What is unpacked so far, so that the lines before damage are not lost with the damaged."""

    def __init__(self, unpacked: Any) -> None:
        self._unpacked = unpacked

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._unpacked.read1(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)


class _Zstd:
    """Unpacks zstd frames, and notices where the last one is cut off."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._frame: Any = None
        self._left = b""

    def read1(self, size: int) -> bytes:
        """Up to `size` bytes; none at the end."""
        while True:
            if self._left:
                piece, self._left = self._left[:size], self._left[size:]
                return piece
            packed = self._file.read(_PACKED_BYTES)
            if not packed:
                if self._frame is not None:
                    raise EOFError("it ends within a zstd frame")
                return b""
            self._left = self._unpack(packed)

    def _unpack(self, packed: bytes) -> bytes:
        pieces = []
        while packed:
            if self._frame is None:
                self._frame = zstandard.ZstdDecompressor().decompressobj()
            pieces.append(self._frame.decompress(packed))
            packed = b""
            if self._frame.eof:
                packed, self._frame = self._frame.unused_data, None
        return b"".join(pieces)


def _piecewise(unpacked: Any) -> io.BufferedReader:
    return io.BufferedReader(_Pieces(unpacked), 1 << 16)


class _Span:
    """The lines of a file that begin from byte `start` to before byte `end`."""

    def __init__(self, file: BinaryIO, start: int, end: int) -> None:
        self._file, self._end, self._between = file, end, True
        if start:
            file.seek(start - 1)
            while (line := file.readline(_LINE_BYTES)) and not line.endswith(b"\n"):
                pass

    def readline(self, size: int) -> bytes:
        """As of a file; none where no line of the span is left."""
        if self._between and self._file.tell() >= self._end:
            return b""
        line = self._file.readline(size)
        self._between = line.endswith(b"\n")
        return line


def _lines(file: Any) -> Iterator[Numbered]:
    number = 0
    while True:
        try:
            line = file.readline(_LINE_BYTES)
            whole = len(line) < _LINE_BYTES or line.endswith(b"\n")
            while not whole:
                rest = file.readline(_LINE_BYTES)
                whole = len(rest) < _LINE_BYTES or rest.endswith(b"\n")
                line = b"\0"
        except (EOFError, OSError, zstandard.ZstdError) as error:
            yield Numbered(number + 1, ContentError(f"the file is damaged from here on: {error}"))
            return
        if not line:
            return
        number += 1
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if line == b"\0":
            yield Numbered(number, ContentError(f"longer than {_LINE_BYTES:,} bytes"))
        elif not line.isspace():
            yield Numbered(number, _parsed(line))


def _parsed(line: bytes) -> Row | ContentError:
    try:
        row = msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError):
        try:
            # The slower parser also takes half a surrogate pair, which the record can mend.
            row = json.loads(line.decode())
        except (ValueError, RecursionError) as error:
            return ContentError(f"no valid JSON: {error}")
    return row if isinstance(row, dict) else ContentError("not a JSON object")


# -- Parquet ------------------------------------------------------------------
def _pyarrow(path: Path) -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise ConfigError(
            f"{path} is a Parquet file, and pyarrow is not installed.",
            code="transfer.parquet",
            hint="Install the extra: pip install 'gnomon[parquet]'.",
        ) from None
    return pyarrow, parquet


def _parquet_rows(file: BinaryIO, path: Path) -> Iterator[Numbered]:
    pa, parquet = _pyarrow(path)
    number = 0
    try:
        with parquet.ParquetFile(file) as table:
            for batch in table.iter_batches(batch_size=_PARQUET_ROWS):
                for row in _in_microseconds(pa, batch).to_pylist():
                    number += 1
                    yield Numbered(number, {k: v for k, v in row.items() if v is not None})
    except (pa.ArrowException, OSError, ValueError) as error:
        yield Numbered(number + 1, ContentError(f"the file is damaged from here on: {error}"))


def _in_microseconds(pa: Any, batch: Any) -> Any:
    """Nanoseconds have no Python value."""
    for place, field in enumerate(batch.schema):
        if pa.types.is_timestamp(field.type) and field.type.unit == "ns":
            micros = pa.timestamp("us", field.type.tz)
            batch = batch.set_column(
                place, field.name, batch.column(place).cast(micros, safe=False)
            )
    return batch


def _parquet_writer(path: Path) -> Callable[[Iterable[Row], BinaryIO], int]:
    pa, parquet = _pyarrow(path)
    text, time = pa.string(), pa.timestamp("us", "UTC")
    texts = "op key source kind title text url author lang date_source reply_to quotes reason"
    policy = pa.struct([(n, pa.bool_()) for n in ("display", "snippet", "index", "train")])
    attachment = pa.struct(
        [
            ("hash", text),
            ("media_type", text),
            ("body_bytes", pa.int64()),
            ("name", text),
            ("data", text),
        ]
    )
    schema = pa.schema(
        [(name, text) for name in texts.split()]
        + [(n, time) for n in ("published_at", "updated_at", "observed_at", "start", "end")]
        + [
            ("policy", policy),
            ("attachments", pa.list_(attachment)),
            ("extra_json", text),
            ("version", pa.int64()),
            ("seq", pa.int64()),
        ]
    )

    def write(rows: Iterable[Row], file: BinaryIO) -> int:
        count, left = 0, iter(rows)
        with parquet.ParquetWriter(file, schema, compression="zstd") as table:
            while chunk := [_flat(row) for row in islice(left, _PARQUET_ROWS)]:
                table.write_batch(pa.RecordBatch.from_pylist(chunk, schema))
                count += len(chunk)
        return count

    return write


def _flat(row: Row) -> Row:
    """`extra` has no fixed columns, so it travels as JSON text."""
    if "extra" not in row:
        return row
    return {**row, "extra_json": msgspec.json.encode(row["extra"]).decode()}
