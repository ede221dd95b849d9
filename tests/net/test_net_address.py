"""Every address of the block list is refused, every disguise of one too; public ones pass."""

from __future__ import annotations

import contextlib
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.errors import ConfigError, UpstreamTerminal
from gnomon.net.address import (
    METADATA,
    metadata,
    normal_host,
    parse_allow,
    parse_downgrade,
    refusal,
)
from gnomon.net.target import join, parse_target

BLOCKED = [
    "0.0.0.0/8", "10.0.0.0/8", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10",
    "169.254.0.0/16", "192.0.0.0/24", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24",
    "198.18.0.0/15", "192.88.99.0/24", "224.0.0.0/4", "240.0.0.0/4", "::/128", "::1/128",
    "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8", "2001:db8::/32", "3fff::/20", "5f00::/16",
    "100::/64", "::ffff:0:0/96", "::/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16",
    "2001::/32",
]  # fmt: skip
PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "2a00:1450:4001::1"]


@pytest.mark.parametrize("network", BLOCKED)
def test_every_blocked_network_from_end_to_end(network: str) -> None:
    net = ipaddress.ip_network(network)
    for index in (0, net.num_addresses // 3, net.num_addresses - 1):
        assert refusal(str(net[index])), net[index]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_pass(address: str) -> None:
    assert refusal(address) is None


@pytest.mark.parametrize(
    "address", ["fe80::1%eth0", "2606:4700:4700::1111%1", "localhost", "127.1", ""]
)
def test_what_is_no_plain_address_is_refused(address: str) -> None:
    assert refusal(address)


@given(st.ip_addresses())
def test_only_global_unicast_passes(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if refusal(ip) is None:
        assert ip.is_global
        assert not ip.is_multicast
        assert not (ip.version == 6 and (ip.ipv4_mapped or ip.sixtofour or ip.teredo))


@given(st.ip_addresses(v=4), st.integers(0, 2**64 - 1))
def test_no_ipv4_hides_in_ipv6(v4: ipaddress.IPv4Address, prefix: int) -> None:
    bits = int(v4)
    forms = [
        bits,
        (0xFFFF << 32) | bits,
        (0x64FF9B << 96) | bits,
        (0x2002 << 112) | (bits << 80),
        (0x20010000 << 96) | (~bits & 0xFFFFFFFF),
        (prefix << 64) | (0x5EFE << 32) | bits,
        (prefix << 64) | (0x02005EFE << 32) | bits,
    ]
    for form in forms:
        assert refusal(ipaddress.IPv6Address(form)), ipaddress.IPv6Address(form)


@pytest.mark.parametrize("address", [str(a) for a in METADATA])
def test_metadata_is_known_in_every_disguise(address: str) -> None:
    assert metadata(address)
    if ":" not in address:
        assert metadata(f"::ffff:{address}")
        assert metadata(f"64:ff9b::{address}")
        assert metadata(f"::{address}")
    with pytest.raises(ConfigError, match="never be allowed"):
        parse_allow([f"[{address}]:80" if ":" in address else f"{address}:80"])


def test_allow_list_is_exact() -> None:
    assert parse_allow(["127.0.0.1:8000", "Wiki.Local.:80", "[::1]:8080"]) == {
        ("127.0.0.1", 8000),
        ("wiki.local", 80),
        ("::1", 8080),
    }
    for bad in ("127.0.0.1", "*:80", "10.0.0.0/8:80", "host:0", "host:99999", "http://h:80", ""):
        with pytest.raises(ConfigError, match="exact host:port"):
            parse_allow([bad])


@pytest.mark.parametrize(
    ("url", "origin", "path"),
    [
        ("http://Example.COM:80/a?b=c#d", "http://example.com", "/a?b=c"),
        ("https://example.com.", "https://example.com", "/"),
        ("https://münchen.de/ä ö", "https://xn--mnchen-3ya.de", "/%C3%A4%20%C3%B6"),
        ("http://[2606:4700:4700:0:0:0:0:1111]:8080/", "http://[2606:4700:4700::1111]:8080", "/"),
        ("http://a_b.example?x", "http://a_b.example", "/?x"),
    ],
)
def test_targets_have_one_spelling(url: str, origin: str, path: str) -> None:
    target = parse_target(url)
    assert (target.origin, target.path) == (origin, path)
    assert parse_target(target.url) == target


def test_messages_leave_a_long_query_out() -> None:
    assert parse_target("https://a.example/b?c=d").shown == "https://a.example/b?c=d"
    assert parse_target(f"https://a.example/b?c={'d' * 60}").shown == "https://a.example/b?…"
    assert parse_target(f"https://a.example/{'b' * 90}").shown == f"https://a.example/{'b' * 90}"


@pytest.mark.parametrize(
    "url",
    [
        "http://user:secret@example.com/",
        "http://example.com\\@evil.example/",
        "http://exa mple.com/",
        "http://ex%61mple.com/",
        "http://example.com:0/",
        "http://example.com:99999/",
        "http://127.1/",
        "http://0x7f.0.0.1/",
        "http://2130706433/",
        "http://[::1%25lo]/",
        "http://①②⑦.0.0.1/",
        "http:///etc/passwd",
        "http://-a.example/",
        "http://a..example/",
        "http://example.com/\r\nHost: x",
        "https://" + "a" * 9_000,
        "",
    ],
)
def test_ambiguous_addresses_are_refused(url: str) -> None:
    with pytest.raises(UpstreamTerminal) as caught:
        parse_target(url)
    assert caught.value.code in ("net.url", "net.scheme")
    assert "secret" not in str(caught.value)


@given(st.text(max_size=200) | st.from_regex(r"https?://[^\s]{0,80}", fullmatch=True))
def test_any_text_is_a_clean_target_or_refused(text: str) -> None:
    try:
        target = parse_target(text)
    except UpstreamTerminal:
        return
    assert target.scheme in ("http", "https")
    assert target.host == normal_host(target.host) and target.host.isascii()
    assert not set(target.host) & set("@/\\ %?#\t\r\n")
    assert target.path.startswith("/") and target.path.isascii() and " " not in target.path
    assert parse_target(target.url) == target


@given(st.text(max_size=200))
def test_any_location_is_joined_or_refused(location: str) -> None:
    base = parse_target("https://news.example/a/b")
    with contextlib.suppress(UpstreamTerminal):
        assert parse_target(join(base, location)).scheme in ("http", "https")


def test_hosts_that_may_be_reached_in_plain_are_exact() -> None:
    assert parse_downgrade([" Old.Example. ", "[::1]"]) == {"old.example", "::1"}
    for bad in ("http://old.example", "old.example:80", "*.example", "", "a b"):
        with pytest.raises(ConfigError) as caught:
            parse_downgrade([bad])
        assert caught.value.code == "config.net_allow_downgrade"
