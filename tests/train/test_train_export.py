"""What leaves the trainer says the same in other engines."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs gnomon[train]")
pytest.importorskip("gguf", reason="needs gnomon[train]")

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers  # noqa: E402

from gnomon.clock import SystemClock  # noqa: E402
from gnomon.errors import ConfigError  # noqa: E402
from gnomon.train.config import RunConfig  # noqa: E402
from gnomon.train.export import load_run, read_run, to_hf, tokens_of  # noqa: E402
from gnomon.train.gguf import SPLIT, to_gguf  # noqa: E402
from gnomon.train.loop import train  # noqa: E402
from gnomon.train.shards import write_shards  # noqa: E402

Describe = Callable[..., dict[str, Any]]
END = "<|end|>"
VOCAB = 320
PROMPTS = 100
ANSWER = 8


def english() -> list[str]:
    """Sentences with structure, so that a small model comes to firm opinions."""
    rng = np.random.default_rng(0)
    who = ["the mayor", "a reporter", "the river", "our teacher", "the old clock", "señor Núñez"]
    does = ["opened", "watched", "wrote about", "counted", "forgot", "praised"]
    what = ["the bridge", "seven boats", "the market", "an échelle", "the 1999 flood", "the news"]
    return [
        " ".join(f"{who[a]} {does[b]} {what[(a + b) % 6]}." for a, b in rng.integers(0, 6, (12, 2)))
        for _ in range(60)
    ]


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    made.train_from_iterator(
        english(),
        trainers.BpeTrainer(
            vocab_size=VOCAB,
            special_tokens=[END],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    made.save(str(path))
    return path


def trained(layout: str, steps: int, tokenizer: Path, described: Describe, home: Path) -> Path:
    bpe = Tokenizer.from_file(str(tokenizer))
    run = described(
        layout,
        model={"vocab": VOCAB, "width": 64, "head_dim": 32, "ffn": 96, "context": 256},
        data={"sequence": 64, "batch": 4, "micro": 4},
        optimizer={"rate": 1e-2},
        schedule={"steps": steps},
        checkpoint={"every": 1_000},
    )
    if layout == "grok":
        run["model"]["embedding_scale"] = 8.0
    tokens = Path(run["data"]["tokens"])
    write_shards(tokens, [bpe.encode(t).ids for t in english()], vocab_size=VOCAB, end_id=0)
    (tokens / "tokenizer.json").write_bytes(tokenizer.read_bytes())
    config = RunConfig(**run)
    train(config, home / "run", SystemClock())
    return home / "run"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Callable[[Path], Any]]:
    """llama.cpp with a cache in fp32, so that only the arithmetic differs."""
    xllamacpp = pytest.importorskip("xllamacpp", reason="needs gnomon[llm]")
    with tempfile.TemporaryDirectory() as folder:

        def load(path: Path) -> Any:
            params = xllamacpp.CommonParams()
            params.model.path = str(path)
            params.n_ctx, params.n_parallel = 256, 1
            params.n_batch = params.n_ubatch = 128
            params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
            params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
            for cpu in (params.cpuparams, params.cpuparams_batch):
                cpu.n_threads, cpu.poll = 1, 0
            params.cache_ram_mib = 0
            params.warmup = params.fit_params = False
            params.hostnames = [str(Path(folder) / "engine.sock")]
            params.verbosity = -1
            return xllamacpp.Server(params)

        yield load


def _answer(server: Any, prompt: list[int], count: int) -> tuple[list[int], list[dict[int, float]]]:
    body = {
        "prompt": prompt,
        "n_predict": count,
        "temperature": 0.0,
        "n_probs": 40,
        "cache_prompt": False,
    }
    found = server.handle_completions(body)
    content = found["choices"][0]["logprobs"]["content"]
    chances = [{top["id"]: top["logprob"] for top in place["top_logprobs"]} for place in content]
    return [place["id"] for place in content if place["id"] != 0], chances


def _ours(model: Any, prompt: list[int], count: int) -> tuple[list[int], list[Any]]:
    tokens, chances = list(prompt), []
    for _ in range(count):
        with torch.no_grad():
            logits, _, _ = model(torch.tensor([tokens]))
        chances.append(logits[0, -1].log_softmax(-1))
        best = int(chances[-1].argmax())
        if best == 0:
            break
        tokens.append(best)
    return tokens[len(prompt) :], chances


@pytest.mark.parametrize(
    ("layout", "steps", "prompts"),
    [
        ("grok", 40, 6),
        pytest.param("llama", 300, PROMPTS, marks=pytest.mark.slow),
        pytest.param("mixtral", 300, PROMPTS, marks=pytest.mark.slow),
        pytest.param("grok", 300, PROMPTS, marks=pytest.mark.slow),
    ],
)
def test_llama_cpp_says_what_we_say(
    layout: str,
    steps: int,
    prompts: int,
    tokenizer: Path,
    described: Describe,
    engine: Callable[[Path], Any],
    tmp_path: Path,
) -> None:
    run = trained(layout, steps, tokenizer, described, tmp_path)
    model = load_run(run)
    path, index = tokens_of(run)
    to_gguf(
        model, tmp_path / "m.gguf", tokenizer=path, end_id=index.end_id, kind="f32", name="tiny"
    )
    server = engine(tmp_path / "m.gguf")
    bpe = Tokenizer.from_file(str(tokenizer))
    apart, equal = [], 0
    for number in range(prompts):
        text = english()[number % 60][number % 7 : 30 + number]
        prompt = bpe.encode(text).ids
        theirs, told = _answer(server, prompt, ANSWER)
        found, chances = _ours(model, prompt, ANSWER)
        # The engine tells of a character's last token only.
        whole = [
            place
            for place in range(len(found))
            if not bpe.decode(found[: place + 1]).endswith("\ufffd")
        ]
        ours, chances = [found[at] for at in whole], [chances[at] for at in whole]
        equal += theirs == ours
        for place, known in zip(told, chances, strict=False):
            apart += [abs(chance - known[token].item()) for token, chance in place.items()]
            if max(place, key=place.__getitem__) != int(known.argmax()):
                break
    median, p95 = np.percentile(apart, [50, 95])
    print(f"{layout}: {equal}/{prompts} greedy equal, |Δlogprob| {median:.1e}, p95 {p95:.1e}")
    assert equal == prompts
    assert median <= 5e-3
    assert p95 <= 2e-2


def test_llama_cpp_cuts_text_as_the_tokenizer_does(
    tokenizer: Path, described: Describe, tmp_path: Path
) -> None:
    xllamacpp = pytest.importorskip("xllamacpp", reason="needs gnomon[llm]")
    assert xllamacpp
    import asyncio

    from gnomon.models.embedded import EmbeddedGenerator

    run = trained("llama", 1, tokenizer, described, tmp_path)
    path, index = tokens_of(run)
    to_gguf(load_run(run), tmp_path / "m.gguf", tokenizer=path, end_id=index.end_id, name="tiny")
    bpe = Tokenizer.from_file(str(tokenizer))
    texts = [*english()[:3], "Übergrößen, it's 3.14!\n\n\tdef f(x):  return x", "日本語 🙂"]

    async def compare() -> None:
        server = EmbeddedGenerator(tmp_path / "m.gguf", context_tokens=256, n_threads=1)
        for text in texts:
            assert [t.id for t in await server.tokenize(text)] == bpe.encode(text).ids
        await server.aclose()

    asyncio.run(compare())


def test_a_tokenizer_that_llama_cpp_does_not_know_is_refused(
    tokenizer: Path, described: Describe, tmp_path: Path
) -> None:
    run = trained("llama", 1, tokenizer, described, tmp_path)
    strange = msgspec.json.decode(tokenizer.read_bytes())
    strange["pre_tokenizer"]["pretokenizers"][0]["pattern"] = {"Regex": r"\d+"}
    (tmp_path / "t.json").write_bytes(msgspec.json.encode(strange))
    with pytest.raises(ConfigError, match=r"llama\.cpp does not know"):
        to_gguf(
            load_run(run), tmp_path / "m.gguf", tokenizer=tmp_path / "t.json", end_id=0, name="x"
        )
    assert not (tmp_path / "m.gguf").exists()


def test_safetensors_have_the_names_and_shapes_of_their_family(
    tokenizer: Path, described: Describe, tmp_path: Path
) -> None:
    from safetensors import safe_open

    run = trained("grok", 1, tokenizer, described, tmp_path)
    model, (path, index) = load_run(run), tokens_of(run)
    to_hf(model, tmp_path / "hf", tokenizer=path, end_id=index.end_id, dtype="f32")
    config = msgspec.json.decode((tmp_path / "hf" / "config.json").read_bytes())
    assert config["architectures"] == ["Grok1ForCausalLM"]
    assert config["attn_output_multiplier"] == 32**-0.5
    assert config["num_experts"] == config["num_local_experts"] == 4
    with safe_open(tmp_path / "hf" / "model.safetensors", "pt") as file:
        shapes = {name: list(file.get_tensor(name).shape) for name in file.keys()}  # noqa: SIM118
        first = file.get_tensor("model.layers.1.block_sparse_moe.experts.2.w2.weight")
    moe = "model.layers.0.block_sparse_moe"
    assert shapes[f"{moe}.gate.weight"] == [4, 64]
    assert shapes[f"{moe}.experts.3.w1.weight"] == shapes[f"{moe}.experts.3.w3.weight"] == [96, 64]
    assert shapes[f"{moe}.experts.3.w2.weight"] == [64, 96]
    assert shapes["model.layers.1.self_attn.k_proj.weight"] == [32, 64]
    assert sum(int(np.prod(s)) for s in shapes.values()) == read_run(run).model.parameters()
    assert torch.equal(first, model.blocks[1].mlp.experts.down[2].T)
    piece = msgspec.json.decode((tmp_path / "hf" / "tokenizer_config.json").read_bytes())
    assert piece["eos_token"] == END
