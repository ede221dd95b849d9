"""Feeds to entries: RSS, Atom, RDF and JSON Feed."""

from __future__ import annotations

from datetime import datetime, timedelta

from gnomon.extract.base import FUTURE_TOLERANCE, Feed


def parse_feed(
    body: bytes,
    *,
    url: str,
    content_type: str = "",
    now: datetime,
    future_tolerance: timedelta = FUTURE_TOLERANCE,
) -> Feed:
    """Read a feed. Raises ContentError (`feed.unreadable`) when nothing can be made of it."""
    raise NotImplementedError
