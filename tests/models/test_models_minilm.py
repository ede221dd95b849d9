"""MiniLM, its scorer and the static vectors: meaning, shapes, odd input, damage."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from gnomon.errors import ModelError
from gnomon.models import static
from gnomon.models.minilm import MAX_TOKENS, MiniLM, threads
from gnomon.models.scorer import MiniLMScorer
from gnomon.models.static import StaticVectors

WEIGHTS = Path(os.environ.get("GNOMON_MODELS__DIR", "absent"))
ODD = [
    "",
    " ",
    "\x00\x07",
    "\ud800 lone",
    "𝕳𝖊𝖑𝖑𝖔 🙂",
    "日本語のテキスト",
    "x" * 5_000,
    "word " * 5_000,
]


@pytest.fixture(scope="module")
def folder() -> Path:
    if not (WEIGHTS / "minilm/model.onnx").is_file():
        pytest.skip("the weights are absent: GNOMON_MODELS__DIR holds no minilm/model.onnx")
    return WEIGHTS / "minilm"


@pytest.fixture(scope="module")
def minilm(folder: Path) -> MiniLM:
    return MiniLM(folder)


@pytest.fixture(scope="module")
def vectors() -> StaticVectors:
    if not (WEIGHTS / "static/vectors.npy").is_file():
        pytest.skip("the weights are absent: GNOMON_MODELS__DIR holds no static/vectors.npy")
    return StaticVectors(WEIGHTS / "static")


def test_threads_leave_a_core_free() -> None:
    assert threads(3) == 3
    assert threads() == max(1, (os.cpu_count() or 2) - 1)
    assert threads(spare_cores=0) == (os.cpu_count() or 2)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.onnx is missing") as caught:
        MiniLM(tmp_path)
    assert caught.value.code == "model.missing"
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(ModelError, match=r"tokenizer\.json is missing"):
        MiniLM(tmp_path)


@pytest.mark.models
@pytest.mark.parametrize("file", ["model.onnx", "tokenizer.json"])
@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty"])
def test_damaged_files_are_a_model_error(
    folder: Path, tmp_path: Path, file: str, damage: str
) -> None:
    for name in ("model.onnx", "tokenizer.json"):
        shutil.copyfile(folder / name, tmp_path / name)
    whole = (tmp_path / file).read_bytes()
    broken = {"truncated": whole[: len(whole) // 2], "garbage": b"\x00\xff" * 999, "empty": b""}
    (tmp_path / file).write_bytes(broken[damage])
    with pytest.raises(ModelError, match="cannot be loaded") as caught:
        MiniLM(tmp_path)
    assert caught.value.code == "model.damaged"


@pytest.mark.models
def test_like_meanings_lie_close(minilm: MiniLM) -> None:
    storm, hurricane, banana = minilm.embed(
        ["A storm hit the coast.", "The shore was struck by a hurricane.", "I like bananas."]
    )
    assert storm @ hurricane > 0.5 > 0.3 > storm @ banana


@pytest.mark.models
def test_a_vector_does_not_depend_on_its_company(minilm: MiniLM) -> None:
    texts = [f"text number {i} " * (i % 40 + 1) for i in range(60)]
    together = minilm.embed(texts)
    alone = np.stack([minilm.embed([t])[0] for t in texts[::7]])
    np.testing.assert_allclose(together[::7], alone, atol=2e-5)
    assert together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-5)


@pytest.mark.models
def test_odd_texts_get_vectors_too(minilm: MiniLM) -> None:
    assert minilm.embed([]).shape == (0, 384)
    odd = minilm.embed(ODD)
    assert odd.shape == (len(ODD), 384)
    assert np.isfinite(odd).all()
    tokens = minilm.token_vectors(ODD)
    assert [t.shape[1] for t in tokens] == [384] * len(ODD)
    assert max(len(t) for t in tokens) == MAX_TOKENS - 2
    assert len(tokens[0]) == 0


@pytest.mark.models
def test_word_piece_numbers_and_text_embed_alike(minilm: MiniLM, folder: Path) -> None:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    ids = [tokenizer.token_to_id(w) for w in ("the", "old", "bridge")]
    np.testing.assert_allclose(minilm.embed_ids([ids]), minilm.embed(["the old bridge"]), atol=1e-5)


@pytest.mark.models
def test_the_scorer_puts_the_answer_first(minilm: MiniLM) -> None:
    scorer = MiniLMScorer(minilm)
    passages = [
        "The football match ended two to one.",
        "About 320 people were evacuated from the harbour district.",
        "The mayor opened a bridge.",
        "",
        "   ",
    ]
    scores = scorer.score("How many people were evacuated?", passages)
    assert scores.dtype == np.float32
    assert scores.argmax() == 1
    assert scores[1] > 0.8
    assert (scores[[0, 2]] < 0.3).all()
    assert (scores[3:] == 0.0).all()
    again = scorer.score("How many people were evacuated?", passages[1:2])
    np.testing.assert_allclose(again[0], scores[1], atol=1e-4)
    assert scorer.score("?", []).shape == (0,)
    assert ((scores >= 0) & (scores <= 1)).all()


# -- static vectors --------------------------------------------------------------
def test_the_fit_finds_vectors_whose_sums_point_where_the_teacher_points() -> None:
    rng = np.random.default_rng(3)
    true = rng.normal(size=(300, 384)).astype(np.float32)
    texts = [rng.integers(0, 300, rng.integers(3, 12)).tolist() for _ in range(6_000)]
    meant = np.stack([true[t].sum(axis=0) for t in texts])
    meant /= np.linalg.norm(meant, axis=1, keepdims=True)
    noisy = true + rng.normal(size=true.shape).astype(np.float32) * 2
    table, agreement = static._fit(noisy, texts, meant)
    assert table.shape == (300, 256)
    assert agreement > 0.9
    assert np.array_equal(table, static._fit(noisy, texts, meant)[0])


def test_made_up_texts_are_the_same_each_time() -> None:
    pieces = ["[PAD]", "[UNK]", *(f"word{'x' * (i % 7)}" for i in range(99)), "##ing", "a", "!"]
    first = static._made_up_texts(pieces)
    assert first == static._made_up_texts(pieces)
    used = {i for text in first for i in text}
    assert used.isdisjoint({0, 1, len(pieces) - 1})


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is missing") as caught:
        StaticVectors(tmp_path)
    assert caught.value.code == "model.missing"


@pytest.mark.models
def test_words_have_meaning(vectors: StaticVectors) -> None:
    table = vectors.vectors(["storm", "hurricane", "banana", "the", "Storm", "flooding", "🙂", ""])
    assert table.shape == (8, 256)
    assert table.dtype == np.float32
    norms = np.linalg.norm(table, axis=1)
    unit = table / np.maximum(norms, 1e-9)[:, None]
    assert unit[0] @ unit[1] > 0.4 > unit[0] @ unit[2]
    assert norms[3] < 0.4 * norms[0], "a stop word weighs little"
    assert np.array_equal(table[0], table[4]), "case does not matter"
    assert norms[5] > 0
    assert norms[6] == norms[7] == 0, "what has no meaning is zero"
    assert vectors.vectors([]).shape == (0, 256)
    assert np.isfinite(vectors.vectors(ODD)).all()


@pytest.mark.models
def test_a_new_word_is_the_sum_of_its_pieces(vectors: StaticVectors) -> None:
    whole, part, rest = vectors.vectors(["floodwatchers", "flood", "xyzzy"])
    assert np.linalg.norm(whole) > 0
    cosine = whole @ part / np.linalg.norm(whole) / np.linalg.norm(part)
    assert cosine > whole @ rest / np.linalg.norm(whole) / np.linalg.norm(rest)


@pytest.mark.models
def test_the_name_is_the_content(vectors: StaticVectors) -> None:
    assert vectors.card.sha256[:12] in vectors.name
    assert vectors.card.agreement > 0.7


@pytest.mark.models
@pytest.mark.parametrize("file", [static.TABLE, static.PIECES, static.CARD])
def test_a_damaged_table_is_a_model_error(
    vectors: StaticVectors, tmp_path: Path, file: str
) -> None:
    for name in (static.TABLE, static.PIECES, static.CARD):
        shutil.copyfile(WEIGHTS / "static" / name, tmp_path / name)
    (tmp_path / file).write_bytes((tmp_path / file).read_bytes()[:100])
    with pytest.raises(ModelError, match="cannot be opened"):
        StaticVectors(tmp_path)


@pytest.mark.models
@pytest.mark.slow
def test_building_twice_gives_the_same_table(folder: Path, tmp_path: Path) -> None:
    first, second = [static.build(folder, tmp_path / name) for name in ("a", "b")]
    assert first == second
    assert StaticVectors(tmp_path / "a").name == first.name
