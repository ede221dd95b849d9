"""`/v1/now`: what is happening, how fresh the sources are, and what one could ask."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from gnomon.answer.stories import Story, stories
from gnomon.serve.compose import saved_url
from gnomon.serve.moments import moment
from gnomon.serve.search import Moment
from gnomon.serve.services import Services
from gnomon.serve.system import is_fresh, stale_after, summary
from gnomon.serve.wire import JsonResponse, JsonRoute, base_url, services_of

router = APIRouter(tags=["Ask"], route_class=JsonRoute)

KEPT_S = 5.0
"""How long stories are good for, so that many readers cost what one costs."""
_EXAMPLES = 4


@router.get("/v1/now", summary="What is happening")
async def now(request: Request, as_of: Moment = None) -> Response:
    """The liveliest stories of the last day, how fresh the sources are, and example questions."""
    services = services_of(request)
    when = moment(as_of, services.clock, param="as_of")
    found = await _stories(request, services, when)
    at = services.clock.now()
    states = services.runner.states(when)
    fresh, newest_at = summary(services, states, when or at)
    titles = {state.name: state.title or state.name for state in states}
    stale = stale_after(services)
    silent = [state for state in states if not is_fresh(state, when or at, stale)]
    demo = services.demo
    asked = [story.question for story in found]
    examples = [*demo.questions, *asked] if demo else asked
    base = base_url(request, services)
    return JsonResponse(
        {
            "stories": [_plain(story, titles, base) for story in found],
            "freshness": {
                "sources": len(states),
                "fresh": fresh,
                "newest_at": msgspec.to_builtins(newest_at),
                "newest_age_s": ((when or at) - newest_at).total_seconds() if newest_at else None,
                "silent": msgspec.to_builtins(silent),
            },
            "examples": examples[:_EXAMPLES],
            "as_of": msgspec.to_builtins(when),
            "demo": demo is not None,
        }
    )


class Kept:
    """The stories of now, made once for all who ask within a few seconds."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._made_at_s = float("-inf")
        self._stories: list[Story] = []

    async def get(self, services: Services) -> list[Story]:
        """As they are, at most `KEPT_S` old."""
        async with self._lock:
            if services.clock.monotonic() - self._made_at_s >= KEPT_S:
                self._stories = await asyncio.to_thread(_made, services, None)
                self._made_at_s = services.clock.monotonic()
            return self._stories


async def _stories(request: Request, services: Services, when: datetime | None) -> list[Story]:
    if when is not None:
        return await asyncio.to_thread(_made, services, when)
    kept: Kept = request.app.state.stories
    return await kept.get(services)


def _made(services: Services, when: datetime | None) -> list[Story]:
    found = stories(services.record, services.index, services.clock.now(), as_of=when)
    titled = (services.record.version(story.key, story.version).document for story in found)
    services.listed([document for document in titled if document is not None])
    return found


def _plain(story: Story, titles: dict[str, str], base: str) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(story)
    plain["sources"] = [titles.get(name, name) for name in story.sources]
    plain["saved_url"] = saved_url(story.key, story.version, base)
    return plain
