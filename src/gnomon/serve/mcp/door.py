"""`/mcp`: the MCP server over streamable HTTP, behind the guard that every route is behind.

No sessions are kept: each request carries its key and stands alone. What a tool calls is the same
application from within, in the name of whoever made the MCP request.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import unquote, urlencode

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gnomon.serve.access import needed_scope
from gnomon.serve.errors import ApiError, response_for, told
from gnomon.serve.services import Services


class McpDoor:
    """An ASGI application. All methods belong to the event loop."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app = app
        self._services = services
        self._ready: asyncio.Future[Any] | None = None
        self._task: asyncio.Task[None] | None = None
        self._end = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request of the protocol."""
        if scope["method"] != "POST":
            # Without sessions there is nothing to listen for, and nothing to end.
            refused = ApiError(
                405,
                f"{scope['method']} is not possible at /mcp: it keeps no sessions.",
                code="http.method",
                headers={"allow": "POST"},
            )
            where, id = scope["path"], scope.get("request_id", "")
            await response_for(refused, where, id)(scope, receive, send)
            return
        manager = await self._started()
        await manager.handle_request(scope, receive, send)

    async def aclose(self) -> None:
        """End what runs. Idempotent."""
        self._end.set()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _started(self) -> Any:
        """The SDK's manager. It takes a second to load, so the first request starts it."""
        if self._ready is None:
            self._ready = asyncio.get_running_loop().create_future()
            self._task = asyncio.create_task(self._run(self._ready), name="mcp")
        return await asyncio.shield(self._ready)

    async def _run(self, ready: asyncio.Future[Any]) -> None:
        try:
            made = await asyncio.to_thread(self._made)
            async with made.run():
                ready.set_result(made)
                await self._end.wait()
        except BaseException as error:
            if not ready.done():
                ready.set_exception(error)
            raise

    def _made(self) -> Any:
        manager = importlib.import_module("mcp.server.streamable_http_manager")
        from gnomon.serve.mcp.server import mcp_server

        server = mcp_server(
            lambda context: Inside(self._app, self._services, context.request.scope),
            self._services.version,
        )
        # Host, Origin and key are the guard's: the SDK's own checks stay off.
        limit = self._services.settings.server.max_request_bytes
        return manager.StreamableHTTPSessionManager(
            server, stateless=True, max_request_body_size=limit
        )


class Inside:
    """Calls of the application from within, by whoever made the request of `scope`."""

    def __init__(self, app: ASGIApp, services: Services, scope: Scope) -> None:
        self._app = app
        self._services = services
        self._scope = scope

    async def __call__(
        self, method: str, path: str, body: Any = None, query: Mapping[str, Any] | None = None
    ) -> Any:
        """The decoded answer. Raises GnomonError with what may be told of a failure."""
        identity = self._scope["identity"]
        scope = needed_scope(method, unquote(path))
        if scope not in identity.scopes:
            raise ApiError(
                403,
                f"{identity.name} may not do this: it needs the scope {scope!r}.",
                code="access.scope",
            )
        given = {name: value for name, value in (query or {}).items() if value not in (None, "")}
        kept = [(name, v) for name, v in self._scope["headers"] if name == b"host"]
        inner: Scope = {
            "type": "http",
            "asgi": self._scope["asgi"],
            "http_version": "1.1",
            "method": method,
            "scheme": self._scope["scheme"],
            "path": unquote(path),
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": urlencode(given, doseq=True).encode(),
            "headers": [*kept, (b"content-type", b"application/json")],
            "client": self._scope.get("client"),
            "server": self._scope.get("server"),
            "state": {},
            # What only the guard can put here; it lets such a call pass.
            "identity": identity,
            "access": self._scope["access"],
            "request_id": self._scope.get("request_id", ""),
        }
        answer = _Answer(b"" if body is None else orjson.dumps(body))
        try:
            await self._app(inner, answer.receive, answer.send)
        except Exception as error:
            raise told(error, self._services, "mcp") from None
        return answer.decoded()


class _Answer:
    """Both ends of a call from within."""

    def __init__(self, body: bytes) -> None:
        self._request: bytes | None = body
        self._status = 500
        self._body = bytearray()

    async def receive(self) -> Message:
        """The request, and then nothing: who called from within leaves by being cancelled."""
        if self._request is None:
            await asyncio.Event().wait()
        body, self._request = self._request, None
        return {"type": "http.request", "body": body or b"", "more_body": False}

    async def send(self, message: Message) -> None:
        """Take a part of the answer."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
        else:
            self._body += message.get("body", b"")

    def decoded(self) -> Any:
        """The answer's JSON. Raises ApiError for one that is a problem."""
        value: Any = None
        with suppress(orjson.JSONDecodeError):
            value = orjson.loads(bytes(self._body))
        if self._status < 400:
            return value
        problem = value if isinstance(value, dict) else {}
        raise ApiError(
            self._status,
            str(problem.get("detail") or f"The call failed with status {self._status}."),
            code=str(problem.get("code") or "internal"),
            hint=str(problem.get("hint") or ""),
        )
