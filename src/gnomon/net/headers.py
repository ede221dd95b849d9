"""Which headers go out, and what the answers' headers mean."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from gnomon import __version__
from gnomon.errors import ConfigError
from gnomon.net.base import Purpose
from gnomon.net.usage import DIRECTIVES, NOTHING_SAID, Usage, parse_usage

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_BAD_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_OURS = frozenset(
    (
        *("accept-encoding", "connection", "content-length", "cookie", "expect", "host"),
        *("keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te"),
        *("trailer", "transfer-encoding", "upgrade", "user-agent"),
    )
)
_HARMLESS = frozenset(
    ("a-im", "accept", "accept-language", "if-modified-since", "if-none-match", "range")
)
_AGENTS: Mapping[Purpose, str] = {
    "crawl": "GnomonBot",
    "feed": "GnomonBot",
    "user": "Gnomon-User",
    "model": "Gnomon",
}
_NEVER_FRESH = re.compile(r"(?:^|[,\s])no-(?:cache|store)(?:$|[,\s=])")
_MAX_AGE = re.compile(r"(?:^|[,\s])max-age\s*=\s*\"?(\d{1,10})")
MAX_RETRY_AFTER_S = 7 * 86_400.0


def user_agent(purpose: Purpose, contact: str) -> str:
    """The one honest name under which we ask, with whom to write to."""
    contact = "".join(c for c in contact if c.isascii() and c.isprintable() and c not in "()\\")
    suffix = f" ({contact.strip()})" if contact.strip() else ""
    return f"{_AGENTS[purpose]}/{__version__}{suffix}"


def outgoing(headers: Mapping[str, str]) -> dict[str, str]:
    """The caller's headers that may go out, names in lower case.

    Those that the door itself decides (Host, User-Agent, lengths, cookies, …) are left out.
    Raises ConfigError for what is no header at all.
    """
    out = {}
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name) or not sendable(value):
            raise ConfigError(
                f"The request header {name!r} cannot be sent: it holds forbidden characters.",
                code="net.header",
                hint="Correct the name or key that goes into it.",
                header=name,
            )
        if name.lower() not in _OURS:
            out[name.lower()] = value
    return out


def harmless(headers: Mapping[str, str]) -> dict[str, str]:
    """Those that may follow a redirect to another origin: no key, no token."""
    return {name: value for name, value in headers.items() if name.lower() in _HARMLESS}


def sendable(value: str) -> bool:
    """Whether a header can have this value."""
    return not _BAD_VALUE.search(value) and all(ord(c) < 256 for c in value)


def incoming(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Response headers: lower-case names, repeated ones joined by commas, cookies left out."""
    headers: dict[str, str] = {}
    for name, value in raw:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1").strip()
        if key in ("set-cookie", "set-cookie2"):
            continue
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers


def retry_after_s(value: str | None, now: datetime) -> float | None:
    """Seconds that a Retry-After header asks for: a number or a date; None if it says nothing."""
    if not value:
        return None
    value = value.strip()
    if re.fullmatch(r"[0-9]{1,10}(\.[0-9]{0,9})?", value):
        return min(float(value), MAX_RETRY_AFTER_S)
    moment = _moment(value)
    if moment is None:
        return None
    return min(max((moment - now).total_seconds(), 0.0), MAX_RETRY_AFTER_S)


def fresh_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds that a response stays fresh (RFC 9111, 4.2); None if it says nothing or forbids it.

    `max-age` counts before `Expires`; what proxies spent of it (`Age`) is subtracted. `s-maxage`
    is for shared caches, which we are not.
    """
    control = headers.get("cache-control", "").lower()
    if _NEVER_FRESH.search(control):
        return None
    age_s = _seconds(headers.get("age", "")) or 0.0
    found = _MAX_AGE.search(control)
    if found is not None:
        return max(float(found[1]) - age_s, 0.0)
    expires = _moment(headers.get("expires", ""))
    if expires is None:
        return None
    said = _moment(headers.get("date", "")) or now
    return max((expires - said).total_seconds() - age_s, 0.0)


def _seconds(text: str) -> float | None:
    return float(text) if re.fullmatch(r"[0-9]{1,10}", text) else None


def _moment(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def usage(headers: Mapping[str, str]) -> Usage:
    """What the publisher wishes, by the headers of its answer."""
    wish = NOTHING_SAID
    for name in DIRECTIVES:
        wish |= parse_usage(headers.get(name, ""))
    return wish


def content_length(headers: Mapping[str, str]) -> int | None:
    """The announced size of the body, if it is a plain number."""
    text = headers.get("content-length", "")
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


def media_type(headers: Mapping[str, str]) -> str:
    """The media type without parameters, in lower case; empty if none is given."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def accepts(accept: tuple[str, ...], given: str) -> bool:
    """Whether the media type `given` is one of `accept` (`text/html`, `text/*`)."""
    kinds = {kind.partition(";")[0].strip().lower() for kind in accept}
    return bool(kinds & {given, given.partition("/")[0] + "/*", "*/*"})
