"""What works through batches: a few lines at a time, whenever nobody waits for an answer.

A batch is read, asked line by line, and written out; each step is kept before the next begins, so
that a stopped or killed process goes on behind the last line that was done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any, TypeAlias

import msgspec
import orjson
from pydantic import BaseModel, ValidationError

from gnomon.accounts.base import LOCAL, OPERATOR
from gnomon.errors import ConfigError, GnomonError, StoreError, Transient
from gnomon.files.batches import Batch, BatchStore, Fault, Status
from gnomon.files.store import Files
from gnomon.log import get_logger
from gnomon.serve.access import Access
from gnomon.serve.chat import ChatRequest, completion_of, responses_request
from gnomon.serve.errors import ApiError, bad_request, explain, openai_body, shown, status_of, told
from gnomon.serve.exchange import Exchange, ResponsesRequest
from gnomon.serve.interactive import Interactive
from gnomon.serve.services import Services
from gnomon.serve.vectors import EmbeddingsRequest, embedded
from gnomon.serve.wire import read_json

LINES_AT_ONCE = 2
MAX_LINES = 50_000
MAX_LINE_BYTES = 1_000_000
MAX_TRIES = 6
"""How often a line is asked that fails for a reason which may pass, before it counts as failed."""
_FIRST_WAIT_S = 5.0
_MAX_WAIT_S = 300.0
_MAX_FAULTS = 20
_PAUSE_S = 0.5
"""How long a batch rests whose owner has used up what a minute allows, at least."""
ENDPOINTS: dict[str, type[BaseModel]] = {
    "/v1/responses": ResponsesRequest,
    "/v1/chat/completions": ChatRequest,
    "/v1/embeddings": EmbeddingsRequest,
}
"""What a batch may ask, and how such a request looks."""
_log = get_logger()


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One request of a file."""

    number: int
    custom_id: str
    body: dict[str, Any]


_Lines: TypeAlias = "list[Line]"


@dataclass
class _Open:
    """A batch that is being worked through."""

    batch: Batch
    left: _Lines
    lost: bool = False
    """Whether its file was deleted before all lines were read."""
    rests_until_s: float = 0.0
    tried: dict[int, int] = field(default_factory=dict)
    """How often each line was asked in vain, since the process began."""
    again_at_s: dict[int, float] = field(default_factory=dict)
    """When such a line is asked again."""

    def ready(self, now_s: float) -> Iterator[Line]:
        """The lines that may be asked now, in the order of the file."""
        return (line for line in self.left if self.again_at_s.get(line.number, 0.0) <= now_s)


