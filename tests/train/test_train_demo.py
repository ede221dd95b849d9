"""The demo in miniature: every step, an interruption, and what the gate makes of the result."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog

torch = pytest.importorskip("torch", reason="needs gnomon[train]")
pytest.importorskip("gguf", reason="needs gnomon[train]")
pytest.importorskip("tiktoken", reason="needs gnomon[train]")

import gnomon  # noqa: E402
from gnomon.clock import SystemClock  # noqa: E402
from gnomon.commands.forge_demo import Shown  # noqa: E402
from gnomon.errors import ConfigError, ModelTerminal  # noqa: E402
from gnomon.models.registry import Registry  # noqa: E402
from gnomon.testing.world.reading import TownText  # noqa: E402
from gnomon.train.config import read_config  # noqa: E402
from gnomon.train.demo import CONFIG, Demo, Scale, documentation  # noqa: E402
from gnomon.train.judgement import read_judgement  # noqa: E402
from gnomon.train.release import export, judge, release  # noqa: E402
from gnomon.train.runs import report  # noqa: E402
from gnomon.train.shards import TokenShards  # noqa: E402
from gnomon.train.tokens.bpe import Encoding, train_tokenizer  # noqa: E402
from gnomon.train.tokens.encode import encode_corpus  # noqa: E402
from gnomon.train.tokens.mix import mix  # noqa: E402

SCALE = Scale(
    steps=12,
    vocab=512,
    source_bytes=150_000,
    packages=Path(gnomon.__file__).parent / "answer",
    model={
        "layout": "grok",
        "width": 32,
        "layers": 1,
        "heads": 2,
        "kv_heads": 1,
        "head_dim": 16,
        "ffn": 48,
        "context": 64,
        "experts": 4,
        "experts_used": 2,
        "attention_cap": 30.0,
        "embedding_scale": 5.657,
        "logit_scale": 0.577,
    },
    sequence=64,
    batch=4,
    micro=4,
    rate=1e-2,
    max_bits_per_byte=7.0,
    min_cloze=0.0,
)


@pytest.fixture(scope="module")
def town() -> TownText:
    return TownText(days=2)


def prepared(home: Path, town: TownText, scale: Scale = SCALE) -> Demo:
    demo = Demo(home / "forge" / "demo", home / "runs" / "demo", scale, SystemClock())
    demo.gather(islice(town.pages(), 90), islice(town.talks(), 60))
    demo.corpus()
    demo.tokenizer()
    demo.tokens()
    demo.plan()
    return demo


def outcome(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode((run / "outcome.json").read_bytes())
    return found


def test_from_text_to_a_model_that_serves(tmp_path: Path, town: TownText) -> None:
    demo = prepared(tmp_path, town)
    assert "12 steps" in demo.plan()
    demo.train(lambda _: None)
    file = export(demo.run, name="demo")
    registry = Registry(tmp_path / "registry", SystemClock())
    judgement = judge(demo.run, file, registry)
    assert [check.name for check in judgement.checks] == ["bits_per_byte", "cloze"]
    assert judgement.passed
    assert read_judgement(demo.run) == judgement
    entry = release(demo.run, file, judgement, "demo", registry)
    assert registry.serving() == entry
    assert entry.lineage["weights"] == outcome(demo.run)["sha256"]
    assert entry.lineage["corpus"] == TokenShards(demo.folder / "tokens").index.corpus
    page = report(demo.run, [("Asked", "<p>and answered</p>")])
    assert "and answered" in page
    assert "bits per byte" in page
    assert "passes" in page

    # A worse model, of fewer steps, may not take its place: the same text judges both.
    other = demo.run.with_name("worse")
    path = demo.folder / CONFIG
    short = path.read_text().replace("steps = 12", "steps = 1").replace("= 0.01", "= 0.0001")
    path.write_text(short)
    worse = Demo(demo.folder, other, SCALE, SystemClock())
    worse.train(lambda _: None)
    file = export(other, name="worse")
    judgement = judge(other, file, registry)
    assert judgement.serving == "demo@1"
    missed = [check.name for check in judgement.checks if not check.passed]
    assert "bits_per_byte_gained" in missed
    with pytest.raises(ModelTerminal, match=r"above the serving model's .*worse_bits_per_byte"):
        release(other, file, judgement, "demo", registry)
    assert registry.serving() == entry
    assert registry.list()[-1].state == "refused"


def test_a_demo_that_was_stopped_ends_as_if_it_never_was(tmp_path: Path, town: TownText) -> None:
    scale = Scale(**{f: getattr(SCALE, f) for f in Scale.__dataclass_fields__} | {"steps": 30})
    whole = prepared(tmp_path / "a", town, scale)
    whole.train(lambda _: None)

    seen: list[str] = []

    def impatient(line: str) -> None:
        seen.append(line)
        if len(seen) == 27:  # past the checkpoint of step 25
            raise KeyboardInterrupt

    stopped = prepared(tmp_path / "b", town, scale)
    with pytest.raises(KeyboardInterrupt):
        stopped.train(impatient)
    again = prepared(tmp_path / "b", town, scale)
    told: list[str] = []
    again.train(told.append)
    assert told[0].startswith("26/30")
    assert outcome(stopped.run) == outcome(whole.run)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "b" / "forge").rglob("*") if p.is_file()}
    prepared(tmp_path / "b", town, scale)
    after = {p: p.stat().st_mtime_ns for p in (tmp_path / "b" / "forge").rglob("*") if p.is_file()}
    assert before == after


@pytest.mark.slow
def test_minutes_become_steps(tmp_path: Path, town: TownText) -> None:
    fields = {f: getattr(SCALE, f) for f in Scale.__dataclass_fields__}
    demo = prepared(tmp_path, town, Scale(**fields | {"minutes": 0.2}))
    steps = read_config(demo.folder / CONFIG).schedule.steps
    assert steps >= 20
    assert f"{steps:,} steps" in demo.plan()


def test_held_out_text_is_in_no_corpus(tmp_path: Path, town: TownText) -> None:
    demo = prepared(tmp_path, town)

    def keys(name: str) -> set[str]:
        lines = (demo.folder / name).read_text().splitlines()
        return {json.loads(line)["key"] for line in lines}

    assert keys("held-out.jsonl")
    for name in ("town.jsonl", "documentation.jsonl", "talk.jsonl"):
        assert keys(name)
        assert not keys("held-out.jsonl") & keys(name)


def test_documentation_is_prose_in_an_order_that_names_decide(tmp_path: Path) -> None:
    said = "This sentence tells what the module does, and why anybody would want to have it done."
    code = "x = 1\n" * 400
    for name in ("a", "b", "c"):
        body = f'"""{said} {name}.\n\n    >>> call({name})\n\n{said} Twice, {name}.\n\n'
        body += "\n\n".join(f"{said} Number {n} of {name}." for n in range(6)) + f'"""\n{code}'
        (tmp_path / f"{name}.py").write_text(body)
    (tmp_path / "short.py").write_text(f'"""{said}"""\n{code}')
    (tmp_path / "broken.py").write_text(f"def (:\n{code}")
    rows = list(documentation(1_000_000, tmp_path))
    assert sorted(row["key"] for row in rows) == ["python:a.py", "python:b.py", "python:c.py"]
    assert rows == list(documentation(1_000_000, tmp_path))
    assert all(">>>" not in row["text"] and "x = 1" not in row["text"] for row in rows)
    assert len(list(documentation(1, tmp_path))) <= 1


