"""Nostr events: read, verified, and made into documents and deletions.

A key holds the author's public key, `nostr:<pubkey>:<id>` or `nostr:<pubkey>:<kind>:<name>` for
what is replaced by its author, so a deletion can only ever meet what its own author wrote.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from gnomon.clock import from_us
from gnomon.errors import ConfigError
from gnomon.extract.text import clean_text, detect_lang, one_line
from gnomon.types import Document, Policy

NOTE, DELETION, VANISH, ARTICLE = 1, 5, 62, 30023
POLICY = Policy(display=True, snippet=True, index=True, train=False)
_FIRST_AT = datetime(2006, 1, 1, tzinfo=UTC)
_HEX = re.compile(r"[0-9a-f]{64}").fullmatch
_LEAST_LETTERS = 20
_MAX_S = 4_000_000_000


class NostrEvent(msgspec.Struct):
    """An event as NIP-01 defines it."""

    id: str
    pubkey: str
    created_at: int
    kind: int
    tags: list[list[str]]
    content: str
    sig: str

    def tag(self, name: str) -> str:
        """The first value of the first tag of this name; empty without."""
        return next((t[1] for t in self.tags if len(t) > 1 and t[0] == name), "")

    @property
    def key(self) -> str:
        """The key of the document that it becomes."""
        if 30_000 <= self.kind < 40_000:
            return f"nostr:{self.pubkey}:{self.kind}:{self.tag('d')}"
        return f"nostr:{self.pubkey}:{self.id}"

    @property
    def expires_s(self) -> int | None:
        """When it expires (NIP-40)."""
        text = self.tag("expiration")
        return int(text) if text.isdigit() and len(text) < 12 else None


Verify = Callable[[bytes], bool]


def verifier() -> Verify:
    """What tells whether id and signature of an event's JSON are right.

    Raises ConfigError `source.extra` where the library for it is not installed.
    """
    try:
        from nostr_sdk import Event, NostrSdkError
    except ImportError:
        raise ConfigError(
            "Nostr needs a library that verifies signatures.",
            code="source.extra",
            hint="pip install gnomon[nostr]",
        ) from None

    def verify(raw: bytes) -> bool:
        try:
            return bool(Event.from_json(raw.decode()).verify())
        except (NostrSdkError, UnicodeDecodeError):
            return False

    return verify


_decode = msgspec.json.Decoder(NostrEvent).decode


def read_event(raw: bytes) -> NostrEvent:
    """The event in this JSON, not verified. Raises ValueError."""
    event = _decode(raw)
    if not _HEX(event.id) or not _HEX(event.pubkey) or not 0 <= event.created_at < _MAX_S:
        raise ValueError("an event with an impossible id, author or time")
    return event


def deleted_by(event: NostrEvent) -> list[str]:
    """The keys that a deletion names, as far as they are its author's."""
    keys = []
    for tag in event.tags:
        if len(tag) < 2:
            continue
        if tag[0] == "e" and _HEX(tag[1]):
            keys.append(f"nostr:{event.pubkey}:{tag[1]}")
        elif tag[0] == "a":
            kind, _, rest = tag[1].partition(":")
            pubkey, _, name = rest.partition(":")
            if pubkey == event.pubkey and kind.isdigit():
                keys.append(f"nostr:{pubkey}:{kind}:{name}")
    return keys


def document_of(
    event: NostrEvent, source: str, *, now: datetime, tolerance: timedelta
) -> Document | None:
    """The document; None where there is nothing to read."""
    text = clean_text(event.content)
    if not text:
        return None
    article = event.kind == ARTICLE
    claimed = event.created_at
    first = event.tag("published_at")
    if article and first.isdigit() and len(first) < 11:
        claimed = min(int(first), claimed)
    published_at, date_source = _possible(claimed, now, tolerance)
    updated_at = _possible(event.created_at, now, tolerance)[0] if article else None
    reply_to, root = _answered(event)
    extra: dict[str, Any] = {"id": event.id}
    if root:
        extra["root"] = root
    tags = [t[1] for t in event.tags if len(t) > 1 and t[0] == "t"]
    if tags:
        extra["tags"] = tags
    if event.tag("content-warning") or any(t[:1] == ["content-warning"] for t in event.tags):
        extra["warning"] = event.tag("content-warning") or "sensitive"
    if article and event.tag("summary"):
        extra["summary"] = one_line(event.tag("summary"))
    quoted = next((t for t in event.tags if len(t) > 3 and t[0] == "q" and _HEX(t[1])), None)
    letters = sum(map(str.isalpha, text[:400]))
    return Document(
        key=event.key,
        source=source,
        kind="article" if article else "post",
        title=one_line(event.tag("title")) if article else "",
        text=text,
        url=f"https://njump.me/{event.id}",
        author=event.pubkey,
        lang=(detect_lang(text) or "und") if letters >= _LEAST_LETTERS else "und",
        published_at=published_at,
        updated_at=updated_at,
        date_source=date_source,
        policy=POLICY,
        reply_to=reply_to,
        quotes=f"nostr:{quoted[3]}:{quoted[1]}" if quoted and _HEX(quoted[3]) else "",
        extra=extra,
    )


def _answered(event: NostrEvent) -> tuple[str, str]:
    """(key of the note that this one answers where its author is named, id of the thread)."""
    marked: dict[str, list[str]] = {}
    plain: list[list[str]] = []
    for tag in event.tags:
        if len(tag) > 1 and tag[0] == "e" and _HEX(tag[1]):
            if len(tag) > 3 and tag[3] in ("root", "reply", "mention"):
                marked.setdefault(tag[3], tag)
            else:
                plain.append(tag)
    parent = marked.get("reply") or marked.get("root") or (plain[-1] if plain else None)
    root = marked.get("root") or (plain[0] if plain else None)
    if parent is None:
        return "", ""
    people = [t[1] for t in event.tags if len(t) > 1 and t[0] == "p" and _HEX(t[1])]
    author = parent[4] if len(parent) > 4 and _HEX(parent[4]) else ""
    if not author and len(people) == 1:
        author = people[0]
    return f"nostr:{author}:{parent[1]}" if author else "", root[1] if root else ""


def _possible(seconds: int, now: datetime, tolerance: timedelta) -> tuple[datetime, str]:
    moment = from_us(seconds * 1_000_000)
    if _FIRST_AT <= moment <= now + tolerance:
        return moment, "created_at"
    return now, "seen"
