"""Models to judge: a run's newest checkpoint, or a GGUF file as it is served. Needs PyTorch.

The file is what answers, so it is what a gate looks at: whatever export and quantisation did to the
weights is in its figures. Read are the layouts that `gnomon.train.gguf` writes.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gnomon.clock import SystemClock
from gnomon.errors import ConfigError
from gnomon.models.registry import Registry, split_id
from gnomon.train.evaluate import Subject
from gnomon.train.export import load_run, read_run, tokens_of
from gnomon.train.gguf import SPLIT
from gnomon.train.models.shape import Shape
from gnomon.train.models.transformer import Transformer

_WINDOW = 1_024
_ENDS = {"embedding": "token_embd", "norm": "output_norm", "head": "output"}
_PARTS = {
    "attention_in": "attn_norm",
    "attention.q": "attn_q",
    "attention.k": "attn_k",
    "attention.v": "attn_v",
    "attention.o": "attn_output",
    "attention_out": "attn_output_norm",
    "mlp_in": "ffn_norm",
    "mlp.router": "ffn_gate_inp",
    "mlp_out": "post_ffw_norm",
}


def of(name: str, home: Path) -> Subject:
    """A GGUF file, a run's folder, or what has this name among the runs or models of `home`.

    Raises ConfigError where there is none.
    """
    path = Path(name)
    if path.suffix == ".gguf":
        return of_gguf(path)
    for folder in (path, home / "runs" / name):
        if (folder / "config.json").is_file():
            return of_run(folder)
    registry = Registry(home / "registry", SystemClock())
    wanted = split_id(name)
    try:
        entry = registry.find(*wanted)
    except ConfigError as error:
        raise ConfigError(
            f"{name} is no run, no GGUF file and no registered model.",
            code="eval.model",
            hint="`gnomon runs` and `gnomon models list` show what there is.",
        ) from error
    return replace(of_gguf(registry.whole_path(entry)), name=entry.id)


def of_run(folder: Path) -> Subject:
    """The model of a run's newest checkpoint."""
    from tokenizers import Tokenizer

    config = read_run(folder)
    tokenizer, index = tokens_of(folder)
    cut = Tokenizer.from_file(str(tokenizer))
    cut.encode_special_tokens = True
    return Subject(
        folder.name,
        load_run(folder),
        lambda text: list(cut.encode(text, add_special_tokens=False).ids),
        index.end_id,
        config.data.sequence,
        cut.decode,
    )


def of_gguf(path: Path, window: int = _WINDOW) -> Subject:
    """The model in a GGUF file, shown at most `window` tokens at once.

    Raises ConfigError for a layout that we do not write.
    """
    import gguf

    if not path.is_file():
        raise ConfigError(f"{path} does not exist.", code="eval.model", hint="Correct the path.")
    try:
        reader: Any = gguf.GGUFReader(path)
    except (ValueError, OSError) as error:
        raise ConfigError(f"{path} is no GGUF file: {error}.", code="eval.model") from error
    said = {name: found.contents() for name, found in reader.fields.items()}
    arrays = {
        tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        for tensor in reader.tensors
    }
    try:
        shape = _shape(said, arrays)
        cut = _tokenizer(said, path)
        model = Transformer(shape)
        _load(model, arrays)
    except KeyError as error:
        raise ConfigError(
            f"{path} lacks {error.args[0]}: it is of a layout that cannot be judged here.",
            code="eval.model",
            hint="Judge models that `gnomon forge export` wrote.",
        ) from error
    end_id = said["tokenizer.ggml.eos_token_id"]
    return Subject(
        path.stem,
        model.eval(),
        lambda text: list(cut.encode(text, add_special_tokens=False).ids),
        end_id,
        min(shape.context, window),
        cut.decode,
    )


def _shape(said: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Shape:
    arch = said["general.architecture"]
    if arch not in ("grok", "llama"):
        raise ConfigError(
            f"Models of the architecture {arch} cannot be judged here.",
            code="eval.model",
            hint="Judge models that `gnomon forge export` wrote.",
        )

    def told(name: str, *other: Any) -> Any:
        return said.get(f"{arch}.{name}", *other) if other else said[f"{arch}.{name}"]

    experts = told("expert_count", 0)
    grok = arch == "grok"
    return Shape(
        layout="grok" if grok else "mixtral" if experts else "llama",
        vocab=len(arrays["token_embd.weight"]),
        width=told("embedding_length"),
        layers=told("block_count"),
        heads=told("attention.head_count"),
        kv_heads=told("attention.head_count_kv"),
        head_dim=told("attention.key_length"),
        ffn=told("feed_forward_length"),
        context=told("context_length"),
        experts=experts,
        experts_used=told("expert_used_count", 0),
        rope_base=told("rope.freq_base"),
        norm_eps=told("attention.layer_norm_rms_epsilon"),
        tied="output.weight" not in arrays,
        attention_cap=told("attn_logit_softcapping") if grok else 0.0,
        embedding_scale=told("embedding_scale") if grok else 1.0,
        logit_scale=told("logit_scale") if grok else 1.0,
    )


def _tokenizer(said: dict[str, Any], path: Path) -> Any:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    rule = said["tokenizer.ggml.pre"]
    if rule not in ("grok-2", "gpt-2") or said["tokenizer.ggml.model"] != "gpt2":
        raise ConfigError(
            f"{path} cuts text by the rule {rule}, which is not known here.",
            code="eval.model",
            hint="Judge models that `gnomon forge export` wrote.",
        )
    vocabulary = {piece: at for at, piece in enumerate(said["tokenizer.ggml.tokens"])}
    merges = [tuple(merge.split(" ", 1)) for merge in said["tokenizer.ggml.merges"]]
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=rule == "gpt-2")
    parts: list[Any] = [level]
    if rule == "grok-2":
        parts.insert(0, pre_tokenizers.Split(Regex(SPLIT), "isolated"))
    made.pre_tokenizer = pre_tokenizers.Sequence(parts)
    made.decoder = decoders.ByteLevel()
    return made


@torch.no_grad()
def _load(model: Transformer, arrays: dict[str, NDArray[Any]]) -> None:
    shape = model.shape
    for name, weight in model.named_parameters():
        array = np.asarray(arrays[_stored_name(name, shape)], np.float32)
        if shape.layout != "grok" and name.endswith((".attention.q.weight", ".attention.k.weight")):
            heads = len(array) // shape.head_dim
            pairs = array.reshape(heads, shape.head_dim // 2, 2, -1)
            array = pairs.swapaxes(1, 2).reshape(array.shape)
        if array.ndim == 3:  # experts lie the other way round there
            array = array.swapaxes(1, 2)
        weight.copy_(torch.from_numpy(np.array(array)))


def _stored_name(name: str, shape: Shape) -> str:
    """What llama.cpp calls our weight `name`."""
    stem = name.removesuffix(".weight")
    if stem in _ENDS:
        return f"{_ENDS[stem]}.weight"
    _, layer, part = stem.split(".", 2)
    if part.startswith("mlp.experts."):
        found = f"ffn_{part.removeprefix('mlp.experts.')}_exps"
    elif part in ("mlp.gate", "mlp.up", "mlp.down"):
        found = f"ffn_{part.removeprefix('mlp.')}"
    else:
        found = _PARTS[part]
    return f"blk.{layer}.{found}.weight"
