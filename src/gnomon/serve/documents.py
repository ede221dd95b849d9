"""`/v1/documents` and `/saved`: what was seen, as it was when it was seen.

A saved copy is shown as plain escaped text with the quoted words marked. Nothing of a
document is shown that its source's terms withhold, and a purged one says only that it is gone.
"""

from __future__ import annotations

from datetime import datetime
from html import escape
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from gnomon.clock import is_day
from gnomon.record.base import Found, Life
from gnomon.serve.compose import is_web, saved_url
from gnomon.serve.errors import ApiError, shown
from gnomon.serve.moments import iso, moment
from gnomon.serve.search import Moment
from gnomon.serve.services import Services
from gnomon.serve.wire import JsonResponse, base_url, services_of
from gnomon.types import Document

router = APIRouter(tags=["Documents"])

Version = Annotated[int | None, Query(ge=1, le=2**31)]
Offset = Annotated[int | None, Query(ge=0, le=2**31)]


@router.get("/v1/documents/{key:path}", summary="Read a document as it was")
def get_document(
    key: str, request: Request, as_of: Moment = None, version: Version = None
) -> Response:
    """How the document stands at a moment (or that very version), its text, its versions."""
    services = services_of(request)
    when = moment(as_of, services.clock, param="as_of")
    found = _find(services, key, when, version)
    if found.life in _GONE:
        raise _gone(key, found)
    document = found.document
    services.listed([document] if document else [])
    versions = [
        _metadata(d) for d in services.record.versions(key) if when is None or _seen_by(d, when)
    ]
    return JsonResponse(
        {
            "key": key,
            "life": found.life.value,
            "since": msgspec.to_builtins(found.since),
            "reason": found.reason,
            "as_of": msgspec.to_builtins(when),
            "document": _full(document) if document else None,
            "saved_url": (
                saved_url(key, document.version, base_url(request, services)) if document else None
            ),
            "versions": versions,
        }
    )


@router.get("/saved/{key:path}", summary="See a saved copy", response_class=HTMLResponse)
def saved_copy(
    key: str,
    request: Request,
    version: Version = None,
    start: Offset = None,
    end: Offset = None,
    as_of: Moment = None,
) -> Response:
    """The saved text as a plain page, with `start` to `end` marked."""
    services = services_of(request)
    when = moment(as_of, services.clock, param="as_of")
    found = _read(services, key, when, version)
    status = 404 if found.life is Life.UNKNOWN else 410 if found.life in _GONE else 200
    if status == 200 and found.document is not None:
        services.listed([found.document])
    later = _later(services, key, found) if version is not None else ""
    return HTMLResponse(_page(key, found, start, end, later), status_code=status)


_GONE = (Life.PURGED, Life.EXPIRED)


def _read(services: Services, key: str, when: datetime | None, version: int | None) -> Found:
    if version is not None and when is not None:
        raise ApiError(
            400, "Give version or as_of, not both.", code="request.invalid", param="version"
        )
    if version is not None:
        return services.record.version(key, version)
    return services.record.get(key, when)


def _find(services: Services, key: str, when: datetime | None, version: int | None) -> Found:
    found = _read(services, key, when, version)
    if found.life is Life.UNKNOWN:
        what = f"version {version} of {shown(key)}" if version else shown(key)
        at = f" as of {iso(when)}" if when else ""
        raise ApiError(404, f"Nothing is known of {what}{at}.", code="document.unknown")
    return found


def _gone(key: str, found: Found) -> ApiError:
    since = iso(found.since) if found.since else "an unknown moment"
    return ApiError(
        410,
        f"{shown(key)} was {_GONE_WORDS[found.life]} at {since}. {found.reason}".strip(),
        code=f"document.{found.life.value}",
        life=found.life.value,
        since=iso(found.since) if found.since else None,
        reason=found.reason,
    )


def _seen_by(document: Document, when: datetime) -> bool:
    return document.observed_at is not None and document.observed_at <= when


def _metadata(document: Document) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(document)
    del plain["text"], plain["extra"]
    if not document.policy.display:
        plain["title"] = ""
    if not is_web(document.url):
        plain["url"] = ""
    return plain


