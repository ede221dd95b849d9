"""Server-sent events: encoding, heartbeats, and an end to the work when the reader leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing, suppress
from typing import Any, TypeVar

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gnomon.clock import Clock
from gnomon.log import get_logger
from gnomon.serve.errors import ApiError

HEARTBEAT_S = 10.0
SEND_DEADLINE_S = 60.0
"""A reader that takes nothing for this long is dropped."""
QUEUED_EVENTS = 16

T = TypeVar("T")
_HEARTBEAT = b": still here\n\n"
_log = get_logger()


def event(name: str, data: Any, *, id: str = "") -> bytes:
    """One named event with JSON data."""
    head = f"id: {id}\n" if id else ""
    return f"{head}event: {name}\ndata: ".encode() + to_json(data) + b"\n\n"


def data(value: Any) -> bytes:
    """One unnamed event with JSON data."""
    return b"data: " + to_json(value) + b"\n\n"


def to_json(value: Any) -> bytes:
    """JSON, on one line."""
    return orjson.dumps(value)


def last_seen(request: Request, after: int) -> int:
    """The event behind which a reader goes on: its `Last-Event-ID`, if that is a number, or what
    it asked for."""
    last = request.headers.get("last-event-id", "")
    return int(last) if last.isascii() and last.isdigit() and len(last) < 19 else after


class ClientGone(ApiError):
    """Nobody waits for this answer any more."""

    def __init__(self) -> None:
        super().__init__(499, "The client left.", code="client.gone")


class EventStream(Response):
    """Sends events as they come, comments meanwhile, and stops when nobody reads.

    The events are produced in one task of their own, which is cancelled and its iterator
    closed as soon as the client is gone.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes], clock: Clock) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._events = events
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream until the events end or the client leaves."""
        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        with suppress(ClientGone):
            await unless_gone(self._pump(send), receive)

    async def _pump(self, send: Send) -> None:
        queue: asyncio.Queue[bytes | Exception | None] = asyncio.Queue(QUEUED_EVENTS)
        tasks = (
            asyncio.create_task(self._produce(queue)),
            asyncio.create_task(self._beat(queue)),
        )
        try:
            while (item := await queue.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                await _push(send, item, more=True)
            await _push(send, b"", more=False)
        except TimeoutError:
            _log.info("stream.reader_too_slow")
        finally:
            await cancel(*tasks)

    async def _produce(self, queue: asyncio.Queue[bytes | Exception | None]) -> None:
        end: Exception | None = None
        try:
            async with aclosing(self._events) as events:
                async for item in events:
                    await queue.put(item)
        except Exception as error:
            end = error
        await queue.put(end)

    async def _beat(self, queue: asyncio.Queue[bytes | Exception | None]) -> None:
        while True:
            await self._clock.sleep(HEARTBEAT_S)
            if queue.empty():
                queue.put_nowait(_HEARTBEAT)


async def unless_gone(work: Coroutine[Any, Any, T], receive: Receive) -> T:
    """The outcome of `work`, which is cancelled with ClientGone when the client leaves."""
    task = asyncio.create_task(work)
    gone = asyncio.create_task(_departure(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientGone
    finally:
        await cancel(task, gone)


async def cancel(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _departure(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _push(send: Send, body: bytes, *, more: bool) -> None:
    async with asyncio.timeout(SEND_DEADLINE_S):
        await send({"type": "http.response.body", "body": body, "more_body": more})
