"""Bytes to text, whatever the server, the document or nobody says about the encoding."""

from __future__ import annotations

import codecs

from charset_normalizer import from_bytes
from w3lib.encoding import html_body_declared_encoding, http_content_type_encoding

_ODD_CODECS = frozenset(
    (
        "idna",
        "mbcs",
        "oem",
        "punycode",
        "raw_unicode_escape",
        "undefined",
        "unicode_escape",
        "utf-7",
    )
)
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_WEB_CODECS = (
    *("cp1251", "koi8_r", "shift_jis", "euc_jp", "gb18030", "big5", "euc_kr", "cp1252", "cp1250"),
    *("cp1253", "cp1254", "cp1255", "cp1256", "iso8859_2", "cp874"),
)
"""What old pages that declare nothing are written in, and a guess may choose from."""
_SAMPLE_BYTES = 8_192


def odd_codec(name: str) -> bool:
    """Whether Python knows this codec, but nobody writes documents in it.

    Some of them decode in quadratic time.
    """
    try:
        return codecs.lookup(name).name in _ODD_CODECS
    except LookupError:
        return False


def decode(body: bytes, content_type: str = "") -> tuple[str, bool]:
    """The text of an HTML or plain text body, and whether its declared encoding was true.

    A byte order mark wins, then what HTTP and the document declare, then UTF-8, then a guess.
    """
    for mark, encoding in _BOMS:
        if body.startswith(mark):
            return body[len(mark) :].decode(encoding, "replace"), True
    declared = http_content_type_encoding(content_type) or html_body_declared_encoding(body)
    candidates: tuple[str | None, ...] = (declared, _by_zeros(body), "utf-8")
    for name in candidates:
        if name is None or odd_codec(name):
            continue
        try:
            return body.decode(name), name == declared or declared is None
        except (UnicodeDecodeError, LookupError):
            continue
    return body.decode(_guess(body), "replace"), False


def _by_zeros(body: bytes) -> str | None:
    """UTF-16 without its mark shows in zero bytes at every other place."""
    sample = body[:_SAMPLE_BYTES]
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if max(even, odd) < len(sample) // 8 or len(sample) < 4:
        return None
    return "utf-16-be" if even > odd else "utf-16-le"


def _guess(body: bytes) -> str:
    middle = max(len(body) - _SAMPLE_BYTES, 0) // 2
    sample = body[middle : middle + _SAMPLE_BYTES]
    best = from_bytes(sample, steps=3, cp_isolation=list(_WEB_CODECS)).best()
    return "windows-1252" if best is None else best.encoding
