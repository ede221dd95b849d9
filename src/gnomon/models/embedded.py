"""The embedded engine: llama.cpp inside this process, through the prebuilt xllamacpp wheel.

It runs in-process and not as a child: the weights are ours, pinned by hash and checked before
native code sees them, so a child would guard against nothing but its own start-up, pipes and
orphans. One request runs at a time, the others wait; a prefix that two requests share is read
once. The engine cannot be had without an HTTP listener; it gets a socket in a private folder.
"""

from __future__ import annotations

import asyncio
import http.client
import shutil
import socket
import tempfile
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec

from gnomon.errors import ModelError, ModelTerminal
from gnomon.models import chat, tools
from gnomon.models.base import Chunk, FinishReason, GenerateRequest, Token
from gnomon.models.minilm import first_line, threads

_BATCH_TOKENS = 128
"""Prompt tokens between two looks at whether the request was cancelled."""


class EmbeddedGenerator:
    """A GGUF model in this process."""

    capable = False
    """Models that fit here state facts too freely to write answers by themselves."""
    grammars = True
    """It takes GBNF grammars."""

    def __init__(self, path: Path, *, context_tokens: int = 2_048, n_threads: int = 0) -> None:
        """Load the weights at `path`; takes a second. Raises ModelError.

        The file must be known to be whole: native code trusts what it reads.
        """
        if not path.is_file():
            raise ModelError(
                f"{path} is missing.",
                code="model.missing",
                hint="Run `gnomon models fetch`.",
                file=str(path),
            )
        try:
            import xllamacpp
        except ImportError as error:
            raise ModelError(
                f"The embedded engine is not installed: {error}.",
                code="model.no_engine",
                hint="Install it with `pip install 'gnomon[llm]'`, or set models.url.",
            ) from error
        self._name = path.stem
        self._context_tokens = context_tokens
        self._folder = tempfile.mkdtemp(prefix="gnomon-llm-")
        self._socket = str(Path(self._folder) / "engine.sock")
        try:
            self._server: Any = xllamacpp.Server(
                _params(xllamacpp, path, self._socket, context_tokens, threads(n_threads))
            )
        except Exception as error:  # the binding raises RuntimeError and plain Exception
            shutil.rmtree(self._folder, ignore_errors=True)
            raise ModelError(
                f"{path} cannot be loaded: {first_line(error)}.",
                code="model.damaged",
                hint="Run `gnomon models fetch` to replace it.",
                file=str(path),
            ) from error
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="gnomon-llm")
        self._closing = threading.Event()

    @property
    def name(self) -> str:
        """The weights' file name without its ending."""
        return self._name

    @property
    def context_tokens(self) -> int:
        """Prompt and answer together."""
        return self._context_tokens

    async def stream(self, request: GenerateRequest) -> AsyncIterator[Chunk]:
        """Generate; closing the iterator stops the engine within one token."""
        body = _body(request)
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[dict[str, Any] | Exception | None] = asyncio.Queue()
        stop = threading.Event()

        def hand_over(item: dict[str, Any] | Exception | None) -> bool:
            try:
                loop.call_soon_threadsafe(arrived.put_nowait, item)
            except RuntimeError:  # the loop is gone, and with it whoever listened
                return True
            return stop.is_set() or self._closing.is_set()

        def generate() -> None:
            end: Exception | None = None
            if not stop.is_set() and not self._closing.is_set():
                try:
                    self._server.handle_chat_completions(body, hand_over)
                except Exception as error:  # the binding raises RuntimeError and plain Exception
                    end = error
            hand_over(end)

        try:
            self._pool.submit(generate)
        except RuntimeError as error:
            raise _closed() from error
        reader = _Reader(request)
        try:
            while isinstance(item := await arrived.get(), dict):
                for chunk in reader.read(item):
                    yield chunk
            if item is not None:
                raise _refused({"message": first_line(item)})
            if self._closing.is_set():
                raise _closed()
            yield reader.end()
        finally:
            stop.set()

    async def count_tokens(self, text: str) -> int:
        """Exact length of `text` in this model's tokens."""
        return len(await self.tokenize(text))

    async def tokenize(self, text: str) -> Sequence[Token]:
        """The tokens of `text`."""
        return await asyncio.to_thread(self._tokenize, text)

    async def aclose(self) -> None:
        """Stop what runs and release the weights. Idempotent."""
        self._closing.set()
        await asyncio.to_thread(self._pool.shutdown)
        self._server = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def _tokenize(self, text: str) -> list[Token]:
        connection = _SocketConnection(self._socket)
        body = msgspec.json.encode({"content": text, "with_pieces": True})
        try:
            connection.request("POST", "/tokenize", body)
            answer = connection.getresponse()
            found = msgspec.json.decode(answer.read())
            return [
                Token(id=token["id"], piece=_bytes(token["piece"])) for token in found["tokens"]
            ]
        except (OSError, http.client.HTTPException, msgspec.DecodeError, KeyError) as error:
            raise ModelError(
                f"The engine could not cut the text into tokens: {first_line(error)}.",
                code="model.engine",
            ) from error
        finally:
            connection.close()


