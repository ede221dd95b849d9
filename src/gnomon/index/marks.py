"""What stands for source, kind, language, author and address of a document in filters."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import NamedTuple

from gnomon.types import Document

# `urlsplit` tells the same and takes ten times as long.
_HOST = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#@]*@)?(\[[^\]/?#]*\]|[^/?#:\\\s]*)")


class Marks(NamedTuple):
    """The values to filter by, in the order of the shelf's attributes, and their index terms."""

    values: tuple[str, str, str, str, str]
    terms: list[str]


def marks(document: Document) -> Marks:
    """Everything that filters can ask of a document."""
    values, site, terms = _common(
        document.source, document.kind, document.lang, domain(document.url)
    )
    author = author_mark(document.author)
    return Marks((*values, author, site), [*terms, f"author={author}"])


@lru_cache(maxsize=8192)
def _common(
    source: str, kind: str, lang: str, host: str
) -> tuple[tuple[str, str, str], str, tuple[str, ...]]:
    source, kind, lang, site = _line(source), _line(kind), _line(lang), _line(host)
    terms = [f"source={source}", f"kind={kind}", f"lang={lang}"]
    terms += [f"domain={name}" for name in parents(site)] if site else []
    return (source, kind, lang), site, tuple(terms)


def host_of(name: str) -> str:
    """A host name as filters compare it: lower case, without `www.` and a closing dot."""
    return name.strip().lower().rstrip(".").removeprefix("www.")


def domain(url: str) -> str:
    """The host name of an address; empty if there is none."""
    found = _HOST.match(url)
    return _host(found[1]) if found else ""


@lru_cache(maxsize=8192)
def _host(written: str) -> str:
    return host_of(written.strip("[]"))


def parents(host: str) -> list[str]:
    """A host name and the domains above it."""
    labels = host.split(".")
    return [".".join(labels[i:]) for i in range(len(labels))]


@lru_cache(maxsize=8192)
def author_mark(author: str) -> str:
    """What stands for an author: a purge must not leave names behind in a list."""
    folded = author.strip().lstrip("@").casefold()
    if not folded:
        return ""
    raw = folded.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(raw, digest_size=8, person=b"gnomon-author").hexdigest()


def beside(document: Document) -> list[str]:
    """The index terms of what a document answers and quotes."""
    return [beside_mark(key) for key in (document.reply_to, document.quotes) if key]


def beside_mark(key: str) -> str:
    """The index term that stands with what answers or quotes the document `key`."""
    raw = key.encode("utf-8", "surrogatepass")
    return f"↳{hashlib.blake2b(raw, digest_size=8, person=b'gnomon-beside').hexdigest()}"


def _line(value: str) -> str:
    """As it can be stored: one line of valid Unicode."""
    return value.replace("\n", " ").encode("utf-8", "replace").decode()
