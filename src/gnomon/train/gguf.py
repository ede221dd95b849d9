"""From a model to GGUF, which llama.cpp serves. Needs PyTorch and the gguf library.

llama.cpp's own converter refuses tokenizers that it has never seen, and so every home-trained one.
This writer names the pre-tokenizer itself, and refuses any whose rule it does not know.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gnomon.errors import ConfigError
from gnomon.train.export import named
from gnomon.train.models.shape import Shape
from gnomon.train.models.transformer import Transformer

_NORMAL, _CONTROL, _USER, _UNUSED = 1, 3, 4, 5
_END = r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SPLIT = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])" + _END
"""How llama.cpp cuts text before byte pairs under the name grok-2: tokenizers must cut so too."""
_SPLITS = {SPLIT: "grok-2", r"(?i:'s|'t|'re|'ve|'m|'ll|'d)" + _END: "grok-2"}
_NAMES = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "pre_attn_norm": "attn_norm",
    "post_attn_norm": "attn_output_norm",
    "pre_moe_norm": "ffn_norm",
    "post_moe_norm": "post_ffw_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "block_sparse_moe.gate": "ffn_gate_inp",
}
_ENDS = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
_EXPERTS = {"w1": "ffn_gate_exps", "w2": "ffn_down_exps", "w3": "ffn_up_exps"}
KINDS = ("f32", "f16", "bf16", "q8_0")


def to_gguf(
    model: Transformer,
    path: Path,
    *,
    tokenizer: Path,
    end_id: int,
    kind: str = "f16",
    name: str,
    chat_template: str = "",
) -> None:
    """Write the model to `path`; matrices as `kind`, vectors and routers in fp32.

    `chat_template` (Jinja) says how turns become text; without one llama.cpp takes its own.
    """
    import gguf

    shape = model.shape
    arch = "grok" if shape.layout == "grok" else "llama"
    aside = path.with_name(f".{path.name}.part")
    writer: Any = gguf.GGUFWriter(aside, arch)
    writer.add_name(name)
    _describe(writer, shape)
    _tokenizer(writer, tokenizer, shape.vocab, end_id)
    if chat_template:
        writer.add_chat_template(chat_template)
    wanted = {
        "f32": gguf.GGMLQuantizationType.F32,
        "f16": gguf.GGMLQuantizationType.F16,
        "bf16": gguf.GGMLQuantizationType.BF16,
        "q8_0": gguf.GGMLQuantizationType.Q8_0,
    }[kind]
    for label, weight in _tensors(model):
        small = weight.ndim < 2 or "gate_inp" in label
        stored = gguf.GGMLQuantizationType.F32 if small else wanted
        if kind == "q8_0" and weight.shape[-1] % 32:
            stored = gguf.GGMLQuantizationType.F16
        body = gguf.quants.quantize(np.ascontiguousarray(weight), stored)
        writer.add_tensor(label, body, raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    aside.replace(path)


def _tensors(model: Transformer) -> Any:
    """Each tensor under llama.cpp's name; an expert's matrices stacked."""
    shape = model.shape
    experts: dict[str, list[NDArray[np.float32]]] = {}
    for name, weight in named(model):
        stem = name.removesuffix(".weight")
        if stem in _ENDS:
            yield f"{_ENDS[stem]}.weight", _array(weight)
            continue
        _, _, layer, rest = stem.split(".", 3)
        if ".experts." in rest:
            part = _EXPERTS[rest.rsplit(".", 1)[1]]
            found = experts.setdefault(part, [])
            found.append(_array(weight))
            if len(found) == shape.experts:
                yield f"blk.{layer}.{part}.weight", np.stack(experts.pop(part))
            continue
        array = _array(weight)
        if shape.layout != "grok" and rest in ("self_attn.q_proj", "self_attn.k_proj"):
            array = _interleaved(array, shape.head_dim)
        yield f"blk.{layer}.{_NAMES[rest]}.weight", array


def _array(weight: Tensor) -> NDArray[np.float32]:
    return np.asarray(weight.float().numpy(), np.float32)


def _interleaved(weight: NDArray[np.float32], head_dim: int) -> NDArray[np.float32]:
    """Rows reordered: the llama architecture turns neighbours, not halves."""
    heads = len(weight) // head_dim
    halves = weight.reshape(heads, 2, head_dim // 2, -1)
    return halves.swapaxes(1, 2).reshape(weight.shape)


def _describe(writer: Any, shape: Shape) -> None:
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.ffn)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head_dim)
    writer.add_value_length(shape.head_dim)
    writer.add_layer_norm_rms_eps(shape.norm_eps)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_vocab_size(shape.vocab)
    if shape.experts:
        writer.add_expert_count(shape.experts)
        writer.add_expert_used_count(shape.experts_used)
    if shape.layout == "grok":
        writer.add_expert_feed_forward_length(shape.ffn)
        writer.add_attn_output_scale(shape.head_dim**-0.5)
        writer.add_attn_logit_softcapping(shape.attention_cap)
        writer.add_router_logit_softcapping(30.0)
        writer.add_embedding_scale(shape.embedding_scale)
        writer.add_logit_scale(shape.logit_scale)


def _tokenizer(writer: Any, path: Path, vocab: int, end_id: int) -> None:
    described = msgspec.json.decode(path.read_bytes())
    if described["model"].get("type", "BPE") != "BPE":
        raise ConfigError(
            f"{path} is no byte-pair tokenizer but {described['model']['type']}.",
            code="train.tokenizer",
        )
    pieces = [f"[UNUSED{number}]" for number in range(vocab)]
    kinds = [_UNUSED] * vocab
    for piece, token in described["model"]["vocab"].items():
        pieces[token], kinds[token] = piece, _NORMAL
    for added in described.get("added_tokens", ()):
        pieces[added["id"]] = added["content"]
        kinds[added["id"]] = _CONTROL if added["special"] else _USER
    merges = [m if isinstance(m, str) else " ".join(m) for m in described["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_pre(described.get("pre_tokenizer"), path))
    writer.add_token_list(pieces)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_eos_token_id(end_id)
    writer.add_pad_token_id(end_id)
    writer.add_add_bos_token(False)


def _pre(described: Any, path: Path) -> str:
    parts = (described or {}).get("pretokenizers", [described])
    for part in parts:
        rule = ((part or {}).get("pattern") or {}).get("Regex")
        if rule in _SPLITS:
            return _SPLITS[rule]
        if part and part.get("type") == "ByteLevel" and part.get("use_regex"):
            return "gpt-2"
    raise ConfigError(
        f"{path} cuts text before byte pairs by a rule that llama.cpp does not know.",
        code="train.tokenizer",
        hint="Train the tokenizer with gnomon.train.gguf.SPLIT.",
    )
