from __future__ import annotations

import asyncio
import gc
import json
import random
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gnomon.clock import ManualClock
from gnomon.errors import (
    ConfigError,
    StoreError,
    Transient,
    UpstreamTerminal,
    UpstreamTransient,
)
from gnomon.index.base import Query
from gnomon.index.live import LiveIndex
from gnomon.record.base import Appended, Op
from gnomon.record.store import SqliteRecord
from gnomon.testing.feed_server import FeedServer, Item
from gnomon.types import Batch, Document, Notice, SourceConfig, Upsert


def found(house: Any, text: str) -> list[str]:
    return [hit.key for hit in house.index.search(Query(text=text, limit=50)).hits]


def feed_config(server: FeedServer, path: str = "/news", **settings: Any) -> SourceConfig:
    return SourceConfig(
        name="feed:news", type="feed", settings={"url": server.url(path), **settings}
    )


# -- the way of the data ------------------------------------------------------


async def test_a_posted_entry_is_searchable_within_a_second(house: Any, eventually: Any) -> None:
    async with FeedServer() as server:
        feed = server.feed("/news", title="News")
        feed.post(Item(id="1", title="Harbour", text="The harbour is open."))
        async with house(allow=(server.host_port,)) as h:
            await h.runner.add(feed_config(server))
            await eventually(lambda: found(h, "harbour"))
            feed.post(Item(id="2", title="Ferry", text="The ferry runs again."))
            began = time.monotonic()
            h.runner.poll_now("feed:news")
            await eventually(lambda: found(h, "ferry"))
            assert time.monotonic() - began < 1.0
            state = h.state("feed:news")
            assert (state.state, state.documents, state.errors) == ("polling", 2, 0)
            assert "last answer" in state.text and "next in" in state.text
            await eventually(lambda: h.runner.index_lag_s == 0)


async def test_cancelled_anywhere_nothing_is_lost_or_doubled(
    house: Any, tmp_path: Path, eventually: Any
) -> None:
    path = tmp_path / "posts.jsonl"
    path.write_text(
        "".join(json.dumps({"key": f"k{n}", "text": f"post {n}"}) + "\n" for n in range(6_000))
    )
    config = SourceConfig(
        name="replay:posts", type="replay", settings={"path": str(path), "batch_rows": 20}
    )
    rng = random.Random(5)
    for n in range(4):
        async with house() as h:
            if n == 0:
                await h.runner.add(config)
            before = h.record.last_seq()
            assert before < 6_000
            pause_s = rng.uniform(0, 0.02)
            for _ in range(5_000):
                if h.record.last_seq() > before:
                    break
                await asyncio.sleep(0.001)
            await asyncio.sleep(pause_s)
    async with house() as h:
        await eventually(lambda: h.state("replay:posts").state == "done")
        assert h.record.stats().documents == h.record.stats().versions == 6_000
        assert await h.runner.wait_indexed(h.record.last_seq(), 10)
        assert h.index.stats().documents == 6_000
        seqs = [e.seq for e in h.record.entries(0, 100_000)]
        assert seqs == list(range(1, len(seqs) + 1))


async def test_a_cursor_never_passes_a_batch_that_is_not_stored(
    house: Any, conduct: Any, eventually: Any
) -> None:
    """A connection that breaks is followed again only from what is durable."""
    source = conduct()

    class Slow(SqliteRecord):
        gate = threading.Event()

        def append(self, *args: Any, **kw: Any) -> Appended:
            self.gate.wait(10)
            return super().append(*args, **kw)

    async with house(source.spec, record=Slow) as h:
        await h.runner.add(source.config)
        for n in range(1, 6):
            source.bring(n)
        source.coming.put_nowait(UpstreamTransient("connection lost"))
        await eventually(lambda: h.state(source.name).errors == 1)
        await asyncio.sleep(0.1)
        assert source.cursors == [None]
        Slow.gate.set()
        await eventually(lambda: len(source.cursors) == 2)
        assert source.cursors[1] == "5"
    assert source.closed == 2


