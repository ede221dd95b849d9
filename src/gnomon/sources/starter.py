"""The sources of a first run: curated feeds, and the open services that need no key.

The feeds stand in `feeds.toml` beside this module. Services are those of the list below whose
connectors are installed; one that asks for a contact is left out until there is one.
"""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from gnomon.errors import ConfigError, ContentError, UpstreamError
from gnomon.log import get_logger
from gnomon.net.base import Fetcher
from gnomon.sources import feed
from gnomon.sources.registry import Registry
from gnomon.types import SourceConfig

PROBED = (
    "https://feeds.bbci.co.uk/news/rss.xml",
    "https://rss.dw.com/rdf/rss-en-all",
    "https://www.france24.com/en/rss",
)
"""Asked to tell whether the world can be reached: three publishers in three networks."""
_PROBE_S = 5.0
_ANSWERED = ("net.status", "net.too_large", "net.robots", "net.media_type", "net.encoding")
"""Errors that only somebody who answered can cause."""


class CuratedFeed(msgspec.Struct, frozen=True, kw_only=True):
    """One feed of our list."""

    title: str
    url: str
    language: str
    country: str
    topic: str

    @property
    def config(self) -> SourceConfig:
        """The source that follows it."""
        plain = feed.config_for(self.url, self.title)
        settings = {**plain.settings, "lang": self.language}
        return msgspec.structs.replace(plain, settings=settings)


class _Service(msgspec.Struct, frozen=True, kw_only=True):
    type: str
    title: str
    settings: Callable[[Sequence[str]], Mapping[str, Any]] = lambda languages: {}
    name: str = ""
    keep: timedelta | None = None
    contact: bool = False
    language: str = ""
    """The only language in which it speaks, if it is one."""


_TWO_DAYS = timedelta(days=2)


SERVICES = (
    _Service(
        type="bluesky",
        title="Bluesky: a sample of what is posted",
        settings=lambda languages: {
            "max_per_s": 20,
            "min_letters": 80,
            "languages": list(languages),
        },
        keep=_TWO_DAYS,
    ),
    _Service(
        type="mastodon",
        name="mastodon:mastodon.social",
        title="Mastodon: links that are shared much",
        settings=lambda languages: {"server": "mastodon.social", "trends": ["links"]},
    ),
    _Service(type="hackernews", title="Hacker News"),
    _Service(type="usgs", title="USGS: earthquakes"),
    _Service(type="nws", title="NWS: weather alerts of the United States", contact=True),
    _Service(type="gdelt", title="GDELT: news of the world, discovered"),
    _Service(type="arxiv", title="arXiv: papers on AI, economics and epidemics", language="en"),
)


@cache
def feeds() -> tuple[CuratedFeed, ...]:
    """Our list of feeds, in the order of the file."""
    data = tomllib.loads(Path(__file__).with_name("feeds.toml").read_text("utf-8"))
    return tuple(msgspec.convert(data["feed"], list[CuratedFeed]))


def languages() -> tuple[str, ...]:
    """The languages in which there are feeds."""
    return tuple(sorted({f.language for f in feeds()}))


def configs(
    wanted: Iterable[str] = (),
    contact: str = "",
    *,
    spoken: Sequence[str] = (),
    registry: Registry | None = None,
) -> list[SourceConfig]:
    """The sources of a first run in these languages; none given means all.

    Of the services that carry every language, only posts in those `spoken` are kept.

    Raises ConfigError for a language in which there is nothing.
    """
    chosen = tuple(dict.fromkeys(code.strip().lower() for code in wanted if code.strip()))
    unknown = [code for code in chosen if code not in languages()]
    if unknown:
        raise ConfigError(
            f"There are no curated feeds in {', '.join(unknown)}.",
            code="starter.language",
            hint=f"Languages: {', '.join(languages())}.",
        )
    known = registry if registry is not None else Registry.installed()
    found = [f.config for f in feeds() if not chosen or f.language in chosen]
    for service in SERVICES:
        if chosen and service.language and service.language not in chosen:
            continue
        config = SourceConfig(
            name=service.name or service.type,
            type=service.type,
            title=service.title,
            settings=dict(service.settings(chosen or tuple(spoken))),
            keep=service.keep,
        )
        spec = known.specs.get(service.type)
        if spec is None:
            get_logger().info("starter.not_installed", connector=service.type)
        elif contact or not (service.contact or "contact" in spec.needs):
            try:
                known.settings(config)
            except ConfigError as error:  # another version of a connector must not spoil the rest
                get_logger().error("starter.settings", source=config.name, reason=str(error))
            else:
                found.append(config)
    return found


async def reachable(fetcher: Fetcher) -> bool:
    """Whether the world can be reached: true as soon as one of a few publishers answers."""
    asking = [asyncio.ensure_future(_answers(fetcher, url)) for url in PROBED]
    try:
        for answer in asyncio.as_completed(asking):
            if await answer:
                return True
    finally:
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
    return False


async def _answers(fetcher: Fetcher, url: str) -> bool:
    try:
        await fetcher.fetch(url, purpose="feed", method="HEAD", timeout_s=_PROBE_S)
    except (UpstreamError, ContentError) as error:
        return error.code in _ANSWERED
    return True
