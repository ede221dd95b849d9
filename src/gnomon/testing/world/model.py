"""The words of the demo world: outlets, items and their versions, facts, topics."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

import msgspec

from gnomon.testing.scripted_feed import FeedFormat

Ending = Literal["tombstone", "vanished"]


class Outlet(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who publishes a feed."""

    name: str
    title: str
    format: FeedFormat
    lang: str = "en"
    kind: str = "article"
    reliable: bool = True
    """Whether its word alone makes a fact known. Single items may deviate."""
    phase_s: float = 0.0
    """Where in the polling grid its polls fall."""

    @property
    def source(self) -> str:
        """Name of the source that follows it; stable across restarts."""
        return f"demo:{self.name}"

    @property
    def path(self) -> str:
        """Where the feed server serves it."""
        return f"/{self.name}/feed.{'json' if self.format == 'json' else 'xml'}"


OUTLETS: Mapping[str, Outlet] = {
    outlet.name: outlet
    for outlet in (
        Outlet(name="herald", title="The Quillhaven Herald", format="atom", phase_s=3),
        Outlet(name="radio", title="Radio Averel", format="rss", phase_s=7),
        Outlet(name="townhall", title="Quillhaven Town Hall", format="json", phase_s=11),
        Outlet(
            name="harbour",
            title="Quillhaven Harbour and Weather Office",
            format="atom",
            kind="alert",
            phase_s=13,
        ),
        Outlet(
            name="noticeboard",
            title="Quillhaven Noticeboard",
            format="rss",
            kind="post",
            reliable=False,
            phase_s=17,
        ),
        Outlet(name="bote", title="Averel-Bote", format="rss", lang="de", phase_s=19),
        Outlet(name="faro", title="El Faro de Averel", format="atom", lang="es", phase_s=29),
        Outlet(name="digest", title="Coastline Digest", format="rss", reliable=False, phase_s=23),
    )
}


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """What an item says from `at` on."""

    at: datetime
    title: str
    text: str
    """Plain text; blank lines part paragraphs."""
    tells: tuple[tuple[str, str], ...] = ()
    """(topic, label) of every value that it states as current."""
    reliable: bool = True
    html: str = ""
    """Markup as published where it is more than `text` (the hostile items)."""


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that an outlet published, with its edits and its end."""

    outlet: str
    id: str
    versions: tuple[Version, ...]
    author: str = ""
    ends_at: datetime | None = None
    ending: Ending | None = None
    copy_of: str = ""
    """Key of the item that this one repeats."""
    hostile: bool = False

    @property
    def published_at(self) -> datetime:
        """When it first appeared."""
        return self.versions[0].at

    @property
    def entry_id(self) -> str:
        """Its id in the feed; a tag URI (RFC 4151), as Atom wants an IRI."""
        return f"tag:{self.outlet}.quillhaven.example,2026:{self.id}"

    @property
    def key(self) -> str:
        """Key of the document that the feed connector makes of it."""
        return f"{OUTLETS[self.outlet].source}#{self.entry_id}"

    @property
    def url(self) -> str:
        """Its address; the host is reserved and does not exist, so it never moves with a port."""
        return f"https://{self.outlet}.quillhaven.example/{self.id}"

    def version_at(self, moment: datetime) -> Version | None:
        """What it says at `moment`; None before it is published and after its end."""
        if self.ends_at is not None and self.ends_at <= moment:
            return None
        said = None
        for version in self.versions:
            if version.at <= moment:
                said = version
        return said


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """One value of a topic, true from `start` until the topic's next fact starts."""

    topic: str
    label: str
    says: str
    """The value in words."""
    answers: tuple[str, ...]
    """Regular expressions, case ignored; an answer that matches one states this value."""
    start: datetime


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """Something that one can ask about."""

    id: str
    questions: tuple[str, ...]
    """Phrasings of the same question, in English."""
    asked: tuple[tuple[str, str], ...] = ()
    """(language, phrasing) in other languages."""
