"""What is shown of X is looked up again, so that it is shown as X has it now.

What is gone there is purged, what was edited becomes a new version. A post is looked at again at
most once in `relook_s`, in batches, and every look is paid for from the money of the day, the
reserve for duties included.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from gnomon.clock import to_us
from gnomon.errors import ContentError, UpstreamError, UpstreamTerminal, UpstreamTransient
from gnomon.sources.x_api import FIELDS
from gnomon.sources.x_memory import Memory, Step
from gnomon.sources.x_posts import chain, key_of, newest_of
from gnomon.sources.x_stream import Listener, mapping, objects
from gnomon.types import Change, Notice, Purge

LOOKUP_PATH = "/2/tweets"
LOOKUP_IDS = 100
_RETRY_S = 600.0
_GONE = {
    "resource-not-found": "deleted",
    "not-authorized-for-resource": "protected",
    "resource-unavailable": "withheld",
    "disallowed-resource": "withheld",
}

_Found = tuple[tuple[str, ...], Change]


def gone(answer: Mapping[str, Any]) -> dict[str, str]:
    """Which of the ids that were asked for are gone, and why."""
    found: dict[str, str] = {}
    for problem in objects(answer.get("errors")):
        kind = str(problem.get("type", "")).rpartition("/")[2]
        id = str(problem.get("resource_id") or problem.get("value") or "")
        if kind in _GONE and id.isdecimal() and problem.get("resource_type") in ("tweet", "post"):
            found[id] = _GONE[kind]
    return found


class Relook:
    """Looks at what was shown, as long as the source runs."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._ctx = listener.ctx
        self._memory = listener.memory
        self._purse = listener.purse
        # A post may bring its author and a post that it refers to.
        self._price = 2 * listener.worst_micros
        self._told_day = ""

    async def run(self) -> AsyncGenerator[Step, None]:
        """Look whenever something was shown. Trouble delays it, nothing else."""
        while True:
            if not self._memory.waiting:
                self._note(await self._ctx.cited())
            try:
                while self._memory.waiting:
                    step = await self._look()
                    yield step
                    await step.accepted.wait()
            except UpstreamError as error:
                self._ctx.count(f"relook.{error.code}")
                asked = error.retry_after_s if isinstance(error, UpstreamTransient) else None
                await self._ctx.clock.sleep(max(asked or 0.0, _RETRY_S))

    def _note(self, shown: Sequence[tuple[str, str]]) -> None:
        """Remember what is to be looked up: (key, address of the version that was shown)."""
        every_us = round(self._ctx.settings.relook_s * 1_000_000)
        now_us = to_us(self._ctx.clock.now())
        for key, url in shown:
            first = key.removeprefix("x:")
            looked_us = self._memory.looked.get(first)
            lately = looked_us is not None and now_us - every_us < looked_us <= now_us
            if not first.isdecimal() or first in self._memory.gone or lately:
                continue
            version = url.rpartition("/")[2]
            known = [first, *self._memory.versions.get(first, ())]
            self._memory.waiting[first] = max(known + [version] * version.isdecimal(), key=int)

    async def _look(self) -> Step:
        """Look up as many as one request takes and the money of the day pays for."""
        some = dict(list(self._memory.waiting.items())[:LOOKUP_IDS])
        n = self._purse.affordable(self._price, len(some), duty=True)
        if not n:
            return self._give_up()
        some = dict(list(some.items())[:n])
        booked = real = n * self._price
        self._purse.book(booked)
        try:
            params = {**FIELDS, "ids": ",".join(some.values())}
            answer = await self._listener.api.get(LOOKUP_PATH, params)
            posts, includes = objects(answer.get("data")), mapping(answer.get("includes"))
            real = self._listener.cost(posts, includes)
        except UpstreamTerminal:
            real = 0
            raise
        finally:
            self._purse.settle(booked, real)
        again: dict[str, str] = {}
        # An old version was asked for by its own id and came as it is: ask for the newest.
        for post in posts:
            with suppress(ContentError):
                ids, newest = chain(post), newest_of(post)
                if newest != ids[-1]:
                    again[ids[0]] = newest
        reasons, firsts = gone(answer), {id: first for first, id in some.items()}
        purges: list[_Found] = [
            ((firsts[id],), Purge(key=key_of(firsts[id]), reason=reason))
            for id, reason in reasons.items()
            if id in firsts
        ]
        looked_us = to_us(self._ctx.clock.now())

        def note(memory: Memory) -> None:
            memory.looked |= dict.fromkeys(some, looked_us)
            for first in some:
                memory.waiting.pop(first, None)
            memory.waiting |= again

        return Step(posts=[*self._listener.read(posts, includes), *purges], note=note)

    def _give_up(self) -> Step:
        """There is no money left; say so once a day."""
        left = len(self._memory.waiting)
        self._ctx.count("relook.unpaid", left)
        if self._told_day == self._purse.day:
            return Step(note=_forget)
        self._told_day = self._purse.day
        text = (
            f"{left} posts of X that were shown could not be looked up again: "
            f"{self._purse.sentence()}."
        )
        return Step([Notice(code="x.relook", text=text, level="warning")], note=_forget)


def _forget(memory: Memory) -> None:
    memory.waiting.clear()
