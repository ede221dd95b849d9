"""From a checkpoint to files that other engines read: Hugging Face safetensors. Needs PyTorch.

Llama and Mixtral models get the layouts of their families, which every engine serves. Grok models
get the Grok-1 layout that llama.cpp, SGLang and vLLM up to 0.24 read. `gnomon.train.gguf` builds on
the same names.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor

from gnomon.errors import ConfigError
from gnomon.train.checkpoint import load_weights, newest
from gnomon.train.config import RunConfig
from gnomon.train.models.shape import Shape
from gnomon.train.models.transformer import Transformer
from gnomon.train.shards import INDEX, TOKENIZER, Index, write_durably

_SHARD_BYTES = 4 << 30
_DENSE = {"gate": "gate_proj", "up": "up_proj", "down": "down_proj"}
_EXPERT = {"gate": "w1", "down": "w2", "up": "w3"}
_NORMS = {
    "llama": {"attention_in": "input_layernorm", "mlp_in": "post_attention_layernorm"},
    "mixtral": {"attention_in": "input_layernorm", "mlp_in": "post_attention_layernorm"},
    "grok": {
        "attention_in": "pre_attn_norm",
        "attention_out": "post_attn_norm",
        "mlp_in": "pre_moe_norm",
        "mlp_out": "post_moe_norm",
    },
}
_ARCHITECTURES = {
    "llama": ("LlamaForCausalLM", "llama"),
    "mixtral": ("MixtralForCausalLM", "mixtral"),
    "grok": ("Grok1ForCausalLM", "grok-1"),
}
DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


def read_run(folder: Path) -> RunConfig:
    """The configuration of the run in `folder`."""
    path = folder / "config.json"
    if not path.is_file():
        raise ConfigError(
            f"{folder} is no run: it holds no config.json.",
            code="train.no_run",
            hint="See `gnomon runs` for those that there are.",
        )
    return RunConfig.model_validate_json(path.read_bytes())


def load_run(folder: Path) -> Transformer:
    """The model of the newest checkpoint of the run in `folder`, on CPU, in fp32."""
    config = read_run(folder)
    name = newest(folder / "checkpoints")
    if name is None:
        raise ConfigError(f"{folder} holds no checkpoint yet.", code="train.no_checkpoint")
    model = Transformer(config.model)
    load_weights(folder / "checkpoints" / name, model)
    return model.eval()


def tokens_of(run: Path) -> tuple[Path, Index]:
    """The tokenizer's file that a run's shards carry, and their index."""
    tokens = read_run(run).data.tokens
    path = tokens / TOKENIZER
    if not path.is_file():
        raise ConfigError(
            f"{tokens} holds no {TOKENIZER}: a model without its tokenizer cannot be served.",
            code="train.no_tokenizer",
            hint="Put the tokenizer that encoded the shards there.",
        )
    return path, msgspec.json.decode((tokens / INDEX).read_bytes(), type=Index)


def named(model: Transformer) -> Iterator[tuple[str, Tensor]]:
    """All weights under the names of their family, in its shapes."""
    shape = model.shape
    weights = dict(model.named_parameters())
    yield "model.embed_tokens.weight", weights["embedding.weight"].detach()
    for layer in range(shape.layers):
        ours, theirs = f"blocks.{layer}", f"model.layers.{layer}"
        for part in "qkvo":
            weight = weights[f"{ours}.attention.{part}.weight"].detach()
            yield f"{theirs}.self_attn.{part}_proj.weight", weight
        for norm, name in _NORMS[shape.layout].items():
            yield f"{theirs}.{name}.weight", weights[f"{ours}.{norm}.weight"].detach()
        if not shape.experts:
            for part, name in _DENSE.items():
                weight = weights[f"{ours}.mlp.{part}.weight"].detach()
                yield f"{theirs}.mlp.{name}.weight", weight
            continue
        moe = f"{theirs}.block_sparse_moe"
        yield f"{moe}.gate.weight", weights[f"{ours}.mlp.router.weight"].detach()
        for expert in range(shape.experts):
            for part, name in _EXPERT.items():
                weight = weights[f"{ours}.mlp.experts.{part}"].detach()[expert].T
                yield f"{moe}.experts.{expert}.{name}.weight", weight
    yield "model.norm.weight", weights["norm.weight"].detach()
    if not shape.tied:
        yield "lm_head.weight", weights["head.weight"].detach()


def to_hf(
    model: Transformer, folder: Path, *, tokenizer: Path, end_id: int, dtype: str = "bf16"
) -> None:
    """Write the model into `folder` as Hugging Face safetensors, tokenizer included."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    parts: list[dict[str, Tensor]] = [{}]
    filled, total = 0, 0
    for name, weight in named(model):
        made = weight.to(DTYPES[dtype]).contiguous().clone()
        size = made.numel() * made.element_size()
        if filled and filled + size > _SHARD_BYTES:
            parts.append({})
            filled = 0
        parts[-1][name] = made
        filled, total = filled + size, total + size
    where: dict[str, str] = {}
    for number, part in enumerate(parts, 1):
        file = f"model-{number:05d}-of-{len(parts):05d}.safetensors"
        if len(parts) == 1:
            file = "model.safetensors"
        save_file(part, folder / file, metadata={"format": "pt"})
        (folder / file).chmod(0o644)
        where |= dict.fromkeys(part, file)
    if len(parts) > 1:
        index = {"metadata": {"total_size": total}, "weight_map": where}
        _write_json(folder / "model.safetensors.index.json", index)
    _write_json(folder / "config.json", hf_config(model.shape, end_id, dtype))
    shutil.copyfile(tokenizer, folder / "tokenizer.json")
    piece = _piece(tokenizer, end_id)
    described = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": piece,
        "pad_token": piece,
        "model_max_length": model.shape.context,
    }
    _write_json(folder / "tokenizer_config.json", described)


