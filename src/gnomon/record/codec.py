"""How a document becomes bytes and comes back, whatever a source put into it.

Promise: nothing that a source can write makes a document unstorable. Text comes back unchanged,
with two exceptions, because neither has a place in UTF-8 or in an identifier: a lone surrogate
becomes U+FFFD (a pair becomes the character that it means), and so does a NUL in a key or a source
name. In `extra`, what is no JSON value becomes text.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
import zstandard

from gnomon.clock import from_us, to_us
from gnomon.errors import ContentError
from gnomon.types import Attachment, Document, Gap, Notice, Policy

_COMPRESS_FROM_BYTES = 512
_ZSTD_FIRST = b"\x28"  # no msgpack array or map begins with this byte
_DEEPEST = 64
_FIELDS = 13
_INT64 = range(-(2**63), 2**64)

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode
_local = threading.local()

_POLICY_BITS = {
    Policy(display=bool(n & 1), snippet=bool(n & 2), index=bool(n & 4), train=bool(n & 8)): n
    for n in range(16)
}
_POLICIES = {bits: policy for policy, bits in _POLICY_BITS.items()}


class Unreadable(Exception):
    """Stored bytes are not what was stored."""


def pack(document: Document) -> tuple[Document, bytes, bytes | None]:
    """The document as it will read back, its content, and its `extra` (None if empty).

    Content is what makes a version differ from another: everything but key, source, `extra` and
    what the record itself assigns. Raises ContentError if a field has a wrong type.
    """
    try:
        try:
            content = _content(document)
        except UnicodeEncodeError:
            document = msgspec.structs.replace(document, **_cleaned(_texts(document)))
            content = _content(document)
        if not document.extra:
            return document, content, None
        document, extra = _with_extra(document)
    except (TypeError, AttributeError, ValueError, OverflowError) as error:
        raise ContentError(
            f"The document {document.key!r} cannot be stored: {error}.",
            code="document.invalid",
            hint="Its connector must deliver texts as str and times as aware datetimes.",
            key=document.key,
        ) from None
    return document, content, extra


def _texts(document: Document) -> dict[str, Any]:
    """The fields that hold text of the source's own making."""
    names = ("kind", "text", "title", "url", "author", "lang", "date_source", "reply_to", "quotes")
    return {name: getattr(document, name) for name in (*names, "attachments")}


def _content(d: Document) -> bytes:
    published, updated = d.published_at, d.updated_at
    # Joining is the cheapest way to find a field that is no text.
    "".join((d.kind, d.text, d.title, d.url, d.author, d.lang, d.date_source, d.reply_to, d.quotes))
    return squeeze(
        _encode(
            (
                d.kind,
                d.text,
                d.title,
                d.url,
                d.author,
                d.lang,
                None if published is None else to_us(published),
                None if updated is None else to_us(updated),
                d.date_source,
                _POLICY_BITS[d.policy],
                d.reply_to,
                d.quotes,
                [(a.hash, a.media_type, a.body_bytes, a.name) for a in d.attachments]
                if d.attachments
                else (),
            )
        )
    )


def unpack(
    key: str,
    source: str,
    content: bytes,
    extra: bytes | None,
    *,
    start_us: int,
    version: int,
    seq: int,
) -> Document:
    """The document that `pack` took."""
    fields = unpack_plain(content)
    if not isinstance(fields, list) or len(fields) != _FIELDS:
        raise Unreadable("not the fields of a document")
    kind, text, title, url, author, lang, published_us, updated_us = fields[:8]
    date_source, policy, reply_to, quotes, attachments = fields[8:]
    return Document(
        key=key,
        source=source,
        kind=kind,
        text=text,
        title=title,
        url=url,
        author=author,
        lang=lang,
        published_at=None if published_us is None else from_us(published_us),
        updated_at=None if updated_us is None else from_us(updated_us),
        date_source=date_source,
        observed_at=from_us(start_us),
        policy=_POLICIES[policy],
        reply_to=reply_to,
        quotes=quotes,
        attachments=tuple(
            Attachment(hash=hash, media_type=media_type, body_bytes=body_bytes, name=name)
            for hash, media_type, body_bytes, name in attachments
        ),
        extra=unpack_plain(extra) if extra is not None else {},
        version=version,
        seq=seq,
    )


def author_of(content: bytes) -> str:
    """The author in a document's content."""
    author: str = unpack_plain(content)[4]
    return author


def published_of(content: bytes) -> datetime | None:
    """The publication date in a document's content."""
    us = unpack_plain(content)[6]
    return None if us is None else from_us(us)


