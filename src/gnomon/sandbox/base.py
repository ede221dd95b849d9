"""What a room promises: limits, results, and how it stands with rooms on this machine."""

from __future__ import annotations

from typing import Literal

import msgspec

from gnomon.errors import GnomonError


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What code in one room may use."""

    run_s: float = 30.0
    """Wall-clock time of one run."""
    cpu_s: int = 600
    """Processor time of the room in its whole life."""
    memory_bytes: int = 512 << 20
    work_bytes: int = 64 << 20
    """All files together; they are kept in memory."""
    file_bytes: int = 32 << 20
    printed_bytes: int = 16 << 20
    """A run that prints more is stopped."""
    threads: int = 64
    open_files: int = 64


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """A plain file of a room."""

    path: str
    body_bytes: int
    changed_ns: int


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended."""

    output: str = ""
    """What it printed, both streams together, its middle cut out where it was too long."""
    error: str = ""
    """What it raised, or why it was stopped; empty if it ran to its end."""
    ended: Literal["done", "raised", "stopped", "died"] = "done"
    """`stopped`: at a limit, the names of before are still there; `died`: the room is gone."""
    cut_bytes: int = 0
    files: tuple[Written, ...] = ()
    """Files that are new or were changed."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Whether code can be run here, in a sentence."""

    state: Literal["ready", "off", "unavailable", "checking"]
    text: str

    @property
    def ready(self) -> bool:
        """Whether it was proven that rooms are closed."""
        return self.state == "ready"


class RoomError(GnomonError):
    """A room cannot be had, or not be used as asked."""

    default_code = "sandbox"
