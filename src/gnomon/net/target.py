"""From the text of an address to what is dialled: one strict reading, used by guard and client.

Parsers disagree about backslashes, spaces, percent signs and user names in the host part. Such
addresses are refused instead of interpreted, so that nobody downstream can read another host.
"""

from __future__ import annotations

import re
from contextlib import suppress
from ipaddress import AddressValueError, IPv4Address, IPv6Address

import httpx2
import msgspec

from gnomon.errors import UpstreamTerminal
from gnomon.net.address import normal_host

MAX_URL_CHARS = 8_192
DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
WEB = ("http", "https")
SOCKETS = ("ws", "wss")

_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\\]")
_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*")
_LOOKS_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")


_SHOWN_QUERY_CHARS = 60


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """An address, taken apart once."""

    scheme: str
    host: str
    """Lower case, ASCII, without brackets and root dot: a name or an IP address."""
    port: int
    path: str
    """Path and query, as sent. The fragment is gone."""

    @property
    def secure(self) -> bool:
        """Whether TLS is spoken."""
        return self.scheme in ("https", "wss")

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        shown = f"[{self.host}]" if ":" in self.host else self.host
        default = DEFAULT_PORTS[self.scheme] == self.port
        return f"{self.scheme}://{shown}" + ("" if default else f":{self.port}")

    @property
    def url(self) -> str:
        """The whole address."""
        return self.origin + self.path

    @property
    def shown(self) -> str:
        """The address as a message names it: a long query says nothing to a person."""
        path, mark, query = self.path.partition("?")
        return self.url if len(query) <= _SHOWN_QUERY_CHARS else f"{self.origin}{path}{mark}…"

    @property
    def host_header(self) -> str:
        """What the Host header says."""
        return self.origin.partition("://")[2]

    @property
    def address(self) -> tuple[str, int]:
        """As the allow-list names it."""
        return self.host, self.port


def parse_target(url: str, schemes: tuple[str, ...] = WEB) -> Target:
    """Read an absolute address of these schemes. Raises UpstreamTerminal that says why not."""
    if len(url) > MAX_URL_CHARS:
        raise _refused(url[:100] + "…", f"it is longer than {MAX_URL_CHARS} characters")
    if _FORBIDDEN.search(url):
        raise _refused(url, "it holds a backslash or a control character")
    try:
        parsed = httpx2.URL(url)
        raw_host = parsed.raw_host.decode("ascii")
        port, userinfo = parsed.port, parsed.userinfo
        path = parsed.raw_path.decode("ascii")
    except (httpx2.InvalidURL, ValueError, TypeError) as error:
        raise _refused(url, f"it is no valid address ({error})") from None
    if parsed.scheme not in schemes:
        reason = f"its scheme is {parsed.scheme or 'missing'}, not {' or '.join(schemes)}"
        raise _refused(url, reason, code="net.scheme")
    if userinfo:
        raise _refused(parsed.copy_with(userinfo=b"").__str__(), "it holds a user name or password")
    return Target(
        scheme=parsed.scheme,
        host=_host(url, raw_host, url),
        port=_port(url, DEFAULT_PORTS[parsed.scheme] if port is None else port),
        path=path if path.startswith("/") else f"/{path}",
    )


def join(base: Target, location: str) -> str:
    """The absolute address that a redirect from `base` names. Raises UpstreamTerminal."""
    with suppress(UnicodeError):
        # Header values come as latin-1; servers that do not escape write UTF-8 into them.
        location = location.encode("latin-1").decode("utf-8")
    location = location.strip(" \t")
    if _FORBIDDEN.search(location):
        raise _refused(location, "it holds a backslash or a control character")
    try:
        return str(httpx2.URL(base.url).join(location))
    except (httpx2.InvalidURL, ValueError, TypeError) as error:
        raise _refused(location, f"it is no valid address ({error})") from None


def _host(url: str, raw: str, shown: str) -> str:
    host = raw.lower().removesuffix(".")
    if ":" in host:
        try:
            return str(IPv6Address(host)) if "%" not in host else _fail(shown, host)
        except AddressValueError:
            return _fail(shown, host)
    if len(host) > 253 or not _NAME.fullmatch(host):
        return _fail(shown, host)
    if _LOOKS_NUMERIC.fullmatch(host.rpartition(".")[2]):
        # 127.1, 0x7f.1, 2130706433: resolvers read them as addresses, and not all alike.
        try:
            return str(IPv4Address(host))
        except AddressValueError:
            return _fail(shown, host)
    return normal_host(host)


def _fail(url: str, host: str) -> str:
    raise _refused(url, f"{host!r} is no valid host name or address")


def _port(url: str, port: int) -> int:
    if not 0 < port < 65_536:
        raise _refused(url, f"{port} is no valid port")
    return port


def _refused(url: str, reason: str, code: str = "net.url") -> UpstreamTerminal:
    shown = url if len(url) <= 300 else url[:300] + "…"
    return UpstreamTerminal(
        f"The address {shown!r} is refused: {reason}.",
        code=code,
        hint="Only plain http and https addresses are fetched.",
        url=shown,
        rule=reason,
    )
