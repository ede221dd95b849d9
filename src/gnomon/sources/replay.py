"""A file replayed as if it happened now: at its recorded pace, faster, or as fast as it goes.

The cursor is the row number and the file's identity, so a restart goes on behind the last row
that is durable. A file that grew is read on; another file under the same name starts afresh, and
says so. Rows that cannot be used are counted and named by line, never fatal.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal

import msgspec
from pydantic import Field

from gnomon.errors import ConfigError, ContentError
from gnomon.sources.base import Context, SourceSettings, SourceSpec
from gnomon.sources.rows import Format, Identity, Raw, Reading, Row, format_of, open_rows
from gnomon.types import Batch, Change, Cursor, Notice, Policy, SourceConfig

_NAMED_LINES = 10
_PUNCTUAL_S = 0.001
"""A row this early is due: sums of floating seconds never meet exactly."""
_WARC_ROWS = 20
"""Extracting an archived page takes some 20 ms; a batch should not take long."""
_NOISY_BATCHES = 20
"""Batches with bad rows that get a notice of their own; the rest is summed up at the end."""


class ReplaySettings(SourceSettings):
    """Settings of one replayed file."""

    path: Path = Field(description="The file: .jsonl, .parquet or .warc; .gz and .zst too.")
    format: Literal["auto", "jsonl", "parquet", "warc"] = Field(
        "auto", description="Format; `auto` goes by the file's name."
    )
    speed: float = Field(
        0.0, ge=0, description="1 is the recorded pace, 10 ten times that, 0 as fast as it goes."
    )
    times: int = Field(1, ge=0, description="How often to replay it; 0 repeats for ever.")
    keep_times: bool = Field(
        False, description="Keep the rows' `observed_at` instead of stamping them now."
    )
    kind: str = Field("post", description="Kind of the documents that name none.")
    lang: str = Field("und", description="Language of the documents that name none.")
    batch_rows: int = Field(500, ge=1, le=10_000, description="Rows handed over together.")


class _Place(msgspec.Struct, omit_defaults=True):
    """The cursor, opened."""

    file: Identity
    row: int = 0
    offset: int = 0
    turn: int = 1

    def cursor(self) -> Cursor:
        return msgspec.json.encode(self).decode()


class _Chunk(msgspec.Struct, frozen=True, kw_only=True):
    rows: list[Row]
    bad: list[tuple[int, str]]
    last: Raw | None
    """The last row read, good or bad; None at the end of the file."""


async def follow(ctx: Context, cursor: Cursor | None) -> AsyncIterator[Batch]:
    """Replay the file from the cursor to its end; see the module's promise."""
    settings: ReplaySettings = ctx.settings
    format = _format(settings)
    place, notice = await asyncio.to_thread(_resume, settings, cursor)
    if notice is not None:
        yield Batch((notice,), place.cursor())
    size = min(settings.batch_rows, _WARC_ROWS if format == "warc" else settings.batch_rows)
    noisy = bad = 0
    while settings.times == 0 or place.turn <= settings.times:
        reading = Reading(
            source=ctx.config.name,
            kind=settings.kind,
            lang=settings.lang,
            policy=SOURCE.policy,
            keep_times=settings.keep_times,
            suffix="" if place.turn == 1 else f"~{place.turn}",
        )
        pace = _Pace(ctx, settings.speed)
        with open_rows(
            settings.path, format, after=place.row, offset=place.offset, now=ctx.clock.now()
        ) as rows:
            while True:
                chunk = await _in_thread(partial(_take, rows, reading, size))
                if chunk.last is None:
                    break
                ctx.heard(state="live", text=f"replaying {settings.path}, row {chunk.last.number}")
                ctx.count("row.unreadable", len(chunk.bad))
                bad += len(chunk.bad)
                start = 0
                while (end := pace.due(chunk.rows, start)) < len(chunk.rows):
                    if end > start:
                        last = chunk.rows[end - 1]
                        place.row, place.offset = last.number, last.offset
                        yield Batch(tuple(r.change for r in chunk.rows[start:end]), place.cursor())
                        start = end
                    await pace.wait(chunk.rows[end])
                changes: list[Change] = [row.change for row in chunk.rows[start:]]
                if chunk.bad and noisy < _NOISY_BATCHES:
                    noisy += 1
                    changes.append(_bad_rows(chunk.bad))
                place.row, place.offset = chunk.last.number, chunk.last.offset
                yield Batch(tuple(changes), place.cursor())
        if settings.times == 0 or place.turn < settings.times:
            if place.row == 0:
                break  # an empty file would repeat for ever, doing nothing
            place.turn, place.row, place.offset = place.turn + 1, 0, 0
            yield Batch((), place.cursor())
        else:
            break
    if noisy >= _NOISY_BATCHES:
        text = f"In all {bad} rows of {settings.path} could not be used."
        yield Batch((Notice(code="replay.bad_rows", text=text, level="warning"),), place.cursor())
    left_out = f"; rows that could not be used: {bad:,}" if bad else ""
    ctx.heard(text=f"the file ended after row {place.row}{left_out}")