def test_shards_are_mixed_where_they_lie(tmp_path: Path) -> None:
    from gnomon.train.corpus.build import Options, build

    plain = Options(langs=(), quality=False, near=False)
    for name, text in (("a", "alpha beta"), ("b", "gamma delta epsilon")):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"key": name, "text": text}) + "\n")
        build(tmp_path / f"corpus-{name}", [tmp_path / f"{name}.jsonl"], options=plain)
    tokenizer = tmp_path / "tokenizer.json"
    train_tokenizer(["alpha beta gamma"], 260, tokenizer)
    out = tmp_path / "tokens"
    indexes = {
        name: encode_corpus(tmp_path / f"corpus-{name}", tokenizer, out / name) for name in "ab"
    }
    mixed = mix({out / "a": 1, out / "b": 2}, out)
    assert mixed.tokens == indexes["a"].tokens + 2 * indexes["b"].tokens
    shards = TokenShards(out)
    shards.verify()
    encoding = Encoding(tokenizer).tiktoken
    text = encoding.decode(shards.read(0, shards.tokens).tolist())
    assert text.split("<|end|>") == ["alpha beta", *["gamma delta epsilon"] * 2, ""]
    train_tokenizer(["delta epsilon"], 261, tmp_path / "other.json")
    encode_corpus(tmp_path / "corpus-b", tmp_path / "other.json", out / "c")
    with pytest.raises(ConfigError, match="another tokenizer"):
        mix({out / "a": 1, out / "c": 1}, out)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("GNOMON_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GNOMON_MODELS__DIR", str(tmp_path / "no-models"))
    monkeypatch.setenv("GNOMON_DEMO__MODE", "off")
    yield tmp_path / "home"
    structlog.reset_defaults()  # the server bound the log to a stream of this test


