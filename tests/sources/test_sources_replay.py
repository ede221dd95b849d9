from __future__ import annotations

import json
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gnomon.clock import SystemClock
from gnomon.errors import ConfigError
from gnomon.net.door import Door
from gnomon.settings import Net
from gnomon.sources import replay
from gnomon.testing.check_source import HurriedClock, Stage, _Context
from gnomon.types import Batch, Document, Notice, SourceConfig, Upsert


def context(path: Path, **settings: Any) -> _Context:
    config = SourceConfig(name="r", type="replay", settings={"path": str(path), **settings})
    stage = Stage(config=config, fetcher=Door(Net(), SystemClock()), expected=dict)
    return _Context(replay.SOURCE, stage, HurriedClock(rests=10_000), 1)


async def run(ctx: _Context, cursor: str | None = None) -> list[Batch]:
    async with aclosing(replay.follow(ctx, cursor)) as batches:
        return [batch async for batch in batches]


def documents(batches: list[Batch]) -> list[Document]:
    return [c.document for b in batches for c in b.changes if isinstance(c, Upsert)]


def notices(batches: list[Batch]) -> list[Notice]:
    return [c for b in batches for c in b.changes if isinstance(c, Notice)]


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))
    return path


async def test_bad_rows_are_named_and_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"text": "a"}, "{broken", "", {"n": 1}, {"text": "b"}])
    ctx = context(path)
    got = await run(ctx)
    assert [d.text for d in documents(got)] == ["a", "b"]
    (notice,) = notices(got)
    assert "row 2: no valid JSON" in notice.text and "row 4: no text" in notice.text
    assert ctx.skipped["row.unreadable"] == 2


async def test_notices_about_garbage_have_an_end(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", ["garbage"] * 3_000)
    got = await run(context(path, batch_rows=10))
    assert len(notices(got)) == 21
    assert "In all 3000 rows" in notices(got)[-1].text


async def test_it_ends_and_goes_on_when_the_file_grew(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"text": "a"}])
    first = await run(context(path))
    with path.open("a") as file:
        file.write('{"text": "b"}\n')
    second = await run(context(path), first[-1].cursor)
    assert [d.text for d in documents(second)] == ["b"]


async def test_another_file_starts_afresh_and_says_so(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"text": "a"}])
    first = await run(context(path))
    write(path, [{"text": "other"}])
    second = await run(context(path), first[-1].cursor)
    assert [n.code for n in notices(second)] == ["replay.other_file"]
    assert [d.text for d in documents(second)] == ["other"]


async def test_n_times(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"key": "k", "text": "a"}])
    got = await run(context(path, times=3))
    assert [d.key for d in documents(got)] == ["k", "k~2", "k~3"]
    assert await run(context(path, times=3), got[-1].cursor) == []


async def test_an_empty_file_repeated_for_ever_ends(tmp_path: Path) -> None:
    assert await run(context(write(tmp_path / "a.jsonl", []), times=0)) == []


async def test_recorded_pace(tmp_path: Path) -> None:
    seconds = [0, 0, 10, 5, 30]  # the fourth is out of order and must not wait
    rows = [{"text": f"at {s}", "created_at": f"2026-01-01T00:00:{s:02}Z"} for s in seconds]
    path = write(tmp_path / "a.jsonl", rows)
    ctx = context(path, speed=2)
    came = []
    async with aclosing(replay.follow(ctx, None)) as batches:
        async for batch in batches:
            came.append((round(ctx.clock.monotonic(), 2), len(batch.changes)))
    assert came == [(0.0, 2), (5.0, 2), (15.0, 1)]


async def test_kept_times(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"text": "a", "observed_at": "2026-01-01T00:00:00Z"}])
    (kept,) = documents(await run(context(path, keep_times=True)))
    (stamped,) = documents(await run(context(path)))
    assert kept.observed_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert stamped.observed_at is None


@pytest.mark.parametrize("name", ["missing.jsonl", "folder.jsonl", "unnamed.dat"])
async def test_what_cannot_be_read_is_a_config_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.jsonl").mkdir()
    (tmp_path / "unnamed.dat").write_text("{}")
    with pytest.raises(ConfigError):
        await run(context(tmp_path / name))


def archive(path: Path, pages: int) -> Path:
    warc = pytest.importorskip("fastwarc.warc")
    text = "The council met in the evening and decided to keep the ferry to the island, {0}. " * 3
    with path.open("wb") as file:
        for n in range(pages):
            html = (
                f"<html lang=en><title>Page {n}</title><article><p>{text.format(n)}</p></article>"
            )
            kind = "image/png" if n == 1 else "text/html"
            head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n\r\n"
            record = warc.WarcRecord()
            record.init_headers(record_type=warc.WarcRecordType.response)
            record.headers["WARC-Target-URI"] = f"http://x.test/{n}"
            record.headers["WARC-Date"] = "2026-01-01T00:00:00Z"
            record.headers["Content-Type"] = "application/http; msgtype=response"
            record.set_bytes_content((head + html).encode())
            record.write(file)
    return path


async def test_warc(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.warc", 4)
    got = await run(context(path, keep_times=True))
    assert [d.key for d in documents(got)] == [f"r#http://x.test/{n}" for n in (0, 2, 3)]
    first = documents(got)[0]
    assert first.kind == "page" and "keep the ferry" in first.text
    assert first.observed_at == datetime(2026, 1, 1, tzinfo=UTC)
    parts = await run(context(path, batch_rows=1))
    rest = await run(context(path), parts[1].cursor)
    assert [d.key for d in documents(rest)] == [f"r#http://x.test/{n}" for n in (2, 3)]
