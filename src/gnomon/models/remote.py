"""Any OpenAI-compatible endpoint, through the guarded door.

Endpoints differ in what they accept and break in many ways. A parameter that one refuses by name
is left out from then on; everything else becomes a ModelError whose text says what to do. The
key is sent to the endpoint and goes nowhere else.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, suppress
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec
from pydantic import SecretStr

from gnomon.errors import (
    GnomonError,
    ModelError,
    ModelTerminal,
    ModelTransient,
    UpstreamError,
    UpstreamTransient,
)
from gnomon.models import chat
from gnomon.models.base import (
    Chunk,
    FinishReason,
    GenerateRequest,
    Message,
    ToolCall,
)
from gnomon.models.sse import EventParser

_MAY_LEAVE_OUT = ("temperature", "top_p", "seed", "stream_options", "logprobs", "top_logprobs")
_BYTES_PER_TOKEN = 3.6
_QUEUED_BLOCKS = 64
_SHOWN_CHARS = 300


class StreamingDoor(Protocol):
    """What this engine needs of `gnomon.net.door.Door`."""

    def stream(
        self,
        url: str,
        *,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """The body of the endpoint's answer as it comes; leaving the context hangs up."""
        ...


def endpoint(url: str) -> str:
    """The `host:port` that the base URL `url` leads to, as the door's allow-list wants it."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    shown = f"[{host}]" if ":" in host else host
    return f"{shown}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


class RemoteGenerator:
    """A language model behind `url`, the base address that ends in `/v1`."""

    capable = True
    grammars = False

    def __init__(
        self,
        url: str,
        model: str,
        door: StreamingDoor,
        *,
        api_key: SecretStr | None = None,
        context_tokens: int = 32_768,
    ) -> None:
        """Nothing is sent before the first request."""
        self._url = url.rstrip("/")
        self._model = model
        self._door = door
        self._api_key = api_key
        self._context_tokens = context_tokens
        self._renamed: dict[str, str | None] = {}
        self.last_failure: ModelError | None = None
        """Why the latest request failed; None while all is well."""

    @property
    def name(self) -> str:
        """The model's name at its endpoint."""
        return self._model

    @property
    def context_tokens(self) -> int:
        """Prompt and answer together, as configured."""
        return self._context_tokens

    async def count_tokens(self, text: str) -> int:
        """An estimate from the length in bytes, rather high than low."""
        return int(len(text.encode("utf-8", "replace")) / _BYTES_PER_TOKEN) + 1

    async def stream(self, request: GenerateRequest) -> AsyncIterator[Chunk]:
        """Generate; closing the iterator hangs up, which tells the endpoint to stop."""
        body = _body(request, self._model)
        try:
            # Each round leaves out one more parameter that the endpoint does not know.
            for _ in range(len(_MAY_LEAVE_OUT) + 2):
                try:
                    async with aclosing(self._ask(self._adapted(body), request)) as chunks:
                        async for chunk in chunks:
                            yield chunk
                    self.last_failure = None
                    return
                except _UnknownParameter as unknown:
                    if unknown.parameter in self._renamed:
                        raise unknown.error from None
                    renamed = unknown.parameter == "max_tokens"
                    self._renamed[unknown.parameter] = "max_completion_tokens" if renamed else None
        except ModelError as error:
            self.last_failure = error
            raise

    def _adapted(self, body: Mapping[str, Any]) -> dict[str, Any]:
        names = {name: self._renamed.get(name, name) for name in body}
        return {new: body[name] for name, new in names.items() if new is not None}

    async def _ask(
        self, body: Mapping[str, Any], request: GenerateRequest
    ) -> AsyncGenerator[Chunk, None]:
        # The exchange has a task of its own: its deadline must not strike the consumer while it
        # works on an earlier chunk.
        blocks: asyncio.Queue[bytes | None] = asyncio.Queue(_QUEUED_BLOCKS)
        exchange = asyncio.create_task(self._pump(msgspec.json.encode(body), blocks))
        parser, reader = EventParser(), _Reader(request, self._hide)
        try:
            while (block := await blocks.get()) is not None:
                for event in parser.feed(block):
                    for chunk in reader.read(event):
                        yield chunk
            await exchange  # raises what went wrong
            for event in parser.end():
                for chunk in reader.read(event):
                    yield chunk
            yield reader.end()
        finally:
            exchange.cancel()
            with suppress(asyncio.CancelledError, ModelError, _UnknownParameter):
                await exchange

    async def _pump(self, content: bytes, blocks: asyncio.Queue[bytes | None]) -> None:
        try:
            await self._exchange(content, blocks)
        except asyncio.CancelledError:
            raise  # nobody reads any more
        except BaseException:
            await blocks.put(None)
            raise
        await blocks.put(None)

    async def _exchange(self, content: bytes, blocks: asyncio.Queue[bytes | None]) -> None:
        headers = {"content-type": "application/json", "accept": "text/event-stream"}
        if self._api_key is not None:
            headers["authorization"] = f"Bearer {self._api_key.get_secret_value()}"
        url = f"{self._url}/chat/completions"
        try:
            async with self._door.stream(url, headers=headers, content=content) as received:
                async for block in received:
                    await blocks.put(block)
        except UpstreamError as error:
            raise self._explain(error) from error
        except GnomonError as error:  # a header that cannot be sent, a stream without end
            raise ModelTerminal(
                self._hide(error.message), code="model.request", hint=error.hint
            ) from error

    def _explain(self, error: UpstreamError) -> ModelError | _UnknownParameter:
        at = f"The model endpoint {endpoint(self._url)}"
        status = error.fields.get("status")
        if isinstance(error, UpstreamTransient):
            return ModelTransient(
                f"{at} is busy: it answers {status}."
                if status
                else f"{at} cannot be reached: {self._hide(error.message)}",
                code="model.busy" if status else "model.unreachable",
                retry_after_s=error.retry_after_s,
                hint="It is asked again with the next question.",
            )
        refusal = _refusal(str(error.fields.get("body", "")))
        said = self._hide(refusal.message)
        if status in (401, 403):
            # What the endpoint says may repeat a part of the key.
            return ModelTerminal(
                f"{at} refuses the key (status {status}).",
                code="model.key",
                hint="Correct models.api_key or models.api_key_file.",
            )
        if status == 404:
            return ModelTerminal(
                f"{at} knows no model {self._model} under {self._url}.",
                code="model.unknown",
                hint="Correct models.model, or models.url, which usually ends in /v1.",
            )
        if status is None:
            return ModelTerminal(
                f"{at} cannot be asked: {self._hide(error.message)}",
                code="model.unreachable",
                hint="Correct models.url.",
            )
        if refusal.code == "context_length_exceeded":
            return ModelTerminal(
                f"The prompt is too long for {self._model}: {said}",
                code="model.context",
                hint="Lower models.context_tokens.",
            )
        refused = ModelTerminal(
            f"{at} refuses the request (status {status}): {said}", code="model.request"
        )
        if refusal.param in (*_MAY_LEAVE_OUT, "max_tokens"):
            return _UnknownParameter(refusal.param, refused)
        return refused

    def _hide(self, text: str) -> str:
        key = self._api_key.get_secret_value() if self._api_key else ""
        return (text.replace(key, "(hidden)") if key else text)[:_SHOWN_CHARS]


