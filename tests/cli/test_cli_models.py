"""`gnomon models` with models of one's own, while no server runs."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner, Result

from gnomon.cli import app
from gnomon.clock import SystemClock
from gnomon.errors import ConfigError, GnomonError, ModelTerminal
from gnomon.models.registry import Check, Registry
from gnomon.train.config import Data, RunConfig
from gnomon.train.judgement import Judgement, write_judgement
from gnomon.train.models.shape import presets

GOOD = Check(name="bits_per_byte", value=1.9, low=1.8, high=2.0, threshold=2.5, passed=True)
BAD = Check(name="cloze", value=21.0, threshold=25.0, passed=False)
Gnomon = Callable[..., Result]


@pytest.fixture
def gnomon(tmp_path: Path) -> Gnomon:
    def call(*arguments: str | Path) -> Result:
        given = ["--home", str(tmp_path / "home"), "models", *map(str, arguments)]
        result = CliRunner().invoke(app, given)
        if isinstance(result.exception, GnomonError):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result

    return call


def weights(folder: Path, text: str) -> Path:
    path = folder / f"{text}.gguf"
    path.write_bytes(b"GGUF" + text.encode())
    return path


def checks(folder: Path, *found: Check) -> Path:
    path = folder / "checks.json"
    path.write_bytes(msgspec.json.encode(found))
    return path


def test_what_is_removed_can_still_be_shown(gnomon: Gnomon, tmp_path: Path) -> None:
    passed = checks(tmp_path, GOOD)
    for text in ("a", "b"):
        gnomon("add", weights(tmp_path, text), "--name", "town", "--checks", passed)
    gnomon("use", "town@2")
    with pytest.raises(ConfigError, match="2 versions"):
        gnomon("remove", "town")
    with pytest.raises(ConfigError, match="town@2 serves"):
        gnomon("remove", "town@2")
    assert gnomon("remove", "town@1").output.startswith("town@1 is removed.")
    shown = gnomon("show", "town@1").output
    assert "town@1: removed, added" in shown
    assert "File: gone" in shown
    assert "Passes: bits_per_byte 1.9" in shown
    assert "is removed" in shown.splitlines()[-1]


def test_add_use_show_and_rollback(gnomon: Gnomon, tmp_path: Path) -> None:
    passed = checks(tmp_path, GOOD)
    said = gnomon("add", weights(tmp_path, "a"), "--name", "town", "--checks", passed).output
    assert said.startswith("town@1: passed its gate")
    assert "`gnomon models use town@1` lets it serve." in said
    gnomon("add", weights(tmp_path, "b"), "--name", "town", "--checks", passed)
    assert gnomon("use", "town@1").output == "town@1 serves from the next start on.\n"
    gnomon("use", "town")
    shown = gnomon("show", "town").output
    assert shown.startswith("town@2: serves, and answers as gnomon-own")
    assert "Passes: bits_per_byte 1.9 (1.8 to 2), threshold 2.5" in shown
    assert gnomon("rollback").output == "town@1 serves again from the next start on.\n"
    shown = gnomon("show", "town@2").output
    assert "gives way to town@1 (rollback)" in shown
    serving = Registry(tmp_path / "home" / "registry", SystemClock()).serving()
    assert serving is not None and serving.id == "town@1"
    with pytest.raises(ConfigError, match="No model served before"):
        gnomon("rollback")
    whole = json.loads(gnomon("show", "town@2", "--json").output)
    assert whole["state"] == "retired" and whole["passed"] and len(whole["history"]) == 2


@pytest.mark.parametrize(("found", "code"), [((), "gate.missing"), ((GOOD, BAD), "gate.refused")])
def test_what_passed_no_gate_is_refused(
    gnomon: Gnomon, tmp_path: Path, found: tuple[Check, ...], code: str
) -> None:
    said = gnomon(
        "add", weights(tmp_path, "a"), "--name", "town", "--checks", checks(tmp_path, *found)
    )
    assert "lets it serve" not in said.output
    with pytest.raises(ModelTerminal) as refused:
        gnomon("use", "town")
    assert refused.value.code == code


def test_a_damaged_file_is_not_let_serve(gnomon: Gnomon, tmp_path: Path) -> None:
    gnomon("add", weights(tmp_path, "a"), "--name", "t", "--checks", checks(tmp_path, GOOD))
    registry = Registry(tmp_path / "home" / "registry", SystemClock())
    registry.path(registry.find("t")).write_bytes(b"GGUFx")
    with pytest.raises(ModelTerminal, match="damaged"):
        gnomon("use", "t")
    assert registry.serving() is None


def write_run(folder: Path, judged: Path | None, *found: Check) -> Path:
    folder.mkdir(parents=True)
    config = RunConfig(model=presets()["grok-5m"], data=Data(tokens=folder / "tokens"))
    (folder / "config.json").write_text(config.model_dump_json())
    (folder / "outcome.json").write_text('{"steps": 7, "sha256": "abc", "loss": 1.5}')
    if judged is not None:
        write_judgement(
            folder,
            Judgement(
                file=judged.name,
                file_sha256=hashlib.sha256(judged.read_bytes()).hexdigest(),
                text_sha256="held-out",
                serving="town@1",
                measures=(),
                checks=found,
            ),
        )
    return folder


def test_a_run_gives_lineage_and_what_its_gate_found(gnomon: Gnomon, tmp_path: Path) -> None:
    path = weights(tmp_path, "a")
    write_run(tmp_path / "home" / "runs" / "first", path, GOOD)
    gnomon("add", path, "--name", "town", "--run", "first")
    entry = json.loads(gnomon("show", "town", "--json").output)
    assert entry["passed"]
    configuration = entry["lineage"].pop("configuration")
    assert len(configuration) == 64
    assert entry["lineage"] == {
        "run": "first",
        "steps": "7",
        "weights": "abc",
        "judged_by": "held-out",
        "replaces": "town@1",
    }
    with pytest.raises(ConfigError, match="is not the file that the gate of first judged"):
        gnomon("add", weights(tmp_path, "b"), "--name", "town", "--run", "first")


def test_a_run_that_no_gate_judged_gives_lineage_only(gnomon: Gnomon, tmp_path: Path) -> None:
    folder = write_run(tmp_path / "elsewhere", None)
    said = gnomon("add", weights(tmp_path, "a"), "--name", "town", "--run", folder).output
    assert "judged by no gate, so it cannot serve" in said
    with pytest.raises(ConfigError, match="is no training run"):
        gnomon("add", weights(tmp_path, "a"), "--name", "town", "--run", tmp_path)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"name": "x"}]', "\xff", '{"checks": 1}'])
def test_what_is_no_list_of_checks_is_refused(gnomon: Gnomon, tmp_path: Path, text: str) -> None:
    path = tmp_path / "checks.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError) as refused:
        gnomon("add", weights(tmp_path, "a"), "--name", "town", "--checks", path)
    assert refused.value.code == "registry.checks"


def test_the_page_runs_as_it_stands(
    gnomon: Gnomon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parents[2] / "docs/how-to/deploy-a-model.md").read_text("utf-8")
    (found,) = re.findall(r"```json\n(.*?)```", page, re.S)
    (tmp_path / "checks.json").write_text(found)
    monkeypatch.chdir(tmp_path)
    lines = [
        line for block in re.findall(r"```sh\n(.*?)```", page, re.S) for line in block.split("\n")
    ]
    commands = [line.split()[2:] for line in lines if line]
    assert [command[0] for command in commands] == [
        *("add", "show", "use", "list", "rollback", "remove")
    ]
    weights(tmp_path, "before").rename(tmp_path / "town.gguf")
    gnomon(*commands[0])
    gnomon("use", "town")
    weights(tmp_path, "newer").rename(tmp_path / "town.gguf")
    for command in commands:
        if command[0] != "list":  # it starts a server; see below
            gnomon(*command)
    serving = Registry(tmp_path / "home" / "registry", SystemClock()).serving()
    assert serving is not None and serving.id == "town@1"


@pytest.mark.slow
def test_models_are_listed(gnomon: Gnomon, tmp_path: Path) -> None:
    gnomon("add", weights(tmp_path, "a"), "--name", "town", "--checks", checks(tmp_path, GOOD))
    gnomon("use", "town")
    gnomon("add", weights(tmp_path, "b"), "--name", "worse", "--checks", checks(tmp_path, BAD))
    command = [Path(sys.executable).with_name("gnomon"), "--home", tmp_path / "home"]
    command += ["--set", "log.level=error", "--set", "demo.mode=off", "models", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert listed.returncode == 0, listed.stderr
    said = listed.stdout
    assert "town@1: serves, and answers as gnomon-own" in said
    assert "worse@1: refused by its gate" in said
    assert "town@1 (generator): gnomon-own is town@1, and is loaded when it is asked." in said
