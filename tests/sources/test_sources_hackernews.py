"""Hacker News: every id walked, late items, edits, deletions, absences; killed anywhere."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.clock import ManualClock
from gnomon.errors import ContentError
from gnomon.net.door import Door
from gnomon.sources import hackernews
from gnomon.testing.check_source import START, Stage, check_source
from gnomon.testing.doors import door_to
from gnomon.testing.hackernews_server import (
    MAX_ITEM,
    NEW_STORIES,
    TOP_STORIES,
    UPDATES,
    HackerNewsServer,
    item_path,
)
from gnomon.types import SourceConfig


class Scene:
    """A server, and what a record must hold of it."""

    def __init__(self, server: HackerNewsServer, **settings: Any) -> None:
        self.server = server
        self.expected: dict[str, list[str | None]] = {}
        self.settings = {"url": server.url("/v0"), "recheck_s": 0, **settings}

    def story(self, title: str, *, wanted: bool = True, **more: Any) -> int:
        return self._note(self.server.story(title, **more), title, wanted)

    def comment(self, parent: int, text: str, *, wanted: bool = True) -> int:
        return self._note(self.server.comment(parent, f"<p>{text}</p>"), text, wanted)

    def edit(self, id: int, text: str) -> None:
        self.server.edit(id, text=text)
        self.expected[f"hackernews:{id}"].append(text)

    def delete(self, id: int) -> None:
        self.server.delete(id)
        self.expected[f"hackernews:{id}"].append(None)

    def kill(self, id: int, text: str | None = None) -> None:
        self.server.kill(id, dead=text is None)
        self.expected[f"hackernews:{id}"].append(text)

    def _note(self, id: int, text: str, wanted: bool) -> int:
        if wanted:
            self.expected[f"hackernews:{id}"] = [text]
        return id

    def stage(
        self, door: Door, clock: ManualClock, *script: Callable[[], object], **more: Any
    ) -> Stage:
        return Stage(
            config=SourceConfig(name="hn", type="hackernews", settings=self.settings),
            fetcher=door, script=script, expected=lambda: self.expected,
            set_time=clock.set, rests=5, **more,
        )  # fmt: skip


def staged(
    play: Callable[[Scene, ManualClock], dict[str, Any]],
    *,
    stalls: bool = False,
    **server_options: Any,
) -> Any:
    """A stage from a play: it sets the scene, and returns settings and what happens then."""

    @asynccontextmanager
    async def stage() -> AsyncIterator[Stage]:
        clock = ManualClock(START)
        async with (
            HackerNewsServer(clock=clock, **server_options) as server,
            door_to(server.host_port, stalls=stalls) as door,
        ):
            scene = Scene(server)
            told = play(scene, clock)
            scene.settings |= told.get("settings", {})
            yield scene.stage(door, clock, *told["script"], **told.get("more", {}))

    return stage


def life(*faults: tuple[str, str]) -> Any:
    def play(scene: Scene, clock: ManualClock) -> dict[str, Any]:
        server = scene.server
        for n in range(60):
            scene.story(f"Story number {n}", url=f"https://news.example/{n}")
        gone = server.story("Already deleted")
        server.delete(gone)
        scene.comment(1, "First answer")  # id 62

        def more() -> None:
            story = scene.story("A later story")  # 63
            scene.comment(story, "An answer to it")  # 64

        script: list[Callable[[], object]] = [
            more,
            lambda: scene.edit(3, "What it is about"),
            lambda: server.vote(4),
            lambda: (scene.delete(5), scene.kill(6)),
            lambda: scene.kill(6, "Story number 5"),  # vouched for
            server.freeze,
            lambda: scene.comment(63, "Written while a cache lags behind"),
            lambda: server.freeze(False),
            lambda: (server.skip(2), scene.comment(63, "After two ids that never came")),
            lambda: server.announce(10_000_000),
            lambda: server.announce(0),
            lambda: scene.edit(62, "First answer, edited"),
        ]
        for i, (path, fault) in enumerate(faults):
            script.insert(2 * i + 1, lambda path=path, fault=fault: server.misbehave(path, fault))
        server.shuffle = server.repeat = True
        return {"script": script, "settings": {"null_patience_s": 60, "max_backlog": 20_000_000}}

    return staged(play, stalls="stall" in dict(faults).values())


async def test_killed_anywhere() -> None:
    ledgers = await check_source(hackernews.SOURCE, life(), rounds=10)
    assert sum(ledger.kills for ledger in ledgers) > 5
    assert not any(ledger.gaps for ledger in ledgers)
    first = ledgers[0]
    assert first.skipped["hackernews.dead"] == 1
    assert first.skipped["hackernews.absent"] == 1
    assert first.skipped["hackernews.never_came"] == 2
    story, answer = first.documents["hackernews:63"], first.documents["hackernews:64"]
    assert (story.kind, story.title, story.author) == ("post", "A later story", "pg")
    assert story.url == story.extra["discussion"] == "https://news.ycombinator.com/item?id=63"
    assert (answer.kind, answer.reply_to) == ("comment", "hackernews:63")
    assert first.documents["hackernews:2"].url == "https://news.example/1"
    assert first.documents["hackernews:4"].extra["score"] == 1
    assert first.documents["hackernews:1"].published_at == START


async def test_every_id_is_asked_for_once_in_order() -> None:
    """The walk of item ids, against the script: nothing is passed over or asked in vain."""
    clock = ManualClock(START)
    async with HackerNewsServer(clock=clock) as server, door_to(server.host_port) as door:
        scene = Scene(server)
        for n in range(130):
            scene.story(f"Story number {n}")
        scene.settings["rechecks"] = 0
        script = [lambda: scene.comment(1, "late")]

        @asynccontextmanager
        async def stage() -> AsyncIterator[Stage]:
            yield scene.stage(door, clock, *script)

        await check_source(hackernews.SOURCE, stage, rounds=1)
        asked = [r.path for r in server.requests if "/item/" in r.path]
        assert sorted(asked) == sorted(item_path(id) for id in range(1, 132))


@pytest.mark.parametrize("path", [MAX_ITEM, UPDATES, item_path(64)])
@pytest.mark.parametrize("fault", ["drop", "stall", "truncated", "503 0", "429 0"])
async def test_raises_and_recovers(path: str, fault: str) -> None:
    stage = life((path, fault))
    if path == item_path(64):
        stage = life_before(path, fault)
    (ledger,) = await check_source(hackernews.SOURCE, stage, rounds=1)
    assert any(code.startswith("net.") for code in ledger.errors), ledger.errors


def life_before(path: str, fault: str) -> Any:
    def play(scene: Scene, clock: ManualClock) -> dict[str, Any]:
        scene.story("A story")
        ids = [scene.comment(1, f"Answer {n}") for n in range(80)]
        assert item_path(ids[62]) == path
        scene.server.misbehave(path, fault)
        return {"script": []}

    return staged(play, stalls=fault == "stall")


@pytest.mark.parametrize("path", [MAX_ITEM, UPDATES])
async def test_another_page_in_place_of_a_list_is_no_news(path: str) -> None:
    (ledger,) = await check_source(hackernews.SOURCE, life((path, "html")), rounds=1)
    assert ledger.skipped["hackernews.unreadable"] == 1


@pytest.mark.parametrize("fault", ["html", "huge"])
async def test_an_item_that_cannot_be_read_is_asked_for_again(fault: str) -> None:
    def play(scene: Scene, clock: ManualClock) -> dict[str, Any]:
        story = scene.story("A story")
        scene.server.misbehave(item_path(story), fault)
        scene.story("Another story")
        return {"script": [], "more": {"ordered": False}}

    (ledger,) = await check_source(hackernews.SOURCE, staged(play), rounds=1)
    assert list(ledger.versions) == ["hackernews:2", "hackernews:1"]
    assert sum(ledger.skipped.values()) == 1


async def test_late_items_come_later() -> None:
    def play(scene: Scene, clock: ManualClock) -> dict[str, Any]:
        server = scene.server
        scene.story("There at once")
        late = [scene.story("Late"), scene.story("Later")]
        server.late(*late)
        scene.story("There as well")
        script = [
            lambda: server.appear(late[0]),
            lambda: None,
            lambda: server.appear(late[1]),
            lambda: scene.edit(late[1], "Edited soon after"),
        ]
        return {"script": script, "more": {"ordered": False}}

    ledgers = await check_source(hackernews.SOURCE, staged(play), rounds=8)
    assert list(ledgers[0].versions)[:2] == ["hackernews:1", "hackernews:4"]


async def test_too_long_a_backlog_is_a_gap_that_ends_where_the_walk_goes_on() -> None:
    def play(scene: Scene, clock: ManualClock) -> dict[str, Any]:
        scene.story("Before")

        def hours_pass() -> None:
            for n in range(150):
                clock.set(START + timedelta(minutes=n + 1))
                scene.story(f"Meanwhile {n}", wanted=n >= 50)
            scene.server.late(52)

        return {
            "script": [hours_pass, lambda: scene.server.appear(52)],
            "settings": {"max_backlog": 100},
            "more": {"ordered": False},
        }

    for ledger in await check_source(hackernews.SOURCE, staged(play), rounds=6):
        (gap,) = ledger.gaps
        assert gap.start == START
        # Id 52 is not there yet; the next one tells where the gap ends.
        assert gap.end == START + timedelta(minutes=52)
        assert len(ledger.versions) == 101


async def test_after_an_absence_what_was_walked_is_looked_at_again() -> None:
    def play(scene: Scene, clock: ManualClock) -> dict[str, Any]:
        story = scene.story("A story")
        for n in range(30):
            scene.comment(story, f"Answer {n}")

        def away() -> None:
            clock.set(START + timedelta(hours=1))
            scene.delete(9)
            scene.edit(20, "Edited meanwhile")
            scene.server.forget_updates()

        return {
            "script": [lambda: None, away, lambda: None, lambda: None, lambda: None],
            "settings": {"rechecks": 40, "interval_s": 700},
        }

    await check_source(hackernews.SOURCE, staged(play), rounds=1)


async def test_stories_only() -> None:
    def play(scene: Scene, clock: ManualClock) -> dict[str, Any]:
        server = scene.server
        for n in range(4):
            scene.story(f"Story {n}")
        scene.comment(1, "not wanted", wanted=False)

        def many() -> None:
            clock.set(START + timedelta(hours=1))
            for n in range(9):
                scene.story(f"Much later {n}", wanted=n >= 3)

        script = [
            lambda: scene.story("Another"),
            lambda: (scene.edit(2, "Ask HN: why?"), server.vote(5)),
            lambda: scene.delete(3),
            lambda: scene.comment(1, "not wanted either", wanted=False),
            many,
        ]
        return {"script": script, "settings": {"mode": "stories"}}

    for ledger in await check_source(hackernews.SOURCE, staged(play, listed=6), rounds=8):
        (gap,) = ledger.gaps
        assert START <= gap.start < gap.end == START + timedelta(hours=1)
        assert "hackernews:5" not in ledger.versions


async def test_the_front_page() -> None:
    def play(scene: Scene, clock: ManualClock) -> dict[str, Any]:
        server = scene.server
        a, b = scene.story("First"), scene.story("Second")
        scene.story("Never on top", wanted=False)
        server.front(b, a)
        c = server.job("Somebody hires")
        scene._note(c, "Somebody hires", True)
        late = scene.story("Only at place four")

        def shown() -> None:
            server.front(c, a, b, late)

        script = [shown, lambda: scene.edit(a, "Now with a text"), lambda: server.front(late, c)]
        return {"script": script, "settings": {"mode": "top", "top": 3}}

    for ledger in await check_source(hackernews.SOURCE, staged(play), rounds=8):
        assert not ledger.gaps


async def test_a_front_page_that_nobody_saw_is_a_gap() -> None:
    def play(scene: Scene, clock: ManualClock) -> dict[str, Any]:
        a, b = scene.story("First"), scene.story("Second")
        scene.server.front(a)
        return {
            "script": [lambda: scene.server.front(b)],
            "settings": {"mode": "top", "interval_s": 1_200},
        }

    (ledger,) = await check_source(hackernews.SOURCE, staged(play), rounds=1)
    (gap,) = ledger.gaps
    assert gap.start == START
    assert gap.end - START >= timedelta(seconds=1_200)


async def test_polls_and_jobs() -> None:
    def play(scene: Scene, clock: ManualClock) -> dict[str, Any]:
        poll, yes, no = scene.server.poll("Tabs?", ["Yes", "No"])
        for id, text in ((poll, "Tabs?"), (yes, "Yes"), (no, "No")):
            scene._note(id, text, True)
        return {"script": []}

    (ledger,) = await check_source(hackernews.SOURCE, staged(play), rounds=1)
    assert ledger.documents["hackernews:2"].reply_to == "hackernews:1"
    assert ledger.documents["hackernews:1"].kind == "post"


async def test_the_stand_in_answers_as_the_api_says() -> None:
    clock = ManualClock(START)
    async with HackerNewsServer(clock=clock) as server, httpx2.AsyncClient() as client:
        story = server.story("A title", url="https://x.example/")
        answer = server.comment(story, "<p>Yes &amp; no")

        async def get(path: str) -> Any:
            return (await client.get(server.url(path))).json()

        assert await get(MAX_ITEM) == answer
        assert await get(item_path(99)) is None
        found = await get(item_path(story))
        assert found["type"] == "story" and found["kids"] == [answer]
        assert found["time"] == int(START.timestamp())
        assert (await get(UPDATES)) == {"items": [story], "profiles": ["pg"]}
        assert await get(NEW_STORIES) == [story]
        server.front(story)
        assert await get(TOP_STORIES) == [story]
        server.delete(answer)
        assert await get(item_path(answer)) == {
            "id": answer, "type": "comment", "time": found["time"], "parent": story, "kids": [],
            "deleted": True,
        }  # fmt: skip


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


class _Skips:
    settings = hackernews.HackerNewsSettings()
    config = SourceConfig(name="hn", type="hackernews")
    clock = ManualClock(START)

    class limits:
        future_tolerance_s = 300.0

    def count(self, reason: str, n: int = 1) -> None:
        pass


@given(
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(
            ("type", "title", "text", "by", "url", "time", "parent", "kids", "deleted"), _JSON
        ),
    )
)
def test_any_item_is_read_or_passed_over(fields: dict[str, Any]) -> None:
    item = hackernews._item({**fields, "id": 7}, 7)
    assert item is not None
    for change in hackernews._change(_Skips(), item, fresh=False):  # type: ignore[arg-type]
        document = getattr(change, "document", None)
        assert document is None or document.text.strip()


@given(_JSON)
def test_any_answer_is_an_item_or_refused(said: Any) -> None:
    try:
        found = hackernews._item(said, 7)
    except ContentError as error:
        assert error.code == "hackernews.unreadable"
    else:
        assert found is None


@given(st.text(max_size=200))
def test_any_cursor_is_understood_or_begun_anew(cursor: str) -> None:
    memory = hackernews._Memory.restore(cursor, "stories")
    assert memory.mode == "stories"
    assert hackernews._Memory.restore(memory.cursor(), "stories") == memory


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("hackernews", "hackernews"),
        ("HN", "hackernews"),
        ("hackernews:top", "hackernews:top"),
        ("https://news.ycombinator.com/", "hackernews:top"),
        ("news.ycombinator.com/newest", "hackernews:stories"),
        ("https://news.ycombinator.com/newcomments", "hackernews"),
        ("https://news.ycombinator.com/item?id=8863", ""),
        ("https://news.ycombinator.com/rss", ""),
        ("hackernews:nothing", ""),
        ("hacker", ""),
    ],
)
def test_identify(text: str, name: str) -> None:
    found = hackernews.identify(text)
    assert (found.name if found else "") == name
    if found:
        hackernews.HackerNewsSettings.model_validate(dict(found.settings))