def _bytes(piece: str | list[int]) -> bytes:
    """A piece as the engine tells it: text, or numbers where it is a part of a character."""
    return piece.encode() if isinstance(piece, str) else bytes(piece)


class _SocketConnection(http.client.HTTPConnection):
    """HTTP over a socket in the file system."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class _Reader:
    """Turns what the engine says into chunks, and holds back text that may be a tool call."""

    def __init__(self, request: GenerateRequest) -> None:
        self._calls = tools.CallParser(request)
        self._alternatives = request.logprobs
        self._finish: FinishReason | None = None
        self._input_tokens = 0
        self._output_tokens = 0

    def read(self, item: Mapping[str, Any]) -> list[Chunk]:
        if error := item.get("error"):
            raise _refused(error)
        usage = item.get("usage") or {}
        self._input_tokens = usage.get("prompt_tokens", self._input_tokens)
        self._output_tokens = usage.get("completion_tokens", self._output_tokens)
        chunks = []
        for choice in item.get("choices", ()):
            text = self._calls.take((choice.get("delta") or {}).get("content") or "")
            tokens = chat.logprobs(choice.get("logprobs"), most=self._alternatives)
            if text or tokens:
                chunks.append(Chunk(text=text, logprobs=tokens))
            if reason := choice.get("finish_reason"):
                self._finish = chat.finish_reason(reason)
        return chunks

    def end(self) -> Chunk:
        if self._finish is None:
            raise ModelError("The engine stopped in the middle.", code="model.engine")
        rest, calls = self._calls.end()
        return Chunk(
            text=rest,
            tool_calls=calls,
            finish_reason="tool_calls" if calls else self._finish,
            input_tokens=self._input_tokens,
            output_tokens=self._output_tokens,
        )


def _params(engine: Any, path: Path, address: str, context_tokens: int, n_threads: int) -> Any:
    params = engine.CommonParams()
    params.model.path = str(path)
    params.model_alias = {path.stem}
    params.n_ctx = context_tokens
    params.n_parallel = 1
    params.n_batch = params.n_ubatch = _BATCH_TOKENS
    for cpu in (params.cpuparams, params.cpuparams_batch):
        cpu.n_threads = n_threads
        cpu.poll = 0  # spinning threads starve the event loop on a small machine
    params.cache_ram_mib = 0  # the slot itself keeps the last prompt; gigabytes more do not help
    params.warmup = False
    params.fit_params = False
    params.hostnames = [address]
    params.n_threads_http = 1
    params.ui = params.endpoint_slots = params.endpoint_props = False
    params.verbosity = -1
    return params


def _body(request: GenerateRequest) -> dict[str, Any]:
    """The request as the engine's chat completion."""
    if not request.messages:
        raise ModelTerminal("A request needs a message.", code="model.request")
    body: dict[str, Any] = {
        "messages": [
            {**m, "content": _defused(m["content"])} for m in tools.plain_messages(request)
        ],
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "stop": list(request.stop),
        "stream": True,
        "stream_options": {"include_usage": True},
        # Without progress the engine calls back only after the whole prompt is read.
        "return_progress": True,
        "cache_prompt": True,
    }
    if request.top_p is not None:
        body["top_p"] = request.top_p
    if request.seed is not None:
        body["seed"] = request.seed
    if request.logprobs is not None:
        body["logprobs"] = True
        body["top_logprobs"] = max(1, request.logprobs)  # with 0 the engine tells none at all
    schema = tools.forced_call_schema(request) or request.json_schema
    if schema is not None and request.grammar is not None:
        raise ModelTerminal(
            "A request can hold a grammar or a JSON schema, not both.", code="model.request"
        )
    if schema is not None:
        body["json_schema"] = dict(schema)
    if request.grammar is not None:
        body["grammar"] = request.grammar
    return body


def _defused(text: str) -> str:
    """`text` without control tokens: what a page says must not end a turn or open another."""
    return text.replace("<|", "< |")


def _refused(error: Mapping[str, Any]) -> ModelError:
    text = str(error.get("message", "no reason given")).rstrip(".")
    if error.get("type") == "exceed_context_size_error":
        return ModelTerminal(
            f"The prompt has {error.get('n_prompt_tokens')} tokens, "
            f"but the embedded model reads {error.get('n_ctx')}.",
            code="model.context",
            hint="Ask with fewer or shorter passages.",
        )
    return ModelTerminal(f"The engine refused the request: {text}.", code="model.request")


def _closed() -> ModelError:
    return ModelTerminal("The embedded engine was shut down.", code="model.closed")
