"""Errors as clients read them: problem+json on our own routes, OpenAI's shape on theirs.

A message is written for the reader: it names the thing, the value and the next step. What was
not raised on purpose is logged and answered with nothing but the request's id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from gnomon.errors import (
    ConfigError,
    ContentError,
    GnomonError,
    ModelError,
    StoreError,
    Transient,
    UpstreamError,
    UpstreamTransient,
)
from gnomon.log import get_logger
from gnomon.serve.services import Services

OPENAI_PATHS = (
    "/v1/responses",
    "/v1/chat/",
    "/v1/models",
    "/v1/language-models",
    "/v1/embeddings",
    "/v1/tokenize-text",
    "/v1/files",
    "/v1/containers",
    "/v1/vector_stores",
    "/v1/batches",
    "/v1/documents/search",
)
ANTHROPIC_PATH = "/v1/messages"
_SHOWN_VALUE_CHARS = 80
_log = get_logger()


class ApiError(GnomonError):
    """A request that cannot be served as asked, with the status to answer."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str,
        param: str | None = None,
        hint: str = "",
        headers: Mapping[str, str] | None = None,
        **fields: Any,
    ) -> None:
        super().__init__(message, code=code, hint=hint, **fields)
        self.status = status
        self.param = param
        self.headers = headers or {}


def bad_request(message: str, *, param: str, code: str = "request.invalid") -> ApiError:
    """A 400 that blames one parameter."""
    return ApiError(400, message, code=code, param=param)


def shown(value: object) -> str:
    """A value as an error message may repeat it: short, and without control characters."""
    text = value if isinstance(value, str) else str(value)
    if len(text) > _SHOWN_VALUE_CHARS:
        text = text[:_SHOWN_VALUE_CHARS] + "…"
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def speaks_openai(path: str) -> bool:
    """Whether clients of this path expect OpenAI's error shape."""
    return path.startswith(OPENAI_PATHS)


def status_of(error: GnomonError) -> int:
    """The HTTP status that says who has to act."""
    if isinstance(error, ApiError):
        return error.status
    if isinstance(error, Transient) and isinstance(error, StoreError):
        return 503
    for kind, status in (
        (ConfigError, 400),
        (ContentError, 422),
        (UpstreamTransient, 503),
        (UpstreamError, 502),
        (ModelError, 503),
    ):
        if isinstance(error, kind):
            return status
    return 500


def response_for(error: GnomonError, path: str, request_id: str) -> Response:
    """The error as a response in the shape that belongs to `path`."""
    status = status_of(error)
    headers = dict(error.headers) if isinstance(error, ApiError) else {}
    if isinstance(error, Transient) and error.retry_after_s is not None:
        headers["retry-after"] = str(max(1, round(error.retry_after_s)))
    if status >= 500:
        headers["x-should-retry"] = "true" if isinstance(error, Transient) else "false"
    if speaks_openai(path):
        body = openai_body(error)
        media_type = "application/json"
    elif path.startswith(ANTHROPIC_PATH):
        body = anthropic_body(error)
        media_type = "application/json"
    else:
        body = problem_body(error, request_id)
        media_type = "application/problem+json"
    return Response(orjson.dumps(body), status_code=status, media_type=media_type, headers=headers)


def openai_body(error: GnomonError) -> dict[str, Any]:
    """`{"error": {message, type, param, code}}`."""
    status = status_of(error)
    kind = "server_error"
    if status == 401:
        kind = "authentication_error"
    elif status < 500:
        kind = "invalid_request_error"
    param = error.param if isinstance(error, ApiError) else None
    return {"error": {"message": str(error), "type": kind, "param": param, "code": error.code}}


def anthropic_body(error: GnomonError) -> dict[str, Any]:
    """`{"type": "error", "error": {type, message}}`, as Anthropic's clients read it."""
    kinds = {
        400: "invalid_request_error",
        401: "authentication_error",
        403: "permission_error",
        404: "not_found_error",
        413: "request_too_large",
        429: "rate_limit_error",
        503: "overloaded_error",
    }
    kind = kinds.get(status_of(error), "api_error")
    return {"type": "error", "error": {"type": kind, "message": str(error), "code": error.code}}


