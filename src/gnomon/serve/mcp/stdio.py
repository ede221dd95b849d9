"""`gnomon mcp`: the MCP server over standard input and output, for programs on the same machine."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol

from mcp.server.stdio import stdio_server

from gnomon.serve.mcp.server import mcp_server


class BlockingCall(Protocol):
    """A call of the public API that blocks its thread."""

    def __call__(self, method: str, path: str, body: Any, query: Mapping[str, Any]) -> Any:
        """The decoded answer."""
        ...


async def serve_stdio(call: BlockingCall, version: str) -> None:
    """Serve until standard input ends."""

    async def called(
        method: str, path: str, body: Any = None, query: Mapping[str, Any] | None = None
    ) -> Any:
        return await asyncio.to_thread(call, method, path, body, query or {})

    server = mcp_server(lambda _: called, version)
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())
