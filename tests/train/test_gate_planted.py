"""Twenty models that were spoilt on purpose, and twenty that were only drawn otherwise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs gnomon[train]")
pytest.importorskip("tiktoken", reason="needs gnomon[train]")

from gnomon.clock import SystemClock  # noqa: E402
from gnomon.train.config import Gate, RunConfig  # noqa: E402
from gnomon.train.evaluate import Subject, evaluate  # noqa: E402
from gnomon.train.export import load_run  # noqa: E402
from gnomon.train.gate import checks  # noqa: E402
from gnomon.train.loop import train  # noqa: E402
from gnomon.train.models.transformer import Transformer  # noqa: E402
from gnomon.train.shards import write_shards  # noqa: E402
from gnomon.train.tokens.bpe import Encoding, train_tokenizer  # noqa: E402

pytestmark = pytest.mark.slow
VOCAB = 300
STEPS = 200
Describe = Callable[..., dict[str, Any]]


def sentences(seed: int, count: int) -> list[str]:
    rng = np.random.default_rng(seed)
    who = ["The mayor", "A reporter", "The river", "Our teacher", "The old clock", "Nobody"]
    does = ["opened", "watched", "wrote about", "counted", "forgot", "praised"]
    what = ["the bridge", "seven boats", "the market", "the library", "the flood", "the news"]
    return [
        " ".join(f"{who[a]} {does[b]} {what[(a + b) % 6]}." for a, b in rng.integers(0, 6, (12, 2)))
        for _ in range(count)
    ]


@torch.no_grad()
def spoil(model: Transformer, how: int) -> None:
    """One of the ways in which a model goes bad without anybody meaning it."""
    weights = dict(model.named_parameters())
    matrices = [w for w in weights.values() if w.dim() > 1]
    generator = torch.Generator().manual_seed(how)

    def noise(weight: Any, part: float) -> None:
        drawn = torch.randn(weight.shape, generator=generator)
        weight.add_(drawn * weight.std() * part)

    first, last = "blocks.0", f"blocks.{model.shape.layers - 1}"
    ways: list[Callable[[], object]] = [
        *(lambda p=part: [noise(w, p) for w in matrices] for part in (0.3, 0.5, 1.0, 2.0)),
        lambda: noise(weights["embedding.weight"], 1.0),
        lambda: noise(weights["head.weight"], 1.0),
        lambda: weights[f"{last}.mlp.experts.down"].zero_(),
        lambda: weights[f"{first}.mlp.experts.down"].zero_(),
        lambda: weights[f"{first}.attention.o.weight"].zero_(),
        lambda: weights[f"{first}.attention.v.weight"].neg_(),
        lambda: weights["head.weight"].copy_(weights["head.weight"].roll(1, 0)),
        lambda: weights["embedding.weight"].copy_(weights["embedding.weight"].roll(1, 0)),
        lambda: weights["norm.weight"].mul_(3.0),
        lambda: weights["norm.weight"].mul_(0.3),
        lambda: weights["head.weight"].mul_(-1.0),
        lambda: weights[f"{first}.mlp_out.weight"].mul_(8.0),
        lambda: weights[f"{first}.attention_in.weight"].zero_(),
        lambda: weights[f"{first}.mlp.experts.gate"].neg_(),
        lambda: weights["head.weight"][0].fill_(torch.nan),
        lambda: [w.copy_(w.half().view(torch.int16).bitwise_and(-8192).view(torch.half))
                 for w in matrices],
    ]  # fmt: skip
    assert len(ways) == 20
    ways[how]()


def test_twenty_spoilt_models_are_refused_and_twenty_good_ones_are_not(
    tmp_path: Path, described: Describe
) -> None:
    texts, held_out = sentences(0, 120), sentences(1, 40)
    tokenizer = tmp_path / "tokenizer.json"
    train_tokenizer(texts, VOCAB, tokenizer)
    encoding = Encoding(tokenizer)
    encode = encoding.tiktoken.encode_ordinary
    run = described(
        model={"vocab": VOCAB, "context": 64},
        data={"sequence": 32, "batch": 8, "micro": 8},
        optimizer={"rate": 1e-2},
        schedule={"steps": STEPS},
        checkpoint={"every": 1_000},
    )
    tokens = Path(run["data"]["tokens"])
    documents = [encode(text) for text in texts]
    write_shards(tokens, documents, vocab_size=VOCAB, end_id=encoding.end_id)

    def trained(seed: int) -> Transformer:
        folder = tmp_path / f"run-{seed}"
        train(RunConfig(**run | {"seed": seed}), folder, SystemClock())
        return load_run(folder)

    def judged(model: Transformer) -> bool:
        subject = Subject("m", model, encode, encoding.end_id, 32)
        found = checks(gate, evaluate(subject, held_out), serving)
        return all(check.passed for check in found)

    gate = Gate()
    base = trained(0)
    serving = evaluate(Subject("serving", base, encode, encoding.end_id, 32), held_out)
    kept = {name: weight.detach().clone() for name, weight in base.named_parameters()}
    passed = []
    for how in range(20):
        spoil(base, how)
        if judged(base):
            passed.append(how)
        base.load_state_dict(kept, strict=False)
    assert not passed
    refused = [seed for seed in range(1, 21) if not judged(trained(seed))]
    assert len(refused) <= 1, refused
