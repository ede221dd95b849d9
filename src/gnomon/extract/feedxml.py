"""feedparser, driven so that no document can make it slow, large or nosy.

feedparser itself opens whatever string looks like an address or a file name, decodes with any
codec that a document names, and searches some fields in quadratic time. Here it sees bytes only,
in an encoding of a known list, with limits on depth, number and length of everything.
"""

from __future__ import annotations

import io
import re
import warnings
import xml.sax
import xml.sax.handler
import xml.sax.xmlreader
from typing import Any

import feedparser.api
from feedparser.encodings import convert_to_utf8
from feedparser.exceptions import CharacterEncodingOverride, NonXMLContentType
from feedparser.sanitizer import replace_doctype

from gnomon.extract.encoding import odd_codec

MAX_DEPTH = 256
MAX_ELEMENTS = 100_000
MAX_ENTRIES = 20_000
MAX_ATTRIBUTES = 128
MAX_NAMESPACES = 256
MAX_TAGS = 64
MAX_HEAD_BYTES = 32_768
"""Of what stands before the root element."""

_LONG = frozenset(
    ("content", "copyright", "description", "info", "rights", "subtitle", "summary", "tagline")
)
_FIELD_CHARS = 8_192
_PERSON_CHARS = 256
_PERSONS = frozenset(
    ("author", "contributor", "creator", "email", "name", "owner", "publisher", "webmaster")
)
_DECLARED = re.compile(rb"encoding\s*=\s*[\"']([A-Za-z0-9._:-]{1,40})[\"']")
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([A-Za-z0-9._:-]{1,40})", re.IGNORECASE)
_ROOT = re.compile(rb"<\w")
_ROOT_NAME = re.compile(rb"<([\w:.-]+)")
_END_BYTES = 4_096
_BLANKS = re.compile(rb"\s{2,}")


class HostileFeed(Exception):
    """The document goes beyond a limit; the message says which."""


class Parsed:
    """feedparser's result: its dictionaries, the feed type, and what was wrong."""

    def __init__(self) -> None:
        self.feed: Any = {}
        self.entries: list[Any] = []
        self.version = ""
        self.notes: list[str] = []


def parse_xml(body: bytes, *, url: str, content_type: str) -> Parsed:
    """Read RSS, Atom, RDF or CDF. Raises HostileFeed; malformed documents give what they have.

    A document that was cut off is noted as `xml.cut`; nobody knows how its last entry went on.
    """
    parsed = Parsed()
    data, decoded = _utf8(body, content_type, parsed)
    root = _ROOT.search(data)
    start = root.start() if root else len(data)
    head = _BLANKS.sub(b"\n", data[:start])
    if len(head) > MAX_HEAD_BYTES:
        raise HostileFeed(f"more than {MAX_HEAD_BYTES} bytes stand before its first element")
    version, data, entities = replace_doctype(head + data[start:])
    handler: Any = None
    with warnings.catch_warnings():
        # feedparser speaks of its own future renames.
        warnings.simplefilter("ignore", DeprecationWarning)
        if decoded:
            handler = _strict(data, url)
            if handler.exc is not None:
                parsed.notes.append("xml.malformed")
                handler = None
        if handler is None:
            handler = _Loose(url, None, "utf-8", entities)
            handler.resolve_relative_uris = handler.sanitize_html = False
            handler.feed(data.decode("utf-8", "replace"))
    parsed.feed, parsed.entries = handler.feeddata, handler.entries
    if "xml.malformed" in parsed.notes and _is_cut(data):
        parsed.notes.append("xml.cut")
    parsed.version = version or handler.version
    return parsed


def _is_cut(data: bytes) -> bool:
    """Whether the document's root is never closed."""
    root = _ROOT_NAME.search(data)
    return root is not None and b"</" + root[1] not in data[-_END_BYTES:]


def _utf8(body: bytes, content_type: str, parsed: Parsed) -> tuple[bytes, bool]:
    """The document in UTF-8, and whether its encoding could be told."""
    if any(odd_codec(name) for name in _CHARSET.findall(content_type)):
        content_type = content_type.partition(";")[0]
    # A declaration in UTF-16 or UTF-32 reads the same without its zero bytes.
    if any(
        odd_codec(name.decode()) for name in _DECLARED.findall(body[:4_096].replace(b"\0", b""))
    ):
        raise HostileFeed("it declares an encoding that no feed is written in")
    told: dict[str, Any] = {}
    headers = {"content-type": content_type} if content_type else {}
    data: bytes = convert_to_utf8(headers, body, told)
    problem = told.get("bozo_exception")
    if isinstance(problem, CharacterEncodingOverride):
        parsed.notes.append("encoding.wrong")
    elif problem is not None and not isinstance(problem, NonXMLContentType):
        parsed.notes.append("encoding.unknown")
    return data, bool(told.get("encoding"))


