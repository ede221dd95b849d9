"""History in files: what goes out comes back in, and a bad row is named, not fatal."""

from __future__ import annotations

import builtins
import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gnomon.errors import ConfigError
from gnomon.record.base import Life
from gnomon.record.store import SqliteRecord
from gnomon.record.transfer import ImportReport, export_file, import_file
from gnomon.types import Attachment, Batch, Delete, Document, Gap, Policy, Purge, Upsert

T0 = datetime(2026, 3, 1, tzinfo=UTC)
NOW = T0 + timedelta(days=30)
FORMATS = [".jsonl", ".jsonl.gz", ".jsonl.zst", ".ndjson", ".parquet"]


def put(key: str, text: str = "text", **fields: Any) -> Upsert:
    return Upsert(Document(**{"key": key, "source": "s", "kind": "post", "text": text} | fields))


@pytest.fixture
def record(tmp_path: Path) -> Iterator[SqliteRecord]:
    record = SqliteRecord(tmp_path / "record.db")
    yield record
    record.close()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[SqliteRecord]:
    record = SqliteRecord(tmp_path / "other.db")
    yield record
    record.close()


def write(path: Path, *rows: Any) -> Path:
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    path.write_bytes(b"\n".join(lines))
    return path


def reasons(report: ImportReport) -> dict[int, str]:
    return dict(report.skipped)


