"""What a Mastodon source remembers: its cursor, opened."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

import msgspec

from gnomon.clock import to_us
from gnomon.sources.mastodon_posts import key_of, order_of
from gnomon.sources.remembered import Remembered
from gnomon.types import Change, Cursor, Delete, Document, Upsert

_REMEMBERED = 2_000


class Memory(Remembered, msgspec.Struct, omit_defaults=True):
    """The cursor, opened."""

    newest: dict[str, str] = {}
    """By timeline, the largest id that was handed over."""
    accounts: dict[str, str] = {}
    edited: dict[str, int] = {}
    """By id, when the version was made that was handed over, of posts that were edited."""
    gone: dict[str, int] = {}
    """Deleted lately: a late repetition must not bring them back."""
    checked_us: int = 0

    def cursor(self) -> Cursor:
        """To be stored with the changes before it."""
        for known in (self.edited, self.gone):
            for id in list(known)[:-_REMEMBERED]:
                del known[id]
        return super().cursor()

    def accept(self, step: Step, host: str, now: datetime) -> list[Change]:
        """Bring the memory up to date; returns what is to be handed over."""
        changes: list[Change] = []
        for id, made_us, found in step.posts:
            if id in self.gone or self.edited.get(id, 0) > made_us:
                continue
            if made_us:
                self.edited.pop(id, None)
                self.edited[id] = made_us
            changes.append(Upsert(found))
        for id in step.deleted:
            self.gone[id] = to_us(now)
            changes.append(Delete(key=key_of(host, id)))
        changes += step.changes
        if step.newest and order_of(step.newest[1]) > order_of(self.newest.get(step.newest[0], "")):
            self.newest[step.newest[0]] = step.newest[1]
        if step.note is not None:
            step.note(self)
        return changes


class Step:
    """What one part of the source found, and what is true of the memory after it."""

    def __init__(
        self,
        *,
        posts: Iterable[tuple[str, int, Document]] = (),
        deleted: Iterable[str] = (),
        changes: Iterable[Change] = (),
        newest: tuple[str, str] | None = None,
        note: Callable[[Memory], object] | None = None,
    ) -> None:
        self.posts = list(posts)
        """(id, when this version was made, document)"""
        self.deleted = list(deleted)
        self.changes = list(changes)
        self.newest = newest
        self.note = note
