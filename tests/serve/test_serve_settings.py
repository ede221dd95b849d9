"""Settings over HTTP: what is told, what is written, what is refused."""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon import settings
from gnomon.accounts.base import Role
from gnomon.accounts.store import Accounts
from gnomon.serve.configuring import _edited

FILE = """# Ours.
[server]
port = 8421   # the door
host = '127.0.0.1'

[log] # quiet
level = "warning"
"""


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(settings.ENV_PREFIX):
            monkeypatch.delenv(name)


def kept(house: Any, home: Path, *, file: Path | None = None, **flags: Any) -> Any:
    home.mkdir(exist_ok=True)
    named = {name.replace("__", "."): value for name, value in flags.items()}
    loaded = settings.load({"home": home, **named}, file=file)
    return replace(house, services=replace(house.services, loaded=loaded))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def rows(http: Any) -> dict[str, dict[str, Any]]:
    reply = await http.get("/v1/settings")
    assert reply.status_code == 200, reply.text
    return {row["name"]: row for row in reply.json()["settings"]}


async def test_every_setting_is_told_with_type_default_value_and_origin(
    house: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GNOMON_MODELS__API_KEY", "hush-hush")
    file = tmp_path / "own.toml"
    file.write_text(FILE)
    house = kept(house, tmp_path / "home", file=file, server__host="127.0.0.1")
    async with house.client() as http:
        found = await rows(http)
        whole = (await http.get("/v1/settings")).json()
        text = (await http.get("/v1/settings")).text
    assert set(found) == {key for key, _ in settings.fields()}
    assert whole["file"] == str(file) and whole["problem"] == ""
    assert {"name": "server", "title": "The HTTP door"} in whole["sections"]
    port = found["server.port"]
    assert port["schema"] == {"type": "integer", "minimum": 0, "maximum": 65535}
    assert (port["default"], port["value"], port["origin"]) == (8420, 8421, str(file))
    assert port["refusal"] == "" and not port["pending"] and port["needs_restart"]
    assert found["log.level"]["schema"]["enum"] == ["debug", "info", "warning", "error"]
    assert found["server.cors_origins"]["schema"]["items"] == {"type": "string"}
    assert found["record.keep_days"]["nullable"]
    assert found["record.keep_days"]["schema"] == {"type": "number", "exclusiveMinimum": 0}
    assert "flag --server.host" in found["server.host"]["refusal"]
    key = found["models.api_key"]
    assert key["secret"] and key["set"] and "value" not in key and "default" not in key
    assert "GNOMON_MODELS__API_KEY" in key["refusal"]
    assert not found["server.api_key"]["set"]
    assert "hush-hush" not in text


async def test_a_change_keeps_comments_and_waits_for_the_restart(
    house: Any, tmp_path: Path
) -> None:
    file = tmp_path / "own.toml"
    file.write_text(FILE)
    file.chmod(0o640)
    house = kept(house, tmp_path / "home", file=file)
    async with house.client() as http:
        reply = await http.patch(
            "/v1/settings",
            json={"server.port": "9000", "log.level": None, "net.allow": ["127.0.0.1:9"]},
        )
        assert reply.status_code == 200, reply.text
        found = await rows(http)
    expected = FILE.replace("8421", "9000").replace('level = "warning"\n', "")
    assert file.read_text() == expected + '\n[net]\nallow = ["127.0.0.1:9"]\n'
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    port = found["server.port"]
    assert (port["value"], port["next"], port["pending"]) == (8421, 9000, True)
    assert found["log.level"]["next"] == "info"
    assert not found["log.format"]["pending"]
    assert settings.load(file=file).settings.server.port == 9000
    assert not [name for name in names(tmp_path) if name.startswith(".")]


async def test_without_a_file_the_one_in_the_home_is_made_and_read_from_then_on(
    house: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    home = tmp_path / "home"
    house = kept(house, home)
    async with house.client() as http:
        assert (await http.patch("/v1/settings", json={"demo.seed": 7})).status_code == 200
    assert tomllib.loads((home / "gnomon.toml").read_text()) == {"demo": {"seed": 7}}
    again = settings.load({"home": home})
    assert again.settings.demo.seed == 7
    assert again.origins["demo.seed"] == str(home / "gnomon.toml")


async def test_a_secret_goes_to_a_file_of_its_own_and_never_comes_back(
    house: Any, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    house = kept(house, home)
    async with house.client() as http:
        reply = await http.patch("/v1/settings", json={"websearch.brave_key": " hush-hush "})
        assert reply.status_code == 200 and "hush-hush" not in reply.text
        secret = home / "secrets" / "websearch.brave_key"
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600
        assert stat.S_IMODE(secret.parent.stat().st_mode) == 0o700
        assert "hush-hush" not in (home / "gnomon.toml").read_text()
        brave = settings.load({"home": home}, file=home / "gnomon.toml").settings.websearch
        assert brave.brave_key is not None
        assert brave.brave_key.get_secret_value() == "hush-hush"
        row = (await rows(http))["websearch.brave_key"]
        assert row["set"] and row["pending"] and row["refusal"] == ""
        assert (
            await http.patch("/v1/settings", json={"websearch.brave_key": None})
        ).status_code == 200
        assert not (await rows(http))["websearch.brave_key"]["set"]
    assert not secret.exists()


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"server.port": 70_000}, 400, ["server.port", "70000", "65535"]),
        ({"log.level": "loud"}, 400, ["log.level", "loud", "warning"]),
        ({"server.prot": 1}, 400, ["server.prot", "server.port"]),
        ({"demo.seed": {"a": 1}}, 400, ["demo.seed"]),
        ({"net.allow": [None]}, 400, ["net.allow"]),
        ({"net.contact": "x" * 20_000}, 400, ["net.contact", "10,000"]),
        ({"server.host": "0.0.0.0"}, 400, ["server.host", "0.0.0.0", "key"]),
        ({"server.api_key": "two\nlines"}, 400, ["server.api_key", "line"]),
        ({"server.api_key_file": "/etc/shadow"}, 409, ["server.api_key_file"]),
        ({"home": "/tmp"}, 409, ["home"]),
        ({"ingest.queue_batches": 3}, 409, ["ingest.queue_batches", "flag"]),
        ({"net.robots": False}, 409, ["net.robots", "GNOMON_NET__ROBOTS"]),
        ({}, 400, ["log.level"]),
        ({"log.level": "debug", "server.port": -1}, 400, ["server.port", "-1"]),
    ],
)
async def test_what_cannot_be_is_refused_in_words_and_nothing_is_written(
    house: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Mapping[str, Any],
    status: int,
    words: list[str],
) -> None:
    monkeypatch.setenv("GNOMON_NET__ROBOTS", "true")
    file = tmp_path / "own.toml"
    file.write_text(FILE)
    house = kept(house, tmp_path / "home", file=file, ingest__queue_batches=5)
    async with house.client() as http:
        reply = await http.patch("/v1/settings", json=change)
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    told = reply.json()["detail"] + reply.json()["hint"]
    assert all(word in told for word in words), told
    assert file.read_text() == FILE
    assert not (tmp_path / "home" / "secrets").exists()


