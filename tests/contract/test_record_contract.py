"""What any record must do. A new implementation adds its factory to `RECORDS`, nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gnomon.errors import ContentError
from gnomon.record.base import Found, Life, Op, Record
from gnomon.record.store import SqliteRecord
from gnomon.types import (
    Attachment,
    Batch,
    Change,
    Delete,
    Document,
    Gap,
    Notice,
    Policy,
    Purge,
    SourceConfig,
    Upsert,
)

Factory = Callable[[Path], Record]
RECORDS: dict[str, Factory] = {
    "sqlite": lambda folder: SqliteRecord(folder / "record.db"),
}
T0 = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def doc(key: str = "a", text: str = "one", **fields: Any) -> Document:
    return Document(**{"key": key, "source": "s", "kind": "post", "text": text} | fields)


def put(key: str = "a", text: str = "one", **fields: Any) -> Upsert:
    return Upsert(doc(key, text, **fields))


def seen(found: Found) -> tuple[Life, str | None]:
    return found.life, found.document.text if found.document else None


@pytest.fixture(params=sorted(RECORDS))
def factory(request: pytest.FixtureRequest) -> Factory:
    return RECORDS[request.param]


@pytest.fixture
def record(factory: Factory, tmp_path: Path) -> Iterator[Record]:
    record = factory(tmp_path)
    yield record
    record.close()


def append(record: Record, seconds: float, *changes: Change, source: str = "s") -> Any:
    return record.append(source, Batch(changes), now=at(seconds))


class TestAppend:
    def test_a_new_document_is_stored_whole_and_returned_as_it_reads_back(self, record: Record):
        document = Document(
            key="x:1",
            source="s",
            kind="article",
            text="Körper 🌍\r\n\ttext",
            title="Title",
            url="https://example.org/a?b=c#d",
            author="Ann",
            lang="de",
            published_at=datetime(2026, 2, 28, 23, 59, 59, 999999, UTC),
            updated_at=datetime(1969, 7, 20, 20, 17, 40, 1, UTC),
            date_source="json-ld",
            policy=Policy(display=False, train=True),
            reply_to="x:0",
            quotes="y:9",
            attachments=(Attachment(hash="ab", media_type="image/png", body_bytes=3, name="p"),),
            extra={"likes": 3, "nested": {"a": [1, None, True, 2.5, "x"]}},
        )
        appended = record.append("s", Batch((Upsert(document),), "c1"), now=at(0))
        stored = msgspec.structs.replace(document, observed_at=at(0), version=1, seq=1)
        (entry,) = appended.entries
        assert (entry.op, entry.seq, entry.key, entry.source) == (Op.PUT, 1, "x:1", "s")
        assert (entry.start_us, entry.until_us, entry.prev_seq) == (1772366400000000, None, None)
        assert entry.document == stored
        assert record.get("x:1") == Found(life=Life.ALIVE, document=stored, since=at(0))
        assert record.version("x:1", 1).document == stored
        assert record.versions("x:1") == [stored]
        assert record.by_seq([2, 1]) == [None, stored]
        assert record.entries(0) == [entry]
        assert record.cursor("s") == "c1"
        assert appended.last_seq == record.last_seq() == 1

    def test_an_empty_record_says_so(self, record: Record):
        assert record.last_seq() == 0
        assert record.entries(0) == []
        assert record.get("a").life is Life.UNKNOWN
        assert record.version("a", 1).life is Life.UNKNOWN
        assert record.versions("a") == []
        assert record.by_seq([]) == []
        assert record.cursor("s") is None
        assert record.gaps() == [] == record.notices() == record.sources()
        assert record.source_stats() == {}
        assert record.stats().versions == record.stats().documents == 0
        assert list(record.export()) == []

    def test_an_edit_is_a_new_version_that_ends_the_one_before(self, record: Record):
        append(record, 0, put(text="one"))
        (entry,) = append(record, 5, put(text="two")).entries
        assert (entry.prev_seq, entry.document.version) == (1, 2)
        assert [d.text for d in record.versions("a")] == ["one", "two"]
        assert record.version("a", 1).document.text == "one"

    def test_what_is_held_is_told_moment_by_moment(self, record: Record):
        append(record, 0, put("a"), put("b"), put("c"))
        append(record, 5, put("a", text="two"), put("d"))
        append(record, 6, put("x"), source="other")
        append(record, 7, Delete(key="b"), Purge(key="c", reason="asked"))
        append(record, 9, put("e"))
        assert record.held("unknown") == []
        assert record.held("s") == [
            ("a", at(0)),
            ("b", at(0)),
            ("a", at(5)),
            ("d", at(5)),
            ("e", at(9)),
        ]
        first = record.held("s", limit=1)
        assert first == [("a", at(0)), ("b", at(0))]
        us = timedelta(microseconds=1)
        second = record.held("s", first[-1][1] + us, limit=2)
        assert second == [("a", at(5)), ("d", at(5))]
        assert record.held("s", second[-1][1] + us, limit=2) == [("e", at(9))]
        assert record.held("s", at(9) + us) == []

    def test_as_of_is_exact_at_the_edges(self, record: Record):
        append(record, 0, put(text="one"))
        append(record, 5, put(text="two"))
        append(record, 9, Delete(key="a"))
        us = timedelta(microseconds=1)
        assert seen(record.get("a", at(0) - us)) == (Life.UNKNOWN, None)
        assert seen(record.get("a", at(0))) == (Life.ALIVE, "one")
        assert seen(record.get("a", at(5) - us)) == (Life.ALIVE, "one")
        assert seen(record.get("a", at(5))) == (Life.ALIVE, "two")
        assert seen(record.get("a", at(9) - us)) == (Life.ALIVE, "two")
        assert seen(record.get("a", at(9))) == (Life.DELETED, "two")
        assert record.get("a", at(9)).since == at(9)
        assert record.get("a", at(7)).since == at(5)

    def test_a_moment_may_be_given_in_any_zone(self, record: Record):
        append(record, 0, put(text="one"))
        append(record, 5, put(text="two"))
        zone = timezone(timedelta(hours=5, minutes=45))
        assert seen(record.get("a", at(4).astimezone(zone))) == (Life.ALIVE, "one")

    def test_what_did_not_change_is_not_stored_again(self, record: Record):
        append(record, 0, put(text="one", extra={"likes": 1}))
        again = append(record, 5, put(text="one", extra={"likes": 2}), Delete(key="unknown"))
        assert (again.entries, again.unchanged, again.last_seq) == ((), 2, 1)
        assert record.get("a").document.extra == {"likes": 1}

    @pytest.mark.parametrize(
        "change",
        [
            {"text": "two"},
            {"title": "t"},
            {"updated_at": T0},
            {"published_at": T0},
            {"author": "b"},
            {"policy": Policy(snippet=False)},
            {"attachments": (Attachment(hash="ab", media_type="a/b", body_bytes=1),)},
        ],
        ids=lambda change: next(iter(change)),
    )
    def test_any_other_field_makes_a_version(self, record: Record, change: dict[str, Any]):
        append(record, 0, put())
        assert append(record, 5, put(**change)).entries[0].document.version == 2

    def test_a_delete_ends_a_life_once(self, record: Record):
        append(record, 0, put())
        (end,) = append(record, 5, Delete(key="a")).entries
        assert (end.op, end.prev_seq, end.document, end.start_us) == (
            Op.END,
            1,
            None,
            int(at(5).timestamp() * 1e6),
        )
        assert append(record, 6, Delete(key="a")).unchanged == 1

    def test_sources_that_overlap_do_not_hand_one_document_to_and_fro(self, record: Record):
        append(record, 0, put("a", "one"), source="tag")
        for n, source in enumerate(("everything", "tag", "everything"), 1):
            done = append(record, n, put("a", "one"), source=source)
            assert (done.unchanged, done.entries) == (1, ())
        append(record, 5, put("a", "two"), source="everything")
        append(record, 6, put("a", "two"), source="tag")
        assert [d.text for d in record.versions("a")] == ["one", "two"]
        assert [d.source for d in record.versions("a")] == ["tag", "everything"]

    def test_what_reappears_is_a_new_version_even_if_it_is_the_same(self, record: Record):
        append(record, 0, put())
        append(record, 5, Delete(key="a"))
        (entry,) = append(record, 9, put()).entries
        assert (entry.document.version, entry.prev_seq) == (2, None)
        assert seen(record.get("a", at(7))) == (Life.DELETED, "one")
        assert seen(record.get("a", at(9))) == (Life.ALIVE, "one")

    def test_changes_of_one_batch_apply_in_order(self, record: Record):
        appended = append(record, 0, put(text="1"), put(text="2"), Delete(key="a"), put(text="3"))
        assert [e.op for e in appended.entries] == [Op.PUT, Op.PUT, Op.END, Op.PUT]
        assert [e.prev_seq for e in appended.entries] == [None, 1, 2, None]
        assert seen(record.get("a")) == (Life.ALIVE, "3")
        starts = [e.start_us for e in appended.entries]
        assert starts == sorted(set(starts)), "entries of one key never share a moment"

    def test_a_clock_set_back_never_reorders(self, record: Record, factory, tmp_path):
        append(record, 100, put("a", "early"))
        append(record, 0, put("a", "late"), put("b", "b"))
        record.close()
        again = factory(tmp_path)
        append(again, 1, put("a", "last"))
        observed = [d.observed_at for d in again.versions("a")]
        assert [d.text for d in again.versions("a")] == ["early", "late", "last"]
        assert observed == sorted(observed)
        assert again.get("b").document.observed_at >= at(100)
        assert seen(again.get("a")) == (Life.ALIVE, "last")
        again.close()

    def test_log_order_and_stamps_agree(self, record: Record):
        for seconds in (5, 3, 9, 9, 1):
            append(record, seconds, put("a", str(seconds)), put("b", str(seconds)))
        starts = [e.start_us for e in record.entries(0)]
        assert starts == sorted(starts)

    def test_a_document_that_carries_its_moment_is_sorted_in(self, record: Record):
        append(record, 0, put(text="one"))
        append(record, 10, put(text="three"))
        (entry,) = append(record, 20, put(text="two", observed_at=at(5))).entries
        assert (entry.prev_seq, entry.document.observed_at) == (1, at(5))
        assert entry.until_us == record.get("a").document.observed_at.timestamp() * 1e6
        assert seen(record.get("a", at(7))) == (Life.ALIVE, "two")
        assert seen(record.get("a")) == (Life.ALIVE, "three")

    def test_a_document_belongs_to_the_source_that_brought_it(self, record: Record):
        append(record, 0, put(source="elsewhere"), source="s2")
        assert record.get("a").document.source == "s2"
        assert record.entries(0)[0].document.source == "s2"

    def test_a_bad_change_stores_nothing_and_names_itself(self, record: Record):
        append(record, 0, put("a"))
        for bad in (
            put(""),
            put("b", published_at=datetime(2026, 1, 1)),
            put("b", observed_at=datetime(2026, 1, 1)),
            put("b", title=None),
            put("b", text=5),
            Delete(key=""),
            Purge(),
            Purge(key="a", author="b"),
            Gap(reason="x", start=datetime(2026, 1, 1)),
        ):
            with pytest.raises(ContentError):
                record.append("s", Batch((put("c"), bad), "moved"), now=at(1))
        assert record.last_seq() == 1
        assert record.cursor("s") is None
        assert append(record, 2, put("d")).last_seq == 2

    def test_cursors_are_per_source_and_opaque(self, record: Record):
        record.append("s", Batch((), "one"), now=at(0))
        record.append("t", Batch((), '\ud800\0{"x": 1}'), now=at(0))
        record.append("s", Batch((put(),)), now=at(1))
        assert record.cursor("s") == "one"
        assert record.cursor("t") == '\ud800\0{"x": 1}'

    def test_gaps_and_notices_are_entries_and_lists(self, record: Record):
        gap = Gap(reason="offline", start=at(0), end=at(5))
        notice = Notice(code="x.y", text="Read this.", level="warning")
        append(record, 9, gap, notice)
        append(record, 10, Notice(code="b", text="later"), source="t")
        assert [(e.op, e.gap, e.notice) for e in record.entries(0)][:2] == [
            (Op.GAP, gap, None),
            (Op.NOTICE, None, notice),
        ]
        assert record.gaps() == [("s", at(9), gap)]
        assert record.gaps("t") == []
        assert record.gaps(as_of=at(8)) == []
        assert [n.code for _, _, n in record.notices()] == ["b", "x.y"]
        assert record.notices("s") == [("s", at(9), notice)]
        assert len(record.notices(limit=1)) == 1
        assert record.stats().gaps == 1

    def test_the_log_reads_back_as_it_was_returned(self, record: Record):
        returned = []
        for n in range(5):
            returned += append(record, n, put("a", str(n)), put(f"b{n}"), Gap(reason="g")).entries
        returned += append(
            record, 9, put("a", "mid", observed_at=at(1.5)), Delete(key="b1")
        ).entries
        assert record.entries(0) == returned
        assert record.entries(3, limit=4) == returned[3:7]
        assert [e.seq for e in returned] == list(range(1, len(returned) + 1))

    def test_the_log_can_be_narrowed_to_a_source(self, record: Record):
        append(record, 0, put("a"))
        append(record, 1, put("b"), source="t")
        assert [e.key for e in record.entries(0, source="t")] == ["b"]
        assert record.entries(0, source="nobody") == []

    def test_threads_read_while_one_writes(self, record: Record):
        append(record, 0, put("a", "0"))
        failures: list[BaseException] = []

        def read() -> None:
            try:
                newest = 0
                for _ in range(150):
                    found = record.get("a").document
                    assert found is not None and int(found.text) >= newest
                    newest = int(found.text)
                    assert record.by_seq([found.seq]) == [found]
            except BaseException as error:  # handed to the main thread
                failures.append(error)

        readers = [Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        for n in range(1, 60):
            append(record, n, put("a", str(n)))
        for reader in readers:
            reader.join()
        assert failures == []


class TestPurge:
    def test_a_purge_removes_every_version_for_every_moment(self, record: Record):
        append(record, 0, put(text="one", author="Ann"))
        append(record, 5, put(text="two", author="Ann"))
        (entry,) = append(record, 9, Purge(key="a", reason="asked")).entries
        assert (entry.op, entry.key, entry.dropped) == (Op.DROP, "a", (1, 2))
        for when in (at(0), at(7), None):
            found = record.get("a", when)
            assert (seen(found), found.since, found.reason) == (
                (Life.PURGED, None),
                at(9),
                "asked",
            )
        assert record.version("a", 2).life is Life.PURGED
        assert record.version("a", 2).since == at(9)
        assert record.version("a", 3).life is Life.UNKNOWN
        assert record.versions("a") == []
        assert record.by_seq([1, 2]) == [None, None]
        assert [e.document for e in record.entries(0)] == [None, None, None]
        assert list(record.export()) == []
        stats = record.stats()
        assert (stats.documents, stats.versions, stats.purged) == (0, 0, 2)

    def test_a_purge_of_what_is_unknown_stores_nothing(self, record: Record):
        assert append(record, 0, Purge(key="x"), Purge(author="x")).unchanged == 2
        assert record.last_seq() == 0

    def test_a_deleted_document_can_be_purged(self, record: Record):
        append(record, 0, put())
        append(record, 5, Delete(key="a"))
        append(record, 9, Purge(key="a"))
        assert record.get("a", at(6)).life is Life.PURGED
        assert list(record.export()) == []

    def test_what_comes_back_after_a_purge_is_new(self, record: Record):
        append(record, 0, put(text="one"))
        appended = append(record, 5, Purge(key="a"), put(text="two"))
        assert appended.entries[-1].document.version == 2
        assert seen(record.get("a")) == (Life.ALIVE, "two")
        assert record.get("a", at(1)).life is Life.PURGED
        assert record.version("a", 1).life is Life.PURGED

    def test_history_older_than_the_purge_does_not_come_back(self, record: Record):
        append(record, 0, put(text="one"))
        exported = list(record.export())
        append(record, 5, Purge(key="a"))
        loaded = record.load([*exported, ("s", put(text="zero", observed_at=at(-9)))], now=at(10))
        assert (loaded.entries, loaded.unchanged) == ((), 2)
        assert record.get("a", at(1)).life is Life.PURGED

    def test_an_author_is_purged_in_one_source_only(self, record: Record):
        append(record, 0, put("a", author="Ann"), put("b", author="Bob"), put("c", author="Ann"))
        append(record, 1, put("d", author="Ann"), source="t")
        append(record, 2, put("c", "edited", author="Ann"))
        (entry,) = append(record, 3, Purge(author="Ann", reason="gone")).entries
        assert entry.dropped == (1, 3, 5)
        assert [record.get(k).life for k in "abcd"] == [
            Life.PURGED,
            Life.ALIVE,
            Life.PURGED,
            Life.ALIVE,
        ]
        assert record.get("c", at(1)).reason == "gone"

    def test_an_author_of_one_version_loses_that_version(self, record: Record):
        append(record, 0, put(text="one", author="Ann"))
        append(record, 5, put(text="two", author="Bob"))
        exported = list(record.export())
        append(record, 9, Purge(author="Ann"))
        assert record.get("a", at(1)).life is Life.PURGED
        assert seen(record.get("a", at(6))) == (Life.ALIVE, "two")
        assert record.load(exported, now=at(10)).unchanged == 2

    def test_attachments_go_with_their_last_version(self, record: Record):
        hashes = [record.put_blob(body, "image/png") for body in (b"one" * 99, b"shared", b"free")]
        own, shared = (Attachment(hash=h, media_type="image/png", body_bytes=1) for h in hashes[:2])
        append(record, 0, put("a", attachments=(own, shared)), put("b", attachments=(shared,)))
        append(record, 5, Purge(key="a"))
        assert [record.blob(h) is not None for h in hashes] == [False, True, True]
        append(record, 6, Purge(key="b"))
        assert record.blob(hashes[1]) is None


class TestBlobs:
    @pytest.mark.parametrize("body", [b"", b"\0\xff", b"long and dull " * 1000])
    def test_bytes_come_back_by_their_hash(self, record: Record, body: bytes):
        first = record.put_blob(body, "a/b")
        assert record.put_blob(body, "a/b") == first
        assert len(first) == 64
        assert record.blob(first) == (body, "a/b")
        assert record.blob("0" * 64) is None


class TestLoad:
    def test_history_comes_in_any_order(self, factory: Factory, tmp_path: Path):
        history: list[Any] = [
            ("s", put(text="one", observed_at=at(0))),
            ("s", put(text="two", observed_at=at(5))),
            ("s", Delete(key="a", observed_at=at(9))),
            ("s", put(text="two", observed_at=at(12))),
        ]
        import itertools

        for n, order in enumerate(itertools.permutations(history)):
            folder = tmp_path / str(n)
            record = factory(folder)
            for pair in order[:2]:
                record.load([pair], now=at(99))
            record.load(order[2:], now=at(99))
            observed = [seen(record.get("a", at(s))) for s in (-1, 0, 6, 9, 11, 12, 50)]
            assert observed == [
                (Life.UNKNOWN, None),
                (Life.ALIVE, "one"),
                (Life.ALIVE, "two"),
                (Life.DELETED, "two"),
                (Life.DELETED, "two"),
                (Life.ALIVE, "two"),
                (Life.ALIVE, "two"),
            ], order
            record.close()

    def test_a_late_version_says_which_one_it_ends_and_when_it_ends(self, record: Record):
        append(record, 0, put(text="one"))
        append(record, 10, put(text="three"))
        (entry,) = record.load([("s", put(text="two", observed_at=at(5)))], now=at(20)).entries
        assert (entry.prev_seq, entry.start_us, entry.until_us) == (
            1,
            int(at(5).timestamp() * 1e6),
            int(at(10).timestamp() * 1e6),
        )
        assert entry.document.version == 3, "versions are counted as they arrive"
        assert [d.text for d in record.versions("a")] == ["one", "two", "three"]

    def test_a_late_first_version_lives_until_the_next(self, record: Record):
        append(record, 10, put(text="two"))
        (entry,) = record.load([("s", put(text="one", observed_at=at(0)))], now=at(20)).entries
        assert (entry.prev_seq, entry.until_us) == (None, int(at(10).timestamp() * 1e6))

    def test_a_late_delete_ends_the_version_alive_then(self, record: Record):
        append(record, 0, put(text="one"))
        append(record, 10, put(text="two"))
        (entry,) = record.load([("s", Delete(key="a", observed_at=at(5)))], now=at(20)).entries
        assert (entry.op, entry.prev_seq) == (Op.END, 1)
        assert [record.get("a", at(s)).life for s in (4, 5, 10)] == [
            Life.ALIVE,
            Life.DELETED,
            Life.ALIVE,
        ]

    def test_of_two_versions_at_one_moment_the_later_one_holds(self, record: Record):
        history = [("s", put(text=text, observed_at=at(5))) for text in ("one", "two")]
        _, second = record.load(history, now=at(9)).entries
        assert second.prev_seq == 1
        assert seen(record.get("a", at(5))) == (Life.ALIVE, "two")
        assert record.version("a", 1).document.text == "one"
        assert record.source_stats(at(5))["s"].documents == 1
        assert record.load(history, now=at(9)).unchanged == 2

    def test_loading_twice_changes_nothing(self, record: Record):
        history: list[Any] = [
            ("s", put(text="one", observed_at=at(0))),
            ("s", put(text="two", observed_at=at(5))),
            ("s", Delete(key="a", observed_at=at(9))),
            ("s", Delete(key="never", observed_at=at(9))),
            ("t", Gap(reason="x", observed_at=at(3))),
            ("t", Gap(reason="y")),
        ]
        assert len(record.load(history, now=at(20)).entries) == 6
        again = record.load(history, now=at(30))
        assert (again.entries, again.unchanged, again.last_seq) == ((), 6, 6)

    def test_a_loaded_gap_keeps_its_moment(self, record: Record):
        record.load([("s", Gap(reason="x", observed_at=at(3)))], now=at(20))
        assert record.gaps() == [("s", at(3), Gap(reason="x"))]
        assert record.gaps(as_of=at(2)) == []

    def test_live_stamps_do_not_follow_history(self, record: Record):
        record.load([("s", put("old", observed_at=at(-1000)))], now=at(0))
        record.load([("s", put("future", observed_at=at(1000)))], now=at(1))
        assert append(record, 2, put("live")).entries[0].document.observed_at == at(2)

    def test_a_live_version_before_a_future_one_takes_its_place(self, record: Record):
        record.load([("s", put(text="future", observed_at=at(1000)))], now=at(1))
        append(record, 2, put(text="live"), put(text="live 2"))
        assert seen(record.get("a", at(3))) == (Life.ALIVE, "live 2")
        assert seen(record.get("a", at(1000))) == (Life.ALIVE, "future")

    def test_a_failing_row_loads_nothing(self, record: Record):
        with pytest.raises(ContentError):
            record.load([("s", put("a", observed_at=at(0))), ("s", put(""))], now=at(1))
        assert record.last_seq() == 0


class TestRetain:
    def test_old_versions_go_and_say_so(self, record: Record):
        append(record, 0, put("a"), put("b"))
        append(record, 50, put("b", "newer"), put("c"))
        append(record, 50, put("d", observed_at=at(1)), source="t")
        (entry,) = record.retain("s", timedelta(seconds=60), now=at(100)).entries
        assert (entry.op, entry.source, entry.dropped) == (Op.DROP, "s", (1, 2))
        assert record.get("a").life is Life.EXPIRED
        assert record.get("a").since == at(100)
        assert record.version("b", 1).life is Life.EXPIRED
        assert record.get("b", at(10)).life is Life.EXPIRED
        assert seen(record.get("b")) == (Life.ALIVE, "newer")
        assert record.get("d").life is Life.ALIVE
        assert record.stats().versions == 3
        assert record.stats().purged == 0
        assert record.retain("s", timedelta(seconds=60), now=at(100)).entries == ()

    def test_at_most_so_many_at_once_oldest_first(self, record: Record):
        for n in range(5):
            append(record, n, put(str(n)))
        keep = timedelta(seconds=10)
        assert record.retain("s", keep, now=at(100), limit=2).entries[0].dropped == (1, 2)
        assert record.retain("s", keep, now=at(100), limit=9).entries[0].dropped == (3, 4, 5)

    def test_pinned_versions_stay_until_nobody_holds_them(self, record: Record):
        append(record, 0, put("a"), put("b"))
        record.pin("answer", [1])
        record.pin("other", [1])
        keep = timedelta(seconds=1)
        assert record.retain("s", keep, now=at(100)).entries[0].dropped == (2,)
        record.unpin("answer")
        assert record.retain("s", keep, now=at(100)).entries == ()
        record.unpin("other")
        assert record.retain("s", keep, now=at(100)).entries[0].dropped == (1,)

    def test_a_pin_does_not_keep_from_a_purge(self, record: Record):
        append(record, 0, put("a"))
        record.pin("answer", [1])
        append(record, 1, Purge(key="a"))
        assert record.version("a", 1).life is Life.PURGED

    def test_what_expired_and_comes_again_is_new(self, record: Record):
        append(record, 0, put("a"))
        record.retain("s", timedelta(seconds=1), now=at(100))
        (entry,) = append(record, 101, put("a")).entries
        assert (entry.document.version, entry.prev_seq) == (2, None)
        assert record.get("a", at(50)).life is Life.EXPIRED


class TestStats:
    def test_per_source_at_any_moment(self, record: Record):
        append(record, 0, put("a", published_at=at(-5)), put("b"))
        append(record, 10, put("b", "two", published_at=at(9)))
        append(record, 20, Delete(key="a"))
        append(record, 30, put("c"), source="t")
        counts = {
            seconds: {name: s.documents for name, s in record.source_stats(at(seconds)).items()}
            for seconds in (-1, 0, 10, 20, 30)
        }
        assert counts == {
            -1: {},
            0: {"s": 2},
            10: {"s": 2},
            20: {"s": 1},
            30: {"s": 1, "t": 1},
        }
        now = record.source_stats()
        assert (now["s"].last_document_at, now["s"].last_published_at) == (at(10), at(9))
        assert (now["t"].last_document_at, now["t"].last_published_at) == (at(30), None)
        assert record.stats().documents == 2
        assert record.stats().body_bytes > 0


class TestSources:
    def test_configurations_are_kept_by_name(self, record: Record, factory, tmp_path):
        config = SourceConfig(
            name="feed:b",
            type="feed",
            settings={"url": "https://b", "n": 1},
            keep=timedelta(days=2),
        )
        record.put_source(config)
        record.put_source(SourceConfig(name="feed:a", type="feed"))
        record.put_source(msgspec.structs.replace(config, paused=True, title="B"))
        record.append("feed:b", Batch((), "here"), now=at(0))
        record.close()
        again = factory(tmp_path)
        assert [c.name for c in again.sources()] == ["feed:a", "feed:b"]
        assert again.sources()[1] == msgspec.structs.replace(config, paused=True, title="B")
        assert again.drop_source("feed:b")
        assert not again.drop_source("feed:b")
        assert not again.drop_source("never")
        assert again.cursor("feed:b") == "here"
        again.close()


class TestUpkeep:
    def test_a_reopened_record_is_the_same(self, record: Record, factory, tmp_path):
        append(record, 0, put("a"), put("b"), Gap(reason="x"))
        append(record, 1, put("a", "two"), Delete(key="b"), Purge(author="nobody"))
        before = (record.entries(0), record.stats().versions, record.source_stats())
        record.close()
        record.close()
        again = factory(tmp_path)
        assert (again.entries(0), again.stats().versions, again.source_stats()) == before
        assert append(again, 2, put("c")).entries[0].seq == before[0][-1].seq + 1
        again.check()
        again.close()

    def test_a_backup_is_a_record(self, record: Record, factory, tmp_path):
        append(record, 0, put("a"))
        folder = tmp_path / "backup"
        folder.mkdir()
        record.backup(folder / "record.db")
        append(record, 1, put("b"))
        copy = factory(folder)
        assert [e.key for e in copy.entries(0)] == ["a"]
        copy.check()
        copy.close()

    def test_an_export_rebuilds_every_answer(self, record: Record, factory, tmp_path):
        append(record, 0, put("a"), put("b", author="Ann"), Gap(reason="x", start=at(-9)))
        append(record, 5, put("a", "two"), Delete(key="b"))
        append(record, 6, put("b", "back", author="Ann"), put("c", "secret"))
        record.load([("s", put("a", "early", observed_at=at(2)))], now=at(7))
        append(record, 8, Purge(key="c"))
        copy = factory(tmp_path / "copy")
        copy.load(record.export(), now=at(50))
        for seconds in range(-1, 10):
            for key in "ab":
                mine, theirs = record.get(key, at(seconds)), copy.get(key, at(seconds))
                assert (seen(mine), mine.since) == (seen(theirs), theirs.since)
        assert copy.gaps() == record.gaps()
        assert copy.get("c").life is Life.UNKNOWN
        copy.close()

    def test_an_export_does_not_prolong_what_ended_in_an_expired_version(
        self, record: Record, factory, tmp_path
    ):
        append(record, 0, put("a", "one"))
        append(record, 5, put("a", "two"))
        append(record, 9, put("a", "one"))
        record.pin("holder", [1])
        record.retain("s", timedelta(seconds=3), now=at(10))
        copy = factory(tmp_path / "copy")
        copy.load(record.export(), now=at(50))
        assert seen(copy.get("a", at(1))) == (Life.ALIVE, "one")
        assert seen(copy.get("a", at(6))) == (Life.DELETED, "one")
        assert seen(copy.get("a", at(9))) == (Life.ALIVE, "one")
        copy.close()


NAUGHTY = st.text(
    st.characters() | st.characters(categories=["Cs"]) | st.sampled_from("\0\x1b\ufeff\u202e"),
    max_size=30,
)


class TestText:
    @settings(
        max_examples=60,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(
        key=NAUGHTY.filter(bool),
        text=NAUGHTY | st.builds(lambda s: s * 500, NAUGHTY),
        title=NAUGHTY,
        author=NAUGHTY,
        extra=st.dictionaries(
            NAUGHTY,
            st.recursive(
                NAUGHTY | st.integers() | st.floats(allow_nan=False) | st.booleans() | st.none(),
                lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAUGHTY, inner),
                max_leaves=5,
            ),
            max_size=3,
        ),
    )
    def test_no_text_can_fail_a_batch(self, record, key, text, title, author, extra):
        document = doc(key, text, title=title, author=author, extra=extra)
        append(record, 0, Purge(key=key))
        (entry,) = append(record, 0, Upsert(document)).entries
        stored = entry.document
        assert record.get(key).document == stored
        assert append(record, 0, Upsert(document)).unchanged == 1
        for name in ("text", "title", "author"):
            given, kept = getattr(document, name), getattr(stored, name)
            assert kept == given.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        if author:
            assert append(record, 0, Purge(author=author)).entries
            assert record.get(key).life is Life.PURGED
        else:
            append(record, 0, Purge(key=key))
