"""GDELT: news of the world discovered every quarter of an hour, and read at their publishers'.

GDELT tells where something was written, not what; pages are fetched under robots rules, at most so
many an hour, spread over as many sites as possible. Each file is checked against the hash that its
list announces. After an absence the master list names every file in between, so nothing is passed
over but what is older than `catch_up_h`, which is recorded as a gap. GDELT takes nothing back.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta

import msgspec
from pydantic import Field

from gnomon.errors import ContentError, UpstreamTransient
from gnomon.net.base import Response
from gnomon.sources.base import Context, SourceSettings, SourceSpec
from gnomon.sources.gdelt_files import (
    MAX_ZIP_BYTES,
    Mention,
    Release,
    chosen,
    is_whole,
    mentions,
    moment_of,
    releases,
)
from gnomon.sources.polling import ask, web_address
from gnomon.sources.reading import Allowance, Tip, read_pages
from gnomon.sources.remembered import Remembered
from gnomon.types import Batch, Cursor, Gap, Policy, SourceConfig, Upsert

_BATCH_PAGES = 8
_FILES_PER_HOUR = 4
_TRIES = 3
_TAIL_BYTES = 400_000
"""Of the master list, which is long: about ten days."""
_QUARTER = timedelta(minutes=15)


class GdeltSettings(SourceSettings):
    """Settings of GDELT discovery."""

    url: str = Field("http://data.gdeltproject.org/gdeltv2", description="Where its files are.")
    interval_s: float = Field(300.0, ge=1, description="Time between two looks at its list.")
    pages_per_hour: int = Field(200, ge=1, le=3_600, description="Pages that are fetched at most.")
    themes: tuple[str, ...] = Field(
        (), description="Only pages with one of these themes, such as `NATURAL_DISASTER`."
    )
    translated: bool = Field(
        False, description="Take the files of pages in 65 other languages than English."
    )
    catch_up_h: float = Field(
        6.0, gt=0, le=240, description="Hours that are made up for after an absence."
    )
    keep_unread: bool = Field(
        True, description="Keep the title of a page that cannot be read, as a reference."
    )


class _Memory(Remembered, msgspec.Struct, omit_defaults=True):
    """The cursor, opened."""

    stamp: str = ""
    """The last file that was handed over whole."""
    row: int = 0
    """Pages of the next file that were handed over."""
    tries: int = 0
    """How often the next file came damaged."""
    allowance: Allowance = msgspec.field(default_factory=Allowance)

    def passed(self, release: Release) -> None:
        self.stamp, self.row, self.tries = release.stamp, 0, 0


async def follow(ctx: Context, cursor: Cursor | None) -> AsyncIterator[Batch]:
    """Look at the list for ever; see the module's promise."""
    settings: GdeltSettings = ctx.settings
    memory = _Memory.read(cursor) or _Memory()
    while True:
        wait_s, text = settings.interval_s * ctx.rng.uniform(1.0, 1.1), ""
        pending, gap = await _pending(ctx, memory)
        if gap is not None and gap.end is not None:
            memory.stamp = (gap.end - _QUARTER).strftime("%Y%m%d%H%M%S")
            memory.row = memory.tries = 0
            yield Batch((gap,), memory.cursor())
        for release in pending:
            ctx.heard(text=f"reading the file of {release.moment:%H:%M} UTC")
            async with aclosing(_release(ctx, memory, release)) as batches:
                async for batch in batches:
                    yield batch
            if memory.stamp != release.stamp:
                wait_s = memory.allowance.take(ctx.clock.now(), settings.pages_per_hour)
                text = f"{settings.pages_per_hour} pages were fetched this hour; more come later"
                wait_s = max(wait_s, 1.0)
                break
        ctx.heard(text=text, next_in_s=wait_s)
        await ctx.clock.sleep(wait_s)


async def _pending(ctx: Context, memory: _Memory) -> tuple[Sequence[Release], Gap | None]:
    """The files after the last one, oldest first; and what is too old to be made up for."""
    settings: GdeltSettings = ctx.settings
    suffix = "-translation" if settings.translated else ""
    announced = await _list(ctx, f"lastupdate{suffix}.txt")
    if not announced:
        raise UpstreamTransient(
            f"The list lastupdate{suffix}.txt of GDELT names no file.",
            code="gdelt.empty_list",
            hint="It is asked again later.",
        )
    newest = announced[-1]
    if not memory.stamp:
        return (newest,), None
    if newest.stamp <= memory.stamp:
        return (), None
    if newest.moment - moment_of(memory.stamp) <= _QUARTER:
        return (newest,), None
    every = await _list(ctx, f"masterfilelist{suffix}.txt", tail=True)
    missed = [r for r in (*every, newest) if memory.stamp < r.stamp <= newest.stamp]
    missed = list({r.stamp: r for r in missed}.values())
    oldest = newest.moment - timedelta(hours=settings.catch_up_h)
    kept = [r for r in missed if r.moment > oldest]
    # What the list does not reach back to is lost as well as what is too old.
    reaches = bool(every) and every[0].stamp <= memory.stamp
    if len(kept) == len(missed) and reaches:
        return kept, None
    gap = Gap(
        reason="The absence was longer than what is made up for.",
        start=moment_of(memory.stamp) + _QUARTER,
        end=kept[0].moment,
    )
    return kept, gap if gap.start and gap.end and gap.start < gap.end else None


