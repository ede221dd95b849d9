"""What every polled address needs: conditional requests and one reading of HTTP's refusals."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from pydantic import AfterValidator

from gnomon.errors import UpstreamTerminal, UpstreamTransient
from gnomon.net import headers as heads
from gnomon.net.base import Purpose, Response
from gnomon.sources.base import Context

REFUSED_RETRY_S = 3_600.0
"""An address that is missing or refuses the request is tried again after this long."""


class Validators(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a version is recognised by: the server's words, byte for byte, and the body's hash."""

    etag: str = ""
    last_modified: str = ""
    body: str = ""

    def headers(self) -> dict[str, str]:
        """Request headers that ask for a body only if it changed."""
        headers = {}
        if self.etag:
            headers["if-none-match"] = self.etag
        if self.last_modified:
            headers["if-modified-since"] = self.last_modified
        return headers

    @classmethod
    def of(cls, response: Response) -> Validators:
        """Those of a response with a body."""
        return cls(
            etag=response.headers.get("etag", ""),
            last_modified=response.headers.get("last-modified", ""),
            body=blake2b(response.body, digest_size=6).hexdigest(),
        )


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a poll brought."""

    response: Response
    validators: Validators
    """To be kept once everything in this version was handed over; those known if unchanged."""
    changed: bool
    """Whether there is a body, and it is not the one known."""
    fresh_s: float | None
    """How long the server says that this stays true; None if it says nothing."""


async def poll(
    ctx: Context,
    url: str,
    *,
    purpose: Purpose,
    known: Validators,
    headers: Mapping[str, str] | None = None,
    max_body_bytes: int | None = None,
) -> Answer:
    """Ask whether `url` changed since `known`. Raises like `ask`."""
    response = await ask(
        ctx,
        url,
        purpose=purpose,
        headers={**(headers or {}), **known.headers()},
        max_body_bytes=max_body_bytes,
    )
    fresh_s = heads.fresh_s(response.headers, ctx.clock.now())
    found = known
    if 200 <= response.status < 300:
        found = Validators.of(response)
    # A server that ignores the conditions sends the same body again.
    changed = found.body != known.body
    return Answer(response=response, validators=found, changed=changed, fresh_s=fresh_s)


async def ask(
    ctx: Context,
    url: str,
    *,
    purpose: Purpose,
    headers: Mapping[str, str] | None = None,
    max_body_bytes: int | None = None,
    pace_s: float | None = None,
) -> Response:
    """Fetch `url`. Only an answer with a body, 304, 404 and 410 come back.

    Raises UpstreamTerminal `source.forbidden` for 401, 403, 407 and 451, UpstreamTransient
    `source.refused` for every other 4xx, and whatever the door raises.
    """
    response = await ctx.fetcher.fetch(
        url, purpose=purpose, headers=headers, max_body_bytes=max_body_bytes, pace_s=pace_s
    )
    status = response.status
    if 200 <= status < 300 or status in (304, 404, 410):
        return response
    if status in (401, 403, 407, 451):
        raise UpstreamTerminal(
            f"{url} answers {status}: it does not let us read it.",
            code="source.forbidden",
            hint="Open the address in a browser; it may need an account, or have moved.",
            url=url,
            status=status,
        )
    asked_s = heads.retry_after_s(response.headers.get("retry-after"), ctx.clock.now())
    raise UpstreamTransient(
        f"{url} answers {status}.",
        code="source.refused",
        retry_after_s=max(REFUSED_RETRY_S, asked_s or 0.0),
        hint="Check the address.",
        url=url,
        status=status,
    )


def why_unreadable(error: Exception) -> str:
    """What is wrong with an answer that should be JSON, for people."""
    shape = isinstance(error, KeyError | TypeError | AttributeError)
    return "it is JSON of another shape" if shape else "it is no JSON"


def short_hash(*parts: str) -> str:
    """12 hex digits of the parts: enough to tell versions of one thing apart."""
    digest = blake2b(digest_size=6)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()


def _is_web_address(text: str) -> str:
    if not text.lower().startswith(("http://", "https://")) or not web_address(text):
        raise ValueError("it is no http or https address")
    return text


WebAddress = Annotated[str, AfterValidator(_is_web_address)]
"""A setting that holds a whole http(s) address."""


def web_address(text: str) -> str:
    """`text` as an http(s) address if it is one, a host name completed to one; else empty."""
    text = text.strip()
    if any(c.isspace() or ord(c) < 33 for c in text):
        return ""
    if "://" not in text:
        host = text.partition("/")[0]
        dotted = "." in host.partition(":")[0].strip(".") or host.startswith("localhost")
        if not dotted or text.startswith((".", "/", "~", "@")):
            return ""
        local = host.startswith(("localhost", "127."))
        text = f"http{'' if local else 's'}://{text}"
    try:
        parts = urlsplit(text)
        valid = parts.scheme.lower() in ("http", "https") and parts.hostname
        _ = parts.port
    except ValueError:
        return ""
    return text if valid else ""


def name_for(type: str, url: str) -> str:
    """A readable, stable name for a source at `url`: `feed:www.example.org/news.xml`."""
    parts = urlsplit(url)
    query = f"?{parts.query}" if parts.query else ""
    return f"{type}:{parts.netloc.rpartition('@')[2].lower()}{parts.path.rstrip('/')}{query}"
