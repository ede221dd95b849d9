"""What stands for an author and for an address in filters."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from urllib.parse import urlsplit


def host_of(name: str) -> str:
    """A host name as filters compare it: lower case, without `www.` and a closing dot."""
    return name.strip().lower().rstrip(".").removeprefix("www.")


@lru_cache(maxsize=8192)
def domain(url: str) -> str:
    """The host name of an address; empty if there is none."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return ""
    return host_of(host)


@lru_cache(maxsize=8192)
def author_mark(author: str) -> str:
    """What stands for an author: a purge must not leave names behind in a list."""
    folded = author.strip().lstrip("@").casefold()
    if not folded:
        return ""
    raw = folded.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(raw, digest_size=8, person=b"gnomon-author").hexdigest()
