"""What a corpus is made of: files and the record, as a list of units and a stream of texts.

A unit is one file, a group of small files, or a piece of the record's documents. Every unit can be
read alone, so units are what workers share out and what a resumed build skips.
"""

from __future__ import annotations

import ast
import sysconfig
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from gnomon.errors import ConfigError, ContentError
from gnomon.extract.html import extract_page
from gnomon.extract.text import clean_text
from gnomon.record.base import Life, Record
from gnomon.record.files import open_rows, writer

ROWS = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".ndjson", ".ndjson.gz", ".ndjson.zst", ".parquet")
ARCHIVES = (".warc", ".warc.gz", ".wet", ".wet.gz")
TEXTS = (".txt", ".md", ".rst", ".html", ".htm", ".py")
_LINES = (".jsonl", ".ndjson")
SPAN_BYTES = 256_000_000
"""Longer files of lines are read as several units."""
_GROUP_BYTES = 8_000_000
_PIECE_BYTES = 32_000_000
_TEXT_BYTES = 50_000_000
_UNDATED = datetime(2000, 1, 1, tzinfo=UTC)


class Unit(msgspec.Struct, frozen=True):
    """Files that are read together: (path, bytes, time of change in ns) of each."""

    files: tuple[tuple[str, int, int], ...]
    span: tuple[int, int] | None = None
    """Of one large file, the bytes within which the unit's lines begin."""


class Text(msgspec.Struct, frozen=True):
    """One raw text; `fault` says why there is none."""

    key: str
    text: str = ""
    source: str = ""
    url: str = ""
    lang: str = ""
    title: str = ""
    fault: str = ""


def find_units(paths: Iterable[str | Path]) -> list[Unit]:
    """Units of files and folders; `python` stands for the installed packages' documentation.

    Raises ConfigError for a path that does not exist or whose name tells no format.
    """
    units: list[Unit] = []
    small: list[tuple[str, int, int]] = []
    small_bytes = 0
    for given in paths:
        for path in _expanded(given):
            if not str(path).lower().endswith(ROWS + ARCHIVES + TEXTS):
                raise ConfigError(
                    f"The name of {path} tells no format.",
                    code="corpus.format",
                    hint=f"Known: {', '.join(ROWS + ARCHIVES + TEXTS)}.",
                )
            stat = path.stat()
            file = (str(path), stat.st_size, stat.st_mtime_ns)
            if str(path).lower().endswith(_LINES) and stat.st_size > SPAN_BYTES:
                units += [Unit((file,), span) for span in _spans(stat.st_size)]
                continue
            if str(path).lower().endswith(ROWS + ARCHIVES):
                units.append(Unit((file,)))
                continue
            small.append(file)
            small_bytes += stat.st_size
            if small_bytes >= _GROUP_BYTES:
                units.append(Unit(tuple(small)))
                small, small_bytes = [], 0
    return units + ([Unit(tuple(small))] if small else [])


