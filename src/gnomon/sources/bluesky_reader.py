"""From events to changes, in order: filters, the sample, repetitions, gaps and the position."""

from __future__ import annotations

from datetime import datetime, timedelta

from gnomon.clock import from_us, to_us
from gnomon.sources.base import Context
from gnomon.sources.bluesky_position import Position, Seen
from gnomon.sources.bluesky_posts import (
    POST,
    document_of,
    key_of,
    lang_of,
    letters_reach,
    links_of,
    read_other,
    read_post,
)
from gnomon.sources.bluesky_settings import BlueskySettings
from gnomon.sources.bluesky_wire import Event
from gnomon.types import Batch, Change, Delete, Gap, Notice, Purge, Upsert

_HANDLES = 50_000
_SYNC_NOTICE_S = 3_600.0
_FROM_US = 1_000_000_000_000_000
_TO_US = 4_000_000_000_000_000
_UNAVAILABLE = ("deleted", "takendown", "suspended", "deactivated", "")
"""States of an inactive account in which nothing of it may be shown. The others, such as
`throttled`, are about the server that hosts it."""


class Reader:
    """Makes the changes of one connection. Belongs to the event loop."""

    def __init__(
        self, ctx: Context, position: Position, handles: dict[str, str], *, chosen: bool
    ) -> None:
        self.position = position
        self.changes: list[Change] = []
        self.delivered = False
        """Whether this connection brought anything at all."""
        self.misplaced = False
        """Whether the server says that the cursor is not its own."""
        self.sampled = ""
        """What share of the posts is kept, in a sentence; empty if all are."""
        self._ctx = ctx
        self._settings: BlueskySettings = ctx.settings
        self._languages = frozenset(self._settings.languages)
        self._wanted = frozenset(c for c in self._settings.collections if not c.endswith("*"))
        self._families = tuple(c[:-1] for c in self._settings.collections if c.endswith("*"))
        self._tolerance = timedelta(seconds=ctx.limits.future_tolerance_s)
        self._now = ctx.clock.now()
        self._handles = dict(handles)
        self._chosen = frozenset(handles) if chosen else frozenset()
        self._seen = Seen()
        self._posts: list[int] = []
        """Where in `changes` the new posts stand, which the sample may leave out."""
        self._tokens = 0.0
        self._last_us = 0
        self._last_s = ctx.clock.monotonic()
        self._last_event: Event | None = None
        self._fresh = not position.filters
        self._loss = ""
        self._expected = 0
        self._notified_s: float | None = None
        self._syncs = 0

    def began(self, start: int | None, *, same_filters: bool) -> None:
        """A connection is about to be opened from there."""
        position = self.position
        self.misplaced = False
        self._seen = Seen()
        if position.seq:
            self._seen.add(position.seq)
        # A version 1 server says nothing when its window begins later. But it repeats the event
        # that the cursor names, if it still has it.
        told = position.wire == "v1" and start is not None and start == position.seq
        self._expected = position.seq if told and same_filters else 0

    def tick(self) -> None:
        """A batch begins."""
        self._now = self._ctx.clock.now()

    def lost(self, reason: str) -> None:
        """What lies between the position and the next event is missing."""
        if self.position.us and not self._fresh:
            self._loss = self._loss or reason

    def take(self, event: Event) -> None:
        """The next event of the stream."""
        kind = event.kind
        position = self.position
        if kind == "info":
            self._informed(event)
            return
        if not event.seq:
            self._ctx.count("event.unknown")
            return
        if self._expected:
            if event.seq > self._expected:
                self.lost("The server's window began after the cursor.")
            self._expected = 0
        if event.seq <= position.seq:
            far = event.seq < position.seq - 1_000_000
            if event.seq in self._seen or (far and position.wire == "v2"):
                self._ctx.count("event.repeated")
                return
            if far:
                # Version 1 numbers by its server's clock, which was ahead and has been put right.
                position.seq = 0
            self._ctx.count("clock.put_right" if far else "event.late")
        self._seen.add(event.seq)
        if self._loss:
            self._record_gap(event)
        if kind == "commit":
            self._committed(event)
        elif kind == "account":
            self._account(event)
        elif kind == "identity":
            self._renamed(event)
        elif kind == "sync":
            self._ctx.count("repository.resynced")
            self._syncs += 1
        else:
            self._ctx.count("event.unknown")
        position.passed(event)
        self._fresh = False
        self._last_event = event
        self.delivered = True

    def flush(self) -> Batch:
        """What came since the last flush, with the position after it."""
        now_s = self._ctx.clock.monotonic()
        if self._last_event is not None:
            # A server whose clock is ahead must not move us into another's future.
            us = min(self._last_event.at_us(), to_us(self._now))
            if _FROM_US < us < _TO_US:
                self._sample((us - self._last_us) / 1e6 if self._last_us else 1.0)
                self._last_us = self.position.us = max(us, self.position.us)
            self._last_s = now_s
            self._last_event = None
        self._notify(now_s)
        changes, self.changes, self._posts = tuple(self.changes), [], []
        return Batch(changes, self.position.cursor())

    def quiet(self) -> Batch:
        """The stream is open and nothing came: nothing was missed until now."""
        now_s = self._ctx.clock.monotonic()
        self.position.us += int((now_s - self._last_s) * 1e6)
        self._last_s = now_s
        return Batch((), self.position.cursor())

    # -- events ---------------------------------------------------------------
    def _committed(self, event: Event) -> None:
        collection = event.collection
        if collection not in self._wanted and not (
            self._families and collection.startswith(self._families)
        ):
            return
        if event.operation == "create":
            if self.position.changed and self.position.is_stale(event):
                self._ctx.count("event.repeated")
                return
            self._created(event)
        elif event.operation == "update" or event.operation == "delete":
            if self.position.is_stale(event):
                self._ctx.count("event.repeated")
                return
            self.position.note_change(event)
            if event.operation == "update":
                self._updated(event)
            else:
                self.changes.append(self._ended(event))
        else:
            self._ctx.count("operation.unknown")

    def _created(self, event: Event) -> None:
        upsert = self._upsert(event, filtered=True)
        if upsert is not None:
            self._posts.append(len(self.changes))
            self.changes.append(upsert)

    def _updated(self, event: Event) -> None:
        # Filters are for what is new; what is held must not stay as it was.
        upsert = self._upsert(event, filtered=False)
        self.changes.append(self._ended(event) if upsert is None else upsert)

    def _ended(self, event: Event) -> Change:
        key = key_of(event.uri)
        if self._settings.erase_deleted:
            return Purge(key=key, reason="The author deleted it.")
        return Delete(key=key)

    def _upsert(self, event: Event, *, filtered: bool) -> Upsert | None:
        title = ""
        try:
            if event.collection == POST:
                post = read_post(event.record)
            else:
                post, title = read_other(event.record)
        except (ValueError, RecursionError):
            self._ctx.count("record.unreadable")
            return None
        if filtered:
            settings = self._settings
            if self._languages and lang_of(post) not in self._languages:
                self._ctx.count("post.language")
                return None
            if (settings.min_letters or settings.require_link) and not links_of(post):
                if settings.require_link:
                    self._ctx.count("post.no_link")
                    return None
                if not letters_reach(post.text, settings.min_letters):
                    self._ctx.count("post.short")
                    return None
        document = document_of(
            event,
            post,
            self._ctx.config.name,
            now=self._now,
            tolerance=self._tolerance,
            title=title,
            handle=self._handles.get(event.did, ""),
        )
        if document is None:
            self._ctx.count("record.empty")
            return None
        return Upsert(document)

    def _account(self, event: Event) -> None:
        account = event.account
        if account is None or account.active:
            return
        if account.status not in _UNAVAILABLE:
            self._ctx.count(f"account.{account.status[:20]}")
            return
        self._handles.pop(event.did, None)
        reason = f"The account is {account.status or 'no longer active'}."
        self.changes.append(Purge(author=event.did, reason=reason))
        if event.did in self._chosen:
            text = f"{event.did}: {reason} Its posts were erased."
            self.changes.append(Notice(code="account.inactive", text=text, level="warning"))

    def _renamed(self, event: Event) -> None:
        handle = event.identity.handle if event.identity is not None else ""
        before = self._handles.pop(event.did, "")
        if not handle:
            return
        self._handles[event.did] = handle
        if len(self._handles) > _HANDLES:
            del self._handles[next(iter(self._handles))]
        if before and before != handle and event.did in self._chosen:
            text = f"The account {before} is now called {handle}."
            self.changes.append(Notice(code="account.renamed", text=text))

    def _informed(self, event: Event) -> None:
        if event.name == "OutdatedCursor":
            self.lost("The server no longer held what came after the cursor.")
        elif event.name == "FutureCursor" and self.position.seq:
            self.misplaced = True
        elif event.name == "FutureCursor":
            self.lost("The server does not know the moment of the cursor.")
        else:
            self._ctx.count("info.unknown")

    # -- what is missing ------------------------------------------------------
    def _record_gap(self, event: Event) -> None:
        start = from_us(self.position.us)
        end = _moment(event) or self._now
        self.changes.append(Gap(reason=self._loss, start=start, end=max(start, end)))
        self._loss = ""

    def _sample(self, elapsed_s: float) -> None:
        """Leave out what exceeds `max_per_s`, each new post with the same chance."""
        most = self._settings.max_per_s
        if most is None:
            return
        self._tokens = min(self._tokens + max(elapsed_s, 0.0) * most, max(most, 1.0))
        kept = min(int(self._tokens), len(self._posts))
        self._tokens -= kept
        came = len(self._posts)
        if kept == came:
            return
        chosen = set(self._ctx.rng.sample(self._posts, kept))
        left_out = set(self._posts) - chosen
        self.changes = [c for n, c in enumerate(self.changes) if n not in left_out]
        self._ctx.count("post.sampled_out", came - kept)
        self.sampled = f"a random sample of at most {most:g} posts a second is kept"

    def _notify(self, now_s: float) -> None:
        """Say at most once an hour that repositories could not be followed without a break."""
        due = self._notified_s is None or now_s - self._notified_s >= _SYNC_NOTICE_S
        if not self._syncs or not due:
            return
        text = (
            f"{self._syncs} accounts were synchronised anew by their servers; "
            "changes of theirs may be missing."
        )
        self.changes.append(Notice(code="bluesky.resynced", text=text, level="warning"))
        self._notified_s, self._syncs = now_s, 0


def _moment(event: Event) -> datetime | None:
    us = event.at_us()
    return from_us(us) if _FROM_US < us < _TO_US else None
