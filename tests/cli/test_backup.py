"""A home is copied while it is used, and put back: nothing is lost, nothing is replaced."""

from __future__ import annotations

import json
import shutil
import stat
import threading
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import apsw
import pytest

from gnomon.app import locked
from gnomon.backup import LIST, UNFINISHED, Backup, back_up, listed, restore
from gnomon.errors import ConfigError, StoreError

NOW = datetime(2026, 11, 22, 14, 5, tzinfo=UTC)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    (home / "secrets").mkdir(parents=True, mode=0o700)
    (home / "index").mkdir()
    (home / "models").mkdir()
    (home / "registry" / "mine").mkdir(parents=True)
    for name, body in (
        ("secrets/server.api_key", b"open-sesame"),
        ("seal.key", b"k" * 32),
        ("index/segment", b"made again"),
        ("models/weights.gguf", b"fetched again"),
        ("registry/mine/1.gguf", b"trained"),
        ("lock", b""),
        ("run.json", b"{}"),
    ):
        (home / name).write_bytes(body)
        (home / name).chmod(0o600)
    (home / "gnomon.toml").write_text(f'[server]\napi_key_file = "{home}/secrets/server.api_key"\n')
    for name in ("record.db", "answers.db"):
        with closing(apsw.Connection(str(home / name))) as db:
            db.pragma("journal_mode", "wal")
            db.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b INTEGER)")
            db.execute("INSERT INTO t VALUES (1, 1)")
    return home


def made(home: Path, folder: Path, **more: bool) -> Backup:
    return back_up(home, folder, now=NOW, version="0.1.0", **more)


def names(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def put_back(folder: Path, home: Path) -> Backup:
    with locked(home, unfinished=True):
        return restore(folder, home)


def test_all_but_what_is_made_again_comes_back(home: Path, tmp_path: Path) -> None:
    found = made(home, tmp_path / "copy")
    assert found == listed(tmp_path / "copy")
    assert [file.path for file in found.files][-1] == "record.db"
    other = tmp_path / "other"
    put_back(tmp_path / "copy", other)
    assert names(other) == {
        "answers.db", "record.db", "seal.key", "secrets/server.api_key", "registry/mine/1.gguf",
        "gnomon.toml", "lock",
    }  # fmt: skip
    for place in (tmp_path / "copy", other):
        for name in ("seal.key", "secrets/server.api_key"):
            assert stat.S_IMODE((place / name).stat().st_mode) == 0o600
        assert stat.S_IMODE((place / "secrets").stat().st_mode) == 0o700
    assert f'"{other}/secrets/server.api_key"' in (other / "gnomon.toml").read_text()
    with closing(apsw.Connection(str(other / "record.db"))) as db:
        assert list(db.execute("SELECT * FROM t")) == [(1, 1)]


def test_secrets_stay_at_home_if_they_should(home: Path, tmp_path: Path) -> None:
    made(home, tmp_path / "copy", secrets=False)
    assert not any("secret" in name or name.endswith(".key") for name in names(tmp_path / "copy"))
    assert b"open-sesame" not in b"".join(
        path.read_bytes() for path in (tmp_path / "copy").rglob("*") if path.is_file()
    )
    assert put_back(tmp_path / "copy", tmp_path / "other").secrets is False


def test_a_database_is_copied_at_one_moment_while_it_is_written(home: Path, tmp_path: Path) -> None:
    stop = threading.Event()

    def write() -> None:
        with closing(apsw.Connection(str(home / "record.db"))) as db:
            db.set_busy_timeout(10_000)
            n = 1
            while not stop.is_set():
                n += 1  # Both columns of every row are equal, and no row is missing: or it is torn.
                with db:
                    db.execute("INSERT INTO t VALUES (?, 0)", (n,))
                    db.execute("UPDATE t SET b = a WHERE a = ?", (n,))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for i in range(5):
            made(home, tmp_path / f"copy-{i}")
    finally:
        stop.set()
        writer.join()
    for i in range(5):
        with closing(apsw.Connection(str(tmp_path / f"copy-{i}" / "record.db"))) as db:
            rows = list(db.execute("SELECT a, b FROM t ORDER BY a"))
            assert rows == [(n, n) for n in range(1, len(rows) + 1)]
            assert db.pragma("integrity_check") == "ok"


def test_what_lies_on_another_disk_comes_along_once(home: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    (disk / "weights").write_bytes(b"trained")
    (disk / "home").symlink_to(home)
    (home / "runs").symlink_to(disk)
    (home / "gone").symlink_to(tmp_path / "nowhere")
    found = [file.path for file in made(home, tmp_path / "copy").files]
    assert "runs/weights" in found and not any(path.startswith("runs/home") for path in found)
    put_back(tmp_path / "copy", tmp_path / "other")
    assert (tmp_path / "other" / "runs" / "weights").read_bytes() == b"trained"


def test_nothing_is_ever_replaced(home: Path, tmp_path: Path) -> None:
    made(home, tmp_path / "copy")
    with pytest.raises(ConfigError, match="exists already"):
        made(home, tmp_path / "copy")
    with pytest.raises(ConfigError, match="within the home"):
        made(home, home / "copy")
    with pytest.raises(ConfigError, match="not empty"):
        put_back(tmp_path / "copy", home) if not (home / "lock").unlink() else None
    with pytest.raises(ConfigError, match="no whole backup"):
        put_back(home, tmp_path / "other")
    with pytest.raises(ConfigError, match="no home"):
        made(tmp_path / "nowhere", tmp_path / "copy-2")


def test_a_damaged_backup_is_refused_before_anything_is_put_back(
    home: Path, tmp_path: Path
) -> None:
    made(home, tmp_path / "copy")
    whole = (tmp_path / "copy" / "record.db").read_bytes()
    for damage in (whole[:-1], b"x" + whole[1:], None):
        path = tmp_path / "copy" / "record.db"
        path.write_bytes(damage) if damage is not None else path.unlink()
        with pytest.raises(StoreError, match="damaged or missing"):
            put_back(tmp_path / "copy", tmp_path / "other")
        assert names(tmp_path / "other") == {"lock"}


@pytest.mark.parametrize("path", ["../../evil", "/etc/evil", ""])
def test_a_list_that_points_elsewhere_is_refused(home: Path, tmp_path: Path, path: str) -> None:
    made(home, tmp_path / "copy")
    told = json.loads((tmp_path / "copy" / LIST).read_bytes())
    told["files"][0]["path"] = path
    (tmp_path / "copy" / LIST).write_text(json.dumps(told))
    with pytest.raises(StoreError, match="elsewhere"):
        put_back(tmp_path / "copy", tmp_path / "other")


def test_a_restore_that_was_cut_off_is_told_and_done_again(home: Path, tmp_path: Path) -> None:
    made(home, tmp_path / "copy")
    other = tmp_path / "other"
    put_back(tmp_path / "copy", other)
    (other / "record.db").unlink()
    (other / UNFINISHED).touch()
    with pytest.raises(ConfigError, match="not to the end"), locked(other):
        pass
    put_back(tmp_path / "copy", other)
    with locked(other):
        assert (other / "record.db").exists()


def test_a_damaged_database_stops_the_backup(home: Path, tmp_path: Path) -> None:
    body = (home / "answers.db").read_bytes()
    (home / "answers.db").write_bytes(body[:16] + b"\xff" * 200)
    shutil.rmtree(home / "index")
    with pytest.raises((StoreError, ConfigError)):
        made(home, tmp_path / "copy")
    assert not (tmp_path / "copy" / LIST).exists()
