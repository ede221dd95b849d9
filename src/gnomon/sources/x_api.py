"""X's HTTP API v2: asking, what its refusals mean, and how long to wait after each of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from gnomon.errors import (
    ContentError,
    GnomonError,
    Transient,
    UpstreamError,
    UpstreamTerminal,
    UpstreamTransient,
)
from gnomon.sources.base import Context

STREAM_FIELDS = {
    "tweet.fields": "author_id,conversation_id,created_at,edit_history_tweet_ids,entities,lang,"
    "note_tweet,possibly_sensitive,public_metrics,referenced_tweets,withheld",
    "user.fields": "name,protected,username,withheld",
    "expansions": "author_id",
}
FIELDS = {
    "post.fields": "conversation_id,created_at,entities,id,lang,note_post,possibly_sensitive,"
    "public_metrics,text,withheld",
    "user.fields": "id,name,protected,username,withheld",
    "expansions": "author_id,edit_history_post_ids,referenced_posts",
}
"""The stream still speaks of tweets, everything else of posts."""

_NO_CREDIT_RETRY_S = 3_600.0


class Api:
    """One app's access to the API."""

    def __init__(self, ctx: Context, base: str, token: str) -> None:
        self._ctx = ctx
        self._base = base.rstrip("/")
        self.headers = {"authorization": f"Bearer {token}"}

    def url(self, path: str, params: Mapping[str, Any] | None = None) -> str:
        """The address of `path`."""
        query = f"?{urlencode(params, safe=',')}" if params else ""
        return f"{self._base}{path}{query}"

    async def get(self, path: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Ask. Raises as `answer_of` does, and what the door raises."""
        return await self._ask("GET", path, params, None)

    async def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send JSON."""
        return await self._ask("POST", path, None, json.dumps(body).encode())

    async def _ask(
        self, method: str, path: str, params: Mapping[str, Any] | None, content: bytes | None
    ) -> dict[str, Any]:
        headers = {**self.headers, "content-type": "application/json"} if content else self.headers
        response = await self._ctx.fetcher.fetch(
            self.url(path, params),
            purpose="feed",
            method=method,
            headers=headers,
            content=content,
            max_body_bytes=20_000_000,
        )
        if response.status >= 400:
            raise refusal(path, response.status, response.body.decode("utf-8", "replace"))
        return answer_of(path, response.body)


def answer_of(path: str, body: bytes) -> dict[str, Any]:
    """A JSON object. Raises UpstreamTransient for anything else."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise UpstreamTransient(f"X answers {path} with no JSON object.", code="x.unreadable")
    return answer


def refusal(path: str, status: int, body: str) -> UpstreamError:
    """The error that an answer of 4xx means."""
    said = _said(body)
    detail = f" and says: {said}" if said else ""
    message = f"X answers {path} with {status}{detail}."
    if status == 402:
        return UpstreamTransient(
            message,
            code="x.no_credit",
            retry_after_s=_NO_CREDIT_RETRY_S,
            hint="Buy credits in X's developer console.",
            status=status,
        )
    if status in (401, 403):
        return UpstreamTerminal(
            message,
            code="source.forbidden",
            hint="Check bearer_token, and what the app's plan allows.",
            status=status,
        )
    if status == 400:
        return UpstreamTerminal(
            message, code="source.refused", hint="Check the rules.", status=status
        )
    return UpstreamTransient(message, code="source.refused", status=status)


def limited(path: str, error: UpstreamTransient) -> UpstreamTransient:
    """The error with what X says of a limit that was hit; any other as it is."""
    body = str(error.fields.get("body") or "")
    if error.fields.get("status") != 429 or not (said := _said(body)):
        return error
    message = f"X answers {path} with 429 and says: {said}."
    if "TooManyConnections" in body:
        message += " One app has one stream: put all rules into one source, or set mode to search."
    return UpstreamTransient(
        message,
        code=error.code,
        hint=error.hint,
        retry_after_s=error.retry_after_s,
        **error.fields,
    )


def _said(body: str) -> str:
    """The explanation in a problem document, for people."""
    try:
        problem = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(problem, dict):
        return ""
    errors = problem.get("errors")
    first = errors[0] if isinstance(errors, list) and errors else problem
    holder = first if isinstance(first, dict) else problem
    text = holder.get("message") or holder.get("detail") or problem.get("detail") or ""
    return str(text)[:300].rstrip(". ")


def trouble_of(error: UpstreamError) -> str:
    """Which of X's three back-offs an error calls for: `tcp`, `http` or `limit`."""
    status = error.fields.get("status")
    if status == 429:
        return "limit"
    return "http" if isinstance(status, int) and status >= 400 else "tcp"


def wait_s(trouble: str, attempt: int) -> float:
    """Seconds before attempt number `attempt` (0: the first after a sound connection).

    At once; then by X's rules for the kind of trouble.
    """
    if trouble == "limit":
        return min(60.0 * 2.0 ** min(attempt, 5), 960.0)
    if trouble == "http":
        return min(5.0 * 2.0 ** min(attempt, 7), 320.0)
    return min(0.25 * attempt, 16.0)


def patient(error: UpstreamError, attempt: int, now: datetime) -> GnomonError:
    """The error, told to wait as X wants: longer of the back-off and what the answer names."""
    if not isinstance(error, Transient):
        return error
    asked = max(error.retry_after_s or 0.0, _reset_s(error, now))
    wait = max(wait_s(trouble_of(error), attempt), asked)
    message, fields = error.message, {k: v for k, v in error.fields.items() if k != "headers"}
    return UpstreamTransient(
        message, code=error.code, hint=error.hint, retry_after_s=wait, **fields
    )


def _reset_s(error: GnomonError, now: datetime) -> float:
    """Seconds until the limit that was hit is lifted; 0 if the answer does not tell."""
    headers = error.fields.get("headers")
    reset = headers.get("x-rate-limit-reset", "") if isinstance(headers, Mapping) else ""
    if error.fields.get("status") != 429 or not str(reset).isdigit():
        return 0.0
    # Another's clock may be wrong: X's windows last 15 minutes.
    return min(max(int(reset) - now.timestamp(), 0.0), 900.0)


def unreadable(error: ContentError) -> UpstreamTransient:
    """A body past all limits is trouble with the connection, not with one post."""
    return UpstreamTransient(error.message, code=error.code)
