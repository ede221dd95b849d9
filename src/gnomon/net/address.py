"""Which network addresses must never be connected to, and which rule says so.

`ipaddress.is_global` alone lets multicast, 6to4, NAT64 and cloud metadata through, so the list is
explicit; `is_global` is asked last, for what the list does not know yet. An IPv4 address inside an
IPv6 address is refused whatever it is: no public site needs that form.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

from gnomon.errors import ConfigError

_Address = IPv4Address | IPv6Address

METADATA: dict[_Address, str] = {
    ipaddress.ip_address(text): f"cloud metadata service ({name})"
    for text, name in (
        ("169.254.169.254", "most clouds"),
        ("169.254.170.2", "AWS containers"),
        ("169.254.170.23", "AWS Kubernetes"),
        ("100.100.100.200", "Alibaba"),
        ("168.63.129.16", "Azure"),
        ("192.0.0.192", "Oracle"),
        ("fd00:ec2::254", "AWS"),
        ("fd00:ec2::23", "AWS Kubernetes"),
        ("fd20:ce::254", "Google"),
    )
}
"""Refused always: no allow-list opens them."""

_TABLE = (
    ("0.0.0.0/8", "this host"),
    ("10.0.0.0/8", "private"),
    ("100.64.0.0/10", "carrier NAT"),
    ("127.0.0.0/8", "loopback"),
    ("169.254.0.0/16", "link-local"),
    ("172.16.0.0/12", "private"),
    ("192.0.0.0/24", "protocol assignments"),
    ("192.0.2.0/24", "documentation"),
    ("192.88.99.0/24", "6to4 relay"),
    ("192.168.0.0/16", "private"),
    ("198.18.0.0/15", "benchmarking"),
    ("198.51.100.0/24", "documentation"),
    ("203.0.113.0/24", "documentation"),
    ("224.0.0.0/4", "multicast"),
    ("255.255.255.255/32", "broadcast"),
    ("240.0.0.0/4", "reserved"),
    ("::/128", "this host"),
    ("::1/128", "loopback"),
    ("::ffff:0:0/96", "IPv4 inside IPv6 (mapped)"),
    ("::/96", "IPv4 inside IPv6 (compatible)"),
    ("64:ff9b::/96", "IPv4 inside IPv6 (NAT64)"),
    ("64:ff9b:1::/48", "IPv4 inside IPv6 (local NAT64)"),
    ("100::/64", "discard"),
    ("2001::/32", "IPv4 inside IPv6 (Teredo)"),
    ("2001:db8::/32", "documentation"),
    ("2002::/16", "IPv4 inside IPv6 (6to4)"),
    ("3fff::/20", "documentation"),
    ("5f00::/16", "segment routing"),
    ("fc00::/7", "private"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "site-local"),
    ("ff00::/8", "multicast"),
)
_NETWORKS = tuple((ipaddress.ip_network(text), f"{name}, {text}") for text, name in _TABLE)
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)


def refusal(address: str | IPv4Address | IPv6Address) -> str | None:
    """The rule that forbids connecting to `address`, or None if it is public.

    What is no address is forbidden too.
    """
    ip = ip_of(address)
    if ip is None:
        return "not an IP address"
    if ip in METADATA:
        return METADATA[ip]
    for network, rule in _NETWORKS:
        if ip.version == network.version and ip in network:
            return rule
    if isinstance(ip, IPv6Address):
        if ip.scope_id:
            return "link-local, scoped"
        if (int(ip) >> 32) & 0xFFFF_FFFF in _ISATAP:
            return "IPv4 inside IPv6 (ISATAP)"
        if ip not in _GLOBAL_UNICAST:
            return "outside the global unicast space, 2000::/3"
    if not ip.is_global:
        return "not globally reachable"
    return None


def metadata(address: str | IPv4Address | IPv6Address) -> str | None:
    """The rule, if `address` is a cloud's metadata service, also when hidden inside IPv6."""
    ip = ip_of(address)
    if ip is None:
        return None
    return next((METADATA[form] for form in _forms(ip) if form in METADATA), None)


def ip_of(address: str | IPv4Address | IPv6Address) -> _Address | None:
    """The address that `address` spells, in the strict notation only; else None."""
    if not isinstance(address, str):
        return address
    try:
        return ipaddress.ip_address(address)
    except ValueError:
        return None


def _forms(ip: _Address) -> Iterable[_Address]:
    """The address, and every IPv4 address that some mechanism would read out of it."""
    yield ip
    if isinstance(ip, IPv6Address):
        bits = int(ip)
        yield IPv6Address(bits)  # without its scope
        yield IPv4Address(bits & 0xFFFF_FFFF)  # mapped, compatible, NAT64, ISATAP
        yield IPv4Address((bits >> 80) & 0xFFFF_FFFF)  # 6to4
        yield IPv4Address(~bits & 0xFFFF_FFFF)  # Teredo


_HOST_PORT = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(?P<port>[0-9]{1,5})")


def parse_host_port(text: str) -> tuple[str, int]:
    """`host:port` or `[v6]:port` as a pair. Raises ValueError."""
    match = _HOST_PORT.fullmatch(text.strip())
    if match is None or not 0 < int(match["port"]) < 65_536:
        raise ValueError(f"{text!r} is not host:port")
    return normal_host(match["host"]), int(match["port"])


def normal_host(host: str) -> str:
    """Lower case, no brackets, no root dot; IPv6 in its one short form."""
    host = host.strip("[]").lower().removesuffix(".")
    ip = ip_of(host)
    return str(ip) if ip is not None else host


def parse_allow(entries: Iterable[str]) -> frozenset[tuple[str, int]]:
    """The operator's exact `host:port` pairs. Raises ConfigError that names the bad one."""
    pairs = set()
    for entry in entries:
        try:
            host, port = parse_host_port(entry)
        except ValueError:
            raise ConfigError(
                f"net.allow holds {entry!r}, which is not an exact host:port pair.",
                code="config.net_allow",
                hint="Write one host and one port, such as 127.0.0.1:8000; no ranges, no *.",
                entry=entry,
            ) from None
        if rule := metadata(host):
            raise ConfigError(
                f"net.allow holds {entry!r}: {rule} can never be allowed.",
                code="config.net_allow",
                hint="Remove that entry.",
                entry=entry,
            )
        pairs.add((host, port))
    return frozenset(pairs)


_HOST = re.compile(r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+")


def parse_downgrade(entries: Iterable[str]) -> frozenset[str]:
    """The hosts of `net.allow_downgrade`. Raises ConfigError that names the bad one."""
    hosts = set()
    for entry in entries:
        if not _HOST.fullmatch(entry.strip()):
            raise ConfigError(
                f"net.allow_downgrade holds {entry!r}, which is not the name of one host.",
                code="config.net_allow_downgrade",
                hint="Write the host alone, such as www.example.org; no scheme, no port, no *.",
                entry=entry,
            )
        hosts.add(normal_host(entry.strip()))
    return frozenset(hosts)
