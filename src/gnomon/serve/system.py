"""Health and metrics, for whoever watches this process."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from gnomon import metrics
from gnomon.serve.services import Services
from gnomon.serve.wire import JsonResponse, services_of
from gnomon.types import SourceState

_REFRESH_S = 2.0
router = APIRouter(tags=["System"])


@router.get("/health", summary="Is it up?")
async def health(request: Request) -> Response:
    """Answers as soon as requests are served; needs no key and tells no content."""
    services = services_of(request)
    last_seq = await asyncio.to_thread(services.record.last_seq)
    applied_seq = services.index.applied_seq
    states = services.runner.states()
    fresh, _ = summary(services, states, services.clock.now())
    return JsonResponse(
        {
            "status": "ok",
            "version": services.version,
            "last_seq": last_seq,
            "applied_seq": applied_seq,
            "index_behind": max(0, last_seq - applied_seq),
            "sources": {"total": len(states), "fresh": fresh},
        }
    )


@router.get("/metrics", summary="Prometheus metrics")
def prometheus(request: Request) -> Response:
    """All metrics in Prometheus' text format."""
    services = services_of(request)
    stats = services.record.stats()
    metrics.RECORD_SEQ.set(stats.last_seq)
    metrics.RECORD_BYTES.set(stats.body_bytes)
    metrics.INDEX_SEQ.set(services.index.applied_seq)
    return Response(metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")


@router.post("/v1/record/refresh", summary="Look for what another process wrote")
async def refresh(request: Request) -> Response:
    """Index what a command wrote into the record beside this server, such as an import; `indexed`
    tells whether all of it can be found already."""
    services = services_of(request)
    services.runner.changed()
    last_seq = await asyncio.to_thread(services.record.last_seq)
    indexed = await services.runner.wait_indexed(last_seq, _REFRESH_S)
    return JsonResponse({"last_seq": last_seq, "indexed": indexed})


@router.get("/v1/status", summary="How everything stands")
async def status(request: Request) -> Response:
    """Sources, models, record and index, and what a first visitor can ask."""
    services = services_of(request)
    now = services.clock.now()
    states = services.runner.states()
    record = await asyncio.to_thread(services.record.stats)
    index = await asyncio.to_thread(services.index.stats)
    fresh, newest_at = summary(services, states, now)
    demo = services.demo
    own = services.served.states() if services.served else []
    code = services.rooms.known() if services.rooms else None
    return JsonResponse(
        {
            "version": services.version,
            "now": msgspec.to_builtins(now),
            "summary": {
                "sources": len(states),
                "fresh": fresh,
                "newest_at": msgspec.to_builtins(newest_at),
                "newest_age_s": (now - newest_at).total_seconds() if newest_at else None,
            },
            "sources": msgspec.to_builtins(list(states)),
            "models": msgspec.to_builtins([*services.models.states(), *own]),
            "record": msgspec.to_builtins(record),
            "index": msgspec.to_builtins(index),
            "tools": {
                "code": msgspec.to_builtins(code) if code else None,
                "mcp_servers": list(services.settings.tools.mcp_servers),
            },
            "demo": {"banner": demo.banner} if demo else None,
            "examples": list(demo.questions) if demo else [],
            "key_required": services.settings.server.api_key is not None,
        }
    )


def is_fresh(state: SourceState, now: datetime, stale_after: timedelta) -> bool:
    """Whether the source answers as it should: live ones lately, polled ones when due."""
    if state.state == "live":
        return state.last_seen_at is not None and now - state.last_seen_at <= stale_after
    if state.state == "polling":
        return state.next_at is None or now - state.next_at <= stale_after
    return state.state == "done"


def stale_after(services: Services) -> timedelta:
    """How long a source may be silent and still count as fresh."""
    return timedelta(seconds=services.settings.answer.stale_after_s)


def summary(
    services: Services, states: Sequence[SourceState], now: datetime
) -> tuple[int, datetime | None]:
    """How many sources are fresh, and when the newest document came."""
    stale = stale_after(services)
    newest = [s.last_document_at for s in states if s.last_document_at is not None]
    return sum(is_fresh(s, now, stale) for s in states), max(newest, default=None)
