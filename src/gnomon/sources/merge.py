"""Several streams of work in one source: run side by side, heard in one order, ended together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Generic, TypeVar

T = TypeVar("T")

_WAITING = 1_000
"""Items that may wait unheard; then whoever makes them has to wait."""


class _End(Generic[T]):
    def __init__(self, error: BaseException | None) -> None:
        self.error = error


async def merged(
    *streams: AsyncGenerator[T, None], at_once: int = 200
) -> AsyncGenerator[list[T], None]:
    """What the streams yield, as it comes, at most `at_once` together; ends when all have ended.

    An error of one stream is raised after everything that was yielded before it was heard, and
    ends the others. Closing the merged stream closes them all.
    """
    waiting: asyncio.Queue[T | _End[T]] = asyncio.Queue(_WAITING)

    async def run(stream: AsyncGenerator[T, None]) -> None:
        error: BaseException | None = None
        try:
            async with aclosing(stream) as items:
                async for item in items:
                    await waiting.put(item)
        except Exception as raised:  # handed on, in its place
            error = raised
        await waiting.put(_End(error))

    tasks = [asyncio.create_task(run(stream)) for stream in streams]
    left = len(tasks)
    try:
        while left:
            got: list[T] = []
            error: BaseException | None = None
            item = await waiting.get()
            while True:
                if isinstance(item, _End):
                    left -= 1
                    error = item.error
                else:
                    got.append(item)
                if error is not None or len(got) >= at_once or waiting.empty():
                    break
                item = waiting.get_nowait()
            if got:
                yield got
            if error is not None:
                raise error
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
