"""A language model that says what it was told to say. For tests, here and in plugins."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from typing import TypeAlias

import msgspec

from gnomon.clock import Clock, SystemClock
from gnomon.errors import ModelError
from gnomon.models.base import Chunk, FinishReason, GenerateRequest, TokenLogprob, ToolCall


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """One generation, piece by piece."""

    pieces: tuple[str, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    first_delay_s: float = 0.0
    """Wait before the first piece."""
    delay_s: float = 0.0
    """Wait before every other piece."""
    finish_reason: FinishReason | None = None
    """By default `tool_calls` with calls, `length` if cut at `max_tokens`, else `stop`."""


Script: TypeAlias = "Reply | str | ModelError | Callable[[GenerateRequest], Reply | str]"


class ScriptedGenerator:
    """Answers each request with the script's next entry: a reply, a text, or an error to raise.

    A text is streamed word by word; a word counts as a token. A function is called with the
    request and stays the last entry for all later requests.
    """

    grammars = True

    def __init__(
        self,
        script: Iterable[Script],
        *,
        name: str = "scripted",
        capable: bool = True,
        context_tokens: int = 8_192,
        clock: Clock | None = None,
    ) -> None:
        """Play `script`; past its end every request is a ModelError."""
        self.name = name
        self.capable = capable
        self.context_tokens = context_tokens
        self.requests: list[GenerateRequest] = []
        """What was asked so far."""
        self.closed_early = 0
        """How many streams the consumer left before their end."""
        self._script = list(script)
        self._clock = clock or SystemClock()

    async def count_tokens(self, text: str) -> int:
        """Words of `text`."""
        return len(text.split())

    async def stream(self, request: GenerateRequest) -> AsyncIterator[Chunk]:
        """Play the next entry."""
        self.requests.append(request)
        reply = self._next(request)
        pieces = reply.pieces[: request.max_tokens]
        finish = reply.finish_reason or ("tool_calls" if reply.tool_calls else "stop")
        if len(pieces) < len(reply.pieces):
            finish = "length"
        finished = False
        try:
            for i, piece in enumerate(pieces):
                if wait_s := reply.delay_s if i else reply.first_delay_s:
                    await self._clock.sleep(wait_s)
                yield Chunk(text=piece, logprobs=_certain(piece, request))
            finished = True
            yield Chunk(
                tool_calls=reply.tool_calls,
                finish_reason=finish,
                input_tokens=sum(len(m.content.split()) for m in request.messages),
                output_tokens=len(pieces),
            )
        finally:
            self.closed_early += not finished

    def _next(self, request: GenerateRequest) -> Reply:
        if not self._script:
            raise ModelError("The script is over.", code="model.script")
        entry = self._script[0]
        if callable(entry):
            entry = entry(request)
        else:
            self._script.pop(0)
        if isinstance(entry, ModelError):
            raise entry
        return Reply(pieces=_words(entry)) if isinstance(entry, str) else entry


def _words(text: str) -> tuple[str, ...]:
    words = text.split(" ")
    return tuple(w if i == 0 else f" {w}" for i, w in enumerate(words)) if text else ()


def _certain(piece: str, request: GenerateRequest) -> tuple[TokenLogprob, ...]:
    if request.logprobs is None:
        return ()
    return (TokenLogprob(token=piece, logprob=0.0, top=((piece, 0.0),)[: request.logprobs]),)
