"""What chat completions have in common wherever they come from: endings and log-probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gnomon.models.base import FinishReason, TokenLogprob

_FINISH: Mapping[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}


def finish_reason(found: str) -> FinishReason:
    """Why a generation ended; reasons that we do not know count as an ordinary stop."""
    return _FINISH.get(found, "stop")


def logprobs(
    found: Mapping[str, Any] | None, *, most: int | None = None
) -> tuple[TokenLogprob, ...]:
    """The tokens of a choice's `logprobs`, with at most so many alternatives each."""
    return tuple(
        TokenLogprob(
            token=entry["token"],
            logprob=float(entry["logprob"]),
            top=tuple(
                (t["token"], float(t["logprob"])) for t in (entry.get("top_logprobs") or ())[:most]
            ),
        )
        for entry in (found or {}).get("content") or ()
    )