async def test_a_secret_that_the_operator_keeps_elsewhere_is_left_alone(
    house: Any, tmp_path: Path
) -> None:
    key, file = tmp_path / "key", tmp_path / "own.toml"
    key.write_text("theirs")
    file.write_text(f"[models]\napi_key_file = '{key}'\n")
    house = kept(house, tmp_path / "home", file=file)
    async with house.client() as http:
        reply = await http.patch("/v1/settings", json={"models.api_key": "ours"})
    assert reply.status_code == 409 and str(key) in reply.json()["detail"]
    assert key.read_text() == "theirs"


async def test_a_file_broken_by_hand_is_told_and_not_overwritten(
    house: Any, tmp_path: Path
) -> None:
    file = tmp_path / "own.toml"
    file.write_text(FILE)
    house = kept(house, tmp_path / "home", file=file)
    file.write_text("[server\n")
    async with house.client() as http:
        assert "not valid TOML" in (await http.get("/v1/settings")).json()["problem"]
        reply = await http.patch("/v1/settings", json={"log.level": "debug"})
    assert reply.status_code == 409 and "not valid TOML" in reply.json()["detail"]
    assert file.read_text() == "[server\n"


async def test_only_admins_see_and_change_and_it_is_noted(house: Any, tmp_path: Path) -> None:
    accounts = Accounts(tmp_path / "accounts.db", house.clock)
    keys = {}
    for name, role in (("root", Role.ADMIN), ("ed", Role.EDITOR)):
        accounts.add_user(name, role, password="correct horse battery")
        keys[name] = {"authorization": f"Bearer {accounts.add_key(name)[1]}"}
    house = kept(house, tmp_path / "home")
    house = replace(house, services=replace(house.services, accounts=accounts))
    async with house.client() as http:
        assert (await http.get("/v1/settings", headers=keys["ed"])).status_code == 403
        body = {"log.level": "debug", "models.api_key": "hush-hush"}
        refused = await http.patch("/v1/settings", json=body, headers=keys["ed"])
        assert refused.status_code == 403
        done = await http.patch("/v1/settings", json=body, headers=keys["root"])
        assert done.status_code == 200
        audit = (await http.get("/v1/audit", headers=keys["root"])).text
    accounts.close()
    assert "settings.changed" in audit and "log.level" in audit
    assert "models.api_key" in audit and "hush-hush" not in audit


async def test_a_server_of_one_command_keeps_no_settings(house: Any) -> None:
    async with house.client() as http:
        assert (await http.get("/v1/settings")).status_code == 404


@pytest.mark.parametrize(
    "text",
    [
        "log.level = 'info' # dotted\n",
        "log = { level = 'info', format = 'json' }\n",
        "[log]\r\nlevel = 'info'\r\n",
        "",
    ],
)
def test_other_ways_of_writing_toml_are_kept(text: str) -> None:
    edited = _edited(Path("x.toml"), text, {"log.level": "debug"})
    assert tomllib.loads(edited)["log"]["level"] == "debug"
    dropped = _edited(Path("x.toml"), edited, {"log.level": None})
    assert "level" not in tomllib.loads(dropped).get("log", {})


@given(st.text(), st.lists(st.text(), max_size=4), st.integers(-(2**63), 2**63 - 1))
def test_whatever_a_value_says_the_file_says_the_same(
    word: str, words: list[str], number: int
) -> None:
    changes = {"net.contact": word, "net.allow": words, "demo.seed": number}
    said = tomllib.loads(_edited(Path("x.toml"), FILE, changes))
    assert said["net"] == {"contact": word, "allow": words}
    assert said["demo"] == {"seed": number}
