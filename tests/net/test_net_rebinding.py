"""Names that change their mind, and every way through the door: nothing is dialled unchecked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from ipaddress import IPv4Address, ip_address
from typing import Any
from urllib.parse import urlsplit

import httpcore2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.errors import GnomonError, UpstreamTerminal
from gnomon.net.address import refusal
from gnomon.net.target import SOCKETS, WEB, parse_target

PUBLIC = "93.184.216.34"


async def fetch(door: Any, address: str) -> None:
    await door.fetch(f"http://{address}", purpose="feed")


async def lines(door: Any, address: str) -> None:
    async with door.lines(f"http://{address}"):
        pass


async def events(door: Any, address: str) -> None:
    async with door.events(f"http://{address}"):
        pass


async def socket(door: Any, address: str) -> None:
    async with door.socket(f"ws://{address}"):
        pass


WAYS = pytest.mark.parametrize("way", [fetch, lines, events, socket])
Way = Callable[[Any, str], Awaitable[None]]


@WAYS
@pytest.mark.parametrize(
    "answers",
    [[PUBLIC, "127.0.0.1"], ["10.0.0.1", PUBLIC], ["::ffff:169.254.169.254"], ["fd00:ec2::254"]],
)
async def test_one_bad_address_is_enough(world: Any, way: Way, answers: list[str]) -> None:
    world.names.table["two.example"] = answers
    with pytest.raises(UpstreamTerminal) as caught:
        await way(world.door(), "two.example/")
    assert caught.value.code == "net.blocked" and world.internet.dialled == []


@WAYS
async def test_a_name_that_turns_inward(world: Any, way: Way) -> None:
    """Public when first asked, private afterwards: asked once a connection, dialled as checked."""
    world.names.table["turn.example"] = [[PUBLIC], ["127.0.0.1"], ["127.0.0.1"]]
    world.server.says(
        b"HTTP/1.1 404 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", close=True
    )
    door = world.door()
    if way is fetch:
        await way(door, "turn.example/")
    else:
        with pytest.raises(UpstreamTerminal) as first:
            await way(door, "turn.example/")
        assert first.value.code == "net.status"
    assert world.internet.dialled == [(PUBLIC, 80)] and world.names.asked == ["turn.example"]
    with pytest.raises(UpstreamTerminal) as caught:
        await way(door, "turn.example/")
    assert caught.value.code == "net.blocked"
    assert world.internet.dialled == [(PUBLIC, 80)]


@pytest.mark.parametrize("way", [fetch, lines, events])
async def test_a_redirect_to_a_name_that_turns_inward(world: Any, way: Way) -> None:
    world.names.table["turn.example"] = [[PUBLIC], ["127.0.0.1"]]
    world.server.says(
        b"HTTP/1.1 302 x\r\nlocation: http://turn.example/again\r\nconnection: close\r\n"
        b"content-length: 0\r\n\r\n",
        close=True,
    )
    with pytest.raises(UpstreamTerminal) as caught:
        await way(world.door(), "turn.example/")
    assert caught.value.code == "net.blocked"
    assert world.internet.dialled == [(PUBLIC, 80)]


@WAYS
async def test_no_known_trick_connects(
    world: Any, way: Way, ssrf_lines: Mapping[str, list[str]]
) -> None:
    """Whatever is not listed as public resolves to loopback here, so a name is refused too."""
    door = world.door()
    for trick in (line for found in ssrf_lines.values() for line in found):
        if trick.startswith("#"):
            continue
        with pytest.raises(GnomonError):
            await way(door, trick.partition("://")[2] or trick)
        assert world.internet.dialled == [], trick


_HOSTS = st.one_of(
    st.integers(0, 2**32 - 1).map(lambda n: str(IPv4Address(n))),
    st.integers(0, 2**32 - 1).map(lambda n: str(n)),
    st.integers(0, 2**32 - 1).map(hex),
    st.integers(0, 2**128 - 1).map(lambda n: f"[{ip_address(n) if n >= 2**32 else '::1'}]"),
    st.text("abc.-_%[]:@#?/\\0123456789xéａ。", min_size=1, max_size=20),
)


@given(st.sampled_from([*WEB, *SOCKETS]), _HOSTS, st.text("/?#@:\\a.%", max_size=8))
def test_every_parser_reads_the_host_that_was_checked(scheme: str, host: str, tail: str) -> None:
    """What the client's own parser, and the standard library's, read in the address we send."""
    try:
        target = parse_target(f"{scheme}://{host}{tail}", (*WEB, *SOCKETS))
    except UpstreamTerminal as error:
        assert error.code in ("net.url", "net.scheme")
        return
    client = httpcore2.URL(target.url)
    assert client.host.decode().strip("[]") == target.host
    library = urlsplit(target.url)
    assert (library.hostname, library.scheme) == (target.host, target.scheme)
    assert library.username is None and library.port in (None, target.port)
    assert parse_target(target.url, (*WEB, *SOCKETS)) == target


@given(st.one_of(st.integers(0, 2**32 - 1), st.integers(0, 2**128 - 1)))
def test_nothing_passes_that_the_library_calls_private(number: int) -> None:
    address = ip_address(number)
    if refusal(address) is None:
        assert address.is_global and not address.is_multicast
        assert not (address.is_private or address.is_reserved or address.is_link_local)
