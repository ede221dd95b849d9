"""The outlets' feeds as they stand at a moment, and what polling them would have brought.

Feeds are rendered by the stand-in server's `ScriptedFeed` and history is read back by the real
feed connector's `read_feed`, so keys and content equal what live polls deliver afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import msgspec

from gnomon.sources.feed import read_feed
from gnomon.testing import scripted_feed
from gnomon.testing.scripted_feed import ScriptedFeed
from gnomon.testing.world.model import OUTLETS, Item, Outlet, Version
from gnomon.testing.world.world import World, observed_at
from gnomon.types import Delete, SourceConfig, Upsert

WINDOW = 50
_LOOK_BACK = (timedelta(hours=12), timedelta(days=7))
_CHUNK = 40


def window(world: World, outlet: Outlet, at: datetime) -> list[Item]:
    """The outlet's newest items at `at`, oldest first, those that ended since among them."""
    items: list[Item] = []
    for span in _LOOK_BACK:
        items = [item for item in world.items(at - span, at) if item.outlet == outlet.name]
        if len(items) >= WINDOW:
            break
    return items[-WINDOW:]


def feed(world: World, outlet: Outlet, at: datetime) -> ScriptedFeed:
    """The outlet's feed at `at`: what it published, edited and took back, in that order."""
    rendered = _empty(outlet)
    acts: list[tuple[datetime, int, Item, Version | None]] = []
    for item in window(world, outlet, at):
        acts += [(version.at, n, item, version) for n, version in enumerate(item.versions)]
        if item.ends_at is not None:
            acts.append((item.ends_at, len(item.versions), item, None))
    for moment, n, item, version in sorted(acts, key=lambda act: (*act[:2], act[2].key)):
        if moment > at:
            break
        if version is None:
            rendered.remove(item.entry_id, at=moment)
        elif n == 0:
            rendered.post(entry(item, version))
        else:
            changed = msgspec.structs.asdict(entry(item, version))
            rendered.edit(changed.pop("id"), **changed)
    return rendered


def entry(item: Item, version: Version) -> scripted_feed.Item:
    """The item as its outlet's feed carries it while it says `version`."""
    return scripted_feed.Item(
        id=item.entry_id,
        title=version.title,
        text=version.text,
        html=version.html,
        url=item.url,
        author=item.author,
        published_at=item.published_at,
        updated_at=version.at if version.at != item.published_at else None,
    )


def history(
    world: World, configs: dict[str, SourceConfig], since: datetime, until: datetime
) -> Iterator[tuple[str, Upsert | Delete]]:
    """(source, change) as polls in (`since`, `until`] would have brought them, oldest first.

    `configs` maps outlets to their sources. Every change carries `observed_at`.
    """
    changes: list[tuple[datetime, str, Upsert | Delete]] = []
    seen: dict[str, list[tuple[datetime, Item, Version]]] = {name: [] for name in configs}
    # An edit may come long after its item.
    for item in world.items(world.begin if since <= world.start else since - _LOOK_BACK[1], until):
        for version in item.versions:
            moment = observed_at(item, version.at)
            if since < moment <= until:
                seen[item.outlet].append((moment, item, version))
        if item.ending == "tombstone" and item.ends_at is not None:
            moment = observed_at(item, item.ends_at)
            if since < moment <= until:
                source = configs[item.outlet].name
                changes.append((moment, source, Delete(key=item.key, observed_at=moment)))
    for name, sights in seen.items():
        for moment, upsert in _read(
            OUTLETS[name], configs[name], sorted(sights, key=lambda s: s[0])
        ):
            changes.append((moment, configs[name].name, upsert))
    for _, source, change in sorted(changes, key=lambda change: change[:2]):
        yield source, change


def _read(
    outlet: Outlet, config: SourceConfig, sights: list[tuple[datetime, Item, Version]]
) -> Iterator[tuple[datetime, Upsert]]:
    """What the feed connector makes of these entries, each stamped with its own poll."""
    while sights:
        rendered = _empty(outlet)
        stamps: dict[str, datetime] = {}
        while sights and sights[0][1].key not in stamps and len(stamps) < _CHUNK:
            moment, item, version = sights.pop(0)
            stamps[item.key] = moment
            rendered.post(entry(item, version))
        body, headers = rendered.render()
        _, documents = read_feed(
            body,
            config=config,
            url=rendered.url,
            content_type=headers["content-type"],
            now=max(stamps.values()),
        )
        for document in documents:
            stamp = stamps[document.key]
            yield stamp, Upsert(msgspec.structs.replace(document, observed_at=stamp))


def _empty(outlet: Outlet) -> ScriptedFeed:
    site = f"https://{outlet.name}.quillhaven.example/"
    return ScriptedFeed(
        title=outlet.title,
        url=f"{site}{outlet.path.rsplit('/', 1)[1]}",
        site=site,
        format=outlet.format,
        window=WINDOW,
        lang=outlet.lang,
        max_age_s=10,
    )
