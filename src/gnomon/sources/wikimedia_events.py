"""What Wikimedia's events say: pages started, edited, moved, deleted, restored, hidden.

A page is one document, its changes are versions of it. Of the text of a page the events carry
nothing: a document says who changed what by how much, and why, in the words of the summary.
"""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache
from urllib.parse import quote

import msgspec

from gnomon.errors import ContentError
from gnomon.extract.dates import Dates, parse_date
from gnomon.types import Change, Delete, Document, Policy, Purge, Upsert

PAGE_CHANGE = "mediawiki.page_change.v1"
VISIBILITY = "mediawiki.revision-visibility-change"
POLICY = Policy()
_DOMAIN = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)+")
_LINK = re.compile(r"\[\[:?(?:[^\[\]|]*\|)?([^\[\]|]*)\]\]")
_SECTION = re.compile(r"/\*\s*(.*?)\s*\*/\s*")
_CREATED = ("create", "undelete")
_VERBS = {"create": "started", "edit": "edited", "undelete": "restored"}


class Meta(msgspec.Struct):
    """What every event carries."""

    stream: str = ""
    dt: str = ""
    id: str = ""
    domain: str = ""


class _User(msgspec.Struct):
    user_text: str = ""
    is_bot: bool = False


class _Page(msgspec.Struct):
    page_id: int = 0
    page_title: str = ""
    namespace_id: int = 0
    is_redirect: bool = False


class _Revision(msgspec.Struct):
    rev_id: int = 0
    rev_parent_id: int | None = None
    rev_size: int | None = None
    is_minor_edit: bool = False
    comment: str | None = None
    is_content_visible: bool = True
    is_editor_visible: bool = True
    is_comment_visible: bool = True

    @property
    def hidden(self) -> bool:
        return not (self.is_content_visible and self.is_editor_visible and self.is_comment_visible)


class _Before(msgspec.Struct):
    """What was otherwise before; of a page only the fields that changed."""

    page: _FormerPage | None = None
    revision: _Revision | None = None


class _FormerPage(msgspec.Struct):
    page_title: str | None = None
    namespace_id: int | None = None


class _Shown(msgspec.Struct):
    text: bool = True
    user: bool = True
    comment: bool = True


class Event(msgspec.Struct):
    """An event of either stream, as far as it is read."""

    meta: Meta
    page_change_kind: str = ""
    dt: str = ""
    wiki_id: str = ""
    comment: str | None = None
    page: _Page | None = None
    performer: _User | None = None
    revision: _Revision | None = None
    prior_state: _Before | None = None
    database: str = ""
    page_id: int = 0
    page_namespace: int = 0
    visibility: _Shown | None = None


_decoder = msgspec.json.Decoder(Event)


def decode(data: str) -> Event:
    """Read one event. Raises ContentError `wikimedia.event_unreadable`."""
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ContentError(
            f"An event is not what it should be: {error}.", code="wikimedia.event_unreadable"
        ) from None


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which changes become documents."""

    wikis: tuple[str, ...]
    namespaces: tuple[int, ...]
    changes: tuple[str, ...]
    bots: bool
    redirects: bool
    min_change_bytes: int

    def namespace(self, number: int) -> bool:
        """Whether pages of this namespace are followed."""
        return not self.namespaces or number in self.namespaces


def change_of(event: Event, wanted: Wanted, source: str, dates: Dates) -> Change | str:
    """What an event of a followed wiki means; for one that is left out, the reason.

    Raises ContentError `wikimedia.event_unreadable` where what must be there is missing.
    """
    if event.meta.stream == VISIBILITY:
        return _visibility(event, wanted)
    page, revision, kind = event.page, event.revision, event.page_change_kind
    if page is None or page.page_id <= 0 or not event.wiki_id:
        raise ContentError("An event names no page.", code="wikimedia.event_unreadable")
    key = key_of(event.wiki_id, page.page_id)
    if kind == "move":
        return _move(event, page, wanted, source, dates)
    if not wanted.namespace(page.namespace_id):
        return "filter.namespace"
    if kind == "delete":
        if revision is not None and revision.hidden:
            return Purge(key=key, reason="the page was suppressed")
        return Delete(key=key)
    if kind == "visibility_change":
        if revision is not None and not revision.hidden:
            return "visibility.shown"
        return Purge(key=key, reason="a revision was hidden")
    if kind not in _VERBS:
        return "wikimedia.unknown_change"
    if ("create" if kind in _CREATED else kind) not in wanted.changes:
        return "filter.change"
    if not wanted.bots and event.performer is not None and event.performer.is_bot:
        return "filter.bot"
    if not wanted.redirects and page.is_redirect:
        return "filter.redirect"
    by = _grown(event)
    if by is not None and abs(by) < wanted.min_change_bytes:
        return "filter.size"
    return Upsert(_document(event, page, source, dates))


def key_of(wiki: str, page: int) -> str:
    """The key of a page's document."""
    return f"wikimedia:{wiki}/{page}"


def wiki_of(event: Event) -> str:
    """The name of the wiki's database."""
    return event.wiki_id or event.database


