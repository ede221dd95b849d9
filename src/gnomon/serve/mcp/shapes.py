"""What the MCP tools take and return, typed; the models' field docs are what a caller reads.

Results are cut from what the HTTP API returns: names are the same, and what a model has no use for
is left out. Everything that a third party wrote stands in fields of its own.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, model_validator

SCHEME = "gnomon://documents/"
MAX_TEXT_CHARS = 40_000

AsOf = Annotated[
    str,
    Field(
        max_length=64,
        description="Answer with what was known at this moment: ISO 8601 with a zone, "
        "`2 hours ago`, or `yesterday 14:05` (UTC). Empty: now.",
    ),
]
Names = Annotated[list[str], Field(max_length=50)]


def document_uri(key: str, version: int | None = None) -> str:
    """The resource of a document, or of that version of it."""
    return f"{SCHEME}{quote(key, safe=':/')}" + (f"?version={version}" if version else "")


class _Args(BaseModel):
    model_config = ConfigDict(extra="forbid")

    as_of: AsOf = ""


class _Filters(_Args):
    sources: Names = Field([], description="Only these sources, by name.")
    kinds: Names = Field([], description="Only these kinds, such as article or post.")
    langs: Names = Field([], description="Only these languages, such as en.")
    authors: Names = Field([], description="Only these authors.")
    domains: Names = Field([], description="Only these sites.")


class SearchArgs(_Filters):
    """What to look for."""

    query: str = Field(max_length=2_000, description='Words, "phrases", +must, -not.')
    since: str = Field("", max_length=64, description="Published at or after: time or date.")
    until: str = Field("", max_length=64, description="Published before: time or date.")
    newest: bool = Field(False, description="Newest first instead of best first.")
    limit: int = Field(10, ge=1, le=50)


class OpenArgs(_Args):
    """Which document to read."""

    key: str = Field(max_length=2_000, description="The document's key, from a hit or citation.")
    version: int | None = Field(None, ge=1, description="That very version, instead of as_of.")
    offset: int = Field(0, ge=0, description="Where in the text to begin, in characters.")
    max_chars: int = Field(10_000, ge=1, le=MAX_TEXT_CHARS, description="How much text at most.")


class AskArgs(_Filters):
    """What to answer."""

    question: str = Field(max_length=20_000)
    since: str = Field("", max_length=64, description="Cite only what was published since.")
    until: str = Field("", max_length=64, description="Cite only what was published before.")
    quotes_only: bool = Field(False, description="Answer in the sources' own words alone.")
    max_sentences: int = Field(4, ge=1, le=20)


class ChangedArgs(_Filters):
    """What to compare, between `since` and `as_of`."""

    question: str = Field(max_length=20_000)
    since: str = Field(max_length=64, description="The earlier moment, such as `2 hours ago`.")


class SourcesArgs(_Args):
    """Which moment the sources are listed for."""


# -- results -----------------------------------------------------------------
class _Result(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _Linked(_Result):
    """Something with a key; its resource is made from that."""

    key: str
    version: int
    uri: str = ""

    @model_validator(mode="after")
    def _link(self) -> _Linked:
        self.uri = document_uri(self.key, self.version)
        return self


class Hit(_Linked):
    """A document that was found."""

    title: str
    url: str
    saved_url: str
    source: str
    kind: str
    author: str
    published_at: str | None
    observed_at: str | None
    snippet: str
    withheld: bool
    copies: int


class SearchResult(_Result):
    """The hits, best first."""

    as_of: str | None
    hits: list[Hit]


class VersionFacts(_Result):
    """A version that the document had."""

    version: int
    observed_at: str | None


class DocumentResult(_Linked):
    """A document as it was at a moment."""

    life: str
    title: str
    url: str
    source: str
    kind: str
    author: str
    lang: str
    published_at: str | None
    observed_at: str | None
    saved_url: str
    withheld: bool
    text: str
    offset: int
    next_offset: int | None
    total_chars: int
    versions: list[VersionFacts]


class Cited(_Linked):
    """A quoted span of a saved document."""

    number: int
    quote: str
    title: str
    url: str
    saved_url: str
    source: str
    published_at: str | None
    observed_at: str | None
    copies: int


class CheckedSentence(_Result):
    """A sentence with the verdict on it, computed from the words that it cites."""

    text: str
    citations: list[int]
    verdict: Literal["supported", "partly", "not_supported", "contradicted"]
    score: float
    reasons: list[str]

    @model_validator(mode="before")
    @classmethod
    def _flat(cls, given: Any) -> Any:
        if isinstance(given, dict) and isinstance(given.get("verdict"), dict):
            verdict = given["verdict"]
            return given | verdict | {"verdict": verdict["kind"]}
        return given


class SilentSource(_Result):
    """A source that brought nothing when it should have."""

    name: str
    state: str
    text: str


class AnswerResult(_Result):
    """A checked answer."""

    text: str
    abstained: bool
    as_of: str | None
    sentences: list[CheckedSentence]
    citations: list[Cited]
    closest: Cited | None
    newest_at: str | None
    newest_age_s: float | None
    silent: list[SilentSource]
    disagreements: list[str]
    notes: list[str]

    @model_validator(mode="before")
    @classmethod
    def _flat(cls, given: Any) -> Any:
        if isinstance(given, dict) and "freshness" in given:
            disputes = [d["text"] for d in given["disagreements"]]
            return {**given, **given["freshness"], "disagreements": disputes}
        return given


class Statement(_Result):
    """What was said at one of the two moments."""

    text: str
    citation: Cited


class Cause(_Result):
    """What was seen that made the difference."""

    deed: str
    key: str
    version: int
    at: str
    source: str
    title: str


class Change(_Result):
    """How a statement stood, and stands."""

    status: str
    before: Statement | None
    after: Statement | None
    cause: Cause | None
    note: str


class ChangedResult(_Result):
    """What changed between two moments."""

    changed: bool
    summary: str
    start: str
    end: str
    changes: list[Change]
    before: AnswerResult
    after: AnswerResult


class Source(_Result):
    """A source that is followed."""

    name: str
    type: str
    title: str
    state: str
    text: str
    last_document_at: str | None
    lag_s: float | None
    documents: int


class SourcesResult(_Result):
    """Everything that is followed."""

    sources: list[Source]
