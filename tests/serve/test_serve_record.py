"""Documents and saved copies over the real record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gnomon.record.store import SqliteRecord
from gnomon.types import Batch, Delete, Document, Purge, Upsert

T0 = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
KEY = "page:www.example.org/bridge?a=1&b=(2)"


def minutes(n: int) -> datetime:
    return T0 + timedelta(minutes=n)


def put(text: str) -> Batch:
    return Batch((Upsert(Document(key=KEY, source="s", kind="page", text=text, title="Bridge")),))


@pytest.fixture
def real(house: Any, tmp_path: Path) -> Iterator[Any]:
    record = SqliteRecord(tmp_path / "record.db")
    record.append("s", put("The bridge is closed."), now=minutes(0))
    record.append("s", put("The bridge is open. 🎉"), now=minutes(10))
    yield replace(house, record=record, services=replace(house.services, record=record))
    record.close()


async def test_each_moment_and_each_version_opens_as_it_was(real: Any) -> None:
    path = "/v1/documents/page%3Awww.example.org%2Fbridge%3Fa%3D1%26b%3D%282%29"
    async with real.client() as http:
        now = (await http.get(path)).json()
        then = (await http.get(path, params={"as_of": "2026-11-22T12:09:59Z"})).json()
        before = await http.get(path, params={"as_of": "2026-11-22T11:59:59Z"})
        first = (await http.get(path, params={"version": 1})).json()
    assert now["key"] == KEY and now["document"]["text"] == "The bridge is open. 🎉"
    assert then["document"]["text"] == first["document"]["text"] == "The bridge is closed."
    assert [v["version"] for v in then["versions"]] == [1]
    assert before.status_code == 404


async def test_the_saved_copy_tells_what_became_of_it(real: Any) -> None:
    async with real.client() as http:
        newest = (await http.get("/v1/documents/" + _quoted(KEY))).json()["saved_url"]
        assert "earlier version" not in (await http.get(newest)).text
        old = newest.replace("version=2", "version=1")
        assert "This is an earlier version." in (await http.get(old)).text
        real.record.append("s", Batch((Delete(key=KEY),)), now=minutes(20))
        deleted = (await http.get("/v1/documents/" + _quoted(KEY))).json()
        assert deleted["life"] == "deleted" and deleted["since"] == "2026-11-22T12:20:00Z"
        page = await http.get(old)
        assert page.status_code == 200 and "The source removed this" in page.text
        assert "The bridge is closed." in page.text
        purge = Batch((Purge(key=KEY, reason="The author asked for it."),))
        real.record.append("s", purge, now=minutes(30))
        for url in (old, newest, "/v1/documents/" + _quoted(KEY)):
            gone = await http.get(url)
            assert gone.status_code == 410 and "The author asked for it." in gone.text
            assert "closed" not in gone.text.replace("North bridge closed", "")
        as_of = await http.get("/v1/documents/" + _quoted(KEY), params={"as_of": "30 minutes ago"})
        assert as_of.status_code == 410


async def test_marks_count_code_points(real: Any) -> None:
    async with real.client() as http:
        r = await http.get("/saved/" + _quoted(KEY), params={"version": 2, "start": 20, "end": 21})
    assert '<mark id="quote">🎉</mark>' in r.text


def _quoted(key: str) -> str:
    from urllib.parse import quote

    return quote(key, safe="")
