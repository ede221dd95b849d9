"""GDELT's files: what its lists announce, and the news addresses inside a quarter of an hour.

Only names and hashes are taken from the lists; the address of a file is built from its moment.
Zip archives are unpacked within a cap, rows that are too short or too long are counted.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from html import unescape

import msgspec

from gnomon.errors import ContentError
from gnomon.extract.text import one_line
from gnomon.extract.urls import absolute

MAX_ZIP_BYTES = 60_000_000
MAX_UNPACKED_BYTES = 400_000_000
_MAX_ROW_BYTES = 1_000_000
_LEAST_COLUMNS = 16
_MAX_THEMES = 40
_LINE = re.compile(
    r"^(?P<size>\d{1,12}) (?P<md5>[0-9a-f]{32}) \S*/(?P<stamp>\d{14})"
    r"(?P<kind>\.translation)?\.gkg\.csv\.zip\s*$"
)
_TITLE = re.compile(r"<PAGE_TITLE>(.*?)</PAGE_TITLE>", re.DOTALL)
_WEB = "1"
"""The collection that holds web addresses; others are broadcasts and archives."""


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """One file: a quarter of an hour of the Global Knowledge Graph."""

    stamp: str
    """Its moment, `YYYYMMDDHHMMSS` in UTC, as GDELT names files."""
    size: int
    md5: str
    translated: bool = False

    @property
    def name(self) -> str:
        """The file's name."""
        return f"{self.stamp}{'.translation' if self.translated else ''}.gkg.csv.zip"

    @property
    def moment(self) -> datetime:
        """When it was made."""
        return moment_of(self.stamp)


class Mention(msgspec.Struct, frozen=True, kw_only=True):
    """A page that GDELT read."""

    url: str
    domain: str = ""
    title: str = ""
    themes: tuple[str, ...] = ()
    tone: float | None = None


def moment_of(stamp: str) -> datetime:
    """The moment of a stamp. Raises ValueError."""
    return datetime.strptime(stamp, "%Y%m%d%H%M%S").replace(tzinfo=UTC)


def releases(text: str, *, translated: bool) -> list[Release]:
    """What a list announces, oldest first; other files and broken lines are passed over."""
    found = {}
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is None or bool(match["kind"]) is not translated:
            continue
        try:
            moment_of(match["stamp"])
        except ValueError:
            continue
        found[match["stamp"]] = Release(
            stamp=match["stamp"],
            size=int(match["size"]),
            md5=match["md5"],
            translated=translated,
        )
    return [found[stamp] for stamp in sorted(found)]


def is_whole(body: bytes, release: Release) -> bool:
    """Whether these are the bytes that the list announced."""
    digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
    return len(body) == release.size and digest == release.md5


def mentions(body: bytes, *, notes: Counter[str]) -> Iterator[Mention]:
    """The web pages of a file, in its order. Raises ContentError `gdelt.unreadable`."""
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            member = archive.infolist()[0]
            if member.file_size > MAX_UNPACKED_BYTES:
                raise _unreadable("it holds more than is read")
            with archive.open(member) as rows:
                while row := rows.readline(_MAX_ROW_BYTES):
                    found = _mention(row, notes)
                    if found is not None:
                        yield found
    except (zipfile.BadZipFile, zlib.error, IndexError, NotImplementedError, RuntimeError) as error:
        raise _unreadable(str(error)) from None


def _mention(row: bytes, notes: Counter[str]) -> Mention | None:
    columns = row.decode("utf-8", "replace").rstrip("\r\n").split("\t")
    if len(columns) < _LEAST_COLUMNS:
        notes["gdelt.short_row"] += 1
        return None
    if columns[2] != _WEB:
        notes["gdelt.no_web_page"] += 1
        return None
    url = absolute("", columns[4])
    if not url:
        notes["gdelt.no_address"] += 1
        return None
    title = _TITLE.search(columns[26]) if len(columns) > 26 else None
    tone = columns[15].partition(",")[0]
    return Mention(
        url=url,
        domain=columns[3].strip().lower(),
        title=one_line(unescape(title[1])) if title else "",
        themes=tuple(dict.fromkeys(t for t in columns[7].split(";") if t))[:_MAX_THEMES],
        tone=float(tone) if re.fullmatch(r"-?\d{1,3}(\.\d{1,20})?", tone) else None,
    )


def chosen(found: Iterator[Mention], *, themes: Sequence[str], limit: int) -> list[Mention]:
    """At most `limit` pages with one of the themes: one of each site, then a second, and so on.

    The same file gives the same choice, so that a position in it keeps its meaning.
    """
    wanted = {theme.upper() for theme in themes}
    sites: dict[str, dict[str, Mention]] = {}
    for mention in found:
        if not wanted or wanted.intersection(mention.themes):
            sites.setdefault(mention.domain, {}).setdefault(mention.url, mention)
    queues: Mapping[str, list[Mention]] = {name: list(m.values()) for name, m in sites.items()}
    result: list[Mention] = []
    turn = 0
    while len(result) < limit:
        row = [queue[turn] for queue in queues.values() if turn < len(queue)]
        if not row:
            break
        result += row[: limit - len(result)]
        turn += 1
    return result


def _unreadable(reason: str) -> ContentError:
    return ContentError(
        f"The file of GDELT cannot be read: {reason}.",
        code="gdelt.unreadable",
        hint="It is left out; the next one follows.",
    )
