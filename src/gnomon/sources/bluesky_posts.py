"""From a record in an AT Protocol repository to a document.

Posts get their own reading: text, what it links to, the titles and descriptions of what is
embedded. A record of another type that a source asked for is read by its `title`, `text`,
`content` and `description`. Likes, follows and the like say nothing and are no documents.
"""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from gnomon.clock import from_us
from gnomon.extract.text import clean_text, lang_code, one_line, overmarked
from gnomon.sources.bluesky_wire import Event, instant
from gnomon.types import Document, Policy

POST = "app.bsky.feed.post"
POLICY = Policy(display=True, snippet=True, index=True, train=False)
_FIRST_AT = datetime(2006, 1, 1, tzinfo=UTC)
"""Imported posts carry dates from before the network began, but none from before its forebears."""
_MAX_ALTS = 20
_MAX_PART = 2_000


class _Ref(msgspec.Struct):
    uri: str = ""
    record: _Ref | None = None


class _External(msgspec.Struct):
    uri: str = ""
    title: str = ""
    description: str = ""


class _Image(msgspec.Struct):
    alt: str = ""


class _Embed(msgspec.Struct):
    type: str = msgspec.field(default="", name="$type")
    external: _External | None = None
    record: _Ref | None = None
    media: _Embed | None = None
    images: list[_Image] = []
    items: list[_Image] = []
    alt: str = ""


class _Feature(msgspec.Struct):
    uri: str = ""
    tag: str = ""


class _Facet(msgspec.Struct):
    features: list[_Feature] = []


class _Reply(msgspec.Struct):
    root: _Ref | None = None
    parent: _Ref | None = None


class _Label(msgspec.Struct):
    val: str = ""


class _Labels(msgspec.Struct):
    values: list[_Label] = []


class Post(msgspec.Struct, rename="camel"):
    """What we read of an `app.bsky.feed.post`."""

    text: str = ""
    created_at: str = ""
    langs: list[str] = []
    reply: _Reply | None = None
    embed: _Embed | None = None
    facets: list[_Facet] = []
    tags: list[str] = []
    labels: _Labels | None = None


class _Core(msgspec.Struct, rename="camel"):
    """What remains readable where something else in a post has an unexpected shape."""

    text: str = ""
    created_at: str = ""
    langs: list[str] = []


_post = msgspec.json.Decoder(Post).decode
_core = msgspec.json.Decoder(_Core).decode


def read_post(raw: msgspec.Raw) -> Post:
    """The post in a record. Raises ValueError if it is none."""
    try:
        return _post(raw)
    except msgspec.ValidationError:
        core = _core(raw)
        return Post(text=core.text, created_at=core.created_at, langs=core.langs)


def read_other(raw: msgspec.Raw) -> tuple[Post, str]:
    """Another type of record as a post, and its title. Raises ValueError if it is no object."""
    fields: dict[str, Any] = msgspec.json.decode(raw, type=dict)

    def said(*names: str) -> str:
        return next((v for n in names if isinstance(v := fields.get(n), str) and v.strip()), "")

    langs = fields.get("langs")
    return (
        Post(
            text=said("text", "textContent", "content", "description"),
            created_at=said("publishedAt", "createdAt"),
            langs=[x for x in langs if isinstance(x, str)] if isinstance(langs, list) else [],
        ),
        one_line(said("title")),
    )


def key_of(uri: str) -> str:
    """The key of the document that a record becomes; empty for no record."""
    return f"bluesky:{uri}" if uri else ""


def lang_of(post: Post) -> str:
    """The first language that the post claims, as a code; `und` without."""
    return (_lang(post.langs[0]) if post.langs else "") or "und"


_known_langs: dict[str, str] = {}


def _lang(tag: str) -> str:
    code = _known_langs.get(tag)
    if code is None:
        code = lang_code(tag)
        if len(_known_langs) < 1_000:
            _known_langs[tag] = code
    return code


def links_of(post: Post) -> list[str]:
    """Every address that the post links to, in facets and in a card, each once."""
    found = [f.uri for facet in post.facets for f in facet.features if f.uri]
    embed = post.embed
    while embed is not None:
        if embed.external is not None and embed.external.uri:
            found.append(embed.external.uri)
        embed = embed.media
    return list(dict.fromkeys(found)) if len(found) > 1 else found


