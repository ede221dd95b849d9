"""One room: a child process behind closed doors, and the line to it.

Whatever comes over the line is data of unknown intent: it is capped, and nothing of it is trusted
but as the output of the code. No file of the room has a name outside of it, so nothing here opens
a path that the code could have made.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

import gnomon
from gnomon.sandbox.base import Limits, Ran, RoomError, Written

MAX_CODE_BYTES = 200_000
_SOURCE = str(Path(gnomon.__file__).parents[1])
_BOOT = (
    f"import sys; sys.path.insert(0, {_SOURCE!r}); "
    "from gnomon.sandbox.inside.main import main; main()"
)
_START_S = 15.0
_GRACE_S = 1.0
_FILE_S = 10.0
_END_S = 5.0
_HEAD_BYTES, _TAIL_BYTES = 48_000, 16_000
_MAX_ANSWER_BYTES = 1_000_000
_MARK_CHARS = 32
_AT_START = {"MALLOC_ARENA_MAX": "2"}  # else each thread reserves what memory there may be
_ENVIRONMENT = {
    "HOME": "/mnt/data",
    "TMPDIR": "/mnt/data",
    "LANG": "C.UTF-8",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


class Room:
    """A namespace and a folder in which code runs. One command at a time."""

    def __init__(self, limits: Limits, packages: Mapping[str, str]) -> None:
        """`packages` may be imported, by name and path. Nothing runs before `start`."""
        self._limits = limits
        self._packages = packages
        self._process: asyncio.subprocess.Process | None = None
        self._busy = asyncio.Lock()
        self._listening = False
        self._known: dict[str, Written] = {}

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Close the doors and begin. Raises RoomError that names the step which failed."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-I", "-S", "-B", "-X", "utf8", "-c", _BOOT),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd="/",
            env=_AT_START,
            start_new_session=True,
        )
        limits, mark = self._limits, secrets.token_hex(_MARK_CHARS // 2)
        wanted = {
            "mark": mark,
            "parent": os.getpid(),
            "source": _SOURCE,
            "packages": dict(self._packages),
            "work_bytes": limits.work_bytes,
            "environment": _ENVIRONMENT,
            "limits": {
                "AS": limits.memory_bytes,
                "CPU": limits.cpu_s,
                "FSIZE": limits.file_bytes,
                "NPROC": limits.threads,
                "NOFILE": limits.open_files,
                "CORE": 0,
                "MEMLOCK": 0,
            },
        }
        heard = _Heard(mark, limits.printed_bytes, _MAX_ANSWER_BYTES)
        try:
            await self._send(msgspec.json.encode(wanted) + b"\n")
            await self._listen(heard, _START_S)
            said: Any = msgspec.json.decode(heard.answer) if heard.answer is not None else {}
            failed = said.get("failed", f"the child ended: {heard.text[-500:]}")
        except (TimeoutError, msgspec.DecodeError, AttributeError):
            failed = "the child did not say that its doors are closed"
        except BaseException:
            await self.close()
            raise
        if failed:
            await self.close()
            raise RoomError(f"A closed room cannot be had: {failed}.", code="sandbox.unavailable")

    async def run(self, code: str) -> Ran:
        """Run `code` after what ran before. Whatever it does, this ends, and says how.

        Cancelling it ends the room.
        """
        if len(code.encode("utf-8", "replace")) > MAX_CODE_BYTES:
            return Ran(error=f"The code is longer than {MAX_CODE_BYTES:,} bytes.", ended="raised")
        async with self._busy:
            heard = _Heard(
                secrets.token_hex(_MARK_CHARS // 2), self._limits.printed_bytes, _MAX_ANSWER_BYTES
            )
            reason = ""
            command = {"do": "run", "mark": heard.mark, "code": code}
            self._signal(signal.SIGUSR2)
            try:
                try:
                    await self._send(msgspec.json.encode(command) + b"\n")
                    await self._listen(heard, self._limits.run_s)
                    if heard.over:
                        reason = f"Stopped: it printed more than {heard.most:,} bytes."
                except TimeoutError:
                    reason = f"Stopped after {self._limits.run_s:g} s."
                if reason and heard.answer is None:
                    heard.endure()
                    self._signal(signal.SIGINT)
                    with suppress(TimeoutError):
                        await self._listen(heard, _GRACE_S)
                return await self._ended(heard, reason)
            except BaseException:
                await self.close()
                raise

    async def put(self, name: str, body: bytes) -> None:
        """Lay a file into the working folder. Raises RoomError."""
        if not plain(name):
            raise RoomError(f"{name[:100]!r} cannot be a file's name.", code="sandbox.file")
        if len(body) > self._limits.file_bytes:
            raise RoomError(
                f"{name[:100]} has {len(body):,} bytes; {self._limits.file_bytes:,} are possible.",
                code="sandbox.file",
            )
        async with self._busy:
            answer = await self._ask({"do": "put", "name": name, "bytes": len(body)}, body)
            said = _decoded(answer)
            if said.get("error"):
                raise RoomError(
                    f"{name[:100]} could not be laid into the room: {str(said['error'])[:100]}.",
                    code="sandbox.file",
                )

    async def get(self, name: str) -> bytes | None:
        """The bytes of a plain file in the working folder; None if there is none."""
        if not plain(name):
            return None
        most = self._limits.file_bytes
        async with self._busy:
            body = await self._ask({"do": "get", "name": name, "most": most})
        return body[1:] if body[:1] == b"1" else None

    async def close(self) -> None:
        """End it with everything in it. Idempotent."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            # The inner process dies with the outer one: it cannot wish otherwise.
            with suppress(ProcessLookupError):
                process.kill()
        if process.stdin is not None:
            process.stdin.close()
        if process.stdout is not None and not self._listening:
            with suppress(TimeoutError):
                async with asyncio.timeout(_END_S):
                    while await process.stdout.read(65_536):
                        pass
        await process.wait()

    # -- the line --------------------------------------------------------------
    async def _ask(self, command: Mapping[str, Any], body: bytes = b"") -> bytes:
        heard = _Heard(
            secrets.token_hex(_MARK_CHARS // 2), _MAX_ANSWER_BYTES, self._limits.file_bytes + 1
        )
        self._signal(signal.SIGUSR2)
        try:
            line = msgspec.json.encode({**command, "mark": heard.mark}) + b"\n"
            async with asyncio.timeout(_FILE_S):
                await self._send(line + body)
            await self._listen(heard, _FILE_S)
        except TimeoutError:
            heard.answer = None
        except BaseException:
            await self.close()
            raise
        self._signal(signal.SIGUSR1)
        if heard.answer is None:
            await self.close()
            raise RoomError("The room does not answer any more.", code="sandbox.gone")
        return heard.answer

    async def _send(self, data: bytes) -> None:
        if self._process is None or self._process.stdin is None:
            raise RoomError("The room is closed.", code="sandbox.gone")
        self._process.stdin.write(data)
        with suppress(ConnectionError):  # its end is told by the other direction
            await self._process.stdin.drain()

    async def _listen(self, heard: _Heard, timeout_s: float) -> None:
        """Until the answer, the end, too much or too long (TimeoutError)."""
        if self._process is None or self._process.stdout is None:
            return
        stream = self._process.stdout
        self._listening = True
        try:
            async with asyncio.timeout(timeout_s):
                while heard.answer is None and not heard.over:
                    block = await stream.read(65_536)
                    if not block:
                        return
                    heard.take(block)
        finally:
            self._listening = False

    async def _ended(self, heard: _Heard, reason: str) -> Ran:
        output, cut = heard.text, heard.cut_bytes
        if heard.answer is None:
            code = await self._exit_code()
            await self.close()
            return Ran(
                output=output,
                cut_bytes=cut,
                ended="died",
                error=f"{reason or _died(code)} Names and files of before are gone.",
            )
        self._signal(signal.SIGUSR1)  # what it left running waits until the next run
        try:
            said = _decoded(heard.answer)
            files = self._changed(said["files"])
            error = str(said["error"])[:1_000]
        except (RoomError, KeyError, TypeError, ValueError):
            await self.close()
            return Ran(
                output=output, cut_bytes=cut, ended="died", error="The interpreter talks nonsense."
            )
        if reason:
            return Ran(output=output, cut_bytes=cut, ended="stopped", error=reason, files=files)
        return Ran(
            output=output,
            cut_bytes=cut,
            ended="raised" if error else "done",
            error=error,
            files=files,
        )

    async def _exit_code(self) -> int | None:
        """What its end was, if it came by itself."""
        if self._process is None:
            return None
        with suppress(TimeoutError):
            async with asyncio.timeout(_GRACE_S):
                return await self._process.wait()
        return None

    def _changed(self, listed: Any) -> tuple[Written, ...]:
        found = {}
        for path, size, changed in listed[:1_000]:
            if isinstance(path, str) and plain(path):
                found[path] = Written(path=path, body_bytes=int(size), changed_ns=int(changed))
        new = tuple(found[p] for p in sorted(found) if self._known.get(p) != found[p])
        self._known = found
        return new

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)


