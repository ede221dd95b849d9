"""How the process outside and the one inside talk: commands in, answers in the stream of output.

A command is a JSON line, with raw bytes behind it where it says so. An answer is a mark that the
command named, a length, and that many bytes; it stands in the same stream as what the code prints,
so whatever came before it belongs to the command. Nothing here is a secret: code that forges an
answer forges its own.
"""

from __future__ import annotations

import json
import os
from typing import Any

MAX_COMMAND_BYTES = 4_000_000


class Line:
    """The file descriptors of the line to the outside, away from the usual ones."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands = os.fdopen(commands, "rb")
        self._answers = answers

    def next(self) -> dict[str, Any] | None:
        """The next command, None at the end."""
        text = self._commands.readline(MAX_COMMAND_BYTES)
        if not text.endswith(b"\n"):
            return None
        command: dict[str, Any] = json.loads(text)
        return command

    def read(self, size: int) -> bytes:
        """The raw bytes behind a command."""
        return self._commands.read(size)

    def answer(self, mark: str, value: Any = None, body: bytes = b"") -> None:
        """Answer with a value or with bytes."""
        body = json.dumps(value).encode() if value is not None else body
        data = mark.encode() + len(body).to_bytes(4, "big") + body
        while data:
            data = data[os.write(self._answers, data) :]
