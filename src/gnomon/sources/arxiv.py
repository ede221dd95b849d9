"""arXiv: the papers announced each day in chosen categories, with their versions.

The daily feeds tell what is new; what is not wholly told there (replaced and cross-listed papers)
is looked up in the API, and so are days that were missed. The API is asked once in three seconds.
A withdrawn paper is deleted. What lies further back than the API is paged is a gap.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import aclosing
from datetime import UTC, date, datetime, timedelta
from urllib.parse import urlencode, urlsplit

import msgspec
from pydantic import Field, field_validator

from gnomon.clock import from_us, to_us
from gnomon.errors import ContentError, UpstreamTransient
from gnomon.sources.arxiv_papers import CATEGORY, Paper, read_announced, read_found
from gnomon.sources.base import Context, SourceSettings, SourceSpec
from gnomon.sources.polling import REFUSED_RETRY_S, Validators, ask, poll, web_address
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

_PAGE = 200
_LOOKED_UP = 100
_BATCH = 200
_REMEMBERED = 5_000
_MAX_BYTES = 10_000_000
_OVERLAP = timedelta(days=4)
"""A paper is announced up to so long after it was submitted: over a weekend and a holiday."""


class ArxivSettings(SourceSettings):
    """Settings of one arXiv source."""

    categories: tuple[str, ...] = Field(
        ("cs.AI", "cs.LG", "cs.CL", "econ.GN", "q-bio.PE"),
        min_length=1,
        description="Categories or whole archives, such as `cs.CL` or `hep-th`.",
    )
    interval_s: float = Field(1_800.0, ge=0.05, description="Time between two looks at the feeds.")
    backfill_days: int = Field(
        3, ge=0, le=365, description="How many days back the first look goes, by the API."
    )
    max_pages: int = Field(
        20, ge=1, le=50, description="Pages of 200 papers that are read to make up for an absence."
    )
    api_interval_s: float = Field(
        3.0, ge=0, description="Time between two requests to the API, as arXiv asks."
    )
    rss_url: str = Field("https://rss.arxiv.org/rss", description="Address of the daily feeds.")
    api_url: str = Field("https://export.arxiv.org/api/query", description="Address of the API.")

    @field_validator("categories")
    @classmethod
    def _known_form(cls, categories: tuple[str, ...]) -> tuple[str, ...]:
        for category in categories:
            if not CATEGORY.fullmatch(category):
                raise ValueError(f"{category!r} has not the form of a category such as `cs.CL`")
        return tuple(dict.fromkeys(categories))


class _Memory(Remembered, msgspec.Struct, omit_defaults=True):
    """The cursor, opened."""

    versions: dict[str, int] = {}
    """By paper, the version that was handed over; longest ago first."""
    covered: dict[str, int] = {}
    """By category, the last day (ordinal) whose announcement was handed over."""
    since_s: dict[str, int] = {}
    """By category, the moment back to which the API must be read after an absence."""
    validators: dict[str, Validators] = {}

    def note(self, paper: Paper) -> None:
        self.versions.pop(paper.id, None)
        self.versions[paper.id] = paper.version
        for id in list(self.versions)[:-_REMEMBERED]:
            del self.versions[id]

    def cover(self, category: str, day: date) -> None:
        """The announcements up to this day are handed over."""
        self.covered[category] = max(self.covered.get(category, 0), day.toordinal())
        midnight = datetime.fromordinal(self.covered[category]).replace(tzinfo=UTC)
        since_s = to_us(midnight - _OVERLAP) // 1_000_000
        self.since_s[category] = max(self.since_s.get(category, 0), since_s)


async def follow(ctx: Context, cursor: Cursor | None) -> AsyncIterator[Batch]:
    """Look for ever; see the module's promise."""
    settings: ArxivSettings = ctx.settings
    memory = _Memory.read(cursor) or _Memory()
    api = _Api(ctx)
    while True:
        trouble, wait_s = "", settings.interval_s
        for category in settings.categories:
            try:
                async with aclosing(_look(ctx, memory, api, category)) as batches:
                    async for batch in batches:
                        yield batch
            except ContentError as error:
                ctx.count(error.code)
                trouble = f"the answer could not be read: {error.message}"
        wait_s *= ctx.rng.uniform(1.0, 1.1)
        ctx.heard(state="retrying" if trouble else "", text=trouble, next_in_s=wait_s)
        await ctx.clock.sleep(wait_s)


