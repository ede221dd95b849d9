"""Which connectors there are, and which of them understands what a person pasted.

Connectors are entry points of the group `gnomon.sources`. One that cannot be loaded is reported
in `broken` and stays out; it never stops the others.
"""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Iterable, Mapping
from datetime import datetime
from importlib.metadata import entry_points
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from gnomon.errors import (
    ConfigError,
    ContentError,
    UpstreamError,
    UpstreamTerminal,
    UpstreamTransient,
)
from gnomon.extract.feeds import parse_feed
from gnomon.extract.html import extract_page
from gnomon.log import get_logger
from gnomon.net.base import Fetcher, Response
from gnomon.sources import feed, page, search, sitemap
from gnomon.sources.base import SourceSettings, SourceSpec
from gnomon.sources.opml import MAX_OPML_BYTES, FeedList, looks_like_opml, read_opml
from gnomon.sources.polling import web_address
from gnomon.sources.sitemap_xml import looks_like_sitemap
from gnomon.types import SourceConfig

GROUP = "gnomon.sources"
_ASKED_LAST = ("replay", "search", "feed", "page")
"""Our general connectors answer after the particular ones; any address is a page."""
_GENERAL = ("feed", "page", "sitemap")
"""Connectors for which only a look tells what an address really is."""
_MAX_ANNOUNCED = 3
_FEED_ROOTS = (b"<?xml", b"<rss", b"<feed", b"<rdf")
_USUAL_FEEDS = ("/feed", "/rss.xml", "/atom.xml", "/feed.xml", "/index.xml")
"""Where sites keep their feed when their home page does not say."""


