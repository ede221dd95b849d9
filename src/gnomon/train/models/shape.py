"""The shape of a model: everything that its parameters and numerics depend on. No PyTorch here.

Three layouts. `llama`: dense, pre-norm, SiLU gate. `mixtral`: the same with experts in place of
the MLP, chosen weights renormalised. `grok`: the Grok-1 layout with four norms a layer, tanh-GELU
experts, router weights not renormalised, capped attention and scaled embedding and logits.
"""

from __future__ import annotations

import math
import tomllib
from functools import cache
from importlib.resources import files
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Layout = Literal["llama", "mixtral", "grok"]


class Shape(BaseModel):
    """One model's shape."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    layout: Layout
    vocab: int = Field(ge=2)
    width: int = Field(ge=8)
    layers: int = Field(ge=1)
    heads: int = Field(ge=1)
    kv_heads: int = Field(ge=1)
    head_dim: int = Field(ge=2)
    ffn: int = Field(ge=8, description="Hidden width of the MLP, or of one expert.")
    context: int = Field(ge=8)
    experts: int = Field(0, ge=0)
    experts_used: int = Field(0, ge=0)
    rope_base: float = 10_000.0
    norm_eps: float = 1e-5
    tied: bool = Field(False, description="The output layer shares the embedding's weights.")
    attention_cap: float = Field(0.0, ge=0, description="c in c·tanh(x/c); 0: no cap.")
    embedding_scale: float = 1.0
    logit_scale: float = 1.0

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.heads % self.kv_heads:
            raise ValueError(f"heads ({self.heads}) is no multiple of kv_heads ({self.kv_heads})")
        if self.head_dim % 2:
            raise ValueError(f"head_dim ({self.head_dim}) must be even for rotary positions")
        if self.layout == "llama" and self.experts:
            raise ValueError("the llama layout has no experts; use mixtral or grok")
        if self.layout != "llama" and not 1 <= self.experts_used <= self.experts:
            raise ValueError(
                f"experts_used ({self.experts_used}) is not from 1 to experts ({self.experts})"
            )
        if self.layout == "grok" and self.heads * self.head_dim != self.width:
            raise ValueError("the grok layout needs width = heads × head_dim, as llama.cpp does")
        if self.layout != "grok" and (
            self.attention_cap or self.embedding_scale != 1 or self.logit_scale != 1
        ):
            raise ValueError("attention_cap, embedding_scale and logit_scale are for grok")
        return self

    def parameters(self, *, active: bool = False) -> int:
        """How many parameters there are; with `active`, those that one token passes through."""
        attention = self.width * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
        mlp = 3 * self.width * self.ffn
        if self.experts:
            mlp = mlp * (self.experts_used if active else self.experts) + self.width * self.experts
        norms = self.width * (4 if self.layout == "grok" else 2)
        ends = self.vocab * self.width * (1 if self.tied else 2) + self.width
        return self.layers * (attention + mlp + norms) + ends

    def flops_per_token(self, length: int) -> float:
        """Floating-point operations of training on one token: forward and backward.

        Six for each active weight that is multiplied, plus causal attention over `length` tokens.
        The embedding is a look-up and counts nothing.
        """
        lookup = 0 if self.tied else self.vocab * self.width
        weights = self.parameters(active=True) - lookup
        attention = 6 * self.layers * self.heads * self.head_dim * length
        return 6.0 * weights + attention


@cache
def presets() -> dict[str, Shape]:
    """The named shapes that come with Gnomon, smallest first."""
    text = (files("gnomon.train.models") / "presets.toml").read_text()
    found = {}
    for name, described in tomllib.loads(text).items():
        if described["layout"] == "grok":
            described.setdefault("attention_cap", 30.0)
            described.setdefault("embedding_scale", math.sqrt(described["width"]))
            described.setdefault("logit_scale", 3**-0.5)
        found[name] = Shape(**described)
    return dict(sorted(found.items(), key=lambda item: item[1].parameters()))
