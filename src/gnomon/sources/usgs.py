"""USGS earthquakes: one summary feed (GeoJSON), polled once a minute; revisions and deletions.

An event keeps its key when networks change its preferred id. What vanishes from the feed before
its time is looked up: it was deleted, or revised below the feed's magnitude. An absence longer
than the feed's window is a gap.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from urllib.parse import quote, urlsplit

import msgspec
from pydantic import Field

from gnomon.clock import from_us
from gnomon.errors import ContentError, UpstreamTransient
from gnomon.extract.dates import Dates
from gnomon.sources.base import Context, SourceSettings, SourceSpec
from gnomon.sources.polling import (
    REFUSED_RETRY_S,
    Validators,
    poll,
    short_hash,
    web_address,
    why_unreadable,
)
from gnomon.sources.remembered import Remembered
from gnomon.types import (
    Batch,
    Change,
    Cursor,
    Delete,
    Document,
    Gap,
    Policy,
    SourceConfig,
    Upsert,
)

_HOURS = {"hour": 1, "day": 24, "week": 168, "month": 720}
_EDGE = timedelta(minutes=5)
"""Events this near the end of the window may leave it between two looks."""
_MAX_BYTES = 20_000_000
_MAX_DETAIL_BYTES = 2_000_000
_REVIEW = {"automatic": "Not yet reviewed by a person.", "reviewed": "Reviewed by a seismologist."}


class UsgsSettings(SourceSettings):
    """Settings of one earthquake feed."""

    magnitude: Literal["significant", "4.5", "2.5", "1.0", "all"] = Field(
        "2.5", description="Smallest magnitude; `significant` is the USGS's own choice."
    )
    window: Literal["hour", "day", "week", "month"] = Field(
        "day", description="How far the feed looks back; a longer absence is a gap."
    )
    interval_s: float = Field(60.0, ge=0.05, description="Time between two looks.")
    url: str = Field(
        "https://earthquake.usgs.gov/earthquakes/feed/v1.0",
        description="Address of the feeds.",
    )


class _Known(msgspec.Struct, array_like=True):
    key: str
    updated_ms: int
    content: str
    time_ms: int


class _Memory(Remembered, msgspec.Struct, omit_defaults=True):
    """The cursor, opened."""

    feed: str = ""
    validators: Validators = Validators()
    events: dict[str, _Known] = {}
    """By key: what was handed over of the events in the window."""
    ids: dict[str, str] = {}
    """Every id that an event ever had, to its key."""
    generated_ms: int = 0
    """When the USGS made the newest answer that was read."""

    @classmethod
    def restore(cls, cursor: Cursor | None, feed: str) -> _Memory:
        found = cls.read(cursor)
        return found if found is not None and found.feed == feed else cls(feed=feed)

    def forget(self, before_ms: int) -> None:
        """Drop what lies before the window."""
        self.events = {k: e for k, e in self.events.items() if e.time_ms >= before_ms}
        self.ids = {id: key for id, key in self.ids.items() if key in self.events}


async def follow(ctx: Context, cursor: Cursor | None) -> AsyncIterator[Batch]:
    """Look for ever; see the module's promise."""
    settings: UsgsSettings = ctx.settings
    feed = f"{settings.magnitude}_{settings.window}"
    memory = _Memory.restore(cursor, feed)
    url = f"{settings.url.rstrip('/')}/summary/{feed}.geojson"
    while True:
        trouble = ""
        wait_s = settings.interval_s
        try:
            answer = await poll(
                ctx, url, purpose="feed", known=memory.validators, max_body_bytes=_MAX_BYTES
            )
            if answer.response.status in (404, 410):
                raise UpstreamTransient(
                    f"{url} answers {answer.response.status}: there is no feed.",
                    code="source.not_found",
                    retry_after_s=REFUSED_RETRY_S,
                    hint="Check the setting url.",
                    url=url,
                )
            if answer.changed:
                data = await asyncio.to_thread(_parse, answer.response.body, url)
                changes = await _changes(ctx, memory, data)
                memory.validators = answer.validators
                yield Batch(tuple(changes), memory.cursor())
            wait_s = max(wait_s, answer.fresh_s or 0.0)
        except ContentError as error:
            ctx.count(error.code)
            trouble = f"the answer could not be read: {error.message}"
        wait_s = min(wait_s, max(settings.interval_s, 3_600.0)) * ctx.rng.uniform(1.0, 1.1)
        ctx.heard(state="retrying" if trouble else "", text=trouble, next_in_s=wait_s)
        await ctx.clock.sleep(wait_s)


