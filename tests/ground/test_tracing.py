"""Spans: nothing without a provider, names and attributes with one."""

import sys

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from gnomon import tracing
from gnomon.errors import ConfigError


def test_spans_reach_the_exporter_with_their_attributes() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with tracing.span("before"):
        pass
    tracing.use(provider)
    try:
        with tracing.span("answer.retrieve", hits=3):
            pass
    finally:
        tracing.use(None)
    (span,) = exporter.get_finished_spans()
    assert (span.name, dict(span.attributes or {})) == ("answer.retrieve", {"hits": 3})


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(ConfigError, match=r"gnomon\[otel\]"):
        tracing.configure("http://127.0.0.1:4318")
