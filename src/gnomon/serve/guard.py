"""The gate before every route: who may speak to this server, from where, and how much.

In order: request id, Host (against DNS rebinding), Origin (against other sites' pages), key,
size and pace of the body. A refusal has the shape that the path's clients read. Responses get
the security headers. What fails inside without being raised on purpose becomes a bare 500.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
from urllib.parse import urlsplit

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gnomon.clock import Ids
from gnomon.errors import ConfigError
from gnomon.log import get_logger
from gnomon.metrics import REQUESTS
from gnomon.serve.access import Access
from gnomon.serve.errors import ApiError, response_for, shown
from gnomon.settings import Settings

MAX_OPEN_REQUESTS = 900
"""Requests served at a time, streams included. Below the number of connections that are taken at
all, so that whoever comes too many is told when to come again."""
BODY_DEADLINE_S = 30.0
"""A body that has not arrived by then is refused, so that slow senders hold nothing."""

UPLOAD_DEADLINE_S = 300.0
_UPLOADS = ("/v1/files",)

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_log = get_logger()


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to a server that listens on `host`."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_bind(settings: Settings, *, admins: bool = False) -> None:
    """Raise ConfigError if this server would answer strangers without a key.

    `admins`: there is an account whose owner can come in and manage the others.
    """
    server = settings.server
    if server.api_key is not None and not server.api_key.get_secret_value().strip():
        raise ConfigError(
            "server.api_key is empty.",
            code="config.empty_key",
            hint="Set GNOMON_SERVER__API_KEY to a long random text, or leave it out on loopback.",
        )
    if server.api_key is None and not admins and not is_loopback(server.host):
        raise ConfigError(
            f"server.host = {server.host} can be reached from other machines, but no key is set.",
            code="config.open_bind",
            hint="Set GNOMON_SERVER__API_KEY (or server.api_key_file), make an account with "
            "`gnomon users add NAME --role admin`, or listen on 127.0.0.1.",
            host=server.host,
        )


class Guard:
    """ASGI middleware that lets through only what may pass."""

    def __init__(self, app: ASGIApp, *, settings: Settings, ids: Ids, access: Access) -> None:
        self._app = app
        self._ids = ids
        self._access = access
        server = settings.server
        self._max_bytes = server.max_request_bytes
        self._max_file_bytes = server.max_file_bytes
        self._public = urlsplit(server.public_url).netloc.lower()
        self._cors = {origin.rstrip("/").lower() for origin in server.cors_origins}
        self._check_host = is_loopback(server.host)
        self._open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
                return
            await self._app(scope, receive, send)
            return
        if "identity" in scope:  # A call from within, in the name of whom was let in already.
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else self._ids.new("req")
        scope["request_id"] = request_id
        status = 0
        limits: dict[str, str] = {}

        async def send_guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                out = MutableHeaders(scope=message)
                out["x-request-id"] = request_id
                out.setdefault("cache-control", "no-store")
                for name, value in (*_HEADERS.items(), *limits.items()):
                    out.setdefault(name, value)
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            self._open += 1
            try:
                if self._open > MAX_OPEN_REQUESTS and scope["path"] != "/health":
                    raise _busy()
                limits |= self._admit(scope, headers)
                body = await self._read(scope, headers, receive)
                await self._app(scope, _replay(body, receive), send_guarded)
            except ApiError as error:
                await response_for(error, scope["path"], request_id)(scope, receive, send_guarded)
            except Exception:
                _log.exception("request.failed", method=scope["method"], route=_route(scope))
                if status:
                    raise
                hidden = ApiError(
                    500,
                    f"Something went wrong inside Gnomon (request {request_id}).",
                    code="internal",
                    hint="The log tells more under this request id.",
                )
                await response_for(hidden, scope["path"], request_id)(scope, receive, send_guarded)
            finally:
                self._open -= 1
                REQUESTS.labels(route=_route(scope), status=str(status or 499)).inc()

    def _admit(self, scope: Scope, headers: Headers) -> dict[str, str]:
        host = headers.get("host", "").lower()
        if self._check_host and not self._known_host(host):
            raise ApiError(
                421,
                f"This server does not answer to the name {shown(host) or '(none)'}.",
                code="server.host",
                hint="Use 127.0.0.1 or localhost, or set server.public_url to that address.",
            )
        called = scope["path"].startswith(("/v1/", "/mcp"))
        if not called and scope["method"] in ("GET", "HEAD"):
            pass  # Following a link from another site to the page itself is fine.
        elif not self._known_origin(headers, host):
            raise ApiError(
                403,
                f"Pages of {shown(headers.get('origin', 'another site'))} may not call this API.",
                code="server.origin",
                hint="Add that origin to server.cors_origins if it should.",
            )
        client = scope.get("client")
        identity = self._access.identify(
            scope["method"], scope["path"], headers, client[0] if client else ""
        )
        scope["identity"] = identity
        scope["access"] = self._access
        return self._access.admit(identity)

    def _known_host(self, host: str) -> bool:
        if self._public and host == self._public:
            return True
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name == "localhost" or name in ("127.0.0.1", "::1")

    def _known_origin(self, headers: Headers, host: str) -> bool:
        origin = headers.get("origin")
        if origin is None:
            return headers.get("sec-fetch-site", "none") in ("same-origin", "none")
        origin = origin.lower()
        if origin in self._cors:
            return True
        scheme, _, netloc = origin.partition("://")
        return scheme in ("http", "https") and bool(netloc) and netloc in (host, self._public)

    async def _read(self, scope: Scope, headers: Headers, receive: Receive) -> bytes:
        upload = scope["method"] == "POST" and scope["path"] in _UPLOADS
        # A form has a few hundred bytes around the file.
        allowed = self._max_file_bytes + 65_536 if upload else self._max_bytes
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > allowed:
            raise _too_large(f"{int(length):,} bytes", allowed, upload)
        if not length and "transfer-encoding" not in headers:
            return b""
        body = bytearray()
        try:
            async with asyncio.timeout(UPLOAD_DEADLINE_S if upload else BODY_DEADLINE_S):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ApiError(408, "The request broke off.", code="request.broken")
                    body += message.get("body", b"")
                    if len(body) > allowed:
                        raise _too_large(f"more than {allowed:,} bytes", allowed, upload)
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError:
            raise ApiError(
                408,
                f"The request body did not arrive within {BODY_DEADLINE_S:.0f} seconds.",
                code="request.slow",
                headers={"connection": "close"},
            ) from None


def _busy() -> ApiError:
    return ApiError(
        429,
        f"{MAX_OPEN_REQUESTS:,} requests are being served, as many as possible.",
        code="server.busy",
        hint="Try again in a few seconds.",
        headers={"retry-after": "5"},
    )


def _too_large(size: str, allowed: int, upload: bool) -> ApiError:
    setting = "server.max_file_bytes" if upload else "server.max_request_bytes"
    return ApiError(
        413,
        f"The request body has {size}; at most {allowed:,} are accepted.",
        code="request.too_large",
        hint=f"Shorten it, or raise {setting}.",
        headers={"connection": "close"},
        max_request_bytes=allowed,
    )


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def replay() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _route(scope: Scope) -> str:
    """The route's template, so that metrics do not grow with what people ask for."""
    path = getattr(scope.get("route"), "path", None)
    return str(path) if path else "other"
