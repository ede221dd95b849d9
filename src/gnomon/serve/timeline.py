"""`/v1/timeline`: when what matches a question was published."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from gnomon.answer.words import content
from gnomon.index.base import Query as IndexQuery
from gnomon.serve.errors import bad_request
from gnomon.serve.moments import moment
from gnomon.serve.search import Moment
from gnomon.serve.wire import JsonResponse, services_of

router = APIRouter(tags=["Search"])

BEST = 200
"""Only the documents that match best are counted: of the others most tell of something else."""
_SPAN = timedelta(days=7)
_POSTS = ("post", "comment")


@router.get("/v1/timeline", summary="When it was published")
def timeline(
    request: Request,
    question: Annotated[str, Query(min_length=1, max_length=20_000)],
    since: Moment = None,
    until: Moment = None,
    buckets: Annotated[int, Query(ge=2, le=500)] = 60,
) -> Response:
    """Articles and posts in equal parts of a time, of the 200 documents that match best.

    Without `since` the time begins with the earliest of the week before `until`.
    """
    services = services_of(request)
    now = services.clock.now()
    end = moment(until, services.clock, param="until", bound=True) or now
    start = moment(since, services.clock, param="since", bound=True)
    if start is not None and start >= end:
        raise bad_request("since is not before until.", param="since")
    words = " ".join(word.text for word in content(question)) or question
    hits = services.index.search(
        IndexQuery(
            text=words,
            limit=BEST,
            mode="lexical",
            as_of=end if end < now else None,
            since=start or end - _SPAN,
            until=end + timedelta(microseconds=1),
            recency=0.0,
        )
    ).hits
    begin = start or min((hit.time for hit in hits), default=end - _SPAN)
    part = max((end - begin) / buckets, timedelta(microseconds=1))
    counts = [[0, 0] for _ in range(buckets)]
    documents = services.record.by_seq([hit.seq for hit in hits])
    for hit, document in zip(hits, documents, strict=True):
        if document is not None:
            at = min(buckets - 1, max(0, int((hit.time - begin) / part)))
            counts[at][document.kind in _POSTS] += 1 + len(hit.copies)
    return JsonResponse(
        {
            "since": _iso(begin),
            "until": _iso(end),
            "bucket_s": part.total_seconds(),
            "buckets": [
                {"at": _iso(begin + n * part), "articles": articles, "posts": posts}
                for n, (articles, posts) in enumerate(counts)
            ],
        }
    )


def _iso(when: datetime) -> str:
    plain: str = msgspec.to_builtins(when)
    return plain