def moment_of(event: Event) -> datetime | None:
    """When the event was sent."""
    return parse_date(event.meta.dt) if event.meta.dt else None


def _visibility(event: Event, wanted: Wanted) -> Change | str:
    shown = event.visibility
    if shown is None or event.page_id <= 0 or not event.database:
        raise ContentError("An event names no revision.", code="wikimedia.event_unreadable")
    if not wanted.namespace(event.page_namespace):
        return "filter.namespace"
    if shown.text and shown.user and shown.comment:
        return "visibility.shown"
    return Purge(key=key_of(event.database, event.page_id), reason="a revision was hidden")


def _move(event: Event, page: _Page, wanted: Wanted, source: str, dates: Dates) -> Change | str:
    """Bots' moves count, too: a document must not stand under a title that is gone."""
    before = event.prior_state.page if event.prior_state else None
    came_from = page.namespace_id
    if before is not None and before.namespace_id is not None:
        came_from = before.namespace_id
    if not wanted.namespace(page.namespace_id):
        if not wanted.namespace(came_from):
            return "filter.namespace"
        return Delete(key=key_of(event.wiki_id, page.page_id))
    if "move" not in wanted.changes:
        return "filter.change"
    return Upsert(_document(event, page, source, dates))


def _grown(event: Event) -> int | None:
    """By how many bytes the page grew; None if that is not said."""
    revision = event.revision
    if revision is None or revision.rev_size is None:
        return None
    if event.page_change_kind != "edit":
        return revision.rev_size
    before = event.prior_state.revision if event.prior_state else None
    return (
        None if before is None or before.rev_size is None else revision.rev_size - before.rev_size
    )


def _document(event: Event, page: _Page, source: str, dates: Dates) -> Document:
    domain, kind = event.meta.domain, event.page_change_kind
    if not _DOMAIN.fullmatch(domain):
        raise ContentError("An event names no wiki.", code="wikimedia.event_unreadable")
    revision = event.revision or _Revision()
    title = page.page_title.replace("_", " ").strip()
    if not title:
        raise ContentError("An event names no title.", code="wikimedia.event_unreadable")
    user = event.performer.user_text if event.performer and revision.is_editor_visible else ""
    bot = event.performer is not None and event.performer.is_bot
    said = event.comment if kind in ("move", "undelete") else revision.comment
    summary = plain(said or "") if revision.is_comment_visible else ""
    former = event.prior_state.page if event.prior_state else None
    was = (former.page_title or "").replace("_", " ") if kind == "move" and former else ""
    by = _grown(event)
    who = f"{'The bot ' if bot else ''}{user}" if user else "Somebody"
    if kind == "move":
        sentence = f"{who} moved the page “{was or '?'}” on {domain} to “{title}”."
    else:
        sentence = f"{who} {_VERBS[kind]} the page “{title}” on {domain}"
        size = revision.rev_size
        if kind == "edit" and by is not None and size is not None:
            sentence += f", which is now {size:,} bytes long ({by:+,})."
        elif size is not None:
            sentence += f", {size:,} bytes long."
        else:
            sentence += "."
    text = f"{sentence} Summary: {summary}" if summary else sentence
    moment = parse_date(event.dt) if event.dt else None
    published = dates.possible(moment or moment_of(event))
    page_url = f"https://{domain}/wiki/{quote(page.page_title, safe='/:,()!*;@')}"
    url = page_url
    if kind == "edit" and revision.rev_id and revision.rev_parent_id:
        url = f"https://{domain}/w/index.php?diff={revision.rev_id}&oldid={revision.rev_parent_id}"
    return Document(
        key=key_of(event.wiki_id, page.page_id),
        source=source,
        kind="edit",
        title=title,
        text=text,
        url=url,
        author=user,
        lang=_language(domain),
        published_at=published,
        date_source="api" if published else "",
        policy=POLICY,
        extra={
            "wiki": event.wiki_id,
            "change": kind,
            "page": page.page_id,
            "page_url": page_url,
            "namespace": page.namespace_id,
            "revision": revision.rev_id,
            "bot": bot,
            "minor": revision.is_minor_edit,
            **({"size": revision.rev_size} if revision.rev_size is not None else {}),
            **({"size_change": by} if by is not None else {}),
            **({"parent": revision.rev_parent_id} if revision.rev_parent_id else {}),
            **({"was": was} if was else {}),
        },
    )


def plain(comment: str) -> str:
    """An edit summary without its markup: `/* History */ see [[Rome|the city]]`."""
    comment = _SECTION.sub(lambda m: f"{m[1]}: " if m[1] else "", comment)
    return " ".join(_LINK.sub(r"\1", comment).split()).removesuffix(":")


@lru_cache(maxsize=2_000)
def _language(domain: str) -> str:
    """Of a wiki by its address: `de.wikipedia.org`; `und` where it tells none."""
    name, _, project = domain.partition(".")
    name = {"simple": "en"}.get(name, name.split("-")[0])
    return name if project.count(".") == 1 and name.isalpha() and 2 <= len(name) <= 3 and (
        name not in ("www", "m")
    ) else "und"  # fmt: skip
