"""Where an EventStreams source stands, and what it handed over last.

An id of the stream names the time after the newest message of each topic. Messages of one topic
are not quite in the order of their times, and several share a millisecond: resumed exactly there,
some would never come. So each topic is resumed a little earlier, as far back as everything that was
handed over is still known by the hash of its id, and what comes again is dropped.
"""

from __future__ import annotations

import json

import msgspec

from gnomon.sources.remembered import Remembered
from gnomon.types import Cursor

OVERLAP_MS = 5_000
_REMEMBERED_MS = 2 * OVERLAP_MS
_MOST = 1_000


class Position(Remembered, msgspec.Struct, omit_defaults=True):
    """The cursor, opened. Times are milliseconds since the epoch."""

    streams: str = ""
    """The streams that it belongs to."""
    topics: dict[str, int] = {}
    """By topic and partition, the time after the newest message, as the stream's id said."""
    began_ms: int = 0
    """From when on everything is wanted of topics that never said anything."""
    newest_ms: int = 0
    """Time of the newest event."""
    recent: dict[str, int] = {}
    """Short hashes of the events handed over last, and their times."""
    floor_ms: int = 0
    """From this time on, everything that was handed over is in `recent`."""

    @classmethod
    def restore(cls, cursor: Cursor | None, streams: str) -> Position:
        """From a stored cursor; one of another connector or other streams counts as none."""
        found = cls.read(cursor)
        return found if found is not None and found.streams == streams else cls(streams=streams)

    def last_event_id(self) -> str:
        """What to ask for; empty if no topic is known yet."""
        if not any(self.topics.values()):
            return ""
        assigned = []
        for name, ms in self.topics.items():
            topic, _, partition = name.rpartition("/")
            at = max(ms - OVERLAP_MS, min(self.floor_ms, ms)) if ms else self.began_ms
            assigned.append({"topic": topic, "partition": int(partition), "timestamp": at})
        return json.dumps(assigned, separators=(",", ":"))

    def since_ms(self) -> int:
        """The same as one time for all topics, where the id is refused."""
        if not self.newest_ms:
            return self.began_ms
        return max(self.newest_ms - OVERLAP_MS, min(self.floor_ms, self.newest_ms))

    def passed(self, id: str, latest_ms: int) -> bool:
        """All up to this id of the stream was heard. Returns whether the id could be read.

        Times after `latest_ms` cannot be, and are not believed.
        """
        try:
            for one in json.loads(id):
                name, partition = one["topic"], one["partition"]
                if not isinstance(name, str) or type(partition) is not int:
                    return False
                ms = one.get("timestamp", 0)
                topic = f"{name}/{partition}"
                if type(ms) is int and ms <= latest_ms:
                    self.topics[topic] = max(self.topics.get(topic, 0), ms)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return False
        return True

    def knows(self, hashed: str) -> bool:
        """Whether this event was handed over lately."""
        return hashed in self.recent

    def handed_over(self, hashed: str, ms: int) -> None:
        """This event is about to be handed over."""
        self.recent[hashed] = ms

    def moved(self, ms: int) -> None:
        """An event of that time was heard."""
        self.newest_ms = max(self.newest_ms, ms)

    def tidy(self) -> None:
        """Forget what will not come again. Called once a batch."""
        keep_ms = self.newest_ms - _REMEMBERED_MS
        if len(self.recent) > _MOST:
            keep_ms = max(keep_ms, sorted(self.recent.values())[-_MOST] + 1)
        if keep_ms > self.floor_ms:
            self.recent = {h: ms for h, ms in self.recent.items() if ms >= keep_ms}
            self.floor_ms = keep_ms
