"""The three layouts as one small transformer. Needs PyTorch.

Promised: the numerics of the Grok-1 release for `grok`, of the Hugging Face Llama and Mixtral
for the others; parameters in fp32 unless moved; the same results from the same inputs on CPU.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gnomon.train.exchange import Exchange
from gnomon.train.models.shape import Shape
from gnomon.train.spread import here, spread_like


class Norm(nn.Module):
    """RMSNorm, computed in fp32."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last dimension."""
        return F.rms_norm(x.float(), x.shape[-1:], self.weight.float(), self.eps).to(x.dtype)


def rotary(positions: Tensor, head_dim: int, base: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines [batch, 1, time, head_dim] for rotate-half positions, fp32."""
    powers = torch.arange(0, head_dim, 2, device=positions.device, dtype=torch.float32) / head_dim
    angles = positions[:, None, :, None].float() * base**-powers
    angles = torch.cat((angles, angles), -1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Turn each head by its position."""
    cos, sin = turn
    a, b = x.float().chunk(2, -1)
    return (x.float() * cos + torch.cat((-b, a), -1) * sin).to(x.dtype)


class Attention(nn.Module):
    """Grouped-query causal attention, capped where the shape says so."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width, dim = shape.width, shape.head_dim
        self.shape = shape
        self.q = nn.Linear(width, shape.heads * dim, bias=False)
        self.k = nn.Linear(width, shape.kv_heads * dim, bias=False)
        self.v = nn.Linear(width, shape.kv_heads * dim, bias=False)
        self.o = nn.Linear(shape.heads * dim, width, bias=False)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor], allowed: Tensor | None) -> Tensor:
        """Mix [batch, time, width] over time; `allowed` further narrows the causal mask."""
        shape, (batch, time, _) = self.shape, x.shape
        q = self.q(x).view(batch, time, shape.heads, shape.head_dim).transpose(1, 2)
        k = self.k(x).view(batch, time, shape.kv_heads, shape.head_dim).transpose(1, 2)
        v = self.v(x).view(batch, time, shape.kv_heads, shape.head_dim).transpose(1, 2)
        q, k = rotate(q, turn), rotate(k, turn)
        if shape.attention_cap:
            mixed = capped_attention(q, k, v, shape.attention_cap, allowed)
        else:
            mixed = F.scaled_dot_product_attention(
                q, k, v, attn_mask=allowed, is_causal=allowed is None, enable_gqa=True
            )
        out: Tensor = self.o(mixed.transpose(1, 2).reshape(batch, time, -1))
        return out


def capped_attention(q: Tensor, k: Tensor, v: Tensor, cap: float, allowed: Tensor | None) -> Tensor:
    """softmax(cap·tanh(q·k/√d / cap))·v in fp32, causal.

    On CUDA the fused kernel of flex_attention; it has no backward on CPU, so there it is spelled
    out.
    """
    if q.is_cuda and allowed is None:
        return _flex(q, k, v, cap)
    batch, heads, time, dim = q.shape
    groups = heads // k.shape[1]
    q = q.reshape(batch, k.shape[1], groups * time, dim)
    scores = (q @ k.transpose(-1, -2)).float() * dim**-0.5
    scores = (cap * torch.tanh(scores / cap)).view(batch, -1, groups, time, time)
    if allowed is None:
        allowed = torch.ones(time, time, dtype=torch.bool, device=q.device).tril()
    else:
        allowed = allowed[:, :, None]
    weights = scores.masked_fill(~allowed, -1e30).softmax(-1).to(v.dtype)
    mixed = weights.view(batch, -1, groups * time, time) @ v
    return mixed.view(batch, heads, time, dim)


def _flex(q: Tensor, k: Tensor, v: Tensor, cap: float) -> Tensor:
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    def capped(score: Tensor, *_: Tensor) -> Tensor:
        return cap * torch.tanh(score / cap)

    def causal(_b: Tensor, _h: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return query >= key

    time = q.shape[2]
    mask = create_block_mask(causal, None, None, time, time, device=str(q.device))
    out: Tensor = flex_attention(q, k, v, score_mod=capped, block_mask=mask, enable_gqa=True)
    return out


class Gated(nn.Module):
    """down(silu(gate(x)) · up(x))."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate = nn.Linear(shape.width, shape.ffn, bias=False)
        self.up = nn.Linear(shape.width, shape.ffn, bias=False)
        self.down = nn.Linear(shape.ffn, shape.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """The dense feed-forward layer."""
        out: Tensor = self.down(F.silu(self.gate(x)) * self.up(x))
        return out


class Experts(nn.Module):
    """The experts of a layer: each a gated MLP, its matrices stacked with those of the others.

    They may be dealt out to several workers: then rows travel to their expert and back.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.tanh = shape.layout == "grok"
        experts, width, ffn = shape.experts, shape.width, shape.ffn
        self.gate = nn.Parameter(torch.empty(experts, width, ffn))
        self.up = nn.Parameter(torch.empty(experts, width, ffn))
        self.down = nn.Parameter(torch.empty(experts, ffn, width))
        self.exchange: Exchange | None = None

    def forward(self, rows: Tensor, counts: Tensor) -> Tensor:
        """Pass the first `counts[0]` rows through expert 0, the next through 1, and so on."""
        if self.exchange is None:
            return self._own(rows, counts)
        rows, counts, back = self.exchange.to_experts(rows, counts)
        return self.exchange.from_experts(self._own(rows, counts), back)

    def _own(self, rows: Tensor, counts: Tensor) -> Tensor:
        ends = counts.cumsum(0).to(torch.int32)
        gate = grouped(rows, here(self.gate), ends)
        gate = F.gelu(gate, approximate="tanh") if self.tanh else F.silu(gate)
        return grouped(gate * grouped(rows, here(self.up), ends), here(self.down), ends)


class Mixture(nn.Module):
    """A router and its experts; each token passes through `experts_used` of them.

    The router's softmax runs over all experts in fp32. `mixtral` renormalises the chosen weights,
    `grok` does not.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.router = nn.Linear(shape.width, shape.experts, bias=False)
        self.experts = Experts(shape)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The mixed output, the balance and z losses summed over sequences, and tokens per expert.

        Both losses are per sequence, so that they do not depend on how a batch is split.
        """
        shape, (batch, time, width) = self.shape, x.shape
        used = shape.experts_used
        logits = F.linear(x.float(), self.router.weight.float())
        chances = logits.softmax(-1)
        weights, chosen = chances.topk(used, -1)
        if shape.layout == "mixtral":
            weights = weights / weights.sum(-1, keepdim=True)
        # Every row is copied `used` times and permuted, never gathered twice: the backward pass
        # then adds in a fixed order, which bit-identical runs need.
        expert = chosen.reshape(-1)
        order = expert.argsort(stable=True)
        back = order.argsort()
        load = F.one_hot(chosen, shape.experts).sum((1, 2))
        rows = x.reshape(-1, 1, width).expand(-1, used, -1).reshape(-1, width)[order]
        out = self.experts(rows, load.sum(0))[back]
        mixed = (out.view(batch, time, used, width) * weights[..., None].to(x.dtype)).sum(2)
        share = load.float() / (time * used)
        balance = shape.experts * (share * chances.mean(1)).sum()
        z = logits.logsumexp(-1).square().mean(1).sum()
        return mixed, torch.stack((balance, z)), load.sum(0)


def grouped(rows: Tensor, weights: Tensor, ends: Tensor) -> Tensor:
    """Multiply each group of rows by its own matrix; group g ends before row `ends[g]`.

    One kernel where there is one: bf16 on CUDA, and on CPU whenever rows are 16-byte aligned.
    """
    aligned = all(size * rows.element_size() % 16 == 0 for size in weights.shape[1:])
    if aligned and (rows.dtype == torch.bfloat16 or rows.device.type == "cpu"):
        return F.grouped_mm(rows, weights, offs=ends)
    parts = rows.tensor_split(ends[:-1].tolist())
    return torch.cat([part @ weight for part, weight in zip(parts, weights, strict=True)])


class Block(nn.Module):
    """One layer: attention, then experts or MLP, each on a residual branch."""

    def __init__(self, shape: Shape, *, recompute: bool) -> None:
        super().__init__()
        self.recompute = recompute
        self.attention_in = Norm(shape.width, shape.norm_eps)
        self.attention = Attention(shape)
        self.mlp_in = Norm(shape.width, shape.norm_eps)
        self.mlp: nn.Module = Mixture(shape) if shape.experts else Gated(shape)
        grok = shape.layout == "grok"
        self.attention_out = Norm(shape.width, shape.norm_eps) if grok else nn.Identity()
        self.mlp_out = Norm(shape.width, shape.norm_eps) if grok else nn.Identity()

    def forward(
        self, x: Tensor, turn: tuple[Tensor, Tensor], allowed: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """The next residual stream, and what the router has to say."""
        if self.recompute and self.training:
            again: tuple[Tensor, Tensor | None, Tensor | None] = checkpoint(
                self._layer, x, turn, allowed, use_reentrant=False
            )
            return again
        return self._layer(x, turn, allowed)

    def _layer(
        self, x: Tensor, turn: tuple[Tensor, Tensor], allowed: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        x = x + self.attention_out(self.attention(self.attention_in(x), turn, allowed))
        out, extra, load = self.mlp(self.mlp_in(x)), None, None
        if isinstance(out, tuple):
            out, extra, load = out
        return x + self.mlp_out(out), extra, load


class Transformer(nn.Module):
    """Tokens to logits."""

    def __init__(self, shape: Shape, *, recompute: bool = False) -> None:
        """With `recompute`, layers keep only their input and run again in the backward pass."""
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocab, shape.width)
        self.blocks = nn.ModuleList(Block(shape, recompute=recompute) for _ in range(shape.layers))
        self.norm = Norm(shape.width, shape.norm_eps)
        self.head = nn.Linear(shape.width, shape.vocab, bias=False)
        self.tie()

    def tie(self) -> None:
        """Share the ends' weights where the shape says so; moving a model parts them."""
        if self.shape.tied:
            self.head.weight = self.embedding.weight

    @torch.no_grad()
    def initialise(self, seed: int) -> None:
        """Draw the weights: normal with 1/√fan-in, branches scaled down by depth.

        Every worker draws each weight whole and keeps its part, one weight at a time: the start
        does not depend on their number, and no worker ever holds the whole model.
        """
        device = self.norm.weight.device
        generator = torch.Generator(device).manual_seed(seed)
        for name, weight in self.named_parameters():
            if weight.dim() == 1:
                weight.fill_(1.0)
                continue
            fan_in = weight.shape[-2] if weight.dim() == 3 else weight.shape[-1]
            std = fan_in**-0.5
            if name.endswith((".o.weight", "down", "down.weight")):
                std /= math.sqrt(2 * self.shape.layers)
            if name.startswith("embedding"):
                std = 0.02 if self.shape.layout != "grok" else 1 / self.shape.embedding_scale
            if name.endswith("router.weight"):
                std = 0.02  # small router logits: engines that cap them at 30 then agree
            whole = torch.empty(weight.shape, device=device).normal_(0.0, std, generator=generator)
            weight.copy_(spread_like(whole, weight))

    def forward(
        self, tokens: Tensor, documents: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Logits in fp32 [batch, time, vocab], the router's losses [2], tokens by expert.

        `documents` [batch, time] numbers the documents in a sample: attention then stays inside
        each and positions begin anew.
        """
        positions = torch.arange(tokens.shape[1], device=tokens.device).expand(tokens.shape)
        allowed = None
        if documents is not None:
            allowed, positions = _apart(documents, positions)
        turn = rotary(positions, self.shape.head_dim, self.shape.rope_base)
        x = self.embedding(tokens)
        if self.shape.embedding_scale != 1:
            x = x * self.shape.embedding_scale
        extras = torch.zeros(2, device=tokens.device)
        loads = torch.zeros(max(1, self.shape.experts), device=tokens.device)
        for block in self.blocks:
            x, extra, load = block(x, turn, allowed)
            if extra is not None and load is not None:
                extras, loads = extras + extra / self.shape.layers, loads + load
        logits = self.head(self.norm(x)).float()
        if self.shape.logit_scale != 1:
            logits = logits * self.shape.logit_scale
        return logits, extras, loads


def _apart(documents: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    """The mask that keeps documents apart, and positions counted from each one's start."""
    same = documents[:, :, None] == documents[:, None, :]
    causal = positions[:, :, None] >= positions[:, None, :]
    begins = F.pad(documents[:, 1:] != documents[:, :-1], (1, 0), value=True)
    starts = torch.where(begins, positions, 0).cummax(1).values
    return (same & causal)[:, None], positions - starts


def on_meta(shape: Shape) -> Transformer:
    """The model without storage: for counting and planning."""
    with torch.device("meta"):
        return Transformer(shape)
