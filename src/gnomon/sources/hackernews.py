"""Hacker News: every story and comment, the stories alone, or those on the front page.

Item ids are walked in order, so nothing is passed over but a backlog beyond `max_backlog`, which
is a gap. An item that is not there yet is asked for again for as long as `null_patience_s`. Edits
and deletions are known as far as the service's list of updates names them; after an absence the
newest items that were walked are looked at again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec
from pydantic import Field

from gnomon.clock import from_us, to_us
from gnomon.errors import ContentError, UpstreamError, UpstreamTransient
from gnomon.extract.dates import Dates
from gnomon.extract.text import detect_lang, html_to_text, one_line
from gnomon.sources.base import Context, SourceSettings, SourceSpec
from gnomon.sources.polling import REFUSED_RETRY_S, ask, web_address
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

_BATCH_ITEMS = 50
_AT_ONCE = 8
_MAX_BYTES = 2_000_000
_PENDING_PER_LOOK = 20
_ALL_ABSENT = 10
"""So many new ids of which none exists were announced wrongly or too early: they can wait."""
_KNOWN = 1_500
"""Stories that are remembered where ids alone do not tell what was handed over."""
_MAX_CHANGED = 2_000
_NOTED_S = 60
"""How exactly the cursor tells when it was last looked."""
_AWAY_S = 600
"""After a longer absence the list of updates may have named and dropped a change."""
_SITE = "https://news.ycombinator.com"
_READ = frozenset(("title", "text", "by", "time", "url", "deleted", "dead"))
"""What goes into a document's own fields; the rest stays in `extra`."""

_Item = Mapping[str, Any]


class HackerNewsSettings(SourceSettings):
    """Settings of one Hacker News source."""

    mode: Literal["all", "stories", "top"] = Field(
        "all",
        description="`all` walks every item; `stories` leaves out comments; `top` takes the stories"
        " that stand on the front page.",
    )
    top: int = Field(30, ge=1, le=500, description="Places of the front page, for mode `top`.")
    interval_s: float = Field(20.0, ge=0.05, description="Time between two looks.")
    backfill_items: int = Field(
        500, ge=0, description="Items before the newest one that the first look takes."
    )
    max_backlog: int = Field(
        10_000,
        ge=100,
        description="Items that are made up for after an absence; what is older is a gap.",
    )
    null_patience_s: float = Field(
        3_600.0, ge=0, description="How long an item that is announced but absent is asked for."
    )
    recheck_s: float = Field(
        600.0, ge=0, description="Time between two looks at one item that keeps changing."
    )
    rechecks: int = Field(12, ge=0, description="Changed items that are fetched in one look.")
    away_items: int = Field(
        1_000, ge=0, description="Walked items that are looked at again after an absence."
    )
    pace_s: float = Field(
        0.1, gt=0, description="Rest between two requests; a shorter net.per_host_delay_s wins."
    )
    url: str = Field("https://hacker-news.firebaseio.com/v0", description="Address of the API.")


class _Memory(Remembered, msgspec.Struct, omit_defaults=True):
    """The cursor, opened."""

    mode: str = "all"
    first: int = 0
    """Before this id nothing was walked."""
    walked: int = 0
    """Every id from `first` to here was handed over, is pending, or was given up."""
    newest_s: int = 0
    """When the newest item that was walked was written."""
    pending: dict[int, int] = {}
    """Announced but absent, by the moment at which that was first seen; asked longest ago first."""
    changed: dict[int, int] = {}
    """To be looked at again, by the moment from which on."""
    checked: dict[int, int] = {}
    """When a changed item was last looked at."""
    known: dict[int, None] = {}
    """What was handed over last, oldest first; not in mode `all`."""
    again: tuple[int, int] = (0, 0)
    """Ids from the first to before the second are looked at again after an absence."""
    looked_s: int = 0
    """When the list of updates was last read, to the minute."""

    @classmethod
    def restore(cls, cursor: Cursor | None, mode: str) -> _Memory:
        found = cls.read(cursor)
        return found if found is not None and found.mode == mode else cls(mode=mode)

    def holds(self, id: int) -> bool:
        """Whether the item was walked, so that its changes matter."""
        if self.mode != "all":
            return id in self.known
        return self.first <= id <= self.walked and id not in self.pending

    def pass_over(self, ids: Iterable[int]) -> None:
        """These new ids are dealt with."""
        for id in ids:
            self.first = self.first or id
            self.walked = max(self.walked, id)
            if self.mode != "all":
                self.known[id] = None
        for id in list(self.known)[:-_KNOWN]:
            del self.known[id]


