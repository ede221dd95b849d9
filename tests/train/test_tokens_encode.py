"""Tokenizers of two libraries give equal ids; shards hold what was encoded, however often begun."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from gnomon.errors import ConfigError
from gnomon.train.corpus.build import Options, build
from gnomon.train.corpus.manifest import documents, forget
from gnomon.train.shards import INDEX, TokenShards
from gnomon.train.tokens.bpe import END, Encoding, train_tokenizer
from gnomon.train.tokens.encode import encode_corpus

pytest.importorskip("tiktoken")
SAMPLE = ["The river isn't wide; it's 3,141 m long.\n\n  Über die Brücke 橋 🌉 gehen wir."] * 3
SAMPLE += [f"The teacher of the {w} watches the {w}s." for w in ("river", "stone", "bridge")]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bpe") / "tokenizer.json"
    train_tokenizer(SAMPLE, 400, path)
    return path


@pytest.fixture(scope="module")
def both(tokenizer: Path) -> tuple[Tokenizer, Encoding]:
    return Tokenizer.from_file(str(tokenizer)), Encoding(tokenizer)


@given(st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(SAMPLE))
@settings(deadline=None)
def test_ids_are_equal_between_the_libraries(both: tuple[Tokenizer, Encoding], text: str) -> None:
    ids = both[0].encode(text).ids
    assert both[1].tiktoken.encode(text, disallowed_special=()) == ids
    assert both[1].tiktoken.decode(ids) == text


def test_the_end_token_is_last_and_text_never_becomes_it(
    both: tuple[Tokenizer, Encoding],
) -> None:
    assert both[0].token_to_id(END) == both[1].end_id == both[1].vocab_size - 1
    assert both[1].end_id not in both[1].tiktoken.encode(f"a {END} b", disallowed_special=())


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    for name in "ab":
        rows = [{"id": f"{name}{i}", "text": f"{name} {i} {text}"} for i, text in enumerate(SAMPLE)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    out = tmp_path / "corpus"
    paths = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    build(out, paths, options=Options(langs=(), quality=False, near=False, scrub=False))
    return out


def test_shards_hold_the_corpus(corpus: Path, tokenizer: Path, tmp_path: Path) -> None:
    out = tmp_path / "tokens"
    index = encode_corpus(corpus, tokenizer, out)
    shards = TokenShards(out)
    shards.verify()
    encoding = Encoding(tokenizer)
    text = encoding.tiktoken.decode(shards.read(0, shards.tokens).tolist())
    assert text.split(END)[:-1] == [row["text"] for row in documents(corpus)]
    assert sum(s.documents for s in index.shards) == 2 * len(SAMPLE)


def test_a_run_goes_on_and_takes_in_what_was_forgotten(
    corpus: Path, tokenizer: Path, tmp_path: Path
) -> None:
    out = tmp_path / "tokens"
    whole = encode_corpus(corpus, tokenizer, out)
    (out / INDEX).unlink()
    (out / whole.shards[1].file).unlink()
    assert encode_corpus(corpus, tokenizer, out) == whole
    forget(corpus, ["a0"])
    assert encode_corpus(corpus, tokenizer, out).tokens < whole.tokens
    other = tmp_path / "other.json"
    train_tokenizer(SAMPLE, 300, other)
    with pytest.raises(ConfigError, match="another tokenizer"):
        encode_corpus(corpus, other, out)


def test_files_that_are_no_tokenizer_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text("{}")
    with pytest.raises(ConfigError, match="no byte-level BPE"):
        Encoding(tmp_path / "t.json")
    with pytest.raises(ConfigError, match="cannot be read"):
        Encoding(tmp_path / "absent.json")
