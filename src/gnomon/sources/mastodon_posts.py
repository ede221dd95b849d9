"""Mastodon's statuses, trending links and tags as documents.

Keys are `mastodon:<host>/<id>`: ids are those of the server that is followed, because deletions
and replies name them. A status may be searched here only where its author allows that there.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from gnomon.errors import ContentError
from gnomon.extract.dates import parse_date
from gnomon.extract.text import clean_text, detect_lang, html_to_text
from gnomon.types import Document, Policy

_TOLERANCE = timedelta(minutes=5)
_MAX_HTML_CHARS = 500_000
_MAX_MS = 1 << 43


def key_of(host: str, id: str) -> str:
    """The document key of the status that `host` knows by this id."""
    return f"mastodon:{host}/{id}"


def order_of(id: str) -> tuple[int, str]:
    """Ids are text, and grow: longer ones are newer, else those that sort later."""
    return len(id), id


def moment_of(id: str) -> datetime | None:
    """When a status of this id was written; None for ids of another making."""
    if not id.isdigit() or not 1 << 40 <= int(id) < _MAX_MS << 16:
        return None
    return datetime.fromtimestamp((int(id) >> 16) / 1000, UTC)


def id_before(id: str, span: timedelta) -> str:
    """The least id of a status written `span` before this one; ids of another making stay."""
    if moment_of(id) is None:
        return id
    return str(max(int(id) - (int(span.total_seconds() * 1000) << 16), 1))


def policy_of(account: Mapping[str, Any]) -> Policy:
    """What an author allows: what is not to be found by search there is not found here."""
    findable = account.get("indexable") is not False and account.get("noindex") is not True
    return Policy(
        display=True,
        snippet=account.get("discoverable") is not False,
        index=findable,
        train=False,
    )


def edited_us(status: Mapping[str, Any]) -> int:
    """When this version was made, in microseconds; 0 for the first."""
    edited = parse_date(str(status.get("edited_at") or ""))
    return int(edited.timestamp() * 1e6) if edited else 0


def document(status: Any, *, host: str, source: str, now: datetime) -> Document:
    """A status as a document. Raises ContentError, with a code that is a reason, if it is none.

    `status.boost`, `status.not_public`, `status.no_text`, `status.unreadable`.
    """
    if not isinstance(status, dict) or not isinstance(status.get("id"), str) or not status["id"]:
        raise ContentError("no status", code="status.unreadable")
    if status.get("reblog"):
        raise ContentError("a boost is no new post", code="status.boost")
    if status.get("visibility") != "public":
        raise ContentError("not for everybody", code="status.not_public")
    account = _mapping(status.get("account"))
    if account.get("suspended"):
        raise ContentError("its author is suspended", code="status.not_public")
    text = _text(status)
    if not text:
        raise ContentError("it says nothing", code="status.no_text")
    title = clean_text(_string(status.get("spoiler_text")))
    created, edited = _moment(status, "created_at", now), _moment(status, "edited_at", now)
    quoted = _mapping(_mapping(status.get("quote")).get("quoted_status")).get("id")
    answered = status.get("in_reply_to_id")
    return Document(
        key=key_of(host, status["id"]),
        source=source,
        kind="post",
        title=title,
        text=text,
        url=_string(status.get("url")) or _string(status.get("uri")),
        author=_author(account, host),
        lang=_lang(status, text),
        published_at=created,
        updated_at=edited,
        date_source="mastodon" if created else "",
        policy=policy_of(account),
        reply_to=key_of(host, answered) if isinstance(answered, str) and answered else "",
        quotes=key_of(host, quoted) if isinstance(quoted, str) and quoted else "",
        extra=_extra(status, account),
    )


def link_document(link: Any, *, host: str, source: str, now: datetime) -> Document:
    """A trending link: the article as its preview card describes it."""
    link = _mapping(link)
    url, title = _string(link.get("url")), clean_text(_string(link.get("title")))
    text = clean_text(_string(link.get("description"))) or title
    if not url.startswith(("http://", "https://")) or not text:
        raise ContentError("no link", code="trend.unreadable")
    published = _moment(link, "published_at", now)
    return Document(
        key=f"mastodon:{host}/link/{url}",
        source=source,
        kind="article",
        title=title,
        text=text,
        url=url,
        author=_string(link.get("author_name")),
        lang=detect_lang(f"{title} {text}", _string(link.get("language"))),
        published_at=published,
        date_source="mastodon" if published else "",
        extra=_trend(link, "provider_name"),
    )


def tag_document(tag: Any, *, host: str, source: str) -> Document:
    """A trending hashtag. How often it is used stands in `extra` and makes no new version."""
    tag = _mapping(tag)
    name = _string(tag.get("name"))
    if not name:
        raise ContentError("no tag", code="trend.unreadable")
    return Document(
        key=f"mastodon:{host}/tag/{name.lower()}",
        source=source,
        kind="page",
        title=f"#{name}",
        text=f"#{name} is a trending hashtag on {host}.",
        url=_string(tag.get("url")),
        lang="en",
        extra=_trend(tag),
    )


def _text(status: Mapping[str, Any]) -> str:
    """What it says, with its poll and the descriptions of its pictures."""
    content = _string(status.get("content"))
    parts = [html_to_text(content[:_MAX_HTML_CHARS])]
    poll = _mapping(status.get("poll"))
    options = [_string(_mapping(o).get("title")) for o in _list(poll.get("options"))]
    if any(options):
        parts.append("\n".join(f"• {clean_text(option)}" for option in options if option))
    for media in _list(status.get("media_attachments")):
        description = clean_text(_string(_mapping(media).get("description")))
        if description:
            parts.append(f"[{_string(_mapping(media).get('type')) or 'file'}: {description}]")
    return "\n\n".join(part for part in parts if part)


def _lang(status: Mapping[str, Any], text: str) -> str:
    return detect_lang(text, _string(status.get("language")))


def _author(account: Mapping[str, Any], host: str) -> str:
    acct = _string(account.get("acct")) or _string(account.get("username"))
    return f"@{acct}" if "@" in acct or not acct else f"@{acct}@{host}"


def _extra(status: Mapping[str, Any], account: Mapping[str, Any]) -> dict[str, Any]:
    counts = ("replies_count", "reblogs_count", "favourites_count", "quotes_count")
    extra: dict[str, Any] = {name: status[name] for name in counts if status.get(name)}
    extra["uri"] = status.get("uri")
    if status.get("sensitive"):
        extra["sensitive"] = True
    tags = [_string(_mapping(tag).get("name")) for tag in _list(status.get("tags"))]
    if tags:
        extra["tags"] = tags
    if account.get("display_name"):
        extra["author_name"] = account["display_name"]
    if account.get("bot"):
        extra["bot"] = True
    card = _mapping(status.get("card"))
    if card.get("url"):
        extra["card"] = {n: card[n] for n in ("url", "title", "provider_name") if card.get(n)}
    return extra


def _trend(thing: Mapping[str, Any], *names: str) -> dict[str, Any]:
    extra: dict[str, Any] = {name: thing[name] for name in names if thing.get(name)}
    history = _list(thing.get("history"))
    if history and isinstance(history[0], dict):
        extra["today"] = {n: history[0].get(n) for n in ("uses", "accounts")}
    return extra


def _moment(thing: Mapping[str, Any], name: str, now: datetime) -> datetime | None:
    found = parse_date(_string(thing.get(name)))
    return None if found is None or found > now + _TOLERANCE else found


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
