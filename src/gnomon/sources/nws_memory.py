"""Which alerts of the National Weather Service stand, as messages about them come and go.

The memory is the cursor of the source. Here it is decided which document a message continues, when
an alert has ended, and what an old answer must not bring back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

import msgspec

from gnomon.clock import to_us
from gnomon.errors import ContentError
from gnomon.extract.dates import Dates
from gnomon.sources.base import Context
from gnomon.sources.nws_alerts import Alert, alert_of, content_of, document_of
from gnomon.sources.polling import Validators, short_hash
from gnomon.sources.remembered import Remembered
from gnomon.types import Change, Cursor, Delete, Upsert

OVERLAP_US = 600_000_000
"""Messages are listed late now and then: so much earlier those that were missed are asked for."""
_MOST_SEEN = 2_000
_PAST = 2
_FORGET_US = 3_600_000_000
_VANISHED, _ENDED = "", "-"
"""In place of a content's hash: not listed any more; cancelled or replaced by another."""


class Known(msgspec.Struct, array_like=True):
    """The newest message of an alert that was handed over."""

    id: str
    """Short hash of its id."""
    content: str
    """Hash of what was handed over, or how it ended."""
    sent_us: int
    over_us: int
    """When it expires; once it has ended, when it did."""
    past: tuple[str, ...] = ()
    """Short hashes of the messages just before it, which an old answer may still list."""
    missing_us: int = 0
    """Since when it is not listed; 0 while it is."""

    @property
    def stands(self) -> bool:
        """Whether the alert is in force, as far as is known."""
        return self.content not in (_VANISHED, _ENDED)

    def end(self, key: str, how: str, now_us: int) -> list[Change]:
        """It stands no longer."""
        if not self.stands:
            return []
        self.content, self.over_us = how, now_us
        return [Delete(key=key)]


class Memory(Remembered, msgspec.Struct, omit_defaults=True):
    """The cursor, opened."""

    asked: str = ""
    """What is asked for; with other settings, other alerts are followed."""
    validators: Validators = Validators()
    looked_us: int = 0
    """When the last answer about what is active was handed over."""
    alerts: dict[str, Known] = {}
    """By key."""
    seen: dict[str, int] = {}
    """Short hashes of the messages read last, and when they were sent."""

    @classmethod
    def restore(cls, cursor: Cursor | None, asked: str) -> Memory:
        """From a stored cursor. Alerts that are not asked for any more end as if they vanished."""
        found = cls.read(cursor) or cls()
        return found if found.asked == asked else cls(asked=asked, alerts=found.alerts)

    def tidy(self, now_us: int) -> None:
        """Forget what ended long ago, and messages that cannot come again."""
        self.alerts = {
            key: known
            for key, known in self.alerts.items()
            if known.stands or known.over_us > now_us - _FORGET_US
        }
        after_us = self.looked_us - 2 * OVERLAP_US
        kept = sorted((us, id) for id, us in self.seen.items() if us >= after_us)
        self.seen = {id: us for us, id in kept[-_MOST_SEEN:]}


def look(ctx: Context, memory: Memory, data: dict[str, Any]) -> list[Change]:
    """What an answer about the active alerts brings; the memory stands after it."""
    alerts = _alerts(ctx, data["features"])
    present = {short_hash(alert.id) for alert in alerts}
    changes = _messages(ctx, memory, alerts, present, listed=True)
    now_us = to_us(ctx.clock.now())
    for known in memory.alerts.values():
        if known.id in present:
            known.missing_us = 0
        elif not known.missing_us:
            known.missing_us = now_us
    return changes + ended(ctx, memory)


def ended(ctx: Context, memory: Memory) -> list[Change]:
    """The end of alerts that are not listed: at once if they have expired, else the second time."""
    now_us = to_us(ctx.clock.now())
    # A restart asks again at once, which is no second look.
    apart_us = int(ctx.settings.interval_s * 500_000)
    changes: list[Change] = []
    for key, known in memory.alerts.items():
        if known.missing_us and (known.over_us <= now_us or now_us - known.missing_us >= apart_us):
            changes += known.end(key, _VANISHED, now_us)
    return changes