def same(a: bytes, b: bytes) -> bool:
    """Whether two contents say the same, also if another zstd release compressed one of them."""
    return a == b or (a[:1] == b[:1] == _ZSTD_FIRST and unsqueeze(a) == unsqueeze(b))


def pack_plain(value: Any) -> bytes:
    """Bytes of any value made of lists, numbers and texts that may hold surrogates."""
    try:
        return squeeze(_encode(value))
    except UnicodeEncodeError:
        return squeeze(_encode(_cleaned(value)))


def unpack_plain(body: bytes) -> Any:
    """The value that `pack_plain` took. Raises Unreadable if these are not its bytes."""
    try:
        return _decode(unsqueeze(body))
    except msgspec.DecodeError as error:
        raise Unreadable(str(error)) from error


def pack_gap(gap: Gap) -> bytes:
    """A gap as bytes; the moment of its recording is not part of it."""
    return pack_plain((gap.reason, _us(gap.start), _us(gap.end)))


def unpack_gap(body: bytes) -> Gap:
    """The gap that `pack_gap` took."""
    reason, start_us, end_us = unpack_plain(body)
    return Gap(
        reason=reason,
        start=None if start_us is None else from_us(start_us),
        end=None if end_us is None else from_us(end_us),
    )


def pack_notice(notice: Notice) -> bytes:
    """A notice as bytes."""
    return pack_plain((notice.code, notice.text, notice.level))


def unpack_notice(body: bytes) -> Notice:
    """The notice that `pack_notice` took."""
    code, text, level = unpack_plain(body)
    return Notice(code=code, text=text, level=level)


def clean(text: str) -> str:
    """`text` without lone surrogates; a pair of surrogates becomes one character."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def clean_name(name: str) -> str:
    """`name` as an identifier can be stored: neither lone surrogates nor NUL."""
    if is_clean_name(name):
        return name
    return clean(name).replace("\0", "\ufffd")


def is_clean_name(name: str) -> bool:
    """Whether `clean_name` would leave `name` as it is."""
    if "\0" in name:
        return False
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def squeeze(body: bytes) -> bytes:
    """`body` compressed if it is long enough for that to pay; `unsqueeze` undoes it."""
    if len(body) < _COMPRESS_FROM_BYTES:
        return body
    compressed = compress(body)
    return compressed if len(compressed) < len(body) else body


def unsqueeze(body: bytes) -> bytes:
    """What `squeeze` took, which must not begin as a zstd frame does."""
    if body[:1] != _ZSTD_FIRST:
        return body
    return decompress(body)


def compress(body: bytes) -> bytes:
    """`body` as a zstd frame with a checksum."""
    frame: bytes = _zstd()[0].compress(body)
    return frame


def decompress(frame: bytes) -> bytes:
    """The bytes in a zstd frame. Raises Unreadable if it is none."""
    try:
        body: bytes = _zstd()[1].decompress(frame)
    except zstandard.ZstdError as error:
        raise Unreadable(str(error)) from error
    return body


def _zstd() -> tuple[Any, Any]:
    """A compressor and a decompressor of this thread: they must not be shared."""
    try:
        pair: tuple[Any, Any] = _local.zstd
    except AttributeError:
        pair = _local.zstd = (
            zstandard.ZstdCompressor(level=3, write_checksum=True),
            zstandard.ZstdDecompressor(),
        )
    return pair


def _us(moment: datetime | None) -> int | None:
    return None if moment is None else to_us(moment)


def _with_extra(document: Document) -> tuple[Document, bytes]:
    try:
        return document, squeeze(_encode(document.extra))
    except (UnicodeEncodeError, TypeError, OverflowError, RecursionError):
        plain = _json(dict(document.extra), 0)
        return msgspec.structs.replace(document, extra=plain), squeeze(_encode(plain))


def _json(value: Any, depth: int) -> Any:
    """`value` in terms of JSON; what has no such form becomes text."""
    if isinstance(value, str):
        return clean(value)
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int) and value in _INT64:
        return value
    if depth < _DEEPEST:
        if isinstance(value, Mapping):
            return {clean(str(k)): _json(v, depth + 1) for k, v in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [_json(v, depth + 1) for v in value]
        return clean(str(value))
    return f"(nested more than {_DEEPEST} deep)"


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {name: _cleaned(v) for name, v in value.items()}
    if isinstance(value, tuple | list):
        return tuple(_cleaned(v) for v in value)
    if isinstance(value, Attachment):
        return Attachment(
            hash=clean(value.hash),
            media_type=clean(value.media_type),
            body_bytes=value.body_bytes,
            name=clean(value.name),
        )
    return value
