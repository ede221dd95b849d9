"""Files that a watched run adds to: in whole pieces, whatever room the disk has left.

TensorBoard's own writer works in a thread that a full disk ends for good, and may leave a torn
record, behind which nothing is read. This one writes at once, and goes on when there is room again.
"""

from __future__ import annotations

import errno
import os
import platform
from collections.abc import Mapping
from contextlib import suppress
from io import BytesIO
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter


class Appended:
    """A file that grows by whole pieces."""

    def __init__(self, path: Path) -> None:
        """Open it, made if need be. Raises OSError."""
        self._file = path.open("ab", buffering=0)

    def add(self, piece: bytes) -> None:
        """Append `piece` at once. Raises OSError, and then the file is as it was."""
        size = os.fstat(self._file.fileno()).st_size
        try:
            if self._file.write(piece) != len(piece):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            with suppress(OSError):
                self._file.truncate(size)
            raise

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Board:
    """Numbers over steps, as TensorBoard reads them."""

    def __init__(self, folder: Path, at: float) -> None:
        """A new file in `folder`; `at` is now, in seconds since the epoch. Raises OSError."""
        folder.mkdir(exist_ok=True)
        name = f"events.out.tfevents.{int(at):010d}.{platform.node()}.{os.getpid()}"
        self._file = Appended(folder / name)
        self._file.add(_record(Event(wall_time=at, file_version="brain.Event:2")))

    def add(self, step: int, at: float, numbers: Mapping[str, float | None]) -> None:
        """Add what is known at a step. Raises OSError, and then it is not there."""
        values = [
            Summary.Value(tag=name, simple_value=number)
            for name, number in numbers.items()
            if number is not None
        ]
        event = Event(wall_time=at, step=step, summary=Summary(value=values))
        self._file.add(_record(event))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _record(event: Event) -> bytes:
    out = BytesIO()
    RecordWriter(out).write(event.SerializeToString())
    return out.getvalue()
