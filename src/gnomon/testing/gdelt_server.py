"""GDELT's file server: a file every quarter of an hour, the list of the newest, and of all.

It is a `FeedServer`, so its faults apply to each list, file and page by path. `damage` serves files
that are not what the lists announce, `skip` lists a file that is not there, `ranges = False` makes
a server that always sends the whole master list.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Sequence
from datetime import datetime, timedelta
from html import escape

import msgspec

from gnomon.clock import Clock
from gnomon.testing.feed_server import FeedServer, Reply, Request

_BASE = "/gdeltv2"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One page as GDELT lists it."""

    url: str
    domain: str = ""
    title: str = ""
    themes: Sequence[str] = ()
    tone: float = 0.0
    collection: int = 1


class GdeltServer(FeedServer):
    """`async with GdeltServer() as server: server.release([...])`."""

    def __init__(
        self, *, port: int = 0, clock: Clock | None = None, start: datetime, ranges: bool = True
    ) -> None:
        super().__init__(port=port, clock=clock)
        self.ranges = ranges
        self._next = start
        self._lines: list[str] = []
        self._newest: list[str] = []
        self._damaged: dict[str, int] = {}
        self.route(f"{_BASE}/lastupdate.txt", lambda _: _plain(self._newest))
        self.route(f"{_BASE}/masterfilelist.txt", self._master)

    @property
    def base(self) -> str:
        """What the setting `url` of the source must be."""
        return self.url(_BASE)

    # -- what GDELT does ------------------------------------------------------
    def release(self, rows: Sequence[Row], *, damaged: int = 0, missing: bool = False) -> str:
        """Put out the file of the next quarter of an hour; its stamp.

        `damaged`: so many times it is served cut off. `missing`: it is listed and not there.
        """
        stamp = self._next.strftime("%Y%m%d%H%M%S")
        self._next += timedelta(minutes=15)
        body = _zipped(f"{stamp}.gkg.csv", "".join(_row(stamp, n, r) for n, r in enumerate(rows)))
        path = f"{_BASE}/{stamp}.gkg.csv.zip"
        digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
        other = "0" * 32
        host = "http://data.gdeltproject.org/gdeltv2"
        self._newest = [
            f"1 {other} {host}/{stamp}.export.CSV.zip",
            f"2 {other} {host}/{stamp}.mentions.CSV.zip",
            f"{len(body)} {digest} {host}/{stamp}.gkg.csv.zip",
        ]
        self._lines += self._newest
        self._damaged[path] = damaged

        def answer(request: Request) -> Reply:
            if self._damaged[path]:
                self._damaged[path] -= 1
                return Reply(body=body[: len(body) // 2] + b"\0" * 10, headers=_ZIP)
            return Reply(body=body, headers=_ZIP)

        if not missing:
            self.route(path, answer)
        return stamp

    def _master(self, request: Request) -> Reply:
        whole = _plain(self._lines)
        wanted = re.fullmatch(r"bytes=-(\d+)", request.headers.get("range", ""))
        if wanted is None or not self.ranges:
            return whole
        part = whole.body[-int(wanted[1]) :]
        start = len(whole.body) - len(part)
        headers = {
            **whole.headers,
            "content-range": f"bytes {start}-{len(whole.body) - 1}/{len(whole.body)}",
        }
        return Reply(status=206, body=part, headers=headers)


_NO_LINKS = "<PAGE_LINKS></PAGE_LINKS>"
_ZIP = {"content-type": "application/zip"}


def _plain(lines: Sequence[str]) -> Reply:
    body = "".join(f"{line}\n" for line in lines).encode()
    return Reply(body=body, headers={"content-type": "text/plain"})


def _row(stamp: str, number: int, row: Row) -> str:
    columns = [""] * 27
    columns[0] = f"{stamp}-{number}"
    columns[1] = stamp
    columns[2] = str(row.collection)
    columns[3] = row.domain
    columns[4] = row.url
    columns[7] = ";".join(row.themes)
    columns[15] = f"{row.tone},1.0,2.0,3.0,4.0,0.0,100"
    columns[26] = f"<PAGE_TITLE>{escape(row.title)}</PAGE_TITLE>" if row.title else _NO_LINKS
    return "\t".join(columns) + "\n"


def _zipped(name: str, text: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), text)
    return file.getvalue()