def problem_body(error: GnomonError, request_id: str) -> dict[str, Any]:
    """RFC 9457 problem details with our code and hint."""
    status = status_of(error)
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": _TITLES.get(status, "Error"),
        "status": status,
        "detail": error.message,
        "code": error.code,
        "request_id": request_id,
    }
    if error.hint:
        body["hint"] = error.hint
    if isinstance(error, ApiError):
        if error.param:
            body["param"] = error.param
        body |= {name: value for name, value in error.fields.items() if name not in body}
    return body


def told(error: Exception, services: Services, where: str) -> GnomonError:
    """What a client may be told of `error`. Logs it, and reports damage in our own store."""
    if not isinstance(error, GnomonError):
        _log.error(f"{where}.failed", exc_info=error)
        return ApiError(
            500,
            "Something went wrong inside Gnomon.",
            code="internal",
            hint="The log tells more.",
        )
    if not isinstance(error, ApiError):
        _log.warning(f"{where}.failed", code=error.code, error=str(error))
    # A full disk, or a command that writes the record beside us, passes and is no damage.
    passes = isinstance(error, Transient)
    if isinstance(error, StoreError) and not passes and services.fatal is not None:
        services.fatal(error)
    return error


def install(app: FastAPI) -> None:
    """Answer every exception of `app` in the shape of its path."""

    def request_id(request: Request) -> str:
        return str(request.scope.get("request_id", ""))

    async def known(request: Request, error: Exception) -> Response:
        if not isinstance(error, GnomonError):
            raise error
        public = told(error, request.app.state.services, "request")
        return response_for(public, request.url.path, request_id(request))

    async def invalid(request: Request, error: Exception) -> Response:
        if not isinstance(error, RequestValidationError):
            raise error
        return response_for(explain(error.errors()), request.url.path, request_id(request))

    async def http(request: Request, error: Exception) -> Response:
        if not isinstance(error, HTTPException):
            raise error
        wrapped = ApiError(
            error.status_code,
            _HTTP_MESSAGES.get(error.status_code, str(error.detail)).format(
                method=request.method, path=shown(request.url.path)
            ),
            code=_HTTP_CODES.get(error.status_code, "http"),
            headers=error.headers,
        )
        return response_for(wrapped, request.url.path, request_id(request))

    app.add_exception_handler(GnomonError, known)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)


def explain(errors: Sequence[Mapping[str, Any]]) -> ApiError:
    """The first thing that is wrong with a request's body."""
    first = errors[0]
    if first["type"] == "json_invalid":
        reason = first.get("ctx", {}).get("error", "")
        return ApiError(400, f"The request body is not valid JSON: {reason}.", code="request.json")
    loc = [str(part) for part in first["loc"]]
    place = loc[0] if loc else "body"
    # Alternatives of a type stand in the location as `str` or `list[…]`; they say nothing.
    named = [part for part in loc[1:] if part != "str" and "[" not in part]
    param = ".".join(named or loc)
    if place == "body" and len(loc) == 1:
        return ApiError(
            400,
            "The request needs a JSON object as its body.",
            code="request.body",
            hint="Send it with Content-Type: application/json.",
        )
    if first["type"] == "missing":
        return ApiError(400, f"{param} is missing.", code="request.missing", param=param)
    if first["type"] == "extra_forbidden":
        return ApiError(
            400, f"There is no field {shown(param)} here.", code="request.invalid", param=param
        )
    value = first.get("input")
    given = f" = {shown(value)!s}" if isinstance(value, str | int | float | bool) else ""
    return ApiError(
        400,
        f"{param}{given} is not valid: {first['msg']}.",
        code="request.invalid",
        param=param,
    )


_TITLES = {
    400: "Bad request",
    401: "Key required",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    408: "Request too slow",
    409: "Conflict",
    410: "Gone",
    413: "Request too large",
    415: "Unsupported media type",
    421: "Misdirected request",
    422: "Unusable content",
    500: "Internal error",
    502: "Upstream failed",
    503: "Not available now",
}
_HTTP_CODES = {404: "http.no_route", 405: "http.method", 400: "request.json"}
_HTTP_MESSAGES = {
    404: "There is nothing at {path}.",
    405: "{method} is not possible at {path}.",
    400: "The request body could not be read.",
}
