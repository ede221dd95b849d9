from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from gnomon.serve import page


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page that was built."""
    folder = tmp_path / "page"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html><div id=root></div>")
    (folder / "assets" / "index-abc.js").write_text("export const x = 1;")
    (folder / "assets" / "index-abc.js.gz").write_bytes(gzip.compress(b"export const x = 1;"))
    monkeypatch.setattr(page, "PAGE", folder)
    return folder


@pytest.mark.usefixtures("built")
async def test_every_view_has_an_address_and_the_same_page(house: Any) -> None:
    paths = ("/", "/c/ask_1", "/r/run_1", "/s/token", "/search", "/changes/feed:a/b", "/settings")
    async with house.client() as http:
        for path in paths:
            reply = await http.get(path)
            assert reply.status_code == 200 and "id=root" in reply.text
            assert reply.headers["cache-control"] == "no-cache"
        assert (await http.get("/nowhere")).status_code == 404


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize(("encoding", "sent"), [("gzip, br", "gzip"), ("identity", None)])
async def test_scripts_are_compressed_for_whoever_takes_it(
    house: Any, encoding: str, sent: str | None
) -> None:
    async with house.client() as http:
        headers = {"accept-encoding": encoding}
        reply = await http.get("/page/assets/index-abc.js", headers=headers)
        assert reply.headers.get("content-encoding") == sent
        assert reply.text == "export const x = 1;"
        assert "javascript" in reply.headers["content-type"]
        assert "immutable" in reply.headers["cache-control"]
        assert (await http.get("/page/assets/none.js", headers=headers)).status_code == 404
        assert (await http.get("/page/../page.py", headers=headers)).status_code == 404


async def test_a_page_that_was_not_built_says_how_to(
    house: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "PAGE", tmp_path / "none")
    async with house.client() as http:
        reply = await http.get("/")
        assert reply.status_code == 503 and "make page" in reply.text
        assert (await http.get("/page/assets/x.js")).status_code == 404