async def test_back_pressure(house: Any, conduct: Any, eventually: Any) -> None:
    source = conduct()

    class Slow(SqliteRecord):
        gate = threading.Event()

        def append(self, *args: Any, **kw: Any) -> Appended:
            self.gate.wait(10)
            return super().append(*args, **kw)

    async with house(source.spec, record=Slow, ingest={"queue_batches": 4}) as h:
        await h.runner.add(source.config)
        for n in range(100):
            source.bring(n)
        await eventually(lambda: h.runner.queued_batches == 4)
        await asyncio.sleep(0.05)
        assert source.handed <= 4 + 5  # the queue, and what the writer took at first
        Slow.gate.set()
        await eventually(lambda: h.record.stats().documents == 100)


async def test_a_slow_index_slows_the_source(
    house: Any, conduct: Any, eventually: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = conduct()
    gate = threading.Event()
    apply = LiveIndex.apply

    def slow(self: LiveIndex, entries: Any) -> None:
        gate.wait(10)
        apply(self, entries)

    async with house(source.spec, ingest={"queue_batches": 2}) as h:
        await h.runner.add(source.config)
        source.bring(0)
        await eventually(lambda: found(h, "number"))
        monkeypatch.setattr(LiveIndex, "apply", slow)
        for n in range(1, 500):
            source.bring(n)
        await eventually(lambda: h.runner.queued_batches == 2)
        await asyncio.sleep(0.3)
        assert source.handed < 100
        assert h.runner.index_lag_s > 0.2
        gate.set()
        await eventually(lambda: h.index.stats().documents == 500, 30)


async def test_memory_stays_bounded(house: Any, conduct: Any, eventually: Any) -> None:
    """What passed through is not held: neither documents nor queue entries."""
    source = conduct()
    async with house(source.spec) as h:
        await h.runner.add(source.config)
        for n in range(1_500):
            source.bring(n)
        await eventually(lambda: h.index.stats().documents == 1_500, 30)
        gc.collect()
        held = sum(type(o) is Document for o in gc.get_objects())
        assert held < 500


# -- what goes wrong ----------------------------------------------------------


async def test_store_error_stops_everything(house: Any, conduct: Any, eventually: Any) -> None:
    source, other = conduct("one"), conduct("two")

    class Damaged(SqliteRecord):
        def append(self, source: str, batch: Batch, **kw: Any) -> Appended:
            if batch.cursor == "3":
                raise StoreError("The record is damaged.", code="store.corrupt")
            return super().append(source, batch, **kw)

    with pytest.raises(StoreError, match="damaged"):
        async with house(source.spec, other.spec, record=Damaged) as h:
            await h.runner.add(source.config)
            await h.runner.add(other.config)
            for n in (1, 2):
                source.bring(n)
                await eventually(lambda n=n: h.record.cursor("one") == str(n))
            source.bring(3)
            async with asyncio.timeout(5):
                with pytest.raises(StoreError, match="damaged"):
                    await h.runner.wait()
            assert (source.closed, other.closed) == (1, 1)
            with pytest.raises(StoreError):
                await h.runner.wait_indexed(99, 1)
            with pytest.raises(StoreError):
                await h.runner.remove("two")


async def test_a_full_disk_is_waited_for(house: Any, conduct: Any, eventually: Any) -> None:
    source = conduct()

    class Full(Transient, StoreError):
        retry_after_s = 0.02

    class Crowded(SqliteRecord):
        full = True

        def append(self, *args: Any, **kw: Any) -> Appended:
            if self.full:
                raise Full("The disk is full.", hint="Make room.")
            return super().append(*args, **kw)

    async with house(source.spec, record=Crowded) as h:
        await h.runner.add(source.config)
        source.bring(1)
        await eventually(lambda: "The disk is full. Make room." in h.state(source.name).text)
        Crowded.full = False
        await eventually(lambda: found(h, "number"))
        assert "disk" not in h.state(source.name).text


async def test_a_crashing_plugin_harms_nobody(house: Any, conduct: Any, eventually: Any) -> None:
    bad, good = conduct("bad"), conduct("good")
    async with house(bad.spec, good.spec) as h:
        await h.runner.add(bad.config)
        await h.runner.add(good.config)
        bad.coming.put_nowait(ZeroDivisionError("in the plugin"))
        await eventually(lambda: h.state("bad").state == "retrying")
        assert "in the plugin" in h.state("bad").text
        good.bring(1)
        await eventually(lambda: found(h, "number"))
        bad.bring(2)
        await eventually(lambda: len(found(h, "number")) == 2)
        assert h.state("bad").state == "live" and h.state("bad").errors == 1


async def test_a_plugin_that_yields_nonsense(house: Any, conduct: Any, eventually: Any) -> None:
    bad = conduct()
    async with house(bad.spec) as h:
        await h.runner.add(bad.config)
        bad.coming.put_nowait("not a batch")
        await eventually(lambda: h.state(bad.name).errors == 1)
        assert "crashed" in h.state(bad.name).text


async def test_one_item_that_cannot_be_stored_is_left_out(
    house: Any, conduct: Any, eventually: Any
) -> None:
    source = conduct()
    good = [
        Upsert(Document(key=f"g{n}", source=source.name, kind="post", text=f"good {n}"))
        for n in range(4)
    ]
    naive = datetime(2026, 1, 1)  # what a careless connector makes
    bad = Upsert(
        Document(key="bad", source=source.name, kind="post", text="bad", published_at=naive)
    )
    async with house(source.spec) as h:
        await h.runner.add(source.config)
        source.coming.put_nowait(Batch((good[0], good[1], bad, good[2], good[3]), "end"))
        await eventually(lambda: h.record.cursor(source.name) == "end")
        assert h.record.stats().documents == 4
        (notice,) = [n for _, _, n in h.record.notices(source.name)]
        assert notice.code == "item.rejected"


async def test_terminal_errors(house: Any, conduct: Any, eventually: Any) -> None:
    source = conduct()
    async with house(source.spec) as h:
        await h.runner.add(source.config)
        source.coming.put_nowait(UpstreamTerminal("It ended.", code="source.gone"))
        await eventually(lambda: h.state(source.name).state == "gone")
        assert h.state(source.name).next_at is None
        source.bring(1)
        h.runner.poll_now(source.name)  # an operator may insist
        await eventually(lambda: found(h, "number"))


async def test_a_missing_connector_stops_nobody(house: Any, conduct: Any, eventually: Any) -> None:
    source = conduct()
    async with house(source.spec) as h:
        await h.runner.add(source.config)
        h.record.put_source(SourceConfig(name="lost", type="uninstalled"))
        h.record.put_source(SourceConfig(name="odd", type="feed", settings={"uri": "x"}))
    async with house(source.spec) as h:
        assert h.state("lost").state == "failed"
        assert "No connector is called 'uninstalled'" in h.state("lost").text
        assert "Did you mean url" in h.state("odd").text
        source.bring(1)
        await eventually(lambda: found(h, "number"))
        await h.runner.remove("lost")
        assert [s.name for s in h.runner.states()] == [source.name, "odd"]


# -- sources come and go ------------------------------------------------------


async def test_pause_resume_remove(house: Any, conduct: Any, eventually: Any) -> None:
    source = conduct()
    async with house(source.spec) as h:
        await h.runner.add(source.config)
        source.bring(1)
        await eventually(lambda: found(h, "number"))
        await h.runner.pause(source.name)
        assert h.state(source.name).state == "paused" and source.closed == 1
        source.bring(2)
    async with house(source.spec) as h:
        assert h.state(source.name).state == "paused"
        await asyncio.sleep(0.05)
        assert source.cursors == [None]
        await h.runner.resume(source.name)
        await eventually(lambda: len(found(h, "number")) == 2)
        assert source.cursors == [None, "1"]
        await h.runner.remove(source.name)
        assert h.runner.states() == [] and h.record.sources() == []
        assert len(found(h, "number")) == 2  # what it brought stays


async def test_without_following_nothing_runs_but_the_index_catches_up(
    house: Any, conduct: Any, eventually: Any
) -> None:
    source = conduct()
    async with house(source.spec, follow=False) as h:
        await h.runner.add(source.config)
        document = Document(key="k", source=source.name, kind="post", text="number one")
        h.record.append(source.name, Batch((Upsert(document),)), now=datetime.now(UTC))
        assert await h.runner.wait_indexed(h.record.last_seq(), 5)
        assert "newest document seen" in h.state(source.name).text
        assert source.cursors == [] and found(h, "number") == ["k"]
    async with house(source.spec) as h:
        await eventually(lambda: source.cursors == [None])


async def test_adding_again_replaces(house: Any, conduct: Any, eventually: Any) -> None:
    source = conduct()
    async with house(source.spec) as h:
        await h.runner.add(source.config)
        await eventually(lambda: len(source.cursors) == 1)
        await h.runner.add(SourceConfig(name=source.name, type=source.name, title="Better"))
        await eventually(lambda: len(source.cursors) == 2)
        assert source.closed == 1 and [s.title for s in h.runner.states()] == ["Better"]


async def test_wrong_names_and_settings_are_config_errors(house: Any) -> None:
    async with house() as h:
        with pytest.raises(ConfigError, match="No source is called 'nosuch'"):
            h.runner.poll_now("nosuch")
        with pytest.raises(ConfigError, match="url"):
            await h.runner.add(SourceConfig(name="f", type="feed"))
        assert h.record.sources() == []


# -- looking on ---------------------------------------------------------------


async def test_subscribers_get_everything_in_order(
    house: Any, conduct: Any, eventually: Any
) -> None:
    source = conduct()
    got: list[int] = []

    async def listen(runner: Any) -> None:
        async for entry in runner.subscribe(2):
            got.append(entry.seq)

    async with house(source.spec) as h:
        await h.runner.add(source.config)
        for n in range(5):
            source.bring(n)
        await eventually(lambda: h.record.last_seq() == 5)
        listening = asyncio.ensure_future(listen(h.runner))
        await eventually(lambda: got == [3, 4, 5])
        for n in range(5, 8):
            source.bring(n)
        await eventually(lambda: got == [3, 4, 5, 6, 7, 8])
    async with asyncio.timeout(5):
        await listening


async def test_the_index_catches_up_after_a_crash(house: Any, conduct: Any) -> None:
    source = conduct()
    async with house(source.spec) as h:
        await h.runner.add(source.config)
    record = SqliteRecord(h.home / "record.sqlite")
    changes = tuple(
        Upsert(Document(key=f"k{n}", source=source.name, kind="post", text=f"number {n}"))
        for n in range(5_000)
    )
    record.append(source.name, Batch(changes, "x"), now=datetime.now(UTC))
    last = record.last_seq()
    record.close()
    async with house(source.spec) as h:
        source.bring(1)
        assert await h.runner.wait_indexed(last, 20)
        assert h.index.stats().documents >= 5_000


async def test_imports_by_another_hand_are_indexed(
    house: Any, conduct: Any, eventually: Any
) -> None:
    source = conduct()

    def load(h: Any, n: int) -> int:
        document = Document(
            key=f"old{n}",
            source="archive",
            kind="post",
            text=f"archived {n}",
            observed_at=datetime(2026, 1, 1, tzinfo=UTC),
        )
        return int(h.record.load([("archive", Upsert(document))], now=datetime.now(UTC)).last_seq)

    async with house(source.spec) as h:
        await h.runner.add(source.config)
        await h.runner.wait_indexed(h.record.last_seq(), 5)
        assert await h.runner.wait_indexed(load(h, 1), 5)
        load(h, 2)
        source.bring(1)  # its sequence number stands behind the import
        await eventually(lambda: len(found(h, "archived")) == 2 and found(h, "number"))
        load(h, 3)
        h.runner.changed()
        await eventually(lambda: len(found(h, "archived")) == 3)
        assert not await h.runner.wait_indexed(10_000, 0.05)


async def test_states_of_an_earlier_moment(house: Any, conduct: Any, eventually: Any) -> None:
    clock = ManualClock(datetime(2026, 3, 1, 12, tzinfo=UTC))
    source = conduct()
    async with house(source.spec, clock=clock, ingest={"retry_max_s": 5}) as h:
        await h.runner.add(source.config)
        source.bring(1, published_at=clock.now() - timedelta(seconds=30))
        await eventually(lambda: h.record.cursor(source.name) == "1")
        well_at = clock.now()
        clock.advance(600)
        source.coming.put_nowait(UpstreamTransient("name not resolved"))
        await eventually(lambda: h.state(source.name).state == "retrying")
        for _ in range(30):  # it fails on, for some minutes
            source.coming.put_nowait(UpstreamTransient("name not resolved"))
            clock.advance(10)
            await asyncio.sleep(0.005)
        await eventually(lambda: h.record.notices(source.name))
        down_at = clock.now()
        while not source.coming.empty():
            source.coming.get_nowait()
        clock.advance(60)
        source.bring(2)
        await eventually(lambda: h.state(source.name).state == "live")
        clock.advance(60)
        await eventually(lambda: len(h.record.notices(source.name)) == 2)
        up_at = clock.now()

        def then(at: datetime) -> Any:
            return h.runner.states(at)[0]

        assert then(well_at).state == "live"
        assert then(well_at).lag_s == 30
        assert then(down_at).state == "retrying"
        assert "name not resolved" in then(down_at).text
        assert then(down_at).last_document_at == well_at
        assert then(up_at).state == "live"


async def test_retention(house: Any, conduct: Any, eventually: Any) -> None:
    clock = ManualClock(datetime(2026, 3, 1, tzinfo=UTC))
    short, usual = conduct("short"), conduct("usual")
    async with house(short.spec, usual.spec, clock=clock, keep_days=10) as h:
        await h.runner.add(SourceConfig(name="short", type="short", keep=timedelta(days=1)))
        await h.runner.add(usual.config)
        short.bring(1)
        usual.bring(1)
        await eventually(lambda: h.record.stats().documents == 2)
        clock.advance(2 * 86_400)
        await eventually(lambda: h.record.stats().documents == 1)
        await h.runner.wait_indexed(h.record.last_seq(), 5)
        assert found(h, "number") == ["usual#1"]
        clock.advance(9 * 86_400)
        await eventually(lambda: h.record.stats().documents == 0)


async def test_a_clock_set_back_stops_no_schedule(
    house: Any, conduct: Any, eventually: Any
) -> None:
    clock = ManualClock(datetime(2026, 3, 1, tzinfo=UTC))
    source = conduct()
    async with house(source.spec, clock=clock) as h:
        await h.runner.add(source.config)
        source.bring(1)
        await eventually(lambda: h.record.cursor(source.name) == "1")
        clock.set(clock.now() - timedelta(days=30))
        source.bring(2)
        source.coming.put_nowait(UpstreamTransient("x"))
        await eventually(lambda: h.state(source.name).state == "retrying")
        clock.advance(60)
        await eventually(lambda: len(source.cursors) == 2)
        await h.runner.wait_indexed(h.record.last_seq(), 5)
        first, second = (e.document for e in h.record.entries(0) if e.op is Op.PUT)
        assert second.observed_at >= first.observed_at


async def test_stopping_closes_sources_and_leaves_no_task(house: Any, conduct: Any) -> None:
    before = asyncio.all_tasks()
    source = conduct()
    async with house(source.spec) as h:
        await h.runner.add(source.config)
        source.bring(1)
        assert not isinstance(h.runner.states()[0], Notice)
    assert source.closed == len(source.cursors)
    left = {t for t in asyncio.all_tasks() - before if not t.done()}
    assert not left
