"""Answers that go on without their client: begun with `background`, watched, resumed, cancelled.

Every event of a job is kept until some minutes after its end, so that whoever lost the stream
goes on behind the last event that came. Jobs live in this process: one that a restart interrupted
is told as failed, because its beginning is stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, Protocol

from gnomon.clock import Clock
from gnomon.errors import GnomonError
from gnomon.serve.errors import ApiError
from gnomon.serve.sse import event

MAX_RUNNING = 64
"""Answers that nobody reads while they are being made. Those that are read are bounded by the
requests that are open."""
_COMING_S = 10.0
"""How long whoever asked for an answer has to begin reading it."""
KEPT_S = 600.0
"""How long the events of a finished job can still be asked for."""


class Work(Protocol):
    """What a job runs."""

    @property
    def id(self) -> str:
        """The response's id."""
        ...

    def events(self) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """(type, payload) of each event; failures are events too."""
        ...

    @property
    def failure(self) -> GnomonError | None:
        """Why it could not be made, as the client may be told."""
        ...

    async def begin_in_background(self) -> dict[str, Any]:
        """Store that it has begun; the response as it stands."""
        ...

    async def cancelled(self) -> dict[str, Any]:
        """Store that it was cancelled; the response as it stands then."""
        ...


class Job:
    """One answer in the background. All methods belong to the event loop."""

    def __init__(self, work: Work, owner: str, reader_until_s: float = 0.0, key: str = "") -> None:
        self.owner = owner
        self.key = key
        """By which the client knows its request; may be empty."""
        self._readers = 0
        self._reader_until_s = reader_until_s
        self.response: dict[str, Any] = {}
        """As it stands."""
        self.ended_at_s: float | None = None
        self._work = work
        self._events: list[tuple[str, dict[str, Any]]] = []
        self._more = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def failure(self) -> GnomonError | None:
        """Why it could not be made, as the client may be told."""
        return self._work.failure

    async def start(self, clock: Clock) -> None:
        """Begin."""
        self.response = await self._work.begin_in_background()
        self._task = asyncio.create_task(self._run(clock), name=f"response {self._work.id}")

    async def _run(self, clock: Clock) -> None:
        try:
            async with aclosing(self._work.events()) as events:  # type: ignore[type-var]
                async for name, payload in events:
                    self.response = payload.get("response", self.response)
                    self._events.append((name, payload))
                    self._tell()
        finally:
            self.ended_at_s = clock.monotonic()
            self._tell()

    def _tell(self) -> None:
        self._more.set()
        self._more = asyncio.Event()

    async def stream(self, after: int) -> AsyncGenerator[bytes]:
        """The events behind number `after`, those to come included."""
        at = after + 1
        self._readers += 1
        try:
            while True:
                more = self._more
                while at < len(self._events):
                    yield event(*self._events[at], id=str(at))
                    at += 1
                if self.ended_at_s is not None:
                    return
                await more.wait()
        finally:
            self._readers -= 1
            self._reader_until_s = 0.0

    def alone(self, now_s: float) -> bool:
        """Whether it runs and nobody reads it."""
        return self.ended_at_s is None and not self._readers and now_s >= self._reader_until_s

    async def cancel(self) -> dict[str, Any]:
        """Stop it; the response as it stands then. A finished one stays as it is."""
        if self._task is not None and self.ended_at_s is None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            if self.response.get("status") == "in_progress":
                self.response = await self._work.cancelled()
        return self.response


class Jobs:
    """The jobs of this process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._jobs: dict[str, Job] = {}

    async def start(self, work: Work, owner: str, *, read: bool = False, key: str = "") -> Job:
        """Run `work` in the background; `read` if its stream is read at once.

        Raises ApiError 429 if too many run already that nobody reads.
        """
        self._forget()
        now_s = self._clock.monotonic()
        running = sum(job.alone(now_s) for job in self._jobs.values())
        if running >= MAX_RUNNING:
            raise ApiError(
                429,
                f"{running} answers are being made in the background, as many as possible.",
                code="rate_limit_exceeded",
                hint="Wait for one to end, or cancel one.",
                headers={"retry-after": "10"},
            )
        job = self._jobs[work.id] = Job(work, owner, now_s + _COMING_S if read else 0.0, key)
        await job.start(self._clock)
        return job

    def get(self, id: str) -> Job | None:
        """The job of this response, running or just ended."""
        self._forget()
        return self._jobs.get(id)

    def of(self, owner: str, key: str) -> Job | None:
        """The job that this owner began under this key, if any; none has the empty key."""
        self._forget()
        return next(
            (j for j in self._jobs.values() if key and (j.owner, j.key) == (owner, key)), None
        )

    def _forget(self) -> None:
        last_s = self._clock.monotonic() - KEPT_S
        for id, job in list(self._jobs.items()):
            if job.ended_at_s is not None and job.ended_at_s < last_s:
                del self._jobs[id]

    async def aclose(self) -> None:
        """Cancel what still runs, and say so where it is stored."""
        for job in list(self._jobs.values()):
            await job.cancel()