class Registry:
    """The installed connectors, by name."""

    def __init__(
        self, specs: Iterable[SourceSpec], *, broken: Mapping[str, str] | None = None
    ) -> None:
        self.specs: Mapping[str, SourceSpec] = {spec.name: spec for spec in specs}
        self.broken: Mapping[str, str] = dict(broken or {})
        """Entry points that could not be loaded, and why."""

    @classmethod
    def installed(cls) -> Registry:
        """All connectors that are installed with this Python."""
        specs: list[SourceSpec] = []
        broken: dict[str, str] = {}
        for point in entry_points(group=GROUP):
            try:
                spec = point.load()
            except Exception as error:  # a plugin's import may fail in any way
                broken[point.name] = f"{point.value} cannot be loaded: {error!r}"
            else:
                if isinstance(spec, SourceSpec):
                    specs.append(spec)
                else:
                    broken[point.name] = f"{point.value} is no SourceSpec but {type(spec).__name__}"
        for name, reason in broken.items():
            get_logger().error("plugin.broken", plugin=name, reason=reason)
        return cls(specs, broken=broken)

    def get(self, type: str) -> SourceSpec:
        """The connector called `type`. Raises ConfigError with a suggestion."""
        if type in self.specs:
            return self.specs[type]
        if type in self.broken:
            raise ConfigError(
                f"The connector {type!r} is broken: {self.broken[type]}.",
                code="source.broken",
                hint="Reinstall or remove its package.",
                type=type,
            )
        near = difflib.get_close_matches(type, self.specs, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Installed: {self._names()}."
        raise ConfigError(
            f"No connector is called {type!r}.", code="source.unknown_type", hint=hint, type=type
        )

    def settings(self, config: SourceConfig) -> SourceSettings:
        """The parsed settings of a configured source. Raises ConfigError that names the key."""
        spec = self.get(config.type)
        try:
            return spec.settings.model_validate(dict(config.settings))
        except ValidationError as error:
            # A misspelt key explains a missing one better than the other way round.
            first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
            key = ".".join(map(str, first["loc"]))
            # Its own first; those that every source has come last.
            known = sorted(spec.settings.model_fields, key=SourceSettings.model_fields.__contains__)
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"See docs/{spec.docs_url}.md."
            if first["type"] in ("extra_forbidden", "missing"):
                hint = f"Known settings: {', '.join(known)}."
            said = first["msg"].removeprefix("Value error, ")
            # A secret is not told again, neither under its name nor under one that is misspelt.
            hidden = {key, *near} & _secrets(spec)
            value = "" if hidden else f" = {first['input']!r}"
            what = f"setting {key}{value} is not valid: {said}"
            if first["type"] == "missing":
                what = f"the setting {key} is missing"
            elif first["type"] == "extra_forbidden":
                what = f"there is no setting {key}"
                hint = f"Did you mean {near[0]}?" if near else hint
            raise ConfigError(
                # A rule over several settings names none of them.
                f"{config.name}: {what if key else said}.",
                code="source.settings",
                hint=hint,
                source=config.name,
                key=key,
            ) from None

    def examine(self, config: SourceConfig) -> dict[str, Any]:
        """What keeps a source from being followed, if anything, and the secrets it can use."""
        problem = ""
        try:
            self.settings(config)
        except ConfigError as error:
            problem = str(error)
        spec = self.specs.get(config.type)
        secrets = _secrets(spec) if spec else set()
        fields = spec.settings.model_fields if spec else {}
        keys = [
            {"name": name, "description": field.description or "", "set": name in config.settings}
            for name, field in fields.items()
            if name in secrets
        ]
        return {"problem": problem, "keys": keys}

    def identify(self, text: str) -> SourceConfig:
        """The source that a pasted address, handle or path means, judged by its form alone.

        `feed:https://…` or another connector's name in front decides. Raises ConfigError.
        """
        text = text.strip()
        type, colon, rest = text.partition(":")
        rest = rest.strip().removeprefix("//")  # some programs copy `feed://example.org/news`
        if colon and rest and type in self.specs:
            spec = self.specs[type]
            # Some read more into a text that names them: `@name` belongs to several services.
            config = spec.identify(rest) or spec.identify(f"{type}:{rest}")
            if config is None and type == "feed" and web_address(rest):
                config = feed.config_for(web_address(rest))
            if config is None and type == "sitemap" and web_address(rest):
                config = sitemap.config_for(web_address(rest))
            if config is None and type == "search":
                config = search.config_for(rest)
            if config is not None:
                return config
            raise ConfigError(
                f"{rest!r} is nothing that the connector {type!r} can follow.",
                code="source.unidentified",
                hint=f"It follows {_such_as(spec)}. See docs/{spec.docs_url}.md.",
            )
        order = sorted(
            self.specs.values(),
            key=lambda s: (_ASKED_LAST.index(s.name) + 1 if s.name in _ASKED_LAST else 0, s.name),
        )
        for spec in order:
            try:
                config = spec.identify(text)
            except Exception as error:  # what a plugin does not foresee harms nobody else
                get_logger().warning("plugin.identify", plugin=spec.name, reason=repr(error))
                continue
            if config is not None:
                return config
        raise ConfigError(
            f"{text[:200]!r} is no address, handle or file that can be followed.",
            code="source.unidentified",
            hint=self._hint(text),
        )

    def _hint(self, text: str) -> str:
        """What may have been meant by a text that nothing can follow."""
        _, colon, rest = text.partition("://")
        if colon:
            return f"Only http and https are followed: https://{rest[:200]}, perhaps?"
        if (spec := self.specs.get(text)) is not None:
            return (
                f"The connector {text} wants to be told what to follow: {_such_as(spec)}, or "
                f"`--type {text} --set KEY=VALUE`. See docs/{spec.docs_url}.md."
            )
        if text.startswith(("/", "./", "../", "~")):
            return "There is no such file here."
        if len(text) > 1 and text.startswith("@") and text.count("@") == 1:
            name = text[1:100]
            return (
                f"Of which service? bluesky:{name}.bsky.social, @{name}@mastodon.social for "
                f"Mastodon, x:@{name} for X."
            )
        name, colon, rest = text.partition(":")
        if colon and name.isidentifier():
            near = difflib.get_close_matches(name, self.specs, n=1)
            meant = (
                f"did you mean {near[0]}:{rest[:100]}?" if near else f"there are {self._names()}."
            )
            return f"No connector is called {name!r}: {meant}"
        if "search" in self.specs and len(text) < 100 and not set(text) & set("/.@"):
            return f"To follow what is written about it: gnomon sources add 'search:{text}'."
        return "Give a full address (https://…), a handle (@name@server), or the path of a file."

    async def probe(self, text: str, *, fetcher: Fetcher, now: datetime) -> SourceConfig:
        """Like `survey`, for who wants one source: a list of several is a ConfigError."""
        configs = (await self.survey(text, fetcher=fetcher, now=now)).configs
        if len(configs) > 1:
            raise ConfigError(
                f"{text} is a list of {len(configs):,} feeds.",
                code="source.list",
                hint="Follow them all with `gnomon sources add`, or give the address of one.",
            )
        return configs[0]

    async def survey(self, text: str, *, fetcher: Fetcher, now: datetime) -> FeedList:
        """Like `identify`, but for a web address also look what is there; at least one source.

        An OPML list gives all its feeds, and tells what else it holds. A feed is followed as a
        feed, a sitemap as a sitemap, a page that announces feeds by the first of them; for a home
        page that announces none, the usual addresses are tried. Any other page is watched. A
        connector's name in front of the address, or an address that means another one, decides
        without a look. Raises ConfigError, what the door raises, and UpstreamTerminal that says
        what was tried.
        """
        config = self.identify(text)
        url = web_address(text)
        # An address that means another one (a repository: its releases) needs no look, either.
        if not url or config.type not in _GENERAL or config.settings.get("url") != url:
            return _one(config)
        try:
            response = await fetcher.fetch(url, purpose="user", max_body_bytes=MAX_OPML_BYTES)
        except UpstreamTransient as error:
            raise UpstreamTerminal(
                error.message,
                code=error.code,
                hint="Nothing is followed yet: check how the address is written, or try later.",
                url=url,
            ) from None
        except ContentError as error:
            raise UpstreamTerminal(
                f"{url} cannot be followed. {error.message}",
                code=error.code,
                hint="Look for a smaller feed, or a page, of that site.",
                url=url,
            ) from None
        if response.status >= 400:
            raise UpstreamTerminal(
                f"{url} answers {response.status}.",
                code="source.refused",
                hint="Check the address in a browser.",
                url=url,
                status=response.status,
            )
        address = response.permanent_url or url
        if looks_like_opml(response.body):
            listed = await asyncio.to_thread(read_opml, response.body, url=response.url)
            if listed.configs:
                return listed
            first = f" {s.entry}: {s.reason}." if (s := next(iter(listed.skipped), None)) else ""
            raise UpstreamTerminal(
                f"{url} is an OPML list without feeds.{first}",
                code="source.empty",
                hint="Export it again from the program that made it.",
                url=url,
            )
        if looks_like_sitemap(response.body):
            return _one(sitemap.config_for(address))
        title, not_a_feed = await _feed_title(response, now)
        if title is not None:
            return _one(feed.config_for(address, title))
        try:
            read = await asyncio.to_thread(
                extract_page,
                response.body,
                url=response.url,
                content_type=response.headers.get("content-type", ""),
                now=now,
            )
        except ContentError as error:
            is_feed = response.body.lstrip()[:500].lower().startswith(_FEED_ROOTS)
            reason = not_a_feed if is_feed else error.message
            raise UpstreamTerminal(
                f"{url} is no feed, no OPML list, no sitemap and no page that can be watched. "
                f"{reason}",
                code="source.unknown_content",
                hint="Give the address of a feed or of a page.",
                url=url,
            ) from None
        # A site's own feed comes first by custom, but comments are not what is wanted.
        announced = sorted(read.feeds, key=lambda link: "comment" in link.lower())
        for link in announced[:_MAX_ANNOUNCED]:
            if (found := await _feed_at(link, fetcher, now)) is not None:
                address, title = found
                return _one(feed.config_for(address, read.site or read.title or title))
        guessed = await _guessed_feed(response.url, fetcher, now)
        if guessed is not None:
            return _one(guessed)
        if not read.text:
            raise UpstreamTerminal(
                f"{url} announces no feed that answers, and holds no readable text.",
                code="source.empty",
                hint="Its text may need JavaScript. Look for a feed or sitemap of that site.",
                url=url,
            )
        return _one(page.config_for(address, read.title))

    def _names(self) -> str:
        return ", ".join(sorted(self.specs)) or "none"


def _one(config: SourceConfig) -> FeedList:
    return FeedList(configs=(config,))


async def _feed_title(response: Response, now: datetime) -> tuple[str | None, str]:
    """The title of the feed that was answered, None if it is none; and why not."""
    try:
        found = await asyncio.to_thread(
            parse_feed,
            response.body,
            url=response.url,
            content_type=response.headers.get("content-type", ""),
            now=now,
        )
    except ContentError as error:
        return None, error.message
    return found.title, ""


async def _guessed_feed(url: str, fetcher: Fetcher, now: datetime) -> SourceConfig | None:
    """The feed of a home page that announces none, if it is where feeds usually are."""
    parts = urlsplit(url)
    if parts.path not in ("", "/") or parts.query:
        return None
    for path in _USUAL_FEEDS:
        found = await _feed_at(f"{parts.scheme}://{parts.netloc}{path}", fetcher, now)
        if found is not None:
            return feed.config_for(*found)
    return None


async def _feed_at(url: str, fetcher: Fetcher, now: datetime) -> tuple[str, str] | None:
    """Address and title of the feed that answers there, if one does."""
    try:
        response = await fetcher.fetch(url, purpose="user")
    except (UpstreamError, ContentError):
        return None
    title = (await _feed_title(response, now))[0] if response.status == 200 else None
    return None if title is None else (response.permanent_url or url, title)


def _such_as(spec: SourceSpec) -> str:
    return "what looks like " + " or ".join(spec.examples) if spec.examples else "something else"


def _secrets(spec: SourceSpec) -> set[str]:
    """The names of a connector's settings that are secrets."""
    fields = spec.settings.model_fields.items()
    return {name for name, field in fields if "SecretStr" in str(field.annotation)}