class Batches:
    """The batches of this process. All methods belong to the event loop."""

    def __init__(self, services: Services, access: Access, interactive: Interactive) -> None:
        self._store: BatchStore | None = services.batches
        self._files: Files | None = services.files
        # Their own answers are not among those that they wait for.
        self._services = replace(services, answerer=interactive.behind)
        self._access = access
        self._interactive = interactive
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._open: dict[str, _Open] = {}

    def wake(self) -> None:
        """There may be something to do: begin, or look again."""
        if self._store is None or self._files is None:
            return
        self._wake.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work(self._store, self._files), name="batches")

    async def aclose(self) -> None:
        """Stop; what is half done is done again by whoever goes on."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _work(self, store: BatchStore, files: Files) -> None:
        try:
            while True:
                self._wake.clear()
                if not await self._round(store, files):
                    if not self._open:
                        await self._wake.wait()
                    else:
                        await asyncio.sleep(_PAUSE_S)
        except StoreError as error:
            told(error, self._services, "batch")

    async def _round(self, store: BatchStore, files: Files) -> bool:
        """One turn for every open batch; whether anything was done."""
        moved = False
        standing = await asyncio.to_thread(store.open)
        for id in set(self._open) - {batch.id for batch in standing}:
            del self._open[id]
        working: list[_Open] = []
        for batch in standing:
            if batch.status == "validating":
                await self._begin(store, files, batch)
                moved = True
                continue
            now = self._services.clock.now()
            if batch.status == "in_progress" and batch.expires_at <= now:
                late = batch.turned("finalizing", now, ends_as="expired")
                if not await asyncio.to_thread(store.move, late, batch.status):
                    continue  # Cancelled just now: seen in the next round.
                batch = late
            at = self._open.get(batch.id)
            if at is None:
                at = self._open[batch.id] = await self._reopened(files, store, batch)
            at.batch = batch
            if batch.status != "in_progress" or not at.left:
                await self._end(store, files, at)
                moved = True
            else:
                working.append(at)
        each = LINES_AT_ONCE if len(working) == 1 else 1
        now_s = self._services.clock.monotonic()
        turns = [
            (at, line)
            for at in working
            for line in islice(at.ready(now_s), each)
            if self._may_go_on(at)
        ]
        for start in range(0, len(turns), LINES_AT_ONCE):
            await self._interactive.wait_quiet()
            some = turns[start : start + LINES_AT_ONCE]
            await asyncio.gather(*(self._line(store, at, line) for at, line in some))
        return moved or bool(turns)

    async def _begin(self, store: BatchStore, files: Files, batch: Batch) -> None:
        """Read the file of a batch, and say what is wrong with it."""
        now = self._services.clock.now()
        try:
            body, _ = await asyncio.to_thread(files.content, batch.input_file_id)
            lines, faults = await asyncio.to_thread(read_lines, body, batch.endpoint)
        except ConfigError as error:
            lines, faults = [], [Fault(code=error.code, message=error.message)]
        if faults:
            batch = batch.turned("failed", now, faults=tuple(faults))
        else:
            batch = batch.turned("in_progress", now, total=len(lines))
        if await asyncio.to_thread(store.move, batch, "validating"):
            _log.info("batch.begun", batch=batch.id, lines=len(lines), faults=len(faults))

    async def _reopened(self, files: Files, store: BatchStore, batch: Batch) -> _Open:
        """The lines of a batch that are not done."""
        if not batch.total:
            return _Open(batch, [])  # Cancelled before it was read.
        try:
            body, _ = await asyncio.to_thread(files.content, batch.input_file_id)
        except ConfigError:
            return _Open(batch, [], lost=True)
        lines, _ = await asyncio.to_thread(read_lines, body, batch.endpoint)
        done = await asyncio.to_thread(store.finished, batch.id)
        return _Open(batch, [line for line in lines if line.number not in done])

    def _may_go_on(self, at: _Open) -> bool:
        """Whether its owner may still ask, and has not asked too much this minute."""
        if self._services.clock.monotonic() < at.rests_until_s:
            return False
        try:
            self._access.admit(at.batch.identity)
        except ApiError as error:
            wait_s = float(error.headers.get("retry-after", "1"))
            at.rests_until_s = self._services.clock.monotonic() + wait_s
            return False
        return True

    def _barred(self, batch: Batch) -> ApiError | None:
        """Why whoever made the batch may not ask any more."""
        accounts, identity = self._services.accounts, batch.identity
        if accounts is None or identity.user_id in (LOCAL.user_id, OPERATOR.user_id):
            return None
        gone = ApiError(403, "The account or key of this batch is gone.", code="access.gone")
        user = next((u for u in accounts.users() if u.id == identity.user_id), None)
        if user is None or user.disabled:
            return gone
        if identity.key is None:
            return None
        key = next((k for k in accounts.keys(user.id) if k.id == identity.key.id), None)
        now = self._services.clock.now()
        if key is None or key.revoked_at or (key.expires_at and key.expires_at <= now):
            return gone
        return None

    # -- lines -----------------------------------------------------------------
    async def _line(self, store: BatchStore, at: _Open, line: Line) -> None:
        """Ask one line, and keep what it came to."""
        batch = at.batch
        try:
            barred = await asyncio.to_thread(self._barred, batch)
            if barred is not None:
                raise barred
            status, body = 200, await self._asked(batch, line)
        except Exception as error:
            if isinstance(error, StoreError) and not isinstance(error, Transient):
                raise
            public = told(error, self._services, "batch")
            if self._again(at, line, public):
                return
            status, body = status_of(public), openai_body(public)
        outcome = self._outcome(line, {"status_code": status, "body": body}, None)
        await asyncio.to_thread(
            lambda: store.done(batch.id, line.number, ok=status == 200, outcome=outcome)
        )
        at.left.remove(line)

    def _again(self, at: _Open, line: Line, error: GnomonError) -> bool:
        """Whether a line that failed is asked another time; if so, it waits until then.

        Whoever says when to come again is left alone by the whole batch until then.
        """
        if not passing(error):
            return False
        tried = at.tried[line.number] = at.tried.get(line.number, 0) + 1
        if tried >= MAX_TRIES:
            return False
        now_s = self._services.clock.monotonic()
        wait_s = min(_MAX_WAIT_S, _FIRST_WAIT_S * 4 ** (tried - 1))
        asked_s = error.retry_after_s if isinstance(error, Transient) else None
        if asked_s is not None:
            at.rests_until_s = now_s + min(_MAX_WAIT_S, asked_s)
            wait_s = max(wait_s, min(_MAX_WAIT_S, asked_s))
        at.again_at_s[line.number] = now_s + wait_s
        _log.info("batch.again", batch=at.batch.id, line=line.number, tried=tried, wait_s=wait_s)
        return True

    async def _asked(self, batch: Batch, line: Line) -> dict[str, Any]:
        """The body of the answer to one line."""
        try:
            body = ENDPOINTS[batch.endpoint].model_validate(line.body)
        except ValidationError as error:
            raise explain([{**e, "loc": ("body", *e["loc"])} for e in error.errors()]) from None
        for name in ("stream", "background", "deferred"):
            if getattr(body, name, None):
                raise bad_request(f"{name} is not possible in a batch.", param=name)
        if isinstance(body, EmbeddingsRequest):
            made = await embedded(body, self._services)
            self._access.spent(batch.identity, made["usage"]["total_tokens"])
            return made
        given = responses_request(body) if isinstance(body, ChatRequest) else body
        if not isinstance(given, ResponsesRequest):
            raise TypeError(f"{type(given).__name__} cannot be asked.")
        in_chat = isinstance(body, ChatRequest)
        exchange = await Exchange.begin(
            given,
            self._services,
            batch.base_url,
            batch.owner,
            asked_in="messages" if in_chat else "input",
            form_in="response_format" if in_chat else "text.format",
            spent=lambda tokens: self._access.spent(batch.identity, tokens),
        )
        response = await exchange.run()
        return completion_of(response, self._services.version) if in_chat else response

    def _outcome(
        self, line: Line, response: dict[str, Any] | None, error: dict[str, str] | None
    ) -> bytes:
        id = self._services.ids.new("batch_req")
        if response is not None:
            response = {"request_id": id.replace("batch_", "", 1), **response}
        return orjson.dumps(
            {"id": id, "custom_id": line.custom_id, "response": response, "error": error}
        )

    # -- the end ---------------------------------------------------------------
    async def _end(self, store: BatchStore, files: Files, at: _Open) -> None:
        """Write what the lines came to, and say that it is over.

        The ids of the files are kept before the files are written: whoever goes on after a crash
        writes no second ones.
        """
        batch, clock = at.batch, self._services.clock
        answered, failed = await asyncio.to_thread(store.counts, batch.id)
        was = batch.status
        if was != "finalizing":
            ends_as: Status = "cancelled" if was == "cancelling" else "completed"
            batch = batch.turned("finalizing", clock.now(), ends_as=ends_as)
        if at.lost:
            batch = msgspec.structs.replace(batch, ends_as="failed", faults=(_LOST,))
        if batch.output_file_id is None and batch.error_file_id is None:
            batch = msgspec.structs.replace(
                batch,
                output_file_id=files.new_id() if answered else None,
                error_file_id=files.new_id() if failed or at.left else None,
            )
        if not await asyncio.to_thread(store.move, batch, was):
            return  # Cancelled just now: ended in the next round.
        error = {"code": f"batch_{batch.ends_as}", "message": _NOT_ASKED.get(batch.ends_as, "")}
        rest = [self._outcome(line, None, error) for line in at.left]
        for id, ok, more in ((batch.output_file_id, True, []), (batch.error_file_id, False, rest)):
            if id is not None:
                found = await asyncio.to_thread(partial(store.outcomes, batch.id, ok=ok))
                await asyncio.to_thread(self._written, files, batch, id, ok, [*found, *more])
        batch = batch.turned(batch.ends_as, clock.now(), answered=answered, failed=failed)
        await asyncio.to_thread(store.end, batch)
        del self._open[batch.id]
        _log.info("batch.ended", batch=batch.id, status=batch.status, answered=answered)

    def _written(
        self, files: Files, batch: Batch, id: str, ok: bool, outcomes: Sequence[bytes]
    ) -> None:
        try:
            files.get(id)
        except ConfigError:
            files.add(
                id,
                name=f"{batch.id}_{'output' if ok else 'error'}.jsonl",
                purpose="batch_output",
                media_type="application/jsonl",
                owner=batch.owner,
                body=b"".join(outcome + b"\n" for outcome in outcomes),
                text="",
                parts=0,
            )

    async def cancel(self, batch: Batch, now: datetime) -> Batch:
        """Ask no further line of it."""
        store = self._store
        if store is not None and batch.status in ("validating", "in_progress"):
            await asyncio.to_thread(store.move, batch.turned("cancelling", now), batch.status)
            self.wake()
            return await asyncio.to_thread(store.get, batch.id, batch.owner) or batch
        return batch


_LOST = Fault(code="file.unknown", message="The file of requests was deleted before it was done.")
_NOT_ASKED = {
    "cancelled": "The batch was cancelled before this line was asked.",
    "expired": "The batch's time was over before this line was asked.",
}


def passing(error: GnomonError) -> bool:
    """Whether what failed may work later, without anybody changing anything."""
    return isinstance(error, Transient) or (isinstance(error, ApiError) and error.status == 429)


def read_lines(body: bytes, endpoint: str) -> tuple[_Lines, list[Fault]]:
    """The requests in a file of JSON lines, and what is wrong with it."""
    lines: _Lines = []
    faults: list[Fault] = []
    ids: set[str] = set()
    for number, raw in enumerate(body.split(b"\n"), 1):
        if not raw.strip():
            continue
        try:
            line = _read_line(raw, number, endpoint)
        except ApiError as error:
            faults.append(
                Fault(code=error.code, message=error.message, line=number, param=error.param)
            )
        else:
            if line.custom_id in ids:
                said = f"custom_id = {shown(line.custom_id)} stands in an earlier line, too."
                faults.append(
                    Fault(code="duplicate_custom_id", message=said, line=number, param="custom_id")
                )
            ids.add(line.custom_id)
            lines.append(line)
        if len(faults) >= _MAX_FAULTS:
            break
        if len(lines) > MAX_LINES:
            said = f"The file has more than {MAX_LINES:,} requests."
            return [], [Fault(code="too_many_requests", message=said, line=number)]
    if not lines and not faults:
        faults.append(Fault(code="empty_file", message="The file has no requests."))
    return lines, faults


def _read_line(raw: bytes, number: int, endpoint: str) -> Line:
    if len(raw) > MAX_LINE_BYTES:
        raise bad_request(
            f"The line has {len(raw):,} bytes; a request may have {MAX_LINE_BYTES:,}.", param="body"
        )
    try:
        given = read_json(raw)
    except ValueError as error:
        raise ApiError(
            400, f"This line is not valid JSON: {error}.", code="invalid_json_line"
        ) from None
    if not isinstance(given, dict):
        raise ApiError(400, "This line is no JSON object.", code="invalid_json_line")
    custom_id, body = given.get("custom_id"), given.get("body")
    if not isinstance(custom_id, str) or not 0 < len(custom_id) <= 512:
        raise bad_request("custom_id must be a text of 1 to 512 characters.", param="custom_id")
    if given.get("method") != "POST":
        raise bad_request(f"method = {shown(given.get('method'))} is not POST.", param="method")
    if given.get("url") != endpoint:
        raise ApiError(
            400,
            f"url = {shown(given.get('url'))} is not the endpoint of this batch, {endpoint}.",
            code="mismatched_endpoint",
            param="url",
        )
    if not isinstance(body, dict):
        raise bad_request("body must be an object: the request.", param="body")
    return Line(number=number, custom_id=custom_id, body=body)
