"""What both feed readers need to read values that may be anything."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from gnomon.errors import ContentError


def as_text(value: Any) -> str:
    """The value if it is text, else empty."""
    return value if isinstance(value, str) else ""


def content_id(*parts: str) -> str:
    """An id for an entry whose publisher gave none: the hash of what it says."""
    digest = blake2b(digest_size=16)
    for part in parts:
        digest.update(part.encode("utf-8", "replace") + b"\0")
    return f"hash:{digest.hexdigest()}"


def unreadable(url: str, reason: str) -> ContentError:
    """The refusal of a body that is no feed."""
    return ContentError(
        f"{url} is no feed: {reason}.",
        code="feed.unreadable",
        hint="Open the address in a browser; the site may have moved its feed.",
        url=url,
    )
