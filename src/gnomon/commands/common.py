"""What all commands share: the settings as the flags of this call make them, and the server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
import tzlocal

from gnomon import settings
from gnomon.client import Client, running
from gnomon.clock import is_day

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

FLAGS: dict[str, Any] = {}
"""Settings given by flags of this call."""
FILES: list[Path] = []
"""The settings file of this call, if one was named."""


def load(**flags: Any) -> settings.Loaded:
    """The settings. Flags that are None do not count."""
    given = {name.replace("__", "."): value for name, value in flags.items() if value is not None}
    return settings.load(FLAGS | given, file=FILES[0] if FILES else None)


@contextmanager
def client() -> Iterator[Client]:
    """The running server of this home, else one of our own for as long as it is needed."""
    loaded = load()
    found = running(loaded.settings.home)
    if found:
        with closing(Client(found.url, loaded.settings, token=found.token)) as server:
            yield server
        return
    from gnomon.app import private_server

    with (
        private_server(loaded.settings) as (url, token),
        closing(Client(url, loaded.settings, token=token)) as server,
    ):
        yield server


def time_zone() -> str:
    """The IANA name of this machine's zone; UTC where it has none."""
    try:
        return tzlocal.get_localzone_name() or "UTC"
    except (LookupError, ValueError, OSError):  # TZ names no zone
        return "UTC"


def counted(n: int, thing: str) -> str:
    """`1 document`, `1,234 documents`."""
    return f"{n:,} {thing}{'' if n == 1 else 's'}"


def local(when: str | None) -> str:
    """A moment in this machine's zone."""
    if when is None:
        return "undated"
    return datetime.fromisoformat(when).astimezone().strftime("%Y-%m-%d %H:%M %Z")


def claimed(when: str | None) -> str:
    """When something was published, in this machine's zone; the day alone if no more is told."""
    if when is not None and is_day(day := datetime.fromisoformat(when)):
        return f"{day:%Y-%m-%d}"
    return local(when)


def localised(text: str) -> str:
    """The server's words with their moments in this machine's zone."""

    def shown(match: re.Match[str]) -> str:
        try:
            return local(f"{match['day']}T{match['time']}:00+00:00")
        except (ValueError, OverflowError):
            return match[0]

    return _MOMENT.sub(shown, text)


_MOMENT = re.compile(r"\b(?P<day>\d{4}-\d\d-\d\d) (?P<time>\d\d:\d\d) UTC\b")
