"""Spans for OpenTelemetry, where the extra `gnomon[otel]` is installed and an endpoint is set.

Without both, a span costs one attribute check. Spans carry names, counts and durations, never
content or secrets.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gnomon.errors import ConfigError

_tracer: Any = None


def configure(endpoint: str) -> None:
    """Send spans to the OTLP/HTTP collector at `endpoint`; an empty endpoint sends nothing."""
    if not endpoint:
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise ConfigError(
            "log.otlp_endpoint is set, but OpenTelemetry is not installed.",
            code="config.otel_missing",
            hint="Install it with `pip install 'gnomon[otel]'`, or clear the setting.",
        ) from None
    provider = TracerProvider(resource=Resource.create({"service.name": "gnomon"}))
    exporter = OTLPSpanExporter(endpoint=endpoint.rstrip("/") + "/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    use(provider)


def use(provider: Any) -> None:
    """Record spans with this tracer provider; None stops recording."""
    global _tracer
    _tracer = provider.get_tracer("gnomon") if provider is not None else None


@contextmanager
def span(name: str, **attributes: str | int | float | bool) -> Iterator[None]:
    """Record what happens inside as one span."""
    if _tracer is None:
        yield
        return
    with _tracer.start_as_current_span(name, attributes=attributes):
        yield