def _parse(body: bytes, url: str) -> dict[str, Any]:
    try:
        data = json.loads(body)
        if isinstance(data["features"], list) and isinstance(data["metadata"]["generated"], int):
            return data  # type: ignore[no-any-return]
        reason = "no features"
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        reason = why_unreadable(error)
    raise ContentError(
        f"{url} is not what the USGS's feeds look like ({reason}).",
        code="usgs.unreadable",
        hint="It is asked again later.",
    )


async def _changes(ctx: Context, memory: _Memory, data: Mapping[str, Any]) -> list[Change]:
    """What this answer brings, oldest event first; the memory stands after it."""
    generated_ms = data["metadata"]["generated"]
    if generated_ms < memory.generated_ms:
        ctx.count("usgs.stale")  # a cache that lags behind; it would undo revisions
        return []
    window = timedelta(hours=_HOURS[ctx.settings.window])
    since_ms = generated_ms - _ms(window)
    changes: list[Change] = []
    if memory.generated_ms and memory.generated_ms < since_ms:
        changes.append(
            Gap(
                reason=f"The USGS's feed looks back one {ctx.settings.window} only.",
                start=_moment(memory.generated_ms),
                end=_moment(since_ms),
            )
        )
    present: set[str] = set()
    news: dict[str, tuple[int, Change]] = {}
    dates = Dates(ctx.clock.now(), timedelta(seconds=ctx.limits.future_tolerance_s))
    for feature in data["features"]:
        try:
            key, time_ms, change = _event(feature, memory, ctx, dates)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, IndexError):
            ctx.count("usgs.event_unreadable")
            continue
        present.add(key)
        if change is not None:
            news[key] = (time_ms, change)
    changes += [change for _, change in sorted(news.values(), key=lambda item: item[0])]
    inside_ms = since_ms + _ms(_EDGE)
    for key, known in list(memory.events.items()):
        if key not in present and known.time_ms > inside_ms:
            changes += await _vanished(ctx, memory, key, dates)
    for note, n in dates.notes.items():
        ctx.count(note, n)
    memory.forget(since_ms - _ms(_EDGE))
    memory.generated_ms = generated_ms
    return changes


def _event(
    feature: Mapping[str, Any], memory: _Memory, ctx: Context, dates: Dates
) -> tuple[str, int, Change | None]:
    """Key and time of an event, and what is new about it."""
    said = feature["properties"]
    id = str(feature["id"])
    names = [id, *(name for name in str(said.get("ids") or "").split(",") if name)]
    key = next((memory.ids[name] for name in names if name in memory.ids), f"usgs:{id}")
    time_ms, updated_ms = int(said["time"]), int(said.get("updated") or said["time"])
    known = memory.events.get(key)
    if known is not None and updated_ms < known.updated_ms:
        return key, time_ms, None
    deleted = said.get("status") == "deleted"
    document = _document(key, feature, ctx, dates)
    content = "-" if deleted else short_hash(document.title, document.text, document.url)
    memory.ids |= dict.fromkeys(names, key)
    memory.events[key] = _Known(key, updated_ms, content, time_ms)
    if known is not None and known.content == content:
        return key, time_ms, None
    if deleted:
        return key, time_ms, Delete(key=key) if known is not None else None
    return key, time_ms, Upsert(document)


