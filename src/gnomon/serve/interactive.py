"""Answers that somebody waits for, counted, so that batches can let them go first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

from gnomon.answer.base import AnswerEvent, Question
from gnomon.serve.services import Answerer


class Interactive:
    """An answerer that knows how many of its answers are being made."""

    def __init__(self, answerer: Answerer) -> None:
        self.behind = answerer
        """The answerer itself; what it is asked directly is not counted."""
        self._open = 0
        self._quiet = asyncio.Event()
        self._quiet.set()

    async def answer(self, question: Question) -> AsyncIterator[AnswerEvent]:
        """Answer, and count it for as long as that takes."""
        self._open += 1
        self._quiet.clear()
        try:
            async with aclosing(self.behind.answer(question)) as events:  # type: ignore[type-var]
                async for event in events:
                    yield event
        finally:
            self._open -= 1
            if not self._open:
                self._quiet.set()

    async def wait_quiet(self) -> None:
        """Until nobody waits for an answer."""
        await self._quiet.wait()
