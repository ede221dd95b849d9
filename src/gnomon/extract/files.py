"""Files that people hand in, as text: plain text, HTML, PDF and Office documents.

Whatever is in them, reading ends: sizes, pages, rows and seconds are bounded, and archives are
looked at before they are unpacked.
"""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import PurePath

import msgspec

from gnomon.errors import ConfigError, ContentError
from gnomon.extract.encoding import decode
from gnomon.extract.html import extract_page

MAX_FILE_BYTES = 50 * 2**20
MAX_PAGES = 3_000
MAX_TEXT_CHARS = 5_000_000
PART_CHARS = 20_000
"""A long text is cut into parts of about this length, at paragraphs where there are any."""
DEADLINE_S = 60.0
_MAX_UNPACKED_BYTES = 300 * 2**20
_MAX_MEMBERS = 10_000
_TEXT_ENDINGS = (".txt", ".md", ".markdown", ".rst", ".csv", ".tsv", ".json", ".jsonl", ".log",
                 ".xml", ".yaml", ".yml", ".py", ".js", ".ts", ".tex")  # fmt: skip
_HTML_ENDINGS = (".html", ".htm", ".xhtml")


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a file's text."""

    text: str
    page: int | None = None
    """From which page, slide or sheet it comes, counted from 1."""


class FileText(msgspec.Struct, frozen=True, kw_only=True):
    """What a file says."""

    title: str
    parts: tuple[Part, ...]


def read_file(body: bytes, *, name: str, media_type: str = "", now: datetime) -> FileText:
    """The text of a file. What it is, its name's ending tells, else its first bytes.

    Raises ContentError for what is unreadable, encrypted, hostile, or without any text, and
    ConfigError where the reader of its kind is not installed.
    """
    if len(body) > MAX_FILE_BYTES:
        raise _refused(
            name, "too_large", f"it has {len(body):,} bytes; {MAX_FILE_BYTES:,} are read"
        )
    ending = PurePath(name).suffix.lower()
    title = PurePath(name).name or "file"
    if ending == ".pdf" or body.startswith(b"%PDF-"):
        pages = _pdf(body, name)
    elif ending in _OFFICE:
        pages = _office(body, name, _OFFICE[ending])
    elif ending in _HTML_ENDINGS or media_type.startswith("text/html"):
        page = extract_page(body, url=f"file:///{title}", content_type="text/html", now=now)
        title = page.title or title
        pages = iter([Part(text=page.text)])
    elif ending in _TEXT_ENDINGS or media_type.startswith("text/") or not ending:
        text, _ = decode(body, media_type or "text/plain")
        if b"\0" in body[:1_000] and not body.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise _refused(name, "unreadable", "it is binary data")
        pages = iter([Part(text=text)])
    else:
        raise _refused(name, "unreadable", f"{ending} is no kind of file that can be read")
    parts: list[Part] = []
    began, chars = time.monotonic(), 0
    for part in pages:
        chars += len(part.text)
        if chars > MAX_TEXT_CHARS or time.monotonic() - began > DEADLINE_S:
            raise _refused(name, "too_large", "it holds more text than is read")
        parts += (Part(text=piece, page=part.page) for piece in cut(part.text))
    if not parts:
        raise _refused(name, "empty", "there is no text in it; scanned pages are not read")
    return FileText(title=title, parts=tuple(parts))


def cut(text: str) -> Iterator[str]:
    """Pieces of at most PART_CHARS, ended at a paragraph, a line or a word where one is near."""
    at, end = 0, len(text)
    while at < end:
        stop = min(at + PART_CHARS, end)
        if stop < end:
            for mark in ("\n\n", "\n", " "):
                found = text.rfind(mark, at + PART_CHARS // 2, stop)
                if found > 0:
                    stop = found + len(mark)
                    break
        if piece := text[at:stop].strip():
            yield piece
        at = stop


def _pdf(body: bytes, name: str) -> Iterator[Part]:
    try:
        import pypdf
    except ImportError:
        raise _missing("PDF", "pdf") from None
    try:
        reader = pypdf.PdfReader(io.BytesIO(body))
        if reader.is_encrypted and not reader.decrypt(""):
            raise _refused(name, "encrypted", "it is protected by a password")
        if len(reader.pages) > MAX_PAGES:
            raise _refused(name, "too_large", f"it has more than {MAX_PAGES:,} pages")
        for number, page in enumerate(reader.pages, 1):
            yield Part(text=page.extract_text(), page=number)
    except ContentError:
        raise
    except Exception as error:  # whatever a broken PDF makes its reader raise
        raise _refused(name, "unreadable", f"the PDF is damaged: {_short(error)}") from None


def _docx(file: io.BytesIO) -> Iterator[Part]:
    import docx
    from docx.table import Table

    lines: list[str] = []
    for block in docx.Document(file).iter_inner_content():
        if isinstance(block, Table):
            rows = (" | ".join(" ".join(c.text.split()) for c in row.cells) for row in block.rows)
            lines.append("\n".join(rows))
        else:
            lines.append(block.text)
    yield Part(text="\n\n".join(line for line in lines if line.strip()))


def _pptx(file: io.BytesIO) -> Iterator[Part]:
    import pptx

    for number, slide in enumerate(pptx.Presentation(file).slides, 1):
        texts = [shape.text_frame.text for shape in slide.shapes if shape.has_text_frame]
        yield Part(text="\n\n".join(texts), page=number)


def _xlsx(file: io.BytesIO) -> Iterator[Part]:
    import openpyxl

    book = openpyxl.load_workbook(file, read_only=True, data_only=True)
    try:
        for number, sheet in enumerate(book.worksheets, 1):
            rows = (
                " | ".join("" if value is None else str(value) for value in row).rstrip(" |")
                for row in sheet.iter_rows(max_row=100_000, max_col=200, values_only=True)
            )
            yield Part(text=f"{sheet.title}\n" + "\n".join(row for row in rows if row), page=number)
    finally:
        book.close()


_OFFICE: dict[str, Callable[[io.BytesIO], Iterator[Part]]] = {
    ".docx": _docx,
    ".pptx": _pptx,
    ".xlsx": _xlsx,
}


def _office(body: bytes, name: str, read: Callable[[io.BytesIO], Iterator[Part]]) -> Iterator[Part]:
    try:
        members = zipfile.ZipFile(io.BytesIO(body)).infolist()
        unpacked = sum(member.file_size for member in members)
        if unpacked > _MAX_UNPACKED_BYTES or len(members) > _MAX_MEMBERS:
            raise _refused(name, "hostile", f"it unpacks to {unpacked:,} bytes")
        yield from read(io.BytesIO(body))
    except ImportError:
        raise _missing("Office", "office") from None
    except ContentError:
        raise
    except Exception as error:  # whatever a broken document makes its reader raise
        raise _refused(name, "unreadable", f"the document is damaged: {_short(error)}") from None


def _short(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0][:200] or type(error).__name__


def _missing(kind: str, extra: str) -> ConfigError:
    return ConfigError(
        f"{kind} files cannot be read: their reader is not installed.",
        code="file.extra",
        hint=f"Install it with `pip install 'gnomon[{extra}]'`.",
    )


def _refused(name: str, code: str, reason: str) -> ContentError:
    return ContentError(f"{name[:100]} cannot be read: {reason}.", code=f"file.{code}", name=name)
