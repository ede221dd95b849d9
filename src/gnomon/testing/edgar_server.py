"""The SEC's list of current filings (Atom, paged) and its submissions (JSON by company).

Like the SEC it answers 403 to whoever does not say whom to write to. It is a `FeedServer`, so its
faults apply to `/cgi-bin/browse-edgar` and `/submissions/…` by path.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from html import escape

import msgspec

from gnomon.clock import Clock
from gnomon.testing.feed_server import FeedServer, Reply, Request

CURRENT = "/cgi-bin/browse-edgar"
_WINDOW = 2_000


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

    def file(self, filing: Filing) -> None:
        """A company files something."""
        self._filings.append(filing)
        cik = filing.cik
        self.route(f"/submissions/CIK{cik:010}.json", self._guarded(lambda _: self._company(cik)))

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
            f"<id>{self.url(CURRENT)}</id>{rows}</feed>"
        )
        return Reply(
            body=body.encode("iso-8859-1", "xmlcharrefreplace"),
            headers={"content-type": "application/atom+xml"},
        )

    def _entry(self, f: Filing) -> str:
        folder = f.accession.replace("-", "")
        link = f"{self.url('/Archives/edgar/data')}/{f.cik}/{folder}/{f.accession}-index.htm"
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

    def _company(self, cik: int) -> Reply:
        mine = [f for f in reversed(self._filings) if f.cik == cik and f.role == "Filer"]
        data = {
            "cik": str(cik),
            "name": mine[0].company if mine else "",
            "filings": {
                "recent": {
                    "accessionNumber": [f.accession for f in mine],
                    "filingDate": [f"{f.accepted_at:%Y-%m-%d}" for f in mine],
                    "acceptanceDateTime": [f.accepted_at.isoformat() for f in mine],
                    "form": [f.form for f in mine],
                    "items": [f.items for f in mine],
                    "primaryDocument": ["main.htm" for _ in mine],
                    "primaryDocDescription": [f.form for f in mine],
                },
                "files": [],
            },
        }
        return Reply(body=json.dumps(data).encode(), headers={"content-type": "application/json"})