class _UnknownParameter(Exception):
    """The endpoint refused the request because of one parameter."""

    def __init__(self, parameter: str, error: ModelError) -> None:
        super().__init__(parameter)
        self.parameter = parameter
        self.error = error


class _Refusal(msgspec.Struct, frozen=True):
    message: str = "it gives no reason."
    code: str = ""
    param: str = ""


def _refusal(body: str) -> _Refusal:
    """What an error body says, in any of the shapes that endpoints use."""
    try:
        found = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return _Refusal(body.strip()) if body.strip() else _Refusal()
    error = found.get("error", found) if isinstance(found, dict) else found
    if not isinstance(error, dict):
        return _Refusal(str(error))
    text = error.get("message") or error.get("detail") or body
    return _Refusal(str(text), str(error.get("code") or ""), str(error.get("param") or ""))


class _Reader:
    """Turns the endpoint's events into chunks."""

    def __init__(self, request: GenerateRequest, hide: Any) -> None:
        self._hide = hide
        self._finish: FinishReason | None = None
        self._done = False
        self._calls: dict[int, dict[str, str]] = {}
        self._input_tokens = sum(len(m.content) for m in request.messages) // 4
        self._output_chars = 0
        self._output_tokens: int | None = None

    def read(self, event: bytes) -> list[Chunk]:
        if event.strip() == b"[DONE]":
            self._done = True
            return []
        try:
            item = msgspec.json.decode(event)
        except msgspec.DecodeError as error:
            raise _broken(f"sends what is no JSON: {self._hide(repr(event[:80]))}") from error
        if not isinstance(item, dict):
            raise _broken("sends an event that is no object")
        if item.get("error"):
            raise self._failed(item["error"])
        try:
            return self._read(item)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise _broken(f"sends an event of an unknown shape ({error!r})") from error

    def end(self) -> Chunk:
        if self._finish is None and not self._done:
            raise _broken("broke off in the middle of the answer")
        calls = tuple(
            ToolCall(
                id=call["id"] or f"call_{i}", name=call["name"], arguments=call["arguments"] or "{}"
            )
            for i, call in sorted(self._calls.items())
        )
        estimate = self._output_chars // 4 + 1 if self._output_chars or calls else 0
        return Chunk(
            tool_calls=calls,
            finish_reason="tool_calls" if calls else self._finish or "stop",
            input_tokens=self._input_tokens,
            output_tokens=estimate if self._output_tokens is None else self._output_tokens,
        )

    def _read(self, item: Mapping[str, Any]) -> list[Chunk]:
        if usage := item.get("usage"):
            self._input_tokens = int(usage.get("prompt_tokens") or self._input_tokens)
            self._output_tokens = int(usage.get("completion_tokens") or 0)
        chunks = []
        for choice in (item.get("choices") or [])[:1]:
            delta = choice.get("delta") or choice.get("message") or {}
            text = delta.get("content") or delta.get("refusal") or ""
            if not isinstance(text, str):
                raise TypeError("content is no text")
            self._output_chars += len(text)
            for position, call in enumerate(delta.get("tool_calls") or ()):
                self._collect(call.get("index", position), call)
            tokens = chat.logprobs(choice.get("logprobs"))
            if text or tokens:
                chunks.append(Chunk(text=text, logprobs=tokens))
            if reason := choice.get("finish_reason"):
                self._finish = chat.finish_reason(reason)
        return chunks

    def _collect(self, index: int, call: Mapping[str, Any]) -> None:
        kept = self._calls.setdefault(int(index), {"id": "", "name": "", "arguments": ""})
        function = call.get("function") or {}
        kept["id"] = kept["id"] or call.get("id") or ""
        kept["name"] = kept["name"] or function.get("name") or ""
        kept["arguments"] += function.get("arguments") or ""

    def _failed(self, error: Any) -> ModelError:
        told = error if isinstance(error, dict) else {"message": str(error)}
        said = self._hide(str(told.get("message") or "it gives no reason"))
        status = told.get("code")
        final = isinstance(status, int) and 400 <= status < 500 and status != 429
        kind = ModelTerminal if final else ModelTransient
        return kind(f"The model endpoint failed while it answered: {said}", code="model.failed")


