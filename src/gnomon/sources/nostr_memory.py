"""What a Nostr source remembers: its cursor, opened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import msgspec

from gnomon.sources.remembered import Remembered

_SEEN = 4_000
_REMEMBERED = 500


class Memory(Remembered, msgspec.Struct, omit_defaults=True):
    """The cursor, opened."""

    since: dict[str, int] = {}
    """By relay: up to this moment, by our clock, everything it has was handed over."""
    seen: dict[str, int] = {}
    """Short ids of events handed over lately, with their times; whichever relay sent them."""
    newest: dict[str, int] = {}
    """When what was last replaced or deleted was so, by key."""
    named: dict[str, str] = {}
    """The key of an article by the short id of its newest event."""
    expiring: dict[str, int] = {}
    vanished: dict[str, int] = {}
    """Up to when authors asked to vanish: another relay may still have their events."""
    since_s: int = 0
    """The same as `since`, of the time when one relay was followed at once."""

    def follow(self, relays: Sequence[str], first_s: int) -> None:
        """These relays are followed; one that is new begins at `first_s`."""
        first_s = self.since_s or first_s
        self.since = {relay: self.since.get(relay, first_s) for relay in relays}
        self.since_s = 0

    def tidy(self, overlap_s: float) -> Self:
        """Forget what no relay would send again."""
        oldest_s = min(self.since.values(), default=0) - overlap_s - 60
        self.seen = {id: at for id, at in self.seen.items() if at >= oldest_s}
        kept: dict[str, Any]
        for kept, most in (
            (self.seen, _SEEN),
            (self.newest, _REMEMBERED),
            (self.named, _REMEMBERED),
            (self.vanished, _REMEMBERED),
        ):
            for key in list(kept)[: max(len(kept) - most, 0)]:
                del kept[key]
        return self
