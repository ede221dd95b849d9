"""Settings of the Bluesky source."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator

from gnomon.sources.base import SourceSettings
from gnomon.sources.bluesky_posts import POST
from gnomon.sources.bluesky_wire import endpoints

Kind = Literal["commit", "identity", "account", "sync"]
DID = re.compile(r"did:(plc:[a-z2-7]{24}|web:[A-Za-z0-9.:%-]{1,200})")
HANDLE = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")


class BlueskySettings(SourceSettings):
    """Settings of a Bluesky source; as they stand, it follows the posts of the whole network."""

    endpoints: tuple[str, ...] = Field(
        ("wss://jetstream.us-east.bsky.network", "wss://jetstream.us-west.bsky.network"),
        min_length=1,
        description="Jetstream servers; the next is tried when one fails.",
    )
    protocol: Literal["auto", "v2", "v1"] = Field(
        "auto", description="Version of the protocol; auto goes by the address."
    )
    kinds: tuple[Kind, ...] = Field(
        (), description="Kinds of events (version 2); commit and account must be among them."
    )
    dids: tuple[str, ...] = Field((), max_length=10_000, description="Follow only these accounts.")
    handles: tuple[str, ...] = Field(
        (), max_length=1_000, description="Follow only these accounts, by handle."
    )
    collections: tuple[str, ...] = Field(
        (POST,), min_length=1, max_length=100, description="Types of records; `ns.*` takes many."
    )
    languages: tuple[str, ...] = Field(
        (), description="Keep posts in these languages, as claimed; `und` keeps those without."
    )
    min_letters: int = Field(
        0, ge=0, description="Leave out posts with fewer letters, unless they carry a link."
    )
    require_link: bool = Field(False, description="Keep only posts that carry a link.")
    max_per_s: float | None = Field(
        None, gt=0, description="Keep at most this many new posts a second, drawn at random."
    )
    erase_deleted: bool = Field(
        False, description="Erase deleted posts from all history instead of ending them."
    )
    compression: bool = Field(True, description="Ask version 2 servers for compressed frames.")
    idle_s: float = Field(
        60.0,
        gt=0,
        description="Open the stream anew after so many seconds without an event. Where accounts "
        "were chosen, silence is normal and only the connection is watched.",
    )
    backfill_s: float = Field(
        60.0, ge=0, description="How far back the very first start begins, in seconds."
    )
    api: str = Field("https://public.api.bsky.app", description="Public API that resolves handles.")

    @field_validator("kinds")
    @classmethod
    def _with_markers(cls, kinds: tuple[Kind, ...]) -> tuple[Kind, ...]:
        if kinds and not {"commit", "account"} <= set(kinds):
            raise ValueError(
                "kinds must contain commit and account: without account, deletions of accounts "
                "would not be heard"
            )
        return kinds

    @field_validator("dids")
    @classmethod
    def _are_dids(cls, dids: tuple[str, ...]) -> tuple[str, ...]:
        for did in dids:
            if not DID.fullmatch(did):
                raise ValueError(f"{did} is no DID (did:plc:… or did:web:…)")
        return dids

    @field_validator("handles")
    @classmethod
    def _are_handles(cls, handles: tuple[str, ...]) -> tuple[str, ...]:
        plain = tuple(handle.removeprefix("@").lower() for handle in handles)
        for handle in plain:
            if not HANDLE.fullmatch(handle):
                raise ValueError(f"{handle} is no handle (name.example.com)")
        return plain

    @field_validator("endpoints")
    @classmethod
    def _are_endpoints(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        endpoints(addresses, "auto")
        return addresses
