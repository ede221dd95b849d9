"""Hacker News as its Firebase API serves it: items by id, the newest id, lists, and updates.

It is a `FeedServer`, so its faults apply by path (`MAX_ITEM`, `UPDATES`, `item_path(7)`). Besides,
`late` holds an item back as `null`, `freeze` keeps the newest id and the lists standing as a cache
does, `announce` names a newest id that does not exist, and `shuffle` and `repeat` change the lists.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from gnomon.clock import Clock, SystemClock, to_us
from gnomon.testing.feed_server import FeedServer, Reply, Request

ROOT = "/v0"
MAX_ITEM = f"{ROOT}/maxitem.json"
UPDATES = f"{ROOT}/updates.json"
NEW_STORIES = f"{ROOT}/newstories.json"
TOP_STORIES = f"{ROOT}/topstories.json"
_LISTED = 500
_UPDATES = 40


def item_path(id: int) -> str:
    """Where an item stands."""
    return f"{ROOT}/item/{id}.json"


class HackerNewsServer(FeedServer):
    """`async with HackerNewsServer(clock=clock) as server: server.story("Title")`."""

    def __init__(
        self, *, port: int = 0, clock: Clock | None = None, first_id: int = 1, listed: int = _LISTED
    ) -> None:
        super().__init__(port=port, clock=clock)
        self._now = clock or SystemClock()
        self._items: dict[int, dict[str, Any]] = {}
        self._next = first_id
        self._listed = listed
        self._late: set[int] = set()
        self._changed: list[int] = []
        self._front: list[int] = []
        self._announced = 0
        self._frozen: dict[str, Reply] | None = None
        self.shuffle = False
        """Whether lists stand in the opposite order."""
        self.repeat = False
        """Whether lists name each id twice."""
        self.route(MAX_ITEM, lambda _: self._list(MAX_ITEM, self._max_item()))
        self.route(UPDATES, lambda _: self._list(UPDATES, self._updates()))
        self.route(NEW_STORIES, lambda _: self._list(NEW_STORIES, self._new_stories()))
        self.route(TOP_STORIES, lambda _: self._list(TOP_STORIES, self._top_stories()))

    # -- what happens ---------------------------------------------------------
    def story(self, title: str, *, url: str = "", text: str = "", **more: Any) -> int:
        """Somebody submits a story; its id."""
        told: dict[str, Any] = {"title": title, "score": 1, "descendants": 0, "kids": [], **more}
        told |= {"url": url} if url else {}
        told |= {"text": text} if text else {}
        return self._add("story", **told)

    def comment(self, parent: int, html: str, **more: Any) -> int:
        """Somebody answers an item; the answer's id."""
        id = self._add("comment", text=html, parent=parent, kids=[], **more)
        self._items[parent].setdefault("kids", []).append(id)
        self._touch(parent)
        return id

    def job(self, title: str, **more: Any) -> int:
        """A company looks for somebody; the id."""
        return self._add("job", title=title, **more)

    def poll(self, title: str, options: Sequence[str]) -> tuple[int, ...]:
        """Somebody asks everybody; the ids of the poll and of its options."""
        poll = self._add("poll", title=title, score=1, descendants=0)
        parts = [self._add("pollopt", text=option, poll=poll, score=1) for option in options]
        self._items[poll]["parts"] = parts
        return poll, *parts

    def edit(self, id: int, **fields: Any) -> None:
        """Its author changes an item."""
        self._items[id] |= fields
        self._touch(id)

    def vote(self, id: int) -> None:
        """An item gains a point."""
        self.edit(id, score=self._items[id].get("score", 0) + 1)

    def delete(self, id: int) -> None:
        """Its author deletes an item: what is left of it says so."""
        item = self._items[id]
        kept = ("id", "type", "time", "parent", "kids")
        self._items[id] = {k: item[k] for k in kept if k in item} | {"deleted": True}
        self._touch(id)

    def kill(self, id: int, dead: bool = True) -> None:
        """Readers flag an item until it is dead, or (not `dead`) vouch for it."""
        if dead:
            self._items[id]["dead"] = True
        else:
            del self._items[id]["dead"]
        self._touch(id)

    def front(self, *ids: int) -> None:
        """The front page shows these, the first one on top."""
        self._front = list(ids)

    def continue_at(self, id: int) -> None:
        """The next item gets this id, if it is not behind the newest one."""
        self._next = max(self._next, id)

    def forget(self, id: int) -> None:
        """Know nothing of an item any more, as if it had never been."""
        self._items.pop(id, None)
        if id in self._changed:
            self._changed.remove(id)
        self.unroute(item_path(id))

    # -- misbehaviour ---------------------------------------------------------
    def late(self, *ids: int) -> None:
        """Announce these items, but answer `null` for them."""
        self._late |= set(ids)

    def appear(self, *ids: int) -> None:
        """What was late is there."""
        self._late -= set(ids)

    def freeze(self, frozen: bool = True) -> None:
        """Serve the lists of this moment for as long as they are frozen; items are current."""
        self._frozen = None
        if frozen:
            request = Request(method="GET", path="", query={}, headers={})
            paths = (MAX_ITEM, UPDATES, NEW_STORIES, TOP_STORIES)
            self._frozen = {path: self._handlers[path](request) for path in paths}

    def announce(self, id: int) -> None:
        """Name `id` as the newest item whatever there is; 0 ends it."""
        self._announced = id

    def forget_updates(self) -> None:
        """So much changed elsewhere that the list of updates names none of ours."""
        self._changed.clear()

    # -- answers --------------------------------------------------------------
    def _add(self, type: str, *, by: str = "pg", time: int = 0, **told: Any) -> int:
        id, self._next = self._next, self._next + 1
        at_s = time or to_us(self._now.now()) // 1_000_000
        self._items[id] = {"id": id, "type": type, "by": by, "time": at_s, **told}
        self.route(item_path(id), lambda _: _json(None if id in self._late else self._items[id]))
        return id

    def skip(self, n: int) -> None:
        """Announce `n` ids more that never come to be."""
        for id in range(self._next, self._next + n):
            self.route(item_path(id), lambda _: _json(None))
        self._next += n

    def _touch(self, id: int) -> None:
        if id in self._changed:
            self._changed.remove(id)
        self._changed.append(id)

    def _list(self, path: str, value: Any) -> Reply:
        return _json(value) if self._frozen is None else self._frozen[path]

    def _max_item(self) -> int:
        return self._announced or self._next - 1

    def _updates(self) -> dict[str, Any]:
        return {"items": self._ids(self._changed[: -_UPDATES - 1 : -1]), "profiles": ["pg"]}

    def _new_stories(self) -> list[int]:
        stories = [id for id, item in self._items.items() if item["type"] == "story"]
        return self._ids(stories[: -self._listed - 1 : -1])

    def _top_stories(self) -> list[int]:
        return self._ids(self._front[: self._listed])

    def _ids(self, ids: Sequence[int]) -> list[int]:
        listed = list(reversed(ids)) if self.shuffle else list(ids)
        return [id for id in listed for _ in range(2)] if self.repeat else listed

    def _answer(self, request: Request) -> Reply:
        # The service answers `null` for what there is not, with status 200.
        if request.path.startswith(f"{ROOT}/item/") and request.path not in self._handlers:
            return _json(None)
        return super()._answer(request)


def _json(value: Any) -> Reply:
    body = json.dumps(value, separators=(",", ":")).encode()
    headers = {"content-type": "application/json; charset=utf-8", "cache-control": "no-cache"}
    return Reply(body=body, headers=headers)
