"""Plain text: cleaning it, getting it out of markup, and telling its language.

Everything here takes any string whatever, in time linear in its length.
"""

from __future__ import annotations

import os
import re
import tempfile
import threading
import unicodedata
from array import array
from collections.abc import Iterator
from contextlib import suppress
from html import unescape
from typing import TYPE_CHECKING

from lxml import etree
from lxml.html import HTMLParser

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

_LETTERS_FOR_LANG = 20
_LANG_CHARS = 800
_SURE = 0.8
"""Below this probability a publisher's own tag is believed instead."""
_MAX_MARKS = 64
"""Combining marks in a row. Writing systems need a handful; normalising a run is quadratic."""


_LAST_MARK = 0x20000
"""Beyond it stand ideographs, tags and private characters; looking there costs the start."""


def _marks() -> str:
    """The combining characters as a regex class."""
    points = [c for c in range(0x300, _LAST_MARK) if unicodedata.combining(chr(c))]
    spans: list[list[int]] = []
    for point in points:
        if spans and spans[-1][1] == point - 1:
            spans[-1][1] = point
        else:
            spans.append([point, point])
    return "".join(f"\\U{a:08x}-\\U{b:08x}" for a, b in spans)


_MARK = f"[{_marks()}]"
# A class at the very start lets the engine skip to the first mark.
_LONG_RUN = re.compile(f"{_MARK}{_MARK}{{{_MAX_MARKS}}}")
_RUN_TAIL = re.compile(f"({_MARK}{{{_MAX_MARKS}}}){_MARK}+")
_SURROGATE = re.compile("[\ud800-\udfff]")
_LINE_BREAK = re.compile("\r\n|[\r\x0b\x0c\x85\u2028]")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f]")
_SPACES = re.compile("[ \t\xa0\u1680\u2000-\u200a\u202f\u205f\u3000]+")
_AROUND_BREAK = re.compile(r" ?\n ?")
_BLANK_LINES = re.compile(r"\n{3,}")


def overmarked(text: str) -> bool:
    """Whether `text` has runs of combining marks that no writing system needs."""
    return not text.isascii() and _LONG_RUN.search(text) is not None


def cap_marks(text: str) -> str:
    """`text` with runs of combining marks cut to what normalising can bear."""
    return _RUN_TAIL.sub(r"\1", text) if overmarked(text) else text


def clean_text(text: str) -> str:
    """`text` in NFC, without control characters and needless white space.

    Lines stay lines, and one blank line parts paragraphs. Lone surrogates become U+FFFD.
    """
    if _SURROGATE.search(text):
        # Halves of one pair that a careless decoder left apart come together again.
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    text = _LINE_BREAK.sub("\n", text).replace("\u2029", "\n\n")
    text = _CONTROL.sub("", text)
    text = unicodedata.normalize("NFC", cap_marks(text))
    text = _SPACES.sub(" ", text)
    return _BLANK_LINES.sub("\n\n", _AROUND_BREAK.sub("\n", text)).strip()


def one_line(text: str) -> str:
    """`text` cleaned, on a single line: for titles and names."""
    return " ".join(clean_text(text).split())


