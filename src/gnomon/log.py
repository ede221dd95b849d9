"""Structured logs: events named `noun.verb` with fields, as logfmt or JSON, on standard error.

Content and secrets never go into a log. Bind context with `structlog.contextvars`.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

from gnomon.settings import Log


def get_logger(**context: Any) -> structlog.stdlib.BoundLogger:
    """A logger with `context` on each of its events."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(**context)
    return logger


def configure(settings: Log) -> None:
    """Set level and format for the whole process. Call once, at start."""
    level = getattr(logging, settings.level.upper())
    pretty = settings.format == "auto" and sys.stderr.isatty()
    renderer: Any
    if settings.format == "json":
        renderer = structlog.processors.JSONRenderer()
    elif pretty:
        renderer = structlog.dev.ConsoleRenderer()
    else:
        renderer = structlog.processors.LogfmtRenderer(
            key_order=["timestamp", "level", "event"], drop_missing=True, bool_as_flag=False
        )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    # Libraries log through the standard module; only what an operator can act on is shown.
    logging.basicConfig(level=max(level, logging.WARNING), stream=sys.stderr)
