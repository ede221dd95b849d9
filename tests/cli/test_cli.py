"""The real command in a real process: what a person types, sees and gets as exit status."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

GNOMON = Path(sys.executable).with_name("gnomon")
PATIENCE_S = 60


def run(home: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run `gnomon` to its end, from a folder without settings of its own."""
    return subprocess.run(
        [GNOMON, "--home", home, "--set", "log.level=error", *arguments],
        cwd=home.parent, env=clean_env() | env, capture_output=True, text=True, timeout=PATIENCE_S,
        check=False,
    )  # fmt: skip


def clean_env() -> dict[str, str]:
    """The environment without settings; the weights stay where the tests keep them."""
    kept = "GNOMON_MODELS__DIR"
    return {k: v for k, v in os.environ.items() if not k.startswith("GNOMON_") or k == kept}


class Up:
    """A running `gnomon up`."""

    def __init__(self, home: Path, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [GNOMON, "--home", home, "--set", "log.level=error", "up", "--port", "0", *arguments],
            cwd=home.parent, env=clean_env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("Gnomon is at http://127.0.0.1:"), line
        self.url = line.split()[-1]

    def get(self, path: str) -> Any:
        """Decoded JSON of a path."""
        with urlopen(self.url + path, timeout=PATIENCE_S) as response:
            return json.load(response)

    def end(self, how: int = signal.SIGINT) -> int:
        """Stop it and wait."""
        self.process.send_signal(how)
        _, errors = self.process.communicate(timeout=PATIENCE_S)
        assert "Traceback" not in errors
        return self.process.returncode


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Up]]:
    home = tmp_path_factory.mktemp("up") / "home"
    server = Up(home)
    yield home, server
    if server.process.poll() is None:
        server.end()


def test_a_question_is_answered_with_citations_and_another_moment_has_another_answer(
    up: tuple[Path, Up],
) -> None:
    home, server = up
    question = server.get("/v1/status")["examples"][0]
    now = run(home, "ask", "--json", question)
    assert now.returncode == 0, now.stderr
    answer = json.loads(now.stdout)
    assert answer["sentences"] and not answer["abstained"]
    assert {s["verdict"]["kind"] for s in answer["sentences"]} == {"supported"}
    assert answer["freshness"]["searched"] > 100
    before = json.loads(run(home, "ask", "--json", "--as-of", "1 hour ago", question).stdout)
    assert before["sentences"] != answer["sentences"]
    latest = max(c["observed_at"] for c in before["citations"])
    assert latest <= before["as_of"]


def test_plain_output_shows_marks_quotes_and_age(up: tuple[Path, Up]) -> None:
    home, server = up
    shown = run(home, "ask", server.get("/v1/status")["examples"][0]).stdout
    assert "✓" in shown and "[1]" in shown and "Newest evidence:" in shown and "“" in shown
    assert "newness weighs" in shown


def test_a_greeting_is_answered_in_a_line(up: tuple[Path, Up]) -> None:
    shown = run(up[0], "ask", "hi").stdout
    assert shown.startswith("✓ Hello") and shown.count("\n") == 1 and "[1]" not in shown


def test_a_citations_saved_copy_opens(up: tuple[Path, Up]) -> None:
    home, server = up
    question = server.get("/v1/status")["examples"][0]
    cited = json.loads(run(home, "ask", "--json", question).stdout)["citations"][0]
    from urllib.parse import quote

    path = f"/v1/documents/{quote(cited['key'], safe='')}?version={cited['version']}"
    document = server.get(path)["document"]
    assert document["text"][cited["start"] : cited["end"]] == cited["quote"]


def test_a_second_server_on_the_home_and_a_used_port_are_refused(up: tuple[Path, Up]) -> None:
    home, server = up
    second = run(home, "up", "--port", "0")
    assert (second.returncode, "Another Gnomon uses the home" in second.stderr) == (2, True)
    port = server.url.rsplit(":", 1)[1]
    taken = run(home.parent / "other", "up", "--port", port)
    assert taken.returncode == 2
    assert port in taken.stderr and "--port" in taken.stderr


def test_search_sources_and_doctor_speak(up: tuple[Path, Up]) -> None:
    home, _ = up
    assert "bridge" in run(home, "search", "bridge").stdout.lower()
    assert "demo:herald" in run(home, "sources", "list").stdout
    doctor = run(home, "doctor").stdout
    assert "Web search in answers: off" in doctor
    assert "Code runs in closed rooms" in doctor or "Code is not run" in doctor
    assert "Remote MCP tools: none" in doctor
    assert "Home:" in doctor and "Model" in doctor and "Source demo:herald" in doctor
    unknown = run(home, "sources", "pause", "demo:heralt")
    assert unknown.returncode == 2
    assert "demo:herald" in unknown.stderr
    assert run(home, "sources", "set", "demo:herald", "reliability=0.65").returncode == 0
    assert "Reliability 0.65." in run(home, "sources", "list").stdout
    wrong = run(home, "sources", "set", "demo:herald", "reliability=2")
    assert wrong.returncode == 2 and "reliability" in wrong.stderr


