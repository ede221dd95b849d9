"""Remote MCP servers as tools: their lists, their calls and a person's approval, as items."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

import msgspec

from gnomon.clock import Ids
from gnomon.metrics import MCP_CALLS
from gnomon.models.base import Tool, ToolCall
from gnomon.net.base import Fetcher
from gnomon.serve.tools.remote import RemoteError, RemoteServer, RemoteTool, Result
from gnomon.serve.tools.results import Outcome
from gnomon.serve.tools.wishes import Answered, Door, ServerWish

Events = AsyncGenerator[tuple[str, dict[str, Any]]]
_ODD = re.compile(r"[^A-Za-z0-9_-]+")
_MAX_NAME_CHARS = 64
_MAX_ARGUMENTS_CHARS = 100_000


class Server:
    """One server for one answer. `close` it when the answer is made."""

    def __init__(
        self,
        wish: ServerWish,
        fetcher: Fetcher,
        ids: Ids,
        output: list[dict[str, Any]],
        *,
        door: Door,
        timeout_s: float,
    ) -> None:
        """Finished items are appended to `output`."""
        self.wish = wish
        self.tools: dict[str, RemoteTool] = {}
        """Those that may be used, by the server's names."""
        self.notes: list[str] = []
        self.outcome: Outcome | None = None
        """Of the latest call."""
        self._ids = ids
        self._output = output
        self._door = door
        self._remote = RemoteServer(fetcher, wish.url, wish.headers, timeout_s=timeout_s)

    @property
    def origin(self) -> str:
        """Whose words its results hold."""
        return f"mcp:{self.wish.label}"

    async def list(self) -> Events:
        """Ask for the tools, and the events that show it."""
        index = len(self._output)
        item: dict[str, Any] = {
            "id": self._ids.new("mcpl"),
            "type": "mcp_list_tools",
            "server_label": self.wish.label,
            "tools": [],
        }
        place = {"item_id": item["id"], "output_index": index}
        shown = self._door != "xai"  # whose clients do not know such an item
        if shown:
            yield "response.output_item.added", {"output_index": index, "item": dict(item)}
            yield "response.mcp_list_tools.in_progress", place
        ending = "completed"
        try:
            await self._remote.open()
            found, left_out = await self._remote.tools()
            allowed = self.wish.allowed
            self.tools = {t.name: t for t in found if allowed.matches(t.name, t.read_only)}
            item["tools"] = [_described(tool) for tool in self.tools.values()]
            if left_out:
                self.notes.append(
                    f"{left_out} tools of the MCP server {self.wish.label} were left out: their "
                    "names or schemas are not usable, or they are too many."
                )
        except RemoteError as error:
            ending = "failed"
            item["error"] = error.message
            self.notes.append(f"The MCP server {self.wish.label} could not be used: {error}")
        if shown:
            yield f"response.mcp_list_tools.{ending}", place
            self._output.append(item)
            yield "response.output_item.done", {"output_index": index, "item": item}

    def needs_approval(self, name: str) -> bool:
        """Whether a person has to be asked before this tool is called."""
        return self.wish.needs_approval(name, self.tools[name].read_only)

    async def ask_for(self, name: str, arguments: str) -> Events:
        """Ask for a person's approval of a call."""
        index = len(self._output)
        item = {
            "id": self._ids.new("mcpr"),
            "type": "mcp_approval_request",
            "server_label": self.wish.label,
            "name": name,
            "arguments": arguments,
        }
        yield "response.output_item.added", {"output_index": index, "item": item}
        self._output.append(item)
        yield "response.output_item.done", {"output_index": index, "item": item}

    async def call(
        self, call_id: str, name: str, arguments: str, approved: Answered | None = None
    ) -> Events:
        """Call a tool, and the events that show it."""
        index = len(self._output)
        item: dict[str, Any] = {
            "id": self._ids.new("mcp"),
            "type": "mcp_call",
            "status": "in_progress",
            "server_label": self.wish.label,
            "name": name,
            "arguments": "",
        }
        if approved is not None:
            item["approval_request_id"] = approved.request_id
        place = {"item_id": item["id"], "output_index": index}
        yield "response.output_item.added", {"output_index": index, "item": dict(item)}
        yield "response.mcp_call.in_progress", place
        yield "response.mcp_call_arguments.delta", {**place, "delta": arguments}
        yield "response.mcp_call_arguments.done", {**place, "arguments": arguments}
        item["arguments"] = arguments
        text, error = await self._called(name, arguments)
        evidence = "" if error else text
        if error is None:
            item |= {"status": "completed", "output": text}
        else:
            item |= {"status": "failed", "error": error}
            text = text or str(error.get("message", ""))
            if self._door == "xai":
                item["error"] = text
        outcome = "completed" if error is None else "failed"
        MCP_CALLS.labels(outcome=str(error["type"]) if error else "completed").inc()
        self.outcome = Outcome(
            call_id=call_id,
            source=f"mcp {self.wish.label}",
            title=f"{name}({arguments})",
            text=text or "(nothing came back)",
            evidence=evidence,
            origin=self.origin,
        )
        yield f"response.mcp_call.{outcome}", place
        self._output.append(item)
        yield "response.output_item.done", {"output_index": index, "item": item}

    async def close(self) -> None:
        """Say goodbye."""
        await self._remote.close()

    async def _called(self, name: str, arguments: str) -> tuple[str, dict[str, Any] | None]:
        """What came back, and the error in OpenAI's form if there was one."""
        if name not in self.tools:
            return "", _protocol(-32_602, f"{self.wish.label} has no tool {name} to be used here.")
        given = _object(arguments)
        if given is None:
            return "", _protocol(-32_602, "The arguments are no JSON object, or too long.")
        try:
            result: Result = await self._remote.call(name, given)
        except RemoteError as error:
            return "", {"type": error.kind, "code": error.number, "message": error.message}
        if result.failed:
            return result.text, {"type": "mcp_tool_execution_error", "content": result.text}
        return result.text, None


