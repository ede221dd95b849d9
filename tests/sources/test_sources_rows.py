from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from gnomon.errors import ContentError
from gnomon.sources.rows import Identity, Raw, Reading, Row, format_of, moment, open_rows
from gnomon.types import Delete, Document, Gap, Policy, Upsert

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def reading(**changes: object) -> Reading:
    fields: dict[str, object] = {
        "source": "r",
        "kind": "post",
        "lang": "und",
        "policy": Policy(),
        "keep_times": False,
    }
    return Reading(**{**fields, **changes})  # type: ignore[arg-type]


def read(row: object, **changes: object) -> Row:
    data = row if isinstance(row, bytes) else json.dumps(row).encode()
    found = reading(**changes).change(Raw(7, data))
    assert found is not None
    return found


def document(row: object, **changes: object) -> Document:
    change = read(row, **changes).change
    assert isinstance(change, Upsert)
    return change.document


def test_a_full_row() -> None:
    got = document(
        {
            "op": "upsert",
            "key": "bsky:1",
            "source": "elsewhere",
            "kind": "post",
            "text": "Hello.",
            "title": "T",
            "url": "https://example.org/1",
            "author": "ann",
            "lang": "en",
            "published_at": "2026-01-01T10:00:00Z",
            "updated_at": "2026-01-01T11:00:00+01:00",
            "observed_at": "2026-01-01T10:00:05Z",
            "date_source": "feed",
            "policy": {"train": True},
            "extra": {"likes": 3},
            "mood": "good",
        },
        keep_times=True,
    )
    assert got == Document(
        key="bsky:1",
        source="r",
        kind="post",
        text="Hello.",
        title="T",
        url="https://example.org/1",
        author="ann",
        lang="en",
        published_at=datetime(2026, 1, 1, 10, tzinfo=UTC),
        updated_at=datetime(2026, 1, 1, 10, tzinfo=UTC),
        observed_at=datetime(2026, 1, 1, 10, 0, 5, tzinfo=UTC),
        date_source="feed",
        policy=Policy(train=True),
        extra={"likes": 3, "mood": "good"},
    )


def test_observation_is_stamped_anew_unless_kept() -> None:
    row = {"text": "x", "observed_at": "2026-01-01T10:00:05Z"}
    assert document(row).observed_at is None
    assert read(row).time == datetime(2026, 1, 1, 10, 0, 5, tzinfo=UTC)


def test_other_names_and_missing_ones() -> None:
    got = document({"id": 42, "body": "x", "created_at": 1_767_225_600})
    assert (got.key, got.text) == ("r#42", "x")
    assert got.published_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert got.date_source == "file"
    assert document({"title": "only a title"}).text == "only a title"
    assert document({"text": "x"}).key == "r#7"
    assert document({"id": 0, "text": "x"}).key == "r#0"


def test_a_repetition_has_keys_of_its_own() -> None:
    assert document({"key": "k", "text": "x"}, suffix="~2").key == "k~2"


def test_ends_and_gaps() -> None:
    assert read({"op": "delete", "key": "k"}).change == Delete(key="k")
    gap = read({"op": "gap", "reason": "outage", "start": "2026-01-01T00:00:00Z"}).change
    assert gap == Gap(reason="outage", start=datetime(2026, 1, 1, tzinfo=UTC))


def test_control_characters_become_spaces() -> None:
    assert document({"text": "a\x00b\tc\nd"}).text == "a b\tc\nd"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"{", "no valid JSON"),
        (b'{"text": "\xff"}', "no valid JSON"),
        (b"[1]", "not a JSON object"),
        ({"key": "k"}, "no text"),
        ({"text": 3}, "text is no text"),
        ({"text": "x", "key": 3}, "key is no text"),
        ({"text": "x", "published_at": "yesterday"}, "is no time"),
        ({"text": "x", "op": "explode"}, "unknown op"),
        ({"text": "x", "policy": {"train": "maybe"}}, "unusable value"),
        ({"text": "x", "extra": [1]}, "extra is no object"),
    ],
)
def test_bad_rows_say_why(row: object, reason: str) -> None:
    with pytest.raises(ContentError, match=reason):
        read(row)


