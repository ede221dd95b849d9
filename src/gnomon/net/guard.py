"""The network backend that resolves, checks and only then dials what it checked.

Sitting below the connection pool it covers every hop: redirects, retries, kept connections. A
name is refused unless *all* its addresses pass, and the address that is dialled is one of those
checked, so a second, different DNS answer changes nothing.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence

import httpcore2

from gnomon.errors import UpstreamTerminal
from gnomon.net.address import ip_of, metadata, normal_host, refusal

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""From host and port to the addresses of that name. Raises OSError if there are none."""

SocketOption = (
    tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]
)

PORTS = (80, 443)
_DIALS = 3
"""How many of a name's addresses are tried before giving up."""
_DIAL_S = 8.0


async def system_resolver(host: str, port: int) -> Sequence[str]:
    """What the operating system answers."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Guard:
    """Decides where a connection may go.

    `allow` are exact host:port pairs that may be private and have any port. With `only`, nothing
    but those pairs may be reached at all.
    """

    def __init__(
        self,
        allow: Collection[tuple[str, int]],
        resolver: Resolver = system_resolver,
        *,
        only: bool = False,
    ) -> None:
        self._allow = allow
        self._resolver = resolver
        self._only = only

    def allowed(self, host: str, port: int) -> bool:
        """Whether the operator listed this pair."""
        return (normal_host(host), port) in self._allow

    async def addresses(self, host: str, port: int) -> Sequence[str]:
        """The checked addresses of `host`. Raises UpstreamTerminal `net.blocked`."""
        allowed = self.allowed(host, port)
        if self._only and not allowed:
            raise blocked(host, port, rule="not a configured endpoint", hint="Check models.url.")
        if port not in PORTS and not allowed:
            raise blocked(host, port, rule=f"port {port}; only 80 and 443 are open")
        found = [host] if ip_of(host) else await self._resolver(host, port)
        if not found:
            raise OSError(f"{host} has no address")
        for address in found:
            if never := metadata(address):
                raise blocked(host, port, address, rule=never, hint="Nothing can allow that.")
            rule = None if allowed else refusal(address)
            if rule is not None:
                raise blocked(host, port, address, rule=rule)
        return found


def blocked(
    host: str, port: int, address: str = "", *, rule: str, hint: str = ""
) -> UpstreamTerminal:
    """The refusal of a connection; names host, address and rule."""
    leads = f", which is {address}," if address and address != host else ""
    return UpstreamTerminal(
        f"A connection to {host}:{port}{leads} is refused: {rule}.",
        code="net.blocked",
        hint=hint or f"If this is your own service, add {host}:{port} to net.allow.",
        host=host,
        port=port,
        address=address,
        rule=rule,
    )


class GuardedBackend(httpcore2.AsyncNetworkBackend):
    """Dials through a guard. `network` does the dialling and only ever sees IP addresses."""

    def __init__(self, guard: Guard, network: httpcore2.AsyncNetworkBackend | None = None) -> None:
        self._guard = guard
        self._network = network or httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the protocol of httpcore2
        local_address: str | None = None,
        socket_options: Iterable[SocketOption] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Resolve, check, dial. The host that TLS and HTTP name stays what was asked for."""
        try:
            addresses = await self._guard.addresses(host, port)
        except OSError as error:
            raise Unresolvable(f"{host} cannot be resolved ({error})") from error
        failure: Exception | None = None
        for address in addresses[:_DIALS]:
            try:
                return await self._network.connect_tcp(
                    address,
                    port,
                    timeout=_DIAL_S if timeout is None else min(timeout, _DIAL_S),
                    local_address=local_address,
                    socket_options=socket_options,
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        assert failure is not None  # noqa: S101 - `addresses` never returns nothing
        raise failure

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - the protocol of httpcore2
        socket_options: Iterable[SocketOption] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Refused: a file is no address."""
        raise blocked(path, 0, rule="Unix socket", hint="Only http and https are fetched.")

    async def sleep(self, seconds: float) -> None:
        """Wait between attempts to connect."""
        await asyncio.sleep(seconds)


class Unresolvable(httpcore2.ConnectError):
    """The name has no address, or the resolver failed."""
