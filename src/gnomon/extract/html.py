"""Web pages to articles."""

from __future__ import annotations

from datetime import datetime, timedelta

from gnomon.extract.base import FUTURE_TOLERANCE, Page


def extract_page(
    body: bytes,
    *,
    url: str,
    content_type: str = "",
    now: datetime,
    future_tolerance: timedelta = FUTURE_TOLERANCE,
) -> Page:
    """Read a page. Raises ContentError (`page.hostile`, `page.unreadable`)."""
    raise NotImplementedError
