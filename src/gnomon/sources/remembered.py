"""What a source remembers between two runs: a struct that is its cursor, as JSON."""

from __future__ import annotations

from typing import Self

import msgspec

from gnomon.types import Cursor


class Remembered:
    """A struct beside which this stands as a base is a source's memory.

    Keys are stable, so a source that begins with an empty one doubles nothing.
    """

    __slots__ = ()

    @classmethod
    def read(cls, cursor: Cursor | None) -> Self | None:
        """What the cursor holds; None at the first start, and if another connector wrote it."""
        if cursor is None:
            return None
        try:
            return msgspec.json.decode(cursor, type=cls)
        except msgspec.DecodeError:
            return None

    def cursor(self) -> Cursor:
        """To be stored with the changes before it."""
        return msgspec.json.encode(self).decode()
