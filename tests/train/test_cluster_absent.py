"""Where Ray is not installed, whoever asks for it is told what to install."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gnomon.cli import main


def _gnomon(*words: object, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("sys.argv", ["gnomon", *map(str, words)])
    with pytest.raises(SystemExit) as left:
        main()
    return int(left.value.code or 0)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GNOMON_HOME", str(tmp_path / "home"))
    monkeypatch.setitem(sys.modules, "ray", None)
    (tmp_path / "a.toml").write_text('model = "llama-5m"\n[data]\ntokens = "tokens"\n')
    (tmp_path / "a.txt").write_text("A text.")
    return tmp_path


def test_the_launcher_names_the_extra(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="needs gnomon[train]")
    words = ("forge", "train", home / "a.toml", "--launcher", "ray")
    assert _gnomon(*words, monkeypatch=monkeypatch) == 2
    assert "pip install 'gnomon[cluster]'" in capsys.readouterr().err


def test_the_engine_names_the_extra(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("corpus", "build", home / "out", "--from", home / "a.txt", "--engine", "ray")
    assert _gnomon(*words, monkeypatch=monkeypatch) == 2
    assert "pip install 'gnomon[cluster]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "known"),
    [
        (("forge", "train", "a.toml", "--launcher", "kubernetes"), "local, ray or slurm"),
        (("corpus", "build", "out", "--from", "a.txt", "--engine", "spark"), "local or ray"),
    ],
)
def test_what_does_not_exist_is_refused(
    words: tuple[str, ...],
    known: str,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(home)
    assert _gnomon(*words, monkeypatch=monkeypatch) == 2
    assert known in capsys.readouterr().err
