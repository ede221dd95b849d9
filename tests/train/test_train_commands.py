"""The forge on the command line, from configuration to report."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog

from gnomon.cli import main
from gnomon.errors import ConfigError
from gnomon.train.config import RunConfig, Schedule, read_config
from gnomon.train.metrics import METRICS, Step, read_steps
from gnomon.train.need import need
from gnomon.train.runs import goodput, list_runs, report

Describe = Callable[..., dict[str, Any]]


def toml(run: dict[str, Any]) -> str:
    lines = []
    for name, section in run.items():
        lines.append(f"[{name}]")
        lines += [f"{key} = {msgspec.json.encode(v).decode()}" for key, v in section.items()]
    return "\n".join(lines)


@pytest.fixture
def config(tmp_path: Path, described: Describe) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(toml(described()))
    return path


@pytest.fixture
def gnomon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., tuple[int, str, str]]]:
    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setenv("GNOMON_HOME", str(tmp_path / "home"))
        monkeypatch.setattr("sys.argv", ["gnomon", *map(str, words)])
        status = 0
        try:
            main()
        except SystemExit as left:
            status = int(left.code or 0)
        out, err = capsys.readouterr()
        return status, out, err

    yield call
    structlog.reset_defaults()  # the command bound the log to a stream of this test


def test_from_a_configuration_to_a_report(
    config: Path, tmp_path: Path, gnomon: Callable[..., tuple[int, str, str]]
) -> None:
    pytest.importorskip("torch", reason="needs gnomon[train]")
    status, out, _ = gnomon("forge", "check", config)
    assert status == 0
    assert "a checkpoint came back as saved" in out
    status, out, err = gnomon("forge", "train", config)
    assert status == 0
    assert "12/12  loss" in err
    assert "ETA" in err
    status, out, _ = gnomon("runs")
    assert out.startswith("tiny")
    assert "finished" in out
    status, out, _ = gnomon("runs", "--json")
    assert msgspec.json.decode(out)[0]["step"] == 12
    page = tmp_path / "report.html"
    assert gnomon("runs", "tiny", "--html", page)[0] == 0
    text = page.read_text()
    plots = [part.split("</svg>")[0] + "</svg>" for part in text.split("<svg")[1:]]
    assert len(plots) == 6
    for plot in plots:
        assert ET.fromstring("<svg" + plot).findall("polyline")
    assert list((tmp_path / "home" / "runs" / "tiny" / "tensorboard").iterdir())
    assert "http" not in text.replace("http://www.w3.org", "")


@pytest.mark.slow
def test_a_configuration_with_shared_experts_is_rehearsed_by_as_many(
    config: Path, tmp_path: Path
) -> None:
    pytest.importorskip("torch", reason="needs gnomon[train]")
    config.write_text(config.read_text().replace("[machine]", "[machine]\nep = 2"))
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from gnomon.cli import main; main()",
            "--home",
            str(tmp_path),
            "forge",
            "check",
            str(config),
        ],
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "a checkpoint came back as saved" in done.stdout
    assert "tokens/s with 2 workers" in done.stdout


def test_a_precision_that_the_device_has_not_is_told_before_anything_starts(
    config: Path, tmp_path: Path, gnomon: Callable[..., tuple[int, str, str]]
) -> None:
    pytest.importorskip("torch", reason="needs gnomon[train]")
    config.write_text(config.read_text().replace("[machine]", '[machine]\nprecision = "float8"'))
    for command in ("check", "train"):
        status, _, err = gnomon("forge", command, config)
        assert status == 2
        assert "in which the CPU cannot multiply" in err.replace("\n", " ")
    assert not (tmp_path / "home" / "runs" / "tiny").exists()


def test_the_config_of_a_run_can_be_read_again(config: Path, tmp_path: Path) -> None:
    read = read_config(config)
    kept = tmp_path / "config.json"
    kept.write_text(read.model_dump_json())
    assert read_config(kept) == read
    kept.write_text("{")
    with pytest.raises(ConfigError, match="is not JSON"):
        read_config(kept)


@pytest.mark.parametrize(
    ("wrong", "right", "told"),
    [
        (
            "\nrate",
            "\nratee",
            "unknown key optimizer.ratee (did you mean rate?)",
        ),
        ("[schedule]", "[shedule]", "unknown key shedule (did you mean schedule?)"),
        ("batch = 4", "batch = 5", "data.batch (5) is no multiple of data.micro (2)"),
        ("sequence = 16", "sequence = 64", "longer than the model's context (32)"),
        ("experts = 4", "experts = 1", "experts_used (2) is not from 1 to experts (1)"),
        ("steps = 12", 'steps = "many"', "schedule.steps"),
        ("[data]", "[data", "is not TOML"),
        ("[machine]", "[machine]\nep = 3", "model.experts (4) cannot be shared out evenly"),
        ("[machine]", "[faults]\nstraggler = 0.5\n[machine]", "must be above 1, or 0"),
    ],
)
def test_a_wrong_configuration_is_told_before_anything_starts(
    wrong: str, right: str, told: str, config: Path, gnomon: Callable[..., tuple[int, str, str]]
) -> None:
    text = config.read_text()
    assert wrong in text
    config.write_text(text.replace(wrong, right))
    status, _, err = gnomon("forge", "check", config)
    assert status == 2
    assert told in err.replace("\n", " ")


def test_presets_are_named_and_changed(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text('[model]\npreset = "grok-10m"\nvocab = 512\n[data]\ntokens = "t"')
    assert read_config(path).model.vocab == 512
    assert read_config(path).data.tokens == tmp_path / "t"
    path.write_text('model = "grok-10"\n[data]\ntokens = "t"')
    with pytest.raises(ConfigError, match="Did you mean 'grok-10m'"):
        read_config(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(tmp_path / "absent.toml")


def test_a_plan_needs_no_data(config: Path, gnomon: Callable[..., tuple[int, str, str]]) -> None:
    config.write_text('model = "grok-1"\n[data]\ntokens = "later"\nbatch = 64\nmicro = 1')
    status, out, _ = gnomon("forge", "plan", config, "--gpus", 64, "--network", 400)
    assert status == 0
    assert "315.68 B, 83.76 B active" in out
    assert gnomon("forge", "plan", config, "--device", "abacus")[0] == 2


def test_what_is_not_installed_is_named() -> None:
    with pytest.raises(ConfigError, match=r"pip install 'gnomon\[train\]'"):
        need("a_module_that_nobody_wrote")


def test_the_main_program_never_imports_torch() -> None:
    import subprocess
    import sys

    code = "import sys, gnomon.cli, gnomon.train.runs, gnomon.train.plan, gnomon.train.data;"
    done = subprocess.run(
        [sys.executable, "-c", code + "print('torch' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("constant", [0.5, 1.0, 1.0, 1.0, 1.0]),
        ("wsd", [0.5, 1.0, 1.0, 1.0, 0.1]),
        ("cosine", [0.5, 1.0, 0.994, 0.55, 0.1]),
    ],
)
def test_schedules_at_their_corners(kind: str, expected: list[float]) -> None:
    schedule = Schedule(kind=kind, steps=22, warmup=2, decay=8)
    found = [schedule.factor(step) for step in (0, 1, 2, 11, 21)]
    assert found == pytest.approx(expected, abs=1e-3)


def test_lines_that_were_torn_or_told_twice(tmp_path: Path, described: Describe) -> None:
    folder = tmp_path / "runs" / "a"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(RunConfig(**described()).model_dump_json())

    def line(step: int, at: float, start: int, verdict: str = "good") -> bytes:
        made = Step(step, 2.0, 1e-3, 1.0, 10.0, 0.1, at, verdict, [0.5, 0.5], start)
        return msgspec.json.encode(made) + b"\n"

    told = [line(1, 0, 1), line(2, 1, 1), line(3, 2, 1), line(2, 11, 2), line(3, 12, 2)]
    told += [line(4, 13, 2, "skip"), b'{"step":5,"lo']
    (folder / METRICS).write_bytes(b"".join(told))
    steps = read_steps(folder)
    assert [(s.step, s.start) for s in steps] == [(1, 1), (2, 2), (3, 2), (4, 2)]
    assert goodput(steps) == pytest.approx(1 / 13)
    (state,) = list_runs(tmp_path / "runs")
    assert (state.step, state.starts, state.bad, state.finished) == (4, 2, 1, False)
    assert "<svg" in report(folder)
