"""One remote MCP server over streamable HTTP, through the guarded door.

Each message is one exchange: where it goes, where it may be redirected to, how long it may take and
how much it may bring is the door's and this module's to decide. Nothing is listened for beside it,
and nothing that a server asks of us is done. What it says is data: capped, without characters that
cannot be seen, and never looked at for meaning.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import msgspec

from gnomon import __version__
from gnomon.errors import GnomonError, UpstreamError
from gnomon.net.base import Fetcher, Response
from gnomon.net.streams import EventParser, LineSplitter
from gnomon.serve.errors import shown
from gnomon.serve.wire import read_json

PROTOCOL = "2025-11-25"
MAX_TOOLS = 128
MAX_OUTPUT_CHARS = 64_000
_KNOWN = ("2024-11-05", "2025-03-26", "2025-06-18", PROTOCOL)
_MAX_BODY_BYTES = 2_000_000
_MAX_PAGES = 16
_MAX_DESCRIPTION_CHARS = 1_000
_MAX_SCHEMA_BYTES = 20_000
_MAX_NAME_CHARS = 128
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./")
_ACCEPT = ("application/json", "text/event-stream")
_NO_ANSWER = -32_000


class RemoteError(UpstreamError):
    """A server failed, or what it said cannot be understood. `kind` is OpenAI's word for it."""

    default_code = "mcp"

    def __init__(self, message: str, *, kind: str, number: int = 0) -> None:
        super().__init__(message, code=f"mcp.{kind}")
        self.kind = kind
        self.number = number


class RemoteTool(msgspec.Struct, frozen=True, kw_only=True):
    """A tool as its server describes it."""

    name: str
    description: str = ""
    schema: Mapping[str, Any] = {}
    read_only: bool = False
    """What the server claims."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What a call brought."""

    text: str
    failed: bool = False


