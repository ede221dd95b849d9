"""X's post objects as documents, under the older field names (`tweet`) and the newer (`post`).

A document's key is the id of the first version in its edit chain, so an edit is a new version of
it. Nothing here may be trained on: X's terms forbid it.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from gnomon.errors import ContentError
from gnomon.extract.dates import parse_date
from gnomon.extract.text import clean_text, lang_code
from gnomon.types import Document, Policy

POLICY = Policy(display=True, snippet=True, index=True, train=False)

_EPOCH = datetime(2010, 11, 4, 1, 42, 54, 657_000, tzinfo=UTC)
"""X's ids count milliseconds from here, in their upper bits."""
_TOLERANCE = timedelta(minutes=5)
_NO_LANGUAGE = frozenset({"und", "zxx", "art", "qam", "qct", "qht", "qme", "qst"})
_RENAMED = {"in": "id", "iw": "he", "ji": "yi"}
_KEPT = (
    "conversation_id",
    "public_metrics",
    "possibly_sensitive",
    "community_id",
    "paid_partnership",
    "article_title",
)


def id_at(moment: datetime) -> int:
    """The least id that a post of `moment` can have."""
    return max((moment - _EPOCH) // timedelta(milliseconds=1), 0) << 22


def moment_of(id: str) -> datetime | None:
    """When a post with this id was written; None for ids of another making."""
    if not id.isdigit() or int(id) < 1 << 40:
        return None
    milliseconds = int(id) >> 22
    # Ids have 63 bits, which reach the year 2079.
    return _EPOCH + timedelta(milliseconds=milliseconds) if milliseconds < 1 << 42 else None


def key_of(id: str) -> str:
    """The document key of the post whose first version has this id."""
    return f"x:{id}"


def chain(post: Mapping[str, Any]) -> tuple[str, ...]:
    """The ids of the post's versions, first to this one. Raises ContentError if it has no id."""
    own = int(_id(post))
    return tuple(id for id in _history(post) if int(id) <= own)


def newest_of(post: Mapping[str, Any]) -> str:
    """The id of the newest version that is known of. Raises ContentError if it has no id."""
    return _history(post)[-1]


def _id(post: Mapping[str, Any]) -> str:
    id = post.get("id")
    if not isinstance(id, str) or not id.isdecimal():
        raise ContentError("a post without an id", code="post.no_id")
    return id


def _history(post: Mapping[str, Any]) -> list[str]:
    """All versions, oldest first. An old version, asked for by its id, names newer ones too."""
    ids = post.get("edit_history_post_ids") or post.get("edit_history_tweet_ids")
    known = (
        {i for i in ids if isinstance(i, str) and i.isdecimal()} if isinstance(ids, list) else {}
    )
    return sorted({*known, _id(post)}, key=int)


def is_repost(post: Mapping[str, Any]) -> bool:
    """Whether it only repeats another post."""
    return any(kind == "retweeted" for kind, _ in _references(post))


def hidden(post: Mapping[str, Any], includes: Mapping[str, Any]) -> str:
    """Why we may not keep this post (`protected`, `withheld`); empty if we may."""
    author = _author(post, includes)
    if author.get("protected"):
        return "protected"
    if post.get("withheld") or author.get("withheld"):
        return "withheld"
    return ""


def document(
    post: Mapping[str, Any], includes: Mapping[str, Any], *, source: str, now: datetime
) -> Document:
    """The post as a document. Raises ContentError where it says nothing that can be kept."""
    ids = chain(post)
    text = _text(post)
    if not text:
        raise ContentError("a post without text", code="post.no_text")
    id = ids[-1]
    claimed = parse_date(str(post.get("created_at", "")))
    first_at = moment_of(ids[0]) or claimed
    if first_at is not None and first_at > now + _TOLERANCE:
        first_at = None
    updated_at = (claimed or moment_of(id)) if id != ids[0] else None
    author = _author(post, includes)
    name = str(author.get("username") or post.get("username") or "")
    references = dict(reversed([(kind, ref) for kind, ref in _references(post)]))
    return Document(
        key=key_of(ids[0]),
        source=source,
        kind="post",
        text=text,
        url=f"https://x.com/{name or 'i'}/status/{id}",
        author=f"@{name}" if name else str(post.get("author_id", "")),
        lang=_lang(post),
        published_at=first_at,
        updated_at=None if updated_at is None or updated_at > now + _TOLERANCE else updated_at,
        date_source="x" if first_at else "",
        policy=POLICY,
        reply_to=key_of(references["replied_to"]) if "replied_to" in references else "",
        quotes=key_of(references["quoted"]) if "quoted" in references else "",
        extra=_extra(post, author, ids),
    )


def _text(post: Mapping[str, Any]) -> str:
    """The whole text, with addresses in place of their shortened forms."""
    note = post.get("note_post") or post.get("note_tweet")
    holder: Mapping[str, Any] = note if isinstance(note, dict) and note.get("text") else post
    text = holder.get("text")
    if not isinstance(text, str):
        return ""
    entities = holder.get("entities")
    urls = entities.get("urls") if isinstance(entities, dict) else None
    for url in urls if isinstance(urls, list) else ():
        if isinstance(url, dict):
            short, real = url.get("url"), url.get("expanded_url")
            if isinstance(short, str) and isinstance(real, str) and short:
                text = text.replace(short, real)
    return clean_text(html.unescape(text))


def _lang(post: Mapping[str, Any]) -> str:
    lang = post.get("lang")
    if not isinstance(lang, str) or lang in _NO_LANGUAGE:
        return "und"
    return lang_code(_RENAMED.get(lang, lang)) or "und"


def _author(post: Mapping[str, Any], includes: Mapping[str, Any]) -> Mapping[str, Any]:
    users = includes.get("users")
    for user in users if isinstance(users, list) else ():
        if isinstance(user, dict) and user.get("id") == post.get("author_id"):
            return user
    return {}


def _references(post: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    found = post.get("referenced_posts") or post.get("referenced_tweets")
    for reference in found if isinstance(found, list) else ():
        if isinstance(reference, dict):
            kind, id = reference.get("type"), reference.get("id")
            if isinstance(kind, str) and isinstance(id, str):
                yield kind, id


def _extra(
    post: Mapping[str, Any], author: Mapping[str, Any], ids: tuple[str, ...]
) -> dict[str, Any]:
    extra: dict[str, Any] = {name: post[name] for name in _KEPT if post.get(name)}
    extra["author_id"] = post.get("author_id")
    if author.get("name"):
        extra["author_name"] = author["name"]
    if len(ids) > 1:
        extra["edit_history_ids"] = list(ids)
    return extra