_BLOCKS = frozenset(
    (
        *("address", "article", "aside", "blockquote", "body", "center", "dd", "details", "dialog"),
        *("dir", "div", "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "h1"),
        *("h2", "h3", "h4", "h5", "h6", "header", "hgroup", "hr", "html", "main", "menu", "nav"),
        *("ol", "option", "p", "pre", "section", "summary", "table", "ul"),
    )
)
HIDDEN = frozenset(
    (
        *("audio", "base", "canvas", "frame", "frameset", "head", "iframe"),
        *("link", "map", "math", "meta", "noembed", "noframes", "noscript"),
        *("script", "select", "style", "svg", "template", "textarea", "video", "xml"),
    )
)
"""Elements whose text no reader sees, or that are no text."""

_RESOURCE_LIMIT = etree.ErrorTypes.ERR_RESOURCE_LIMIT
_ANY_TAG = re.compile(r"<[a-zA-Z/!?][^<>]*>")


def html_to_text(html: str) -> str:
    """The visible text of an HTML fragment: paragraphs, list items and table rows kept apart."""
    if "<" not in html:
        return clean_text(unescape(html) if "&" in html else html)
    tree, whole = parse_html(html)
    if tree is None or not whole:
        # The parser gave up half-way. Without structure is better than without text.
        return clean_text(unescape(_ANY_TAG.sub(" ", html)))
    return clean_text("".join(visible(tree)))


def parse_html(html: str) -> tuple[etree._Element | None, bool]:
    """A tree of any HTML, and whether all of it is in there.

    Elements nested more than 256 deep, and attributes beyond 10 MB, end the reading. A tag of
    more than 1,000 attributes prevents it: the parser takes the square of their number.
    """
    if _overloaded(html):
        return None, False
    html = _SURROGATE.sub("\ufffd", html).replace("\x00", "")
    parser = HTMLParser(
        encoding="utf-8", remove_comments=True, remove_pis=True, no_network=True, collect_ids=False
    )
    try:
        root = etree.fromstring(html.encode("utf-8"), parser)
    except (etree.XMLSyntaxError, ValueError):
        return None, True  # nothing in it
    whole = not any(error.type == _RESOURCE_LIMIT for error in parser.error_log)
    return (root if isinstance(root, etree._Element) else None), whole


_LONG_TAG_CHARS = 3_000
_MAX_ATTRIBUTES = 1_000
# A quote opens a value only after an equals sign. Possessive, so that nothing is read twice.
_TAG = re.compile(r"""<([a-zA-Z][^\s/>]*+)(?:[^"'>=]++|=\s*+"[^"]*+"|=\s*+'[^']*+'|=|["'])*+""")
_VALUE = re.compile(r"""=\s*+(?:"[^"]*+"|'[^']*+')""")
_RAW = {name: re.compile(f"</{name}", re.IGNORECASE) for name in ("script", "style", "textarea")}


def _overloaded(html: str) -> bool:
    """Whether some tag has more attributes than the parser can bear."""
    at = 0
    while (tag := _TAG.search(html, at)) is not None:
        at = tag.end()
        if at - tag.start() > _LONG_TAG_CHARS:
            names = _VALUE.sub(" ", tag[0]).replace("/", " ").split(None, _MAX_ATTRIBUTES + 1)
            if len(names) > _MAX_ATTRIBUTES:
                return True
        raw = _RAW.get(tag[1].lower())
        if raw is not None:
            end = raw.search(html, at)
            if end is None:
                return False
            at = end.start()
    return False


def visible(tree: etree._Element) -> Iterator[str]:
    """The pieces of text that a reader sees, with line breaks where blocks meet."""
    skipping: etree._Element | None = None
    for event, element in etree.iterwalk(tree, events=("start", "end")):
        tag = element.tag
        if not isinstance(tag, str):
            if event == "end" and skipping is None and element.tail:
                yield element.tail
            continue
        if event == "start":
            if skipping is None:
                if tag in HIDDEN:
                    skipping = element
                    continue
                yield _before(element)
                yield _flowing(element.text, tag)
            continue
        if skipping is element:
            skipping = None
        elif skipping is None:
            yield _after(tag)
        if skipping is None and element is not tree and element.tail:
            parent = element.getparent()
            yield _flowing(element.tail, "" if parent is None else parent.tag)


def _flowing(text: str | None, tag: str) -> str:
    """Line breaks of the source are only spaces, except where the markup keeps them."""
    if not text:
        return ""
    return text if tag == "pre" else text.replace("\n", " ").replace("\r", " ")


def _before(element: etree._Element) -> str:
    tag = element.tag
    if tag == "li":
        return "\n- "
    if tag in ("td", "th"):
        return " | " if element.getprevious() is not None else ""
    return "\n\n" if tag in _BLOCKS else "\n" if tag in ("br", "caption", "tr") else ""


def _after(tag: str) -> str:
    return "\n\n" if tag in _BLOCKS else "\n" if tag == "caption" else ""


_identifier: LanguageIdentifier | None = None
_loading = threading.Lock()


def detect_lang(text: str, hint: str = "") -> str:
    """ISO 639 code of the language of `text`; `und` if nobody can tell.

    `hint` is what the publisher claims (`en-US`). It decides for texts of fewer than 20 letters
    and where the detector is unsure.
    """
    claimed = lang_code(hint)
    sample = text[:_LANG_CHARS]
    if sum(map(str.isalpha, sample)) < _LETTERS_FOR_LANG:
        return claimed or "und"
    lang, probability = _detector().classify(cap_marks(sample))
    if claimed and probability < _SURE:
        return claimed
    return str(lang)


def lang_code(tag: str) -> str:
    """The primary language of a tag in any spelling (`pt_BR`, `en-GB`); empty if there is none."""
    match = re.match(r"\s*([A-Za-z]{2,3})(?![A-Za-z])", tag)
    code = match[1].lower() if match else ""
    return "" if code in ("und", "mul", "zxx", "mis") else code


def _detector() -> LanguageIdentifier:
    global _identifier
    with _loading:
        if _identifier is None:
            from py3langid.langid import MODEL_FILE, LanguageIdentifier

            _identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
            with suppress(OSError):  # a full disk: then the table stays in memory
                _identifier.tk_nextmove = OnDisk(_identifier.tk_nextmove)
        return _identifier


class OnDisk(dict[int, int]):
    """Numbers by their place in a file without a name, of which those in use are kept.

    For the largest of the detector's tables, 39 MB, of which a home's languages use a few per cent.
    Not a memory map: the system would bring in the neighbours of all that is touched.
    """

    def __init__(self, table: array[int], kept: int = 100_000) -> None:
        self._typecode, self._item_bytes, self._kept = table.typecode, table.itemsize, kept
        with tempfile.TemporaryFile() as file:
            table.tofile(file)
            self._open = os.dup(file.fileno())

    def __missing__(self, at: int) -> int:
        if len(self) >= self._kept:
            self.clear()
        raw = os.pread(self._open, self._item_bytes, at * self._item_bytes)
        number = self[at] = array(self._typecode, raw)[0]
        return number