def _strict(data: bytes, url: str) -> Any:
    handler: Any = _Strict(url, None, "utf-8")
    handler.resolve_relative_uris = handler.sanitize_html = False
    reader = xml.sax.make_parser()  # noqa: S317 - expat bounds expansion; the DTD is gone already
    reader.setFeature(xml.sax.handler.feature_namespaces, True)
    reader.setFeature(xml.sax.handler.feature_external_ges, False)
    reader.setContentHandler(handler)
    reader.setErrorHandler(handler)
    source = xml.sax.xmlreader.InputSource()
    source.setByteStream(io.BytesIO(data))
    try:
        reader.parse(source)
    except xml.sax.SAXException as error:
        handler.exc = handler.exc or error
    return handler


class _Bounded:
    """Limits for both of feedparser's parsers. Its own methods are the hooks."""

    # An id names an entry; resolving it would change all of them when the feed moves.
    can_be_relative_uri = feedparser.api.StrictFeedParser.can_be_relative_uri - {"id"}

    def unknown_starttag(self: Any, tag: str, attrs: list[tuple[str, str]]) -> Any:
        self.gnomon_elements = getattr(self, "gnomon_elements", 0) + 1
        if self.depth > MAX_DEPTH:
            raise HostileFeed(f"its elements are nested more than {MAX_DEPTH} deep")
        if self.gnomon_elements > MAX_ELEMENTS:
            raise HostileFeed(f"it has more than {MAX_ELEMENTS} elements")
        if len(self.entries) > MAX_ENTRIES:
            raise HostileFeed(f"it has more than {MAX_ENTRIES} entries")
        if len(attrs) > MAX_ATTRIBUTES:
            raise HostileFeed(f"an element has more than {MAX_ATTRIBUTES} attributes")
        return super().unknown_starttag(tag, attrs)  # type: ignore[misc]

    def track_namespace(self: Any, prefix: str | None, uri: str) -> None:
        if len(self.namespaces_in_use) > MAX_NAMESPACES:
            raise HostileFeed(f"it uses more than {MAX_NAMESPACES} namespaces")
        super().track_namespace(prefix, uri)  # type: ignore[misc]

    def handle_data(self: Any, text: str, escape: int = 1) -> None:
        # Called for every reference in escaped markup; feedparser's own dictionaries are slow.
        if escape and dict.get(self.contentparams, "type") == "application/xhtml+xml":
            super().handle_data(text, escape)  # type: ignore[misc]
        elif self.elementstack:
            self.elementstack[-1][2].append(text)

    def pop(self: Any, element: str, strip_whitespace: int = 1) -> Any:
        if self.elementstack and element not in _LONG and self.elementstack[-1][0] == element:
            limit = _PERSON_CHARS if element.rpartition("_")[2] in _PERSONS else _FIELD_CHARS
            _shorten(self.elementstack[-1][2], limit)
        return super().pop(element, strip_whitespace)  # type: ignore[misc]

    def _add_tag(self: Any, term: str, scheme: str | None, label: str | None) -> None:
        if len(self._get_context().get("tags") or ()) < MAX_TAGS:
            super()._add_tag(term, scheme, label)  # type: ignore[misc]


def _shorten(pieces: list[str | bytes], limit: int) -> None:
    """Cut the list so that its pieces have about `limit` characters in all."""
    left = limit
    for i, piece in enumerate(pieces):
        if len(piece) > left:
            # The loose parser collects bytes of UTF-8; a cut may not leave half a character.
            cut = piece.decode("utf-8", "replace") if isinstance(piece, bytes) else piece
            pieces[i] = cut[:left]
            del pieces[i + 1 :]
            return
        left -= len(piece)


class _Strict(_Bounded, feedparser.api.StrictFeedParser):  # type: ignore[misc]
    def startElementNS(self, name: Any, qname: Any, attrs: Any) -> None:
        if len(attrs) > MAX_ATTRIBUTES:  # before they are looked up one by one
            raise HostileFeed(f"an element has more than {MAX_ATTRIBUTES} attributes")
        super().startElementNS(name, qname, attrs)


class _Loose(_Bounded, feedparser.api.LooseFeedParser):  # type: ignore[misc]
    pass
