"""The SEC's list of current filings (Atom, paged), its submissions (JSON by company), its archive.

Like the SEC it answers 403 to whoever does not say whom to write to, and leaves a company's older
filings to files of their own. It is a `FeedServer`, so its faults apply to
`/cgi-bin/browse-edgar` and `/submissions/…` by path.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

import msgspec

from gnomon.clock import Clock
from gnomon.testing.feed_server import FeedServer, Reply, Request

CURRENT = "/cgi-bin/browse-edgar"
TICKERS = "/files/company_tickers_exchange.json"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ARCHIVE = "/Archives/edgar/data"
_WINDOW = 2_000
_RECENT = 1_000
"""Filings in a company's submissions; older ones stand in further files."""


class Filing(msgspec.Struct, frozen=True, kw_only=True):
    """One filing as the SEC lists it."""

    accession: str
    form: str
    company: str
    cik: int
    accepted_at: datetime
    role: str = "Filer"
    items: str = ""


class EdgarServer(FeedServer):
    """`async with EdgarServer() as server: server.file(...)`."""

    def __init__(
        self, *, port: int = 0, clock: Clock | None = None, asks_contact: bool = False
    ) -> None:
        super().__init__(port=port, clock=clock)
        self.asks_contact = asks_contact
        self._filings: list[Filing] = []
        self.route(CURRENT, self._guarded(self._current))
        self.route(TICKERS, self._guarded(self._tickers))

    def file(self, filing: Filing) -> None:
        """A company files something."""
        self._filings.append(filing)
        cik = filing.cik
        self.route(f"/submissions/CIK{cik:010}.json", self._guarded(lambda _: self._company(cik)))
        older = f"/submissions/CIK{cik:010}-submissions-001.json"
        self.route(older, self._guarded(lambda _: _json(_columns(self._of(cik)[_RECENT:]))))
        folder = f"{_ARCHIVE}/{cik}/{filing.accession.replace('-', '')}"
        for document in (f"{filing.accession}.txt", "main.htm"):
            self.route(f"{folder}/{document}", self._guarded(lambda _: _document(filing)))

    def _guarded(self, handler: Callable[[Request], Reply]) -> Callable[[Request], Reply]:
        def answer(request: Request) -> Reply:
            if self.asks_contact and "@" not in request.headers.get("user-agent", ""):
                body = b"<html><h1>Your Request Originates from an Undeclared Automated Tool</h1>"
                return Reply(status=403, body=body, headers={"content-type": "text/html"})
            return handler(request)

        return answer

    def _current(self, request: Request) -> Reply:
        start, count = int(request.query.get("start", "0")), int(request.query.get("count", "40"))
        form = request.query.get("type", "")
        newest_first = [f for f in reversed(self._filings) if f.form.startswith(form)][:_WINDOW]
        rows = "".join(map(self._entry, newest_first[start : start + count]))
        body = (
            '<?xml version="1.0" encoding="ISO-8859-1" ?>\n'
            '<feed xmlns="http://www.w3.org/2005/Atom"><title>Latest Filings</title>'
            f"<id>{self.url(CURRENT)}</id><author><name>Webmaster</name></author>"
            f"<updated>{self._updated(newest_first)}</updated>{rows}</feed>"
        )
        return Reply(
            body=body.encode("iso-8859-1", "xmlcharrefreplace"),
            headers={"content-type": "application/atom+xml"},
        )

    def _entry(self, f: Filing) -> str:
        folder = f.accession.replace("-", "")
        link = f"{self.url(_ARCHIVE)}/{f.cik}/{folder}/{f.accession}-index.htm"
        items = f"<br>Items: {escape(f.items)}" if f.items else ""
        summary = (
            f" <b>Filed:</b> {f.accepted_at:%Y-%m-%d} <b>AccNo:</b> {f.accession}"
            f" <b>Size:</b> 14 KB{items}"
        )
        title = f"{f.form} - {f.company} ({f.cik:010}) ({f.role})"
        return (
            f"<entry><title>{escape(title)}</title>"
            f'<link rel="alternate" type="text/html" href="{link}"/>'
            f'<summary type="html">{escape(summary)}</summary>'
            f"<updated>{f.accepted_at.isoformat()}</updated>"
            '<category scheme="https://www.sec.gov/" label="form type" '
            f'term="{escape(f.form)}"/>'
            f"<id>urn:tag:sec.gov,2008:accession-number={f.accession}</id></entry>"
        )

    def _updated(self, newest_first: Sequence[Filing]) -> str:
        return (newest_first[0].accepted_at if newest_first else _EPOCH).isoformat()

    def _tickers(self, _: Request) -> Reply:
        names = {f.cik: f.company for f in self._filings}
        rows = [[cik, name, f"T{cik}", "Nasdaq"] for cik, name in names.items()]
        return _json({"fields": ["cik", "name", "ticker", "exchange"], "data": rows})

    def _of(self, cik: int) -> list[Filing]:
        return [f for f in reversed(self._filings) if f.cik == cik and f.role == "Filer"]

    def _company(self, cik: int) -> Reply:
        mine = self._of(cik)
        files = [
            {
                "name": f"CIK{cik:010}-submissions-001.json",
                "filingCount": len(older),
                "filingFrom": f"{older[-1].accepted_at:%Y-%m-%d}",
                "filingTo": f"{older[0].accepted_at:%Y-%m-%d}",
            }
            for older in [mine[_RECENT:]]
            if older
        ]
        return _json(
            {
                "cik": str(cik),
                "name": mine[0].company if mine else "",
                "filings": {"recent": _columns(mine[:_RECENT]), "files": files},
            }
        )


def _columns(filings: Sequence[Filing]) -> dict[str, list[str]]:
    return {
        "accessionNumber": [f.accession for f in filings],
        "filingDate": [f"{f.accepted_at:%Y-%m-%d}" for f in filings],
        "acceptanceDateTime": [f.accepted_at.isoformat() for f in filings],
        "form": [f.form for f in filings],
        "items": [f.items for f in filings],
        "primaryDocument": ["main.htm" for _ in filings],
        "primaryDocDescription": [f.form for f in filings],
    }


def _json(data: Mapping[str, Any]) -> Reply:
    return Reply(body=json.dumps(data).encode(), headers={"content-type": "application/json"})


def _document(filing: Filing) -> Reply:
    text = f"{filing.company}\n{filing.form}\n{filing.accession}\n"
    return Reply(body=text.encode(), headers={"content-type": "text/plain"})
