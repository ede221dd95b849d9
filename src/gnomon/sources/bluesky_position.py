"""Where a Jetstream source stands: what its cursor holds, and what was seen around it.

Sequence numbers belong to one server. Times do across servers, roughly: so a change of server
resumes a little earlier by time, and what comes again is told by the revision of its repository.
"""

from __future__ import annotations

from hashlib import blake2b

import msgspec

from gnomon.sources.bluesky_wire import Endpoint, Event, Wire
from gnomon.sources.remembered import Remembered

OVERLAP_US = 5_000_000
"""How much earlier a stream is resumed when only a time can be given."""
_SLIP_US = 300_000_000
_CHANGED = 200
_RECENT = 4_096


class Position(Remembered, msgspec.Struct, omit_defaults=True):
    """The cursor, opened."""

    base: str = ""
    wire: Wire = "v2"
    seq: int = 0
    """Of the last event; 0: only the time is known."""
    us: int = 0
    """Until when nothing was missed, by the server's clock."""
    filters: str = ""
    """Hash of the filters with which it came so far."""
    changed: dict[str, str] = {}
    """The records that were last updated or deleted: short hash of the address to revision."""
    stumbled: int = 0
    """How often the frame after this position could not be read."""

    def resume(self, endpoint: Endpoint) -> int | None:
        """The cursor to ask this endpoint for; None: from now on."""
        same = self.base == endpoint.base and self.wire == endpoint.wire
        # Version 1 numbers by its server's clock: a number far ahead of the time is a slip of it.
        slipped = self.wire == "v1" and self.us and self.seq > self.us + _SLIP_US
        if same and self.seq and not slipped:
            # Version 1 is told a time in any case, and a server may order within it anew.
            return self.seq
        return max(self.us - OVERLAP_US, 1) if self.us else None

    def at(self, endpoint: Endpoint) -> None:
        """It goes on there: numbers of another server mean nothing."""
        if (self.base, self.wire) != (endpoint.base, endpoint.wire):
            self.base, self.wire, self.seq, self.stumbled = endpoint.base, endpoint.wire, 0, 0

    def passed(self, event: Event) -> None:
        """This event is about to be handed over."""
        if event.seq > self.seq:
            self.seq = event.seq
        self.stumbled = 0

    def is_stale(self, event: Event) -> bool:
        """Whether this commit is older than a change of the same record that was handed over."""
        known = self.changed.get(short(event.uri)) if self.changed else None
        return known is not None and event.rev <= known

    def note_change(self, event: Event) -> None:
        """The record was updated or deleted: its earlier versions must not come again."""
        hashed = short(event.uri)
        self.changed.pop(hashed, None)
        self.changed[hashed] = event.rev
        if len(self.changed) > _CHANGED:
            del self.changed[next(iter(self.changed))]


class Seen:
    """The last positions on one connection, to tell a repetition from a latecomer."""

    def __init__(self) -> None:
        self._new: set[int] = set()
        self._old: set[int] = set()

    def add(self, seq: int) -> None:
        """Remember this position, and forget those of long ago."""
        self._new.add(seq)
        if len(self._new) > _RECENT:
            self._old, self._new = self._new, set()

    def __contains__(self, seq: int) -> bool:
        """Whether it was added lately."""
        return seq in self._new or seq in self._old


def short(text: str) -> str:
    """A short hash."""
    return blake2b(text.encode(), digest_size=6).hexdigest()
