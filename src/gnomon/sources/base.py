"""The contract of a source: one module, one `SourceSpec`, one `follow`.

Rules that `gnomon.testing.check_source` holds every source to:

* The cursor of a batch never passes changes that were not handed over with or before it.
* Delivery is at least once, so keys are stable: the same thing gets the same key after a restart.
* Unknown upstream fields are kept in `extra` or counted, never fatal; one bad item is a
  `Notice` or a count, never the end of the stream.
* A loss that cannot be replayed is a `Gap`.
* `follow` raises `UpstreamError`s (transient ones are retried by the runner with back-off) and
  returns when the source has an end (a file). It is always driven under `contextlib.aclosing`.
"""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import msgspec
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from gnomon.clock import Clock
from gnomon.errors import ConfigError
from gnomon.net.base import Fetcher
from gnomon.settings import Ingest
from gnomon.types import Batch, Cursor, Policy, SourceConfig


class SourceSettings(BaseModel):
    """Base of a source's settings: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_requests_per_day: int | None = Field(
        None, ge=1, description="Requests a day (UTC); none takes `ingest.max_requests_per_day`."
    )
    max_mib_per_day: int | None = Field(
        None, ge=1, description="Mebibytes a day (UTC); none takes `ingest.max_mib_per_day`."
    )
    reliability: float | None = Field(
        None, ge=0, le=1, description="How far it is believed; none: by the kind of a document."
    )


def reveal(secret: SecretStr) -> str:
    """The value of a secret setting: as it stands, or from `env:NAME` or `file:PATH`.

    Secrets are declared as `SecretStr` in a source's settings; whoever shows settings shows
    references as they are and hides everything else. Raises ConfigError `source.secret`.
    """
    kind, _, name = (text := secret.get_secret_value()).partition(":")
    if kind == "env":
        found = os.environ.get(name, "")
    elif kind == "file":
        try:
            found = Path(name).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"The secret file {name} cannot be read: {error.strerror or error}."
                if isinstance(error, OSError)
                else f"The secret file {name} holds no text.",
                code="source.secret",
                hint="Correct the path, or who may read it.",
                path=name,
            ) from None
    else:
        return text
    if not found:
        raise ConfigError(
            f"The secret {text} is empty.",
            code="source.secret",
            hint="Set that variable where `gnomon up` starts, and restart."
            if kind == "env"
            else "Write the secret into that file.",
            reference=text,
        )
    return found


class Context(Protocol):
    """What the runner lends to a running source. Nothing else of the house is reachable."""

    @property
    def config(self) -> SourceConfig:
        """The source's name and raw settings."""
        ...

    @property
    def settings(self) -> Any:
        """The parsed settings, an instance of the spec's `settings` class."""
        ...

    @property
    def fetcher(self) -> Fetcher:
        """The guarded door."""
        ...

    @property
    def clock(self) -> Clock:
        """Time; also `clock.sleep`, which the runner can interrupt."""
        ...

    @property
    def rng(self) -> random.Random:
        """Randomness, for jitter."""
        ...

    @property
    def limits(self) -> Ingest:
        """The operator's bounds on schedules and back-off."""
        ...

    @property
    def contact(self) -> str:
        """Whom services may write to (`net.contact`), as the user agent says it; may be empty."""
        ...

    def heard(self, *, state: str = "", text: str = "", next_in_s: float | None = None) -> None:
        """The source answered just now, with or without news; shown as its health."""
        ...

    def count(self, reason: str, n: int = 1) -> None:
        """Count something that was skipped, by a short reason (`item.unparsable`)."""
        ...

    def subscribed(self, hub: str, topic: str) -> bool:
        """Ask the WebSub hub to tell of news in `topic`; whether it does so now.

        When it tells, the source's sleep ends early. Always False without `server.public_url`.
        """
        ...

    async def held(
        self, since: datetime | None = None, limit: int = 10_000
    ) -> Sequence[tuple[str, datetime]]:
        """What is stored of this source, for duties: (key, moment of observation) per version.

        Oldest first, from `since` on. What was observed in one moment comes together, so there
        may be more than `limit`, and the next page begins just after the last moment.
        """
        ...

    async def cited(self) -> Sequence[tuple[str, str]]:
        """Wait until documents of this source are shown; for duties: (key, address) of each.

        Shown is what answers cite, what search finds, and what is opened.

        From the first call on none is missed until the source stops, and each comes once however
        often it was shown between two calls. The address is that of the version that was shown.
        """
        ...


def require_contact(ctx: Context, who: str) -> None:
    """Stop before the first request to a service that turns away whom it cannot write to.

    Raises ConfigError `source.needs_contact`.
    """
    if not ctx.contact.strip():
        raise ConfigError(
            f"{who} needs a contact: it asks whom it can write to, and net.contact is empty.",
            code="source.needs_contact",
            hint="Set net.contact to an e-mail address or a page about you, and restart.",
        )


class SourceSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A connector: its name, what it needs, and how to run it."""

    name: str
    title: str
    docs_url: str
    follow: Callable[[Context, Cursor | None], AsyncIterator[Batch]]
    settings: type[SourceSettings]
    needs: tuple[str, ...] = ()
    """What an operator must provide (`key`, `contact`, `public_url`); empty: nothing."""
    policy: Policy = Policy()
    state: str = "polling"
    """The state that health shows while all is well: `live` or `polling`."""
    identify: Callable[[str], SourceConfig | None] = lambda text: None
    """From what a person pasted (a URL, a handle, a path) to a configuration, if it is ours."""
    examples: tuple[str, ...] = ()
    """What `identify` understands, as a person would write it."""