def _spans(size: int) -> list[tuple[int, int]]:
    """Spans of equal length that cover a file."""
    count = -(-size // SPAN_BYTES)
    return [(size * at // count, size * (at + 1) // count) for at in range(count)]


def _expanded(given: str | Path) -> Iterator[Path]:
    if str(given) == "python":
        yield from _within(Path(sysconfig.get_path("purelib")))
        return
    path = Path(given).absolute()
    if path.is_dir():
        yield from _within(path)
    elif path.is_file():
        yield path
    else:
        raise ConfigError(
            f"{path} does not exist.", code="corpus.no_input", hint="Correct the path."
        )


def _within(folder: Path) -> Iterator[Path]:
    known = ROWS + ARCHIVES + TEXTS
    files = (p for p in folder.rglob("*") if p.name.lower().endswith(known) and p.is_file())
    return iter(sorted(files))


def save_record(record: Record, folder: Path) -> list[Path]:
    """Write the live documents whose `policy.train` allows it to row files of bounded size.

    What was purged, deleted or replaced by a newer version is not among them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    rows: list[dict[str, Any]] = []
    size = 0

    def flush() -> None:
        nonlocal rows, size
        path = folder / f"record-{len(paths):05d}.jsonl.zst"
        with path.open("wb") as file:
            writer(path)(rows, file)
        paths.append(path)
        rows, size = [], 0

    after = 0
    while entries := record.entries(after):
        after = entries[-1].seq
        for entry in entries:
            document = entry.document
            if document is None or not document.policy.train:
                continue
            found = record.get(document.key)
            if found.life is not Life.ALIVE or found.document is None:
                continue
            if found.document.seq != document.seq:
                continue
            names = ("key", "text", "source", "url", "lang", "title")
            rows.append({name: getattr(document, name) for name in names})
            size += len(document.text)
            if size >= _PIECE_BYTES:
                flush()
    if rows:
        flush()
    return paths


def read_unit(unit: Unit) -> Iterator[Text]:
    """The texts of a unit, in order. What cannot be read comes with its `fault`."""
    for name, _, _ in unit.files:
        path = Path(name)
        lowered = name.lower()
        if lowered.endswith(ROWS):
            yield from _rows(path, unit.span)
        elif lowered.endswith(ARCHIVES):
            yield from _archive(path)
        else:
            yield _file(path)


def _rows(path: Path, span: tuple[int, int] | None) -> Iterator[Text]:
    place = f"{path.name}@{span[0]}" if span else path.name
    with open_rows(path, span) as rows:
        for number, row in rows:
            key = f"{place}:{number}"
            if isinstance(row, ContentError):
                yield Text(key, fault="unreadable")
                continue
            key = str(row.get("key") or row.get("id") or row.get("url") or key)
            policy = row.get("policy")
            if row.get("op"):
                # An export holds old and deleted versions; only the record knows which.
                yield Text(key, fault="record_export")
            elif isinstance(policy, dict) and policy.get("train") is False:
                yield Text(key, fault="policy")
            elif not isinstance(text := row.get("text"), str):
                yield Text(key, fault="no_text")
            else:
                fields = {n: str(row.get(n) or "") for n in ("source", "url", "lang", "title")}
                yield Text(key, text.encode("utf-8", "replace").decode(), **fields)


def _archive(path: Path) -> Iterator[Text]:
    """The articles of responses, and texts that others extracted, as in WET files."""
    try:
        from fastwarc.warc import ArchiveIterator, WarcRecordType
    except ImportError as error:
        raise ConfigError(
            f"{path} needs fastwarc, which is not installed.",
            code="corpus.not_installed",
            hint="Install it with `pip install gnomon[warc]`.",
        ) from error
    wanted = WarcRecordType.response | WarcRecordType.conversion
    number = 0
    with path.open("rb") as file:
        try:
            for record in ArchiveIterator(file, record_types=wanted, auto_decode="all"):
                number += 1
                extracted = record.record_type == WarcRecordType.conversion
                yield _extracted(record, path.name) if extracted else _archived(record, path.name)
        except OSError:  # the rest cannot be found any more
            yield Text(f"{path.name}:{number + 1}", fault="damaged")


def _named(record: Any) -> tuple[str, str]:
    url = record.headers.get("WARC-Target-URI") or ""
    return record.headers.get("WARC-Record-ID") or url, url


def _extracted(record: Any, source: str) -> Text:
    key, url = _named(record)
    if record.content_length > _TEXT_BYTES:
        return Text(key, url=url, fault="too_large")
    body = record.reader.read()
    if len(body) < record.content_length:
        return Text(key, url=url, fault="damaged")
    return Text(key, clean_text(body.decode("utf-8", "replace")), source, url)


def _archived(record: Any, source: str) -> Text:
    key, url = _named(record)
    headers = record.http_headers
    if headers is None:
        return Text(key, url=url, fault="damaged")
    if headers.status_code != 200:
        return Text(key, url=url, fault="http_status")
    try:
        page = extract_page(
            record.reader.read(_TEXT_BYTES),
            url=url,
            content_type=headers.get("Content-Type") or "",
            now=record.record_date or _UNDATED,
        )
    except ContentError as error:
        return Text(key, url=url, fault=error.code)
    return Text(key, page.text, source, url, page.lang, page.title)


def _file(path: Path) -> Text:
    key = f"file:{path}"
    if path.stat().st_size > _TEXT_BYTES:
        return Text(key, fault="too_large")
    body = path.read_bytes()
    if path.suffix == ".py":
        return Text(key, _docstrings(body), source="python")
    if path.suffix.lower() == ".md":
        from gnomon.train.corpus.markdown import shown

        return Text(key, clean_text(shown(body.decode("utf-8", "replace"))), source="file")
    kind = "text/html" if path.suffix.lower() in (".html", ".htm") else ""
    if not kind:
        return Text(key, clean_text(body.decode("utf-8", "replace")), source="file")
    try:
        page = extract_page(body, url=path.as_uri(), content_type=kind, now=_UNDATED)
    except ContentError as error:
        return Text(key, fault=error.code)
    return Text(key, page.text, source="file", lang=page.lang, title=page.title)


def _docstrings(body: bytes) -> str:
    """What a module says of itself and of its classes and functions."""
    try:
        tree = ast.parse(body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    said = (ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, kinds))
    return clean_text("\n\n".join(text for text in said if text))