async def _look(
    ctx: Context, memory: _Memory, api: _Api, category: str
) -> AsyncGenerator[Batch, None]:
    """Hand over what is announced in a category, and before it what was missed."""
    url = f"{ctx.settings.rss_url.rstrip('/')}/{category}"
    known = memory.validators.get(category, Validators())
    answer = await poll(ctx, url, purpose="feed", known=known, max_body_bytes=_MAX_BYTES)
    if answer.response.status in (404, 410):
        raise UpstreamTransient(
            f"{url} answers {answer.response.status}: there is no such category.",
            code="source.not_found",
            retry_after_s=REFUSED_RETRY_S,
            hint="Check the setting categories.",
            url=url,
        )
    papers: Sequence[Paper] = ()
    if answer.changed:
        papers = await asyncio.to_thread(read_announced, answer.response.body, url, _now(ctx))
        _count_unreadable(ctx, papers)
    days = [p.announced_at.date() for p in papers if p.announced_at]
    today = max(days, default=ctx.clock.now().date())
    if _missed(memory.covered.get(category), today):
        async with aclosing(_make_up(ctx, memory, api, category, today)) as batches:
            async for batch in batches:
                yield batch
    if not answer.changed:
        return
    fresh = [p for p in papers if p.id and p.version > memory.versions.get(p.id, 0)]
    told = [p for p in fresh if p.whole]
    for batch in _batches(ctx, memory, told):
        yield batch
    rest = [p for p in fresh if not p.whole]
    for start in range(0, len(rest), _LOOKED_UP):
        part = rest[start : start + _LOOKED_UP]
        found = {p.id: p for p in await api.by_id([p.id for p in part])}
        for batch in _batches(ctx, memory, [found.get(p.id, p) for p in part]):
            yield batch
    if days:
        memory.cover(category, max(days))
    memory.validators[category] = answer.validators
    yield Batch((), memory.cursor())


def _missed(covered: int | None, today: date) -> bool:
    """Whether a weekday lies between: arXiv announces from Monday to Friday, but for holidays."""
    if covered is None:
        return True
    return any(date.fromordinal(n).weekday() < 5 for n in range(covered + 1, today.toordinal()))


async def _make_up(
    ctx: Context, memory: _Memory, api: _Api, category: str, today: date
) -> AsyncGenerator[Batch, None]:
    """Hand over what the API knows of the time since the last announcement that was read."""
    settings: ArxivSettings = ctx.settings
    if category not in memory.since_s:
        first = ctx.clock.now() - timedelta(days=settings.backfill_days)
        memory.since_s[category] = to_us(first) // 1_000_000
    since = _moment(memory.since_s[category])
    first_look = category not in memory.covered
    ctx.heard(text=f"making up for what {category} announced since {since:%Y-%m-%d}")
    found: dict[str, Paper] = {}
    reached, total = False, 1
    for page in range(settings.max_pages):
        if page * _PAGE >= total:
            reached = True
        if reached:
            break
        papers, total = await api.newest(category, page * _PAGE)
        _count_unreadable(ctx, papers)
        for paper in papers:
            if paper.updated_at is None or paper.updated_at >= since:
                found.setdefault(paper.id, paper)  # a list that moves shows some twice
            else:
                reached = True
    changes: list[Change] = []
    papers = [p for p in found.values() if p.id and p.version > memory.versions.get(p.id, 0)]
    papers.sort(key=lambda p: p.updated_at or since)
    oldest = min((p.updated_at for p in found.values() if p.updated_at), default=None)
    if not reached and page * _PAGE + _PAGE < total and oldest is not None:
        memory.since_s[category] = to_us(oldest) // 1_000_000
        if not first_look and oldest > since:
            reason = f"More was announced in {category} than the API is read back."
            changes.append(Gap(reason=reason, start=since, end=oldest))
    for batch in _batches(ctx, memory, papers, changes):
        yield batch
    memory.cover(category, today - timedelta(days=1))
    yield Batch((), memory.cursor())


def _batches(
    ctx: Context, memory: _Memory, papers: Sequence[Paper], before: Iterable[Change] = ()
) -> Iterable[Batch]:
    """The papers, newer than what was handed over of them, and what stands before them."""
    changes = list(before)
    for n, paper in enumerate(papers, 1):
        memory.note(paper)
        if paper.withdrawn:
            changes.append(Delete(key=f"arxiv:{paper.id}"))
        elif paper.abstract or paper.title:
            changes.append(Upsert(_document(ctx, paper)))
        else:
            ctx.count("arxiv.empty")
        if n % _BATCH == 0:
            yield Batch(tuple(changes), memory.cursor())
            changes = []
    if changes:
        yield Batch(tuple(changes), memory.cursor())


