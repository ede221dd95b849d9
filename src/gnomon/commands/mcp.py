"""`gnomon mcp`: Gnomon as an MCP server for programs that start it themselves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from typing import Any

from gnomon import __version__
from gnomon.client import running
from gnomon.commands.common import client, load


def mcp() -> None:
    """Serve the MCP tools over standard input and output, for Claude Desktop, Cursor and others.

    Each call goes to the running server of the home. If none runs, the home is opened for the call
    alone, so that `gnomon up` can start at any time.
    """
    from gnomon.serve.mcp.stdio import serve_stdio

    home = load().settings.home
    alone = threading.Lock()

    def call(method: str, path: str, body: Any, query: Mapping[str, Any]) -> Any:
        if running(home):
            with client() as server:
                return server.call(method, path, body, **query)
        with alone, client() as server:
            return server.call(method, path, body, **query)

    asyncio.run(serve_stdio(call, __version__))
