"""Which timelines of a Mastodon server are followed: settings, and what a person pasted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import quote, urlsplit

import msgspec
from pydantic import Field, SecretStr, field_validator, model_validator

from gnomon.sources.base import SourceSettings
from gnomon.sources.polling import web_address
from gnomon.types import SourceConfig

_ACCOUNT = re.compile(r"@?([A-Za-z0-9_][A-Za-z0-9_.-]*)@([A-Za-z0-9.-]+\.[A-Za-z0-9-]+(?::\d+)?)")


class MastodonSettings(SourceSettings):
    """Settings of one Mastodon server."""

    server: str = Field(description="The server: `mastodon.example` or `https://…`.")
    token: SecretStr | None = Field(
        None, description="A user's access token, best as `env:NAME` or `file:PATH`."
    )
    public: bool = Field(False, description="Follow everything the server sees.")
    local: bool = Field(False, description="Follow what the server's own users write.")
    home: bool = Field(False, description="Follow the home timeline of the token's user.")
    tags: tuple[str, ...] = Field((), description="Hashtags to follow.")
    lists: tuple[str, ...] = Field((), description="Ids of lists of the token's user.")
    accounts: tuple[str, ...] = Field((), description="Accounts to follow, `@user@host`.")
    trends: tuple[Literal["links", "statuses", "tags"], ...] = Field(
        (), description="What is trending there."
    )
    transport: Literal["auto", "sse", "websocket"] = Field(
        "auto", description="`auto` takes one WebSocket where more than one timeline is heard."
    )
    interval_s: float = Field(120.0, ge=0.05, description="Time between two polls of a timeline.")
    trends_interval_s: float = Field(900.0, ge=0.05, description="Time between looks at trends.")
    recheck_every_s: float = Field(
        3_600.0, gt=0, description="Time between two searches for what was deleted."
    )
    recheck_days: float = Field(2.0, ge=0, description="How old posts are that are checked so.")
    recheck_posts: int = Field(200, ge=0, description="How many of them at most, newest first.")
    idle_s: float = Field(
        90.0, gt=0, description="Longest silence of an SSE stream; heartbeats come each 30 seconds."
    )

    @field_validator("server")
    @classmethod
    def _is_an_address(cls, server: str) -> str:
        url = web_address(server.strip().rstrip("/"))
        if not url or urlsplit(url).path.strip("/"):
            raise ValueError(f"{server!r} is no server")
        return url

    @field_validator("tags")
    @classmethod
    def _without_marks(cls, tags: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(tag.strip().lstrip("#").lower() for tag in tags if tag.strip()))

    @model_validator(mode="after")
    def _is_enough(self) -> MastodonSettings:
        if not (timelines(self) or self.accounts or self.trends):
            raise ValueError(
                "choose at least one of public, local, home, tags, lists, accounts, trends"
            )
        if (self.home or self.lists) and self.token is None:
            raise ValueError("home and lists need a token")
        return self


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """One timeline: how it is paged, and how it is heard."""

    name: str
    path: str
    params: Mapping[str, str] = {}
    stream: str = ""
    """Its name in the WebSocket; empty if it cannot be heard."""
    sse: str = ""


def timelines(settings: MastodonSettings) -> list[Timeline]:
    """The configured timelines, but accounts, whose ids the server has to tell."""
    found = []
    at = "/api/v1/timelines"
    if settings.public:
        found.append(Timeline(name="public", path=f"{at}/public", stream="public", sse="public"))
    if settings.local:
        found.append(
            Timeline(
                name="local",
                path=f"{at}/public",
                params={"local": "true"},
                stream="public:local",
                sse="public/local",
            )
        )
    if settings.home:
        found.append(Timeline(name="home", path=f"{at}/home", stream="user", sse="user"))
    for tag in settings.tags:
        found.append(
            Timeline(
                name=f"tag:{tag}", path=f"{at}/tag/{quote(tag)}", stream="hashtag", sse="hashtag"
            )
        )
    for number in settings.lists:
        found.append(
            Timeline(
                name=f"list:{number}", path=f"{at}/list/{quote(number)}", stream="list", sse="list"
            )
        )
    return found


def is_open(instance: Mapping[str, Any], timeline: Timeline) -> bool:
    """Whether the server shows this timeline to everybody; what it does not say is tried."""
    configuration = instance.get("configuration")
    access = configuration.get("timelines_access") if isinstance(configuration, dict) else None
    feeds = "hashtag_feeds" if timeline.name.startswith("tag:") else "live_feeds"
    rules = access.get(feeds) if isinstance(access, dict) else None
    if not isinstance(rules, dict):
        return True
    parts = ("local",) if timeline.name == "local" else ("local", "remote")
    return any(rules.get(part) in ("public", None) for part in parts)


def identify(text: str) -> SourceConfig | None:
    """`@user@host`, a profile's address, a tag's address, or a server behind `mastodon:`."""
    text = text.strip()
    named = text.startswith("mastodon:")
    text = text.removeprefix("mastodon:").strip()
    account = _ACCOUNT.fullmatch(text)
    if account is not None and text.startswith("@"):
        user, host = account.groups()
        return _config(f"https://{host}", host, f"@{user}", accounts=[f"@{user}@{host}"])
    url = web_address(text)
    parts = urlsplit(url)
    server, path = f"{parts.scheme}://{parts.netloc}", parts.path.strip("/").split("/")
    if url and len(path) == 1 and re.fullmatch(r"@[A-Za-z0-9_.-]+(@[A-Za-z0-9.-]+)?", path[0]):
        handle = path[0] if "@" in path[0][1:] else f"{path[0]}@{parts.netloc}"
        return _config(server, parts.netloc, path[0], accounts=[handle])
    if url and len(path) == 2 and path[0] == "tags" and named:
        return _config(server, parts.netloc, f"#{path[1]}", tags=[path[1]])
    if url and named and path == [""]:
        return _config(server, parts.netloc, "", trends=["links", "statuses"])
    return None


def _config(server: str, host: str, what: str, **settings: Any) -> SourceConfig:
    name = f"mastodon:{host.lower()}{'/' if what else ''}{what}"
    return SourceConfig(name=name, type="mastodon", settings={"server": server, **settings})