def _document(ctx: Context, paper: Paper) -> Document:
    return Document(
        key=f"arxiv:{paper.id}",
        source=ctx.config.name,
        kind="paper",
        title=paper.title,
        text=paper.abstract or paper.title,
        url=f"https://arxiv.org/abs/{paper.id}",
        author=", ".join(paper.authors),
        lang="en",
        published_at=paper.published_at,
        updated_at=paper.updated_at if paper.version > 1 else None,
        date_source=paper.date_source if paper.published_at else "",
        policy=SOURCE.policy,
        extra={
            "version": paper.version,
            "authors": list(paper.authors),
            "categories": list(paper.categories),
            **paper.extra,
        },
    )


class _Api:
    """arXiv's API, asked no more often than arXiv wishes."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._free_at_s = 0.0

    async def newest(self, category: str, start: int) -> tuple[Sequence[Paper], int]:
        """A page of a category, changed last first, and how many papers there are in all."""
        query = {"search_query": f"cat:{category}", "start": str(start)}
        query |= {"max_results": str(_PAGE), "sortBy": "lastUpdatedDate"}
        papers, total = await self._ask({**query, "sortOrder": "descending"})
        if len(papers) < min(_PAGE, total - start):
            # It answers so when it is busy; of such a page nobody knows what is missing.
            raise UpstreamTransient(
                f"arXiv's API gave {len(papers)} papers of {category} from {start}, "
                f"although there are {total:,}.",
                code="arxiv.short_page",
                hint="It is asked again.",
            )
        return papers, total

    async def by_id(self, ids: Sequence[str]) -> Sequence[Paper]:
        """The newest versions of these papers."""
        papers, _ = await self._ask({"id_list": ",".join(ids), "max_results": str(len(ids))})
        return [paper for paper in papers if paper.id]

    async def _ask(self, query: dict[str, str]) -> tuple[Sequence[Paper], int]:
        ctx = self._ctx
        settings: ArxivSettings = ctx.settings
        if (wait_s := self._free_at_s - ctx.clock.monotonic()) > 0:
            await ctx.clock.sleep(wait_s)
        url = f"{settings.api_url}?{urlencode(query)}"
        try:
            response = await ask(ctx, url, purpose="feed", max_body_bytes=_MAX_BYTES)
        finally:
            self._free_at_s = ctx.clock.monotonic() + settings.api_interval_s
        if response.status != 200:
            raise UpstreamTransient(
                f"{url} answers {response.status}.",
                code="source.not_found",
                retry_after_s=REFUSED_RETRY_S,
                hint="Check the setting api_url.",
                url=url,
            )
        return await asyncio.to_thread(read_found, response.body, url, _now(ctx))


def _count_unreadable(ctx: Context, papers: Sequence[Paper]) -> None:
    if n := sum(not paper.id for paper in papers):
        ctx.count("arxiv.unreadable_paper", n)


def _now(ctx: Context) -> datetime:
    """The latest moment that a date may claim."""
    return ctx.clock.now() + timedelta(seconds=ctx.limits.future_tolerance_s)


def _moment(s: int) -> datetime:
    return from_us(s * 1_000_000).astimezone(UTC)


_LIST = re.compile(r"/(?:list|rss|atom)/(?P<names>[^/]+)(?:/.*)?")


def identify(text: str) -> SourceConfig | None:
    """`arxiv`, `arxiv:cs.CL` (several with `+`), or an address of a category's list or feed."""
    text = text.strip()
    if text.lower() == "arxiv":
        return SourceConfig(name="arxiv", type="arxiv", title=SOURCE.title)
    names = ""
    if text.lower().startswith("arxiv:"):
        names = text.partition(":")[2]
    else:
        parts = urlsplit(web_address(text))
        if parts.hostname in ("arxiv.org", "www.arxiv.org", "rss.arxiv.org", "export.arxiv.org"):
            match = _LIST.fullmatch(parts.path)
            names = match["names"] if match else ""
    categories = [name.strip() for name in names.split("+")]
    if not all(map(CATEGORY.fullmatch, categories)):
        return None
    joined = "+".join(categories)
    return SourceConfig(
        name=f"arxiv:{joined}",
        type="arxiv",
        title=f"arXiv {joined}",
        settings={"categories": categories},
    )


SOURCE = SourceSpec(
    name="arxiv",
    title="arXiv papers",
    docs_url="reference/sources/arxiv",
    follow=follow,
    settings=ArxivSettings,
    policy=Policy(train=True),  # metadata and abstracts are CC0
    identify=identify,
    examples=("arxiv:cs.CL", "https://arxiv.org/list/cs.CL/recent"),
)