def test_every_step_is_told_and_the_model_answers_over_http(
    home: Path, town: TownText, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("xllamacpp", reason="needs gnomon[llm]")
    Shown(home, "small", SCALE, town).through()
    out = capsys.readouterr().out
    assert "[6/10] Train; then: export and judge what would be served" in out
    assert "small@1 serves" in out
    assert "of 5 answers are right" in out
    assert f"Page:  {home / 'forge' / 'small' / 'report.html'}" in out
    assert f"Serve: gnomon --home {home} up" in out
    assert '"model": "small@1"' in out
    page = (home / "forge" / "small" / "report.html").read_text()
    assert "Asked through the chat API" in page
    assert page.count("<svg") == 6
    Shown(home, "small", SCALE, town).through()
    assert "small@1 is registered, serving" in capsys.readouterr().out
    assert len(Registry(home / "registry", SystemClock()).list()) == 1


def test_a_demo_whose_model_is_refused_shows_why(
    home: Path, town: TownText, capsys: pytest.CaptureFixture[str]
) -> None:
    fields = {f: getattr(SCALE, f) for f in Scale.__dataclass_fields__}
    shown = Shown(home, "small", Scale(**fields | {"max_bits_per_byte": 0.1}), town)
    with pytest.raises(ModelTerminal, match=r"wanted at most 0\.1 .*gate\.max_bits_per_byte"):
        shown.through()
    assert "Refused. Its figures and plots:" in capsys.readouterr().out
    assert "misses" in shown.page.read_text()
    assert shown.registry.serving() is None


@pytest.mark.slow
def test_the_whole_demo_by_its_command(tmp_path: Path) -> None:
    """Interrupted once while it trains; it goes on, serves, and answers over HTTP."""
    pytest.importorskip("xllamacpp", reason="needs gnomon[llm]")
    start = "from gnomon.cli import main; main()"
    command = [sys.executable, "-c", start, "--home", str(tmp_path), "forge", "demo"]
    command += ["--steps", "130"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as it:
        assert it.stderr is not None
        for line in it.stderr:
            if line.startswith("30/130"):
                it.send_signal(signal.SIGINT)
                break
        out, _ = it.communicate(timeout=60)
    assert it.returncode == 130
    assert "Stopped in step 6, train. `gnomon forge demo` goes on from there." in out
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "22/130" in done.stderr
    assert not any(line.startswith("1/130 ") for line in done.stderr.splitlines())
    assert "demo@1 serves" in done.stdout
    assert "answers are right" in done.stdout
    page = (tmp_path / "forge" / "demo" / "report.html").read_text()
    assert page.count("<svg") == 6
    assert "Asked through the chat API" in page
    registry = Registry(tmp_path / "registry", SystemClock())
    serving = registry.serving()
    assert serving is not None
    assert serving.passed
