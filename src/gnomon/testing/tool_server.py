"""A remote MCP server over streamable HTTP, with tools that a test makes up and faults by name.

`async with ToolServer() as server: server.tool("tide", lambda place: "2.1 m")`; its address for a
request is `server.endpoint`. Any official client can talk to it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, ClassVar

from gnomon.testing.api_server import ApiReply, ApiRequest, ApiServer, Hangup, as_json

_SESSION = "session-of-the-stand-in"
_PAGE = 2


class ToolServer(ApiServer):
    """The server. Tools are functions from keyword arguments to text."""

    FAULTS: ClassVar[Mapping[str, str]] = {
        "refuse": "the connection breaks off",
        "stall": "nothing is said for ever",
        "huge": "megabytes come, without an end",
        "redirect": "it leads to the address behind the word",
        "nonsense": "what comes is no JSON",
        "deep": "JSON nested deeper than anybody needs",
        "other": "another message is answered",
        "error": "an error of the protocol",
        "break": "the stream breaks off in the middle",
    }

    def __init__(self, *, key: str = "", events: bool = False, sessions: bool = True) -> None:
        """`key` is the bearer token it asks for; `events`: answers come as an event stream."""
        super().__init__()
        self.calls: list[tuple[str, dict[str, Any]]] = []
        """What was called, with which arguments."""
        self._key = key
        self._events = events
        self._sessions = sessions
        self._tools: dict[str, tuple[dict[str, Any], Callable[..., Any]]] = {}

    @property
    def endpoint(self) -> str:
        """Where the protocol is spoken."""
        return f"{self.url}/mcp"

    def tool(
        self,
        name: str,
        run: Callable[..., Any],
        *,
        description: str = "",
        schema: Mapping[str, Any] | None = None,
        read_only: bool = False,
    ) -> None:
        """Offer a tool. What it returns is its text, or a whole result if it is a mapping."""
        described = {
            "name": name,
            "description": description,
            "inputSchema": dict(schema or {"type": "object"}),
            "annotations": {"readOnlyHint": read_only},
        }
        self._tools[name] = (described, run)

    async def answer(self, request: ApiRequest) -> ApiReply:
        """One message of the protocol."""
        if request.path != "/mcp":
            return as_json({"error": "There is nothing here."}, 404)
        if self._key and request.headers.get("authorization") != f"Bearer {self._key}":
            return as_json({"error": "A key is needed."}, 401)
        if request.method != "POST":
            return as_json({}, 200 if request.method == "DELETE" else 405)
        message = request.json()
        if not isinstance(message, dict) or "method" not in message:
            return as_json({"error": "No message."}, 400)
        method = message["method"]
        fault = self.fault(f"/{method}", *self.FAULTS, "status")
        if fault:
            return self._wrong(fault, message)
        if "id" not in message:
            return ApiReply(status=202)
        if method != "initialize" and self._sessions and not self._knows(request):
            return as_json({"error": "No such session."}, 404)
        return self._reply(message, self._result(method, message.get("params") or {}))

    def _knows(self, request: ApiRequest) -> bool:
        return request.headers.get("mcp-session-id") == _SESSION

    def _result(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        if method == "initialize":
            return {
                "protocolVersion": params.get("protocolVersion", "2025-06-18"),
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "stand-in", "version": "1"},
            }
        if method == "tools/list":
            described = [one for one, _ in self._tools.values()]
            first = int(params.get("cursor") or 0)
            page: dict[str, Any] = {"tools": described[first : first + _PAGE]}
            if first + _PAGE < len(described):
                page["nextCursor"] = str(first + _PAGE)
            return page
        if method == "tools/call":
            name, arguments = params["name"], params.get("arguments") or {}
            self.calls.append((name, arguments))
            try:
                result = self._tools[name][1](**arguments)
            except Exception as error:
                return {"content": [{"type": "text", "text": str(error)}], "isError": True}
            if isinstance(result, Mapping):
                return dict(result)
            return {"content": [{"type": "text", "text": str(result)}]}
        return {}

    def _reply(self, message: Mapping[str, Any], result: Mapping[str, Any]) -> ApiReply:
        said = {"jsonrpc": "2.0", "id": message["id"], "result": result}
        headers = {}
        if message["method"] == "initialize" and self._sessions:
            headers["mcp-session-id"] = _SESSION
        if not self._events:
            return as_json(said, headers=headers)
        note = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info"}}
        text = "".join(f"event: message\ndata: {json.dumps(one)}\n\n" for one in (note, said))
        return ApiReply(
            body=f": hello\n\n{text}".encode(),
            headers={"content-type": "text/event-stream", **headers},
        )

    def _wrong(self, fault: str, message: Mapping[str, Any]) -> ApiReply:
        name, _, rest = fault.partition(" ")
        if name == "redirect":
            return ApiReply(status=307, headers={"location": rest})
        if name == "nonsense":
            return ApiReply(body=b"<html>", headers={"content-type": "application/json"})
        if name == "deep":
            body = b"[" * 50_000 + b"]" * 50_000
            return ApiReply(body=body, headers={"content-type": "application/json"})
        if name == "other":
            return as_json({"jsonrpc": "2.0", "id": 777, "result": {}})
        if name == "error":
            error = {"code": -32_001, "message": "Not today.\u202e\x07"}
            return as_json({"jsonrpc": "2.0", "id": message.get("id"), "error": error})
        if name in ("stall", "huge", "break"):
            return ApiReply(headers={"content-type": "text/event-stream"}, stream=_streams(name))
        return as_json({"error": "As the test wants it."}, int(name))


def _streams(name: str) -> Callable[[], AsyncGenerator[bytes, None]]:
    async def stream() -> AsyncGenerator[bytes, None]:
        yield b": hello\n\n"
        if name == "break":
            raise Hangup
        while True:
            if name == "stall":
                await asyncio.Event().wait()
            yield b"data: " + b"x" * 65_000 + b"\n"

    return stream