def _alerts(ctx: Context, features: Iterable[Any]) -> list[Alert]:
    """The messages that can be read, oldest first, each once, cancellations last."""
    found: dict[str, Alert] = {}
    for feature in features:
        try:
            alert = alert_of(feature)
        except ContentError as error:
            ctx.count(error.code)
            continue
        if alert.actual:
            found[alert.id] = alert
        else:
            ctx.count("nws.not_actual")
    return sorted(found.values(), key=lambda a: (a.type == "Cancel", a.sent_us, a.id))


def _messages(
    ctx: Context,
    memory: Memory,
    alerts: Sequence[Alert],
    present: set[str],
    *,
    listed: bool,
) -> list[Change]:
    """What these messages change, `present` being the hashes of those in force.

    `listed` says that all of them are: what had vanished is there again.
    """
    now, limits = ctx.clock.now(), ctx.limits
    now_us = to_us(now)
    dates = Dates(now, timedelta(seconds=limits.future_tolerance_s))
    changes: list[Change] = []
    current = {known.id: key for key, known in memory.alerts.items()}
    past = {id for known in memory.alerts.values() for id in known.past}
    for alert in alerts:
        hashed = short_hash(alert.id)
        key = current.get(hashed, "")
        if key:
            came_back = listed and memory.alerts[key].content == _VANISHED
            if not came_back or alert.over_us <= now_us:
                continue
        elif hashed in past:
            if listed:
                ctx.count("nws.stale")
            continue
        elif not listed and hashed in memory.seen:
            continue
        replaced = [current[id] for r in alert.replaces if (id := short_hash(r)) in current]
        if alert.type == "Cancel":
            memory.seen[hashed] = alert.sent_us
            for other in replaced:
                changes += memory.alerts[other].end(other, _ENDED, now_us)
            continue
        key = key or _key(alert, memory, replaced, present)
        if not key:
            ctx.count("nws.stale")
            continue
        memory.seen[hashed] = alert.sent_us
        for other in replaced:
            if other != key:
                changes += memory.alerts[other].end(other, _ENDED, now_us)
        document = document_of(alert, key, ctx.config.name, dates)
        content = content_of(document)
        known = memory.alerts.get(key)
        if known is None or known.content != content:
            changes.append(Upsert(document))
        if known is not None:
            current.pop(known.id, None)
        before = tuple(short_hash(r) for r in alert.replaces[-_PAST:])
        memory.alerts[key] = Known(hashed, content, alert.sent_us, alert.over_us, before)
        current[hashed] = key
        past.update(before)
    for note, n in dates.notes.items():
        ctx.count(note, n)
    return changes


def _key(alert: Alert, memory: Memory, replaced: Sequence[str], present: set[str]) -> str:
    """The document that this message continues; its own where another part of it goes on.

    Empty where a newer message stands that is not listed: this answer is an old one, or the newer
    one has ended, which the next answer will tell.
    """
    if replaced:
        return replaced[0]
    key = f"nws:{alert.root}"
    known = memory.alerts.get(key)
    if known is None or not known.stands:
        return key
    if known.id in present:
        return f"nws:{alert.id}"
    return key if known.sent_us <= alert.sent_us else ""


def missed(ctx: Context, memory: Memory, features: Iterable[Any], since_us: int) -> list[Change]:
    """What messages sent since then have changed, none of which need be in force any more."""
    alerts = [alert for alert in _alerts(ctx, features) if alert.sent_us >= since_us]
    known = {known.id for known in memory.alerts.values()} | memory.seen.keys()
    past = {r for a in alerts if short_hash(a.id) in known for r in a.replaces}
    alerts = [alert for alert in alerts if alert.id not in past]
    # Nothing is known yet of what is in force: the newest message of each alert is.
    replaced = {r for alert in alerts for r in alert.replaces}
    present = {short_hash(alert.id) for alert in alerts if alert.id not in replaced}
    present |= {k.id for k in memory.alerts.values()} - {short_hash(r) for r in replaced}
    return _messages(ctx, memory, alerts, present, listed=False)