@given(
    st.dictionaries(
        st.sampled_from(
            ["text", "key", "id", "op", "published_at", "policy", "extra", "lang", "z"]
        ),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=4,
        ),
    )
)
def test_any_row_is_a_change_or_a_content_error(row: dict[str, object]) -> None:
    try:
        found = reading().change(Raw(1, json.dumps(row).encode()))
    except ContentError:
        return
    assert found is None or isinstance(found.change, Upsert | Delete | Gap)


@given(st.datetimes(timezones=st.just(UTC)))
def test_times_survive_their_text(at: datetime) -> None:
    assert moment(at.isoformat()) == at
    assert moment(at.replace(tzinfo=None).isoformat()) == at


@pytest.mark.parametrize("value", [1_767_225_600, 1_767_225_600_000, 1_767_225_600_000_000])
def test_epoch_in_any_unit(value: int) -> None:
    assert moment(value) == datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("value", [True, float("inf"), 10**30, [], "12:00"])
def test_no_time(value: object) -> None:
    with pytest.raises(ContentError):
        moment(value)


LINES = b"".join(b'{"text": "row %d"}\n' % n for n in range(1, 51))


def write(path: Path) -> Path:
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(LINES[:300]) + gzip.compress(LINES[300:]))
    elif path.suffix == ".zst":
        pack = zstandard.ZstdCompressor().compress
        path.write_bytes(pack(LINES[:300]) + pack(LINES[300:]))
    elif path.suffix == ".parquet":
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        table = pyarrow.table({"text": [f"row {n}" for n in range(1, 51)]})
        parquet.write_table(table, path, row_group_size=8)
    else:
        path.write_bytes(LINES)
    return path


def numbers(path: Path, after: int, offset: int = 0) -> list[tuple[int, str]]:
    format = format_of(path)
    assert format is not None
    with open_rows(path, format, after=after, offset=offset, now=NOW) as rows:
        got = []
        for raw in rows:
            row = reading().change(raw)
            assert row is not None and isinstance(row.change, Upsert)
            got.append((raw.number, row.change.document.text))
        return got


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.ndjson.zst", "a.parquet"])
@pytest.mark.parametrize("after", [0, 1, 8, 9, 49, 50])
def test_every_format_goes_on_after_any_row(tmp_path: Path, name: str, after: int) -> None:
    path = write(tmp_path / name)
    assert numbers(path, after) == [(n, f"row {n}") for n in range(after + 1, 51)]


def test_plain_files_go_on_by_offset(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl")
    with open_rows(path, "jsonl", after=0, offset=0, now=NOW) as rows:
        tenth = [next(rows) for _ in range(10)][-1]
    assert numbers(path, 10, tenth.offset) == [(n, f"row {n}") for n in range(11, 51)]


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst", "a.parquet"])
def test_a_damaged_file_is_a_bad_row(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name)
    path.write_bytes(path.read_bytes()[:-30])
    format = format_of(path)
    assert format is not None
    with open_rows(path, format, after=0, offset=0, now=NOW) as rows:
        last = list(rows)[-1]
    assert isinstance(last.data, ContentError) and "damaged" in last.data.message


def test_an_endless_line_is_one_bad_row(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "a"}\n' + b"x" * 20_000_000 + b'\n{"text": "b"}')
    with open_rows(path, "jsonl", after=0, offset=0, now=NOW) as rows:
        first, second, third = rows
    assert (first.number, second.number, third.number) == (1, 2, 3)
    assert isinstance(second.data, ContentError) and third.data == b'{"text": "b"}'


def test_identity_survives_growth(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"one\n")
    identity = Identity.of(path)
    path.write_bytes(b"one\n" + b"more\n" * 5_000)
    assert identity.holds(path)
    path.write_bytes(b"two\n" + b"more\n" * 5_000)
    assert not identity.holds(path)


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("a.jsonl", "jsonl"),
        ("A.JSONL.GZ", "jsonl"),
        ("a.b.ndjson.zst", "jsonl"),
        ("a.parquet", "parquet"),
        ("CC-NEWS-1.warc.gz", "warc"),
        ("a.txt", None),
        ("gz", None),
        (".gz", None),
    ],
)
def test_names_tell_formats(name: str, format: str | None) -> None:
    assert format_of(Path(name)) == format
