"""`gnomon sources import | export | starter` in a real process; nothing is fetched."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from gnomon.cli import _lag

GNOMON = Path(sys.executable).with_name("gnomon")

OPML = """<opml version="2.0"><head><title>Mine</title></head><body>
<outline text="Papers"><outline type="rss" text="One &amp; only" xmlUrl="https://one.example/feed"/>
<outline type="rss" text="Two" xmlUrl="https://two.example/rss.xml"/></outline>
<outline type="rss" text="Odd" xmlUrl="gopher://three.example/"/></body></opml>"""


def run(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = "GNOMON_MODELS__DIR"
    env = {k: v for k, v in os.environ.items() if not k.startswith("GNOMON_") or k == kept}
    return subprocess.run(
        [GNOMON, "--home", home, "--set", "log.level=error", "--set", "demo.mode=off", *arguments],
        cwd=home.parent, env=env, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_a_list_comes_in_and_goes_out(tmp_path: Path) -> None:
    home, mine, out = tmp_path / "home", tmp_path / "mine.opml", tmp_path / "out.opml"
    mine.write_text(OPML, "utf-8")
    first = run(home, "sources", "import", str(mine))
    assert first.returncode == 0, first.stderr
    assert "Following 2 new sources." in first.stdout
    odd = "Left out: Odd (gopher://three.example/): its xmlUrl is no web address."
    assert odd in first.stdout
    again = run(home, "sources", "add", str(mine))
    assert "Following 0 new sources; 2 were followed already." in again.stdout
    listed = run(home, "sources").stdout
    assert "feed:one.example/feed" in listed and "start it with `gnomon up`" in listed
    exported = run(home, "sources", "export", str(out))
    assert exported.returncode == 0 and "Wrote 2 feeds" in exported.stdout
    written = out.read_text("utf-8")
    assert 'text="One &amp; only"' in written and "https://two.example/rss.xml" in written


def test_what_cannot_be_imported(tmp_path: Path) -> None:
    home, bad = tmp_path / "home", tmp_path / "bad.opml"
    missing = run(home, "sources", "import", str(bad))
    assert missing.returncode == 2 and "cannot be read" in missing.stderr
    bad.write_text("<html></html>")
    broken = run(home, "sources", "import", str(bad))
    assert broken.returncode == 3 and "no <opml> element" in broken.stderr


def test_the_starter_set(tmp_path: Path) -> None:
    home = tmp_path / "home"
    shown = run(home, "sources", "starter", "--languages", "ja,ko", "--list")
    assert shown.returncode == 0, shown.stderr
    assert "連合" not in shown.stdout and "연합뉴스 (ko)" in shown.stdout
    assert not (home / "record.db").exists()
    added = run(home, "sources", "starter", "--languages", "ja,ko")
    assert added.returncode == 0, added.stderr
    assert "feed:www3.nhk.or.jp/rss/news/cat0.xml" in run(home, "sources", "list").stdout
    wrong = run(home, "sources", "starter", "--languages", "xx")
    assert wrong.returncode == 2 and "Languages: ar" in wrong.stderr


def test_how_late_the_newest_document_came_is_told_where_it_is_known() -> None:
    state = {"documents": 2, "lag_s": 150.0}
    assert _lag(state) == "; the newest document came 2 min after it was published"
    assert _lag({**state, "lag_s": None}) == _lag({**state, "documents": 0}) == ""
