"""A real HTTP server on loopback that speaks the OpenAI chat protocol and misbehaves by name.

A scripted language model stands behind it; what the client asks reaches the script as a
`GenerateRequest`. It is a stand-in, not a gateway: no TLS, no models but one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from http import HTTPStatus
from typing import Any

import msgspec

from gnomon.errors import ModelError
from gnomon.models.base import Chunk, GenerateRequest, Message, Tool, ToolCall
from gnomon.models.scripted import Script, ScriptedGenerator

FAULTS: Mapping[str, str] = {
    "401": "answers with that status and an error that repeats the key; so any other number",
    "429": "answers 429 with Retry-After: 7",
    "drop": "closes the connection without an answer",
    "stall": "takes the request and never answers",
    "half": "streams two pieces and closes the connection in the middle of an event",
    "garbage": "streams a piece and then an event that is no JSON",
    "shape": "streams an event whose fields have the wrong types",
    "error_event": "streams a piece and then an error object",
    "error_200": "answers 200 with a plain JSON error instead of a stream",
    "no_usage": "streams no usage",
    "no_done": "ends without [DONE]",
    "crlf": "ends lines with CR LF, sends comments, and cuts packets anywhere",
    "plain": "ignores `stream` and answers with one JSON object",
    "no_max_tokens": "refuses `max_tokens` in favour of `max_completion_tokens`",
    "no_temperature": "refuses `temperature`",
}
_MAX_BODY_BYTES = 4_000_000


class OpenAIServer:
    """Serves `/v1/chat/completions` and `/v1/models`; `async with OpenAIServer(script) as it`.

    `faults` are used one per request, in order; after them all is well.
    """

    def __init__(
        self, script: Iterable[Script], *, model: str = "scripted", api_key: str = ""
    ) -> None:
        self.generator = ScriptedGenerator(script, name=model)
        self.bodies: list[dict[str, Any]] = []
        """The JSON bodies that clients sent."""
        self.faults: deque[str] = deque()
        self._model = model
        self._api_key = api_key
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.Task[None]] = set()
        self._port = 0

    @property
    def url(self) -> str:
        """The base URL, as `models.url` takes it."""
        return f"http://127.0.0.1:{self._port}/v1"

    async def __aenter__(self) -> OpenAIServer:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._server is not None:
            self._server.close()
            for talk in self._talks:
                talk.cancel()
            await asyncio.gather(*self._talks, return_exceptions=True)
            await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = asyncio.current_task()
        assert talk is not None  # noqa: S101 - a connection callback runs in a task
        self._talks.add(talk)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._talk(reader, writer)
        finally:
            self._talks.discard(talk)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
        length = min(int(headers.get("content-length", "0")), _MAX_BODY_BYTES)
        content = await reader.readexactly(length)
        if self._api_key and headers.get("authorization") != f"bearer {self._api_key}".lower():
            return await _answer(writer, 401, _error(f"Incorrect API key: {headers}"))
        if (method, path) == ("GET", "/v1/models"):
            listed = {"id": self._model, "object": "model", "created": 0, "owned_by": "gnomon"}
            return await _answer(writer, 200, {"object": "list", "data": [listed]})
        if (method, path) != ("POST", "/v1/chat/completions"):
            return await _answer(writer, 404, _error(f"There is nothing at {path}."))
        await self._complete(reader, writer, msgspec.json.decode(content))
        return None

    async def _complete(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: dict[str, Any]
    ) -> None:
        self.bodies.append(body)
        fault = self.faults.popleft() if self.faults else ""
        if fault == "drop":
            return None
        if fault == "stall":
            await reader.read()
            return None
        if fault.isdigit():
            extra = {"retry-after": "7"} if fault == "429" else {}
            error = _error(f"No: {fault} for key {self._api_key}.")
            return await _answer(writer, int(fault), error, extra)
        if fault == "error_200":
            return await _answer(writer, 200, _error("The engine is out of memory."))
        if body["model"] != self._model:
            return await _answer(writer, 404, _error("No such model.", code="model_not_found"))
        for name in ("max_tokens", "temperature"):
            if fault == f"no_{name}" and name in body:
                self.faults.appendleft(fault)
                refusal = _error(f"Unsupported parameter: '{name}'.", param=name)
                return await _answer(writer, 400, refusal)
        try:
            request = _request(body)
            stream = self.generator.stream(request)
            if not body.get("stream") or fault == "plain":
                return await _answer(writer, 200, await self._whole(stream))
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
            )
            await self._stream(reader, writer, stream, body, fault)
        except ModelError as error:
            return await _answer(writer, 500, _error(error.message))

    async def _whole(self, stream: AsyncIterator[Chunk]) -> dict[str, Any]:
        chunks = [chunk async for chunk in stream]
        message: dict[str, Any] = {
            "role": "assistant",
            "content": "".join(c.text for c in chunks) or None,
        }
        if calls := [call for c in chunks for call in c.tool_calls]:
            message["tool_calls"] = _calls(calls)
        choice = {"index": 0, "message": message, "finish_reason": chunks[-1].finish_reason}
        whole = {"object": "chat.completion", "choices": [choice], "usage": _usage(chunks[-1])}
        return self._frame() | whole

    async def _stream(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        stream: AsyncIterator[Chunk],
        body: dict[str, Any],
        fault: str,
    ) -> None:
        out = _Events(writer, ragged=fault == "crlf")
        hung_up = asyncio.create_task(reader.read(1))
        usage = bool((body.get("stream_options") or {}).get("include_usage"))
        sent = 0
        try:
            await out.send(self._frame() | _delta({"role": "assistant", "content": ""}))
            async for chunk in stream:
                if hung_up.done():
                    raise ConnectionResetError
                await self._send_chunk(out, chunk)
                sent += 1
                if sent == 2 and fault in ("half", "garbage", "shape", "error_event"):
                    return await _break(out, fault)
                if chunk.finish_reason and usage and fault != "no_usage":
                    tail = {"choices": [], "usage": _usage(chunk)}
                    await out.send(self._frame() | tail)
            if fault != "no_done":
                await out.raw(b"data: [DONE]\n\n")
        finally:
            hung_up.cancel()
            await stream.aclose()  # type: ignore[attr-defined] # an async generator

    async def _send_chunk(self, out: _Events, chunk: Chunk) -> None:
        if chunk.text:
            delta = _delta({"content": chunk.text})
            if chunk.logprobs:
                delta["choices"][0]["logprobs"] = {
                    "content": [
                        {
                            "token": t.token,
                            "logprob": t.logprob,
                            "bytes": list(t.token.encode()),
                            "top_logprobs": [
                                {"token": o, "logprob": p, "bytes": list(o.encode())}
                                for o, p in t.top
                            ],
                        }
                        for t in chunk.logprobs
                    ]
                }
            await out.send(self._frame() | delta)
        for i, call in enumerate(_calls(chunk.tool_calls)):
            # Arguments come in two parts, as real endpoints cut them.
            arguments = call["function"]["arguments"]
            first = {**call, "index": i, "function": {**call["function"], "arguments": ""}}
            await out.send(self._frame() | _delta({"tool_calls": [first]}))
            for part in (arguments[:4], arguments[4:]):
                rest = {"index": i, "function": {"arguments": part}}
                await out.send(self._frame() | _delta({"tool_calls": [rest]}))
        if chunk.finish_reason:
            await out.send(self._frame() | _delta({}, chunk.finish_reason))

    def _frame(self) -> dict[str, Any]:
        return {
            "id": "chatcmpl-0",
            "object": "chat.completion.chunk",
            "created": 0,
            "model": self._model,
        }


class _Events:
    """Writes events, tidily or as raggedly as the standard permits."""

    def __init__(self, writer: asyncio.StreamWriter, *, ragged: bool) -> None:
        self._writer = writer
        self._ragged = ragged

    async def send(self, item: Mapping[str, Any]) -> None:
        await self.raw(b"data: " + msgspec.json.encode(item) + b"\n\n")

    async def raw(self, block: bytes) -> None:
        if not self._ragged:
            self._writer.write(block)
            await self._writer.drain()
            return
        block = b": comment\r\nevent: x\r\n" + block.replace(b"\n", b"\r\n")
        for i in range(0, len(block), 7):
            self._writer.write(block[i : i + 7])
            await self._writer.drain()
            await asyncio.sleep(0)


async def _break(out: _Events, fault: str) -> None:
    broken = {
        "half": b'data: {"choices": [{"del',
        "garbage": b"data: {nonsense\n\n",
        "shape": b'data: {"choices": [{"delta": {"content": {"a": 1}}}]}\n\n',
        "error_event": b'data: {"error": {"message": "The engine died.", "code": 500}}\n\n',
    }
    await out.raw(broken[fault])


async def _answer(
    writer: asyncio.StreamWriter,
    status: int,
    body: Mapping[str, Any],
    headers: Mapping[str, str] | None = None,
) -> None:
    content = msgspec.json.encode(body)
    fields = {
        "content-type": "application/json",
        "content-length": str(len(content)),
        "connection": "close",
        **(headers or {}),
    }
    head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    writer.write(f"{head}{lines}\r\n".encode() + content)
    await writer.drain()


def _error(message: str, *, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    return {
        "error": {
            "message": message,
            "type": "invalid_request_error",
            "code": code,
            "param": param,
        }
    }


def _delta(delta: Mapping[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}


def _usage(chunk: Chunk) -> dict[str, int]:
    return {
        "prompt_tokens": chunk.input_tokens,
        "completion_tokens": chunk.output_tokens,
        "total_tokens": chunk.input_tokens + chunk.output_tokens,
    }


def _calls(calls: Iterable[ToolCall]) -> list[dict[str, Any]]:
    return [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for call in calls
    ]


def _request(body: Mapping[str, Any]) -> GenerateRequest:
    schema = (body.get("response_format") or {}).get("json_schema", {}).get("schema")
    choice = body.get("tool_choice", "auto")
    stop = body.get("stop") or ()
    return GenerateRequest(
        messages=tuple(_message(m) for m in body["messages"]),
        max_tokens=body.get("max_tokens") or body.get("max_completion_tokens") or 512,
        temperature=body.get("temperature", 1.0),
        top_p=body.get("top_p"),
        seed=body.get("seed"),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        tools=tuple(
            Tool(
                name=t["function"]["name"],
                description=t["function"].get("description", ""),
                parameters=t["function"].get("parameters", {}),
            )
            for t in body.get("tools") or ()
        ),
        tool_choice=choice if isinstance(choice, str) else choice["function"]["name"],
        json_schema=schema,
        logprobs=body.get("top_logprobs", 0) if body.get("logprobs") else None,
    )


def _message(message: Mapping[str, Any]) -> Message:
    return Message(
        role=message["role"],
        content=message.get("content") or "",
        tool_calls=tuple(
            ToolCall(id=c["id"], name=c["function"]["name"], arguments=c["function"]["arguments"])
            for c in message.get("tool_calls") or ()
        ),
        tool_call_id=message.get("tool_call_id", ""),
    )
