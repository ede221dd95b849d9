"""`gnomon backup`, `gnomon restore` and `gnomon record import` beside a server that runs."""

from __future__ import annotations

import importlib.util
import json
import stat
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest

_spec = importlib.util.spec_from_file_location(
    "real_commands", Path(__file__).with_name("test_cli.py")
)
assert _spec is not None and _spec.loader is not None
commands = sys.modules[_spec.name] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(commands)

PATIENCE_S = 60


def send(server: Any, method: str, path: str, body: Any = None, key: str = "") -> Any:
    """The decoded answer to a request."""
    headers = {"content-type": "application/json"} | ({"authorization": key} if key else {})
    content = json.dumps(body).encode() if body is not None else None
    request = Request(server.url + path, content, headers, method=method)
    with urlopen(request, timeout=PATIENCE_S) as response:
        found = response.read()
    return json.loads(found) if found else None


@pytest.mark.slow
def test_what_is_restored_knows_all_that_the_home_knew(tmp_path: Path) -> None:
    home, copy, other = tmp_path / "home", tmp_path / "copy", tmp_path / "other"
    server = commands.Up(home)
    question = server.get("/v1/status")["examples"][0]
    send(server, "PUT", "/v1/memory/settings", {"on": True})
    note = send(server, "POST", "/v1/memory", {"text": "I live in Quillhaven."})
    watch = send(server, "POST", "/v1/watches", {"question": question})
    asked = send(server, "POST", "/v1/ask", {"question": question, "stream": False})
    made = send(server, "POST", "/v1/responses", {"input": question})
    compacted = send(server, "POST", "/v1/responses/compact", {"previous_response_id": made["id"]})
    run = send(server, "POST", "/v1/runs", {"question": question, "steps": 1})
    send(server, "PATCH", "/v1/settings", {"websearch.brave_key": "a-secret-of-mine"})
    moment = datetime.now(UTC).isoformat()
    # The town goes on speaking while it is copied.
    done = commands.run(home, "backup", str(copy))
    assert done.returncode == 0 and "Wrote" in done.stdout, done.stderr
    user = commands.run(home, "users", "add", "ann", "--role", "admin")
    assert user.returncode == 0, user.stderr
    assert server.end() == 0
    assert not (copy / "index").exists() and not (copy / "lock").exists()

    refused = commands.run(home, "restore", str(copy))
    assert refused.returncode == 2 and "not empty" in refused.stderr
    done = commands.run(other, "restore", str(copy))
    assert done.returncode == 0 and "files of" in done.stdout, done.stderr
    assert "sound" in commands.run(other, "record", "check").stdout
    secrets = [path for path in (other / "secrets").iterdir() if path.is_file()]
    assert [path.read_text().strip() for path in secrets] == ["a-secret-of-mine"]
    assert stat.S_IMODE(secrets[0].stat().st_mode) == 0o600
    assert str(other) in (other / "gnomon.toml").read_text()

    again = commands.Up(other)
    try:
        assert send(again, "GET", "/v1/memory")["notes"] == [note]
        assert [w["id"] for w in send(again, "GET", "/v1/watches")["watches"]] == [watch["id"]]
        assert send(again, "GET", f"/v1/runs/{run['id']}")["question"] == run["question"]
        kept = send(again, "GET", f"/v1/answers/{asked['id']}")["answer"]
        assert [c["quote"] for c in kept["citations"]] == [
            c["quote"] for c in asked["answer"]["citations"]
        ]
        for citation in kept["citations"]:
            path = f"/v1/documents/{quote(citation['key'], safe='')}?version={citation['version']}"
            text = send(again, "GET", path)["document"]["text"]
            assert text[citation["start"] : citation["end"]] == citation["quote"]
        # What clients keep sealed is still read: the home's key came along.
        items = [*compacted["output"], {"role": "user", "content": "And now?"}]
        assert send(again, "POST", "/v1/responses", {"input": items})["status"] == "completed"
        deadline = time.monotonic() + PATIENCE_S
        while send(again, "GET", "/health")["index_behind"]:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        body = {"question": question, "as_of": moment, "stream": False}
        found = send(again, "POST", "/v1/ask", body)["answer"]
        assert found["sentences"] and found["citations"]
    finally:
        assert again.end() == 0


@pytest.mark.slow
def test_history_is_loaded_beside_a_server_that_goes_on_answering(tmp_path: Path) -> None:
    home, rows = tmp_path / "home", tmp_path / "rows.jsonl"
    began = datetime(2026, 3, 1, 8, tzinfo=UTC)
    with rows.open("w") as file:
        for i in range(5_000):
            seen = (began + timedelta(seconds=i)).isoformat()
            row = {"text": f"The xylophone number {i} was tuned.", "observed_at": seen}
            file.write(json.dumps(row) + "\n")
    server = commands.Up(home)
    try:
        before = server.get("/v1/status")["record"]["versions"]
        loaded = commands.run(home, "record", "import", str(rows))
        assert loaded.returncode == 0 and "Loaded 5,000 of 5,000" in loaded.stdout, loaded.stderr
        deadline = time.monotonic() + PATIENCE_S
        while not server.get("/v1/search?q=xylophone+number+4999")["hits"]:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        # The server still writes, too: the town speaks, and what it says is recorded.
        made = send(server, "POST", "/v1/ask", {"question": "Was the xylophone number 17 tuned?",
                                                "stream": False})  # fmt: skip
        assert "xylophone number 17" in made["answer"]["text"]
        assert server.get("/v1/status")["record"]["versions"] >= before + 5_000
        again = commands.run(home, "record", "import", str(rows))
        assert "5,000 were there already" in again.stdout, again.stdout + again.stderr
    finally:
        assert server.end() == 0
    assert "sound" in commands.run(home, "record", "check").stdout