def _broken(what: str) -> ModelError:
    return ModelTransient(
        f"The model endpoint {what}.",
        code="model.broken_stream",
        hint="It is asked again with the next question.",
    )


def _body(request: GenerateRequest, model: str) -> dict[str, Any]:
    if request.grammar is not None:
        raise ModelTerminal(
            f"{model} takes no grammar.", code="model.request", hint="Send a JSON schema."
        )
    body: dict[str, Any] = {
        "model": model,
        "messages": [_message(m) for m in request.messages],
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    optional: dict[str, Any] = {"top_p": request.top_p, "seed": request.seed}
    optional["stop"] = list(request.stop) or None
    if request.logprobs is not None:
        optional |= {"logprobs": True, "top_logprobs": request.logprobs}
    if request.json_schema is not None:
        schema = {
            "name": "answer",
            "strict": _is_strict(request.json_schema),
            "schema": request.json_schema,
        }
        optional["response_format"] = {"type": "json_schema", "json_schema": schema}
    if request.tools:
        optional["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": t.name,
                    "description": t.description,
                    "parameters": t.parameters or {"type": "object", "properties": {}},
                },
            }
            for t in request.tools
        ]
        choice = request.tool_choice
        named = {"type": "function", "function": {"name": choice}}
        optional["tool_choice"] = choice if choice in ("auto", "none", "required") else named
    return body | {name: value for name, value in optional.items() if value is not None}


def _message(message: Message) -> dict[str, Any]:
    out: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        out["tool_calls"] = [
            {
                "id": c.id,
                "type": "function",
                "function": {"name": c.name, "arguments": c.arguments},
            }
            for c in message.tool_calls
        ]
    if message.role == "tool":
        out["tool_call_id"] = message.tool_call_id
    return out


def _is_strict(schema: Any) -> bool:
    """Whether `schema` keeps the rules under which endpoints promise to obey it."""
    if isinstance(schema, list):
        return all(map(_is_strict, schema))
    if not isinstance(schema, Mapping):
        return True
    if schema.get("type") == "object" and (
        schema.get("additionalProperties") is not False
        or set(schema.get("required", ())) != set(schema.get("properties", {}))
    ):
        return False
    return all(map(_is_strict, schema.values()))