class _News(msgspec.Struct, frozen=True):
    """Ids that were never walked, oldest first."""

    ids: Sequence[int]
    lost: str = ""
    """Why some before them cannot be had; empty if they are all there."""


async def follow(ctx: Context, cursor: Cursor | None) -> AsyncIterator[Batch]:
    """Look for ever; see the module's promise."""
    settings: HackerNewsSettings = ctx.settings
    memory = _Memory.restore(cursor, settings.mode)
    while True:
        trouble = ""
        try:
            for look in (_walk, _ask_again, _updates):
                async with aclosing(look(ctx, memory)) as batches:
                    async for batch in batches:
                        yield batch
        except ContentError as error:
            ctx.count(error.code)
            trouble = f"the answer could not be read: {error.message}"
        wait_s = settings.interval_s * ctx.rng.uniform(1.0, 1.1)
        ctx.heard(state="retrying" if trouble else "", text=trouble, next_in_s=wait_s)
        await ctx.clock.sleep(wait_s)


# -- new items ---------------------------------------------------------------------------
async def _walk(ctx: Context, memory: _Memory) -> AsyncGenerator[Batch, None]:
    """Hand over what is new, in the order of ids."""
    news = await (_new_items if memory.mode == "all" else _new_stories)(ctx, memory)
    lost = news.lost
    for start in range(0, len(news.ids), _BATCH_ITEMS):
        ids = news.ids[start : start + _BATCH_ITEMS]
        if left := len(news.ids) - start - len(ids):
            ctx.heard(text=f"catching up: {left:,} items are still to come")
        found, error = await _items(ctx, ids)
        if error is None and len(ids) >= _ALL_ABSENT and not any(found.values()):
            raise ContentError(
                f"None of the items {ids[0]} to {ids[-1]} that Hacker News announces exists.",
                code="hackernews.absent",
                hint="They are asked for again later.",
            )
        changes: list[Change] = []
        if lost and (gap := _gap(memory, found.values(), lost, ctx.clock.now())):
            changes.append(gap)
            lost = ""
        if lost and found:
            # Without an end of the gap the position stays before it.
            raise error or _unreadable(f"item {ids[0]}", "it has no time")
        for id, item in found.items():
            if item is None:
                memory.pending[id] = _seconds(ctx)
            else:
                changes += _change(ctx, item, fresh=True)
                memory.newest_s = max(memory.newest_s, _time_of(item))
        if found:
            memory.pass_over(found)
            yield Batch(tuple(changes), memory.cursor())
        if error is not None:
            raise error


async def _new_items(ctx: Context, memory: _Memory) -> _News:
    settings: HackerNewsSettings = ctx.settings
    newest = await _get(ctx, "maxitem.json")
    if not _is_id(newest):
        raise _unreadable("maxitem.json", "it is no item id")
    if newest < memory.walked:
        ctx.count("hackernews.stale")  # a cache that lags behind
        return _News(())
    if not memory.walked:
        return _News(range(max(newest - settings.backfill_items, 1), newest + 1))
    oldest = newest - settings.max_backlog + 1
    if memory.walked + 1 < oldest:
        return _News(range(oldest, newest + 1), "The backlog was longer than what is made up for.")
    return _News(range(memory.walked + 1, newest + 1))


async def _new_stories(ctx: Context, memory: _Memory) -> _News:
    settings: HackerNewsSettings = ctx.settings
    top = memory.mode == "top"
    name = "topstories.json" if top else "newstories.json"
    listed = await _get(ctx, name)
    if not isinstance(listed, list) or not all(map(_is_id, listed)):
        raise _unreadable(name, "it is no list of item ids")
    if top:
        fresh = sorted({id for id in listed[: settings.top] if id not in memory.known})
        away = memory.known and fresh and _seconds(ctx) - memory.looked_s > _AWAY_S
        reason = "Stories that were on the front page only in between were not seen."
        return _News(fresh, reason if away else "")
    fresh = sorted({id for id in listed if id > memory.walked})
    if not memory.walked:
        return _News(fresh[-(settings.backfill_items + 1) :])
    if fresh and len(fresh) == len(set(listed)):
        reason = "More stories were written than Hacker News lists as new."
        return _News(fresh[-settings.max_backlog :], reason)
    return _News(fresh)


def _gap(memory: _Memory, items: Iterable[_Item | None], reason: str, now: datetime) -> Gap | None:
    """The gap before these items; None where none of them tells its end."""
    if memory.mode == "top":  # its stories are older than their stay on the front page
        return Gap(reason=reason, start=_moment(memory.looked_s), end=now)
    end_s = next(filter(None, (_time_of(item) for item in items if item)), 0)
    start_s = memory.newest_s
    if not end_s:
        return None
    return Gap(reason=reason, start=_moment(start_s), end=_moment(max(end_s, start_s)))