class Offered:
    """The names under which a model may call the tools of all servers."""

    def __init__(self, servers: list[Server], taken: set[str]) -> None:
        self._by_name: dict[str, tuple[Server, str]] = {}
        for server in servers:
            for tool in server.tools.values():
                name = spoken(server.wish.label, tool.name)
                for n in range(2, 1_000):
                    if name not in taken and name not in self._by_name:
                        break
                    name = f"{name[: _MAX_NAME_CHARS - 4]}_{n}"
                self._by_name[name] = (server, tool.name)

    def tools(self, wanted: Callable[[Server, str], bool]) -> tuple[Tool, ...]:
        """Those for which `wanted` says yes of (server, its own name)."""
        return tuple(
            Tool(
                name=name,
                description=f"(as {server.wish.label} describes it) "
                f"{server.tools[own].description}",
                parameters=server.tools[own].schema,
            )
            for name, (server, own) in self._by_name.items()
            if wanted(server, own)
        )

    def find(self, call: ToolCall) -> tuple[Server, str] | None:
        """The server and its name for the tool that is called."""
        return self._by_name.get(call.name)


def spoken(label: str, name: str) -> str:
    """A tool's name as models may say it."""
    return _ODD.sub("_", f"{label}__{name}")[:_MAX_NAME_CHARS]


def _object(arguments: str) -> Mapping[str, Any] | None:
    if len(arguments) > _MAX_ARGUMENTS_CHARS:
        return None
    try:
        given = msgspec.json.decode(arguments or "{}")
    except (msgspec.DecodeError, RecursionError):
        return None
    return given if isinstance(given, dict) else None


def _protocol(code: int, message: str) -> dict[str, Any]:
    return {"type": "mcp_protocol_error", "code": code, "message": message}


def _described(tool: RemoteTool) -> dict[str, Any]:
    return {
        "name": tool.name,
        "description": tool.description,
        "input_schema": json.loads(msgspec.json.encode(tool.schema)),
        "annotations": {"read_only": tool.read_only},
    }