async def _list(ctx: Context, name: str, *, tail: bool = False) -> list[Release]:
    """What one of GDELT's lists announces; of a long one, its end."""
    settings: GdeltSettings = ctx.settings
    url = f"{settings.url.rstrip('/')}/{name}"
    if not tail:
        response = await ask(ctx, url, purpose="feed")
        return releases(_text(response, url), translated=settings.translated)
    try:
        response = await ask(
            ctx,
            url,
            purpose="feed",
            headers={"range": f"bytes=-{_TAIL_BYTES}"},
            max_body_bytes=_TAIL_BYTES * 2,
        )
        return releases(_text(response, url), translated=settings.translated)
    except ContentError as error:
        if error.code != "net.too_large":
            raise
    # A server that knows no ranges sends everything; of that the end is kept while it passes.
    lines: list[bytes] = []
    async with ctx.fetcher.lines(url) as coming:
        async for line in coming:
            lines.append(line)
            del lines[: len(lines) - 4_000]
    text = b"\n".join(lines).decode("utf-8", "replace")
    return releases(text, translated=settings.translated)


def _text(response: Response, url: str) -> str:
    if response.status in (304, 404, 410):
        raise UpstreamTransient(
            f"{url} answers {response.status}.",
            code="source.not_found",
            hint="Check the setting url of this source.",
            url=url,
        )
    return response.body.decode("utf-8", "replace")


async def _release(ctx: Context, memory: _Memory, release: Release) -> AsyncGenerator[Batch, None]:
    """Hand over one file; stops in the middle when the hour's pages are used up."""
    settings: GdeltSettings = ctx.settings
    body = await _file(ctx, memory, release)
    if isinstance(body, Batch):
        yield body
        if memory.stamp != release.stamp:
            raise UpstreamTransient(
                f"{release.name} of GDELT is not what its list announces (MD5).",
                code="gdelt.md5",
                hint="It is fetched again.",
                file=release.name,
            )
        return
    share = max(settings.pages_per_hour // _FILES_PER_HOUR, 1)
    notes: Counter[str] = Counter()
    try:
        found = await asyncio.to_thread(
            lambda: chosen(mentions(body, notes=notes), themes=settings.themes, limit=share)
        )
    except ContentError as error:
        ctx.count(error.code)
        memory.passed(release)
        yield Batch((_lost(release, error.message),), memory.cursor())
        return
    for note, n in notes.items():
        ctx.count(note, n)
    while memory.row < len(found):
        part: list[Mention] = []
        for mention in found[memory.row : memory.row + _BATCH_PAGES]:
            if memory.allowance.take(ctx.clock.now(), settings.pages_per_hour):
                break
            part.append(mention)
        if not part:
            return
        tips = [_tip(ctx, mention, release.moment) for mention in part]
        reads = await read_pages(ctx, tips, policy=SOURCE.policy)
        memory.row += len(part)
        documents = [
            read.document
            for read in reads
            if read.document is not None and (read.outcome == "read" or settings.keep_unread)
        ]
        yield Batch(tuple(map(Upsert, documents)), memory.cursor())
    memory.passed(release)
    yield Batch((), memory.cursor())


async def _file(ctx: Context, memory: _Memory, release: Release) -> bytes | Batch:
    """The bytes of a file, or what is to be said because they cannot be had."""
    settings: GdeltSettings = ctx.settings
    url = f"{settings.url.rstrip('/')}/{release.name}"
    response = await ask(ctx, url, purpose="feed", max_body_bytes=MAX_ZIP_BYTES)
    if response.status != 200:
        memory.passed(release)
        lost = _lost(release, f"{release.name} answers {response.status}.")
        return Batch((lost,), memory.cursor())
    if is_whole(response.body, release):
        return response.body
    ctx.count("gdelt.md5")
    memory.tries += 1
    if memory.tries < _TRIES:
        return Batch((), memory.cursor())
    memory.passed(release)
    lost = _lost(release, f"{release.name} came damaged {_TRIES} times.")
    return Batch((lost,), memory.cursor())


def _lost(release: Release, reason: str) -> Gap:
    return Gap(reason=reason, start=release.moment - _QUARTER, end=release.moment)


def _tip(ctx: Context, mention: Mention, seen_at: datetime) -> Tip:
    told = {
        "seen_at": seen_at.isoformat(),
        "themes": list(mention.themes),
        "tone": mention.tone,
    }
    return Tip(
        key=f"{ctx.config.name}#{mention.url}",
        url=mention.url,
        title=mention.title,
        extra={"gdelt": {name: value for name, value in told.items() if value}},
    )


def identify(text: str) -> SourceConfig | None:
    """GDELT by its name or the address of its files."""
    url = web_address(text)
    if text.strip().lower() == "gdelt" or "://data.gdeltproject.org" in url:
        return SourceConfig(name="gdelt", type="gdelt", title=SOURCE.title)
    return None


SOURCE = SourceSpec(
    name="gdelt",
    title="GDELT: news of the world, discovered",
    docs_url="reference/sources/gdelt",
    follow=follow,
    settings=GdeltSettings,
    policy=Policy(),
    identify=identify,
    examples=("gdelt",),
)
