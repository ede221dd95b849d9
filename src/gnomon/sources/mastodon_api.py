"""Mastodon's HTTP API: asking within the server's limits, and what its refusals mean."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from gnomon.errors import UpstreamTerminal, UpstreamTransient
from gnomon.extract.dates import parse_date
from gnomon.net.base import Response
from gnomon.sources.base import Context

_SPARE = 5
"""Requests that are left to others of the same address, or the same user."""
_WINDOW_S = 300.0


class Api:
    """One server, asked as one user or as nobody."""

    def __init__(self, ctx: Context, server: str, token: str) -> None:
        self._ctx = ctx
        self._server = server
        self.token = token
        self.headers = {"authorization": f"Bearer {token}"} if token else {}

    async def instance(self) -> Mapping[str, Any]:
        """How the server describes itself."""
        response = await self._ask("/api/v2/instance", {})
        if response.status == 404:
            response = await self._ask("/api/v1/instance", {})
        if response.status != 200:
            raise self._refusal("/api/v2/instance", response)
        instance = _decoded(response)
        if not isinstance(instance, dict) or not {"uri", "domain"} & instance.keys():
            raise UpstreamTransient(
                f"{self._server} does not describe itself as a Mastodon server.",
                code="source.refused",
                hint="Check the address of the server.",
            )
        return instance

    def streaming_url(self, instance: Mapping[str, Any]) -> str:
        """Where streams are, as `wss://…`. Raises UpstreamTerminal if a token would go in clear."""
        urls = _mapping(_mapping(instance.get("configuration")).get("urls"))
        older = _mapping(instance.get("urls"))
        url = str(urls.get("streaming") or older.get("streaming_api") or self._server)
        url = (
            url.rstrip("/").replace("http", "ws", 1) if url.startswith("http") else url.rstrip("/")
        )
        if not url.startswith(("ws://", "wss://")) or (
            url.startswith("ws://") and urlsplit(self._server).scheme == "https"
        ):
            raise UpstreamTerminal(
                f"{self._server} names {url!r} for streams, which would show the token to others.",
                code="mastodon.streaming",
                hint="Ask the server's operator, or follow it without a token.",
            )
        return url

    async def page(self, path: str, params: Mapping[str, str]) -> list[Any]:
        """A list of things."""
        response = await self._ask(path, params)
        if response.status != 200:
            raise self._refusal(path, response)
        found = _decoded(response)
        if not isinstance(found, list):
            raise UpstreamTransient(
                f"{self._server}{path} answers with no list.", code="mastodon.unreadable"
            )
        return found

    async def account_id(self, handle: str, host: str) -> str:
        """The id by which this server knows an account."""
        acct = handle.lstrip("@")
        acct = acct.removesuffix(f"@{host}")
        response = await self._ask("/api/v1/accounts/lookup", {"acct": acct})
        account = _mapping(_decoded(response)) if response.status == 200 else {}
        if response.status == 404:
            raise UpstreamTransient(
                f"{self._server} knows no account {handle}.",
                code="source.not_found",
                retry_after_s=3_600.0,
                hint="Check the spelling, or follow it on its own server.",
            )
        if not isinstance(account.get("id"), str):
            raise self._refusal("/api/v1/accounts/lookup", response)
        return str(account["id"])

    async def statuses(self, ids: Sequence[str]) -> dict[str, Any] | None:
        """Those of these statuses that the server shows; None if it cannot be asked for several."""
        response = await self._ask("/api/v1/statuses", [("id[]", id) for id in ids])
        found = _decoded(response) if response.status == 200 else None
        if not isinstance(found, list):
            return None
        return {s["id"]: s for s in found if isinstance(s, dict) and isinstance(s.get("id"), str)}

    async def status(self, id: str) -> dict[str, Any] | None:
        """A status; None if it is gone."""
        path = f"/api/v1/statuses/{quote(id)}"
        response = await self._ask(path, {})
        if response.status in (404, 410):
            return None
        if response.status != 200:
            raise self._refusal(path, response)
        return dict(_mapping(_decoded(response)))

    async def _ask(
        self, path: str, params: Mapping[str, str] | Sequence[tuple[str, str]]
    ) -> Response:
        query = f"?{urlencode(params)}" if params else ""
        try:
            response = await self._ctx.fetcher.fetch(
                f"{self._server}{path}{query}", purpose="feed", headers=self.headers
            )
        except UpstreamTransient as error:
            headers = error.fields.get("headers")
            if error.fields.get("status") == 429 and error.retry_after_s is None:
                error.retry_after_s = self._reset_s(_mapping(headers)) or _WINDOW_S
            raise
        left = response.headers.get("x-ratelimit-remaining", "")
        if left.isdigit() and int(left) < _SPARE:
            self._ctx.count("limit.waited")
            await self._ctx.clock.sleep(self._reset_s(response.headers))
        return response

    def _reset_s(self, headers: Mapping[str, Any]) -> float:
        """Seconds until the limit is lifted, as far as a strange clock can be believed."""
        reset = parse_date(str(headers.get("x-ratelimit-reset", "")))
        if reset is None:
            return 0.0
        return min(max((reset - self._ctx.clock.now()).total_seconds(), 0.0), _WINDOW_S)

    def _refusal(self, path: str, response: Response) -> UpstreamTerminal | UpstreamTransient:
        said = str(_mapping(_decoded(response)).get("error", ""))[:200].rstrip(". ")
        message = f"{self._server}{path} answers {response.status}{': ' if said else ''}{said}."
        if response.status in (401, 403, 422):
            hint = (
                "Check the token and its scopes (read)."
                if self.token
                else "It needs a key: set token."
            )
            return UpstreamTerminal(
                message, code="source.forbidden", hint=hint, status=response.status
            )
        if response.status == 410:
            return UpstreamTerminal(message, code="source.gone", status=410)
        return UpstreamTransient(
            message, code="source.refused", retry_after_s=3_600.0, status=response.status
        )


def _decoded(response: Response) -> Any:
    try:
        return json.loads(response.body)
    except (ValueError, RecursionError):
        return None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
