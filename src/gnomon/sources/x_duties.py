"""What X's terms oblige us to: what is deleted, protected, suspended or withheld there goes here.

Once a day everything that is held is checked with a batch compliance job; where the plan has none,
by looking the posts up again, as far as the money that is reserved for duties goes.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from hashlib import blake2b

from gnomon.clock import from_us, to_us
from gnomon.errors import UpstreamError, UpstreamTerminal, UpstreamTransient
from gnomon.sources.x_memory import Job, Memory, Step
from gnomon.sources.x_posts import key_of
from gnomon.sources.x_relook import LOOKUP_IDS, LOOKUP_PATH, gone
from gnomon.sources.x_stream import Listener
from gnomon.types import Change, Notice, Purge

JOBS_PATH = "/2/compliance/jobs"
_JOB_IDS = 500_000
_POLL_S = 60.0
_RETRY_S = 600.0
_MAX_RESULT_BYTES = 200_000_000
_HARMLESS = ("scrub_geo",)
"""We keep no places."""


class Compliance:
    """The daily round over everything that is held."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._ctx = listener.ctx
        self._api = listener.api
        self._memory = listener.memory
        self._purse = listener.purse
        self._tag = blake2b(self._ctx.config.name.encode(), digest_size=4).hexdigest()

    async def run(self) -> AsyncGenerator[Step, None]:
        """Rounds for ever, each a while after the last. Trouble delays them, nothing else."""
        clock, memory = self._ctx.clock, self._memory
        if not memory.checked_us:
            step = Step(note=self._checked)
            yield step
            await step.accepted.wait()
        while True:
            due_s = (
                self._ctx.settings.compliance_every_s
                - (clock.now() - from_us(memory.checked_us)).total_seconds()
            )
            if memory.job is None and not memory.check_since_us and due_s > 0:
                await clock.sleep(due_s)
                continue
            try:
                async for step in self._part():
                    yield step
                    await step.accepted.wait()
            except UpstreamError as error:
                self._ctx.count(f"compliance.{error.code}")
                asked = error.retry_after_s if isinstance(error, UpstreamTransient) else None
                await clock.sleep(max(asked or 0.0, _RETRY_S))

    async def _part(self) -> AsyncGenerator[Step, None]:
        """One job of the round: begun, or waited for, or its end."""
        memory = self._memory
        if memory.job is not None:
            async for step in self._finish(memory.job):
                yield step
            return
        since = from_us(memory.check_since_us) if memory.check_since_us else None
        held = await self._ctx.held(since, _JOB_IDS)
        ids = list(dict.fromkeys(key[2:] for key, _ in held if key.startswith("x:")))
        if not held:
            yield Step(note=self._checked)
            return
        onward_us = to_us(held[-1][1]) + 1
        try:
            job = await self._begin(ids, memory.check_since_us, onward_us)
        except UpstreamTerminal:
            async for step in self._look_up(ids, onward_us):
                yield step
            return
        yield Step(note=lambda m: setattr(m, "job", job))

    async def _begin(self, ids: Sequence[str], since_us: int, onward_us: int) -> Job:
        """Create a job and upload the ids, or take over one that an interrupted start left."""
        prefix = f"gnomon {self._tag} {since_us} "
        answer = await self._api.get(JOBS_PATH, {"type": "tweets"})
        for found in answer.get("data") or ():
            name, status = str(found.get("name", "")), found.get("status")
            if name.startswith(prefix) and status in ("in_progress", "complete"):
                onward = name.removeprefix(prefix)
                if onward.isdigit():
                    return Job(str(found["id"]), int(onward), len(ids))
        body = {"type": "tweets", "name": f"{prefix}{onward_us}"}
        created = (await self._api.post(JOBS_PATH, body)).get("data") or {}
        response = await self._ctx.fetcher.fetch(
            str(created.get("upload_url", "")),
            purpose="feed",
            method="PUT",
            headers={"content-type": "text/plain"},
            content="\n".join(ids).encode(),
            timeout_s=300.0,
        )
        if response.status >= 300:
            raise UpstreamTransient(
                f"X's store answers the upload of post ids with {response.status}.",
                code="x.upload",
            )
        return Job(str(created["id"]), onward_us, len(ids))

    async def _finish(self, job: Job) -> AsyncGenerator[Step, None]:
        answer = (await self._api.get(f"{JOBS_PATH}/{job.id}")).get("data") or {}
        status = answer.get("status")
        if status in ("created", "in_progress"):
            await self._ctx.clock.sleep(_POLL_S)
            return
        if status != "complete":
            text = f"X's compliance job {job.id} over {job.posts} posts ended as {status!r}."
            notice = Notice(code="x.compliance", text=f"{text} It is begun anew.", level="warning")
            yield Step([notice], note=lambda m: setattr(m, "job", None))
            await self._ctx.clock.sleep(_RETRY_S)
            return
        response = await self._ctx.fetcher.fetch(
            str(answer.get("download_url", "")),
            purpose="feed",
            max_body_bytes=_MAX_RESULT_BYTES,
            timeout_s=300.0,
        )
        if response.status != 200:
            raise UpstreamTransient(
                f"X's store answers the download of compliance results with {response.status}.",
                code="x.download",
            )
        purges = self._results(response.body)

        def note(memory: Memory) -> None:
            memory.job, memory.check_since_us = None, job.since_us

        yield Step(posts=purges, note=note)

    def _results(self, body: bytes) -> list[tuple[tuple[str, ...], Change]]:
        purges: list[tuple[tuple[str, ...], Change]] = []
        for line in body.splitlines():
            try:
                result = json.loads(line)
                id, reason = str(result["id"]), str(result.get("reason", "deleted"))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                self._ctx.count("compliance.unreadable")
                continue
            if reason not in _HARMLESS:
                purges.append(((id,), Purge(key=key_of(id), reason=reason)))
        return purges

    async def _look_up(self, ids: Sequence[str], onward_us: int) -> AsyncGenerator[Step, None]:
        """Without batch jobs: ask for the posts themselves, newest first, while money lasts."""
        price = round(self._ctx.settings.post_usd * 1_000_000)
        left = list(reversed(ids))
        while left:
            n = self._purse.affordable(price, min(len(left), LOOKUP_IDS), duty=True)
            if not n:
                text = (
                    f"{len(left)} posts of X could not be checked for deletion today: "
                    f"{self._purse.sentence()}."
                )
                yield Step([Notice(code="x.compliance", text=text, level="warning")])
                break
            some, left = left[:n], left[n:]
            self._purse.book(n * price)
            try:
                answer = await self._api.get(LOOKUP_PATH, {"ids": ",".join(some)})
            finally:
                self._purse.settle(n * price, n * price)
            reasons = gone(answer).items()
            yield Step(posts=[((id,), Purge(key=key_of(id), reason=why)) for id, why in reasons])

        def note(memory: Memory) -> None:
            memory.check_since_us = onward_us

        yield Step(note=note)

    def _checked(self, memory: Memory) -> None:
        memory.checked_us, memory.check_since_us = to_us(self._ctx.clock.now()), 0