class TestRoundTrip:
    @pytest.mark.parametrize("ending", FORMATS)
    def test_everything_comes_back(
        self, record: SqliteRecord, other: SqliteRecord, tmp_path: Path, ending: str
    ):
        hash = record.put_blob(b"\x89PNG", "image/png")
        picture = Attachment(hash=hash, media_type="image/png", body_bytes=4, name="a.png")
        full = put(
            "x:1",
            "Körper 🌍\n\0text",
            kind="article",
            title="T",
            url="https://e.org/",
            author="Ann",
            lang="de",
            published_at=T0 - timedelta(microseconds=1),
            updated_at=datetime(1960, 1, 1, tzinfo=UTC),
            date_source="meta",
            policy=Policy(display=False, train=True),
            reply_to="x:0",
            quotes="y:1",
            attachments=(picture,),
            extra={"likes": 3, "deep": [{"a": None}], "op": "x"},
        )
        record.append("s", Batch((full, put("empty", ""), Gap(reason="g", start=T0))), now=T0)
        record.append("t", Batch((put("x:1", "edited", attachments=(picture,)),)), now=T0)
        record.append("s", Batch((Delete(key="x:1"), put("p"), Purge(key="p"))), now=T0)
        path = tmp_path / f"export{ending}"
        assert export_file(record, path) == 5
        report = import_file(other, path, now=NOW)
        assert report == ImportReport(rows=5, loaded=5, known=0, skipped_rows=0, skipped=())
        assert other.blob(hash) == (b"\x89PNG", "image/png")
        assert other.gaps() == record.gaps()
        assert other.get("p").life is Life.UNKNOWN
        without_seq = [
            [
                (
                    d.key,
                    d.source,
                    d.version,
                    d.observed_at,
                    d.extra,
                    d.attachments,
                    d.text,
                    d.policy,
                )
                for d in r.versions("x:1") + r.versions("empty")
            ]
            for r in (record, other)
        ]
        assert without_seq[0] == without_seq[1]
        first = other.version("x:1", 1).document
        mine = record.version("x:1", 1).document
        assert first is not None
        assert first == mine
        assert other.get("x:1").life is Life.DELETED
        again = import_file(other, path, now=NOW)
        assert (again.loaded, again.known) == (0, 5)

    @settings(
        max_examples=15,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(data=st.data(), ending=st.sampled_from(FORMATS))
    def test_every_moment_has_the_same_answer(
        self, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, ending: str
    ):
        folder = tmp_path_factory.mktemp("transfer")
        record, copy = SqliteRecord(folder / "a.db"), SqliteRecord(folder / "b.db")
        text = st.text(max_size=8)
        moment = st.integers(-5, 30).map(lambda s: T0 + timedelta(seconds=s))
        change = st.one_of(
            st.builds(put, st.sampled_from("abc"), text, title=text, author=text),
            st.builds(put, st.sampled_from("abc"), text, observed_at=moment, published_at=moment),
            st.builds(lambda k: Delete(key=k), st.sampled_from("abc")),
            st.builds(lambda k, t: Delete(key=k, observed_at=t), st.sampled_from("abc"), moment),
            st.builds(lambda r, t: Gap(reason=r, start=t), text, moment),
        )
        for n, changes in enumerate(data.draw(st.lists(st.lists(change, max_size=4), max_size=8))):
            record.append("st"[n % 2], Batch(tuple(changes)), now=T0 + timedelta(seconds=2 * n))
        rows = export_file(record, folder / f"x{ending}")
        report = import_file(copy, folder / f"x{ending}", now=NOW)
        assert (report.rows, report.skipped) == (rows, ())
        edges = {d.observed_at for key in "abc" for d in record.versions(key)}
        edges |= {found.since for key in "abc" if (found := record.get(key)).since}
        for edge in sorted(e for e in edges if e is not None):
            for at in (edge - timedelta(microseconds=1), edge):
                for key in "abc":
                    mine, theirs = record.get(key, at), copy.get(key, at)
                    assert theirs.life is mine.life
                    assert theirs.since == mine.since
                    assert (theirs.document is None) == (mine.document is None)
                    if mine.document is not None and theirs.document is not None:
                        assert theirs.document.text == mine.document.text
                        assert theirs.document.published_at == mine.document.published_at
        assert copy.gaps() == record.gaps()
        record.close()
        copy.close()

    def test_an_export_never_replaces_a_file_and_leaves_no_part(
        self, record: SqliteRecord, tmp_path: Path
    ):
        path = write(tmp_path / "mine.jsonl", {"precious": 1})
        with pytest.raises(ConfigError, match="exists already"):
            export_file(record, path)
        with pytest.raises(ConfigError, match="cannot be written"):
            export_file(record, tmp_path / "none" / "x.jsonl")
        with pytest.raises(ConfigError, match="tells no format"):
            export_file(record, tmp_path / "x.csv")
        assert not list(tmp_path.glob("*.part"))
        assert json.loads(path.read_bytes()) == {"precious": 1}


class TestRowsMadeByHand:
    def test_text_and_moment_are_enough(self, record: SqliteRecord, tmp_path: Path):
        rows = [
            {"text": "bare", "observed_at": "2026-03-01T10:00:00Z"},
            {"text": "page", "observed_at": "2026-03-01T11:00:00+02:00", "url": "https://e.org/a"},
            {"text": "page 2", "observed_at": "2026-03-01T12:00:00Z", "url": "https://e.org/a"},
            {"text": "typed", "observed_at": "2026-03-01T12:00:00Z", "likes": 3, "source": "mine"},
        ]
        report = import_file(record, write(tmp_path / "old.news.jsonl", *rows), now=NOW)
        assert (report.loaded, report.skipped) == (4, ())
        documents = [e.document for e in record.entries(0) if e.document is not None]
        assert [d.source for d in documents] == ["import:old.news"] * 3 + ["mine"]
        assert [d.kind for d in documents] == ["post", "article", "article", "post"]
        assert documents[0].key.startswith("import:")
        assert documents[1].key == documents[2].key == "import:https://e.org/a"
        assert documents[2].version == 2
        assert documents[1].observed_at == datetime(2026, 3, 1, 9, tzinfo=UTC)
        assert documents[3].extra == {"likes": 3}
        found = record.get("import:https://e.org/a", datetime(2026, 3, 1, 11, tzinfo=UTC))
        assert found.document is not None
        assert found.document.text == "page"

    def test_each_bad_row_is_named_and_the_others_load(self, record: SqliteRecord, tmp_path: Path):
        seen = "2026-03-01T10:00:00Z"
        rows: list[Any] = [
            {"text": "good", "observed_at": seen},
            b"{not json",
            [1, 2],
            {"observed_at": seen},
            {"text": "x"},
            {"text": "x", "observed_at": "2026-03-01T10:00:00"},
            {"text": "x", "observed_at": "yesterday"},
            {"text": "x", "observed_at": "2036-03-01T10:00:00Z"},
            {"text": 5, "observed_at": seen},
            {"text": "x", "observed_at": seen, "title": ["a"]},
            {"text": "x", "observed_at": seen, "policy": {"display": "maybe"}},
            {"text": "x", "observed_at": seen, "attachments": [{"hash": "h"}]},
            {"text": "x", "observed_at": seen, "extra": [1]},
            {"op": "explode", "observed_at": seen},
            {"op": "delete", "observed_at": seen},
            {"op": "delete", "key": "k"},
            b"\xff\xfe",
            b"",
            b"[" * 100_000,
            {"text": "x", "observed_at": "0001-01-01T00:00:00+14:00"},
            {
                "text": "x",
                "observed_at": seen,
                "attachments": [
                    {"hash": "0", "media_type": "a/b", "body_bytes": 1, "data": "AA=="}
                ],
            },
            {
                "text": "x",
                "observed_at": seen,
                "attachments": [{"hash": "0", "media_type": "a/b", "body_bytes": 2**80}],
            },
            b'{"text": "half a pair \\ud83d", "observed_at": "2026-03-01T10:00:00Z"}',
            {"text": "last", "observed_at": seen},
        ]
        report = import_file(record, write(tmp_path / "rows.jsonl", *rows), now=NOW)
        said = reasons(report)
        assert (report.loaded, report.rows, report.skipped_rows) == (3, 23, 20)
        for line, words in {
            2: "no valid JSON",
            3: "not a JSON object",
            4: "text is missing",
            5: "observed_at is missing",
            6: "no time zone",
            7: "no ISO time",
            8: "future",
            9: "text is no text",
            10: "title is no text",
            11: "unusable value",
            12: "unusable value",
            13: "extra is no object",
            14: "unknown op 'explode'",
            15: "key is missing",
            16: "observed_at is missing",
            17: "no valid JSON",
            19: "no valid JSON",
            20: "out of range",
            21: "hash",
            22: "cannot be stored",
        }.items():
            assert words in said[line], (line, said[line])
        texts = {e.document.text for e in record.entries(0) if e.document is not None}
        assert texts == {"good", "half a pair \ufffd", "last"}

    @pytest.mark.parametrize("pack", ["gz", "zst"])
    def test_a_packed_file_that_was_cut_off_loads_what_is_left(
        self, record: SqliteRecord, tmp_path: Path, pack: str
    ):
        rows = [
            {"text": f"row {n} {n * 7919}", "observed_at": "2026-03-01T10:00:00Z"}
            for n in range(20_000)
        ]
        body = "\n".join(map(json.dumps, rows)).encode()
        packed = gzip.compress(body) if pack == "gz" else zstandard.compress(body)
        path = tmp_path / f"cut.jsonl.{pack}"
        path.write_bytes(packed[: len(packed) * 9 // 10])
        report = import_file(record, path, now=NOW)
        assert 5_000 < report.loaded < 20_000
        assert report.skipped[-1][0] == report.rows
        assert "damaged" in report.skipped[-1][1]

    def test_a_byte_order_mark_is_no_part_of_the_first_row(
        self, record: SqliteRecord, tmp_path: Path
    ):
        row = json.dumps({"text": "x", "observed_at": "2026-03-01T10:00:00Z"}).encode()
        report = import_file(record, write(tmp_path / "x.jsonl", b"\xef\xbb\xbf" + row), now=NOW)
        assert report.loaded == 1

    def test_thousands_of_bad_rows_are_counted_and_the_first_named(
        self, record: SqliteRecord, tmp_path: Path
    ):
        report = import_file(record, write(tmp_path / "x.jsonl", *[b"x"] * 1_500), now=NOW)
        assert (report.skipped_rows, len(report.skipped)) == (1_500, 1_000)

    def test_a_missing_or_unreadable_file_is_the_operators(
        self, record: SqliteRecord, tmp_path: Path
    ):
        with pytest.raises(ConfigError, match="cannot be read"):
            import_file(record, tmp_path / "none.jsonl", now=NOW)
        with pytest.raises(ConfigError, match="tells no format"):
            import_file(record, tmp_path / "none.txt", now=NOW)


class TestParquet:
    def test_a_table_of_ones_own(self, record: SqliteRecord, tmp_path: Path):
        pa = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        moments = pa.array([T0, T0], pa.timestamp("ns", "Europe/Berlin"))
        table = pa.table({"text": ["a", "b"], "observed_at": moments, "score": [0.5, None]})
        parquet.write_table(table, tmp_path / "own.parquet")
        report = import_file(record, tmp_path / "own.parquet", now=NOW)
        assert report.loaded == 2
        first, second = (e.document for e in record.entries(0))
        assert first is not None
        assert second is not None
        assert (first.observed_at, first.extra, second.extra) == (T0, {"score": 0.5}, {})
        naive = pa.table({"text": ["a"], "observed_at": pa.array([T0], pa.timestamp("us"))})
        parquet.write_table(naive, tmp_path / "naive.parquet")
        report = import_file(record, tmp_path / "naive.parquet", now=NOW)
        assert "no time zone" in reasons(report)[1]

    def test_a_damaged_file_is_reported(self, record: SqliteRecord, tmp_path: Path):
        pytest.importorskip("pyarrow")
        (tmp_path / "x.parquet").write_bytes(b"PAR1 and nothing else")
        report = import_file(record, tmp_path / "x.parquet", now=NOW)
        assert "damaged" in reasons(report)[1]

    def test_without_pyarrow_the_extra_is_named(
        self, record: SqliteRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        real = builtins.__import__

        def without(name: str, *rest: Any) -> Any:
            if name.startswith("pyarrow"):
                raise ImportError(name)
            return real(name, *rest)

        monkeypatch.setattr(builtins, "__import__", without)
        (tmp_path / "x.parquet").touch()
        with pytest.raises(ConfigError, match=r"gnomon\[parquet\]"):
            import_file(record, tmp_path / "x.parquet", now=NOW)
        with pytest.raises(ConfigError, match=r"gnomon\[parquet\]"):
            export_file(record, tmp_path / "y.parquet")
