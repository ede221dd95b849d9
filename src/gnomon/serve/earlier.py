"""What was said before a response that goes on from a stored one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gnomon.answer.base import Turn
from gnomon.serve.conversation import MAX_TURNS
from gnomon.serve.errors import ApiError, shown
from gnomon.serve.services import Services


def history(services: Services, previous_id: str, owner: str) -> tuple[Turn, ...]:
    """The questions and answers up to and with a stored response. Raises ApiError 400."""
    _must_be_stored(services, previous_id, owner)
    return tuple(services.threads.history(previous_id, owner))


def items_before(services: Services, previous_id: str, owner: str) -> list[dict[str, Any]]:
    """What was said up to and with a stored response, oldest first. Raises ApiError 400."""
    _must_be_stored(services, previous_id, owner)
    return _items(services, previous_id, owner)


def _must_be_stored(services: Services, previous_id: str, owner: str) -> None:
    if services.threads.get(previous_id, owner) is None:
        raise ApiError(
            400,
            f"previous_response_id = {shown(previous_id)} names no stored response.",
            code="previous_response_not_found",
            param="previous_response_id",
            hint="Responses made with store=false cannot be continued.",
        )


def answers_earlier_calls(items: Sequence[Mapping[str, Any]]) -> bool:
    """Whether these items hold what an earlier response asked for: results, or an approval."""
    made = {item.get("call_id") for item in items if item.get("type") == "function_call"}
    made |= {item.get("id") for item in items if item.get("type") == "mcp_approval_request"}
    return any(
        (item.get("type") == "function_call_output" and item.get("call_id") not in made)
        or (
            item.get("type") == "mcp_approval_response"
            and item.get("approval_request_id") not in made
        )
        for item in items
    )


def _items(services: Services, response_id: str, owner: str) -> list[dict[str, Any]]:
    """What was said and done up to and with a stored response, oldest first."""
    chain: list[list[dict[str, Any]]] = []
    at: str | None = response_id
    while at is not None and len(chain) < MAX_TURNS:
        stored = services.threads.get(at, owner)
        if stored is None or "response" not in stored.response:
            break
        response = stored.response["response"]
        chain.append([*stored.response["input"], *response["output"]])
        at = response.get("previous_response_id")
    return [item for items in reversed(chain) for item in items]