def hf_config(shape: Shape, end_id: int, dtype: str) -> dict[str, Any]:
    """What `config.json` says."""
    architecture, model_type = _ARCHITECTURES[shape.layout]
    config: dict[str, Any] = {
        "architectures": [architecture],
        "model_type": model_type,
        "vocab_size": shape.vocab,
        "hidden_size": shape.width,
        "intermediate_size": shape.ffn,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "rms_norm_eps": shape.norm_eps,
        "rope_theta": shape.rope_base,
        "max_position_embeddings": shape.context,
        "hidden_act": "gelu" if shape.layout == "grok" else "silu",
        "tie_word_embeddings": shape.tied,
        "bos_token_id": None,
        "eos_token_id": end_id,
        "pad_token_id": end_id,
        "torch_dtype": {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}[dtype],
    }
    if shape.layout == "mixtral":
        config |= {"sliding_window": None}
    if shape.experts:
        config |= {
            "num_local_experts": shape.experts,
            "num_experts": shape.experts,
            "num_experts_per_tok": shape.experts_used,
        }
    if shape.layout == "grok":
        config |= {
            "moe_intermediate_size": shape.ffn,
            "attn_logit_softcapping": shape.attention_cap,
            "router_logit_softcapping": 30.0,
            "attn_output_multiplier": shape.head_dim**-0.5,
            "embedding_multiplier_scale": shape.embedding_scale,
            "output_multiplier_scale": shape.logit_scale,
            "residual_moe": False,
            "load_presharded_moe": False,
        }
    return config


def _piece(tokenizer: Path, token: int) -> str:
    from tokenizers import Tokenizer

    piece: str | None = Tokenizer.from_file(str(tokenizer)).id_to_token(token)
    if piece is None:
        raise ConfigError(
            f"{tokenizer} has no token {token}, which ends documents.",
            code="train.vocabulary",
            hint="Use the tokenizer that encoded the shards.",
        )
    return piece


def _write_json(path: Path, value: Any) -> None:
    write_durably(path, msgspec.json.format(msgspec.json.encode(value)))
