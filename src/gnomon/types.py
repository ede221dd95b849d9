"""The words that every room shares: what was seen, what changed, what was answered.

All times are aware UTC datetimes. All values are immutable. Offsets into text
count Unicode code points and are end-exclusive, as Python slices.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, TypeAlias

import msgspec

Cursor: TypeAlias = str
"""A source's own position in its stream; opaque to everyone else."""

KINDS = ("article", "page", "post", "comment", "alert", "paper", "release", "edit", "file")
"""The kinds of document that sources deliver. Filters accept any of them."""

RELIABILITY: Mapping[str, float] = {
    "alert": 0.9,
    "paper": 0.8,
    "release": 0.8,
    "article": 0.7,
    "file": 0.7,
    "page": 0.6,
    "edit": 0.3,
    "post": 0.3,
    "comment": 0.25,
}
"""How far a document of each kind is believed where its source has no setting of its own."""

CALL_PREFIX = "call:"
"""Keys of texts that came with a request, from functions of the client. They are not stored."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What the source's terms allow us to do with a document."""

    display: bool = True
    snippet: bool = True
    index: bool = True
    train: bool = False


class Attachment(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes that belong to a document, stored once under the SHA-256 of their content."""

    hash: str
    media_type: str
    body_bytes: int
    name: str = ""


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """One version of one thing that a source said.

    `key` is the stable identity across versions (`<source type>:<native id>`).
    `version` and `seq` are 0 until the record has stored the document; then
    `version` counts the key's versions from 1 in order of arrival and `seq` is the
    record's sequence number of this version.
    """

    key: str
    source: str
    kind: str
    text: str
    title: str = ""
    url: str = ""
    author: str = ""
    lang: str = "und"
    published_at: datetime | None = None
    """What the source claims; None where it claims nothing."""
    updated_at: datetime | None = None
    date_source: str = ""
    """Where `published_at` comes from (`feed`, `json-ld`, `meta`, …); empty if undated."""
    observed_at: datetime | None = None
    """When we saw this version, by our clock. The runner stamps it; imports carry it."""
    policy: Policy = Policy()
    reply_to: str = ""
    """Key of the document that this one answers."""
    quotes: str = ""
    """Key of the document that this one quotes."""
    attachments: tuple[Attachment, ...] = ()
    extra: Mapping[str, Any] = {}
    """Upstream fields that we keep but do not interpret. JSON values only."""
    version: int = 0
    seq: int = 0


class Upsert(msgspec.Struct, frozen=True, tag="upsert"):
    """The document is new, or this is a new version of it."""

    document: Document


class Delete(msgspec.Struct, frozen=True, tag="delete", kw_only=True):
    """The document vanished upstream. Its versions stay readable for earlier moments."""

    key: str
    observed_at: datetime | None = None


class Purge(msgspec.Struct, frozen=True, tag="purge", kw_only=True):
    """Every version must go, for every as-of, as the source's terms oblige us.

    Exactly one of `key` and `author` is set; `author` purges all that this author wrote
    in this source (an account deletion).
    """

    key: str = ""
    author: str = ""
    reason: str = ""


class Gap(msgspec.Struct, frozen=True, tag="gap", kw_only=True):
    """A loss that could not be replayed: nothing is known of [`start`, `end`)."""

    reason: str
    start: datetime | None = None
    end: datetime | None = None
    observed_at: datetime | None = None
    """When we noticed it. The record stamps it; exports and imports carry it."""


class Notice(msgspec.Struct, frozen=True, tag="notice", kw_only=True):
    """Something that an operator should read about this source."""

    code: str
    text: str
    level: str = "info"


Change: TypeAlias = Upsert | Delete | Purge | Gap | Notice


class Batch(msgspec.Struct, frozen=True):
    """Changes and the cursor that stands after them. They become durable together."""

    changes: tuple[Change, ...] = ()
    cursor: Cursor | None = None
    """None leaves the stored cursor as it is."""


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What a passage stands beside, and is read with. It is never quoted as the passage's words."""

    relation: str
    """`answers`: a post that this one replies to; `quotes`: one that it quotes."""
    text: str
    """Its beginning, on one line."""
    key: str = ""
    version: int = 0
    source: str = ""
    author: str = ""
    url: str = ""
    published_at: datetime | None = None


class Passage(msgspec.Struct, frozen=True, kw_only=True):
    """A slice of one version: `document.text[start:end] == text`."""

    document: Document
    start: int
    end: int
    text: str
    score: float = 0.0
    origin: str = ""
    """Key of the document that this near copy repeats; its own key if it is the first."""
    copies: int = 1
    """How many near copies, itself included, were folded into this passage."""
    copy_sources: tuple[str, ...] = ()
    """The sources that carried those copies."""
    context: tuple[Context, ...] = ()
    """What the document answers and quotes, nearest first."""
    reliability: float | None = None
    """How far its source is believed; None: as its kind."""


class VerdictKind(StrEnum):
    """How far the cited words carry a sentence."""

    SUPPORTED = "supported"
    PARTLY = "partly"
    NOT_SUPPORTED = "not_supported"
    CONTRADICTED = "contradicted"


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of checking one sentence against the words it cites."""

    kind: VerdictKind
    score: float
    """0 to 1; how much of the sentence the quoted words carry."""
    reasons: tuple[str, ...] = ()
    """In plain words, what was missing or differed. Empty when fully supported."""


class Citation(msgspec.Struct, frozen=True, kw_only=True):
    """A quoted span of one stored version.

    `quote` equals `text[start:end]` of version `version` of `key`, for as long as that
    version is not purged.
    """

    number: int
    key: str
    version: int
    seq: int
    start: int
    end: int
    quote: str
    title: str = ""
    url: str = ""
    source: str = ""
    author: str = ""
    kind: str = ""
    lang: str = "und"
    published_at: datetime | None = None
    observed_at: datetime | None = None
    copies: int = 1
    copy_sources: tuple[str, ...] = ()
    context: tuple[Context, ...] = ()
    """What the cited document answers and quotes, nearest first."""


class Sentence(msgspec.Struct, frozen=True, kw_only=True):
    """One sentence of an answer, the citations that it rests on, and its verdict."""

    text: str
    citations: tuple[int, ...]
    """Numbers of entries in `Answer.citations`."""
    verdict: Verdict
    origins: int = 1
    """Independent origins among what was read that say it; near copies count once."""
    also: tuple[str, ...] = ()
    """Sources of the further origins."""
    until: datetime | None = None
    """When a newer, reliable statement that excludes it was made; None while it stands."""
    disputed: bool = False
    """Whether another reliable origin says otherwise at about the same time: see the notes."""


class Superseded(msgspec.Struct, frozen=True, kw_only=True):
    """What a reliable origin said before a sentence of the answer replaced it: was …, until …"""

    text: str
    citation: Citation
    until: datetime
    sentence: int
    """Index of the sentence of the answer that replaced it."""


class Disagreement(msgspec.Struct, frozen=True, kw_only=True):
    """A reliable origin that excludes a sentence of the answer, at about the same time."""

    sentence: int
    """Index of that sentence in `Answer.sentences`."""
    other: str
    """What the other origin says, word for word; a sentence of the answer too, if there is room."""
    citation: Citation
    text: str
    """Who says what, with the times, in a sentence."""


class SourceState(msgspec.Struct, frozen=True, kw_only=True):
    """How a source stands, in one sentence and in numbers."""

    name: str
    type: str
    title: str = ""
    state: str = "starting"
    """starting | live | polling | paused | retrying | blocked | failed | gone | done."""
    text: str = ""
    """The state in a plain sentence, with cause and next step."""
    last_seen_at: datetime | None = None
    """When the source last answered (with or without news)."""
    last_document_at: datetime | None = None
    """Observation time of its newest document."""
    lag_s: float | None = None
    """Observed minus published, of the newest dated document."""
    documents: int = 0
    errors: int = 0
    next_at: datetime | None = None
    reliability: float | None = None
    """How far the operator believes it; None: by the kind of each document."""


class Freshness(msgspec.Struct, frozen=True, kw_only=True):
    """How new the evidence is, and what could not be asked."""

    newest_at: datetime | None = None
    """Time (published, else observed) of the newest evidence that the answer used."""
    newest_age_s: float | None = None
    """Age of that evidence at the answer's moment."""
    searched: int = 0
    """How many documents were searchable at that moment."""
    silent: tuple[SourceState, ...] = ()
    """Sources that were failing, blocked, paused or stale at that moment."""


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens that the writer read and wrote; zero for the extractive writer's reading."""

    input_tokens: int = 0
    output_tokens: int = 0


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A checked answer. `abstained` means that the evidence does not contain one."""

    id: str
    question: str
    created_at: datetime
    as_of: datetime | None = None
    """None: asked about now."""
    sentences: tuple[Sentence, ...] = ()
    citations: tuple[Citation, ...] = ()
    abstained: bool = False
    closest: Citation | None = None
    """The closest passage, shown when the answer abstains."""
    freshness: Freshness = Freshness()
    writer: str = "extractive"
    notes: tuple[str, ...] = ()
    """What a reader must know: a model that is missing, a filter that was applied."""
    disagreements: tuple[Disagreement, ...] = ()
    superseded: tuple[Superseded, ...] = ()
    follow_ups: tuple[str, ...] = ()
    """Questions that this answer leaves open and the record answers, where they were wished for."""
    timings_ms: Mapping[str, float] = {}
    usage: Usage = Usage()

    @property
    def text(self) -> str:
        """The answer as plain text, with `[n]` after each sentence that cites."""
        return " ".join(s.text + "".join(f" [{n}]" for n in s.citations) for s in self.sentences)


class SourceConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One configured source: which connector, with which settings."""

    name: str
    """Unique, stable, readable: `feed:www.example.org/news.xml`."""
    type: str
    """Name of the connector's `SourceSpec`."""
    settings: Mapping[str, Any] = {}
    title: str = ""
    paused: bool = False
    keep: timedelta | None = None
    """Retention: versions that ended or were observed longer ago are removed; None keeps all."""
