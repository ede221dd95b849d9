"""The door as the rest of the house sees it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

import msgspec

Purpose = Literal["crawl", "user", "feed", "model"]
"""Why we fetch: `crawl` and `feed` obey robots rules for bots, `user` is a page that a person
asked for, `model` an endpoint that the operator configured."""


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """A finished exchange. 4xx and 5xx are responses too, except where `fetch` says it raises."""

    url: str
    """Address of the last hop."""
    status: int
    headers: Mapping[str, str]
    """Lower-case names."""
    body: bytes
    permanent_url: str = ""
    """Where permanent redirects (301, 308) led from the start of the chain; empty if none did."""


class Fetcher(Protocol):
    """The only way out of the process."""

    async def fetch(
        self,
        url: str,
        *,
        purpose: Purpose = "crawl",
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        accept: tuple[str, ...] = (),
        max_body_bytes: int | None = None,
        timeout_s: float | None = None,
    ) -> Response:
        """Fetch `url`, following at most 5 redirects, each checked like the first address.

        Raises UpstreamTransient (time-out, broken connection, unresolvable, 429 and 5xx with
        `retry_after_s`), UpstreamTerminal (address refused by the guard: code
        `net.blocked`; too many redirects; scheme; robots: code `net.robots`) and ContentError
        (body over the cap: `net.too_large`; media type not in `accept`: `net.media_type`).
        304 and other 4xx come back as a Response.
        """
        ...

    async def aclose(self) -> None:
        """Close connections."""
        ...
