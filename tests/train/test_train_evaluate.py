"""The figures of a model, beside what a few plain lines say of the same."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs gnomon[train]")
pytest.importorskip("gguf", reason="needs gnomon[train]")

from gnomon.clock import SystemClock  # noqa: E402
from gnomon.errors import ConfigError  # noqa: E402
from gnomon.models.registry import Registry  # noqa: E402
from gnomon.train.config import RunConfig  # noqa: E402
from gnomon.train.evaluate import Subject, difference, evaluate, held_out  # noqa: E402
from gnomon.train.gguf import to_gguf  # noqa: E402
from gnomon.train.loop import train  # noqa: E402
from gnomon.train.models.shape import Shape  # noqa: E402
from gnomon.train.models.transformer import Transformer  # noqa: E402
from gnomon.train.shards import write_shards  # noqa: E402
from gnomon.train.subject import of, of_gguf, of_run  # noqa: E402
from gnomon.train.tokens.bpe import Encoding, train_tokenizer  # noqa: E402

Describe = Callable[..., dict[str, Any]]
VOCAB = 300
TEXTS = [
    "The mayor opened the bridge while seven boats watched. " * 4,
    "Nobody counted the échelles 🙂 before the market closed, said the old teacher. " * 3,
    "Short.",
]


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    path = tmp_path / "bpe" / "tokenizer.json"
    train_tokenizer(TEXTS, VOCAB, path)
    return path


def drawn(layout: str, described: Describe, **model: Any) -> Transformer:
    shape = Shape(**(described(layout)["model"] | {"vocab": VOCAB} | model))
    made = Transformer(shape)
    made.initialise(3)
    return made.eval()


def naive_nats(model: Transformer, ids: list[int], end_id: int, window: int) -> float:
    """Token after token, each with its own pass over as many tokens as it may see."""
    total = 0.0
    whole = [end_id, *ids]
    step = window // 2
    for at in range(1, len(whole)):
        start = 0 if at <= window else -(-(at - window) // step) * step
        with torch.no_grad():
            logits, _, _ = model(torch.tensor([whole[start:at]]))
        scores = logits[0, -1].double().numpy()
        scores = np.exp(scores - scores.max())
        total -= math.log(scores[whole[at]] / scores.sum())
    return total


@pytest.mark.parametrize("window", [8, 32])
def test_bits_per_byte_and_perplexity_are_those_of_a_naive_count(
    window: int, tokenizer: Path, described: Describe
) -> None:
    encoding = Encoding(tokenizer)
    model = drawn("grok", described)
    subject = Subject("m", model, encoding.tiktoken.encode_ordinary, encoding.end_id, window)
    reading = evaluate(subject, TEXTS)
    ids = [encoding.tiktoken.encode_ordinary(text) for text in TEXTS]
    assert max(map(len, ids)) > 32
    nats = sum(naive_nats(model, part, encoding.end_id, window) for part in ids)
    body_bytes = sum(len(text.encode()) for text in TEXTS)
    assert reading.value("bits_per_byte") == pytest.approx(
        nats / math.log(2) / body_bytes, rel=1e-5
    )
    assert reading.value("perplexity") == pytest.approx(
        math.exp(nats / sum(map(len, ids))), rel=1e-4
    )
    bits = reading.measures[0]
    assert bits.low is not None
    assert bits.high is not None
    assert bits.low < bits.value < bits.high
    assert evaluate(subject, TEXTS).measures == reading.measures


def test_a_model_that_knows_the_words_picks_them(tokenizer: Path, described: Describe) -> None:
    """A model that gives the coming token all its trust, against one that trusts at random."""
    text = "alpha bravo charlie delta foxtrot golf hotel india juliet kilo lima " * 20
    train_tokenizer([text], VOCAB, tokenizer)
    encoding = Encoding(tokenizer)
    follows = {}
    ids = encoding.tiktoken.encode_ordinary(text)
    for before, after in pairwise(ids):
        follows[before] = after

    class Knowing(torch.nn.Module):
        def forward(self, tokens: Any) -> Any:
            logits = torch.zeros(*tokens.shape, VOCAB)
            for row, line in enumerate(tokens.tolist()):
                for at, token in enumerate(line):
                    logits[row, at, follows.get(token, 0)] = 20.0
            return logits, None, None

    texts = [text, text]
    encode = encoding.tiktoken.encode_ordinary
    knowing: Any = Knowing()
    good = evaluate(Subject("k", knowing, encode, encoding.end_id, 64), texts, words=80)
    poor = evaluate(
        Subject("p", drawn("llama", described), encode, encoding.end_id, 32), texts, words=80
    )
    assert good.value("cloze") == 100.0
    assert poor.value("cloze") < 60.0
    assert good.measures[2].n == poor.measures[2].n == 80
    gain = difference("worse", good.bits, poor.bits, good.body_bytes)
    assert gain.value < -1.0
    assert gain.high is not None
    assert gain.high < 0


@pytest.mark.parametrize("layout", ["grok", "llama", "mixtral"])
@pytest.mark.parametrize("tied", [True, False])
def test_a_file_reads_as_the_model_that_it_was_written_from(
    layout: str, tied: bool, tokenizer: Path, tmp_path: Path, described: Describe
) -> None:
    encoding = Encoding(tokenizer)
    model = drawn(layout, described, tied=tied)
    path = tmp_path / "model.gguf"
    to_gguf(model, path, tokenizer=tokenizer, end_id=encoding.end_id, kind="f32", name="m")
    subject = of_gguf(path)
    assert subject.model.shape.model_dump() == pytest.approx(model.shape.model_dump())
    ours, theirs = dict(model.named_parameters()), dict(subject.model.named_parameters())
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert subject.end_id == encoding.end_id
    for text in TEXTS:
        assert subject.encode(text) == encoding.tiktoken.encode_ordinary(text)


def test_a_run_and_its_file_have_the_same_figures(
    tokenizer: Path, tmp_path: Path, described: Describe
) -> None:
    encoding = Encoding(tokenizer)
    run = described(model={"vocab": VOCAB}, schedule={"steps": 4})
    tokens = Path(run["data"]["tokens"])
    documents = [encoding.tiktoken.encode_ordinary(text) for text in TEXTS]
    write_shards(tokens, documents, vocab_size=VOCAB, end_id=encoding.end_id)
    (tokens / "tokenizer.json").write_bytes(tokenizer.read_bytes())
    folder = tmp_path / "runs" / "small"
    train(RunConfig(**run), folder, SystemClock())
    trained = of_run(folder)
    path = tmp_path / "small.gguf"
    to_gguf(
        trained.model, path, tokenizer=tokenizer, end_id=trained.end_id, kind="f32", name="small"
    )
    served = of_gguf(path)
    assert trained.encode("a <|end|> b") == served.encode("a <|end|> b")
    registry = Registry(tmp_path / "registry", SystemClock())
    registry.add(path, name="kept")
    assert of("small", tmp_path).name == "small"
    assert of("kept", tmp_path).name == "kept@1"
    assert of(str(path), tmp_path).name == "small"
    with pytest.raises(ConfigError, match="absent"):
        of("absent", tmp_path)
    served = Subject("s", served.model, served.encode, served.end_id, trained.window)
    of_checkpoint, of_file = evaluate(trained, TEXTS), evaluate(served, TEXTS)
    for ours, theirs in zip(of_checkpoint.measures, of_file.measures, strict=True):
        assert ours.value == pytest.approx(theirs.value, rel=1e-6)


def test_what_cannot_be_judged_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        of_gguf(tmp_path / "absent.gguf")
    (tmp_path / "bad.gguf").write_bytes(b"no model at all")
    with pytest.raises(ConfigError, match="no GGUF file"):
        of_gguf(tmp_path / "bad.gguf")
    (tmp_path / "empty.txt").write_text("  \n")
    with pytest.raises(ConfigError, match="no text"):
        held_out([tmp_path / "empty.txt"])
    (tmp_path / "one.txt").write_text("one text alone gives no interval")
    assert len(held_out([tmp_path])) == 1