def test_a_killed_server_starts_again_with_what_it_knew(tmp_path: Path) -> None:
    home = tmp_path / "home"
    server = Up(home)
    before = server.get("/v1/status")["record"]["versions"]
    server.end(signal.SIGKILL)
    again = Up(home)
    assert again.get("/v1/status")["record"]["versions"] >= before
    assert again.end() == 0
    assert not (home / "run.json").exists()


def test_commands_work_without_a_server(tmp_path: Path) -> None:
    home = tmp_path / "home"
    asked = run(home, "ask", "Is the Mill Bridge open?")
    assert (asked.returncode, "Newest evidence" in asked.stdout) == (0, True), asked.stderr
    exported = run(home, "record", "export", str(tmp_path / "all.jsonl"))
    assert exported.returncode == 0, exported.stderr
    other = tmp_path / "other"
    loaded = run(other, "record", "import", str(tmp_path / "all.jsonl"))
    assert loaded.returncode == 0, loaded.stderr
    assert "sound" in run(other, "record", "check").stdout
    copy = tmp_path / "copy.db"
    assert run(home, "record", "backup", str(copy)).returncode == 0
    assert copy.stat().st_size > 10_000
    assert "Quillhaven" in run(home, "demo").stdout


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["--set", "server.prot=1", "config", "show"], 2, "server.port"),
        (["--set", "server.port", "config", "show"], 2, "KEY=VALUE"),
        (["--config", "nowhere.toml", "config", "show"], 2, "nowhere.toml"),
        (["up", "--host", "0.0.0.0"], 2, "GNOMON_SERVER__API_KEY"),
        (["ask", "--as-of", "whenever", "Is it?"], 2, "whenever"),
        (["ask", "x" * 5_000], 2, "4,000"),
        (["sources", "add", "http://169.254.169.254/"], 3, "169.254.169.254"),
        (["record", "import", "nowhere.jsonl"], 2, "nowhere.jsonl"),
    ],
)
def test_a_mistake_is_named_with_its_value(
    tmp_path: Path, arguments: list[str], status: int, says: str
) -> None:
    done = run(tmp_path / "home", *arguments)
    assert says in done.stderr, done.stdout + done.stderr
    assert done.returncode == status
    assert "Traceback" not in done.stderr


def test_a_damaged_record_stops_the_start_and_says_what_to_do(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "record.db").write_bytes(b"not a database" * 1000)
    done = run(home, "ask", "Is it?")
    assert done.returncode == 4
    assert "record.db" in done.stderr and "Traceback" not in done.stderr


def test_config_show_names_origins_and_hides_secrets(tmp_path: Path) -> None:
    shown = run(tmp_path / "home", "config", "show", GNOMON_SERVER__API_KEY="hush-hush")
    assert shown.returncode == 0, shown.stderr
    assert "hush-hush" not in shown.stdout
    assert "(environment GNOMON_SERVER__API_KEY)" in shown.stdout
    assert "(flag --log.level)" in shown.stdout


def test_an_added_feed_is_citable_within_seconds(tmp_path: Path) -> None:
    """A new entry of a local feed is found and cited a moment after the feed is added."""
    entry = "The lighthouse at Crane Point was switched to a green lamp on Monday by Ida Marsh."
    feed = (
        '<?xml version="1.0"?><rss version="2.0"><channel><title>Point News</title>'
        "<link>http://localhost/</link><description>d</description><item><guid>1</guid>"
        f"<title>Green lamp</title><description>{entry}</description></item></channel></rss>"
    )
    (tmp_path / "feed.xml").write_text(feed)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    site = subprocess.Popen(
        [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"],
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    home = tmp_path / "home"
    server = Up(home, "--no-demo")
    try:
        address = f"http://127.0.0.1:{port}/feed.xml"
        refused = run(home, "sources", "add", address)
        assert refused.returncode == 3
        assert f"127.0.0.1:{port}" in refused.stderr
        server.end()
        server = Up(home, "--no-demo", "--allow", f"127.0.0.1:{port}")
        added = run(home, "sources", "add", address)
        assert added.returncode == 0, added.stderr
        deadline = time.monotonic() + 15
        answer: dict[str, Any] = {"citations": []}
        while not answer["citations"] and time.monotonic() < deadline:
            answer = json.loads(
                run(
                    home, "ask", "--json", "What lamp does the lighthouse at Crane Point have?"
                ).stdout
            )
        assert "green lamp" in answer["citations"][0]["quote"]
    finally:
        server.end()
        site.terminate()
        site.wait()