def _full(document: Document) -> dict[str, Any]:
    plain = _metadata(document)
    plain["withheld"] = not document.policy.display
    if document.policy.display:
        plain["text"] = document.text
        plain["extra"] = msgspec.to_builtins(document.extra)
    return plain


_GONE_WORDS = {
    Life.PURGED: "purged, as its source's terms oblige",
    Life.EXPIRED: "removed by the retention set here",
}


def _later(services: Services, key: str, found: Found) -> str:
    """What became of this version since, as markup; empty if it still stands."""
    now = services.record.get(key)
    if now.life is Life.DELETED:
        return _state(now)
    if found.document is None or now.document is None:
        return ""
    if now.document.version == found.document.version:
        return ""
    newer = escape(saved_url(key, now.document.version), quote=True)
    since = _time(now.since) if now.since else "later"
    return f'This is an earlier version. <a href="{newer}">The newest one</a> was seen {since}.'


def _page(key: str, found: Found, start: int | None, end: int | None, later: str) -> str:
    document = found.document
    title = "Saved copy"
    if document is not None and document.policy.display and document.title:
        title = document.title
    body = "".join(_body(key, found, start, end, later))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)} · Gnomon</title>"
        '<link rel="icon" href="/static/icon.svg" type="image/svg+xml">'
        '<link rel="stylesheet" href="/static/saved.css">'
        '<script type="module" src="/static/saved.js"></script></head>'
        '<body class="saved"><header class="top"><a class="wordmark" href="/">'
        '<img src="/static/icon.svg" alt="">Gnomon</a>'
        '<span class="kind">Saved copy</span></header>'
        f'<main class="sheet">{body}</main></body></html>'
    )


def _body(key: str, found: Found, start: int | None, end: int | None, later: str) -> list[str]:
    document = found.document
    if document is None or found.life in _GONE:
        return [f"<h1>{escape(shown(key))}</h1>", f'<p class="banner">{_state(found)}</p>']
    withheld = not document.policy.display
    parts = [f"<h1>{escape(document.title or key) if not withheld else escape(key)}</h1>"]
    parts.append(f'<p class="facts">{_facts(document)}</p>')
    if found.life is Life.DELETED:
        later = _state(found)
    if later:
        parts.append(f'<p class="banner">{later}</p>')
    if is_web(document.url):
        parts.append(
            f'<p><a href="{escape(document.url, quote=True)}" rel="noopener noreferrer nofollow" '
            f'target="_blank">Open the original</a></p>'
        )
    if withheld:
        parts.append('<p class="banner">The source\'s terms do not allow showing its text.</p>')
    else:
        parts.append(f'<div class="copy">{_marked(document.text, start, end)}</div>')
    return parts


def _facts(document: Document) -> str:
    facts = [escape(document.source)]
    if document.author:
        facts.append(escape(document.author))
    if document.published_at:
        facts.append(f"published {_published(document)}")
    if document.observed_at:
        facts.append(f"seen {_time(document.observed_at)}")
    facts.append(f"version {document.version}")
    return " · ".join(facts)


def _published(document: Document) -> str:
    when = document.published_at
    if when is not None and is_day(when):
        return f'<time datetime="{when:%Y-%m-%d}">{when:%Y-%m-%d}</time>'
    there = document.extra.get("published_day")
    day = f" ({escape(there)} at the publisher's)" if isinstance(there, str) else ""
    return _time(when) + day if when is not None else ""


def _state(found: Found) -> str:
    since = f" {_time(found.since)}" if found.since else ""
    reason = f" {escape(found.reason)}" if found.reason else ""
    if found.life is Life.PURGED:
        return f"Purged{since}, as its source's terms oblige.{reason}"
    if found.life is Life.EXPIRED:
        return f"Removed{since} by the retention set here.{reason}"
    if found.life is Life.DELETED:
        return f"The source removed this{since}. What follows is what was seen before."
    return "Nothing is known under this key."


def _time(when: datetime) -> str:
    return f'<time datetime="{iso(when)}">{when:%Y-%m-%d %H:%M:%S} UTC</time>'


def _marked(text: str, start: int | None, end: int | None) -> str:
    if start is None or end is None or not start < end <= len(text):
        return escape(text)
    return (
        f"{escape(text[:start])}"
        f'<mark id="quote">{escape(text[start:end])}</mark>'
        f"{escape(text[end:])}"
    )
