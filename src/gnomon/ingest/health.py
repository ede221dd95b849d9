"""How a source stands: what happened last, what comes next, and both in a plain sentence.

Spans are measured with the monotonic clock, so a wall clock that is set back shifts no schedule
and makes no age negative.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta

from gnomon.clock import Clock
from gnomon.errors import ConfigError, ContentError, GnomonError, Terminal, Transient
from gnomon.settings import Ingest

TROUBLE = ("retrying", "blocked", "failed", "gone")
_BLOCKED = ("net.blocked", "net.robots", "source.forbidden")
_CORRECTED = ("source.refused", "source.not_found")
_WAITS = ("source.needs_key", "source.needs_contact", "source.secret")
"""The operator has to give something: what that is says more than when it is tried again."""
_NOTED_AFTER_S = 60.0
"""Trouble that lasts shorter than this is weather, and is not written into the record."""


class Health:
    """The state of one source. Belongs to the event loop."""

    def __init__(self, well: str, *, clock: Clock, limits: Ingest, rng: random.Random) -> None:
        self.well = well
        """The state while all is well: `live` or `polling`."""
        self.state = "starting"
        self.cause = ""
        self.errors = 0
        self.heard_at: datetime | None = None
        self.next_at: datetime | None = None
        self._clock = clock
        self._limits = limits
        self._rng = rng
        self._heard_s: float | None = None
        self._next_s: float | None = None
        self._since_at = clock.now()
        self._since_s = clock.monotonic()
        self._began_s = clock.monotonic()
        self._attempt = 0
        self._code = ""

    # -- what happens ---------------------------------------------------------
    def began(self) -> None:
        """The source is about to be followed, for the first time or again."""
        self._began_s = self._clock.monotonic()

    def heard(self, state: str = "", cause: str = "", next_in_s: float | None = None) -> None:
        """The source answered."""
        self.heard_at, self._heard_s = self._clock.now(), self._clock.monotonic()
        self._enter(state or self.well, cause)
        self._plan(next_in_s)

    def paused(self) -> None:
        """The operator paused it."""
        self._enter("paused", "")
        self._plan(None)

    def ended(self) -> None:
        """It came to its end."""
        self._enter("done", self.cause)
        self._plan(None)

    def refused(self, error: GnomonError) -> None:
        """It cannot even be started until the operator mends something."""
        self.errors += 1
        self._enter("failed", str(error), error.code)
        self._plan(None)

    def troubled(self, error: Exception) -> float | None:
        """It failed. Returns the seconds until the next try; None if it is not tried again."""
        if self._clock.monotonic() - self._began_s > self._limits.retry_max_s:
            self._attempt = 0  # it ran well in between: this is a new trouble
        self._attempt += 1
        self.errors += 1
        self._enter(_state_for(error), _cause(error), error_code(error))
        wait_s = self._back_off_s(error)
        self._plan(wait_s)
        return wait_s

    def _back_off_s(self, error: Exception) -> float | None:
        limits = self._limits
        # A polled address that stays broken is not worth more requests than a sound one.
        longest = limits.retry_max_s
        if self.well == "polling":
            longest = max(longest, limits.min_interval_s)
        if isinstance(error, Transient):
            if error.retry_after_s is not None:
                # What the server asks for is the least; a day is the most we believe.
                asked = min(max(error.retry_after_s, 0.0), limits.max_interval_s)
                return asked + self._rng.uniform(0.0, limits.retry_first_s)
            first = limits.retry_first_s
        elif isinstance(error, Terminal):
            return None if self.state == "gone" else limits.max_interval_s
        else:
            first, longest = limits.retry_max_s, max(longest, limits.min_interval_s)
        doubled = first * 2.0 ** min(self._attempt - 1, 60)
        return min(doubled, longest) * self._rng.uniform(0.75, 1.25)

    def _enter(self, state: str, cause: str, code: str = "") -> None:
        if (state in TROUBLE) != (self.state in TROUBLE) or state not in TROUBLE:
            self._since_at, self._since_s = self._clock.now(), self._clock.monotonic()
        self.state, self.cause, self._code = state, cause.rstrip(". "), code

    def _plan(self, in_s: float | None) -> None:
        now_s, now = self._clock.monotonic(), self._clock.now()
        self._next_s = None if in_s is None else now_s + in_s
        self.next_at = None if in_s is None else now + timedelta(seconds=in_s)

    # -- what it means --------------------------------------------------------
    @property
    def noteworthy(self) -> bool:
        """Whether this state belongs in the record, for answers about this moment."""
        lasted_s = self._clock.monotonic() - self._since_s
        return self.state != "retrying" or lasted_s >= _NOTED_AFTER_S

    def sentence(self) -> str:
        """The state with its cause and the next step."""
        now_s = self._clock.monotonic()
        heard = "" if self._heard_s is None else f"last answer {span(now_s - self._heard_s)} ago"
        wait = None if self._next_s is None else span(max(self._next_s - now_s, 0.0))
        cause = f": {self.cause}" if self.cause else ""
        match self.state:
            case "starting":
                return "Starting."
            case "paused":
                return "Paused by the operator; resume it to go on."
            case "done":
                return f"Done{cause}."
            case "retrying":
                since = moment(self._since_at, self._clock.now())
                tail = f"; next try in {wait}" if wait is not None else ""
                return f"Failing since {since}{cause}{tail}."
            case "failed" if self._code in _WAITS:
                return f"{self.cause}."
            case "blocked" | "failed":
                tail = f"; tried again in {wait}" if wait is not None else ""
                return f"{self.state.capitalize()}{cause}{tail}."
            case "gone":
                return f"Gone{cause}."
        tail = f", next in {wait}" if wait is not None else ""
        joined = f"; {heard}" if heard else ""
        return f"{self.state.capitalize()}{cause}{joined}{tail}."


def _state_for(error: Exception) -> str:
    if isinstance(error, Terminal | ConfigError):
        code = error.code if isinstance(error, GnomonError) else ""
        if code == "source.gone":
            return "gone"
        return "blocked" if code in _BLOCKED else "failed"
    return "retrying"


def _cause(error: Exception) -> str:
    if isinstance(error, ConfigError | ContentError | Terminal):
        return str(error)
    if isinstance(error, GnomonError):
        # What a service refuses, somebody may have to correct; the rest passes by itself.
        return str(error) if error.code in _CORRECTED else error.message
    return f"the connector crashed: {error!r}"


def error_code(error: Exception) -> str:
    """A short code for the metrics."""
    return error.code if isinstance(error, GnomonError) else f"crash.{type(error).__name__}"


def span(seconds: float) -> str:
    """A span as a person says it: `45 s`, `13 min`, `5 h`, `3 days`."""
    seconds = max(seconds, 0.0)
    for size, unit, until in ((1, "s", 90), (60, "min", 5_400), (3_600, "h", 129_600)):
        if seconds < until:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} days"


def moment(at: datetime, now: datetime) -> str:
    """A time as a person says it: `14:02 UTC`, with the date unless it is today."""
    return f"{at:%H:%M} UTC" if at.date() == now.date() else f"{at:%Y-%m-%d %H:%M} UTC"
