"""The first start: what to follow when nobody has said so yet.

A home that never followed anything gets the curated set as soon as the world can be reached. That
happens once: whoever removes those sources does not get them again, and `starter.mode = "off"`
keeps a new home empty.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping

from gnomon.clock import Clock
from gnomon.demo import PREFIX
from gnomon.errors import ConfigError
from gnomon.ingest.runner import Runner
from gnomon.log import get_logger
from gnomon.net.base import Fetcher
from gnomon.record.base import Record
from gnomon.settings import Settings
from gnomon.sources import starter
from gnomon.sources.registry import Registry

_MARKER = "starter.done"
_AGAIN_S = 60.0
_LANGUAGE = re.compile(r"([a-z]{2,3})(?:[_.-]|$)")


def spoken(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The languages of whoever started this process, English among them."""
    told = [environment.get(name, "") for name in ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")]
    found = [m[1] for text in told for m in map(_LANGUAGE.match, text.lower().split(":")) if m]
    return tuple(dict.fromkeys([*found, "en"]))


async def begin(
    settings: Settings,
    *,
    record: Record,
    runner: Runner,
    fetcher: Fetcher,
    registry: Registry,
    clock: Clock,
) -> None:
    """Wait for the world to be reachable, then follow the set; ends at once where it should not.

    What an operator adds meanwhile ends it too: they have begun by themselves.
    """
    marker = settings.home / _MARKER
    if settings.starter.mode == "off" or marker.exists():
        return
    while not await _begun(record):
        if await starter.reachable(fetcher):
            break
        await clock.sleep(_AGAIN_S)
    if await _begun(record):
        return
    try:
        configs = starter.configs(
            settings.starter.languages, settings.net.contact, spoken=spoken(), registry=registry
        )
    except ConfigError as error:
        get_logger().error("starter.refused", reason=str(error))
        return
    followed = 0
    for config in configs:
        try:
            await runner.add(config)
            followed += 1
        except ConfigError as error:  # one that cannot start must not keep the others out
            get_logger().warning("starter.left_out", source=config.name, reason=str(error))
    await asyncio.to_thread(marker.touch)
    get_logger().info("starter.followed", sources=followed)


async def _begun(record: Record) -> bool:
    """Whether this home follows, or once followed, something real."""
    configs = await asyncio.to_thread(record.sources)
    if any(not config.name.startswith(PREFIX) for config in configs):
        return True
    stats = await asyncio.to_thread(record.source_stats)
    return any(not name.startswith(PREFIX) and s.last_document_at for name, s in stats.items())
