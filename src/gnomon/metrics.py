"""Every metric that Gnomon exports, in one place: `gnomon_<noun>_<unit>`.

The four headline numbers are source lag, index lag, answer latency and the share of unsupported
sentences. Each count of something dropped carries a `reason`.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

REGISTRY = CollectorRegistry()

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 10, 30, 60)

SOURCE_CHANGES = Counter(
    "gnomon_source_changes_total",
    "Changes handed over by sources.",
    ["source", "op"],
    registry=REGISTRY,
)
SOURCE_SKIPPED = Counter(
    "gnomon_source_skipped_total",
    "Items that a source skipped.",
    ["source", "reason"],
    registry=REGISTRY,
)
SOURCE_ERRORS = Counter(
    "gnomon_source_errors_total",
    "Failures of a source, by error code.",
    ["source", "code"],
    registry=REGISTRY,
)
SOURCE_LAG = Gauge(
    "gnomon_source_lag_seconds",
    "Observed minus published, of the newest dated document.",
    ["source"],
    registry=REGISTRY,
)
INDEX_LAG = Histogram(
    "gnomon_index_lag_seconds",
    "From durable in the record to searchable.",
    buckets=_SECONDS,
    registry=REGISTRY,
)
INDEX_SEQ = Gauge(
    "gnomon_index_applied_seq",
    "Sequence number up to which everything is searchable.",
    registry=REGISTRY,
)
RECORD_SEQ = Gauge("gnomon_record_last_seq", "Newest sequence number.", registry=REGISTRY)
RECORD_BYTES = Gauge("gnomon_record_body_bytes", "Size of the record.", registry=REGISTRY)
FETCHES = Counter(
    "gnomon_fetch_requests_total",
    "Exchanges through the door, by purpose and outcome.",
    ["purpose", "outcome"],
    registry=REGISTRY,
)
ANSWER_LATENCY = Histogram(
    "gnomon_answer_latency_seconds",
    "From question to a stage of the answer.",
    ["stage"],
    buckets=_SECONDS,
    registry=REGISTRY,
)
SENTENCES = Counter(
    "gnomon_answer_sentences_total",
    "Sentences written, by verdict.",
    ["writer", "verdict"],
    registry=REGISTRY,
)
WEB_LOOKS = Counter(
    "gnomon_answer_web_total",
    "Answers that wanted the web, by what came of it.",
    ["outcome"],
    registry=REGISTRY,
)
MODEL_LOADS = Counter(
    "gnomon_model_loads_total",
    "Registered models that were loaded, or could not be.",
    ["outcome"],
    registry=REGISTRY,
)
MODEL_SWAPS = Counter(
    "gnomon_model_swaps_total",
    "Times that another registered model took over.",
    registry=REGISTRY,
)
CODE_RUNS = Counter(
    "gnomon_code_runs_total",
    "Runs of code in closed rooms, by how they ended.",
    ["ended"],
    registry=REGISTRY,
)
MCP_CALLS = Counter(
    "gnomon_mcp_calls_total",
    "Calls of remote MCP servers, by outcome.",
    ["outcome"],
    registry=REGISTRY,
)
REQUESTS = Counter(
    "gnomon_http_requests_total",
    "HTTP requests, by route and status.",
    ["route", "status"],
    registry=REGISTRY,
)
GRPC_CALLS = Counter(
    "gnomon_grpc_calls_total",
    "gRPC calls, by method and status.",
    ["rpc", "status"],
    registry=REGISTRY,
)


def render() -> bytes:
    """All metrics in Prometheus' text format."""
    return generate_latest(REGISTRY)
