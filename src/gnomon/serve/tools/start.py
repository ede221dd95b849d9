"""What has to be known before an answer with tools is begun, and no request can tell."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from gnomon.sandbox.base import RoomError
from gnomon.serve.errors import ApiError
from gnomon.serve.services import Services
from gnomon.serve.tools.code import check
from gnomon.serve.tools.wishes import Wishes, with_answers


async def ready(
    services: Services,
    wishes: Wishes,
    items: Sequence[Mapping[str, Any]],
    owner: str,
    *,
    previous_id: str | None,
    param: str,
) -> Wishes:
    """The wishes with a person's approvals and the container of before. Raises ApiError."""
    wishes = with_answers(wishes, items, param)
    if wishes.servers and services.fetcher is None:
        raise ApiError(
            400, "Remote MCP servers are not used here.", code="request.tool", param="tools"
        )
    if wishes.code is None:
        return wishes
    await check(services, wishes.code, owner)
    if wishes.code.container is None and previous_id is not None:
        again = await asyncio.to_thread(_container_of, services, previous_id, owner)
        if again is not None:
            code = msgspec.structs.replace(wishes.code, container=again)
            return msgspec.structs.replace(wishes, code=code)
    return wishes


def _container_of(services: Services, previous_id: str, owner: str) -> str | None:
    """The container that an earlier response ran code in, if it is still there."""
    stored = services.threads.get(previous_id, owner)
    if stored is None or services.rooms is None:
        return None
    for item in reversed(stored.response.get("response", {}).get("output", [])):
        id = item.get("container_id")
        if item.get("type") == "code_interpreter_call" and isinstance(id, str) and id:
            try:
                return services.rooms.find(owner, id).id
            except RoomError:
                return None
    return None
