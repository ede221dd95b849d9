"""A web page watched by its address: each change of its readable text is a new version.

Markup that changes around the same text is no change. A page that answers 404 twice in a row, or
410 once, is deleted; when it returns, that is a new version. The page's text is its saved copy.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import msgspec
from pydantic import Field

from gnomon.errors import ContentError
from gnomon.extract.base import Page
from gnomon.extract.html import extract_page
from gnomon.net.usage import Usage
from gnomon.sources.base import Context, SourceSettings, SourceSpec
from gnomon.sources.polling import (
    Answer,
    Validators,
    WebAddress,
    name_for,
    poll,
    short_hash,
    web_address,
)
from gnomon.sources.reading import claims_of
from gnomon.sources.remembered import Remembered
from gnomon.sources.schedule import adapt, next_poll_s
from gnomon.types import Batch, Change, Cursor, Delete, Document, Policy, SourceConfig, Upsert

_CONFIRM_404 = 2
"""Answers in a row before a 404 counts: a deployment in progress gives one."""


class PageSettings(SourceSettings):
    """Settings of one watched page."""

    url: WebAddress = Field(description="Address of the page.")
    interval_s: float | None = Field(
        None, ge=0.05, description="Fixed time between looks; none adapts to how often it changes."
    )
    kind: str = Field("page", description="Kind of the document.")
    lang: str = Field("", description="Language of the page, where it claims none.")


class _Memory(Remembered, msgspec.Struct, omit_defaults=True):
    """The cursor, opened."""

    configured: str
    validators: Validators = Validators()
    text: str = ""
    """Short hash of the version handed over last; empty while the page is away."""
    missing: int = 0
    """How many times in a row it was not there."""
    adaptive_s: float = 3_600.0

    @classmethod
    def restore(cls, cursor: Cursor | None, url: str) -> _Memory:
        memory = cls.read(cursor)
        known = memory is not None and memory.configured == url
        return memory if memory is not None and known else cls(configured=url)

    def known(self) -> tuple[object, ...]:
        """What a restart must know; the interval alone is not worth a write."""
        return self.validators, self.text, self.missing


def document_of(
    page: Page, *, config: SourceConfig, url: str, settings: PageSettings, usage: Usage
) -> Document:
    """The page as the document that this source delivers."""
    lang = page.lang if page.lang not in ("", "und") else settings.lang
    return Document(
        key=config.name,
        source=config.name,
        kind=settings.kind,
        title=page.title,
        text=page.text,
        url=page.canonical_url or page.url or url,
        author=page.author,
        lang=lang or "und",
        published_at=page.published_at,
        updated_at=page.updated_at,
        date_source=page.date_source,
        policy=usage.limit(SOURCE.policy),
        extra=claims_of(page),
    )


async def follow(ctx: Context, cursor: Cursor | None) -> AsyncIterator[Batch]:
    """Look at the page for ever; see the module's promise."""
    settings: PageSettings = ctx.settings
    memory = _Memory.restore(cursor, settings.url)
    while True:
        before = memory.known()
        changes: tuple[Change, ...] = ()
        hints: list[float | None] = []
        trouble = ""
        try:
            answer = await poll(
                ctx,
                settings.url,
                purpose="crawl",
                known=memory.validators,
                headers={"accept": "text/html, application/xhtml+xml, text/plain;q=0.8"},
            )
            hints.append(answer.fresh_s)
            status = answer.response.status
            if status in (404, 410):
                changes = _miss(memory, status, ctx.config)
                trouble = f"the page answers {status}"
            else:
                changes = await _look(ctx, memory, answer)
        except ContentError as error:
            ctx.count(error.code)
            trouble = f"the page could not be read: {error.message}"
        memory.adaptive_s = adapt(memory.adaptive_s, changed=bool(changes), limits=ctx.limits)
        if memory.known() != before:
            yield Batch(changes, memory.cursor())
        unsure = 0 < memory.missing < _CONFIRM_404
        wait_s = next_poll_s(
            ctx.limits.min_interval_s if unsure else memory.adaptive_s,
            # One missing answer is looked into soon, whatever was promised about freshness.
            hints=[ctx.limits.min_interval_s] if unsure else hints,
            fixed=settings.interval_s,
            limits=ctx.limits,
            rng=ctx.rng,
        )
        ctx.heard(state="retrying" if trouble else "", text=trouble, next_in_s=wait_s)
        await ctx.clock.sleep(wait_s)


async def _look(ctx: Context, memory: _Memory, answer: Answer) -> tuple[Change, ...]:
    """What an answer with the page, or with 304, means."""
    settings: PageSettings = ctx.settings
    response = answer.response
    memory.missing = 0
    if not answer.changed:
        return ()
    page = await asyncio.to_thread(
        extract_page,
        response.body,
        url=response.url,
        content_type=response.headers.get("content-type", ""),
        now=ctx.clock.now(),
        future_tolerance=timedelta(seconds=ctx.limits.future_tolerance_s),
    )
    if not page.text:
        raise ContentError(
            "it holds no readable text.",
            code="page.empty",
            hint="Pages that are drawn by scripts cannot be followed; look for a feed.",
        )
    for note, n in page.notes.items():
        ctx.count(note, n)
    document = document_of(
        page, config=ctx.config, url=settings.url, settings=settings, usage=response.usage
    )
    # A new wish of the publisher is a new version, too.
    wishes = () if document.policy == SOURCE.policy else (repr(document.policy),)
    text = short_hash(document.title, document.text, *wishes)
    memory.validators = answer.validators
    if text == memory.text:
        return ()
    memory.text = text
    return (Upsert(document),)


def _miss(memory: _Memory, status: int, config: SourceConfig) -> tuple[Change, ...]:
    """What a missing page means. Forgets the validators, so that a return is seen whole."""
    memory.missing = min(memory.missing + 1, _CONFIRM_404)
    if status == 410:
        memory.missing = _CONFIRM_404
    memory.validators = Validators()
    if memory.missing < _CONFIRM_404 or not memory.text:
        return ()
    memory.text = ""
    return (Delete(key=config.name),)


def identify(text: str) -> SourceConfig | None:
    """Any web address can be watched as a page."""
    url = web_address(text)
    return config_for(url) if url else None


def config_for(url: str, title: str = "") -> SourceConfig:
    """The configuration that watches the page at `url`."""
    return SourceConfig(name=name_for("page", url), type="page", title=title, settings={"url": url})


SOURCE = SourceSpec(
    name="page",
    title="Watched web pages",
    docs_url="how-to/follow-feeds-and-pages",
    follow=follow,
    settings=PageSettings,
    policy=Policy(),
    identify=identify,
    examples=("https://example.org/status",),
)