async def _ask_again(ctx: Context, memory: _Memory) -> AsyncGenerator[Batch, None]:
    """Hand over what was announced and absent, and is there now."""
    settings: HackerNewsSettings = ctx.settings
    found, error = await _items(ctx, list(memory.pending)[:_PENDING_PER_LOOK])
    changes: list[Change] = []
    moved = False
    for id, item in found.items():
        first_s = memory.pending.pop(id)
        if item is not None:
            changes += _change(ctx, item, fresh=True)
        elif _seconds(ctx) - first_s < settings.null_patience_s:
            memory.pending[id] = first_s
            continue
        else:
            ctx.count("hackernews.never_came")
        moved = True
    if moved:
        yield Batch(tuple(changes), memory.cursor())
    if error is not None:
        raise error


# -- changes -----------------------------------------------------------------------------
async def _updates(ctx: Context, memory: _Memory) -> AsyncGenerator[Batch, None]:
    """Look again at what was walked and has changed since, or may have."""
    settings: HackerNewsSettings = ctx.settings
    said = await _get(ctx, "updates.json")
    listed = said.get("items") if isinstance(said, dict) else None
    if not isinstance(listed, list):
        raise _unreadable("updates.json", "it lists no items")
    now_s = _seconds(ctx)
    if memory.looked_s and now_s - memory.looked_s > _AWAY_S and memory.mode == "all":
        memory.again = (max(memory.first, memory.walked - settings.away_items), memory.walked + 1)
    elif memory.looked_s and now_s - memory.looked_s > _AWAY_S:
        memory.changed |= dict.fromkeys(memory.known, now_s)
    noted = now_s - memory.looked_s < _NOTED_S
    memory.looked_s = memory.looked_s if noted else now_s
    memory.checked = {
        id: at_s for id, at_s in memory.checked.items() if at_s + settings.recheck_s > now_s
    }
    before = len(memory.changed)
    for id in listed:
        if _is_id(id) and memory.holds(id) and id not in memory.changed:
            checked_s = memory.checked.get(id)
            memory.changed[id] = int(now_s if checked_s is None else checked_s + settings.recheck_s)
    for id in list(memory.changed)[:-_MAX_CHANGED]:
        del memory.changed[id]
        ctx.count("hackernews.change_dropped")
    due = [id for id, from_s in memory.changed.items() if from_s <= now_s][: settings.rechecks]
    low, high = memory.again
    more = range(low, min(high, low + settings.rechecks - len(due)))
    found, error = await _items(ctx, [*due, *(id for id in more if id not in due)])
    changes: list[Change] = []
    for id, item in found.items():
        if memory.changed.pop(id, None) is not None:
            memory.checked[id] = now_s
        if item is not None:
            changes += _change(ctx, item, fresh=False)
    if error is None and more:
        memory.again = (more.stop, high)
    if found or before != len(memory.changed) or not noted:
        yield Batch(tuple(changes), memory.cursor())
    if error is not None:
        raise error


# -- items -------------------------------------------------------------------------------
async def _items(
    ctx: Context, ids: Sequence[int]
) -> tuple[dict[int, _Item | None], UpstreamError | None]:
    """Items by id, in this order; None for what is absent or cannot be read.

    With an error come those before the first one that could not be had.
    """
    found: dict[int, _Item | None] = {}
    errors: list[UpstreamError] = []
    waiting = iter(ids)

    async def work() -> None:
        for id in waiting:
            if errors:
                return
            try:
                found[id] = _item(await _get(ctx, f"item/{id}.json"), id)
            except ContentError as error:
                ctx.count(error.code)
                found[id] = None
            except UpstreamError as error:
                errors.append(error)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(_AT_ONCE, len(ids))):
            group.create_task(work())
    whole: dict[int, _Item | None] = {}
    for id in ids:
        if id not in found:
            break
        whole[id] = found[id]
    return whole, errors[0] if errors else None


def _item(said: Any, id: int) -> _Item | None:
    if said is None:
        return None
    if not isinstance(said, dict) or said.get("id") != id:
        raise _unreadable(f"item/{id}.json", "it is not that item")
    return said


