"""The interpreter in the room: runs code in one namespace, keeps files in one folder.

It trusts nothing of what it runs, and is trusted with nothing: whatever the code does to it, it
does to itself.
"""

from __future__ import annotations

import ast
import contextlib
import linecache
import os
import signal
import stat
import sys
import traceback
from pathlib import Path
from types import FrameType
from typing import Any

from gnomon.sandbox.inside.frames import Line

MAX_FILES = 1_000
_FOLDER_DEPTH = 8
_OURS = (__file__, ast.__file__)
"""Files whose frames say nothing about the code that was run."""


class Interpreter:
    """One namespace. Commands come one at a time."""

    def __init__(self, line: Line, work: str) -> None:
        self._line = line
        self._work = work
        self._names: dict[str, Any] = {"__name__": "__main__", "__builtins__": __builtins__}
        self._count = 0
        self._running = False
        signal.signal(signal.SIGINT, self._interrupt)

    def serve(self) -> None:
        """Do what is asked until the line ends."""
        while (command := self._line.next()) is not None:
            mark, what = command["mark"], command["do"]
            if what == "run":
                answer = self._run(command["code"])
                self._line.answer(mark, answer | {"files": self._files()})
            elif what == "put":
                self._line.answer(mark, self._put(command["name"], command["bytes"]))
            elif what == "get":
                self._line.answer(mark, body=self._get(command["name"], command["most"]))

    def _interrupt(self, _: int, __: FrameType | None) -> None:
        # One that comes too late must not end the interpreter.
        if self._running:
            raise KeyboardInterrupt

    def _run(self, code: str) -> dict[str, Any]:
        self._count += 1
        name = f"<cell {self._count}>"
        linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
        error = ""
        try:
            self._running = True
            try:
                self._execute(code, name)
            finally:
                self._running = False
        except BaseException as raised:
            error = self._told(raised)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        return {"error": error}

    def _execute(self, code: str, name: str) -> None:
        """Run it; the value of a last expression is shown."""
        tree = ast.parse(code, name)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, name, "exec"), self._names)  # noqa: S102 - what this room is for
        if last is not None:
            shown = ast.Expression(last.value)  # type: ignore[attr-defined]
            value = eval(compile(shown, name, "eval"), self._names)  # noqa: S307
            if value is not None:
                print(repr(value))  # noqa: T201

    def _told(self, raised: BaseException) -> str:
        """Print what was raised, without our own frames; its name and text."""
        try:
            if isinstance(raised, SystemExit):
                return ""
            told = traceback.TracebackException.from_exception(raised, limit=-20)
            told.stack[:] = [frame for frame in told.stack if frame.filename not in _OURS]
            with contextlib.suppress(Exception):
                sys.stdout.flush()
            sys.stderr.write("".join(told.format())[-8_000:])
            return f"{type(raised).__name__}: {raised}"[:500]
        except BaseException:
            return type(raised).__name__

    # -- files -----------------------------------------------------------------
    def _put(self, name: str, size: int) -> dict[str, Any]:
        body = self._line.read(size)
        path = Path(self._work) / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
            with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
                file.write(body)
        except OSError as error:
            return {"error": error.strerror or str(error)}
        return {"error": ""}

    def _get(self, name: str, most: int) -> bytes:
        """A file's bytes behind a 1, or a 0 where there is none of that name and size."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            with os.fdopen(os.open(Path(self._work) / name, flags), "rb") as file:
                found = os.fstat(file.fileno())
                if stat.S_ISREG(found.st_mode) and found.st_size <= most:
                    return b"1" + file.read(most)
        except (OSError, ValueError):
            pass
        return b"0"

    def _files(self) -> list[list[Any]]:
        """(path, size, changed at ns) of the plain files, links not followed."""
        found: list[list[Any]] = []
        folders = [("", 0)]
        while folders and len(found) < MAX_FILES:
            folder, depth = folders.pop()
            try:
                with os.scandir(Path(self._work) / folder) as entries:
                    for entry in entries:
                        path = f"{folder}/{entry.name}" if folder else entry.name
                        about = entry.stat(follow_symlinks=False)
                        if stat.S_ISDIR(about.st_mode) and depth < _FOLDER_DEPTH:
                            folders.append((path, depth + 1))
                        elif stat.S_ISREG(about.st_mode):
                            found.append([path, about.st_size, about.st_mtime_ns])
            except (OSError, ValueError):
                continue
        return found[:MAX_FILES]
