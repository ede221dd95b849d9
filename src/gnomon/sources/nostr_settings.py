"""Settings of the Nostr source, and the reading of public keys (NIP-19)."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from gnomon.sources.base import SourceSettings


class NostrSettings(SourceSettings):
    """Settings of a Nostr source."""

    relays: tuple[str, ...] = Field(
        ("wss://relay.damus.io", "wss://nos.lol"),
        min_length=1,
        max_length=20,
        description="Relays, all followed at once; what several have is taken once.",
    )
    authors: tuple[str, ...] = Field(
        (), max_length=1_000, description="Public keys to follow, as npub or hexadecimal."
    )
    hashtags: tuple[str, ...] = Field((), max_length=100, description="Hashtags, without #.")
    backfill_s: float = Field(
        3_600.0, ge=0, description="How far back the very first start begins, in seconds."
    )
    overlap_s: float = Field(
        600.0, ge=0, description="How much is asked for again after a break, for late arrivals."
    )
    page: int = Field(500, ge=1, le=5_000, description="Events asked for at once.")

    @field_validator("relays")
    @classmethod
    def _are_relays(cls, relays: tuple[str, ...]) -> tuple[str, ...]:
        for relay in relays:
            parts = urlsplit(relay)
            if parts.scheme not in ("ws", "wss") or not parts.hostname:
                raise ValueError(f"{relay} is no ws:// or wss:// address")
        return relays

    @field_validator("authors")
    @classmethod
    def _are_keys(cls, authors: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(hex_key(author) for author in authors)

    @field_validator("hashtags")
    @classmethod
    def _are_plain(cls, hashtags: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(tag.removeprefix("#").lower() for tag in hashtags)


_CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def hex_key(text: str) -> str:
    """A public key in hexadecimal. Raises ValueError for what is none."""
    lowered = text.strip().lower().removeprefix("nostr:")
    if len(lowered) == 64 and all(c in "0123456789abcdef" for c in lowered):
        return lowered
    values = [_CHARSET.find(c) for c in lowered.removeprefix("npub1")]
    if not lowered.startswith("npub1") or len(values) != 58 or -1 in values:
        raise ValueError(f"{text} is no public key (npub1… or 64 hexadecimal digits)")
    if _checksum([3, 3, 3, 3, 0, 14, 16, 21, 2, *values]) != 1:
        raise ValueError(f"{text} has a wrong checksum; was it mistyped?")
    number = 0
    for value in values[:52]:
        number = number << 5 | value
    return f"{number >> 4:064x}"


def _checksum(values: Sequence[int]) -> int:
    """BIP-173's checksum: 1 for what was copied rightly."""
    total = 1
    for value in values:
        top = total >> 25
        total = (total & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(
            (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
        ):
            total ^= generator if top >> bit & 1 else 0
    return total