def _change(ctx: Context, item: _Item, *, fresh: bool) -> Sequence[Change]:
    """What an item means for the record: nothing, a document, or that it is gone."""
    if item.get("deleted") or item.get("dead"):
        if fresh:
            ctx.count("hackernews.dead")
            return ()
        return (Delete(key=f"hackernews:{item['id']}"),)
    if ctx.settings.mode != "all" and item.get("type") in ("comment", "pollopt"):
        ctx.count("hackernews.other_type")
        return ()
    document = _document(ctx, item)
    if document is None:
        ctx.count("hackernews.empty")
        return ()
    return (Upsert(document),)


def _document(ctx: Context, item: _Item) -> Document | None:
    id = item["id"]
    title = one_line(html_to_text(_text(item, "title")))
    text = html_to_text(_text(item, "text")) or title
    if not text:
        return None
    answers = item.get("type") in ("comment", "pollopt")
    parent = item.get("poll" if item.get("type") == "pollopt" else "parent")
    discussion = f"{_SITE}/item?id={id}"
    dates = Dates(ctx.clock.now(), timedelta(seconds=ctx.limits.future_tolerance_s))
    published_at = dates.possible(_moment(_time_of(item)) if _time_of(item) else None)
    for note, n in dates.notes.items():
        ctx.count(note, n)
    kept = {name: value for name, value in item.items() if name not in _READ}
    return Document(
        key=f"hackernews:{id}",
        source=ctx.config.name,
        kind="comment" if answers else "post",
        title=title,
        text=text,
        url=web_address(_text(item, "url")) or discussion,
        author=one_line(_text(item, "by")),
        lang=detect_lang(f"{title}\n{text}", "en"),
        published_at=published_at,
        date_source="api" if published_at else "",
        policy=SOURCE.policy,
        reply_to=f"hackernews:{parent}" if answers and _is_id(parent) else "",
        extra={**kept, "discussion": discussion},
    )


async def _get(ctx: Context, name: str) -> Any:
    """What the API says under a name. Raises ContentError `hackernews.unreadable`."""
    url = f"{ctx.settings.url.rstrip('/')}/{name}"
    response = await ask(
        ctx, url, purpose="feed", max_body_bytes=_MAX_BYTES, pace_s=ctx.settings.pace_s
    )
    if response.status != 200:
        raise UpstreamTransient(
            f"{url} answers {response.status}: there is nothing.",
            code="source.not_found",
            retry_after_s=REFUSED_RETRY_S,
            hint="Check the setting url.",
            url=url,
        )
    try:
        return json.loads(response.body)
    except (ValueError, RecursionError):
        raise _unreadable(name, "it is no JSON") from None


def _unreadable(name: str, reason: str) -> ContentError:
    return ContentError(
        f"What Hacker News says under {name} is not understood: {reason}.",
        code="hackernews.unreadable",
        hint="It is asked again later.",
    )


def _text(item: _Item, name: str) -> str:
    value = item.get(name)
    return value if isinstance(value, str) else ""


def _is_id(value: Any) -> bool:
    return type(value) is int and 0 < value < 1 << 53


def _time_of(item: _Item) -> int:
    """Seconds since 1970 at which it was written; 0 where that is not told."""
    time = item.get("time")
    return time if type(time) is int and 0 < time < 1 << 33 else 0


def _seconds(ctx: Context) -> int:
    return to_us(ctx.clock.now()) // 1_000_000


def _moment(s: int) -> datetime:
    return from_us(s * 1_000_000).astimezone(UTC)


_PATHS = {"": "top", "news": "top", "newest": "stories", "newcomments": "all"}


def identify(text: str) -> SourceConfig | None:
    """`hackernews` (or `hn`), alone or with a mode behind a colon, or an address of its lists."""
    text = text.strip()
    name, _, mode = text.lower().partition(":")
    parts = urlsplit(web_address(text))
    if name in ("hackernews", "hn", "hacker news"):
        mode = mode.strip() or "all"
    elif parts.hostname == "news.ycombinator.com" and not parts.query:
        mode = _PATHS.get(parts.path.strip("/"), "")
    else:
        return None
    titles = {"all": "Hacker News", "stories": "Hacker News: stories", "top": "Hacker News: top"}
    if mode not in titles:
        return None
    if mode == "all":
        return SourceConfig(name="hackernews", type="hackernews", title=titles[mode])
    return SourceConfig(
        name=f"hackernews:{mode}", type="hackernews", title=titles[mode], settings={"mode": mode}
    )


SOURCE = SourceSpec(
    name="hackernews",
    title="Hacker News",
    docs_url="reference/sources/hackernews",
    follow=follow,
    settings=HackerNewsSettings,
    policy=Policy(),
    identify=identify,
    examples=("hackernews", "hackernews:stories", "hackernews:top"),
)
