"""A client of a running Gnomon, for the command line.

It speaks to the address that the server wrote into its home, and nowhere else.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import msgspec

from gnomon.errors import ConfigError, GnomonError, StoreError, UpstreamError, UpstreamTransient
from gnomon.settings import Settings


class Running(msgspec.Struct, frozen=True):
    """What a server writes to `<home>/run.json` while it serves requests."""

    pid: int
    url: str
    version: str
    token: str = ""
    """A key for commands of the same user; the file is readable by its owner only."""


def run_file(home: Path) -> Path:
    """Where a server says that it runs."""
    return home / "run.json"


def running(home: Path) -> Running | None:
    """The server of this home, None if none runs."""
    try:
        found = msgspec.json.decode(run_file(home).read_bytes(), type=Running)
        os.kill(found.pid, 0)
    except (OSError, msgspec.DecodeError):
        return None
    return found


class Client:
    """Calls of the native API. Errors of the server are raised as it described them."""

    def __init__(self, url: str, settings: Settings, *, token: str = "") -> None:
        key = settings.server.api_key
        secret = token or (key.get_secret_value() if key else "")
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        self._http = httpx2.Client(
            base_url=url, headers=headers, timeout=httpx2.Timeout(10, read=None), trust_env=False
        )
        self._url = url

    def close(self) -> None:
        """Close the connections. Idempotent."""
        self._http.close()

    def call(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """One exchange; returns the decoded JSON."""
        params = {name: value for name, value in query.items() if value not in (None, (), "")}
        try:
            response = self._http.request(method, path, params=params, json=body)
        except httpx2.TransportError as error:
            raise self._lost(error) from None
        if response.is_error:
            raise _described(response.status_code, response.content)
        return response.json() if response.content else None

    def events(
        self, path: str, body: Any = None, *, method: str = "POST"
    ) -> Iterator[tuple[str, Any]]:
        """(event, data) of a server-sent event stream."""
        try:
            with self._http.stream(method, path, json=body) as response:
                if response.is_error:
                    raise _described(response.status_code, response.read())
                event = ""
                for line in response.iter_lines():
                    name, _, value = line.partition(": ")
                    if name == "event":
                        event = value
                    elif name == "data":
                        yield event, json.loads(value)
        except httpx2.TransportError as error:
            raise self._lost(error) from None

    def _lost(self, error: Exception) -> UpstreamTransient:
        return UpstreamTransient(
            f"No answer from {self._url}: {error}.",
            code="client.lost",
            hint="Is `gnomon up` still running?",
        )


def _described(status: int, content: bytes) -> GnomonError:
    """The error that a problem+json or OpenAI-shaped body describes."""
    try:
        body: Any = json.loads(content)
    except ValueError:
        body = {}
    inner = body.get("error") if isinstance(body, Mapping) else None
    problem: Mapping[str, Any] = inner if isinstance(inner, Mapping) else body
    message = problem.get("detail") or problem.get("message") or f"The server answered {status}."
    code, hint = str(problem.get("code") or "http"), str(problem.get("hint") or "")
    return described(str(message), code, hint, status)


def described(message: str, code: str, hint: str = "", status: int = 500) -> GnomonError:
    """An error as the server told it, of the class that decides the exit status."""
    kind: type[GnomonError] = GnomonError
    from_outside = code.startswith("source.") and status >= 500
    if from_outside or code.startswith(("net.", "feed.", "page.", "upstream")):
        kind = UpstreamError
    elif code.startswith(("record.", "index.", "store")):
        kind = StoreError
    elif status < 500 or code.startswith(("question.", "request.")):
        kind = ConfigError
    return kind(message, code=code, hint=hint)
