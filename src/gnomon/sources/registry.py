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

from pydantic import ValidationError

from gnomon.errors import ConfigError, ContentError, UpstreamTerminal
from gnomon.extract.feeds import parse_feed
from gnomon.extract.html import extract_page
from gnomon.log import get_logger
from gnomon.net.base import Fetcher
from gnomon.sources import feed, page
from gnomon.sources.base import SourceSettings, SourceSpec
from gnomon.sources.polling import web_address
from gnomon.types import SourceConfig

GROUP = "gnomon.sources"
_ASKED_LAST = ("replay", "feed", "page")
"""Our general connectors answer after the particular ones; any address is a page."""


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
            known = list(spec.settings.model_fields)
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"Known settings: {', '.join(known)}."
            if first["type"] == "extra_forbidden" and near:
                hint = f"Did you mean {near[0]}?"
            raise ConfigError(
                f"{config.name}: setting {key} = {first['input']!r} is not valid: {first['msg']}.",
                code="source.settings",
                hint=hint,
                source=config.name,
                key=key,
            ) from None

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
            if config is not None:
                return config
            raise ConfigError(
                f"{rest!r} is nothing that the connector {type!r} can follow.",
                code="source.unidentified",
                hint=f"See {self.specs[type].docs_url}.",
            )
        order = sorted(
            self.specs.values(),
            key=lambda s: (_ASKED_LAST.index(s.name) + 1 if s.name in _ASKED_LAST else 0, s.name),
        )
        for spec in order:
            config = spec.identify(text)
            if config is not None:
                return config
        raise ConfigError(
            f"{text!r} is no web address, no file that can be replayed, and nothing else known.",
            code="source.unidentified",
            hint="Give a full address (https://…) or the path of an existing .jsonl, .parquet "
            f"or .warc file. Installed connectors: {self._names()}.",
        )

    async def probe(self, text: str, *, fetcher: Fetcher, now: datetime) -> SourceConfig:
        """Like `identify`, but for a web address also look what is there.

        The address is fetched once: a feed is followed as a feed, a page that announces feeds
        by the first of them, any other page is watched. A connector's name in front of the
        address decides without a look. Raises ConfigError, and what the door raises.
        """
        config = self.identify(text)
        url = web_address(text)
        if not url or config.type not in ("feed", "page"):
            return config
        response = await fetcher.fetch(url, purpose="user")
        if response.status >= 400:
            raise UpstreamTerminal(
                f"{url} answers {response.status}.",
                code="source.refused",
                hint="Check the address in a browser.",
                url=url,
                status=response.status,
            )
        address = response.permanent_url or url
        content_type = response.headers.get("content-type", "")
        body, at = response.body, response.url
        try:
            found = await asyncio.to_thread(
                parse_feed, body, url=at, content_type=content_type, now=now
            )
        except ContentError:
            pass
        else:
            return feed.config_for(address, found.title)
        read = await asyncio.to_thread(
            extract_page, body, url=at, content_type=content_type, now=now
        )
        if read.feeds:
            return feed.config_for(read.feeds[0], read.site or read.title)
        return page.config_for(address, read.title)

    def _names(self) -> str:
        return ", ".join(sorted(self.specs)) or "none"
