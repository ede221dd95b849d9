"""What every model promises: generation, embedding, scoring.

`tests/contract/models.py` holds the embedded, the remote and the scripted engine to it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import msgspec
import numpy as np
from numpy.typing import NDArray

Role = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "tool_calls"]


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call that the model asks for. `arguments` is JSON text."""

    id: str
    name: str
    arguments: str


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One turn."""

    role: Role
    content: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A function that the model may call; `parameters` is a JSON schema."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = {}


class GenerateRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to generate. None leaves a choice to the engine."""

    messages: tuple[Message, ...]
    max_tokens: int = 512
    temperature: float = 0.0
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    """`auto`, `none`, `required`, or a tool's name."""
    json_schema: Mapping[str, Any] | None = None
    grammar: str | None = None
    """GBNF; only engines with `grammars` take it."""
    logprobs: int | None = None
    """How many alternatives to report per token."""


class TokenLogprob(msgspec.Struct, frozen=True, kw_only=True):
    """A generated token, its natural-log probability, and its strongest alternatives."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a generation. The last one carries `finish_reason` and the token counts."""

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    finish_reason: FinishReason | None = None
    input_tokens: int = 0
    output_tokens: int = 0


class Generator(Protocol):
    """A language model."""

    @property
    def name(self) -> str:
        """As shown to users and in `/v1/models`."""
        ...

    @property
    def context_tokens(self) -> int:
        """Prompt and answer together."""
        ...

    @property
    def capable(self) -> bool:
        """Whether it may write answers by itself (True for remote models the operator chose)."""
        ...

    def stream(self, request: GenerateRequest) -> AsyncIterator[Chunk]:
        """Generate. Closing the iterator stops the engine at once. Raises ModelError."""
        ...

    async def count_tokens(self, text: str) -> int:
        """Length of `text` in this model's tokens (an estimate where the engine tells none)."""
        ...


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """A token of a text. The bytes of all tokens behind each other are the text."""

    id: int
    piece: bytes


class Tokenizer(Protocol):
    """A language model that tells how it cuts texts."""

    async def tokenize(self, text: str) -> Sequence[Token]:
        """The tokens of `text`. Raises ModelError."""
        ...


class Embedder(Protocol):
    """Text to unit vectors."""

    @property
    def name(self) -> str:
        """Identity of the weights."""
        ...

    @property
    def dim(self) -> int:
        """Components of a vector."""
        ...

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors, shape (len(texts), dim). Synchronous: call it from a thread."""
        ...


@runtime_checkable
class Reading(Protocol):
    """An embedder that also tells the vectors of a text's words in context."""

    def read(
        self, texts: Sequence[str]
    ) -> Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """For each text its unit vector and its words' unit vectors. Synchronous."""
        ...


class Scorer(Protocol):
    """How well each passage matches a query: higher is better, comparable across calls."""

    @property
    def name(self) -> str:
        """Identity of the weights and method."""
        ...

    def score(self, query: str, passages: Sequence[str]) -> NDArray[np.float32]:
        """Scores in 0..1, shape (len(passages),). Synchronous: call it from a thread."""
        ...


class ModelState(msgspec.Struct, frozen=True, kw_only=True):
    """How a model stands, for `doctor`, `/v1/models` and the answer's notes."""

    name: str
    role: Literal["generator", "embedder", "scorer", "word vectors"]
    state: Literal["loading", "ready", "missing", "failed", "off"]
    text: str = ""
    """In a plain sentence, with cause and next step."""
    body_bytes: int = 0