def letters_reach(text: str, least: int) -> bool:
    """Whether `text` has at least so many letters."""
    return sum(map(str.isalpha, text[: 2 * least])) >= least or (
        sum(map(str.isalpha, text)) >= least
    )


def document_of(
    event: Event,
    post: Post,
    source: str,
    *,
    now: datetime,
    tolerance: timedelta,
    title: str = "",
    handle: str = "",
) -> Document | None:
    """The document; None where there is nothing to read in it."""
    text = _tidy(post.text)
    extra: dict[str, Any] = {}
    reply_to = quotes = ""
    if event.cid:
        extra["cid"] = event.cid
    if handle:
        extra["handle"] = handle
    if (reply := post.reply) is not None:
        if reply.parent is not None:
            reply_to = key_of(reply.parent.uri)
        if reply.root is not None and reply.root.uri:
            extra["thread"] = key_of(reply.root.uri)
    if (embed := post.embed) is not None:
        text, quotes = _with_embed(text, embed, extra)
    if post.facets or "link" in extra:
        links = links_of(post)
        if links:
            extra["links"] = links
        extra.pop("link", None)
    tags = [f.tag for facet in post.facets for f in facet.features if f.tag] + post.tags
    if tags:
        extra["tags"] = tags
    if len(post.langs) > 1:
        extra["langs"] = post.langs
    if post.labels is not None:
        extra["labels"] = [label.val for label in post.labels.values]
    if not text and not title:
        return None
    uri = event.uri
    posted = event.collection == POST
    published_at, date_source = _published(post.created_at, event, now, tolerance)
    return Document(
        key=f"bluesky:{uri}",
        source=source,
        kind="post" if posted else "article",
        text=text or title,
        title=title,
        url=f"https://bsky.app/profile/{event.did}/post/{event.rkey}" if posted else uri,
        author=event.did,
        lang=lang_of(post),
        published_at=published_at,
        date_source=date_source,
        policy=POLICY,
        reply_to=reply_to,
        quotes=quotes,
        extra=extra,
    )


def _with_embed(text: str, embed: _Embed, extra: dict[str, Any]) -> tuple[str, str]:
    """The text with what the embedded things say, and the key of a quoted post."""
    quotes = ""
    if embed.type:
        extra["embed"] = embed.type.rpartition(".")[2]
    parts = []
    layer: _Embed | None = embed
    while layer is not None:
        if (ref := layer.record) is not None:
            uri = ref.uri or (ref.record.uri if ref.record is not None else "")
            if f"/{POST}/" in uri:
                quotes = key_of(uri)
            elif uri:
                extra["about"] = uri
        if (card := layer.external) is not None:
            extra["link"] = card.uri
            parts += [card.title, card.description]
        parts += [image.alt for image in (layer.images + layer.items)[:_MAX_ALTS]]
        parts.append(layer.alt)
        layer = layer.media
    for part in parts:
        if part and part not in text:
            tidied = _tidy(part[:_MAX_PART])
            text = f"{text}\n\n{tidied}" if text else tidied
    return text, quotes


def _tidy(text: str) -> str:
    """As `clean_text`, at once where nothing needs cleaning."""
    if "  " in text or "\n\n\n" in text or " \n" in text or "\n " in text:
        return clean_text(text)
    if not (text.isprintable() or text.replace("\n", "").isprintable()):
        return clean_text(text)
    if not text.isascii() and (not unicodedata.is_normalized("NFC", text) or overmarked(text)):
        return clean_text(text)
    return text.strip()


def _published(
    claimed: str, event: Event, now: datetime, tolerance: timedelta
) -> tuple[datetime, str]:
    """What the author claims where it can be; else when the server saw it, by our clock at most."""
    moment = instant(claimed)
    if moment is not None and _FIRST_AT <= moment <= now + tolerance:
        return moment, "createdAt"
    seen_us = event.at_us()
    seen = from_us(seen_us) if 0 < seen_us < 4_000_000_000_000_000 else now
    return min(seen, now) if seen >= _FIRST_AT else now, "server"
