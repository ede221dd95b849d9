"""One gRPC call: who makes it, what of its metadata is read, and how it ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn
from urllib.parse import unquote

import grpc
import grpc.aio
import structlog
from starlette.datastructures import Headers

from gnomon.accounts.base import LOCAL, Identity
from gnomon.errors import Transient
from gnomon.metrics import GRPC_CALLS
from gnomon.serve.errors import ApiError, status_of, told
from gnomon.serve.services import Services

AS_OF = "gnomon-as-of"
"""Metadata that names the moment to answer as of."""
_READ = ("authorization", "x-api-key", AS_OF)
_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.FAILED_PRECONDITION,
    410: grpc.StatusCode.NOT_FOUND,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    501: grpc.StatusCode.UNIMPLEMENTED,
    503: grpc.StatusCode.FAILED_PRECONDITION,
}


class Call:
    """One call: who makes it, and how it ends."""

    def __init__(self, rpc: str, context: Any, services: Services) -> None:
        self.rpc = rpc
        self.identity: Identity = LOCAL
        self.headers = Headers(
            raw=[
                (key.encode(), value.encode())
                for key, value in context.invocation_metadata()
                if key in _READ and isinstance(value, str)
            ]
        )
        self._context = context
        self._services = services
        self._id = services.ids.new("req")
        self._trailing: dict[str, str] = {"x-request-id": self._id}
        self._status = "OK"

    @property
    def address(self) -> str:
        """The client's address, without its port."""
        kind, _, place = str(self._context.peer()).partition(":")
        return unquote(place).rpartition(":")[0].strip("[]") if kind in ("ipv4", "ipv6") else ""

    def tell(self, limits: Mapping[str, str]) -> None:
        """Send these headers behind the answer."""
        self._trailing |= limits
        self._context.set_trailing_metadata(tuple(self._trailing.items()))

    @contextmanager
    def observed(self) -> Iterator[None]:
        """Count the call, and name it in the log lines that it causes."""
        self._status = "CANCELLED"
        with structlog.contextvars.bound_contextvars(request_id=self._id):
            try:
                yield
                self._status = "OK"
            except grpc.aio.AbortError:
                self._status = self._context.code().name
                raise
            finally:
                GRPC_CALLS.labels(rpc=self.rpc, status=self._status).inc()

    async def refuse(self, error: Exception) -> NoReturn:
        """End the call with what the client may be told of `error`."""
        public = told(error, self._services, "grpc")
        status = status_of(public)
        code = _CODES.get(status, grpc.StatusCode.INTERNAL)
        if isinstance(public, Transient):
            code = grpc.StatusCode.UNAVAILABLE  # The one that clients try again.
        self._trailing["gnomon-code"] = public.code
        if isinstance(public, ApiError):
            self._trailing |= {name.lower(): value for name, value in public.headers.items()}
        await self._context.abort(code, str(public), tuple(self._trailing.items()))
        raise AssertionError("abort always raises")