class RemoteServer:
    """A conversation with one server. Raises RemoteError from every method but `close`."""

    def __init__(
        self, fetcher: Fetcher, url: str, headers: Mapping[str, str], *, timeout_s: float
    ) -> None:
        """Nothing is sent before `open`."""
        self._fetcher = fetcher
        self._url = url
        self._given = dict(headers)
        self._timeout_s = timeout_s
        self._session = ""
        self._version = ""
        self._last_id = 0

    async def open(self) -> None:
        """Greet it."""
        said = await self._ask(
            "initialize",
            {
                "protocolVersion": PROTOCOL,
                "capabilities": {},
                "clientInfo": {"name": "gnomon", "version": __version__},
            },
        )
        version = said.get("protocolVersion")
        if version not in _KNOWN:
            raise _nonsense(f"it speaks version {shown(version)} of the protocol")
        self._version = version
        await self._post({"jsonrpc": "2.0", "method": "notifications/initialized"})

    async def tools(self) -> tuple[list[RemoteTool], int]:
        """Its tools, and how many of them cannot be used."""
        found: dict[str, RemoteTool] = {}
        left_out = 0
        cursor: str | None = None
        for _ in range(_MAX_PAGES):
            page = await self._ask("tools/list", {} if cursor is None else {"cursor": cursor})
            listed = page.get("tools")
            if not isinstance(listed, list):
                raise _nonsense("its list of tools is none")
            for one in listed:
                tool = _tool(one)
                if tool is None or tool.name in found or len(found) >= MAX_TOOLS:
                    left_out += 1
                else:
                    found[tool.name] = tool
            cursor = page.get("nextCursor")
            if not isinstance(cursor, str) or not cursor:
                break
        return list(found.values()), left_out

    async def call(self, name: str, arguments: Mapping[str, Any]) -> Result:
        """Call a tool."""
        said = await self._ask("tools/call", {"name": name, "arguments": arguments})
        content = said.get("content")
        parts = list(_texts(content)) if isinstance(content, list) else []
        if not parts and "structuredContent" in said:
            parts = [msgspec.json.encode(said["structuredContent"]).decode()]
        text = clean("\n".join(parts))
        if len(text) > MAX_OUTPUT_CHARS:
            cut = len(text) - MAX_OUTPUT_CHARS
            text = f"{text[:MAX_OUTPUT_CHARS]}\n[… {cut:,} characters were cut off]"
        return Result(text=text, failed=said.get("isError") is True)

    async def close(self) -> None:
        """Say goodbye; whether it hears that does not matter."""
        if not self._session:
            return
        with suppress(GnomonError):
            await self._fetcher.fetch(
                self._url,
                purpose="user",
                method="DELETE",
                headers=self._headers(),
                timeout_s=min(self._timeout_s, 2.0),
                max_body_bytes=10_000,
            )

    # -- messages --------------------------------------------------------------
    async def _ask(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        self._last_id += 1
        message = {"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params}
        response = await self._post(message)
        for said in _messages(response):
            if said.get("id") != self._last_id or "method" in said:
                continue
            if isinstance(said.get("result"), dict):
                result: dict[str, Any] = said["result"]
                return result
            if isinstance(error := said.get("error"), dict):
                number = error.get("code")
                raise RemoteError(
                    shown(clean(str(error.get("message") or "It gives no reason."))),
                    kind="mcp_protocol_error",
                    number=number if isinstance(number, int) else _NO_ANSWER,
                )
        raise _nonsense("it did not answer what was asked")

    async def _post(self, message: Mapping[str, Any]) -> Response:
        try:
            response = await self._fetcher.fetch(
                self._url,
                purpose="user",
                method="POST",
                headers=self._headers() | {"content-type": "application/json"},
                content=msgspec.json.encode(message),
                accept=_ACCEPT,
                max_body_bytes=_MAX_BODY_BYTES,
                timeout_s=self._timeout_s,
            )
        except GnomonError as error:
            status = error.fields.get("status")
            raise RemoteError(
                error.message, kind="http_error", number=status if isinstance(status, int) else 0
            ) from error
        if response.status >= 300:
            raise RemoteError(
                f"The server answers with status {response.status}.",
                kind="http_error",
                number=response.status,
            )
        session = response.headers.get("mcp-session-id", "")
        if session and session.isascii() and session.isprintable() and len(session) <= 1_000:
            self._session = session
        return response

    def _headers(self) -> dict[str, str]:
        ours = {}
        if self._session:
            ours["mcp-session-id"] = self._session
        if self._version:
            ours["mcp-protocol-version"] = self._version
        return self._given | ours


def _messages(response: Response) -> Iterator[dict[str, Any]]:
    """The messages of an answer, whole or as events."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    bodies: list[str | bytes] = [response.body]
    if kind == "text/event-stream":
        splitter, parser = LineSplitter(_MAX_BODY_BYTES), EventParser("", _MAX_BODY_BYTES)
        lines = [*splitter.feed(response.body), splitter.rest, b""]
        heard = [event for line in lines if (event := parser.feed(line)) is not None]
        bodies = [event.data for event in heard if event.event == "message"]
    for body in bodies:
        try:
            said = read_json(body)
        except ValueError:
            raise _nonsense("what it sent is no JSON") from None
        for one in said if isinstance(said, list) else [said]:
            if isinstance(one, dict):
                yield one


def _nonsense(what: str) -> RemoteError:
    return RemoteError(
        f"The server cannot be understood: {what}.", kind="mcp_protocol_error", number=_NO_ANSWER
    )


def _tool(described: Any) -> RemoteTool | None:
    """A tool that can be offered; None for one with an odd name or an endless schema."""
    if not isinstance(described, dict):
        return None
    name, schema = described.get("name"), described.get("inputSchema")
    if not isinstance(name, str) or not 0 < len(name) <= _MAX_NAME_CHARS or set(name) - _NAME:
        return None
    if not isinstance(schema, dict) or len(msgspec.json.encode(schema)) > _MAX_SCHEMA_BYTES:
        return None
    about = described.get("description")
    hints = described.get("annotations")
    return RemoteTool(
        name=name,
        description=clean(about)[:_MAX_DESCRIPTION_CHARS] if isinstance(about, str) else "",
        schema=schema,
        read_only=isinstance(hints, dict) and hints.get("readOnlyHint") is True,
    )


def _texts(content: list[Any]) -> Iterator[str]:
    for part in content:
        if not isinstance(part, dict):
            continue
        resource = part.get("resource")
        if isinstance(part.get("text"), str):
            yield part["text"]
        elif isinstance(resource, dict) and isinstance(resource.get("text"), str):
            yield resource["text"]
        elif part.get("type") == "resource_link":
            yield f"[{part.get('name') or 'resource'}: {part.get('uri')}]"
        else:
            yield f"[{shown(part.get('type'))}, which cannot be shown]"


def clean(text: str) -> str:
    """The text without characters that cannot be seen: controls, direction marks, joiners."""
    return "".join(
        c for c in text if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf", "Co", "Cs")
    )
