"""Judging and releasing on the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog

pytest.importorskip("torch", reason="needs gnomon[train]")
pytest.importorskip("gguf", reason="needs gnomon[train]")
pytest.importorskip("tiktoken", reason="needs gnomon[train]")

from gnomon.cli import main
from gnomon.clock import SystemClock
from gnomon.models.registry import Registry
from gnomon.train.config import RunConfig
from gnomon.train.gguf import to_gguf
from gnomon.train.loop import train
from gnomon.train.shards import write_shards
from gnomon.train.subject import of_gguf
from gnomon.train.tokens.bpe import Encoding, train_tokenizer

Gnomon = Callable[..., tuple[int, str, str]]
TEXTS = ["The mayor opened the bridge while seven boats watched from the harbour wall. " * 6] * 4


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


@pytest.fixture
def held_out(tmp_path: Path) -> Path:
    path = tmp_path / "held-out.jsonl"
    lines = [msgspec.json.encode({"key": str(n), "text": text}) for n, text in enumerate(TEXTS)]
    path.write_bytes(b"\n".join(lines))
    return path


@pytest.fixture
def run(tmp_path: Path, held_out: Path, described: Callable[..., dict[str, Any]]) -> Path:
    """A trained run named `small` in the home, whose gate names `held_out`."""
    tokenizer = tmp_path / "tokenizer.json"
    train_tokenizer(TEXTS, 300, tokenizer)
    encoding = Encoding(tokenizer)
    whole = described(
        model={"vocab": 300},
        schedule={"steps": 6},
        gate={"text": [str(held_out)]},
        chat_template="{{ messages[0]['content'] }}",
    )
    tokens = Path(whole["data"]["tokens"])
    documents = [encoding.tiktoken.encode_ordinary(text) for text in TEXTS]
    write_shards(tokens, documents, vocab_size=300, end_id=encoding.end_id)
    (tokens / "tokenizer.json").write_bytes(tokenizer.read_bytes())
    folder = tmp_path / "home" / "runs" / "small"
    train(RunConfig(**whole), folder, SystemClock())
    return folder


def test_a_run_is_measured_judged_and_released(
    gnomon: Gnomon, run: Path, held_out: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    status, out, _ = gnomon("eval", "run", "small", "--text", held_out, "--results", results)
    assert status == 0
    assert "small, shown 16 tokens at once" in out
    assert "4 texts" in out
    assert "bits_per_byte" in out
    status, out, _ = gnomon(
        "eval", "run", "small", "--text", held_out, "--results", results, "--json", "--no-keep"
    )
    found = msgspec.json.decode(out)
    assert [f["name"] for f in found["figures"]] == ["bits_per_byte", "perplexity", "cloze"]
    (kept,) = results.iterdir()
    assert msgspec.json.decode(kept.read_bytes())["figures"] == found["figures"]

    status, out, _ = gnomon("forge", "gate", "small")
    assert status == 0
    assert "passes: bits per byte" in out
    registry = Registry(tmp_path / "home" / "registry", SystemClock())
    assert registry.list() == []
    status, out, _ = gnomon("forge", "release", "small", "--as", "mine", "--kind", "q8_0")
    assert (status, registry.serving()) == (0, registry.find("mine"))
    assert "mine@1 serves" in out
    status, out, _ = gnomon("eval", "run", "mine", "--text", held_out, "--no-keep", "--json")
    assert status == 0
    assert msgspec.json.decode(out)["suite"] == "model-mine@1"


def test_a_model_that_misses_is_refused_and_nothing_changes(
    gnomon: Gnomon, run: Path, held_out: Path, tmp_path: Path
) -> None:
    strict = tmp_path / "strict.toml"
    strict.write_text(
        'model = "grok-10m"\n[data]\ntokens = "t"\n'
        '[gate]\ntext = ["held-out.jsonl"]\nmax_bits_per_byte = 0.5\n'
    )
    (run / "outcome.json").unlink()  # as while it still trains
    for command in ("gate", "release"):
        status, out, err = gnomon("forge", command, "small", "--gate", strict)
        assert status == 1
        assert "misses: bits per byte" in out
        assert "wanted at most 0.5 (gate.max_bits_per_byte)" in err
        assert "What serves stays in place." in err
    registry = Registry(tmp_path / "home" / "registry", SystemClock())
    assert registry.serving() is None
    assert registry.find("small").state == "refused"
    assert registry.find("small").lineage["checkpoint"] == "step-000000006"


def test_what_cannot_be_done_is_told(gnomon: Gnomon, run: Path, tmp_path: Path) -> None:
    status, _, err = gnomon("eval", "run", "absent", "--text", tmp_path / "held-out.jsonl")
    assert status == 2
    assert "absent" in err
    assert gnomon("forge", "gate", "small", "--kind", "q4")[0] == 2
    bare = msgspec.json.decode((run / "config.json").read_bytes()) | {"gate": {}}
    (run / "config.json").write_bytes(msgspec.json.encode(bare))
    status, _, err = gnomon("forge", "gate", "small")
    assert status == 2
    assert "names no text" in err


def test_an_exported_file_knows_how_turns_become_text(
    gnomon: Gnomon, run: Path, tmp_path: Path
) -> None:
    import gguf

    path = tmp_path / "small.gguf"
    assert gnomon("forge", "export", "small", path, "--kind", "f32")[0] == 0
    field = gguf.GGUFReader(path).fields["tokenizer.chat_template"]
    assert field.contents() == "{{ messages[0]['content'] }}"
    subject = of_gguf(path)
    again = tmp_path / "again.gguf"
    tokenizer = tmp_path / "tokenizer.json"
    to_gguf(
        subject.model, again, tokenizer=tokenizer, end_id=subject.end_id, kind="f32", name="again"
    )
    assert "tokenizer.chat_template" not in gguf.GGUFReader(again).fields