def _document(key: str, feature: Mapping[str, Any], ctx: Context, dates: Dates) -> Document:
    said = feature["properties"]
    place = str(said.get("place") or "place not known")
    kind = str(said.get("type") or "earthquake")
    size = f"Magnitude {float(said['mag']):.1f} {kind}" if said.get("mag") is not None else kind
    moment = _moment(int(said["time"]))
    point = [*((feature.get("geometry") or {}).get("coordinates") or []), None, None, None][:3]
    lon, lat, depth_km = (None if part is None else float(part) for part in point)
    lines = [f"{size[:1].upper()}{size[1:]}, {place}.", f"It struck at {moment:%Y-%m-%d %H:%M} UTC"]
    if lon is not None and lat is not None:
        lines[-1] += f" at {_degrees(lat, 'N', 'S')}, {_degrees(lon, 'E', 'W')}"
    lines[-1] += "." if depth_km is None else f", at a depth of {depth_km:.1f} km."
    if said.get("alert"):
        lines.append(f"The alert level for its likely impact is {said['alert']}.")
    if said.get("tsunami"):
        lines.append("It may have caused a tsunami: see the tsunami warning centres.")
    lines += [review] if (review := _REVIEW.get(str(said.get("status")), "")) else []
    updated = said.get("updated")
    return Document(
        key=key,
        source=ctx.config.name,
        kind="alert",
        title=str(said.get("title") or lines[0].rstrip(".")),
        text=" ".join(lines),
        url=web_address(str(said.get("url") or "")),
        author="U.S. Geological Survey",
        lang="en",
        published_at=dates.possible(moment),
        updated_at=dates.possible(_moment(int(updated))) if updated else None,
        date_source="api",
        policy=SOURCE.policy,
        extra={"id": feature["id"], "geometry": feature.get("geometry"), **said},
    )


async def _vanished(ctx: Context, memory: _Memory, key: str, dates: Dates) -> list[Change]:
    """What became of an event that left the feed before its time."""
    if memory.events[key].content == "-":
        return []
    id = key.removeprefix("usgs:")
    url = f"{ctx.settings.url.rstrip('/')}/detail/{quote(id)}.geojson"
    try:
        response = await ctx.fetcher.fetch(url, purpose="feed", max_body_bytes=_MAX_DETAIL_BYTES)
    except ContentError as error:  # it must not cost what else this look brought
        ctx.count(error.code)
        return []
    if response.status in (404, 409, 410):  # 409 is what they answer for a deleted event
        memory.events[key].content = "-"
        return [Delete(key=key)]
    try:
        feature = json.loads(response.body)
        if response.status == 200 and memory.ids.get(str(feature["id"]), key) == key:
            found, _, change = _event(feature, memory, ctx, dates)
            return [change] if change is not None and found == key else []
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, IndexError):
        pass  # counted with the other unusable answers
    ctx.count("usgs.detail_unreadable")
    return []


def _degrees(value: float, positive: str, negative: str) -> str:
    return f"{abs(value):.3f}° {positive if value >= 0 else negative}"


def _ms(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)


def _moment(ms: int) -> datetime:
    return from_us(ms * 1_000).astimezone(UTC)


def identify(text: str) -> SourceConfig | None:
    """`usgs`, `earthquakes`, or an address of a USGS summary feed or of its map."""
    text = text.strip()
    if text.lower() in ("usgs", "earthquakes"):
        return SourceConfig(name="usgs", type="usgs", title=SOURCE.title)
    parts = urlsplit(web_address(text))
    if parts.hostname != "earthquake.usgs.gov":
        return None
    magnitude, _, window = parts.path.rpartition("/")[2].partition(".geojson")[0].rpartition("_")
    if window in _HOURS and magnitude in ("significant", "4.5", "2.5", "1.0", "all"):
        settings = {"magnitude": magnitude, "window": window}
        return SourceConfig(name=f"usgs:{magnitude}_{window}", type="usgs", settings=settings)
    if parts.path.startswith("/earthquakes/map") or parts.path.strip("/") in ("", "earthquakes"):
        return SourceConfig(name="usgs", type="usgs", title=SOURCE.title)
    return None


SOURCE = SourceSpec(
    name="usgs",
    title="USGS earthquakes",
    docs_url="reference/sources/usgs",
    follow=follow,
    settings=UsgsSettings,
    policy=Policy(),
    identify=identify,
    examples=("usgs",),
)