async def _in_thread(read: Callable[[], _Chunk]) -> _Chunk:
    """Read in a thread; when cancelled, let it finish first, for it uses the open file."""
    reading = asyncio.ensure_future(asyncio.to_thread(read))
    try:
        return await asyncio.shield(reading)
    except asyncio.CancelledError:
        await asyncio.wait([reading])
        raise


class _Pace:
    """When a row is due: the first at once, the others as far behind it as they happened."""

    def __init__(self, ctx: Context, speed: float) -> None:
        self._clock = ctx.clock
        self._speed = speed
        self._began_s = ctx.clock.monotonic()
        self._first: datetime | None = None

    def due(self, rows: list[Row], start: int) -> int:
        """The end of the run of rows from `start` that may go now."""
        if not self._speed:
            return len(rows)
        for i in range(start, len(rows)):
            if self._wait_s(rows[i]) > _PUNCTUAL_S:
                return i
        return len(rows)

    async def wait(self, row: Row) -> None:
        """Until `row` is due."""
        await self._clock.sleep(self._wait_s(row))

    def _wait_s(self, row: Row) -> float:
        if row.time is None:
            return 0.0
        if self._first is None:
            self._first = row.time
        after_s = (row.time - self._first).total_seconds() / self._speed
        return after_s - (self._clock.monotonic() - self._began_s)


def _format(settings: ReplaySettings) -> Format:
    if settings.format != "auto":
        return settings.format
    format = format_of(settings.path)
    if format is None:
        raise ConfigError(
            f"The name of {settings.path} does not tell its format.",
            code="replay.format",
            hint="Set format to jsonl, parquet or warc.",
            path=str(settings.path),
        )
    return format


def _resume(settings: ReplaySettings, cursor: Cursor | None) -> tuple[_Place, Notice | None]:
    path = settings.path
    try:
        if cursor is not None:
            place = msgspec.json.decode(cursor, type=_Place)
            if place.file.holds(path):
                return place, None
            text = f"{path} is another file than before; replaying it from its first row."
            return _Place(Identity.of(path)), Notice(
                code="replay.other_file", text=text, level="warning"
            )
        return _Place(Identity.of(path)), None
    except msgspec.DecodeError:
        # Another connector had this name before.
        return _Place(Identity.of(path)), None
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror or error}.",
            code="replay.no_file",
            hint="Correct the path or its permissions.",
            path=str(path),
        ) from None


def _take(rows: Iterator[Raw], reading: Reading, limit: int) -> _Chunk:
    """Up to `limit` rows, read and understood; runs in a thread."""
    good: list[Row] = []
    bad: list[tuple[int, str]] = []
    last: Raw | None = None
    for raw in islice(rows, limit):
        last = raw
        try:
            row = reading.change(raw)
        except ContentError as error:
            bad.append((raw.number, error.message))
        else:
            if row is not None:
                good.append(row)
    return _Chunk(rows=good, bad=bad, last=last)


def _bad_rows(bad: list[tuple[int, str]]) -> Notice:
    named = "; ".join(f"row {number}: {reason}" for number, reason in bad[:_NAMED_LINES])
    more = f"; and {len(bad) - _NAMED_LINES} more" if len(bad) > _NAMED_LINES else ""
    return Notice(code="replay.bad_rows", text=f"Rows not used: {named}{more}.", level="warning")


def identify(text: str) -> SourceConfig | None:
    """A file that exists, by the name of its format."""
    if "\0" in text or "://" in text:
        return None
    path = Path(text.strip()).expanduser()
    try:
        if format_of(path) is None or not path.is_file():
            return None
    except OSError:
        return None
    return SourceConfig(
        name=f"replay:{path.name}", type="replay", settings={"path": str(path.resolve())}
    )


SOURCE = SourceSpec(
    name="replay",
    title="Replayed files",
    docs_url="how-to/replay-a-file",
    follow=follow,
    settings=ReplaySettings,
    policy=Policy(),
    state="live",
    identify=identify,
    examples=("/path/to/posts.jsonl",),
)