class _Heard:
    """What came over the line for one command: the beginning and the end of the output, the answer.

    Never holds more than a capped part, however much is printed.
    """

    def __init__(self, mark: str, most: int, most_answer: int) -> None:
        self.mark = mark
        self.most = most
        self.answer: bytes | None = None
        self.over = False
        self._bounded = True
        self._most_answer = most_answer
        self._sought = mark.encode()
        self._total = 0
        self._head = bytearray()
        self._tail = bytearray()
        self._open = bytearray()
        """The end of what came, in which the mark may have begun."""
        self._coming: bytearray | None = None

    def endure(self) -> None:
        """Whatever is printed from now on is not too much: it was told to stop."""
        self.over, self._bounded = False, False

    def take(self, block: bytes) -> None:
        if self._coming is not None:
            self._coming += block
        else:
            self._open += block
            at = self._open.find(self._sought)
            if at < 0:
                self._print(len(self._open) - len(self._sought) + 1)
                return
            self._coming = self._open[at + len(self._sought) :]
            del self._open[at:]
            self._print(at)
        if len(self._coming) < 4:
            return
        size = int.from_bytes(self._coming[:4], "big")
        if size > self._most_answer:
            self.over = True
        elif len(self._coming) >= size + 4:
            self.answer = bytes(self._coming[4 : size + 4])

    def _print(self, size: int) -> None:
        if size <= 0:
            return
        piece = self._open[:size]
        del self._open[:size]
        self._total += size
        room = max(0, _HEAD_BYTES - len(self._head))
        self._head += piece[:room]
        self._tail += piece[room:]
        if len(self._tail) > 2 * _TAIL_BYTES:
            del self._tail[:-_TAIL_BYTES]
        self.over = self.over or (self._bounded and self._total > self.most)

    @property
    def cut_bytes(self) -> int:
        return self._total - len(self._head) - min(len(self._tail), _TAIL_BYTES)

    @property
    def text(self) -> str:
        """What was printed, with a note of what was cut out."""
        open_end = b"" if self._coming is not None else bytes(self._open)
        head = self._head.decode("utf-8", "replace")
        tail = (bytes(self._tail[-_TAIL_BYTES:]) + open_end).decode("utf-8", "replace")
        note = f"\n[… {self.cut_bytes:,} bytes were cut out here …]\n" if self.cut_bytes else ""
        return head + note + tail


def plain(path: str) -> bool:
    """Whether a path names something in the folder itself, by parts that can be shown."""
    parts = path.split("/")
    return (
        0 < len(path) <= 255
        and path.isprintable()
        and all(part not in ("", ".", "..") for part in parts)
        and "\\" not in path
    )


def _decoded(answer: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(answer, type=dict[str, Any])
    except msgspec.DecodeError:
        raise RoomError("The room does not answer any more.", code="sandbox.gone") from None


def _died(code: int | None) -> str:
    if code == 128 + signal.SIGKILL or code == 128 + signal.SIGXCPU:
        return "The system ended it: it used more than it may."
    if code is not None and code > 128:
        return f"It crashed (signal {code - 128})."
    return f"It ended itself (status {code})." if code is not None else "It went away."
